//! What people are told of their jobs.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use berth_api::{JobMessage, NoticesRow, SetNotices};

use super::{Answer, App, BodyRefusals, Refusals};
use crate::{
    extract::{Job, Sent, Who},
    refusal::Refusal,
};

/// Tells what the caller is told of their jobs, and what waits to be told.
#[utoipa::path(
    get,
    path = "/v1/notices",
    tag = "notices",
    operation_id = "notices",
    responses((status = 200, description = "The choice, and how it goes", body = NoticesRow), Refusals),
)]
pub(super) async fn show(State(front): App, Who(who): Who) -> Result<Response, Refusal> {
    let row = front.backend.notices(&who).await?;
    // It may have a key in it.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(row)).into_response())
}

/// Says what the caller wants to be told of all their jobs that do not say it themselves.
#[utoipa::path(
    put,
    path = "/v1/notices",
    tag = "notices",
    operation_id = "set_notices",
    request_body = SetNotices,
    responses((status = 200, description = "As it is now", body = NoticesRow), Refusals, BodyRefusals),
)]
pub(super) async fn set(
    State(front): App,
    Who(who): Who,
    Sent(wanted): Sent<SetNotices>,
) -> Answer<NoticesRow> {
    Ok(Json(front.backend.set_notices(&who, wanted).await?))
}

/// Writes down what a running job wants its people to know: it goes into the job's history and its notices.
#[utoipa::path(
    post,
    path = "/v1/jobs/{job}/messages",
    tag = "jobs",
    operation_id = "job_message",
    params(("job" = String, Path, description = "Its number, or `ARRAY.INDEX` for a task")),
    request_body = JobMessage,
    responses((status = 204, description = "It is written down"), Refusals, BodyRefusals),
)]
pub(super) async fn message(
    State(front): App,
    Who(who): Who,
    Job(job): Job,
    Sent(message): Sent<JobMessage>,
) -> Result<StatusCode, Refusal> {
    front.backend.job_message(&who, job, message).await?;
    Ok(StatusCode::NO_CONTENT)
}
