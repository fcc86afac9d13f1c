//! The job's directory and files. It lies on a file system that all nodes share: that is the site's promise.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use berth_executor_api::{
    Command, Launch,
    files::{Person, as_user, make_as_root, make_as_user},
};
use tokio::task::spawn_blocking;

use crate::script;

pub(crate) fn person(launch: &Launch) -> Person {
    let identity = &launch.spec.identity;
    Person { uid: identity.uid, gid: identity.gid, groups: identity.groups.clone() }
}

struct File {
    path: PathBuf,
    contents: Vec<u8>,
    mode: u32,
}

/// Makes the directories, files and scripts of launches of one person, and empties the outputs. Only for
/// attempts that SGE has not been given yet. One answer for each.
pub(crate) async fn prepare(launches: &[&Launch], data: Option<&str>) -> Vec<io::Result<()>> {
    let Some(first) = launches.first() else { return Vec::new() };
    let person = person(first);
    let mut work = Vec::with_capacity(launches.len());
    for launch in launches {
        let directories =
            launch.array_directory.iter().chain([&launch.directory]).map(PathBuf::from).collect();
        let outputs = [PathBuf::from(&launch.stdout), PathBuf::from(&launch.stderr)];
        work.push(files(launch, data).map(|files| (directories, files, outputs)));
    }
    let count = work.len();
    let made = make_all(work, person).await;
    made.unwrap_or_else(|error| {
        (0..count).map(|_| Err(io::Error::new(error.kind(), error.to_string()))).collect()
    })
}

type Work = (Vec<PathBuf>, Vec<File>, [PathBuf; 2]);

async fn make_all(work: Vec<io::Result<Work>>, person: Person) -> io::Result<Vec<io::Result<()>>> {
    let (uid, gid) = (person.uid, person.gid);
    // As root where root's own directories are concerned; what is left is the user's to do.
    let as_root = move || -> Vec<io::Result<(Vec<PathBuf>, Work)>> {
        let is_root = rustix::process::geteuid().is_root();
        let one = |work: io::Result<Work>| {
            let (directories, files, outputs) = work?;
            let mut left = Vec::new();
            for path in &directories {
                if !is_root || !make_as_root(path, uid, gid).map_err(|error| about(path, &error))? {
                    left.push(path.clone());
                }
            }
            Ok((left, (directories, files, outputs)))
        };
        work.into_iter().map(one).collect()
    };
    let left = spawn_blocking(as_root).await.map_err(io::Error::other)?;
    as_user(&person, move || {
        let one = |left: io::Result<(Vec<PathBuf>, Work)>| {
            let (directories, (_, files, outputs)) = left?;
            directories
                .iter()
                .try_for_each(|path| make_as_user(path, uid).map_err(|error| about(path, &error)))?;
            files.iter().try_for_each(File::write)?;
            outputs.iter().try_for_each(|path| empty(path))
        };
        Ok(left.into_iter().map(one).collect())
    })
    .await
}

fn empty(path: &Path) -> io::Result<()> {
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    opened.map(drop).map_err(|error| about(path, &error))
}

/// The system's words alone do not say which of the job's paths it is.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
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
            file.write_all(&self.contents)
        };
        write().map_err(|error| about(&self.path, &error))
    }
}

fn files(launch: &Launch, data: Option<&str>) -> io::Result<Vec<File>> {
    let directory = Path::new(&launch.directory);
    let mut all = Vec::new();
    let invalid = |words: String| io::Error::new(io::ErrorKind::InvalidInput, words);
    for file in &launch.spec.files {
        let name = file.name.as_str();
        if matches!(name, "" | "." | ".." | script::SCRIPT)
            || name.contains(['/', '\0'])
            || name.starts_with(".sge-")
        {
            return Err(invalid(format!("{name:?} cannot be the name of a job's file")));
        }
        let mode = if file.executable { 0o700 } else { 0o600 };
        all.push(File { path: directory.join(name), contents: file.contents.clone().into(), mode });
    }
    if let Command::Script { text, .. } = &launch.spec.command {
        all.push(File { path: directory.join(script::SCRIPT), contents: text.clone().into(), mode: 0o700 });
    }
    let own = script::own(launch, data).map_err(invalid)?;
    let tag = script::tag(launch.attempt.as_str());
    all.push(File { path: directory.join(format!(".sge-{tag}.sh")), contents: own.into(), mode: 0o600 });
    Ok(all)
}
