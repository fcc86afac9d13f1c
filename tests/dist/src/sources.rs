//! One hash over everything that decides a guest's bytes, but for the compiler.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{Guest, guest::read_toml, locked::locked};

const SDK: &str = "plugin-api/policy";
const SDK_PACKAGE: &str = "berth-policy-sdk";

/// The test kit is not part of any guest.
const NOT_BUILT: &str = "plugin-api/policy/src/testing";

/// The hash of a guest's sources: its folder, the SDK, the contracts, the profile that it is built with, and
/// the versions of what it depends on.
///
/// # Errors
/// When one of them cannot be read.
pub fn source_hash(root: &Path, guest: &Guest) -> Result<String> {
    let mut files = vec![guest.folder.join("Cargo.toml"), Path::new(SDK).join("Cargo.toml")];
    for folder in [guest.folder.join("src"), Path::new(SDK).join("src"), "wit".into()] {
        add_files(root, &folder, &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let bytes =
            fs::read(root.join(&file)).with_context(|| format!("{} cannot be read", file.display()))?;
        add(&mut hash, &file.to_string_lossy(), &bytes);
    }
    for (name, value) in workspace(root)? {
        add(&mut hash, &name, value.as_bytes());
    }
    let folders = BTreeMap::from([(guest.package.as_str(), &*guest.folder), (SDK_PACKAGE, Path::new(SDK))]);
    let locked = locked(root, &guest.package, &folders)?.join("\n");
    add(&mut hash, "Cargo.lock", locked.as_bytes());
    Ok(hex(&hash.finalize()))
}

fn add(hash: &mut Sha256, name: &str, bytes: &[u8]) {
    hash.update(format!("{name} {}\n", bytes.len()));
    hash.update(bytes);
}

fn add_files(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(root.join(folder)).with_context(|| format!("{} cannot be read", folder.display()));
    for entry in entries? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if path == Path::new(NOT_BUILT) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            add_files(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The parts of the workspace's manifest that every guest is built by.
fn workspace(root: &Path) -> Result<Vec<(String, String)>> {
    let manifest = read_toml(&root.join("Cargo.toml"))?;
    let paths = [
        &["workspace", "package", "version"][..],
        &["workspace", "package", "edition"],
        &["profile", "guest"],
        &["profile", "release"],
    ];
    let value = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(manifest.get(*first)?, |value, key| value.get(key))
    };
    let part = |path: &[&str]| {
        let name = path.join(".");
        let value = value(path).with_context(|| format!("Cargo.toml has no {name}"))?;
        Ok((name, value.to_string()))
    };
    paths.into_iter().map(part).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
