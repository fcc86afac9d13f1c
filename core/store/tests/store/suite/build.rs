//! Jobs and batches that hide what a test is not about.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use berth_engine::{Change, LiveJob, Moving};
use berth_model::{
    Attempt, Command, End, EventKind, Grant, Identity, JobEventRecord, JobId, JobSpec, JobState, Resources,
    Submission, UtcMs,
};
use berth_store::{Batch, Store};

pub const FIRST: Attempt = Attempt { number: 1, returned: 0 };

/// What waits.
pub fn pending() -> Moving {
    Moving {
        state: JobState::Pending,
        attempt: FIRST,
        node: None,
        eligible: UtcMs(1_000),
        started: None,
        ended: None,
        exit_code: None,
        priority: 0,
        node_failures: 0,
        array_next: 0,
        cpu_micros: None,
        memory_peak_bytes: None,
        note: None,
        granted: Vec::new(),
        failed_on: Vec::new(),
    }
}

/// What runs.
pub fn running() -> Moving {
    Moving {
        state: JobState::Running { attempt: FIRST },
        node: Some("local/here".into()),
        started: Some(UtcMs(2_000)),
        ..pending()
    }
}

/// What has ended so, at this instant.
pub fn ended(end: End, at: u64) -> Moving {
    Moving {
        exit_code: end.exit_code(),
        state: JobState::Ended { end: Box::new(end) },
        ended: Some(UtcMs(at)),
        ..running()
    }
}

/// A plain job of alice's.
pub fn job(id: u64) -> LiveJob {
    LiveJob {
        id: JobId(id),
        task_of: None,
        array: None,
        owner: "alice".into(),
        project: "default".into(),
        class: None,
        name: format!("job-{id}"),
        executor: "local".into(),
        constraints: BTreeMap::new(),
        needs: Resources { cpu_millis: 1_000, memory_bytes: 1 << 30, gpus: 0 },
        named: BTreeMap::new(),
        time_limit_ms: Some(60_000),
        grace_ms: 30_000,
        submitted: UtcMs(1_000),
        begin: None,
        dependencies: Vec::new(),
        retry_on_node_failure: 0,
        avoid_failed_nodes: false,
        wants_network: false,
        moving: pending(),
    }
}

/// An array of alice's.
pub fn array(id: u64, range: &str) -> LiveJob {
    LiveJob { array: Some(range.parse().unwrap()), ..job(id) }
}

/// The task at this position.
pub fn task(array: &LiveJob, position: u64) -> LiveJob {
    LiveJob {
        id: JobId(array.id.0 + 1 + position),
        task_of: Some((array.id, position)),
        moving: pending(),
        ..array.clone()
    }
}

/// What was asked for a job.
pub fn submission(job: &LiveJob) -> Submission {
    let spec = JobSpec {
        name: job.name.clone(),
        description: String::new(),
        tags: Vec::new(),
        project: job.project.clone(),
        class: job.class.clone(),
        executor: None,
        image: None,
        command: Command::Argv(vec!["true".into()]),
        env: BTreeMap::new(),
        workdir: None,
        output: None,
        error: None,
        resources: job.needs,
        named: job.named.clone(),
        asked_cpus: false,
        exclusive_cpus: false,
        time_limit: job.time_limit_ms.map(Duration::from_millis),
        grace: Duration::from_millis(job.grace_ms),
        array: job.array,
        dependencies: job.dependencies.clone(),
        hold: false,
        begin: job.begin,
        priority: job.moving.priority,
        volumes: Vec::new(),
        ports: Vec::new(),
        network: None,
        constraints: job.constraints.clone(),
        labels: BTreeMap::new(),
        scratch_bytes: 0,
        files: Vec::new(),
        interactive: false,
        root: false,
        retry_on_node_failure: job.retry_on_node_failure,
        avoid_failed_nodes: job.avoid_failed_nodes,
        notices: None,
        extensions: BTreeMap::new(),
    };
    let owner = Identity {
        user: job.owner.clone(),
        uid: 1_000,
        gid: 1_000,
        groups: vec![100],
        home: Some(format!("/home/{}", job.owner)),
        email: None,
        roles: Vec::new(),
    };
    Submission { spec, owner, grant: Grant::default(), executor: job.executor.clone() }
}

pub fn added(job: &LiveJob) -> Change {
    Change::Added { job: Box::new(job.clone()), submission: Arc::new(submission(job)) }
}

pub fn task_added(task: &LiveJob) -> Change {
    Change::TaskAdded { task: Box::new(task.clone()) }
}

pub fn updated(id: JobId, now: Moving) -> Change {
    Change::Updated { job: id, now: Box::new(now) }
}

pub fn event(id: JobId, at: u64, text: &str) -> Change {
    Change::Event(JobEventRecord { job: id, at: UtcMs(at), kind: EventKind::Note { text: text.into() } })
}

/// Commits these changes.
pub async fn commit(store: &impl Store, changes: impl IntoIterator<Item = Change>) {
    store.commit(Arc::new(Batch::from(changes.into_iter().collect::<Vec<_>>()))).await.unwrap();
}
