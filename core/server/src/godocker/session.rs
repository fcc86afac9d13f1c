//! Logging in, and what there is to ask for.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use berth_api::{ErrorBody, ErrorCode};
use serde_json::json;

use super::{Answer, documents::Login, refused::Refused, submission};
use crate::{
    Credentials, Offers,
    extract::{Sent, Who},
    routes::App,
};

/// The API key is a token of Berth's, and so is what comes back: the same one, if it is that user's.
pub(super) async fn authenticate(State(front): App, Sent(login): Sent<Login>) -> Result<Response, Refused> {
    let Login { user, apikey } = login;
    let caller = front.backend.identify(Credentials::Token(apikey.clone())).await?;
    if caller.identity.user != user {
        let words = "this token is not known, or no longer good";
        return Err(ErrorBody::new(ErrorCode::Unauthenticated, words).into());
    }
    if let Some(words) = caller.barred {
        return Err(ErrorBody::new(ErrorCode::Forbidden, words).into());
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(json!({ "token": apikey }))).into_response())
}

/// What the site offers. Its clients ask for it without saying who they are.
pub(super) async fn config(State(front): App) -> Answer {
    let Offers { images, volumes, labels, suspends, publishes_ports, .. } = front.backend.offers().await?;
    let images: Vec<_> = images
        .into_iter()
        .map(|image| json!({ "name": image.name, "url": image.name, "interactive": false, "default": image.usual }))
        .collect();
    let acl = |read_only: bool| if read_only { "ro" } else { "rw" };
    let volumes: Vec<_> = volumes
        .into_iter()
        .map(|volume| json!({ "name": volume.name, "acl": acl(volume.read_only) }))
        .collect();
    let constraints: Vec<_> =
        labels.into_iter().map(|(name, values)| json!({ "name": name, "value": values })).collect();
    let features = [(true, "kill"), (suspends, "pause"), (publishes_ports, "resources.port")];
    let features: Vec<_> = features.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    Ok(Json(json!({
        "images": images,
        "volumes": volumes,
        "constraints": constraints,
        "executor_features": features,
        "dynamic_fields": submission::CHANGEABLE.map(|name| json!({ "name": name, "admin_only": false })),
    })))
}

/// GO-Docker lists what others have used. Which images somebody runs is their own business here.
pub(super) async fn images(_: Who) -> Answer {
    Ok(Json(json!([])))
}
