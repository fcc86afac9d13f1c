//! What has kept jobs from starting, over time: noted when a plan has been carried out, for kinds of jobs instead of
//! single ones, so that a million waiting jobs cost nothing here.

use std::collections::VecDeque;

use berth_model::{JobId, Resources, UtcMs};
use rustc_hash::FxHashMap;

use crate::{
    Engine, PlacementId,
    job::{Job, Kind},
};

/// What kept a job that waits from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// There was room: the scheduler had others start first.
    Turn,
    /// No node had room.
    NoRoom,
    /// Its executor could not be reached.
    Away,
    /// No node that it may run on took jobs like it.
    Closed,
    /// As many tasks of its array ran as may.
    ArrayBound,
}

/// A time that a job waited for one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spell {
    /// For what.
    pub bar: Bar,
    /// From when on, as far as is known: what was before Berth's start is not.
    pub since: UtcMs,
    /// Until when; `None` for what it waits for now.
    pub until: Option<UtcMs>,
}

/// The most that are kept of one kind of jobs.
const MOST_SPELLS: usize = 8;
/// The most kinds of jobs of which they are kept.
const MOST_KINDS: usize = 256;
/// What is over so soon is not worth telling: where jobs follow each other there is room in between, too.
const BLINK_MS: u64 = 2000;
/// Where plans follow each other quickly, not each of them is looked at.
const NOT_WITHIN_MS: u64 = 100;

/// Spells that follow each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(VecDeque<(UtcMs, Bar)>);

impl Series {
    fn note(&mut self, now: UtcMs, bar: Bar) {
        let Some(&(since, last)) = self.0.back() else {
            self.0.push_back((now, bar));
            return;
        };
        if last == bar {
            return;
        }
        if now.since(since).as_millis() < u128::from(BLINK_MS) {
            self.0.pop_back();
            match self.0.back() {
                // It is again as it was before.
                Some(&(_, before)) if before == bar => return,
                _ => self.0.push_back((since, bar)),
            }
            return;
        }
        self.0.push_back((now, bar));
        if self.0.len() > MOST_SPELLS {
            self.0.pop_front();
        }
    }

    /// Those of a job that has waited since `from`.
    fn spells(&self, from: UtcMs) -> Vec<Spell> {
        let ends = self.0.iter().skip(1).map(|&(next, _)| Some(next)).chain([None]);
        let all = self.0.iter().zip(ends);
        all.filter(|(_, until)| until.is_none_or(|until| until > from))
            .map(|(&(since, bar), until)| Spell { bar, since: since.max(from), until })
            .collect()
    }
}

/// Jobs that fit where the others of their kind fit.
type JobKind = (PlacementId, Resources);

/// The series of all kinds of jobs that wait.
#[derive(Debug, Default)]
pub(crate) struct Spells {
    kinds: FxHashMap<JobKind, Series>,
    /// Oldest first, to be forgotten when there are too many.
    order: VecDeque<JobKind>,
    noted: Option<UtcMs>,
    /// When something may have changed last that has not been looked at.
    skipped: Option<UtcMs>,
}

impl Spells {
    /// Jobs of this kind wait from here on.
    pub(crate) fn expect(&mut self, placement: PlacementId, needs: Resources) {
        let kind = (placement, needs);
        if self.kinds.contains_key(&kind) {
            return;
        }
        self.kinds.insert(kind, Series::default());
        self.order.push_back(kind);
        if self.order.len() > MOST_KINDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.kinds.remove(&oldest);
        }
    }
}

impl Engine {
    /// Notes what keeps each kind of jobs, and each array with a bound, from starting now.
    pub(crate) fn note_spells(&mut self) {
        let now = self.now;
        let mut spells = std::mem::take(&mut self.telling.spells);
        if spells.noted.is_some_and(|at| now.since(at).as_millis() < u128::from(NOT_WITHIN_MS)) {
            spells.skipped = Some(now);
        } else {
            let at = spells.skipped.take().unwrap_or(now);
            spells.noted = Some(now);
            for ((placement, needs), series) in &mut spells.kinds {
                series.note(at, self.bar(*placement, needs));
            }
            for id in self.bounded_arrays() {
                let Some(bar) = self.jobs.get(&id).map(|job| self.bar_of(job)) else { continue };
                self.with_array(id, |array| array.waited.note(at, bar));
            }
        }
        self.telling.spells = spells;
    }

    fn bounded_arrays(&self) -> Vec<JobId> {
        let bounded = |id: &&JobId| {
            let array = self.jobs.get(id).and_then(|job| job.array());
            array.is_some_and(|array| array.range.at_once().is_some())
        };
        self.arrays.iter().filter(bounded).take(MOST_KINDS).copied().collect()
    }

    fn bar(&self, placement: PlacementId, needs: &Resources) -> Bar {
        let executor = self.nodes.executor(self.nodes.executor_of(placement));
        match executor.is_some_and(|state| state.known && state.away.is_none()) {
            false => Bar::Away,
            true if self.nodes.taking(placement).next().is_none() => Bar::Closed,
            true if self.nodes.first_fit(placement, needs).is_none() => Bar::NoRoom,
            true => Bar::Turn,
        }
    }

    fn bar_of(&self, job: &Job) -> Bar {
        let bound =
            job.array().is_some_and(|array| array.range.at_once().is_some() && array.startable() == 0);
        if bound { Bar::ArrayBound } else { self.bar(job.placement, &job.needs) }
    }

    /// What a job that waits has waited for, oldest first; the last one is what it waits for now.
    pub(crate) fn spells(&self, job: &Job) -> Vec<Spell> {
        let spells = &self.telling.spells;
        let mut series = match &job.kind {
            Kind::Array(array) if array.range.at_once().is_some() => array.waited.clone(),
            Kind::Array(_) | Kind::Plain | Kind::Task { .. } => {
                spells.kinds.get(&(job.placement, job.needs)).cloned().unwrap_or_default()
            }
        };
        // What has not been noted yet has been so since the last chance to.
        let at = spells.skipped.unwrap_or(self.now);
        series.note(at.max(job.eligible), self.bar_of(job));
        series.spells(job.eligible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UtcMs {
        UtcMs(seconds * 1000)
    }

    fn series(noted: &[(u64, Bar)]) -> Series {
        let mut series = Series::default();
        noted.iter().for_each(|&(seconds, bar)| series.note(at(seconds), bar));
        series
    }

    fn spell(bar: Bar, since: u64, until: Option<u64>) -> Spell {
        Spell { bar, since: at(since), until: until.map(at) }
    }

    #[test]
    fn one_thing_after_the_other_is_told_from_when_the_job_waited() {
        let series = series(&[(10, Bar::NoRoom), (20, Bar::NoRoom), (30, Bar::Away), (40, Bar::Turn)]);
        let (no_room, away) = (spell(Bar::NoRoom, 10, Some(30)), spell(Bar::Away, 30, Some(40)));
        assert_eq!(series.spells(at(0)), [no_room, away, spell(Bar::Turn, 40, None)]);
        let later = spell(Bar::Away, 35, Some(40));
        assert_eq!(series.spells(at(35)), [later, spell(Bar::Turn, 40, None)]);
        assert_eq!(series.spells(at(50)), [spell(Bar::Turn, 50, None)]);
    }

    #[test]
    fn what_is_over_at_once_is_not_told() {
        let blinks = series(&[(10, Bar::NoRoom), (20, Bar::Turn), (21, Bar::NoRoom)]);
        assert_eq!(blinks.spells(at(0)), [spell(Bar::NoRoom, 10, None)]);
        let turns = series(&[(10, Bar::NoRoom), (20, Bar::Turn), (21, Bar::ArrayBound)]);
        let last = spell(Bar::ArrayBound, 20, None);
        assert_eq!(turns.spells(at(0)), [spell(Bar::NoRoom, 10, Some(20)), last]);
        let first = series(&[(10, Bar::Turn), (11, Bar::NoRoom)]);
        assert_eq!(first.spells(at(0)), [spell(Bar::NoRoom, 10, None)]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let bars = [Bar::NoRoom, Bar::Turn];
        let noted: Vec<(u64, Bar)> =
            (0..100).zip(bars.into_iter().cycle()).map(|(at, bar)| (at * 10, bar)).collect();
        assert_eq!(series(&noted).spells(at(0)).len(), MOST_SPELLS);
        let mut spells = Spells::default();
        for cpu_millis in 0..1000 {
            spells.expect(0, Resources { cpu_millis, ..Resources::default() });
        }
        assert_eq!((spells.kinds.len(), spells.order.len()), (MOST_KINDS, MOST_KINDS));
    }
}
