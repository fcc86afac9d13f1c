//! Passwords.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use berth_api::{PasswordRow, SetPassword};

use super::{Answer, App, BodyRefusals, Refusals};
use crate::{
    extract::{From, Sent, Who, unreadable},
    refusal::Refusal,
};

/// Lists who has a password with Berth: all, for an administrator, else only the caller.
#[utoipa::path(
    get,
    path = "/v1/passwords",
    tag = "tokens",
    operation_id = "passwords",
    responses((status = 200, description = "Who has one", body = Vec<PasswordRow>), Refusals),
)]
pub(super) async fn list(State(front): App, Who(who): Who) -> Answer<Vec<PasswordRow>> {
    Ok(Json(front.backend.passwords(&who).await?))
}

/// Sets a password. All other sessions of its user end.
#[utoipa::path(
    put,
    path = "/v1/passwords/{user}",
    tag = "tokens",
    operation_id = "set_password",
    params(("user" = String, Path, description = "Whose")),
    request_body = SetPassword,
    responses((status = 200, description = "It is set", body = PasswordRow), Refusals, BodyRefusals),
)]
pub(super) async fn set(
    State(front): App,
    Who(who): Who,
    From(peer): From,
    user: Result<Path<String>, PathRejection>,
    Sent(wanted): Sent<SetPassword>,
) -> Answer<PasswordRow> {
    let Path(user) = user.map_err(unreadable)?;
    Ok(Json(front.backend.set_password(&who, peer, user, wanted).await?))
}

/// Takes a password away. All other sessions of its user end.
#[utoipa::path(
    delete,
    path = "/v1/passwords/{user}",
    tag = "tokens",
    operation_id = "remove_password",
    params(("user" = String, Path, description = "Whose")),
    responses((status = 204, description = "There is none any more"), Refusals),
)]
pub(super) async fn remove(
    State(front): App,
    Who(who): Who,
    user: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    let Path(user) = user.map_err(unreadable)?;
    front.backend.drop_password(&who, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
