//! People whom only a directory knows.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use berth_testbed::{Directory, directory};
use rustix::process::Signal;

use crate::harness::{ANN, Answer, Berth, People, Setup, eventually, free_port, over_tcp};

/// In the directory and nowhere else; she administrates.
const LEA: (&str, u32) = ("lea", 21001);
/// Likewise, and does not.
const MAX: (&str, u32) = ("max", 21002);

/// A Berth that knows people from the directory, whose answers it believes for so long.
async fn people(directory: &Directory, cache: &str) -> People {
    People::with(|setup| configure(setup, directory, cache, directory.reader_password_file.to_str().unwrap()))
        .await
}

fn configure(setup: &mut Setup, directory: &Directory, cache: &str, password_file: &str) {
    let Directory { secure, base, reader, ca, .. } = directory;
    setup.more += &format!(
        "[auth]\npolicy = \"ldap\"\ngrants = [\"accounts\", \"ldap\", \"log\", \"passwords\"]\ncache = {cache:?}\n\
         [auth.ldap]\nservers = [{secure:?}]\nbind-dn = {reader:?}\nbind-password-file = {password_file:?}\n\
         tls-ca = {ca:?}\nanswer-within = \"1s\"\n\
         [auth.settings]\nusers = \"ou=people,{base}\"\ngroups = \"ou=groups,{base}\"\n\
         administrator-groups = \"admins\"\n"
    );
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn people_of_the_directory_run_jobs_with_its_numbers_and_groups() {
    let directory = directory();
    let people = people(&directory, "0s").await;
    let ran = people.as_user(MAX, &["run", "--", "sh", "-c", "id -u; id -g; id -G; touch made"]).await.ok();
    let lines: Vec<&str> = ran.lines().collect();
    assert_eq!(lines[..2], ["21002", "21000"], "{ran}");
    let mut groups: Vec<&str> = lines[2].split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["21000", "21010"], "{ran}");
    let job = people.berth.job(1).await;
    assert_eq!(job.row.user, "max");
    assert_eq!(fs::metadata(format!("{}/made", job.directory)).unwrap().uid(), 21002);
    // The directory's name for a number counts, not the machine's.
    people.as_user(ANN, &["submit", "--", "true"]).await.ok();
    assert_eq!(people.berth.job(2).await.row.user, "ann");
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn a_group_of_the_directory_administrates() {
    let directory = directory();
    let people = people(&directory, "0s").await;
    people.as_user(MAX, &["submit", "--", "sleep", "1000"]).await.ok();
    people.berth.wait_for(1, "running").await;
    assert_ne!(people.as_user(ANN, &["kill", "1"]).await.code, 0);
    people.as_user(LEA, &["kill", "1"]).await.ok();
    let row = people.berth.end_of(1).await;
    assert!(row.state == "killed" && row.detail.as_ref().unwrap().contains("administrator lea"), "{row:?}");
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn while_the_directory_is_away_jobs_go_on_and_nobody_new_is_let_in() {
    let mut directory = directory();
    let people = people(&directory, "1h").await;
    let gate = people.berth.open_folder("gate").join("go");
    let waits = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
    people.as_user(MAX, &["submit", "--", "sh", "-c", &waits]).await.ok();
    people.berth.wait_for(1, "running").await;
    directory.stop();
    let refused = people.as_user(LEA, &["jobs"]).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.err.contains("no LDAP server answers"), "{refused:?}");
    people.as_user(MAX, &["submit", "--", "true"]).await.ok();
    people.berth.succeeds(2).await;
    people.berth.cli(["jobs", "--all"]).await.ok();
    fs::write(&gate, "").unwrap();
    people.berth.succeeds(1).await;
    directory.start_again();
    eventually("lea is let in again", async || people.as_user(LEA, &["jobs"]).await.code == 0).await;
    let log = people.berth.server_log();
    assert!(log.contains("LDAP server does not answer"), "{log}");
    assert!(!log.contains(&directory.reader_password()), "{log}");
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn who_is_removed_from_the_directory_asks_for_nothing_more_and_their_jobs_go_on() {
    let directory = directory();
    let port = free_port();
    let people = People::with(|setup| {
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
        configure(setup, &directory, "0s", directory.reader_password_file.to_str().unwrap());
    })
    .await;
    let gate = people.berth.open_folder("gate").join("go");
    let waits = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
    people.as_user(MAX, &["submit", "--", "sh", "-c", &waits]).await.ok();
    people.berth.wait_for(1, "running").await;
    let made = people.as_user(MAX, &["--json", "token", "create", "his"]).await.json();
    let token = made["token"].as_str().unwrap();
    assert_eq!(over_tcp(port, "GET", "/v1/jobs", Some(token), "").await.status, 200);
    directory.remove("max");
    assert_ne!(people.as_user(MAX, &["submit", "--", "true"]).await.code, 0);
    assert_ne!(people.as_user(MAX, &["kill", "1"]).await.code, 0);
    assert_eq!(over_tcp(port, "GET", "/v1/jobs", Some(token), "").await.status / 100, 4);
    assert_eq!(people.berth.job(1).await.row.state, "running");
    fs::write(&gate, "").unwrap();
    people.berth.succeeds(1).await;
    assert_eq!(people.berth.all_jobs().await.len(), 1);
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn a_directory_that_hangs_holds_up_only_those_who_need_it_and_those_not_for_long() {
    let directory = directory();
    let people = people(&directory, "0s").await;
    people.as_user(LEA, &["jobs"]).await.ok();
    directory.freeze();
    let asking = (0..8).map(|_| people.as_user(LEA, &["jobs"]));
    let (refused, root) =
        tokio::join!(futures::future::join_all(asking), people.berth.cli(["submit", "--", "true"]));
    root.ok();
    for said in refused {
        assert_ne!(said.code, 0, "{said:?}");
        assert!(said.err.contains("did not answer within 1s"), "{said:?}");
    }
    people.berth.succeeds(1).await;
    directory.thaw();
    eventually("lea is let in again", async || people.as_user(LEA, &["jobs"]).await.code == 0).await;
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn no_name_on_a_token_means_somebody_else() {
    let directory = directory();
    let port = free_port();
    let berth = Berth::with(|setup| {
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
        configure(setup, &directory, "0s", directory.reader_password_file.to_str().unwrap());
    })
    .await;
    let good = jobs_of(&berth, port, "max").await;
    assert_eq!(good.status, 200);
    for name in ["*", "*)(uid=*", "m*", "MAX", "max ", "max)(|(uid=*)", "\u{ff4d}ax"] {
        let refused = jobs_of(&berth, port, name).await;
        assert_eq!(refused.status, 401, "{name:?}: {}", refused.body);
    }
}

/// What somebody gets who has a token with this name on it.
async fn jobs_of(berth: &Berth, port: u16, user: &str) -> Answer {
    let made = berth.json(["token", "create", "--user", user, "one"]).await;
    over_tcp(port, "GET", "/v1/jobs", made["token"].as_str(), "").await
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn a_password_that_others_can_read_keeps_berth_from_starting_and_is_not_shown() {
    let directory = directory();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "hunter2").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let port = free_port();
    let mut berth = Berth::set_up(|setup| {
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
        configure(setup, &directory, "0s", file.to_str().unwrap());
    });
    let words = berth.try_start().await.unwrap_err();
    assert!(words.contains("chmod 600") && !words.contains("hunter2"), "{words}");
    // A wrong one does not: Berth starts, and says whom the servers do not let in.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    berth.start_again().await;
    let refused = jobs_of(&berth, port, "max").await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    let told = format!("{}{}", refused.body, berth.server_log());
    assert!(told.contains("invalid credentials") && !told.contains("hunter2"), "{told}");
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn servers_that_change_are_asked_from_then_on() {
    let directory = directory();
    // Nobody listens there.
    let nowhere = "ldaps://127.0.0.1:1";
    let people = People::with(|setup| {
        configure(setup, &directory, "0s", directory.reader_password_file.to_str().unwrap());
        setup.more = setup.more.replace(&directory.secure, nowhere);
    })
    .await;
    let refused = people.as_user(LEA, &["jobs"]).await;
    assert!(refused.code != 0 && refused.err.contains(nowhere), "{refused:?}");
    let config = people.berth.config();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(nowhere, &directory.secure)).unwrap();
    people.berth.process().signal(Signal::HUP);
    eventually("lea is let in", async || people.as_user(LEA, &["jobs"]).await.code == 0).await;
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn people_of_the_directory_log_in_with_its_password_which_berth_never_keeps() {
    let mut directory = directory();
    let port = free_port();
    let berth = Berth::with(|setup| {
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
        configure(setup, &directory, "0s", directory.reader_password_file.to_str().unwrap());
    })
    .await;
    let secret = "maxs own password";
    directory.change(&format!(
        "dn: uid=max,ou=people,{}\nchangetype: modify\nreplace: userPassword\nuserPassword: {secret}\n",
        directory.base
    ));
    let sign_in = async |user: &str, password: &str| {
        let body = serde_json::json!({ "user": user, "password": password }).to_string();
        over_tcp(port, "POST", "/v1/session", None, &body).await
    };
    let begun = sign_in("max", secret).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let token = begun.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(over_tcp(port, "GET", "/v1/info", Some(&token), "").await.json()["user"], "max");
    // Lea has no password; an empty one would be to come as nobody, which servers let everybody do.
    let mut answers = Vec::new();
    for (user, password) in [
        ("max", "wrong"),
        ("max", ""),
        ("lea", ""),
        ("lea", secret),
        ("nobody-here", secret),
        ("*", secret),
        ("MAX", secret),
    ] {
        let answer = sign_in(user, password).await;
        answers.push((answer.status, answer.body));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]) && answers[0].0 == 401, "{answers:?}");
    directory.stop();
    let away = sign_in("max", secret).await;
    assert_eq!(away.status, 503, "{}", away.body);
    directory.start_again();
    eventually("max is let in again", async || sign_in("max", secret).await.status == 201).await;
    assert!(!berth.server_log().contains(secret), "{}", berth.server_log());
    let database =
        fs::read_dir(berth.state()).unwrap().filter_map(|entry| fs::read(entry.unwrap().path()).ok());
    for bytes in database {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
}

#[tokio::test]
#[ignore = "needs root and slapd"]
async fn no_password_is_sent_to_a_directory_where_others_could_listen() {
    let directory = directory();
    let port = free_port();
    // Another address of this machine would do; what counts is how it is written.
    let berth = Berth::with(|setup| {
        setup.server = format!("listen = [\"127.0.0.1:{port}\"]");
        configure(setup, &directory, "0s", directory.reader_password_file.to_str().unwrap());
        setup.more = setup.more.replace(&directory.secure, &directory.plain.replace("127.0.0.1", "127.1"));
    })
    .await;
    let body = serde_json::json!({ "user": "max", "password": "maxs own password" }).to_string();
    let refused = over_tcp(port, "POST", "/v1/session", None, &body).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(
        refused.body.contains("without encryption") && !refused.body.contains("own password"),
        "{}",
        refused.body
    );
    drop(berth);
}
