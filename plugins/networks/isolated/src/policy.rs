//! Networks of single users and of single projects.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, Network, Settings, bad_settings, info,
    network::{Attachment, NetworkRequest, Refusal},
    ports::{HostPorts, PortRange, answers},
};

/// What a job may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    /// The network of everybody.
    Public,
    /// That of its user's jobs.
    User,
    /// That of its project's jobs.
    Project,
}

/// Keeps jobs of one user, or of one project, among themselves. What it keeps is told to a fresh instance by
/// `attached`.
#[derive(Clone, Debug)]
pub struct Isolated {
    public: String,
    usual: Label,
    internal: bool,
    ports: HostPorts,
    jobs: BTreeMap<JobId, (String, Attachment)>,
}

impl Network for Isolated {
    fn describe() -> Info {
        info!(
            "isolated",
            "a network for everybody, and one for each user and each project that others do not reach",
            "usual" => "the network of jobs that name none and publish ports: public unless given, or user or project",
            "public" => "the back end's network for public, such as that of a CNI plugin; the executor's usual one unless given",
            "internal" => "whether users' and projects' networks lead nowhere else: false unless given, or true",
            "port-range" => "the host ports that published ports get; 20000-29999 unless given",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let usual = match settings.take("usual") {
            None => Label::Public,
            Some(text) => Label::read(&text)
                .ok_or_else(|| bad_settings(format!("usual = {text:?} is not public, user or project")))?,
        };
        let public = settings.take("public").unwrap_or_default();
        let internal = settings.parse("internal", "true or false")?.unwrap_or(false);
        let ports = HostPorts::new(PortRange::read(settings)?);
        Ok(Self { public: public.trim().to_owned(), usual, internal, ports, jobs: BTreeMap::new() })
    }

    fn attach(&mut self, now_ms: InstantMs, request: NetworkRequest) -> Result<Attachment, Refusal> {
        let wanted = self.wanted(&request)?;
        match self.jobs.get(&request.job) {
            Some((node, known)) if *node == request.node && answers(known, &request) => {
                return Ok(known.clone());
            }
            // It starts anew, elsewhere or otherwise.
            Some(_) => self.release(now_ms, request.job),
            None => {}
        }
        if wanted.internal && !request.ports.is_empty() {
            let words = "its network leads nowhere else, so its ports cannot be published; leave them out";
            return Err(Refusal::Never(words.into()));
        }
        let attachment = Attachment { ports: self.ports.take(&request)?, ..wanted };
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

impl Isolated {
    /// The network that a job is to have, without its ports.
    fn wanted(&self, request: &NetworkRequest) -> Result<Attachment, Refusal> {
        let label = match &request.label {
            None => self.usual,
            Some(text) => Label::read(text).ok_or_else(|| {
                let words = format!("there is no network {text:?} here; there are public, user and project");
                Refusal::Never(words)
            })?,
        };
        // What is of a user and what is of a project begin differently: neither can be named as the other.
        let network = match label {
            Label::Public => self.public.clone(),
            Label::User => format!("user-{}", request.user),
            Label::Project => format!("project-{}", request.project),
        };
        let on_demand = label != Label::Public;
        Ok(Attachment { network, on_demand, internal: on_demand && self.internal, ports: Vec::new() })
    }
}

impl Label {
    fn read(text: &str) -> Option<Self> {
        match text.trim() {
            "public" => Some(Self::Public),
            "user" => Some(Self::User),
            "project" => Some(Self::Project),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
