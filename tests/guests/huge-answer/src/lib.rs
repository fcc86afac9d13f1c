//! A scheduler policy that is bad on purpose: it gives an answer of a hundred megabytes.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NodeRoom, PendingJob, Plan, Scheduler, Settings, info,
    scheduler::{PassedOver, Placement},
};

/// Passes everything over for very many reasons in very many words.
#[derive(Debug)]
pub struct HugeAnswer {
    jobs: BTreeMap<JobId, u32>,
    reasons: usize,
    length: usize,
}

impl Scheduler for HugeAnswer {
    fn describe() -> Info {
        info!(
            "huge-answer",
            "gives an answer of a hundred megabytes",
            "reasons" => "how many reasons; 1000000 unless given",
            "length" => "how long each is, in bytes; 64 unless given",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let reasons = settings.parse("reasons", "a number")?.unwrap_or(1_000_000);
        let length = settings.parse("length", "a number")?.unwrap_or(64);
        Ok(Self { jobs: BTreeMap::new(), reasons, length })
    }

    fn placements(&mut self, _: Vec<Placement>) {}

    fn pending(&mut self, jobs: Vec<PendingJob>) {
        self.jobs.extend(jobs.iter().map(|job| (job.id, job.count)));
    }

    fn withdrawn(&mut self, jobs: Vec<JobId>) {
        self.jobs.retain(|job, _| !jobs.contains(job));
    }

    fn plan(&mut self, _: InstantMs, _: Vec<NodeRoom>, _: u32) -> Result<Plan, Error> {
        let reason = PassedOver { words: "?".repeat(self.length), jobs: 1 };
        Ok(Plan {
            starts: Vec::new(),
            reservations: Vec::new(),
            rejections: Vec::new(),
            passed_over: vec![reason; self.reasons],
            wake_at_ms: None,
        })
    }

    fn known(&mut self) -> u64 {
        self.jobs.len() as u64
    }
}

berth_policy_sdk::export_scheduler!(HugeAnswer);
