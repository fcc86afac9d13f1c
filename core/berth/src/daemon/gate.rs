//! Those who are asked before a launch: the watchers that want it whether the job may start, and the network policy
//! for its network.
//!
//! One task does all of it, in the order of the engine's effects. A release that overtook its question would leave
//! what was given with nobody to give it back.

use std::sync::Arc;

use berth_engine::{LaunchedView, StartAnswer};
use berth_executor_host::Registry;
use berth_model::{Attempt, JobId, NetworkAttachment, Submission};
use berth_policy_host::{NetworkPolicy, NetworkRefusal, NetworkRequest, StartRefusal, StartingJob};
use berth_store::Store;
use tokio::sync::mpsc;

use super::{
    attachments,
    message::{Inbox, Message},
    policies::Policies,
    turn::now,
};

/// Asked about one execution.
pub struct Question {
    /// The job.
    pub job: LaunchedView,
    /// The execution.
    pub attempt: Attempt,
    /// The array, for a task.
    pub array: Option<JobId>,
    /// It wants a network.
    pub network: bool,
}

enum Order {
    Ask(Box<Question>),
    Release(JobId),
}

/// The way to them. There are no more orders under way than jobs that start or end.
pub struct Gate(mpsc::UnboundedSender<Order>);

impl Gate {
    /// Begins to ask. Ends when this is dropped.
    pub fn start(
        store: &Arc<dyn Store>,
        policies: &Arc<Policies>,
        registry: &Arc<Registry>,
        inbox: &Inbox,
    ) -> Self {
        let (sender, mut orders) = mpsc::unbounded_channel();
        let keeper = Keeper {
            store: Arc::clone(store),
            policies: Arc::clone(policies),
            registry: Arc::clone(registry),
            inbox: inbox.clone(),
        };
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                match order {
                    Order::Ask(question) => keeper.ask(*question).await,
                    Order::Release(job) => keeper.release(job).await,
                }
            }
        });
        Self(sender)
    }

    /// Asks; the answer comes as a message.
    pub fn ask(&self, question: Question) {
        // Its task ends with this alone.
        let _ = self.0.send(Order::Ask(Box::new(question)));
    }

    /// The job is over, or was given back.
    pub fn release(&self, job: JobId) {
        let _ = self.0.send(Order::Release(job));
    }
}

/// A job as watchers are told of it.
pub fn starting(job: LaunchedView) -> StartingJob {
    StartingJob {
        id: job.id,
        user: job.owner,
        project: job.project,
        needs: job.needs,
        time_limit_ms: job.time_limit_ms,
        node: job.node,
    }
}

struct Keeper {
    store: Arc<dyn Store>,
    policies: Arc<Policies>,
    registry: Arc<Registry>,
    inbox: Inbox,
}

impl Keeper {
    async fn ask(&self, question: Question) {
        let (id, attempt) = (question.job.id, question.attempt);
        let answer = self.answer(question).await.unwrap_or_else(|refused| refused);
        self.inbox.tell(Message::Attached { job: id, attempt, answer }).await;
    }

    /// The error is an answer as well: the first no.
    async fn answer(&self, question: Question) -> Result<StartAnswer, StartAnswer> {
        let job = starting(question.job);
        self.watchers_let(&job).await?;
        let network = match question.network {
            true => Some(self.attach(&job, question.array.unwrap_or(job.id)).await?),
            false => None,
        };
        for watcher in self.policies.watchers.iter().filter(|watcher| watcher.asks()) {
            if let Err(error) = watcher.policy.started(now(), job.clone()).await {
                tracing::error!(policy = watcher.name, job = job.id.0, error = %error, "watcher not told of a start");
            }
        }
        Ok(StartAnswer::Yes(network))
    }

    async fn watchers_let(&self, job: &StartingJob) -> Result<(), StartAnswer> {
        for watcher in self.policies.watchers.iter().filter(|watcher| watcher.asks()) {
            let by = format!("watcher {}", watcher.name);
            match watcher.policy.may_start(now(), job).await {
                Ok(Ok(())) => {}
                Ok(Err(StartRefusal::NotNow(words))) => {
                    return Err(StartAnswer::NotNow(format!("{by}: {words}")));
                }
                Ok(Err(StartRefusal::Never(words))) => return Err(StartAnswer::Never { by, words }),
                Err(error) => {
                    let policy = watcher.name.as_str();
                    tracing::error!(policy, job = job.id.0, error = %error, "watcher skipped; the job may start");
                }
            }
        }
        Ok(())
    }

    async fn attach(&self, job: &StartingJob, submitted: JobId) -> Result<NetworkAttachment, StartAnswer> {
        let not_now = |words: String| StartAnswer::NotNow(words);
        let policy = self.policies.network.as_ref();
        let policy = policy.ok_or_else(|| not_now("no network policy is configured any more".into()))?;
        let submission = self.store.submission(submitted).await;
        let submission =
            submission.map_err(|error| not_now(format!("what was submitted cannot be read: {error}")))?;
        let submission =
            submission.ok_or_else(|| not_now("what was submitted is not stored any more".into()))?;
        let attachment = attached(policy, job, &submission).await?;
        let executor = submission.executor.as_str();
        let able =
            self.registry.get(executor).is_none_or(|executor| executor.description().capabilities.networks);
        if attachment.on_demand && !able {
            let words = format!("executor {executor} cannot keep it in a network apart from others");
            return Err(StartAnswer::Never { by: "network".into(), words });
        }
        attachments::keep(&*self.store, job.id, &job.node, &attachment)
            .await
            .map_err(|error| not_now(format!("its network cannot be stored: {error}")))?;
        Ok(attachment)
    }

    async fn release(&self, job: JobId) {
        for watcher in &self.policies.watchers {
            if watcher.asks()
                && let Err(error) = watcher.policy.ended(now(), job).await
            {
                let policy = watcher.name.as_str();
                tracing::error!(policy, job = job.0, error = %error, "watcher not told of an end");
            }
        }
        let Some(policy) = &self.policies.network else { return };
        if let Err(error) = policy.release(now(), job).await {
            tracing::warn!(job = job.0, error = %error, "network not released");
        }
        if let Err(error) = attachments::drop_kept(&*self.store, job).await {
            tracing::warn!(job = job.0, error = %error, "network not forgotten");
        }
    }
}

async fn attached(
    policy: &NetworkPolicy,
    job: &StartingJob,
    submission: &Submission,
) -> Result<NetworkAttachment, StartAnswer> {
    let request = NetworkRequest {
        job: job.id,
        user: job.user.clone(),
        project: job.project.clone(),
        label: submission.spec.network.clone(),
        ports: submission.spec.ports.clone(),
        node: job.node.clone(),
    };
    policy.attach(now(), &request).await.map_err(|refusal| match refusal {
        NetworkRefusal::Never(words) => StartAnswer::Never { by: "network".into(), words },
        NetworkRefusal::NotNow(words) => StartAnswer::NotNow(words),
    })
}
