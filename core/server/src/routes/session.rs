//! Sessions: tokens that somebody gets for a password.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use berth_api::{SessionCreated, SignIn};

use super::{App, BodyRefusals, Refusals};
use crate::{
    extract::{From, Sent, Who},
    refusal::Refusal,
};

/// Begins a session. Its secret is in this answer and nowhere else, and is sent as a bearer token. Whoever tries wrong
/// passwords again and again is refused with 429 for a while, whether the passwords are right by then or not.
#[utoipa::path(
    post,
    path = "/v1/session",
    tag = "tokens",
    operation_id = "sign_in",
    security(()),
    request_body = SignIn,
    responses((status = 201, description = "The session", body = SessionCreated), Refusals, BodyRefusals),
)]
pub(super) async fn begin(
    State(front): App,
    From(peer): From,
    Sent(who): Sent<SignIn>,
) -> Result<Response, Refusal> {
    let created = front.backend.sign_in(peer, who).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(created)).into_response())
}

/// Ends the session, or the token, that this request was sent with.
#[utoipa::path(
    delete,
    path = "/v1/session",
    tag = "tokens",
    operation_id = "sign_out",
    responses((status = 204, description = "It is good for nothing any more"), Refusals),
)]
pub(super) async fn end(State(front): App, Who(who): Who) -> Result<StatusCode, Refusal> {
    front.backend.sign_out(&who).await?;
    Ok(StatusCode::NO_CONTENT)
}
