//! From a launch to a process.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
};

use berth_executor_api::{
    Command, Launch, Places,
    files::{Person, as_user, make_as_root, make_as_user},
};
use rustix::process::geteuid;

use crate::{folder::Folder, shell};

/// Makes the job's directories and files, and begins it. Doing so again does nothing to what has begun.
pub(crate) async fn start(folder: &Folder, launch: &Launch) -> io::Result<()> {
    let person = person(launch);
    for directory in launch.array_directory.iter().chain([&launch.directory]) {
        directory_of(Path::new(directory), &person).await?;
    }
    let command = files(launch, &person).await?;
    let mut process = Process::new("/bin/sh");
    process.args(["-c", shell::WATCH, "watch"]).arg(folder.path());
    if geteuid().is_root() {
        process.args(become_them(&person));
    }
    process.args(["/bin/sh", "-c", shell::BECOME, "become"]);
    process.arg(launch.spec.workdir.as_ref().unwrap_or(&launch.directory));
    process.args([&launch.stdout, &launch.stderr]).args(command);
    process.env_clear().envs(environment(launch));
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: what is sent to Berth's is not for it.
    std::os::unix::process::CommandExt::process_group(&mut process, 0);
    let mut child = process.spawn()?;
    // It outlives Berth; while Berth lives, somebody has to hear of its end.
    tokio::task::spawn_blocking(move || child.wait());
    Ok(())
}

fn person(launch: &Launch) -> Person {
    let identity = &launch.spec.identity;
    match launch.spec.as_root {
        true => Person { uid: 0, gid: 0, groups: Vec::new() },
        false => Person { uid: identity.uid, gid: identity.gid, groups: identity.groups.clone() },
    }
}

fn become_them(person: &Person) -> Vec<String> {
    let groups: Vec<String> = person.groups.iter().map(u32::to_string).collect();
    let mut words = vec!["setpriv".to_owned(), "--no-new-privs".to_owned()];
    words.push(format!("--reuid={}", person.uid));
    words.push(format!("--regid={}", person.gid));
    words.push(match groups.is_empty() {
        true => "--clear-groups".to_owned(),
        false => format!("--groups={}", groups.join(",")),
    });
    words
}

async fn directory_of(path: &Path, person: &Person) -> io::Result<()> {
    if !path.is_absolute() {
        return Err(io::Error::other(format!("{} is not absolute", path.display())));
    }
    let (uid, gid, owned) = (person.uid, person.gid, path.to_owned());
    if geteuid().is_root() && make_as_root(path, uid, gid)? {
        return Ok(());
    }
    if !geteuid().is_root() {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
    }
    as_user(person, move || make_as_user(&owned, uid)).await
}

/// Writes the job's files with the user's rights, and gives the command, which may be one of them.
async fn files(launch: &Launch, person: &Person) -> io::Result<Vec<String>> {
    let directory = PathBuf::from(&launch.directory);
    let mut files: Vec<(PathBuf, String, bool)> = launch
        .spec
        .files
        .iter()
        .map(|file| (directory.join(&file.name), file.contents.clone(), file.executable))
        .collect();
    let command = match &launch.spec.command {
        Command::Argv(argv) => argv.clone(),
        Command::Script { text, args } => {
            let script = directory.join("berth_script");
            let path = script.to_string_lossy().into_owned();
            // The kernel knows no script without that line.
            let begun = if text.starts_with("#!") { String::new() } else { "#!/bin/sh\n".to_owned() };
            files.push((script, begun + text, true));
            std::iter::once(path).chain(args.iter().cloned()).collect()
        }
    };
    as_user(person, move || files.into_iter().try_for_each(write)).await?;
    Ok(command)
}

fn write((path, contents, executable): (PathBuf, String, bool)) -> io::Result<()> {
    let mode = if executable { 0o700 } else { 0o600 };
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(contents.as_bytes())
}

fn environment(launch: &Launch) -> Vec<(String, String)> {
    let home = launch.spec.identity.home.as_deref().unwrap_or(&launch.directory);
    let mut all = launch.environment(Places { directory: &launch.directory, home, data: None });
    let mut usual = |name: &str, value: &str| {
        if !all.iter().any(|(known, _)| known == name) {
            all.push((name.to_owned(), value.to_owned()));
        }
    };
    usual("PATH", "/usr/local/bin:/usr/bin:/bin");
    usual("HOME", home);
    usual("USER", &launch.spec.identity.user);
    all
}
