//! Nodes.

use axum::{Json, extract::State};
use berth_api::{NodeRow, ResourceRow};

use super::{Answer, App, Refusals};
use crate::extract::Who;

/// Lists the nodes and what is used of them.
#[utoipa::path(
    get,
    path = "/v1/nodes",
    tag = "cluster",
    operation_id = "nodes",
    responses((status = 200, description = "The nodes", body = Vec<NodeRow>), Refusals),
)]
pub(super) async fn list(State(front): App, Who(who): Who) -> Answer<Vec<NodeRow>> {
    Ok(Json(front.backend.nodes(&who).await?))
}

/// Lists the resources with names that belong to no node: all nodes share them.
#[utoipa::path(
    get,
    path = "/v1/resources",
    tag = "cluster",
    operation_id = "resources",
    responses((status = 200, description = "The resources", body = Vec<ResourceRow>), Refusals),
)]
pub(super) async fn resources(State(front): App, Who(who): Who) -> Answer<Vec<ResourceRow>> {
    Ok(Json(front.backend.resources(&who).await?))
}
