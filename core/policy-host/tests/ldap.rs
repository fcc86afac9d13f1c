//! The capability `ldap` with real servers, and with some that are none.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // What goes wrong here is to fail the test.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    thread,
    time::Duration,
};

use berth_policy_host::ldap::{
    Client, Directory as _, Entry, Failure, Login, Question, Scope, Settings, Test, Tls,
};
use berth_testbed::{Directory, directory};

/// Far beyond what any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(directory: &Directory, server: &str) -> Settings {
    let login = Login { dn: directory.reader.clone(), password_file: directory.reader_password_file.clone() };
    Settings {
        login: Some(login),
        tls: Some(Tls { ca: directory.ca.clone(), start_tls: false }),
        answer_within: Duration::from_secs(20),
        ..Settings::new(vec![server.to_owned()])
    }
}

fn client(settings: Settings) -> Client {
    Client::new(settings).unwrap()
}

fn equals(attribute: &str, value: &str) -> Vec<Test> {
    vec![Test { attribute: attribute.to_owned(), value: Some(value.to_owned()), negated: false }]
}

fn people(base: &str, clauses: Vec<Vec<Test>>) -> Question {
    Question {
        base: format!("ou=people,{base}"),
        scope: Scope::Subtree,
        clauses,
        attributes: vec!["UID".to_owned(), "uidnumber".to_owned()],
    }
}

fn lea() -> Question {
    people("dc=berth,dc=test", vec![equals("uid", "lea")])
}

fn is_lea(found: &Result<Vec<Entry>, Failure>) -> bool {
    let wanted = Entry {
        dn: "uid=lea,ou=people,dc=berth,dc=test".to_owned(),
        attributes: vec![
            ("UID".to_owned(), vec!["lea".to_owned()]),
            ("uidnumber".to_owned(), vec!["21001".to_owned()]),
        ],
    };
    *found == Ok(vec![wanted])
}

/// What is said when no server answers.
fn words(found: Result<Vec<Entry>, Failure>) -> String {
    match found {
        Err(Failure::Unavailable(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs root and slapd"]
fn people_are_found_over_each_kind_of_connection() {
    let directory = directory();
    let plain = settings(&directory, &directory.plain);
    let start_tls = Some(Tls { ca: directory.ca.clone(), start_tls: true });
    let unencrypted = Settings { tls: None, ..plain.clone() };
    let started = Settings { tls: start_tls, ..plain };
    for settings in [unencrypted, started, settings(&directory, &directory.secure)] {
        let found = client(settings.clone()).search(&lea(), PATIENCE);
        assert!(is_lea(&found), "{settings:?}: {found:?}");
    }
}

#[test]
#[ignore = "needs root and slapd"]
fn a_server_that_cannot_be_trusted_is_told_nothing() {
    let directory = directory();
    for (server, start_tls) in [(&directory.secure, false), (&directory.plain, true)] {
        let tls = Some(Tls { ca: directory.other_ca.clone(), start_tls });
        let said = words(client(Settings { tls, ..settings(&directory, server) }).search(&lea(), PATIENCE));
        assert!(said.contains("certificate") && said.contains(server.as_str()), "{said}");
    }
}

#[test]
#[ignore = "needs root and slapd"]
fn a_wrong_password_is_said_without_it_and_a_new_one_is_used_at_once() {
    let directory = directory();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let write = |password: &str| {
        fs::write(&file, password).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("hunter2");
    let login = Login { dn: directory.reader.clone(), password_file: file.clone() };
    let own = Settings { login: Some(login), ..settings(&directory, &directory.plain) };
    let client = client(own);
    let said = words(client.search(&lea(), PATIENCE));
    assert!(said.contains("invalid credentials") && said.contains(&directory.reader), "{said}");
    assert!(!said.contains("hunter2") && !format!("{client:?}").contains("hunter2"), "{said}");
    write(&directory.reader_password());
    until_it_answers(&client);
}

/// It is not tried again for a while after nobody has answered.
fn until_it_answers(client: &Client) {
    for _ in 0..600 {
        if is_lea(&client.search(&lea(), PATIENCE)) {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("it never answers again: {:?}", client.search(&lea(), PATIENCE));
}

#[test]
#[ignore = "needs root and slapd"]
fn a_connection_is_made_anew_after_the_server_has_gone_and_come_back() {
    let mut directory = directory();
    let client = client(settings(&directory, &directory.plain));
    assert!(is_lea(&client.search(&lea(), PATIENCE)));
    directory.stop();
    let said = words(client.search(&lea(), PATIENCE));
    assert!(said.contains(&directory.plain) && said.contains("refused"), "{said}");
    directory.start_again();
    until_it_answers(&client);
    // This time nobody asked while it was away.
    directory.stop();
    directory.start_again();
    assert!(is_lea(&client.search(&lea(), PATIENCE)), "a stale connection is no failure");
}

#[test]
#[ignore = "needs root and slapd"]
fn the_next_server_is_asked_when_one_is_away_or_hangs_or_talks_nonsense() {
    let directory = directory();
    // Nobody listens there any more.
    let away = format!("ldap://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let nonsense = serving(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let hung = format!("ldap://{}", hangs.local_addr().unwrap());
    for first in [away, hung, nonsense] {
        let servers = vec![first.clone(), directory.plain.clone()];
        let own = Settings { servers, answer_within: Duration::from_secs(2), ..settings(&directory, "") };
        let client = client(own);
        for _ in 0..3 {
            assert!(is_lea(&client.search(&lea(), PATIENCE)), "{first}");
        }
    }
}

#[test]
#[ignore = "needs root and slapd"]
fn a_server_that_hangs_fails_in_time_and_then_at_once() {
    let directory = directory();
    let own = settings(&directory, &directory.plain);
    let client = client(Settings { answer_within: Duration::from_millis(500), ..own });
    until_it_answers(&client);
    directory.freeze();
    let said = words(client.search(&lea(), PATIENCE));
    assert!(said.contains("did not answer within 500ms"), "{said}");
    // What was said is said again without asking: a patience of nothing is enough for that.
    let again = words(client.search(&lea(), Duration::from_millis(400)));
    assert_eq!(again, said);
    directory.thaw();
    until_it_answers(&client);
}

#[test]
#[ignore = "needs root and slapd"]
fn a_huge_answer_is_bounded_by_its_entries_and_by_its_bytes() {
    let directory = directory();
    directory.add_people(50);
    let all = people(&directory.base, vec![]);
    let own = settings(&directory, &directory.plain);
    for own in [Settings { most_entries: 40, ..own.clone() }, Settings { most_bytes: 500, ..own.clone() }] {
        let client = client(own);
        assert_eq!(client.search(&all, PATIENCE), Err(Failure::TooMany));
        assert!(is_lea(&client.search(&lea(), PATIENCE)), "and what is not huge is answered as before");
    }
    // Three people, the place itself, and those.
    assert_eq!(client(own).search(&all, PATIENCE).unwrap().len(), 54);
}

#[test]
#[ignore = "needs root and slapd"]
fn no_name_means_more_than_itself() {
    let directory = directory();
    let client = client(settings(&directory, &directory.plain));
    let long = "a".repeat(10_000);
    for name in [
        "*",
        "l*",
        "*)(uid=*",
        "lea)(|(uid=*",
        "\\2a",
        "lea\0",
        "\0",
        "lea\\",
        "é",
        "\u{202e}ael",
        "(",
        &long,
    ] {
        let found = client.search(&people(&directory.base, vec![equals("uid", name)]), PATIENCE);
        assert_eq!(found, Ok(vec![]), "{name:?}");
    }
}

#[test]
#[ignore = "needs root and slapd"]
fn referrals_lead_nowhere_and_places_that_are_not_there_are_said_to_be_so() {
    let directory = directory();
    let client = client(settings(&directory, &directory.plain));
    let far = Question { base: format!("ou=far,ou=people,{}", directory.base), ..lea() };
    let found = client.search(&far, PATIENCE);
    assert!(matches!(&found, Err(Failure::Refused(words)) if words.contains("another server")), "{found:?}");
    let gone = Question { base: format!("ou=gone,{}", directory.base), ..lea() };
    let found = client.search(&gone, PATIENCE);
    assert!(matches!(&found, Err(Failure::Refused(words)) if words.contains("ou=gone")), "{found:?}");
    let nonsense = Question { base: "no name at all".to_owned(), ..lea() };
    assert!(matches!(client.search(&nonsense, PATIENCE), Err(Failure::Refused(_))));
    // The one below ou=people is in the way of this question, and skipped.
    assert!(is_lea(&client.search(&lea(), PATIENCE)));
}

#[test]
fn a_server_that_is_none_is_given_up() {
    // A search's answer with an operation that there is not, and a message that never ends.
    let odd = serving(|mut stream| {
        let _ = stream.write_all(b"\x30\x05\x02\x01\x01\x7f\x00");
        let _ = stream.read(&mut [0; 1000]);
    });
    let endless = serving(|mut stream| {
        let _ = stream.write_all(b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01");
        while stream.write_all(&[0; 1000]).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let closes = serving(drop);
    for server in [odd, endless, closes] {
        let own =
            Settings { answer_within: Duration::from_millis(300), ..Settings::new(vec![server.clone()]) };
        let said = words(client(own).search(&lea(), PATIENCE));
        assert!(!said.is_empty(), "{server}");
    }
}

#[test]
fn a_policy_is_told_when_its_patience_is_over() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("ldap://{}", hangs.local_addr().unwrap());
    let client = client(Settings { answer_within: PATIENCE, ..Settings::new(vec![server]) });
    let said = words(client.search(&lea(), Duration::from_millis(20)));
    assert_eq!(said, "no LDAP server has answered within 20ms");
    assert_eq!(words(client.search(&lea(), PATIENCE)), said, "and nobody waits for it again so soon");
}

/// A server that does this with everybody who comes.
fn serving(serve: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("ldap://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}
