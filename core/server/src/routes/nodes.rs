//! Nodes.

use axum::{Json, extract::State};
use berth_api::NodeRow;

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
