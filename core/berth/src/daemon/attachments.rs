//! Networks of jobs, kept so that a fresh network policy can be told of them.

use std::collections::BTreeSet;

use berth_model::{JobId, NetworkAttachment};
use berth_policy_host::Attached;
use berth_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

/// The table that they are kept in. No policy has this name: it is not one of berth.toml's.
const TABLE: &str = "berth/attachments";

/// The most that may be kept, in bytes.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Kept {
    node: String,
    what: NetworkAttachment,
}

/// Keeps a job's network.
pub async fn keep(
    store: &dyn Store,
    job: JobId,
    node: &str,
    what: &NetworkAttachment,
) -> Result<(), StoreError> {
    let kept = Kept { node: node.to_owned(), what: what.clone() };
    let value = serde_json::to_vec(&kept).unwrap_or_default();
    store.set_policy_state(TABLE, &job.to_string(), &value, MOST_BYTES).await
}

/// Lets a job's network go.
pub async fn drop_kept(store: &dyn Store, job: JobId) -> Result<(), StoreError> {
    store.delete_policy_state(TABLE, &job.to_string()).await.map(|_| ())
}

/// Those of jobs that have a place. What is kept of others was to be dropped when the crash came.
pub async fn of(store: &dyn Store, placed: &BTreeSet<JobId>) -> Result<Vec<Attached>, StoreError> {
    let mut all = Vec::new();
    for key in store.policy_keys(TABLE, "", u64::from(u32::MAX)).await? {
        if !key.parse().is_ok_and(|job| placed.contains(&JobId(job))) {
            store.delete_policy_state(TABLE, &key).await?;
            continue;
        }
        let value = store.policy_state(TABLE, &key).await?.unwrap_or_default();
        if let (Ok(job), Ok(Kept { node, what })) = (key.parse().map(JobId), serde_json::from_slice(&value)) {
            all.push(Attached { job, node, what });
        }
    }
    Ok(all)
}
