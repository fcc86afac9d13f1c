//! Options of this executor in a job's extension keys.

use std::collections::BTreeMap;

/// The keys that are understood. Where auth does not grant one, it never comes here.
pub const KEYS: [&str; 4] =
    ["swarm.secrets", "swarm.configs", "swarm.constraints", "swarm.generic-resources"];

/// The options of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Secrets by name, mounted below `/run/secrets`.
    pub secrets: Vec<String>,
    /// Configs by name, mounted in `/`.
    pub configs: Vec<String>,
    /// Placement constraints in Swarm's own words.
    pub constraints: Vec<String>,
    /// Generic resources: how many of each kind.
    pub generic: BTreeMap<String, i64>,
}

/// What a job asks for that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("the swarm executor knows no option {key:?}; it knows {}", KEYS.join(", "))]
    Unknown { key: String },
    #[error("{key}: {part:?} is no {what}")]
    Form { key: &'static str, part: String, what: &'static str },
}

/// Reads the extension keys of a job.
pub(crate) fn parse(extensions: &BTreeMap<String, String>) -> Result<Options, OptionsError> {
    let mut options = Options::default();
    for (key, value) in extensions {
        match key.as_str() {
            "swarm.secrets" => options.secrets = names("swarm.secrets", value)?,
            "swarm.configs" => options.configs = names("swarm.configs", value)?,
            "swarm.constraints" => options.constraints = constraints(value)?,
            "swarm.generic-resources" => options.generic = generic(value)?,
            _ => return Err(OptionsError::Unknown { key: key.clone() }),
        }
    }
    Ok(options)
}

fn parts(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Names become files in the container, so nothing that leads elsewhere is one.
fn names(key: &'static str, value: &str) -> Result<Vec<String>, OptionsError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    parts(value)
        .map(|part| match part.bytes().all(legal) && !matches!(part, "." | "..") {
            true => Ok(part.to_owned()),
            false => Err(OptionsError::Form { key, part: part.to_owned(), what: "name" }),
        })
        .collect()
}

fn constraints(value: &str) -> Result<Vec<String>, OptionsError> {
    let key = "swarm.constraints";
    parts(value)
        .map(|part| match part.split_once("==").or_else(|| part.split_once("!=")) {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => Ok(part.to_owned()),
            _ => Err(OptionsError::Form { key, part: part.to_owned(), what: "constraint (name==value)" }),
        })
        .collect()
}

fn generic(value: &str) -> Result<BTreeMap<String, i64>, OptionsError> {
    let key = "swarm.generic-resources";
    parts(value)
        .map(|part| {
            let wrong = || OptionsError::Form { key, part: part.to_owned(), what: "resource (kind=number)" };
            let (kind, count) = part.split_once('=').ok_or_else(wrong)?;
            let count: u32 = count.trim().parse().map_err(|_| wrong())?;
            Ok((kind.trim().to_owned(), i64::from(count)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, value: &str) -> Result<Options, OptionsError> {
        parse(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn lists_are_read() {
        assert_eq!(of("swarm.secrets", "a, b.c").unwrap().secrets, ["a", "b.c"]);
        assert_eq!(of("swarm.configs", "").unwrap().configs, Vec::<String>::new());
        let constraints = of("swarm.constraints", "node.role==worker,node.labels.disk != hdd").unwrap();
        assert_eq!(constraints.constraints, ["node.role==worker", "node.labels.disk != hdd"]);
        assert_eq!(of("swarm.generic-resources", "ssd=2").unwrap().generic["ssd"], 2);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_word() {
        for (key, value, word) in [
            ("swarm.sekrets", "a", "swarm.sekrets"),
            ("docker.ipc", "host", "docker.ipc"),
            ("swarm.secrets", "../etc", "../etc"),
            ("swarm.configs", "..", ".."),
            ("swarm.constraints", "node.role=worker", "node.role=worker"),
            ("swarm.generic-resources", "ssd=-1", "ssd=-1"),
        ] {
            let error = of(key, value).unwrap_err().to_string();
            assert!(error.contains(word), "{key}={value}: {error}");
        }
    }
}
