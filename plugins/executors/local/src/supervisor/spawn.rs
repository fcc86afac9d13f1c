//! The way of a child to the job.
//!
//! Until its start is in the journal the child is bound to the supervisor: it is killed with it, and it
//! keeps the spool's lock open, so that no other supervisor begins while it is under way. Hence a journal
//! without that record means that the job has never run.
//!
//! The child uses the memory of its launcher (see [`super::launcher`]) and leaves it by executing a program,
//! without running any destructor. So what is needed is made ready before, and what it makes itself is gone
//! again by then.

use std::{
    convert::Infallible,
    ffi::{CStr, CString},
    fmt::Display,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::{
        ffi::OsStringExt,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use berth_executor_api::{
    AttemptName, Command, Launch,
    files::{make_as_root, make_as_user},
};
use rustix::{
    fs::{Mode, OFlags, fcntl_setfl},
    process::{Gid, Pid, Signal, Uid, chdir, getppid, set_parent_process_death_signal, setsid, umask},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use serde::{Deserialize, Serialize};

use super::{
    cgroup::{Cgroups, Limits},
    clock, environment,
    journal::{Appender, Start},
    limits, note,
    note::Note,
    sys::{self, Image},
};

/// Everything that a child needs of its supervisor.
pub(super) struct Around {
    pub supervisor: Pid,
    pub as_root: bool,
    pub journal: Appender,
    pub notes: File,
    pub cgroups: Cgroups,
}

/// An attempt that is about to be started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    pub launch: Launch,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub limits: Limits,
    /// It has a control group.
    pub grouped: bool,
    /// What its address space is held to, where no control group can do it.
    pub address_space_bytes: Option<u64>,
    /// Where it runs; `None` for everywhere.
    pub cpus: Option<Vec<usize>>,
    /// Its array's directory and script are there.
    pub array_is_ready: bool,
    /// The site's data area.
    pub data: Option<String>,
}

/// Why a child does not become the job.
enum Failure {
    /// Berth could not prepare it: it never ran.
    Launch(String),
    /// It began, and its program could not be executed: as a shell would say it.
    Program { code: i32, words: String },
}

impl Failure {
    fn launch(what: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Launch(format!("{what}: {source}"))
    }

    fn into_words(self) -> String {
        match self {
            Self::Launch(words) | Self::Program { words, .. } => words,
        }
    }
}

/// The script's name in the job's (or array's) directory.
pub(super) const SCRIPT: &str = "cmd.sh";

/// How far a child has come, for its launcher to see.
#[derive(Default)]
pub(super) struct Progress {
    /// Its start is in the journal, or what has kept it from it was told.
    pub told: bool,
}

/// Becomes the job. Runs in the child and comes back with an exit code only when that failed.
pub(super) fn become_job(around: &Around, ready: &Ready, image: &Image, progress: &mut Progress) -> i32 {
    let attempt = &ready.launch.attempt;
    let failure = match catch_unwind(AssertUnwindSafe(|| prepare(around, ready, image, progress))) {
        Ok(Ok(never)) => match never {},
        Ok(Err(failure)) => failure,
        Err(_) => Failure::Launch("a fault in the supervisor, see its log".into()),
    };
    let (code, note) = match failure {
        Failure::Launch(words) => (125, Note::NotLaunched { attempt: attempt.clone(), words }),
        Failure::Program { code, words } => {
            let _ = writeln!(io::stderr(), "berth: {words}");
            (code, Note::NotExecuted { attempt: attempt.clone(), words })
        }
    };
    note::write(&around.notes, &note);
    progress.told = true;
    code
}

fn prepare(
    around: &Around,
    ready: &Ready,
    image: &Image,
    progress: &mut Progress,
) -> Result<Infallible, Failure> {
    die_with(around.supervisor)?;
    setsid().map_err(|source| Failure::launch("new session")(source.into()))?;
    if ready.grouped {
        let attempt = ready.launch.attempt.as_str();
        around.cgroups.join(attempt).map_err(Failure::launch("control group"))?;
    }
    if let Some(cpus) = &ready.cpus {
        limits::bind(None, cpus).map_err(|source| Failure::launch("CPUs")(source.into()))?;
    }
    umask(Mode::from_raw_mode(0o022));
    let made = around.as_root && !ready.array_is_ready && make_directory(ready)?;
    if around.as_root {
        become_user(ready).map_err(Failure::launch(format_args!("becoming user {}", ready.uid)))?;
        // A change of user has undone it.
        die_with(around.supervisor)?;
    }
    make_directories_inside(ready, made)?;
    open_outputs(&ready.launch)?;
    write_files(ready)?;
    let spec = &ready.launch.spec;
    let place = spec.workdir.as_deref().unwrap_or(&ready.launch.directory);
    chdir(place).map_err(|source| Failure::launch(place)(source.into()))?;
    execute(around, ready, image, progress)
}

fn die_with(supervisor: Pid) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|source| Failure::launch("parent death signal")(source.into()))?;
    // It may have ended before that was in force.
    if getppid() == Some(supervisor) { Ok(()) } else { sys::exit_now(125) }
}

fn make_directory(ready: &Ready) -> Result<bool, Failure> {
    let launch = &ready.launch;
    let top = launch.array_directory.as_ref().unwrap_or(&launch.directory);
    let made = make_as_root(Path::new(top), ready.uid, ready.gid).map_err(Failure::launch(top))?;
    if !made && ready.uid == 0 {
        let words = format!("{top}: a job that runs as root needs a directory in one that belongs to root");
        return Err(Failure::Launch(words));
    }
    Ok(made)
}

fn become_user(ready: &Ready) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(ready.uid), Gid::from_raw(ready.gid));
    let groups: Vec<Gid> = ready.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// The directories that are the user's own business, with no more rights than the user's.
fn make_directories_inside(ready: &Ready, made: bool) -> Result<(), Failure> {
    let launch = &ready.launch;
    let make = |path: &str| make_as_user(Path::new(path), ready.uid).map_err(Failure::launch(path));
    match &launch.array_directory {
        Some(array) => {
            if !made && !ready.array_is_ready {
                make(array)?;
            }
            make(&launch.directory)
        }
        None if made => Ok(()),
        None => make(&launch.directory),
    }
}

/// Standard output and error; standard input is the supervisor's own, which is `/dev/null`.
fn open_outputs(launch: &Launch) -> Result<(), Failure> {
    let failed = |path: &str| Failure::launch(path.to_owned());
    let stdout = open_output(&launch.stdout).map_err(failed(&launch.stdout))?;
    let stderr = match launch.stderr == launch.stdout {
        true => stdout.try_clone(),
        false => open_output(&launch.stderr),
    }
    .map_err(failed(&launch.stderr))?;
    let put = || {
        rustix::stdio::dup2_stdout(&stdout)?;
        rustix::stdio::dup2_stderr(&stderr)
    };
    put().map_err(|source| failed(&launch.stdout)(source.into()))
}

/// A new, empty file of the user's. Not a pipe that would have to be waited for, and not through a link.
fn open_output(path: &str) -> io::Result<File> {
    let flags = OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o666)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)?;
    fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}

/// Writes the job's files and its script.
fn write_files(ready: &Ready) -> Result<(), Failure> {
    let launch = &ready.launch;
    for file in &launch.spec.files {
        let path = Path::new(&launch.directory).join(&file.name);
        let mode = if file.executable { 0o700 } else { 0o600 };
        replace(&path, &file.contents, mode).map_err(Failure::launch(path.display()))?;
    }
    let Command::Script { text, .. } = &launch.spec.command else { return Ok(()) };
    let path = script_path(launch);
    // Once for all tasks of an array.
    let is_there = launch.array_directory.is_some() && (ready.array_is_ready || path.exists());
    if !is_there {
        replace(&path, text, 0o700).map_err(Failure::launch(path.display()))?;
    }
    Ok(())
}

fn script_path(launch: &Launch) -> PathBuf {
    Path::new(launch.array_directory.as_ref().unwrap_or(&launch.directory)).join(SCRIPT)
}

/// Writes a file under another name and puts it in its place whole.
fn replace(path: &Path, contents: &str, mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(contents.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    drop(file);
    fs::rename(&draft, path)
}

/// The last steps: the record, the farewell to the supervisor, the new program.
fn execute(
    around: &Around,
    ready: &Ready,
    image: &Image,
    progress: &mut Progress,
) -> Result<Infallible, Failure> {
    if let Some(bytes) = ready.address_space_bytes {
        limits::limit_address_space(bytes)
            .map_err(|source| Failure::launch("memory limit")(source.into()))?;
    }
    announce(around, &ready.launch.attempt)?;
    progress.told = true;
    // From here on the job's life is its own.
    set_parent_process_death_signal(None)
        .map_err(|source| Failure::launch("parent death signal")(source.into()))?;
    sys::reset_signals();
    let errors = image.programs.iter().map(|program| image.execute(program));
    Err(not_executed(image.name(), errors))
}

fn announce(around: &Around, attempt: &AttemptName) -> Result<(), Failure> {
    let start = Start {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        since_boot_ms: clock::since_boot_ms(),
        at: clock::now(),
    };
    around.journal.append_start(attempt, start).map_err(Failure::launch("the supervisor's journal"))?;
    note::write(&around.notes, &Note::Started { attempt: attempt.clone(), start });
    Ok(())
}

/// The program to become, made ready before there is a child: what it is made of would never be freed.
pub(super) fn image(ready: &Ready) -> Result<Image, String> {
    let launch = &ready.launch;
    let home = environment::home(launch, ready.uid);
    let variables = environment::variables(launch, &home, ready.uid, ready.data.as_deref());
    let make = || {
        let envp = variables.iter().map(|(name, value)| text(format!("{name}={value}")));
        let envp = envp.collect::<Result<Vec<_>, _>>()?;
        let argv = arguments(launch)?;
        let path = variables.get("PATH").map(String::as_str).unwrap_or_default();
        let programs = argv.first().map(|program| environment::candidates(program, path));
        Ok(Image::new(programs.unwrap_or_default(), argv, envp))
    };
    make().map_err(|failure: Failure| failure.into_words())
}

fn arguments(launch: &Launch) -> Result<Vec<CString>, Failure> {
    match &launch.spec.command {
        Command::Script { text: script, args } => {
            let interpreter = (!script.starts_with("#!")).then(|| b"/bin/sh".to_vec());
            let path = script_path(launch).into_os_string().into_vec();
            let args = args.iter().map(|arg| arg.clone().into_bytes());
            interpreter.into_iter().chain([path]).chain(args).map(text).collect()
        }
        Command::Argv(argv) => argv.iter().map(|arg| text(arg.as_str())).collect(),
    }
}

fn text(bytes: impl Into<Vec<u8>>) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_| Failure::Launch("a zero byte in an argument or a variable".into()))
}

/// What a shell would say, and the code it would exit with, after all of these failed.
fn not_executed(program: &CStr, errors: impl Iterator<Item = io::Error>) -> Failure {
    let mut worst: Option<io::Error> = None;
    for error in errors {
        let missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        if worst.is_none() || !missing {
            worst = Some(error);
        }
    }
    let program = program.to_string_lossy();
    match worst {
        Some(error) if error.kind() != io::ErrorKind::NotFound => {
            Failure::Program { code: 126, words: format!("{program}: cannot be executed: {error}") }
        }
        _ => {
            Failure::Program { code: 127, words: format!("{program}: not found, or its interpreter is not") }
        }
    }
}
