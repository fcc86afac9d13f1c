//! What users, projects and groups have used.

use std::collections::BTreeMap;

use berth_engine::{AccountTerms, StoredAccount};
use berth_model::{AccountKind, Used};
use rusqlite::Connection;

use super::{
    columns::{Columns, signed},
    fault::Fault,
};

/// No period that quotas hold for is longer.
const MOST_HOURS: u64 = 366 * 24;

/// What the engine begins with.
pub(super) fn restore(connection: &Connection) -> Result<Vec<StoredAccount>, Fault> {
    let latest: Option<i64> =
        connection.query_row("SELECT max(hour) FROM usage_hours", [], |row| row.get(0))?;
    let since = latest.map_or(0, i64::cast_unsigned).saturating_sub(MOST_HOURS);
    let mut statement = connection.prepare(
        "SELECT kind, name, hour, jobs, wall_ms, cpu_ms, memory_mib_ms, cpu_millis, memory_mib \
         FROM usage_hours WHERE hour >= ?1 ORDER BY kind, name, hour",
    )?;
    let mut rows = statement.query([signed(since)])?;
    let mut all: BTreeMap<(AccountKind, String), Vec<(u64, Used)>> = BTreeMap::new();
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
        all.entry(whose).or_default().push((hour, used));
    }
    let account = |((kind, name), hours)| StoredAccount { kind, name, terms: AccountTerms::default(), hours };
    Ok(all.into_iter().map(account).collect())
}

fn kind(number: u8) -> Result<AccountKind, Fault> {
    let kind = AccountKind::ALL.get(usize::from(number)).copied();
    kind.ok_or_else(|| Fault::Unreadable(format!("there is no kind of account {number}")))
}
