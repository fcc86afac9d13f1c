//! Closures in the books: which nodes are closed to whom, now and for how long a job may run.
//!
//! Whether a node is closed to a job is part of what its placement says, so that policies are told of open nodes
//! only, and a closure that comes, begins or goes costs what the placements cost. Jobs that share a placement
//! otherwise share it here, too, unless there is a closure that tells them apart.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{Closure, ClosureKind, UtcMs};

use crate::{NameId, names::Names};

/// How long a job may run from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lasts {
    /// Nothing was to begin that it could have run into.
    #[default]
    Unasked,
    /// So many milliseconds, its grace among them.
    Millis(u64),
    /// Nobody knows.
    Endless,
}

/// What of a job closures tell apart; empty where none of them does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Party {
    /// Its owner, where a closure names them.
    pub(crate) user: Option<NameId>,
    /// Its project, likewise.
    pub(crate) project: Option<NameId>,
    pub(crate) lasts: Lasts,
}

/// Stands for a closure, for as long as the engine lives.
pub(crate) type ClosureId = u32;

/// A closure as it is set.
#[derive(Debug)]
pub(crate) struct Shut {
    pub(crate) kind: ClosureKind,
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) terms: Closure,
    users: BTreeSet<NameId>,
    projects: BTreeSet<NameId>,
}

impl Shut {
    fn lets_in(&self, party: &Party) -> bool {
        party.user.is_some_and(|user| self.users.contains(&user))
            || party.project.is_some_and(|project| self.projects.contains(&project))
    }

    /// Whether it has begun and is not over.
    pub(crate) fn is_on(&self, now: UtcMs) -> bool {
        self.terms.from.is_none_or(|from| from <= now) && !self.is_over(now)
    }

    pub(crate) fn is_over(&self, now: UtcMs) -> bool {
        self.terms.until.is_some_and(|until| until <= now)
    }

    /// Whether a start now of a job like this would break it.
    pub(crate) fn keeps_out(&self, party: &Party, now: UtcMs) -> bool {
        if self.is_over(now) || self.lets_in(party) {
            return false;
        }
        match (self.terms.from, party.lasts) {
            (None, _) => true,
            (Some(from), _) if from <= now => true,
            (Some(_), Lasts::Unasked) => false,
            (Some(from), Lasts::Millis(most)) => now.0.saturating_add(most) > from.0,
            (Some(_), Lasts::Endless) => true,
        }
    }
}

/// All closures.
#[derive(Debug, Default)]
pub(crate) struct Closures {
    all: BTreeMap<ClosureId, Shut>,
    by_name: BTreeMap<(ClosureKind, String), ClosureId>,
    next: ClosureId,
    /// How many closures name each user, and each project.
    users: BTreeMap<NameId, u32>,
    projects: BTreeMap<NameId, u32>,
    /// For how long jobs may run that have a placement of their own because of that.
    lasts: BTreeSet<u64>,
    /// The present instant.
    pub(crate) now: UtcMs,
    /// When nodes open or close the next time without anybody's doing.
    next_shift: Option<UtcMs>,
    /// Something was set or taken away since placements were told.
    changed: bool,
}

impl Closures {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn get(&self, id: ClosureId) -> Option<&Shut> {
        self.all.get(&id)
    }

    pub(crate) fn find(&self, kind: ClosureKind, name: &str) -> Option<&Shut> {
        self.all.get(self.by_name.get(&(kind, name.to_owned()))?)
    }

    /// All of them, by kind and name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Shut> {
        self.by_name.values().filter_map(|id| self.all.get(id))
    }

    /// Those that mean a node.
    pub(crate) fn of_node(&self, name: &str) -> Vec<ClosureId> {
        self.all.iter().filter(|(_, shut)| shut.terms.means(name)).map(|(&id, _)| id).collect()
    }

    /// Sets one in place of what there was under its name, or takes that away.
    pub(crate) fn set(
        &mut self,
        kind: ClosureKind,
        name: &str,
        terms: Option<(u64, Closure)>,
        names: &mut Names,
    ) {
        let key = (kind, name.to_owned());
        if let Some(before) = self.by_name.remove(&key).and_then(|id| self.all.remove(&id)) {
            uncount(&mut self.users, &before.users);
            uncount(&mut self.projects, &before.projects);
        }
        if let Some((version, terms)) = terms {
            let users: BTreeSet<NameId> = terms.users.iter().map(|name| names.number(name)).collect();
            let projects: BTreeSet<NameId> = terms.projects.iter().map(|name| names.number(name)).collect();
            users.iter().for_each(|&user| *self.users.entry(user).or_default() += 1);
            projects.iter().for_each(|&project| *self.projects.entry(project).or_default() += 1);
            let id = self.next;
            self.next += 1;
            self.all.insert(id, Shut { kind, name: key.1.clone(), version, terms, users, projects });
            self.by_name.insert(key, id);
        }
        self.changed = true;
    }

    /// Those that are over.
    pub(crate) fn over(&self) -> Vec<(ClosureKind, String)> {
        let over = self.iter().filter(|shut| shut.is_over(self.now));
        over.map(|shut| (shut.kind, shut.name.clone())).collect()
    }

    /// What of a job closures tell apart.
    pub(crate) fn party(&self, user: NameId, project: NameId, most_ms: Option<u64>) -> Party {
        if self.is_empty() {
            return Party::default();
        }
        let ahead = self.all.values().any(|shut| shut.terms.from.is_some_and(|from| from > self.now));
        Party {
            user: Some(user).filter(|user| self.users.contains_key(user)),
            project: Some(project).filter(|project| self.projects.contains_key(project)),
            lasts: match most_ms {
                _ if !ahead => Lasts::Unasked,
                Some(most) => Lasts::Millis(most),
                None => Lasts::Endless,
            },
        }
    }

    /// Whether jobs have to be told apart that were not before this one came.
    pub(crate) fn tells_apart(&self, terms: &Closure) -> bool {
        !terms.is_for_nobody() || terms.from.is_some_and(|from| from > self.now)
    }

    /// Jobs with a placement of their own may run for so long.
    pub(crate) fn note_lasts(&mut self, lasts: Lasts) {
        if let Lasts::Millis(most) = lasts
            && self.lasts.insert(most)
        {
            let shifts = self.all.values().filter_map(|shut| shut.terms.from);
            let closes = shifts.filter_map(|from| closes_at(from, most)).filter(|&at| at > self.now).min();
            self.next_shift = [self.next_shift, closes].into_iter().flatten().min();
        }
    }

    /// Whether nodes may have opened or closed since this was asked last.
    pub(crate) fn have_shifted(&mut self) -> bool {
        let due = self.next_shift.is_some_and(|at| at <= self.now);
        if !due && !std::mem::take(&mut self.changed) {
            return false;
        }
        self.changed = false;
        self.next_shift = self.next_shift();
        true
    }

    fn next_shift(&self) -> Option<UtcMs> {
        let now = self.now;
        let shifts = self.all.values().flat_map(|shut| {
            let from = shut.terms.from.filter(|&from| from > now);
            let closes = from.and_then(|from| {
                // The longest jobs that may still start now stop to be able to first.
                let most = self.lasts.range(..=from.0 - now.0).next_back()?;
                closes_at(from, *most)
            });
            [from, closes, shut.terms.until]
        });
        shifts.flatten().filter(|&at| at > now).min()
    }
}

/// The first instant at which what lasts so long would reach beyond another one.
fn closes_at(from: UtcMs, most: u64) -> Option<UtcMs> {
    from.0.checked_sub(most).and_then(|last| last.checked_add(1)).map(UtcMs)
}

fn uncount(counts: &mut BTreeMap<NameId, u32>, names: &BTreeSet<NameId>) {
    for name in names {
        if let Some(count) = counts.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shut(from: Option<u64>, until: Option<u64>, users: &[NameId]) -> Shut {
        Shut {
            kind: ClosureKind::Reservation,
            name: "r".into(),
            version: 1,
            terms: Closure {
                nodes: vec!["*".parse().unwrap()],
                from: from.map(UtcMs),
                until: until.map(UtcMs),
                users: BTreeSet::new(),
                projects: BTreeSet::new(),
                reason: String::new(),
                by: "root".into(),
            },
            users: users.iter().copied().collect(),
            projects: BTreeSet::new(),
        }
    }

    fn lasting(most: u64) -> Party {
        Party { lasts: Lasts::Millis(most), ..Party::default() }
    }

    #[test]
    fn who_would_reach_into_it_is_kept_out_before_it_begins() {
        let shut = shut(Some(100), Some(200), &[7]);
        assert!(!shut.keeps_out(&lasting(40), UtcMs(60)), "it is over when the window begins");
        assert!(shut.keeps_out(&lasting(40), UtcMs(61)));
        assert!(shut.keeps_out(&Party { lasts: Lasts::Endless, ..Party::default() }, UtcMs(0)));
        assert!(shut.keeps_out(&lasting(1), UtcMs(100)) && shut.keeps_out(&lasting(1), UtcMs(199)));
        assert!(!shut.keeps_out(&lasting(1), UtcMs(200)), "it is over");
        assert!(!shut.keeps_out(&Party { user: Some(7), ..lasting(500) }, UtcMs(150)));
        assert!(shut.keeps_out(&Party { user: Some(8), ..lasting(1) }, UtcMs(150)));
    }

    #[test]
    fn nodes_shift_when_a_window_comes_into_reach_begins_and_ends() {
        let mut names = Names::default();
        let mut closures = Closures::default();
        let terms = shut(Some(100), Some(200), &[]).terms;
        closures.set(ClosureKind::Reservation, "r", Some((1, terms)), &mut names);
        assert!(closures.have_shifted() && !closures.have_shifted());
        closures.note_lasts(Lasts::Millis(30));
        closures.note_lasts(Lasts::Millis(60));
        for (now, shifted) in
            [(40, false), (41, true), (70, false), (71, true), (99, false), (100, true), (200, true)]
        {
            closures.now = UtcMs(now);
            assert_eq!(closures.have_shifted(), shifted, "at {now}");
        }
    }

    #[test]
    fn jobs_are_told_apart_only_where_a_closure_does() {
        let mut names = Names::default();
        let (ann, rna) = (names.number("ann"), names.number("rna"));
        let mut closures = Closures::default();
        assert_eq!(closures.party(ann, rna, Some(5)), Party::default());
        let mut terms = shut(None, None, &[]).terms;
        closures.set(ClosureKind::Reservation, "r", Some((1, terms.clone())), &mut names);
        assert_eq!(closures.party(ann, rna, Some(5)), Party::default(), "it keeps out everybody alike");
        terms.users.insert("ann".into());
        terms.from = Some(UtcMs(9));
        closures.set(ClosureKind::Reservation, "r", Some((2, terms)), &mut names);
        let hers = Party { user: Some(ann), project: None, lasts: Lasts::Millis(5) };
        assert_eq!(closures.party(ann, rna, Some(5)), hers);
        closures.set(ClosureKind::Reservation, "r", None, &mut names);
        assert_eq!(closures.party(ann, rna, Some(5)), Party::default());
    }
}
