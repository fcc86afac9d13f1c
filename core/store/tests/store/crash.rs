//! A writer that is killed in the midst of its commits loses nothing that it has acknowledged, and
//! nothing of a batch is there by half.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use crate::suite::{
    build::{self, added, event, task_added, updated},
    run,
};
use berth_engine::Change;
use berth_model::JobId;
use berth_store::{Batch, ListQuery, SqliteOptions, SqliteStore, Store};

/// Tells a process of this test where to write.
const PATH: &str = "BERTH_STORE_CRASH_TEST";

/// Numbers that a batch takes: an array and its tasks.
const TAKES: u64 = 11;

const ROUNDS: u64 = 20;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, "berth", &SqliteOptions::default()).unwrap()
}

/// An array of ten tasks, all of which run at once.
fn batch(number: u64) -> Batch {
    let array = build::array(1 + number * TAKES, "1-10");
    let mut changes =
        vec![Change::NextId(JobId(array.id.0 + TAKES)), added(&array), event(array.id, 1, "added")];
    for position in 0..10 {
        let task = build::task(&array, position);
        changes.extend([task_added(&task), updated(task.id, build::running()), event(task.id, 2, "runs")]);
    }
    Batch::from(changes)
}

/// Checks that batches are there whole, and says how many.
async fn whole_batches(store: &SqliteStore) -> u64 {
    let restored = store.restore().await.unwrap();
    let batches = (restored.next_id.0 - 1) / TAKES;
    assert_eq!(restored.next_id.0, 1 + batches * TAKES);
    assert_eq!(restored.live.len() as u64, batches * TAKES);
    assert_eq!(store.last_event().await.unwrap(), batches * TAKES);
    let running = restored.live.iter().filter(|job| job.moving == build::running());
    assert_eq!(running.count() as u64, batches * 10);
    let arrays = store.list(ListQuery::default()).await.unwrap();
    assert_eq!(arrays.len() as u64, batches);
    for array in arrays {
        assert!(store.submission(array.id).await.unwrap().is_some());
    }
    batches
}

/// Writes batches from `first` on and prints the number of each when it is durable.
async fn write_batches(store: &SqliteStore, first: u64, most: u64) {
    let mut out = std::io::stdout();
    for number in first..first + most {
        store.commit(Arc::new(batch(number))).await.unwrap();
        // Nobody may read any more.
        let _ = writeln!(out, "acknowledged {number}").and_then(|()| out.flush());
    }
}

#[test]
#[ignore = "is the process that a_killed_writer_loses_nothing_acknowledged kills; alone it writes a little"]
fn writer() {
    let folder = tempfile::tempdir().unwrap();
    let (path, most) = match env::var_os(PATH) {
        Some(path) => (path.into(), u64::MAX / 2),
        None => (folder.path().join("berth.db"), 20),
    };
    let store = open(&path);
    run(async {
        let first = whole_batches(&store).await;
        write_batches(&store, first, most).await;
        assert_eq!(whole_batches(&store).await, first + most);
    });
}

#[test]
fn a_killed_writer_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.db");
    let mut total = 0;
    for round in 0..ROUNDS {
        let mut writer = Command::new(env::current_exe().unwrap())
            .args(["--exact", "crash::writer", "--ignored", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut last = None;
        // Odd numbers, so that the rounds end at different moments of a checkpoint's life.
        let wanted = 1 + round * round * 7 % 53;
        let mut seen = 0;
        while seen < wanted {
            let line = lines.next().expect("the writer ended by itself");
            if let Some(number) = acknowledged(&line) {
                last = Some(number);
                seen += 1;
            }
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // What it wrote before it died was acknowledged, too; the last line may be cut short.
        for line in lines {
            last = acknowledged(&line).or(last);
        }
        let batches = run(async { whole_batches(&open(&path)).await });
        assert!(batches > last.unwrap(), "round {round}: {last:?} was acknowledged, and {batches} are there");
        assert!(batches > total);
        total = batches;
    }
    assert!(total >= ROUNDS);
}

fn acknowledged(line: &str) -> Option<u64> {
    line.rsplit_once("acknowledged ")?.1.parse().ok()
}
