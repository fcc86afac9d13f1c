//! Guests: people who come by the word of an outside issuer, and who lets them in.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use berth_testbed::{KeyKind, SigningKey};
use serde_json::{Value, json};

use crate::harness::{
    ANN, Answer, Asked, BOB, Berth, People, Said, Setup, StandIn, eventually, free_port, is_root, over_tcp,
    over_tcp_with, said, said_with,
};

/// A Berth that trusts one issuer, and runs jobs on simulated nodes.
struct Site {
    berth: Berth,
    port: u16,
    issuer: StandIn,
    key: SigningKey,
}

fn new_key() -> SigningKey {
    SigningKey::new(KeyKind::Ed25519, "first")
}

impl Site {
    async fn start() -> Self {
        Self::with("", "", |_| {}).await
    }

    /// With more lines for `[guests]` and for the issuer, and more changes.
    async fn with(guests: &str, of_issuer: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let key = new_key();
        let issuer = StandIn::start(&key).await;
        let port = free_port();
        let berth = Berth::with(|setup| {
            setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
            setup.fake("run = \"1h\"\nnodes = 1\ncpus = 4");
            setup.more += &format!("[guests]\nuser = \"nobody\"\n{guests}\n{}", issuer.table(of_issuer));
            change(setup);
        })
        .await;
        Self { berth, port, issuer, key }
    }

    fn token(&self, subject: &str) -> String {
        self.issuer.token(&self.key, subject)
    }

    async fn info(&self, token: &str) -> Answer {
        over_tcp(self.port, "GET", "/v1/info", Some(token), "").await
    }

    /// Who somebody is here.
    async fn name_of(&self, token: &str) -> String {
        let info = self.info(token).await;
        assert_eq!(info.status, 200, "{info:?}");
        info.json()["user"].as_str().unwrap().to_owned()
    }

    async fn jobs(&self, token: &str) -> u16 {
        over_tcp(self.port, "GET", "/v1/jobs", Some(token), "").await.status
    }

    async fn submit(&self, token: &str, job: Value) -> Answer {
        over_tcp(self.port, "POST", "/v1/jobs", Some(token), &job.to_string()).await
    }

    /// The number of a job that was taken.
    async fn taken(&self, token: &str, job: Value) -> u64 {
        let answer = self.submit(token, job).await;
        assert_eq!(answer.status / 100, 2, "{answer:?}");
        answer.json()["id"].as_u64().unwrap()
    }

    /// Somebody who has come and was let in: their token and their name.
    async fn let_in(&self, subject: &str) -> (String, String) {
        let token = self.token(subject);
        let name = self.name_of(&token).await;
        self.berth.cli(["guest", "activate", &name]).await.ok();
        (token, name)
    }

    async fn guests(&self) -> Vec<Value> {
        self.berth.json(["guest", "list"]).await.as_array().unwrap().clone()
    }

    /// A command of somebody elsewhere.
    async fn elsewhere(&self, args: &[&str], input: &str) -> Said {
        let mut command = self.berth.lone_command(args.iter().copied());
        command.env("BERTH_SERVER", format!("http://127.0.0.1:{}", self.port));
        said_with(command, input.as_bytes()).await
    }
}

fn job() -> Value {
    json!({ "command": { "argv": ["sleep", "3600"] } })
}

fn words(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_guest_sees_who_they_are_and_nothing_else_until_an_administrator_lets_them_in() {
    let site = Site::start().await;
    let token = site.token("ann");
    let info = site.info(&token).await.json();
    let name = info["user"].as_str().unwrap().to_owned();
    assert!(
        name.starts_with("guest:") && info["barred"].as_str().unwrap().contains("administrator"),
        "{info}"
    );
    assert_eq!((&info["jobs"], &info["executors"], &info["roles"]), (&json!([]), &json!([]), &json!([])));
    for (method, path) in [
        ("GET", "/v1/jobs"),
        ("GET", "/v1/nodes"),
        ("GET", "/v1/usage"),
        ("POST", "/v1/tokens"),
        ("GET", "/v1/events"),
        ("POST", "/v1/guests/session"),
        ("GET", "/v1/guests"),
        ("GET", "/metrics"),
    ] {
        let answer = over_tcp(site.port, method, path, Some(&token), "{}").await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        assert!(
            words(&answer).contains(&name),
            "they are told the name that an administrator needs: {answer:?}"
        );
    }
    assert_eq!(site.submit(&token, job()).await.status, 403);
    let row = &site.guests().await[0];
    assert_eq!(
        (&row["name"], &row["standing"], &row["subject"]),
        (&json!(name), &json!("waiting"), &json!("ann"))
    );
    site.berth.cli(["guest", "activate", &name]).await.ok();
    let number = site.taken(&token, job()).await;
    assert_eq!(site.berth.wait_for(number, "running").await.row.user, name);
    let info = site.info(&token).await.json();
    assert_eq!((&info["barred"], &info["roles"]), (&Value::Null, &json!([])));
    let usage = site.berth.json(["user", "show", &name]).await;
    assert_eq!(
        (&usage["guest"]["standing"], &usage["running"]["jobs"]),
        (&json!("active"), &json!(1)),
        "{usage}"
    );
    let audit = site.berth.cli(["audit"]).await.ok();
    assert!(audit.contains(&format!("guest {name} (ann of {}) let in", site.issuer.url())), "{audit}");
}

#[tokio::test]
async fn who_is_shut_out_has_no_rights_from_then_on_while_what_runs_goes_on() {
    let site = Site::start().await;
    let (token, name) = site.let_in("ann").await;
    let made =
        over_tcp(site.port, "POST", "/v1/tokens", Some(&token), r#"{"label": "x", "scope": "submit"}"#).await;
    let own = made.json()["token"].as_str().unwrap().to_owned();
    let running = site.taken(&token, job()).await;
    site.berth.wait_for(running, "running").await;
    let array =
        site.taken(&token, json!({ "command": { "argv": ["sleep", "3600"] }, "array": "1-9%1" })).await;
    site.berth.wait_for(array, "running").await;
    let waiting = site.taken(&own, json!({ "command": { "argv": ["true"] }, "cpus": "4" })).await;
    let own_hold = site.taken(&own, json!({ "command": { "argv": ["true"] }, "hold": true })).await;
    assert_eq!(site.jobs(&own).await, 200);
    site.berth.cli(["guest", "deactivate", &name]).await.ok();
    assert_eq!(site.jobs(&token).await, 403);
    assert_eq!(site.jobs(&own).await, 401, "their own tokens have ended");
    assert_eq!(site.submit(&token, job()).await.status, 403);
    assert_eq!(site.berth.job(running).await.row.state, "running");
    for held in [waiting, own_hold, array] {
        site.berth.wait_for(held, "held").await;
        let why = site.berth.why(held).await;
        assert!(why.reasons.iter().any(|reason| reason.text.contains("administrator")), "{why:?}");
    }
    site.berth.cli(["kill", &running.to_string()]).await.ok();
    site.berth.cli(["guest", "activate", &name]).await.ok();
    assert_eq!(site.jobs(&token).await, 200, "and back in");
    assert_eq!(site.jobs(&own).await, 401, "what has ended stays so");
    let audit = site.berth.cli(["audit"]).await.ok();
    assert!(audit.contains("shut out"), "{audit}");
}

#[tokio::test]
async fn a_guest_who_is_removed_waits_again_and_nobody_is_let_in_unseen() {
    let site = Site::start().await;
    let (token, name) = site.let_in("ann").await;
    site.berth.cli(["guest", "remove", &name]).await.ok();
    assert_eq!(site.guests().await, Vec::<Value>::new());
    assert_eq!(site.jobs(&token).await, 403);
    assert_eq!(site.guests().await[0]["standing"], "waiting");
    for args in [
        ["guest", "activate", "guest:nobodynobodynobody22"],
        ["guest", "remove", "root"],
        ["guest", "deactivate", "ann"],
    ] {
        let refused = site.berth.cli(args).await.refused(5);
        assert!(refused.contains("there is no guest"), "{refused}");
    }
}

#[tokio::test]
async fn guests_neither_see_nor_touch_each_others_jobs_though_they_share_an_account() {
    let site = Site::start().await;
    let ((ann, ann_name), (bob, bob_name)) = (site.let_in("ann").await, site.let_in("bob").await);
    assert_ne!(ann_name, bob_name);
    let number = site.taken(&ann, job()).await;
    site.berth.wait_for(number, "running").await;
    for path in ["", "/why", "/logs", "/files", "/stats"] {
        let answer = over_tcp(site.port, "GET", &format!("/v1/jobs/{number}{path}"), Some(&bob), "").await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    let kill = json!({ "action": "kill", "jobs": [number.to_string()] }).to_string();
    let killed = over_tcp(site.port, "POST", "/v1/jobs/control", Some(&bob), &kill).await;
    assert!(!killed.body.contains("\"done\":true"), "{killed:?}");
    let list = over_tcp(site.port, "GET", "/v1/jobs", Some(&bob), "").await.json();
    assert_eq!(list["jobs"], json!([]));
    let of_ann = over_tcp(site.port, "GET", &format!("/v1/accounts/user/{ann_name}"), Some(&bob), "").await;
    assert_eq!(of_ann.status, 404, "{of_ann:?}");
    assert_eq!(site.berth.job(number).await.row.state, "running");
}

#[tokio::test]
async fn each_guest_has_quotas_of_their_own() {
    let site = Site::with("", "", |setup| setup.quotas = "user = { running-jobs = 1 }".into()).await;
    let ((ann, _), (bob, bob_name)) = (site.let_in("ann").await, site.let_in("bob").await);
    let first = site.taken(&ann, job()).await;
    let second = site.taken(&ann, job()).await;
    let of_bob = site.taken(&bob, job()).await;
    for running in [first, of_bob] {
        site.berth.wait_for(running, "running").await;
    }
    eventually("the reason", async || {
        site.berth.why(second).await.reasons.iter().any(|why| why.kind == "quota")
    })
    .await;
    site.berth.cli(["user", "change", &bob_name, "--bar"]).await.ok();
    let refused = site.submit(&bob, job()).await;
    assert_eq!(refused.status, 403, "an administrator bars one guest and not the other: {refused:?}");
    site.taken(&ann, job()).await;
}

#[tokio::test]
async fn only_so_many_wait_and_the_rest_are_not_even_noted() {
    let site = Site::with("most-waiting = 2", "", |_| {}).await;
    for subject in ["a", "b"] {
        site.name_of(&site.token(subject)).await;
    }
    let refused = site.info(&site.token("c")).await;
    assert!(refused.status == 403 && words(&refused).contains("most-waiting"), "{refused:?}");
    assert_eq!(site.guests().await.len(), 2);
    let (_, name) = site.let_in("a").await;
    assert!(site.guests().await.iter().any(|row| row["name"] == json!(name) && row["standing"] == "active"));
    site.name_of(&site.token("c")).await;
}

#[tokio::test]
async fn tokens_that_are_not_in_order_are_refused_with_the_reason_and_shown_nowhere() {
    let site = Site::with("", "leeway = \"0s\"", |setup| setup.more += "[log]\nlevel = \"trace\"\n").await;
    let token = |more: Value| site.issuer.token_with(&site.key, "ann", more);
    let thief = new_key();
    let stranger = SigningKey::new(KeyKind::Ed25519, "other");
    let good = site.token("ann");
    let none = format!("{}.", good.rsplit_once('.').unwrap().0);
    for (wrong, status, reason) in [
        (token(json!({ "exp": 1000 })), 401, "expired"),
        (token(json!({ "nbf": 4_000_000_000_u64 })), 401, "not good yet"),
        (token(json!({ "aud": "somebody-else" })), 401, "audience"),
        (token(json!({ "iss": "https://evil.example.org" })), 401, "not trusted"),
        (token(json!({ "sub": "" })), 401, "sub"),
        (site.issuer.token(&thief, "ann"), 401, "signature"),
        (site.issuer.token(&stranger, "ann"), 401, "does not have"),
        (none, 401, "signature"),
        (token(json!({ "more": "x".repeat(20_000) })), 401, "longer"),
        ("berth_0123.4.5".to_owned(), 401, ""),
    ] {
        let answer = site.info(&wrong).await;
        assert_eq!(answer.status, status, "{reason}: {answer:?}");
        assert!(words(&answer).contains(reason), "{reason}: {answer:?}");
        assert!(!answer.body.contains(&wrong[..wrong.len().min(40)]), "{answer:?}");
    }
    assert_eq!(site.guests().await, Vec::<Value>::new(), "none of them was noted");
    site.name_of(&good).await;
    let log = site.berth.server_log();
    assert!(!log.contains(good.split('.').nth(1).unwrap()) && !log.contains(good.split('.').nth(2).unwrap()));
}

#[tokio::test]
async fn only_people_whom_the_site_wants_become_guests() {
    let of_issuer = "domains = [\"example.org\"]\nrequire = [\"groups=staff\"]";
    let site = Site::with("", of_issuer, |_| {}).await;
    let claims = |verified: bool, group: &str| json!({ "email": "ann@example.org", "email_verified": verified, "groups": [group] });
    for wrong in [claims(false, "staff"), claims(true, "students"), json!({})] {
        let answer = site.info(&site.issuer.token_with(&site.key, "ann", wrong)).await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    assert_eq!(site.guests().await, Vec::<Value>::new());
    site.name_of(&site.issuer.token_with(&site.key, "ann", claims(true, "staff"))).await;
    assert_eq!(site.guests().await[0]["email"], "ann@example.org");
}

#[tokio::test]
async fn an_issuer_that_is_down_hangs_fails_or_lies_lets_nobody_in_and_holds_up_nobody_else() {
    let mut site = Site::with("", "answer-within = \"1s\"", |_| {}).await;
    let token = site.token("ann");
    site.issuer.go_down().await;
    let answer = site.info(&token).await;
    assert!(answer.status == 503 && words(&answer).contains("cannot be checked now"), "{answer:?}");
    site.issuer.listen().await;
    for what in [Asked::Hangs, Asked::Fails, Asked::Lies] {
        site.issuer.does(what.clone());
        eventually("another reason", async || {
            let answer = site.info(&token).await;
            assert_eq!(answer.status, 503, "{what:?}: {answer:?}");
            let reason = words(&answer);
            match what {
                Asked::Hangs => reason.contains("did not answer within"),
                Asked::Fails => reason.contains("answered 500"),
                _ => reason.contains("another issuer"),
            }
        })
        .await;
        assert_eq!(site.berth.http("GET", "/v1/info", &[], b"").await.status, 200, "others are served");
    }
    assert_eq!(site.guests().await, Vec::<Value>::new());
    site.issuer.does(Asked::Answers);
    eventually("the issuer's word", async || site.info(&token).await.status == 200).await;
}

#[tokio::test]
async fn who_has_a_session_needs_no_issuer() {
    let mut site = Site::start().await;
    let (token, name) = site.let_in("ann").await;
    let file = site.berth.write("token", format!("{token}\n"));
    site.elsewhere(&["login", "--oidc-token-file", file.to_str().unwrap()], "").await.ok();
    site.issuer.go_down().await;
    let number = site.elsewhere(&["submit", "--", "sleep", "3600"], "").await.ok();
    site.berth.wait_for(number.trim(), "running").await;
    let status = site.elsewhere(&["--json", "status"], "").await.json();
    assert_eq!(status["info"]["user"], json!(name));
    let listed = site.berth.json(["token", "list"]).await;
    assert!(
        listed[0]["session"] == true && listed[0]["user"] == json!(name) && listed[0]["expires"].is_string(),
        "{listed}"
    );
    site.berth.cli(["guest", "deactivate", &name]).await.ok();
    site.elsewhere(&["jobs"], "").await.refused(4);
    let again = site.elsewhere(&["login", "--oidc-token-file", "-"], &token).await.refused(4);
    assert!(again.contains("no longer lets you in"), "{again}");
}

#[tokio::test]
async fn an_issuer_that_changes_its_keys_is_asked_again_and_not_all_the_time() {
    let site = Site::with("", "look-again = \"3s\"", |_| {}).await;
    site.name_of(&site.token("ann")).await;
    assert_eq!(site.issuer.asked(), 1);
    let next = SigningKey::new(KeyKind::P256, "next");
    site.issuer.publish(&[&next]);
    let token = site.issuer.token(&next, "ann");
    eventually("the new key", async || site.info(&token).await.status == 200).await;
    let old = site.info(&site.token("ann")).await;
    assert!(
        old.status == 401 && words(&old).contains("does not have"),
        "a key that is gone is good for nothing: {old:?}"
    );
    let before = site.issuer.asked();
    let unknown = SigningKey::new(KeyKind::Ed25519, "made up");
    for _ in 0..20 {
        assert_ne!(site.info(&site.issuer.token(&unknown, "eve")).await.status, 200);
    }
    assert!(site.issuer.asked() <= before + 2, "{} times", site.issuer.asked() - before);
}

#[tokio::test]
async fn an_issuer_whose_certificate_is_of_another_authority_is_not_asked() {
    let key = new_key();
    let (issuer, other) = (StandIn::start(&key).await, StandIn::start(&key).await);
    let port = free_port();
    let table = issuer
        .table("")
        .replace(&*issuer.authority.ca.to_string_lossy(), &other.authority.ca.to_string_lossy());
    let _berth = Berth::with(|setup| {
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
        setup.more += &format!("[guests]\nuser = \"nobody\"\n{table}");
    })
    .await;
    let answer = over_tcp(port, "GET", "/v1/info", Some(&issuer.token(&key, "ann")), "").await;
    assert!(answer.status == 503 && words(&answer).contains("certificate"), "{answer:?}");
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test]
async fn keys_from_a_file_need_no_way_out() {
    let key = SigningKey::new(KeyKind::Rsa, "k");
    let issuer = StandIn::start(&key).await;
    let file = issuer.folder().join("keys.json");
    fs::write(&file, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    let port = free_port();
    let berth = Berth::with(|setup| {
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
        let table = issuer.table(&format!("keys-file = {file:?}"));
        setup.more += &format!("[guests]\nuser = \"nobody\"\n{table}");
    })
    .await;
    let answer = over_tcp(port, "GET", "/v1/info", Some(&issuer.token(&key, "ann")), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(issuer.asked(), 0);
    assert_eq!(berth.json(["guest", "list"]).await[0]["subject"], "ann");
}

#[tokio::test]
async fn what_is_known_of_guests_is_the_same_after_a_crash() {
    let mut site = Site::start().await;
    let (active, active_name) = site.let_in("ann").await;
    let waiting = site.token("bob");
    let waiting_name = site.name_of(&waiting).await;
    site.berth.kill_dash_9();
    site.berth.start_again().await;
    assert_eq!([site.jobs(&active).await, site.jobs(&waiting).await], [200, 403]);
    assert_eq!(site.guests().await.len(), 2);
    site.berth.cli(["guest", "activate", &waiting_name]).await.ok();
    site.berth.cli(["guest", "deactivate", &active_name]).await.ok();
    site.berth.kill_dash_9();
    site.berth.start_again().await;
    assert_eq!([site.jobs(&active).await, site.jobs(&waiting).await], [403, 200]);
}

#[tokio::test]
async fn what_a_crash_kept_from_being_held_is_held_at_the_next_start() {
    let mut site = Site::start().await;
    let (token, name) = site.let_in("ann").await;
    let running = site.taken(&token, json!({ "command": { "argv": ["sleep", "3600"] }, "cpus": "4" })).await;
    site.berth.wait_for(running, "running").await;
    let waiting = site.taken(&token, job()).await;
    site.berth.kill_dash_9();
    // As if the crash had come between the decision and what follows from it.
    let database = rusqlite::Connection::open(site.berth.state().join("berth.db")).unwrap();
    database
        .execute("UPDATE guests SET standing = 2, decided = 1, decided_by = 'root' WHERE name = ?1", [&name])
        .unwrap();
    drop(database);
    site.berth.start_again().await;
    site.berth.wait_for(waiting, "held").await;
}

#[tokio::test]
async fn a_guest_gets_nothing_that_the_site_has_not_set_aside_for_guests() {
    let site = Site::with("executors = [\"fake\"]", "", |setup| {
        setup.executors += "[executors.other]\nkind = \"fake\"\n";
        setup.more += "[auth.settings]\nallow-root-jobs = true\nadministrators = \"nobody\"\n";
    })
    .await;
    let (token, _) = site.let_in("ann").await;
    for (key, value, reason) in
        [("root", json!(true), "allow-root"), ("executor", json!("other"), "do not go to other here")]
    {
        let mut job = job();
        job[key] = value;
        let refused = site.submit(&token, job).await;
        assert!(refused.status == 403 && words(&refused).contains(reason), "{reason}: {refused:?}");
    }
    // What the account may is not what guests may, and no word of theirs makes it more.
    for (method, path, body) in [
        ("GET", "/v1/guests", "".to_owned()),
        ("GET", "/v1/acts", "".to_owned()),
        ("POST", "/v1/plugins/auth/reload", "".to_owned()),
        ("POST", "/v1/tokens", json!({ "label": "x", "scope": "admin" }).to_string()),
        ("POST", "/v1/tokens", json!({ "label": "x", "scope": "read", "user": "root" }).to_string()),
        ("POST", "/v1/guests/session", json!({ "scope": "admin" }).to_string()),
    ] {
        let answer = over_tcp(site.port, method, path, Some(&token), &body).await;
        assert_eq!(answer.status, 403, "{method} {path} {body}: {answer:?}");
    }
    let made =
        over_tcp(site.port, "POST", "/v1/tokens", Some(&token), r#"{"label": "x", "scope": "submit"}"#)
            .await
            .json();
    let listed = over_tcp(site.port, "GET", "/v1/tokens", Some(&token), "").await.json();
    assert!(listed[0]["expires"].is_string(), "none lasts for ever: {listed} {}", made["id"]);
}

#[tokio::test]
async fn nobody_is_a_guest_by_other_ways_in() {
    let site = Site::with("", "", |setup| {
        let secret = setup.secret("proxy", "open sesame");
        setup.server += &format!(
            "\n[server.proxy]\nuser-header = \"X-Remote-User\"\nfrom = [\"127.0.0.1\"]\nsecret-file = {secret:?}\n"
        );
    })
    .await;
    let (_, name) = site.let_in("ann").await;
    let proxied = async |user: &str| {
        let headers = [("X-Remote-User", user), ("Berth-Proxy-Secret", "open sesame")];
        over_tcp_with(site.port, "GET", "/v1/jobs", &headers, "").await.status
    };
    assert_eq!(proxied("daemon").await, 200);
    assert_eq!(proxied(&name).await, 401, "a guest comes with a token");
    assert_eq!(proxied("nobody").await, 403, "and nobody as the account of all guests");
    let set = said_with(site.berth.command(["password", "set", "--user", &name]), b"correct horse\n").await;
    set.refused(5);
    let set =
        said_with(site.berth.command(["password", "set", "--user", "nobody"]), b"correct horse\n").await;
    set.ok();
    for user in [name.as_str(), "nobody"] {
        let body = json!({ "user": user, "password": "correct horse" }).to_string();
        assert_eq!(over_tcp(site.port, "POST", "/v1/session", None, &body).await.status, 401, "{user}");
    }
}

#[tokio::test]
async fn where_nobody_comes_as_a_guest_a_signed_token_is_nothing() {
    let port = free_port();
    let berth = Berth::with(|setup| setup.server = format!("listen = [\"127.0.0.1:{port}\"]")).await;
    let token = new_key().token(&json!({ "sub": "ann" }));
    let answer = over_tcp(port, "GET", "/v1/info", Some(&token), "").await;
    assert!(answer.status == 401 && words(&answer).contains("not taken here"), "{answer:?}");
    assert_eq!(said(berth.command(["--json", "guest", "list"])).await.json(), json!([]));
}

/// A site on this machine, where guests have homes.
async fn with_homes(more: &str) -> (People, u16, StandIn, SigningKey) {
    assert!(is_root(), "only root gives directories away");
    let key = new_key();
    let issuer = StandIn::start(&key).await;
    let port = free_port();
    let homes = issuer.folder().join("homes");
    fs::create_dir(&homes).unwrap();
    fs::set_permissions(issuer.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let people = People::with(|setup| {
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
        setup.more += &format!(
            "[guests]\nuser = {:?}\nhomes = {homes:?}\nmeasure-every = \"1s\"\n{more}\n{}",
            ANN.0,
            issuer.table("")
        );
    })
    .await;
    (people, port, issuer, key)
}

async fn let_in(people: &People, port: u16, token: &str) -> (String, std::path::PathBuf) {
    let info = over_tcp(port, "GET", "/v1/info", Some(token), "").await.json();
    let name = info["user"].as_str().unwrap().to_owned();
    let rows = people.berth.json(["guest", "activate", &name]).await;
    (name, rows[0]["home"].as_str().unwrap().into())
}

#[tokio::test]
#[ignore = "needs root"]
async fn jobs_of_guests_run_as_their_account_each_in_a_home_of_their_own() {
    let (people, port, issuer, key) = with_homes("").await;
    let (ann, bob) = (issuer.token(&key, "ann"), issuer.token(&key, "../../bob"));
    let (name, home) = let_in(&people, port, &ann).await;
    let (_, bobs) = let_in(&people, port, &bob).await;
    assert_ne!(home, bobs);
    for home in [&home, &bobs] {
        let found = fs::symlink_metadata(home).unwrap();
        assert!(found.is_dir() && found.uid() == ANN.1 && found.mode() & 0o777 == 0o700, "{home:?}");
        assert_eq!(home.parent().unwrap(), issuer.folder().join("homes"));
    }
    let job = json!({ "command": { "argv": ["sh", "-c", "id -u; echo $HOME; head -c 300000 /dev/zero > $HOME/made"] } });
    let number =
        over_tcp(port, "POST", "/v1/jobs", Some(&ann), &job.to_string()).await.json()["id"].to_string();
    people.berth.succeeds(&number).await;
    let logs = over_tcp(port, "GET", &format!("/v1/jobs/{number}/logs"), Some(&ann), "").await.body;
    assert_eq!(logs, format!("{}\n{}\n", ANN.1, home.display()));
    eventually("its size", async || {
        let row = people.berth.json(["user", "show", &name]).await;
        row["guest"]["home_bytes"].as_u64().is_some_and(|bytes| bytes >= 300_000)
    })
    .await;
    let rows = people.berth.json(["guest", "list"]).await;
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == json!(name)).unwrap();
    assert!(row["home_bytes"].as_u64().unwrap() >= 300_000 && row["home_measured"].is_string(), "{row}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_job_of_a_guest_does_not_come_back_as_the_account_that_it_runs_as() {
    let (people, _, _issuer, _) = with_homes("").await;
    let refused = people.as_user(ANN, &["submit", "--", "true"]).await.refused(4);
    assert!(refused.contains("guests' jobs run as it"), "{refused}");
    people.as_user(BOB, &["jobs"]).await.ok();
    assert!(people.berth.all_jobs().await.is_empty());
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_home_that_somebody_has_put_a_link_in_the_place_of_is_not_used() {
    let (people, port, issuer, key) = with_homes("").await;
    let token = issuer.token(&key, "ann");
    let (name, home) = let_in(&people, port, &token).await;
    fs::remove_dir(&home).unwrap();
    let elsewhere = people.berth.open_folder("elsewhere");
    symlink(&elsewhere, &home).unwrap();
    let job = json!({ "command": { "argv": ["true"] } }).to_string();
    assert_eq!(over_tcp(port, "POST", "/v1/jobs", Some(&token), &job).await.status, 503);
    let refused = people.berth.cli(["guest", "activate", &name]).await;
    assert!(refused.code != 0 && refused.err.contains("no home for"), "{refused:?}");
    assert_ne!(fs::metadata(&elsewhere).unwrap().uid(), ANN.1);
    fs::remove_file(&home).unwrap();
    assert_eq!(over_tcp(port, "POST", "/v1/jobs", Some(&token), &job).await.status / 100, 2);
    assert!(fs::symlink_metadata(&home).unwrap().is_dir(), "it is made anew");
}
