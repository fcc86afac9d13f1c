//! Which guests there are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Where policies lie, with where they go when they are built.
const PLACES: [(&str, &str); 6] = [
    ("plugins/schedulers", "plugins/dist"),
    ("plugins/auth", "plugins/dist"),
    ("plugins/watchers", "plugins/dist"),
    ("plugins/networks", "plugins/dist"),
    ("plugins/admit", "plugins/dist"),
    ("tests/guests", "tests/guests/dist"),
];

/// A policy that is kept prebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Its name: that of its folder.
    pub name: String,
    /// Its package.
    pub package: String,
    /// Its folder, from the root.
    pub folder: PathBuf,
    /// The folder for its component, from the root.
    pub dist: PathBuf,
}

impl Guest {
    /// What cargo calls its component.
    #[must_use]
    pub fn artifact(&self) -> String {
        format!("{}.wasm", self.package.replace('-', "_"))
    }

    /// Where its component lies, from the root.
    #[must_use]
    pub fn component(&self) -> PathBuf {
        self.dist.join(format!("{}.wasm", self.name))
    }
}

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// All guests, in the order of their folders.
///
/// # Errors
/// When a folder or a manifest cannot be read.
pub fn guests(root: &Path) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for (place, dist) in PLACES {
        for entry in fs::read_dir(root.join(place)).with_context(|| format!("{place} cannot be read"))? {
            let folder = Path::new(place).join(entry?.file_name());
            if root.join(&folder).join("Cargo.toml").is_file() {
                guests.push(guest(root, folder, dist)?);
            }
        }
    }
    guests.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(guests)
}

fn guest(root: &Path, folder: PathBuf, dist: &str) -> Result<Guest> {
    let manifest = read_toml(&root.join(&folder).join("Cargo.toml"))?;
    let package = manifest.get("package").and_then(|package| package.get("name")?.as_str());
    let package = package.with_context(|| format!("{} names no package", folder.display()))?.to_owned();
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Guest { name, package, folder, dist: dist.into() })
}

pub(crate) fn read_toml(path: &Path) -> Result<toml::Table> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    text.parse().with_context(|| format!("{} is not TOML", path.display()))
}
