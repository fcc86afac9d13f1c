//! What policies are lent of the store.

use std::sync::Arc;

use berth_policy_host::{KeyValueStore, Passwords};
use berth_store::{Store, StoreError};
use tokio::runtime::Handle;

use super::passwords::StoredPasswords;

/// The most keys that a policy is told of at once.
const MOST_KEYS: u64 = 10_000;

/// Policies' own tables, in the store. Policies call from threads of their own, which may wait.
pub struct PolicyTables {
    store: Arc<dyn Store>,
    runtime: Handle,
}

impl PolicyTables {
    pub fn new(store: Arc<dyn Store>, runtime: Handle) -> Self {
        Self { store, runtime }
    }

    /// Tables with this bound on the size of each.
    pub fn bounded(&self, most_bytes: u64) -> Arc<dyn KeyValueStore> {
        let (store, runtime) = (Arc::clone(&self.store), self.runtime.clone());
        Arc::new(BoundedTables { store, runtime, most_bytes })
    }
}

impl PolicyTables {
    /// What passwords are compared with.
    pub fn passwords(&self) -> Arc<dyn Passwords> {
        Arc::new(StoredPasswords { store: Arc::clone(&self.store), runtime: self.runtime.clone() })
    }
}

struct BoundedTables {
    store: Arc<dyn Store>,
    runtime: Handle,
    most_bytes: u64,
}

impl KeyValueStore for BoundedTables {
    fn get(&self, policy: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.runtime.block_on(self.store.policy_state(policy, key)).map_err(|error| error.to_string())
    }

    fn set(&self, policy: &str, key: &str, value: Vec<u8>) -> Result<bool, String> {
        let set = self.store.set_policy_state(policy, key, &value, self.most_bytes);
        match self.runtime.block_on(set) {
            Ok(()) => Ok(true),
            Err(StoreError::TooMuchState { .. }) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    fn delete(&self, policy: &str, key: &str) -> Result<(), String> {
        let deleted = self.runtime.block_on(self.store.delete_policy_state(policy, key));
        deleted.map(|_| ()).map_err(|error| error.to_string())
    }

    fn keys(&self, policy: &str, prefix: &str) -> Result<Vec<String>, String> {
        let keys = self.store.policy_keys(policy, prefix, MOST_KEYS);
        self.runtime.block_on(keys).map_err(|error| error.to_string())
    }
}
