//! What jobs have written.

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use berth_api::{ErrorBody, ErrorCode, LogPart};
use futures::{StreamExt, stream};

use super::{App, Raw, Refusals};
use crate::{
    extract::{Job, Query, Who},
    refusal::Refusal,
};

/// Streams what a job has written and, with `follow`, what it writes until it ends. An answer that breaks
/// off (its last chunk is missing) is not whole: the server ended, or the log could not be read on.
#[utoipa::path(
    get,
    path = "/v1/jobs/{job}/logs",
    tag = "jobs",
    operation_id = "logs",
    params(("job" = String, Path, description = "`12`, or `12.7` for a task"), LogPart),
    responses(
        (status = 200, description = "The bytes as they are", body = Raw, content_type = "application/octet-stream"),
        Refusals,
    ),
)]
pub(super) async fn logs(
    State(front): App,
    Who(who): Who,
    Job(job): Job,
    Query(part): Query<LogPart>,
) -> Result<Response, Refusal> {
    let follow = part.follow;
    let bytes = front.backend.logs(&who, job, part).await?;
    let body = if follow {
        // Ending it as if it were whole would tell the reader that the job is over.
        let stop = front.stop.clone();
        let cut_short = stream::once(async move { stop.is_cancelled() }).filter_map(async |stopped| {
            stopped.then(|| Err(ErrorBody::new(ErrorCode::Unavailable, "the server is ending")))
        });
        Body::from_stream(bytes.take_until(front.stop.clone().cancelled_owned()).chain(cut_short))
    } else {
        Body::from_stream(bytes)
    };
    Ok((
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")],
        body,
    )
        .into_response())
}
