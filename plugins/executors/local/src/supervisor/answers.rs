//! What executors ask, and what they are answered.

use berth_executor_api::{AttemptName, Truth};

use super::{
    Supervisor,
    attempt::{Attempt, Phase},
    journal::Record,
    log,
    protocol::{Answer, Ask, Found, PROTOCOL, Settings},
};

impl Supervisor {
    pub(super) fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Hello { settings, .. } => self.hello(settings),
            Ask::Launch { specs, items } => Answer::Launched(self.launch(&specs, items)),
            Ask::Reconcile { attempts } => Answer::Truths(self.reconcile(&attempts)),
            Ask::Attempts => Answer::Attempts(self.attempts.keys().cloned().collect()),
            Ask::Control { attempt, order } => self.control(&attempt, order),
            Ask::Stats { attempt } => self.stats(&attempt),
            Ask::Find { attempt } => self.find(&attempt),
            Ask::Remove { attempts } => {
                attempts.iter().for_each(|attempt| self.forget(attempt));
                Answer::Done
            }
            Ask::Cleanup { dry_run } => Answer::Lines(self.cleanup(dry_run)),
        }
    }

    /// The settings are those of whoever came last; what already runs keeps its own.
    fn hello(&mut self, settings: Settings) -> Answer {
        if settings.cluster != self.settings.cluster {
            let (theirs, ours) = (&settings.cluster, &self.settings.cluster);
            return Answer::Failed(format!("this spool folder belongs to cluster {ours:?}, not {theirs:?}"));
        }
        self.settings = settings;
        Answer::Hello { protocol: PROTOCOL, notes: self.cgroups.notes() }
    }

    fn reconcile(&mut self, names: &[AttemptName]) -> Vec<Truth> {
        // So that nothing is called running that has just ended.
        self.reap();
        // Nor known what a clean-up has just ended.
        self.forget_doomed();
        let truths = names
            .iter()
            .map(|name| match self.attempts.get(name) {
                Some(attempt) => attempt.truth(&self.settings.node),
                None if self.rebooted => Truth::Uncertain {
                    words:
                        "the machine was started anew, and what was noted last may not have reached the disk"
                            .into(),
                },
                None => Truth::Absent,
            })
            .collect();
        self.reboot_is_known();
        truths
    }

    fn find(&self, name: &AttemptName) -> Answer {
        let Some(attempt) = self.attempts.get(name) else { return Answer::Unknown };
        Answer::Found(Found {
            stdout: attempt.claim.stdout.clone(),
            stderr: attempt.claim.stderr.clone(),
            uid: attempt.claim.uid,
            started: !matches!(attempt.phase, Phase::Queued | Phase::Launching | Phase::NeverRan),
            ended: !attempt.is_live(),
        })
    }

    fn forget(&mut self, name: &AttemptName) {
        if self.attempts.get(name).is_some_and(|attempt| !attempt.is_live()) {
            self.attempts.remove(name);
            self.journal.add(&Record::Removed { attempt: name.clone() });
        }
        if self.attempts.is_empty() {
            self.ready_arrays.clear();
        }
    }

    /// Ends and forgets everything. The directories of the jobs are their users' and stay.
    fn cleanup(&mut self, dry_run: bool) -> Vec<String> {
        let mut names: Vec<AttemptName> = self.attempts.keys().cloned().collect();
        names.sort();
        let lines = names.iter().filter_map(|name| {
            let attempt = self.attempts.get(name)?;
            Some(match attempt.pid() {
                Some(pid) => format!("attempt {name}: process {pid} and its group"),
                None => format!("attempt {name}: its record"),
            })
        });
        let lines: Vec<String> = lines.collect();
        if !dry_run {
            for name in &names {
                if self.attempts.get(name).is_some_and(Attempt::is_live) {
                    self.terminate(name, std::time::Duration::ZERO);
                    self.doomed.insert(name.clone());
                }
                self.forget(name);
            }
            log(format_args!("cleaned up {} attempts", names.len()));
        }
        lines
    }

    /// Forgets what was to be forgotten as soon as it has ended.
    pub(super) fn forget_doomed(&mut self) {
        if self.doomed.is_empty() {
            return;
        }
        let over: Vec<AttemptName> = self
            .doomed
            .iter()
            .filter(|name| !self.attempts.get(*name).is_some_and(Attempt::is_live))
            .cloned()
            .collect();
        for name in over {
            self.forget(&name);
            self.doomed.remove(&name);
        }
    }
}
