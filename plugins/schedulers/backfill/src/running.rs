//! Running jobs by the ends that are expected of them.

use std::collections::BTreeMap;

use berth_policy_sdk::{InstantMs, JobId, NodeId, Resources, RunningJob};

use crate::timeline::{Timeline, UNKNOWN};

/// The running jobs of all nodes.
#[derive(Clone, Debug, Default)]
pub struct Running {
    jobs: BTreeMap<JobId, (NodeId, InstantMs)>,
    /// By their ends.
    nodes: BTreeMap<NodeId, BTreeMap<(InstantMs, JobId), Resources>>,
}

/// When what was to end at `end` is expected to do so, seen from `now`. What is late, since it takes time to die
/// or since the time was a guess, is taken to stay so for as long again: a little at first, and in the end
/// nobody goes on waiting for it who could start elsewhere.
pub fn expected(end: InstantMs, now: InstantMs) -> InstantMs {
    end.max(now.saturating_add(now.saturating_sub(end)).min(UNKNOWN))
}

impl Running {
    /// Puts a job in, in the place of what was known of it. One without a time limit is to end after
    /// `usual_limit_ms`, or at an unknown time. Gives the end that was known before.
    pub fn put(&mut self, job: &RunningJob, usual_limit_ms: Option<u64>) -> Option<InstantMs> {
        let usual = || usual_limit_ms.map(|limit| job.started_ms.saturating_add(limit));
        let end = job.ends_ms.or_else(usual).map_or(UNKNOWN, |end| end.min(UNKNOWN));
        let before = self.remove(job.id);
        self.jobs.insert(job.id, (job.node, end));
        self.nodes.entry(job.node).or_default().insert((end, job.id), job.needs);
        before
    }

    /// Takes a job out. Gives the end that was known; `None` when it is not in.
    pub fn remove(&mut self, job: JobId) -> Option<InstantMs> {
        let (node, end) = self.jobs.remove(&job)?;
        if let Some(jobs) = self.nodes.get_mut(&node) {
            jobs.remove(&(end, job));
        }
        Some(end)
    }

    /// When a job is to end.
    pub fn end(&self, job: JobId) -> Option<InstantMs> {
        self.jobs.get(&job).map(|&(_, end)| end)
    }

    /// What is free on a node now and, by the expected ends, later. `started` are the ends of what starts with
    /// the plan that is being made.
    pub fn timeline(
        &self,
        node: NodeId,
        now: InstantMs,
        free: Resources,
        started: &[(InstantMs, Resources)],
        total: Option<&Resources>,
    ) -> Timeline {
        let jobs = self.nodes.get(&node);
        let is_late = jobs.and_then(BTreeMap::first_key_value).is_some_and(|(&(end, _), _)| end < now);
        let releases = jobs.into_iter().flatten().map(|(&(end, _), &needs)| (expected(end, now), needs));
        let timeline = if started.is_empty() && !is_late {
            Timeline::new(now, free, releases)
        } else {
            let mut all: Vec<_> = releases.chain(started.iter().copied()).collect();
            all.sort_by_key(|&(at, _)| at);
            Timeline::new(now, free, all.into_iter())
        };
        match total {
            Some(total) => timeline.ends_with(total),
            None => timeline,
        }
    }
}
