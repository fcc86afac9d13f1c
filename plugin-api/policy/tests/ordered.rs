//! `Ordered` against the plainest way to say what it does.

use std::collections::{BTreeMap, BTreeSet};

use berth_policy_sdk::{
    Info, JobId, NodeId, Order, Ordered, PendingJob, Resources, info,
    testing::{Breach, Host, JobBuilder, job, node},
};
use proptest::prelude::*;

#[derive(Default)]
struct Smallest;

impl Order for Smallest {
    type Key = u64;

    fn describe() -> Info {
        info!("smallest", "who asks for least memory goes first")
    }

    fn key(&self, job: &PendingJob) -> u64 {
        job.needs.memory_bytes
    }
}

type Smallests = Host<Ordered<Smallest>>;

/// Nodes 1 to 3; placement 0 is all of them, 1 is the first two, 2 the last, 3 none that exists.
fn placements() -> BTreeMap<u32, Vec<NodeId>> {
    BTreeMap::from([(0, vec![1, 2, 3]), (1, vec![1, 2]), (2, vec![3]), (3, vec![9])])
}

fn host(most: u32) -> Smallests {
    let mut host = Smallests::new(&[]).expect("it needs no settings");
    host.most = most;
    host.nodes([node(1, 8, 20, 0), node(2, 4, 40, 2), node(3, 16, 10, 1)]);
    for (id, nodes) in placements() {
        host.placement(id, nodes);
    }
    host
}

/// All starts, by looking at every job in its turn and at every node for every task.
fn naive(host: &Smallests) -> Vec<(JobId, u32)> {
    let mut room: BTreeMap<NodeId, Resources> = host.room().iter().map(|r| (r.node, r.free)).collect();
    let mut jobs: Vec<&PendingJob> = host.waiting().collect();
    jobs.sort_by_key(|job| (job.needs.memory_bytes, job.id));
    let (mut left, mut closed, mut starts) = (host.most, BTreeSet::new(), Vec::new());
    for job in jobs {
        let nodes = placements().remove(&job.placement).unwrap_or_default();
        let mut placed = 0;
        while placed < job.count.min(left) && !closed.contains(&job.placement) {
            let fits =
                |(node, free): &(&NodeId, &mut Resources)| nodes.contains(node) && job.needs.fits_in(free);
            match room.iter_mut().find(fits) {
                Some((_, free)) => job.needs.take_from(free, 1),
                None => {
                    closed.insert(job.placement);
                    break;
                }
            }
            placed += 1;
        }
        left -= placed;
        if placed > 0 {
            starts.push((job.id, placed));
        }
    }
    starts
}

#[derive(Clone, Debug)]
enum Op {
    Submit(Vec<(JobId, u32, u64, u64, u32, u32)>),
    Withdraw(Vec<JobId>),
    Close(NodeId, bool),
    Turn,
    End(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let submitted = (0..40_u64, 1..6_u32, 0..9_u64, 0..25_u64, 0..3_u32, 0..4_u32);
    let op = prop_oneof![
        3 => prop::collection::vec(submitted, 1..8).prop_map(Op::Submit),
        1 => prop::collection::vec(0..40_u64, 1..4).prop_map(Op::Withdraw),
        1 => (1..4_u32, any::<bool>()).prop_map(|(node, usable)| Op::Close(node, usable)),
        3 => Just(Op::Turn),
        2 => (0..20_usize).prop_map(Op::End),
    ];
    prop::collection::vec(op, 1..40)
}

fn built((id, count, cpu, memory, gpus, placement): (JobId, u32, u64, u64, u32, u32)) -> JobBuilder {
    job(id).tasks(count).cpu(cpu).memory(memory).gpus(gpus).placement(placement)
}

proptest! {
    #[test]
    fn plans_are_those_of_the_naive_walk_and_keep_to_the_contract(ops in ops(), most in 1..20_u32) {
        let mut host = host(most);
        for op in ops {
            match op {
                Op::Submit(jobs) => {
                    let running: BTreeSet<JobId> = host.running().into_iter().collect();
                    host.submit(jobs.into_iter().filter(|job| !running.contains(&job.0)).map(built));
                }
                Op::Withdraw(jobs) => host.withdraw(jobs),
                Op::Close(number, usable) => {
                    let mut changed = node(number, 8, 20, 1);
                    changed.usable = usable;
                    // A running job keeps what it has: the node must not shrink under it.
                    if host.running().is_empty() {
                        host.nodes([changed]);
                    }
                }
                Op::Turn => {
                    let expected = naive(&host);
                    prop_assert_eq!(host.check_fresh(0), Ok(()));
                    let started = host.turn(0).unwrap();
                    let starts: Vec<_> = started.plan.starts.iter().map(|s| (s.job, s.count)).collect();
                    prop_assert_eq!(starts, expected);
                    prop_assert_eq!(started.passed_over(), host.waiting().count() as u64);
                }
                Op::End(number) => {
                    let ended: Vec<JobId> = host.running().into_iter().take(number).collect();
                    host.end(ended);
                }
            }
        }
    }
}

#[test]
fn nobody_is_overtaken_by_those_who_wait_for_the_same_nodes() {
    let mut host = host(100);
    host.submit([job(1).cpu(99).memory(1).placement(1), job(2).cpu(1).memory(2).placement(1)]);
    host.submit([job(3).cpu(1).memory(3).placement(2)]);
    assert_eq!(host.turn(0).unwrap().jobs(), [3]);
    host.withdraw([1]);
    assert_eq!(host.turn(0).unwrap().jobs(), [2]);
}

#[test]
fn an_array_starts_as_many_tasks_as_there_is_room_for() {
    let mut host = host(1000);
    host.submit([job(1).tasks(1_000_000).cpu(3).placement(0)]);
    let started = host.turn(0).unwrap();
    assert_eq!(started.plan.starts.iter().map(|start| start.count).sum::<u32>(), 2 + 1 + 5);
    host.end(started.running.iter().take(2).map(|&(task, ..)| task));
    assert_eq!(host.turn(0).unwrap().running.len(), 2);
    assert_eq!(host.waiting().next().unwrap().count, 1_000_000 - 10);
}

#[test]
fn users_are_told_where_they_stand() {
    let mut host = host(100);
    host.submit([job(1).cpu(99).memory(1), job(2).memory(2), job(3).memory(3), job(4).placement(3)]);
    let reasons: BTreeMap<String, u64> =
        host.turn(0).unwrap().plan.passed_over.into_iter().map(|class| (class.words, class.jobs)).collect();
    assert_eq!(reasons.into_values().collect::<Vec<_>>(), [1, 1, 2], "a reason each, with its jobs");
    let explain = |job| host.explain(0, job).unwrap();
    assert!(explain(1).starts_with("it is the next to start"), "{}", explain(1));
    assert!(explain(2).starts_with("1 job that waits"), "{}", explain(2));
    assert!(explain(3).starts_with("2 jobs that wait"), "{}", explain(3));
    assert!(explain(3).contains("the first of them, 1, waits for room"), "{}", explain(3));
    assert_eq!(host.explain(0, 5), None);
}

#[test]
fn the_kit_finds_each_breach() {
    use berth_policy_sdk::{
        Error, InstantMs, NodeRoom, Plan, Scheduler, Settings, bad_settings,
        scheduler::{Placement, Start},
    };

    /// Answers with what its setting says: `job count`, with commas.
    struct Scripted(Vec<Start>);

    impl Scheduler for Scripted {
        fn describe() -> Info {
            info!("scripted", "answers what it is set to")
        }
        fn configure(settings: &mut Settings) -> Result<Self, Error> {
            let start = |entry: &String| {
                let (job, count) = entry.split_once(' ')?;
                Some(Start { job: job.parse().ok()?, count: count.parse().ok()?, node: None })
            };
            let starts: Option<Vec<Start>> = settings.list("starts").iter().map(start).collect();
            starts.map(Self).ok_or_else(|| bad_settings("starts"))
        }
        fn placements(&mut self, _: Vec<Placement>) {}
        fn pending(&mut self, _: Vec<PendingJob>) {}
        fn withdrawn(&mut self, _: Vec<JobId>) {}
        fn plan(&mut self, _: InstantMs, _: Vec<NodeRoom>, _: u32) -> Result<Plan, Error> {
            let (starts, none) = (self.0.clone(), Vec::new());
            Ok(Plan { starts, reservations: vec![], rejections: vec![], passed_over: none, wake_at_ms: None })
        }
        fn known(&mut self) -> u64 {
            2
        }
    }

    let answer = |starts: &str| {
        let mut host = Host::<Scripted>::new(&[("starts", starts)]).unwrap();
        host.most = 6;
        host.nodes([node(1, 4, 0, 0)]);
        host.submit([job(1).cpu(1).tasks(9), job(2)]);
        host.turn(0).map(|started| started.running.len())
    };
    assert_eq!(answer("1 4,2 1"), Ok(5));
    assert_eq!(answer("3 1"), Err(Breach::Unknown(3)));
    assert_eq!(answer("2 1,2 1"), Err(Breach::Twice(2)));
    assert_eq!(answer("2 2"), Err(Breach::Count { job: 2, started: 2, may: 1 }));
    assert_eq!(answer("2 0"), Err(Breach::Count { job: 2, started: 0, may: 1 }));
    assert_eq!(answer("1 5"), Err(Breach::NoRoom(1)));
    let mut host = Host::<Scripted>::new(&[("starts", "1 2")]).unwrap();
    host.most = 1;
    host.nodes([node(1, 4, 0, 0)]);
    host.submit([job(1).tasks(2)]);
    assert_eq!(host.turn(0), Err(Breach::Len { says: 2, are: 1 }));
    host.submit([job(2)]);
    assert_eq!(host.turn(0), Err(Breach::TooMany));
}
