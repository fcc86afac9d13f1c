//! Processes, as `/proc` has them.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Whether this test runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A process, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process(pub i32);

impl Process {
    /// The letter of its state; `None` when it is gone, or only waits to be reaped.
    pub fn state(self) -> Option<char> {
        self.stat()?.chars().next().filter(|state| !matches!(state, 'Z' | 'X'))
    }

    /// What stands in `/proc/PID/stat` behind the name.
    fn stat(self) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        Some(stat.rsplit_once(") ")?.1.to_owned())
    }

    /// Clock ticks that it has computed, in user and kernel mode.
    pub fn ticks(self) -> u64 {
        let stat = self.stat().unwrap();
        stat.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// How often its threads have waited for something and been woken. `None` when it is gone.
    pub fn wakes(self) -> Option<u64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).ok()?;
        let of_thread = |thread: fs::DirEntry| -> Option<u64> {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse().ok()
        };
        Some(threads.filter_map(Result::ok).filter_map(of_thread).sum())
    }

    /// The most memory that it has ever had in RAM.
    pub fn most_memory_kib(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Forgets how much memory it had: from here on the most is counted anew.
    pub fn forget_most_memory(self) {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").unwrap();
    }

    /// Sends it a signal.
    pub fn signal(self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.0) {
            // It may be gone by now.
            kill_process(pid, signal).ok();
        }
    }

    fn is_supervisor(self) -> bool {
        let words = fs::read(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0);
        words.nth(1).is_some_and(|word| word == berth_executor_local::SUPERVISOR_WORD.as_bytes())
    }

    /// Whether its program, variables or folder have to do with one of these places.
    fn belongs_to(self, places: &[&Path]) -> bool {
        let read = |name: &str| fs::read(format!("/proc/{}/{name}", self.0)).unwrap_or_default();
        let text = [read("cmdline"), read("environ")].concat();
        let folder = fs::read_link(format!("/proc/{}/cwd", self.0)).unwrap_or_default();
        places.iter().any(|place| {
            let bytes = place.as_os_str().as_bytes();
            folder.starts_with(place) || text.windows(bytes.len()).any(|part| part == bytes)
        })
    }
}

/// All processes that have to do with one of these places, but for this one.
pub fn of(places: &[&Path]) -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap();
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(Process)
        .filter(|process| process.0 != own && process.state().is_some() && process.belongs_to(places))
        .collect()
}

/// Ends whatever has to do with these places: jobs at once, supervisors in their own way, which removes
/// what they have made.
pub fn end_all(places: &[&Path], patience: Duration) {
    let began = Instant::now();
    let mut asked = BTreeSet::new();
    loop {
        let left = of(places);
        if left.is_empty() {
            return;
        }
        for process in left {
            if !process.is_supervisor() || began.elapsed() > patience {
                process.signal(Signal::KILL);
            } else if asked.insert(process) {
                process.signal(Signal::TERM);
            }
        }
        if began.elapsed() > patience / 2 {
            // One that still had jobs has not listened.
            asked.clear();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
