//! From an order to launch to what an executor is given.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use berth_engine::LaunchOrder;
use berth_executor_api::{Launch, LaunchSpec, Task};
use berth_model::{AttemptName, Command, JobId, Submission};

use super::places::{self, Whose};

/// What launches of one job, or of all tasks of one array, share.
#[derive(Debug)]
pub struct Shared {
    submission: Arc<Submission>,
    /// Made for the first launch: it says the same again, and most jobs wait.
    spec: OnceLock<Arc<LaunchSpec>>,
}

/// Makes launches, and remembers what was submitted lately.
#[derive(Debug)]
pub struct Launches {
    cluster: String,
    jobs: PathBuf,
    recent: HashMap<JobId, Arc<Shared>>,
    /// The remembered ones by age, with what each takes, and some that are over.
    order: VecDeque<(JobId, usize)>,
    /// What all in `order` take.
    bytes: usize,
}

/// How much memory those take that are remembered, about; further ones are read from the store when they
/// start. Enough for some 3,000 plain jobs.
const MOST_BYTES: usize = 4 << 20;

impl Launches {
    pub fn new(cluster: &str, jobs: &Path) -> Self {
        Self {
            cluster: cluster.to_owned(),
            jobs: jobs.to_owned(),
            recent: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
        }
    }

    /// One that knows nothing, for work beside the loop.
    pub fn apart(&self) -> Self {
        Self::new(&self.cluster, &self.jobs)
    }

    /// Remembers what was submitted, so that it need not be read when it starts.
    pub fn remember(&mut self, id: JobId, submission: &Arc<Submission>) {
        if self.recent.insert(id, Arc::new(self.shared(submission))).is_none() {
            let bytes = weight(submission);
            self.order.push_back((id, bytes));
            self.bytes += bytes;
        }
        // The last one stays, however large: an array with a long script is asked for again and again.
        while self.bytes > MOST_BYTES
            && self.order.len() > 1
            && let Some((oldest, bytes)) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
            self.bytes -= bytes;
        }
    }

    /// What all launches of a submission share.
    pub fn shared(&self, submission: &Arc<Submission>) -> Shared {
        Shared { submission: Arc::clone(submission), spec: OnceLock::new() }
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
        let task = order.task.zip(shared.submission.spec.array).map(|((array, index), range)| Task {
            array,
            index,
            first: range.first(),
            last: range.last(),
            step: range.step(),
        });
        let spec = shared.spec.get_or_init(|| Arc::new(spec(&self.cluster, &shared.submission)));
        let spec = match &order.network {
            None => Arc::clone(spec),
            network => Arc::new(LaunchSpec { network: network.clone(), ..(**spec).clone() }),
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
            granted: order.granted.clone(),
            spec,
        }
    }
}

/// The job or array whose submission an order goes back to.
pub fn submission_of(order: &LaunchOrder) -> JobId {
    order.task.map_or(order.job, |(array, _)| array)
}

fn spec(cluster: &str, submission: &Submission) -> LaunchSpec {
    let spec = &submission.spec;
    LaunchSpec {
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
    }
}

/// What a submission takes in memory, about. Only its texts can be large.
fn weight(submission: &Submission) -> usize {
    let spec = &submission.spec;
    let words = |words: &[String]| words.iter().map(|word| word.len() + SMALL).sum::<usize>();
    let command = match &spec.command {
        Command::Argv(argv) => words(argv),
        Command::Script { text, args } => text.len() + words(args),
    };
    let env: usize = spec.env.iter().map(|(name, value)| name.len() + value.len() + 2 * SMALL).sum();
    let files: usize = spec.files.iter().map(|file| file.contents.len() + 2 * SMALL).sum();
    size_of::<Submission>() + FIXED + spec.description.len() + command + env + files
}

/// What a small string takes beside its letters.
const SMALL: usize = 40;
/// What a plain job's other texts take, and its places in the tables.
const FIXED: usize = 400;
