//! What a container may use.

use berth_docker_engine::bollard::models::HostConfig;

use super::Making;
use crate::{
    config::{Enforce, Swap},
    shares::core_list,
};

/// The engine takes no less.
const LEAST_CPU_MILLIS: u64 = 10;
/// Nor less memory than this.
const LEAST_MEMORY: u64 = 6 << 20;

pub(super) fn limits(making: &Making<'_>) -> HostConfig {
    let spec = &making.launch.spec;
    let (asked, always) = match making.config.enforce {
        Enforce::Never => (false, false),
        Enforce::Asked => (true, false),
        Enforce::Always => (true, true),
    };
    let resources = spec.resources;
    let memory =
        (asked && resources.memory_bytes > 0).then(|| whole(resources.memory_bytes.max(LEAST_MEMORY)));
    let own_cores = &making.facts.cores;
    let hold_cpu =
        resources.cpu_millis > 0 && own_cores.is_empty() && (always || (asked && spec.enforce_cpu));
    let cpuset = match own_cores.is_empty() {
        true => making.common_cores.clone(),
        false => Some(core_list(own_cores.iter().copied())),
    };
    HostConfig {
        memory,
        memory_swap: memory.map(|memory| swap(making, memory)),
        nano_cpus: hold_cpu.then(|| nano_cpus(resources.cpu_millis, making.cores)),
        // In proportion, where nobody is held to a number.
        cpu_shares: (resources.cpu_millis > 0).then(|| whole((resources.cpu_millis * 1024 / 1000).max(2))),
        cpuset_cpus: cpuset,
        pids_limit: making.options.pids_limit.or_else(|| making.config.pids.map(whole)),
        ..HostConfig::default()
    }
}

/// What the engine calls swap is memory and swap together.
fn swap(making: &Making<'_>, memory: i64) -> i64 {
    let usual = match making.config.swap {
        Swap::None => memory,
        Swap::Same => memory.saturating_mul(2),
        Swap::Unlimited => -1,
    };
    match making.options.memory_swap {
        Some(-1) => -1,
        Some(both) => both.max(memory),
        None => usual,
    }
}

fn nano_cpus(cpu_millis: u64, cores: u32) -> i64 {
    // A node may be configured with more CPUs than its engine has.
    let most = u64::from(cores.max(1)) * 1000;
    whole(cpu_millis.clamp(LEAST_CPU_MILLIS, most) * 1_000_000)
}

fn whole(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
