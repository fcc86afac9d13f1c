//! What a site chooses.

use berth_policy_sdk::{Error, Settings, bad_settings};

/// How many waiting jobs get a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The first of each placement that cannot start; worked out anew with each plan.
    Easy,
    /// All of them, and they are kept.
    Conservative,
}

/// The settings.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    pub mode: Mode,
    /// Whether priority comes before the time of arrival.
    pub by_priority: bool,
    /// How long a job without a time limit is taken to run; `None` for ever.
    pub usual_limit_ms: Option<u64>,
    /// How many jobs of a placement are looked at that cannot start.
    pub depth: u32,
    /// How many expected starts a plan tells of.
    pub reservations: u32,
}

/// Beyond some hundreds, a job further down is hardly ever the one that fits; Slurm's sites set its
/// `bf_max_job_test` to about this. A plan with a million pending jobs stays at a few milliseconds.
const USUAL_DEPTH: u32 = 1000;

/// As many as are looked at, for one placement.
const USUAL_RESERVATIONS: u32 = 1000;

/// An answer has at most 100,000 entries in a list.
const MOST_RESERVATIONS: u32 = 100_000;

impl Choices {
    /// What the settings say.
    ///
    /// # Errors
    /// When they make no sense.
    pub fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let mode = match settings.take("mode").as_deref().map(str::trim) {
            None | Some("easy") => Mode::Easy,
            Some("conservative") => Mode::Conservative,
            Some(other) => {
                return Err(bad_settings(format!("mode = {other:?} is none of easy and conservative")));
            }
        };
        let by_priority = match settings.take("order").as_deref().map(str::trim) {
            None | Some("fcfs") => false,
            Some("priority") => true,
            Some(other) => {
                return Err(bad_settings(format!("order = {other:?} is none of fcfs and priority")));
            }
        };
        Ok(Self {
            mode,
            by_priority,
            usual_limit_ms: settings.span_ms("default-time-limit")?,
            depth: within(settings, "depth", 1, u32::MAX)?.unwrap_or(USUAL_DEPTH),
            reservations: within(settings, "reservations", 0, MOST_RESERVATIONS)?
                .unwrap_or(USUAL_RESERVATIONS),
        })
    }
}

fn within(settings: &mut Settings, key: &str, least: u32, most: u32) -> Result<Option<u32>, Error> {
    let what = format!("a whole number from {least} to {most}");
    match settings.parse(key, &what)? {
        Some(number) if !(least..=most).contains(&number) => {
            Err(bad_settings(format!("{key} = {number} is not {what}")))
        }
        number => Ok(number),
    }
}
