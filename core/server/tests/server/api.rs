//! The description, and that every route does what it says.

use berth_api::*;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::{
    running::{Running, job, request},
    schema::Schemas,
};

fn description() -> Value {
    serde_json::to_value(berth_server::openapi()).unwrap()
}

/// Method, path and operation of everything described.
fn operations(description: &Value) -> Vec<(String, String, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    let each = |(path, item): (&String, &'_ Value)| (path.clone(), item.clone());
    let mut found = Vec::new();
    for (path, item) in paths.iter().map(each) {
        for method in item.as_object().unwrap().keys() {
            let operation = &description["paths"][&path][method];
            found.push((method.to_uppercase(), path.clone(), operation));
        }
    }
    found
}

/// What to send to an operation, and the status it is to answer with. A new operation needs a line here.
fn sample(operation: &str) -> (&'static str, &'static str, Value) {
    match operation {
        "submit" => ("/v1/jobs", "201", json!({"command": {"argv": ["true"]}, "env": {"A": "b"}, "gpus": 1})),
        "jobs" => ("/v1/jobs?state=all&limit=5", "200", Value::Null),
        "job" => ("/v1/jobs/1", "200", Value::Null),
        "kill" => ("/v1/jobs/1", "200", Value::Null),
        "why" => ("/v1/jobs/1/why", "200", Value::Null),
        "control" => ("/v1/jobs/control", "200", json!({"action": "hold", "jobs": ["1", "99"]})),
        "logs" => ("/v1/jobs/1/logs?tail_bytes=4", "200", Value::Null),
        "exec" => ("/v1/jobs/1/exec?argv=%5B%22true%22%5D", "101", Value::Null),
        "connect" => ("/v1/jobs/1/ports/7", "101", Value::Null),
        "stats" => ("/v1/jobs/1/stats", "200", Value::Null),
        "files" => ("/v1/jobs/1/files", "200", Value::Null),
        "file" => ("/v1/jobs/1/files/sub", "200", Value::Null),
        "events" => ("/v1/events", "200", Value::Null),
        "nodes" => ("/v1/nodes", "200", Value::Null),
        "resources" => ("/v1/resources", "200", Value::Null),
        "usage" => ("/v1/usage?by=project&since=2024-01-01T00:00:00Z", "200", Value::Null),
        "accounts" => ("/v1/accounts/project", "200", Value::Null),
        "account" => ("/v1/accounts/project/rna", "200", Value::Null),
        "account_days" => ("/v1/accounts/project/rna/days", "200", Value::Null),
        "set_account" => (
            "/v1/accounts/project/rna",
            "200",
            json!({"version": 0, "settings": {"members": ["ann"], "limits": {"jobs": "7"}}}),
        ),
        "drop_account" => ("/v1/accounts/project/rna?version=3", "204", Value::Null),
        "closures" => ("/v1/closures", "200", Value::Null),
        "set_closure" => (
            "/v1/closures/reservation/course",
            "200",
            json!({"version": 0, "nodes": ["local/*"], "until": "2h", "users": ["ann"]}),
        ),
        "drop_closure" => ("/v1/closures/drain/local%2Fhere?version=3", "204", Value::Null),
        "acts" => ("/v1/acts?limit=5", "200", Value::Null),
        "notices" => ("/v1/notices", "200", Value::Null),
        "set_notices" => ("/v1/notices", "200", json!({"on": ["end"], "mail": "none"})),
        "job_message" => ("/v1/jobs/1/messages", "204", json!({"text": "half done"})),
        "plugins" => ("/v1/plugins", "200", Value::Null),
        "reload" => ("/v1/plugins/fifo/reload", "200", Value::Null),
        "check" => ("/v1/plugins/check", "200", Value::Null),
        "tokens" => ("/v1/tokens", "200", Value::Null),
        "create_token" => ("/v1/tokens", "201", json!({"label": "x", "scope": "read"})),
        "revoke_token" => ("/v1/tokens/1", "204", Value::Null),
        "sign_in" => ("/v1/session", "201", json!({"user": "ada", "password": "sesame"})),
        "sign_out" => ("/v1/session", "204", Value::Null),
        "passwords" => ("/v1/passwords", "200", Value::Null),
        "set_password" => {
            ("/v1/passwords/ada", "200", json!({"password": "open sesame", "current": "sesame"}))
        }
        "guests" => ("/v1/guests", "200", Value::Null),
        "set_guest" => ("/v1/guests/guest:a", "200", json!({"active": true})),
        "remove_guest" => ("/v1/guests/guest:a", "204", Value::Null),
        "guest_sign_in" => ("/v1/guests/session", "201", json!({"scope": "read", "label": "x"})),
        "remove_password" => ("/v1/passwords/ada", "204", Value::Null),
        "info" => ("/v1/info", "200", Value::Null),
        "daemons" => ("/v1/daemons", "200", Value::Null),
        "metrics" => ("/metrics", "200", Value::Null),
        "health" => ("/healthz", "200", Value::Null),
        "describe" => ("/v1/openapi.json", "200", Value::Null),
        "page" => ("/", "200", Value::Null),
        other => panic!("no sample for {other}"),
    }
}

fn text_of(method: &str, path: &str, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    request(method, path, "Content-Type: application/json\r\n", &body)
}

#[test]
fn the_description_is_what_it_was() {
    insta::assert_json_snapshot!("openapi", description());
}

#[test]
fn every_route_is_described_whole() {
    let description = description();
    let operations = operations(&description);
    let mut names: Vec<_> = operations.iter().map(|(_, _, it)| it["operationId"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), operations.len(), "each operation has a name of its own");
    for (method, path, operation) in &operations {
        let signs_in = (method.as_str(), path.as_str()) == ("POST", "/v1/session");
        let public = signs_in || matches!(path.as_str(), "/healthz" | "/v1/openapi.json");
        assert!(operation["summary"].is_string(), "{method} {path} says what it does");
        assert_eq!(
            operation["security"] == json!([{}]),
            public,
            "{method} {path}: {}",
            operation["security"]
        );
        if !public {
            for status in ["400", "401", "403", "404", "409", "422", "429", "500", "503"] {
                let schema = &operation["responses"][status]["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/ErrorBody", "{method} {path} {status}");
            }
        }
        if operation["requestBody"].is_object() {
            assert!(operation["responses"]["413"].is_object(), "{method} {path} has a limit");
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(in_path, path.matches('{').count(), "{method} {path} describes its parameters");
    }
    assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("first")).await.unwrap();
    client
        .create_token(&NewToken { label: "x".into(), scope: "read".into(), expires_in: None, user: None })
        .await
        .unwrap();
    let description = description();
    let schemas = Schemas(&description);
    for (method, path, operation) in operations(&description) {
        let name = operation["operationId"].as_str().unwrap();
        let (sample, status, body) = sample(name);
        if matches!(name, "events" | "exec" | "connect") {
            // They have no end; the tests of streams and of attaching look at them.
            continue;
        }
        let answer = server.raw(text_of(&method, sample, &body)).await;
        assert_eq!(answer.status.to_string(), status, "{method} {path}: {answer:?}");
        let content = &operation["responses"][status]["content"];
        let Some(content) = content.as_object() else {
            assert!(answer.body.is_empty(), "{method} {path} describes no body");
            continue;
        };
        let kind = content.keys().find(|kind| answer.head.contains(&format!("content-type: {kind}")));
        let kind = kind
            .unwrap_or_else(|| panic!("{method} {path} answers in a type that is not described: {answer:?}"));
        if kind == "application/json" {
            let wrong = schemas.check(&content[kind]["schema"], &answer.json(), name);
            assert!(wrong.is_empty(), "{method} {path}: {wrong:#?}");
        }
    }
}

#[tokio::test]
async fn over_the_network_everything_but_description_and_health_needs_a_token() {
    let server = Running::start().await;
    let description = description();
    let schemas = Schemas(&description);
    let error = json!({"$ref": "#/components/schemas/ErrorBody"});
    for (method, _, operation) in operations(&description) {
        let name = operation["operationId"].as_str().unwrap();
        let (path, _, body) = sample(name);
        let answer = server.raw_tcp(text_of(&method, path, &body)).await;
        if matches!(name, "describe" | "health" | "sign_in") {
            assert_eq!(answer.status / 100, 2, "{path}");
            continue;
        }
        let words = answer.refusal(401, "unauthenticated");
        assert!(words.contains("berth token create"), "{words}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        assert_eq!(schemas.check(&error, &answer.json(), name), [""; 0]);
    }
    // Strangers do not learn which addresses there are.
    for (method, path) in
        [("GET", "/v1/nothing"), ("PUT", "/v1/jobs"), ("GET", "/v1/openapi.json/"), ("GET", "//healthz")]
    {
        server.raw_tcp(request(method, path, "", "")).await.refusal(401, "unauthenticated");
    }
}

#[tokio::test]
async fn jobs_that_are_not_there_are_not_found_on_every_route() {
    let server = Running::start().await;
    let description = description();
    for (method, path, operation) in
        operations(&description).iter().filter(|(_, path, _)| path.contains("{job}"))
    {
        let (_, _, body) = sample(operation["operationId"].as_str().unwrap());
        let asked = |job| {
            let path = path.replace("{job}", job).replace("{path}", "x").replace("{port}", "80");
            text_of(method, &path, &body)
        };
        server.raw(asked("7")).await.refusal(404, "not-found");
        let words = server.raw(asked("seven")).await.refusal(400, "invalid");
        assert_eq!(
            words,
            "job: \"seven\" is not a job; write a number such as 12, or 12.7 for one task of an array"
        );
        server.raw(asked("%ff")).await.refusal(400, "invalid");
    }
}

#[tokio::test]
async fn the_client_reaches_every_route() {
    let server = Running::start().await;
    let client = server.client().await;
    assert_eq!(
        client.submit(&job("one")).await.unwrap(),
        Submitted { id: 1, tasks: None, changes: Vec::new() }
    );
    assert_eq!(client.info().await.unwrap().cluster, "test");
    let detail = client.job("1").await.unwrap();
    assert_eq!((detail.row.name.as_str(), detail.spec), ("one", job("one")));
    assert_eq!(client.why("1").await.unwrap().summary, "nothing runs here");
    let request = ControlRequest::of(Controls::Kill, vec!["1".into(), "2".into()]);
    let done: Vec<bool> = client.control(&request).await.unwrap().iter().map(|result| result.done).collect();
    assert_eq!(done, [true, false]);
    assert_eq!(client.job("1").await.unwrap().row.state, "killed");
    assert_eq!(client.nodes().await.unwrap()[0].name, "local/here");
    assert_eq!(
        client.usage("user", Some("2024-01-01T00:00:00+01:00")).await.unwrap()[0].name,
        "user 2024-01-01T00:00:00+01:00"
    );
    assert_eq!(client.usage("project", None).await.unwrap()[0].name, "project ");
    assert_eq!(client.accounts("user").await.unwrap()[0].name, "a b/c%");
    assert_eq!(client.account("member", "rna/ann").await.unwrap().name, "rna/ann");
    let settings = AccountSettings { priority: 7, ..AccountSettings::default() };
    let wanted = SetAccount { version: 3, settings: settings.clone() };
    let row = client.set_account("project", "rna", &wanted).await.unwrap();
    assert_eq!((row.version, row.settings), (4, settings));
    client.drop_account("project", "rna", 3).await.unwrap();
    assert_eq!(client.drop_account("project", "rna", 2).await.unwrap_err().code(), Some(ErrorCode::Conflict));
    assert_eq!(client.acts(9).await.unwrap()[0].seq, 9);
    assert_eq!(client.plugins().await.unwrap().len(), 1);
    assert_eq!(client.reload("a b/c%").await.unwrap().name, "a b/c%");
    assert_eq!(client.check(vec![0; 5]).await.unwrap().findings[0].text, "5 bytes");
    assert!(client.metrics().await.unwrap().contains("berth_up 1"));
    assert_eq!(client.openapi().await.unwrap(), description());
}

#[tokio::test]
async fn jobs_come_page_by_page_and_none_twice() {
    let server = Running::start().await;
    server.backend.add_jobs(25);
    let client = server.client().await;
    let page = client.jobs(&JobQuery { limit: Some(10), ..JobQuery::default() }).await.unwrap();
    assert_eq!((page.jobs.len(), page.next_before), (10, Some(16)));
    let query = JobQuery { limit: Some(10), ..JobQuery::default() };
    let all: Vec<JobRow> = client.all_jobs(query).try_collect().await.unwrap();
    let ids: Vec<u64> = all.iter().map(|row| row.id).collect();
    assert_eq!(ids, (1..=25).rev().collect::<Vec<_>>());
    client.submit(&job("a&b=c d%é")).await.unwrap();
    let query = JobQuery { name: Some("&b=c d%é".into()), ..JobQuery::default() };
    assert_eq!(client.jobs(&query).await.unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn a_long_list_is_whole() {
    let server = Running::start().await;
    server.backend.add_jobs(5000);
    let query = JobQuery { limit: Some(5000), ..JobQuery::default() };
    assert_eq!(server.client().await.jobs(&query).await.unwrap().jobs.len(), 5000);
}

#[tokio::test]
async fn files_and_folders_are_told_apart() {
    let server = Running::start().await;
    let client = server.client().await;
    client.submit(&job("one")).await.unwrap();
    let names = |rows: Vec<FileRow>| rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
    assert_eq!(names(client.files("1", "").await.unwrap()), ["empty", "page.html", "sub"]);
    assert_eq!(names(client.files("1", "/sub/").await.unwrap()), ["a b?.txt"]);
    let (size, bytes) = client.file("1", "sub/a b?.txt").await.unwrap();
    let bytes: Vec<Bytes> = bytes.try_collect().await.unwrap();
    assert_eq!((size, bytes.concat()), (4, b"deep".to_vec()));
    let (size, mut bytes) = client.file("1", "empty").await.unwrap();
    assert!(size == 0 && bytes.next().await.is_none());
    let error = client.file("1", "sub").await.err().unwrap();
    assert_eq!(error.to_string(), "\"sub\" is a folder; list it instead");
    assert_eq!(client.files("1", "none").await.err().unwrap().code(), Some(ErrorCode::NotFound));
    assert_eq!(client.file("1", "none").await.err().unwrap().code(), Some(ErrorCode::NotFound));
    // No browser takes a user's page for ours.
    let answer = server.raw(request("GET", "/v1/jobs/1/files/page.html", "", "")).await;
    assert!(answer.head.contains("content-type: application/octet-stream"), "{}", answer.head);
    assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
    assert!(answer.head.contains("content-length: 8"), "{}", answer.head);
    for path in ["..", "../x", "sub/../../x", "%2e%2e/x", "..%2fx", "sub%2f..%2f..%2fx", "%00"] {
        let path = format!("/v1/jobs/1/files/{path}");
        server.raw(request("GET", &path, "", "")).await.refusal(400, "invalid");
    }
}

#[tokio::test]
async fn the_page_has_no_scripts() {
    let server = Running::start().await;
    let answer = server.raw(request("GET", "/", "", "")).await;
    let page = String::from_utf8(answer.body).unwrap();
    assert!(page.contains("/v1/openapi.json") && !page.contains("<script"), "{page}");
    assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{}", answer.head);
}
