//! People who come by the word of an outside issuer.

use berth_model::UtcMs;
use deadpool_postgres::GenericClient;
use tokio_postgres::{Client, Row};

use super::{
    columns::{Columns, signed},
    fault::Fault,
    read::{row, rows},
    text::kept,
};
use crate::{GuestDecision, GuestStanding, SeenGuest, StoredGuest};

const COLUMNS: &str =
    "name, issuer, subject, email, standing, since, seen, decided, decided_by, home_bytes, measured";

pub(super) async fn one(client: &impl GenericClient, name: &str) -> Result<Option<StoredGuest>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM guests WHERE name = $1");
    row(client, &sql, &[&kept(name)]).await?.as_ref().map(guest).transpose()
}

pub(super) async fn all(client: &impl GenericClient) -> Result<Vec<StoredGuest>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM guests ORDER BY since, name");
    rows(client, &sql, &[]).await?.iter().map(guest).collect()
}

pub(super) async fn see(client: &Client, guest: &SeenGuest, most_waiting: u64) -> Result<bool, Fault> {
    let SeenGuest { name, issuer, subject, email, at } = guest;
    let (name, email, at) = (kept(name), email.as_deref().map(kept), signed(at.0));
    let known = "UPDATE guests SET email = $2, seen = greatest(seen, $3) WHERE name = $1";
    if client.execute(known, &[&name, &email, &at]).await? > 0 {
        return Ok(true);
    }
    let waiting = number(GuestStanding::Waiting);
    let count = "SELECT count(*) FROM guests WHERE standing = $1";
    let count = Columns::of(&client.query_one(count, &[&waiting]).await?).unsigned()?;
    if count >= most_waiting {
        return Ok(false);
    }
    let sql = "INSERT INTO guests (name, issuer, subject, email, standing, since, seen) \
               VALUES ($1, $2, $3, $4, $5, $6, $6)";
    client.execute(sql, &[&name, &kept(issuer), &kept(subject), &email, &waiting, &at]).await?;
    Ok(true)
}

pub(super) async fn decide(client: &Client, decision: &GuestDecision) -> Result<bool, Fault> {
    let GuestDecision { name, active, by, at } = decision;
    let standing = if *active { GuestStanding::Active } else { GuestStanding::Inactive };
    let sql = "UPDATE guests SET standing = $2, decided = $3, decided_by = $4 WHERE name = $1";
    let given: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&kept(name), &number(standing), &signed(at.0), &kept(by)];
    let changed = client.execute(sql, &given).await?;
    if !active {
        revoke_tokens(client, name, *at).await?;
    }
    Ok(changed > 0)
}

pub(super) async fn remove(client: &Client, name: &str, at: UtcMs) -> Result<bool, Fault> {
    revoke_tokens(client, name, at).await?;
    Ok(client.execute("DELETE FROM guests WHERE name = $1", &[&kept(name)]).await? > 0)
}

pub(super) async fn measured(client: &Client, name: &str, bytes: u64, at: UtcMs) -> Result<(), Fault> {
    let sql = "UPDATE guests SET home_bytes = $2, measured = $3 WHERE name = $1";
    client.execute(sql, &[&kept(name), &signed(bytes), &signed(at.0)]).await?;
    Ok(())
}

async fn revoke_tokens(client: &Client, user: &str, at: UtcMs) -> Result<(), Fault> {
    let sql = "UPDATE tokens SET revoked = $2 WHERE \"user\" = $1 AND revoked IS NULL";
    client.execute(sql, &[&kept(user), &signed(at.0)]).await?;
    Ok(())
}

fn guest(row: &Row) -> Result<StoredGuest, Fault> {
    let mut columns = Columns::of(row);
    Ok(StoredGuest {
        name: columns.text()?,
        issuer: columns.text()?,
        subject: columns.text()?,
        email: columns.maybe_text()?,
        standing: standing(columns.get()?)?,
        since: columns.instant()?,
        seen: columns.instant()?,
        decided: columns.maybe_instant()?.zip(columns.maybe_text()?),
        home: columns.maybe_unsigned()?.zip(columns.maybe_instant()?),
    })
}

fn number(standing: GuestStanding) -> i16 {
    i16::from(standing as u8)
}

fn standing(number: i16) -> Result<GuestStanding, Fault> {
    let standing = u8::try_from(number).ok().and_then(GuestStanding::from_number);
    standing.ok_or_else(|| Fault::Unreadable(format!("there is no standing {number}")))
}
