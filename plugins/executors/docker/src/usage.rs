//! What attempts use and have used.
//!
//! The engine forgets what a container has used when it ends. Where Berth can see the engine's control groups,
//! each attempt gets one of its own around the container's, and that outlives it: its counts are exact.
//! Elsewhere there are only samples, and what happened after the last one is not known.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use berth_docker_engine::{
    EngineInfo,
    bollard::models::{ContainerStatsResponse, SystemInfoCgroupDriverEnum},
};
use berth_executor_api::{AttemptName, Usage};

use crate::config::DockerConfig;

/// Where control groups are seen.
const ROOT: &str = "/sys/fs/cgroup";

/// The attempts' own control groups.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    root: PathBuf,
    group: String,
    local: bool,
}

impl Counters {
    pub fn new(config: &DockerConfig) -> Self {
        let local = matches!(config.endpoint, berth_docker_engine::Endpoint::Unix(_))
            && rustix::process::geteuid().is_root();
        Self { root: ROOT.into(), group: format!("berth-{}", config.cluster), local }
    }

    /// The control group for an attempt's container, if there is to be one.
    pub fn parent(&self, attempt: &AttemptName, info: &EngineInfo) -> Option<String> {
        let by_files = info.info.cgroup_driver == Some(SystemInfoCgroupDriverEnum::CGROUPFS);
        (self.local && by_files && self.root.is_dir()).then(|| format!("/{}/{attempt}", self.group))
    }

    /// What an attempt has used, exactly; `None` where that was not counted.
    pub fn read(&self, attempt: &AttemptName) -> Option<Usage> {
        let inside = |controller: &str, file: &str| {
            fs::read_to_string(self.root.join(controller).join(&self.group).join(attempt.as_str()).join(file))
                .ok()
        };
        let number = |text: String| text.trim().parse::<u64>().ok();
        // The second version has everything in one place.
        if let Some(stat) = inside("", "cpu.stat") {
            return Some(Usage {
                cpu_micros: field(&stat, "usage_usec").unwrap_or(0),
                memory_peak_bytes: inside("", "memory.peak").and_then(number).unwrap_or(0),
                ..Usage::default()
            });
        }
        let cpu_nanos = inside("cpuacct", "cpuacct.usage").and_then(number);
        let peak = inside("memory", "memory.max_usage_in_bytes").and_then(number);
        let io = inside("blkio", "blkio.throttle.io_service_bytes_recursive").unwrap_or_default();
        if cpu_nanos.is_none() && peak.is_none() {
            return None;
        }
        Some(Usage {
            cpu_micros: cpu_nanos.unwrap_or(0) / 1000,
            memory_peak_bytes: peak.unwrap_or(0),
            read_bytes: transferred(&io, "Read"),
            written_bytes: transferred(&io, "Write"),
            ..Usage::default()
        })
    }

    /// Takes away what is left of the attempts' control groups. Those with processes in them stay.
    pub fn remove(&self, attempts: &[AttemptName]) {
        if !self.local {
            return;
        }
        for place in self.places() {
            for attempt in attempts {
                // Most attempts have one in some of the places only.
                let _ = fs::remove_dir(place.join(attempt.as_str()));
            }
        }
    }

    /// Takes away all of this cluster's that are empty.
    pub fn remove_all(&self) {
        if !self.local {
            return;
        }
        for place in self.places() {
            for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(entry.path());
            }
            let _ = fs::remove_dir(&place);
        }
    }

    fn places(&self) -> Vec<PathBuf> {
        let controllers = || -> io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(&self.root)?.flatten().map(|entry| entry.path());
            Ok(entries.filter(|path| path.is_dir() && !path.is_symlink()).collect())
        };
        let mut roots = controllers().unwrap_or_default();
        roots.push(self.root.clone());
        roots
            .iter()
            .map(|root: &PathBuf| Path::join(root, &self.group))
            .filter(|path| path.is_dir())
            .collect()
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn transferred(text: &str, what: &str) -> u64 {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next() == Some(what)).then(|| words.next()?.parse::<u64>().ok()).flatten()
    };
    text.lines().filter_map(of_line).sum()
}

/// What the engine says that a container uses now.
pub(crate) fn sampled(stats: &ContainerStatsResponse) -> Usage {
    let memory = stats.memory_stats.clone().unwrap_or_default();
    let used = memory.usage.unwrap_or(0);
    let detail = memory.stats.unwrap_or_default();
    // File pages that would go at once if somebody needed the room.
    let idle =
        detail.get("total_inactive_file").or_else(|| detail.get("inactive_file")).copied().unwrap_or(0);
    let now = if idle < used { used - idle } else { used };
    let cpu = stats.cpu_stats.clone().and_then(|cpu| cpu.cpu_usage).and_then(|usage| usage.total_usage);
    let io = |what: &str| {
        let entries =
            stats.blkio_stats.clone().and_then(|io| io.io_service_bytes_recursive).unwrap_or_default();
        let of = entries
            .iter()
            .filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(what)));
        of.filter_map(|entry| entry.value).sum()
    };
    Usage {
        cpu_micros: cpu.unwrap_or(0) / 1000,
        memory_bytes: now,
        // The second version of control groups does not tell it to the engine.
        memory_peak_bytes: memory.max_usage.unwrap_or(0).max(now),
        read_bytes: io("read"),
        written_bytes: io("write"),
        disk_bytes: 0,
    }
}

/// The most of two samples: what was used does not become less.
pub(crate) fn most(one: Usage, other: Usage) -> Usage {
    Usage {
        cpu_micros: one.cpu_micros.max(other.cpu_micros),
        memory_bytes: other.memory_bytes,
        memory_peak_bytes: one.memory_peak_bytes.max(other.memory_peak_bytes),
        read_bytes: one.read_bytes.max(other.read_bytes),
        written_bytes: one.written_bytes.max(other.written_bytes),
        disk_bytes: other.disk_bytes,
    }
}

#[cfg(test)]
mod tests {
    use berth_docker_engine::bollard::models::{ContainerCpuStats, ContainerCpuUsage, ContainerMemoryStats};
    use berth_executor_api::{Attempt, JobId};

    use super::*;

    fn name() -> AttemptName {
        AttemptName::new("c", JobId(7), Attempt { number: 1, returned: 0 })
    }

    fn counters(root: &Path) -> Counters {
        Counters { root: root.to_owned(), group: "berth-c".into(), local: true }
    }

    fn write(root: &Path, controller: &str, file: &str, text: &str) {
        let folder = root.join(controller).join("berth-c/c-7-1");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), text).unwrap();
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(counters(folder.path()).read(&name()), None);
        write(folder.path(), "cpuacct", "cpuacct.usage", "2500000\n");
        write(folder.path(), "memory", "memory.max_usage_in_bytes", "4096\n");
        let io = "8:0 Read 10\n8:0 Write 20\n8:16 Read 1\nTotal 31\n";
        write(folder.path(), "blkio", "blkio.throttle.io_service_bytes_recursive", io);
        let usage = counters(folder.path()).read(&name()).unwrap();
        let first = (usage.cpu_micros, usage.memory_peak_bytes, usage.read_bytes, usage.written_bytes);
        assert_eq!(first, (2500, 4096, 11, 20));
        write(folder.path(), "", "cpu.stat", "usage_usec 77\nuser_usec 7\n");
        write(folder.path(), "", "memory.peak", "99\n");
        let usage = counters(folder.path()).read(&name()).unwrap();
        assert_eq!((usage.cpu_micros, usage.memory_peak_bytes), (77, 99));
    }

    #[test]
    fn empty_control_groups_go() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("memory/berth-c/c-7-1")).unwrap();
        fs::create_dir_all(folder.path().join("cpu/berth-c/c-8-1")).unwrap();
        counters(folder.path()).remove(&[name()]);
        assert!(!folder.path().join("memory/berth-c/c-7-1").exists());
        assert!(folder.path().join("cpu/berth-c/c-8-1").exists());
        counters(folder.path()).remove_all();
        assert!(!folder.path().join("cpu/berth-c").exists());
    }

    #[test]
    fn a_sample_leaves_out_what_the_kernel_keeps_for_later() {
        let stats = ContainerStatsResponse {
            memory_stats: Some(ContainerMemoryStats {
                usage: Some(100),
                stats: Some([("inactive_file".to_owned(), 60)].into()),
                ..ContainerMemoryStats::default()
            }),
            cpu_stats: Some(ContainerCpuStats {
                cpu_usage: Some(ContainerCpuUsage {
                    total_usage: Some(5000),
                    ..ContainerCpuUsage::default()
                }),
                ..ContainerCpuStats::default()
            }),
            ..ContainerStatsResponse::default()
        };
        let usage = sampled(&stats);
        assert_eq!((usage.memory_bytes, usage.memory_peak_bytes, usage.cpu_micros), (40, 40, 5));
        let later = Usage { memory_bytes: 10, memory_peak_bytes: 10, cpu_micros: 9, ..usage };
        let both = most(usage, later);
        assert_eq!((both.memory_bytes, both.memory_peak_bytes, both.cpu_micros), (10, 40, 9));
    }
}
