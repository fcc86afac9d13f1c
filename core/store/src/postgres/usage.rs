//! Sums.

use berth_model::{StateKind, UtcMs};
use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::{
    columns::{Columns, signed},
    fault::Fault,
    read::rows,
};
use crate::{UsageBy, UsageRow};

pub(super) async fn usage(
    client: &impl GenericClient,
    by: UsageBy,
    since: UtcMs,
) -> Result<Vec<UsageRow>, Fault> {
    let name = match by {
        UsageBy::User => "owner",
        UsageBy::Project => "project",
    };
    // Floating point: sums beyond 2^53 lose their last digits instead of overflowing.
    let wall = "greatest(j.ended - j.started, 0)::float8";
    let sql = format!(
        "SELECT coalesce(j.{name}, a.{name}), j.state, count(*), coalesce(sum(j.cpu_micros::float8), 0), \
         coalesce(sum({wall}), 0), coalesce(sum({wall} * coalesce(j.cpu_millis, a.cpu_millis) / 1000.0), 0) \
         FROM jobs j LEFT JOIN jobs a ON a.id = j.array_id \
         WHERE j.ended >= $1 AND j.array_range IS NULL GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let mut usage: Vec<UsageRow> = Vec::new();
    for row in rows(client, &sql, &[&signed(since.0)]).await? {
        let mut columns = Columns::of(&row);
        let name = columns.text()?;
        if usage.last().is_none_or(|last| last.name != name) {
            usage.push(UsageRow { name, ..UsageRow::default() });
        }
        if let Some(line) = usage.last_mut() {
            add(line, &mut columns)?;
        }
    }
    usage.sort_by_key(|line| std::cmp::Reverse(line.wall_ms));
    Ok(usage)
}

fn add(line: &mut UsageRow, columns: &mut Columns<'_>) -> Result<(), Fault> {
    line.jobs.push((columns.kind()?, columns.unsigned()?));
    line.cpu_micros = line.cpu_micros.saturating_add(whole(columns.get()?));
    line.wall_ms = line.wall_ms.saturating_add(whole(columns.get()?));
    line.allocated_cpu_ms = line.allocated_cpu_ms.saturating_add(whole(columns.get()?));
    Ok(())
}

/// A sum of whole numbers back from floating point; the cast saturates.
fn whole(sum: f64) -> u64 {
    sum.round() as u64
}

pub(super) async fn counts(
    client: &impl GenericClient,
    since: UtcMs,
) -> Result<Vec<(StateKind, u64)>, Fault> {
    let sql = "SELECT state, count(*) FROM jobs WHERE ended IS NULL GROUP BY state \
               UNION ALL SELECT state, count(*) FROM jobs WHERE ended >= $1 GROUP BY state ORDER BY 1";
    rows(client, sql, &[&signed(since.0)]).await?.iter().map(count).collect()
}

/// A state and a number.
pub(super) fn count(row: &Row) -> Result<(StateKind, u64), Fault> {
    let mut columns = Columns::of(row);
    Ok((columns.kind()?, columns.unsigned()?))
}
