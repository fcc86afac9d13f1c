//! Watches: streams of lines, from a version on.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};
use futures::stream;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Shared,
    answers::Failure,
    api::{Target, is_of},
    selectors::{Fields, Labels},
    store::Change,
};

struct Watch {
    shared: Arc<Shared>,
    target: Target,
    labels: Labels,
    fields: Fields,
    at: u64,
    ends: Instant,
    changes: tokio::sync::watch::Receiver<u64>,
    cuts: tokio::sync::watch::Receiver<u64>,
    lines: Vec<String>,
    cut: bool,
    over: bool,
}

fn line(event: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": event, "object": object }))
}

pub(crate) fn watch(
    shared: &Arc<Shared>,
    target: Target,
    labels: Labels,
    fields: Fields,
    from: u64,
    lasts: Duration,
) -> Response<Body> {
    let mut watch = Watch {
        target,
        labels,
        fields,
        at: from,
        ends: Instant::now() + lasts,
        changes: shared.store.changes(),
        cuts: shared.cuts.subscribe(),
        lines: Vec::new(),
        cut: false,
        over: false,
        shared: Arc::clone(shared),
    };
    let (forgotten, version) = {
        let contents = shared.store.lock();
        (contents.forgotten, contents.version())
    };
    if from < forgotten {
        // As a real one does: in a stream that is fine otherwise.
        let message = format!("too old resource version: {from} ({version})");
        watch.lines.push(line("ERROR", &Failure::new(410, "Expired", message).status()));
        watch.over = true;
    }
    let lines =
        stream::unfold(watch, |mut watch| async move { watch.next().await.map(|line| (line, watch)) });
    let mut answer = Response::new(Body::from_stream(lines));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

impl Watch {
    async fn next(&mut self) -> Option<io::Result<String>> {
        loop {
            if !self.lines.is_empty() {
                return Some(Ok(self.lines.remove(0)));
            }
            if self.over {
                return None;
            }
            if self.cut {
                self.over = true;
                return Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut")));
            }
            let new = self.shared.store.lock().since(self.at);
            if let Some(last) = new.last() {
                self.at = last.version;
                self.lines = new.iter().filter_map(|change| self.line_of(change)).collect();
                continue;
            }
            tokio::select! {
                _ = self.changes.changed() => {}
                _ = self.cuts.changed() => {
                    // Half a line, and then nothing, not even an end.
                    self.cut = true;
                    return Some(Ok("{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Po".into()));
                }
                () = sleep_until(self.ends) => return None,
                () = sleep(self.shared.settings().bookmark_every) => {
                    let version = self.at.max(self.shared.store.lock().version());
                    let object = json!({
                        "kind": self.target.kind.name(), "apiVersion": self.target.kind.api_version(),
                        "metadata": { "resourceVersion": version.to_string() },
                    });
                    return Some(Ok(line("BOOKMARK", &object)));
                }
            }
        }
    }

    fn line_of(&self, change: &Change) -> Option<String> {
        let wanted = change.kind == self.target.kind
            && is_of(&change.object, &self.target, &self.labels, &self.fields);
        wanted.then(|| line(change.event, &change.object))
    }
}
