//! Networks and ports.

use std::time::Duration;

use berth_executor_api::{AttemptState, Executor, ExecutorError, NetworkAttachment};
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
            spec.network = Some(NetworkAttachment { network: "internal".into(), ports: Vec::new() });
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
