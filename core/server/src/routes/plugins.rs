//! Plugins.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
};
use berth_api::{PluginCheck, PluginRow};

use super::{Answer, App, BodyRefusals, Raw, Refusals};
use crate::extract::{Who, unreadable, whole};

/// A component is larger than other bodies.
const COMPONENT_WITHIN: Duration = Duration::from_secs(120);

/// Lists the plugins and how they do.
#[utoipa::path(
    get,
    path = "/v1/plugins",
    tag = "plugins",
    operation_id = "plugins",
    responses((status = 200, description = "The plugins", body = Vec<PluginRow>), Refusals),
)]
pub(super) async fn list(State(front): App, Who(who): Who) -> Answer<Vec<PluginRow>> {
    Ok(Json(front.backend.plugins(&who).await?))
}

/// Loads a policy anew from its file.
#[utoipa::path(
    post,
    path = "/v1/plugins/{name}/reload",
    tag = "plugins",
    operation_id = "reload",
    params(("name" = String, Path, description = "As in berth.toml")),
    responses((status = 200, description = "The plugin as it is now", body = PluginRow), Refusals),
)]
pub(super) async fn reload(
    State(front): App,
    Who(who): Who,
    name: Result<Path<String>, PathRejection>,
) -> Answer<PluginRow> {
    let Path(name) = name.map_err(unreadable)?;
    Ok(Json(front.backend.reload(&who, name).await?))
}

/// Looks at a policy's component without using it.
#[utoipa::path(
    post,
    path = "/v1/plugins/check",
    tag = "plugins",
    operation_id = "check",
    request_body(content = Raw, content_type = "application/wasm"),
    responses((status = 200, description = "What was found", body = PluginCheck), Refusals, BodyRefusals),
)]
pub(super) async fn check(State(front): App, Who(who): Who, request: Request) -> Answer<PluginCheck> {
    let component = whole(request, front.settings.component_limit_bytes, COMPONENT_WITHIN).await?;
    Ok(Json(front.backend.check(&who, component.into()).await?))
}
