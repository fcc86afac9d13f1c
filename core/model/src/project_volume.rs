//! Volumes that belong to a project.

use std::{
    fmt,
    path::{Component, Path},
};

use serde::{Deserialize, Serialize};

/// Names that mean something else to everybody.
const RESERVED: [&str; 3] = ["home", "go-docker", "god-ftp"];
/// The longest path, in bytes.
const MOST_PATH: usize = 1024;

/// A folder on the nodes that jobs of one project may ask for by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProjectVolume {
    /// Where it is on the nodes, absolute.
    pub path: String,
    /// Where jobs see it, absolute; `/mnt/NAME` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Jobs may only read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl ProjectVolume {
    /// Where jobs see it.
    #[must_use]
    pub fn target(&self, name: &str) -> String {
        self.target.clone().unwrap_or_else(|| format!("/mnt/{name}"))
    }

    /// Why a project cannot have it under this name.
    #[must_use]
    pub fn fault(&self, name: &str) -> Option<String> {
        if RESERVED.contains(&name) {
            return Some(format!("{name:?} is the name of a volume that everybody knows"));
        }
        let target = self.target.as_ref().map(|target| ("where it is mounted", target));
        let paths = [("its path", &self.path)].into_iter().chain(target);
        paths.filter_map(|(what, path)| Some(format!("{what}, {path:?}, {}", path_fault(path)?))).next()
    }
}

/// The name with where it is.
impl fmt::Display for ProjectVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(target) = &self.target {
            write!(f, " at {target}")?;
        }
        f.write_str(if self.read_only { " (ro)" } else { " (rw)" })
    }
}

fn path_fault(path: &str) -> Option<&'static str> {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if path.len() > MOST_PATH {
        return Some("is too long");
    }
    if path.chars().any(char::is_control) {
        return Some("has a control character");
    }
    // What stands for somebody's own is for the site's volumes; it would stand here as it is.
    if path.contains('$') {
        return Some("has a `$`, which stands for nothing here");
    }
    if !path.starts_with('/') || !Path::new(path).components().all(plain) {
        return Some("is not absolute, or has `..` in it");
    }
    let twice = path.split('/').skip(1).any(|part| matches!(part, "" | "."));
    if twice {
        return Some("is no plain path: write it without `.`, doubled slashes and one at its end");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(path: &str) -> ProjectVolume {
        ProjectVolume { path: path.into(), target: None, read_only: false }
    }

    #[test]
    fn a_volume_has_a_plain_absolute_path() {
        assert_eq!(volume("/data/rna.2").fault("data"), None);
        assert_eq!(volume("/data").target("rna"), "/mnt/rna");
        for path in
            ["", "data", "/", "//data", "/data/", "/data/../etc", "/data/./x", "/d/$USER", "/d\n", "~/x"]
        {
            assert!(volume(path).fault("data").is_some(), "{path:?}");
            let mounted = ProjectVolume { target: Some(path.into()), ..volume("/data") };
            assert!(mounted.fault("data").is_some(), "{path:?}");
        }
    }

    #[test]
    fn names_that_mean_something_to_everybody_are_not_for_projects() {
        for name in RESERVED {
            assert!(volume("/data").fault(name).is_some(), "{name}");
        }
    }
}
