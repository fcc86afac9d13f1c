//! No job runs for ever.

use berth_policy_sdk::{
    Error, Info, InstantMs, Limits, Looks, Settings, Watcher, bad_settings, info, units,
    watcher::{Judgement, Verdict, Warning, WatchedJob},
};

/// Ends jobs that have run longer than their user, their project or the site allows, and warns those that are
/// about to be ended, by this or by their own time limit.
///
/// The time that a job stands still for being suspended counts, as it does for its time limit.
#[derive(Clone, Debug)]
pub struct MaxLifespan {
    max_ms: Limits<u64>,
    /// How long jobs may run that have no time limit of their own.
    usual_ms: Option<u64>,
    /// How long before its end a job is warned; 0 for never.
    warn_before_ms: u64,
    warn_signal: Option<i32>,
    looks: Looks,
}

/// What ends a job, and when.
struct End {
    after_ms: u64,
    why: String,
    /// It is for Berth itself to end it.
    own: bool,
}

impl Watcher for MaxLifespan {
    fn describe() -> Info {
        info!(
            "max-lifespan",
            "ends jobs that run longer than they may, and warns those that are about to be ended",
            "max" => "how long a job may run, such as 7d, 12h or 90s, whatever time limit it has",
            "users.NAME" => "the same for this user's jobs, in the place of max; none for no limit",
            "projects.NAME" => "the same for this project's jobs, unless their user has a limit",
            "usual" => "how long a job may run that has no time limit of its own; max unless given",
            "warn-before" => "how long before its end a job is warned, such as 10m; it is not unless given",
            "warn-signal" => "the signal that it gets then, such as USR1; none unless given",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let span = |text: &str| units::parse_span_ms(text).filter(|&span| span > 0);
        let max_ms = Limits::read(settings, "max", span, "how long a job may run, such as 7d")?;
        let usual_ms = settings.span_ms("usual")?;
        let warn_before_ms = settings.span_ms("warn-before")?.unwrap_or(0);
        let warn_signal = settings.signal("warn-signal")?;
        if usual_ms == Some(0) {
            return Err(bad_settings("usual = 0 lets no job run; leave it out for max"));
        }
        if max_ms.each().chain(usual_ms).any(|max| warn_before_ms >= max) {
            return Err(bad_settings("warn-before has to be less than every limit"));
        }
        if warn_signal.is_some() && warn_before_ms == 0 {
            return Err(bad_settings("warn-signal is never sent without warn-before"));
        }
        Ok(Self { max_ms, usual_ms, warn_before_ms, warn_signal, looks: Looks::default() })
    }

    fn judge(&mut self, now_ms: InstantMs, jobs: Vec<WatchedJob>) -> Result<Vec<Judgement>, Error> {
        self.looks.begin(now_ms);
        let judged =
            |job: WatchedJob| self.verdict(now_ms, &job).map(|verdict| Judgement { job: job.id, verdict });
        Ok(jobs.into_iter().filter_map(judged).collect())
    }
}

impl MaxLifespan {
    /// `None` for those that simply go on.
    fn verdict(&self, now_ms: InstantMs, job: &WatchedJob) -> Option<Verdict> {
        let end = self.end_of(job)?;
        // A start in the future is a clock that was set back.
        let ran_ms = now_ms.saturating_sub(job.started_ms);
        if ran_ms > end.after_ms && !end.own {
            return Some(Verdict::Stop(format!("it ran longer than {}", end.why)));
        }
        let left_ms = end.after_ms.checked_sub(ran_ms)?;
        // A limit of its own that is so short leaves nothing to warn of.
        let warns = self.warn_before_ms > 0 && self.warn_before_ms < end.after_ms;
        (warns && self.looks.is_due(left_ms, self.warn_before_ms)).then(|| {
            // The same words every time, so that it is warned once.
            let before = units::span(self.warn_before_ms);
            let words = format!("it is ended in {before} or little more, when it has run {}", end.why);
            Verdict::Warn(Warning { words, signal: self.warn_signal })
        })
    }

    /// What comes first.
    fn end_of(&self, job: &WatchedJob) -> Option<End> {
        let max = self.max_ms.of(&job.user, &job.project);
        let max = max.map(|max| (max, format!("the {} that a job may", units::span(max))));
        let own = job.time_limit_ms;
        let own = own.map(|own| (own, format!("the {} of its own time limit", units::span(own)), true));
        let usual = self.usual_ms.filter(|_| own.is_none());
        let usual = usual.map(|usual| {
            (
                usual,
                format!("the {} that a job may that has no time limit of its own", units::span(usual)),
                false,
            )
        });
        let ends = own.or(usual).into_iter().chain(max.map(|(after_ms, why)| (after_ms, why, false)));
        ends.map(|(after_ms, why, own)| End { after_ms, why, own }).min_by_key(|end| end.after_ms)
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
