//! A job's directory and files, for executors whose back ends find them there.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use berth_model::Command;
use tokio::task::spawn_blocking;

use super::{Person, as_user, make_as_root, make_as_user};
use crate::Launch;

/// Whose files the job's are.
fn person(launch: &Launch) -> Person {
    let identity = &launch.spec.identity;
    Person { uid: identity.uid, gid: identity.gid, groups: identity.groups.clone() }
}

/// Makes the directories, the files and, under the name `script`, the script, and empties the outputs, all as the
/// job's user. Only for an attempt that the back end does not have yet: what one writes is not to be touched.
///
/// # Errors
/// In the system's words, with the path; and when a file's name is none, or is the script's.
pub async fn prepare(launch: &Launch, script: &str) -> io::Result<()> {
    let person = person(launch);
    for directory in launch.array_directory.iter().chain([&launch.directory]) {
        make(directory.into(), &person).await?;
    }
    let files = files(launch, script)?;
    let outputs = [PathBuf::from(&launch.stdout), PathBuf::from(&launch.stderr)];
    as_user(&person, move || {
        files.iter().try_for_each(|file| file.write())?;
        for output in &outputs {
            let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(output);
            options.map_err(|error| about(output, &error))?;
        }
        Ok(())
    })
    .await
}

async fn make(path: PathBuf, person: &Person) -> io::Result<()> {
    let (uid, gid) = (person.uid, person.gid);
    if rustix::process::geteuid().is_root() {
        let at = path.clone();
        let made = spawn_blocking(move || make_as_root(&at, uid, gid)).await.map_err(io::Error::other)?;
        if made.map_err(|error| about(&path, &error))? {
            return Ok(());
        }
    }
    as_user(person, move || make_as_user(&path, uid).map_err(|error| about(&path, &error))).await
}

/// The system's words alone do not say which of the job's paths it is.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

struct File {
    path: PathBuf,
    contents: String,
    mode: u32,
}

impl File {
    fn write(&self) -> io::Result<()> {
        let write = || {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(self.mode).open(&self.path)?;
            file.write_all(self.contents.as_bytes())
        };
        write().map_err(|error| about(&self.path, &error))
    }
}

fn files(launch: &Launch, script: &str) -> io::Result<Vec<File>> {
    let directory = Path::new(&launch.directory);
    let mut all = Vec::new();
    for file in &launch.spec.files {
        if matches!(file.name.as_str(), "" | "." | "..")
            || file.name == script
            || file.name.contains(['/', '\0'])
        {
            let words = format!("{:?} cannot be the name of a job's file", file.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        let mode = if file.executable { 0o700 } else { 0o600 };
        all.push(File { path: directory.join(&file.name), contents: file.contents.clone(), mode });
    }
    if let Command::Script { text, .. } = &launch.spec.command {
        all.push(File { path: directory.join(script), contents: text.clone(), mode: 0o700 });
    }
    Ok(all)
}
