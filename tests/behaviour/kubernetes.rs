//! Jobs in a Kubernetes cluster, through the daemon and the command line. The cluster is a stand-in.

use std::{os::unix::fs::PermissionsExt, path::Path};

use berth_testbed_kubernetes::{Kind, StandIn};

use crate::harness::{Berth, eventually, is_root};

/// A Berth whose jobs run in this cluster.
async fn with_cluster(stand_in: &StandIn, more: &str) -> Berth {
    Berth::with(|setup| {
        let folder = setup.directory.parent().unwrap().to_owned();
        // As a file system that nodes share is: its users get through.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        setup.executors = format!(
            "[executors.cluster]\nkind = \"kubernetes\"\nserver = {:?}\nhost-paths = [{folder:?}]\n{more}\n\
             [executors.cluster.images]\ndefault = \"site/plain:1\"\n",
            stand_in.url()
        );
        // The tests' own user may be root.
        setup.more = "[auth]\npolicy = \"local\"\n[auth.settings]\nallow-root-jobs = true\n".into();
    })
    .await
}

/// Submits a shell's work.
async fn submit(site: &Berth, options: &[&str], script: &str) -> u64 {
    let root: &[&str] = if is_root() { &["--root"] } else { &[] };
    let line = [&["submit"], options, root, &["--", "sh", "-c", script]].concat();
    site.cli(line).await.ok().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_in_a_cluster_and_outlives_a_killed_berth_there() {
    let stand_in = StandIn::start().await;
    let mut site = with_cluster(&stand_in, "").await;
    let go = site.path("go");
    let script =
        format!("echo begun >> log; while [ ! -e {} ]; do sleep 0.05; done; echo over; exit 3", go.display());
    let job = submit(&site, &[], &script).await;
    site.wait_for(job, "running").await;
    site.kill_dash_9();
    site.start_again().await;
    std::fs::write(go, "").unwrap();
    let end = site.end_of(job).await;
    assert_eq!((end.state.as_str(), end.exit_code), ("failed", Some(3)), "{end:?}");
    assert_eq!(site.log(job).await, "over\n");
    let directory = site.job(job).await.directory;
    let log = std::fs::read_to_string(Path::new(&directory).join("log")).unwrap();
    assert_eq!(log, "begun\n", "it ran once");
    eventually("nothing is left in the cluster", async || stand_in.all(Kind::Job).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ended_while_berth_was_dead_is_known_with_its_code() {
    let stand_in = StandIn::start().await;
    let mut site = with_cluster(&stand_in, "").await;
    let job = submit(&site, &[], "sleep 0.5; echo said; exit 5").await;
    site.wait_for(job, "running").await;
    site.kill_dash_9();
    let name = |pod: &serde_json::Value| pod["status"]["phase"] == "Failed";
    eventually("its Pod is over", async || stand_in.all(Kind::Pod).iter().any(name)).await;
    site.start_again().await;
    assert_eq!(site.end_of(job).await.exit_code, Some(5));
    assert_eq!(site.log(job).await, "said\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_room_in_the_cluster_is_pending_again_and_runs_when_there_is() {
    let stand_in = StandIn::start().await;
    stand_in.pod_quota(Some(0));
    let site = with_cluster(&stand_in, "no-room-after = \"300ms\"").await;
    let job = submit(&site, &[], "exit 0").await;
    eventually("it was taken back", async || format!("{:?}", site.why(job).await).contains("exceeded quota"))
        .await;
    stand_in.pod_quota(None);
    site.succeeds(job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_beside_a_job_in_the_cluster_is_reached_by_exec() {
    let stand_in = StandIn::start().await;
    let site = with_cluster(&stand_in, "").await;
    let job = submit(&site, &[], "sleep 60").await;
    site.wait_for(job, "running").await;
    let said = site.cli(["exec", &job.to_string(), "--", "sh", "-c", "echo in $BERTH_JOB_ID"]).await.ok();
    assert_eq!(said.trim(), format!("in {job}"));
}
