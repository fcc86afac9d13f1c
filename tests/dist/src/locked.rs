//! The versions of what a guest is built with, from Cargo.lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::guest::read_toml;

/// Writes Rust from WIT. Of what it is made of, only its relatives decide what it writes; a newer version of
/// a crate that it parses with does not.
const GENERATOR: &str = "wit-bindgen-rust-macro";
const RELATIVES: &str = "wit-";

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    /// None for a member of the workspace.
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// One line for each package from elsewhere that this member of the workspace is built with: name, version,
/// checksum. `folders` has the members that it may lead through, by their packages' names.
pub(crate) fn locked(root: &Path, package: &str, folders: &BTreeMap<&str, &Path>) -> Result<Vec<String>> {
    let lock: Lock =
        read_toml(&root.join("Cargo.lock"))?.try_into().context("Cargo.lock has changed its form")?;
    let mut walk = Walk { root, lock: &lock, folders, seen: BTreeSet::new(), lines: BTreeSet::new() };
    walk.visit(package, false)?;
    Ok(walk.lines.into_iter().collect())
}

struct Walk<'a> {
    root: &'a Path,
    lock: &'a Lock,
    folders: &'a BTreeMap<&'a str, &'a Path>,
    seen: BTreeSet<String>,
    lines: BTreeSet<String>,
}

impl Walk<'_> {
    /// `entry` is a name, and its version where the lock has several.
    fn visit(&mut self, entry: &str, in_generator: bool) -> Result<()> {
        if !self.seen.insert(entry.to_owned()) {
            return Ok(());
        }
        let (name, version) =
            entry.split_once(' ').map_or((entry, None), |(name, rest)| (name, rest.split(' ').next()));
        let is_it =
            |locked: &&Locked| locked.name == name && version.is_none_or(|version| locked.version == version);
        let lock = self.lock;
        let locked =
            lock.package.iter().find(is_it).with_context(|| format!("{entry} is not in Cargo.lock"))?;
        let wanted = self.wanted(locked)?;
        if locked.source.is_some() {
            let checksum = locked.checksum.as_deref().unwrap_or_default();
            self.lines.insert(format!("{name} {} {checksum}", locked.version));
        }
        let in_generator = in_generator || name == GENERATOR;
        for dependency in &locked.dependencies {
            let name = dependency.split(' ').next().unwrap_or_default();
            let wanted = wanted.as_ref().is_none_or(|wanted| wanted.contains(name));
            if wanted && (!in_generator || name.starts_with(RELATIVES)) {
                self.visit(dependency, in_generator)?;
            }
        }
        Ok(())
    }

    /// The lock does not tell what a member needs only for its tests; its manifest does.
    fn wanted(&self, locked: &Locked) -> Result<Option<BTreeSet<String>>> {
        if locked.source.is_some() {
            return Ok(None);
        }
        let folder = self
            .folders
            .get(locked.name.as_str())
            .with_context(|| format!("a guest is built with {}, which is not hashed", locked.name))?;
        let manifest = read_toml(&self.root.join(folder).join("Cargo.toml"))?;
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        Ok(Some(dependencies.map(|table| table.keys().cloned().collect()).unwrap_or_default()))
    }
}
