//! What jobs write.

use std::time::Duration;

use berth_executor_api::{LogQuery, Stream, UtcMs};

use crate::support::{ALL, Berth, sh};

const MUCH: &str = "i=0; while [ $i -lt 20000 ]; do echo \"line $i of standard output\"; \
                    [ $((i % 4)) -ne 0 ] || echo \"error $i\" >&2; i=$((i+1)); done";

fn much() -> (String, String) {
    let out = (0..20_000).map(|i| format!("line {i} of standard output\n")).collect();
    let err = (0..20_000).step_by(4).map(|i| format!("error {i}\n")).collect();
    (out, err)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn much_output_is_whole_and_separate() {
    let berth = Berth::new().await;
    let job = berth.sh(MUCH).await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    let (out, err) = much();
    assert!(berth.read(&job, "stdout") == out, "standard output differs");
    assert!(berth.read(&job, "stderr") == err, "standard error differs");
    assert!(berth.log(&job, LogQuery { stream: Stream::Stderr, ..ALL }).await == err);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_long_line_without_an_end_is_whole() {
    let berth = Berth::new().await;
    let job = berth.sh("head -c 300000 /dev/zero | tr '\\0' x; printf %s end").await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    let said = berth.read(&job, "stdout");
    assert!(said.len() == 300_003 && said.ends_with("xend"), "{} bytes", said.len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn outputs_are_whole_after_berth_was_killed_in_between() {
    let mut berth = Berth::new().await;
    let text =
        "i=0; while [ $i -lt 60 ]; do echo \"out $i\"; echo \"err $i\" >&2; sleep 0.1; i=$((i+1)); done";
    let job = berth.sh(text).await;
    for seen in ["out 10\n", "out 30\n"] {
        berth.wrote(&job, "stdout", seen).await;
        berth.crash().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        berth.start().await;
    }
    assert_eq!(berth.exit(&job).await.code, Some(0));
    let lines = |word: &str| (0..60).map(|i| format!("{word} {i}\n")).collect::<String>();
    assert_eq!(berth.read(&job, "stdout"), lines("out"));
    assert_eq!(berth.read(&job, "stderr"), lines("err"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn outputs_are_whole_that_were_written_while_berth_was_away() {
    let mut berth = Berth::new().await;
    let job = berth.sh(&format!("echo begun; sleep 1; {MUCH}")).await;
    berth.wrote(&job, "stdout", "begun").await;
    berth.crash().await;
    while berth.inspect(&job, "{{.State.Running}}").await == "true" {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    berth.start().await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    let (out, err) = much();
    assert!(berth.read(&job, "stdout") == format!("begun\n{out}"), "standard output differs");
    assert!(berth.read(&job, "stderr") == err, "standard error differs");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn both_outputs_can_be_one_file() {
    let mut berth = Berth::new().await;
    let mut job = berth.job(sh("echo one; sleep 0.5; echo two >&2; sleep 2; echo three"));
    job.stderr.clone_from(&job.stdout);
    let job = berth.taken(job).await;
    berth.wrote(&job, "stdout", "two").await;
    berth.crash().await;
    berth.start().await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    assert_eq!(berth.read(&job, "stdout"), "one\ntwo\nthree\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_terminal_makes_both_outputs_one() {
    let berth = Berth::new().await;
    let job = berth
        .sh_with("test -t 1 && echo terminal; echo error >&2; printf end", |spec| {
            spec.extensions.insert("docker.tty".into(), "true".into());
        })
        .await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    assert_eq!(berth.read(&job, "stdout"), "terminal\r\nerror\r\nend");
    assert_eq!(berth.read(&job, "stderr"), "");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn output_that_cannot_be_written_fails_the_job_before_it_runs() {
    let berth = Berth::new().await;
    let mut job = berth.job(sh("touch \"$BERTH_JOB_DIR/ran\""));
    job.stdout = "/proc/no-such-place/out".into();
    let job = berth.taken(job).await;
    let reason = berth.exit(&job).await.could_not_launch.unwrap();
    assert!(reason.contains("/proc/no-such-place/out"), "{reason}");
    assert!(!berth.file(&job, "ran").exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_users_link_leads_berth_nowhere() {
    let berth = Berth::new().await;
    let secret = berth.folder().join("secret");
    std::fs::write(&secret, "root's").unwrap();
    let job = berth.job(sh("echo mine"));
    // As a user could who has been there before.
    std::fs::create_dir_all(&job.directory).unwrap();
    std::os::unix::fs::chown(&job.directory, Some(crate::support::UID), Some(crate::support::UID)).unwrap();
    std::os::unix::fs::symlink(&secret, &job.stdout).unwrap();
    let job = berth.taken(job).await;
    assert!(berth.exit(&job).await.could_not_launch.is_some());
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "root's");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_log_is_given_from_a_time_on_and_its_end_of_that() {
    let berth = Berth::new().await;
    let job = berth.sh("echo early; sleep 2.5; echo late; echo later").await;
    let early = berth.running(&job).await.at;
    let since = Some(UtcMs(early.0 + 1500));
    let followed = berth.log(&job, LogQuery { since, follow: true, ..ALL }).await;
    assert_eq!(followed, "late\nlater\n");
    berth.ended(&job).await;
    assert_eq!(berth.log(&job, LogQuery { since, ..ALL }).await, "late\nlater\n");
    assert_eq!(berth.log(&job, LogQuery { since, tail_bytes: Some(6), ..ALL }).await, "later\n");
    assert_eq!(berth.log(&job, LogQuery { since: Some(UtcMs(1)), ..ALL }).await, "early\nlate\nlater\n");
}
