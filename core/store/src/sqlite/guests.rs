//! People who come by the word of an outside issuer.

use berth_model::UtcMs;
use rusqlite::{Connection, Row, params};

use super::{
    columns::{Columns, signed},
    fault::Fault,
    tokens,
};
use crate::{GuestDecision, GuestStanding, SeenGuest, StoredGuest};

const COLUMNS: &str =
    "name, issuer, subject, email, standing, since, seen, decided, decided_by, home_bytes, measured";

pub(super) fn one(connection: &Connection, name: &str) -> Result<Option<StoredGuest>, Fault> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM guests WHERE name = ?1"))?;
    let mut rows = statement.query([name])?;
    rows.next()?.map(guest).transpose()
}

pub(super) fn all(connection: &Connection) -> Result<Vec<StoredGuest>, Fault> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM guests ORDER BY since, name"))?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(guest(row)?);
    }
    Ok(all)
}

pub(super) fn see(connection: &Connection, guest: &SeenGuest, most_waiting: u64) -> Result<bool, Fault> {
    let SeenGuest { name, issuer, subject, email, at } = guest;
    let at = signed(at.0);
    let known = "UPDATE guests SET email = ?2, seen = max(seen, ?3) WHERE name = ?1";
    if connection.execute(known, params![name, email, at])? > 0 {
        return Ok(true);
    }
    let sql = "INSERT INTO guests (name, issuer, subject, email, standing, since, seen) \
               SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?6 WHERE (SELECT count(*) FROM guests WHERE standing = ?5) < ?7";
    let waiting = GuestStanding::Waiting as u8;
    let given = params![name, issuer, subject, email, waiting, at, signed(most_waiting)];
    Ok(connection.execute(sql, given)? > 0)
}

pub(super) fn decide(connection: &Connection, decision: &GuestDecision) -> Result<bool, Fault> {
    let GuestDecision { name, active, by, at } = decision;
    let standing = if *active { GuestStanding::Active } else { GuestStanding::Inactive };
    let sql = "UPDATE guests SET standing = ?2, decided = ?3, decided_by = ?4 WHERE name = ?1";
    let changed = connection.execute(sql, params![name, standing as u8, signed(at.0), by])?;
    if !active {
        tokens::revoke_all(connection, name, *at)?;
    }
    Ok(changed > 0)
}

pub(super) fn remove(connection: &Connection, name: &str, at: UtcMs) -> Result<bool, Fault> {
    tokens::revoke_all(connection, name, at)?;
    Ok(connection.execute("DELETE FROM guests WHERE name = ?1", [name])? > 0)
}

pub(super) fn measured(connection: &Connection, name: &str, bytes: u64, at: UtcMs) -> Result<(), Fault> {
    let sql = "UPDATE guests SET home_bytes = ?2, measured = ?3 WHERE name = ?1";
    connection.execute(sql, params![name, signed(bytes), signed(at.0)])?;
    Ok(())
}

fn guest(row: &Row<'_>) -> Result<StoredGuest, Fault> {
    let mut columns = Columns::from(row, 0);
    Ok(StoredGuest {
        name: columns.get()?,
        issuer: columns.get()?,
        subject: columns.get()?,
        email: columns.get()?,
        standing: standing(columns.get()?)?,
        since: columns.instant()?,
        seen: columns.instant()?,
        decided: columns.maybe_instant()?.zip(columns.get()?),
        home: columns.maybe_unsigned()?.zip(columns.maybe_instant()?),
    })
}

fn standing(number: u8) -> Result<GuestStanding, Fault> {
    GuestStanding::from_number(number)
        .ok_or_else(|| Fault::Unreadable(format!("there is no standing {number}")))
}
