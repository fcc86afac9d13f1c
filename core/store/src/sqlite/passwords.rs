//! Passwords: only argon2 hashes are ever here.

use berth_model::UtcMs;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    columns::{Columns, signed},
    fault::Fault,
    tokens,
};
use crate::PasswordChange;

pub(super) fn of(connection: &Connection, user: &str) -> Result<Option<String>, Fault> {
    let mut statement = connection.prepare_cached("SELECT hash FROM passwords WHERE user = ?1")?;
    Ok(statement.query_row([user], |row| row.get(0)).optional()?)
}

pub(super) fn all(connection: &Connection) -> Result<Vec<(String, UtcMs)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT user, changed FROM passwords ORDER BY user")?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::from(row, 0);
        all.push((columns.get()?, columns.instant()?));
    }
    Ok(all)
}

pub(super) fn change(connection: &Connection, change: &PasswordChange) -> Result<bool, Fault> {
    let PasswordChange { user, hash, at, spare } = change;
    let changed = match hash {
        Some(hash) => connection.execute(
            "INSERT INTO passwords (user, hash, changed) VALUES (?1, ?2, ?3) \
             ON CONFLICT (user) DO UPDATE SET hash = ?2, changed = ?3",
            params![user, hash, signed(at.0)],
        )?,
        None => connection.execute("DELETE FROM passwords WHERE user = ?1", [user])?,
    };
    tokens::revoke_sessions(connection, user, *at, *spare)?;
    Ok(changed > 0)
}
