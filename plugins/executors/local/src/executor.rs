//! The executor itself: questions to the supervisor, and files read in its stead.

use std::path::PathBuf;

use async_trait::async_trait;
use berth_executor_api::{
    Action, AttemptName, Description, Executor, ExecutorError, Launch, Launched, LogQuery, LogStream, Node,
    Report, Stream, Truth, Usage, files,
};
use futures::{StreamExt, stream::BoxStream};

use crate::{
    LocalConfig,
    client::Client,
    convert::{self, BACKEND},
    reconcile::reconcile,
    reports::{ReportStream, Reports},
    supervisor::protocol::{Answer, Ask, Settings, pack},
};

/// Runs jobs as processes of this machine, each as its user where Berth is root.
pub struct LocalExecutor {
    config: LocalConfig,
    client: Client,
    reports: Reports,
    stream: ReportStream,
    description: Description,
}

impl LocalExecutor {
    /// Connects with the spool folder's supervisor, and starts one where there is none.
    ///
    /// # Errors
    /// `Unusable` when there is no supervisor and none can be started.
    pub async fn start(config: LocalConfig) -> Result<Self, ExecutorError> {
        let settings = Settings {
            cluster: config.cluster.clone(),
            node: convert::node_name(&config),
            enforce: config.enforce,
            data: config.data.clone(),
            capacity: Some(convert::node(&config).total),
        };
        let (reports, stream) = Reports::new();
        let (client, notes) = Client::start(config.clone(), settings, reports.clone()).await?;
        let description = convert::describe(config.enforce, notes);
        Ok(Self { config, client, reports, stream, description })
    }

    async fn done(&self, attempt: &AttemptName, ask: Ask) -> Result<(), ExecutorError> {
        match self.client.ask(ask).await? {
            Answer::Done => Ok(()),
            Answer::Unknown => Err(unknown(attempt)),
            other => Err(unexpected(&other)),
        }
    }
}

fn unknown(attempt: &AttemptName) -> ExecutorError {
    ExecutorError::UnknownAttempt { backend: BACKEND.into(), attempt: attempt.to_string() }
}

/// An answer that says no, or that does not answer what was asked.
pub(crate) fn unexpected(answer: &Answer) -> ExecutorError {
    let reason = match answer {
        Answer::Failed(words) => words.clone(),
        _ => "the supervisor's answer does not fit the question".into(),
    };
    ExecutorError::Refused { backend: BACKEND.into(), reason }
}

#[async_trait]
impl Executor for LocalExecutor {
    fn describe(&self) -> Description {
        self.description.clone()
    }

    async fn capacity(&self) -> Result<Vec<Node>, ExecutorError> {
        Ok(vec![convert::node(&self.config)])
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        self.stream.take()
    }

    async fn launch(&self, batch: &[Launch]) -> Result<Vec<Launched>, ExecutorError> {
        match self.client.ask(pack(batch)).await? {
            Answer::Launched(answers) if answers.len() == batch.len() => Ok(answers),
            other => Err(unexpected(&other)),
        }
    }

    async fn reconcile(&self, attempts: &[AttemptName]) -> Result<Vec<Truth>, ExecutorError> {
        reconcile(&self.client, attempts).await
    }

    async fn attempts(&self) -> Result<Vec<AttemptName>, ExecutorError> {
        match self.client.ask(Ask::Attempts).await? {
            Answer::Attempts(attempts) => Ok(attempts),
            other => Err(unexpected(&other)),
        }
    }

    async fn control(&self, attempt: &AttemptName, action: Action) -> Result<(), ExecutorError> {
        let order = convert::order(action);
        self.done(attempt, Ask::Control { attempt: attempt.clone(), order }).await
    }

    async fn logs(&self, attempt: &AttemptName, query: LogQuery) -> Result<LogStream, ExecutorError> {
        // Listened for before it is asked, so that an end in between is not missed.
        let phase = query.follow.then(|| self.reports.follow(attempt));
        let found = match self.client.ask(Ask::Find { attempt: attempt.clone() }).await? {
            Answer::Found(found) => found,
            Answer::Unknown => return Err(unknown(attempt)),
            other => return Err(unexpected(&other)),
        };
        self.reports.advance(attempt, convert::phase_found(&found));
        let path = PathBuf::from(match query.stream {
            Stream::Stdout => &found.stdout,
            Stream::Stderr => &found.stderr,
        });
        let stream = match phase {
            Some(phase) => files::follow(path, found.uid, query.tail_bytes, phase),
            // What is there before it has started is from an attempt before it.
            None if !found.started => futures::stream::empty().boxed(),
            None => files::read(path, found.uid, query.tail_bytes),
        };
        Ok(stream.map(|piece| piece.map_err(|error| convert::file_error(&error))).boxed())
    }

    async fn stats(&self, attempt: &AttemptName) -> Result<Usage, ExecutorError> {
        match self.client.ask(Ask::Stats { attempt: attempt.clone() }).await? {
            Answer::Usage(usage) => Ok(usage),
            Answer::Unknown => Err(unknown(attempt)),
            other => Err(unexpected(&other)),
        }
    }

    async fn remove(&self, attempts: &[AttemptName]) -> Result<(), ExecutorError> {
        match self.client.ask(Ask::Remove { attempts: attempts.to_vec() }).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn cleanup(&self, dry_run: bool) -> Result<Vec<String>, ExecutorError> {
        match self.client.ask(Ask::Cleanup { dry_run }).await? {
            Answer::Lines(lines) => Ok(lines),
            other => Err(unexpected(&other)),
        }
    }
}
