//! What has to be known of an attempt as long as its container exists. It lies in a label of the container,
//! so that a restarted Berth has it too.

use std::collections::BTreeSet;

use berth_docker_engine::{ImageRef, Labels};
use berth_executor_api::{Launch, files::Person};
use serde::{Deserialize, Serialize};

use crate::{
    extensions::{Extensions, Suspend},
    shares::Share,
};

/// The label's name.
const LABEL: &str = "berth.docker";

/// See the module. Never anything that a user keeps secret: labels are shown to everybody who may ask the
/// engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub stdout: String,
    pub stderr: String,
    pub uid: u32,
    pub gid: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub cores: BTreeSet<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// The image by the name that the user gave it.
    pub image: String,
    /// The image that this came to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_signal: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scratch: bool,
    /// Its control groups lie in one of its own, whose counts outlive the container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
    /// The network that was made for it and others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<OnDemand>,
}

/// A network that is made when an attempt needs it, and goes with the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OnDemand {
    /// By the policy's name.
    pub name: String,
    /// It leads nowhere but to the attempts in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
}

impl OnDemand {
    /// The one that an attempt needs, if it does.
    pub fn of(launch: &Launch, options: &Extensions) -> Option<Self> {
        let attachment = launch.spec.network.as_ref()?;
        let wanted = attachment.on_demand && options.net.is_none();
        wanted.then(|| Self { name: attachment.network.clone(), internal: attachment.internal })
    }
}

impl Facts {
    pub fn new(launch: &Launch, options: &Extensions, image: &ImageRef, share: &Share) -> Self {
        let person = person(launch);
        Self {
            stdout: launch.stdout.clone(),
            stderr: launch.stderr.clone(),
            uid: person.uid,
            gid: person.gid,
            groups: person.groups,
            cores: share.cores.clone(),
            gpus: share.gpus.clone(),
            image: image.full(),
            digest: None,
            tty: options.tty,
            by_signal: options.suspend == Suspend::Signal,
            scratch: launch.spec.scratch_bytes > 0,
            counted: false,
            network: OnDemand::of(launch, options),
        }
    }

    /// Of an attempt that never had a container, and needs nothing any more.
    pub fn nobody() -> Self {
        Self {
            stdout: String::new(),
            stderr: String::new(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            cores: BTreeSet::new(),
            gpus: Vec::new(),
            image: String::new(),
            digest: None,
            tty: false,
            by_signal: false,
            scratch: false,
            counted: false,
            network: None,
        }
    }

    /// Puts them among the labels.
    pub fn write(&self, labels: &mut Labels) {
        if let Ok(json) = serde_json::to_string(self) {
            labels.insert(LABEL.into(), json);
        }
    }

    /// Reads them; `None` where somebody else made the container.
    pub fn read(labels: &Labels) -> Option<Self> {
        serde_json::from_str(labels.get(LABEL)?).ok()
    }

    pub fn person(&self) -> Person {
        Person { uid: self.uid, gid: self.gid, groups: self.groups.clone() }
    }

    pub fn share(&self) -> Share {
        Share { cores: self.cores.clone(), gpus: self.gpus.clone() }
    }
}

/// Whom a job runs as.
pub(crate) fn person(launch: &Launch) -> Person {
    let identity = &launch.spec.identity;
    match launch.spec.as_root {
        true => Person { uid: 0, gid: 0, groups: Vec::new() },
        false => Person { uid: identity.uid, gid: identity.gid, groups: identity.groups.clone() },
    }
}
