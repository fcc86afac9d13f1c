//! The options of this executor: what users may ask for beyond a job's spec, by keys that begin with
//! `docker.`. Who may use which is settled by the auth policy before they come here.

use std::collections::BTreeMap;

use berth_docker_engine::bollard::models::ResourcesUlimits;
use berth_model::parse_bytes;

use crate::{config::Pull, gpu::Wanted};

/// The keys, with what they take.
pub const KEYS: &[(&str, &str)] = &[
    (
        "docker.entrypoint",
        "program in place of the image's entry point, as a shell would split it; empty for none",
    ),
    ("docker.gpus", "all, a number, or id=0,2: GPUs beside those of the job's resources"),
    ("docker.hostname", "the container's host name"),
    ("docker.init", "true or false: a small first process hands on signals and collects orphans"),
    ("docker.ipc", "private, shareable, none or host"),
    ("docker.memory-swap", "size of memory and swap together, or -1 for no bound on swap"),
    ("docker.net", "none, host, bridge, internal, external, or a network's name"),
    ("docker.pid", "private or host"),
    ("docker.pids-limit", "the most processes"),
    (
        "docker.ports",
        "HOST:PORT,...: ports of the job at fixed ports of the host; one that is taken is waited for",
    ),
    ("docker.privileged", "true: all rights on the machine"),
    ("docker.pull", "always, missing or never"),
    ("docker.restart", "no; Berth runs jobs again, the engine does not"),
    ("docker.rm", "true; Berth removes a container once its end is recorded"),
    ("docker.runtime", "a runtime of the engine's"),
    ("docker.shm-size", "size of /dev/shm"),
    ("docker.suspend", "pause, or signal for SIGSTOP and SIGCONT to the first process"),
    ("docker.tty", "true: a terminal, so that both outputs are one"),
    ("docker.ulimits", "NAME=SOFT[:HARD],..."),
    ("docker.uts", "private or host"),
];

/// How a job is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Suspend {
    /// All processes are frozen, whether they like it or not.
    #[default]
    Pause,
    /// The first process gets SIGSTOP.
    Signal,
}

/// The options of one job, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extensions {
    pub entrypoint: Option<Vec<String>>,
    pub gpus: Option<Wanted>,
    pub hostname: Option<String>,
    pub init: Option<bool>,
    pub ipc: Option<String>,
    pub memory_swap: Option<i64>,
    pub net: Option<String>,
    pub pid_of_host: bool,
    pub pids_limit: Option<i64>,
    /// Host port and job port.
    pub ports: Vec<(u16, u16)>,
    pub privileged: bool,
    pub pull: Option<Pull>,
    pub runtime: Option<String>,
    pub shm_bytes: Option<i64>,
    pub suspend: Suspend,
    pub tty: bool,
    pub ulimits: Vec<ResourcesUlimits>,
    pub uts_of_host: bool,
}

/// An option that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option {key} = {value:?}: {reason}")]
pub(crate) struct ExtensionError {
    key: String,
    value: String,
    reason: String,
}

impl Extensions {
    /// Reads what a job asks for.
    pub fn read(options: &BTreeMap<String, String>) -> Result<Self, ExtensionError> {
        let mut all = Self::default();
        for (key, value) in options {
            all.set(key, value.trim()).map_err(|reason| ExtensionError {
                key: key.clone(),
                value: value.clone(),
                reason,
            })?;
        }
        Ok(all)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "docker.entrypoint" => self.entrypoint = Some(words(value)?),
            "docker.gpus" => self.gpus = Some(value.parse()?),
            "docker.hostname" => self.hostname = Some(hostname(value)?),
            "docker.init" => self.init = Some(truth(value)?),
            "docker.ipc" => self.ipc = Some(one_of(value, &["private", "shareable", "none", "host"])?),
            "docker.memory-swap" => self.memory_swap = Some(memory_swap(value)?),
            "docker.net" => self.net = Some(network(value)?),
            "docker.pid" => self.pid_of_host = one_of(value, &["private", "host"])? == "host",
            "docker.pids-limit" => self.pids_limit = Some(count(value)?),
            "docker.ports" => self.ports = ports(value)?,
            "docker.privileged" => self.privileged = truth(value)?,
            "docker.pull" => self.pull = Some(pull(value)?),
            "docker.restart" => restart(value)?,
            "docker.rm" => remove(value)?,
            "docker.runtime" => self.runtime = Some(runtime(value)?),
            "docker.shm-size" => self.shm_bytes = Some(size(value)?),
            "docker.suspend" => self.suspend = suspend(value)?,
            "docker.tty" => self.tty = truth(value)?,
            "docker.ulimits" => self.ulimits = ulimits(value)?,
            "docker.uts" => self.uts_of_host = one_of(value, &["private", "host"])? == "host",
            _ => return Err(unknown(key)),
        }
        Ok(())
    }
}

fn unknown(key: &str) -> String {
    let near = KEYS.iter().find(|(known, _)| {
        let bare = |text: &str| text.trim_start_matches("docker.").replace(['-', '_'], "").to_lowercase();
        bare(known).trim_end_matches('s') == bare(key).trim_end_matches('s')
    });
    match near {
        Some((known, _)) => format!("there is no such option; {known} was meant, perhaps"),
        None => {
            let all: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
            format!("there is no such option; there are {}", all.join(", "))
        }
    }
}

fn truth(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err("it is neither true nor false".into()),
    }
}

fn one_of(value: &str, choices: &[&str]) -> Result<String, String> {
    match choices.contains(&value) {
        true => Ok(value.to_owned()),
        false => Err(format!("it has to be one of {}", choices.join(", "))),
    }
}

fn words(value: &str) -> Result<Vec<String>, String> {
    shlex::split(value).ok_or_else(|| "a quote is not closed".into())
}

fn hostname(value: &str) -> Result<String, String> {
    let label = |part: &str| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !part.is_empty() && part.bytes().all(fine) && !part.starts_with('-') && !part.ends_with('-')
    };
    match value.len() <= 63 && value.split('.').all(label) {
        true => Ok(value.to_owned()),
        false => Err("it is no host name: at most 63 letters, digits, dashes and dots".into()),
    }
}

fn size(value: &str) -> Result<i64, String> {
    let bytes = parse_bytes(value).map_err(|error| error.to_string())?;
    match i64::try_from(bytes) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("it is no size that the engine takes".into()),
    }
}

fn memory_swap(value: &str) -> Result<i64, String> {
    if value == "-1" { Ok(-1) } else { size(value) }
}

fn count(value: &str) -> Result<i64, String> {
    value.parse().ok().filter(|count| *count > 0).ok_or_else(|| "it is not a number above 0".into())
}

fn ports(value: &str) -> Result<Vec<(u16, u16)>, String> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let pair = |text: &str| {
        let (host, job) = text.split_once(':')?;
        Some((port(host)?, port(job)?))
    };
    let read = |text: &str| pair(text).ok_or_else(|| format!("{text:?} is no pair of ports; write 8080:80"));
    let all = value.split(',').map(read).collect::<Result<Vec<_>, _>>()?;
    let mut seen = std::collections::BTreeSet::new();
    match all.iter().all(|(host, _)| seen.insert(*host)) {
        true => Ok(all),
        false => Err("a port of the host is given twice".into()),
    }
}

/// Joining another container's network would lead around every policy.
fn network(value: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match !value.is_empty() && value.bytes().all(fine) {
        true => Ok(value.to_owned()),
        false => Err("it is no network's name; another container's network cannot be joined".into()),
    }
}

fn pull(value: &str) -> Result<Pull, String> {
    match value {
        "always" => Ok(Pull::Always),
        "missing" => Ok(Pull::Missing),
        "never" => Ok(Pull::Never),
        _ => Err("it has to be one of always, missing, never".into()),
    }
}

fn restart(value: &str) -> Result<(), String> {
    match value {
        "no" => Ok(()),
        _ => Err("only \"no\" is possible: a container that the engine starts again would run a job twice \
                  behind Berth's back; see retry-on-node-failure and berth rerun"
            .into()),
    }
}

fn remove(value: &str) -> Result<(), String> {
    match truth(value)? {
        true => Ok(()),
        false => {
            Err("Berth removes every container once its end is recorded; what is to stay belongs into the \
                      job's directory"
                .into())
        }
    }
}

fn runtime(value: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match !value.is_empty() && value.bytes().all(fine) {
        true => Ok(value.to_owned()),
        false => Err("it is no runtime's name".into()),
    }
}

fn suspend(value: &str) -> Result<Suspend, String> {
    match value {
        "pause" => Ok(Suspend::Pause),
        "signal" => Ok(Suspend::Signal),
        _ => Err("it has to be pause or signal".into()),
    }
}

/// What the kernel bounds, as the engine names it.
const LIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn ulimits(value: &str) -> Result<Vec<ResourcesUlimits>, String> {
    value.split(',').map(|part| ulimit(part.trim())).collect()
}

fn ulimit(text: &str) -> Result<ResourcesUlimits, String> {
    let wrong = || format!("{text:?} is no limit; write memlock=-1 or nofile=1024:2048");
    let (name, bounds) = text.split_once('=').ok_or_else(wrong)?;
    if !LIMITS.contains(&name) {
        return Err(format!("there is no limit {name:?}; there are {}", LIMITS.join(", ")));
    }
    let bound = |text: &str| text.parse::<i64>().ok().filter(|bound| *bound >= -1).ok_or_else(wrong);
    let (soft, hard) = match bounds.split_once(':') {
        Some((soft, hard)) => (bound(soft)?, bound(hard)?),
        None => (bound(bounds)?, bound(bounds)?),
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!("{text:?}: the soft limit is above the hard one"));
    }
    Ok(ResourcesUlimits { name: Some(name.to_owned()), soft: Some(soft), hard: Some(hard) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<Extensions, ExtensionError> {
        Extensions::read(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn every_key_that_is_told_is_understood() {
        let values = [
            ("docker.entrypoint", "/bin/sh -c 'a b'"),
            ("docker.gpus", "2"),
            ("docker.hostname", "node-1.site"),
            ("docker.init", "false"),
            ("docker.ipc", "host"),
            ("docker.memory-swap", "-1"),
            ("docker.net", "host"),
            ("docker.pid", "host"),
            ("docker.pids-limit", "100"),
            ("docker.ports", "8080:80, 8443:443"),
            ("docker.privileged", "true"),
            ("docker.pull", "always"),
            ("docker.restart", "no"),
            ("docker.rm", "true"),
            ("docker.runtime", "runc"),
            ("docker.shm-size", "1.5G"),
            ("docker.suspend", "signal"),
            ("docker.tty", "yes"),
            ("docker.ulimits", "memlock=-1,stack=67108864,nofile=1024:2048"),
            ("docker.uts", "host"),
        ];
        assert_eq!(values.map(|(key, _)| key).to_vec(), KEYS.iter().map(|(key, _)| *key).collect::<Vec<_>>());
        let all = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let all = Extensions::read(&all).unwrap();
        assert_eq!(all.entrypoint.unwrap(), ["/bin/sh", "-c", "a b"]);
        assert_eq!(
            (all.gpus, all.shm_bytes, all.memory_swap),
            (Some(Wanted::Count(2)), Some(3 << 29), Some(-1))
        );
        assert_eq!(all.ports, [(8080, 80), (8443, 443)]);
        assert!(all.privileged && all.pid_of_host && all.uts_of_host && all.tty);
        assert_eq!((all.init, all.pull, all.suspend), (Some(false), Some(Pull::Always), Suspend::Signal));
        let limits: Vec<_> = all
            .ulimits
            .iter()
            .map(|limit| (limit.name.as_deref().unwrap(), limit.soft, limit.hard))
            .collect();
        let wanted = [
            ("memlock", Some(-1), Some(-1)),
            ("stack", Some(67_108_864), Some(67_108_864)),
            ("nofile", Some(1024), Some(2048)),
        ];
        assert_eq!(limits, wanted);
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for (key, value) in [
            ("docker.entrypoint", "'open"),
            ("docker.gpus", "some"),
            ("docker.hostname", "a_b"),
            ("docker.init", "perhaps"),
            ("docker.ipc", "container:other"),
            ("docker.memory-swap", "0"),
            ("docker.net", "container:other"),
            ("docker.pid", "container:other"),
            ("docker.pids-limit", "-1"),
            ("docker.ports", "80"),
            ("docker.ports", "0:80"),
            ("docker.ports", "8080:80,8080:81"),
            ("docker.privileged", ""),
            ("docker.pull", "sometimes"),
            ("docker.runtime", "/bin/sh"),
            ("docker.shm-size", "much"),
            ("docker.suspend", "never"),
            ("docker.tty", "2"),
            ("docker.ulimits", "memlock"),
            ("docker.ulimits", "speed=1"),
            ("docker.ulimits", "nofile=2:1"),
            ("docker.uts", "hosts"),
        ] {
            let error = read(key, value).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn restarting_and_keeping_are_refused_with_the_reason() {
        for value in ["always", "on-failure:3", "unless-stopped"] {
            assert!(read("docker.restart", value).unwrap_err().to_string().contains("run a job twice"));
        }
        assert!(read("docker.rm", "false").unwrap_err().to_string().contains("recorded"));
    }

    #[test]
    fn an_unknown_key_is_told_with_the_nearest() {
        let error = read("docker.ulimit", "a=1").unwrap_err().to_string();
        assert!(error.contains("docker.ulimits was meant"), "{error}");
        let error = read("docker.shm_size", "1G").unwrap_err().to_string();
        assert!(error.contains("docker.shm-size was meant"), "{error}");
        assert!(read("swarm.replicas", "2").unwrap_err().to_string().contains("there are docker.entrypoint"));
    }
}
