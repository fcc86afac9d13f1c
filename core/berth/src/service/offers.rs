//! What the site has for jobs.

use std::collections::{BTreeMap, BTreeSet};

use berth_api::ErrorBody;
use berth_config::{Config, Policy, PolicySource};
use berth_server::{OfferedImage, OfferedVolume, Offers};
use serde_json::Value;

use super::Service;

/// The shipped auth policy, and the volume that it gives to everybody without being told.
const LOCAL: &str = "local";
const HOME: &str = "home";

impl Service {
    pub(super) async fn site_offers(&self) -> Result<Offers, ErrorBody> {
        let config = self.daemon.config.now();
        let nodes = self.daemon.inbox.look(berth_engine::Engine::node_views).await;
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, value) in nodes.ok_or_else(|| self.not_now())?.into_iter().flat_map(|node| node.labels) {
            labels.entry(name).or_default().insert(value);
        }
        let able = || self.daemon.registry.iter().map(|executor| &executor.description().capabilities);
        Ok(Offers {
            images: images(&config),
            volumes: match able().any(|able| able.volumes) {
                true => volumes(&config.auth.policy),
                false => Vec::new(),
            },
            labels,
            suspends: able().any(|able| able.suspend),
            publishes_ports: able().any(|able| able.ports),
            labels_called: config
                .webhooks
                .iter()
                .filter_map(|webhook| webhook.label.as_ref().map(|(name, _)| name.clone()))
                .collect(),
        })
    }
}

/// What the executors' tables say under `images`, each image once.
fn images(config: &Config) -> Vec<OfferedImage> {
    let mut found: BTreeMap<String, bool> = BTreeMap::new();
    for executor in &config.executors {
        let own = executor.own.to_json();
        let table = own.get("images").unwrap_or(&Value::Null);
        let offered = table.get("offered").and_then(Value::as_array);
        for name in offered.into_iter().flatten().filter_map(Value::as_str) {
            found.entry(name.to_owned()).or_default();
        }
        if let Some(usual) = table.get("default").and_then(Value::as_str) {
            *found.entry(usual.to_owned()).or_default() |= executor.default;
        }
    }
    found.into_iter().map(|(name, usual)| OfferedImage { name, usual }).collect()
}

/// What the auth policy's settings say under `volumes`.
fn volumes(auth: &Policy) -> Vec<OfferedVolume> {
    let mut found: BTreeMap<String, bool> = BTreeMap::new();
    if auth.source == PolicySource::Shipped(LOCAL.to_owned()) {
        found.insert(HOME.to_owned(), false);
    }
    for (key, value) in &auth.settings {
        let Some((name, part)) = key.strip_prefix("volumes.").and_then(|rest| rest.rsplit_once('.')) else {
            continue;
        };
        let read_only = found.entry(name.to_owned()).or_insert(true);
        if part == "mode" {
            *read_only = value != "rw";
        }
    }
    found.into_iter().map(|(name, read_only)| OfferedVolume { name, read_only }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_for_reading_unless_the_site_says_more() {
        let mut policy = Config::for_user(std::path::Path::new("/nowhere")).auth.policy;
        let pairs =
            [("volumes.a.path", "/a"), ("volumes.b.path", "/b"), ("volumes.b.mode", "rw"), ("other", "x")];
        policy.settings = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let names: Vec<_> = volumes(&policy).into_iter().map(|found| (found.name, found.read_only)).collect();
        assert_eq!(names, [("a".into(), true), ("b".into(), false), ("home".into(), false)]);
    }
}
