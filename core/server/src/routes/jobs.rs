//! Jobs: submitting, listing, looking at and controlling them.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use berth_api::{
    ControlRequest, ControlResult, Controls, ErrorCode, JobDetail, JobList, JobQuery, Submit, Submitted, Why,
};

use super::{Answer, App, BodyRefusals, Refusals};
use crate::{
    extract::{Job, Query, Sent, Who},
    refusal::Refusal,
};

/// Writing more rows than this takes so long that other requests would feel it.
const ROWS_IN_PLACE: usize = 1000;

/// Submits a job. When the answer comes, the job is durable.
#[utoipa::path(
    post,
    path = "/v1/jobs",
    tag = "jobs",
    operation_id = "submit",
    request_body(
        description = "The job; the same fields in TOML as in JSON.",
        content((Submit = "application/json"), (Submit = "application/toml")),
    ),
    responses((status = 201, description = "The job's number", body = Submitted), Refusals, BodyRefusals),
)]
pub(super) async fn submit(
    State(front): App,
    Who(who): Who,
    Sent(job): Sent<Submit>,
) -> Result<(StatusCode, Json<Submitted>), Refusal> {
    Ok((StatusCode::CREATED, Json(front.backend.submit(&who, job).await?)))
}

/// Lists jobs, newest first, page by page.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    tag = "jobs",
    operation_id = "jobs",
    params(JobQuery),
    responses((status = 200, description = "One page", body = JobList), Refusals),
)]
pub(super) async fn list(
    State(front): App,
    Who(who): Who,
    Query(query): Query<JobQuery>,
) -> Result<Response, Refusal> {
    let page = front.backend.jobs(&who, query).await?;
    if page.jobs.len() <= ROWS_IN_PLACE {
        return Ok(Json(page).into_response());
    }
    let written = tokio::task::spawn_blocking(move || serde_json::to_vec(&page)).await;
    match written {
        Ok(Ok(text)) => Ok(([(header::CONTENT_TYPE, "application/json")], Bytes::from(text)).into_response()),
        _ => Err(Refusal::new(ErrorCode::Internal, "the list of jobs could not be written")),
    }
}

/// Tells everything about one job.
#[utoipa::path(
    get,
    path = "/v1/jobs/{job}",
    tag = "jobs",
    operation_id = "job",
    params(("job" = String, Path, description = "`12`, or `12.7` for a task")),
    responses((status = 200, description = "The job", body = JobDetail), Refusals),
)]
pub(super) async fn one(State(front): App, Who(who): Who, Job(job): Job) -> Answer<JobDetail> {
    Ok(Json(front.backend.job(&who, job).await?))
}

/// Kills a job. `/v1/jobs/control` does the same with many.
#[utoipa::path(
    delete,
    path = "/v1/jobs/{job}",
    tag = "jobs",
    operation_id = "kill",
    params(("job" = String, Path, description = "`12`, or `12.7` for a task")),
    responses((status = 200, description = "What came of it", body = ControlResult), Refusals),
)]
pub(super) async fn kill(State(front): App, Who(who): Who, Job(job): Job) -> Answer<ControlResult> {
    // Results of a control have no code; a job that is not there is to be a 404 all the same.
    front.backend.job(&who, job).await?;
    let request = ControlRequest {
        action: Controls::Kill,
        jobs: vec![job.to_string()],
        user: None,
        tag: None,
        signal: None,
    };
    let result = front.backend.control(&who, request).await?.pop();
    result.map(Json).ok_or_else(|| Refusal::new(ErrorCode::Internal, "nothing is known of what came of it"))
}

/// Tells why a job has not started.
#[utoipa::path(
    get,
    path = "/v1/jobs/{job}/why",
    tag = "jobs",
    operation_id = "why",
    params(("job" = String, Path, description = "`12`, or `12.7` for a task")),
    responses((status = 200, description = "All reasons, with their evidence", body = Why), Refusals),
)]
pub(super) async fn why(State(front): App, Who(who): Who, Job(job): Job) -> Answer<Why> {
    Ok(Json(front.backend.why(&who, job).await?))
}

/// Kills, holds, releases, suspends, resumes, reruns or signals jobs.
#[utoipa::path(
    post,
    path = "/v1/jobs/control",
    tag = "jobs",
    operation_id = "control",
    request_body = ControlRequest,
    responses(
        (status = 200, description = "One result for each job", body = Vec<ControlResult>),
        Refusals,
        BodyRefusals,
    ),
)]
pub(super) async fn control(
    State(front): App,
    Who(who): Who,
    Sent(request): Sent<ControlRequest>,
) -> Answer<Vec<ControlResult>> {
    Ok(Json(front.backend.control(&who, request).await?))
}
