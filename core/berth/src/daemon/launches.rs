//! From an order to launch to what an executor is given.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use berth_engine::LaunchOrder;
use berth_executor_api::{Launch, LaunchSpec, Task};
use berth_model::{ArrayRange, AttemptName, JobId, Submission};

use super::places::{self, Whose};

/// What launches of one job, or of all tasks of one array, share.
#[derive(Debug)]
pub struct Shared {
    spec: Arc<LaunchSpec>,
    submission: Arc<Submission>,
    range: Option<ArrayRange>,
}

/// Makes launches, and remembers what was submitted lately.
#[derive(Debug)]
pub struct Launches {
    cluster: String,
    jobs: PathBuf,
    recent: HashMap<JobId, Arc<Shared>>,
    order: VecDeque<JobId>,
}

/// How many jobs and arrays are remembered; further ones are read from the store when they start.
const MOST_REMEMBERED: usize = 4_000;

impl Launches {
    pub fn new(cluster: &str, jobs: &Path) -> Self {
        Self {
            cluster: cluster.to_owned(),
            jobs: jobs.to_owned(),
            recent: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// One that knows nothing, for work beside the loop.
    pub fn apart(&self) -> Self {
        Self::new(&self.cluster, &self.jobs)
    }

    /// Remembers what was submitted, so that it need not be read when it starts.
    pub fn remember(&mut self, id: JobId, submission: &Arc<Submission>) {
        let shared = Arc::new(self.shared(submission));
        if self.recent.insert(id, shared).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST_REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.recent.remove(&oldest);
            }
        }
    }

    /// What all launches of a submission share.
    pub fn shared(&self, submission: &Arc<Submission>) -> Shared {
        shared(&self.cluster, submission)
    }

    /// A job is over.
    pub fn forget(&mut self, id: JobId) {
        self.recent.remove(&id);
        // Its place in `order` runs out by itself.
    }

    /// What is remembered of the job or array.
    pub fn recall(&self, id: JobId) -> Option<Arc<Shared>> {
        self.recent.get(&id).cloned()
    }

    /// What the executor is given.
    pub fn launch(&self, order: &LaunchOrder, shared: &Shared) -> Launch {
        let whose = Whose { job: order.job, task: order.task, attempt: order.attempt.number };
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let (stdout, stderr) = places::outputs(&self.jobs, whose, &shared.submission.spec);
        let task = order.task.zip(shared.range).map(|((array, index), range)| Task {
            array,
            index,
            first: range.first(),
            last: range.last(),
            step: range.step(),
        });
        let spec = match &order.network {
            None => Arc::clone(&shared.spec),
            network => Arc::new(LaunchSpec { network: network.clone(), ..(*shared.spec).clone() }),
        };
        Launch {
            attempt: AttemptName::new(&self.cluster, order.job, order.attempt),
            job: order.job,
            attempt_number: order.attempt.number,
            task,
            node: Some(order.node.clone()),
            directory: text(places::directory(&self.jobs, whose)),
            array_directory: places::array_directory(&self.jobs, whose).map(text),
            stdout: text(stdout),
            stderr: text(stderr),
            spec,
        }
    }
}

/// The job or array whose submission an order goes back to.
pub fn submission_of(order: &LaunchOrder) -> JobId {
    order.task.map_or(order.job, |(array, _)| array)
}

fn shared(cluster: &str, submission: &Arc<Submission>) -> Shared {
    let spec = &submission.spec;
    Shared {
        range: spec.array,
        submission: Arc::clone(submission),
        spec: Arc::new(LaunchSpec {
            cluster: cluster.to_owned(),
            name: spec.name.clone(),
            project: spec.project.clone(),
            identity: submission.owner.clone(),
            as_root: spec.root && submission.grant.as_root,
            command: spec.command.clone(),
            env: spec.env.clone(),
            workdir: spec.workdir.clone(),
            image: spec.image.clone(),
            resources: spec.resources,
            enforce_cpu: spec.asked_cpus,
            exclusive_cpus: spec.exclusive_cpus,
            time_limit: spec.time_limit,
            grace: spec.grace,
            mounts: submission.grant.mounts.clone(),
            ports: spec.ports.clone(),
            network: None,
            scratch_bytes: spec.scratch_bytes,
            files: spec.files.clone(),
            labels: spec.labels.clone(),
            constraints: spec.constraints.clone(),
            interactive: spec.interactive,
            extensions: spec.extensions.clone(),
        }),
    }
}
