//! What simulated attempts have written.

use std::sync::Arc;

use berth_executor_api::{AttemptName, ExecutorError, LogQuery, LogStream};
use futures::{StreamExt, stream};

use crate::shared::Shared;

/// The log of an attempt whose text was `text` when it was asked for.
pub(crate) fn log(shared: Arc<Shared>, attempt: AttemptName, query: LogQuery, text: String) -> LogStream {
    let tail = query.tail_bytes.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let from = text.len().saturating_sub(tail);
    if !query.follow {
        let bytes = text.into_bytes().split_off(from);
        return stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed();
    }
    stream::unfold(Some(from), move |from| {
        let (shared, attempt) = (Arc::clone(&shared), attempt.clone());
        async move { next(&shared, &attempt, query, from?).await }
    })
    .boxed()
}

type Step = Option<(Result<Vec<u8>, ExecutorError>, Option<usize>)>;

/// What has come since `from`; waits for it while the attempt goes on.
async fn next(shared: &Arc<Shared>, attempt: &AttemptName, query: LogQuery, from: usize) -> Step {
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let seen = shared.with(|state, _| {
            let entry = state.cluster.entry(attempt)?;
            Some((entry.output(query.stream), entry.is_over()))
        });
        let (text, over) = match seen {
            Ok(seen) => seen?,
            Err(error) => return Some((Err(error), None)),
        };
        if text.len() > from {
            let rest = text.as_bytes().get(from..).unwrap_or_default().to_vec();
            return Some((Ok(rest), (!over).then_some(text.len())));
        }
        if over {
            return None;
        }
        changed.await;
    }
}
