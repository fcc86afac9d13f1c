//! Tasks: submitting, listing, looking at and controlling them.

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
    http::header,
    response::{IntoResponse, Response},
};
use berth_api::{ControlRequest, ControlResult, Controls, ErrorBody, ErrorCode, JobDetail, JobQuery, JobRow};
use berth_model::{JobId, JobRef};
use futures::{StreamExt, stream};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::json;

use super::{
    Answer, documents,
    documents::{Change, Wanted},
    refused::Refused,
    submission, task,
};
use crate::{
    Backend, Caller,
    extract::{Query, Sent, Who, unreadable, whole},
    front::Front,
    refusal::Refusal,
    routes::App,
};

/// The most documents in one answer, however many are asked for: each takes a look at its job.
const MOST_DOCUMENTS: usize = 10_000;
/// Jobs that are looked at at a time.
const LOOKS_AT_ONCE: usize = 8;
/// Rows that are asked for at once while some of them are only to be passed over.
const PAGE: u32 = 10_000;
/// The longest regular expression, and the most memory that one may take.
const MOST_REGEX_BYTES: usize = 1000;
const REGEX_MEMORY_BYTES: usize = 1 << 20;

/// The longest answer.
const MOST_LIST_BYTES: usize = 64 << 20;

const OVER: &str = "succeeded,failed,killed,rejected,lost";

type Listed = Result<Response, Refused>;

/// Whose tasks are listed, and of which project.
enum Whose {
    Own { project: Option<String> },
    Everybodys,
}

/// What may stand behind a list's question mark.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    project: Option<String>,
}

/// A task's number in a path.
pub(super) fn number(path: Result<Path<String>, PathRejection>) -> Result<JobRef, Refused> {
    let Path(text) = path.map_err(unreadable)?;
    numbered(&text)
}

pub(super) fn numbered(text: &str) -> Result<JobRef, Refused> {
    match text.parse() {
        Ok(id) => Ok(JobRef { job: JobId(id), index: None }),
        Err(_) => {
            Err(Refusal::new(ErrorCode::NotFound, "there is no such task; tasks have whole numbers").into())
        }
    }
}

pub(super) async fn submit(
    State(front): App,
    Who(who): Who,
    sent: Result<Sent<documents::Task>, Refusal>,
) -> Answer {
    let Sent(task) = sent.map_err(|no| Refused::submission(no.into_body()))?;
    let job = submission::submit(task, &who.identity.user).map_err(Refused::submission)?;
    if job.labels.contains_key(submission::WORKFLOW) {
        let offers = front.backend.offers().await.map_err(Refused::submission)?;
        if !offers.labels_called.contains(submission::WORKFLOW) {
            let words = "requirements.godflow: this site has no webhook for the label godflow";
            return Err(Refused::submission(ErrorBody::new(ErrorCode::Unable, words)));
        }
    }
    let submitted = front.backend.submit(&who, job).await.map_err(Refused::submission)?;
    // What the site's filters have changed is never left unsaid.
    let told = submitted.changes.iter().map(|change| change.text.as_str());
    let msg = ["Task added"].into_iter().chain(told).collect::<Vec<_>>().join("; ");
    Ok(Json(json!({ "id": submitted.id, "msg": msg })))
}

pub(super) async fn one(State(front): App, Who(who): Who, id: Result<Path<String>, PathRejection>) -> Answer {
    let job = front.backend.job(&who, number(id)?).await?;
    Ok(Json(task::document(&job, &who.identity)))
}

pub(super) async fn status(
    State(front): App,
    Who(who): Who,
    id: Result<Path<String>, PathRejection>,
) -> Answer {
    let job = front.backend.job(&who, number(id)?).await?;
    Ok(Json(json!({ "id": job.row.id, "status": task::status(&job.row, &job.history) })))
}

pub(super) async fn active(State(front): App, Who(who): Who, Query(filter): Query<Filter>) -> Listed {
    let whose = Whose::Own { project: filter.project };
    active_ones(&*front.backend, &who, whose).await
}

pub(super) async fn active_of_all(State(front): App, Who(who): Who) -> Listed {
    active_ones(&*front.backend, &who, Whose::Everybodys).await
}

async fn active_ones(backend: &dyn Backend, who: &Caller, whose: Whose) -> Listed {
    let query = query(who, whose, None)?;
    let rows = rows(backend, who, query, 0, MOST_DOCUMENTS).await?;
    documents(backend, who, rows, None).await
}

pub(super) async fn over(
    State(front): App,
    Who(who): Who,
    part: Result<Path<(u64, u64)>, PathRejection>,
    Query(filter): Query<Filter>,
    request: Request,
) -> Listed {
    let wanted = wanted(request, &front.settings).await?;
    let whose = Whose::Own { project: filter.project };
    ended_ones(&*front.backend, &who, whose, part, wanted).await
}

pub(super) async fn over_of_all(
    State(front): App,
    Who(who): Who,
    part: Result<Path<(u64, u64)>, PathRejection>,
    request: Request,
) -> Listed {
    let wanted = wanted(request, &front.settings).await?;
    ended_ones(&*front.backend, &who, Whose::Everybodys, part, wanted).await
}

async fn ended_ones(
    backend: &dyn Backend,
    who: &Caller,
    whose: Whose,
    part: Result<Path<(u64, u64)>, PathRejection>,
    wanted: Wanted,
) -> Listed {
    let Path((skip, limit)) = part.map_err(|_| {
        Refusal::new(
            ErrorCode::Invalid,
            "how many to skip and how many to list are whole numbers, not negative",
        )
    })?;
    let pattern = wanted.regex.as_deref().filter(|text| !text.is_empty()).map(pattern).transpose()?;
    // 0 stands for all.
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let limit = if limit == 0 { MOST_DOCUMENTS } else { limit.min(MOST_DOCUMENTS) };
    let query = query(who, whose, Some(OVER.to_owned()))?;
    let rows = rows(backend, who, query, skip, limit).await?;
    documents(backend, who, rows, pattern.as_ref()).await
}

fn query(who: &Caller, whose: Whose, state: Option<String>) -> Result<JobQuery, Refused> {
    let (user, project) = match whose {
        Whose::Own { project } => (Some(who.identity.user.clone()), project),
        Whose::Everybodys if who.identity.sees_everything() => (None, None),
        Whose::Everybodys => {
            let words = "only administrators see everybody's tasks";
            return Err(ErrorBody::new(ErrorCode::Forbidden, words).into());
        }
    };
    Ok(JobQuery { state, user, project, ..JobQuery::default() })
}

/// The rows behind the first `skip` ones, newest first.
async fn rows(
    backend: &dyn Backend,
    who: &Caller,
    mut query: JobQuery,
    mut skip: u64,
    most: usize,
) -> Result<Vec<JobRow>, ErrorBody> {
    let mut taken = Vec::new();
    loop {
        let needed = skip.saturating_add((most - taken.len()) as u64);
        query.limit = Some(u32::try_from(needed).unwrap_or(PAGE).clamp(1, PAGE));
        let page = backend.jobs(who, query.clone()).await?;
        let passed_over = skip.min(page.jobs.len() as u64);
        skip -= passed_over;
        let wanted = page.jobs.into_iter().skip(usize::try_from(passed_over).unwrap_or(usize::MAX));
        taken.extend(wanted.take(most - taken.len()));
        query.before = page.next_before;
        if taken.len() >= most || query.before.is_none() {
            return Ok(taken);
        }
    }
}

/// The documents of these jobs as they are sent; of those that a pattern finds, where there is one.
async fn documents(
    backend: &dyn Backend,
    who: &Caller,
    rows: Vec<JobRow>,
    pattern: Option<&Regex>,
) -> Result<Response, Refused> {
    let looks = rows.into_iter().map(|row| backend.job(who, JobRef { job: JobId(row.id), index: None }));
    let mut looks = stream::iter(looks).buffered(LOOKS_AT_ONCE);
    let mut text = b"[".to_vec();
    while let Some(job) = looks.next().await {
        match job {
            Ok(job) if pattern.is_none_or(|pattern| finds(pattern, &job)) => {
                if text.len() > 1 {
                    text.push(b',');
                }
                text.extend_from_slice(task::listed(&job, &who.identity).to_string().as_bytes());
            }
            // It has gone since it was listed.
            Err(ErrorBody { code: ErrorCode::NotFound, .. }) | Ok(_) => {}
            Err(no) => return Err(no.into()),
        }
        if text.len() > MOST_LIST_BYTES {
            let words = "these tasks do not fit into one answer; ask for fewer at a time";
            return Err(ErrorBody::new(ErrorCode::TooLarge, words).into());
        }
    }
    text.push(b']');
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// It looks where GO-Docker's command line looks.
fn finds(pattern: &Regex, job: &JobDetail) -> bool {
    let spec = &job.spec;
    let texts = [&spec.description, &spec.image].into_iter().flatten();
    let mut texts = texts.chain(&spec.tags).chain([&job.row.name, &job.row.user]);
    pattern.is_match(&job.row.id.to_string()) || texts.any(|text| pattern.is_match(text))
}

/// Takes time in proportion to the text, whatever the pattern.
fn pattern(text: &str) -> Result<Regex, ErrorBody> {
    let wrong = |words: String| ErrorBody::new(ErrorCode::Invalid, format!("regex: {words}"));
    if text.len() > MOST_REGEX_BYTES {
        return Err(wrong(format!("{} bytes; at most {MOST_REGEX_BYTES} are possible", text.len())));
    }
    let built =
        RegexBuilder::new(text).size_limit(REGEX_MEMORY_BYTES).dfa_size_limit(REGEX_MEMORY_BYTES).build();
    built.map_err(|error| wrong(error.to_string()))
}

/// Its clients may send nothing at all.
async fn wanted(request: Request, settings: &crate::Settings) -> Result<Wanted, Refusal> {
    let body = whole(request, settings.request_limit_bytes, settings.patience.body).await?;
    if body.trim_ascii().is_empty() {
        return Ok(Wanted::default());
    }
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::new(ErrorCode::Invalid, format!("the request cannot be read: {error}")))
}

pub(super) async fn kill(app: App, who: Who, id: Result<Path<String>, PathRejection>) -> Answer {
    control(app, who, id, Controls::Kill, "Task will be killed").await
}

pub(super) async fn suspend(app: App, who: Who, id: Result<Path<String>, PathRejection>) -> Answer {
    control(app, who, id, Controls::Suspend, "Task will be suspended").await
}

pub(super) async fn resume(app: App, who: Who, id: Result<Path<String>, PathRejection>) -> Answer {
    control(app, who, id, Controls::Resume, "Task will be resumed").await
}

pub(super) async fn reschedule(app: App, who: Who, id: Result<Path<String>, PathRejection>) -> Answer {
    control(app, who, id, Controls::Rerun, "Task will be rescheduled").await
}

async fn control(
    State(front): App,
    Who(who): Who,
    id: Result<Path<String>, PathRejection>,
    action: Controls,
    done: &str,
) -> Answer {
    let job = number(id)?;
    // The result of a control has no code; a task that is not there is to be a 404 all the same.
    front.backend.job(&who, job).await?;
    carried_out(&front, &who, ControlRequest::of(action, vec![job.to_string()]), done).await
}

/// Has one task controlled.
async fn carried_out(front: &Front, who: &Caller, request: ControlRequest, done: &str) -> Answer {
    match front.backend.control(who, request).await?.pop() {
        Some(result) if result.done => Ok(Json(json!({ "msg": result.message.as_deref().unwrap_or(done) }))),
        Some(result) => Err(Refused::not_done(&result.message.unwrap_or_default())),
        None => Err(Refusal::new(ErrorCode::Internal, "nothing is known of what came of it").into()),
    }
}

/// Changes what a waiting task asks for.
pub(super) async fn change(
    State(front): App,
    Who(who): Who,
    id: Result<Path<String>, PathRejection>,
    Sent(change): Sent<Change>,
) -> Answer {
    let job = number(id)?;
    front.backend.job(&who, job).await?;
    let alter = Some(submission::alteration(&change)?);
    let request = ControlRequest { alter, ..ControlRequest::of(Controls::Alter, vec![job.to_string()]) };
    carried_out(&front, &who, request, "Task updated").await
}

/// Removes a task's directory; what is known of it stays.
pub(super) async fn archive(app: App, who: Who, id: Result<Path<String>, PathRejection>) -> Answer {
    control(app, who, id, Controls::Archive, "Task archived").await
}

/// The same with all of one's own that ended so many days ago.
pub(super) async fn archive_old(
    State(front): App,
    Who(who): Who,
    days: Result<Path<u32>, PathRejection>,
) -> Answer {
    let Path(days) =
        days.map_err(|_| Refusal::new(ErrorCode::Invalid, "days are a whole number, not negative"))?;
    let request = ControlRequest {
        user: Some(who.identity.user.clone()),
        older_than: Some(format!("{days}d")),
        ..ControlRequest::of(Controls::Archive, Vec::new())
    };
    all_done(front.backend.control(&who, request).await?, "archived")
}

/// What came of something that was to be done with several tasks.
pub(super) fn all_done(results: Vec<ControlResult>, what: &str) -> Answer {
    let refused: Vec<String> = results
        .iter()
        .filter(|result| !result.done)
        .map(|result| format!("{}: {}", result.job, result.message.as_deref().unwrap_or_default()))
        .collect();
    match refused.is_empty() {
        true => Ok(Json(json!({ "msg": format!("{} tasks {what}", results.len()) }))),
        false => Err(Refused::not_done(&format!("not all tasks {what}; {}", refused.join("; ")))),
    }
}

pub(super) async fn purge(_: Who) -> Answer {
    Err(Refused::not_done("what is known of a task is kept; it can be archived"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_explode_are_refused_or_fast() {
        let bomb = format!("{}x", "(a{0,100}){0,100}".repeat(3));
        assert!(pattern(&bomb).is_err());
        assert!(pattern("(").is_err());
        assert!(pattern(&"a".repeat(MOST_REGEX_BYTES + 1)).is_err());
        // A backtracking matcher would take 2^60 steps for this one.
        assert!(!pattern("^(a|a)*$").unwrap().is_match(&format!("{}b", "a".repeat(60))));
    }
}
