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

/// About what a job takes.
const ROW_BYTES: usize = 384;

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
    let written = match page.jobs.len() <= ROWS_IN_PLACE {
        true => written(&page).ok(),
        false => tokio::task::spawn_blocking(move || written(&page)).await.ok().and_then(Result::ok),
    };
    match written {
        Some(text) => Ok(([(header::CONTENT_TYPE, "application/json")], Bytes::from(text)).into_response()),
        None => Err(Refusal::new(ErrorCode::Internal, "the list of jobs could not be written")),
    }
}

/// A page as JSON with each job on a line of its own: people who look at it see jobs, and the command line passes it
/// on as it is.
fn written(page: &JobList) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(ROW_BYTES * page.jobs.len() + ROW_BYTES);
    text.extend_from_slice(b"{\"jobs\":[");
    for (number, job) in page.jobs.iter().enumerate() {
        text.extend_from_slice(if number > 0 { b",\n" } else { b"\n" });
        serde_json::to_writer(&mut text, job)?;
    }
    text.extend_from_slice(if page.jobs.is_empty() { b"]" } else { b"\n]" });
    if let Some(next) = page.next_before {
        text.extend_from_slice(format!(",\"next_before\":{next}").as_bytes());
    }
    text.extend_from_slice(b"}\n");
    Ok(text)
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
    let request = ControlRequest::of(Controls::Kill, vec![job.to_string()]);
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

#[cfg(test)]
mod tests {
    use berth_api::JobRow;

    use super::*;

    #[test]
    fn a_page_has_a_job_a_line_and_says_the_same_as_ever() {
        let job = |id| JobRow { id, name: "two\nlines]".into(), ..JobRow::default() };
        for (jobs, next_before) in [(vec![], None), (vec![job(3)], None), (vec![job(3), job(2)], Some(2))] {
            let page = JobList { jobs, next_before };
            let text = String::from_utf8(written(&page).unwrap()).unwrap();
            assert_eq!(serde_json::from_str::<JobList>(&text).unwrap(), page);
            let lines = text.lines().filter(|line| line.starts_with("{\"id\"")).count();
            assert_eq!(lines, page.jobs.len(), "{text}");
        }
    }
}
