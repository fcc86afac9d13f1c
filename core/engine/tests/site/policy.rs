//! First come, first served, kept from what the engine tells; it checks what it is told on the way.

use std::collections::BTreeMap;

use berth_engine::{AccountTold, Input, PendingTold, Plan, PlanRequest, Start, WhoseTold};
use berth_model::{JobId, Resources, UtcMs};

/// What the policy does with its next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Good,
    /// Starts a job twice.
    Twice,
    /// Starts a job that nobody told it of.
    Unknown,
    /// Starts everything, room or not.
    Greedy,
    /// Starts one more task than a job has.
    TooMany,
    /// Refuses all that it knows.
    Rejects,
    /// Cannot answer.
    Fails,
}

#[derive(Default)]
pub struct Policy {
    pub pending: BTreeMap<JobId, PendingTold>,
    pub running: BTreeMap<JobId, Resources>,
    /// When those that it was told of end at the latest, as it was told last.
    pub ends: BTreeMap<JobId, UtcMs>,
    placements: BTreeMap<u32, Vec<u32>>,
    /// How many names it was told.
    pub names: u32,
    /// What it was last told of each account.
    pub accounts: BTreeMap<WhoseTold, AccountTold>,
    pub manner: Manner,
    /// How many plans it was asked for.
    pub asked: u64,
    /// How many jobs it was told of as pending, each as often as it was.
    pub heard_pending: u64,
}

impl Policy {
    pub fn plan(&mut self, request: PlanRequest) -> Input {
        self.asked += 1;
        self.hear(&request);
        let PlanRequest { snapshot, room, most, .. } = request;
        let manner = std::mem::take(&mut self.manner);
        if manner == Manner::Fails {
            return Input::PlanFailed { snapshot };
        }
        if manner == Manner::Rejects {
            let rejections = self.pending.keys().map(|&job| (job, "not today".to_owned())).collect();
            return Input::Planned(Plan { snapshot, rejections, ..Plan::default() });
        }
        let mut free: BTreeMap<u32, Resources> = room.iter().map(|room| (room.node, room.free)).collect();
        let mut starts = Vec::new();
        let mut left = most;
        for job in self.pending.values() {
            let mut count = 0;
            while count < job.count.min(left) && self.place(job, &mut free) {
                count += 1;
            }
            if manner == Manner::Greedy {
                count = job.count;
            }
            left = left.saturating_sub(count);
            if manner == Manner::TooMany && count > 0 {
                count = job.count + 1;
            }
            if count > 0 {
                starts.push(Start { job: job.id, count, node: None });
            }
        }
        match manner {
            Manner::Twice => starts.extend(starts.first().copied()),
            Manner::Unknown => starts.push(Start { job: JobId(u64::MAX), count: 1, node: None }),
            _ => {}
        }
        Input::Planned(Plan { snapshot, starts, ..Plan::default() })
    }

    fn place(&self, job: &PendingTold, free: &mut BTreeMap<u32, Resources>) -> bool {
        for node in &self.placements[&job.placement] {
            if let Some(room) = free.get_mut(node)
                && let Some(rest) = room.checked_sub(&job.needs)
            {
                *room = rest;
                return true;
            }
        }
        false
    }

    fn hear(&mut self, request: &PlanRequest) {
        let told = &request.told;
        if told.full {
            *self = Self { manner: self.manner, ..Self::default() };
        }
        if !told.names.is_empty() {
            assert_eq!(told.first_name, self.names, "names come in order, without a gap");
            self.names += u32::try_from(told.names.len()).unwrap();
        }
        self.accounts.extend(told.accounts.iter().map(|account| (account.whose, *account)));
        for placement in &told.placements {
            self.placements.insert(placement.id, placement.nodes.clone());
        }
        for id in &told.withdrawn {
            assert!(self.pending.remove(id).is_some(), "job {id} was withdrawn without having been told");
        }
        self.heard_pending += told.pending.len() as u64;
        for job in &told.pending {
            assert!(job.owner < self.names && job.project < self.names, "a name that was not told");
            assert!(self.placements.contains_key(&job.placement), "a placement that was not told");
            assert!(job.count > 0, "a job of which nothing may start");
            self.pending.insert(job.id, *job);
        }
        for id in &told.ended {
            assert!(self.running.remove(id).is_some(), "job {id} ended without having been told");
        }
        for job in &told.started {
            self.running.insert(job.id, job.needs);
            self.ends.extend(job.ends.map(|ends| (job.id, ends)));
        }
        assert_eq!(self.pending.len() as u64, request.pending_known, "the count of pending jobs drifts");
    }
}
