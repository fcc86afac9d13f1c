//! Host ports from a range, none twice on a node.

use std::collections::BTreeMap;

use crate::{
    Error, JobId, Settings, bad_settings,
    network::{Attachment, NetworkRequest, Port, Refusal},
};

const USUAL: PortRange = PortRange { first: 20_000, last: 29_999 };

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Reads the setting `port-range`; 20000-29999 where it is not given.
    ///
    /// # Errors
    /// When it is no range.
    pub fn read(settings: &mut Settings) -> Result<Self, Error> {
        let Some(text) = settings.take("port-range") else { return Ok(USUAL) };
        Self::parse(&text).ok_or_else(|| {
            bad_settings(format!("port-range = {text:?} is not two ports such as 20000-29999"))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        (range.first > 0 && range.first <= range.last).then_some(range)
    }

    fn len(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    fn after(self, port: u16) -> u16 {
        if (self.first..self.last).contains(&port) { port + 1 } else { self.first }
    }
}

/// The host ports of all nodes.
#[derive(Clone, Debug)]
pub struct HostPorts {
    range: PortRange,
    nodes: BTreeMap<String, Ports>,
}

/// Which ports of a node are taken, and by whom.
#[derive(Clone, Debug, Default)]
struct Ports {
    taken: BTreeMap<u16, JobId>,
    /// The one given out last: a port that was just given back is tried last.
    latest: u16,
}

impl HostPorts {
    /// All of this range are free.
    #[must_use]
    pub fn new(range: PortRange) -> Self {
        Self { range, nodes: BTreeMap::new() }
    }

    /// Gives a job a host port of its node for each of those that it publishes.
    ///
    /// # Errors
    /// When there are too few, now or ever.
    pub fn take(&mut self, request: &NetworkRequest) -> Result<Vec<Port>, Refusal> {
        let (wanted, PortRange { first, last }) = (request.ports.len(), self.range);
        if wanted > self.range.len() {
            let words = format!("it wants {wanted} ports, and a node has only {} to give", self.range.len());
            return Err(Refusal::Never(words));
        }
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let ports = self.nodes.entry(request.node.clone()).or_default();
        let taken = ports.take(self.range, request.job, wanted).ok_or_else(|| {
            let node = &request.node;
            Refusal::NotNow(format!("node {node} has too few of the ports {first}-{last} free"))
        })?;
        Ok(request.ports.iter().zip(taken).map(|(&job, host)| Port { job, host }).collect())
    }

    /// Notes what a job has, told to a fresh instance.
    pub fn put(&mut self, job: JobId, node: &str, what: &Attachment) {
        if what.ports.is_empty() {
            return;
        }
        let ports = self.nodes.entry(node.to_owned()).or_default();
        what.ports.iter().for_each(|port| ports.put(port.host, job));
    }

    /// Takes back what a job has.
    pub fn give_back(&mut self, job: JobId, node: &str, what: &Attachment) {
        let Some(ports) = self.nodes.get_mut(node) else { return };
        what.ports.iter().for_each(|port| ports.give_back(port.host, job));
    }
}

impl Ports {
    /// Takes `count` free ports for a job, or none when there are not as many.
    fn take(&mut self, range: PortRange, job: JobId, count: usize) -> Option<Vec<u16>> {
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

    fn put(&mut self, port: u16, job: JobId) {
        self.taken.insert(port, job);
        self.latest = port;
    }

    /// Gives back a job's port, if it still is that job's.
    fn give_back(&mut self, port: u16, job: JobId) {
        if self.taken.get(&port) == Some(&job) {
            self.taken.remove(&port);
        }
    }
}

/// Whether what a job was given has the ports that it asks for again.
#[must_use]
pub fn answers(known: &Attachment, request: &NetworkRequest) -> bool {
    known.ports.iter().map(|port| port.job).eq(request.ports.iter().copied())
}
