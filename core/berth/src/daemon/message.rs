//! What reaches the loop.

use berth_engine::{Answer, Command, Engine, QuotaSettings, Refusal, StartAnswer};
use berth_model::{Attempt, JobId};
use tokio::sync::{mpsc, oneshot};

/// One thing for the loop to take in.
pub enum Message {
    /// Somebody wants something.
    Command {
        /// What.
        command: Command,
        /// Gets the answer, after what it says is durable.
        reply: oneshot::Sender<Result<Answer, CommandError>>,
    },
    /// Whether a watcher wants to be asked before jobs start.
    AskBeforeStarts(bool),
    /// From those who were asked before a launch.
    Attached {
        /// The job.
        job: JobId,
        /// The execution.
        attempt: Attempt,
        /// What it said.
        answer: StartAnswer,
    },
    /// An attempt that could not even be tried to launch.
    NotLaunched {
        /// The job.
        job: JobId,
        /// The execution.
        attempt: Attempt,
        /// Why.
        words: String,
    },
    /// The site has changed what it sets about quotas.
    Quotas(Box<QuotaSettings>),
    /// Wants to see the engine.
    Look(Box<dyn FnOnce(&Engine) + Send>),
}

/// Why a command had no success.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The engine refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The executor could not do it.
    #[error("{0}")]
    Executor(String),
    /// The loop takes nothing in at the moment: nothing was done.
    #[error("{0}")]
    Stalled(String),
    /// Another Berth leads: nothing was done.
    #[error("{0}")]
    StandsBy(String),
    /// The loop has taken it in and cannot write what came of it yet: it may be done later.
    #[error(
        "{0}; Berth goes on trying, so what was asked for may still be done: look before you ask for it again"
    )]
    Unknown(String),
}

/// The way into the loop.
#[derive(Clone)]
pub struct Inbox {
    sender: mpsc::Sender<Message>,
    stall: tokio::sync::watch::Receiver<Option<String>>,
    stands_by: bool,
}

impl Inbox {
    /// One behind which there is no loop; the stall says who has one.
    pub(super) fn of_a_stand_by(
        sender: mpsc::Sender<Message>,
        stall: tokio::sync::watch::Receiver<Option<String>>,
    ) -> Self {
        Self { sender, stall, stands_by: true }
    }

    /// Whether another Berth leads.
    pub fn stands_by(&self) -> bool {
        self.stands_by
    }

    pub(super) fn new(
        sender: mpsc::Sender<Message>,
        stall: tokio::sync::watch::Receiver<Option<String>>,
    ) -> Self {
        Self { sender, stall, stands_by: false }
    }

    /// Why nothing can be written at the moment, if that is so.
    pub fn stalled(&self) -> Option<String> {
        self.stall.borrow().clone()
    }

    /// Asks for something and waits for the answer.
    ///
    /// # Errors
    /// When it is refused; `Stalled` when nothing can be written at the moment and it was not taken in,
    /// `Unknown` when that came out only after it was: then it may be done when writing is possible again.
    pub async fn command(&self, command: Command) -> Result<Answer, CommandError> {
        let (reply, answer) = oneshot::channel();
        let stopped = || CommandError::Stalled("Berth is shutting down".into());
        if let Some(words) = self.stalled() {
            return Err(match self.stands_by {
                true => CommandError::StandsBy(words),
                false => CommandError::Stalled(words),
            });
        }
        self.sender.send(Message::Command { command, reply }).await.map_err(|_| stopped())?;
        let mut stall = self.stall.clone();
        tokio::select! {
            answer = answer => answer.map_err(|_| stopped())?,
            words = async { stall.wait_for(Option::is_some).await.ok().and_then(|words| words.clone()) } => {
                Err(words.map_or_else(stopped, CommandError::Unknown))
            }
        }
    }

    /// Looks at the engine between two steps; `None` when Berth is shutting down, or cannot take a step
    /// because nothing can be written.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |engine: &Engine| {
            let _ = reply.send(look(engine));
        });
        let mut stall = self.stall.clone();
        tokio::select! {
            answer = async { self.sender.send(Message::Look(look)).await.ok()?; answer.await.ok() } => answer,
            _ = stall.wait_for(Option::is_some) => None,
        }
    }

    /// Tells the loop something; false when it has ended.
    pub async fn tell(&self, message: Message) -> bool {
        self.sender.send(message).await.is_ok()
    }
}
