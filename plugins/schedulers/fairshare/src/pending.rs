//! Pending jobs by whose they are and where they may run. Within that their order stands still, whatever
//! happens to accounts, so that a plan only has to look at the first of each.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map::Entry, btree_set},
};

use berth_policy_sdk::{
    JobId, JobTable, NameId, NodeId, PendingJob, PlacementId, scheduler::Placement, table::Waiting,
};

/// A user in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub project: NameId,
    pub owner: NameId,
}

/// The place of a job among those of its user in its project: the higher priority first, then who was
/// submitted first; the number of the job decides the rest.
pub type Place = (Reverse<i32>, u64);

/// The jobs of a user in a project that may run on the same nodes; never without any.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The first of them, at hand: a plan looks at it even when nobody of them starts.
    head: (Place, JobId),
    order: BTreeSet<(Place, JobId)>,
}

impl Lane {
    /// The first of them.
    pub fn head(&self) -> (Place, JobId) {
        self.head
    }

    /// All of them, in order.
    pub fn iter(&self) -> btree_set::Iter<'_, (Place, JobId)> {
        self.order.iter()
    }

    /// How many of them come before this one, counted up to `most`.
    pub fn before(&self, place: Place, job: JobId, most: usize) -> usize {
        self.order.range(..(place, job)).take(most).count()
    }
}

/// What is kept of a job.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub pair: Pair,
    pub place: Place,
}

/// What the place of a job follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceBy {
    /// Its priority and its submission.
    Priority,
    /// The second of its submission, since GO-Docker has no finer time and no priorities of jobs.
    Second,
    /// Its number alone.
    Number,
}

/// Where jobs may run.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// In rising order.
    pub nodes: Vec<NodeId>,
    /// How many jobs wait for them.
    pub waits: u64,
}

/// The pending jobs.
#[derive(Clone, Debug)]
pub struct Pending {
    by: PlaceBy,
    jobs: JobTable<Facts>,
    lanes: BTreeMap<(Pair, PlacementId), Lane>,
    sites: BTreeMap<PlacementId, Site>,
    /// How many were submitted in each second.
    seconds: BTreeMap<u64, u64>,
}

impl Pending {
    pub fn new(by: PlaceBy) -> Self {
        let (lanes, sites, seconds) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { by, jobs: JobTable::default(), lanes, sites, seconds }
    }

    /// Sets the nodes of a placement.
    pub fn place(&mut self, placement: Placement) {
        let mut nodes = placement.nodes;
        nodes.sort_unstable();
        nodes.shrink_to_fit();
        self.sites.entry(placement.id).or_default().nodes = nodes;
    }

    /// Puts a job in its place, out of the one that it had. One without tasks is taken out.
    pub fn put(&mut self, job: &PendingJob) {
        if job.count == 0 {
            self.remove(job.id);
            return;
        }
        let place = match self.by {
            PlaceBy::Priority => (Reverse(job.priority), job.submitted_ms),
            PlaceBy::Second => (Reverse(0), job.submitted_ms / 1000),
            PlaceBy::Number => (Reverse(0), 0),
        };
        let facts = Facts { pair: Pair { project: job.project, owner: job.owner }, place };
        let new = Waiting::new(facts, job);
        if let Some(old) = self.jobs.put(new) {
            if (old.placement, old.key.pair, old.key.place) == (new.placement, facts.pair, place) {
                return;
            }
            self.leave(&old);
        }
        let entry = (place, new.id);
        let fresh = || Lane { head: entry, order: BTreeSet::new() };
        let lane = self.lanes.entry((facts.pair, new.placement)).or_insert_with(fresh);
        lane.order.insert(entry);
        lane.head = lane.head.min(entry);
        self.sites.entry(new.placement).or_default().waits += 1;
        *self.seconds.entry(self.second(place)).or_default() += 1;
    }

    /// Takes a job out, if it is in.
    pub fn remove(&mut self, job: JobId) {
        if let Some(job) = self.jobs.remove(job) {
            self.leave(&job);
        }
    }

    fn leave(&mut self, job: &Waiting<Facts>) {
        let Facts { pair, place } = job.key;
        if let Entry::Occupied(mut lane) = self.lanes.entry((pair, job.placement)) {
            lane.get_mut().order.remove(&(place, job.id));
            match lane.get().order.first() {
                Some(&first) => lane.get_mut().head = first,
                None => drop(lane.remove()),
            }
        }
        if let Some(site) = self.sites.get_mut(&job.placement) {
            site.waits = site.waits.saturating_sub(1);
        }
        let second = self.second(place);
        if let Some(jobs) = self.seconds.get_mut(&second) {
            *jobs -= 1;
            if *jobs == 0 {
                self.seconds.remove(&second);
            }
        }
    }

    /// The second in which a job of this place was submitted; 0 where only numbers count.
    pub fn second(&self, place: Place) -> u64 {
        if self.by == PlaceBy::Priority { place.1 / 1000 } else { place.1 }
    }

    /// The first and the last second in which a job was submitted; `None` when there are no jobs.
    pub fn seconds(&self) -> Option<(u64, u64)> {
        Some((*self.seconds.first_key_value()?.0, *self.seconds.last_key_value()?.0))
    }

    /// A job that is in.
    pub fn get(&self, job: JobId) -> Option<&Waiting<Facts>> {
        self.jobs.get(job)
    }

    /// How many jobs there are.
    pub fn len(&self) -> u64 {
        self.jobs.len() as u64
    }

    /// Who has jobs, in order; whoever has some for several placements, once for each.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        self.lanes.keys().map(|&(pair, _)| pair)
    }

    /// The jobs of each user in each project and for each placement, in order.
    pub fn lanes(&self) -> impl Iterator<Item = (Pair, PlacementId, &Lane)> {
        self.lanes.iter().map(|(&(pair, placement), lane)| (pair, placement, lane))
    }

    /// One of these.
    pub fn lane(&self, pair: Pair, placement: PlacementId) -> Option<&Lane> {
        self.lanes.get(&(pair, placement))
    }

    /// All placements that were told or have jobs, in the order of their numbers.
    pub fn sites(&self) -> impl Iterator<Item = (PlacementId, &Site)> {
        self.sites.iter().map(|(&placement, site)| (placement, site))
    }
}
