//! A watcher policy for tests of what happens before a start: it lets one job run at a time, and none of the project
//! `closed`. Of the project `trap` it does not survive being asked.

use std::collections::BTreeSet;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, Settings, Watcher, info,
    watcher::{Judgement, Refusal, StartingJob, WatchedJob, Wishes},
};

/// Lets one job run at a time.
#[derive(Debug)]
pub struct WatcherGate {
    asks: bool,
    running: BTreeSet<JobId>,
}

impl Watcher for WatcherGate {
    fn describe() -> Info {
        info!("watcher-gate", "lets one job run at a time", "asks" => "false to let all of them start")
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let asks = settings.parse("asks", "true or false")?.unwrap_or(true);
        Ok(Self { asks, running: BTreeSet::new() })
    }

    fn wants(&self) -> Wishes {
        if self.asks { Wishes::STARTS } else { Wishes::empty() }
    }

    fn judge(&mut self, _: InstantMs, _: Vec<WatchedJob>) -> Result<Vec<Judgement>, Error> {
        Ok(Vec::new())
    }

    fn may_start(&mut self, _: InstantMs, job: StartingJob) -> Result<(), Refusal> {
        assert_ne!(job.project, "trap");
        if job.project == "closed" {
            return Err(Refusal::Never("the project is closed".into()));
        }
        match self.running.iter().find(|&&other| other != job.id) {
            Some(other) => Err(Refusal::NotNow(format!("job {other} runs"))),
            None => Ok(()),
        }
    }

    fn started(&mut self, _: InstantMs, job: StartingJob) {
        self.running.insert(job.id);
    }

    fn ended(&mut self, _: InstantMs, job: JobId) {
        self.running.remove(&job);
    }
}

berth_policy_sdk::export_watcher!(WatcherGate);
