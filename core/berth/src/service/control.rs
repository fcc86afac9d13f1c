//! Doing something with jobs.

use berth_api::{ControlRequest, ControlResult, Controls, ErrorBody, ErrorCode};
use berth_engine::{Actor, Answer, Command, DEFAULT_PROJECT, LiveJob};
use berth_model::{JobId, JobRef, StateKind, StopCause};
use berth_server::{Caller, Scope};
use berth_store::ListQuery;

use super::{Service, access, failures};

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
        let jobs = match &request.user {
            Some(user) => self.live_jobs_of(who, user, request.tag.clone()).await?,
            None => request.jobs.clone(),
        };
        if jobs.len() > MOST_JOBS {
            let words = format!("{} jobs at once; at most {MOST_JOBS} are possible", jobs.len());
            return Err(ErrorBody::new(ErrorCode::Invalid, words));
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

    async fn live_jobs_of(
        &self,
        who: &Caller,
        user: &str,
        tag: Option<String>,
    ) -> Result<Vec<String>, ErrorBody> {
        access::may_touch(who, &self.daemon.memberships, (user, DEFAULT_PROJECT), "of that user")?;
        let query = ListQuery {
            states: StateKind::ALL.into_iter().filter(|kind| !kind.is_end()).collect(),
            owner: Some(user.to_owned()),
            tag,
            ..ListQuery::default()
        };
        let rows = self.daemon.store.list(query).await.map_err(failures::store)?;
        Ok(rows.into_iter().map(|row| row.id.to_string()).collect())
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
        let is_over = found.moving.state.kind().is_end();
        if is_over && request.action != Controls::Rerun {
            return Ok(Some(format!("it has ended already: {}", found.moving.state.kind())));
        }
        let command = command(who, found, request);
        match self.daemon.inbox.command(command).await.map_err(failures::command)? {
            Answer::NoNews(why) => Ok(Some(why.to_owned())),
            _ => Ok(None),
        }
    }
}

fn command(who: &Caller, found: LiveJob, request: &ControlRequest) -> Command {
    let (job, owner) = (found.id, found.owner.clone());
    let administrator = access::as_administrator(who, &owner);
    let name = who.identity.user.clone();
    let by = || Actor { name: name.clone(), administrator };
    match request.action {
        Controls::Kill => Command::Kill { job, cause: stop_cause(name, administrator) },
        Controls::Hold => Command::Hold { job, by: by() },
        Controls::Release => Command::Release { job, by: by() },
        Controls::Suspend => Command::Suspend { job },
        Controls::Resume => Command::Resume { job },
        Controls::Signal => Command::Signal { job, signal: request.signal.unwrap_or_default() },
        Controls::Rerun => Command::Rerun { job, stored: stored(job, found), by: name },
    }
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
