//! What is done to attempts on demand, or when their time is up.

use std::{collections::HashMap, time::Duration};

use berth_executor_api::{AttemptName, Exit, Usage};
use rustix::process::Pid;

use super::{
    Supervisor,
    attempt::{Attempt, Phase, millis},
    clock,
    journal::{Ended, Record},
    limits, procfs,
    protocol::{Answer, Order},
    sys,
};

impl Supervisor {
    pub(super) fn control(&mut self, name: &AttemptName, order: Order) -> Answer {
        // Whatever has ended by now has ended before this was asked.
        self.reap();
        let is_live = self.attempts.get(name).is_some_and(Attempt::is_live);
        match order {
            Order::Terminate { .. } if !is_live => Answer::Done,
            _ if !is_live => Answer::Unknown,
            Order::Terminate { grace_ms } => {
                self.terminate(name, Duration::from_millis(grace_ms));
                Answer::Done
            }
            Order::TimeLimit { limit_ms } => {
                self.limit(name, Duration::from_millis(limit_ms));
                Answer::Done
            }
            Order::Suspend => self.suspend(name, true),
            Order::Resume => self.suspend(name, false),
            Order::Signal(signal) if (1..=64).contains(&signal) => {
                if self.signal_all(name, signal) {
                    Answer::Done
                } else {
                    Answer::Failed("it has not started yet".into())
                }
            }
            Order::Signal(signal) => Answer::Failed(format!("{signal} is not the number of a signal")),
        }
    }

    fn suspend(&mut self, name: &AttemptName, suspended: bool) -> Answer {
        let Some(attempt) = self.attempts.get_mut(name) else { return Answer::Unknown };
        if attempt.suspended != suspended {
            attempt.suspended = suspended;
            // One that is on its way is stopped when it gets there.
            if matches!(attempt.phase, Phase::Running(_)) {
                attempt.since = clock::now();
                self.signal_all(name, if suspended { libc::SIGSTOP } else { libc::SIGCONT });
                self.report(name);
            }
        }
        Answer::Done
    }

    /// Lets it run this long from its start, and no longer.
    fn limit(&mut self, name: &AttemptName, limit: Duration) {
        let Some(attempt) = self.attempts.get_mut(name) else { return };
        if attempt.claim.time_limit == Some(limit) {
            return;
        }
        attempt.claim.time_limit = Some(limit);
        self.journal.add(&Record::Limited { attempt: name.clone(), time_limit: limit });
        // One whose turn has not come is held to it from its start on.
        let Phase::Running(start) = attempt.phase else { return };
        let at = start.since_boot_ms.saturating_add(millis(limit));
        let before = attempt.time_limit_at.replace(at);
        self.deadlines.extend([(at, name.clone())]);
        if let Some(before) = before.filter(|&before| before != at) {
            self.deadlines.remove(&(before, name.clone()));
        }
    }

    /// Asks it to end, and sees to it that it does.
    pub(super) fn terminate(&mut self, name: &AttemptName, grace: Duration) {
        let Some(attempt) = self.attempts.get_mut(name) else { return };
        attempt.stopped = true;
        attempt.suspended = false;
        if matches!(attempt.phase, Phase::Queued) {
            self.queue.retain(|ready| ready.launch.attempt != *name);
            self.finish(name, never_started());
            return;
        }
        let at = clock::since_boot_ms().saturating_add(millis(grace));
        if attempt.kill_at.is_none_or(|before| at < before) {
            let before = attempt.kill_at.replace(at);
            self.deadlines.extend([(at, name.clone())]);
            before.into_iter().for_each(|before| {
                self.deadlines.remove(&(before, name.clone()));
            });
            self.journal.add(&Record::Stopping { attempt: name.clone(), kill_since_boot_ms: at });
        }
        if grace.is_zero() {
            self.signal_all(name, libc::SIGKILL);
        } else {
            self.signal_all(name, libc::SIGTERM);
            // What is stopped could not hear it.
            self.signal_all(name, libc::SIGCONT);
        }
    }

    /// Does what is due.
    pub(super) fn on_deadlines(&mut self) {
        let now = clock::since_boot_ms();
        while let Some((at, name)) = self.deadlines.first().cloned()
            && at <= now
        {
            self.deadlines.pop_first();
            // It may have ended in time.
            self.reap();
            let Some(attempt) = self.attempts.get_mut(&name) else { continue };
            if !attempt.is_live() {
                continue;
            }
            if attempt.kill_at.is_some_and(|at| at <= now) {
                self.signal_all(&name, libc::SIGKILL);
            } else if attempt.time_limit_at.is_some_and(|at| at <= now) && !attempt.stopped {
                attempt.at_time_limit = true;
                let grace = attempt.claim.grace;
                self.terminate(&name, grace);
            }
        }
    }

    /// Sends a signal to all processes of an attempt. `false` when it has none yet.
    pub(super) fn signal_all(&self, name: &AttemptName, signal: i32) -> bool {
        let Some(attempt) = self.attempts.get(name) else { return false };
        let Some(pid) = attempt.pid() else { return false };
        if !self.is_still(attempt, pid) {
            return true;
        }
        // The whole group at one stroke.
        sys::kill(-pid, signal);
        for other in self.others(name, attempt, pid) {
            sys::kill(other, signal);
        }
        true
    }

    /// The processes of an attempt outside its main process's group.
    fn others(&self, name: &AttemptName, attempt: &Attempt, pid: i32) -> Vec<i32> {
        let session = procfs::of_session(pid);
        let in_groups = if attempt.claim.grouped { self.cgroups.members(name.as_str()) } else { Vec::new() };
        let outside = in_groups.into_iter().filter(|pid| session.iter().all(|process| process.pid != *pid));
        session
            .iter()
            .filter(|process| process.group != pid)
            .map(|process| process.pid)
            .chain(outside)
            .collect()
    }

    /// A child's number is its own until it is reaped; that of another's child may be someone else's.
    fn is_still(&self, attempt: &Attempt, pid: i32) -> bool {
        let Phase::Running(start) = attempt.phase else { return true };
        self.adopted.iter().all(|(name, _)| *name != attempt.claim.attempt)
            || procfs::process(pid).is_some_and(|process| process.start_ms() <= start.since_boot_ms)
    }

    /// Keeps attempts without CPUs of their own off those that others have for themselves.
    pub(super) fn spread_others(&self) {
        let cpus = self.pins.shared().unwrap_or_else(|| self.pins.all());
        let shares =
            |name: &AttemptName| self.attempts.get(name).is_some_and(|attempt| attempt.claim.cpus.is_empty());
        let sharing: HashMap<i32, ()> =
            self.by_pid.iter().filter(|(_, name)| shares(name)).map(|(pid, _)| (*pid, ())).collect();
        if sharing.is_empty() {
            return;
        }
        for process in procfs::all().filter(|process| sharing.contains_key(&process.session)) {
            for thread in procfs::threads(process.pid) {
                // It may be gone.
                let _ = limits::bind(Pid::from_raw(thread), &cpus);
            }
        }
    }

    /// What an attempt uses now.
    pub(super) fn stats(&mut self, name: &AttemptName) -> Answer {
        let Some(attempt) = self.attempts.get(name) else { return Answer::Unknown };
        let (Phase::Running(_), Some(pid)) = (&attempt.phase, attempt.pid()) else { return Answer::Unknown };
        let others = self.others(name, attempt, pid);
        let mut processes = procfs::of_session(pid);
        let known: Vec<i32> = processes.iter().map(|process| process.pid).collect();
        processes.extend(others.into_iter().filter(|pid| !known.contains(pid)).filter_map(procfs::process));
        let group = attempt.claim.grouped.then(|| self.cgroups.memory(name.as_str()));
        let (now, peak) = group.unwrap_or_default();
        let mut usage = Usage {
            cpu_micros: processes.iter().map(procfs::Process::cpu_micros).sum(),
            memory_bytes: now.unwrap_or_else(|| processes.iter().map(procfs::Process::resident_bytes).sum()),
            ..Usage::default()
        };
        for process in &processes {
            let (read, written) = procfs::disk_io(process.pid);
            usage.read_bytes += read;
            usage.written_bytes += written;
        }
        if let Some(attempt) = self.attempts.get_mut(name) {
            attempt.memory_seen = attempt.memory_seen.max(usage.memory_bytes);
            usage.memory_peak_bytes = peak.unwrap_or(attempt.memory_seen);
        }
        Answer::Usage(usage)
    }
}

/// The end of an attempt that was asked to end before its turn came.
fn never_started() -> Ended {
    let exit = Exit { signal: Some(libc::SIGKILL), at: clock::now(), ..Exit::default() };
    Ended { exit, usage: None, message: Some("it was ended before it started".into()) }
}
