//! A job's directory and files on the host, made with the user's own rights.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use berth_executor_api::{
    Command, JobFile, Launch,
    files::{Person, as_user, make_as_root, make_as_user},
};
use rustix::fs::OFlags;
use tokio::task::spawn_blocking;

use crate::{
    convert::SCRIPT,
    facts::{Facts, person},
    outputs::Outputs,
};

/// Something about the job's own files does not work: the job's failure, with words for its user.
pub(crate) type Failure = String;

/// Makes everything that the job finds on the host, and its empty output files.
pub(crate) async fn prepare(launch: &Launch) -> Result<Outputs, Failure> {
    let whom = person(launch);
    check_links(launch).await?;
    make_directories(launch, &whom).await?;
    let (directory, files) = (PathBuf::from(&launch.directory), files_of(launch));
    as_user(&whom, move || files.iter().try_for_each(|file| replace(&directory, file)))
        .await
        .map_err(failed(&launch.directory))?;
    let stdout = open(&whom, &launch.stdout, Begin::Empty).await?.0;
    let stderr = match launch.stdout == launch.stderr {
        true => None,
        false => Some(open(&whom, &launch.stderr, Begin::Empty).await?.0),
    };
    Ok(Outputs::new(stdout, stderr))
}

/// Opens the outputs of an attempt that began before Berth did, to go on at their ends.
pub(crate) async fn reopen(facts: &Facts) -> Result<Outputs, Failure> {
    let whom = facts.person();
    if facts.stdout == facts.stderr {
        // How far each of the two streams came cannot be told any more.
        return Ok(Outputs::new(open(&whom, &facts.stdout, Begin::Empty).await?.0, None));
    }
    let (stdout, out_bytes) = open(&whom, &facts.stdout, Begin::AtItsEnd).await?;
    let (stderr, err_bytes) = open(&whom, &facts.stderr, Begin::AtItsEnd).await?;
    Ok(Outputs::continued(stdout, out_bytes, stderr, err_bytes))
}

fn failed(path: &str) -> impl Fn(io::Error) -> Failure {
    move |error| format!("{path}: {error}")
}

/// The engine follows links where it mounts, with root's rights. What a site's administrators link is meant so; a link
/// that somebody else has made could lead anywhere.
async fn check_links(launch: &Launch) -> Result<(), Failure> {
    let sources: Vec<String> = launch.spec.mounts.iter().map(|mount| mount.source.clone()).collect();
    if sources.is_empty() {
        return Ok(());
    }
    let own_uid = rustix::process::geteuid().as_raw();
    let looked = spawn_blocking(move || {
        sources.iter().find_map(|source| made_by_others(Path::new(source), |uid| uid == 0 || uid == own_uid))
    });
    match looked.await.map_err(io::Error::other).map_err(failed("its volumes"))? {
        Some((link, uid)) => Err(format!(
            "{} is a link that user {uid} has made, and is not followed to a volume",
            link.display()
        )),
        None => Ok(()),
    }
}

/// The first link on the way to a path that nobody who is trusted has made, and who has. What is not there is the
/// engine's to say.
fn made_by_others(path: &Path, trusted: impl Fn(u32) -> bool) -> Option<(PathBuf, u32)> {
    let mut ways: Vec<&Path> = path.ancestors().collect();
    ways.reverse();
    ways.into_iter().find_map(|way| {
        let found = fs::symlink_metadata(way).ok()?;
        (found.is_symlink() && !trusted(found.uid())).then(|| (way.to_owned(), found.uid()))
    })
}

/// As the local executor does: by root where the place is root's, with the user's rights where it is not.
async fn make_directories(launch: &Launch, whom: &Person) -> Result<(), Failure> {
    let top = launch.array_directory.clone().unwrap_or_else(|| launch.directory.clone());
    let made = match rustix::process::geteuid().is_root() {
        true => {
            let (path, uid, gid) = (top.clone(), whom.uid, whom.gid);
            let made = spawn_blocking(move || make_as_root(Path::new(&path), uid, gid)).await;
            made.map_err(io::Error::other).and_then(|made| made).map_err(failed(&top))?
        }
        false => false,
    };
    if !made && whom.uid == 0 {
        return Err(format!("{top}: a job that runs as root needs a directory in one that belongs to root"));
    }
    let inside: Vec<String> = match (&launch.array_directory, made) {
        (None, true) => Vec::new(),
        (Some(_), true) => vec![launch.directory.clone()],
        (None, false) => vec![top],
        (Some(_), false) => vec![top, launch.directory.clone()],
    };
    for path in inside {
        let (uid, make) = (whom.uid, path.clone());
        as_user(whom, move || make_as_user(Path::new(&make), uid)).await.map_err(failed(&path))?;
    }
    Ok(())
}

fn files_of(launch: &Launch) -> Vec<JobFile> {
    let mut files = launch.spec.files.clone();
    if let Command::Script { text, .. } = &launch.spec.command {
        files.push(JobFile { name: SCRIPT.into(), contents: text.clone(), executable: true });
    }
    files
}

/// Writes a file under another name and puts it in its place whole.
fn replace(directory: &Path, file: &JobFile) -> io::Result<()> {
    let mode = if file.executable { 0o700 } else { 0o600 };
    let draft = directory.join(format!(".{}.{}", file.name, std::process::id()));
    let _ = fs::remove_file(&draft);
    let mut written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    written.write_all(file.contents.as_bytes())?;
    written.set_permissions(fs::Permissions::from_mode(mode))?;
    drop(written);
    fs::rename(&draft, directory.join(&file.name))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    Empty,
    AtItsEnd,
}

/// A file of the user's, or what swallows everything. Never a pipe, which somebody might not read from.
async fn open(whom: &Person, path: &str, begin: Begin) -> Result<(File, u64), Failure> {
    let owned = path.to_owned();
    let opened = as_user(whom, move || {
        let mut flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        if begin == Begin::Empty {
            flags |= OFlags::TRUNC;
        }
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let file =
            OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(flags).open(owned)?;
        let data = file.metadata()?;
        let is_null = data.file_type().is_char_device();
        if !data.is_file() && !is_null {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok((file, if is_null { 0 } else { data.len() }))
    });
    opened.await.map_err(failed(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_link_on_the_way_to_a_volume_is_found_wherever_it_is_unless_it_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("real/inner")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        let uid = fs::symlink_metadata(base.join("link")).unwrap().uid();
        let nobody = |_| false;
        assert_eq!(made_by_others(&base.join("real/inner"), nobody), None);
        let link = Some((base.join("link"), uid));
        assert_eq!(made_by_others(&base.join("link"), nobody), link);
        assert_eq!(made_by_others(&base.join("link/inner"), nobody), link);
        assert_eq!(made_by_others(&base.join("link/inner"), |by| by == uid), None);
        assert_eq!(made_by_others(&base.join("nothing/there"), nobody), None);
    }
}
