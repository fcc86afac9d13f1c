//! Whatever happens, in whatever order: the rules that must never be broken (DESIGN, section 8) as far
//! as the engine holds them by itself.

// A property that does not hold stops the test wherever it is found.
#![allow(clippy::panic, clippy::indexing_slicing)]

mod site;

use std::{collections::BTreeMap, time::Duration};

use berth_engine::{Actor, ClassBounds, Command, Input, OnBreach, QuotaSettings};
use berth_model::{
    Closure, ClosureKind, Dependency, DependencyKind, End, JobId, JobSpec, JobState, Limits, NamedAmounts,
    StateKind, WaitReason,
};
use proptest::prelude::*;
use site::{Manner, Site, array, closure, cpus};

/// Something that can happen. Numbers choose among what there is, modulo how much that is.
#[derive(Clone, Debug)]
enum Happening {
    Submit {
        cpus: u64,
        after: Option<(usize, DependencyKind)>,
        hold: bool,
        retries: u32,
        limited: bool,
        named: Option<(&'static str, u64)>,
        classed: bool,
        whose: &'static str,
        avoids: bool,
    },
    SubmitArray {
        tasks: u64,
        bound: Option<u32>,
        named: Option<(&'static str, u64)>,
        classed: bool,
        avoids: bool,
    },
    Close {
        kind: ClosureKind,
        node: Option<u32>,
        from: Option<u64>,
        until: Option<u64>,
        whose: Option<&'static str>,
        project: bool,
    },
    Open(usize),
    Kill(usize),
    Hold(usize),
    Release(usize),
    Suspend(usize),
    Resume(usize),
    Rerun(usize),
    Deliver(usize),
    Double(usize),
    LoseReport(usize),
    Finish {
        which: usize,
        code: i32,
    },
    NodeGone(usize),
    Full(bool),
    Mute(bool),
    Away,
    Back,
    Misbehave(Manner),
    Alter {
        which: usize,
        cpus: u64,
        priority: i32,
        again: bool,
    },
    LimitAnew {
        which: usize,
        seconds: u64,
    },
    Measured {
        which: usize,
        stale: bool,
        bytes: u64,
    },
    DirectoryGone(usize),
    Crash {
        before_write: bool,
        effects: usize,
        with_input: bool,
    },
    Advance(u64),
}

/// The class of some of the jobs.
const CLASS: &str = "short";

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    let kind = prop::sample::select(vec![
        DependencyKind::AfterOk,
        DependencyKind::AfterAny,
        DependencyKind::AfterNotOk,
    ]);
    let after = prop::option::weighted(0.3, (any::<usize>(), kind));
    let manner = prop::sample::select(vec![
        Manner::Twice,
        Manner::Unknown,
        Manner::Greedy,
        Manner::TooMany,
        Manner::Fails,
        Manner::Rejects,
    ]);
    let names = prop::sample::select(vec![site::GPU, site::SCRATCH, site::LICENCE]);
    let named = prop::option::weighted(0.4, (names, 1u64..3));
    let retries = prop_oneof![3 => Just(0u32), 1 => 1u32..3];
    prop_oneof![
        6 => (
            (1u64..4, after, prop::bool::weighted(0.1), retries, any::<bool>(), named.clone(), any::<bool>()),
            (prop::sample::select(vec!["ada", "ada", "bob"]), prop::bool::weighted(0.3)),
        )
            .prop_map(|((cpus, after, hold, retries, limited, named, classed), (whose, avoids))| {
                H::Submit { cpus, after, hold, retries, limited, named, classed, whose, avoids }
            }),
        2 => (1u64..30, prop::option::of(1u32..4), named, any::<bool>(), prop::bool::weighted(0.3)).prop_map(
            |(tasks, bound, named, classed, avoids)| H::SubmitArray { tasks, bound, named, classed, avoids },
        ),
        2 => closing(),
        1 => any::<usize>().prop_map(H::Open),
        3 => any::<usize>().prop_map(H::Kill),
        1 => any::<usize>().prop_map(H::Hold),
        1 => any::<usize>().prop_map(H::Release),
        1 => any::<usize>().prop_map(H::Suspend),
        1 => any::<usize>().prop_map(H::Resume),
        2 => any::<usize>().prop_map(H::Rerun),
        12 => (0usize..4).prop_map(H::Deliver),
        2 => any::<usize>().prop_map(H::Double),
        2 => any::<usize>().prop_map(H::LoseReport),
        6 => (any::<usize>(), prop::sample::select(vec![0, 0, 1, 9]))
            .prop_map(|(which, code)| H::Finish { which, code }),
        1 => any::<usize>().prop_map(H::NodeGone),
        1 => any::<bool>().prop_map(H::Full),
        1 => any::<bool>().prop_map(H::Mute),
        1 => Just(H::Away),
        2 => Just(H::Back),
        1 => manner.prop_map(H::Misbehave),
        2 => (any::<usize>(), 1u64..4, 0i32..3, any::<bool>())
            .prop_map(|(which, cpus, priority, again)| H::Alter { which, cpus, priority, again }),
        3 => (any::<usize>(), 1u64..300).prop_map(|(which, seconds)| H::LimitAnew { which, seconds }),
        3 => (any::<usize>(), prop::bool::weighted(0.2), 1u64..100)
            .prop_map(|(which, stale, bytes)| H::Measured { which, stale, bytes }),
        1 => any::<usize>().prop_map(H::DirectoryGone),
        3 => (any::<bool>(), 0usize..4, any::<bool>()).prop_map(|(before_write, effects, with_input)| {
            H::Crash { before_write, effects, with_input }
        }),
        2 => (1u64..90_000).prop_map(H::Advance),
    ]
}

/// Nodes are closed, now or within minutes, for a while or for ever, to all or to some.
fn closing() -> impl Strategy<Value = Happening> {
    let kind = prop::sample::select(vec![
        ClosureKind::Drain,
        ClosureKind::Maintenance,
        ClosureKind::Reservation,
        ClosureKind::Reservation,
    ]);
    let from = prop::option::of(0u64..200_000);
    let until = prop::option::weighted(0.7, 1u64..300_000);
    let whose = prop::option::of(prop::sample::select(vec!["ada", "bob"]));
    (kind, prop::option::of(0u32..3), from, until, whose, any::<bool>()).prop_map(
        |(kind, node, from, until, whose, project)| Happening::Close {
            kind,
            node,
            from,
            until,
            whose,
            project,
        },
    )
}

/// Quotas that are met within the hour: of executions, of CPU time, of what runs at once, of what lies on the disk.
fn quotas() -> impl Strategy<Value = QuotaSettings> {
    let limits = prop_oneof![
        (1u64..6).prop_map(|jobs| Limits { jobs: Some(jobs), ..Limits::default() }),
        (4u64..12).prop_map(|minutes| Limits { cpu_ms: Some(minutes * 60_000), ..Limits::default() }),
        (1u64..4).prop_map(|jobs| Limits { running_jobs: Some(jobs), ..Limits::default() }),
        (3u64..6).prop_map(|cpus| Limits { running_cpu_millis: Some(cpus * 1000), ..Limits::default() }),
        (50u64..400).prop_map(|bytes| Limits { disk_bytes: Some(bytes), ..Limits::default() }),
    ];
    let on_breach = prop_oneof![3 => Just(OnBreach::Wait), 1 => Just(OnBreach::Reject)];
    // Of the user, or of the class, or of the user's part of it.
    (limits, 0..3, on_breach).prop_map(|(limits, whose, on_breach)| QuotaSettings {
        user: if whose == 0 { limits } else { Limits::default() },
        classes: BTreeMap::from([(
            CLASS.to_owned(),
            match whose {
                1 => ClassBounds { all: Limits { disk_bytes: None, ..limits }, user: Limits::default() },
                2 => ClassBounds { all: Limits::default(), user: Limits { disk_bytes: None, ..limits } },
                _ => ClassBounds::default(),
            },
        )]),
        on_breach,
        period_ms: 3_600_000,
        ..QuotaSettings::default()
    })
}

fn happen(site: &mut Site, happening: &Happening) {
    use Happening as H;
    let pick = |site: &Site, which: usize| {
        let all: Vec<JobId> = site.store.jobs().map(|job| job.id).collect();
        (!all.is_empty()).then(|| all[which % all.len()])
    };
    let actor = || Actor { name: "ada".into(), administrator: false };
    match *happening {
        H::Submit { cpus: count, after, hold, retries, limited, named, classed, whose, avoids } => {
            let on = after.and_then(|(which, kind)| Some(Dependency { on: pick(site, which)?, kind }));
            let spec = JobSpec {
                dependencies: on.into_iter().collect(),
                hold,
                retry_on_node_failure: retries,
                avoid_failed_nodes: avoids,
                time_limit: limited.then_some(Duration::from_secs(60)),
                named: amounts(named),
                class: classed.then(|| CLASS.to_owned()),
                ..cpus(count)
            };
            // An impossible dependency is refused; all else is accepted.
            let _ = site.try_submit_as(whose, spec);
        }
        H::SubmitArray { tasks, bound, named, classed, avoids } => {
            let bound = bound.map(|bound| format!("%{bound}")).unwrap_or_default();
            let array = array(&format!("1-{tasks}{bound}"));
            let class = classed.then(|| CLASS.to_owned());
            let spec = JobSpec { named: amounts(named), class, avoid_failed_nodes: avoids, ..array };
            let _ = site.try_submit(spec);
        }
        H::Close { kind, node, from, until, whose, project } => {
            let node = node.map_or_else(|| "*".to_owned(), |number| format!("{}/n{number}", site::EXECUTOR));
            let (name, nodes) = match kind {
                ClosureKind::Drain => (node.clone(), node.as_str()),
                ClosureKind::Maintenance => (Closure::SITE.to_owned(), "*"),
                ClosureKind::Reservation => ("r".to_owned(), node.as_str()),
            };
            let is_own = kind == ClosureKind::Reservation;
            let at = |from_now: Option<u64>| from_now.map(|ms| site.now.after(Duration::from_millis(ms)));
            let terms = Closure {
                from: at(from.filter(|_| is_own)),
                until: at(until),
                users: whose.filter(|_| is_own).into_iter().map(str::to_owned).collect(),
                projects: (is_own && project).then(|| "p1".to_owned()).into_iter().collect(),
                ..closure(&[nodes])
            };
            // A node that there is not, or no time in it, is refused.
            let _ = site.close(kind, &name, Some(terms));
        }
        H::Open(which) => {
            let all: Vec<_> = site.store.closures.keys().cloned().collect();
            if let Some((kind, name)) = all.get(which % all.len().max(1)) {
                site.close(*kind, name, None).expect("what is closed can be opened");
            }
        }
        H::Deliver(which) => {
            if !site.inbox.is_empty() {
                let input = site.inbox.remove(which.min(site.inbox.len() - 1));
                site.feed(input);
            }
        }
        H::Double(which) => {
            let reports = || site.inbox.iter().filter(|input| is_report(input));
            let doubled = reports().nth(which % reports().count().max(1)).cloned();
            site.inbox.extend(doubled);
        }
        H::LoseReport(which) => {
            if !site.inbox.is_empty() {
                let which = which % site.inbox.len();
                if is_report(&site.inbox[which]) {
                    site.inbox.remove(which);
                }
            }
        }
        H::Finish { which, code } => {
            let running = site.back_end.running();
            if !running.is_empty() {
                let reports = site.back_end.finish(&running[which % running.len()], code, site.now);
                site.inbox.extend(reports);
            }
        }
        H::NodeGone(which) => {
            let running = site.back_end.running();
            if !running.is_empty() {
                let reports = site.back_end.lose(&running[which % running.len()], site.now);
                site.inbox.extend(reports);
            }
        }
        H::Full(full) => site.back_end.full = full,
        H::Mute(mute) => site.back_end.mute = mute,
        H::Away => site.feed(Input::Away { executor: site::EXECUTOR.into(), words: "gone".into() }),
        H::Back => site.feed(Input::Back { executor: site::EXECUTOR.into() }),
        H::Misbehave(manner) => site.policy.manner = manner,
        H::Alter { which, cpus, priority, again } => {
            if let Some(job) = pick(site, which) {
                let change = |spec: &mut JobSpec| {
                    spec.resources.cpu_millis = cpus * 1000;
                    spec.priority = priority;
                    spec.project = format!("p{priority}");
                };
                let _ = if again { site.rerun_with(job, change) } else { site.alter(job, change) };
            }
        }
        H::LimitAnew { which, seconds } => {
            if let Some(job) = pick(site, which) {
                let _ = site.alter(job, |spec| spec.time_limit = Some(Duration::from_secs(seconds)));
            }
        }
        H::Measured { which, stale, bytes } => {
            if let Some(job) = pick(site, which) {
                let stored = &site.store.jobs().find(|stored| stored.id == job).expect("picked").moving;
                let over = if stored.state.kind().is_end() { 0 } else { 1 };
                let after = stored.attempt.number - over - u32::from(stale && stored.attempt.number > over);
                site.measured(job, after, bytes);
            }
        }
        H::DirectoryGone(which) => {
            if let Some(job) = pick(site, which) {
                let _ = site.command(Command::DirectoryGone { job, tasks: 0 });
            }
        }
        H::Crash { before_write, effects, with_input } => {
            let input = (with_input && !site.inbox.is_empty()).then(|| site.inbox.remove(0));
            site.crash(input, !before_write, effects);
        }
        H::Advance(ms) => {
            site.now = site.now.after(Duration::from_millis(ms));
            site.feed(Input::Tick);
        }
        H::Kill(which)
        | H::Hold(which)
        | H::Release(which)
        | H::Suspend(which)
        | H::Resume(which)
        | H::Rerun(which) => {
            let Some(job) = pick(site, which) else { return };
            let _ = match happening {
                H::Kill(_) => site.kill(job),
                H::Hold(_) => site.command(Command::Hold { job, by: actor() }),
                H::Release(_) => site.command(Command::Release { job, by: actor() }),
                H::Suspend(_) => site.command(Command::Suspend { job }),
                H::Resume(_) => site.command(Command::Resume { job }),
                _ => site.rerun(job),
            };
        }
    }
    check(site);
}

fn amounts(named: Option<(&str, u64)>) -> NamedAmounts {
    named.into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect()
}

fn is_report(input: &Input) -> bool {
    matches!(input, Input::Reported(_))
}

/// What holds at every moment.
fn check(site: &Site) {
    for (&(job, attempt), &runs) in &site.back_end.runs {
        assert!(runs <= 1, "attempt {attempt} of job {job} ran {runs} times");
    }
    let (breaches, misbehaved) = (&site.breaches, site.misbehaved);
    assert!(breaches.len() <= misbehaved, "a policy that kept to what it was told is struck: {breaches:?}");
    for &job in &site.acknowledged {
        assert!(site.store.state(job).is_some(), "job {job} was acknowledged and is forgotten");
    }
}

/// What holds when all is over: every end is what really happened.
fn check_ends(site: &Site) {
    for job in site.store.jobs().filter(|job| job.array.is_none()) {
        let state = &job.moving.state;
        let JobState::Ended { end } = state else {
            panic!("job {} has not ended: {state:?}", job.id);
        };
        let ran = site.back_end.runs.contains_key(&(job.id, job.moving.attempt.number));
        let exit = site.back_end.exits.get(&(job.id, job.moving.attempt.number));
        match &**end {
            End::Succeeded => assert_eq!(exit.and_then(|exit| exit.code), Some(0), "job {}", job.id),
            End::Failed { exit_code: Some(code), .. } => {
                assert_eq!(exit.and_then(|exit| exit.code), Some(*code), "job {}", job.id);
            }
            End::Rejected { .. } => assert!(!ran, "job {} was rejected and ran", job.id),
            End::Failed { .. } | End::Killed { .. } | End::Lost { .. } => {}
        }
    }
}

/// Everything is mended, and everybody gets time to finish.
fn mend(site: &mut Site) {
    site.back_end.full = false;
    site.back_end.mute = false;
    site.policy.manner = Manner::Good;
    site.feed(Input::Back { executor: site::EXECUTOR.into() });
    site.settle_all();
    let held: Vec<JobId> = site
        .store
        .jobs()
        .filter(|job| job.moving.state.kind() == StateKind::Held)
        .map(|job| job.id)
        .collect();
    for job in held {
        let by = Actor { name: "root".into(), administrator: true };
        let _ = site.command(Command::Release { job, by });
    }
    let closed: Vec<_> = site.store.closures.keys().cloned().collect();
    for (kind, name) in closed {
        site.close(kind, &name, None).expect("what is closed can be opened");
    }
    // Whoever waits for room on the disk waits until somebody clears up.
    let jobs: Vec<JobId> = site.store.jobs().map(|job| job.id).collect();
    for job in jobs {
        let _ = site.command(Command::DirectoryGone { job, tasks: 0 });
    }
    // Whoever waits for a quota waits until use falls out of its period. Reports may have been lost on the way; a
    // reconnect brings the truth.
    for _ in 0..3000 {
        site.feed(Input::Back { executor: site::EXECUTOR.into() });
        site.run_dry(0);
        give_up_where_all_failed(site);
        if site.store.jobs().all(|job| job.moving.state.kind().is_end()) {
            break;
        }
        site.advance(Duration::from_secs(1800));
        site.run_dry(0);
    }
}

/// Who has failed on every node and avoids them all waits for a node that there is not.
fn give_up_where_all_failed(site: &mut Site) {
    let waits = |job: JobId| site.store.state(job).is_some_and(|state| state.kind() == StateKind::Pending);
    let all: Vec<JobId> = site.store.jobs().map(|job| job.id).filter(|&job| waits(job)).collect();
    for job in all {
        let avoids_all = site.engine.view(job).is_some_and(|view| {
            let avoids = |reason: &WaitReason| matches!(reason, WaitReason::Avoids { .. });
            !view.reasons.is_empty() && view.reasons.iter().all(avoids)
        });
        if avoids_all {
            let _ = site.kill(job);
            site.settle_all();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_forgotten_doubled_overbooked_or_misreported(
        nodes in prop::collection::vec(3u64..6, 1..3),
        queues in any::<bool>(),
        quotas in prop::option::weighted(0.5, quotas()),
        asks in any::<bool>(),
        happenings in prop::collection::vec(happening(), 1..120),
    ) {
        let mut site = match (queues, nodes.as_slice()) {
            (true, [cpus]) => Site::that_queues(*cpus),
            _ => Site::with_nodes(&nodes),
        };
        if let Some(quotas) = quotas {
            site.set_quotas(quotas);
        }
        if asks {
            site.ask_before_starts();
        }
        for happening in &happenings {
            happen(&mut site, happening);
        }
        mend(&mut site);
        check(&site);
        check_ends(&site);
        prop_assert!(site.back_end.running().is_empty());
        let unfinished: Vec<_> = site.store.jobs().filter(|job| !job.moving.state.kind().is_end()).collect();
        prop_assert!(unfinished.is_empty(), "{unfinished:?}");
        let lost = |job| matches!(site.store.state(job), Some(JobState::Ended { end }) if matches!(**end, End::Lost { .. }));
        let left: Vec<_> = site.back_end.attempts().into_iter().filter(|&(job, _)| !lost(job)).collect();
        prop_assert!(left.is_empty(), "the back end still keeps {left:?}");
        prop_assert!(site.let_in.is_empty(), "nobody was told of the ends of {:?}", site.let_in);
    }

    #[test]
    fn the_same_inputs_give_the_same_outcomes(
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let run = || {
            let mut site = Site::with_nodes(&[4]);
            for happening in &happenings {
                happen(&mut site, happening);
            }
            let jobs: Vec<_> = site.store.jobs().cloned().collect();
            (jobs, site.store.history, site.inbox)
        };
        prop_assert_eq!(run(), run());
    }
}
