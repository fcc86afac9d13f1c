//! The process that makes the jobs' processes.
//!
//! A fork costs the more the more memory there is to copy, and a supervisor that made its children
//! without copying would stand still for as long as a file system keeps one of them waiting. So a process
//! of its own makes them, all of them the supervisor's children. There are as many as CPUs while
//! there is much to do, and others beside those that stand still.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
};

use berth_executor_api::AttemptName;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::{
    clock,
    note::{self, Note},
    protocol::{Frames, encode},
    spawn::{Around, Progress, Ready, become_job, image},
    sys::{self, Fork, fork_sibling},
};

/// How many attempts one launcher is given ahead, so that it need not wait for the supervisor.
const AHEAD: usize = 4;
/// How long it may take for one before it counts as standing still.
const STILL_MS: u64 = 1_000;

/// The supervisor's side.
pub(super) struct Launcher {
    pub pid: i32,
    pub stream: UnixStream,
    /// Not sent yet.
    out: Vec<u8>,
    /// What it has been given and has not told about, in order.
    under_way: VecDeque<Ready>,
    /// When it was last heard of, in milliseconds since boot.
    heard_ms: u64,
}

impl Launcher {
    pub fn start(around: Around) -> io::Result<Self> {
        let (ours, its) = UnixStream::pair()?;
        match sys::fork()? {
            Fork::Child => {
                drop(ours);
                serve(its, &around)
            }
            Fork::Parent(pid) => {
                ours.set_nonblocking(true)?;
                let (out, under_way) = (Vec::new(), VecDeque::new());
                Ok(Self { pid, stream: ours, out, under_way, heard_ms: clock::since_boot_ms() })
            }
        }
    }

    pub fn has_room(&self) -> bool {
        self.under_way.len() < AHEAD && !self.stands_still()
    }

    pub fn stands_still(&self) -> bool {
        self.still_at().is_some_and(|at| at <= clock::since_boot_ms())
    }

    /// When it will have stood still for too long.
    pub fn still_at(&self) -> Option<u64> {
        (!self.under_way.is_empty()).then_some(self.heard_ms + STILL_MS)
    }

    pub fn has_under_way(&self, fits: impl Fn(&AttemptName) -> bool) -> bool {
        self.under_way.iter().any(|ready| fits(&ready.launch.attempt))
    }

    /// How many it has been given and has not told about.
    pub fn load(&self) -> usize {
        self.under_way.len()
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    pub fn hand_over(&mut self, ready: Ready) -> serde_json::Result<()> {
        self.out.extend(encode(&ready)?);
        if self.under_way.is_empty() {
            self.heard_ms = clock::since_boot_ms();
        }
        self.under_way.push_back(ready);
        self.write();
        Ok(())
    }

    pub fn has_more_to_write(&self) -> bool {
        !self.out.is_empty()
    }

    /// Sends as much as it takes at the moment.
    pub fn write(&mut self) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // When it has ended, that is seen elsewhere.
                Err(_) => return,
            }
        }
    }

    /// It has told about this one.
    pub fn told(&mut self, attempt: &AttemptName) -> Option<Ready> {
        let place = self.under_way.iter().position(|ready| ready.launch.attempt == *attempt)?;
        self.heard_ms = clock::since_boot_ms();
        self.under_way.remove(place)
    }

    /// What it has not told about, now that it has ended.
    pub fn into_rest(self) -> VecDeque<Ready> {
        self.under_way
    }
}

/// The launcher itself: one attempt after the other, until the supervisor closes the connection.
fn serve(mut stream: UnixStream, around: &Around) -> ! {
    let bound = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    if !bound || getppid() != Some(around.supervisor) {
        sys::exit_now(1);
    }
    let mut frames = Frames::default();
    let mut buffer = vec![0; 32 << 10];
    loop {
        match frames.next::<Ready>() {
            Ok(Some(ready)) => launch(around, &ready),
            Ok(None) => match stream.read(&mut buffer) {
                Ok(0) => sys::exit_now(0),
                Ok(got) => frames.extend(buffer.get(..got).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => sys::exit_now(1),
            },
            Err(_) => sys::exit_now(1),
        }
    }
}

fn launch(around: &Around, ready: &Ready) {
    let mut progress = Progress::default();
    let made = image(ready).and_then(|image| {
        let child = fork_sibling(&mut || become_job(around, ready, &image, &mut progress));
        child.map_err(|error| format!("no process could be started: {error}"))
    });
    let words = match made {
        Ok(()) if progress.told => return,
        Ok(()) => "its process was ended before it could become the job".to_owned(),
        Err(words) => words,
    };
    let attempt = ready.launch.attempt.clone();
    note::write(&around.notes, &Note::NotLaunched { attempt, words });
}
