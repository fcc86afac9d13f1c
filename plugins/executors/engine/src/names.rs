//! By what Berth finds its things in an engine again.

use std::collections::HashMap;

use berth_executor_api::Launch;

/// Labels as the engine takes them.
pub type Labels = HashMap<String, String>;

/// The names of Berth's labels. Users cannot set any that begin with `berth.`.
pub mod label {
    /// What all of them begin with.
    pub const PREFIX: &str = "berth.";
    /// The cluster that a thing belongs to: what is cleaned up together.
    pub const CLUSTER: &str = "berth.cluster";
    /// The job's number.
    pub const JOB: &str = "berth.job";
    /// The attempt's name.
    pub const ATTEMPT: &str = "berth.attempt";
    /// The user's login name.
    pub const USER: &str = "berth.user";
    /// The project.
    pub const PROJECT: &str = "berth.project";
    /// The job's name.
    pub const NAME: &str = "berth.name";
    /// The number of the task's array.
    pub const ARRAY: &str = "berth.array";
    /// The task's index.
    pub const TASK: &str = "berth.task";
    /// What a network or a volume is for.
    pub const ROLE: &str = "berth.role";
}

/// The labels of one attempt: the user's own, and Berth's, which they cannot override.
#[must_use]
pub fn labels_of(launch: &Launch) -> Labels {
    let spec = &launch.spec;
    let own = spec.labels.iter().filter(|(name, _)| !name.starts_with(label::PREFIX));
    let mut all: Labels = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
    set(label::CLUSTER, spec.cluster.clone());
    set(label::JOB, launch.job.to_string());
    set(label::ATTEMPT, launch.attempt.to_string());
    set(label::USER, spec.identity.user.clone());
    set(label::PROJECT, spec.project.clone());
    set(label::NAME, spec.name.clone());
    if let Some(task) = launch.task {
        set(label::ARRAY, task.array.to_string());
        set(label::TASK, task.index.to_string());
    }
    all
}

/// A filter for what carries this label with this value.
#[must_use]
pub fn filter(name: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{name}={value}")])])
}
