//! `[[classes]]`: kinds of jobs that a site bounds and ranks as such, each with those who may use it.

use std::{collections::BTreeSet, time::Duration};

use berth_model::JobSpec;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    check::{Check, bounds},
    quantity::{Cpus, Size, Span},
    raw::{At, RawBounds},
};

/// `[[classes]]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawClass {
    /// What jobs name: lower-case letters, digits and dashes.
    pub name: At<String>,
    /// Whether jobs that name no class are of this one.
    #[schemars(extend("default" = false))]
    pub default: At<bool>,
    /// Users whose jobs may be of it. Where neither users nor groups nor projects are named, everybody's may.
    #[schemars(extend("default" = []))]
    pub users: Vec<At<String>>,
    /// Groups of projects, likewise.
    #[schemars(extend("default" = []))]
    pub groups: Vec<At<String>>,
    /// Projects, likewise.
    #[schemars(extend("default" = []))]
    pub projects: Vec<At<String>>,
    /// The priority of its jobs that name none. It may be higher than what users may give.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: Option<At<i32>>,
    /// The time limit of its jobs that name none, in place of jobs.default-time.
    #[schemars(extend("least" = "1s"))]
    pub default_time: Option<At<Span>>,
    /// The longest time limit of its jobs, in place of jobs.longest-time.
    #[schemars(extend("least" = "1s"))]
    pub longest_time: Option<At<Span>>,
    /// The most that a single job, or a task of an array, may ask for.
    pub job: RawMost,
    /// What all its jobs together may use.
    pub all: RawBounds,
    /// What each user's jobs of it may use.
    pub user: RawBounds,
}

/// The most that one job may ask for. What is left out is not bounded.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub struct RawMost {
    /// CPUs.
    pub cpus: Option<At<Cpus>>,
    /// Memory.
    pub memory: Option<At<Size>>,
    /// Whole GPUs.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub gpus: Option<At<u32>>,
}

/// One of `[[classes]]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// What jobs name.
    pub name: String,
    /// Whether jobs that name none are of it.
    pub default: bool,
    /// Whose jobs may be of it.
    pub users: BTreeSet<String>,
    /// Likewise, by the group of the job's project.
    pub groups: BTreeSet<String>,
    /// Likewise, by the job's project.
    pub projects: BTreeSet<String>,
    /// The priority of jobs that name none.
    pub priority: Option<i32>,
    /// The time limit of jobs that name none.
    pub default_time: Option<Duration>,
    /// The longest time limit.
    pub longest_time: Option<Duration>,
    /// The most CPUs of one job, in thousandths.
    pub most_cpu_millis: Option<u64>,
    /// The most memory of one job.
    pub most_memory_bytes: Option<u64>,
    /// The most GPUs of one job.
    pub most_gpus: Option<u32>,
    /// What all its jobs may use.
    pub all: berth_model::Limits,
    /// What each user's jobs of it may use.
    pub user: berth_model::Limits,
}

impl Class {
    /// Whether somebody's job may be of it that is in this project, and the project in this group.
    #[must_use]
    pub fn admits(&self, user: &str, project: &str, group: Option<&str>) -> bool {
        let everybody = self.users.is_empty() && self.groups.is_empty() && self.projects.is_empty();
        everybody
            || self.users.contains(user)
            || self.projects.contains(project)
            || group.is_some_and(|group| self.groups.contains(group))
    }

    /// What a job asks for that is more than one job of this class may have: its field, and words.
    #[must_use]
    pub fn beyond(&self, spec: &JobSpec) -> Option<(&'static str, String)> {
        let needs = &spec.resources;
        let cpus =
            |millis: u64| berth_model::Resources { cpu_millis: millis, ..Default::default() }.to_string();
        if let Some(most) = self.most_cpu_millis.filter(|&most| needs.cpu_millis > most) {
            return Some(("cpus", format!("a job of class {} may have at most {}", self.name, cpus(most))));
        }
        if let Some(most) = self.most_memory_bytes.filter(|&most| needs.memory_bytes > most) {
            let most = berth_model::format_bytes(most);
            return Some(("memory", format!("a job of class {} may have at most {most}", self.name)));
        }
        let most = self.most_gpus.filter(|&most| needs.gpus > most)?;
        Some(("gpus", format!("a job of class {} may have at most {most} GPUs", self.name)))
    }
}

impl Check<'_> {
    pub(crate) fn classes(&mut self, raw: &[At<RawClass>]) -> Vec<Class> {
        let mut classes: Vec<Class> = Vec::with_capacity(raw.len());
        for class in raw {
            self.name("a class's name", &class.name, &class.name.span());
            if classes.iter().any(|other| other.name == **class.name) {
                let message = format!("two classes are called {:?}", class.name.as_str());
                self.error(&class.name.span(), message, "call this one something else");
            }
            if *class.default
                && let Some(other) = classes.iter().find(|other| other.default)
            {
                let message =
                    format!("classes {:?} and {:?} are both the default", other.name, class.name.as_str());
                self.error(&class.default.span(), message, "take this one out");
            }
            if let (Some(usual), Some(longest)) = (&class.default_time, &class.longest_time)
                && usual.0 > longest.0
            {
                let message =
                    format!("class {:?}: default-time is longer than longest-time", class.name.as_str());
                self.error(&usual.span(), message, "make it shorter");
            }
            for bounds in [&class.all, &class.user] {
                self.bounds_of_starts(class.name.as_str(), bounds);
            }
            classes.push(checked(class));
        }
        classes
    }

    /// What waits, and what lies on the disk, is counted for users, projects and groups.
    fn bounds_of_starts(&mut self, class: &str, raw: &RawBounds) {
        let spans =
            [("pending", raw.pending.as_ref().map(At::span)), ("disk", raw.disk.as_ref().map(At::span))];
        for (key, span) in spans {
            if let Some(span) = span {
                let message = format!("class {class:?}: classes do not bound `{key}`");
                self.error(&span, message, "set it in [quotas]");
            }
        }
    }
}

fn checked(raw: &RawClass) -> Class {
    let names = |names: &[At<String>]| names.iter().map(At::value).collect();
    Class {
        name: raw.name.value(),
        default: *raw.default,
        users: names(&raw.users),
        groups: names(&raw.groups),
        projects: names(&raw.projects),
        priority: raw.priority.as_ref().map(|priority| **priority),
        default_time: raw.default_time.as_ref().map(|time| time.0),
        longest_time: raw.longest_time.as_ref().map(|time| time.0),
        most_cpu_millis: raw.job.cpus.as_ref().map(|cpus| cpus.0),
        most_memory_bytes: raw.job.memory.as_ref().map(|memory| memory.0),
        most_gpus: raw.job.gpus.as_ref().map(|gpus| **gpus),
        all: bounds(&raw.all),
        user: bounds(&raw.user),
    }
}
