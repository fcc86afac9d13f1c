//! Staying with a job: its output, its changes, and Ctrl-C.

use std::{collections::HashSet, sync::Arc};

use berth_api::{
    ApiStream, Client, ClientError, ControlRequest, Controls, EventRow, JobQuery, JobRow, Submitted,
};
use futures::TryStreamExt;
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Semaphore,
    task::JoinSet,
};

use super::pending::Pending;
use crate::{
    commands::{
        failure::status_of,
        follow::{Away, whole_stream},
        jobs::sentence,
        sink::{Form, Sink, Stream},
    },
    exit_code::{Status, is_over},
    output::{self, Output},
};

/// Tasks of an array whose output is followed at once.
const TASKS_AT_ONCE: usize = 64;

/// One job, or one array with all its tasks, while it runs.
pub struct Attendance {
    client: Client,
    job: String,
    is_array: bool,
    output: Output,
    /// What is being passed on.
    streams: JoinSet<anyhow::Result<()>>,
    followed: HashSet<String>,
    at_once: Arc<Semaphore>,
    pending: Pending,
    /// Ctrl-C, and how often it was pressed.
    interrupt: Signal,
    interrupts: usize,
    /// Nobody reads the output any more, and the job was asked to end for that.
    unread: bool,
}

/// What happened.
enum News {
    Event(EventRow),
    /// The stream of events broke off.
    Deaf(ClientError),
    StreamEnded(anyhow::Result<()>),
    Interrupted,
    /// Only what is shown has changed.
    None,
}

impl Attendance {
    /// For a job that was just submitted.
    ///
    /// # Errors
    /// When Ctrl-C cannot be listened for.
    pub fn new(client: Client, submitted: Submitted, output: Output) -> std::io::Result<Self> {
        let job = submitted.id.to_string();
        Ok(Self {
            pending: Pending::new(client.clone(), job.clone(), output.progress()),
            client,
            job,
            is_array: submitted.tasks.is_some(),
            output,
            streams: JoinSet::new(),
            followed: HashSet::new(),
            at_once: Arc::new(Semaphore::new(TASKS_AT_ONCE)),
            interrupt: signal(SignalKind::interrupt())?,
            interrupts: 0,
            unread: false,
        })
    }

    /// Until it is over and all its output is here.
    ///
    /// # Errors
    /// When the server stays away.
    pub async fn stay(mut self, mut events: ApiStream<EventRow>) -> anyhow::Result<Status> {
        if self.output.json {
            self.output.json_line(&json!({ "job": self.job, "state": "submitted" }))?;
        }
        if !self.is_array {
            self.follow(self.job.clone());
        }
        let mut over = false;
        let mut away = Away::default();
        while !over || !self.streams.is_empty() {
            match self.news(&mut events, over).await {
                News::Event(event) => {
                    away = Away::default();
                    over |= self.on_change(&event.label, &event.state);
                }
                News::Deaf(error) => {
                    away.pause(error).await?;
                    let (heard, is_over) = self.listen_again(&mut away).await?;
                    events = heard;
                    over |= is_over;
                }
                News::StreamEnded(result) => self.on_stream_ended(result).await?,
                News::None => {}
                News::Interrupted => {
                    if self.on_interrupt().await {
                        return Ok(Status::INTERRUPTED);
                    }
                }
            }
        }
        self.pending.clear();
        self.end().await
    }

    /// The next thing that happens.
    async fn news(&mut self, events: &mut ApiStream<EventRow>, over: bool) -> News {
        tokio::select! {
            Some(result) = self.streams.join_next() => {
                News::StreamEnded(result.unwrap_or_else(|error| Err(error.into())))
            }
            event = events.try_next(), if !over => match event {
                Ok(Some(event)) => News::Event(event),
                Ok(None) => News::Deaf(ClientError::NoServer {
                    target: self.client.target().to_owned(),
                    source: std::io::ErrorKind::UnexpectedEof.into(),
                }),
                Err(error) => News::Deaf(error),
            },
            () = self.pending.tick() => News::None,
            _ = self.interrupt.recv() => News::Interrupted,
        }
    }

    /// Whether the whole is over now.
    fn on_change(&mut self, label: &str, state: &str) -> bool {
        if label == self.job {
            self.pending.on_state(state);
            return is_over(state);
        }
        let index = label.strip_prefix(self.job.as_str()).and_then(|rest| rest.strip_prefix('.'));
        let has_begun = is_over(state) || matches!(state, "running" | "suspended" | "stopping");
        if self.is_array && index.is_some() && has_begun {
            self.pending.on_state("running");
            self.follow(label.to_owned());
        }
        false
    }

    fn follow(&mut self, label: String) {
        if !self.followed.insert(label.clone()) {
            return;
        }
        let form = match (self.output.json, label.split_once('.')) {
            (true, _) => Form::Json(label.clone()),
            (false, Some((_, index))) => Form::Prefixed(format!("[{index}] ")),
            (false, None) => Form::Raw,
        };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let (client, label, at_once) = (self.client.clone(), label.clone(), self.at_once.clone());
            let sink = Sink::new(stream, form.clone());
            self.streams.spawn(async move {
                let _permit = at_once.acquire().await?;
                whole_stream(client, label, sink).await
            });
        }
    }

    /// A new stream of events, and whether it is over by now.
    async fn listen_again(&mut self, away: &mut Away) -> Result<(ApiStream<EventRow>, bool), ClientError> {
        loop {
            let error = match self.client.events(None).await {
                Ok(events) => match self.look_again().await {
                    Ok(is_over) => return Ok((events, is_over)),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            away.pause(error).await?;
        }
    }

    /// After a time without events: whether it is over, and which tasks have begun meanwhile.
    async fn look_again(&mut self) -> Result<bool, ClientError> {
        let detail = self.client.job(&self.job).await?;
        if self.is_array {
            let all = Some("all".to_owned());
            let query = JobQuery { state: all, array: Some(detail.row.id), ..JobQuery::default() };
            let mut tasks = self.client.all_jobs(query);
            while let Some(JobRow { label, state, .. }) = tasks.try_next().await? {
                self.on_change(&label, &state);
            }
        }
        Ok(self.on_change(&detail.row.label, &detail.row.state))
    }

    async fn on_stream_ended(&mut self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        match result {
            Err(error) if status_of(&error) == Status::BROKEN_PIPE => {
                // A program whose reader has gone ends when it writes again; so does this job.
                if !self.unread {
                    self.unread = true;
                    self.control(Controls::Kill).await;
                }
                Ok(())
            }
            result => result,
        }
    }

    /// Whether to leave.
    async fn on_interrupt(&mut self) -> bool {
        self.interrupts += 1;
        if self.interrupts > 1 {
            self.pending.clear();
            output::note(&format!("left job {}, which may go on; berth wait {0} goes back to it", self.job));
            return true;
        }
        let text = format!("asking job {} to end; Ctrl-C again leaves it alone", self.job);
        self.pending.aside(|| output::note(&text));
        self.control(Controls::Kill).await;
        false
    }

    async fn control(&self, action: Controls) {
        let jobs = vec![self.job.clone()];
        let request = ControlRequest::of(action, jobs);
        match self.client.control(&request).await {
            Ok(results) => {
                for result in results.iter().filter(|result| !result.done) {
                    output::note(result.message.as_deref().unwrap_or("it was not done"));
                }
            }
            Err(error) => output::note(&error.to_string()),
        }
    }

    async fn end(self) -> anyhow::Result<Status> {
        let row = self.client.job(&self.job).await?.row;
        let status = match self.unread {
            true => Status::BROKEN_PIPE,
            false => Status::of_job(&row.state, row.exit_code, row.cause.as_ref()),
        };
        if self.output.json {
            self.output.json_line(&row)?;
        } else if !self.unread && needs_words(&row) {
            output::note(&sentence(&row));
        }
        Ok(status)
    }
}

/// A plain exit code speaks for itself, as in a shell.
fn needs_words(row: &JobRow) -> bool {
    match row.state.as_str() {
        "succeeded" => false,
        "failed" => row.exit_code.is_none_or(|code| code > 128) || row.array.is_some(),
        _ => true,
    }
}
