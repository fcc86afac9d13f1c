//! What a site chooses.

use std::str::FromStr;

use berth_policy_sdk::{Error, Settings, bad_settings};

use crate::formula::Weights;

/// How accounts become an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// GO-Docker's sum of weighted figures.
    Weights(Weights),
    /// Slurm's classic factor over groups, projects and users.
    Shares { cost: Cost, dampening: f64 },
    /// Slurm's Fair Tree over the same levels.
    Tree(Cost),
}

/// What a second on a node costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub of_cpu: f64,
    pub of_memory_gib: f64,
}

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choices {
    pub method: Method,
    /// Use counts as the sums of the quotas' period rather than fading.
    pub is_window: bool,
    /// For so long more than it has run, each running job counts.
    pub advance_ms: u64,
    /// GO-Docker to the letter.
    pub is_compat: bool,
}

/// A minute is longer than plans are apart and shorter than what is worth being fair about.
const USUAL_ADVANCE_MS: u64 = 60_000;

/// A year; nothing overflows with it.
const MOST_ADVANCE_MS: u64 = 366 * 24 * 3_600_000;

const MOST_WEIGHT: f64 = 1e6;

impl Choices {
    /// What the settings say.
    ///
    /// # Errors
    /// When they make no sense.
    pub fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let is_compat = word(settings, "compat", &[("false", false), ("true", true)])?;
        let method = match settings.take("method").as_deref().map(str::trim) {
            None | Some("weights") => Method::Weights(weights(settings)?),
            Some("shares") if !is_compat => {
                Method::Shares { cost: cost(settings)?, dampening: dampening(settings)? }
            }
            Some("tree") if !is_compat => Method::Tree(cost(settings)?),
            Some(other @ ("shares" | "tree")) => {
                let words = format!("compat = true goes with method = \"weights\", not with {other:?}");
                return Err(bad_settings(words));
            }
            Some(other) => {
                let words = format!("method = {other:?} is none of weights, shares and tree");
                return Err(bad_settings(words));
            }
        };
        if is_compat {
            // Those that it leaves no choice in are refused like any that nobody reads.
            return Ok(Self { method, is_window: true, advance_ms: 0, is_compat });
        }
        let advance_ms = settings.span_ms("advance")?.unwrap_or(USUAL_ADVANCE_MS);
        if advance_ms > MOST_ADVANCE_MS {
            return Err(bad_settings("advance is more than 366d"));
        }
        let is_window = word(settings, "use", &[("faded", false), ("window", true)])?;
        Ok(Self { method, is_window, advance_ms, is_compat })
    }
}

/// One of some words, of which the first holds when none is given.
fn word(settings: &mut Settings, key: &str, words: &[(&str, bool)]) -> Result<bool, Error> {
    let Some(given) = settings.take(key) else { return Ok(false) };
    let found = words.iter().find(|(word, _)| *word == given.trim());
    found.map(|&(_, value)| value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|&(word, _)| word).collect();
        bad_settings(format!("{key} = {given:?} is neither {}", words.join(" nor ")))
    })
}

fn number(settings: &mut Settings, key: &str, usual: f64) -> Result<f64, Error> {
    let what = format!("a number from 0 to {MOST_WEIGHT}");
    match settings.parse::<Finite>(key, &what)? {
        None => Ok(usual),
        Some(Finite(number)) => Ok(number),
    }
}

/// A number that may be a weight.
struct Finite(f64);

impl FromStr for Finite {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number: f64 = text.parse().map_err(drop)?;
        if (0.0..=MOST_WEIGHT).contains(&number) { Ok(Self(number.abs())) } else { Err(()) }
    }
}

fn weights(settings: &mut Settings) -> Result<Weights, Error> {
    let usual = Weights::default();
    Ok(Weights {
        wait: number(settings, "wait-weight", usual.wait)?,
        user: [
            number(settings, "user-time-weight", usual.user[0])?,
            number(settings, "user-cpu-weight", usual.user[1])?,
            number(settings, "user-memory-weight", usual.user[2])?,
        ],
        project: [
            number(settings, "project-time-weight", usual.project[0])?,
            number(settings, "project-cpu-weight", usual.project[1])?,
            number(settings, "project-memory-weight", usual.project[2])?,
        ],
        user_priority: number(settings, "user-priority-weight", usual.user_priority)?,
        project_priority: number(settings, "project-priority-weight", usual.project_priority)?,
    })
}

fn cost(settings: &mut Settings) -> Result<Cost, Error> {
    let cost = Cost {
        of_cpu: number(settings, "cpu-cost", 1.0)?,
        of_memory_gib: number(settings, "memory-cost", 0.0)?,
    };
    if cost.of_cpu + cost.of_memory_gib == 0.0 {
        return Err(bad_settings("cpu-cost and memory-cost are both 0: nothing that jobs use would count"));
    }
    Ok(cost)
}

fn dampening(settings: &mut Settings) -> Result<f64, Error> {
    match number(settings, "dampening", 1.0)? {
        0.0 => Err(bad_settings("dampening is 0, and it divides")),
        dampening => Ok(dampening),
    }
}
