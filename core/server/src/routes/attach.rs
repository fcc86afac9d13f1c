//! Two-way connections with running jobs, over WebSockets, and what they use.

use std::convert::Infallible;

use axum::{
    Json,
    extract::{
        FromRequestParts, Path, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::request::Parts,
    response::Response,
};
use berth_api::{ErrorBody, ErrorCode, ExecQuery, StatsRow, TerminalSize, Word};
use berth_model::JobRef;
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::{Answer, App, Refusals};
use crate::{
    backend::{Attached, AttachedEnd, Caller, Resize},
    extract::{Job, Query, Who, unreadable},
    front::Front,
    refusal::Refusal,
};

/// The most bytes that one message carries to a client.
const PIECE_BYTES: usize = 32 << 10;
/// The longest message that a client may send.
const MESSAGE_BYTES: usize = 1 << 20;

/// Starts a process beside a running job: a WebSocket whose binary messages are the process's input and
/// output. The text messages `"end"` (no more input), `{"resize": {"columns": 80, "rows": 24}}` (how large the
/// client's terminal is), `{"exit": CODE}` and `{"error": …}` say the rest.
#[utoipa::path(
    get,
    path = "/v1/jobs/{job}/exec",
    tag = "jobs",
    operation_id = "exec",
    params(("job" = String, Path, description = "`12`, or `12.7` for a task"), ExecQuery),
    responses((status = 101, description = "The connection becomes a WebSocket"), Refusals),
)]
pub(super) async fn exec(
    State(front): App,
    Who(who): Who,
    Job(job): Job,
    Query(query): Query<ExecQuery>,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let upgrade = upgrade.of(&front, &who, job).await?;
    let argv: Vec<String> = serde_json::from_str(&query.argv)
        .map_err(|error| Refusal::at("argv", format!("it is not a JSON list of strings: {error}")))?;
    let attached = front.backend.exec(&who, job, argv, query.terminal).await?;
    Ok(carried(upgrade, attached, front.stop.clone()))
}

/// Connects with a port of a running job: a WebSocket whose binary messages are the bytes of the connection.
/// The text message `"end"` closes one direction, `{"error": …}` says that it broke off.
#[utoipa::path(
    get,
    path = "/v1/jobs/{job}/ports/{port}",
    tag = "jobs",
    operation_id = "connect",
    params(
        ("job" = String, Path, description = "`12`, or `12.7` for a task"),
        ("port" = u16, Path, description = "The port inside the job"),
    ),
    responses((status = 101, description = "The connection becomes a WebSocket"), Refusals),
)]
pub(super) async fn connect(
    State(front): App,
    Who(who): Who,
    Job(job): Job,
    Port(port): Port,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let upgrade = upgrade.of(&front, &who, job).await?;
    let attached = front.backend.connect(&who, job, port).await?;
    Ok(carried(upgrade, attached, front.stop.clone()))
}

/// What a running job uses now.
#[utoipa::path(
    get,
    path = "/v1/jobs/{job}/stats",
    tag = "jobs",
    operation_id = "stats",
    params(("job" = String, Path, description = "`12`, or `12.7` for a task")),
    responses((status = 200, description = "What it uses", body = StatsRow), Refusals),
)]
pub(super) async fn stats(State(front): App, Who(who): Who, Job(job): Job) -> Answer<StatsRow> {
    Ok(Json(front.backend.stats(&who, job).await?))
}

/// The port in the path.
pub(super) struct Port(u16);

impl<S: Send + Sync> FromRequestParts<S> for Port {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(found) =
            Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(unreadable)?;
        let text = found.get(1).map(|(_, value)| value.as_str()).unwrap_or_default();
        match text.parse() {
            Ok(0) | Err(_) => Err(Refusal::at("port", "a port is a number from 1 to 65535")),
            Ok(port) => Ok(Self(port)),
        }
    }
}

/// A request to become a WebSocket, or why it is none.
pub(super) struct Upgrade(Result<WebSocketUpgrade, String>);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        Ok(Self(upgrade.map_err(|rejection| rejection.body_text())))
    }
}

impl Upgrade {
    /// What is wrong with the job comes before what is wrong with the way it was asked for.
    async fn of(self, front: &Front, who: &Caller, job: JobRef) -> Result<WebSocketUpgrade, Refusal> {
        match self.0 {
            Ok(upgrade) => Ok(upgrade),
            Err(words) => {
                front.backend.job(who, job).await?;
                let words = format!("this address speaks WebSocket only: {words}");
                Err(Refusal::new(ErrorCode::Invalid, words))
            }
        }
    }
}

fn carried(upgrade: WebSocketUpgrade, attached: Attached, stop: CancellationToken) -> Response {
    upgrade.max_message_size(MESSAGE_BYTES).on_upgrade(async move |socket| {
        // A server that ends tells so by the connection's end.
        tokio::select! {
            () = carry(socket, attached) => {}
            () = stop.cancelled() => {}
        }
    })
}

/// Until the job's side has ended or the client has gone.
async fn carry(socket: WebSocket, attached: Attached) {
    let Attached { mut input, mut output, end, resize, guard: _guard } = attached;
    let (mut to_client, mut from_client) = socket.split();
    let (sizes, wanted) = watch::channel(None);
    let incoming = async {
        let mut open = true;
        while let Some(Ok(message)) = from_client.next().await {
            let kept = match message {
                // One that no longer reads may still write.
                Message::Binary(_) if !open => continue,
                Message::Binary(bytes) => {
                    async {
                        input.write_all(&bytes).await?;
                        input.flush().await
                    }
                    .await
                }
                Message::Text(text) => match serde_json::from_str(text.as_str()) {
                    Ok(Word::End) => {
                        open = false;
                        input.shutdown().await
                    }
                    Ok(Word::Resize(size)) => {
                        sizes.send_replace(Some(size));
                        Ok(())
                    }
                    // A newer client may say more.
                    _ => Ok(()),
                },
                Message::Close(_) => return,
                _ => Ok(()),
            };
            open &= kept.is_ok();
        }
    };
    let outgoing = async {
        let mut piece = vec![0; PIECE_BYTES];
        let last = loop {
            match output.read(&mut piece).await {
                Ok(0) => break end_of(end).await,
                Ok(got) => {
                    let bytes = piece.get(..got).unwrap_or_default().to_vec();
                    if to_client.send(Message::Binary(bytes.into())).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let words = format!("the connection with the job broke off: {error}");
                    break Word::Error(ErrorBody::new(ErrorCode::Unavailable, words));
                }
            }
        };
        if let Ok(text) = serde_json::to_string(&last) {
            // Whoever has gone meanwhile does not want to know.
            let _ = to_client.send(Message::Text(text.into())).await;
        }
        let _ = to_client.close().await;
    };
    tokio::select! {
        () = incoming => {}
        () = outgoing => {}
        () = resizing(resize, wanted) => {}
    }
}

/// Passes the client's sizes on, beside its input: of several that come while one is on its way, the last. Never
/// ends.
async fn resizing(resize: Option<Resize>, mut wanted: watch::Receiver<Option<TerminalSize>>) {
    if let Some(resize) = resize {
        while wanted.changed().await.is_ok() {
            let size = *wanted.borrow_and_update();
            if let Some(size) = size {
                resize(size).await;
            }
        }
    }
    std::future::pending().await
}

async fn end_of(end: AttachedEnd) -> Word {
    match end {
        AttachedEnd::Closed => Word::End,
        AttachedEnd::Exit(exit) => exit.await.map_or_else(Word::Error, Word::Exit),
    }
}
