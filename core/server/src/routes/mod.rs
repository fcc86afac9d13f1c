//! The routes, one file per resource, and the description of them all.

mod accounts;
mod attach;
mod closures;
mod events;
pub(crate) mod files;
mod guests;
mod info;
mod jobs;
mod logs;
mod nodes;
mod notices;
mod page;
mod passwords;
mod plugins;
mod session;
mod tokens;
mod usage;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use berth_api::{ErrorBody, ErrorCode};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{front::Front, refusal::Refusal};

/// What a route answers with.
type Answer<T> = Result<Json<T>, Refusal>;
pub(crate) type App = State<Arc<Front>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Berth",
        description = "Batch jobs for people a site knows. Over the Unix socket the kernel says who is calling; \
                       over the network a bearer token does. Every answer that is not a success has an ErrorBody; \
                       an address that is not listed answers 404, a method that is not listed 405.",
    ),
    security(("token" = [])),
    modifiers(&TokenScheme),
    components(schemas(berth_api::EventRow, berth_api::Word, ErrorBody)),
)]
struct Description;

struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "From `berth login` or `berth token create`, or of an issuer that the site trusts. Not needed over \
                 the Unix socket.",
            ))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Bytes as they are.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "only described, never made")]
struct Raw(Vec<u8>);

/// What any route may refuse with.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "only described, never made")]
enum Refusals {
    /// It makes no sense; `problems` says where.
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// Nobody is known by these credentials.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// Not allowed.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// There is no such thing, or not for this person.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// It does not fit the present state.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// It was understood and cannot be done here.
    #[response(status = 422)]
    Unable(ErrorBody),
    /// Too many requests; the Retry-After header says when to try again.
    #[response(status = 429)]
    TooMany(ErrorBody),
    /// A fault of Berth's.
    #[response(status = 500)]
    Internal(ErrorBody),
    /// Not now, and nothing was done; trying again later may help.
    #[response(status = 503)]
    Unavailable(ErrorBody),
    /// It was taken in and cannot be stored yet: it may still be done. Look before you ask for it again.
    #[response(status = 504)]
    UnknownOutcome(ErrorBody),
}

/// What a route with a body may refuse with beside that.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "only described, never made")]
enum BodyRefusals {
    /// The body came too slowly.
    #[response(status = 408)]
    TooSlow(ErrorBody),
    /// The body is larger than this server takes.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is neither JSON nor TOML.
    #[response(status = 415)]
    WrongType(ErrorBody),
}

fn all() -> (Router<Arc<Front>>, utoipa::openapi::OpenApi) {
    let (router, mut openapi) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(jobs::list, jobs::submit))
        .routes(routes!(jobs::control))
        .routes(routes!(jobs::one, jobs::kill))
        .routes(routes!(jobs::why))
        .routes(routes!(logs::logs))
        .routes(routes!(attach::exec))
        .routes(routes!(attach::connect))
        .routes(routes!(attach::stats))
        .routes(routes!(files::root))
        .routes(routes!(files::below))
        .routes(routes!(events::events))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::resources))
        .routes(routes!(nodes::daemons))
        .routes(routes!(closures::list))
        .routes(routes!(closures::set, closures::remove))
        .routes(routes!(usage::list))
        .routes(routes!(accounts::days))
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::one, accounts::set, accounts::remove))
        .routes(routes!(accounts::acts))
        .routes(routes!(notices::show, notices::set))
        .routes(routes!(notices::message))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::reload))
        .routes(routes!(plugins::check))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(session::begin, session::end))
        .routes(routes!(guests::list))
        .routes(routes!(guests::sign_in))
        .routes(routes!(guests::set, guests::remove))
        .routes(routes!(passwords::list))
        .routes(routes!(passwords::set, passwords::remove))
        .routes(routes!(info::info))
        .routes(routes!(info::metrics))
        .routes(routes!(info::health))
        .routes(routes!(description))
        .routes(routes!(page::page))
        .split_for_parts();
    // OpenAPI has no word for a parameter with slashes in it, and uses none of its own.
    let paths = std::mem::take(&mut openapi.paths.paths);
    openapi.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    // The same folder with a slash behind it.
    (router.route("/v1/jobs/{job}/files/", axum::routing::get(files::root)), openapi)
}

/// The routes, GO-Docker's among them where it is wanted, and the description of the others as it is served.
pub(crate) fn build(godocker: bool) -> (Router<Arc<Front>>, Bytes) {
    let (router, openapi) = all();
    let router = if godocker { router.merge(crate::godocker::router()) } else { router };
    let router = router
        .method_not_allowed_fallback(async || Refusal::wrong_method())
        .route_layer(from_fn(note_route))
        .fallback(async || {
            let message = "there is nothing at this address; GET /v1/openapi.json tells what there is";
            Refusal::new(ErrorCode::NotFound, message)
        });
    let text = openapi.to_json().expect("a description that has just been built can be written");
    (router, text.into())
}

/// The description of all routes: what `/v1/openapi.json` serves.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    all().1
}

/// Leaves the route's template for the access log.
async fn note_route(request: Request, next: Next) -> Response {
    let route = tracing::enabled!(tracing::Level::DEBUG)
        .then(|| request.extensions().get::<MatchedPath>().cloned())
        .flatten();
    let mut answer = next.run(request).await;
    if let Some(route) = route {
        answer.extensions_mut().insert(route);
    }
    answer
}

/// This description.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    tag = "server",
    operation_id = "describe",
    security(()),
    responses((status = 200, description = "An OpenAPI 3.1 document", body = serde_json::Value)),
)]
async fn description(State(front): App) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], front.openapi.clone()).into_response()
}
