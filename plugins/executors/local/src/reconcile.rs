//! The truth about attempts: the supervisor's, as it stands.

use berth_executor_api::{AttemptName, ExecutorError, Truth};

use crate::{
    client::Client,
    executor::unexpected,
    supervisor::protocol::{Answer, Ask},
};

/// So many are asked about at once, so that no answer grows without bound.
const AT_A_TIME: usize = 10_000;

pub(crate) async fn reconcile(
    client: &Client,
    attempts: &[AttemptName],
) -> Result<Vec<Truth>, ExecutorError> {
    let mut truths = Vec::with_capacity(attempts.len());
    for some in attempts.chunks(AT_A_TIME) {
        match client.ask(Ask::Reconcile { attempts: some.to_vec() }).await? {
            Answer::Truths(told) if told.len() == some.len() => truths.extend(told),
            other => return Err(unexpected(&other)),
        }
    }
    Ok(truths)
}
