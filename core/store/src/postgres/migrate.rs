//! Schema changes, numbered and applied in order.

use tokio_postgres::Client;

use super::{columns::Columns, fault::Fault};
use crate::StoreError;

/// The schema's history: the step at place N makes version N + 1 of version N. Steps that were released
/// never change.
pub(super) const STEPS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_usage_by_hour.sql"),
    include_str!("migrations/0003_accounts.sql"),
    include_str!("migrations/0004_archive.sql"),
    include_str!("migrations/0005_notices.sql"),
    include_str!("migrations/0006_directories.sql"),
    include_str!("migrations/0007_named_resources.sql"),
    include_str!("migrations/0008_people.sql"),
    include_str!("migrations/0009_classes.sql"),
    include_str!("migrations/0010_guests.sql"),
    include_str!("migrations/0011_closures.sql"),
];

/// Whoever makes or changes the schema holds this lock: "berth" in ASCII.
const LOCK: i64 = 0x62_65_72_74_68;

fn known(steps: &[&str]) -> u32 {
    u32::try_from(steps.len()).unwrap_or(u32::MAX)
}

/// What a database is that Berth finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// As this program knows it.
    Current,
    /// Older: whoever leads changes it.
    Older,
}

/// Makes the schema in an empty database, and looks at what is in another.
pub(super) async fn prepare(client: &mut Client, database: &str, cluster: &str) -> Result<Found, Fault> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let encoding: String = transaction.query_one("SHOW server_encoding", &[]).await?.try_get(0)?;
    if encoding != "UTF8" {
        let reason = format!("its encoding is {encoding}; Berth needs one whose encoding is UTF8");
        return Err(StoreError::DatabaseRefused { database: database.to_owned(), reason }.into());
    }
    let tables = "SELECT to_regclass('lease') IS NOT NULL, EXISTS (SELECT FROM pg_class \
                  WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v'))";
    let row = transaction.query_one(tables, &[]).await?;
    let (ours, any): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !ours && any {
        let reason =
            "it holds tables of somebody else; Berth needs a database or a schema of its own".to_owned();
        return Err(StoreError::DatabaseRefused { database: database.to_owned(), reason }.into());
    }
    if !ours {
        for step in STEPS {
            transaction.batch_execute(step).await?;
        }
        let meta = "INSERT INTO meta (key, value) VALUES ('schema', $1), ('cluster', $2)";
        transaction.execute(meta, &[&known(STEPS).to_string(), &cluster]).await?;
    }
    transaction.commit().await?;
    claimed(client, database, cluster).await?;
    let version = version(client).await?;
    if version > known(STEPS) {
        let path = database.to_owned().into();
        return Err(StoreError::Newer { path, found: version, known: known(STEPS) }.into());
    }
    Ok(if version < known(STEPS) { Found::Older } else { Found::Current })
}

/// Brings the database to the newest schema, each step in a transaction of its own, as the leader.
pub(super) async fn migrate(
    client: &mut Client,
    database: &str,
    fencing: i64,
    steps: &[&str],
) -> Result<(), Fault> {
    let found = version(client).await?;
    if found > known(steps) {
        let path = database.to_owned().into();
        return Err(StoreError::Newer { path, found, known: known(steps) }.into());
    }
    for (number, step) in (1..=known(steps)).zip(steps).skip(found as usize) {
        let transaction = client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
        let fence = "UPDATE lease SET turn = turn + 1 WHERE fencing = $1";
        if transaction.execute(fence, &[&fencing]).await? == 0 {
            return Err(StoreError::StandsBy { leader: "another Berth".to_owned() }.into());
        }
        transaction.batch_execute(step).await?;
        transaction
            .execute("UPDATE meta SET value = $1 WHERE key = 'schema'", &[&number.to_string()])
            .await?;
        transaction.commit().await?;
    }
    Ok(())
}

async fn version(client: &Client) -> Result<u32, Fault> {
    let row = client.query_opt("SELECT value FROM meta WHERE key = 'schema'", &[]).await?;
    let text: Option<String> = row.map(|row| Columns::of(&row).get()).transpose()?;
    let version = text.as_ref().and_then(|text| text.parse().ok());
    version.ok_or_else(|| Fault::Unreadable(format!("its schema has no version, but {text:?}")))
}

/// Refuses another cluster's database.
async fn claimed(client: &Client, database: &str, cluster: &str) -> Result<(), Fault> {
    let row = client.query_opt("SELECT value FROM meta WHERE key = 'cluster'", &[]).await?;
    let stored: Option<String> = row.map(|row| Columns::of(&row).get()).transpose()?;
    match stored {
        Some(stored) if stored == cluster => Ok(()),
        stored => {
            let (path, stored) = (database.to_owned().into(), stored.unwrap_or_default());
            Err(StoreError::OtherCluster { path, stored, given: cluster.to_owned() }.into())
        }
    }
}
