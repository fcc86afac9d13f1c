//! One network for all, and host ports from a range.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, Network, Settings, bad_settings, info,
    network::{Attachment, NetworkRequest, Refusal},
    ports::{HostPorts, PortRange, answers},
};

/// The label that every site has.
const PUBLIC: &str = "public";

const USUAL_NETWORK: &str = "bridge";

/// Attaches every job to the same network. What it keeps is told to a fresh instance by `attached`.
#[derive(Clone, Debug)]
pub struct Bridge {
    network: String,
    ports: HostPorts,
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
        let ports = HostPorts::new(PortRange::read(settings)?);
        Ok(Self { network: network.trim().to_owned(), ports, jobs: BTreeMap::new() })
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
        let ports = self.ports.take(&request)?;
        let network = self.network.clone();
        let attachment = Attachment { network, on_demand: false, internal: false, ports };
        self.jobs.insert(request.job, (request.node, attachment.clone()));
        Ok(attachment)
    }

    fn release(&mut self, _now_ms: InstantMs, job: JobId) {
        if let Some((node, attachment)) = self.jobs.remove(&job) {
            self.ports.give_back(job, &node, &attachment);
        }
    }

    fn attached(&mut self, job: JobId, node: String, what: Attachment) {
        self.ports.put(job, &node, &what);
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
        Ok(())
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
