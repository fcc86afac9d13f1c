//! The host ports of one node.

use std::collections::BTreeMap;

use berth_policy_sdk::JobId;

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl Range {
    /// Reads `20000-29999`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        (range.first > 0 && range.first <= range.last).then_some(range)
    }

    pub(crate) fn len(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    fn after(self, port: u16) -> u16 {
        if (self.first..self.last).contains(&port) { port + 1 } else { self.first }
    }
}

/// Which ports of a node are taken, and by whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    taken: BTreeMap<u16, JobId>,
    /// The one given out last: a port that was just given back is tried last.
    latest: u16,
}

impl Ports {
    /// Takes `count` free ports for a job, or none when there are not as many.
    pub(crate) fn take(&mut self, range: Range, job: JobId, count: usize) -> Option<Vec<u16>> {
        let mut found = Vec::with_capacity(count);
        let mut port = self.latest;
        for _ in 0..range.len() {
            if found.len() == count {
                break;
            }
            port = range.after(port);
            if !self.taken.contains_key(&port) {
                found.push(port);
            }
        }
        if found.len() < count {
            return None;
        }
        for &port in &found {
            self.put(port, job);
        }
        Some(found)
    }

    /// Notes that a job has a port.
    pub(crate) fn put(&mut self, port: u16, job: JobId) {
        self.taken.insert(port, job);
        self.latest = port;
    }

    /// Gives back a job's port, if it still is that job's.
    pub(crate) fn give_back(&mut self, port: u16, job: JobId) {
        if self.taken.get(&port) == Some(&job) {
            self.taken.remove(&port);
        }
    }
}
