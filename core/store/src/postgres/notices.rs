//! Notices that are owed, and what people want to be told.

use berth_model::NoticeChoice;
use deadpool_postgres::GenericClient;
use tokio_postgres::{Client, Row};

use super::{
    columns::{Columns, signed},
    fault::Fault,
    read::{row, rows},
    text::kept,
};
use crate::{NoticeCount, NoticeFate, OwedNotice};

/// The key of the last event that was looked at.
const CURSOR: &str = "notices_seen";

pub(super) async fn cursor(client: &impl GenericClient) -> Result<Option<u64>, Fault> {
    let found = row(client, "SELECT value FROM meta WHERE key = $1", &[&CURSOR]).await?;
    let Some(found) = found else { return Ok(None) };
    let text = Columns::of(&found).text()?;
    let wrong = |_| Fault::Unreadable(format!("the last event that was looked at is no number: {text:?}"));
    text.parse().map(Some).map_err(wrong)
}

/// A notice that is there already stays as it is.
pub(super) async fn owe(client: &Client, seen: u64, notices: &[OwedNotice]) -> Result<(), Fault> {
    let sql = "INSERT INTO notices (id, sink, owner, target, at, tries, due, body) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";
    let add = client.prepare(sql).await?;
    for notice in notices {
        client
            .execute(
                &add,
                &[
                    &kept(&notice.id),
                    &kept(&notice.sink),
                    &kept(&notice.owner),
                    &kept(&notice.target),
                    &signed(notice.at.0),
                    &i64::from(notice.tries),
                    &signed(notice.due.0),
                    &kept(&notice.body),
                ],
            )
            .await?;
    }
    let set = "INSERT INTO meta (key, value) VALUES ($1, $2) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    client.execute(set, &[&CURSOR, &seen.to_string()]).await?;
    Ok(())
}

pub(super) async fn first(client: &impl GenericClient, sink: &str) -> Result<Option<OwedNotice>, Fault> {
    let sql = "SELECT id, sink, owner, target, at, tries, due, body FROM notices WHERE sink = $1 \
               ORDER BY due, at, id LIMIT 1";
    let Some(found) = row(client, sql, &[&kept(sink)]).await? else { return Ok(None) };
    let mut columns = Columns::of(&found);
    Ok(Some(OwedNotice {
        id: columns.text()?,
        sink: columns.text()?,
        owner: columns.text()?,
        target: columns.text()?,
        at: columns.instant()?,
        tries: columns.short()?,
        due: columns.instant()?,
        body: columns.text()?,
    }))
}

pub(super) async fn settle(client: &Client, id: &str, fate: NoticeFate) -> Result<(), Fault> {
    match fate {
        NoticeFate::Gone => client.execute("DELETE FROM notices WHERE id = $1", &[&kept(id)]).await?,
        NoticeFate::Again { tries, due } => {
            let sql = "UPDATE notices SET tries = $2, due = $3 WHERE id = $1";
            client.execute(sql, &[&kept(id), &i64::from(tries), &signed(due.0)]).await?
        }
    };
    Ok(())
}

pub(super) async fn counts(client: &impl GenericClient) -> Result<Vec<NoticeCount>, Fault> {
    let sql = "SELECT sink, owner, count(*) FROM notices GROUP BY sink, owner ORDER BY sink, owner";
    let one = |row: &Row| {
        let mut columns = Columns::of(row);
        Ok(NoticeCount { sink: columns.text()?, owner: columns.text()?, count: columns.unsigned()? })
    };
    rows(client, sql, &[]).await?.iter().map(one).collect()
}

pub(super) async fn choices(client: &impl GenericClient) -> Result<Vec<(String, NoticeChoice)>, Fault> {
    let one = |row: &Row| {
        let mut columns = Columns::of(row);
        Ok((columns.text()?, serde_json::from_str(columns.get::<&str>()?)?))
    };
    let sql = "SELECT owner, choice FROM notice_choices ORDER BY owner";
    rows(client, sql, &[]).await?.iter().map(one).collect()
}

pub(super) async fn choose(client: &Client, owner: &str, choice: Option<&NoticeChoice>) -> Result<(), Fault> {
    match choice {
        Some(choice) => {
            let sql = "INSERT INTO notice_choices (owner, choice) VALUES ($1, $2) \
                       ON CONFLICT (owner) DO UPDATE SET choice = excluded.choice";
            client.execute(sql, &[&kept(owner), &serde_json::to_string(choice)?]).await?
        }
        None => client.execute("DELETE FROM notice_choices WHERE owner = $1", &[&kept(owner)]).await?,
    };
    Ok(())
}
