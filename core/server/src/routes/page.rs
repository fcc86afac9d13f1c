//! A page for people who come with a browser.

use axum::response::{Html, IntoResponse, Response};

use super::Refusals;
use crate::extract::Who;

const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Berth</title>\n<h1>Berth ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n<p>The API is under <code>/v1</code>: <a href=\"/v1/openapi.json\">its description</a>, ",
    "<a href=\"/v1/info\">this server</a>, <a href=\"/v1/jobs\">jobs</a>, <a href=\"/v1/nodes\">nodes</a>, ",
    "<a href=\"/metrics\">metrics</a>.\n",
);

/// A page that says where the API is.
#[utoipa::path(
    get,
    path = "/",
    tag = "server",
    operation_id = "page",
    responses((status = 200, description = "A page", body = String, content_type = "text/html"), Refusals),
)]
pub(super) async fn page(_: Who) -> Response {
    ([("content-security-policy", "default-src 'none'")], Html(PAGE)).into_response()
}
