//! How routes get at what was sent, with errors that name the place.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{header, request::Parts},
};
use berth_api::ErrorCode;
use berth_model::{JobRef, format_bytes};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    Caller, Peer,
    front::Front,
    mistake::{Place, mistake},
    refusal::Refusal,
};

/// Somebody who sends too much is listened to this long, so that the answer reaches them: closing the
/// connection at once would discard it.
const HEAR_OUT_BYTES: u64 = 64 << 20;
const HEAR_OUT_FOR: Duration = Duration::from_secs(10);

/// Who is asking, if they may do anything here.
pub(crate) struct Who(pub(crate) Arc<Caller>);

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Whoever(caller) = Whoever::from_request_parts(parts, state).await?;
        match &caller.barred {
            None => Ok(Self(caller)),
            Some(words) => Err(Refusal::new(ErrorCode::Forbidden, words.clone())),
        }
    }
}

/// Who is asking, whether they may do anything or not.
pub(crate) struct Whoever(pub(crate) Arc<Caller>);

impl<S: Sync> FromRequestParts<S> for Whoever {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = parts.extensions.get::<Arc<Caller>>().cloned();
        caller.map(Self).ok_or_else(|| Refusal::new(ErrorCode::Unauthenticated, "nobody is known here"))
    }
}

/// The other end of the connection.
pub(crate) struct From(pub(crate) Peer);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let peer = parts.extensions.get::<Peer>().copied();
        peer.map(Self).ok_or_else(|| Refusal::new(ErrorCode::Internal, "nothing is known of the other end"))
    }
}

/// The job in the path.
pub(crate) struct Job(pub(crate) JobRef);

impl<S: Send + Sync> FromRequestParts<S> for Job {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        // Routes with more in their path have the job first.
        let Path(found) =
            Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(unreadable)?;
        let text = found.first().map(|(_, value)| value.as_str()).unwrap_or_default();
        text.parse()
            .map(Self)
            .map_err(|error: berth_model::JobRefError| Refusal::at("job", error.to_string()))
    }
}

pub(crate) fn unreadable(_: axum::extract::rejection::PathRejection) -> Refusal {
    Refusal::new(ErrorCode::Invalid, "the path is not UTF-8 text")
}

/// What stands behind the question mark.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let text = parts.uri.query().unwrap_or_default();
        let form = form_urlencoded::parse(text.as_bytes());
        let read = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(form));
        read.map(Self).map_err(|error| {
            mistake("the query", &error.path().to_string(), &error.inner().to_string(), None).into()
        })
    }
}

/// What was sent, as JSON or TOML.
pub(crate) struct Sent<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Front>> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, front: &Arc<Front>) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        let parse = match kind.to_ascii_lowercase().as_str() {
            "application/json" => json::<T>,
            "application/toml" => toml::<T>,
            _ => {
                refuse_body(request).await;
                return Err(Refusal::wrong_content_type());
            }
        };
        let settings = &front.settings;
        let body = whole(request, settings.request_limit_bytes, settings.patience.body).await?;
        if body.is_empty() {
            return Err(Refusal::new(ErrorCode::Invalid, "the request has no body"));
        }
        parse(&body).map(Self)
    }
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // serde would take the items of a list for the fields in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Refusal::new(
            ErrorCode::Invalid,
            "the request is a list; send an object: {\"FIELD\": VALUE, ...}",
        ));
    }
    // Keeping track of the path costs time, so it is done only where something is wrong.
    serde_json::from_slice(body).map_err(|error: serde_json::Error| {
        let place = Place { line: error.line(), column: error.column() };
        let mut reader = serde_json::Deserializer::from_slice(body);
        let field = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
            Err(error) if error.inner().is_data() => error.path().to_string(),
            _ => String::new(),
        };
        mistake("the request", &field, &error.to_string(), Some(place)).into()
    })
}

fn toml<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::new(ErrorCode::Invalid, "the TOML is not UTF-8 text"))?;
    let read = toml::Deserializer::parse(text).map_err(|error| (String::new(), error)).and_then(|reader| {
        serde_path_to_error::deserialize(reader)
            .map_err(|error| (error.path().to_string(), error.into_inner()))
    });
    read.map_err(|(field, error)| {
        let place = error.span().map(|span| Place::of(text, span.start));
        mistake("the request", &field, error.message(), place).into()
    })
}

/// Takes a body whole, within `limit` bytes.
pub(crate) async fn whole(request: Request, limit: u64, within: Duration) -> Result<Bytes, Refusal> {
    if request.body().size_hint().lower() > limit {
        refuse_body(request).await;
        return Err(too_large(limit));
    }
    let mut body = request.into_body();
    let taken =
        timeout(within, take(&mut body, limit)).await.map_err(|_| Refusal::too_slow("the request's body"))?;
    match taken? {
        Some(bytes) => Ok(bytes),
        None => {
            hear_out(body).await;
            Err(too_large(limit))
        }
    }
}

/// `None` where it is longer than `limit`.
async fn take(body: &mut Body, limit: u64) -> Result<Option<Bytes>, Refusal> {
    let mut taken = Vec::new();
    let mut first = Bytes::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::new(ErrorCode::Invalid, "the request's body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if (first.len() + taken.len() + data.len()) as u64 > limit {
            return Ok(None);
        }
        // Nearly every body comes in one piece.
        if first.is_empty() && taken.is_empty() {
            first = data;
        } else {
            taken.extend_from_slice(&std::mem::take(&mut first));
            taken.extend_from_slice(&data);
        }
    }
    Ok(Some(if taken.is_empty() { first } else { taken.into() }))
}

/// Before a request is refused without its body being wanted.
pub(crate) async fn refuse_body(request: Request) {
    let waits_for_a_yes = request.headers().contains_key(header::EXPECT);
    if !waits_for_a_yes {
        hear_out(request.into_body()).await;
    }
}

async fn hear_out(mut body: Body) {
    let listening = async {
        let mut heard = 0;
        while let Some(Ok(frame)) = body.frame().await {
            heard += frame.data_ref().map_or(0, Bytes::len) as u64;
            if heard > HEAR_OUT_BYTES {
                break;
            }
        }
    };
    timeout(HEAR_OUT_FOR, listening).await.ok();
}

fn too_large(limit: u64) -> Refusal {
    let message =
        format!("the request's body is larger than the {} that this server takes", format_bytes(limit));
    Refusal::new(ErrorCode::TooLarge, message)
}
