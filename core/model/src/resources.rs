//! What a job asks for and a node has.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format_bytes;

/// An amount of each resource: asked for by a job, free or total on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// CPU in milli-cores.
    pub cpu_millis: u64,
    /// Memory in bytes; 0 asks for none in particular.
    pub memory_bytes: u64,
    /// Whole GPUs.
    pub gpus: u32,
}

impl Resources {
    /// Whether this much fits into `free`.
    #[must_use]
    pub fn fits_in(&self, free: &Self) -> bool {
        self.cpu_millis <= free.cpu_millis && self.memory_bytes <= free.memory_bytes && self.gpus <= free.gpus
    }

    /// What is left of `self` when `other` is taken; `None` when there is not enough.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        Some(Self {
            cpu_millis: self.cpu_millis.checked_sub(other.cpu_millis)?,
            memory_bytes: self.memory_bytes.checked_sub(other.memory_bytes)?,
            gpus: self.gpus.checked_sub(other.gpus)?,
        })
    }

    /// What is left of `self` when `other` is taken, with zero where there is not enough.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            gpus: self.gpus.saturating_sub(other.gpus),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }

    /// How many times this much fits into `free`.
    #[must_use]
    pub fn times_in(&self, free: &Self) -> u64 {
        let each = |want: u64, have: u64| have.checked_div(want).unwrap_or(u64::MAX);
        each(self.cpu_millis, free.cpu_millis)
            .min(each(self.memory_bytes, free.memory_bytes))
            .min(each(u64::from(self.gpus), u64::from(free.gpus)))
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.cpu_millis / 1000, self.cpu_millis % 1000);
        match rest {
            0 => write!(f, "{whole} CPU")?,
            _ => write!(f, "{} CPU", format!("{whole}.{rest:03}").trim_end_matches('0'))?,
        }
        if self.memory_bytes > 0 {
            write!(f, ", {} memory", format_bytes(self.memory_bytes))?;
        }
        if self.gpus > 0 {
            write!(f, ", {} GPU", self.gpus)?;
        }
        Ok(())
    }
}

/// The name of a node: `EXECUTOR/NODE`, unique within a Berth.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(pub String);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A node on which an execution of a job failed, or that failed under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedNode {
    /// `EXECUTOR/NODE`.
    pub node: String,
    /// The execution's number.
    pub attempt: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Resources = Resources { cpu_millis: 4000, memory_bytes: 8 << 30, gpus: 1 };

    #[test]
    fn what_fits_is_limited_by_the_scarcest() {
        let job = Resources { cpu_millis: 500, memory_bytes: 3 << 30, gpus: 0 };
        assert_eq!(job.times_in(&NODE), 2);
        assert!(job.fits_in(&NODE));
        assert!(!Resources { gpus: 2, ..job }.fits_in(&NODE));
        assert_eq!(NODE.checked_sub(&Resources { gpus: 2, ..job }), None);
    }

    #[test]
    fn resources_are_written_for_people() {
        assert_eq!(NODE.to_string(), "4 CPU, 8G memory, 1 GPU");
        assert_eq!(Resources { cpu_millis: 250, ..Resources::default() }.to_string(), "0.25 CPU");
    }
}
