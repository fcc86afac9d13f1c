//! Random changes and questions, and the comparison with the naive model.

use std::{collections::BTreeMap, sync::Arc};

use berth_engine::{Change, LiveJob, Moving};
use berth_model::{
    AccountKind, AccountTerms, ArrayRange, Attempt, Closure, ClosureKind, Dependency, DependencyKind, End,
    EventKind, Exit, FailCause, FailedNode, Hold, Holds, JobEventRecord, JobId, JobState, Limits, NamedGrant,
    ProjectVolume, Resources, StateKind, StopCause, Used, UtcMs,
};
use berth_store::{Batch, ListQuery, Store, TaskQuery, UsageBy};
use proptest::{collection, option, prelude::*, sample};

use super::{
    Kit, build,
    model::{Model, count, row},
};

/// One step of a random life; which job it is about is found when the jobs are known.
#[derive(Clone, Debug)]
enum Deed {
    Add(Box<LiveJob>, Vec<String>),
    AddTask(sample::Index, sample::Index, Box<Moving>),
    Update(sample::Index, Box<Moving>),
    Record(sample::Index, EventKind),
    Alter(sample::Index, u64, bool),
    Measure(sample::Index, u32, u64),
    Remove(sample::Index, u64),
    Charge { kind: AccountKind, name: String, hour: u64, used: Used },
    SetClosure { kind: ClosureKind, name: String, version: u64, terms: Option<Box<Closure>> },
    SetAccount { kind: AccountKind, name: String, version: u64, terms: Option<Box<AccountTerms>> },
}

fn charge() -> impl Strategy<Value = Deed> {
    let used =
        (any::<[u64; 6]>()).prop_map(|[jobs, wall_ms, cpu_ms, memory_mib_ms, cpu_millis, memory_mib]| Used {
            jobs,
            wall_ms,
            cpu_ms,
            memory_mib_ms,
            cpu_millis,
            memory_mib,
        });
    (sample::select(&AccountKind::ALL[..]), words(), 490_000u64..490_003, used)
        .prop_map(|(kind, name, hour, used)| Deed::Charge { kind, name, hour, used })
}

/// Few names, so that accounts are set anew and taken away, and are some of those that are charged.
fn account() -> impl Strategy<Value = Deed> {
    let terms =
        (words(), any::<u8>(), any::<u32>(), option::of(any::<u64>()), any::<bool>(), option::of(words()));
    let volume = (words(), option::of(words()), any::<bool>())
        .prop_map(|(path, target, read_only)| ProjectVolume { path, target, read_only });
    let volumes = collection::btree_map(words(), volume, 0..3);
    let terms = (terms, collection::btree_set(words(), 0..3), volumes).prop_map(
        |((about, priority, shares, jobs, barred, group), members, volumes)| {
            let limits = Limits { jobs, ..Limits::default() };
            Box::new(AccountTerms {
                about,
                priority,
                shares,
                limits,
                barred,
                group,
                members,
                shared: !barred,
                volumes,
            })
        },
    );
    (sample::select(&AccountKind::ALL[..]), "[ab]?", any::<u64>(), option::weighted(0.8, terms))
        .prop_map(|(kind, name, version, terms)| Deed::SetAccount { kind, name, version, terms })
}

/// Likewise, so that some are set anew and taken away.
fn closure() -> impl Strategy<Value = Deed> {
    let times = (option::of(0u64..9_000), option::of(0u64..9_000));
    let who = (collection::btree_set(words(), 0..3), collection::btree_set(words(), 0..3));
    let nodes = collection::vec(sample::select(vec!["*", "local/n1", "sw?rm/*"]), 1..3);
    let terms = (nodes, times, who, words(), words()).prop_map(
        |(nodes, (from, until), (users, projects), reason, by)| {
            Box::new(Closure {
                nodes: nodes.into_iter().map(|node| node.parse().unwrap()).collect(),
                from: from.map(UtcMs),
                until: until.map(UtcMs),
                users,
                projects,
                reason,
                by,
            })
        },
    );
    (sample::select(&ClosureKind::ALL[..]), "[ab]?", any::<u64>(), option::weighted(0.8, terms))
        .prop_map(|(kind, name, version, terms)| Deed::SetClosure { kind, name, version, terms })
}

fn words() -> impl Strategy<Value = String> {
    "[a-z\"\\\\ ö☂\u{0}]{0,6}"
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (1u32..4, 0u32..3).prop_map(|(number, returned)| Attempt { number, returned })
}

fn cause() -> impl Strategy<Value = StopCause> {
    prop_oneof![
        words().prop_map(|name| StopCause::User { name }),
        words().prop_map(|name| StopCause::Rerun { name }),
        (words(), words()).prop_map(|(name, reason)| StopCause::Watcher { name, reason }),
        words().prop_map(|reason| StopCause::Scheduler { reason }),
        Just(StopCause::Array),
        Just(StopCause::TimeLimit),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Succeeded),
        (1i32..140)
            .prop_map(|code| End::Failed { cause: FailCause::ExitCode { code }, exit_code: Some(code) }),
        words()
            .prop_map(|reason| End::Failed { cause: FailCause::CouldNotLaunch { reason }, exit_code: None }),
        (cause(), option::of(0i32..255)).prop_map(|(cause, exit_code)| End::Killed { cause, exit_code }),
        (words(), words()).prop_map(|(by, reason)| End::Rejected { by, reason }),
        words().prop_map(|reason| End::Lost { reason }),
    ]
}

/// A state, with the attempt of its column; now and then the two differ.
fn state() -> impl Strategy<Value = (JobState, Attempt)> {
    (
        attempt(),
        attempt(),
        0u8..10,
        0u8..11,
        collection::vec(sample::select(&Hold::ALL[..]), 1..4),
        cause(),
        end(),
        any::<bool>(),
    )
        .prop_map(|(column, other, differ, which, holds, cause, end, taken)| {
            let attempt = if differ == 0 { other } else { column };
            let state = match which {
                0 => JobState::Held { holds: holds.into_iter().collect::<Holds>() },
                1..=2 => JobState::Pending,
                3 => JobState::Starting { attempt, taken },
                4..=5 => JobState::Running { attempt },
                6 => JobState::Suspended { attempt },
                7 => JobState::Stopping { attempt, cause: Box::new(cause), taken },
                _ => JobState::Ended { end: Box::new(end) },
            };
            (state, column)
        })
}

fn moving() -> impl Strategy<Value = Moving> {
    let numbers = (
        option::of(0u64..5_000),
        0u64..6_000,
        option::of(0u64..9_000),
        option::of(any::<u64>().prop_map(|peak| peak >> 1)),
    );
    (state(), option::of(words()), option::of(words()), numbers, -5i32..5, 0u32..3, 0u64..4).prop_map(
        |(
            (state, attempt),
            node,
            note,
            (started, ended, cpu, memory),
            priority,
            node_failures,
            array_next,
        )| {
            let end = match &state {
                JobState::Ended { end } => Some(end.clone()),
                _ => None,
            };
            Moving {
                attempt,
                node,
                eligible: UtcMs(ended),
                started: started.map(UtcMs),
                ended: end.as_ref().map(|_| UtcMs(ended)),
                exit_code: end.and_then(|end| end.exit_code()),
                priority,
                node_failures,
                array_next,
                cpu_micros: cpu,
                memory_peak_bytes: memory,
                granted: note
                    .iter()
                    .map(|_| NamedGrant {
                        name: "gpu_1".into(),
                        amount: 1,
                        units: vec![node_failures],
                        ..NamedGrant::default()
                    })
                    .collect(),
                failed_on: note
                    .iter()
                    .map(|node| FailedNode { node: node.clone(), attempt: node_failures })
                    .collect(),
                note,
                state,
            }
        },
    )
}

fn job() -> impl Strategy<Value = (Box<LiveJob>, Vec<String>)> {
    let who = (
        sample::select(vec!["alice", "bob", "c☂rl"]),
        sample::select(vec!["default", "sky"]),
        "[ab\\[\\]é]{0,3}",
    );
    let needs = (1u64..9, any::<u64>(), 0u32..3);
    let kind = prop_oneof![Just(None), (0u64..3, 0u64..9, 1u64..3).prop_map(Some)];
    let dependencies = collection::vec((1u64..40, any::<bool>()), 0..3);
    let rare = (option::of(0u64..9_000), dependencies, 0u32..3, any::<bool>(), option::of(1u64..99_999));
    let labels = collection::btree_map("[a-z]{1,2}", words(), 0..2);
    (who, needs, kind, rare, labels, moving(), collection::vec(sample::select(vec!["red", "blue"]), 0..2))
        .prop_map(
            |(
                (owner, project, name),
                (cpus, memory, gpus),
                kind,
                (begin, depends, retries, network, limit),
                constraints,
                moving,
                tags,
            )| {
                let job = LiveJob {
                    array: kind.and_then(|(first, length, step)| {
                        ArrayRange::new(first, first + length, step, Some(2))
                    }),
                    owner: owner.into(),
                    project: project.into(),
                    class: network.then(|| project.into()),
                    name,
                    named: constraints.keys().map(|key| (key.clone(), cpus)).collect(),
                    constraints,
                    needs: Resources { cpu_millis: cpus * 1_000, memory_bytes: memory, gpus },
                    time_limit_ms: limit,
                    begin: begin.map(UtcMs),
                    dependencies: depends
                        .into_iter()
                        .map(|(on, ok)| Dependency {
                            on: JobId(on),
                            kind: if ok { DependencyKind::AfterOk } else { DependencyKind::AfterNotOk },
                        })
                        .collect(),
                    retry_on_node_failure: retries,
                    wants_network: network,
                    avoid_failed_nodes: retries > 1,
                    moving,
                    ..build::job(0)
                };
                (Box::new(job), tags.into_iter().map(str::to_owned).collect())
            },
        )
}

fn deed() -> impl Strategy<Value = Deed> {
    let index = any::<sample::Index>;
    let kind = prop_oneof![
        words().prop_map(|text| EventKind::Note { text }),
        words().prop_map(|text| EventKind::Message { text }),
        (attempt(), words()).prop_map(|(attempt, node)| EventKind::Starting { attempt, node }),
        end().prop_map(|end| EventKind::Ended { end, exit: Some(Exit { code: Some(3), ..Exit::default() }) }),
    ];
    prop_oneof![
        2 => job().prop_map(|(job, tags)| Deed::Add(job, tags)),
        3 => (index(), index(), moving()).prop_map(|(array, position, now)| Deed::AddTask(array, position, Box::new(now))),
        4 => (index(), moving()).prop_map(|(job, now)| Deed::Update(job, Box::new(now))),
        2 => (index(), kind).prop_map(|(job, kind)| Deed::Record(job, kind)),
        1 => charge(),
        1 => (index(), 1u64..9, any::<bool>()).prop_map(|(job, cpus, sky)| Deed::Alter(job, cpus, sky)),
        1 => account(),
        1 => closure(),
        2 => (index(), 1u32..3, any::<u32>()).prop_map(|(job, after, bytes)| Deed::Measure(job, after, bytes.into())),
        1 => (index(), 0u64..4).prop_map(|(job, tasks)| Deed::Remove(job, tasks)),
    ]
}

fn query() -> impl Strategy<Value = ListQuery> {
    let name =
        option::of(sample::select(vec!["a", "a*", "*", "?", "[a", "[*", "*é?"]).prop_map(str::to_owned));
    let states = prop_oneof![
        Just(Vec::new()),
        collection::vec(sample::select(&StateKind::ALL[..]), 1..4),
        Just(StateKind::ALL.into_iter().filter(|state| !state.is_end()).collect()),
    ];
    let who = (
        option::of(Just("bob".to_owned())),
        option::of(Just("sky".to_owned())),
        name,
        option::of(Just("red".to_owned())),
    );
    let range =
        (option::of((0u64..60).prop_map(JobId)), option::of((0u64..60).prop_map(JobId)), option::of(0u64..9));
    (states, who, any::<bool>(), range, any::<bool>()).prop_map(
        |(states, (owner, project, name, tag), tasks, (after, before, limit), newest_first)| ListQuery {
            states,
            owner,
            project,
            name,
            tag,
            tasks,
            after,
            before,
            limit,
            newest_first,
        },
    )
}

/// Makes a deed a change that fits what is there, and lets the model know it.
fn become_change(deed: Deed, model: &mut Model) -> Vec<Change> {
    let any_job = |index: sample::Index, model: &Model| {
        (!model.jobs.is_empty()).then(|| *model.jobs.keys().nth(index.index(model.jobs.len())).unwrap())
    };
    let changes = match deed {
        Deed::Add(job, tags) => {
            let id = model.next_id.unwrap_or(JobId(1));
            let job = LiveJob { id, ..*job };
            let mut submission = build::submission(&job);
            submission.spec.tags = tags;
            let next = JobId(id.0 + 1 + job.array.map_or(0, |range| range.tasks()));
            vec![Change::NextId(next), Change::Added { job: Box::new(job), submission: Arc::new(submission) }]
        }
        Deed::AddTask(array, position, now) => {
            let arrays: Vec<_> =
                model.jobs.values().filter(|job| job.array.is_some() && job.task_of.is_none()).collect();
            if arrays.is_empty() {
                return Vec::new();
            }
            let array = arrays[array.index(arrays.len())];
            let tasks = usize::try_from(array.array.unwrap().tasks()).unwrap();
            let task = build::task(array, position.index(tasks) as u64);
            vec![build::task_added(&LiveJob { moving: *now, ..task })]
        }
        Deed::Update(index, now) => {
            any_job(index, model).map(|job| Change::Updated { job, now }).into_iter().collect()
        }
        Deed::Alter(index, cpus, sky) => {
            let own: Vec<_> = model.jobs.values().filter(|job| job.task_of.is_none()).collect();
            if own.is_empty() {
                return Vec::new();
            }
            let job = own[index.index(own.len())];
            let mut submission = model.submissions[&job.id].clone();
            submission.spec.resources.cpu_millis = cpus * 1_000;
            submission.spec.project = if sky { "sky" } else { "default" }.into();
            submission.spec.time_limit = sky.then_some(std::time::Duration::from_secs(cpus));
            vec![Change::Altered { job: job.id, submission: Arc::new(submission) }]
        }
        Deed::Measure(index, after, bytes) => {
            any_job(index, model).map(|job| Change::Directory { job, after, bytes }).into_iter().collect()
        }
        Deed::Remove(index, tasks) => any_job(index, model)
            .map(|first| Change::DirectoriesGone { first, last: JobId(first.0 + tasks) })
            .into_iter()
            .collect(),
        Deed::Charge { kind, name, hour, used } => vec![Change::Charged { kind, name, hour, used }],
        Deed::SetAccount { kind, name, version, terms } => {
            vec![Change::Account { kind, name, version, terms }]
        }
        Deed::SetClosure { kind, name, version, terms } => {
            vec![Change::Closure { kind, name, version, terms }]
        }
        Deed::Record(index, kind) => any_job(index, model)
            .map(|job| Change::Event(JobEventRecord { job, at: UtcMs(7), kind }))
            .into_iter()
            .collect(),
    };
    changes.iter().for_each(|change| model.apply(change));
    changes
}

/// What is written is what is read, after every batch and after every opening.
pub fn what_is_written_is_read<K: Kit>() {
    let batches = collection::vec(collection::vec(deed(), 0..12), 1..8);
    let queries = collection::vec(query(), 6);
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(batches in batches, queries in queries, reopen in 1usize..4)| {
        super::run(async move {
            let kit = K::fresh();
            let mut store = kit.open().await;
            let mut model = Model::default();
            for (number, batch) in batches.into_iter().enumerate() {
                let first_event = model.events.len() as u64 + 1;
                let changes: Vec<_> = batch.into_iter().flat_map(|deed| become_change(deed, &mut model)).collect();
                let committed = store.commit(Arc::new(Batch::from(changes))).await.unwrap();
                assert_eq!(committed.first_event, first_event);
                assert_eq!(first_event + committed.events, model.events.len() as u64 + 1);
                if number % reopen == 0 {
                    drop(store);
                    store = kit.open().await;
                }
                assert_eq!(store.restore().await.unwrap(), model.restored());
            }
            compare_jobs(&store, &model).await;
            for query in &queries {
                assert_eq!(store.list(query.clone()).await.unwrap(), model.list(query), "{query:?}");
            }
            compare_sums(&store, &model).await;
        });
    });
}

async fn compare_jobs(store: &impl Store, model: &Model) {
    let beyond = JobId(model.next_id.map_or(3, |next| next.0 + 2));
    let ids: Vec<_> = (0..=beyond.0).map(JobId).collect();
    let expected: Vec<_> = ids.iter().filter_map(|&id| Some((id, model.state_of(id)?))).collect();
    assert_eq!(store.state_of(&ids).await.unwrap(), expected);
    for id in ids {
        let found = store.job(id).await.unwrap();
        assert_eq!(found.as_ref().map(|found| &found.job), model.job(id).as_ref());
        assert_eq!(store.live_job(id).await.unwrap(), model.live_job(id));
        assert_eq!(store.submission(id).await.unwrap().as_deref(), model.submission(id));
        if let Some(found) = found {
            assert_eq!(Some(&found.submission), model.submission(id));
        }
        assert_eq!(store.history(id).await.unwrap(), model.history(Some(id)));
        compare_tasks(store, model, id).await;
    }
}

async fn compare_tasks(store: &impl Store, model: &Model, array: JobId) {
    let found = store.tasks_of(array, TaskQuery::default()).await.unwrap();
    let expected: Vec<_> = model.tasks(array).map(|(_, task)| row(task)).collect();
    assert_eq!(found.rows, expected);
    assert_eq!(found.counts, count(model.tasks(array).map(|(_, task)| task)));
    let states = vec![StateKind::Succeeded, StateKind::Running];
    let some = TaskQuery { states: states.clone(), after_position: Some(1), limit: Some(2) };
    let some = store.tasks_of(array, some).await.unwrap();
    let expected: BTreeMap<_, _> = model
        .tasks(array)
        .filter(|(at, task)| *at > 1 && states.contains(&task.moving.state.kind()))
        .collect();
    assert_eq!(some.counts, found.counts);
    assert_eq!(some.rows, expected.into_values().take(2).map(row).collect::<Vec<_>>());
}

async fn compare_sums(store: &impl Store, model: &Model) {
    assert_eq!(store.last_event().await.unwrap(), model.events.len() as u64);
    let all = model.history(None);
    assert_eq!(store.events_after(0, u64::MAX).await.unwrap(), all);
    let some: Vec<_> = all.into_iter().skip(2).take(3).collect();
    assert_eq!(store.events_after(2, 3).await.unwrap(), some);
    for since in [UtcMs(0), UtcMs(3_000)] {
        assert_eq!(store.counts(since).await.unwrap(), model.counts(since));
        for by in [UsageBy::User, UsageBy::Project] {
            assert_eq!(store.usage(by, since).await.unwrap(), model.usage(by, since));
        }
    }
}
