//! Notices that are owed, and what people want to be told.

use berth_model::NoticeChoice;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    columns::{Columns, signed},
    fault::Fault,
};
use crate::{NoticeCount, NoticeFate, OwedNotice};

/// The key of the last event that was looked at.
const CURSOR: &str = "notices_seen";

pub(super) fn cursor(connection: &Connection) -> Result<Option<u64>, Fault> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    let seen: Option<i64> = statement.query_row([CURSOR], |row| row.get(0)).optional()?;
    Ok(seen.map(i64::cast_unsigned))
}

/// A notice that is there already stays as it is.
pub(super) fn owe(connection: &Connection, seen: u64, notices: &[OwedNotice]) -> Result<(), Fault> {
    let mut add = connection.prepare_cached(
        "INSERT INTO notices (id, sink, owner, target, at, tries, due, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
    )?;
    for notice in notices {
        add.execute(params![
            notice.id,
            notice.sink,
            notice.owner,
            notice.target,
            signed(notice.at.0),
            notice.tries,
            signed(notice.due.0),
            notice.body,
        ])?;
    }
    let mut set = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?;
    set.execute(params![CURSOR, signed(seen)])?;
    Ok(())
}

pub(super) fn first(connection: &Connection, sink: &str) -> Result<Option<OwedNotice>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, sink, owner, target, at, tries, due, body FROM notices WHERE sink = ?1 \
         ORDER BY due, at, id LIMIT 1",
    )?;
    let mut rows = statement.query([sink])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Columns::from(row, 0);
    Ok(Some(OwedNotice {
        id: columns.get()?,
        sink: columns.get()?,
        owner: columns.get()?,
        target: columns.get()?,
        at: columns.instant()?,
        tries: columns.get()?,
        due: columns.instant()?,
        body: columns.get()?,
    }))
}

pub(super) fn settle(connection: &Connection, id: &str, fate: NoticeFate) -> Result<(), Fault> {
    match fate {
        NoticeFate::Gone => connection.prepare_cached("DELETE FROM notices WHERE id = ?1")?.execute([id])?,
        NoticeFate::Again { tries, due } => connection
            .prepare_cached("UPDATE notices SET tries = ?2, due = ?3 WHERE id = ?1")?
            .execute(params![id, tries, signed(due.0)])?,
    };
    Ok(())
}

pub(super) fn counts(connection: &Connection) -> Result<Vec<NoticeCount>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT sink, owner, count(*) FROM notices GROUP BY sink, owner ORDER BY sink, owner",
    )?;
    let mut rows = statement.query([])?;
    let mut counts = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::from(row, 0);
        counts.push(NoticeCount { sink: columns.get()?, owner: columns.get()?, count: columns.unsigned()? });
    }
    Ok(counts)
}

pub(super) fn choices(connection: &Connection) -> Result<Vec<(String, NoticeChoice)>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT owner, choice FROM notice_choices ORDER BY owner")?;
    let mut rows = statement.query([])?;
    let mut choices = Vec::new();
    while let Some(row) = rows.next()? {
        let (owner, choice): (String, String) = (row.get(0)?, row.get(1)?);
        choices.push((owner, serde_json::from_str(&choice)?));
    }
    Ok(choices)
}

pub(super) fn choose(
    connection: &Connection,
    owner: &str,
    choice: Option<&NoticeChoice>,
) -> Result<(), Fault> {
    match choice {
        Some(choice) => connection
            .prepare_cached("INSERT OR REPLACE INTO notice_choices (owner, choice) VALUES (?1, ?2)")?
            .execute(params![owner, serde_json::to_string(choice)?])?,
        None => connection.prepare_cached("DELETE FROM notice_choices WHERE owner = ?1")?.execute([owner])?,
    };
    Ok(())
}
