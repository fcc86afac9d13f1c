//! What every store has to do, claim by claim.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use berth_engine::{Change, LiveJob, Moving, StoredClosure};
use berth_model::{
    AccountKind, Attempt, Closure, ClosureKind, End, FailedNode, JobId, JobState, MailTo, NoticeChoice,
    Occasion, StateKind, StopCause, Used, UtcMs,
};
use berth_store::{
    Batch, Extra, GuestDecision, GuestStanding, ListQuery, NewToken, NoticeCount, NoticeFate, OwedNotice,
    PasswordChange, SeenGuest, Store, StoreError, StoredGuest, StoredToken, TaskQuery, TokenScope,
};

use super::{
    Kit,
    build::{self, added, commit, event, task_added, updated},
};

pub async fn a_refused_batch_leaves_nothing<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let (first, second) = (build::job(1), build::job(2));
    commit(&store, [added(&first), event(first.id, 1, "one")]).await;
    for wrong in [
        updated(JobId(99), build::running()),
        added(&first),
        task_added(&build::job(3)),
        task_added(&build::task(&build::array(0, "1-3"), 0)),
    ] {
        let batch =
            vec![added(&second), event(second.id, 2, "two"), wrong, updated(first.id, build::running())];
        let refused = store.commit(Arc::new(Batch::from(batch))).await.unwrap_err();
        assert!(matches!(refused, StoreError::Contradiction { .. }), "{refused}");
        assert!(!refused.may_pass());
        assert_eq!(store.job(second.id).await.unwrap(), None);
        assert_eq!(store.job(first.id).await.unwrap().unwrap().job, first);
        assert_eq!(store.last_event().await.unwrap(), 1);
    }
    commit(&store, [added(&second), event(second.id, 2, "two")]).await;
    assert_eq!(store.history(second.id).await.unwrap()[0].seq, 2, "no number was lost");
}

pub async fn the_last_update_of_a_batch_counts_and_every_event<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let job = build::job(1);
    let noted = |note: &str| Moving { note: Some(note.into()), ..build::running() };
    let changes = [
        added(&job),
        event(job.id, 1, "a"),
        updated(job.id, noted("a")),
        event(job.id, 1, "b"),
        updated(job.id, noted("b")),
        event(job.id, 1, "c"),
    ];
    commit(&store, changes).await;
    assert_eq!(store.job(job.id).await.unwrap().unwrap().job.moving, noted("b"));
    assert_eq!(store.history(job.id).await.unwrap().len(), 3);
}

pub async fn a_job_that_runs_again_is_live_again<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let job = build::job(1);
    commit(&store, [added(&job)]).await;
    commit(&store, [updated(job.id, build::ended(End::Succeeded, 9))]).await;
    assert!(store.restore().await.unwrap().live.is_empty());
    let again = Moving { attempt: Attempt { number: 2, returned: 0 }, ..build::running() };
    commit(&store, [updated(job.id, again.clone())]).await;
    assert_eq!(store.restore().await.unwrap().live[0].moving, again);
    assert_eq!(store.counts(UtcMs(0)).await.unwrap(), [(StateKind::Running, 1)]);
}

pub async fn only_what_has_ended_is_archived_and_each_once<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    for id in 1..=3 {
        commit(&store, [added(&build::job(id))]).await;
    }
    for (id, ended) in [(1, 50), (2, 40)] {
        commit(&store, [updated(JobId(id), build::ended(End::Succeeded, ended))]).await;
    }
    let archive = async |id: u64, at: u64| {
        let extras = vec![Extra::Archived { id: JobId(id), at: UtcMs(at) }];
        store.commit(Arc::new(Batch { changes: Vec::new(), extras })).await.unwrap();
    };
    let old = async |before: u64| store.to_archive((UtcMs(0), UtcMs(before)), 9).await.unwrap();
    assert_eq!(old(50).await, [(JobId(2), UtcMs(40))], "what ended before that instant");
    assert_eq!(old(51).await, [(JobId(2), UtcMs(40)), (JobId(1), UtcMs(50))], "the earliest first");
    for (id, at) in [(1, 100), (1, 200), (3, 300), (9, 400)] {
        archive(id, at).await;
    }
    assert_eq!(old(1000).await, [(JobId(2), UtcMs(40))]);
    assert_eq!(store.archived(JobId(1)).await.unwrap(), Some(UtcMs(100)), "the first time counts");
    assert_eq!(store.archived(JobId(3)).await.unwrap(), None, "it has not ended");
}

pub async fn what_has_ended_is_to_be_measured_until_it_was_and_again_after_each_run<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let (job, array) = (build::job(1), build::array(2, "30-36:3"));
    let task = build::task(&array, 1);
    commit(&store, [added(&job), added(&array), task_added(&task)]).await;
    let unmeasured = async || {
        let found = store.unmeasured(JobId(0), 9).await.unwrap();
        found.into_iter().map(|found| (found.job.0, found.task, found.after)).collect::<Vec<_>>()
    };
    assert_eq!(unmeasured().await, [], "nothing has ended");
    let ended = build::ended(End::Succeeded, 9);
    commit(&store, [updated(job.id, ended.clone()), updated(task.id, ended.clone())]).await;
    let of_task = (task.id.0, Some((array.id, 33)), 1);
    assert_eq!(unmeasured().await, [(1, None, 1), of_task]);
    assert_eq!(store.unmeasured(JobId(1), 9).await.unwrap()[0].owner, array.owner);
    assert_eq!(store.unmeasured(JobId(0), 1).await.unwrap().len(), 1);
    commit(&store, [Change::Directory { job: job.id, after: 1, bytes: 5 }]).await;
    assert_eq!(unmeasured().await, [of_task]);
    let again = Moving { attempt: Attempt { number: 2, returned: 0 }, ..ended };
    commit(&store, [updated(job.id, again)]).await;
    assert_eq!(unmeasured().await, [(1, None, 2), of_task]);
}

pub async fn the_directories_of_what_was_archived_are_gone_whatever_was_noted<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let (job, array) = (build::job(1), build::array(2, "1-3"));
    let task = build::task(&array, 0);
    let ended = build::ended(End::Succeeded, 9);
    let all = [job.id, array.id, task.id].map(|id| updated(id, ended.clone()));
    commit(&store, [added(&job), added(&array), task_added(&task)].into_iter().chain(all)).await;
    let sizes = [job.id, task.id].map(|job| Change::Directory { job, after: 1, bytes: 5 });
    commit(&store, sizes).await;
    assert_eq!(store.restore().await.unwrap().directories.len(), 2);
    let extras = vec![Extra::Archived { id: array.id, at: UtcMs(10) }];
    store.commit(Arc::new(Batch { changes: Vec::new(), extras })).await.unwrap();
    let left = store.restore().await.unwrap().directories;
    assert_eq!(left.iter().map(|left| left.job).collect::<Vec<_>>(), [job.id]);
}

pub async fn use_that_no_quota_counts_any_more_goes_at_a_start<K: Kit>() {
    let kit = K::fresh();
    let used = Used { jobs: 1, ..Used::default() };
    let charge = |hour| Change::Charged { kind: AccountKind::User, name: "ann".into(), hour, used };
    let store = kit.open().await;
    commit(&store, [charge(400_000), charge(400_000 + 366 * 24), charge(400_001 + 366 * 24)]).await;
    assert_eq!(store.restore().await.unwrap().accounts[0].hours.len(), 3);
    drop(store);
    let hours = kit.open().await.restore().await.unwrap().accounts.remove(0).hours;
    assert_eq!(hours, [(400_000 + 366 * 24, used), (400_001 + 366 * 24, used)]);
}

pub async fn what_is_closed_is_so_after_an_opening_and_what_was_opened_is_not<K: Kit>() {
    let kit = K::fresh();
    let closure = |reason: &str| Closure {
        nodes: vec!["local/n1".parse().unwrap()],
        from: None,
        until: Some(UtcMs(9_000)),
        users: ["ann".to_owned()].into(),
        projects: ["rna".to_owned()].into(),
        reason: reason.into(),
        by: "root".into(),
    };
    let change = |kind, name: &str, version, terms: Option<Closure>| Change::Closure {
        kind,
        name: name.into(),
        version,
        terms: terms.map(Box::new),
    };
    let (drain, reservation) = (ClosureKind::Drain, ClosureKind::Reservation);
    let store = kit.open().await;
    commit(&store, [change(drain, "local/n1", 3, Some(closure("first")))]).await;
    // The last of a batch counts.
    let again = change(drain, "local/n1", 4, Some(closure("second")));
    commit(&store, [again, change(reservation, "local/n1", 5, Some(closure("another kind")))]).await;
    drop(store);
    let store = kit.open().await;
    let found = |closures: Vec<StoredClosure>| -> Vec<(ClosureKind, u64, Closure)> {
        closures.into_iter().map(|one| (one.kind, one.version, one.terms)).collect()
    };
    assert_eq!(
        found(store.restore().await.unwrap().closures),
        [(drain, 4, closure("second")), (reservation, 5, closure("another kind"))]
    );
    commit(&store, [change(drain, "local/n1", 0, None)]).await;
    drop(store);
    let left = found(kit.open().await.restore().await.unwrap().closures);
    assert_eq!(left, [(reservation, 5, closure("another kind"))]);
}

pub async fn where_jobs_failed_is_kept_and_tasks_avoid_it_as_their_array_says<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let array = LiveJob { avoid_failed_nodes: true, ..build::array(1, "1-2") };
    let failed_on = vec![FailedNode { node: "local/n1".into(), attempt: 1 }];
    let gone = Moving { failed_on: failed_on.clone(), ..build::pending() };
    let task = build::task(&array, 0);
    commit(&store, [added(&array), task_added(&task), updated(task.id, gone)]).await;
    drop(store);
    let live = kit.open().await.restore().await.unwrap().live;
    assert!(live.iter().all(|job| job.avoid_failed_nodes));
    assert_eq!(live[0].moving.failed_on, []);
    assert_eq!(live[1].moving.failed_on, failed_on);
}

pub async fn tasks_of_an_earlier_run_do_not_count<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let array = build::array(1, "1-4");
    commit(&store, [added(&array)]).await;
    for position in 0..4 {
        let task = build::task(&array, position);
        let failed = End::Failed { cause: berth_model::FailCause::OutOfMemory, exit_code: Some(9) };
        commit(&store, [task_added(&task), updated(task.id, build::ended(failed, 9))]).await;
    }
    let before = store.restore().await.unwrap();
    assert_eq!(before.live[0].moving.array_next, 4);
    assert_eq!((before.arrays[0].1.ended, before.arrays[0].1.highest_exit), (4, 9));
    let second = Attempt { number: 2, returned: 0 };
    let again = Moving { attempt: second, ..build::pending() };
    let task = berth_engine::LiveJob { moving: again.clone(), ..build::task(&array, 0) };
    commit(&store, [updated(array.id, again), task_added(&task)]).await;
    let after = store.restore().await.unwrap();
    assert_eq!(after.live.len(), 2);
    assert_eq!(after.live[0].moving.array_next, 1);
    assert_eq!(after.arrays[0].1, berth_engine::ArrayEnds::default());
    assert_eq!(after.ended_ahead, []);
    let tasks = store.tasks_of(array.id, TaskQuery::default()).await.unwrap();
    assert_eq!(tasks.counts, [(StateKind::Pending, 1)]);
}

pub async fn tasks_are_found_before_their_turn<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let array = build::array(5, "30-36:2");
    commit(&store, [added(&build::job(4)), added(&array), added(&build::job(10))]).await;
    let find = async |text: &str| store.resolve(text.parse().unwrap()).await.unwrap().map(|id| id.0);
    assert_eq!(find("5").await, Some(5));
    assert_eq!(find("5.30").await, Some(6));
    assert_eq!(find("5.36").await, Some(9));
    for nobody in ["5.31", "5.38", "4.1", "99", "99.1", "3", "11"] {
        assert_eq!(find(nobody).await, None, "{nobody}");
    }
    assert_eq!(find("9").await, Some(9));
    assert_eq!(store.state_of(&[JobId(9)]).await.unwrap(), [(JobId(9), StateKind::Pending)]);
    assert_eq!(store.job(JobId(9)).await.unwrap(), None);
    let asked = store.submission(JobId(9)).await.unwrap().unwrap();
    assert_eq!(asked.spec.array, array.array);
    let killed = End::Killed { cause: StopCause::User { name: "alice".into() }, exit_code: None };
    commit(&store, [updated(array.id, build::ended(killed, 9))]).await;
    assert_eq!(store.state_of(&[JobId(9)]).await.unwrap(), [(JobId(9), StateKind::Killed)]);
}

pub async fn a_listing_can_be_stopped<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    commit(&store, (1..100).map(|id| added(&build::job(id)))).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    let each = Box::new(move |row: berth_store::JobRow| {
        let mut seen = all.lock().unwrap();
        seen.push(row.id.0);
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    store.list_each(ListQuery { newest_first: true, ..ListQuery::default() }, each).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [99, 98, 97]);
}

pub async fn tokens_are_kept_used_and_revoked<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let new = |hash: &str, user: &str| NewToken {
        hash: hash.into(),
        user: user.into(),
        scope: TokenScope::Submit,
        label: "laptop".into(),
        created: UtcMs(5),
        expires: Some(UtcMs(100)),
        idle_ms: None,
    };
    let first = store.add_token(new("aa", "alice")).await.unwrap();
    let second = store.add_token(new("bb", "bob")).await.unwrap();
    assert_ne!(first, second);
    assert!(store.add_token(new("aa", "mallory")).await.is_err(), "a hash is one token's");
    for at in [50, 40] {
        let used = Extra::TokenUsed { id: first, at: UtcMs(at) };
        let batch =
            Batch { extras: vec![used, Extra::TokenUsed { id: 99, at: UtcMs(1) }], ..Batch::default() };
        store.commit(Arc::new(batch)).await.unwrap();
    }
    drop(store);
    let store = kit.open().await;
    let expected = StoredToken {
        id: first,
        user: "alice".into(),
        scope: TokenScope::Submit,
        label: "laptop".into(),
        created: UtcMs(5),
        expires: Some(UtcMs(100)),
        last_used: Some(UtcMs(50)),
        revoked: None,
        idle_ms: None,
    };
    assert_eq!(store.token("aa").await.unwrap(), Some(expected.clone()));
    assert_eq!(store.token("cc").await.unwrap(), None);
    assert_eq!(store.tokens(Some("alice")).await.unwrap(), [expected]);
    assert!(store.revoke_token(first, UtcMs(60)).await.unwrap());
    assert!(!store.revoke_token(first, UtcMs(61)).await.unwrap());
    assert!(!store.revoke_token(99, UtcMs(61)).await.unwrap());
    let all = store.tokens(None).await.unwrap();
    assert_eq!(all.iter().map(|token| token.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(all.iter().map(|token| token.works_at(UtcMs(70))).collect::<Vec<_>>(), [false, true]);
    assert!(!all[1].works_at(UtcMs(100)), "it has run out");
}

pub async fn a_session_ends_when_nobody_uses_it_and_when_it_has_lasted_long_enough<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let new = NewToken {
        hash: "aa".into(),
        user: "alice".into(),
        scope: TokenScope::Admin,
        label: String::new(),
        created: UtcMs(100),
        expires: Some(UtcMs(1000)),
        idle_ms: Some(50),
    };
    let id = store.add_token(new).await.unwrap();
    let kept = store.token("aa").await.unwrap().unwrap();
    assert!(kept.is_session() && kept.works_at(UtcMs(149)) && !kept.works_at(UtcMs(150)));
    assert_eq!(kept.ends(), Some(UtcMs(150)));
    for (at, ends) in [(140, 190), (980, 1000)] {
        let batch = Batch { extras: vec![Extra::TokenUsed { id, at: UtcMs(at) }], ..Batch::default() };
        store.commit(Arc::new(batch)).await.unwrap();
        let kept = store.token("aa").await.unwrap().unwrap();
        assert_eq!(kept.ends(), Some(UtcMs(ends)), "used at {at}");
    }
}

pub async fn a_changed_password_ends_the_sessions_of_its_user_and_nothing_else<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let mut ids = Vec::new();
    for (hash, user, idle_ms) in
        [("s1", "alice", Some(50)), ("s2", "alice", Some(50)), ("t", "alice", None), ("b", "bob", Some(50))]
    {
        let (hash, user, label) = (hash.to_owned(), user.to_owned(), String::new());
        let (scope, created, expires) = (TokenScope::Submit, UtcMs(1), None);
        ids.push(
            store.add_token(NewToken { hash, user, scope, label, created, expires, idle_ms }).await.unwrap(),
        );
    }
    let change = |user: &str, hash: Option<&str>, at, spare| PasswordChange {
        user: user.into(),
        hash: hash.map(str::to_owned),
        at: UtcMs(at),
        spare,
    };
    assert_eq!(store.password("alice").await.unwrap(), None);
    assert!(!store.change_password(change("carol", None, 2, None)).await.unwrap(), "there was none");
    assert!(store.change_password(change("alice", Some("$one"), 3, Some(ids[0]))).await.unwrap());
    drop(store);
    let store = kit.open().await;
    let revoked = async || {
        let all = store.tokens(None).await.unwrap();
        all.into_iter().map(|token| token.revoked.map(|at| at.0)).collect::<Vec<_>>()
    };
    assert_eq!(revoked().await, [None, Some(3), None, None]);
    assert_eq!(store.password("alice").await.unwrap().as_deref(), Some("$one"));
    assert!(store.change_password(change("alice", Some("$two"), 4, None)).await.unwrap());
    assert_eq!(revoked().await, [Some(4), Some(3), None, None]);
    assert_eq!(store.passwords().await.unwrap(), [("alice".to_owned(), UtcMs(4))]);
    assert!(store.change_password(change("alice", None, 5, None)).await.unwrap());
    assert_eq!(store.password("alice").await.unwrap(), None);
    assert_eq!(store.passwords().await.unwrap(), []);
}

fn seen(name: &str, at: u64) -> SeenGuest {
    let (issuer, subject) = ("https://id.example.org".to_owned(), format!("{name} \0 ö"));
    SeenGuest { name: name.into(), issuer, subject, email: Some("a@example.org".into()), at: UtcMs(at) }
}

pub async fn a_guest_waits_is_let_in_and_no_longer_and_is_forgotten<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    assert_eq!(store.guest("guest:a").await.unwrap(), None);
    assert!(store.see_guest(seen("guest:a", 10), 9).await.unwrap());
    assert!(store.see_guest(seen("guest:b", 11), 9).await.unwrap());
    let again = SeenGuest { email: None, subject: "another".into(), ..seen("guest:a", 20) };
    assert!(store.see_guest(again, 0).await.unwrap(), "who is known takes no further place");
    assert!(store.see_guest(seen("guest:b", 5), 0).await.unwrap(), "a late word takes nothing back");
    let decision = |name: &str, active, at| GuestDecision {
        name: name.into(),
        active,
        by: "root".into(),
        at: UtcMs(at),
    };
    assert!(store.decide_guest(decision("guest:a", true, 30)).await.unwrap());
    assert!(!store.decide_guest(decision("guest:c", true, 30)).await.unwrap(), "nobody is let in unseen");
    store.guest_measured("guest:a", 4096, UtcMs(31)).await.unwrap();
    store.guest_measured("guest:c", 4096, UtcMs(31)).await.unwrap();
    drop(store);
    let store = kit.open().await;
    let first = StoredGuest {
        name: "guest:a".into(),
        issuer: "https://id.example.org".into(),
        subject: "guest:a \0 ö".into(),
        email: None,
        standing: GuestStanding::Active,
        since: UtcMs(10),
        seen: UtcMs(20),
        decided: Some((UtcMs(30), "root".into())),
        home: Some((4096, UtcMs(31))),
    };
    assert_eq!(store.guest("guest:a").await.unwrap().as_ref(), Some(&first));
    let all = store.guests().await.unwrap();
    let standings: Vec<_> =
        all.iter().map(|guest| (guest.name.as_str(), guest.standing, guest.seen.0)).collect();
    assert_eq!(standings, [("guest:a", GuestStanding::Active, 20), ("guest:b", GuestStanding::Waiting, 11)]);
    assert!(store.remove_guest("guest:a", UtcMs(40)).await.unwrap());
    assert!(!store.remove_guest("guest:a", UtcMs(40)).await.unwrap());
    assert!(store.see_guest(seen("guest:a", 50), 9).await.unwrap());
    let anew = store.guest("guest:a").await.unwrap().unwrap();
    assert_eq!((anew.standing, anew.since, anew.decided), (GuestStanding::Waiting, UtcMs(50), None));
}

pub async fn only_so_many_guests_wait_and_those_let_in_do_not_count<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    for name in ["guest:a", "guest:b"] {
        assert!(store.see_guest(seen(name, 1), 2).await.unwrap());
    }
    assert!(!store.see_guest(seen("guest:c", 1), 2).await.unwrap());
    assert_eq!(store.guest("guest:c").await.unwrap(), None);
    let decision = GuestDecision { name: "guest:a".into(), active: false, by: "root".into(), at: UtcMs(2) };
    assert!(store.decide_guest(decision).await.unwrap());
    assert!(store.see_guest(seen("guest:c", 3), 2).await.unwrap());
    assert!(!store.see_guest(seen("guest:d", 3), 2).await.unwrap());
}

pub async fn a_guest_who_may_no_longer_has_no_token_left<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let add = async |hash: &str, user: &str, idle_ms| {
        let (hash, user, label) = (hash.to_owned(), user.to_owned(), String::new());
        let (scope, created, expires) = (TokenScope::Submit, UtcMs(1), None);
        store.add_token(NewToken { hash, user, scope, label, created, expires, idle_ms }).await.unwrap()
    };
    for (hash, user, idle) in
        [("s", "guest:a", Some(9)), ("t", "guest:a", None), ("o", "guest:b", Some(9)), ("r", "guest:b", None)]
    {
        add(hash, user, idle).await;
    }
    for name in ["guest:a", "guest:b"] {
        store.see_guest(seen(name, 1), 9).await.unwrap();
    }
    let revoked = async || {
        let all = store.tokens(None).await.unwrap();
        all.into_iter().map(|token| token.revoked.map(|at| at.0)).collect::<Vec<_>>()
    };
    let decision =
        |active, at| GuestDecision { name: "guest:a".into(), active, by: "root".into(), at: UtcMs(at) };
    store.decide_guest(decision(true, 2)).await.unwrap();
    assert_eq!(revoked().await, [None; 4]);
    store.decide_guest(decision(false, 3)).await.unwrap();
    assert_eq!(revoked().await, [Some(3), Some(3), None, None]);
    store.remove_guest("guest:b", UtcMs(4)).await.unwrap();
    assert_eq!(revoked().await, [Some(3), Some(3), Some(4), Some(4)]);
}

pub async fn a_policy_keeps_what_it_may_and_sees_only_its_own<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    store.set_policy_state("fair", "a/1", b"\0\xff", 100).await.unwrap();
    store.set_policy_state("fair", "a%2", b"two", 100).await.unwrap();
    store.set_policy_state("fair", "b", b"", 100).await.unwrap();
    store.set_policy_state("other", "a/1", b"its own", 100).await.unwrap();
    drop(store);
    let store = kit.open().await;
    assert_eq!(store.policy_state("fair", "a/1").await.unwrap().as_deref(), Some(&b"\0\xff"[..]));
    assert_eq!(store.policy_state("fair", "b").await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(store.policy_state("fair", "c").await.unwrap(), None);
    assert_eq!(store.policy_keys("fair", "a", 9).await.unwrap(), ["a%2", "a/1"]);
    assert_eq!(store.policy_keys("fair", "", 2).await.unwrap(), ["a%2", "a/1"]);
    assert_eq!(store.policy_keys("fair", "a%", 9).await.unwrap(), ["a%2"]);
    // 3 + 2, 3 + 3 and 1 bytes are kept: in place of "two", 88 + 3 more fill it up.
    store.set_policy_state("fair", "a%2", &[7; 91], 100).await.unwrap();
    let refused = store.set_policy_state("fair", "a%2", &[7; 92], 100).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooMuchState { bytes: 101, most: 100, .. }), "{refused}");
    assert_eq!(store.policy_state("fair", "a%2").await.unwrap(), Some(vec![7; 91]));
    assert!(store.delete_policy_state("fair", "a%2").await.unwrap());
    assert!(!store.delete_policy_state("fair", "a%2").await.unwrap());
    assert_eq!(store.policy_keys("other", "", 9).await.unwrap(), ["a/1"]);
}

/// Each batch moves one of two jobs and the other with it: a reader that sees a batch by half sees them
/// differ.
pub async fn readers_see_whole_batches_while_they_are_written<K: Kit>() {
    let kit = K::fresh();
    let store = Arc::new(kit.open().await);
    let jobs = [JobId(1), JobId(2)];
    commit(&*store, jobs.map(|id| added(&build::job(id.0)))).await;
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, over) = (Arc::clone(&store), Arc::clone(&over));
            tokio::spawn(async move {
                let mut seen = 0;
                while !over.load(Ordering::Relaxed) || seen == 0 {
                    let rows = store.list(ListQuery::default()).await.unwrap();
                    assert_eq!(rows[0].priority, rows[1].priority);
                    assert!(rows[0].priority >= seen, "time runs forward");
                    seen = rows[0].priority;
                    if seen == 200 {
                        break;
                    }
                }
                seen
            })
        })
        .collect();
    for priority in 1..=200 {
        let now = Moving { priority, state: JobState::Pending, ..build::pending() };
        commit(&*store, jobs.map(|id| updated(id, now.clone()))).await;
        assert_eq!(
            store.list(ListQuery::default()).await.unwrap()[1].priority,
            priority,
            "what is written is read"
        );
    }
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}

fn notice(id: &str, sink: &str, due: u64) -> OwedNotice {
    OwedNotice {
        id: id.into(),
        sink: sink.into(),
        owner: "alice".into(),
        target: "alice@example.org".into(),
        at: UtcMs(1),
        tries: 0,
        due: UtcMs(due),
        body: "{}".into(),
    }
}

pub async fn what_is_owed_is_kept_until_it_is_settled_and_taken_in_its_order<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    assert_eq!(store.notice_cursor().await.unwrap(), None);
    assert_eq!(store.first_notice("mail").await.unwrap(), None);
    let (late, soon, other) = (notice("a", "mail", 20), notice("b", "mail", 10), notice("c", "hook", 5));
    store.owe_notices(7, vec![late.clone(), soon.clone(), other.clone()]).await.unwrap();
    assert_eq!(store.first_notice("mail").await.unwrap(), Some(soon.clone()));
    assert_eq!(store.first_notice("hook").await.unwrap(), Some(other.clone()));
    let again = NoticeFate::Again { tries: 3, due: UtcMs(30) };
    store.settle_notice("b", again).await.unwrap();
    assert_eq!(store.first_notice("mail").await.unwrap(), Some(late));
    store.settle_notice("a", NoticeFate::Gone).await.unwrap();
    store.settle_notice("nobody's", NoticeFate::Gone).await.unwrap();
    drop(store);
    let store = kit.open().await;
    let put_off = OwedNotice { tries: 3, due: UtcMs(30), ..soon };
    assert_eq!(store.first_notice("mail").await.unwrap(), Some(put_off.clone()));
    assert_eq!(store.notice_cursor().await.unwrap(), Some(7));
    // Looking at the same events once more owes nothing anew.
    store.owe_notices(8, vec![notice("b", "mail", 1), notice("d", "mail", 40)]).await.unwrap();
    assert_eq!(store.first_notice("mail").await.unwrap(), Some(put_off));
    let count = |sink: &str, count| NoticeCount { sink: sink.into(), owner: "alice".into(), count };
    assert_eq!(store.count_notices().await.unwrap(), [count("hook", 1), count("mail", 2)]);
    assert_eq!(store.notice_cursor().await.unwrap(), Some(8));
}

pub async fn what_people_want_to_be_told_is_kept<K: Kit>() {
    let kit = K::fresh();
    let store = kit.open().await;
    let choice =
        |on: &[Occasion], mail| NoticeChoice { on: on.to_vec(), mail, webhook: Some("https://a/".into()) };
    let (first, second) =
        (choice(&[Occasion::End], MailTo::Usual), choice(&[], MailTo::Address("a@b".into())));
    store.choose_notices("bob", Some(first.clone())).await.unwrap();
    store.choose_notices("ann", Some(first.clone())).await.unwrap();
    store.choose_notices("ann", Some(second.clone())).await.unwrap();
    store.choose_notices("max", Some(first.clone())).await.unwrap();
    store.choose_notices("max", None).await.unwrap();
    drop(store);
    let stored = kit.open().await.notice_choices().await.unwrap();
    assert_eq!(stored, [("ann".to_owned(), second), ("bob".to_owned(), first)]);
}
