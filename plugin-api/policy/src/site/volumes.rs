//! From the volumes that a job asks for to what is mounted in it.

use std::collections::BTreeSet;

use super::{HOME, HOME_TARGET, Site, Volume};
use crate::auth::{Denial, Identity, Mount, ProjectVolume, VolumeRequest};

/// What is mounted of what was asked for. Names that neither the site nor the project has are left
/// out, and the site's come before the project's; the read-only of either and that of the request both count; and
/// root only ever reads.
///
/// # Errors
/// When a volume's path cannot be made for this user.
pub fn mounts(
    site: &Site,
    who: &Identity,
    asked: &[VolumeRequest],
    as_root: bool,
) -> Result<Vec<Mount>, Denial> {
    let mut seen = BTreeSet::new();
    let mut mounts = Vec::new();
    for request in asked.iter().filter(|request| seen.insert(&request.name)) {
        let volume = match site.volumes.get(&request.name) {
            Some(volume) => volume.clone(),
            None if request.name == HOME => home(),
            None => match &request.of_project {
                Some(volume) => of_project(volume),
                None => continue,
            },
        };
        // Asked for twice, the stricter request counts.
        let reads = asked.iter().any(|other| other.name == request.name && other.read_only);
        mounts.push(Mount {
            name: request.name.clone(),
            source: fill(&volume.path, who, &request.name)?,
            target: fill(&volume.target, who, &request.name)?,
            read_only: volume.read_only || reads || as_root,
        });
    }
    Ok(mounts)
}

/// An administrator has set it, as the site's volumes were set by one.
fn of_project(volume: &ProjectVolume) -> Volume {
    let ProjectVolume { source, target, read_only } = volume.clone();
    Volume { path: source, target, read_only }
}

fn home() -> Volume {
    Volume { path: "$HOME".to_owned(), target: HOME_TARGET.to_owned(), read_only: false }
}

/// Puts a user's own in the place of `$USER`, `$HOME` and `$UID`.
fn fill(path: &str, who: &Identity, volume: &str) -> Result<String, Denial> {
    let mut filled = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        rest = fill_one(&mut filled, from, who, volume)?;
    }
    filled.push_str(rest);
    // What stands in an account must not lead anywhere but where the site meant.
    let sound = filled.starts_with('/') && filled.split('/').all(|part| part != "..");
    if sound {
        Ok(filled)
    } else {
        Err(forbidden(format!("volume {volume} has no sound path for {}", who.user)))
    }
}

/// `from` begins with a dollar sign. Returns what comes after what was filled in.
fn fill_one<'a>(filled: &mut String, from: &'a str, who: &Identity, volume: &str) -> Result<&'a str, Denial> {
    let name = from.trim_start_matches('$');
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    let (name, rest) = name.split_at(end);
    match name {
        "USER" if !who.user.contains('/') => filled.push_str(&who.user),
        // What GO-Docker calls it.
        "UID" | "USERID" => filled.push_str(&who.uid.to_string()),
        "HOME" => {
            let home = who.home.as_deref();
            filled.push_str(home.ok_or_else(|| forbidden(format!("{} has no home", who.user)))?);
        }
        _ => {
            return Err(forbidden(format!(
                "volume {volume} has ${name} in its path, which stands for nothing"
            )));
        }
    }
    Ok(rest)
}

fn forbidden(words: String) -> Denial {
    Denial::Forbidden(words)
}
