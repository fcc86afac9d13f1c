//! Several Berths on one database: one leads, and what another one writes is refused.

use std::{future::Future, sync::Arc, time::Duration};

use berth_engine::Change;
use berth_model::JobId;
use berth_store::{
    Batch, ListQuery, NewToken, PostgresOptions, PostgresStore, Store, StoreError, TokenScope,
};
use berth_testbed::{Database, Postgres};

use crate::{
    postgres::options,
    proxy::Proxy,
    suite::{
        build::{self, added, commit, event},
        run,
    },
};

/// Whatever is waited for comes long before that, or never.
const DEADLINE: Duration = Duration::from_secs(60);

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Two seconds, so that nobody waits long for it to run out.
fn short(database: &Database, instance: &str) -> PostgresOptions {
    PostgresOptions { lease: Duration::from_secs(2), ..options(database, instance) }
}

async fn open(options: PostgresOptions) -> PostgresStore {
    PostgresStore::open(options, "berth").await.unwrap()
}

async fn leader(options: PostgresOptions) -> PostgresStore {
    let store = open(options).await;
    in_time("the lead", store.lead()).await.unwrap();
    store
}

fn batch(changes: impl IntoIterator<Item = Change>) -> Arc<Batch> {
    Arc::new(Batch::from(changes.into_iter().collect::<Vec<_>>()))
}

fn token(hash: &str) -> NewToken {
    NewToken {
        hash: hash.into(),
        user: "ann".into(),
        scope: TokenScope::Read,
        label: String::new(),
        created: berth_model::UtcMs(1),
        expires: None,
        idle_ms: None,
    }
}

#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn a_stand_by_reads_and_writes_nothing() {
    run(async {
        let database = berth_testbed::database();
        let first = leader(options(&database, "one")).await;
        commit(&first, [added(&build::job(1))]).await;
        let second = open(options(&database, "two")).await;
        let leading = tokio::time::timeout(Duration::from_millis(500), second.lead()).await;
        assert!(leading.is_err(), "the first one leads");
        assert_eq!(second.list(ListQuery::default()).await.unwrap().len(), 1);
        for refused in [
            second.commit(batch([added(&build::job(2))])).await.unwrap_err(),
            second.add_token(token("aa")).await.unwrap_err(),
            second.set_policy_state("p", "k", b"v", 99).await.unwrap_err(),
        ] {
            assert!(
                matches!(&refused, StoreError::StandsBy { leader } if leader == "berth one"),
                "{refused}"
            );
        }
        assert!(first.may_act() && !second.may_act());
        assert_eq!((first.other_leader(), second.other_leader()), (None, Some("berth one".into())));
    });
}

#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn a_lead_that_is_given_up_is_taken_at_once() {
    run(async {
        let database = berth_testbed::database();
        let first =
            leader(PostgresOptions { lease: Duration::from_secs(600), ..options(&database, "one") }).await;
        commit(&first, [added(&build::job(1)), event(JobId(1), 1, "by the first")]).await;
        first.resign().await.unwrap();
        assert!(!first.may_act());
        let second = leader(options(&database, "two")).await;
        commit(&second, [event(JobId(1), 2, "by the second")]).await;
        let refused = first.commit(batch([event(JobId(1), 3, "too late")])).await.unwrap_err();
        assert!(matches!(refused, StoreError::StandsBy { .. }), "{refused}");
        let seqs: Vec<u64> = second.history(JobId(1)).await.unwrap().iter().map(|event| event.seq).collect();
        assert_eq!(seqs, [1, 2]);
    });
}

#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn a_leader_that_has_gone_silent_is_replaced() {
    run(async {
        let database = berth_testbed::database();
        let first = leader(short(&database, "one")).await;
        commit(&first, [added(&build::job(1))]).await;
        // Without a word, as a process that is killed.
        drop(first);
        let second = leader(options(&database, "two")).await;
        assert_eq!(second.restore().await.unwrap().live.len(), 1);
    });
}

#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn a_leader_with_nothing_to_write_keeps_the_lead() {
    run(async {
        let database = berth_testbed::database();
        let first = leader(short(&database, "one")).await;
        let second = open(short(&database, "two")).await;
        let leading = tokio::time::timeout(Duration::from_secs(7), second.lead()).await;
        assert!(leading.is_err(), "the first one is there");
        assert_eq!(first.other_leader(), None);
        commit(&first, [added(&build::job(1))]).await;
    });
}

#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn what_a_replaced_leader_writes_is_refused_and_it_hears_of_it() {
    run(async {
        let database = berth_testbed::database();
        let first = leader(options(&database, "one")).await;
        // As one that was stopped finds it when it goes on.
        let _ = database.ask("UPDATE lease SET fencing = fencing + 1, turn = turn + 1, leader = 'berth two'");
        let batch = batch([added(&build::job(1)), event(JobId(1), 1, "x")]);
        for _ in 0..2 {
            let refused = first.commit(Arc::clone(&batch)).await.unwrap_err();
            assert!(
                matches!(&refused, StoreError::StandsBy { leader } if leader == "berth two"),
                "{refused}"
            );
            assert!(!refused.may_pass());
        }
        assert_eq!(in_time("the news", first.deposed()).await, "berth two");
        assert!(!first.may_act());
        assert_eq!(database.ask("SELECT count(*) FROM jobs"), "0");
    });
}

#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn a_lost_answer_to_a_commit_is_found_out() {
    run(async {
        let database = berth_testbed::database();
        let proxy = Proxy::to(database.port).await;
        let url = database.url.replace(&database.port.to_string(), &proxy.port.to_string());
        let store = leader(PostgresOptions { url, ..options(&database, "one") }).await;
        commit(&store, [added(&build::job(1))]).await;
        proxy.lose_the_next_answer();
        let committed = store.commit(batch([event(JobId(1), 1, "answered")])).await.unwrap();
        assert!(proxy.has_lost());
        assert_eq!((committed.first_event, committed.events), (1, 1));
        proxy.lose_the_next_answer();
        let id = store.add_token(token("aa")).await.unwrap();
        assert_eq!(store.token("aa").await.unwrap().map(|token| token.id), Some(id));
        proxy.lose_the_next_request();
        let second = batch([event(JobId(1), 2, "asked again")]);
        let lost = store.commit(Arc::clone(&second)).await.unwrap_err();
        assert!(lost.may_pass(), "{lost}");
        assert_eq!(store.history(JobId(1)).await.unwrap().len(), 1, "nothing of it was stored");
        assert_eq!(store.commit(second).await.unwrap().first_event, 2);
        assert_eq!(store.history(JobId(1)).await.unwrap().len(), 2);
    });
}

/// The connection is cut again and again, and what could not be written is given again, as the loop does.
#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn nothing_is_lost_or_doubled_when_connections_are_cut() {
    run(async {
        let database = Arc::new(berth_testbed::database());
        let store = leader(options(&database, "one")).await;
        commit(&store, [added(&build::job(1))]).await;
        let cutting = Arc::clone(&database);
        let cuts = tokio::task::spawn_blocking(move || (0..5).for_each(|_| cutting.cut()));
        let mut written = 0;
        while written < 50 || !cuts.is_finished() {
            written += 1;
            let batch = batch([event(JobId(1), written, "x")]);
            in_time("a commit", async {
                while let Err(error) = store.commit(Arc::clone(&batch)).await {
                    assert!(error.may_pass(), "{error}");
                }
            })
            .await;
        }
        let found: Vec<(u64, u64)> = in_time("a read", async {
            loop {
                if let Ok(history) = store.history(JobId(1)).await {
                    return history.iter().map(|event| (event.seq, event.record.at.0)).collect();
                }
            }
        })
        .await;
        assert_eq!(found, (1..=written).map(|number| (number, number)).collect::<Vec<_>>());
    });
}

#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn a_server_that_went_away_is_found_again() {
    run(async {
        let mut server: Postgres = berth_testbed::own_postgres();
        let database = server.database();
        let store = leader(short(&database, "one")).await;
        commit(&store, [added(&build::job(1))]).await;
        server.stop();
        let waiting = batch([event(JobId(1), 1, "x")]);
        let away = store.commit(Arc::clone(&waiting)).await.unwrap_err();
        assert!(matches!(away, StoreError::Away { .. }) && away.may_pass(), "{away}");
        in_time("the lease's end", async {
            while store.may_act() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        server.start_again();
        in_time("its return", async {
            while store.commit(Arc::clone(&waiting)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        assert!(store.may_act(), "nobody else has taken the lead");
        assert_eq!(store.history(JobId(1)).await.unwrap().len(), 1);
    });
}

#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn a_server_is_trusted_by_its_authority_alone_and_no_password_is_told() {
    run(async {
        let server = berth_testbed::own_postgres();
        let database = server.database();
        let encrypted = PostgresOptions { tls_ca: Some(server.ca.clone()), ..options(&database, "one") };
        let store = leader(encrypted.clone()).await;
        let said = database.ask(
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'berth'",
        );
        assert_eq!(said, "t");
        drop(store);
        let stranger = PostgresOptions { tls_ca: Some(server.other_ca.clone()), ..encrypted.clone() };
        let refused = PostgresStore::open(stranger, "berth").await.unwrap_err();
        assert!(refused.to_string().contains("certificate"), "{refused}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let wrong = PostgresOptions { password_file: Some(file), ..encrypted };
        let refused = PostgresStore::open(wrong.clone(), "berth").await.unwrap_err();
        assert!(matches!(refused, StoreError::DatabaseRefused { .. }) && !refused.may_pass(), "{refused}");
        for words in [format!("{refused} {refused:?}"), format!("{wrong:?}")] {
            assert!(!words.contains("hunter2"), "{words}");
        }
    });
}

#[test]
#[ignore = "needs root, to start PostgreSQL"]
fn what_is_not_this_clusters_database_is_refused() {
    run(async {
        let database = berth_testbed::database();
        drop(leader(options(&database, "one")).await);
        let refused = PostgresStore::open(options(&database, "two"), "other").await.unwrap_err();
        assert!(matches!(refused, StoreError::OtherCluster { .. }), "{refused}");
        let _ = database.ask("UPDATE meta SET value = '99' WHERE key = 'schema'");
        let refused = PostgresStore::open(options(&database, "two"), "berth").await.unwrap_err();
        assert!(matches!(refused, StoreError::Newer { found: 99, .. }), "{refused}");
        let strange = berth_testbed::database();
        let _ = strange.ask("CREATE TABLE cats (name TEXT)");
        let refused = PostgresStore::open(options(&strange, "one"), "berth").await.unwrap_err();
        assert!(refused.to_string().contains("somebody else"), "{refused}");
    });
}
