//! A small durable table for each policy.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{bindings::v0_1_0::key_value, error::HostFailure, instance::Guest};

/// Keeps the tables of all policies. Called on the policy's own thread, so it may wait; an error ends
/// the policy's call without counting against the policy.
pub trait KeyValueStore: Send + Sync {
    /// The value of a key; `None` when there is none.
    ///
    /// # Errors
    /// When the store fails.
    fn get(&self, policy: &str, key: &str) -> Result<Option<Vec<u8>>, String>;

    /// Sets a key for good before it returns. False when the policy's table is full.
    ///
    /// # Errors
    /// When the store fails.
    fn set(&self, policy: &str, key: &str, value: Vec<u8>) -> Result<bool, String>;

    /// Removes a key; one that is not there is none the less removed.
    ///
    /// # Errors
    /// When the store fails.
    fn delete(&self, policy: &str, key: &str) -> Result<(), String>;

    /// The keys that begin with `prefix`, in order.
    ///
    /// # Errors
    /// When the store fails.
    fn keys(&self, policy: &str, prefix: &str) -> Result<Vec<String>, String>;
}

type Table = BTreeMap<String, Vec<u8>>;

/// Tables that are gone with the process: for checks, tests, and Berths that keep nothing.
#[derive(Debug)]
pub struct MemoryKeyValues {
    most_bytes: usize,
    tables: Mutex<BTreeMap<String, Table>>,
}

impl MemoryKeyValues {
    /// Tables of at most `most_bytes` of keys and values each.
    #[must_use]
    pub fn new(most_bytes: usize) -> Self {
        Self { most_bytes, tables: Mutex::default() }
    }

    fn tables(&self) -> MutexGuard<'_, BTreeMap<String, Table>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyValueStore for MemoryKeyValues {
    fn get(&self, policy: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.tables().get(policy).and_then(|table| table.get(key)).cloned())
    }

    fn set(&self, policy: &str, key: &str, value: Vec<u8>) -> Result<bool, String> {
        let mut tables = self.tables();
        let table = tables.entry(policy.to_owned()).or_default();
        let others = table.iter().filter(|(other, _)| *other != key);
        let used: usize = others.map(|(other, value)| other.len() + value.len()).sum();
        let fits = used.saturating_add(key.len()).saturating_add(value.len()) <= self.most_bytes;
        if fits {
            table.insert(key.to_owned(), value);
        }
        Ok(fits)
    }

    fn delete(&self, policy: &str, key: &str) -> Result<(), String> {
        if let Some(table) = self.tables().get_mut(policy) {
            table.remove(key);
        }
        Ok(())
    }

    fn keys(&self, policy: &str, prefix: &str) -> Result<Vec<String>, String> {
        let tables = self.tables();
        let keys = tables.get(policy).into_iter().flat_map(|table| table.keys());
        Ok(keys.filter(|key| key.starts_with(prefix)).cloned().collect())
    }
}

impl Guest {
    fn table<T>(
        &mut self,
        ask: impl FnOnce(&dyn KeyValueStore, &str) -> Result<T, String>,
    ) -> wasmtime::Result<T> {
        let answer = self.waiting(|guest, _| {
            // Linked only where it was granted.
            let store = guest.grants.key_value.as_deref().ok_or("key-value is not granted")?;
            ask(store, &guest.policy)
        })?;
        Ok(answer.map_err(HostFailure)?)
    }
}

impl key_value::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.table(|store, policy| store.get(policy, &key))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<bool> {
        self.table(|store, policy| store.set(policy, &key, value))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.table(|store, policy| store.delete(policy, &key))
    }

    fn keys(&mut self, prefix: String) -> wasmtime::Result<Vec<String>> {
        self.table(|store, policy| store.keys(policy, &prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_apart_and_bounded() {
        let tables = MemoryKeyValues::new(10);
        assert_eq!(tables.set("a", "key", vec![1; 7]), Ok(true));
        assert_eq!(tables.set("a", "k2", vec![1]), Ok(false), "the table is full");
        assert_eq!(tables.set("a", "key", vec![2; 7]), Ok(true), "replacing needs no more room");
        assert_eq!(tables.set("b", "k2", vec![1]), Ok(true));
        assert_eq!(tables.get("a", "k2"), Ok(None));
        assert_eq!(tables.keys("a", "ke"), Ok(vec!["key".to_owned()]));
        tables.delete("a", "key").unwrap();
        assert_eq!(tables.keys("a", ""), Ok(vec![]));
    }
}
