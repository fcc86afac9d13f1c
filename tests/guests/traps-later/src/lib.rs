//! A scheduler policy that is bad on purpose: it plans well for a while and then traps.

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NodeRoom, Order, Ordered, PendingJob, Plan, Scheduler, Settings, info,
    scheduler::Placement,
};

/// In the order of numbers.
#[derive(Debug, Default)]
pub struct ByNumber;

impl Order for ByNumber {
    type Key = ();

    fn describe() -> Info {
        info!(
            "traps-later",
            "plans well for a while and then traps",
            "after" => "how many plans an instance makes before it traps; 3 unless given",
        )
    }

    fn key(&self, _: &PendingJob) {}
}

/// Plans well as often as its setting says, and traps the time after.
#[derive(Debug)]
pub struct TrapsLater {
    good: Ordered<ByNumber>,
    left: u32,
}

impl Scheduler for TrapsLater {
    fn describe() -> Info {
        ByNumber::describe()
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let left = settings.parse("after", "a number")?.unwrap_or(3);
        Ok(Self { good: Ordered::configure(settings)?, left })
    }

    fn placements(&mut self, placements: Vec<Placement>) {
        self.good.placements(placements);
    }

    fn pending(&mut self, jobs: Vec<PendingJob>) {
        self.good.pending(jobs);
    }

    fn withdrawn(&mut self, jobs: Vec<JobId>) {
        self.good.withdrawn(jobs);
    }

    fn plan(&mut self, now_ms: InstantMs, room: Vec<NodeRoom>, most: u32) -> Result<Plan, Error> {
        let Some(left) = self.left.checked_sub(1) else { std::process::abort() };
        self.left = left;
        self.good.plan(now_ms, room, most)
    }

    fn known(&mut self) -> u64 {
        self.good.known()
    }
}

berth_policy_sdk::export_scheduler!(TrapsLater);
