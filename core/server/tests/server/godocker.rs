//! GO-Docker's clients.

use berth_api::NewToken;
use serde_json::{Value, json};

use crate::running::{Answer, Running, request};

/// A server that answers them.
struct Site {
    server: Running,
    token: String,
}

impl Site {
    async fn start() -> Self {
        let server = Running::start_with(|settings| settings.godocker = true).await;
        let token = token_of(&server, "ada").await;
        Self { server, token }
    }

    /// Over the network, as somebody with a token.
    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = format!("Content-Type: application/json\r\nAuthorization: Bearer {}\r\n", self.token);
        self.server.raw_tcp(request(method, &format!("/api/1.0{path}"), &headers, body)).await
    }

    async fn log_in(&self, user: &str, apikey: &str) -> Answer {
        let body = json!({ "user": user, "apikey": apikey }).to_string();
        let headers = "Content-Type: application/json\r\n";
        self.server.raw_tcp(request("POST", "/api/1.0/authenticate", headers, &body)).await
    }

    async fn submit(&self, name: &str) -> u64 {
        let answer = self.ask("POST", "/task", &task(name).to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["id"].as_u64().unwrap()
    }
}

async fn token_of(server: &Running, user: &str) -> String {
    let new =
        NewToken { label: "god".into(), scope: "submit".into(), expires_in: None, user: Some(user.into()) };
    server.client().await.create_token(&new).await.unwrap().token
}

fn task(name: &str) -> Value {
    json!({ "user": { "id": "ada" }, "meta": { "name": name }, "command": { "cmd": "true" } })
}

#[tokio::test]
async fn nothing_of_it_is_there_unless_the_site_wants_it() {
    let server = Running::start().await;
    for path in ["/api/1.0/config", "/api/1.0/authenticate", "/api/1.0/task/active"] {
        server.raw(request("GET", path, "", "")).await.refusal(404, "not-found");
        server.raw_tcp(request("GET", path, "", "")).await.refusal(401, "unauthenticated");
    }
}

#[tokio::test]
async fn an_api_key_is_a_token_of_that_very_user() {
    let site = Site::start().await;
    let answer = site.log_in("ada", &site.token).await;
    assert_eq!((answer.status, answer.json()["token"].as_str()), (200, Some(site.token.as_str())));
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    for (user, key) in [("eve", site.token.as_str()), ("ada", "berth_wrong"), ("ada", ""), ("", &site.token)]
    {
        let answer = site.log_in(user, key).await;
        let words = answer.refusal(401, "unauthenticated");
        assert!(!words.contains(&site.token), "{words}");
    }
    site.server.client().await.revoke_token(1).await.unwrap();
    site.log_in("ada", &site.token).await.refusal(401, "unauthenticated");
    site.ask("GET", "/task/active", "").await.refusal(401, "unauthenticated");
}

#[tokio::test]
async fn what_there_is_to_ask_for_is_told_to_all_and_the_rest_to_nobody_unknown() {
    let site = Site::start().await;
    let config = site.server.raw_tcp(request("GET", "/api/1.0/config", "", "")).await.json();
    assert_eq!(config["images"][0]["url"], "plain:1");
    assert_eq!(config["volumes"], json!([{ "name": "home", "acl": "rw" }]));
    assert_eq!(config["constraints"], json!([{ "name": "disk", "value": ["hdd", "ssd"] }]));
    assert_eq!(config["executor_features"], json!(["kill", "pause"]));
    for path in ["/image", "/task/1", "/task/active", "/user/ada", "/project", "/task/1/files/", "/config/"] {
        let answer = site.server.raw_tcp(request("GET", &format!("/api/1.0{path}"), "", "")).await;
        answer.refusal(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_task_is_sent_looked_at_and_killed() {
    let site = Site::start().await;
    let id = site.submit("n").await;
    let found = site.ask("GET", &format!("/task/{id}"), "").await.json();
    assert_eq!((&found["meta"]["name"], &found["status"]["primary"]), (&json!("n"), &json!("pending")));
    let status = site.ask("GET", &format!("/task/{id}/status"), "").await.json();
    assert_eq!(status["status"], found["status"]);
    assert_eq!(site.ask("DELETE", &format!("/task/{id}"), "").await.status, 200);
    let status = site.ask("GET", &format!("/task/{id}/status"), "").await.json();
    assert_eq!(status["status"]["secondary"], "killed");
}

#[tokio::test]
async fn a_bad_submission_says_why_where_its_clients_look() {
    let site = Site::start().await;
    let mut bad = task("n");
    bad["command"] = json!({ "interactive": true, "cmd": "true" });
    let answer = site.ask("POST", "/task", &bad.to_string()).await;
    answer.refusal(400, "invalid");
    assert!(answer.json()["msg"].as_str().unwrap().contains("ssh"), "{answer:?}");
    assert_eq!(answer.json()["id"], Value::Null);
    for body in ["", "{", "[]", "null", "7", "\"task\"", r#"{"requirements": {"cpu": -1}}"#] {
        let answer = site.ask("POST", "/task", body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.json()["msg"].is_string(), "{body}: {answer:?}");
    }
    let deep = format!("{{\"other\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(site.ask("POST", "/task", &deep).await.status, 400);
}

#[tokio::test]
async fn numbers_that_are_none_are_no_tasks() {
    let site = Site::start().await;
    site.submit("n").await;
    for id in ["0x1", "-1", "1.0", "abc", "%2e%2e", "99999999999999999999", "7"] {
        site.ask("GET", &format!("/task/{id}"), "").await.refusal(404, "not-found");
        site.ask("DELETE", &format!("/task/{id}"), "").await.refusal(404, "not-found");
        site.ask("GET", &format!("/task/{id}/suspend"), "").await.refusal(404, "not-found");
    }
}

#[tokio::test]
async fn ended_tasks_come_with_a_part_left_out_and_a_pattern() {
    let site = Site::start().await;
    for name in ["alpha", "beta", "gamma", "alphabet"] {
        site.submit(name).await;
    }
    let names = async |path: &str, body: &str| -> Vec<String> {
        let answer = site.ask("POST", path, body).await.json();
        let tasks = answer.as_array().unwrap_or_else(|| panic!("{answer}"));
        tasks.iter().map(|task| task["meta"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("/task/over/0/0", "").await, ["alphabet", "gamma", "beta", "alpha"]);
    assert_eq!(names("/task/over/1/2", "{}").await, ["gamma", "beta"]);
    assert_eq!(names("/task/over/9/100", "").await, Vec::<String>::new());
    assert_eq!(names("/task/over/0/0", r#"{"regex": "^alpha"}"#).await, ["alphabet", "alpha"]);
    let bomb = json!({ "regex": "((a{0,100}){0,100}){0,100}" }).to_string();
    site.ask("POST", "/task/over/0/0", &bomb).await.refusal(403, "invalid");
    site.ask("POST", "/task/over/-1/0", "").await.refusal(403, "invalid");
    site.ask("POST", "/task/over/0/0", "{").await.refusal(403, "invalid");
}

#[tokio::test]
async fn lists_of_everybodys_are_for_those_who_see_everything() {
    let site = Site::start().await;
    for (method, path) in [
        ("GET", "/task/active/all"),
        ("POST", "/task/over/all/0/0"),
        ("GET", "/user"),
        ("GET", "/project"),
        ("GET", "/user/eve/project"),
    ] {
        site.ask(method, path, "").await.refusal(403, "forbidden");
    }
}

#[tokio::test]
async fn files_are_lists_or_bytes_and_lead_nowhere_else() {
    let site = Site::start().await;
    let id = site.submit("n").await;
    let ask = async |path: &str| site.ask("GET", &format!("/task/{id}/files{path}"), "").await;
    for root in ["", "/"] {
        let answer = ask(root).await;
        // To its clients anything else is a file.
        assert!(answer.head.contains("content-type: application/json; charset=utf-8"), "{}", answer.head);
        assert_eq!(answer.json()[2], json!({ "name": "sub", "type": "dir", "size": 4 }));
    }
    assert_eq!(ask("/sub").await.json()[0]["name"], "a b?.txt");
    let page = ask("/page.html").await;
    assert_eq!((page.status, page.body.as_slice()), (200, b"<script>".as_slice()));
    assert!(page.head.contains("octet-stream") && page.head.contains("nosniff"), "{}", page.head);
    assert_eq!(ask("/god.log").await.body, format!("stdout of {id}\n").into_bytes());
    assert_eq!(ask("/god.err").await.body, format!("stderr of {id}\n").into_bytes());
    for trick in ["/../2/x", "/sub/../../x", "/%2e%2e/x", "/..%2fx", "/a%00b", "/sub/.."] {
        ask(trick).await.refusal(403, "invalid");
    }
    ask("/nothing").await.refusal(404, "not-found");
}

#[tokio::test]
async fn what_berth_does_not_do_is_no_success() {
    let site = Site::start().await;
    let id = site.submit("n").await;
    for (method, path) in [
        ("DELETE", format!("/task/{id}/archive")),
        ("DELETE", "/archive/30".to_owned()),
        ("DELETE", "/user/ada".to_owned()),
        ("DELETE", "/project/p/quota".to_owned()),
    ] {
        let answer = site.ask(method, &path, r#"{"name": "cpu", "value": "2"}"#).await;
        // Its command line takes 422 for a success.
        answer.refusal(403, "unable");
    }
    for change in [r#"{"name": "image", "value": "x"}"#, r#"{"name": "cpu", "value": "-2"}"#] {
        site.ask("PUT", &format!("/task/{id}"), change).await.refusal(403, "invalid");
    }
    site.ask("GET", "/archive/-1", "").await.refusal(403, "invalid");
    let day = json!([{ "date": "2030_1_9", "cpu": 2.5, "ram": 3.0, "time": 90.0 }]);
    for path in ["/user/ada/usage", "/project/p/usage"] {
        let told = site.ask("GET", path, "").await;
        assert_eq!((told.status, told.json()), (200, day.clone()), "{path}");
    }
    site.ask("GET", "/project/nobody/usage", "").await.refusal(404, "not-found");
}

#[tokio::test]
async fn projects_and_quotas_go_there_and_back() {
    let site = Site::start().await;
    let mut user = site.ask("GET", "/user/ada", "").await.json();
    assert_eq!(
        (&user["id"], &user["uid"], &user["credentials"]["apikey"]),
        (&json!("ada"), &json!(1), &json!(""))
    );
    user["usage"] = json!({ "prio": 70, "quota_time": 3600.0, "quota_cpu": 4, "quota_ram": 8 });
    let set = site.ask("PUT", "/user/ada", &user.to_string()).await;
    assert_eq!((set.status, &set.json()["usage"]), (200, &user["usage"]));
    let mut project = site.ask("GET", "/project/p", "").await.json();
    project["members"] = json!(["ada", "eve"]);
    let set = site.ask("POST", "/project/p", &project.to_string()).await;
    assert_eq!((set.status, &set.json()["members"]), (200, &json!(["ada", "eve"])));
    project["volumes"] = json!([{ "name": "x", "path": "/srv/x", "mount": "/x", "acl": "rw" }]);
    let set = site.ask("POST", "/project/p", &project.to_string()).await;
    assert_eq!((set.status, &set.json()["volumes"]), (200, &project["volumes"]));
    project["volumes"] = json!([{ "name": "x", "path": "/srv/x", "acl": "rwx" }]);
    site.ask("POST", "/project/p", &project.to_string()).await.refusal(403, "invalid");
    assert_eq!(site.ask("DELETE", "/project/p", "").await.status, 200);
}
