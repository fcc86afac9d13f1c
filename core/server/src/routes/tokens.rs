//! Tokens.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use berth_api::{NewToken, TokenCreated, TokenRow};

use super::{Answer, App, BodyRefusals, Refusals};
use crate::{
    extract::{Sent, Who, unreadable},
    refusal::Refusal,
};

/// Lists tokens, without their secrets.
#[utoipa::path(
    get,
    path = "/v1/tokens",
    tag = "tokens",
    operation_id = "tokens",
    responses((status = 200, description = "The tokens", body = Vec<TokenRow>), Refusals),
)]
pub(super) async fn list(State(front): App, Who(who): Who) -> Answer<Vec<TokenRow>> {
    Ok(Json(front.backend.tokens(&who).await?))
}

/// Makes a token. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    tag = "tokens",
    operation_id = "create_token",
    request_body = NewToken,
    responses((status = 201, description = "The token", body = TokenCreated), Refusals, BodyRefusals),
)]
pub(super) async fn create(
    State(front): App,
    Who(who): Who,
    Sent(token): Sent<NewToken>,
) -> Result<Response, Refusal> {
    let created = front.backend.create_token(&who, token).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(created)).into_response())
}

/// Ends a token.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    tag = "tokens",
    operation_id = "revoke_token",
    params(("id" = u64, Path, description = "Its number")),
    responses((status = 204, description = "It is good for nothing any more"), Refusals),
)]
pub(super) async fn revoke(
    State(front): App,
    Who(who): Who,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    let Path(id) = id.map_err(unreadable)?;
    // What was given may be the secret itself, so it is not repeated.
    let id = id
        .parse()
        .map_err(|_| Refusal::at("id", "this is not the number of a token; `berth token list` has it"))?;
    front.backend.revoke_token(&who, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
