//! Directories of ended jobs that are packed, read from their packs, and safe from crashes.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use berth_api::{ControlRequest, Controls, Submit};

use crate::harness::{ANN, BOB, Berth, People, eventually, sh};

/// A site that packs.
async fn site() -> Berth {
    Berth::with(|setup| setup.jobs = "archive = \"pack\"".into()).await
}

fn pack_of(berth: &Berth, job: u64) -> PathBuf {
    berth.state().join(format!("archive/{}/{job}.tar.zst", job / 1000))
}

/// The job's directory, once it has succeeded.
async fn written(berth: &Berth, job: u64) -> PathBuf {
    berth.succeeds(job).await;
    berth.job(job).await.directory.into()
}

/// What is in the job's directory, with what it is.
async fn names(berth: &Berth, job: &str) -> Vec<(String, String)> {
    let files = berth.client().files(job, "").await.unwrap();
    files.into_iter().map(|file| (file.name, file.kind)).collect()
}

#[tokio::test]
async fn a_packed_job_has_one_file_and_shows_what_it_showed_before() {
    let berth = site().await;
    let script = "echo out; echo err >&2; mkdir -p a/b; echo deep > a/b/file; ln -s /etc/passwd link";
    let job = berth.submit_job(sh(script)).await;
    let directory = written(&berth, job).await;
    let number = job.to_string();
    let before = names(&berth, &number).await;
    berth.cli(["archive", &number]).await.ok();
    assert!(!directory.exists() && pack_of(&berth, job).exists());
    assert_eq!(names(&berth, &number).await, before);
    assert!(berth.cli(["files", &number, "a/b"]).await.ok().contains("file"));
    assert_eq!(berth.cli(["download", &number, "a/b/file", "-o", "-"]).await.ok(), "deep\n");
    assert_eq!(berth.cli(["logs", &number]).await.ok(), "out\n");
    assert_eq!(berth.cli(["logs", "--stderr", &number]).await.ok(), "err\n");
    for path in ["link", "none", "a", "../../secret"] {
        let refused = berth.cli(["download", &number, path, "-o", "-"]).await;
        assert!(refused.code != 0 && refused.out.is_empty(), "{path}: {refused:?}");
    }
    let history = berth.job(job).await.history;
    let words = "its directory was packed: 4 files, ";
    assert!(history.iter().any(|entry| entry.text.contains(words)), "{history:?}");
    let again = berth.cli(["rerun", &number]).await;
    assert!(again.code != 0 && again.err.contains("was archived on"), "{again:?}");
    assert!(berth.cli(["archive", &number]).await.ok().contains("archived already"));
}

#[tokio::test]
async fn where_the_site_removes_directories_one_can_still_have_ones_own_packed() {
    let berth = Berth::start().await;
    let array =
        berth.submit_job(Submit { array: Some("3-4".into()), ..sh("echo task $BERTH_TASK_INDEX") }).await;
    let directory = written(&berth, array).await;
    berth.cli(["archive", "--pack", &array.to_string()]).await.ok();
    assert!(!directory.exists());
    let task = format!("{array}.4");
    let out = berth.log(&task).await;
    assert!(out.starts_with("task"), "{out}");
    assert!(berth.cli(["files", &task]).await.ok().contains("stdout"));
    let none = berth.cli(["files", &format!("{array}.4"), "../3"]).await;
    assert!(none.code != 0, "{none:?}");
    let of = ControlRequest::of(Controls::Kill, vec![array.to_string()]);
    let refused = berth.client().control(&ControlRequest { pack: true, ..of }).await.unwrap_err();
    assert!(refused.to_string().contains("only what is archived is packed"), "{refused}");
}

#[tokio::test]
async fn what_is_too_large_for_a_pack_stays_where_it_is() {
    let berth = Berth::with(|setup| setup.jobs = "archive = \"pack\"\narchive-limit = \"1M\"".into()).await;
    let job = berth.submit("truncate -s 1T holes; echo kept").await;
    let directory = written(&berth, job).await;
    let refused = berth.cli(["archive", &job.to_string()]).await;
    assert!(refused.code == 1 && refused.err.contains("it holds more than 1M"), "{refused:?}");
    assert!(refused.err.contains("jobs.archive-limit"), "{refused:?}");
    assert!(directory.join("holes").exists() && !pack_of(&berth, job).exists());
    assert_eq!(berth.log(job).await, "kept\n");
}

#[tokio::test]
#[ignore = "needs root, to play several users"]
async fn a_pack_is_its_owners_and_holds_only_what_they_may_read() {
    let site = People::with(|setup| setup.jobs = "archive = \"pack\"".into()).await;
    let berth = &site.berth;
    let submitted = site.as_user(ANN, &["--json", "submit", "--", "/bin/sh", "-c", "echo mine"]).await.json();
    let job = submitted["id"].as_u64().unwrap();
    let directory = written(berth, job).await;
    berth.write("secret", "only root may read this");
    fs::set_permissions(berth.path("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::hard_link(berth.path("secret"), directory.join("linked")).unwrap();
    let number = job.to_string();
    let theirs = site.as_user(BOB, &["archive", &number]).await;
    assert!(theirs.code != 0 && directory.exists(), "{theirs:?}");
    site.as_user(ANN, &["archive", &number]).await.ok();
    let pack = fs::metadata(pack_of(berth, job)).unwrap();
    assert_eq!((pack.uid(), pack.mode() & 0o777), (ANN.1, 0o400));
    assert_eq!(site.as_user(ANN, &["logs", &number]).await.ok(), "mine\n");
    assert!(!site.as_user(ANN, &["files", &number]).await.ok().contains("linked"));
    let theirs = site.as_user(BOB, &["logs", &number]).await;
    assert!(theirs.code != 0 && theirs.out.is_empty(), "{theirs:?}");
    let history = berth.job(job).await.history;
    assert!(history.iter().any(|entry| entry.text.contains("1 that its owner cannot read")), "{history:?}");
    assert_eq!(fs::read_to_string(berth.path("secret")).unwrap(), "only root may read this");
}

/// Keeps everybody from writing to the database for as long as it is there.
fn keep_from_writing(berth: &Berth) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(berth.state().join("berth.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[tokio::test]
async fn killed_between_the_removal_and_its_note_berth_takes_it_up_again() {
    let mut berth = site().await;
    let job = berth.submit("echo kept; touch file").await;
    let directory = written(&berth, job).await;
    let lock = keep_from_writing(&berth);
    let client = berth.client().clone();
    let request = ControlRequest::of(Controls::Archive, vec![job.to_string()]);
    let asked = tokio::spawn(async move { client.control(&request).await });
    eventually("the removal", || async { !directory.exists() }).await;
    assert!(pack_of(&berth, job).exists(), "first there is a pack, and then no directory");
    berth.kill_dash_9();
    drop(lock);
    let _ = asked.await;
    berth.start_again().await;
    assert_eq!(berth.log(job).await, "kept\n");
    assert!(berth.cli(["files", &job.to_string()]).await.ok().contains("file"));
    let noted = || async {
        let history = berth.job(job).await.history;
        let notes = history.iter().filter(|entry| entry.text.starts_with("archived by berth, after a crash"));
        assert!(notes.count() <= 1, "{history:?}");
        history.iter().any(|entry| entry.text.starts_with("archived by berth, after a crash"))
    };
    eventually("the note", noted).await;
    let again = berth.cli(["rerun", &job.to_string()]).await;
    assert!(again.code != 0 && again.err.contains("was archived on"), "{again:?}");
    let marks = || async { fs::read_dir(berth.state().join("archive/under-way")).unwrap().count() == 0 };
    eventually("nothing to be taken up", marks).await;
}
