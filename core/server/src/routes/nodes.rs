//! Nodes.

use axum::{Json, extract::State};
use berth_api::{DaemonRow, NodeRow, ResourceRow};

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

/// Lists the processes of this Berth that are there: the one that leads first. Only where `[status]` says where they
/// tell of themselves.
#[utoipa::path(
    get,
    path = "/v1/daemons",
    tag = "cluster",
    operation_id = "daemons",
    responses((status = 200, description = "The processes", body = Vec<DaemonRow>), Refusals),
)]
pub(super) async fn daemons(State(front): App, Who(who): Who) -> Answer<Vec<DaemonRow>> {
    Ok(Json(front.backend.daemons(&who).await?))
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
