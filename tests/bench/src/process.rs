//! Processes, as `/proc` has them.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// A process, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub i32);

impl Process {
    fn stat(self) -> Option<Vec<String>> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
    }

    /// Whether it lives.
    pub fn lives(self) -> bool {
        self.stat().is_some_and(|stat| stat.first().is_some_and(|state| state != "Z" && state != "X"))
    }

    /// What it has computed itself, and its children that have ended, each in user and kernel mode.
    pub fn cpu(self) -> Cpu {
        let stat = self.stat().unwrap_or_default();
        let ticks = |place: usize| stat.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / ticks_per_second());
        Cpu {
            user: time(ticks(11)),
            kernel: time(ticks(12)),
            children: time(ticks(13).saturating_add(ticks(14))),
        }
    }

    /// Memory in RAM.
    pub fn memory_bytes(self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.0);
        let status = fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).with_context(|| path.clone())?;
        Ok(kib.parse::<u64>()? << 10)
    }

    /// Its children.
    pub fn children(self) -> Vec<Self> {
        let path = format!("/proc/{0}/task/{0}/children", self.0);
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Self).collect()
    }

    /// Sends it a signal; it may be gone by now.
    pub fn signal(self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.0) {
            kill_process(pid, signal).ok();
        }
    }
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub user: Duration,
    pub kernel: Duration,
    pub children: Duration,
}

impl Cpu {
    /// What was used since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            kernel: self.kernel.saturating_sub(before.kernel),
            children: self.children.saturating_sub(before.children),
        }
    }

    /// Its own, in both modes.
    pub fn own(self) -> Duration {
        self.user + self.kernel
    }
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Processor time of all children of this process that have ended.
pub fn of_ended_children() -> Result<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Ok(Duration::from_micros(u64::try_from(micros(usage.user_time()) + micros(usage.system_time()))?))
}
