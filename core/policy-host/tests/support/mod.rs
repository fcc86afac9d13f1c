//! Small policies, well-behaved and not, built from text; and what a daemon would keep beside them.
// Each test file uses a part of it; and what goes wrong here is to fail the test.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

pub mod daemon;

use std::{path::Path, sync::Arc};

use berth_policy_host::{HostSettings, PolicyHost, PolicyKind, PolicySource, PolicySpec};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the contracts are.
const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");

/// A host that keeps what it compiles where all tests find it again.
pub fn host() -> PolicyHost {
    let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-policies"));
    PolicyHost::new(HostSettings { cache_dir }).unwrap()
}

/// Makes a component of a core module. `world` is one of `wit/`, or the text of one in a package `test:test`.
pub fn component(world: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(WIT).unwrap();
    let (package, world) = match world.split_once('{') {
        None => (package, world.to_owned()),
        Some((head, _)) => {
            let text = format!("package test:test;\n{world}");
            (resolve.push_str("test.wit", &text).unwrap(), head.trim().replace("world ", ""))
        }
    };
    let world = resolve.select_world(&[package], Some(&world)).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// The small scheduler with `code` at the place `at`, calling itself `version`.
pub fn scheduler_wat(version: &str, changes: &[(&str, &str)]) -> String {
    let text = include_str!("scheduler.wat")
        .replace("@version_len", &version.len().to_string())
        .replace("@version", version);
    put_in(text, changes)
}

fn put_in(mut text: String, changes: &[(&str, &str)]) -> String {
    for (at, code) in changes {
        let place = format!(";; @{at}\n");
        assert!(text.contains(&place), "no place {at}");
        text = text.replace(&place, &format!("{code}\n"));
    }
    text
}

/// The small scheduler as a policy.
pub fn scheduler(version: &str, changes: &[(&str, &str)]) -> PolicySpec {
    let bytes = component("scheduler-policy", &scheduler_wat(version, changes));
    spec(PolicyKind::Scheduler, bytes)
}

/// The small auth policy with changes.
pub fn auth(changes: &[(&str, &str)]) -> PolicySpec {
    let text = put_in(include_str!("auth.wat").to_owned(), changes);
    spec(PolicyKind::Auth, component("auth-policy", &text))
}

/// The small watcher with changes.
pub fn watcher(changes: &[(&str, &str)]) -> PolicySpec {
    let text = put_in(include_str!("watcher.wat").to_owned(), changes);
    spec(PolicyKind::Watcher, component("watcher-policy", &text))
}

/// The small network policy with changes.
pub fn network(changes: &[(&str, &str)]) -> PolicySpec {
    let text = put_in(include_str!("network.wat").to_owned(), changes);
    spec(PolicyKind::Network, component("network-policy", &text))
}

/// A policy of these bytes.
pub fn spec(kind: PolicyKind, bytes: Vec<u8>) -> PolicySpec {
    PolicySpec::new("small", kind, PolicySource::Bytes(Arc::from(bytes)))
}
