//! The server itself.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use berth_api::ServerInfo;

use super::{Answer, App, Refusals};
use crate::{
    extract::{Who, Whoever},
    refusal::Refusal,
};

/// Tells what this server is, and who the caller is to it.
#[utoipa::path(
    get,
    path = "/v1/info",
    tag = "server",
    operation_id = "info",
    responses((status = 200, description = "The server and the caller", body = ServerInfo), Refusals),
)]
pub(super) async fn info(State(front): App, Whoever(who): Whoever) -> Answer<ServerInfo> {
    Ok(Json(front.backend.info(&who).await?))
}

/// Metrics for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    operation_id = "metrics",
    responses(
        (status = 200, description = "Prometheus's text format", body = String, content_type = "text/plain"),
        Refusals,
    ),
)]
pub(super) async fn metrics(State(front): App, Who(who): Who) -> Result<Response, Refusal> {
    let text = front.backend.metrics(&who).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Says that this server answers.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "server",
    operation_id = "health",
    security(()),
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")),
)]
pub(super) async fn health() -> &'static str {
    "ok\n"
}
