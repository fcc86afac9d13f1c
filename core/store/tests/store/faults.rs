//! Files that are not as they should be, disks without room, and other Berths.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use crate::suite::{
    build::{self, added, commit, event},
    run,
};
use berth_engine::Change;
use berth_model::JobId;
use berth_store::{Batch, SqliteOptions, SqliteStore, Store, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.db");
    (folder, path)
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, "berth", &SqliteOptions::default())
}

fn some_jobs(first: u64) -> Vec<Change> {
    let padding = "x".repeat(500);
    (first..first + 20).flat_map(|id| [added(&build::job(id)), event(JobId(id), 1, &padding)]).collect()
}

/// A closed database with some jobs in it.
fn filled(path: &Path) {
    run(async {
        let store = open(path).unwrap();
        for first in (1..400).step_by(20) {
            commit(&store, some_jobs(first)).await;
        }
    });
}

#[test]
fn a_second_berth_is_told_who_has_it() {
    let (_folder, path) = place();
    let first = open(&path).unwrap();
    let refused = open(&path).unwrap_err();
    let own = std::process::id();
    assert!(matches!(refused, StoreError::Owned { pid: Some(pid), .. } if pid == own), "{refused}");
    assert!(refused.to_string().contains(&format!("process {own}")), "{refused}");
    drop(first);
    open(&path).unwrap();
}

#[test]
fn nobody_else_can_read_the_files() {
    let (folder, path) = place();
    let store = open(&path).unwrap();
    run(commit(&store, some_jobs(1)));
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap()).collect();
    assert!(files.len() >= 3, "database, log and lock: {files:?}");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", file.file_name());
    }
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let _store = open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_closed_store_is_one_file_without_a_log() {
    let (folder, path) = place();
    filled(&path);
    let mut left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["berth.db", "berth.db.lock"]);
}

#[test]
fn a_truncated_file_is_refused_with_what_to_do() {
    for keep in [10, 100, 4_096, 60_000] {
        let (_folder, path) = place();
        filled(&path);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        assert!(file.metadata().unwrap().len() > 120_000);
        file.set_len(keep).unwrap();
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{keep}: {refused:?}");
        assert!(refused.to_string().contains("backup"), "{refused}");
        assert_eq!(fs::metadata(&path).unwrap().len(), keep, "it is left as it is");
    }
}

#[test]
fn a_scribbled_file_is_refused() {
    let (_folder, path) = place();
    filled(&path);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 4_096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");
}

#[test]
fn what_is_no_database_of_berths_is_refused_and_left_alone() {
    let (_folder, path) = place();
    fs::write(&path, "a shopping list, and a long one, longer than a header").unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("a shopping list"));
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");
}

#[test]
fn a_log_without_its_database_is_not_thrown_away() {
    let (folder, path) = place();
    let log = folder.path().join("berth.db-wal");
    fs::write(&log, "what was acknowledged last").unwrap();
    for empty in [false, true] {
        if empty {
            fs::write(&path, "").unwrap();
        }
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");
        assert!(log.exists());
    }
}

#[test]
fn a_newer_schema_and_another_cluster_are_refused() {
    let (_folder, path) = place();
    filled(&path);
    let refused = SqliteStore::open(&path, "other", &SqliteOptions::default()).unwrap_err();
    assert!(matches!(&refused, StoreError::OtherCluster { stored, .. } if stored == "berth"), "{refused:?}");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 77).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 77, .. }), "{refused:?}");
    assert!(refused.to_string().contains("newer Berth"), "{refused}");
}

#[test]
fn a_missing_folder_is_named() {
    let refused = open(Path::new("/nowhere/at/all/berth.db")).unwrap_err();
    assert!(matches!(refused, StoreError::Io { verb: "opened", .. }), "{refused:?}");
    assert!(refused.to_string().contains("/nowhere/at/all"), "{refused}");
}

#[test]
fn another_programs_lock_is_named_and_passes() {
    let (_folder, path) = place();
    let store = open(&path).unwrap();
    run(async {
        commit(&store, some_jobs(1)).await;
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let batch = Arc::new(Batch::from(some_jobs(21)));
        let refused = store.commit(Arc::clone(&batch)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Locked { .. }), "{refused:?}");
        assert!(refused.may_pass());
        assert_eq!(store.restore().await.unwrap().live.len(), 20, "reads go on");
        other.execute_batch("ROLLBACK").unwrap();
        store.commit(batch).await.unwrap();
        assert_eq!(store.restore().await.unwrap().live.len(), 40);
    });
}

#[test]
fn a_full_database_keeps_what_was_acknowledged_and_takes_the_rest_later() {
    let (_folder, path) = place();
    let small = SqliteOptions { most_bytes: Some(256 << 10), ..SqliteOptions::default() };
    let store = SqliteStore::open(&path, "berth", &small).unwrap();
    run(async {
        let (written, refused) = fill(&store).await;
        assert_full(&store, written, &refused).await;
        drop(store);
        let store = open(&path).unwrap();
        assert_eq!(store.restore().await.unwrap().live.len() as u64, written);
        commit(&store, some_jobs(written + 1)).await;
    });
}

/// Writes until there is no room: how many jobs were acknowledged, and what was said then.
async fn fill(store: &SqliteStore) -> (u64, StoreError) {
    let mut written = 0;
    loop {
        match store.commit(Arc::new(Batch::from(some_jobs(written + 1)))).await {
            Ok(_) => written += 20,
            Err(refused) => return (written, refused),
        }
        assert!(written < 100_000, "it never became full");
    }
}

async fn assert_full(store: &SqliteStore, written: u64, refused: &StoreError) {
    assert!(written > 0);
    assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    assert!(refused.may_pass());
    assert!(refused.to_string().contains("free some space"), "{refused}");
    assert_eq!(store.restore().await.unwrap().live.len() as u64, written);
    assert_eq!(store.last_event().await.unwrap(), written);
}

/// A file system of a few megabytes, gone when this is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(folder.path()).status();
        assert!(mount.unwrap().success());
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn a_full_disk_refuses_and_the_same_batch_goes_through_when_there_is_room() {
    let disk = SmallDisk::mount();
    let path = disk.0.path().join("berth.db");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let store = open(&path).unwrap();
    run(async {
        let (written, refused) = fill(&store).await;
        assert_full(&store, written, &refused).await;
        let batch = Arc::new(Batch::from(some_jobs(written + 1)));
        assert!(store.commit(Arc::clone(&batch)).await.unwrap_err().may_pass(), "still full");
        fs::remove_file(&ballast).unwrap();
        let committed = store.commit(batch).await.unwrap();
        assert_eq!(committed.first_event, written + 1, "no number was lost");
        assert_eq!(store.restore().await.unwrap().live.len() as u64, written + 20);
    });
    drop(store);
    let store = open(&path).unwrap();
    assert!(!run(store.restore()).unwrap().live.is_empty());
}
