//! By what Berth finds its things in a cluster again.

use std::collections::BTreeMap;

use berth_docker_engine::label;
use berth_executor_api::{AttemptName, Launch};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Annotations that only this executor reads.
pub(crate) mod annotation {
    /// The attempt's name, to the letter.
    pub const ATTEMPT: &str = "berth.attempt";
    /// A stop was asked for; the seconds between asking it to end and killing it.
    pub const STOP: &str = "berth.stop";
    /// How the attempt ended, where its Pod cannot be asked for it any more.
    pub const EXIT: &str = "berth.exit";
    /// Why Berth takes the attempt back that gets no further.
    pub const WITHDRAWN: &str = "berth.withdrawn";
    pub const STDOUT: &str = "berth.stdout";
    pub const STDERR: &str = "berth.stderr";
    /// User, group and further groups, with commas.
    pub const OWNER: &str = "berth.owner";
    /// It was suspended by Berth at least once.
    pub const SUSPENDED: &str = "berth.suspended";
    /// So much of the output is of Pods before the last suspension.
    pub const BASE: &str = "berth.output-base";
    /// Ports to be published by a Service.
    pub const PORTS: &str = "berth.ports";
    /// The labels that its user gave it.
    pub const LABELS: &str = "berth.labels";
    /// What files for the job's directory begin with.
    pub const FILE: &str = "berth.file-";
}

/// Who made a thing.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const MANAGER: &str = "berth";

/// The container of a job.
pub(crate) const CONTAINER: &str = "main";

/// The longest name of a Job whose Pods have names that it is the beginning of.
const LONGEST_NAME: usize = 57;
const LONGEST_LABEL: usize = 63;

pub(crate) fn is_dns_label(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte != b'-');
    text.len() <= LONGEST_LABEL
        && text.bytes().all(legal)
        && ends(text.bytes().next())
        && ends(text.bytes().next_back())
}

/// The text as a DNS label: itself where it is one, else something made of it that no other text becomes.
pub(crate) fn dns_label(text: &str) -> String {
    match is_dns_label(text) {
        true => text.to_owned(),
        false => distinct(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), LONGEST_LABEL),
    }
}

/// The name of the Job, and of what belongs to it, that carries an attempt.
pub(crate) fn object_name(attempt: &AttemptName) -> String {
    let text = attempt.as_str();
    let letter = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    match is_dns_label(text) && letter && text.len() <= LONGEST_NAME {
        true => text.to_owned(),
        false => format!(
            "b-{}",
            distinct(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), LONGEST_NAME - 2)
        ),
    }
}

/// The text as a label's value.
pub(crate) fn label_value(text: &str) -> String {
    match is_label_value(text) {
        true => text.to_owned(),
        false => distinct(text, |byte| byte.is_ascii_alphanumeric(), LONGEST_LABEL),
    }
}

fn is_label_value(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    text.len() <= LONGEST_LABEL
        && text.bytes().all(legal)
        && ends(text.bytes().next())
        && ends(text.bytes().next_back())
}

/// What of the text is legal, and a number that stands for all of it.
fn distinct(text: &str, legal: impl Fn(u8) -> bool, longest: usize) -> String {
    let number = format!("{:016x}", fnv(text.as_bytes()));
    let room = longest.saturating_sub(number.len() + 1);
    let mut start = String::new();
    for byte in text.to_ascii_lowercase().bytes().take(room) {
        match legal(byte) {
            true => start.push(char::from(byte)),
            false if !start.is_empty() && !start.ends_with('-') => start.push('-'),
            false => {}
        }
    }
    let start = start.trim_end_matches('-');
    if start.is_empty() { format!("x-{number}") } else { format!("{start}-{number}") }
}

/// FNV-1a: the same everywhere and for ever, as names have to be.
fn fnv(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// The labels of one attempt's things.
pub(crate) fn labels(launch: &Launch) -> BTreeMap<String, String> {
    let spec = &launch.spec;
    let own = spec.labels.iter().filter(|(key, value)| {
        let ours = key.starts_with(label::PREFIX) || key.contains("kubernetes.io/");
        !ours && is_label_value(value) && is_label_key(key)
    });
    let mut all: BTreeMap<_, _> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut set = |key: &str, value: &str| all.insert(key.to_owned(), label_value(value));
    set(MANAGED_BY, MANAGER);
    set(label::CLUSTER, &spec.cluster);
    set(label::ATTEMPT, &object_name(&launch.attempt));
    set(label::JOB, &launch.job.to_string());
    set(label::USER, &spec.identity.user);
    set(label::PROJECT, &spec.project);
    set(label::NAME, &spec.name);
    if let Some(task) = launch.task {
        set(label::ARRAY, &task.array.to_string());
        set(label::TASK, &task.index.to_string());
    }
    all
}

fn is_label_key(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if prefix.is_empty() || prefix.len() > 253 || !prefix.split('.').all(is_dns_label) {
                return false;
            }
            name
        }
        None => key,
    };
    !name.is_empty() && is_label_value(name)
}

/// What selects all that is of this cluster.
pub(crate) fn selector(cluster: &str) -> String {
    format!("{}={}", label::CLUSTER, label_value(cluster))
}

/// What selects all that is of one attempt.
pub(crate) fn selector_of(cluster: &str, attempt: &AttemptName) -> String {
    format!("{},{}={}", selector(cluster), label::ATTEMPT, object_name(attempt))
}

/// The attempt that an object is of, if it is one of this cluster.
pub(crate) fn attempt_of(meta: &ObjectMeta, cluster: &str) -> Option<AttemptName> {
    let labels = meta.labels.as_ref()?;
    if labels.get(label::CLUSTER) != Some(&label_value(cluster)) {
        return None;
    }
    let name = meta.annotations.as_ref()?.get(annotation::ATTEMPT)?;
    let (job, attempt) = AttemptName::parse(cluster, name).ok()?;
    let attempt = AttemptName::new(cluster, job, attempt);
    (labels.get(label::ATTEMPT) == Some(&object_name(&attempt))).then_some(attempt)
}

#[cfg(test)]
mod tests {
    use berth_executor_api::{Attempt, JobId};

    use super::*;

    fn name(cluster: &str, number: u32) -> String {
        object_name(&AttemptName::new(cluster, JobId(7), Attempt { number, returned: 0 }))
    }

    #[test]
    fn an_attempts_name_is_its_jobs_where_kubernetes_takes_it() {
        assert_eq!(name("site-a", 1), "site-a-7-1");
    }

    #[test]
    fn names_that_kubernetes_does_not_take_become_legal_ones_that_differ() {
        let long = "c".repeat(80);
        let odd = [name("Site", 1), name("site_", 1), name("1st", 1), name(&long, 1), name(&long, 2)];
        for one in &odd {
            assert!(is_dns_label(one) && one.len() <= LONGEST_NAME && one.starts_with('b'), "{one}");
        }
        let different: std::collections::BTreeSet<_> = odd.iter().collect();
        assert_eq!(different.len(), odd.len());
        assert_eq!(name(&long, 1), odd[3], "always the same");
    }

    #[test]
    fn values_of_labels_are_legal_whatever_people_call_things() {
        for text in ["Größe", "a b", "-x", "", "x.", &"y".repeat(70), "ok_1.2"] {
            assert!(is_label_value(&label_value(text)), "{text}");
        }
        assert_eq!(label_value("ok_1.2"), "ok_1.2");
        assert_ne!(label_value("a b"), label_value("a  b"));
    }

    #[test]
    fn keys_of_labels_are_told_from_nonsense() {
        for right in ["team", "example.org/team", "A_b"] {
            assert!(is_label_key(right), "{right}");
        }
        for wrong in ["", "/x", "a/b/c", "x/", "white space", "Ex.org/team"] {
            assert!(!is_label_key(wrong), "{wrong}");
        }
    }
}
