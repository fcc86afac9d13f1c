//! The daemon is killed, its files are damaged, its disk is full: nothing acknowledged is lost.

use std::{fs, path::PathBuf, process::Command};

use berth_api::{ClientError, Controls, ErrorCode, Submit};

use crate::harness::{Berth, Daemon, eventually, is_root, sh};

#[tokio::test]
async fn a_running_job_outlives_the_daemon_and_its_exit_code_is_known() {
    let mut berth = Berth::start().await;
    let (go, done) = (berth.path("go"), berth.path("done"));
    let script = format!(
        "echo $$; while [ ! -e {} ]; do sleep 0.02; done; touch {}; exit 42",
        go.display(),
        done.display()
    );
    let job = berth.submit(&script).await;
    berth.wait_for(job, "running").await;
    berth.kill_dash_9();
    fs::write(go, "").unwrap();
    eventually("its end", || async { done.exists() }).await;
    berth.start_again().await;
    let row = berth.end_of(job).await;
    assert_eq!((row.state.as_str(), row.exit_code, row.attempt), ("failed", Some(42), 1));
}

#[tokio::test]
async fn a_job_that_still_runs_is_taken_up_again() {
    let mut berth = Berth::start().await;
    let job = berth.submit("echo before; sleep 1000").await;
    berth.wait_for(job, "running").await;
    for _ in 0..3 {
        berth.kill_dash_9();
        berth.start_again().await;
        assert_eq!(berth.wait_for(job, "running").await.row.attempt, 1);
    }
    assert_eq!(berth.log(job).await, "before\n");
    berth.done(Controls::Suspend, job).await;
    berth.wait_for(job, "suspended").await;
    berth.kill_dash_9();
    berth.start_again().await;
    assert_eq!(berth.job(job).await.row.state, "suspended");
    berth.done(Controls::Kill, job).await;
    assert_eq!(berth.end_of(job).await.state, "killed");
}

#[tokio::test]
async fn what_waits_still_waits_after_a_crash_with_all_that_it_waits_for() {
    let mut berth = Berth::with(|setup| setup.cpus = 1).await;
    let blocking = berth.submit("sleep 1000").await;
    berth.wait_for(blocking, "running").await;
    let pending = berth.submit("true").await;
    let held = berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    let after = berth.submit_job(Submit { after_ok: vec![held.to_string()], ..sh("true") }).await;
    let array = berth.submit_job(Submit { array: Some("1-3%1".into()), ..sh("true") }).await;
    berth.kill_dash_9();
    berth.start_again().await;
    for (job, state) in
        [(blocking, "running"), (pending, "pending"), (held, "held"), (after, "held"), (array, "pending")]
    {
        assert_eq!(berth.job(job).await.row.state, state, "job {job}");
    }
    berth.done(Controls::Kill, blocking).await;
    berth.done(Controls::Release, held).await;
    for job in [pending, held, after, array] {
        berth.succeeds(job).await;
    }
}

#[tokio::test]
async fn a_time_limit_is_kept_while_the_daemon_is_away() {
    let mut berth = Berth::start().await;
    let pid = berth.path("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", pid.display());
    let job = berth.submit_job(Submit { time: Some("1s".into()), ..sh(&script) }).await;
    eventually("its number", || async { pid.exists() }).await;
    berth.kill_dash_9();
    let process = crate::harness::Process(fs::read_to_string(pid).unwrap().trim().parse().unwrap());
    eventually("its end", || async { process.state().is_none() }).await;
    berth.start_again().await;
    let row = berth.end_of(job).await;
    assert!(row.state == "killed" && row.detail.as_ref().unwrap().contains("time limit"), "{row:?}");
}

#[tokio::test]
async fn a_polite_end_leaves_jobs_running_too() {
    let mut berth = Berth::start().await;
    let job = berth.submit("sleep 1000").await;
    berth.wait_for(job, "running").await;
    berth.stop().await;
    assert!(!berth.path("s").exists(), "the socket is gone");
    berth.start_again().await;
    assert_eq!(berth.job(job).await.row.state, "running");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_state_is_told_who_has_it() {
    let berth = Berth::start().await;
    let mut second = Daemon::start(&berth.config(), &berth.path("second.log"), &berth.path("home"));
    assert_eq!(second.end().await.code(), Some(1));
    let words = second.words();
    assert!(
        words.contains("belongs to another Berth") && words.contains(&berth.process().0.to_string()),
        "{words}"
    );
    assert!(words.contains("stop that one"), "{words}");
    let job = berth.submit("true").await;
    berth.succeeds(job).await;
}

/// What is said of a database after something was done to it.
async fn words_after(damage: impl FnOnce(&PathBuf)) -> String {
    let mut berth = Berth::start().await;
    for _ in 0..50 {
        berth.submit_job(Submit { hold: true, ..sh("true") }).await;
    }
    berth.stop().await;
    damage(&berth.state().join("berth.db"));
    berth.try_start().await.unwrap_err()
}

#[tokio::test]
async fn a_truncated_database_is_not_used_and_the_words_say_what_to_do() {
    let cut = |path: &PathBuf| {
        let file = fs::File::options().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        assert!(length > 16_384, "{length}");
        file.set_len(length / 2).unwrap();
    };
    let words = words_after(cut).await;
    assert!(words.contains("berth.db is damaged") && words.contains("put a backup in its place"), "{words}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    let words = words_after(|path| fs::write(path, "dear diary").unwrap()).await;
    assert!(words.contains("does not begin as a SQLite database does"), "{words}");
}

#[tokio::test]
async fn a_database_that_was_emptied_is_not_taken_for_a_new_one_until_it_is_moved_away() {
    let mut berth = Berth::start().await;
    let first = berth.submit("true").await;
    berth.succeeds(first).await;
    berth.stop().await;
    let path = berth.state().join("berth.db");
    fs::write(&path, "").unwrap();
    for _ in 0..2 {
        let words = berth.try_start().await.unwrap_err();
        assert!(
            words.contains("it is empty, though Berth has kept jobs in it") && words.contains("move it away"),
            "{words}"
        );
    }
    fs::remove_file(path).unwrap();
    berth.start_again().await;
    assert!(berth.all_jobs().await.is_empty());
}

#[tokio::test]
async fn a_database_that_a_first_start_only_began_is_made_whole() {
    let mut berth = Berth::set_up(|_| {});
    fs::write(berth.state().join("berth.db"), "").unwrap();
    berth.start_again().await;
    let job = berth.submit("true").await;
    berth.succeeds(job).await;
}

#[tokio::test]
async fn a_database_of_another_cluster_is_not_taken_over() {
    let mut berth = Berth::start().await;
    berth.stop().await;
    let config = fs::read_to_string(berth.config()).unwrap();
    berth.write("berth.toml", config.replace("name = \"berth-t\"", "name = \"other\""));
    let words = berth.try_start().await.unwrap_err();
    assert!(words.contains("\"berth-t\"") && words.contains("\"other\""), "{words}");
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_shown_at_its_line_and_word() {
    let mut berth =
        Berth::set_up(|setup| setup.jobs = "default-cpus = \"many\"\ndefualt-time = \"1h\"".into());
    let words = berth.try_start().await.unwrap_err();
    let config = berth.config();
    let checked = berth.cli(["config", "check", "-c", config.to_str().unwrap()]).await;
    assert_eq!(checked.code, 1, "{checked:?}");
    for words in [words, format!("{}{}", checked.out, checked.err)] {
        for part in ["berth.toml:10:16", "\"many\"", "berth.toml:11:1", "defualt-time", "default-time", "^"] {
            assert!(words.contains(part), "{part}: {words}");
        }
    }
}

/// A small file system of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Self {
        assert!(is_root(), "only root can mount a file system");
        fs::create_dir_all(&path).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=64m,mode=755", "none"];
        assert!(Command::new("mount").args(options).arg(&path).status().unwrap().success());
        Self(path)
    }

    /// Uses up all that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        for size in [1 << 20, 4096, 512] {
            while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
        }
    }

    fn clear(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever still uses it is ended by then, or soon.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn on_a_full_disk_nothing_acknowledged_is_lost_and_berth_goes_on_when_there_is_room() {
    let mut disk = None;
    let mut berth = Berth::set_up(|setup| {
        disk = Some(SmallDisk::mount(setup.state.clone()));
        setup.fake("run = \"50ms\"");
    });
    berth.start_again().await;
    let disk = disk.unwrap();
    let running = berth.submit("true").await;
    // Its own end must not be what meets the full disk.
    berth.succeeds(running).await;
    disk.fill();
    let mut acknowledged = vec![running];
    let refused = loop {
        assert!(acknowledged.len() < 200_000, "the disk is never full");
        match berth.client().submit(&Submit { hold: true, name: Some("x".repeat(190)), ..sh("true") }).await {
            Ok(submitted) => acknowledged.push(submitted.id),
            Err(ClientError::Refused(body)) => break body,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(refused.code, ErrorCode::UnknownOutcome, "it was on its way when the disk was full");
    for part in ["no room is left for", "free some space", "look before you ask for it again"] {
        assert!(refused.message.contains(part), "{part}: {refused}");
    }
    let later = berth.client().submit(&sh("true")).await.unwrap_err();
    assert_eq!(later.code(), Some(ErrorCode::Unavailable), "nothing is taken in any more: {later}");
    let said = berth.cli(["submit", "--", "true"]).await;
    assert!(said.code == 3 && said.err.contains("try again in a while"), "{said:?}");
    let metrics = berth.http("GET", "/metrics", &[], b"").await;
    assert!(metrics.body.contains("berth_store_stalled 1"), "{metrics:?}");
    assert_eq!(berth.job(acknowledged[0]).await.row.id, acknowledged[0], "it still answers");
    disk.clear();
    eventually("room for a job", || async { berth.client().submit(&sh("true")).await.is_ok() }).await;
    let stored: std::collections::BTreeSet<u64> = berth.all_jobs().await.iter().map(|row| row.id).collect();
    assert!(acknowledged.iter().all(|job| stored.contains(job)));
    let unknown: Vec<_> = berth.all_jobs().await.into_iter().filter(|row| row.state == "held").collect();
    assert_eq!(unknown.len(), acknowledged.len(), "the one that was on its way is done, and once");
    disk.fill();
    berth.kill_dash_9();
    disk.clear();
    berth.start_again().await;
    let stored: std::collections::BTreeSet<u64> = berth.all_jobs().await.iter().map(|row| row.id).collect();
    assert!(acknowledged.iter().all(|job| stored.contains(job)), "and after a restart");
    berth.end_of(running).await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn jobs_that_end_while_the_disk_is_full_are_known_when_there_is_room() {
    let mut disk = None;
    let mut berth = Berth::set_up(|setup| disk = Some(SmallDisk::mount(setup.state.clone())));
    berth.start_again().await;
    let disk = disk.unwrap();
    let (go, done) = (berth.path("go"), berth.path("done"));
    let script =
        format!("while [ ! -e {} ]; do sleep 0.02; done; touch {}; exit 6", go.display(), done.display());
    let job = berth.submit(&script).await;
    berth.wait_for(job, "running").await;
    disk.fill();
    fs::write(go, "").unwrap();
    eventually("its end", || async { done.exists() }).await;
    disk.clear();
    assert_eq!(berth.end_of(job).await.exit_code, Some(6));
    let next = berth.submit("true").await;
    berth.succeeds(next).await;
}
