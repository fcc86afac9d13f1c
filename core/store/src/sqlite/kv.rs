//! What policies keep.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use crate::StoreError;

pub(super) fn get(connection: &Connection, policy: &str, key: &str) -> Result<Option<Vec<u8>>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT value FROM policy_state WHERE policy = ?1 AND key = ?2")?;
    Ok(statement.query_row([policy, key], |row| row.get(0)).optional()?)
}

pub(super) fn set(
    connection: &Connection,
    policy: &str,
    key: &str,
    value: &[u8],
    most_bytes: u64,
) -> Result<(), Fault> {
    let mut others = connection.prepare_cached(
        "SELECT coalesce(sum(octet_length(key) + octet_length(value)), 0) FROM policy_state \
         WHERE policy = ?1 AND key <> ?2",
    )?;
    let others: i64 = others.query_row([policy, key], |row| row.get(0))?;
    let bytes = others.cast_unsigned().saturating_add((key.len() + value.len()) as u64);
    if bytes > most_bytes {
        return Err(StoreError::TooMuchState { policy: policy.to_owned(), bytes, most: most_bytes }.into());
    }
    let mut set = connection.prepare_cached(
        "INSERT INTO policy_state (policy, key, value) VALUES (?1, ?2, ?3) \
         ON CONFLICT (policy, key) DO UPDATE SET value = excluded.value",
    )?;
    set.execute(params![policy, key, value])?;
    Ok(())
}

pub(super) fn delete(connection: &Connection, policy: &str, key: &str) -> Result<bool, Fault> {
    let mut statement =
        connection.prepare_cached("DELETE FROM policy_state WHERE policy = ?1 AND key = ?2")?;
    Ok(statement.execute([policy, key])? > 0)
}

pub(super) fn keys(
    connection: &Connection,
    policy: &str,
    prefix: &str,
    limit: u64,
) -> Result<Vec<String>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT key FROM policy_state WHERE policy = ?1 AND key >= ?2 \
         AND substr(key, 1, length(?2)) = ?2 ORDER BY key LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let keys = statement.query_map(params![policy, prefix, limit], |row| row.get(0))?;
    Ok(keys.collect::<Result<_, _>>()?)
}
