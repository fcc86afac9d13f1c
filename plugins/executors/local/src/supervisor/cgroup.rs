//! Control groups, version 2 or 1: whichever has the controllers mounted and lets us write.
//!
//! Only attempts that are held to a limit get one: `berth/<cluster and spool>/<attempt>`, below the
//! nearest group around the supervisor that may have such children.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::sys;

/// What one attempt is held to.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Limits {
    pub memory_bytes: Option<u64>,
    pub cpu_millis: Option<u64>,
}

/// The folders below which attempts get their groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Cgroups {
    version: u8,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
}

/// The period over which CPU is shared out, in microseconds.
const PERIOD_MICROS: u64 = 100_000;

impl Cgroups {
    /// Looks for usable controllers and makes the folder called `name` in them.
    pub fn find(name: &str) -> Self {
        let mounts = mounts();
        if let Some(base) = mounts.iter().find_map(|mount| mount.make_v2(name)) {
            return Self { version: 2, memory: Some(base.clone()), cpu: Some(base) };
        }
        let v1 = |controller| mounts.iter().find_map(|mount| mount.make_v1(controller, name));
        let found = Self { version: 1, memory: v1("memory"), cpu: v1("cpu") };
        if found.memory.is_none() && found.cpu.is_none() { Self::default() } else { found }
    }

    pub fn holds_memory(&self) -> bool {
        self.memory.is_some()
    }

    pub fn holds_cpu(&self) -> bool {
        self.cpu.is_some()
    }

    /// What an operator should know.
    pub fn notes(&self) -> Vec<String> {
        let version = self.version;
        let memory = match self.holds_memory() {
            true => format!("memory limits: cgroup v{version}"),
            false => "memory limits: address space of each process (no writable memory cgroup); \
                      going over shows as failed allocations"
                .to_owned(),
        };
        let cpu = match self.holds_cpu() {
            true => format!("CPU limits: cgroup v{version}"),
            false => "CPU limits: none, CPU use is only counted (no writable CPU cgroup)".to_owned(),
        };
        vec![memory, cpu]
    }

    fn folders(&self, attempt: &str) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            [&self.memory, &self.cpu].into_iter().flatten().map(|base| base.join(attempt)).collect();
        all.dedup();
        all
    }

    /// Makes the attempt's group and sets its limits.
    pub fn make(&self, attempt: &str, limits: Limits) -> io::Result<()> {
        for folder in self.folders(attempt) {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let group = |base: &Option<PathBuf>| base.as_ref().map(|base| base.join(attempt));
        if let (Some(bytes), Some(group)) = (limits.memory_bytes, group(&self.memory)) {
            self.limit_memory(&group, bytes)?;
        }
        if let (Some(millis), Some(group)) = (limits.cpu_millis, group(&self.cpu)) {
            let quota = (millis.saturating_mul(PERIOD_MICROS) / 1000).max(1000);
            match self.version {
                2 => fs::write(group.join("cpu.max"), format!("{quota} {PERIOD_MICROS}"))?,
                _ => {
                    fs::write(group.join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())?;
                    fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn limit_memory(&self, group: &Path, bytes: u64) -> io::Result<()> {
        let bytes = bytes.to_string();
        // Swap is no way around the limit; not every kernel counts it, so that these may be missing.
        match self.version {
            2 => {
                fs::write(group.join("memory.max"), &bytes)?;
                let _ = fs::write(group.join("memory.swap.max"), "0");
                let _ = fs::write(group.join("memory.oom.group"), "1");
            }
            _ => {
                fs::write(group.join("memory.limit_in_bytes"), &bytes)?;
                let _ = fs::write(group.join("memory.memsw.limit_in_bytes"), &bytes);
            }
        }
        Ok(())
    }

    /// Puts the calling process into the attempt's group.
    pub fn join(&self, attempt: &str) -> io::Result<()> {
        self.folders(attempt).iter().try_for_each(|group| fs::write(group.join("cgroup.procs"), "0"))
    }

    /// The processes in the attempt's group.
    pub fn members(&self, attempt: &str) -> Vec<i32> {
        let folders = self.folders(attempt);
        let Some(group) = folders.first() else { return Vec::new() };
        let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        procs.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 0).collect()
    }

    /// Whether the kernel ended a process of the attempt for want of memory.
    pub fn ran_out_of_memory(&self, attempt: &str) -> bool {
        let Some(base) = &self.memory else { return false };
        let file = if self.version == 2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(base.join(attempt).join(file)).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }

    /// Memory now and at its peak, in bytes, where the kernel tells.
    pub fn memory(&self, attempt: &str) -> (Option<u64>, Option<u64>) {
        let Some(base) = &self.memory else { return (None, None) };
        let (now, peak) = match self.version {
            2 => ("memory.current", "memory.peak"),
            _ => ("memory.usage_in_bytes", "memory.max_usage_in_bytes"),
        };
        let number = |file| fs::read_to_string(base.join(attempt).join(file)).ok()?.trim().parse().ok();
        (number(now), number(peak))
    }

    /// Kills what is left in the attempt's group and removes it. `false` when it has to be tried again.
    pub fn remove(&self, attempt: &str) -> bool {
        for pid in self.members(attempt) {
            sys::kill(pid, libc::SIGKILL);
        }
        self.folders(attempt).iter().all(|group| match fs::remove_dir(group) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        })
    }

    /// The attempts that have a group.
    pub fn list(&self) -> Vec<String> {
        let mut all: Vec<String> = [&self.memory, &self.cpu]
            .into_iter()
            .flatten()
            .filter_map(|base| fs::read_dir(base).ok())
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                entry.file_type().ok()?.is_dir().then(|| entry.file_name().into_string().ok())?
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// Removes the folder for attempts, if none has a group any more.
    pub fn close(&self) {
        for base in [&self.memory, &self.cpu].into_iter().flatten() {
            let _ = fs::remove_dir(base);
            // Others may have theirs beside it; then this does nothing.
            let _ = base.parent().map(fs::remove_dir);
        }
    }
}

/// The least memory that a group around this process is held to, in bytes.
pub(crate) fn memory_limit() -> Option<u64> {
    let mounts = mounts();
    let limits = mounts.iter().filter_map(|mount| match mount.version {
        2 => Some((mount, "memory.max")),
        _ if mount.controllers.iter().any(|one| one == "memory") => Some((mount, "memory.limit_in_bytes")),
        _ => None,
    });
    limits
        .flat_map(|(mount, file)| {
            let groups = mount.own.ancestors().take_while(|group| group.starts_with(&mount.top));
            groups.filter_map(move |group| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok())
        })
        .min()
}

/// One mounted hierarchy.
struct Mount {
    /// Where, already including the way from its root to the supervisor's own group.
    own: PathBuf,
    top: PathBuf,
    version: u8,
    controllers: Vec<String>,
}

impl Mount {
    fn make_v1(&self, controller: &str, name: &str) -> Option<PathBuf> {
        (self.version == 1 && self.controllers.iter().any(|one| one == controller)).then_some(())?;
        let base = self.own.join("berth").join(name);
        fs::create_dir_all(&base).ok()?;
        Some(base)
    }

    /// A group with processes of its own cannot have children with limits, so this walks outwards from
    /// the supervisor's until one can.
    fn make_v2(&self, name: &str) -> Option<PathBuf> {
        (self.version == 2).then_some(())?;
        self.own.ancestors().take_while(|group| group.starts_with(&self.top)).find_map(|group| {
            enable(group)?;
            let ours = group.join("berth");
            let base = ours.join(name);
            fs::create_dir_all(&base).ok()?;
            enable(&ours)?;
            enable(&base)?;
            Some(base)
        })
    }
}

/// Lets children of this group have memory and CPU limits.
fn enable(group: &Path) -> Option<()> {
    let file = group.join("cgroup.subtree_control");
    let enabled =
        |text: String| ["memory", "cpu"].iter().all(|one| text.split_whitespace().any(|word| word == *one));
    if !enabled(fs::read_to_string(&file).ok()?) {
        fs::write(&file, "+memory +cpu").ok()?;
    }
    enabled(fs::read_to_string(&file).ok()?).then_some(())
}

/// The hierarchies that are mounted, with the supervisor's place in each.
fn mounts() -> Vec<Mount> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounted.lines().filter_map(|line| parse_mount(line, &own)).collect()
}

fn parse_mount(line: &str, own: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, top) = (place.next()?, PathBuf::from(place.next()?));
    let mut kind = kind.split(' ');
    let version = match kind.next()? {
        "cgroup2" => 2,
        "cgroup" => 1,
        _ => return None,
    };
    let controllers: Vec<String> = kind.nth(1)?.split(',').map(str::to_owned).collect();
    let mine = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let fits = match version {
            2 => names.is_empty(),
            _ => names.split(',').any(|name| !name.is_empty() && controllers.iter().any(|one| one == name)),
        };
        fits.then_some(path)
    })?;
    // In a container, the mount may show only a part that our own path is told from the outside of.
    let inside = Path::new(mine).strip_prefix(root).unwrap_or(Path::new(""));
    Some(Mount { own: top.join(inside), top, version, controllers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_in_both_versions() {
        let own = "4:memory:/jobs/a\n2:cpu,cpuacct:/\n0::/system.slice/berth.service\n";
        let mount = |line| parse_mount(line, own).map(|mount| (mount.version, mount.own));
        let v1 = "30 24 0:27 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory";
        assert_eq!(mount(v1), Some((1, PathBuf::from("/sys/fs/cgroup/memory/jobs/a"))));
        let inner = "30 24 0:27 /jobs /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        assert_eq!(mount(inner), Some((1, PathBuf::from("/sys/fs/cgroup/memory/a"))));
        let v2 = "31 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(mount(v2), Some((2, PathBuf::from("/sys/fs/cgroup/system.slice/berth.service"))));
        assert_eq!(mount("22 1 8:1 / / rw - ext4 /dev/sda1 rw"), None);
    }
}
