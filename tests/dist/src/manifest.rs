//! What stands beside the components.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Guest,
    guest::read_toml,
    guests,
    sources::{hex, source_hash},
};

/// The manifest of a folder of components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What they were built with.
    pub toolchain: Toolchain,
    /// The components, by name.
    pub guests: BTreeMap<String, Built>,
}

/// A compiler and its standard library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// As the compiler tells its version.
    pub rustc: String,
    /// Whose build of the standard library.
    pub std: String,
}

/// A component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// SHA-256 of its bytes.
    pub wasm: String,
    /// [`source_hash`] of what it was built from.
    pub sources: String,
}

const NAME: &str = "manifest.toml";
const HEAD: &str = "# Written by scripts/guests.sh build.\n\n";

/// Writes the manifests for the components that lie there.
///
/// # Errors
/// When a source or a component cannot be read, or a manifest not be written.
pub fn write(root: &Path, toolchain: &Toolchain) -> Result<()> {
    for (dist, guests) in by_dist(root)? {
        let built = |guest: &Guest| Ok((guest.name.clone(), built(root, guest)?));
        let guests = guests.iter().map(built).collect::<Result<_>>()?;
        let manifest = Manifest { toolchain: toolchain.clone(), guests };
        let path = root.join(dist).join(NAME);
        let text = format!("{HEAD}{}", toml::to_string(&manifest)?);
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// The toolchain of every manifest.
///
/// # Errors
/// When a manifest cannot be read.
pub fn toolchains(root: &Path) -> Result<Vec<Toolchain>> {
    by_dist(root)?.into_keys().map(|dist| Ok(read(root, &dist)?.toolchain)).collect()
}

/// Where manifests, components and sources do not agree; empty when all is well.
///
/// # Errors
/// When one of them cannot be read at all.
pub fn faults(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (dist, guests) in by_dist(root)? {
        let manifest = read(root, &dist)?;
        for guest in &guests {
            let name = guest.component().display().to_string();
            match manifest.guests.get(&guest.name) {
                None => faults.push(format!("{name} was never built")),
                Some(recorded) => compare(&name, recorded, &built(root, guest)?, &mut faults),
            }
        }
        let known: BTreeSet<&String> = guests.iter().map(|guest| &guest.name).collect();
        let gone = manifest.guests.keys().filter(|name| !known.contains(name));
        faults.extend(gone.map(|name| format!("{} has {name}, of which there is no source", dist.display())));
    }
    Ok(faults)
}

fn compare(name: &str, recorded: &Built, present: &Built, faults: &mut Vec<String>) {
    if recorded.sources != present.sources {
        faults.push(format!("{name} was built from other sources"));
    }
    if recorded.wasm != present.wasm {
        faults.push(format!("{name} is not what its manifest says"));
    }
}

fn by_dist(root: &Path) -> Result<BTreeMap<PathBuf, Vec<Guest>>> {
    let mut dists: BTreeMap<PathBuf, Vec<Guest>> = BTreeMap::new();
    for guest in guests(root)? {
        dists.entry(guest.dist.clone()).or_default().push(guest);
    }
    Ok(dists)
}

fn read(root: &Path, dist: &Path) -> Result<Manifest> {
    read_toml(&root.join(dist).join(NAME))?
        .try_into()
        .with_context(|| format!("{} has not the form of a manifest", dist.join(NAME).display()))
}

fn built(root: &Path, guest: &Guest) -> Result<Built> {
    let component = guest.component();
    let bytes = fs::read(root.join(&component))
        .with_context(|| format!("{} is missing; run scripts/guests.sh build", component.display()))?;
    Ok(Built { wasm: hex(&Sha256::digest(bytes)), sources: source_hash(root, guest)? })
}
