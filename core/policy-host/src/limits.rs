//! What a policy may use, and who watches over it.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

use crate::PolicyKind;

/// What a policy may use. Every limit has a default for its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor time of one call. Waiting for a host function does not count; see `wait`.
    pub call: Duration,
    /// Memory of one instance.
    pub memory_bytes: u64,
    /// Size of what passes from the policy to the host in one call: its answer, or the arguments of a
    /// host function.
    pub answer_bytes: usize,
    /// Entries of each list in an answer.
    pub answer_items: usize,
    /// Length of texts meant for people; longer ones are cut.
    pub words_bytes: usize,
    /// Lines to the log in one call; further ones are dropped and counted.
    pub log_lines: u32,
    /// How long host functions that wait, such as look-ups of users, may take in one call, all together.
    pub wait: Duration,
}

impl Limits {
    /// The usual limits for policies of a kind.
    #[must_use]
    pub fn for_kind(kind: PolicyKind) -> Self {
        let small = Self {
            call: Duration::from_millis(250),
            memory_bytes: 64 << 20,
            answer_bytes: 1 << 20,
            answer_items: 10_000,
            words_bytes: 1000,
            log_lines: 100,
            wait: Duration::from_secs(5),
        };
        match kind {
            // A million pending jobs are told to it in calls of 10,000 and stay in its memory.
            PolicyKind::Scheduler => Self {
                call: Duration::from_millis(500),
                memory_bytes: 512 << 20,
                answer_bytes: 16 << 20,
                answer_items: 100_000,
                ..small
            },
            PolicyKind::Watcher => Self { answer_bytes: 4 << 20, ..small },
            PolicyKind::Auth | PolicyKind::Network | PolicyKind::Admit => small,
        }
    }
}

/// Measures a call. Processor time of the calling thread, so that a busy machine is not held against
/// a policy; each instance is used by one thread.
#[derive(Debug)]
pub(crate) struct CallClock {
    started: Duration,
    limit: Duration,
}

impl CallClock {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { started: processor_time(), limit }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    pub(crate) fn is_over(&self) -> bool {
        processor_time().saturating_sub(self.started) > self.limit
    }
}

fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.try_into().unwrap_or(0), spent.tv_nsec.try_into().unwrap_or(0))
}

/// Wall time of a call, for the figures in listings.
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let before = Instant::now();
    let answer = call();
    (answer, before.elapsed())
}

/// Bounds memory and tables of one instance, and remembers that it had to refuse: a guest that cannot
/// get memory mostly traps, and that is to be told apart from a bug.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes: usize,
    used_bytes: usize,
    table_elements: usize,
    refused: bool,
}

impl Limiter {
    /// All tables of an instance together; each element is a pointer.
    const TABLE_ELEMENTS: usize = 1 << 20;

    pub(crate) fn new(memory_bytes: u64) -> Self {
        let memory_bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        Self { memory_bytes, used_bytes: 0, table_elements: 0, refused: false }
    }

    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Whether it has refused since this was asked last.
    pub(crate) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self.used_bytes.saturating_add(desired.saturating_sub(current));
        let granted = after <= self.memory_bytes && maximum.is_none_or(|maximum| desired <= maximum);
        if granted {
            self.used_bytes = after;
        } else {
            self.refused = true;
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self.table_elements.saturating_add(desired.saturating_sub(current));
        let granted = after <= Self::TABLE_ELEMENTS;
        if granted {
            self.table_elements = after;
        } else {
            self.refused = true;
        }
        Ok(granted)
    }

    // Guests in languages with a large run time bring some twenty core instances.
    fn instances(&self) -> usize {
        200
    }

    fn memories(&self) -> usize {
        20
    }

    fn tables(&self) -> usize {
        100
    }
}
