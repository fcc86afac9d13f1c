//! Jobs in containers of a real Docker Engine, through the daemon and the command line.

use std::time::Duration;

use berth_api::{Controls, Piece, Submit};
use berth_testbed::{IMAGE_BASH, IMAGE_PLAIN};

use crate::harness::{Containers, DEADLINE, Terminal, eventually, in_container, is_root, sh};

#[tokio::test]
#[ignore = "needs a Docker Engine"]
async fn run_follows_a_container_and_has_its_code() {
    let site = Containers::start().await;
    let script = "echo job $BERTH_JOB_ID as $(id -u); echo bad >&2; exit 3";
    let root = is_root().then_some("--root");
    let args = ["run", "--image", IMAGE_PLAIN].into_iter().chain(root).chain(["--", "sh", "-c", script]);
    let said = site.berth.cli(args).await;
    let uid = nix::unistd::getuid();
    assert_eq!((said.code, said.out.as_str()), (3, format!("job 1 as {uid}\n").as_str()), "{said:?}");
    assert!(said.err.contains("bad"), "{said:?}");
    eventually("the container is removed", async || site.containers().is_empty()).await;
    assert_eq!(site.berth.log(1).await, format!("job 1 as {uid}\n"), "the log outlives the container");
}

#[tokio::test]
#[ignore = "needs a Docker Engine"]
async fn a_program_runs_beside_a_job_in_its_container() {
    let site = Containers::start().await;
    let job = site.submit(IMAGE_PLAIN, "echo here > /tmp/inside; exec sleep 600").await;
    site.berth.wait_for(job, "running").await;
    let argv = ["sh", "-c", "while [ ! -e /tmp/inside ]; do sleep 0.1; done; cat /tmp/inside -; exit 7"];
    let client = site.berth.client();
    let (mut input, mut output) =
        client.exec(&job.to_string(), &argv.map(str::to_owned), false).await.unwrap();
    assert!(input.send("said").await && input.end().await);
    let mut came = Vec::new();
    let code = loop {
        match output.next().await.unwrap() {
            Piece::Bytes(bytes) => came.extend_from_slice(&bytes),
            Piece::Exit(code) => break code,
            Piece::End => panic!("it ended without a code"),
        }
    };
    assert_eq!((String::from_utf8(came).unwrap().as_str(), code), ("here\nsaid", 7));
    let stats = site.berth.json(["stats", &job.to_string()]).await;
    assert!(stats[0]["memory_bytes"].as_u64().unwrap() > 0, "{stats}");
    site.berth.done(Controls::Kill, job).await;
    assert_eq!(site.berth.end_of(job).await.state, "killed");
}

#[tokio::test]
#[ignore = "needs a Docker Engine"]
async fn a_program_beside_a_job_sees_the_terminal_as_large_as_it_is_and_becomes() {
    let site = Containers::start().await;
    let job = site.submit(IMAGE_PLAIN, "exec sleep 600").await;
    site.berth.wait_for(job, "running").await;
    let script = "for size in '30 100' '41 123'; do
        until [ \"$(stty size 2>&1)\" = \"$size\" ]; do sleep 0.1; done; echo it has $size; done; exit 7";
    let terminal = Terminal::open(100, 30);
    let mut exec = terminal.run(site.berth.command(["exec", &job.to_string(), "sh", "-c", script]));
    terminal.says("it has 30 100").await;
    terminal.resize(123, 41, &exec);
    terminal.says("it has 41 123").await;
    let status = tokio::time::timeout(DEADLINE, exec.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(7), "{}", terminal.drawn());
    site.berth.done(Controls::Kill, job).await;
    assert_eq!(site.berth.end_of(job).await.state, "killed");
}

#[tokio::test]
#[ignore = "needs a Docker Engine"]
async fn containers_outlive_a_killed_daemon_and_run_once() {
    let mut site = Containers::start().await;
    let job = site.submit(IMAGE_BASH, "echo begun; while [ ! -e go ]; do sleep 0.1; done; echo done").await;
    site.berth.wait_for(job, "running").await;
    site.berth.kill_dash_9();
    let begun = site.berth.path(&format!("jobs/0/{job}"));
    std::fs::write(begun.join("go"), "").unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    site.berth.start_again().await;
    let row = site.berth.succeeds(job).await;
    assert_eq!(row.exit_code, Some(0));
    assert_eq!(site.berth.log(job).await, "begun\ndone\n", "it ran once, and its log is whole");
}

#[tokio::test]
#[ignore = "needs a Docker Engine"]
async fn what_the_engine_has_not_got_is_said() {
    let site = Containers::start().await;
    let none = site.berth.submit_job(Submit { root: is_root(), ..sh("true") }).await;
    let row = site.berth.end_of(none).await;
    assert!(row.state == "failed" && format!("{:?}", row.cause).contains("names no image"), "{row:?}");
    let job = site.submit(IMAGE_PLAIN, "true").await;
    site.berth.succeeds(job).await;
    let said = site.berth.cli(["exec", &job.to_string(), "true"]).await;
    assert!(said.refused(4).contains("does not run"));
}

#[tokio::test]
#[ignore = "needs a Docker Engine"]
async fn a_projects_volume_is_mounted_for_its_jobs_and_for_no_others() {
    let site = Containers::start().await;
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    let reads = site.berth.open_folder("reads");
    std::fs::write(reads.join("sample"), "acgt").unwrap();
    let volume = format!("reads={}:ro", reads.display());
    site.berth.cli(["project", "create", "rna", "--add", &user, "--volume", &volume]).await.ok();
    let script = "cat /mnt/reads/sample 2>&1; touch /mnt/reads/new 2>/dev/null && echo written";
    let job = |project: &str| Submit {
        project: Some(project.into()),
        volumes: vec!["reads".into()],
        ..in_container(IMAGE_PLAIN, sh(script))
    };
    let ours = site.berth.submit_job(job("rna")).await;
    site.berth.end_of(ours).await;
    assert_eq!(site.berth.log(ours).await, "acgt", "it is there, for reading");
    let theirs = site.berth.submit_job(job("default")).await;
    site.berth.end_of(theirs).await;
    assert!(site.berth.log(theirs).await.contains("No such file"), "{}", site.berth.log(theirs).await);
}
