//! The policy: one of the orders, as the settings choose it.

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NodeRoom, Ordered, PendingJob, Plan, Ranked, Scheduler, Settings,
    bad_settings, info, scheduler::Placement,
};

use crate::{
    aging::{Aging, Formula},
    measure::Measure,
    steady::Steady,
};

/// The most urgent first. Nobody passes the first of those who wait for the same nodes.
#[derive(Clone, Debug)]
pub enum Priority {
    /// By an order that stands still.
    Steady(Ordered<Steady>),
    /// By one that changes as time goes by.
    Aging(Ranked<Aging>),
}

/// Who the policy is, whichever order it has.
pub fn describe() -> Info {
    info!(
        "priority",
        "the most urgent first: by priority, or by a formula of time limit, processors and waiting",
        "order" => "priority (then first come, first served) unless given; sjf: the shortest first; wfp3: the \
            largest (waited/limit)^3 * CPUs; unicep: the largest waited/(log2(CPUs) * limit), jobs of one CPU \
            before all others; f1: the smallest log10(limit) * CPUs + 870 * log10(submitted)",
        "age-weight" => "for priority: points of priority that an hour of waiting is worth; 0 unless given",
        "default-time-limit" => "for the others: how long a job without a time limit is taken to run; 1d unless given",
        "f1-origin" => "for f1: seconds since 1970 at which its count of time begins, such as when the cluster was \
            taken into service; 0 unless given, where the time of submission makes little difference",
    )
}

impl Scheduler for Priority {
    fn describe() -> Info {
        describe()
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let steady = |order| Self::Steady(Ordered::new(order));
        let aging = |order| Self::Aging(Ranked::new(order));
        match settings.take("order").as_deref().map(str::trim) {
            None | Some("priority") => Steady::priority(settings).map(steady),
            Some("sjf") => Measure::configure(settings).map(Steady::ShortestFirst).map(steady),
            Some("f1") => Steady::f1(settings).map(steady),
            Some("wfp3") => Aging::by(Formula::Wfp3, settings).map(aging),
            Some("unicep") => Aging::by(Formula::Unicep, settings).map(aging),
            Some(other) => {
                Err(bad_settings(format!("order = {other:?} is none of priority, sjf, wfp3, unicep and f1")))
            }
        }
    }

    fn placements(&mut self, placements: Vec<Placement>) {
        match self {
            Self::Steady(policy) => policy.placements(placements),
            Self::Aging(policy) => policy.placements(placements),
        }
    }

    fn pending(&mut self, jobs: Vec<PendingJob>) {
        match self {
            Self::Steady(policy) => policy.pending(jobs),
            Self::Aging(policy) => policy.pending(jobs),
        }
    }

    fn withdrawn(&mut self, jobs: Vec<JobId>) {
        match self {
            Self::Steady(policy) => policy.withdrawn(jobs),
            Self::Aging(policy) => policy.withdrawn(jobs),
        }
    }

    fn plan(&mut self, now_ms: InstantMs, room: Vec<NodeRoom>, most: u32) -> Result<Plan, Error> {
        match self {
            Self::Steady(policy) => policy.plan(now_ms, room, most),
            Self::Aging(policy) => policy.plan(now_ms, room, most),
        }
    }

    fn explain(&mut self, now_ms: InstantMs, job: JobId) -> Option<String> {
        match self {
            Self::Steady(policy) => policy.explain(now_ms, job),
            Self::Aging(policy) => policy.explain(now_ms, job),
        }
    }

    fn known(&mut self) -> u64 {
        match self {
            Self::Steady(policy) => policy.known(),
            Self::Aging(policy) => policy.known(),
        }
    }
}
