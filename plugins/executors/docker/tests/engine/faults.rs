//! What can go wrong, and what is said then.

use std::time::Duration;

use berth_executor_api::{AttemptState, Executor, ExecutorError, Mount, Report};
use berth_testbed::{IMAGE_PLAIN, Wish, own_engine};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

use crate::support::{Berth, LONG, exit_of, proxy::Proxy, sh};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_mount_of_what_is_not_there_is_told_and_makes_nothing() {
    let berth = Berth::new().await;
    let missing = berth.folder().join("missing");
    let mount = Mount {
        name: "data".into(),
        source: missing.to_str().unwrap().into(),
        target: "/data".into(),
        read_only: true,
    };
    let job = berth.sh_with("true", |spec| spec.mounts = vec![mount]).await;
    let reason = berth.exit(&job).await.could_not_launch.unwrap();
    assert!(reason.contains(missing.to_str().unwrap()), "{reason}");
    assert!(!missing.exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_the_engine_cannot_give_is_told_in_its_words() {
    let berth = Berth::new().await;
    for (key, value, part) in
        [("docker.runtime", "nonesuch", "untime"), ("docker.ulimits", "nofile=99999999:99999999", "rlimit")]
    {
        let job = berth
            .sh_with("true", |spec| {
                spec.extensions.insert(key.into(), value.into());
            })
            .await;
        let reason = berth.exit(&job).await.could_not_launch.unwrap();
        assert!(reason.contains(part), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_container_that_someone_else_removes_has_an_end_with_a_reason() {
    let mut berth = Berth::new().await;
    let job = berth.sh(&format!("echo up; {LONG}")).await;
    berth.wrote(&job, "stdout", "up").await;
    berth.docker(&["rm", "-f", job.attempt.as_str()]).await;
    let report = berth.ended(&job).await;
    assert!(report.message.as_ref().unwrap().contains("removed by someone other than Berth"), "{report:?}");
    let exit = exit_of(&report);
    assert!(exit.before_stop && exit.code != Some(0), "{exit:?}");
    // Also for a Berth that comes later.
    berth.crash().await;
    berth.start().await;
    assert_eq!(berth.exit_by_truth(&job).await, exit);
    berth.executor().remove(std::slice::from_ref(&job.attempt)).await.unwrap();
    assert_eq!(berth.truth(&job).await, berth_executor_api::Truth::Absent);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_lost_engine_is_told_and_found_again_and_nothing_is_lost() {
    let engine = tokio::task::spawn_blocking(berth_testbed::docker_engine).await.unwrap();
    let front = crate::support::folder();
    let proxy = Proxy::new(front.path(), &engine.socket);
    let socket = proxy.socket.clone();
    let berth = Berth::on(engine, |config| {
        config.endpoint = berth_docker_engine::Endpoint::Unix(socket);
        config.answer_within = Duration::from_secs(5);
    })
    .await;
    let jobs = [berth.sh("sleep 1; echo a; exit 1").await, berth.sh("sleep 1; echo b; exit 2").await];
    for job in &jobs {
        berth.running(job).await;
    }
    proxy.cut();
    berth.heard("the engine being away", |report| matches!(report, Report::Away(_)).then_some(())).await;
    let error = berth.executor().reconcile(&[jobs[0].attempt.clone()]).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    proxy.mend();
    for (job, (code, said)) in jobs.iter().zip([(1, "a\n"), (2, "b\n")]) {
        assert_eq!(berth.exit(job).await.code, Some(code));
        assert_eq!(berth.read(job, "stdout"), said);
    }
    berth.heard("the engine being back", |report| matches!(report, Report::Back).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_answers_there_and_is_no_engine_counts_as_none() {
    let place = crate::support::folder();
    let socket = place.path().join("garbage.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let garbage = tokio::spawn(async move {
        let answers =
            ["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "220 mail.example ready\r\n", ""];
        for answer in answers.iter().cycle() {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let berth = Berth::with(|config| {
        config.endpoint = berth_docker_engine::Endpoint::Unix(socket);
        config.answer_within = Duration::from_secs(5);
    })
    .await;
    let words = berth.heard("the engine being away", |report| match report {
        Report::Away(words) => Some(words.clone()),
        _ => None,
    });
    assert!(!words.await.is_empty());
    for _ in 0..3 {
        let error = berth.executor().launch(&[berth.job(sh("true"))]).await.unwrap_err();
        assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
        let error = berth.executor().capacity().await.unwrap_err();
        assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    }
    garbage.abort();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn an_engine_whose_disk_is_full_gives_jobs_back_until_there_is_room() {
    let engine = tokio::task::spawn_blocking(|| own_engine(&[Wish::Disk("96m")])).await.unwrap();
    let berth = Berth::on((*engine).clone(), |_| ()).await;
    let first = berth.sh("true").await;
    assert_eq!(berth.exit(&first).await.code, Some(0));
    let filler = berth.engine.clone();
    let fill = move || {
        let fill = "dd if=/dev/zero of=/fill bs=64k; sync";
        filler.try_docker(&["run", "--name", "filler", "--network", "none", IMAGE_PLAIN, "sh", "-c", fill])
    };
    tokio::task::spawn_blocking(fill).await.unwrap();
    let job = berth.sh("echo whole").await;
    let told = berth
        .report(&job, "over or given back", |state| {
            matches!(state, AttemptState::NoRoom | AttemptState::Exited(_))
        })
        .await;
    assert_eq!(told.state, AttemptState::NoRoom, "{told:?}");
    assert!(told.message.unwrap().contains("disk is full"));
    berth.docker(&["rm", "-f", "filler"]).await;
    let job = berth.sh("echo whole").await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    assert_eq!(berth.read(&job, "stdout"), "whole\n");
    drop(berth);
    drop(engine);
}
