//! What GO-Docker's clients send, as far as Berth makes something of it. They send whole documents back, with dates,
//! states and much else that is the server's; all that is not named here is passed over.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

/// Its clients write `null` where they mean nothing at all.
fn lenient<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Text, or a whole number that stands for it: its clients send either.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected text or a whole number that is not negative")]
pub(super) enum Loose {
    Number(u64),
    Text(String),
}

impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.trim().fmt(f),
        }
    }
}

/// A log-in. Never printed: it has a secret.
#[derive(Deserialize)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) apikey: String,
}

/// A task that is to run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Task {
    #[serde(deserialize_with = "lenient")]
    pub(super) user: Owner,
    #[serde(deserialize_with = "lenient")]
    pub(super) meta: Meta,
    #[serde(deserialize_with = "lenient")]
    pub(super) notify: Notify,
    #[serde(deserialize_with = "lenient")]
    pub(super) requirements: Requirements,
    #[serde(deserialize_with = "lenient")]
    pub(super) container: Container,
    #[serde(deserialize_with = "lenient")]
    pub(super) command: Command,
}

/// Whose it is to be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    pub(super) id: Option<String>,
    pub(super) project: Option<String>,
}

/// For people.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Meta {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) tags: Vec<String>,
}

/// Who is to hear of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Notify {
    #[serde(deserialize_with = "lenient")]
    pub(super) email: bool,
}

/// What it needs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Requirements {
    /// Cores.
    #[serde(deserialize_with = "lenient")]
    pub(super) cpu: u64,
    /// Units of 2^30 bytes.
    #[serde(deserialize_with = "lenient")]
    pub(super) ram: u64,
    #[serde(deserialize_with = "lenient")]
    pub(super) gpus: u32,
    #[serde(deserialize_with = "lenient")]
    pub(super) array: Array,
    #[serde(deserialize_with = "lenient")]
    pub(super) label: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) tasks: Vec<Loose>,
    pub(super) tmpstorage: Option<Scratch>,
    #[serde(deserialize_with = "lenient")]
    pub(super) ports: Vec<u16>,
    pub(super) network: Option<String>,
    pub(super) executor: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) failure_policy: u32,
    pub(super) maxlifespan: Option<Loose>,
    #[serde(deserialize_with = "lenient")]
    pub(super) uris: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) godflow: bool,
}

/// `N`, `FIRST:LAST` or `FIRST:LAST:STEP`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Array {
    pub(super) values: Option<Loose>,
}

/// Local scratch space.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Scratch {
    pub(super) size: Option<Loose>,
}

/// Where it runs in.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Container {
    pub(super) image: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) volumes: Vec<Volume>,
    pub(super) network: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    pub(super) root: bool,
}

/// A volume by its name. Where it lies is the site's to say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Volume {
    pub(super) name: String,
    #[serde(default)]
    pub(super) acl: Option<String>,
}

/// What it does.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Command {
    #[serde(deserialize_with = "lenient")]
    pub(super) interactive: bool,
    pub(super) cmd: Option<String>,
}

/// A user's document on its way back.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) usage: Quotas,
}

/// What an administrator sets; 0 stands for no bound. What is left out stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Quotas {
    /// From 0 to 100.
    pub(super) prio: Option<u8>,
    /// Seconds that jobs ran.
    pub(super) quota_time: Option<f64>,
    /// Cores.
    pub(super) quota_cpu: Option<u64>,
    /// Units of 2^30 bytes.
    pub(super) quota_ram: Option<u64>,
}

/// A project's document.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Project {
    #[serde(deserialize_with = "lenient")]
    pub(super) id: String,
    pub(super) description: Option<String>,
    pub(super) members: Option<Vec<String>>,
    #[serde(flatten)]
    pub(super) quotas: Quotas,
    pub(super) volumes: Option<Vec<ProjectVolume>>,
}

/// A volume of a project.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct ProjectVolume {
    pub(super) name: String,
    pub(super) path: String,
    /// Where tasks see it.
    #[serde(default)]
    pub(super) mount: Option<String>,
    /// `ro`, which is usual, or `rw`.
    #[serde(default)]
    pub(super) acl: Option<String>,
}

/// A change of what a task asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) value: Loose,
}

/// Which ended tasks are to be listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    pub(super) regex: Option<String>,
}
