//! What a site lets its users do, wherever they are known from: what auth policies share.

mod accounts;
mod volumes;

use std::collections::BTreeMap;

pub use self::{
    accounts::{Account, Accounts, Host, Passwords},
    volumes::mounts,
};
use crate::{
    Error, Setting, Settings,
    auth::{Denial, Grant, Identity, JobRequest, Role},
    bad_settings,
};

/// The volume that needs no settings.
pub const HOME: &str = "home";

/// Where it is mounted.
pub const HOME_TARGET: &str = "/mnt/home";

/// The site's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Users who administrate Berth; so does root.
    pub administrators: Vec<String>,
    /// Groups whose members do.
    pub administrator_groups: Vec<String>,
    /// Users who operate it.
    pub operators: Vec<String>,
    /// Whether jobs may run as root at all.
    pub allow_root_jobs: bool,
    /// Volumes by name.
    pub volumes: BTreeMap<String, Volume>,
    /// Keys of executor options that everybody may use; one that ends in `*` stands for all that begin so.
    pub extensions: Vec<String>,
}

/// A folder on the nodes that jobs may ask for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Where it is on the node.
    pub path: String,
    /// Where it is in the job.
    pub target: String,
    /// Whether jobs may only read it.
    pub read_only: bool,
}

/// The settings that [`Site::read`] takes, each with a line for people.
#[must_use]
pub fn settings() -> Vec<Setting> {
    let lines = [
        ("administrators", "users who administrate Berth, with commas; root always does"),
        ("administrator-groups", "groups whose members administrate Berth, with commas"),
        ("operators", "users who operate Berth, with commas"),
        (
            "allow-root-jobs",
            "whether jobs may ask to run as root: true or false, which is usual; \
             outside a container, only those of administrators may",
        ),
        (
            "volumes.NAME.path",
            "a folder on the nodes that jobs may ask for as NAME; $USER, $HOME and $UID stand \
             for those of the job's owner",
        ),
        ("volumes.NAME.target", "where it is mounted in the job; /mnt/NAME unless given"),
        ("volumes.NAME.mode", "ro, which is usual, or rw"),
        (
            "extensions.allow",
            "keys of executor options that everybody may use, with commas; docker.* stands for \
             all that begin so",
        ),
    ];
    let setting = |(key, about): (&str, &str)| Setting { key: key.to_owned(), value: about.to_owned() };
    lines.map(setting).into()
}

impl Site {
    /// Reads the settings.
    ///
    /// # Errors
    /// `bad-settings` that name the one that makes no sense.
    pub fn read(settings: &mut Settings) -> Result<Self, Error> {
        Ok(Self {
            administrators: settings.list("administrators"),
            administrator_groups: settings.list("administrator-groups"),
            operators: settings.list("operators"),
            allow_root_jobs: settings.parse("allow-root-jobs", "true or false")?.unwrap_or(false),
            volumes: volumes(settings.table("volumes"))?,
            extensions: settings.list("extensions.allow"),
        })
    }

    /// What a user may do beyond others. `in_group` says whether they are in a group of this name.
    ///
    /// # Errors
    /// What `in_group` says instead of an answer.
    pub fn roles<E>(
        &self,
        user: &str,
        uid: u32,
        mut in_group: impl FnMut(&str) -> Result<bool, E>,
    ) -> Result<Vec<Role>, E> {
        let mut administrates = uid == 0 || self.administrators.iter().any(|name| name == user);
        for group in &self.administrator_groups {
            administrates = administrates || in_group(group)?;
        }
        let mut roles = Vec::new();
        if administrates {
            roles.push(Role::Administrator);
        }
        if self.operators.iter().any(|name| name == user) {
            roles.push(Role::Operator);
        }
        Ok(roles)
    }

    /// What a job is granted of what it asks for.
    ///
    /// # Errors
    /// When it may not be root, or a volume's path cannot be made for its owner.
    pub fn authorise(&self, who: &Identity, job: JobRequest) -> Result<Grant, Denial> {
        if job.as_root {
            self.may_be_root(who, &job)?;
        }
        Ok(Grant {
            mounts: mounts(self, who, &job.volumes, job.as_root)?,
            as_root: job.as_root,
            extensions: job.extensions.into_iter().filter(|key| self.allows(key)).collect(),
        })
    }

    /// Root in a container is one thing, root on the machine another.
    fn may_be_root(&self, who: &Identity, job: &JobRequest) -> Result<(), Denial> {
        if !self.allow_root_jobs {
            return Err(Denial::Forbidden("jobs may not run as root here".to_owned()));
        }
        if job.image.is_none() && !who.roles.contains(&Role::Administrator) {
            let words = "only an administrator's job may run as root outside a container";
            return Err(Denial::Forbidden(words.to_owned()));
        }
        Ok(())
    }

    /// Whether everybody may use this key of an executor's options.
    #[must_use]
    pub fn allows(&self, extension: &str) -> bool {
        self.extensions.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(prefix) => extension.starts_with(prefix),
            None => allowed == extension,
        })
    }
}

fn volumes(table: Vec<(String, String)>) -> Result<BTreeMap<String, Volume>, Error> {
    let mut parts: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (key, value) in table {
        let Some((name, part)) = key.rsplit_once('.').filter(|(name, _)| !name.is_empty()) else {
            return Err(bad_settings(format!("volumes.{key} is not volumes.NAME.path, .target or .mode")));
        };
        parts.entry(name.to_owned()).or_default().insert(part.to_owned(), value);
    }
    parts.into_iter().map(|(name, parts)| Ok((name.clone(), volume(&name, parts)?))).collect()
}

fn volume(name: &str, mut parts: BTreeMap<String, String>) -> Result<Volume, Error> {
    if name == HOME {
        return Err(bad_settings("the volume home is every user's own home and cannot be set"));
    }
    let path = parts.remove("path").ok_or_else(|| bad_settings(format!("volumes.{name} has no path")))?;
    let target = parts.remove("target").unwrap_or_else(|| format!("/mnt/{name}"));
    // A path may begin with $HOME, which is absolute.
    if !path.starts_with('/') && !path.starts_with("$HOME") {
        return Err(bad_settings(format!("volumes.{name}.path = {path:?} does not begin with /")));
    }
    if !target.starts_with('/') && !target.starts_with("$HOME") {
        return Err(bad_settings(format!("volumes.{name}.target = {target:?} does not begin with /")));
    }
    let read_only = match parts.remove("mode").as_deref() {
        None | Some("ro") => true,
        Some("rw") => false,
        Some(mode) => {
            return Err(bad_settings(format!("volumes.{name}.mode = {mode:?} is neither ro nor rw")));
        }
    };
    match parts.into_keys().next() {
        None => Ok(Volume { path, target, read_only }),
        Some(part) => Err(bad_settings(format!("volumes.{name}.{part} is not one of path, target and mode"))),
    }
}
