//! Usage.

use axum::{Json, extract::State};
use berth_api::UsageRow;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, App, Refusals};
use crate::{
    extract::{Query, Who},
    refusal::Refusal,
};

/// Whose usage, and since when.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageQuery {
    /// `user`, `project`, `group`, `member`, `class` or `class-user`; `user` where it is not given.
    by: Option<String>,
    /// RFC 3339; ever, where it is not given.
    since: Option<String>,
}

/// Whose use is told.
const KINDS: [&str; 6] = ["user", "project", "group", "member", "class", "class-user"];

/// Tells what users, projects, groups, members of projects, classes or users in classes have used, as far as the caller may see them: what counts
/// against quotas, what fades, what is kept for what runs; of users and projects also what ended jobs took.
#[utoipa::path(
    get,
    path = "/v1/usage",
    tag = "cluster",
    operation_id = "usage",
    params(UsageQuery),
    responses((status = 200, description = "Their usage", body = Vec<UsageRow>), Refusals),
)]
pub(super) async fn list(
    State(front): App,
    Who(who): Who,
    Query(UsageQuery { by, since }): Query<UsageQuery>,
) -> Answer<Vec<UsageRow>> {
    let by = by.unwrap_or_else(|| "user".to_owned());
    if !KINDS.contains(&by.as_str()) {
        let kinds = KINDS.join(", ");
        return Err(Refusal::at("by", format!("{by:?} is not known; usage is told by one of {kinds}")));
    }
    Ok(Json(front.backend.usage(&who, by, since).await?))
}
