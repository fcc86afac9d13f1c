//! What is wrong with a request is said, with its place and the way out.

use std::time::Duration;

use berth_api::{ClientError, CommandText, ErrorCode, Submit};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::running::{Running, job, request};

const JSON: &str = "application/json";
const TOML: &str = "application/toml";

#[tokio::test]
async fn mistakes_in_a_body_are_named_with_their_place() {
    let server = Running::start().await;
    let unknown = "/v1/openapi.json has the known ones";
    for (kind, body, words) in [
        (
            JSON,
            "{\n  \"memry\": \"4G\"}",
            "memry: unknown field \"memry\"; nearest is \"memory\" (line 2, column 9)",
        ),
        (JSON, "{\"zzzzzzzzz\": 1}", unknown),
        (
            JSON,
            "{\"command\": {\"script\": {\"txt\": \"x\"}}}",
            "command.script.txt: unknown field \"txt\"; nearest is \"text\"",
        ),
        (JSON, "{\"command\": {\"argw\": []}}", "unknown value \"argw\"; nearest is \"argv\""),
        (JSON, "{\"gpus\": \"two\"}", "gpus: invalid type: string \"two\", expected u32 (line 1, column 14)"),
        (JSON, "{\"env\": {\"A\": 1}}", "env.A: invalid type: integer 1, expected a string"),
        (JSON, "{\"gpus\": 1, \"gpus\": 2}", "duplicate field gpus"),
        (JSON, "{\"gpus\": 1", "EOF while parsing an object (line 1, column 10)"),
        (JSON, "{} x", "trailing characters (line 1, column 4)"),
        (JSON, " []", "the request is a list; send an object"),
        (JSON, "\"x\"", "invalid type: string \"x\", expected struct Submit"),
        (JSON, "", "the request has no body"),
        (JSON, "\u{0}", "expected value (line 1, column 1)"),
        (
            TOML,
            "name = \"x\"\nmemry = \"4G\"",
            "memry: unknown field \"memry\"; nearest is \"memory\" (line 2, column 1)",
        ),
        (TOML, "gpus = \"two\"", "gpus: invalid type: string \"two\", expected u32 (line 1, column 8)"),
        (TOML, "name = ", "(line 1, column 8)"),
    ] {
        let answer = server.post("/v1/jobs", kind, body).await;
        let said = answer.refusal(400, "invalid");
        assert!(said.contains(words), "{body}: {said}");
    }
    let deep = "[".repeat(100_000);
    server.post("/v1/jobs", JSON, &deep).await.refusal(400, "invalid");
    server.post("/v1/jobs", JSON, &format!("{{\"env\":{deep}")).await.refusal(400, "invalid");
    let said = server.post("/v1/jobs/control", JSON, "{\"jobs\": []}").await.refusal(400, "invalid");
    assert!(said.contains("missing field action"), "{said}");
    assert!(
        server.client().await.all_jobs(Default::default()).count_now().await == 0,
        "nothing is kept of them"
    );
}

trait CountNow {
    async fn count_now(self) -> usize;
}

impl<T> CountNow for berth_api::ApiStream<T> {
    async fn count_now(self) -> usize {
        futures::StreamExt::count(self).await
    }
}

#[tokio::test]
async fn a_place_in_a_field_is_told_to_programs() {
    let server = Running::start().await;
    let answer = server.post("/v1/jobs", JSON, "{\"memry\": \"4G\"}").await;
    assert_eq!(answer.json()["problems"][0]["field"], "memry");
    // The backend's own problems go through as they are.
    let answer = server.post("/v1/jobs", JSON, "{}").await;
    assert_eq!(answer.json()["problems"][0]["message"], "there is nothing to run");
}

#[tokio::test]
async fn toml_is_as_good_as_json() {
    let server = Running::start().await;
    let body = "name = \"t\"\n[command.script]\ntext = \"true\"\n[env]\nA = \"b\"";
    assert_eq!(server.post("/v1/jobs", "Application/TOML; charset=utf-8", body).await.status, 201);
    let spec = server.client().await.job("1").await.unwrap().spec;
    let script = CommandText::Script { text: "true".into(), args: Vec::new() };
    let env = [("A".to_owned(), "b".to_owned())].into();
    assert_eq!(spec, Submit { name: Some("t".into()), command: Some(script), env, ..Submit::default() });
}

#[tokio::test]
async fn another_type_of_body_is_refused_with_those_that_are_known() {
    let server = Running::start().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"] {
        let words = server.post("/v1/jobs", kind, "{}").await.refusal(415, "invalid");
        assert!(words.contains("application/json") && words.contains("application/toml"), "{words}");
    }
    server.raw(request("POST", "/v1/jobs", "", "{}")).await.refusal(415, "invalid");
}

#[tokio::test]
async fn every_no_has_its_status() {
    let server = Running::start().await;
    for (code, status) in [
        ("invalid", 400),
        ("unauthenticated", 401),
        ("forbidden", 403),
        ("not-found", 404),
        ("conflict", 409),
        ("too-large", 413),
        ("too-many", 429),
        ("unable", 422),
        ("unavailable", 503),
        ("internal", 500),
    ] {
        let answer = server.post("/v1/jobs", JSON, &format!("{{\"project\": \"refuse-{code}\"}}")).await;
        assert_eq!(answer.refusal(status, code), "refused as asked");
        assert_eq!(answer.head.contains("retry-after: 1"), matches!(status, 429 | 503), "{}", answer.head);
    }
    let refused = Submit { project: Some("refuse-conflict".into()), ..job("x") };
    let error = server.client().await.submit(&refused).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(body) if body.code == ErrorCode::Conflict), "{error}");
    assert!(error.nothing_was_done());
}

#[tokio::test]
async fn a_panic_behind_a_route_is_one_answer_and_not_the_end() {
    let server = Running::start().await;
    let words = server.post("/v1/jobs", JSON, "{\"project\": \"panic\"}").await.refusal(500, "internal");
    assert!(!words.contains("asked to panic"), "{words}");
    assert_eq!(server.post("/v1/jobs", JSON, "{\"command\": {\"argv\": [\"true\"]}}").await.status, 201);
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_refused_in_the_same_form() {
    let server = Running::start().await;
    for path in ["/v1", "/v1/", "/v2/jobs", "/v1/jobs/1/nothing", "/v1/jobs/", "//", "/v1/tokens/1/2"] {
        let words = server.raw(request("GET", path, "", "")).await.refusal(404, "not-found");
        assert!(words.contains("/v1/openapi.json"), "{words}");
    }
    for (method, path, allowed) in [
        ("PUT", "/v1/jobs", "post"),
        ("GET", "/v1/jobs/control", "post"),
        ("BREW", "/v1/nodes", "get"),
        ("DELETE", "/v1/openapi.json", "get"),
    ] {
        let answer = server.raw(request(method, path, "", "")).await;
        // A number would do for a job, so this is one that is not.
        let words = answer.refusal(405, "invalid");
        assert!(words.contains("Allow"), "{words}");
        let allow = answer
            .head
            .lines()
            .find(|line| line.starts_with("allow: "))
            .unwrap_or_else(|| panic!("{answer:?}"));
        assert!(allow.contains(allowed), "{method} {path}: {allow}");
    }
}

#[tokio::test]
async fn mistakes_in_a_query_are_named() {
    let server = Running::start().await;
    for (path, words) in [
        ("/v1/jobs?stat=all", "unknown field \"stat\"; nearest is \"state\""),
        ("/v1/jobs?limit=many", "limit: invalid digit found in string"),
        ("/v1/jobs?limit=-1", "limit: invalid digit"),
        ("/v1/usage?by=node", "by: \"node\" is not known"),
        ("/v1/usage?form=json", "unknown field \"form\"; known are by, since"),
        ("/v1/events?after=x", "after: invalid digit"),
    ] {
        let said = server.raw(request("GET", path, "", "")).await.refusal(400, "invalid");
        assert!(said.contains(words), "{path}: {said}");
    }
    server.raw(request("GET", "/v1/events", "Last-Event-ID: x\r\n", "")).await.refusal(400, "invalid");
    server.raw(request("DELETE", "/v1/tokens/abc", "", "")).await.refusal(400, "invalid");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_the_limit() {
    let server = Running::start_with(|settings| settings.request_limit_bytes = 1 << 20).await;
    let script = CommandText::Script { text: "x".repeat(10 << 20), args: Vec::new() };
    let large = Submit { command: Some(script), ..Submit::default() };
    let error = server.client().await.submit(&large).await.unwrap_err();
    let words = "the request's body is larger than the 1M that this server takes";
    assert!(matches!(&error, ClientError::Refused(body) if body.code == ErrorCode::TooLarge), "{error:?}");
    assert_eq!(error.to_string(), words);
    // One byte more is too much, without the length being told before.
    for (length, status) in [(1 << 20, 201), ((1 << 20) + 1, 413)] {
        let frame = "{\"command\":{\"argv\":[\"\"]}}";
        let body = frame.replace("[\"", &format!("[\"{}", "x".repeat(length - frame.len())));
        let head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (one, two) = body.split_at(1000);
        let text = format!("{head}{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
        assert_eq!(server.raw(text).await.status, status, "{length}");
    }
}

#[tokio::test]
async fn a_refusal_reaches_even_those_who_send_much() {
    let server = Running::start().await;
    let much = "x".repeat(3 << 20);
    server.post("/v1/jobs", "text/plain", &much).await.refusal(415, "invalid");
    server.raw_tcp(request("POST", "/v1/jobs", "", &much)).await.refusal(401, "unauthenticated");
    let words = server.raw_tcp(request("POST", "/v1/jobs", "Expect: 100-continue\r\n", "")).await;
    words.refusal(401, "unauthenticated");
}

#[tokio::test]
async fn whoever_asks_before_sending_too_much_is_told_at_once() {
    let server = Running::start().await;
    let head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n";
    let words = server.raw(head).await.refusal(413, "too-large");
    assert!(words.contains("4M"), "{words}");
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    let server = Running::start_with(|settings| settings.patience.head = Duration::from_millis(300)).await;
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "x".repeat(1 << 20));
    for garbage in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        endless.as_bytes(),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // It may close before it has all.
        stream.write_all(garbage).await.ok();
        let mut answer = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.ok();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{:?}: {answer:?}",
            garbage.get(..40).unwrap_or(garbage)
        );
    }
    assert_eq!(server.raw(request("GET", "/healthz", "", "")).await.body, b"ok\n");
}
