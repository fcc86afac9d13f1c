//! Passwords and sessions: who gets in with what, for how long, and who does not.

use std::os::unix::fs::PermissionsExt;

use futures::StreamExt;
use serde_json::{Value, json};

use crate::harness::{
    ANN, Answer, BOB, Berth, People, Said, eventually, free_port, over_tcp, said, said_with,
};

const RIGHT: &str = "correct horse battery";

/// A Berth that is reached over the network, with a password of this test's user.
async fn start(more: &str) -> (Berth, u16) {
    let port = free_port();
    let berth = Berth::with(|setup| {
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
        setup.more += more;
    })
    .await;
    set(&berth, &[], RIGHT).await.ok();
    (berth, port)
}

fn me() -> String {
    let name = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(name.stdout).unwrap().trim().to_owned()
}

async fn set(berth: &Berth, args: &[&str], password: &str) -> Said {
    said_with(berth.command([&["password", "set"], args].concat()), format!("{password}\n").as_bytes()).await
}

async fn sign_in(port: u16, user: &str, password: &str) -> Answer {
    sign_in_for(port, user, password, "submit").await
}

async fn sign_in_for(port: u16, user: &str, password: &str, scope: &str) -> Answer {
    let body = json!({ "user": user, "password": password, "scope": scope }).to_string();
    over_tcp(port, "POST", "/v1/session", None, &body).await
}

/// The secret of a session that has begun.
async fn session(port: u16, scope: &str) -> String {
    let answer = sign_in_for(port, &me(), RIGHT, scope).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["token"].as_str().unwrap().to_owned()
}

async fn status(port: u16, token: &str) -> u16 {
    over_tcp(port, "GET", "/v1/jobs", Some(token), "").await.status
}

#[tokio::test]
async fn somebody_with_a_password_logs_in_works_and_logs_out() {
    let (berth, port) = start("").await;
    let server = format!("http://127.0.0.1:{port}");
    let command = |args: &[&str]| {
        let mut command = berth.lone_command(args.iter().copied());
        command.env("BERTH_SERVER", &server);
        command
    };
    let wrong = said_with(command(&["login", "--user", &me()]), b"wrong horse battery\n").await.refused(4);
    assert!(wrong.contains("the user or the password is wrong"), "{wrong}");
    said(command(&["jobs"])).await.refused(4);
    said_with(command(&["login", "--user", &me()]), format!("{RIGHT}\n").as_bytes()).await.ok();
    let file = berth.path("home/.config/berth/session");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(said(command(&["run", "--", "echo", "over the network"])).await.ok(), "over the network\n");
    let kept = std::fs::read_to_string(&file).unwrap();
    let secret = kept.lines().nth(1).unwrap().to_owned();
    said(command(&["logout"])).await.ok();
    assert!(!file.exists());
    assert_eq!(status(port, &secret).await, 401, "it has ended there, too");
    said(command(&["jobs"])).await.refused(4);
    said(command(&["logout"])).await.refused(4);
}

#[tokio::test]
async fn a_session_allows_what_it_was_begun_for_and_is_listed_and_revoked_like_a_token() {
    let (berth, port) = start("").await;
    let job = r#"{"command": {"argv": ["true"]}}"#;
    let read = session(port, "read").await;
    assert_eq!(status(port, &read).await, 200);
    assert_eq!(over_tcp(port, "POST", "/v1/jobs", Some(&read), job).await.status, 403);
    let submit = session(port, "submit").await;
    assert_eq!(over_tcp(port, "POST", "/v1/jobs", Some(&submit), job).await.status / 100, 2);
    let password = json!({ "password": "another horse" }).to_string();
    let path = format!("/v1/passwords/{}", me());
    assert_eq!(over_tcp(port, "PUT", &path, Some(&submit), &password).await.status, 403, "it would get more");
    assert_eq!(sign_in_for(port, &me(), RIGHT, "root").await.status, 400);
    let list = berth.json(["token", "list"]).await;
    let rows = list.as_array().unwrap();
    assert_eq!(rows.len(), 2, "{list}");
    assert!(rows.iter().all(|row| row["session"] == true && row["expires"].is_string()), "{list}");
    assert!(!list.to_string().contains(&read[6..]), "{list}");
    berth.cli(["token", "revoke", &rows[0]["id"].to_string()]).await.ok();
    assert_eq!([status(port, &read).await, status(port, &submit).await], [401, 200]);
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it_and_after_its_time_even_if_somebody_does() {
    let (berth, port) = start("[auth.sessions]\nidle = \"2s\"\n").await;
    let unused = session(port, "read").await;
    eventually("its end", async || berth.json(["token", "list"]).await == json!([])).await;
    assert_eq!(status(port, &unused).await, 401);
    let (_berth, port) = start("[auth.sessions]\nlongest = \"3s\"\n").await;
    let used = session(port, "read").await;
    eventually("its end", async || status(port, &used).await == 401).await;
}

#[tokio::test]
async fn nobody_chooses_the_secret_of_a_session() {
    let (_berth, port) = start("").await;
    let chosen = format!("berth_{}", "ab".repeat(32));
    let body = json!({ "user": me(), "password": RIGHT }).to_string();
    let got = over_tcp(port, "POST", "/v1/session", Some(&chosen), &body).await;
    assert_eq!(got.status, 201);
    assert_ne!(got.json()["token"], json!(chosen));
    assert_eq!(status(port, &chosen).await, 401);
    let given = json!({ "user": me(), "password": RIGHT, "token": chosen }).to_string();
    assert_eq!(over_tcp(port, "POST", "/v1/session", None, &given).await.status, 400);
    // Logging in again with one that works gives another one, which does not end with it.
    let first = got.json()["token"].as_str().unwrap().to_owned();
    let second = over_tcp(port, "POST", "/v1/session", Some(&first), &body).await.json();
    assert_ne!(second["token"], json!(first));
    over_tcp(port, "DELETE", "/v1/session", Some(&first), "").await;
    assert_eq!(
        [status(port, &first).await, status(port, second["token"].as_str().unwrap()).await],
        [401, 200]
    );
}

#[tokio::test]
async fn who_does_not_exist_is_answered_like_who_was_wrong() {
    let (berth, port) = start("").await;
    let mut answers = Vec::new();
    // One who has a password, one who exists and has none, and those who do not exist.
    for user in [me().as_str(), "daemon", "no-such-user-here", "", "a\u{0}b", "../root", "*"] {
        let answer = sign_in(port, user, "wrong horse battery").await;
        let head = answer.head.lines().filter(|line| !line.to_lowercase().starts_with("date:"));
        answers.push((answer.status, head.map(str::to_owned).collect::<Vec<_>>(), answer.body.clone()));
    }
    assert_eq!(answers[0].0, 401, "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let log = berth.server_log();
    assert!(log.contains("wrong password") && !log.contains("no-such-user-here"), "{log}");
}

#[tokio::test]
async fn a_thousand_wrong_passwords_are_slowed_down_and_others_are_not() {
    let (berth, port) = start("").await;
    let before = session(port, "read").await;
    let tries = futures::stream::iter(0..1000)
        .map(|number| async move { sign_in(port, &me(), &format!("wrong horse {number}")).await.status });
    let statuses: Vec<u16> = tries.buffer_unordered(16).collect().await;
    let tried = statuses.iter().filter(|status| **status == 401).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!((1..=20).contains(&tried) && tried + refused == 1000, "{tried} tried, {refused} refused");
    let now = sign_in(port, &me(), RIGHT).await;
    assert_eq!(now.status, 429, "the right one is not told apart: {now:?}");
    assert!(now.head.to_lowercase().contains("retry-after"), "{}", now.head);
    assert_eq!(status(port, &before).await, 200, "who is in stays in");
    // Over the socket it is another place, and somebody else is somebody else.
    let body = json!({ "user": me(), "password": RIGHT }).to_string();
    let json = [("Content-Type", "application/json")];
    eventually("the way in from elsewhere", async || {
        berth.http("POST", "/v1/session", &json, body.as_bytes()).await.status == 201
    })
    .await;
}

#[tokio::test]
async fn passwords_are_kept_as_hashes_and_shown_nowhere() {
    let (mut berth, port) = start("[log]\nlevel = \"trace\"\n").await;
    let secret = session(port, "admin").await;
    sign_in(port, RIGHT, "typed into the wrong field").await;
    for weak in ["short", "", "tab\there and more"] {
        let refused = set(&berth, &[], weak).await;
        assert_ne!(refused.code, 0, "{weak:?}");
    }
    berth.stop().await;
    for text in [RIGHT, "typed into the wrong field", &secret] {
        assert!(!berth.server_log().contains(text), "{}", berth.server_log());
        for entry in std::fs::read_dir(berth.state()).unwrap().filter_map(Result::ok) {
            let Ok(bytes) = std::fs::read(entry.path()) else { continue };
            assert!(!bytes.windows(text.len()).any(|part| part == text.as_bytes()), "{:?}", entry.path());
        }
    }
    berth.start_again().await;
    assert_eq!(status(port, &secret).await, 200, "a session outlives a restart");
    session(port, "read").await;
}

#[tokio::test]
async fn a_new_password_ends_other_sessions_and_none_lets_nobody_in() {
    let (berth, port) = start("").await;
    let (own, other) = (session(port, "admin").await, session(port, "admin").await);
    let body = json!({ "password": "another horse battery" }).to_string();
    let path = format!("/v1/passwords/{}", me());
    let changed = over_tcp(port, "PUT", &path, Some(&own), &body).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!([status(port, &own).await, status(port, &other).await], [200, 401]);
    assert_eq!(sign_in(port, &me(), RIGHT).await.status, 401);
    assert_eq!(sign_in(port, &me(), "another horse battery").await.status, 201);
    berth.cli(["password", "remove"]).await.ok();
    assert_eq!(status(port, &own).await, 401);
    assert_eq!(sign_in(port, &me(), "another horse battery").await.status, 401);
    berth.cli(["password", "remove"]).await.refused(5);
}

#[tokio::test]
#[ignore = "needs root"]
async fn people_set_their_own_passwords_and_administrators_everybodys_with_a_line_in_the_history() {
    let port = free_port();
    let people = People::with(|setup| setup.server = format!("listen = [\"127.0.0.1:{port}\"]")).await;
    let berth = &people.berth;
    let set = async |who, args: &[&str], input: &str| {
        let all = [&["password", "set"], args].concat();
        people.as_user_with(who, &all, input.as_bytes()).await
    };
    set(ANN, &[], "anns first password\n").await.ok();
    assert_eq!(sign_in(port, ANN.0, "anns first password").await.status, 201);
    let refused = set(ANN, &[], "anns second password\n").await.refused(4);
    assert!(refused.contains("--current"), "{refused}");
    set(ANN, &["--current"], "not the present one\nanns second password\n").await.refused(4);
    set(ANN, &["--current"], "anns first password\nanns second password\n").await.ok();
    assert_eq!(sign_in(port, ANN.0, "anns second password").await.status, 201);
    set(ANN, &["--user", BOB.0], "bobs new password\n").await.refused(4);
    people.as_user(ANN, &["password", "remove", "--user", BOB.0]).await.refused(4);
    assert_eq!(berth.json(["audit"]).await, json!([]), "nobody has administrated yet");
    let by_root = async |args: &[&str], input: &str| said_with(berth.command(args), input.as_bytes()).await;
    by_root(&["password", "set", "--user", BOB.0], "bobs new password\n").await.ok();
    by_root(&["password", "set", "--user", "no-such-user-here"], "whatever it is\n").await.refused(5);
    let listed =
        |rows: Value| rows.as_array().unwrap().iter().map(|row| row["user"].clone()).collect::<Vec<_>>();
    assert_eq!(listed(berth.json(["password", "list"]).await), [json!(BOB.0), json!(ANN.0)]);
    let own = people.as_user(BOB, &["--json", "password", "list"]).await.json();
    assert_eq!(listed(own), [json!(BOB.0)]);
    let bobs = sign_in(port, BOB.0, "bobs new password").await.json();
    berth.cli(["token", "revoke", &bobs["id"].to_string()]).await.ok();
    by_root(&["password", "remove", "--user", BOB.0], "").await.ok();
    let acts = berth.json(["audit"]).await;
    let acts: Vec<&str> = acts.as_array().unwrap().iter().map(|act| act["what"].as_str().unwrap()).collect();
    let [set, revoked, taken] = acts[..] else { panic!("{acts:?}") };
    assert_eq!((set, taken), ("password of daemon set", "password of daemon taken away"));
    assert!(revoked.starts_with("session ") && revoked.ends_with(" of daemon revoked"), "{revoked}");
}

#[tokio::test]
async fn a_proxy_says_who_somebody_is_where_it_is_listed_and_knows_the_secret() {
    let port = free_port();
    let mut berth = Berth::set_up(|setup| {
        setup.server = format!(
            "listen = [\"127.0.0.1:{port}\"]\n[server.proxy]\nuser-header = \"X-Remote-User\"\nfrom = [\"127.0.0.1\"]\n\
             secret-file = \"proxy-secret\"\n"
        );
    });
    let file = berth.write("proxy-secret", "open sesame\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let words = berth.try_start().await.unwrap_err();
    assert!(words.contains("chmod 600") && !words.contains("sesame"), "{words}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    berth.start_again().await;
    let me = me();
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        crate::harness::over_tcp_with(port, "GET", path, headers, "").await
    };
    let (user, secret) = (("X-Remote-User", me.as_str()), ("Berth-Proxy-Secret", "open sesame"));
    assert_eq!(ask("/v1/info", &[user, secret]).await.json()["user"], json!(me));
    for doubtful in [&[user][..], &[user, ("Berth-Proxy-Secret", "sesame")], &[secret], &[user, user, secret]]
    {
        assert_eq!(ask("/v1/info", doubtful).await.status, 401, "{doubtful:?}");
    }
    assert_eq!(ask("/v1/info", &[("X-Remote-User", "no-such-user-here"), secret]).await.status, 401);
    let headers = [user, secret, ("Content-Type", "application/json")];
    let reload = crate::harness::over_tcp_with(port, "POST", "/v1/plugins/auth/reload", &headers, "").await;
    assert_eq!(reload.status, 403, "a browser is made to ask for many things");
    assert!(!berth.server_log().contains("sesame"), "{}", berth.server_log());
}
