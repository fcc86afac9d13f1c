//! Networks and host ports that policies give out.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use berth_api::{Controls, Submit};
use berth_testbed::{IMAGE_PLAIN, OwnEngine, own_engine};
use tokio::process::Command;

use crate::harness::{Berth, Containers, Setup, eventually, is_root, said, sh};

/// Simulated nodes, and a bridge with this many host ports.
async fn bridge(ports: u32) -> Berth {
    Berth::with(|setup| {
        setup.fake(&format!("run = \"1h\"\nstate = {:?}", setup.state.parent().unwrap().join("fake")));
        let range = format!("7000-{}", 6999 + ports);
        setup.more = format!("[network]\npolicy = \"bridge\"\nsettings = {{ port-range = {range:?} }}\n");
    })
    .await
}

fn with_port() -> Submit {
    Submit { ports: vec![80], ..sh("true") }
}

async fn waits_for_a_port(berth: &Berth, job: u64) {
    eventually("the reason", async || {
        let said = berth.cli(["why", &job.to_string()]).await.out;
        said.contains("too few of the ports 7000-")
    })
    .await;
}

#[tokio::test]
async fn a_job_waits_with_the_reason_until_a_host_port_is_free() {
    let berth = bridge(1).await;
    let first = berth.submit_job(with_port()).await;
    berth.wait_for(first, "running").await;
    let second = berth.submit_job(with_port()).await;
    waits_for_a_port(&berth, second).await;
    berth.done(Controls::Kill, first).await;
    berth.end_of(first).await;
    berth.wait_for(second, "running").await;
}

#[tokio::test]
async fn a_host_port_is_neither_given_twice_nor_lost_by_a_crash() {
    let mut berth = bridge(1).await;
    let first = berth.submit_job(with_port()).await;
    berth.wait_for(first, "running").await;
    berth.kill_dash_9();
    berth.start_again().await;
    let second = berth.submit_job(with_port()).await;
    waits_for_a_port(&berth, second).await;
    berth.done(Controls::Kill, first).await;
    berth.end_of(first).await;
    berth.wait_for(second, "running").await;
}

#[tokio::test]
async fn tasks_of_an_array_get_host_ports_of_their_own() {
    let berth = bridge(2).await;
    let array = berth.submit_job(Submit { array: Some("1-3".into()), ..with_port() }).await;
    for task in 1..=2 {
        berth.wait_for(format!("{array}.{task}"), "running").await;
    }
    berth.done(Controls::Kill, format!("{array}.1")).await;
    berth.wait_for(format!("{array}.3"), "running").await;
}

#[tokio::test]
async fn jobs_that_are_killed_while_they_wait_for_their_network_leave_nothing_taken() {
    let berth = bridge(2).await;
    for _ in 0..50 {
        let job = berth.submit_job(with_port()).await;
        berth.control(Controls::Kill, job).await;
    }
    for _ in 0..2 {
        let job = berth.submit_job(with_port()).await;
        berth.wait_for(job, "running").await;
    }
}

#[tokio::test]
async fn a_job_is_rejected_that_its_executor_could_not_keep_apart() {
    let berth = Berth::with(|setup| {
        setup.fake("run = \"1h\"");
        setup.more = "[network]\npolicy = \"isolated\"\nsettings = { usual = \"user\" }\n".into();
    })
    .await;
    let job = berth.submit_job(with_port()).await;
    let row = berth.end_of(job).await;
    assert!(
        row.state == "rejected" && format!("{row:?}").contains("executor fake cannot keep it"),
        "{row:?}"
    );
}

/// Answers whoever asks at port 4000.
const ANSWERING: &str = "while :; do nc -l -p 4000 -e echo yes; done";

/// One of several people with a job in a network of a project or their own.
struct Person<'a> {
    user: (&'a str, u32),
    project: &'a str,
    label: &'a str,
}

/// A site with networks for users and projects, and the program where others can run it, too.
struct Isolated {
    site: Containers,
    program: PathBuf,
    /// While an engine makes a network, it takes what keeps networks apart out for an instant and puts it in again. So
    /// nobody else makes one here.
    _engine: OwnEngine,
}

impl Isolated {
    async fn start() -> Self {
        assert!(is_root(), "only root can play several users");
        let engine = own_engine(&[]);
        let isolated = |setup: &mut Setup| setup.more += "[network]\npolicy = \"isolated\"\n";
        let site = Containers::on((*engine).clone(), isolated).await;
        let program = site.berth.path("berth");
        fs::copy(env!("CARGO_BIN_EXE_berth"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { site, program, _engine: engine }
    }

    /// Submits a job that answers; its number.
    async fn submit(&self, person: &Person<'_>) -> u64 {
        let (Person { project, label, user }, mut command) = (person, Command::new(&self.program));
        command.args([
            "submit",
            "--cpus",
            "0.1",
            "--image",
            IMAGE_PLAIN,
            "--project",
            project,
            "--network",
            label,
        ]);
        command.args(["--", "sh", "-c", ANSWERING]).uid(user.1).gid(user.1).current_dir("/").env_clear();
        command.env("BERTH_SERVER", format!("unix:{}", self.site.berth.path("s").display()));
        let number = said(command).await.ok().trim().parse().unwrap();
        self.site.berth.wait_for(number, "running").await;
        number
    }

    fn address(&self, job: u64) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        self.site.docker(&["inspect", "-f", format, &self.site.container(job)])
    }

    fn reaches(&self, from: u64, address: &str) -> bool {
        let script =
            format!("timeout 2 nc -w 1 {address} 4000 </dev/null | grep -q . && echo yes || echo no");
        self.site.docker(&["exec", &self.site.container(from), "sh", "-c", &script]) == "yes"
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine and root"]
async fn jobs_of_one_user_or_of_one_project_reach_each_other_and_nobody_else() {
    let (ann, bob) = (("nobody", 65534), ("daemon", 1));
    let people = [
        Person { user: ann, project: "p", label: "user" },
        Person { user: ann, project: "q", label: "user" },
        Person { user: bob, project: "p", label: "user" },
        Person { user: ann, project: "p", label: "project" },
        Person { user: bob, project: "p", label: "project" },
        Person { user: bob, project: "q", label: "project" },
    ];
    let isolated = Isolated::start().await;
    let mut jobs = Vec::new();
    for person in &people {
        jobs.push(isolated.submit(person).await);
    }
    let addresses: Vec<String> = jobs.iter().map(|&job| isolated.address(job)).collect();
    for (from, one) in people.iter().enumerate() {
        for (to, other) in people.iter().enumerate().filter(|(to, _)| *to != from) {
            let same = match one.label {
                "user" => one.user == other.user,
                _ => one.project == other.project,
            };
            let expected = one.label == other.label && same;
            let reached = isolated.reaches(jobs[from], &addresses[to]);
            assert_eq!(reached, expected, "from {from} to {to} at {}", addresses[to]);
        }
    }
    assert_eq!(isolated.site.networks_on_demand(), 4);
    for job in jobs {
        isolated.site.berth.done(Controls::Kill, job).await;
    }
    eventually("no network is left", async || isolated.site.networks_on_demand() == 0).await;
}
