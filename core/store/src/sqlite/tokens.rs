//! Tokens: only hashes of their secrets are ever here.

use berth_model::UtcMs;
use rusqlite::{Connection, Row, params};

use super::{
    columns::{Columns, signed},
    fault::Fault,
};
use crate::{NewToken, StoredToken, TokenScope};

const COLUMNS: &str = "id, user, scope, label, created, expires, last_used, revoked, idle_ms";

pub(super) fn add(connection: &Connection, token: &NewToken) -> Result<u64, Fault> {
    connection.execute(
        "INSERT INTO tokens (hash, user, scope, label, created, expires, idle_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            token.hash,
            token.user,
            token.scope as u8,
            token.label,
            signed(token.created.0),
            token.expires.map(|expires| signed(expires.0)),
            token.idle_ms.map(signed),
        ],
    )?;
    Ok(connection.last_insert_rowid().cast_unsigned())
}

pub(super) fn by_hash(connection: &Connection, hash: &str) -> Result<Option<StoredToken>, Fault> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens WHERE hash = ?1"))?;
    let mut rows = statement.query([hash])?;
    rows.next()?.map(token).transpose()
}

pub(super) fn all(connection: &Connection, user: Option<&str>) -> Result<Vec<StoredToken>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE ?1 IS NULL OR user = ?1 ORDER BY id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([user])?;
    let mut tokens = Vec::new();
    while let Some(row) = rows.next()? {
        tokens.push(token(row)?);
    }
    Ok(tokens)
}

pub(super) fn revoke(connection: &Connection, id: u64, at: UtcMs) -> Result<bool, Fault> {
    let sql = "UPDATE tokens SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL";
    Ok(connection.execute(sql, [signed(id), signed(at.0)])? > 0)
}

/// Ends all sessions of a user but one.
pub(super) fn revoke_sessions(
    connection: &Connection,
    user: &str,
    at: UtcMs,
    spare: Option<u64>,
) -> Result<(), Fault> {
    let sql = "UPDATE tokens SET revoked = ?2 \
               WHERE user = ?1 AND idle_ms IS NOT NULL AND revoked IS NULL AND id IS NOT ?3";
    connection.execute(sql, params![user, signed(at.0), spare.map(signed)])?;
    Ok(())
}

/// Ends all tokens and sessions of a user.
pub(super) fn revoke_all(connection: &Connection, user: &str, at: UtcMs) -> Result<(), Fault> {
    let sql = "UPDATE tokens SET revoked = ?2 WHERE user = ?1 AND revoked IS NULL";
    connection.execute(sql, params![user, signed(at.0)])?;
    Ok(())
}

fn token(row: &Row<'_>) -> Result<StoredToken, Fault> {
    let mut columns = Columns::from(row, 0);
    Ok(StoredToken {
        id: columns.unsigned()?,
        user: columns.get()?,
        scope: scope(columns.get()?)?,
        label: columns.get()?,
        created: columns.instant()?,
        expires: columns.maybe_instant()?,
        last_used: columns.maybe_instant()?,
        revoked: columns.maybe_instant()?,
        idle_ms: columns.maybe_unsigned()?,
    })
}

fn scope(number: u8) -> Result<TokenScope, Fault> {
    TokenScope::from_number(number).ok_or_else(|| Fault::Unreadable(format!("there is no scope {number}")))
}
