//! Networks and ports.

use std::time::Duration;

use berth_executor_api::{AttemptState, Executor, ExecutorError, Launch, NetworkAttachment};
use berth_testbed::own_engine;
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{Berth, LONG, PATIENCE, terminate};

/// Answers each line with the same in capitals, again and again.
const SERVER: &str = "echo up; while :; do nc -l -p 4000 -e tr a-z A-Z; done";

async fn external() -> Berth {
    Berth::with(|config| config.network = "external".into()).await
}

/// Says something to whoever listens, as soon as somebody does.
async fn ask(host: &str, port: u16, words: &str) -> String {
    let asked = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect((host, port)).await {
                let mut answer = String::new();
                let said =
                    stream.write_all(words.as_bytes()).await.is_ok() && stream.shutdown().await.is_ok();
                if said && stream.read_to_string(&mut answer).await.is_ok() && !answer.is_empty() {
                    return answer;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn berths_networks_are_made_and_come_again() {
    let berth = external().await;
    let job = berth.sh("true").await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    let name = |role: &str| format!("berth-{}-{role}", berth.config.cluster);
    let (external, internal) = (name("external"), name("internal"));
    let job = berth
        .sh_with("true", |spec| {
            spec.network = Some(NetworkAttachment {
                network: "internal".into(),
                ports: Vec::new(),
                ..NetworkAttachment::default()
            });
        })
        .await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    for (network, inside) in [(&external, "false"), (&internal, "true")] {
        assert_eq!(berth.docker(&["network", "inspect", "-f", "{{.Internal}}", network]).await, inside);
    }
    let attempts = berth.executor().attempts().await.unwrap();
    berth.executor().remove(&attempts).await.unwrap();
    berth.docker(&["network", "rm", &external, &internal]).await;
    let job = berth.sh("true").await;
    let report = berth.ended(&job).await;
    assert_eq!(crate::support::exit_of(&report).code, Some(0), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_port_is_published_where_there_is_room_and_told() {
    let berth = external().await;
    let job = berth.sh_with(SERVER, |spec| spec.ports = vec![4000]).await;
    let report = berth.running(&job).await;
    assert_eq!((report.ports.len(), report.ports[0].job), (1, 4000));
    assert!(!report.addresses.is_empty());
    assert_eq!(ask("127.0.0.1", report.ports[0].host_port, "hello\n").await, "HELLO\n");
    berth.control(&job, terminate(Duration::ZERO)).await;
    berth.ended(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_port_that_is_taken_gives_the_job_back_and_leaves_nothing() {
    let berth = external().await;
    let taken = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let fixed = |spec: &mut berth_executor_api::LaunchSpec| {
        spec.extensions.insert("docker.ports".into(), format!("{port}:4000"));
    };
    let job = berth.sh_with(LONG, fixed).await;
    let report = berth.report(&job, "given back", |state| *state == AttemptState::NoRoom).await;
    assert!(report.message.unwrap().contains("port"));
    assert_eq!(berth.truth(&job).await, berth_executor_api::Truth::Absent);
    drop(taken);
    let job = berth.sh_with(LONG, fixed).await;
    assert_eq!(berth.running(&job).await.ports[0].host_port, port);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn bytes_go_to_a_port_of_a_job_and_come_back() {
    let berth = external().await;
    let job = berth.sh(SERVER).await;
    berth.wrote(&job, "stdout", "up").await;
    let asked = async {
        loop {
            match berth.executor().connect(&job.attempt, 4000).await {
                Ok(mut connection) => {
                    connection.input.write_all(b"netcat\n").await.unwrap();
                    connection.input.shutdown().await.unwrap();
                    let mut answer = String::new();
                    connection.output.read_to_string(&mut answer).await.unwrap();
                    return answer;
                }
                Err(ExecutorError::Refused { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, asked).await.unwrap(), "NETCAT\n");
    let refused = berth.executor().connect(&job.attempt, 4001).await.err().unwrap();
    assert!(matches!(refused, ExecutorError::Refused { .. }), "{refused}");
    berth.control(&job, terminate(Duration::ZERO)).await;
    berth.ended(&job).await;
    let over = berth.executor().connect(&job.attempt, 4000).await.err().unwrap();
    assert!(matches!(over, ExecutorError::UnknownAttempt { .. }), "{over}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_clean_up_takes_this_clusters_things_and_no_others() {
    let (berth, other) = (external().await, external().await);
    let (mine, theirs) = (berth.sh(LONG).await, other.sh(LONG).await);
    berth.running(&mine).await;
    other.running(&theirs).await;
    let told = berth.executor().cleanup(true).await.unwrap();
    assert!(told.iter().any(|line| line.contains(mine.attempt.as_str())), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("network")), "{told:?}");
    assert!(!told.iter().any(|line| line.contains(&other.config.cluster)), "{told:?}");
    berth.executor().cleanup(false).await.unwrap();
    assert_eq!(berth.executor().cleanup(true).await.unwrap(), Vec::<String>::new());
    assert_eq!(other.inspect(&theirs, "{{.State.Status}}").await, "running");
    let ends =
        berth.told(&mine).iter().filter(|report| matches!(report.state, AttemptState::Exited(_))).count();
    assert_eq!(ends, 0, "a clean-up is no end of the job's own");
}

/// Answers whoever asks, until it is ended.
const ANSWERING: &str = "echo up; while :; do nc -l -p 4000 -e echo yes; done";

/// A job of this network, which answers at port 4000; and its address.
async fn answering(berth: &Berth, network: &str, internal: bool) -> (Launch, String) {
    let job = berth
        .sh_with(ANSWERING, |spec| {
            let network = network.to_owned();
            spec.network = Some(NetworkAttachment { network, on_demand: true, internal, ports: Vec::new() });
        })
        .await;
    berth.wrote(&job, "stdout", "up").await;
    let address = berth.inspect(&job, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}").await;
    (job, address)
}

/// Those of these addresses whose port 4000 a job reaches. All are tried at once, in one call, and thrice,
/// since who answers is away for an instant between two calls.
async fn reached(berth: &Berth, from: &Launch, addresses: &[&str]) -> Vec<String> {
    let try_one = "for i in 1 2 3; do nc -w 2 $to 4000 </dev/null | grep -q . && echo $to && break; done";
    let script = format!("for to in {}; do ({try_one}) & done; wait", addresses.join(" "));
    let said = berth.docker(&["exec", from.attempt.as_str(), "sh", "-c", &script]).await;
    said.lines().map(str::to_owned).collect()
}

/// What shows why a packet came through: who has which address, and the rules between networks.
async fn what_the_engine_does(berth: &Berth, from: &Launch) -> String {
    let format = "{{.Name}} {{range .NetworkSettings.Networks}}{{.NetworkID}} {{.IPAddress}} {{end}}";
    let containers = berth.docker(&["ps", "-q", "--no-trunc"]).await;
    let inspect: Vec<&str> = ["inspect", "-f", format].into_iter().chain(containers.lines()).collect();
    let addresses = berth.docker(&inspect).await;
    let rules = std::process::Command::new("iptables-save").args(["-t", "filter"]).output();
    let rules = rules
        .map_or_else(|error| error.to_string(), |rules| String::from_utf8_lossy(&rules.stdout).into_owned());
    format!("from {}\n{addresses}\n{rules}", from.attempt)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn jobs_reach_those_of_their_network_and_nobody_elses() {
    // While an engine makes a network, it takes what keeps networks apart out for an instant and puts it in again. So
    // nobody else makes one here.
    let engine = tokio::task::spawn_blocking(|| own_engine(&[])).await.unwrap();
    let berth = Berth::on((*engine).clone(), |config| config.network = "external".into()).await;
    // As the policy `isolated` names those of two users and of two projects; two jobs in each.
    let mut jobs = Vec::new();
    for network in ["user-alice", "user-bob", "project-alice", "project-\u{fc}.x"] {
        for _ in 0..2 {
            let (job, address) = answering(&berth, network, false).await;
            jobs.push((network, job, address));
        }
    }
    let public = berth.sh(ANSWERING).await;
    berth.wrote(&public, "stdout", "up").await;
    let all: Vec<&str> = jobs.iter().map(|(_, _, address)| address.as_str()).collect();
    let looks = jobs.iter().map(async |(of, from, own)| {
        let sisters: Vec<&str> = jobs
            .iter()
            .filter(|(network, _, address)| network == of && address != own)
            .map(|(_, _, address)| address.as_str())
            .collect();
        // A job reaches itself as well.
        let others: Vec<&str> = all.iter().copied().filter(|address| address != own).collect();
        let got = reached(&berth, from, &others).await;
        if got != sisters {
            let seen = what_the_engine_does(&berth, from).await;
            panic!("{of}: {own} reaches {got:?} and not just {sisters:?}; {seen}");
        }
    });
    join_all(looks).await;
    let got = reached(&berth, &public, &all).await;
    assert_eq!(got, Vec::<String>::new(), "from outside");
    berth.executor().cleanup(false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_network_on_demand_goes_with_its_last_job_and_one_that_is_internal_leads_nowhere() {
    let mut berth = external().await;
    let name = format!("berth-{}.user-alice", berth.config.cluster);
    let (first, _) = answering(&berth, "user-alice", true).await;
    assert_eq!(berth.docker(&["network", "inspect", "-f", "{{.Internal}}", &name]).await, "true");
    let (second, address) = answering(&berth, "user-alice", true).await;
    assert_eq!(reached(&berth, &first, &[&address]).await, [address]);
    end(&berth, &first).await;
    assert!(is_there(&berth, &name).await, "the other one needs it");
    // Whose the network is, is known after a crash as well.
    berth.crash().await;
    berth.start().await;
    end(&berth, &second).await;
    gone(&berth, &name).await;
    // And it comes again.
    let (third, _) = answering(&berth, "user-alice", false).await;
    assert_eq!(berth.docker(&["network", "inspect", "-f", "{{.Internal}}", &name]).await, "false");
    end(&berth, &third).await;
    gone(&berth, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_network_that_nobody_needs_after_a_crash_is_removed_and_a_strangers_is_not_touched() {
    let mut berth = external().await;
    let name = |of: &str| format!("berth-{}.{of}", berth.config.cluster);
    let (left, strangers) = (name("user-left"), name("user-strange"));
    let (job, _) = answering(&berth, "user-left", false).await;
    berth.crash().await;
    berth.docker(&["rm", "-f", job.attempt.as_str()]).await;
    berth.docker(&["network", "create", &strangers]).await;
    berth.start().await;
    gone(&berth, &left).await;
    let refused = berth
        .sh_with("true", |spec| {
            let network = "user-strange".to_owned();
            spec.network =
                Some(NetworkAttachment { network, on_demand: true, ..NetworkAttachment::default() });
        })
        .await;
    let report = berth.ended(&refused).await;
    let words = crate::support::exit_of(&report).could_not_launch.clone().unwrap_or_default();
    assert!(words.contains("not of Berth's making"), "{report:?}");
    assert!(is_there(&berth, &strangers).await);
    berth.docker(&["network", "rm", &strangers]).await;
}

async fn end(berth: &Berth, job: &Launch) {
    berth.control(job, terminate(Duration::ZERO)).await;
    berth.ended(job).await;
    berth.executor().remove(std::slice::from_ref(&job.attempt)).await.unwrap();
}

async fn is_there(berth: &Berth, network: &str) -> bool {
    let filter = format!("name=^{}$", network.replace('.', "\\."));
    !berth.docker(&["network", "ls", "-q", "--filter", &filter]).await.is_empty()
}

async fn gone(berth: &Berth, network: &str) {
    let wait = async {
        while is_there(berth, network).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{network} stays"));
}
