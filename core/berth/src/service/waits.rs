//! What a job has waited for, over time, and what would make it fit.

use berth_api::{Suggestion, Waited};
use berth_engine::{Bar, LiveJob, Spell, Suggestion as Change};
use berth_model::{EventKind, Hold, JobSpec, JobState, Resources, UtcMs, format_bytes};
use berth_store::StoredEvent;

/// The most that are told of one job.
const MOST: usize = 16;

/// A time that a job waited, before it is written for people.
struct Span {
    kind: &'static str,
    text: String,
    since: UtcMs,
    until: Option<UtcMs>,
}

/// All that a job has waited for, oldest first: holds and returns from its history, the rest from the engine.
pub fn waited(
    job: &LiveJob,
    spec: &JobSpec,
    history: &[StoredEvent],
    spells: &[Spell],
    now: UtcMs,
) -> Vec<Waited> {
    let mut spans = holds(job, spec, history, now);
    spans.extend(spells.iter().map(spell));
    for event in history {
        if let EventKind::GivenBack { reason, .. } = &event.record.kind {
            let (at, text) = (event.record.at, format!("given back by the back end: {reason}"));
            spans.push(Span { kind: "given-back", text, since: at, until: Some(at) });
        }
    }
    spans.sort_by_key(|span| (span.since, span.until.is_none()));
    let surplus = spans.len().saturating_sub(MOST);
    let told = spans.into_iter().skip(surplus).map(|span| Waited {
        kind: span.kind.to_owned(),
        text: span.text,
        since: span.since.to_string(),
        until: span.until.map(|at| at.to_string()),
    });
    told.collect()
}

/// Since when the reason of this kind holds; `None` where that is not known.
pub fn since(waited: &[Waited], kind: &str) -> Option<String> {
    waited.iter().rev().find(|one| one.kind == kind && one.until.is_none()).map(|one| one.since.clone())
}

fn spell(spell: &Spell) -> Span {
    let (kind, text) = match spell.bar {
        Bar::Turn => ("scheduler", "there was room; the scheduler had others start first"),
        Bar::NoRoom => ("no-room", "no node had room"),
        Bar::Away => ("unreachable", "its executor could not be reached"),
        Bar::Closed => ("closed", "no node that it may run on took jobs like it"),
        Bar::ArrayBound => ("array-bound", "as many tasks of its array ran as may at once"),
    };
    Span { kind, text: text.to_owned(), since: spell.since, until: spell.until }
}

fn held(hold: Hold) -> (&'static str, &'static str) {
    match hold {
        Hold::User => ("held", "held by its owner"),
        Hold::Administrator => ("held", "held by an administrator"),
        Hold::BeginTime => ("begin-time", "its begin time had not come"),
        Hold::Dependency => ("dependency", "waited for other jobs"),
        Hold::Inputs => ("held", "its inputs were being fetched"),
    }
}

/// Holds with their times. Those that it was submitted with stand in its spec, later ones in its history.
fn holds(job: &LiveJob, spec: &JobSpec, history: &[StoredEvent], now: UtcMs) -> Vec<Span> {
    let holds_now = match &job.moving.state {
        JobState::Held { holds } => *holds,
        _ => berth_model::Holds::NONE,
    };
    let mut spans = Vec::new();
    for hold in Hold::ALL {
        let at_first = match hold {
            Hold::User => spec.hold,
            Hold::BeginTime => spec.begin.is_some_and(|begin| begin > job.submitted),
            Hold::Dependency => !spec.dependencies.is_empty(),
            Hold::Administrator | Hold::Inputs => false,
        };
        let mut open = at_first.then_some(job.submitted);
        let (kind, text) = held(hold);
        let mut close = |open: &mut Option<UtcMs>, until: Option<UtcMs>| {
            let span = open.take().map(|since| Span { kind, text: text.to_owned(), since, until });
            // What lasted no time at all was no wait.
            spans.extend(span.filter(|span| span.until != Some(span.since)));
        };
        for event in history {
            match &event.record.kind {
                EventKind::Held { hold: of, .. } if *of == hold => {
                    open.get_or_insert(event.record.at);
                }
                EventKind::Released { hold: of, .. } if *of == hold => {
                    close(&mut open, Some(event.record.at))
                }
                // From here on it waited for nothing.
                EventKind::Starting { .. } | EventKind::Ended { .. } => {
                    close(&mut open, Some(event.record.at))
                }
                _ => {}
            }
        }
        match holds_now.has(hold) {
            true => close(&mut open, None),
            // A begin time passes without an entry of its own.
            false => close(
                &mut open,
                spec.begin.filter(|_| hold == Hold::BeginTime).or(Some(job.moving.eligible.min(now))),
            ),
        }
    }
    spans
}

/// What would make a job fit, in words.
pub fn suggestion(change: &Change) -> Suggestion {
    let told =
        |kind: &str, text: String| Suggestion { kind: kind.to_owned(), text, jobs: Vec::new(), at: None };
    let time = |at: &Option<UtcMs>| at.map(|at| at.to_string());
    match change {
        Change::Less { asked, instead, node } => {
            told("less", format!("if it asked for {}, it would fit on {node} now", less(asked, instead)))
        }
        Change::Ends { jobs, by, node } => {
            let names: Vec<String> = jobs.iter().map(ToString::to_string).collect();
            let limit = if by.is_some() { "" } else { "; not all of them have a time limit" };
            let text = match names.as_slice() {
                [one] if by.is_none() => {
                    format!("when job {one} has ended, which has no time limit, it fits on {node}")
                }
                [one] => format!("when job {one} has ended, it fits on {node}"),
                several => format!("when jobs {} have ended, it fits on {node}{limit}", several.join(", ")),
            };
            Suggestion { jobs: jobs.iter().map(|job| job.0).collect(), at: time(by), ..told("ends", text) }
        }
        Change::Unheld { hold: Hold::Dependency, at, on, node } => {
            let job = on.map_or_else(|| "the job that it waits for".to_owned(), |on| format!("job {on}"));
            let text = format!("when {job} has ended as it has to; there is room now on {node}");
            Suggestion {
                jobs: on.iter().map(|job| job.0).collect(),
                at: time(at),
                ..told("dependency", text)
            }
        }
        Change::Unheld { hold: Hold::BeginTime, at, node, .. } => {
            let text = format!("at its begin time; there is room now on {node}");
            Suggestion { at: time(at), ..told("begin-time", text) }
        }
        Change::Unheld { node, .. } => {
            told("release", format!("if it were released, it would fit on {node} now"))
        }
        Change::Unbound { at_once, node } => {
            let text = format!(
                "if more than {at_once} of its tasks might run at once, one more would fit on {node} now"
            );
            told("array-bound", text)
        }
    }
}

/// Only what differs: `2 CPU instead of 4`.
fn less(asked: &Resources, instead: &Resources) -> String {
    let cpus = crate::output::cpus;
    let mut parts = Vec::new();
    if asked.cpu_millis != instead.cpu_millis {
        parts.push(format!("{} CPU instead of {}", cpus(instead.cpu_millis), cpus(asked.cpu_millis)));
    }
    if asked.memory_bytes != instead.memory_bytes {
        let (less, more) = (format_bytes(instead.memory_bytes), format_bytes(asked.memory_bytes));
        parts.push(format!("{less} memory instead of {more}"));
    }
    if asked.gpus != instead.gpus {
        parts.push(format!("{} GPU instead of {}", instead.gpus, asked.gpus));
    }
    parts.join(" and ")
}

#[cfg(test)]
mod tests {
    use berth_model::JobId;

    use super::*;

    #[test]
    fn what_would_help_is_said_in_a_sentence() {
        let of = |cpu_millis, memory_mib: u64, gpus| Resources {
            cpu_millis,
            memory_bytes: memory_mib << 20,
            gpus,
        };
        let node = || "local/here".to_owned();
        let soon = Some(UtcMs(1_763_715_600_000));
        let unheld = |hold, at, on: Option<u64>| Change::Unheld { hold, at, on: on.map(JobId), node: node() };
        let ends = |jobs: &[u64], by| Change::Ends {
            jobs: jobs.iter().copied().map(JobId).collect(),
            by,
            node: node(),
        };
        let changes = [
            Change::Less { asked: of(4000, 1024, 0), instead: of(2500, 1024, 0), node: node() },
            Change::Less { asked: of(4000, 1024, 2), instead: of(2000, 512, 1), node: node() },
            ends(&[17], soon),
            ends(&[17], None),
            ends(&[17, 18], soon),
            ends(&[17, 18], None),
            unheld(Hold::User, None, None),
            unheld(Hold::BeginTime, soon, None),
            unheld(Hold::Dependency, None, Some(3)),
            Change::Unbound { at_once: 2, node: node() },
        ];
        let told = |change: &Change| {
            let Suggestion { kind, text, at, .. } = suggestion(change);
            format!("{kind}: {text}{}", at.map(|at| format!(" [{at}]")).unwrap_or_default())
        };
        insta::assert_snapshot!(changes.iter().map(told).collect::<Vec<_>>().join("\n"));
    }
}
