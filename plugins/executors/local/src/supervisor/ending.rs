//! How attempts end, and what they leave behind.

use std::fs;

use berth_executor_api::{AttemptName, Exit, Usage};

use super::{
    Supervisor,
    attempt::{Attempt, Phase, UNSEEN},
    clock,
    journal::{Ended, Record},
    launcher::Launcher,
    launching::not_launched,
    procfs, sys,
};

/// How long processes may stay that their job has left behind.
const STRAYS_MS: u64 = 50;

impl Supervisor {
    /// Takes the ends of all children that have ended.
    pub(super) fn reap(&mut self) {
        let mut some = false;
        while let Some(pid) = sys::next_ended() {
            some = true;
            if !self.by_pid.contains_key(&pid) {
                // It told who it is before it became that.
                self.take_notes();
            }
            let name = self.by_pid.get(&pid).cloned();
            if name.is_some() {
                // What is left of its group. The number is still its own: it has not been reaped.
                sys::kill(-pid, libc::SIGKILL);
            }
            let Some(reaped) = sys::reap(pid) else { break };
            match name {
                Some(name) => self.on_exit(&name, &reaped),
                None => self.on_launcher_end(pid),
            }
        }
        if some && self.strays_at.is_none() {
            self.strays_at = Some(clock::since_boot_ms() + STRAYS_MS);
        }
    }

    fn on_exit(&mut self, name: &AttemptName, reaped: &sys::Reaped) {
        if matches!(reaped.code, Some(126 | 127)) {
            self.take_notes();
        }
        let Some(attempt) = self.attempts.get_mut(name) else { return };
        let message = attempt.failure.take();
        let ended = self.ended(name, reaped, message);
        self.finish(name, ended);
    }

    fn ended(&self, name: &AttemptName, reaped: &sys::Reaped, message: Option<String>) -> Ended {
        let attempt = self.attempts.get(name);
        let grouped = attempt.is_some_and(|attempt| attempt.claim.grouped);
        let peak = grouped.then(|| self.cgroups.memory(name.as_str()).1).flatten();
        let short = grouped && reaped.code != Some(0) && self.cgroups.ran_out_of_memory(name.as_str());
        let exit = Exit {
            code: reaped.code,
            signal: reaped.signal,
            out_of_memory: short,
            time_limit: attempt.is_some_and(|attempt| attempt.at_time_limit),
            could_not_launch: None,
            before_stop: !attempt.is_some_and(|attempt| attempt.stopped),
            at: clock::now(),
        };
        let usage = Usage {
            cpu_micros: reaped.cpu_micros,
            memory_peak_bytes: peak.unwrap_or(reaped.memory_peak_bytes),
            read_bytes: reaped.read_bytes,
            written_bytes: reaped.written_bytes,
            ..Usage::default()
        };
        Ended { exit, usage: Some(usage), message }
    }

    /// Writes down the end of an attempt, tells it, and frees what it had.
    pub(super) fn finish(&mut self, name: &AttemptName, ended: Ended) {
        self.journal.add(&Record::Exited { attempt: name.clone(), ended: ended.clone() });
        self.leave(name, Phase::Over(Box::new(ended)));
    }

    /// The end of an attempt that another supervisor had started: its exit code went elsewhere.
    pub(super) fn on_adopted_end(&mut self, name: &AttemptName) {
        self.adopted.retain(|(other, _)| other != name);
        if let Some(pid) = self.attempts.get(name).and_then(Attempt::pid) {
            procfs::kill_orphaned_session(pid);
        }
        self.journal.add(&Record::Unknown { attempt: name.clone(), words: UNSEEN.into() });
        self.leave(name, Phase::Unknown { words: UNSEEN.into() });
    }

    fn leave(&mut self, name: &AttemptName, phase: Phase) {
        let Some(attempt) = self.attempts.get_mut(name) else { return };
        if !attempt.is_live() {
            return;
        }
        if let Some(pid) = attempt.pid() {
            self.by_pid.remove(&pid);
        }
        self.live -= 1;
        self.holding.remove(name);
        attempt.phase = phase;
        attempt.since = clock::now();
        for at in [attempt.time_limit_at.take(), attempt.kill_at.take()].into_iter().flatten() {
            self.deadlines.remove(&(at, name.clone()));
        }
        if attempt.claim.grouped {
            self.old_groups.push(name.as_str().to_owned());
        }
        let cpus = std::mem::take(&mut attempt.claim.cpus);
        if !cpus.is_empty() {
            self.pins.give_back(&cpus);
            self.spread_others();
        }
        self.report(name);
    }

    /// Tries to remove the groups of ended attempts; their processes may still be on their way out.
    pub(super) fn remove_old_groups(&mut self) {
        let cgroups = &self.cgroups;
        self.old_groups.retain(|name| !cgroups.remove(name));
    }

    /// Processes that a job left behind in groups of their own come to this supervisor when their parents
    /// end. Those whose job is over are killed; what they leave behind comes here likewise.
    ///
    /// Looked for a little after something has ended, so that many short jobs cost one look.
    pub(super) fn kill_strays(&mut self) {
        if self.strays_at.is_none_or(|at| at > clock::since_boot_ms()) {
            return;
        }
        self.strays_at = None;
        let children = self.children.list();
        // Of whoever is a job by now it is then known.
        if children.iter().any(|pid| !self.by_pid.contains_key(pid)) {
            self.take_notes();
        }
        let is_launcher = |pid: i32| self.launchers.iter().any(|one| one.pid == pid);
        for pid in children {
            if !self.by_pid.contains_key(&pid) && !is_launcher(pid) && self.is_stray(pid) {
                sys::kill(pid, libc::SIGKILL);
            }
        }
    }

    /// A launcher ends by itself only when it was told to. Otherwise what it had begun is ended with it,
    /// and what it had not yet begun goes to another.
    fn on_launcher_end(&mut self, pid: i32) {
        let Some(place) = self.launchers.iter().position(|one| one.pid == pid) else { return };
        let launcher = self.launchers.swap_remove(place);
        let own = |pid: i32| fs::read_link(format!("/proc/{pid}/exe")).ok();
        let this = own(i32::try_from(std::process::id()).unwrap_or(0));
        for child in self.children.list() {
            let is_launcher = self.launchers.iter().any(|one| one.pid == child);
            if !self.by_pid.contains_key(&child) && !is_launcher && own(child) == this {
                sys::kill(child, libc::SIGKILL);
                self.swept_at = Some(clock::since_boot_ms());
            }
        }
        self.take_notes();
        let mut rest = launcher.into_rest();
        rest.retain(|ready| self.attempts.get(&ready.launch.attempt).is_some_and(Attempt::is_launching));
        if let Some(begun) = rest.pop_front() {
            self.finish(&begun.launch.attempt, not_launched("its launcher was ended".into()));
        }
        for ready in rest.into_iter().rev() {
            if let Some(attempt) = self.attempts.get_mut(&ready.launch.attempt) {
                attempt.phase = Phase::Queued;
            }
            self.holding.remove(&ready.launch.attempt);
            self.queue.push_front(ready);
        }
    }

    fn is_stray(&self, pid: i32) -> bool {
        let Some(process) = procfs::process(pid) else { return false };
        if matches!(process.state, 'Z' | 'X') || self.by_pid.contains_key(&process.session) {
            return false;
        }
        // It made a session of its own. It still has its job's variables, unless it hid them.
        let number = |name| procfs::variable(pid, name)?.parse::<u64>().ok();
        let all_idle = self.launchers.iter().all(Launcher::is_idle);
        match (number("BERTH_JOB_ID"), number("BERTH_ATTEMPT")) {
            (Some(job), Some(attempt)) => {
                let fits = |name: &AttemptName| {
                    AttemptName::parse(&self.settings.cluster, name.as_str())
                        .is_ok_and(|(of, its)| (of.0, u64::from(its.number)) == (job, attempt))
                };
                let launching = || self.launchers.iter().any(|one| one.has_under_way(fits));
                !self.by_pid.values().any(fits) && !launching()
            }
            // A child on its way to becoming a job has no variables of one either.
            _ => self.by_pid.is_empty() && all_idle,
        }
    }
}
