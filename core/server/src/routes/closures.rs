//! What administrators close: drains, the maintenance switch, reservations.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use berth_api::{ClosureRow, SetClosure};

use super::{Answer, App, BodyRefusals, Refusals, accounts::VersionQuery};
use crate::{
    extract::{Query, Sent, Who, unreadable},
    refusal::Refusal,
};

/// Lists what is closed, or will be: drains, the maintenance switch, reservations.
#[utoipa::path(
    get,
    path = "/v1/closures",
    tag = "cluster",
    operation_id = "closures",
    responses((status = 200, description = "The closures, by kind and name", body = Vec<ClosureRow>), Refusals),
)]
pub(super) async fn list(State(front): App, Who(who): Who) -> Answer<Vec<ClosureRow>> {
    Ok(Json(front.backend.closures(&who).await?))
}

/// Closes nodes, as a whole; only an administrator may. What runs there goes on.
#[utoipa::path(
    put,
    path = "/v1/closures/{kind}/{name}",
    tag = "cluster",
    operation_id = "set_closure",
    params(
        ("kind" = String, Path, description = "`drain`, `maintenance` or `reservation`"),
        ("name" = String, Path, description = "Of a drain its nodes, with the slash as %2F; of the maintenance switch \
            `site`; of a reservation its name"),
    ),
    request_body = SetClosure,
    responses((status = 200, description = "As it is now", body = ClosureRow), Refusals, BodyRefusals),
)]
pub(super) async fn set(
    State(front): App,
    Who(who): Who,
    which: Result<Path<(String, String)>, PathRejection>,
    Sent(wanted): Sent<SetClosure>,
) -> Answer<ClosureRow> {
    let Path((kind, name)) = which.map_err(unreadable)?;
    Ok(Json(front.backend.set_closure(&who, kind, name, wanted).await?))
}

/// Opens nodes again; only an administrator may.
#[utoipa::path(
    delete,
    path = "/v1/closures/{kind}/{name}",
    tag = "cluster",
    operation_id = "drop_closure",
    params(
        ("kind" = String, Path, description = "`drain`, `maintenance` or `reservation`"),
        ("name" = String, Path, description = "Its name, with a slash as %2F"),
        VersionQuery,
    ),
    responses((status = 204, description = "It is open again"), Refusals),
)]
pub(super) async fn remove(
    State(front): App,
    Who(who): Who,
    which: Result<Path<(String, String)>, PathRejection>,
    Query(VersionQuery { version }): Query<VersionQuery>,
) -> Result<StatusCode, Refusal> {
    let Path((kind, name)) = which.map_err(unreadable)?;
    front.backend.drop_closure(&who, kind, name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}
