//! GO-Docker's REST API, so that a site's clients of it go on working. Thin: each route is translated into what
//! the [`Backend`](crate::Backend) does anyway, and who may do what is decided there.
//!
//! Source: what GO-Docker's own command line (`godocker_CLI` 1.0.25) and Galaxy's runner for it send and read.

mod accounts;
mod documents;
mod files;
mod people;
mod refused;
mod session;
mod submission;
mod task;
mod tasks;

use std::sync::Arc;

use axum::{
    Router,
    routing::{delete, get, post},
};
use serde_json::Value;

use crate::front::Front;
use refused::Refused;

/// What its clients ask for before they know who they are, or without saying so.
pub(crate) const PUBLIC: [&str; 2] = ["/api/1.0/authenticate", "/api/1.0/config"];

type Answer = Result<axum::Json<Value>, Refused>;

/// Its routes.
pub(crate) fn router() -> Router<Arc<Front>> {
    let routes = Router::new()
        .route("/authenticate", post(session::authenticate))
        .route("/config", get(session::config))
        .route("/image", get(session::images))
        .route("/task", post(tasks::submit))
        .route("/task/active", get(tasks::active))
        .route("/task/active/all", get(tasks::active_of_all))
        .route("/task/over/{skip}/{limit}", post(tasks::over))
        .route("/task/over/all/{skip}/{limit}", post(tasks::over_of_all))
        .route("/task/{id}", get(tasks::one).delete(tasks::kill).put(tasks::change))
        .route("/task/{id}/status", get(tasks::status))
        .route("/task/{id}/suspend", get(tasks::suspend))
        .route("/task/{id}/resume", get(tasks::resume))
        .route("/task/{id}/reschedule", get(tasks::reschedule))
        .route("/task/{id}/archive", get(tasks::archive).delete(tasks::purge))
        .route("/archive/{days}", get(tasks::archive_old).delete(tasks::purge))
        .route("/task/{id}/files", get(files::root))
        .route("/task/{id}/files/", get(files::root))
        .route("/task/{id}/files/{*path}", get(files::below))
        .route("/user", get(people::users))
        .route("/user/{login}", get(people::user).put(people::set_user).delete(people::remove_user))
        .route("/user/{login}/task", delete(people::kill_all))
        .route("/user/{login}/project", get(people::projects_of))
        .route("/user/{login}/usage", get(people::usage_of_user))
        .route("/project", get(people::projects).post(people::create_project))
        .route("/project/{id}", get(people::project).post(people::set_project).delete(people::remove_project))
        .route("/project/{id}/usage", get(people::usage_of_project))
        .route("/project/{id}/quota", delete(people::reset_quota));
    Router::new().nest("/api/1.0", routes)
}
