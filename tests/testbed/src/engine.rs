//! Docker engines.

use std::{
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    door,
    script::{Answer, own_name, run, run_quietly},
};

/// An engine that answers, with the test images in it.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Where.
    pub socket: PathBuf,
}

impl Engine {
    /// As `DOCKER_HOST` has it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Runs the engine's own client and gives what it printed, without the last line's end.
    ///
    /// # Panics
    /// When the client fails, with its words.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = self.try_docker(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The same where a failure is part of the test.
    ///
    /// # Panics
    /// When there is no client.
    pub fn try_docker(&self, arguments: &[&str]) -> Output {
        let output = Command::new("docker").arg("-H").arg(self.host()).args(arguments).output();
        output.unwrap_or_else(|error| panic!("docker cannot be run: {error}"))
    }
}

/// The engine that all tests on this machine share. It stays as it is: containers may be run in it and
/// are removed by whoever made them.
#[must_use]
pub fn docker_engine() -> Engine {
    Engine { socket: run("docker.sh", &["up"]).value("ENGINE").into() }
}

/// What an engine of a test's own is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    /// The manager of a Swarm.
    Swarm,
    /// ... with a second node.
    Worker,
    /// Its data lies on a file system of this size, such as `64m`.
    Disk(&'a str),
    /// Its containers go on while it is away. Not for a Swarm.
    LiveRestore,
    /// It listens over TLS, too, and takes only those whom it knows.
    Tls,
    /// Images of a Swarm's tasks are asked for in their registries. Otherwise the engine has what it has.
    Pull,
}

impl<'a> Wish<'a> {
    fn words(self) -> Vec<&'a str> {
        match self {
            Self::Swarm => vec!["--swarm"],
            Self::Worker => vec!["--worker"],
            Self::Disk(size) => vec!["--disk", size],
            Self::LiveRestore => vec!["--live-restore"],
            Self::Tls => vec!["--tls"],
            Self::Pull => vec!["--pull"],
        }
    }
}

/// An engine that a test may stop, fill and break. It goes with this value.
///
/// It has a network namespace of its own, so that its containers cannot be reached over the network from
/// outside; files and sockets can.
#[derive(Debug)]
pub struct OwnEngine {
    engine: Engine,
    worker: Option<Engine>,
    certificates: Option<PathBuf>,
    name: String,
    wishes: Vec<String>,
}

impl Deref for OwnEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// Starts an engine.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn own_engine(wishes: &[Wish<'_>]) -> OwnEngine {
    let name = own_name();
    let wishes: Vec<String> = wishes.iter().flat_map(|wish| wish.words()).map(str::to_owned).collect();
    let answer = up(&name, &wishes);
    OwnEngine {
        engine: Engine { socket: answer.value("ENGINE").into() },
        worker: answer.optional("WORKER").map(|socket| Engine { socket: socket.into() }),
        certificates: answer.optional("TLS").map(PathBuf::from),
        name,
        wishes,
    }
}

/// A Swarm of one node.
#[must_use]
pub fn swarm() -> OwnEngine {
    own_engine(&[Wish::Swarm])
}

/// A Swarm of a manager and a worker; the value is the manager.
#[must_use]
pub fn swarm_of_two() -> OwnEngine {
    own_engine(&[Wish::Worker])
}

fn up(name: &str, wishes: &[String]) -> Answer {
    let owner = std::process::id().to_string();
    let mut arguments = vec!["up", name, "--owner", &owner];
    arguments.extend(wishes.iter().map(String::as_str));
    run("engine.sh", &arguments)
}

impl OwnEngine {
    /// How the scripts and the network call it; its host name and, in a Swarm, its node's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The second node's engine.
    ///
    /// # Panics
    /// When none was wished for.
    #[must_use]
    pub fn worker(&self) -> &Engine {
        self.worker.as_ref().unwrap_or_else(|| panic!("engine {} has no worker", self.name))
    }

    /// A folder with its authority's certificate (`ca.pem`), one that it knows with its key (`client.pem`,
    /// `client-key.pem`), one that it does not (`stranger.pem`, `stranger-key.pem`), and that one's authority's
    /// (`other-ca.pem`).
    ///
    /// # Panics
    /// When TLS was not wished for.
    #[must_use]
    pub fn certificates(&self) -> &Path {
        self.certificates.as_deref().unwrap_or_else(|| panic!("engine {} has no TLS", self.name))
    }

    /// An address on this machine that leads to where it listens over TLS, for as long as this process lives.
    ///
    /// # Panics
    /// When there can be none.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        door::to(&format!("/run/netns/berth-{}", self.name), SocketAddr::from(([127, 0, 0, 1], 2376)))
            .unwrap_or_else(|error| panic!("there is no way to engine {}: {error}", self.name))
    }

    /// The second node's name.
    #[must_use]
    pub fn worker_name(&self) -> String {
        format!("{}-w", self.name)
    }

    /// Ends its daemon as a crash would. Without live restore its containers end when it is back.
    pub fn kill(&self) {
        self.send(&self.engine, Signal::KILL);
    }

    /// Makes its daemon stand still: it takes connections and answers nothing.
    pub fn freeze(&self) {
        let pid = self.send(&self.engine, Signal::STOP);
        // The signal reaches one thread after the other, and until then they answer.
        while !all_stand_still(pid) {
            std::thread::yield_now();
        }
    }

    /// Undoes `freeze`.
    pub fn thaw(&self) {
        self.send(&self.engine, Signal::CONT);
    }

    /// Ends the second node's daemon as a crash would.
    pub fn kill_worker(&self) {
        self.send(self.worker(), Signal::KILL);
    }

    /// Starts again what was killed, on the same data, and waits until it answers.
    pub fn start_again(&self) {
        up(&self.name, &self.wishes);
    }

    fn send(&self, engine: &Engine, signal: Signal) -> Pid {
        let file = engine.socket.with_file_name("pid");
        let text = std::fs::read_to_string(&file);
        let pid = text.ok().and_then(|text| text.split(' ').next()?.parse().ok()).and_then(Pid::from_raw);
        match pid.map(|pid| (pid, kill_process(pid, signal))) {
            Some((pid, Ok(()))) => pid,
            sent => panic!("{} names no process that hears: {sent:?}", file.display()),
        }
    }
}

/// Whether every thread of the process is stopped; also when it is gone.
fn all_stand_still(pid: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    threads.into_iter().flatten().flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        run_quietly("engine.sh", &["down", &self.name]);
    }
}
