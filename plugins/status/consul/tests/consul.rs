//! The board in Consul, against a stand-in over real HTTP that answers as Consul's documentation of its API says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, put},
};
use berth_status_api::{Board, BoardError, Process, Reach, Role};
use berth_status_consul::{Consul, ConsulConfig};
use serde_json::{Value, json};

const TOKEN: &str = "0d5c2f1e-token-of-the-test";

/// What the stand-in keeps: a service, and when its check was last passed.
#[derive(Clone, Default)]
struct Agent {
    services: Arc<Mutex<BTreeMap<String, (Value, Instant)>>>,
    registered: Arc<Mutex<u32>>,
    refuses: Arc<Mutex<bool>>,
}

impl Agent {
    async fn start(&self) -> u16 {
        let app = Router::new()
            .route("/v1/agent/service/register", put(register))
            .route("/v1/agent/check/pass/{check}", put(pass))
            .route("/v1/agent/service/deregister/{id}", put(deregister))
            .route("/v1/health/service/{name}", get(health))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        port
    }

    fn lets_in(&self, headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
        let knows = headers.get("x-consul-token").is_some_and(|token| token == TOKEN);
        match knows && !*self.refuses.lock().unwrap() {
            true => Ok(()),
            false => Err((StatusCode::FORBIDDEN, "Permission denied: token lacks permission".to_owned())),
        }
    }

    fn forgets_everything(&self) {
        self.services.lock().unwrap().clear();
    }
}

type Said<T> = Result<T, (StatusCode, String)>;

async fn register(State(agent): State<Agent>, headers: HeaderMap, body: Bytes) -> Said<()> {
    agent.lets_in(&headers)?;
    let service: Value =
        serde_json::from_slice(&body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    for value in service["Meta"].as_object().unwrap().values() {
        if value.as_str().is_none_or(|value| value.len() > 512) {
            return Err((StatusCode::BAD_REQUEST, "Value is too long (limit: 512 characters)".to_owned()));
        }
    }
    *agent.registered.lock().unwrap() += 1;
    let id = service["ID"].as_str().unwrap().to_owned();
    agent.services.lock().unwrap().insert(id, (service, Instant::now()));
    Ok(())
}

async fn pass(State(agent): State<Agent>, headers: HeaderMap, Path(check): Path<String>) -> Said<()> {
    agent.lets_in(&headers)?;
    let mut services = agent.services.lock().unwrap();
    let known = check.strip_prefix("service:").and_then(|id| services.get_mut(id));
    match known {
        Some((_, passed)) => {
            *passed = Instant::now();
            Ok(())
        }
        None => Err((StatusCode::NOT_FOUND, format!("Unknown check ID {check:?}"))),
    }
}

async fn deregister(State(agent): State<Agent>, headers: HeaderMap, Path(id): Path<String>) -> Said<()> {
    agent.lets_in(&headers)?;
    match agent.services.lock().unwrap().remove(&id) {
        Some(_) => Ok(()),
        None => Err((StatusCode::NOT_FOUND, format!("Unknown service ID {id:?}"))),
    }
}

async fn health(
    State(agent): State<Agent>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Said<Json<Value>> {
    agent.lets_in(&headers)?;
    let services = agent.services.lock().unwrap();
    let passing = services.values().filter(|(service, passed)| {
        let ttl = service["Check"]["TTL"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
        service["Name"] == name.as_str() && passed.elapsed() < Duration::from_secs(ttl)
    });
    let entry = |(service, _): &(Value, Instant)| {
        json!({
            "Node": { "Node": "n1", "Address": "127.0.0.1" },
            "Service": {
                "ID": service["ID"], "Service": service["Name"], "Tags": service["Tags"], "Meta": service["Meta"],
            },
            "Checks": [{ "Status": "passing" }],
        })
    };
    Ok(Json(passing.map(entry).collect()))
}

fn board(endpoints: &[String], token: &str) -> Consul {
    let reach =
        Reach { endpoints: endpoints.to_vec(), tls_ca: None, answer_within: Duration::from_millis(500) };
    let config = ConsulConfig {
        reach,
        service: "berth".into(),
        ttl: Duration::from_secs(1),
        token: Some(token.into()),
    };
    Consul::new(config).unwrap()
}

fn process(instance: &str, role: Role) -> Process {
    Process {
        cluster: "site".into(),
        instance: instance.into(),
        role,
        host: "head.example.org".into(),
        pid: 7,
        version: "0.1.0".into(),
        doors: vec!["127.0.0.1:8920".into(), "/run/berth/berth.sock".into()],
        started_ms: 1_700_000_000_000,
    }
}

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

#[tokio::test]
async fn a_process_is_listed_with_all_that_it_says_until_it_leaves() {
    let agent = Agent::default();
    let board = board(&[at(agent.start().await)], TOKEN);
    let (leader, other) =
        (process("a.1", Role::Leader), Process { cluster: "other".into(), ..process("b", Role::Leader) });
    board.tell(&leader).await.unwrap();
    board.tell(&other).await.unwrap();
    assert_eq!(board.processes("site").await.unwrap(), std::slice::from_ref(&leader));
    board.leave(&leader).await.unwrap();
    board.leave(&leader).await.unwrap();
    assert_eq!(board.processes("site").await.unwrap(), []);
}

#[tokio::test]
async fn one_that_says_nothing_more_is_not_listed_and_one_that_goes_on_is_registered_once() {
    let agent = Agent::default();
    let port = agent.start().await;
    let (one, two) = (board(&[at(port)], TOKEN), board(&[at(port)], TOKEN));
    let (leader, silent) = (process("a", Role::Leader), process("b", Role::StandBy));
    two.tell(&silent).await.unwrap();
    for _ in 0..8 {
        one.tell(&leader).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(one.processes("site").await.unwrap(), [leader]);
    assert_eq!(*agent.registered.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_change_of_role_is_told_and_an_agent_that_began_anew_is_told_again() {
    let agent = Agent::default();
    let board = board(&[at(agent.start().await)], TOKEN);
    board.tell(&process("a", Role::StandBy)).await.unwrap();
    board.tell(&process("a", Role::Leader)).await.unwrap();
    assert_eq!(board.processes("site").await.unwrap(), [process("a", Role::Leader)]);
    agent.forgets_everything();
    board.tell(&process("a", Role::Leader)).await.unwrap();
    assert_eq!(board.processes("site").await.unwrap(), [process("a", Role::Leader)]);
}

#[tokio::test]
async fn where_the_first_agent_is_away_the_next_one_is_told() {
    let agent = Agent::default();
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let board = board(&[at(nobody), at(agent.start().await)], TOKEN);
    board.tell(&process("a", Role::Leader)).await.unwrap();
    assert_eq!(board.processes("site").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_in_consuls_words_and_without_the_token() {
    let agent = Agent::default();
    let board = board(&[at(agent.start().await)], "wrong-token");
    let refused = board.tell(&process("a", Role::Leader)).await.unwrap_err();
    assert!(matches!(refused, BoardError::Refused { .. }), "{refused}");
    let words = format!("{refused} {board:?}");
    assert!(words.contains("403 Permission denied") && !words.contains("wrong-token"), "{words}");
}

#[tokio::test]
async fn one_that_hangs_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let board = board(&[at(listener.local_addr().unwrap().port())], TOKEN);
    let away = board.processes("site").await.unwrap_err();
    assert!(matches!(&away, BoardError::Away { words, .. } if words.contains("within")), "{away}");
}

#[tokio::test]
async fn doors_without_end_are_cut_to_what_consul_takes() {
    let agent = Agent::default();
    let board = board(&[at(agent.start().await)], TOKEN);
    let doors: Vec<String> = (0..100).map(|number| format!("10.0.0.{number}:8920")).collect();
    let many = Process { doors: doors.clone(), host: "h".repeat(2000), ..process("a", Role::Leader) };
    board.tell(&many).await.unwrap();
    let listed = board.processes("site").await.unwrap();
    assert!(!listed[0].doors.is_empty() && doors.starts_with(&listed[0].doors), "{listed:?}");
}
