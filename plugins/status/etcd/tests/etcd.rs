//! The board in etcd, on a real one.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use berth_status_api::{Board, BoardError, Process, Reach, Role};
use berth_status_etcd::{Etcd, EtcdConfig, Login};
use berth_testbed::{etcd, secure_etcd};

fn config(endpoint: &str) -> EtcdConfig {
    EtcdConfig {
        reach: Reach {
            endpoints: vec![endpoint.to_owned()],
            tls_ca: None,
            answer_within: Duration::from_secs(2),
        },
        prefix: "berth".into(),
        ttl: Duration::from_secs(2),
        login: None,
    }
}

fn process(instance: &str, role: Role) -> Process {
    Process {
        cluster: "site".into(),
        instance: instance.into(),
        role,
        host: "head.example.org".into(),
        pid: 7,
        version: "0.1.0".into(),
        doors: vec!["127.0.0.1:8920".into()],
        started_ms: 1_700_000_000_000,
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_process_is_listed_with_all_that_it_says_until_it_leaves() {
    let server = etcd();
    let (one, two) =
        (Etcd::new(config(&server.endpoint)).unwrap(), Etcd::new(config(&server.endpoint)).unwrap());
    let (leader, stand_by) = (process("a.1", Role::Leader), process("b", Role::StandBy));
    // A cluster whose name begins with that of another one is another one.
    let other = Process { cluster: "site2".into(), ..process("c", Role::Leader) };
    one.tell(&leader).await.unwrap();
    two.tell(&stand_by).await.unwrap();
    Etcd::new(config(&server.endpoint)).unwrap().tell(&other).await.unwrap();
    assert_eq!(two.processes("site").await.unwrap(), [leader.clone(), stand_by.clone()]);
    one.leave(&leader).await.unwrap();
    assert_eq!(one.processes("site").await.unwrap(), [stand_by]);
    assert_eq!(one.processes("nobody").await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn one_that_says_nothing_more_is_gone_and_one_that_goes_on_stays_in_its_new_role() {
    let server = etcd();
    let (one, two) =
        (Etcd::new(config(&server.endpoint)).unwrap(), Etcd::new(config(&server.endpoint)).unwrap());
    two.tell(&process("silent", Role::Leader)).await.unwrap();
    one.tell(&process("a", Role::StandBy)).await.unwrap();
    let wait = async {
        loop {
            one.tell(&process("a", Role::Leader)).await.unwrap();
            if one.processes("site").await.unwrap() == [process("a", Role::Leader)] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_lease_that_ran_out_meanwhile_is_made_anew() {
    let server = etcd();
    let board = Etcd::new(config(&server.endpoint)).unwrap();
    let leader = process("a", Role::Leader);
    board.tell(&leader).await.unwrap();
    let gone = async {
        while !board.processes("site").await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    board.tell(&leader).await.unwrap();
    assert_eq!(board.processes("site").await.unwrap(), [leader]);
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn an_etcd_that_is_away_or_frozen_is_said_to_be_and_told_again_when_it_is_back() {
    let mut server = etcd();
    let board = Etcd::new(config(&server.endpoint)).unwrap();
    let leader = process("a", Role::Leader);
    server.freeze();
    let frozen = board.tell(&leader).await.unwrap_err();
    server.thaw();
    assert!(matches!(&frozen, BoardError::Away { words, .. } if words.contains("within")), "{frozen}");
    server.stop();
    let away = board.processes("site").await.unwrap_err();
    assert!(matches!(away, BoardError::Away { .. }), "{away}");
    server.start_again();
    let told = async {
        while board.tell(&leader).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    assert_eq!(board.processes("site").await.unwrap(), [leader]);
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn over_tls_and_with_a_login_only_who_knows_both_gets_in() {
    let server = secure_etcd();
    let password = std::fs::read_to_string(&server.password_file).unwrap();
    let with = |ca: &std::path::Path, login: Option<&str>| {
        let mut config = config(&server.endpoint);
        config.reach.tls_ca = Some(ca.to_owned());
        config.login =
            login.map(|password| Login { user: "berth".into(), password: password.trim().to_owned() });
        Etcd::new(config).unwrap()
    };
    let leader = process("a", Role::Leader);
    let board = with(&server.ca, Some(&password));
    board.tell(&leader).await.unwrap();
    assert_eq!(board.processes("site").await.unwrap(), std::slice::from_ref(&leader));
    let nobody = with(&server.ca, None).tell(&leader).await.unwrap_err();
    assert!(matches!(nobody, BoardError::Refused { .. }), "{nobody}");
    let wrong = with(&server.ca, Some("wrong-password"));
    let refused = wrong.tell(&leader).await.unwrap_err();
    let words = format!("{refused} {wrong:?}");
    assert!(words.contains("authentication failed") && !words.contains("wrong-password"), "{words}");
    let strange = with(&server.other_ca, Some(&password)).tell(&leader).await.unwrap_err();
    assert!(matches!(&strange, BoardError::Away { words, .. } if words.contains("certificate")), "{strange}");
}
