//! Fair share straight from the definitions: before each task that starts, every waiting job is looked at, and
//! what everybody has used is summed up over all that runs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use berth_engine::{AccountTold, NameId, NodeId, PendingTold, PlanRequest, WhoseTold};
use berth_model::{JobId, Resources};
use berth_scheduler_fairshare::formula::{Bounds, Level, Weights, part_of_exponent};

use crate::{
    checked::{Model, Said},
    naive::Books,
};

/// How accounts become an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Weights,
    Shares,
    Tree,
    GoDocker,
}

/// The model.
pub struct Fair {
    pub by: By,
    pub is_window: bool,
    pub advance_ms: u64,
    accounts: BTreeMap<String, AccountTold>,
    names: Vec<String>,
}

/// Amounts that add up: milliseconds, and milli-CPUs and MiB times those.
type Sum = [u128; 3];

/// A job's order among those of its user in its project for the same nodes.
type Place = (Reverse<i32>, u64);

struct View<'a> {
    fair: &'a Fair,
    books: &'a Books,
    now: u64,
    /// What starts with this plan, by job.
    started: BTreeMap<JobId, u32>,
}

fn figures([wall, cpu, memory]: Sum) -> [f64; 3] {
    [wall as f64 / 1e3, cpu as f64 / 1e6, memory as f64 / 1e3 / 1024.0]
}

fn amount(needs: &Resources, ms: u64) -> Sum {
    let ms = u128::from(ms);
    [ms, ms * u128::from(needs.cpu_millis), ms * u128::from(needs.memory_bytes.div_ceil(1 << 20))]
}

fn total(amounts: impl Iterator<Item = Sum>) -> Sum {
    amounts.fold([0; 3], |[a, b, c], [x, y, z]| [a + x, b + y, c + z])
}

impl Fair {
    pub fn new(by: By, is_window: bool, advance_ms: u64) -> Self {
        Self { by, is_window, advance_ms, accounts: BTreeMap::new(), names: Vec::new() }
    }

    fn account(&self, whose: WhoseTold) -> Option<&AccountTold> {
        self.accounts.get(&format!("{whose:?}"))
    }

    fn shares(&self, whose: WhoseTold) -> u32 {
        self.account(whose).map_or(1, |account| account.shares)
    }

    fn group(&self, project: NameId) -> Option<NameId> {
        self.account(WhoseTold::Project(project))?.group
    }

    fn is_default(&self, project: NameId) -> bool {
        self.names.get(project as usize).is_some_and(|name| name == "default")
    }

    fn place(&self, job: &PendingTold) -> Place {
        match self.by {
            By::GoDocker => (Reverse(0), job.submitted.0 / 1000),
            _ => (Reverse(job.priority), job.submitted.0),
        }
    }
}

impl View<'_> {
    /// Whether something of this owner in this project counts for an account.
    fn counts(&self, whose: WhoseTold, owner: NameId, project: NameId) -> bool {
        match whose {
            WhoseTold::User(user) => user == owner,
            WhoseTold::Project(name) => name == project,
            WhoseTold::Group(group) => self.fair.group(project) == Some(group),
            WhoseTold::Member { project: name, user } => (name, user) == (project, owner),
        }
    }

    /// What an account has used as the plan begins.
    fn used(&self, whose: WhoseTold) -> [f64; 3] {
        let account = self.fair.account(whose);
        let used = account.map(|account| account.used).unwrap_or_default();
        if self.fair.by == By::GoDocker {
            return [
                used.wall_ms as f64 / 1e3,
                used.cpu_millis as f64 / 1e3,
                used.memory_mib as f64 / 1024.0,
            ];
        }
        let faded = account.map(|account| account.faded).unwrap_or_default();
        let ended = if self.fair.is_window {
            let memory = used.memory_mib_ms as f64 / 1e3 / 1024.0;
            [used.wall_ms as f64 / 1e3, used.cpu_ms as f64 / 1e3, memory]
        } else {
            [faded.wall_s, faded.cpu_s, faded.memory_gib_s]
        };
        let running = self.books.running.values().filter(|job| self.counts(whose, job.owner, job.project));
        let kept = running.map(|job| amount(&job.needs, self.now + self.fair.advance_ms - job.started.0));
        let kept = figures(total(kept));
        [ended[0] + kept[0], ended[1] + kept[1], ended[2] + kept[2]]
    }

    /// What starts with this plan counts for an account.
    fn added(&self, whose: WhoseTold) -> [f64; 3] {
        let started = self.started.iter().map(|(id, &tasks)| (&self.books.pending[id], tasks));
        let of_it = started.filter(|(job, _)| self.counts(whose, job.owner, job.project));
        figures(total(of_it.map(|(job, tasks)| amount(&job.needs, self.fair.advance_ms * u64::from(tasks)))))
    }

    fn grown(&self, whose: WhoseTold, base: f64, slope: [f64; 3]) -> f64 {
        if base.is_infinite() {
            return base;
        }
        let [wall, cpu, memory] = self.added(whose);
        base + wall * slope[0] + cpu * slope[1] + memory * slope[2]
    }

    fn bounds(&self, accounts: &BTreeSet<NameId>, of: fn(NameId) -> WhoseTold, zero: bool) -> [Bounds; 3] {
        let zero = zero.then_some([0.0; 3]);
        let all: Vec<_> = accounts.iter().map(|&name| self.used(of(name))).chain(zero).collect();
        [0, 1, 2].map(|at| Bounds::of(all.iter().map(|figures| figures[at])))
    }

    fn waited(&self, job: &PendingTold) -> f64 {
        (self.now / 1000) as f64 - (job.submitted.0 / 1000) as f64
    }

    /// The terms of GO-Docker's formula.
    fn weighed(&self, job: &PendingTold) -> ([f64; 9], [Bounds; 3], [Bounds; 3]) {
        let weights = Weights::default();
        let pending = || self.books.pending.values();
        let users = pending().map(|job| job.owner).collect();
        let projects = pending().map(|job| job.project).filter(|&name| !self.fair.is_default(name)).collect();
        let waits = Bounds::of(pending().map(|job| self.waited(job)));
        let users = self.bounds(&users, WhoseTold::User, false);
        let projects = self.bounds(&projects, WhoseTold::Project, true);
        let user = self.used(WhoseTold::User(job.owner));
        let is_default = self.fair.is_default(job.project);
        let project = if is_default {
            projects.map(|all| all.high)
        } else {
            self.used(WhoseTold::Project(job.project))
        };
        let priority = |whose| f64::from(self.fair.account(whose).map_or(50, |account| account.priority));
        let project_priority = if is_default { 50.0 } else { priority(WhoseTold::Project(job.project)) };
        let terms = [
            (1.0 - waits.norm(self.waited(job))) * weights.wait,
            users[0].norm(user[0]) * weights.user[0],
            users[1].norm(user[1]) * weights.user[1],
            users[2].norm(user[2]) * weights.user[2],
            projects[0].norm(project[0]) * weights.project[0],
            projects[1].norm(project[1]) * weights.project[1],
            projects[2].norm(project[2]) * weights.project[2],
            (1.0 - priority(WhoseTold::User(job.owner)) / 100.0) * weights.user_priority,
            (1.0 - project_priority / 100.0) * weights.project_priority,
        ];
        (terms, users, projects)
    }

    fn by_weights(&self, job: &PendingTold) -> f64 {
        let ([wait, a, b, c, x, y, z, user, project], users, projects) = self.weighed(job);
        let weights = Weights::default();
        let advance = self.fair.advance_ms as f64 / 1e3;
        let slope = |of: [f64; 3], bounds: [Bounds; 3]| {
            [0, 1, 2].map(|at| of[at] / (bounds[at].high - bounds[at].low).max(advance).max(1.0))
        };
        let user = self.grown(WhoseTold::User(job.owner), user + a + b + c, slope(weights.user, users));
        let of_project = slope(weights.project, projects);
        let of_project = if self.fair.is_default(job.project) { [0.0; 3] } else { of_project };
        let project = self.grown(WhoseTold::Project(job.project), project + x + y + z, of_project);
        project + (user + wait)
    }

    /// Who takes part: users in projects with jobs that wait or run.
    fn members(&self) -> BTreeSet<(NameId, NameId)> {
        let pending = self.books.pending.values().map(|job| (job.project, job.owner));
        pending.chain(self.books.running.values().map(|job| (job.project, job.owner))).collect()
    }

    fn top(&self, project: NameId) -> WhoseTold {
        self.fair.group(project).map_or(WhoseTold::Project(project), WhoseTold::Group)
    }

    /// In thousandths of what a core-second costs.
    fn cost(&self, whose: WhoseTold) -> u64 {
        (self.used(whose)[1] * 1e3).round() as u64
    }

    /// An account among its siblings, each with who holds its shares.
    fn level(&self, whose: WhoseTold, siblings: &[(WhoseTold, WhoseTold)]) -> Level {
        let all: u64 = siblings.iter().map(|&(sibling, _)| self.cost(sibling)).sum();
        let shares: u64 = siblings.iter().map(|&(_, holder)| u64::from(self.fair.shares(holder))).sum();
        let same = |other: WhoseTold| format!("{other:?}") == format!("{whose:?}");
        let (_, holder) = siblings.iter().find(|(sibling, _)| same(*sibling)).unwrap();
        Level {
            used: self.cost(whose) as f64,
            used_by_all: all.max(1000) as f64,
            shares: f64::from(self.fair.shares(*holder)),
            shares_of_all: shares as f64,
        }
    }

    /// The accounts above a job, from the first level down, each among its siblings.
    fn path(&self, job: &PendingTold) -> [(WhoseTold, Level); 3] {
        let members = self.members();
        let projects: BTreeSet<NameId> = members.iter().map(|&(project, _)| project).collect();
        let mut tops: Vec<WhoseTold> = projects.iter().map(|&project| self.top(project)).collect();
        tops.sort_by_key(|top| format!("{top:?}"));
        tops.dedup_by_key(|top| format!("{top:?}"));
        let top = self.top(job.project);
        let is_beside = |project: &&NameId| format!("{:?}", self.top(**project)) == format!("{top:?}");
        let beside = projects.iter().filter(is_beside).map(|&project| WhoseTold::Project(project));
        let project = WhoseTold::Project(job.project);
        let member = WhoseTold::Member { project: job.project, user: job.owner };
        let own = |whose: WhoseTold| (whose, whose);
        let in_project = members.iter().filter(|(project, _)| *project == job.project);
        let in_project: Vec<_> = in_project
            .map(|&(project, user)| (WhoseTold::Member { project, user }, WhoseTold::User(user)))
            .collect();
        [
            (top, self.level(top, &tops.into_iter().map(own).collect::<Vec<_>>())),
            (project, self.level(project, &beside.map(own).collect::<Vec<_>>())),
            (member, self.level(member, &in_project)),
        ]
    }

    fn by_tree(&self, job: &PendingTold) -> [f64; 3] {
        self.path(job).map(|(whose, level)| {
            let slope = 1.0 / (level.used_by_all * level.share()) * 1.0 * 1e3;
            self.grown(whose, level.ratio(), [0.0, slope, 0.0])
        })
    }

    fn by_shares(&self, job: &PendingTold) -> f64 {
        let path = self.path(job);
        let total = path[0].1.used_by_all;
        let mut above = None;
        let parts = path.map(|(whose, level)| {
            let share = level.share();
            let product = above.unwrap_or(1.0) * share;
            let of_it = above.map_or(1.0, |_| 1.0 - share);
            let base = part_of_exponent(&level, above, total);
            above = Some(product);
            self.grown(whose, base, [0.0, of_it / (total * product) * 1.0 * 1e3, 0.0])
        });
        parts[0] + (parts[1] + parts[2])
    }

    fn score(&self, job: &PendingTold) -> [f64; 3] {
        match self.fair.by {
            By::Weights => [self.by_weights(job), 0.0, 0.0],
            By::Shares => [self.by_shares(job), 0.0, 0.0],
            By::Tree => self.by_tree(job),
            By::GoDocker => [self.weighed(job).0.into_iter().fold(0.0, |sum, term| sum + term), 0.0, 0.0],
        }
    }

    /// Of those jobs whose turn it may be, the next.
    fn next(&self, open: &BTreeSet<u32>) -> Option<&PendingTold> {
        let left = |job: &PendingTold| job.count > self.started.get(&job.id).copied().unwrap_or(0);
        let waits = || self.books.pending.values().filter(|job| left(job) && open.contains(&job.placement));
        let lane = |job: &PendingTold| (job.placement, job.owner, job.project);
        let order = |job: &PendingTold| (self.fair.place(job), job.id);
        let is_first =
            |job: &&PendingTold| !waits().any(|other| lane(other) == lane(job) && order(other) < order(job));
        let firsts = waits().filter(is_first).map(|job| (self.score(job), order(job), job));
        let best = firsts.min_by(|(score, order, _), (other_score, other_order, _)| {
            let by_score = score.iter().zip(other_score).map(|(one, other)| one.total_cmp(other));
            by_score
                .fold(std::cmp::Ordering::Equal, |so_far, next| so_far.then(next))
                .then(order.cmp(other_order))
        });
        best.map(|(_, _, job)| job)
    }
}

/// Puts a task on the first of these nodes on which it fits.
fn put(free: &mut BTreeMap<NodeId, Resources>, nodes: &[NodeId], needs: &Resources) -> Option<NodeId> {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    let node = nodes.into_iter().find(|node| free.get(node).is_some_and(|free| needs.fits_in(free)))?;
    let left = free[&node].saturating_sub(needs);
    free.insert(node, left);
    Some(node)
}

impl Model for Fair {
    fn say(&mut self, books: &Books, request: &PlanRequest) -> Said {
        if !request.told.names.is_empty() {
            self.names.truncate(request.told.first_name as usize);
            self.names.extend(request.told.names.iter().cloned());
        }
        for account in &request.told.accounts {
            self.accounts.insert(format!("{:?}", account.whose), *account);
        }
        let room = || request.room.iter().map(|room| (room.node, room.free)).collect::<BTreeMap<_, _>>();
        let is_usable = |nodes: &Vec<NodeId>| nodes.iter().any(|node| room().contains_key(node));
        let usable = books.placements.iter().filter(|(_, nodes)| is_usable(nodes));
        let mut open: BTreeSet<u32> = usable.map(|(&placement, _)| placement).collect();
        let mut view = View { fair: self, books, now: request.now.0, started: BTreeMap::new() };
        let (mut free, mut turns) = (room(), Vec::new());
        while (turns.len() as u32) < request.most {
            let Some(job) = view.next(&open) else { break };
            if put(&mut free, &books.placements[&job.placement], &job.needs).is_some() {
                turns.push(job.id);
                *view.started.entry(job.id).or_default() += 1;
            } else {
                open.remove(&job.placement);
            }
        }
        // The host places all tasks of a job where its first one stands.
        let mut order = turns;
        let mut seen = BTreeSet::new();
        order.retain(|job| seen.insert(*job));
        let (mut free, mut cut) = (room(), BTreeSet::new());
        let mut said = Said::default();
        for id in order {
            let job = &books.pending[&id];
            let mut nodes = Vec::new();
            for _ in 0..view.started[&id] {
                if cut.contains(&job.placement) {
                    break;
                }
                match put(&mut free, &books.placements[&job.placement], &job.needs) {
                    Some(node) => nodes.push(node),
                    None => {
                        cut.insert(job.placement);
                    }
                }
            }
            if !nodes.is_empty() {
                said.starts.push((id, nodes));
            }
        }
        said
    }
}
