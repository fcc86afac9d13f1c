//! One network for all, and host ports from a range.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, Network, Settings, bad_settings, info,
    network::{Attachment, NetworkRequest, Port, Refusal},
};

use crate::ports::{Ports, Range};

/// The label that every site has.
const PUBLIC: &str = "public";

const USUAL_NETWORK: &str = "bridge";
const USUAL_RANGE: Range = Range { first: 20_000, last: 29_999 };

/// Attaches every job to the same network. What it keeps is told to a fresh instance by `attached`.
#[derive(Clone, Debug)]
pub struct Bridge {
    network: String,
    range: Range,
    nodes: BTreeMap<String, Ports>,
    jobs: BTreeMap<JobId, (String, Attachment)>,
}

impl Network for Bridge {
    fn describe() -> Info {
        info!(
            "bridge",
            "one network for all jobs, and host ports from a range",
            "network" => "the back end's network; bridge unless given",
            "port-range" => "the host ports that published ports get; 20000-29999 unless given",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let network = settings.take("network").unwrap_or_else(|| USUAL_NETWORK.to_owned());
        if network.trim().is_empty() {
            return Err(bad_settings("network is empty; leave it out for the usual one"));
        }
        let range = match settings.take("port-range") {
            None => USUAL_RANGE,
            Some(text) => Range::parse(&text).ok_or_else(|| {
                bad_settings(format!("port-range = {text:?} is not two ports such as 20000-29999"))
            })?,
        };
        Ok(Self { network, range, nodes: BTreeMap::new(), jobs: BTreeMap::new() })
    }

    fn attach(&mut self, now_ms: InstantMs, request: NetworkRequest) -> Result<Attachment, Refusal> {
        match self.jobs.get(&request.job) {
            Some((node, known)) if *node == request.node && answers(known, &request) => {
                return Ok(known.clone());
            }
            // It starts anew, elsewhere or otherwise.
            Some(_) => self.release(now_ms, request.job),
            None => {}
        }
        self.check(&request)?;
        let NetworkRequest { job, node, ports, .. } = request;
        let taken = self.nodes.entry(node.clone()).or_default().take(self.range, job, ports.len());
        let Some(taken) = taken else {
            let Range { first, last } = self.range;
            let words = format!("node {node} has too few of the ports {first}-{last} free");
            return Err(Refusal::NotNow(words));
        };
        let ports = ports.into_iter().zip(taken).map(|(job, host)| Port { job, host }).collect();
        let attachment = Attachment { network: self.network.clone(), ports };
        self.jobs.insert(job, (node, attachment.clone()));
        Ok(attachment)
    }

    fn release(&mut self, _now_ms: InstantMs, job: JobId) {
        let Some((node, attachment)) = self.jobs.remove(&job) else { return };
        if let Some(ports) = self.nodes.get_mut(&node) {
            attachment.ports.iter().for_each(|port| ports.give_back(port.host, job));
        }
    }

    fn attached(&mut self, job: JobId, node: String, what: Attachment) {
        let ports = self.nodes.entry(node.clone()).or_default();
        what.ports.iter().for_each(|port| ports.put(port.host, job));
        self.jobs.insert(job, (node, what));
    }
}

impl Bridge {
    /// Whether the job can be attached at all.
    fn check(&self, request: &NetworkRequest) -> Result<(), Refusal> {
        if let Some(label) = &request.label
            && label != PUBLIC
            && *label != self.network
        {
            let words = format!("there is no network {label:?} here; leave it out, or say {PUBLIC:?}");
            return Err(Refusal::Never(words));
        }
        if request.ports.len() > self.range.len() {
            let (wanted, are) = (request.ports.len(), self.range.len());
            return Err(Refusal::Never(format!(
                "it wants {wanted} ports, and a node has only {are} to give"
            )));
        }
        Ok(())
    }
}

/// Whether what a job was given is what it asks for again.
fn answers(known: &Attachment, request: &NetworkRequest) -> bool {
    known.ports.iter().map(|port| port.job).eq(request.ports.iter().copied())
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
