//! Networks and ports of a container.

use std::collections::BTreeMap;

use berth_docker_engine::bollard::models::{NetworkSettings, PortBinding, PortMap};
use berth_executor_api::{Launch, PortMapping};

use crate::{config::DockerConfig, extensions::Extensions};

/// What Berth's own network without a way out is asked for by.
pub(crate) const INTERNAL: &str = "internal";
/// The same for the one with a way out.
pub(crate) const EXTERNAL: &str = "external";
/// Of the engine's own, these lead nowhere they should not.
const PLAIN: [&str; 2] = ["none", "bridge"];

/// What the engine calls one of Berth's own networks.
pub(crate) fn network_name(cluster: &str, role: &str) -> String {
    format!("berth-{cluster}-{role}")
}

/// The longest name of a network that is made on demand.
const MOST_NAME_BYTES: usize = 200;

/// What the engine calls a network that is made on demand. Different names stay different, whatever is in them; and
/// as no cluster's name has a dot, they are no other cluster's either.
pub(crate) fn on_demand_name(cluster: &str, name: &str) -> Result<String, String> {
    let mut own = format!("berth-{cluster}.");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => own.push(char::from(byte)),
            other => own.push_str(&format!(".{other:02x}")),
        }
    }
    match own.len() > MOST_NAME_BYTES {
        false => Ok(own),
        true => Err(format!("network {name:?} has too long a name for the engine")),
    }
}

/// The network as the engine calls it: the user's option, what the policy says, or the site's usual one.
pub(crate) fn attached_to(
    launch: &Launch,
    options: &Extensions,
    config: &DockerConfig,
) -> Result<String, String> {
    if let Some(own) = &options.net {
        // Which option a user may use is granted; the host's network needs that very grant.
        return known(own, config, &["host"]);
    }
    match &launch.spec.network {
        Some(attachment) if attachment.on_demand => on_demand_name(&config.cluster, &attachment.network),
        Some(attachment) if !attachment.network.is_empty() => known(&attachment.network, config, &[]),
        _ => known(&config.network, config, &["host"]),
    }
}

fn known(name: &str, config: &DockerConfig, more: &[&str]) -> Result<String, String> {
    if matches!(name, INTERNAL | EXTERNAL) {
        return Ok(network_name(&config.cluster, name));
    }
    let listed = config.networks.iter().any(|known| known == name);
    match PLAIN.contains(&name) || more.contains(&name) || listed {
        true => Ok(name.to_owned()),
        false => Err(format!("network {name:?} is not one that jobs may be attached to")),
    }
}

/// Ports as the engine takes them.
pub(super) struct Ports {
    pub exposed: Vec<String>,
    pub bindings: PortMap,
}

/// Those that the policy gave host ports for get these, as do those with a fixed one; others any that is free.
pub(super) fn ports(launch: &Launch, options: &Extensions, publish: &str) -> Ports {
    let by_policy = launch.spec.network.iter().flat_map(|network| network.ports.iter().copied());
    let fixed = options.ports.iter().map(|(host, job)| (*job, *host));
    let given: BTreeMap<u16, u16> = by_policy.chain(fixed).collect();
    let asked = launch.spec.ports.iter().copied().chain(options.ports.iter().map(|(_, job)| *job));
    let mut exposed = Vec::new();
    let mut bindings = PortMap::new();
    for port in asked {
        let key = format!("{port}/tcp");
        let host_port = given.get(&port).map_or_else(String::new, ToString::to_string);
        let binding = PortBinding { host_ip: Some(publish.to_owned()), host_port: Some(host_port) };
        if bindings.insert(key.clone(), Some(vec![binding])).is_none() {
            exposed.push(key);
        }
    }
    Ports { exposed, bindings }
}

/// The ports that the engine has published, by job port.
pub(crate) fn mapped(settings: &NetworkSettings, host: &str) -> Vec<PortMapping> {
    let mut all = Vec::new();
    for (port, bindings) in settings.ports.iter().flatten() {
        let Some(job) = port.split('/').next().and_then(|port| port.parse().ok()) else { continue };
        // One for each family of addresses; the ports are the same.
        let host_port =
            bindings.iter().flatten().find_map(|binding| binding.host_port.as_ref()?.parse().ok());
        if let Some(host_port) = host_port {
            all.push(PortMapping { job, host: host.to_owned(), host_port });
        }
    }
    all.sort_by_key(|port| port.job);
    all
}
