//! Doing something with jobs.

use berth_api::{Changed, ControlRequest, ControlResult, Controls, ErrorBody, ErrorCode};
use berth_config::Archive;
use berth_engine::{Actor, Answer, Command, DEFAULT_PROJECT, LiveJob, Refusal};
use berth_model::{JobId, JobRef, StateKind, StopCause, UtcMs};
use berth_server::{Caller, Scope};
use berth_store::ListQuery;

use super::{Service, access, failures, filters, jobs};
use crate::daemon::{CommandError, now};

/// How often a change is made anew of a job that others change at the same time.
const MOST_TRIES: u32 = 8;

/// The most jobs in one request.
const MOST_JOBS: usize = 10_000;

impl Service {
    pub(super) async fn control_all(
        &self,
        who: &Caller,
        request: ControlRequest,
    ) -> Result<Vec<ControlResult>, ErrorBody> {
        access::needs(who, Scope::Submit)?;
        if request.action == Controls::Signal
            && !request.signal.is_some_and(|signal| (1..=64).contains(&signal))
        {
            return Err(ErrorBody::new(ErrorCode::Invalid, "a signal is a number from 1 to 64"));
        }
        if request.alter.is_some() && !matches!(request.action, Controls::Alter | Controls::Rerun) {
            let words = "something is changed by `alter`, and by `rerun` of what has ended";
            return Err(ErrorBody::new(ErrorCode::Invalid, words));
        }
        if request.pack && request.action != Controls::Archive {
            return Err(ErrorBody::new(ErrorCode::Invalid, "only what is archived is packed"));
        }
        let jobs = self.meant(who, &request).await?;
        if jobs.len() > MOST_JOBS {
            let words = format!("{} jobs at once; at most {MOST_JOBS} are possible", jobs.len());
            return Err(ErrorBody::new(ErrorCode::Invalid, words));
        }
        if request.preview {
            return self.preview(who, jobs).await;
        }
        if let Some(expected) = request.expect.filter(|&expected| expected != jobs.len() as u64) {
            let words = format!("{} jobs are meant by now, not {expected}; nothing was done", jobs.len());
            return Err(ErrorBody::new(ErrorCode::Conflict, words));
        }
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            results.push(match self.control_one(who, &job, &request).await {
                Ok(message) => ControlResult { job, done: true, message },
                Err(error) => ControlResult { job, done: false, message: Some(error.to_string()) },
            });
        }
        Ok(results)
    }

    /// The jobs that a request means, as they are written in it or by what they are.
    async fn meant(&self, who: &Caller, request: &ControlRequest) -> Result<Vec<String>, ErrorBody> {
        if !request.is_filter() {
            return Ok(request.jobs.clone());
        }
        if !request.jobs.is_empty() {
            let words = "jobs are meant by their numbers or by what they are, not both";
            return Err(ErrorBody::new(ErrorCode::Invalid, words));
        }
        if let Some(user) = &request.user {
            let project = request.project.as_deref().unwrap_or(DEFAULT_PROJECT);
            access::may_touch(who, &self.daemon.memberships, (user, project), "of that user")?;
        }
        let states = match &request.state {
            Some(_) => jobs::states(request.state.as_deref())?,
            None => {
                let ended = request.action == Controls::Archive;
                StateKind::ALL.into_iter().filter(|kind| kind.is_end() == ended).collect()
            }
        };
        let before = match request.older_than.as_deref().map(berth_model::parse_duration).transpose() {
            Ok(age) => age.map(|age| now().0.saturating_sub(millis(age))),
            Err(error) => return Err(ErrorBody::new(ErrorCode::Invalid, format!("older_than: {error}"))),
        };
        let Some(owner) = self.whose_jobs(who, request.user.as_deref(), request.project.as_deref()) else {
            return Ok(Vec::new());
        };
        let query = ListQuery {
            states,
            owner,
            project: request.project.clone(),
            name: request.name.as_ref().map(|name| format!("*{name}*")),
            tag: request.tag.clone(),
            // Where age counts, it is looked at after the list.
            limit: before.is_none().then_some(MOST_JOBS as u64 + 1),
            ..ListQuery::default()
        };
        let rows = self.daemon.store.list(query).await.map_err(failures::store)?;
        let is_old = |ended: Option<UtcMs>| before.is_none_or(|before| ended.is_some_and(|at| at.0 < before));
        Ok(rows.into_iter().filter(|row| is_old(row.ended)).map(|row| row.id.to_string()).collect())
    }

    async fn preview(&self, who: &Caller, jobs: Vec<String>) -> Result<Vec<ControlResult>, ErrorBody> {
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            let found = match job.parse::<JobRef>() {
                Ok(reference) => self.seen(who, reference).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let words = |found: LiveJob| {
                format!(
                    "{} of {} in {}: {}",
                    found.moving.state.kind(),
                    found.owner,
                    found.project,
                    found.name
                )
            };
            let message = Some(found.map_or_else(|error| error, words));
            results.push(ControlResult { job, done: false, message });
        }
        Ok(results)
    }

    async fn control_one(
        &self,
        who: &Caller,
        job: &str,
        request: &ControlRequest,
    ) -> Result<Option<String>, ErrorBody> {
        let reference: JobRef = job.parse().map_err(|error: berth_model::JobRefError| {
            ErrorBody::new(ErrorCode::Invalid, error.to_string())
        })?;
        let found = self.seen(who, reference).await?;
        access::may_touch(who, &self.daemon.memberships, (&found.owner, &found.project), job)?;
        if matches!(request.action, Controls::Rerun | Controls::Release) {
            self.may_start(who, &found.owner).await?;
        }
        let is_over = found.moving.state.kind().is_end();
        let _occupied = match request.action {
            Controls::Archive if is_over => {
                let how = if request.pack { Archive::Pack } else { self.daemon.config.now().jobs.archive };
                return self.archive(&found, &who.identity.user, how).await;
            }
            Controls::Archive => {
                let words =
                    format!("job {job} is {}; only what has ended is archived", found.moving.state.kind());
                return Err(ErrorBody::new(ErrorCode::Conflict, words));
            }
            Controls::Rerun if is_over => {
                // The directory of a task is its array's.
                let whose = found.task_of.map_or(found.id, |(array, _)| array);
                Some(self.not_archived(whose).await?)
            }
            Controls::Rerun => None,
            _ if is_over => {
                return Ok(Some(format!("it has ended already: {}", found.moving.state.kind())));
            }
            _ => None,
        };
        let Some(alteration) = &request.alter else {
            return self.carried_out(command(who, found, request)?, &[]).await;
        };
        // What somebody else changes meanwhile is read again, and not undone.
        for _ in 1..MOST_TRIES {
            let (command, changes) = self.altering(who, found.clone(), alteration, request.action).await?;
            match self.daemon.inbox.command(command).await {
                Err(CommandError::Refused(Refusal::Outdated(_))) => {}
                answer => return told(answer, &changes),
            }
        }
        let (command, changes) = self.altering(who, found, alteration, request.action).await?;
        self.carried_out(command, &changes).await
    }

    async fn carried_out(&self, command: Command, changes: &[Changed]) -> Result<Option<String>, ErrorBody> {
        told(self.daemon.inbox.command(command).await, changes)
    }
}

/// What is said of a command that was carried out, or not.
fn told(answer: Result<Answer, CommandError>, changes: &[Changed]) -> Result<Option<String>, ErrorBody> {
    match answer.map_err(|error| filters::with_changes(changes, failures::command(error)))? {
        Answer::NoNews(why) => Ok(Some(why.to_owned())),
        _ => {
            let texts: Vec<&str> = changes.iter().map(|change| change.text.as_str()).collect();
            Ok((!texts.is_empty()).then(|| texts.join("; ")))
        }
    }
}

fn command(who: &Caller, found: LiveJob, request: &ControlRequest) -> Result<Command, ErrorBody> {
    let (job, owner) = (found.id, found.owner.clone());
    let administrator = access::as_administrator(who, &owner);
    let name = who.identity.user.clone();
    let by = || Actor { name: name.clone(), administrator };
    Ok(match request.action {
        Controls::Kill => Command::Kill { job, cause: stop_cause(name, administrator) },
        Controls::Hold => Command::Hold { job, by: by() },
        Controls::Release => Command::Release { job, by: by() },
        Controls::Suspend => Command::Suspend { job },
        Controls::Resume => Command::Resume { job },
        Controls::Signal => Command::Signal { job, signal: request.signal.unwrap_or_default() },
        Controls::Rerun => {
            Command::Rerun { job, stored: stored(job, found), altered: None, by: name, notes: Vec::new() }
        }
        Controls::Alter | Controls::Archive => {
            return Err(ErrorBody::new(ErrorCode::Invalid, "there is nothing to change; say what"));
        }
    })
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn stop_cause(name: String, administrator: bool) -> StopCause {
    match administrator {
        true => StopCause::Administrator { name },
        false => StopCause::User { name },
    }
}

/// The job as the engine may need it, when it has ended.
fn stored(job: JobId, found: LiveJob) -> Option<Box<LiveJob>> {
    (found.id == job && found.moving.state.kind().is_end()).then(|| Box::new(found))
}
