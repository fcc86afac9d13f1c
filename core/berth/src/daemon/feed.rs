//! The stream of events: what became durable, told to whoever listens.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use berth_engine::{Change, LiveJob};
use berth_model::{ArrayRange, JobId, JobRef, Submission};
use berth_store::{Batch, Committed, StoredEvent};
use tokio::sync::broadcast;

/// How many batches of events a listener may be behind before it has to read the store instead.
const MOST_WAITING: usize = 1024;

/// How many jobs are remembered; what is told of others has to be looked up by who listens.
const MOST_REMEMBERED: usize = 10_000;

/// What every event of a job says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// As people write it.
    pub label: String,
    /// Its owner.
    pub owner: Arc<str>,
    /// Its project.
    pub project: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// It is a task of an array.
    pub task: bool,
    /// It says itself what its owner is to be told of it.
    pub asks_for_notices: bool,
    range: Option<ArrayRange>,
}

/// An event, with its job where that is remembered.
#[derive(Clone, Debug)]
pub struct Told {
    /// What happened.
    pub event: StoredEvent,
    /// To what.
    pub about: Option<Arc<About>>,
}

/// Events of one transaction.
pub type Events = Arc<Vec<Told>>;

/// Tells events.
pub struct Feed {
    sender: broadcast::Sender<Events>,
    recent: HashMap<JobId, Arc<About>>,
    order: VecDeque<JobId>,
}

/// Hears events.
#[derive(Clone)]
pub struct Listening(broadcast::Sender<Events>);

impl Listening {
    /// Events from now on.
    pub fn listen(&self) -> broadcast::Receiver<Events> {
        self.0.subscribe()
    }
}

impl Feed {
    pub fn new() -> Self {
        let sender = broadcast::channel(MOST_WAITING).0;
        Self { sender, recent: HashMap::new(), order: VecDeque::new() }
    }

    /// A way to hear what is told.
    pub fn listening(&self) -> Listening {
        Listening(self.sender.clone())
    }

    /// Tells the events of a batch that is durable.
    pub fn tell(&mut self, batch: &Batch, committed: Committed) {
        for change in &batch.changes {
            match change {
                Change::Added { job, submission } => self.remember(job, submission),
                Change::TaskAdded { task } => self.remember_task(task),
                Change::Altered { job, submission } => self.move_to(*job, &submission.spec.project),
                _ => {}
            }
        }
        if self.sender.receiver_count() == 0 || committed.events == 0 {
            return;
        }
        let records = batch.changes.iter().filter_map(|change| match change {
            Change::Event(record) => Some(record.clone()),
            _ => None,
        });
        let events = (committed.first_event..).zip(records).map(|(seq, record)| {
            let about = self.recent.get(&record.job).cloned();
            Told { event: StoredEvent { seq, record }, about }
        });
        // Nobody listens any more: nothing is lost, the store has them.
        let _ = self.sender.send(Arc::new(events.collect()));
    }

    fn remember(&mut self, job: &LiveJob, submission: &Submission) {
        let about = About {
            label: job.id.to_string(),
            owner: job.owner.as_str().into(),
            project: job.project.as_str().into(),
            name: job.name.as_str().into(),
            task: false,
            asks_for_notices: submission.spec.notices.is_some(),
            range: job.array,
        };
        self.keep(job.id, about);
    }

    fn move_to(&mut self, id: JobId, project: &str) {
        if let Some(about) = self.recent.get_mut(&id) {
            *about = Arc::new(About { project: project.into(), ..(**about).clone() });
        }
    }

    fn remember_task(&mut self, task: &LiveJob) {
        let Some((array, position)) = task.task_of else { return };
        let Some(parent) = self.recent.get(&array) else { return };
        let Some(index) = parent.range.and_then(|range| range.index_at(position)) else { return };
        let label = JobRef { job: array, index: Some(index) }.to_string();
        let about = About { label, task: true, range: None, ..(**parent).clone() };
        self.keep(task.id, about);
    }

    fn keep(&mut self, id: JobId, about: About) {
        if self.recent.insert(id, Arc::new(about)).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST_REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.recent.remove(&oldest);
            }
        }
    }
}
