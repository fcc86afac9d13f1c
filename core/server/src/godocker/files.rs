//! Files of tasks.

use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::header,
    response::{IntoResponse, Response},
};
use berth_api::{FileRow, JobDetail, LogPart};
use berth_model::JobRef;
use serde_json::json;

use super::{
    refused::Refused,
    tasks::{number, numbered},
};
use crate::{
    Caller,
    extract::{Who, unreadable},
    front::Front,
    routes::{App, files},
};

/// Its clients tell lists from files by this very text.
const LIST: &str = "application/json; charset=UTF-8";
/// What GO-Docker calls a task's standard output and error.
const STREAMS: [(&str, &str); 2] = [("god.log", "stdout"), ("god.err", "stderr")];

pub(super) async fn root(
    State(front): App,
    Who(who): Who,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Refused> {
    list(&front, &who, number(id)?, String::new()).await
}

pub(super) async fn below(
    State(front): App,
    Who(who): Who,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Refused> {
    let Path((id, asked)) = path.map_err(unreadable)?;
    let job = numbered(&id)?;
    let path = files::tidy(&asked)?;
    if asked.ends_with('/') || path.is_empty() {
        return list(&front, &who, job, path).await;
    }
    let no = match front.backend.file(&who, job, path.clone()).await {
        Ok((size, bytes)) => {
            let body = Body::from_stream(bytes);
            return Ok((files::AS_DATA, [(header::CONTENT_LENGTH, size)], body).into_response());
        }
        Err(no) if files::may_be_a_folder(no.code) => no,
        Err(no) => return Err(no.into()),
    };
    if let Some((_, stream)) = STREAMS.iter().find(|(name, _)| *name == path) {
        let part = LogPart { stream: Some((*stream).to_owned()), ..LogPart::default() };
        let bytes = front.backend.logs(&who, job, part).await?;
        return Ok((files::AS_DATA, Body::from_stream(bytes)).into_response());
    }
    list(&front, &who, job, path).await.map_err(|_| no.into())
}

async fn list(front: &Front, who: &Caller, job: JobRef, path: String) -> Result<Response, Refused> {
    let is_root = path.is_empty();
    let mut rows = front.backend.files(who, job, path).await?;
    if is_root {
        rows.extend(streams(&front.backend.job(who, job).await?, &rows));
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let kind = if row.kind == "directory" { "dir" } else { row.kind.as_str() };
            json!({ "name": row.name, "type": kind, "size": row.size_bytes })
        })
        .collect();
    let text = serde_json::Value::from(rows).to_string();
    Ok(([(header::CONTENT_TYPE, LIST)], text).into_response())
}

/// The outputs that lie in the task's directory, under the names that GO-Docker's users know.
fn streams(job: &JobDetail, rows: &[FileRow]) -> Vec<FileRow> {
    let named = |name: &str| rows.iter().find(|row| row.name == name);
    STREAMS
        .iter()
        .zip([&job.stdout, &job.stderr])
        .filter(|((name, _), _)| named(name).is_none())
        .filter_map(|((name, _), path)| {
            let own = path.strip_prefix(&job.directory)?.strip_prefix('/')?;
            Some(FileRow { name: (*name).to_owned(), ..named(own)?.clone() })
        })
        .collect()
}
