//! Changes of jobs, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use berth_api::EventRow;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::{App, Refusals};
use crate::{
    EventStream,
    extract::{Query, Who},
    refusal::Refusal,
};

/// Events that wait for a reader.
const AHEAD: usize = 256;

/// Where to begin.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// Behind this event; from now on where it is not given. The Last-Event-ID header goes before it.
    after: Option<u64>,
}

/// Streams changes of jobs. Each event's id is its `seq`, its data an EventRow in JSON. A reader that does
/// not keep up is dropped, and can take it up again with the Last-Event-ID header, as browsers do.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    operation_id = "events",
    params(From, ("Last-Event-ID" = Option<u64>, Header, description = "The last event seen")),
    responses(
        (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        Refusals,
    ),
)]
pub(super) async fn events(
    State(front): App,
    Who(who): Who,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let after = match headers.get("last-event-id") {
        None => from.after,
        Some(id) => Some(id.to_str().ok().and_then(|id| id.parse().ok()).ok_or_else(|| {
            Refusal::at(
                "Last-Event-ID",
                "this is not the number of an event; send the id of the last one seen",
            )
        })?),
    };
    let events = front.backend.events(&who, after).await?;
    let patience = front.settings.patience;
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    tokio::spawn(pump(events, sender, front.stop.clone(), patience.events));
    let events = stream::poll_fn(move |context| receiver.poll_recv(context)).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(patience.heartbeat)))
}

/// Moves events to the reader until it goes away, falls behind, or the server ends.
async fn pump(
    mut events: EventStream,
    reader: mpsc::Sender<Event>,
    stop: CancellationToken,
    at_most: Duration,
) {
    loop {
        let row = tokio::select! {
            () = stop.cancelled() => return,
            () = reader.closed() => return,
            row = events.next() => row,
        };
        let Some(event) = row.as_ref().and_then(told) else { return };
        match timeout(at_most, reader.send(event)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::debug!("a reader of events does not keep up and is dropped");
                return;
            }
        }
    }
}

fn told(row: &EventRow) -> Option<Event> {
    Event::default().id(row.seq.to_string()).json_data(row).ok()
}
