//! No job's directory takes more than its share of the disk.

use berth_policy_sdk::{
    Error, Info, InstantMs, Limits, Settings, Watcher, bad_settings, info, units,
    watcher::{DirectorySize, Judgement, Verdict, Warning, WatchedJob, Wishes},
};

/// Ends jobs whose directory takes more than their user, their project or the site allows.
///
/// A job that fills its directory between two looks is ended without a warning. One whose directory cannot be
/// measured goes on, and is told so.
#[derive(Clone, Debug)]
pub struct DiskQuota {
    max_bytes: Limits<u64>,
    warn_at_permille: Option<u64>,
    warn_signal: Option<i32>,
    /// Whether a job is ended whose directory cannot be looked through to its end.
    ends_unmeasured: bool,
}

impl Watcher for DiskQuota {
    fn describe() -> Info {
        info!(
            "disk-quota",
            "ends jobs whose directory takes more of the disk than it may",
            "max" => "how much a job's directory may take, such as 10G; k, m, g and t are 1024 of the one before",
            "users.NAME" => "the same for this user's jobs, in the place of max; none for no limit",
            "projects.NAME" => "the same for this project's jobs, unless their user has a limit",
            "warn-at" => "at which share of that a job is warned, such as 80%; it is not unless given",
            "warn-signal" => "the signal that it gets then, such as USR1; none unless given",
            "unmeasured" => "what becomes of a job whose directory is too large to be looked through: go-on unless given, or stop",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let size = |text: &str| units::parse_bytes(text).filter(|&bytes| bytes > 0);
        let max_bytes =
            Limits::read(settings, "max", size, "how much a job's directory may take, such as 10G")?;
        let warn_at_permille = settings.permille("warn-at")?;
        let warn_signal = settings.signal("warn-signal")?;
        if warn_at_permille == Some(0) {
            return Err(bad_settings("warn-at = \"0%\" warns everybody; leave it out to warn nobody"));
        }
        if warn_signal.is_some() && warn_at_permille.is_none() {
            return Err(bad_settings("warn-signal is never sent without warn-at"));
        }
        let ends_unmeasured = match settings.take("unmeasured").as_deref() {
            None | Some("go-on") => false,
            Some("stop") => true,
            Some(other) => {
                return Err(bad_settings(format!(
                    "unmeasured = {other:?} is neither \"go-on\" nor \"stop\""
                )));
            }
        };
        Ok(Self { max_bytes, warn_at_permille, warn_signal, ends_unmeasured })
    }

    fn wants(&self) -> Wishes {
        Wishes::DIRECTORY
    }

    fn judge(&mut self, _: InstantMs, jobs: Vec<WatchedJob>) -> Result<Vec<Judgement>, Error> {
        let judged = |job: WatchedJob| self.verdict(&job).map(|verdict| Judgement { job: job.id, verdict });
        Ok(jobs.into_iter().filter_map(judged).collect())
    }
}

impl DiskQuota {
    /// `None` for those that simply go on.
    fn verdict(&self, job: &WatchedJob) -> Option<Verdict> {
        let max = self.max_bytes.of(&job.user, &job.project)?;
        let told = |words: &str| Some(Verdict::Warn(Warning { words: words.into(), signal: None }));
        let Some(DirectorySize { bytes, whole }) = job.directory else {
            return told("its directory cannot be measured; what it takes is not watched");
        };
        let (at_least, may) = (if whole { "" } else { "at least " }, units::size(max));
        if bytes > max {
            let takes = units::size(bytes);
            return Some(Verdict::Stop(format!("its directory takes {at_least}{takes}, and may take {may}")));
        }
        if !whole && self.ends_unmeasured {
            let takes = units::size(bytes);
            return Some(Verdict::Stop(format!(
                "its directory is too large to be looked through; it takes {takes} at least"
            )));
        }
        if let Some(permille) = self.warn_at_permille
            && u128::from(bytes) * 1000 >= u128::from(max) * u128::from(permille)
        {
            // The same words every time, so that it is warned once.
            let share = units::percent(permille);
            let words = format!(
                "its directory takes {share} or more of the {may} that it may; beyond that it is ended"
            );
            return Some(Verdict::Warn(Warning { words, signal: self.warn_signal }));
        }
        match whole {
            true => None,
            false => told("its directory is too large to be looked through; a part of it is not counted"),
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
