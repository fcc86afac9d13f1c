//! `fairshare` against a model straight from the definitions, natively and as the component that ships.

// A test that stops here has failed, and should.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path};

use berth_engine::{
    AccountTold, Faded, NodeId, NodeTold, PendingTold, PlacementTold, PlanRequest, Room, RunningTold, Told,
    WhoseTold,
};
use berth_model::{JobId, Resources, Used, UtcMs};
use berth_policy_host::PolicyHost;
use berth_policy_sdk::{
    standing::{self, Member, Whose},
    testing::set_accounts,
};
use berth_policy_tests::{
    checked::Checked,
    fair::{By, Fair},
    planners::{self, Guest, Native, Planner},
};
use berth_scheduler_fairshare::policy::Fairshare;
use proptest::prelude::*;

fn host() -> PolicyHost {
    planners::host(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-policies"))
}

const NAMES: [&str; 9] = ["default", "genes", "rocks", "seas", "bio", "ann", "bob", "cy", "dan"];
const PROJECTS: std::ops::Range<u32> = 0..4;
const GROUP: u32 = 4;
const USERS: std::ops::Range<u32> = 5..9;
const BEGIN: u64 = 1_790_000_000_000;

/// What happens at a site.
#[derive(Clone, Debug)]
enum Happens {
    Submitted {
        of: (u32, u32),
        cpus: u64,
        memory_gib: u64,
        count: u32,
        priority: i32,
        placement: u32,
        ago: u64,
    },
    Ended(usize),
    Withdrawn(usize),
    Told(AccountTold),
    Planned {
        after_ms: u64,
        most: u32,
    },
}

fn whose() -> impl Strategy<Value = WhoseTold> {
    prop_oneof![
        USERS.prop_map(WhoseTold::User),
        PROJECTS.prop_map(WhoseTold::Project),
        Just(WhoseTold::Group(GROUP)),
        (PROJECTS, USERS).prop_map(|(project, user)| WhoseTold::Member { project, user }),
    ]
}

fn account() -> impl Strategy<Value = AccountTold> {
    let used = (0_u64..3, 0_u64..50_000, 0_u64..50_000, 0_u64..50_000);
    let faded = (0_u32..200, 0_u32..200, 0_u32..200);
    (whose(), 0_u8..101, 0_u32..4, any::<bool>(), used, faded).prop_map(
        |(whose, priority, shares, is_grouped, (jobs, wall_ms, cpu_ms, memory), (wall, cpu, gib))| {
            let of_project = matches!(whose, WhoseTold::Project(project) if project > 0);
            let is_member = matches!(whose, WhoseTold::Member { .. });
            let (cpu_millis, memory_mib) = (jobs * 1000, jobs * 700);
            AccountTold {
                whose,
                priority,
                shares: if is_member { 1 } else { shares },
                group: (of_project && is_grouped).then_some(GROUP),
                used: Used { jobs, wall_ms, cpu_ms, memory_mib_ms: memory * 1000, cpu_millis, memory_mib },
                faded: Faded {
                    jobs: jobs as f64,
                    wall_s: f64::from(wall) / 4.0,
                    cpu_s: f64::from(cpu) / 4.0,
                    memory_gib_s: f64::from(gib) / 4.0,
                },
            }
        },
    )
}

fn happens() -> impl Strategy<Value = Happens> {
    let count = prop_oneof![3 => Just(1_u32), 1 => 2..9_u32];
    let submitted = ((USERS, PROJECTS), 0_u64..4, 0_u64..3, count, -1_i32..2, 0_u32..3, 0_u64..5000);
    let submitted = submitted.prop_map(|(of, cpus, memory_gib, count, priority, placement, ago)| {
        Happens::Submitted { of, cpus, memory_gib, count, priority, placement, ago }
    });
    prop_oneof![
        6 => submitted,
        3 => any::<usize>().prop_map(Happens::Ended),
        1 => any::<usize>().prop_map(Happens::Withdrawn),
        2 => account().prop_map(Happens::Told),
        3 => (0_u64..100_000, prop_oneof![Just(1000_u32), 1..6_u32])
            .prop_map(|(after_ms, most)| Happens::Planned { after_ms, most }),
    ]
}

fn cpus(cpus: u64, memory_gib: u64) -> Resources {
    Resources { cpu_millis: cpus * 1000, memory_bytes: memory_gib << 30, gpus: 0 }
}

/// A policy that runs here gets the accounts from the host, as a component does.
struct Knowing<P> {
    policy: P,
    accounts: BTreeMap<String, AccountTold>,
}

impl<P> Knowing<P> {
    fn new(policy: P) -> Self {
        Self { policy, accounts: BTreeMap::new() }
    }
}

fn standing(account: &AccountTold) -> (Whose, standing::Standing) {
    let whose = match account.whose {
        WhoseTold::User(user) => Whose::User(user),
        WhoseTold::Project(project) => Whose::Project(project),
        WhoseTold::Group(group) => Whose::Group(group),
        WhoseTold::Member { project, user } => Whose::Member(Member { project, user }),
    };
    let AccountTold { used, faded, .. } = *account;
    let standing = standing::Standing {
        priority: account.priority.into(),
        shares: account.shares,
        group: account.group,
        used: standing::Used {
            jobs: used.jobs as f64,
            wall_seconds: used.wall_ms as f64 / 1e3,
            cpu_seconds: used.cpu_ms as f64 / 1e3,
            memory_gib_seconds: used.memory_mib_ms as f64 / 1e3 / 1024.0,
            cpus: used.cpu_millis as f64 / 1e3,
            memory_gib: used.memory_mib as f64 / 1024.0,
        },
        faded: standing::Faded {
            jobs: faded.jobs,
            wall_seconds: faded.wall_s,
            cpu_seconds: faded.cpu_s,
            memory_gib_seconds: faded.memory_gib_s,
        },
    };
    (whose, standing)
}

impl<P: Planner> Planner for Knowing<P> {
    fn plan(&mut self, request: PlanRequest) -> berth_engine::Plan {
        let told = request.told.accounts.iter().map(|account| (format!("{:?}", account.whose), *account));
        self.accounts.extend(told);
        set_accounts(self.accounts.values().map(standing));
        self.policy.plan(request)
    }
}

/// A host that believes its policy.
#[derive(Default)]
struct Books {
    told: Told,
    pending: BTreeMap<JobId, PendingTold>,
    running: BTreeMap<JobId, RunningTold>,
    free: BTreeMap<NodeId, Resources>,
    placements: BTreeMap<u32, Vec<NodeId>>,
    now: u64,
    snapshot: u64,
    next: u64,
}

impl Books {
    fn new() -> Self {
        let totals = [cpus(5, 8), cpus(3, 8), cpus(4, 3)];
        let node = |(id, &total): (usize, &Resources)| NodeTold {
            id: id as u32,
            name: 0,
            executor: 0,
            total,
            usable: true,
        };
        let placements = BTreeMap::from([(0, vec![0, 1, 2]), (1, vec![1]), (2, vec![0, 2])]);
        let told = Told {
            full: true,
            names: NAMES.map(str::to_owned).to_vec(),
            nodes: totals.iter().enumerate().map(node).collect(),
            placements: placements
                .iter()
                .map(|(&id, nodes): (&u32, &Vec<u32>)| PlacementTold { id, nodes: nodes.clone() })
                .collect(),
            ..Told::default()
        };
        let free = totals.iter().enumerate().map(|(id, &total)| (id as u32, total)).collect();
        Self { told, free, placements, now: BEGIN, ..Self::default() }
    }

    fn hear(&mut self, happens: Happens, planner: &mut dyn Planner) {
        match happens {
            Happens::Submitted {
                of: (owner, project),
                cpus: wanted,
                memory_gib,
                count,
                priority,
                placement,
                ago,
            } => {
                self.next += 1;
                let job = PendingTold {
                    id: JobId(self.next),
                    owner,
                    project,
                    placement,
                    count,
                    needs: cpus(wanted, memory_gib),
                    submitted: UtcMs(self.now - ago),
                    eligible: UtcMs(self.now),
                    time_limit_ms: None,
                    priority,
                };
                self.pending.insert(job.id, job);
                self.told.pending.push(job);
            }
            Happens::Ended(which) => {
                let running: Vec<JobId> = self.running.keys().copied().collect();
                let Some(&id) = running.get(which % running.len().max(1)) else { return };
                let job = self.running.remove(&id).unwrap();
                let free = self.free.get_mut(&job.node).unwrap();
                *free = free.plus(&job.needs);
                match self.told.started.iter().position(|job| job.id == id) {
                    Some(at) => drop(self.told.started.remove(at)),
                    None => self.told.ended.push(id),
                }
            }
            Happens::Withdrawn(which) => {
                let waiting: Vec<JobId> = self.pending.keys().copied().collect();
                let Some(&id) = waiting.get(which % waiting.len().max(1)) else { return };
                self.pending.remove(&id);
                self.told.pending.retain(|job| job.id != id);
                self.told.withdrawn.push(id);
            }
            Happens::Told(account) => self.told.accounts.push(account),
            Happens::Planned { after_ms, most } => {
                self.now += after_ms;
                self.plan(most, planner);
            }
        }
    }

    fn plan(&mut self, most: u32, planner: &mut dyn Planner) {
        self.snapshot += 1;
        let told = std::mem::take(&mut self.told);
        let room = self.free.iter().map(|(&node, &free)| Room { node, free }).collect();
        let (snapshot, now) = (self.snapshot, UtcMs(self.now));
        let pending_known = self.pending.len() as u64;
        let plan = planner.plan(PlanRequest { snapshot, now, told, room, most, pending_known });
        for start in plan.starts {
            let job = *self.pending.get(&start.job).unwrap();
            for _ in 0..start.count {
                let nodes = self.placements[&job.placement].iter();
                let node = *nodes.clone().find(|node| job.needs.fits_in(&self.free[node])).unwrap();
                let left = self.free[&node].saturating_sub(&job.needs);
                self.free.insert(node, left);
                self.next += 1;
                let PendingTold { owner, project, needs, .. } = job;
                let (id, array) = (JobId(1_000_000 + self.next), Some(job.id));
                let running =
                    RunningTold { id, array, owner, project, node, needs, started: now, ends: None };
                self.running.insert(id, running);
                self.told.started.push(running);
            }
            let waiting = self.pending.get_mut(&start.job).unwrap();
            waiting.count -= start.count;
            if waiting.count == 0 {
                self.pending.remove(&start.job);
                self.told.withdrawn.push(start.job);
            } else {
                self.told.pending.push(*waiting);
            }
        }
    }
}

/// A way to be fair, with its settings.
fn chosen() -> impl Strategy<Value = (By, bool, u64)> {
    let by = prop_oneof![Just(By::Weights), Just(By::Shares), Just(By::Tree), Just(By::GoDocker)];
    (by, any::<bool>(), prop_oneof![2 => Just(60_u64), 1 => Just(0), 1 => 1..10_u64]).prop_map(
        |(by, is_window, advance)| match by {
            By::GoDocker => (by, true, 0),
            _ => (by, is_window, advance),
        },
    )
}

fn settings((by, is_window, advance): (By, bool, u64)) -> Vec<(&'static str, String)> {
    let method = match by {
        By::GoDocker => return vec![("compat", "true".into())],
        By::Weights => "weights",
        By::Shares => "shares",
        By::Tree => "tree",
    };
    let used = if is_window { "window" } else { "faded" };
    vec![("method", method.into()), ("use", used.into()), ("advance", format!("{advance}s"))]
}

fn tell(story: Vec<Happens>, planner: &mut dyn Planner) {
    let mut books = Books::new();
    for happens in story {
        books.hear(happens, planner);
    }
    books.plan(1000, planner);
}

fn model((by, is_window, advance): (By, bool, u64)) -> Fair {
    Fair::new(by, is_window, advance * 1000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn who_is_next_is_who_the_definitions_say(
        chosen in chosen(),
        story in prop::collection::vec(happens(), 1..50),
    ) {
        let settings = settings(chosen);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let policy = Knowing::new(Native::<Fairshare>::new(&settings));
        tell(story, &mut Checked::new(policy, model(chosen)));
    }
}

#[test]
fn the_component_that_ships_says_the_same() {
    let host = host();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let stories = (chosen(), prop::collection::vec(happens(), 1..50));
    let run = proptest::test_runner::TestRunner::new(config).run(&stories, |(chosen, story)| {
        let settings = settings(chosen);
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let policy = Guest::new(&host, "fairshare", &settings);
        tell(story, &mut Checked::new(policy, model(chosen)));
        Ok(())
    });
    run.unwrap();
}
