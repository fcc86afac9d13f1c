//! Who holds CPUs uses them.

use std::collections::{BTreeMap, BTreeSet};

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, Looks, Settings, Watcher, bad_settings, info, units,
    watcher::{Judgement, Verdict, Warning, WatchedJob, Wishes},
};

/// Ends running jobs that have not used their CPUs for some time.
///
/// A job is idle while it uses less than a share of its CPUs on the average from each look to the next. A
/// suspended one is not, and begins anew when it is resumed. Of one whose CPU time cannot be had nobody knows:
/// it goes on, and is told so. What is kept is a cache: a fresh instance gives every job its full time again.
#[derive(Clone, Debug)]
pub struct Idle {
    below_permille: u64,
    for_ms: u64,
    /// How long before its end a job is warned; 0 for never.
    warn_before_ms: u64,
    warn_signal: Option<i32>,
    exempt_users: BTreeSet<String>,
    exempt_projects: BTreeSet<String>,
    looks: Looks,
    /// The look that is under way, and the one before.
    now_ms: InstantMs,
    before_ms: InstantMs,
    jobs: BTreeMap<JobId, Seen>,
}

/// What the last look at a job found.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at_ms: InstantMs,
    found: Found,
}

#[derive(Clone, Copy, Debug)]
enum Found {
    /// Its CPU time, and since when it has been idle, if it is.
    Used { cpu_micros: u64, idle_since_ms: InstantMs },
    /// Its CPU time could not be had since then.
    Nothing { since_ms: InstantMs },
}

impl Watcher for Idle {
    fn describe() -> Info {
        info!(
            "idle",
            "ends running jobs that do not use their CPUs",
            "below" => "a job is idle that uses less than this share of its CPUs, or of one if it has none; 5% unless given",
            "for" => "how long a job may be idle, such as 30m",
            "warn-before" => "how long before its end a job is warned, such as 5m; it is not unless given",
            "warn-signal" => "the signal that it gets then, such as USR1; none unless given",
            "exempt-users" => "users whose jobs may be idle",
            "exempt-projects" => "projects whose jobs may be idle",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let below_permille = settings.permille("below")?.unwrap_or(50);
        let for_ms = settings.span_ms("for")?.filter(|&span| span > 0);
        let warn_before_ms = settings.span_ms("warn-before")?.unwrap_or(0);
        let warn_signal = settings.signal("warn-signal")?;
        let for_ms =
            for_ms.ok_or_else(|| bad_settings("for has to say how long a job may be idle, such as 30m"))?;
        if below_permille == 0 {
            return Err(bad_settings("below = \"0%\" finds nobody idle; nobody uses less than nothing"));
        }
        if warn_before_ms >= for_ms {
            return Err(bad_settings("warn-before has to be less than for"));
        }
        if warn_signal.is_some() && warn_before_ms == 0 {
            return Err(bad_settings("warn-signal is never sent without warn-before"));
        }
        Ok(Self {
            below_permille,
            for_ms,
            warn_before_ms,
            warn_signal,
            exempt_users: settings.list("exempt-users").into_iter().collect(),
            exempt_projects: settings.list("exempt-projects").into_iter().collect(),
            looks: Looks::default(),
            now_ms: 0,
            before_ms: 0,
            jobs: BTreeMap::new(),
        })
    }

    fn wants(&self) -> Wishes {
        Wishes::USAGE
    }

    fn judge(&mut self, now_ms: InstantMs, jobs: Vec<WatchedJob>) -> Result<Vec<Judgement>, Error> {
        self.begin(now_ms);
        let mut judgements = Vec::new();
        for job in jobs {
            if let Some(verdict) = self.verdict(&job) {
                judgements.push(Judgement { job: job.id, verdict });
            }
        }
        Ok(judgements)
    }
}

impl Idle {
    /// Jobs come in parts; those that no part of the look before had are over.
    fn begin(&mut self, now_ms: InstantMs) {
        self.looks.begin(now_ms);
        if now_ms != self.now_ms {
            self.before_ms = std::mem::replace(&mut self.now_ms, now_ms);
            let before_ms = self.before_ms;
            self.jobs.retain(|_, seen| seen.at_ms == before_ms);
        }
    }

    /// `None` for those that simply go on.
    fn verdict(&mut self, job: &WatchedJob) -> Option<Verdict> {
        let exempt = self.exempt_users.contains(&job.user) || self.exempt_projects.contains(&job.project);
        let before = self.jobs.remove(&job.id);
        if exempt || job.suspended {
            return None;
        }
        let found = self.found(job, before);
        self.jobs.insert(job.id, Seen { at_ms: self.now_ms, found });
        match found {
            Found::Used { idle_since_ms, .. } => self.on_idle(job, idle_since_ms),
            Found::Nothing { since_ms } => {
                let words = "its CPU time cannot be had, so nobody knows whether it is idle, and it goes on";
                let lasts = self.now_ms.saturating_sub(since_ms) >= self.for_ms;
                lasts.then(|| Verdict::Warn(Warning { words: words.into(), signal: None }))
            }
        }
    }

    fn found(&self, job: &WatchedJob, before: Option<Seen>) -> Found {
        // What was seen before it was resumed, or before a clock was set back, says nothing.
        let before = before.filter(|seen| seen.at_ms >= job.active_since_ms && seen.at_ms < self.now_ms);
        let now_ms = self.now_ms;
        match (job.cpu_micros, before) {
            (None, Some(Seen { found: Found::Nothing { since_ms }, .. })) => Found::Nothing { since_ms },
            (None, _) => Found::Nothing { since_ms: now_ms },
            (
                Some(cpu_micros),
                Some(Seen { at_ms, found: Found::Used { cpu_micros: had, idle_since_ms } }),
            ) if had <= cpu_micros && self.is_little(job, cpu_micros - had, now_ms - at_ms) => {
                Found::Used { cpu_micros, idle_since_ms }
            }
            (Some(cpu_micros), _) => Found::Used { cpu_micros, idle_since_ms: now_ms },
        }
    }

    fn is_little(&self, job: &WatchedJob, used_micros: u64, within_ms: u64) -> bool {
        let cpu_millis = if job.needs.cpu_millis == 0 { 1000 } else { job.needs.cpu_millis };
        let bound = u128::from(self.below_permille) * u128::from(cpu_millis) * u128::from(within_ms);
        u128::from(used_micros) * 1000 < bound
    }

    fn on_idle(&self, job: &WatchedJob, since_ms: InstantMs) -> Option<Verdict> {
        let (share, most) = (units::percent(self.below_permille), units::span(self.for_ms));
        let idle_ms = self.now_ms.saturating_sub(since_ms);
        if idle_ms >= self.for_ms {
            return Some(Verdict::Stop(format!("it has used less than {share} of its CPUs for {most}")));
        }
        let warns = self.warn_before_ms > 0 && idle_ms > 0;
        (warns && self.looks.is_due(self.for_ms - idle_ms, self.warn_before_ms)).then(|| {
            // The same words as long as this lasts, and others the next time.
            let since = clock(since_ms.saturating_sub(job.started_ms));
            let words = format!(
                "it has used less than {share} of its CPUs since {since} after its start; \
                 when that has lasted for {most}, it is ended"
            );
            Verdict::Warn(Warning { words, signal: self.warn_signal })
        })
    }
}

/// Hours, minutes and seconds.
fn clock(ms: u64) -> String {
    let seconds = ms / 1000;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
