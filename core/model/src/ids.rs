//! Numbers and names of jobs and attempts.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A job's number, unique within a cluster and never used again. Tasks of an array have one each:
/// an array of N takes N + 1 consecutive numbers, its own first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl JobId {
    /// Stands for the site itself where a history has what concerns no single job. No job has this number.
    pub const SITE: Self = Self(0);
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How people write a job: `12`, or `12.7` for the task of array 12 with index 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobRef {
    /// The job, or the array that the task belongs to.
    pub job: JobId,
    /// The array index, when one task is meant.
    pub index: Option<u64>,
}

/// Text that is not a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a job; write a number such as 12, or 12.7 for one task of an array")]
pub struct JobRefError {
    text: String,
}

impl FromStr for JobRef {
    type Err = JobRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || JobRefError { text: text.to_owned() };
        let (job, index) = match text.split_once('.') {
            Some((job, index)) => (job, Some(digits(index).ok_or_else(wrong)?)),
            None => (text, None),
        };
        Ok(Self { job: JobId(digits(job).ok_or_else(wrong)?), index })
    }
}

/// Plain digits only: `u64::from_str` also takes a leading plus.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}.{index}", self.job),
            None => self.job.fmt(f),
        }
    }
}

/// Which execution of a job: the attempt, and how often the back end gave this attempt back for want
/// of room. A return gets a number of its own so that a late launch under the old name is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from 1; a rerun adds one.
    pub number: u32,
    /// Counts no-room returns of this attempt, from 0.
    pub returned: u32,
}

impl Attempt {
    /// The attempt that follows when a person asks for another one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number.saturating_add(1), returned: 0 }
    }

    /// The same attempt under a new name, after the back end had no room for it.
    #[must_use]
    pub fn given_back(self) -> Self {
        Self { returned: self.returned.saturating_add(1), ..self }
    }
}

/// The name by which a back end carries an attempt: `CLUSTER-JOB-ATTEMPT`, with `rN` after the
/// attempt when it was given back N times, such as `berth-12-1` or `berth-12-1r2`.
///
/// Lower-case letters, digits and dashes only, so that it is a valid name for containers, services,
/// Kubernetes objects, SGE jobs and files alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptName(String);

/// A name that no attempt of this cluster can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} does not name an attempt of cluster {cluster:?}")]
pub struct AttemptNameError {
    name: String,
    cluster: String,
}

impl AttemptName {
    /// Derives the name; the same arguments always give the same name.
    #[must_use]
    pub fn new(cluster: &str, job: JobId, attempt: Attempt) -> Self {
        let Attempt { number, returned } = attempt;
        Self(match returned {
            0 => format!("{cluster}-{job}-{number}"),
            _ => format!("{cluster}-{job}-{number}r{returned}"),
        })
    }

    /// Which job and attempt the name stands for.
    ///
    /// # Errors
    /// When it does not have the form of a name of `cluster`.
    pub fn parse(cluster: &str, name: &str) -> Result<(JobId, Attempt), AttemptNameError> {
        let parts = || {
            let (job, attempt) = name.strip_prefix(cluster)?.strip_prefix('-')?.split_once('-')?;
            let (number, returned) = attempt.split_once('r').unwrap_or((attempt, "0"));
            let small = |text| digits(text).and_then(|value| u32::try_from(value).ok());
            Some((JobId(digits(job)?), Attempt { number: small(number)?, returned: small(returned)? }))
        };
        parts().ok_or_else(|| AttemptNameError { name: name.to_owned(), cluster: cluster.to_owned() })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AttemptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_and_a_task_are_read_as_people_write_them() {
        assert_eq!("12".parse(), Ok(JobRef { job: JobId(12), index: None }));
        assert_eq!("12.7".parse(), Ok(JobRef { job: JobId(12), index: Some(7) }));
        for wrong in ["", "x", "12.", ".7", "+3", "-1", "1.2.3", "99999999999999999999"] {
            assert!(wrong.parse::<JobRef>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_attempt_is_known_by_its_name() {
        for (attempt, name) in [
            (Attempt { number: 1, returned: 0 }, "berth-a-12-1"),
            (Attempt { number: 2, returned: 3 }, "berth-a-12-2r3"),
        ] {
            let made = AttemptName::new("berth-a", JobId(12), attempt);
            assert_eq!(made.as_str(), name);
            assert_eq!(AttemptName::parse("berth-a", name), Ok((JobId(12), attempt)));
        }
        for wrong in ["berth-12-1", "berth-a-12", "berth-a-x-1", "berth-a-12-1rr2", "berth-a-12-+1"] {
            assert!(AttemptName::parse("berth-a", wrong).is_err(), "{wrong}");
        }
    }
}
