//! Who answers the engine's requests for plans: a policy as it is, or as a component.

use std::{path::Path, sync::mpsc};

use berth_engine::{PendingTold, Plan, PlanRequest, RunningTold, Start, Told};
use berth_model::{JobId, UtcMs};
use berth_policy_host::{
    HostSettings, PolicyHost, PolicyKind, PolicySource, PolicySpec, SchedulerEvent, SchedulerPolicy,
};
use berth_policy_sdk::{
    NodeRoom, PendingJob, Resources, RunningJob, Scheduler, Setting, Settings,
    scheduler::{Node, Placement},
};

/// Someone who answers requests for plans.
pub trait Planner {
    fn plan(&mut self, request: PlanRequest) -> Plan;
}

/// A policy as it is.
pub struct Native<S>(S);

impl<S: Scheduler> Native<S> {
    /// With these settings, which are good.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
        let mut settings = Settings::new(settings.iter().map(setting).collect());
        Self(S::configure(&mut settings).unwrap())
    }

    fn tell(&mut self, told: Told) {
        let policy = &mut self.0;
        policy.names(told.first_name, told.names);
        let nodes = told.nodes.iter().map(|node| Node {
            id: node.id,
            name: node.name,
            executor: node.executor,
            total: resources(node.total),
            usable: node.usable,
            attributes: Vec::new(),
        });
        policy.nodes(nodes.collect());
        let placements = told.placements.into_iter();
        policy.placements(placements.map(|one| Placement { id: one.id, nodes: one.nodes }).collect());
        policy.withdrawn(told.withdrawn.iter().map(|job| job.0).collect());
        policy.pending(told.pending.iter().map(pending).collect());
        policy.ended(told.ended.iter().map(|job| job.0).collect());
        policy.started(told.started.iter().map(running).collect());
    }
}

impl<S: Scheduler> Planner for Native<S> {
    fn plan(&mut self, request: PlanRequest) -> Plan {
        self.tell(request.told);
        assert_eq!(self.0.known(), request.pending_known, "it loses count");
        let room = request.room.iter().map(|room| NodeRoom { node: room.node, free: resources(room.free) });
        let plan = self.0.plan(request.now.0, room.collect(), request.most).unwrap();
        let start = |start: &berth_policy_sdk::scheduler::Start| Start {
            job: JobId(start.job),
            count: start.count,
            node: start.node,
        };
        Plan {
            snapshot: request.snapshot,
            starts: plan.starts.iter().map(start).collect(),
            reservations: plan
                .reservations
                .iter()
                .map(|one| (JobId(one.job), one.node, UtcMs(one.at_ms)))
                .collect(),
            rejections: vec![],
            passed_over: plan.passed_over.into_iter().map(|one| (one.words, one.jobs)).collect(),
            wake_at: plan.wake_at_ms.map(UtcMs),
        }
    }
}

/// A policy as the component that ships.
pub struct Guest {
    policy: SchedulerPolicy,
    events: mpsc::Receiver<SchedulerEvent>,
}

/// A host that keeps what it compiles.
pub fn host(cache: &Path) -> PolicyHost {
    PolicyHost::new(HostSettings { cache_dir: Some(cache.to_owned()) }).unwrap()
}

impl Guest {
    /// The shipped policy of this name with these settings.
    pub fn new(host: &PolicyHost, name: &str, settings: &[(&str, &str)]) -> Self {
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist");
        let source = PolicySource::File(dist.join(name).with_extension("wasm"));
        let mut spec = PolicySpec::new(name, PolicyKind::Scheduler, source);
        spec.settings = settings.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        spec.grants.log = true;
        spec.grants.usage = true;
        let (sender, events) = mpsc::channel();
        let policy = SchedulerPolicy::spawn(host, spec, move |event| {
            // Nobody listens any more when the test is over.
            let _ = sender.send(event);
        });
        Self { policy: policy.unwrap(), events }
    }
}

impl Planner for Guest {
    fn plan(&mut self, request: PlanRequest) -> Plan {
        self.policy.plan(request);
        match self.events.recv().unwrap() {
            SchedulerEvent::Planned(plan) => plan,
            other => panic!("no plan: {other:?}"),
        }
    }
}

fn pending(job: &PendingTold) -> PendingJob {
    PendingJob {
        id: job.id.0,
        owner: job.owner,
        project: job.project,
        placement: job.placement,
        count: job.count,
        needs: resources(job.needs),
        submitted_ms: job.submitted.0,
        eligible_ms: job.eligible.0,
        time_limit_ms: job.time_limit_ms,
        priority: job.priority,
    }
}

fn running(job: &RunningTold) -> RunningJob {
    RunningJob {
        id: job.id.0,
        array: job.array.map(|array| array.0),
        owner: job.owner,
        project: job.project,
        node: job.node,
        needs: resources(job.needs),
        started_ms: job.started.0,
        ends_ms: job.ends.map(|at| at.0),
    }
}

fn resources(resources: berth_model::Resources) -> Resources {
    let berth_model::Resources { cpu_millis, memory_bytes, gpus } = resources;
    Resources { cpu_millis, memory_bytes, gpus }
}
