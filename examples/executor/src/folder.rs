//! An attempt's folder: the launch, and files that say what became of it.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use berth_executor_api::{AttemptName, AttemptReport, AttemptState, Exit, Launch, Truth, UtcMs};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, Signal, kill_process, kill_process_group},
};

/// One attempt's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    attempt: AttemptName,
    path: PathBuf,
}

/// What the files say.
pub(crate) enum Stands {
    /// There is no such folder.
    Absent,
    /// Its watcher has not begun, or just has.
    Beginning,
    Running(Pid),
    Suspended(Pid),
    Exited(Exit),
    /// Its watcher is gone without a note of how it ended.
    Gone,
}

impl Folder {
    pub(crate) fn of(all: &Path, attempt: &AttemptName) -> Self {
        Self { attempt: attempt.clone(), path: all.join(attempt.as_str()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn attempt(&self) -> &AttemptName {
        &self.attempt
    }

    /// Keeps the launch; false when it was kept before.
    pub(crate) fn make(&self, launch: &Launch) -> io::Result<bool> {
        match fs::create_dir(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error),
        }
        let json = serde_json::to_vec(launch).map_err(io::Error::other)?;
        self.write("launch.json", &json)?;
        Ok(true)
    }

    /// The launch that was kept.
    pub(crate) fn launch(&self) -> io::Result<Launch> {
        serde_json::from_slice(&fs::read(self.path.join("launch.json"))?).map_err(io::Error::other)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.path.join(format!("{name}.new"));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(new, self.path.join(name))
    }

    fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// Whether anybody may still begin it.
    pub(crate) fn is_begun(&self) -> bool {
        self.has("started")
    }

    /// Sees to it that nobody begins it any more; false when somebody has.
    fn forbid(&self) -> bool {
        fs::OpenOptions::new().write(true).create_new(true).open(self.path.join("started")).is_ok()
    }

    pub(crate) fn stands(&self) -> Stands {
        // Read before the lock is tried: it is written while that is held.
        let watched = self.is_watched();
        if let Some(exit) = self.exit() {
            return Stands::Exited(exit);
        }
        match (self.path.exists(), self.pid(), watched) {
            (false, ..) => Stands::Absent,
            (true, Some(pid), true) if self.has("suspended") => Stands::Suspended(pid),
            (true, Some(pid), true) => Stands::Running(pid),
            (true, None, true) => Stands::Beginning,
            (true, None, false) if !self.is_begun() => Stands::Beginning,
            // Its watcher may have ended between the two looks.
            (true, _, false) => self.exit().map_or(Stands::Gone, Stands::Exited),
        }
    }

    /// The answer of `reconcile`. `ours`: it is being begun by this very process.
    pub(crate) fn truth(&self, ours: bool) -> Truth {
        let known = |state, at| Truth::Known(AttemptReport::new(self.attempt.clone(), state, at));
        match self.stands() {
            Stands::Absent => Truth::Absent,
            // Whoever was to begin it may have died with Berth; after this it is certain that nobody will.
            Stands::Beginning if !ours && self.forbid() => match self.forget() {
                Ok(()) => Truth::Absent,
                Err(error) => Truth::Uncertain { words: error.to_string() },
            },
            Stands::Beginning => known(AttemptState::Starting, now()),
            Stands::Running(_) => known(AttemptState::Running, now()),
            Stands::Suspended(_) => known(AttemptState::Suspended, now()),
            Stands::Exited(exit) => known(AttemptState::Exited(exit.clone()), exit.at),
            Stands::Gone => Truth::Uncertain { words: "nobody has seen how it ended".into() },
        }
    }

    fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.path.join("pid")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    /// Whether somebody is there who will note its end.
    fn is_watched(&self) -> bool {
        let Ok(lock) = fs::File::open(self.path.join("lock")) else { return false };
        flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }

    fn exit(&self) -> Option<Exit> {
        let path = self.path.join("exit");
        let text = fs::read_to_string(&path).ok()?;
        let (code, stopped) = text.trim().split_once(' ')?;
        let ended = fs::metadata(&path).and_then(|file| file.modified()).ok()?;
        let code = code.parse().ok()?;
        Some(Exit { code: Some(code), before_stop: stopped == "0", at: utc(ended), ..Exit::default() })
    }

    /// Sends a signal to all of its processes. Of one that does not run, nothing comes.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let (Stands::Running(pid) | Stands::Suspended(pid)) = self.stands() else { return Ok(()) };
        // Just begun, it may not have its group yet.
        match kill_process_group(pid, signal).or_else(|_| kill_process(pid, signal)) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes that it was asked to end. Before the signal, so that an end before it is known as such.
    pub(crate) fn note_stop(&self) -> io::Result<()> {
        if self.path.exists() { self.write("stop", b"") } else { Ok(()) }
    }

    pub(crate) fn note_suspended(&self, suspended: bool) -> io::Result<()> {
        let mark = self.path.join("suspended");
        match suspended {
            true => self.write("suspended", b""),
            false if mark.exists() => fs::remove_file(mark),
            false => Ok(()),
        }
    }

    /// Removes it. Moved away first, so that half of one is never taken for a whole.
    pub(crate) fn forget(&self) -> io::Result<()> {
        let away = self.path.with_extension("removed");
        match fs::rename(&self.path, &away) {
            Ok(()) => fs::remove_dir_all(away),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn now() -> UtcMs {
    utc(SystemTime::now())
}

fn utc(time: SystemTime) -> UtcMs {
    UtcMs(0).after(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}
