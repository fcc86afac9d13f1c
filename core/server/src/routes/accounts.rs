//! Accounts of users, projects and groups, and what administrators did.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use berth_api::{AccountDay, AccountRow, ActRow, SetAccount};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, App, BodyRefusals, Refusals};
use crate::{
    extract::{Query, Sent, Who, unreadable},
    refusal::Refusal,
};

/// Which version is meant.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionQuery {
    /// As it was read.
    pub(super) version: u64,
}

/// How much of the history.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ActsQuery {
    /// At most so many, the latest ones; 100 where it is not given.
    limit: Option<u32>,
}

/// Lists accounts of a kind that the caller may see: their own and those of their projects, or all for an
/// administrator.
#[utoipa::path(
    get,
    path = "/v1/accounts/{kind}",
    tag = "accounts",
    operation_id = "accounts",
    params(("kind" = String, Path, description = "`user`, `project`, `group` or `member`")),
    responses((status = 200, description = "The accounts", body = Vec<AccountRow>), Refusals),
)]
pub(super) async fn list(
    State(front): App,
    Who(who): Who,
    kind: Result<Path<String>, PathRejection>,
) -> Answer<Vec<AccountRow>> {
    let Path(kind) = kind.map_err(unreadable)?;
    Ok(Json(front.backend.accounts(&who, kind).await?))
}

/// Tells what is known of one account.
#[utoipa::path(
    get,
    path = "/v1/accounts/{kind}/{name}",
    tag = "accounts",
    operation_id = "account",
    params(
        ("kind" = String, Path, description = "`user`, `project`, `group` or `member`"),
        ("name" = String, Path, description = "Its name; `PROJECT/USER` for a member, with the slash as %2F"),
    ),
    responses((status = 200, description = "The account", body = AccountRow), Refusals),
)]
pub(super) async fn one(
    State(front): App,
    Who(who): Who,
    whose: Result<Path<(String, String)>, PathRejection>,
) -> Answer<AccountRow> {
    let Path((kind, name)) = whose.map_err(unreadable)?;
    Ok(Json(front.backend.account(&who, kind, name).await?))
}

/// Tells what an account has used by day, within the quotas' period. Days without use are left out.
#[utoipa::path(
    get,
    path = "/v1/accounts/{kind}/{name}/days",
    tag = "accounts",
    operation_id = "account_days",
    params(
        ("kind" = String, Path, description = "`user`, `project`, `group` or `member`"),
        ("name" = String, Path, description = "Its name; `PROJECT/USER` for a member, with the slash as %2F"),
    ),
    responses((status = 200, description = "The days, in their order", body = Vec<AccountDay>), Refusals),
)]
pub(super) async fn days(
    State(front): App,
    Who(who): Who,
    whose: Result<Path<(String, String)>, PathRejection>,
) -> Answer<Vec<AccountDay>> {
    let Path((kind, name)) = whose.map_err(unreadable)?;
    Ok(Json(front.backend.account_days(&who, kind, name).await?))
}

/// Sets an account as a whole; only an administrator may.
#[utoipa::path(
    put,
    path = "/v1/accounts/{kind}/{name}",
    tag = "accounts",
    operation_id = "set_account",
    params(
        ("kind" = String, Path, description = "`user`, `project` or `group`"),
        ("name" = String, Path, description = "Its name"),
    ),
    request_body = SetAccount,
    responses((status = 200, description = "As it is now", body = AccountRow), Refusals, BodyRefusals),
)]
pub(super) async fn set(
    State(front): App,
    Who(who): Who,
    whose: Result<Path<(String, String)>, PathRejection>,
    Sent(wanted): Sent<SetAccount>,
) -> Answer<AccountRow> {
    let Path((kind, name)) = whose.map_err(unreadable)?;
    Ok(Json(front.backend.set_account(&who, kind, name, wanted).await?))
}

/// Takes away what was set of an account; only an administrator may. What it has used stays.
#[utoipa::path(
    delete,
    path = "/v1/accounts/{kind}/{name}",
    tag = "accounts",
    operation_id = "drop_account",
    params(
        ("kind" = String, Path, description = "`user`, `project` or `group`"),
        ("name" = String, Path, description = "Its name"),
        VersionQuery,
    ),
    responses((status = 204, description = "Nothing is set of it any more"), Refusals),
)]
pub(super) async fn remove(
    State(front): App,
    Who(who): Who,
    whose: Result<Path<(String, String)>, PathRejection>,
    Query(VersionQuery { version }): Query<VersionQuery>,
) -> Result<StatusCode, Refusal> {
    let Path((kind, name)) = whose.map_err(unreadable)?;
    front.backend.drop_account(&who, kind, name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells what administrators did, oldest first, for administrators.
#[utoipa::path(
    get,
    path = "/v1/acts",
    tag = "accounts",
    operation_id = "acts",
    params(ActsQuery),
    responses((status = 200, description = "The acts", body = Vec<ActRow>), Refusals),
)]
pub(super) async fn acts(
    State(front): App,
    Who(who): Who,
    Query(ActsQuery { limit }): Query<ActsQuery>,
) -> Answer<Vec<ActRow>> {
    Ok(Json(front.backend.acts(&who, limit.unwrap_or(100)).await?))
}
