//! Several people on one Berth: nobody sees or touches another's jobs without the right to.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use crate::harness::{ANN, BOB, People};

#[tokio::test]
#[ignore = "needs root"]
async fn a_job_runs_as_its_owner_with_the_owners_groups_and_files() {
    let people = People::start().await;
    let ran =
        people.as_user(ANN, &["run", "--", "sh", "-c", "id -u; id -un; id -G; touch made; umask"]).await.ok();
    let lines: Vec<&str> = ran.lines().collect();
    assert_eq!(lines[..2], ["65534", "nobody"], "{ran}");
    assert!(!lines[2].split(' ').any(|group| group == "0"), "none of root's groups: {ran}");
    let job = people.berth.job(1).await;
    assert_eq!(job.row.user, "nobody");
    for path in [job.directory.clone(), job.stdout, format!("{}/made", job.directory)] {
        assert_eq!(fs::metadata(&path).unwrap().uid(), ANN.1, "{path}");
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn anothers_job_is_neither_seen_nor_touched() {
    let people = People::start().await;
    let number = people.as_user(ANN, &["submit", "-e", "SECRET=hunter2", "--", "sleep", "1000"]).await.ok();
    assert_eq!(number, "1\n");
    people.berth.wait_for(1, "running").await;
    let listed = people.as_user(BOB, &["--json", "jobs", "--all"]).await.json();
    assert_eq!(listed["jobs"], serde_json::json!([]));
    let by_name = people.as_user(BOB, &["--json", "jobs", "--user", "nobody"]).await.json();
    assert_eq!(by_name["jobs"], serde_json::json!([]));
    for args in [vec!["job", "1"], vec!["why", "1"], vec!["logs", "1"], vec!["files", "1"], vec!["wait", "1"]]
    {
        let refused = people.as_user(BOB, &args).await.refused(5);
        assert!(refused.contains("there is no job 1") && !refused.contains("hunter2"), "{refused}");
    }
    for verb in ["kill", "suspend", "hold", "rerun"] {
        let said = people.as_user(BOB, &[verb, "1"]).await;
        assert_ne!(said.code, 0, "{verb}: {said:?}");
    }
    assert_ne!(people.as_user(BOB, &["kill", "--user", "nobody"]).await.code, 0);
    let after = people.as_user(BOB, &["submit", "--after-ok", "1", "--", "true"]).await;
    assert_ne!(after.code, 0, "nor does one learn of it by depending on it: {after:?}");
    assert_eq!(people.berth.job(1).await.row.state, "running");
    assert_eq!(people.as_user(ANN, &["--json", "jobs"]).await.json()["jobs"][0]["id"], 1);
}

#[tokio::test]
#[ignore = "needs root"]
async fn an_administrator_kills_for_others_and_the_words_say_so() {
    let people = People::start().await;
    people.as_user(ANN, &["submit", "--", "sleep", "1000"]).await.ok();
    people.berth.wait_for(1, "running").await;
    people.berth.cli(["kill", "1"]).await.ok();
    let row = people.berth.end_of(1).await;
    assert!(row.state == "killed" && row.detail.as_ref().unwrap().contains("administrator root"), "{row:?}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn what_only_administrators_may_do_is_refused_to_others() {
    let people = People::start().await;
    for args in [
        vec!["plugin", "reload", "scheduler"],
        vec!["token", "create", "--user", "root", "stolen"],
        vec!["submit", "--root", "--", "id"],
    ] {
        let refused = people.as_user(ANN, &args).await.refused(4);
        assert!(!refused.is_empty(), "{args:?}");
    }
    assert!(people.berth.all_jobs().await.is_empty());
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_hold_by_an_administrator_is_not_released_by_the_owner() {
    let people = People::start().await;
    people.as_user(ANN, &["submit", "--hold", "--", "true"]).await.ok();
    people.berth.cli(["hold", "1"]).await.ok();
    people.as_user(ANN, &["release", "1"]).await;
    assert_eq!(people.berth.job(1).await.row.state, "held");
    people.berth.cli(["release", "1"]).await.ok();
    people.berth.succeeds(1).await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn links_in_a_jobs_directory_lead_nobody_to_others_files() {
    let people = People::start().await;
    let secret = people.berth.write("secret", "do not show");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let (file, folder) = (secret.display(), people.berth.path("").display().to_string());
    let script =
        format!("ln -s {file} link; ln -s {folder} folder; ln -s / root; rm stdout; ln -s {file} stdout");
    people.as_user(ANN, &["submit", "--", "sh", "-c", &script]).await.ok();
    people.berth.succeeds(1).await;
    for path in ["link", "folder/secret", "root/etc/passwd", "root/etc/shadow", "stdout"] {
        for answer in [
            people.as_user(ANN, &["download", "1", path, "-o", "/dev/stdout"]).await,
            people.berth.cli(["download", "1", path, "-o", "/dev/stdout"]).await,
        ] {
            assert_ne!(answer.code, 0, "{path}: {answer:?}");
            assert!(
                !answer.out.contains("do not show") && !answer.out.contains("root:"),
                "{path}: {answer:?}"
            );
        }
    }
    let log = people.as_user(ANN, &["logs", "1"]).await;
    assert!(!log.out.contains("do not show"), "{log:?}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn outputs_are_written_with_the_owners_rights() {
    let people = People::start().await;
    let target = people.berth.path("roots-folder");
    fs::create_dir(&target).unwrap();
    let output = format!("{}/out", target.display());
    people.as_user(ANN, &["submit", "-o", &output, "--", "echo", "hello"]).await.ok();
    let row = people.berth.end_of(1).await;
    assert_eq!(row.state, "failed", "{row:?}");
    assert!(!target.join("out").exists());
}

#[tokio::test]
#[ignore = "needs root"]
async fn users_give_no_higher_priority_than_the_site_lets_them_and_keep_what_an_administrator_gave() {
    let people = People::with(|setup| setup.jobs = "most-priority = 5\n".into()).await;
    let refused = people.as_user(ANN, &["submit", "--hold", "--priority", "6", "--", "true"]).await;
    assert!(refused.code != 0 && refused.err.contains("only administrators give more than 5"), "{refused:?}");
    people.as_user(ANN, &["submit", "--hold", "--priority", "5", "--", "true"]).await.ok();
    let refused = people.as_user(ANN, &["alter", "--priority", "6", "1"]).await;
    assert!(refused.code != 0 && refused.err.contains("only administrators give more than 5"), "{refused:?}");
    people.berth.cli(["alter", "--priority", "90", "1"]).await.ok();
    people.as_user(ANN, &["alter", "--cpus", "2", "1"]).await.ok();
    assert_eq!(people.berth.job(1).await.row.priority, 90, "it stays as it was given");
    people.as_user(ANN, &["alter", "--priority", "70", "1"]).await.ok();
    let refused = people.as_user(ANN, &["alter", "--priority", "90", "1"]).await;
    assert_ne!(refused.code, 0, "down and not up again: {refused:?}");
    people.berth.cli(["submit", "--hold", "--priority", "90", "--", "true"]).await.ok();
}
