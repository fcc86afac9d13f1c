//! Which limits an attempt gets, and which CPUs.

use std::collections::BTreeSet;

use berth_executor_api::LaunchSpec;
use rustix::{
    process::{Resource, Rlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use super::cgroup::Limits;
use crate::Enforce;

/// What this job is to be held to.
pub(super) fn limits(spec: &LaunchSpec, enforce: Enforce) -> Limits {
    let asked = |amount: u64| (amount > 0).then_some(amount);
    let (memory, cpu) = (asked(spec.resources.memory_bytes), asked(spec.resources.cpu_millis));
    match enforce {
        Enforce::Never => Limits::default(),
        Enforce::Always => Limits { memory_bytes: memory, cpu_millis: cpu },
        Enforce::Asked => Limits { memory_bytes: memory, cpu_millis: cpu.filter(|_| spec.enforce_cpu) },
    }
}

/// Holds the calling process and its children to an address space of this size.
pub(super) fn limit_address_space(bytes: u64) -> rustix::io::Result<()> {
    setrlimit(Resource::As, Rlimit { current: Some(bytes), maximum: Some(bytes) })
}

/// Which CPUs belong to one attempt alone.
#[derive(Debug, Default)]
pub(super) struct Pins {
    all: BTreeSet<usize>,
    free: BTreeSet<usize>,
}

impl Pins {
    /// Of the CPUs that this process may use.
    pub fn new() -> Self {
        let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        Self::of((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
    }

    fn of(all: BTreeSet<usize>) -> Self {
        Self { free: all.clone(), all }
    }

    /// As many whole CPUs as it takes for this much; `None` when not so many are free.
    pub fn take(&mut self, cpu_millis: u64) -> Option<Vec<usize>> {
        let count = usize::try_from(cpu_millis.div_ceil(1000).max(1)).ok()?;
        let taken: Vec<usize> = self.free.iter().copied().take(count).collect();
        (taken.len() == count).then_some(())?;
        self.free.retain(|cpu| !taken.contains(cpu));
        Some(taken)
    }

    /// Whether this much could be had if nobody had anything.
    pub fn could_ever(&self, cpu_millis: u64) -> bool {
        cpu_millis.div_ceil(1000).max(1) <= self.all.len() as u64
    }

    /// Marks CPUs as taken that an attempt from before has.
    pub fn taken_before(&mut self, cpus: &[usize]) {
        self.free.retain(|cpu| !cpus.contains(cpu));
    }

    pub fn give_back(&mut self, cpus: &[usize]) {
        self.free.extend(cpus.iter().filter(|cpu| self.all.contains(cpu)));
    }

    /// Where attempts run that asked for no CPUs of their own; `None` for everywhere.
    pub fn shared(&self) -> Option<Vec<usize>> {
        (!self.free.is_empty() && self.free.len() < self.all.len())
            .then(|| self.free.iter().copied().collect())
    }

    pub fn all(&self) -> Vec<usize> {
        self.all.iter().copied().collect()
    }

    pub fn free_count(&self) -> usize {
        self.free.len()
    }
}

/// Binds a thread (the calling one for `None`) to these CPUs.
pub(super) fn bind(thread: Option<rustix::process::Pid>, cpus: &[usize]) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    sched_setaffinity(thread, &set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_cpus_belong_to_one() {
        let mut pins = Pins::of((0..4).collect());
        assert_eq!(pins.take(1500), Some(vec![0, 1]));
        assert_eq!(pins.shared(), Some(vec![2, 3]));
        assert_eq!(pins.take(1000), Some(vec![2]));
        assert_eq!(pins.take(2000), None, "one is left");
        assert!(pins.could_ever(4000) && !pins.could_ever(4001));
        pins.give_back(&[0, 1]);
        assert_eq!(pins.take(3000), Some(vec![0, 1, 3]));
        assert_eq!((pins.take(1), pins.shared()), (None, None));
    }
}
