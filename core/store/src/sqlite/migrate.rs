//! Schema changes, numbered and applied in order.

use std::path::Path;

use rusqlite::Connection;

use super::fault::Fault;
use crate::StoreError;

/// The schema's history: the step at place N makes version N + 1 of version N. Steps that were released
/// never change.
pub(super) const STEPS: &[&str] = &[
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_usage_by_hour.sql"),
    include_str!("../migrations/0003_accounts.sql"),
    include_str!("../migrations/0004_archive.sql"),
    include_str!("../migrations/0005_notices.sql"),
    include_str!("../migrations/0006_directories.sql"),
    include_str!("../migrations/0007_named_resources.sql"),
    include_str!("../migrations/0008_people.sql"),
    include_str!("../migrations/0009_classes.sql"),
    include_str!("../migrations/0010_guests.sql"),
    include_str!("../migrations/0011_closures.sql"),
];

/// Brings a database to the newest schema, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), Fault> {
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    let found = version(connection)?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known }.into());
    }
    if found == 0 && has_tables(connection)? {
        let what = "it is a database, but not one of Berth's".to_owned();
        return Err(StoreError::Corrupt { path: path.to_owned(), what }.into());
    }
    for (number, step) in (1..=known).zip(steps).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The schema's version; 0 for an empty database.
pub(super) fn version(connection: &Connection) -> Result<u32, Fault> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

fn has_tables(connection: &Connection) -> Result<bool, Fault> {
    Ok(connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, u32>(0))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A further step, so that there is a way from each version to a later one.
    const NEXT: &str =
        "CREATE TABLE later (id INTEGER PRIMARY KEY); ALTER TABLE tokens ADD COLUMN later TEXT;";

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement = connection
            .prepare("SELECT type || name || coalesce(sql, '') FROM sqlite_master ORDER BY 1")
            .unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn every_version_leads_to_the_newest() {
        let path = Path::new("berth.db");
        let steps = [STEPS, &[NEXT]].concat();
        let mut expected = None;
        for from in 0..=steps.len() {
            let mut connection = Connection::open_in_memory().unwrap();
            migrate(&mut connection, path, &steps[..from]).unwrap();
            assert_eq!(version(&connection).unwrap() as usize, from);
            migrate(&mut connection, path, &steps).unwrap();
            assert_eq!(version(&connection).unwrap() as usize, steps.len());
            let found = schema(&connection);
            assert!(found.len() > 10);
            assert_eq!(*expected.get_or_insert_with(|| found.clone()), found, "from version {from}");
            migrate(&mut connection, path, &steps).unwrap();
            assert_eq!(schema(&connection), found, "once more changes nothing");
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it() {
        let path = Path::new("berth.db");
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = [STEPS, &["CREATE TABLE half (id INTEGER); SELECT nonsense;"]].concat();
        assert!(migrate(&mut connection, path, &steps).is_err());
        assert_eq!(version(&connection).unwrap() as usize, STEPS.len());
        assert!(!schema(&connection).iter().any(|line| line.contains("half")));
    }

    #[test]
    fn a_newer_schema_and_a_strange_one_are_refused() {
        let path = Path::new("berth.db");
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let refused = migrate(&mut connection, path, STEPS).unwrap_err().about(path, "opened");
        assert!(matches!(refused, StoreError::Newer { found: 99, .. }), "{refused}");
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
        let refused = migrate(&mut connection, path, STEPS).unwrap_err().about(path, "opened");
        assert!(refused.to_string().contains("not one of Berth's"), "{refused}");
    }
}
