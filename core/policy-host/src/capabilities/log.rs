//! Writing to Berth's log, bounded in length and number.

use crate::{Limits, bindings::v0_1_0::log, instance::Guest, words::shown};

/// A line that a policy wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How grave it is.
    pub level: tracing::Level,
    /// What it says.
    pub message: String,
}

/// Counts the lines of a call.
#[derive(Debug)]
pub(crate) struct LogGate {
    most: u32,
    words_bytes: usize,
    written: u32,
}

impl LogGate {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { most: limits.log_lines, words_bytes: limits.words_bytes, written: 0 }
    }

    pub(crate) fn begin_call(&mut self) {
        self.written = 0;
    }

    /// Says once how many lines were too many.
    pub(crate) fn end_call(&mut self, policy: &str) {
        let dropped = self.written.saturating_sub(self.most);
        if dropped > 0 {
            tracing::warn!(policy, dropped, "lines of a policy dropped");
        }
        self.written = 0;
    }

    fn lets_through(&mut self) -> bool {
        self.written = self.written.saturating_add(1);
        self.written <= self.most
    }
}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        if !self.log.lets_through() {
            return Ok(());
        }
        let message = shown(&message, self.log.words_bytes);
        let policy = &*self.policy;
        let level = match level {
            log::Level::Debug => tracing::Level::DEBUG,
            log::Level::Info => tracing::Level::INFO,
            log::Level::Warn => tracing::Level::WARN,
            log::Level::Error => tracing::Level::ERROR,
        };
        if let Some(log_to) = &self.grants.log_to {
            log_to(LogLine { level, message });
            return Ok(());
        }
        match level {
            tracing::Level::ERROR => tracing::error!(target: "berth::policy", policy, "{message}"),
            tracing::Level::WARN => tracing::warn!(target: "berth::policy", policy, "{message}"),
            tracing::Level::INFO => tracing::info!(target: "berth::policy", policy, "{message}"),
            _ => tracing::debug!(target: "berth::policy", policy, "{message}"),
        }
        Ok(())
    }
}
