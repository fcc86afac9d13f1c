//! One connection: finds out who sends each request, hands it to its route, and writes the access log.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::MatchedPath,
    http::{HeaderMap, Method, Request, header},
    response::{IntoResponse, Response},
};
use berth_api::ErrorCode;
use futures::FutureExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    Caller, Credentials, Peer, extract::refuse_body, front::Front, godocker, patience::Patient, proxy,
    refusal::Refusal,
};

/// The longest head of a request, and the most that waits to be written.
const BUFFER_BYTES: usize = 64 * 1024;
/// What anybody may ask for.
const PUBLIC: [&str; 2] = ["/v1/openapi.json", "/healthz"];
/// Where somebody who is not known yet says who they are.
const SIGN_IN: (Method, &str) = (Method::POST, "/v1/session");

/// Serves a connection until either side has had enough. `cut` ends it at once.
pub(crate) async fn serve<S>(front: Arc<Front>, router: Router, peer: Peer, stream: S, cut: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = front.settings.patience;
    let stop = front.stop.clone();
    let service = service_fn(move |request| {
        let (front, router) = (front.clone(), router.clone());
        async move { Ok::<_, Infallible>(answer(&front, router, peer, request).await) }
    });
    let mut settings = http1::Builder::new();
    settings.timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(BUFFER_BYTES);
    let connection = settings
        .serve_connection(TokioIo::new(Patient::new(stream, patience.reader)), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        // Clients that go away or send garbage; hyper's words hold nothing of what was sent.
        tracing::trace!(%error, "connection broke");
    }
}

async fn answer(front: &Front, router: Router, peer: Peer, request: Request<Incoming>) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let (caller, answer) = match admit(front, peer, &request).await {
        Ok(caller) => {
            let answer = routed(front, router, peer, caller.clone(), request).await;
            (caller, answer)
        }
        Err(refusal) => {
            refuse_body(request.map(Body::new)).await;
            (None, refusal.into_response())
        }
    };
    log(&method, caller.as_deref(), &answer, began);
    answer
}

async fn routed(
    front: &Front,
    mut router: Router,
    peer: Peer,
    caller: Option<Arc<Caller>>,
    request: Request<Incoming>,
) -> Response {
    let mut request = request.map(Body::new);
    // They have done their work; from here on nobody can leak them.
    request.headers_mut().remove(header::AUTHORIZATION);
    request.headers_mut().remove(proxy::SECRET);
    if let Some(proxy) = &front.settings.proxy {
        request.headers_mut().remove(&proxy.user_header);
    }
    request.extensions_mut().insert(peer);
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    match AssertUnwindSafe(router.call(request)).catch_unwind().await {
        Ok(Ok(answer)) => answer,
        Ok(Err(never)) => match never {},
        Err(_) => {
            // What it said may hold anything, and the panic hook has printed it.
            tracing::error!("a request panicked");
            Refusal::new(ErrorCode::Internal, "a fault of Berth's; its log says more").into_response()
        }
    }
}

/// Finds out who is asking. `None` is nobody, for what anybody may ask for.
async fn admit(
    front: &Front,
    peer: Peer,
    request: &Request<Incoming>,
) -> Result<Option<Arc<Caller>>, Refusal> {
    let (headers, path) = (request.headers(), request.uri().path());
    let for_godocker = front.settings.godocker && godocker::PUBLIC.contains(&path);
    // What somebody shows who wants a session says nothing about the session that they get.
    let signs_in = (request.method(), path) == (&SIGN_IN.0, SIGN_IN.1);
    if PUBLIC.contains(&path) || for_godocker || signs_in {
        return Ok(None);
    }
    let credentials = match (bearer(headers)?, peer) {
        // Somebody who shows a token wants to be seen as its owner, even on this machine.
        (Some(token), _) => Credentials::Token(token),
        (None, Peer::Local { uid }) => Credentials::Peer { uid },
        (None, Peer::Remote { .. }) => Credentials::Proxied { user: proxied(front, peer, headers)? },
    };
    Ok(Some(Arc::new(front.backend.identify(credentials).await?)))
}

fn proxied(front: &Front, peer: Peer, headers: &HeaderMap) -> Result<String, Refusal> {
    let named = front.settings.proxy.as_ref().map(|proxy| proxy::user(proxy, peer, headers)).transpose()?;
    named.flatten().ok_or_else(|| {
        let message = "a token is needed: send `Authorization: Bearer TOKEN`; `berth login` and `berth token create` \
                       make one";
        Refusal::new(ErrorCode::Unauthenticated, message)
    })
}

fn bearer(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let refused = |message: &str| Refusal::new(ErrorCode::Unauthenticated, message);
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let Some(first) = shown.next() else { return Ok(None) };
    if shown.next().is_some() {
        return Err(refused("send one Authorization header, not several"));
    }
    let text =
        first.to_str().map_err(|_| refused("the Authorization header has characters that no token has"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim().to_owned()))
        }
        _ => Err(refused("only `Authorization: Bearer TOKEN` is known")),
    }
}

/// Nothing that a client chose is logged, but for the method: no path, no header, no body.
fn log(method: &Method, caller: Option<&Caller>, answer: &Response, began: Instant) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let route = answer.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
    tracing::debug!(
        %method,
        route,
        status = answer.status().as_u16(),
        caller = caller.map_or("-", |caller| caller.identity.user.as_str()),
        micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request answered"
    );
}
