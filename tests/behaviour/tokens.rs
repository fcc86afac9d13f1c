//! Tokens: what each may do over the network.

use serde_json::Value;

use crate::harness::{Berth, free_port, over_tcp, said};

const JOB: &str = r#"{"command": {"argv": ["true"]}}"#;

async fn start() -> (Berth, u16) {
    let port = free_port();
    let berth = Berth::with(|setup| setup.server = format!("listen = [\"127.0.0.1:{port}\"]")).await;
    (berth, port)
}

/// A token's number and secret.
async fn token(berth: &Berth, args: &[&str]) -> (String, String) {
    let made = berth.json([&["token", "create"], args].concat()).await;
    (made["id"].to_string(), made["token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn without_a_token_nobody_gets_in_over_the_network() {
    let (berth, port) = start().await;
    for token in [None, Some("berth_0000"), Some("")] {
        for (method, path) in
            [("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/metrics"), ("GET", "/v1/events")]
        {
            let answer = over_tcp(port, method, path, token, JOB).await;
            assert_eq!((answer.status, &answer.json()["code"]), (401, &"unauthenticated".into()), "{path}");
        }
    }
    assert_eq!(over_tcp(port, "GET", "/healthz", None, "").await.status, 200);
    assert!(berth.all_jobs().await.is_empty());
}

#[tokio::test]
async fn each_scope_allows_what_it_says_and_no_more() {
    let (berth, port) = start().await;
    let (_, read) = token(&berth, &["--scope", "read", "reader"]).await;
    let (_, submit) = token(&berth, &["--scope", "submit", "sender"]).await;
    let status = async |token: &str, method: &str, path: &str, body: &str| {
        over_tcp(port, method, path, Some(token), body).await.status
    };
    assert_eq!(status(&read, "GET", "/v1/jobs", "").await, 200);
    assert_eq!(status(&read, "POST", "/v1/jobs", JOB).await, 403);
    assert!(berth.all_jobs().await.is_empty());
    assert_eq!(status(&submit, "POST", "/v1/jobs", JOB).await / 100, 2);
    berth.succeeds(1).await;
    let rerun = r#"{"action": "rerun", "jobs": ["1"]}"#;
    assert_eq!(status(&read, "POST", "/v1/jobs/control", rerun).await, 403);
    assert_eq!(berth.job(1).await.row.attempt, 1);
    assert_eq!(status(&read, "DELETE", "/v1/jobs/1", "").await, 403);
    for token in [&read, &submit] {
        assert_eq!(status(token, "POST", "/v1/plugins/scheduler/reload", "").await, 403);
        let more = r#"{"label": "more", "scope": "admin"}"#;
        assert_eq!(status(token, "POST", "/v1/tokens", more).await, 403, "none may make one that may more");
    }
}

#[tokio::test]
async fn the_command_line_takes_its_token_from_the_variable_or_the_file() {
    let (berth, port) = start().await;
    let (_, secret) = token(&berth, &["mine"]).await;
    let server = format!("http://127.0.0.1:{port}");
    let command = |args: &[&str]| {
        let mut command = berth.lone_command(args.iter().copied());
        command.env("BERTH_SERVER", &server);
        command
    };
    let refused = said(command(&["jobs"])).await.refused(4);
    assert!(refused.contains("BERTH_TOKEN"), "the way out is named: {refused}");
    let mut with_variable = command(&["run", "--", "echo", "over the network"]);
    with_variable.env("BERTH_TOKEN", &secret);
    assert_eq!(said(with_variable).await.ok(), "over the network\n");
    std::fs::create_dir_all(berth.path("home/.config/berth")).unwrap();
    berth.write("home/.config/berth/token", format!("{secret}\n"));
    said(command(&["jobs"])).await.ok();
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_an_expired_one_too() {
    let (berth, port) = start().await;
    let (id, secret) = token(&berth, &["short"]).await;
    assert_eq!(over_tcp(port, "GET", "/v1/jobs", Some(&secret), "").await.status, 200);
    berth.cli(["token", "revoke", &id]).await.ok();
    assert_eq!(over_tcp(port, "GET", "/v1/jobs", Some(&secret), "").await.status, 401);
    assert_eq!(berth.cli(["token", "revoke", &id]).await.code, 5);
    let (_, secret) = token(&berth, &["--expires-in", "1s", "shorter"]).await;
    crate::harness::eventually("its expiry", || async {
        over_tcp(port, "GET", "/v1/jobs", Some(&secret), "").await.status == 401
    })
    .await;
}

#[tokio::test]
async fn secrets_are_shown_once_and_never_again() {
    let (mut berth, port) = start().await;
    let (_, secret) = token(&berth, &["hidden"]).await;
    over_tcp(port, "GET", "/v1/jobs", Some(&secret), "").await;
    let list = berth.json(["token", "list"]).await;
    let shown = [list.to_string(), berth.cli(["token", "list"]).await.ok(), berth.server_log()];
    for text in shown {
        assert!(!text.contains(&secret) && !text.contains(&secret[6..]), "{text}");
    }
    berth.stop().await;
    for entry in std::fs::read_dir(berth.state()).unwrap().filter_map(Result::ok) {
        let Ok(bytes) = std::fs::read(entry.path()) else { continue };
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{:?}", entry.path());
    }
    berth.start_again().await;
    assert_eq!(
        over_tcp(port, "GET", "/v1/jobs", Some(&secret), "").await.status,
        200,
        "it outlives a restart"
    );
}

#[tokio::test]
async fn a_token_tells_when_it_was_used_last() {
    let (berth, port) = start().await;
    let (_, secret) = token(&berth, &["watched"]).await;
    assert_eq!(berth.json(["token", "list"]).await[0]["last_used"], Value::Null);
    over_tcp(port, "GET", "/v1/jobs", Some(&secret), "").await;
    crate::harness::eventually("its use in the list", || async {
        berth.json(["token", "list"]).await[0]["last_used"].is_string()
    })
    .await;
}
