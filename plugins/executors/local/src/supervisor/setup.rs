//! From a program's start to a supervisor that listens.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::{
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{chdir, geteuid, getpid, set_child_subreaper, setsid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};

use super::{
    LOG, SOCKET, Supervisor,
    attempt::Attempt,
    cgroup::Cgroups,
    clock,
    journal::Journal,
    limits::Pins,
    log,
    note::Notes,
    procfs::{self, Children},
    protocol::Settings,
    sys::{self, Fork, Signals},
};

/// How long a supervisor that is just ending may keep the lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error("the local supervisor is started by Berth, with a spool folder and settings")]
    Arguments,
    #[error("spool folder {}: {source}", spool.display())]
    Spool { spool: PathBuf, source: io::Error },
    #[error("spool folder {} belongs to user {owner}, so this user's jobs cannot be kept there", spool.display())]
    NotOurs { spool: PathBuf, owner: u32 },
    #[error("another supervisor holds {} and does not answer", lock.display())]
    Locked { lock: PathBuf },
    #[error("the local supervisor could not be set up: {0}")]
    System(#[from] io::Error),
}

pub(super) fn arguments(mut args: impl Iterator<Item = OsString>) -> Result<(PathBuf, Settings), SetupError> {
    let (Some(spool), Some(settings)) = (args.next(), args.next()) else { return Err(SetupError::Arguments) };
    let settings = settings.to_str().and_then(|text| serde_json::from_str(text).ok());
    Ok((PathBuf::from(spool), settings.ok_or(SetupError::Arguments)?))
}

/// Sets everything up and splits off. `None` in the process that was started, which then has nothing left
/// to do; the supervisor in its child.
pub(super) fn start(spool: &Path, settings: Settings) -> Result<Option<Supervisor>, SetupError> {
    sys::close_inherited();
    let in_spool = |source| SetupError::Spool { spool: spool.to_owned(), source };
    make_spool(spool)?;
    let Some(lock) = take_lock(spool)? else { return Ok(None) };
    let socket = spool.join(SOCKET);
    let _ = fs::remove_file(&socket);
    let listener = bind(&socket).map_err(in_spool)?;
    let log_file = OpenOptions::new().append(true).create(true).mode(0o600).open(spool.join(LOG));
    let log_file = log_file.map_err(in_spool)?;

    // Until here the program that wants a supervisor hears on standard error what is wrong.
    let (told, tell) = io::pipe()?;
    if let Fork::Parent(_) = sys::fork()? {
        drop(tell);
        return wait_for_child(told).map(|()| None);
    }
    let set_up = || -> Result<Supervisor, SetupError> {
        setsid().map_err(io::Error::from)?;
        set_child_subreaper(Some(getpid())).map_err(io::Error::from)?;
        chdir("/").map_err(io::Error::from)?;
        assemble(spool, settings, lock, listener)
    };
    let outcome = set_up();
    let words = outcome.as_ref().err().map_or_else(String::new, ToString::to_string);
    let _ = (&tell).write_all(format!("{words}\n").as_bytes());
    drop((told, tell));
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null).and_then(|()| dup2_stdout(&log_file)).map_err(io::Error::from)?;
    dup2_stderr(&log_file).map_err(io::Error::from)?;
    outcome.map(Some)
}

/// Passes on what the child says when it is ready, or why it is not.
fn wait_for_child(told: io::PipeReader) -> Result<(), SetupError> {
    match io::read_to_string(told)?.trim() {
        "" => Ok(()),
        words => Err(SetupError::System(io::Error::other(words.to_owned()))),
    }
}

fn make_spool(spool: &Path) -> Result<(), SetupError> {
    let failed = |source| SetupError::Spool { spool: spool.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(spool).map_err(failed)?;
    let owner = fs::metadata(spool).map_err(failed)?.uid();
    if owner != geteuid().as_raw() {
        return Err(SetupError::NotOurs { spool: spool.to_owned(), owner });
    }
    fs::set_permissions(spool, fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// The lock that makes this the only supervisor of its spool folder. `None` when another one has it and
/// answers.
fn take_lock(spool: &Path) -> Result<Option<File>, SetupError> {
    let path = spool.join("lock");
    let failed = |source| SetupError::Spool { spool: spool.to_owned(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(failed)?;
    let until = Instant::now() + LOCK_WAIT;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if at_short_path(&spool.join(SOCKET), |path| UnixStream::connect(path)).is_ok() {
            return Ok(None);
        }
        if Instant::now() > until {
            return Err(SetupError::Locked { lock: path });
        }
        sleep(Duration::from_millis(5));
    }
    Ok(Some(file))
}

fn bind(socket: &Path) -> io::Result<UnixListener> {
    let listener = at_short_path(socket, |path| UnixListener::bind(path))?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Long paths do not fit into a socket's address, so this gives it another one.
pub(crate) fn at_short_path<T>(socket: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let folder = File::open(folder)?;
    act(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

fn assemble(
    spool: &Path,
    settings: Settings,
    lock: File,
    listener: UnixListener,
) -> Result<Supervisor, SetupError> {
    // For operators: whose lock this is.
    lock.set_len(0)?;
    (&lock).write_all(std::process::id().to_string().as_bytes())?;
    let boot = clock::boot_id()?;
    let rebooted = note_boot(spool, &boot)?;
    let signals = Signals::open()?;
    let (journal, past) = Journal::open(spool, &boot)?;
    let (notes, note_writer) = Notes::open()?;
    let group = fs::metadata(spool).map(|folder| format!("{}-{:x}", settings.cluster, folder.ino()))?;
    let mut supervisor = Supervisor {
        spool: spool.to_owned(),
        settings,
        _lock: lock,
        listener,
        signals,
        notes,
        note_writer,
        journal,
        as_root: geteuid().is_root(),
        rebooted,
        attempts: HashMap::new(),
        by_pid: HashMap::new(),
        adopted: Vec::new(),
        queue: VecDeque::new(),
        holding: HashMap::new(),
        launchers: Vec::new(),
        live: 0,
        deadlines: BTreeSet::new(),
        pins: Pins::new(),
        cgroups: Cgroups::find(&group),
        old_groups: Vec::new(),
        children: Children::open(),
        strays_at: None,
        ready_arrays: HashSet::new(),
        swept_at: None,
        doomed: HashSet::new(),
        clients: Vec::new(),
        reports: Vec::new(),
        tell_at: None,
        idle_since: None,
        boot,
    };
    for past in past {
        supervisor.recall(past);
    }
    supervisor.forget_old_groups();
    log(format_args!("started, {} attempts known, {} live", supervisor.attempts.len(), supervisor.live));
    Ok(supervisor)
}

/// Whether the machine was started anew since the spool was last in use and somebody asked.
fn note_boot(spool: &Path, boot: &str) -> io::Result<bool> {
    match fs::read_to_string(spool.join("boot_id")) {
        Ok(before) => Ok(before.trim() != boot),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_boot(spool, boot).map(|()| false),
        Err(error) => Err(error),
    }
}

/// Safe from a power failure: that is what it is there for.
fn write_boot(spool: &Path, boot: &str) -> io::Result<()> {
    let new = spool.join("boot_id.new");
    let mut file = File::create(&new)?;
    file.write_all(boot.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, spool.join("boot_id"))?;
    File::open(spool)?.sync_all()
}

impl Supervisor {
    /// Takes over what an earlier supervisor knew of one attempt.
    fn recall(&mut self, past: super::journal::Past) {
        let (start, was_open) = (past.start.clone(), past.ended.is_none() && past.unknown.is_none());
        let (attempt, process) = Attempt::recall(past, &self.boot);
        let name = attempt.claim.attempt.clone();
        if let Some(pid) = attempt.pid() {
            self.live += 1;
            self.by_pid.insert(pid, name.clone());
            self.holding.insert(name.clone(), attempt.claim.needs);
            self.pins.taken_before(&attempt.claim.cpus);
            let deadlines = [attempt.time_limit_at, attempt.kill_at].into_iter().flatten();
            self.deadlines.extend(deadlines.map(|at| (at, name.clone())));
        } else if let Some((start, boot)) = start
            && was_open
            && boot == self.boot
        {
            procfs::kill_orphaned_session(start.pid);
        }
        self.adopted.extend(process.map(|process| (name.clone(), process)));
        self.attempts.insert(name, attempt);
    }

    /// Groups of attempts that ended when no supervisor was there.
    fn forget_old_groups(&mut self) {
        let live = |name: &String| {
            self.attempts.values().any(|attempt| attempt.is_live() && attempt.claim.attempt.as_str() == name)
        };
        self.old_groups = self.cgroups.list().into_iter().filter(|name| !live(name)).collect();
    }

    /// Somebody asked what had become of the attempts; from now on, one that is not known never ran.
    pub(super) fn reboot_is_known(&mut self) {
        if self.rebooted {
            match write_boot(&self.spool, &self.boot) {
                Ok(()) => self.rebooted = false,
                Err(error) => log(format_args!("boot_id cannot be written: {error}")),
            }
        }
    }
}
