//! What all parts of the executor share, and the questions they put to the manager.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use berth_docker_engine::{
    Engine, EngineError, EngineInfo,
    bollard::{
        Docker,
        models::{Service, Task, TaskState},
        query_parameters::{
            InspectServiceOptions, ListNodesOptions, ListServicesOptionsBuilder, ListTasksOptionsBuilder,
        },
    },
    filter, label,
};
use berth_executor_api::{AttemptName, ExecutorError, UtcMs, files::Person};
use tokio::sync::{Notify, watch};

use crate::{
    BACKEND, SwarmConfig,
    book::{Book, Entry, Progress},
    nodes::{self, Nodes, Reserved},
    output::{self, Outputs},
    reports::Reports,
    service::{attempt_of, own_label},
};

/// What a Swarm may want of tasks that have not ended. The others may be many.
const UNDER_WAY: [&str; 3] = ["ready", "running", "complete"];

/// The engine that is asked, as it was when it was last connected.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    pub info: EngineInfo,
    /// Its own number as a node.
    pub node: String,
}

#[derive(Debug)]
pub(crate) struct Swarm {
    pub config: SwarmConfig,
    pub engine: Engine,
    pub book: Book,
    pub reports: Reports,
    /// Something was done that is worth a look.
    pub wake: Notify,
    nodes: Mutex<Nodes>,
    manager: Mutex<Option<Manager>>,
}

/// A service with what is known of it.
#[derive(Debug)]
pub(crate) struct Carrier {
    pub service: Service,
    pub tasks: Vec<Task>,
}

impl Carrier {
    /// Whether an end was asked for.
    pub fn stopped(&self) -> bool {
        self.labels().is_some_and(|labels| labels.contains_key(own_label::STOP))
    }

    pub fn labels(&self) -> Option<&HashMap<String, String>> {
        self.service.spec.as_ref()?.labels.as_ref()
    }
}

impl Swarm {
    pub fn new(config: SwarmConfig, reports: Reports) -> Arc<Self> {
        Arc::new(Self {
            engine: Engine::new(config.engine.clone()),
            config,
            book: Book::default(),
            reports,
            wake: Notify::new(),
            nodes: Mutex::default(),
            manager: Mutex::default(),
        })
    }

    /// Connects, and sees that the engine is a manager.
    pub async fn connect(&self) -> Result<(), ExecutorError> {
        let info = self.engine.connect().await?;
        let swarm = info.info.swarm.clone().unwrap_or_default();
        if swarm.control_available != Some(true) {
            let reason = format!("the engine at {} is no manager of a Swarm", self.config.engine.endpoint);
            return Err(ExecutorError::Unusable { backend: BACKEND.into(), reason });
        }
        let node = swarm.node_id.unwrap_or_default();
        *self.manager() = Some(Manager { info, node });
        Ok(())
    }

    /// The number of the node whose engine is asked.
    pub fn own_node(&self) -> Option<String> {
        self.manager().as_ref().map(|manager| manager.node.clone())
    }

    /// Now, by the manager's clock.
    pub fn now(&self) -> UtcMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let ours = UtcMs(0).after(since);
        self.manager().as_ref().map_or(ours, |manager| manager.info.by_its_clock(ours))
    }

    pub fn nodes(&self) -> Nodes {
        lock(&self.nodes).clone()
    }

    fn manager(&self) -> MutexGuard<'_, Option<Manager>> {
        lock(&self.manager)
    }

    /// Puts a question, and says what its answer means for whoever asked the executor.
    pub async fn ask<T, Answer>(&self, question: impl FnOnce(Docker) -> Answer) -> Result<T, EngineError>
    where
        Answer: Future<Output = Result<T, berth_docker_engine::bollard::errors::Error>>,
    {
        let docker = self.engine.docker().await.map_err(not_there)?;
        self.engine.answer(question(docker)).await.map_err(without_leader)
    }

    /// Asks for the nodes and what others have reserved there, and tells of them if something about them is
    /// new; whether it is.
    pub async fn refresh_nodes(&self) -> Result<bool, ExecutorError> {
        let list = self.ask(async |docker: Docker| docker.list_nodes(None::<ListNodesOptions>).await).await;
        let list = list.map_err(|error| error.for_executor(BACKEND))?;
        let nodes = nodes::convert(list, &self.reserved().await?, &self.config);
        let told = nodes.told();
        let new = {
            let mut known = lock(&self.nodes);
            let new = *known != nodes;
            *known = nodes;
            new
        };
        // Whoever asks: the next one to ask will find nothing new.
        if new {
            self.reports.capacity(told);
        }
        Ok(new)
    }

    /// What tasks of services that are not Berth's reserve.
    async fn reserved(&self) -> Result<Reserved, ExecutorError> {
        let filters = HashMap::from([("desired-state".to_owned(), UNDER_WAY.map(str::to_owned).to_vec())]);
        let tasks = self.tasks(&filters).await.map_err(|error| error.for_executor(BACKEND))?;
        Ok(nodes::reserved(tasks, |labels| self.attempt(labels).is_some(), &self.config))
    }

    /// The service of an attempt, if there is one.
    pub async fn service(&self, attempt: &AttemptName) -> Result<Option<Service>, ExecutorError> {
        let name = attempt.to_string();
        let question =
            async |docker: Docker| docker.inspect_service(&name, None::<InspectServiceOptions>).await;
        match self.ask(question).await {
            Ok(service) => Ok(Some(service)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.for_executor(BACKEND)),
        }
    }

    /// The same with its tasks.
    pub async fn carrier(&self, attempt: &AttemptName) -> Result<Option<Carrier>, ExecutorError> {
        let Some(service) = self.service(attempt).await? else { return Ok(None) };
        let by_service = HashMap::from([("service".to_owned(), vec![attempt.to_string()])]);
        match self.tasks(&by_service).await {
            Ok(mut tasks) => {
                tasks.retain(|task| !is_left_over(task));
                Ok(Some(Carrier { service, tasks }))
            }
            // Removed in between.
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.for_executor(BACKEND)),
        }
    }

    async fn tasks(&self, filters: &HashMap<String, Vec<String>>) -> Result<Vec<Task>, EngineError> {
        let options = ListTasksOptionsBuilder::new().filters(filters).build();
        self.ask(async |docker: Docker| docker.list_tasks(Some(options)).await).await
    }

    /// The tasks of all attempts of this cluster.
    pub async fn all_tasks(&self) -> Result<HashMap<AttemptName, Vec<Task>>, ExecutorError> {
        let filters = filter(label::CLUSTER, &self.config.cluster);
        let tasks = self.tasks(&filters).await.map_err(|error| error.for_executor(BACKEND))?;
        let mut by_attempt: HashMap<AttemptName, Vec<Task>> = HashMap::new();
        for task in tasks.into_iter().filter(|task| !is_left_over(task)) {
            let container = task.spec.as_ref().and_then(|spec| spec.container_spec.as_ref());
            let labels = container.and_then(|container| container.labels.as_ref());
            if let Some(attempt) = labels.and_then(|labels| self.attempt(labels)) {
                by_attempt.entry(attempt).or_default().push(task);
            }
        }
        Ok(by_attempt)
    }

    /// Whether tasks of this cluster are there, those of services that were removed among them.
    pub async fn has_tasks(&self) -> Result<bool, ExecutorError> {
        let tasks = self.tasks(&filter(label::CLUSTER, &self.config.cluster)).await;
        Ok(!tasks.map_err(|error| error.for_executor(BACKEND))?.is_empty())
    }

    /// The services of all attempts of this cluster.
    pub async fn all_services(&self) -> Result<HashMap<AttemptName, Service>, ExecutorError> {
        let filters = filter(label::CLUSTER, &self.config.cluster);
        let options = ListServicesOptionsBuilder::new().filters(&filters).build();
        let services = self.ask(async |docker: Docker| docker.list_services(Some(options)).await).await;
        let services = services.map_err(|error| error.for_executor(BACKEND))?;
        let named = services.into_iter().filter_map(|service| {
            let attempt = self.attempt(service.spec.as_ref()?.labels.as_ref()?)?;
            Some((attempt, service))
        });
        Ok(named.collect())
    }

    /// All attempts with their tasks.
    pub async fn all_carriers(&self) -> Result<HashMap<AttemptName, Carrier>, ExecutorError> {
        // In this order: a service that comes in between has no task here, and is looked at again.
        let services = self.all_services().await?;
        let mut tasks = self.all_tasks().await?;
        let with = |(attempt, service)| {
            let tasks = tasks.remove(&attempt).unwrap_or_default();
            (attempt, Carrier { service, tasks })
        };
        Ok(services.into_iter().map(with).collect())
    }

    /// Whether it is the name of an attempt of this cluster.
    pub fn names_attempt(&self, name: &str) -> bool {
        AttemptName::parse(&self.config.cluster, name).is_ok()
    }

    /// The attempt of this cluster that labels name.
    fn attempt(&self, labels: &HashMap<String, String>) -> Option<AttemptName> {
        let cluster = &self.config.cluster;
        let (job, attempt) = AttemptName::parse(cluster, attempt_of(labels, cluster)?).ok()?;
        Some(AttemptName::new(cluster, job, attempt))
    }

    /// Writes an attempt into the book and begins to write its output down, unless that was done before.
    pub fn adopt(self: &Arc<Self>, attempt: &AttemptName, labels: &HashMap<String, String>, stopped: bool) {
        let mut entries = self.book.entries();
        let entry = entries.entry(attempt.clone()).or_insert_with(|| {
            let (progress, seen) = watch::channel(Progress::default());
            let (tell, written) = watch::channel(None);
            let outputs = outputs(labels);
            let writer = tokio::spawn(output::write(Arc::clone(self), attempt.clone(), outputs, seen, tell));
            Entry::new(stopped, progress, written, writer.abort_handle())
        });
        entry.stopped |= stopped;
    }
}

/// Its service was removed.
fn is_left_over(task: &Task) -> bool {
    task.desired_state == Some(TaskState::REMOVE)
}

/// Where the attempt's output goes, as its labels say.
fn outputs(labels: &HashMap<String, String>) -> Option<Outputs> {
    let path = |name| labels.get(name).map(std::path::PathBuf::from);
    let mut numbers = labels.get(own_label::OWNER)?.split(',').map(str::parse::<u32>);
    let (uid, gid) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let person = Person { uid, gid, groups: numbers.filter_map(Result::ok).collect() };
    Some(Outputs { stdout: path(own_label::STDOUT)?, stderr: path(own_label::STDERR)?, person })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_there(error: ExecutorError) -> EngineError {
    let waited = match &error {
        ExecutorError::Unreachable { waited, .. } => *waited,
        _ => std::time::Duration::ZERO,
    };
    let words = match &error {
        ExecutorError::Unreachable { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    EngineError::Unreachable { words, waited }
}

/// A manager that has lost its Swarm answers, and knows nothing.
fn without_leader(error: EngineError) -> EngineError {
    let lost = ["does not have a leader", "not a swarm manager", "deadline", "unavailable", "canceled"];
    match error {
        EngineError::Refused { status, message }
            if status == 503
                || (status >= 500 && lost.iter().any(|word| message.to_lowercase().contains(word))) =>
        {
            EngineError::Unreachable { words: message, waited: std::time::Duration::ZERO }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_without_a_leader_is_as_good_as_away_and_a_no_is_a_no() {
        let of = |status, message: &str| {
            without_leader(EngineError::Refused { status, message: message.into() }).is_unreachable()
        };
        assert!(of(503, "This node is not a swarm manager."));
        assert!(of(500, "rpc error: code = Unknown desc = The swarm does not have a leader."));
        assert!(of(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded"));
        assert!(!of(500, "network nowhere not found"));
        assert!(!of(400, "rpc error: code = InvalidArgument desc = name must be valid"));
    }
}
