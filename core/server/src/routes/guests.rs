//! Guests: people who are known by the word of an outside issuer.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use berth_api::{GuestRow, GuestSignIn, SessionCreated, SetGuest};

use super::{Answer, App, BodyRefusals, Refusals};
use crate::{
    extract::{Sent, Who, unreadable},
    refusal::Refusal,
};

/// Lists guests, those who came first before others. For administrators.
#[utoipa::path(
    get,
    path = "/v1/guests",
    tag = "guests",
    operation_id = "guests",
    responses((status = 200, description = "All of them", body = Vec<GuestRow>), Refusals),
)]
pub(super) async fn list(State(front): App, Who(who): Who) -> Answer<Vec<GuestRow>> {
    Ok(Json(front.backend.guests(&who).await?))
}

/// Lets a guest in, or no longer. Who may no longer has no token and no session left; what runs of theirs goes on, and
/// what waits is held. For administrators.
#[utoipa::path(
    put,
    path = "/v1/guests/{name}",
    tag = "guests",
    operation_id = "set_guest",
    params(("name" = String, Path, description = "The guest's name")),
    request_body = SetGuest,
    responses((status = 200, description = "How they stand now", body = GuestRow), Refusals, BodyRefusals),
)]
pub(super) async fn set(
    State(front): App,
    Who(who): Who,
    name: Result<Path<String>, PathRejection>,
    Sent(wanted): Sent<SetGuest>,
) -> Answer<GuestRow> {
    let Path(name) = name.map_err(unreadable)?;
    Ok(Json(front.backend.set_guest(&who, name, wanted).await?))
}

/// Forgets a guest: whoever it was waits again when they come again. Their jobs and their directory stay. For
/// administrators.
#[utoipa::path(
    delete,
    path = "/v1/guests/{name}",
    tag = "guests",
    operation_id = "remove_guest",
    params(("name" = String, Path, description = "The guest's name")),
    responses((status = 204, description = "They are not known any more"), Refusals),
)]
pub(super) async fn remove(
    State(front): App,
    Who(who): Who,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    let Path(name) = name.map_err(unreadable)?;
    front.backend.drop_guest(&who, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins a session for a guest, who shows a token of their issuer for it. The session's secret is in this answer and
/// nowhere else, and is sent as a bearer token.
#[utoipa::path(
    post,
    path = "/v1/guests/session",
    tag = "guests",
    operation_id = "guest_sign_in",
    request_body = GuestSignIn,
    responses((status = 201, description = "The session", body = SessionCreated), Refusals, BodyRefusals),
)]
pub(super) async fn sign_in(
    State(front): App,
    Who(who): Who,
    Sent(wanted): Sent<GuestSignIn>,
) -> Result<Response, Refusal> {
    let created = front.backend.guest_sign_in(&who, wanted).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(created)).into_response())
}
