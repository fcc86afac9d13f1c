//! The truth about attempts, as the cluster knows it now.

use std::{collections::HashMap, sync::Arc};

use berth_executor_api::{AttemptName, ExecutorError, Truth};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    cluster::{Carrier, Cluster},
    standing::{Standing, report},
    tend,
};

/// Up to so many are asked for one by one, which costs two questions each; more, all at once.
const ONE_BY_ONE: usize = 4;
/// So many answers are put together at the same time.
const AT_ONCE: usize = 16;

pub(crate) async fn reconcile(
    cluster: &Arc<Cluster>,
    attempts: &[AttemptName],
) -> Result<Vec<Truth>, ExecutorError> {
    let carriers = carriers(cluster, attempts).await?;
    let asked = attempts.iter().zip(carriers);
    let truths: Vec<_> = asked.map(|(attempt, carrier)| truth_of(cluster, attempt, carrier)).collect();
    Ok(stream::iter(truths).buffered(AT_ONCE).collect().await)
}

async fn carriers(
    cluster: &Cluster,
    attempts: &[AttemptName],
) -> Result<Vec<Option<Carrier>>, ExecutorError> {
    if attempts.len() <= ONE_BY_ONE {
        let asked: Vec<_> = attempts.iter().map(|attempt| cluster.carrier(attempt)).collect();
        let found = stream::iter(asked).buffered(ONE_BY_ONE).try_collect().await;
        return found.map_err(|error| cluster.for_executor(error));
    }
    let all = cluster.all_carriers().await;
    let mut all: HashMap<AttemptName, Carrier> = all.map_err(|error| cluster.for_executor(error))?;
    Ok(attempts.iter().map(|attempt| all.remove(attempt)).collect())
}

async fn truth_of(cluster: &Arc<Cluster>, attempt: &AttemptName, carrier: Option<Carrier>) -> Truth {
    let Some(carrier) = carrier else {
        cluster.book.forget(attempt);
        return Truth::Absent;
    };
    let standing = cluster.adopt(attempt, carrier);
    if let Some(words) = given_up(cluster, &standing) {
        return Truth::Uncertain { words };
    }
    // What is true now is told as the answer, and not again as a report.
    cluster.book.with(attempt, |entry| entry.note(&standing));
    cluster.wake.notify_one();
    let (standing, ports) = match standing.state.is_end() {
        true => (tend::complete(cluster, attempt, standing).await, Vec::new()),
        false => tend::published(cluster, attempt, standing).await,
    };
    let at = standing.at.unwrap_or_else(Cluster::now);
    let at = cluster.book.with(attempt, |entry| entry.time(at)).unwrap_or(at);
    Truth::Known(report(attempt, &standing, at, ports))
}

/// Why nobody can say any more what became of the attempt: its node has been away for longer than is set.
pub(crate) fn given_up(cluster: &Cluster, standing: &Standing) -> Option<String> {
    if standing.state.is_end() {
        return None;
    }
    let node = standing.node.as_deref()?;
    let since = tend::down_since(cluster, node)?;
    let away = Cluster::now().since(since);
    (away >= cluster.config.lost_after)
        .then(|| format!("its node {node} has not answered since {since}; the attempt may go on there"))
}
