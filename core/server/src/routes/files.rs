//! Files in jobs' directories.

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use berth_api::{ErrorCode, FileRow};

use super::{Answer, App, Raw, Refusals};
use crate::{
    extract::{Job, Who, unreadable},
    refusal::Refusal,
};

/// Users' files come from the same address as the API: no browser is to take one for a page of ours.
pub(crate) const AS_DATA: [(HeaderName, &str); 3] = [
    (header::CONTENT_TYPE, "application/octet-stream"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_DISPOSITION, "attachment"),
];

/// Lists the files in a job's directory.
#[utoipa::path(
    get,
    path = "/v1/jobs/{job}/files",
    tag = "jobs",
    operation_id = "files",
    params(("job" = String, Path, description = "`12`, or `12.7` for a task")),
    responses((status = 200, description = "The files", body = Vec<FileRow>), Refusals),
)]
pub(super) async fn root(State(front): App, Who(who): Who, Job(job): Job) -> Answer<Vec<FileRow>> {
    Ok(Json(front.backend.files(&who, job, String::new()).await?))
}

/// Gives one file of a job's directory, or lists a folder of it. A slash at the end asks for a folder;
/// without one, either will do.
#[utoipa::path(
    get,
    path = "/v1/jobs/{job}/files/{*path}",
    tag = "jobs",
    operation_id = "file",
    params(
        ("job" = String, Path, description = "`12`, or `12.7` for a task"),
        ("path" = String, Path, description = "Relative to the job's directory; it may have slashes in it"),
    ),
    responses(
        (status = 200, description = "The file's bytes, or the folder's files", content(
            (Raw = "application/octet-stream"),
            (Vec<FileRow> = "application/json"),
        )),
        Refusals,
    ),
)]
pub(super) async fn below(
    State(front): App,
    Who(who): Who,
    Job(job): Job,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Response, Refusal> {
    let Path((_, asked)) = path.map_err(unreadable)?;
    let path = tidy(&asked)?;
    if asked.ends_with('/') || path.is_empty() {
        return Ok(Json(front.backend.files(&who, job, path).await?).into_response());
    }
    let (size, bytes) = match front.backend.file(&who, job, path.clone()).await {
        Ok(file) => file,
        Err(no) if may_be_a_folder(no.code) => {
            let files = front.backend.files(&who, job, path).await;
            return files.map(|files| Json(files).into_response()).map_err(|_| no.into());
        }
        Err(no) => return Err(no.into()),
    };
    Ok((AS_DATA, [(header::CONTENT_LENGTH, size)], Body::from_stream(bytes)).into_response())
}

/// What is no file is refused like one that nobody may read; whoever lists it has to have the right to.
pub(crate) fn may_be_a_folder(code: ErrorCode) -> bool {
    use ErrorCode::{Conflict, Forbidden, Invalid, NotFound, Unable};
    matches!(code, NotFound | Invalid | Conflict | Unable | Forbidden)
}

/// Without the parts that mean nothing; those that lead out of the directory are refused.
pub(crate) fn tidy(path: &str) -> Result<String, Refusal> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(Refusal::at("path", "`..` is not followed; name the file from the job's directory down"));
    }
    if path.contains('\0') {
        return Err(Refusal::at("path", "no file's name has a zero byte in it"));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_tidied_and_never_lead_out() {
        assert_eq!(tidy("a//./b/").unwrap(), "a/b");
        assert_eq!(tidy("..a/b..").unwrap(), "..a/b..");
        assert_eq!(tidy("/").unwrap(), "");
        for bad in ["..", "a/../b", "a/..", "/../etc/passwd", "a\0b"] {
            assert!(tidy(bad).is_err(), "{bad:?}");
        }
    }
}
