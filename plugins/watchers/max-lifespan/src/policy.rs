//! No job runs for ever.

use berth_policy_sdk::{
    Error, Info, InstantMs, Settings, Watcher, bad_settings, info,
    watcher::{Judgement, Verdict, WatchedJob},
};

/// Ends jobs that have run longer than the site allows, whatever limit of their own they have.
#[derive(Clone, Debug)]
pub struct MaxLifespan {
    max_ms: u64,
    /// A job is warned when it has no more than this left.
    warn_before_ms: u64,
}

impl Watcher for MaxLifespan {
    fn describe() -> Info {
        info!(
            "max-lifespan",
            "ends jobs that run longer than the site allows",
            "max" => "how long a job may run, such as 7d",
            "warn-before" => "how long before its end a job's user is told, such as 1h; nobody is unless given",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let max_ms = settings.span_ms("max")?.filter(|&max| max > 0);
        let warn_before_ms = settings.span_ms("warn-before")?.unwrap_or(0);
        let max_ms =
            max_ms.ok_or_else(|| bad_settings("max has to say how long a job may run, such as 7d"))?;
        if warn_before_ms >= max_ms {
            return Err(bad_settings("warn-before has to be less than max"));
        }
        Ok(Self { max_ms, warn_before_ms })
    }

    fn judge(&mut self, now_ms: InstantMs, jobs: Vec<WatchedJob>) -> Result<Vec<Judgement>, Error> {
        let judged =
            |job: WatchedJob| self.verdict(now_ms, &job).map(|verdict| Judgement { job: job.id, verdict });
        Ok(jobs.into_iter().filter_map(judged).collect())
    }
}

impl MaxLifespan {
    /// `None` for those that simply go on.
    fn verdict(&self, now_ms: InstantMs, job: &WatchedJob) -> Option<Verdict> {
        // A start in the future is a clock that was set back.
        let ran_ms = now_ms.saturating_sub(job.started_ms);
        if ran_ms > self.max_ms {
            return Some(Verdict::Stop(format!(
                "it ran longer than the {} that a job may",
                span(self.max_ms)
            )));
        }
        // The same words every time, so that they are passed on once.
        let warned = self.warn_before_ms > 0 && ran_ms >= self.max_ms - self.warn_before_ms;
        warned.then(|| {
            let (max, before) = (span(self.max_ms), span(self.warn_before_ms));
            Verdict::Warn(format!("a job may run {max}; less than {before} of that is left"))
        })
    }
}

/// A span of time in the largest unit that says it exactly.
fn span(ms: u64) -> String {
    let units = [(24 * 3_600_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let exact = units.into_iter().find(|(unit, _)| ms.is_multiple_of(*unit));
    exact.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

#[cfg(test)]
mod tests {
    use berth_policy_sdk::{Resources, Setting};

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn watcher(pairs: &[(&str, &str)]) -> Result<MaxLifespan, Error> {
        let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
        MaxLifespan::configure(&mut Settings::new(pairs.iter().map(setting).collect()))
    }

    fn started(id: u64, started_ms: u64) -> WatchedJob {
        WatchedJob {
            id,
            user: "alice".into(),
            project: "default".into(),
            needs: Resources::NONE,
            started_ms,
            time_limit_ms: None,
            cpu_micros: None,
            memory_bytes: None,
            disk_bytes: None,
        }
    }

    #[test]
    fn jobs_are_warned_and_then_stopped_and_others_left_alone() {
        let mut watcher = watcher(&[("max", "12h"), ("warn-before", "1h")]).unwrap();
        let now = 100 * HOUR;
        let jobs = vec![
            started(1, now - 11 * HOUR + 1),
            started(2, now - 11 * HOUR),
            started(3, now - 12 * HOUR),
            started(4, now - 12 * HOUR - 1),
            started(5, now + HOUR),
        ];
        let warning = Verdict::Warn("a job may run 12h; less than 1h of that is left".into());
        let stop = Verdict::Stop("it ran longer than the 12h that a job may".into());
        let expected = [(2, warning.clone()), (3, warning), (4, stop)];
        let expected = expected.map(|(job, verdict)| Judgement { job, verdict });
        assert_eq!(watcher.judge(now, jobs).unwrap(), expected);
    }

    #[test]
    fn without_a_warning_time_nobody_is_warned() {
        let mut watcher = watcher(&[("max", "90s")]).unwrap();
        assert_eq!(watcher.judge(90_000, vec![started(1, 0)]), Ok(vec![]));
        assert_eq!(watcher.judge(90_001, vec![started(1, 0)]).unwrap().len(), 1);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for pairs in [&[][..], &[("max", "0")], &[("max", "soon")], &[("max", "1h"), ("warn-before", "60m")]]
        {
            assert!(matches!(watcher(pairs), Err(Error::BadSettings(_))), "{pairs:?}");
        }
    }

    #[test]
    fn spans_read_as_they_are_written() {
        let spans = [7 * 24 * HOUR, 36 * HOUR, 90 * 60_000, 90_000, 1500].map(span);
        assert_eq!(spans, ["7d", "36h", "90m", "90s", "1500ms"]);
    }
}
