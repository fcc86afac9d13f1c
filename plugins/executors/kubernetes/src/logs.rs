//! An attempt's output for whoever asks: from its file, or from a time on from its Pod's log, which has the times.

use std::sync::Arc;

use berth_docker_engine::last_bytes;
use berth_executor_api::{AttemptName, ExecutorError, LogQuery, LogStream, Stream, UtcMs, files};
use futures::{AsyncReadExt, StreamExt, stream};
use kube::api::LogParams;

use crate::{BACKEND, beside::unknown, cluster::Cluster, output, reconcile};

const PIECE_BYTES: usize = 64 << 10;

/// The part of the log that is asked for.
pub(crate) async fn logs(
    cluster: &Arc<Cluster>,
    attempt: &AttemptName,
    query: LogQuery,
) -> Result<LogStream, ExecutorError> {
    let phase = || cluster.book.with(attempt, |entry| entry.phase.subscribe());
    if phase().is_none() {
        // Not looked at yet since Berth has started.
        reconcile::reconcile(cluster, std::slice::from_ref(attempt)).await?;
    }
    let Some(phase) = phase() else { return Err(unknown(attempt)) };
    // Kubernetes has one log, which is the first stream's.
    if query.stream == Stream::Stderr {
        return Ok(stream::empty().boxed());
    }
    if let Some(since) = query.since {
        return since_then(cluster, attempt, query, since).await;
    }
    let Some(outputs) = cluster.outputs(attempt) else { return Err(unknown(attempt)) };
    let (path, owner) = (outputs.stdout, outputs.person.uid);
    let stream = match query.follow {
        true => files::follow(path, owner, query.tail_bytes, phase),
        false => files::read(path, owner, query.tail_bytes),
    };
    let failed = |error: files::FileError| ExecutorError::Refused {
        backend: BACKEND.into(),
        reason: error.to_string(),
    };
    Ok(stream.map(move |piece| piece.map_err(failed)).boxed())
}

async fn since_then(
    cluster: &Arc<Cluster>,
    attempt: &AttemptName,
    query: LogQuery,
    since: UtcMs,
) -> Result<LogStream, ExecutorError> {
    let place = cluster.book.with(attempt, |entry| (entry.namespace.clone(), entry.standing()));
    let Some((namespace, standing)) = place else { return Err(unknown(attempt)) };
    let Some(pod) = standing.pod.filter(|_| standing.started.is_some()) else {
        return Ok(stream::empty().boxed());
    };
    let seconds = i64::try_from(since.0 / 1000).unwrap_or(i64::MAX);
    let since_time = k8s_openapi::jiff::Timestamp::from_second(seconds).ok();
    let params = LogParams { follow: query.follow, since_time, ..LogParams::default() };
    let log = output::read(cluster, &namespace, &pod, params).await;
    let log = log.map_err(|error| match error.is_missing() {
        true => ExecutorError::Refused {
            backend: BACKEND.into(),
            reason: "its Pod is gone, and with it the times of its output".into(),
        },
        false => cluster.for_executor(error),
    })?;
    let patience = cluster.config.answer_within;
    let pieces = stream::unfold(Some(log), move |log| async move {
        let mut log = log?;
        let mut piece = vec![0; PIECE_BYTES];
        match log.read(&mut piece).await {
            Ok(0) => None,
            Ok(bytes) => {
                piece.truncate(bytes);
                Some((Ok(piece), Some(log)))
            }
            Err(source) => {
                let backend = BACKEND.into();
                Some((
                    Err(ExecutorError::Unreachable { backend, waited: patience, source: source.into() }),
                    None,
                ))
            }
        }
    });
    match query.tail_bytes {
        Some(bytes) if !query.follow => Ok(last_bytes(pieces.boxed(), bytes).await),
        _ => Ok(pieces.boxed()),
    }
}
