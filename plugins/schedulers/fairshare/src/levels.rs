//! Who stands where in the tree of groups, projects and users.
//!
//! Those take part who have jobs that wait or run. A project without a group stands beside the groups, as if
//! it had one of its own with its shares. A user's shares hold in each project that they have jobs in.

use std::collections::{BTreeMap, BTreeSet};

use berth_policy_sdk::{
    NameId,
    standing::{Member, Standing, Whose, standings},
};

use crate::{
    accounts::{Account, Amount},
    contest::Combine,
    formula::{Level, part_of_exponent},
    pending::Pair,
    scene::{Scene, Seat, View, Words},
    settings::Cost,
};

/// A core-second: so much counts as used at least by all siblings together, in thousandths. Where less was, what
/// starts would else make infinite steps.
const LEAST: u64 = 1000;

/// What stands at the first level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Top {
    Group(NameId),
    Project(NameId),
}

/// An account of the tree, in whole numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// What was used, in thousandths of what a core-second costs.
    used: u64,
    shares: u64,
}

/// The sums over siblings. Of whole numbers, since those are the same in any order.
#[derive(Clone, Copy, Debug, Default)]
struct Siblings(Entry);

impl Siblings {
    fn add(&mut self, entry: Entry) {
        let Entry { used, shares } = &mut self.0;
        *used = used.saturating_add(entry.used);
        *shares += entry.shares;
    }

    fn level(&self, entry: Entry) -> Level {
        Level {
            used: entry.used as f64,
            used_by_all: self.0.used.max(LEAST) as f64,
            shares: entry.shares as f64,
            shares_of_all: self.0.shares as f64,
        }
    }
}

/// A project in the tree.
struct Project {
    entry: Entry,
    top: Top,
}

impl View<'_> {
    fn entry(&self, cost: &Cost, standing: &Standing, shares: u32, kept: Amount) -> Entry {
        let [_, cpu, memory] = self.figures(standing, kept);
        let used = (cpu * cost.of_cpu + memory * cost.of_memory_gib) * 1e3;
        Entry { used: used.round() as u64, shares: u64::from(shares) }
    }

    pub fn levels(&self, cost: &Cost, combine: Combine, groups: &mut BTreeSet<NameId>) -> Scene {
        let mut pairs: Vec<(Pair, Amount)> =
            self.running.kept().map(|(pair, kept)| (pair, self.kept(kept))).collect();
        pairs.extend(self.pending.pairs().map(|pair| (pair, Amount::default())));
        // Of two that are the same, the first one stays.
        pairs.sort_by_key(|(pair, _)| *pair);
        pairs.dedup_by_key(|(pair, _)| *pair);
        let known = ask(&pairs, groups);
        let (projects, tops) = self.upper(cost, &pairs, &known);
        let (mut at_top, mut below_top) = (Siblings::default(), BTreeMap::<Top, Siblings>::new());
        tops.values().for_each(|&entry| at_top.add(entry));
        for project in projects.values() {
            below_top.entry(project.top).or_default().add(project.entry);
        }
        let total = at_top.0.used.max(LEAST) as f64;
        let mut planting = Planting { scene: Scene::new(combine), cost, total };
        let mut planted: BTreeMap<Top, Planted> = BTreeMap::new();
        for (top, entry) in tops {
            planted.insert(top, planting.plant(at_top.level(entry), None));
        }
        let mut members = known.members.iter();
        for of_project in pairs.chunk_by(|(one, _), (other, _)| one.project == other.project) {
            let entry = |((pair, kept), standing): (&(Pair, Amount), &Standing)| {
                (*pair, self.entry(cost, standing, known.shares(pair.owner), *kept))
            };
            let entries: Vec<(Pair, Entry)> = of_project.iter().zip(&mut members).map(entry).collect();
            let project = of_project.first().and_then(|(pair, _)| projects.get(&pair.project));
            let Some((project, top)) =
                project.and_then(|project| Some((project, planted.get(&project.top)?)))
            else {
                continue;
            };
            let beside = below_top.get(&project.top).copied().unwrap_or_default();
            let below = planting.plant(beside.level(project.entry), Some(top.product));
            let mut siblings = Siblings::default();
            entries.iter().for_each(|&(_, entry)| siblings.add(entry));
            for (pair, entry) in entries {
                let own = planting.plant(siblings.level(entry), Some(below.product));
                let group = Some(top.account);
                planting.scene.seats.push(Seat { pair, group, project: below.account, own: own.account });
                if self.asked == Some(pair) {
                    let (group, level) = match project.top {
                        Top::Group(name) => (Some((name, top.level)), below.level),
                        Top::Project(_) => (None, top.level),
                    };
                    let project = (pair.project, level);
                    planting.scene.words = Some(Words::Levels { group, project, user: own.level });
                }
            }
        }
        planting.scene
    }

    /// Projects and what stands at the first level.
    fn upper(
        &self,
        cost: &Cost,
        pairs: &[(Pair, Amount)],
        known: &Known,
    ) -> (BTreeMap<NameId, Project>, BTreeMap<Top, Entry>) {
        let mut projects = BTreeMap::new();
        let mut group_kept: BTreeMap<NameId, Amount> = BTreeMap::new();
        let of_projects = pairs.chunk_by(|(one, _), (other, _)| one.project == other.project);
        for (&(name, ref standing), of_it) in known.projects.iter().zip(of_projects) {
            let kept = of_it.iter().fold(Amount::default(), |sum, (_, kept)| sum.plus(kept));
            if let Some(group) = standing.group {
                let sum = group_kept.entry(group).or_default();
                *sum = sum.plus(&kept);
            }
            let top = standing.group.map_or(Top::Project(name), Top::Group);
            let entry = self.entry(cost, standing, standing.shares, kept);
            projects.insert(name, Project { entry, top });
        }
        let mut tops = BTreeMap::new();
        for project in projects.values() {
            let entry = match project.top {
                Top::Project(_) => project.entry,
                Top::Group(group) => match known.groups.get(&group) {
                    Some(standing) => {
                        let kept = group_kept.get(&group).copied().unwrap_or_default();
                        self.entry(cost, standing, standing.shares, kept)
                    }
                    None => continue,
                },
            };
            tops.insert(project.top, entry);
        }
        (projects, tops)
    }
}

fn ask(pairs: &[(Pair, Amount)], groups: &mut BTreeSet<NameId>) -> Known {
    let mut users: Vec<NameId> = pairs.iter().map(|(pair, _)| pair.owner).collect();
    users.sort_unstable();
    users.dedup();
    let mut projects: Vec<NameId> = pairs.iter().map(|(pair, _)| pair.project).collect();
    projects.dedup();
    let member =
        |(pair, _): &(Pair, Amount)| Whose::Member(Member { project: pair.project, user: pair.owner });
    let asked: Vec<Whose> = users
        .iter()
        .map(|&user| Whose::User(user))
        .chain(projects.iter().map(|&project| Whose::Project(project)))
        .chain(groups.iter().map(|&group| Whose::Group(group)))
        .chain(pairs.iter().map(member))
        .collect();
    let mut answers = standings(&asked).into_iter();
    let mut known = Known {
        users: users.into_iter().zip(answers.by_ref().map(|standing| standing.shares)).collect(),
        projects: projects.into_iter().zip(&mut answers).collect(),
        groups: groups.iter().copied().zip(&mut answers).collect(),
        members: answers.collect(),
    };
    let present: BTreeSet<NameId> =
        known.projects.iter().filter_map(|(_, standing)| standing.group).collect();
    let new: Vec<NameId> = present.difference(groups).copied().collect();
    if !new.is_empty() {
        let asked: Vec<Whose> = new.iter().map(|&group| Whose::Group(group)).collect();
        known.groups.extend(new.into_iter().zip(standings(&asked)));
    }
    *groups = present;
    known
}

/// What was answered.
struct Known {
    /// With their shares, in order.
    users: Vec<(NameId, u32)>,
    /// In order.
    projects: Vec<(NameId, Standing)>,
    groups: BTreeMap<NameId, Standing>,
    /// Of the pairs that were asked for.
    members: Vec<Standing>,
}

impl Known {
    fn shares(&self, user: NameId) -> u32 {
        let at = self.users.binary_search_by_key(&user, |(name, _)| *name).ok();
        at.and_then(|at| self.users.get(at)).map_or(1, |(_, shares)| *shares)
    }
}

/// Makes accounts of levels.
struct Planting<'a> {
    scene: Scene,
    cost: &'a Cost,
    total: f64,
}

impl Planting<'_> {
    /// An account below one with this product of shares.
    fn plant(&mut self, level: Level, above: Option<f64>) -> Planted {
        let share = level.share();
        let product = above.unwrap_or(1.0) * share;
        let (base, per_thousandth) = match self.scene.combine {
            Combine::Path => (level.ratio(), 1.0 / (level.used_by_all * share)),
            Combine::Sum => {
                let base = part_of_exponent(&level, above, self.total);
                let of_it = above.map_or(1.0, |_| 1.0 - share);
                (base, of_it / (self.total * product))
            }
        };
        let Cost { of_cpu, of_memory_gib } = *self.cost;
        let slope = [0.0, per_thousandth * of_cpu * 1e3, per_thousandth * of_memory_gib * 1e3];
        Planted { account: self.scene.account(Account::new(base, slope)), level, product }
    }
}

/// An account in its place.
struct Planted {
    account: usize,
    level: Level,
    /// Of the shares on the way to it and its own.
    product: f64,
}
