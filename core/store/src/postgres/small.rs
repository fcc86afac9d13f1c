//! Reads of tokens, of passwords and of what policies keep.

use berth_model::UtcMs;
use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::{
    columns::Columns,
    fault::Fault,
    read::{row, rows},
    text::{kept, told},
};
use crate::{StoredToken, TokenScope};

const TOKEN: &str = "id, \"user\", scope, label, created, expires, last_used, revoked, idle_ms";

pub(super) async fn token(client: &impl GenericClient, hash: &str) -> Result<Option<StoredToken>, Fault> {
    let sql = format!("SELECT {TOKEN} FROM tokens WHERE hash = $1");
    row(client, &sql, &[&kept(hash)]).await?.as_ref().map(stored_token).transpose()
}

pub(super) async fn tokens(
    client: &impl GenericClient,
    user: Option<&str>,
) -> Result<Vec<StoredToken>, Fault> {
    let sql = format!("SELECT {TOKEN} FROM tokens WHERE $1::text IS NULL OR \"user\" = $1 ORDER BY id");
    rows(client, &sql, &[&user.map(kept)]).await?.iter().map(stored_token).collect()
}

fn stored_token(row: &Row) -> Result<StoredToken, Fault> {
    let mut columns = Columns::of(row);
    Ok(StoredToken {
        id: columns.unsigned()?,
        user: columns.text()?,
        scope: scope(columns.get()?)?,
        label: columns.text()?,
        created: columns.instant()?,
        expires: columns.maybe_instant()?,
        last_used: columns.maybe_instant()?,
        revoked: columns.maybe_instant()?,
        idle_ms: columns.maybe_unsigned()?,
    })
}

fn scope(number: i16) -> Result<TokenScope, Fault> {
    let scope = u8::try_from(number).ok().and_then(TokenScope::from_number);
    scope.ok_or_else(|| Fault::Unreadable(format!("there is no scope {number}")))
}

pub(super) async fn password(client: &impl GenericClient, user: &str) -> Result<Option<String>, Fault> {
    let found = row(client, "SELECT hash FROM passwords WHERE \"user\" = $1", &[&kept(user)]).await?;
    found.map(|row| Columns::of(&row).text()).transpose()
}

pub(super) async fn passwords(client: &impl GenericClient) -> Result<Vec<(String, UtcMs)>, Fault> {
    let found = rows(client, "SELECT \"user\", changed FROM passwords ORDER BY \"user\"", &[]).await?;
    let one = |row: &Row| {
        let mut columns = Columns::of(row);
        Ok((columns.text()?, columns.instant()?))
    };
    found.iter().map(one).collect()
}

pub(super) async fn policy_state(
    client: &impl GenericClient,
    policy: &str,
    key: &str,
) -> Result<Option<Vec<u8>>, Fault> {
    let sql = "SELECT value FROM policy_state WHERE policy = $1 AND key = $2";
    let found = row(client, sql, &[&kept(policy), &kept(key)]).await?;
    found.map(|row| Columns::of(&row).get()).transpose()
}

pub(super) async fn policy_keys(
    client: &impl GenericClient,
    policy: &str,
    prefix: &str,
    limit: u64,
) -> Result<Vec<String>, Fault> {
    let sql = "SELECT key FROM policy_state WHERE policy = $1 AND key >= $2 AND starts_with(key, $2) \
               ORDER BY key LIMIT $3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = rows(client, sql, &[&kept(policy), &kept(prefix), &limit]).await?;
    found.iter().map(|row| Columns::of(row).get().map(told)).collect()
}
