//! People and programs are told of jobs: by webhooks and by mail.

use berth_api::{Controls, Submit};
use berth_testbed::{MailServer, MailWish, mail_server};
use serde_json::Value;

use crate::harness::{Berth, Called, Does, Receiver, Setup, eventually, free_port, sh};

/// What the site's calls are signed with.
const KEY: &str = "a key of the site, long enough";

/// Tries again soon, so that tests need not wait.
const SOON: &str = "retry = \"20ms\"\nanswer-within = \"500ms\"\n";

fn hook(setup: &mut Setup, name: &str, url: &str, more: &str) {
    let key = setup.secret(&format!("{name}.key"), KEY);
    setup.more += &format!("[[webhooks]]\nname = {name:?}\nurl = {url:?}\nkey-file = {key:?}\n{more}\n");
}

/// A site that calls this receiver whenever a job starts or ends.
fn with_hook(setup: &mut Setup, receiver: &Receiver) {
    setup.more += &format!("[notices]\n{SOON}");
    hook(setup, "site", &receiver.url(), "");
}

/// A site whose people may have things on this machine called.
fn with_user_webhooks(setup: &mut Setup, networks: &str) {
    let key = setup.secret("users.key", KEY);
    setup.more += &format!(
        "[notices]\n{SOON}user-webhooks = true\nuser-key-file = {key:?}\n\
         allowed-hosts = [\"localhost\"]\nallowed-networks = [{networks}]\n"
    );
}

fn shorts(calls: &[Called]) -> Vec<String> {
    calls.iter().map(Called::short).collect()
}

#[tokio::test]
async fn the_sites_webhook_is_called_at_starts_and_ends_and_signs_what_it_says() {
    let receiver = Receiver::start().await;
    let berth = Berth::with(|setup| with_hook(setup, &receiver)).await;
    let job = Submit { name: Some("first".into()), ..sh("exit 3") };
    let env = [("SECRET".to_owned(), "swordfish".to_owned())].into();
    let job = berth.submit_job(Submit { env, ..job }).await;
    let calls = receiver.at_least(2).await;
    assert_eq!(shorts(&calls), [format!("{job} start running"), format!("{job} end failed")]);
    let end = &calls[1];
    assert_eq!((end.header("berth-event"), end.header("content-type")), ("end", "application/json"));
    assert_eq!((&end.body["name"], &end.body["exit_code"]), (&"first".into(), &3.into()));
    assert_eq!(end.body["cause"], "exit code 3");
    assert_eq!(end.body["id"], end.id());
    for key in ["submitted", "started", "ended", "node", "user", "project", "cluster"] {
        assert!(!end.body[key].is_null(), "{key}: {}", end.body);
    }
    for call in &calls {
        let text = String::from_utf8_lossy(&call.raw);
        assert!(!text.contains("swordfish") && !text.contains("exit 3\""), "{text}");
        let signature = call.header("berth-signature");
        let time = signature.strip_prefix("t=").and_then(|rest| rest.split_once(',')).unwrap().0;
        assert_eq!(signature, berth_notices::sign(KEY.as_bytes(), time.parse().unwrap(), &call.raw));
    }
}

#[tokio::test]
async fn a_receiver_that_fails_hangs_breaks_off_or_points_elsewhere_is_called_again_under_the_same_name() {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let berth = Berth::with(|setup| {
        setup.more += &format!("[notices]\n{SOON}");
        hook(setup, "site", &receiver.url(), "on = [\"end\"]");
    })
    .await;
    let bad = [
        Does::Answers(500),
        Does::BreaksOff,
        Does::Hangs,
        Does::Redirects(elsewhere.url()),
        Does::Answers(404),
    ];
    let count = bad.len();
    receiver.does(bad.into_iter().chain([Does::Answers(200)]));
    let job = berth.submit("true").await;
    let calls = receiver.at_least(count + 1).await;
    assert!(calls.iter().all(|call| call.id() == calls[0].id() && call.raw == calls[0].raw), "{calls:#?}");
    // It was taken at last: the next call is about the next job.
    let next = berth.submit("true").await;
    let calls = receiver.until("the next job", |call| call.body["job"] == next).await;
    assert_eq!(calls.iter().filter(|call| call.body["job"] == job).count(), count + 1);
    assert_eq!(elsewhere.calls().len(), 0);
}

#[tokio::test]
async fn what_was_owed_when_berth_was_killed_is_delivered_by_the_next_one() {
    let port = free_port();
    let mut berth = Berth::with(|setup| {
        setup.more += &format!("[notices]\n{SOON}");
        hook(setup, "site", &format!("http://127.0.0.1:{port}/"), "on = [\"end\"]");
    })
    .await;
    // Nobody is there.
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(berth.submit("true").await);
    }
    for job in &jobs {
        berth.succeeds(job).await;
    }
    berth.kill_dash_9();
    let receiver = Receiver::on(port).await;
    berth.start_again().await;
    let told = |job: u64| move |call: &Called| call.body["job"] == job;
    for job in &jobs {
        receiver.until("the end of each job", told(*job)).await;
    }
    let mut names: Vec<String> = receiver.calls().iter().map(|call| call.id().to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), jobs.len());
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_in_a_kill_comes_again_under_the_same_name() {
    let receiver = Receiver::start().await;
    receiver.does([Does::Hangs]);
    let mut berth = Berth::with(|setup| {
        setup.more += "[notices]\nretry = \"20ms\"\nanswer-within = \"60s\"\n";
        hook(setup, "site", &receiver.url(), "on = [\"end\"]");
    })
    .await;
    berth.submit("true").await;
    receiver.at_least(1).await;
    berth.kill_dash_9();
    receiver.does([Does::Answers(200)]);
    berth.start_again().await;
    let calls = receiver.at_least(2).await;
    assert_eq!(calls[0].id(), calls[1].id());
}

#[tokio::test]
async fn of_an_array_one_is_told_once() {
    let receiver = Receiver::start().await;
    let berth = Berth::with(|setup| with_hook(setup, &receiver)).await;
    let array = berth.submit_job(Submit { array: Some("1-8".into()), ..sh("true") }).await;
    berth.succeeds(array).await;
    let last = berth.submit("true").await;
    let calls = receiver.until("the last one", |call| call.short() == format!("{last} end succeeded")).await;
    assert_eq!(
        shorts(&calls),
        [
            format!("{array} start running"),
            format!("{array} end succeeded"),
            format!("{last} start running"),
            format!("{last} end succeeded")
        ]
    );
    assert_eq!(calls[1].body["tasks"], 8);
}

#[tokio::test]
async fn a_suspended_job_and_a_killed_one_are_told_of() {
    let receiver = Receiver::start().await;
    let berth = Berth::with(|setup| {
        setup.more += &format!("[notices]\n{SOON}");
        hook(setup, "site", &receiver.url(), "on = [\"suspend\", \"resume\", \"kill\"]");
    })
    .await;
    let job = berth.submit("sleep 1000").await;
    berth.wait_for(job, "running").await;
    berth.done(Controls::Suspend, job).await;
    berth.wait_for(job, "suspended").await;
    berth.done(Controls::Resume, job).await;
    berth.wait_for(job, "running").await;
    berth.done(Controls::Kill, job).await;
    let calls = receiver.at_least(3).await;
    assert_eq!(
        shorts(&calls),
        [format!("{job} suspend suspended"), format!("{job} resume running"), format!("{job} end killed")]
    );
    assert!(calls[2].body["cause"].as_str().unwrap().starts_with("by "), "{}", calls[2].body);
}

#[tokio::test]
async fn a_webhook_for_a_label_is_called_for_jobs_that_have_it() {
    let receiver = Receiver::start().await;
    let berth = Berth::with(|setup| {
        setup.more += &format!("[notices]\n{SOON}");
        hook(setup, "flow", &receiver.url(), "on = [\"end\"]\nlabel = \"flow=a\"");
    })
    .await;
    let labelled = |value: &str| Submit { labels: [("flow".into(), value.into())].into(), ..sh("true") };
    let plain = berth.submit("true").await;
    let other = berth.submit_job(labelled("b")).await;
    berth.succeeds(plain).await;
    berth.succeeds(other).await;
    let flagged = berth.submit_job(labelled("a")).await;
    let calls = receiver.at_least(1).await;
    assert_eq!(shorts(&calls), [format!("{flagged} end succeeded")]);
}

#[tokio::test]
async fn a_dead_receiver_holds_up_neither_jobs_nor_others() {
    let (dead, alive) = (Receiver::start().await, Receiver::start().await);
    dead.does([Does::Hangs]);
    let berth = Berth::with(|setup| {
        setup.more += "[notices]\nretry = \"20ms\"\nanswer-within = \"60s\"\n";
        hook(setup, "dead", &dead.url(), "on = [\"end\"]");
        hook(setup, "alive", &alive.url(), "on = [\"end\"]");
    })
    .await;
    for _ in 0..20 {
        berth.submit("true").await;
    }
    alive.at_least(20).await;
    assert_eq!(dead.calls().len(), 1);
    let metrics = berth.client().metrics().await.unwrap();
    assert!(metrics.contains("berth_notices_waiting{sink=\"hook:dead\"} 20"), "{metrics}");
    eventually("all calls are noted", async || {
        let metrics = berth.client().metrics().await.unwrap();
        metrics.contains("berth_notices_total{sink=\"hook:alive\",outcome=\"delivered\"} 20")
    })
    .await;
}

#[tokio::test]
async fn what_waits_is_shown_with_what_is_wrong_and_is_given_up_in_the_end() {
    let berth = Berth::with(|setup| {
        setup.more += &format!("[notices]\n{SOON}give-up-after = \"3s\"\n");
        hook(setup, "site", &format!("http://127.0.0.1:{}/", free_port()), "on = [\"end\"]");
    })
    .await;
    let job = berth.submit("true").await;
    berth.succeeds(job).await;
    let status = async || berth.cli(["status"]).await.ok();
    eventually("the trouble is shown", async || status().await.contains("Connection refused")).await;
    eventually("it is given up", async || status().await.contains("0 wait, 0 delivered, 1 given up")).await;
    let log = berth.server_log();
    assert!(log.contains("a notice is given up") && log.contains("old"), "{log}");
}

#[tokio::test]
async fn people_choose_what_they_are_told_and_a_job_may_say_otherwise() {
    let receiver = Receiver::start().await;
    let mut berth = Berth::with(|setup| with_user_webhooks(setup, "\"127.0.0.0/8\"")).await;
    let url = format!("http://localhost:{}/mine", receiver.port);
    let shown = berth.json(["notify", "set", "--on", "fail", "--webhook", &url]).await;
    let key = shown["key"].as_str().unwrap().to_owned();
    // It is kept.
    berth.kill_dash_9();
    berth.start_again().await;
    assert_eq!(berth.json(["notify", "show"]).await, shown);
    let quiet = berth.submit("true").await;
    berth.succeeds(quiet).await;
    let none = berth.submit_job(Submit { notify: vec!["none".into()], ..sh("false") }).await;
    berth.end_of(none).await;
    let failed = berth.submit("false").await;
    receiver.until("the failure", |call| call.body["job"] == failed).await;
    let asked = berth.cli(["submit", "--notify", "start,end", "--", "true"]).await.ok();
    let asked: u64 = asked.trim().parse().unwrap();
    let calls = receiver.until("its end", |call| call.short() == format!("{asked} end succeeded")).await;
    assert_eq!(
        shorts(&calls),
        [format!("{failed} end failed"), format!("{asked} start running"), format!("{asked} end succeeded")]
    );
    let signature = calls[0].header("berth-signature");
    let time = signature.strip_prefix("t=").and_then(|rest| rest.split_once(',')).unwrap().0;
    assert_eq!(signature, berth_notices::sign(key.as_bytes(), time.parse().unwrap(), &calls[0].raw));
    assert!(!berth.server_log().contains(&key));
}

#[tokio::test]
async fn a_script_says_what_its_owner_is_told() {
    let receiver = Receiver::start().await;
    let berth = Berth::with(|setup| with_user_webhooks(setup, "\"127.0.0.1\"")).await;
    let url = format!("http://localhost:{}/mine", receiver.port);
    berth.cli(["notify", "set", "--webhook", &url]).await.ok();
    let script = berth.write("job.sh", "#!/bin/sh\n#BERTH --notify end\ntrue\n");
    let job = berth.cli(["submit", script.to_str().unwrap()]).await.ok();
    let calls = receiver.at_least(1).await;
    assert_eq!(shorts(&calls), [format!("{} end succeeded", job.trim())]);
}

#[tokio::test]
async fn nobody_has_berth_call_what_only_berth_can_reach() {
    let receiver = Receiver::start().await;
    let berth = Berth::with(|setup| with_user_webhooks(setup, "")).await;
    let set = async |url: String| berth.cli(["notify", "set", "--on", "end", "--webhook", &url]).await;
    for url in
        [receiver.url(), "http://169.254.169.254/latest".into(), "https://elsewhere.example.org/".into()]
    {
        let words = set(url.clone()).await.refused(2);
        assert!(words.contains("may not be called"), "{url}: {words}");
    }
    for url in ["ftp://localhost/", "http://root@localhost/", "localhost"] {
        set(url.into()).await.refused(2);
    }
    // The name is allowed, and where it leads is not.
    set(format!("http://localhost:{}/", receiver.port)).await.ok();
    let job = berth.submit("true").await;
    berth.succeeds(job).await;
    eventually("it is refused", async || {
        berth.cli(["notify", "show"]).await.ok().contains("leads to where nobody may be called")
    })
    .await;
    assert_eq!(receiver.calls().len(), 0);
}

#[tokio::test]
async fn what_a_site_does_not_send_is_refused_when_it_is_asked_for() {
    let berth = Berth::start().await;
    let refused = berth.refusal(Submit { notify: vec!["end".into()], ..sh("true") }).await;
    assert!(refused.to_string().contains("tells nobody"), "{refused}");
    let refused = berth.refusal(Submit { mail: Some("a@example.org".into()), ..sh("true") }).await;
    assert!(refused.to_string().contains("sends no mail"), "{refused}");
    let refused = berth.refusal(Submit { notify: vec!["over".into()], ..sh("true") }).await;
    assert_eq!(refused.problems[0].field, "notify");
    let words = berth.cli(["notify", "set", "--webhook", "http://localhost/"]).await.refused(2);
    assert!(words.contains("calls no webhooks of its users"), "{words}");
    let none = berth.submit_job(Submit { notify: vec!["none".into()], ..sh("true") }).await;
    berth.succeeds(none).await;
}

#[tokio::test]
async fn a_running_job_has_something_to_say() {
    let receiver = Receiver::start().await;
    let berth = Berth::with(|setup| {
        setup.more += &format!("[notices]\n{SOON}");
        hook(setup, "site", &receiver.url(), "on = [\"message\"]");
    })
    .await;
    let program = env!("CARGO_BIN_EXE_berth");
    let socket = berth.path("s");
    let job =
        berth.submit(&format!("{program} --server unix:{} notify send 'half done'", socket.display())).await;
    berth.succeeds(job).await;
    let calls = receiver.at_least(1).await;
    assert_eq!((calls[0].header("berth-event"), &calls[0].body["message"]), ("message", &"half done".into()));
    let history = berth.job(job).await.history;
    assert!(history.iter().any(|row| row.event == "message" && row.text == "half done"), "{history:#?}");
    // It is over, and has nothing to say any more.
    let late = berth.cli(["notify", "send", "--job", &job.to_string(), "late"]).await;
    assert_ne!(late.code, 0);
    let two_lines = berth.cli(["notify", "send", "--job", &job.to_string(), "two\nlines"]).await;
    assert_eq!(two_lines.code, 2, "{two_lines:?}");
}

// By mail.

fn with_mail(setup: &mut Setup, server: &MailServer, more: &str) {
    setup.more += &format!(
        "[notices]\n{SOON}[notices.mail]\nserver = \"127.0.0.1:{}\"\nfrom = \"Berth <berth@example.org>\"\n\
         domain = \"example.org\"\n{more}\n",
        server.port
    );
}

/// All mail, as the server took it.
fn mails(server: &MailServer) -> Vec<Value> {
    server.mails().iter().map(|mail| serde_json::from_str(mail).unwrap()).collect()
}

async fn at_least(server: &MailServer, count: usize) -> Vec<Value> {
    eventually(&format!("{count} mails"), async || server.mails().len() >= count).await;
    mails(server)
}

fn ask(script: &str) -> Submit {
    Submit { notify: vec!["end".into()], ..sh(script) }
}

#[tokio::test]
#[ignore = "needs root and aiosmtpd"]
async fn mail_goes_to_the_owner_encrypted_by_the_sites_authority_and_with_a_login() {
    for (wish, word) in [(MailWish::StartTls, "start-tls"), (MailWish::Tls, "tls")] {
        let server = mail_server(&[wish, MailWish::Login]);
        let (ca, password) = (server.ca.clone(), server.password_file.clone());
        let login = format!(
            "encryption = {word:?}\ntls-ca = {ca:?}\nuser = {:?}\npassword-file = {password:?}\n",
            server.user
        );
        let berth = Berth::with(|setup| with_mail(setup, &server, &login)).await;
        let name = Some("Größe".into());
        let job = berth.submit_job(Submit { name, ..ask("exit 3") }).await;
        let mail = at_least(&server, 1).await.remove(0);
        assert_eq!((&mail["tls"], &mail["user"]), (&true.into(), &"berth".into()));
        assert_eq!(mail["from"], "berth@example.org");
        let user = berth.job(job).await.row.user;
        assert_eq!(mail["to"], serde_json::json!([format!("{user}@example.org")]));
        let text = mail["text"].as_str().unwrap();
        assert!(text.contains("Subject: ") && text.contains("Auto-Submitted: auto-generated"), "{text}");
        let secret = std::fs::read_to_string(&password).unwrap();
        assert!(!berth.server_log().contains(secret.trim()));
    }
}

#[tokio::test]
#[ignore = "needs root and aiosmtpd"]
async fn a_server_that_somebody_elses_authority_vouches_for_gets_no_mail() {
    let server = mail_server(&[MailWish::StartTls]);
    let tls = format!("encryption = \"start-tls\"\ntls-ca = {:?}\n", server.other_ca);
    let berth = Berth::with(|setup| with_mail(setup, &server, &tls)).await;
    berth.submit_job(ask("true")).await;
    eventually("the trouble is shown", async || berth.cli(["status"]).await.ok().contains("certificate"))
        .await;
    assert_eq!(server.mails().len(), 0);
}

#[tokio::test]
#[ignore = "needs root and aiosmtpd"]
async fn a_mail_server_that_hangs_is_given_up_in_time_and_tried_later() {
    let server = mail_server(&[]);
    let limit = "encryption = \"none\"\nanswer-within = \"300ms\"\n";
    let berth = Berth::with(|setup| with_mail(setup, &server, limit)).await;
    server.freeze();
    let job = berth.submit_job(ask("true")).await;
    berth.succeeds(job).await;
    eventually("the trouble is shown", async || berth.cli(["status"]).await.ok().contains("no answer")).await;
    // Jobs go on as if nothing were wrong.
    let others = berth.submit_job(ask("true")).await;
    berth.succeeds(others).await;
    server.thaw();
    let mails = at_least(&server, 2).await;
    for job in [job, others] {
        let subject = format!("job {job} ");
        assert!(mails.iter().any(|mail| mail["text"].as_str().unwrap().contains(&subject)), "{mails:#?}");
    }
}

#[tokio::test]
#[ignore = "needs root and aiosmtpd"]
async fn mail_outlives_a_kill_and_a_server_that_takes_none_for_a_while() {
    let server = mail_server(&[]);
    let mut berth = Berth::with(|setup| with_mail(setup, &server, "encryption = \"none\"\n")).await;
    server.refuse("451 come back later");
    let job = berth.submit_job(ask("true")).await;
    berth.succeeds(job).await;
    eventually("it was tried", async || berth.cli(["status"]).await.ok().contains("come back later")).await;
    berth.kill_dash_9();
    server.accept();
    berth.start_again().await;
    let mail = at_least(&server, 1).await.remove(0);
    assert!(mail["text"].as_str().unwrap().contains(&format!("job {job} ")), "{mail}");
    // What will never be taken stands in nobody's way.
    server.refuse("550 no such person");
    berth.submit_job(ask("true")).await;
    eventually("it is given up", async || berth.cli(["status"]).await.ok().contains("1 given up")).await;
    server.accept();
    let last = berth.submit_job(ask("true")).await;
    let mails = at_least(&server, 2).await;
    assert!(mails[1]["text"].as_str().unwrap().contains(&format!("job {last} ")), "{mails:#?}");
}

#[tokio::test]
#[ignore = "needs root and aiosmtpd"]
async fn mail_goes_to_addresses_that_the_site_allows_and_no_name_adds_a_header() {
    let server = mail_server(&[]);
    let more = "encryption = \"none\"\nuser-domains = [\"lab.example.org\"]\n";
    let berth = Berth::with(|setup| with_mail(setup, &server, more)).await;
    let to = |address: &str| Submit { mail: Some(address.into()), ..sh("true") };
    let refused = berth.refusal(to("victim@elsewhere.test")).await;
    assert!(refused.to_string().contains("lab.example.org"), "{refused}");
    for bad in ["x", "a@lab.example.org, b@elsewhere.test", "a@lab.example.org\r\nRCPT TO:<b@elsewhere.test>"]
    {
        assert_eq!(berth.refusal(to(bad)).await.problems[0].field, "mail", "{bad}");
    }
    let refused =
        berth.refusal(Submit { name: Some("x\r\nBcc: b@elsewhere.test".into()), ..to("a@lab.example.org") });
    assert_eq!(refused.await.problems[0].field, "name");
    berth.submit_job(to("a@lab.example.org")).await;
    let mail = at_least(&server, 1).await.remove(0);
    assert_eq!(mail["to"], serde_json::json!(["a@lab.example.org"]));
    berth.cli(["notify", "set", "--mail", "b@elsewhere.test"]).await.refused(2);
    berth.cli(["notify", "set", "--on", "end", "--mail", "b@lab.example.org"]).await.ok();
    berth.submit("true").await;
    assert_eq!(at_least(&server, 2).await[1]["to"], serde_json::json!(["b@lab.example.org"]));
}
