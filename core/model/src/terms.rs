//! What administrators set of users, projects and groups.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    AccountKind, Bound, GUEST_PREFIX, Limits, Measure, ProjectVolume, parse_bytes, parse_cpus, parse_disk,
    parse_duration, type_disk,
};

/// The priority of whoever nobody has set one for.
const USUAL_PRIORITY: u8 = 50;
/// The highest one.
const MOST_PRIORITY: u8 = 100;
/// The most shares of one account.
const MOST_SHARES: u32 = 1_000_000;
/// The longest name, in bytes.
const MOST_NAME: usize = 64;
/// The longest description, in bytes.
const MOST_ABOUT: usize = 1000;
/// The most members of a project.
const MOST_MEMBERS: usize = 10_000;
/// The most volumes of a project.
const MOST_VOLUMES: usize = 100;

/// What an administrator has set of an account. What is left out is as it is for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AccountTerms {
    /// What it is, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// From 0 to 100; schedulers may put the jobs of higher ones first.
    pub priority: u8,
    /// Its part of the site beside its siblings: projects beside projects, users beside the others of a project.
    pub shares: u32,
    /// Bounds in place of the usual ones.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Takes no new jobs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub barred: bool,
    /// Of a project: the group that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Of a project: the users who may submit to it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<String>,
    /// Of a project: members see and control each other's jobs in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Of a project: volumes of its own, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, ProjectVolume>,
}

impl Default for AccountTerms {
    fn default() -> Self {
        Self {
            about: String::new(),
            priority: USUAL_PRIORITY,
            shares: 1,
            limits: Limits::default(),
            barred: false,
            group: None,
            members: BTreeSet::new(),
            shared: false,
            volumes: BTreeMap::new(),
        }
    }
}

/// Why terms cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Out of its range.
    #[error("{what} is {value}; it has to be from {least} to {most}")]
    Range {
        /// What.
        what: &'static str,
        /// The value.
        value: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// Only some kinds of accounts have it.
    #[error("only a {of} has {what}, and this is a {kind}")]
    NotHere {
        /// What.
        what: &'static str,
        /// Which kind has it.
        of: &'static str,
        /// Which kind this is.
        kind: AccountKind,
    },
    /// Classes are not set by commands.
    #[error("what a class may use stands in berth.toml, under [[classes]]")]
    OfTheFile,
    /// Not a name.
    #[error(
        "{0:?} is no name: a name has letters, digits, and -_.@ after the first sign, and at most {MOST_NAME} of them"
    )]
    Name(String),
    /// A project cannot have this volume.
    #[error("volume {name}: {why}")]
    Volume {
        /// Its name.
        name: String,
        /// Why not.
        why: String,
    },
    /// Not a bound that there is.
    #[error("{0:?} is no bound; the bounds are {all}", all = Limits::KEYS.join(", "))]
    NoSuchBound(String),
    /// A bound's value cannot be read.
    #[error("{key} = {text:?}: {why}")]
    Value {
        /// The bound.
        key: String,
        /// What was given.
        text: String,
        /// Why not.
        why: String,
    },
}

impl AccountTerms {
    /// Whether an account of this kind and name can have them.
    ///
    /// # Errors
    /// What does not do.
    pub fn check(&self, kind: AccountKind, name: &str) -> Result<(), TermsError> {
        if kind == AccountKind::Member {
            let of = "user, project or group";
            return Err(TermsError::NotHere { what: "terms of its own", of, kind });
        }
        if matches!(kind, AccountKind::Class | AccountKind::ClassUser) {
            return Err(TermsError::OfTheFile);
        }
        // Only people are guests.
        let person = |name: &str| check_name(name.strip_prefix(GUEST_PREFIX).unwrap_or(name));
        match kind {
            AccountKind::User => person(name)?,
            _ => check_name(name)?,
        }
        self.group.as_deref().map_or(Ok(()), check_name)?;
        self.members.iter().try_for_each(|member| person(member))?;
        self.volumes.keys().try_for_each(|volume| check_name(volume))?;
        for (name, volume) in &self.volumes {
            if let Some(why) = volume.fault(name) {
                return Err(TermsError::Volume { name: name.clone(), why });
            }
        }
        let ranges = [
            ("priority", u64::from(self.priority), 0, u64::from(MOST_PRIORITY)),
            ("shares", u64::from(self.shares), 0, u64::from(MOST_SHARES)),
            ("the description's length", self.about.len() as u64, 0, MOST_ABOUT as u64),
            ("the number of members", self.members.len() as u64, 0, MOST_MEMBERS as u64),
            ("the number of volumes", self.volumes.len() as u64, 0, MOST_VOLUMES as u64),
        ];
        for (what, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(TermsError::Range { what, value, least, most });
            }
        }
        let of_project = [
            ("a group", self.group.is_some()),
            ("members", !self.members.is_empty()),
            ("shared jobs", self.shared),
            ("volumes of its own", !self.volumes.is_empty()),
        ];
        if kind != AccountKind::Project
            && let Some((what, _)) = of_project.into_iter().find(|&(_, has)| has)
        {
            return Err(TermsError::NotHere { what, of: "project", kind });
        }
        if kind != AccountKind::User && self.limits.pending.is_some() {
            return Err(TermsError::NotHere { what: "a bound on what waits", of: "user", kind });
        }
        Ok(())
    }

    /// What differs from those before, in words, for a history.
    #[must_use]
    pub fn changes_from(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut change = |what: &str, was: String, is: String| {
            if was != is {
                changes.push(format!("{what} {was} -> {is}"));
            }
        };
        change("about", format!("{:?}", before.about), format!("{:?}", self.about));
        change("priority", before.priority.to_string(), self.priority.to_string());
        change("shares", before.shares.to_string(), self.shares.to_string());
        for (key, was, is) in before.limits.beside(&self.limits) {
            change(key, was, is);
        }
        let words = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        change("barred", words(before.barred), words(self.barred));
        change("shared", words(before.shared), words(self.shared));
        let group = |terms: &Self| terms.group.clone().unwrap_or_else(|| "none".into());
        change("group", group(before), group(self));
        let parts = [
            ("+", self.members.difference(&before.members)),
            ("-", before.members.difference(&self.members)),
        ];
        for (sign, members) in parts {
            changes.extend(members.map(|member| format!("member {sign}{member}")));
        }
        let names: BTreeSet<&String> = before.volumes.keys().chain(self.volumes.keys()).collect();
        for name in names {
            let words =
                |terms: &Self| terms.volumes.get(name).map_or_else(|| "none".into(), ToString::to_string);
            let (was, is) = (words(before), words(self));
            if was != is {
                changes.push(format!("volume {name} {was} -> {is}"));
            }
        }
        changes
    }
}

/// Whether an account or a reservation can be named so.
pub(crate) fn check_name(name: &str) -> Result<(), TermsError> {
    let inner = |sign: char| sign.is_alphanumeric() || "-_.@".contains(sign);
    let starts = name.chars().next().is_some_and(|first| first.is_alphanumeric() || first == '_');
    if starts && name.len() <= MOST_NAME && name.chars().all(inner) {
        return Ok(());
    }
    Err(TermsError::Name(name.to_owned()))
}

impl Limits {
    /// The bounds by their names, as berth.toml and `berth quota` have them.
    pub const KEYS: [&'static str; 12] = [
        "wall-time",
        "cpu-time",
        "memory-time",
        "cpus",
        "memory",
        "jobs",
        "pending",
        "running-jobs",
        "running-cpus",
        "running-memory",
        "running-gpus",
        "disk",
    ];

    /// Whether nothing is bounded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Sets a bound as people write it; `none` takes it away.
    ///
    /// # Errors
    /// When there is no such bound, or not such a value.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), TermsError> {
        let wrong = |why: String| TermsError::Value { key: key.to_owned(), text: text.to_owned(), why };
        let is_none = text == "none";
        let span = || {
            let span = parse_duration(text).map_err(|error| wrong(error.to_string()))?;
            match u64::try_from(span.as_millis()) {
                Ok(millis) if span >= Duration::from_secs(1) => Ok(millis),
                _ => Err(wrong("at least a second".into())),
            }
        };
        let number = || match text.parse::<u64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(wrong("a whole number above 0 is needed".into())),
        };
        let cpus = || parse_cpus(text).map_err(|error| wrong(error.to_string()));
        let memory = || parse_bytes(text).map(|bytes| bytes >> 20).map_err(|error| wrong(error.to_string()));
        let disk = || match parse_disk(text) {
            Ok(0) => Err(wrong("more than nothing is needed".into())),
            read => read.map_err(|error| wrong(error.to_string())),
        };
        macro_rules! put {
            ($field:ident, $value:expr) => {
                self.$field = if is_none { None } else { Some($value?) }
            };
        }
        match key {
            "wall-time" => put!(wall_ms, span()),
            "cpu-time" => put!(cpu_ms, span()),
            "memory-time" => put!(memory_mib_ms, span().map(|millis| millis.saturating_mul(1024))),
            "cpus" => put!(cpu_millis, cpus()),
            "memory" => put!(memory_mib, memory()),
            "jobs" => put!(jobs, number()),
            "pending" => put!(pending, number()),
            "running-jobs" => put!(running_jobs, number()),
            "running-cpus" => put!(running_cpu_millis, cpus()),
            "running-memory" => put!(running_memory_mib, memory()),
            "running-gpus" => put!(running_gpus, number()),
            "disk" => put!(disk_bytes, disk()),
            _ => return Err(TermsError::NoSuchBound(key.to_owned())),
        }
        Ok(())
    }

    /// The bounds that are set: names and amounts, for people.
    #[must_use]
    pub fn told(&self) -> Vec<(&'static str, String)> {
        let amount = |measure, limit: Option<u64>| limit.map(|limit| Bound { measure, limit }.to_string());
        let [wall, cpu, memory_time, cpus, memory, jobs, pending, running @ .., disk] = Self::KEYS;
        let [running_jobs, running_cpus, running_memory, running_gpus] = running;
        [
            (wall, amount(Measure::WallTime, self.wall_ms)),
            (cpu, amount(Measure::CpuTime, self.cpu_ms)),
            (memory_time, amount(Measure::MemoryTime, self.memory_mib_ms)),
            (cpus, amount(Measure::Cpus, self.cpu_millis)),
            (memory, amount(Measure::Memory, self.memory_mib)),
            (jobs, amount(Measure::Jobs, self.jobs)),
            (pending, amount(Measure::Jobs, self.pending)),
            (running_jobs, amount(Measure::RunningJobs, self.running_jobs)),
            (running_cpus, amount(Measure::RunningCpus, self.running_cpu_millis)),
            (running_memory, amount(Measure::RunningMemory, self.running_memory_mib)),
            (running_gpus, amount(Measure::RunningGpus, self.running_gpus)),
            (disk, amount(Measure::Disk, self.disk_bytes)),
        ]
        .into_iter()
        .filter_map(|(key, amount)| Some((key, amount?)))
        .collect()
    }

    /// The bounds that are set, as [`Limits::set`] reads them.
    #[must_use]
    pub fn typed(&self) -> Vec<(&'static str, String)> {
        let span = |millis: u64| match millis {
            millis if millis % 3_600_000 == 0 => format!("{}h", millis / 3_600_000),
            millis if millis % 60_000 == 0 => format!("{}m", millis / 60_000),
            millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
            millis => format!("{millis}ms"),
        };
        let cpus = |millis: u64| match millis % 1000 {
            0 => format!("{}", millis / 1000),
            _ => format!("{millis}m"),
        };
        let memory = |mib: u64| match mib % 1024 {
            0 => format!("{}G", mib / 1024),
            _ => format!("{mib}M"),
        };
        let number = |number: u64| number.to_string();
        let [wall, cpu, memory_time, cpu_count, memory_size, jobs, pending, running @ .., disk] = Self::KEYS;
        let [running_jobs, running_cpus, running_memory, running_gpus] = running;
        [
            (wall, self.wall_ms.map(span)),
            (cpu, self.cpu_ms.map(span)),
            (memory_time, self.memory_mib_ms.map(|amount| span(amount / 1024))),
            (cpu_count, self.cpu_millis.map(cpus)),
            (memory_size, self.memory_mib.map(memory)),
            (jobs, self.jobs.map(number)),
            (pending, self.pending.map(number)),
            (running_jobs, self.running_jobs.map(number)),
            (running_cpus, self.running_cpu_millis.map(cpus)),
            (running_memory, self.running_memory_mib.map(memory)),
            (running_gpus, self.running_gpus.map(number)),
            (disk, self.disk_bytes.map(type_disk)),
        ]
        .into_iter()
        .filter_map(|(key, text)| Some((key, text?)))
        .collect()
    }

    /// Each bound with its amounts here and there, where they differ.
    fn beside(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let (here, there) = (self.told(), other.told());
        let of = |told: &[(&str, String)], key: &str| {
            let found = told.iter().find(|(name, _)| *name == key);
            found.map_or_else(|| "none".to_owned(), |(_, amount)| amount.clone())
        };
        Self::KEYS
            .into_iter()
            .map(|key| (key, of(&here, key), of(&there, key)))
            .filter(|(_, here, there)| here != there)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_set_as_people_write_them() {
        let mut limits = Limits::default();
        let texts = ["2h", "1d", "30m", "4", "16G", "100", "7", "5", "2.5", "8G", "1", "50g"];
        for (key, text) in Limits::KEYS.into_iter().zip(texts) {
            limits.set(key, text).unwrap();
        }
        let all = Limits {
            wall_ms: Some(7_200_000),
            cpu_ms: Some(86_400_000),
            memory_mib_ms: Some(1_800_000 * 1024),
            cpu_millis: Some(4000),
            memory_mib: Some(16 << 10),
            jobs: Some(100),
            pending: Some(7),
            running_jobs: Some(5),
            running_cpu_millis: Some(2500),
            running_memory_mib: Some(8 << 10),
            running_gpus: Some(1),
            disk_bytes: Some(50_000_000_000),
        };
        assert_eq!(limits, all);
        let typed: Vec<String> = limits.typed().into_iter().map(|(_, text)| text).collect();
        assert_eq!(typed, ["2h", "24h", "30m", "4", "16G", "100", "7", "5", "2500m", "8G", "1", "50g"]);
        let told: Vec<String> =
            limits.told().into_iter().map(|(key, amount)| format!("{key}: {amount}")).collect();
        assert_eq!(
            told.join(", "),
            "wall-time: 2.00 h of running, cpu-time: 24.00 core-hours, memory-time: 0.50 GiB-hours, cpus: 4 CPUs, \
             memory: 16G of memory, jobs: 100 jobs, pending: 7 jobs, running-jobs: 5 jobs, running-cpus: 2.5 CPUs, \
             running-memory: 8G of memory, running-gpus: 1 GPUs, disk: 50GB of job directories"
        );
        for key in Limits::KEYS {
            limits.set(key, "none").unwrap();
        }
        assert!(limits.is_empty());
    }

    #[test]
    fn what_is_no_bound_is_refused_with_the_reason() {
        let refused = |key, text| Limits::default().set(key, text).unwrap_err().to_string();
        assert!(refused("disc", "1G").starts_with("\"disc\" is no bound; the bounds are wall-time, "));
        assert_eq!(refused("jobs", "0"), "jobs = \"0\": a whole number above 0 is needed");
        assert_eq!(refused("cpu-time", "1ms"), "cpu-time = \"1ms\": at least a second");
        assert_eq!(refused("disk", "0"), "disk = \"0\": more than nothing is needed");
        assert!(refused("disk", "10x").starts_with("disk = \"10x\": "));
        assert!(refused("cpu-time", "soon").starts_with("cpu-time = \"soon\": "));
    }

    #[test]
    fn terms_are_checked_against_the_kind_of_account() {
        let project = AccountTerms { members: ["ann".into()].into(), ..AccountTerms::default() };
        assert_eq!(project.check(AccountKind::Project, "rna"), Ok(()));
        let refused = |terms: &AccountTerms, kind, name| terms.check(kind, name).unwrap_err().to_string();
        assert_eq!(
            refused(&project, AccountKind::User, "ann"),
            "only a project has members, and this is a user"
        );
        let plain = AccountTerms::default();
        assert!(refused(&plain, AccountKind::Project, "a/b").starts_with("\"a/b\" is no name"));
        assert!(refused(&plain, AccountKind::Project, "").starts_with("\"\" is no name"));
        let of_guests = AccountTerms { members: ["guest:abc".into()].into(), ..AccountTerms::default() };
        assert_eq!(of_guests.check(AccountKind::Project, "rna"), Ok(()));
        assert_eq!(plain.check(AccountKind::User, "guest:abc"), Ok(()));
        for (kind, name) in [
            (AccountKind::Project, "guest:abc"),
            (AccountKind::Group, "guest:abc"),
            (AccountKind::User, "guest:"),
            (AccountKind::User, "guest:a:b"),
            (AccountKind::User, "a:b"),
        ] {
            assert!(refused(&plain, kind, name).contains("is no name"), "{kind} {name}");
        }
        let high = AccountTerms { priority: 101, ..AccountTerms::default() };
        assert_eq!(refused(&high, AccountKind::User, "ann"), "priority is 101; it has to be from 0 to 100");
        let waits = AccountTerms {
            limits: Limits { pending: Some(1), ..Limits::default() },
            ..AccountTerms::default()
        };
        assert!(waits.check(AccountKind::User, "ann").is_ok());
        assert_eq!(
            refused(&waits, AccountKind::Project, "rna"),
            "only a user has a bound on what waits, and this is a project"
        );
    }

    #[test]
    fn a_change_is_told_by_what_differs() {
        let before = AccountTerms { members: ["ann".into(), "bob".into()].into(), ..AccountTerms::default() };
        let mut after =
            AccountTerms { priority: 80, members: ["bob".into(), "cy".into()].into(), ..before.clone() };
        after.limits.jobs = Some(5);
        assert_eq!(
            after.changes_from(&before),
            ["priority 50 -> 80", "jobs none -> 5 jobs", "member +cy", "member -ann"]
        );
        assert!(after.changes_from(&after).is_empty());
    }
}
