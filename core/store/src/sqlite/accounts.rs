//! What users, projects and groups have used, and what was set of them.

use std::collections::BTreeMap;

use berth_engine::StoredAccount;
use berth_model::{AccountKind, AccountTerms, Used};
use rusqlite::Connection;

use super::{
    columns::{Columns, signed},
    fault::Fault,
};

/// No period that quotas hold for is longer.
const MOST_HOURS: u64 = 366 * 24;

/// Use that no quota can count any more goes, once at each start.
pub(super) fn forget_old(connection: &Connection) -> Result<(), Fault> {
    connection.execute(
        "DELETE FROM usage_hours WHERE hour < (SELECT max(hour) FROM usage_hours) - ?1",
        [signed(MOST_HOURS)],
    )?;
    Ok(())
}

/// What the engine begins with.
pub(super) fn restore(connection: &Connection) -> Result<Vec<StoredAccount>, Fault> {
    let mut statement = connection.prepare(
        "SELECT kind, name, hour, jobs, wall_ms, cpu_ms, memory_mib_ms, cpu_millis, memory_mib \
         FROM usage_hours ORDER BY kind, name, hour",
    )?;
    let mut rows = statement.query([])?;
    let mut all: BTreeMap<(AccountKind, String), StoredAccount> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::from(row, 0);
        let whose = (kind(columns.get()?)?, columns.get()?);
        let hour = columns.unsigned()?;
        let used = Used {
            jobs: columns.unsigned()?,
            wall_ms: columns.unsigned()?,
            cpu_ms: columns.unsigned()?,
            memory_mib_ms: columns.unsigned()?,
            cpu_millis: columns.unsigned()?,
            memory_mib: columns.unsigned()?,
        };
        entry(&mut all, whose).hours.push((hour, used));
    }
    restore_terms(connection, &mut all)?;
    Ok(all.into_values().collect())
}

fn entry(
    all: &mut BTreeMap<(AccountKind, String), StoredAccount>,
    (kind, name): (AccountKind, String),
) -> &mut StoredAccount {
    all.entry((kind, name.clone())).or_insert(StoredAccount { kind, name, terms: None, hours: Vec::new() })
}

fn restore_terms(
    connection: &Connection,
    all: &mut BTreeMap<(AccountKind, String), StoredAccount>,
) -> Result<(), Fault> {
    let mut statement = connection.prepare("SELECT kind, name, version, terms FROM accounts")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut columns = Columns::from(row, 0);
        let whose = (kind(columns.get()?)?, columns.get()?);
        let version = columns.unsigned()?;
        let terms: String = columns.get()?;
        let terms: AccountTerms = serde_json::from_str(&terms)?;
        entry(all, whose).terms = Some((version, terms));
    }
    Ok(())
}

fn kind(number: u8) -> Result<AccountKind, Fault> {
    let kind = AccountKind::ALL.get(usize::from(number)).copied();
    kind.ok_or_else(|| Fault::Unreadable(format!("there is no kind of account {number}")))
}
