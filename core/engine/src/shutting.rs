//! What administrators close, open again, and what of that keeps jobs waiting.

use std::collections::BTreeMap;

use berth_model::{Closure, ClosureKind, JobId, WaitReason};
use rustc_hash::FxHashMap;

use crate::{
    Answer, Change, Engine, NodeId, PlacementId, Refusal,
    closures::{Party, Shut},
    job::Job,
    timers::Due,
};

/// What was stored of a closure.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredClosure {
    /// What it is.
    pub kind: ClosureKind,
    /// Its name among those of its kind.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// What was set.
    pub terms: Closure,
}

/// A closure as it is at the moment.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosureView {
    /// What was set.
    pub closure: StoredClosure,
    /// It has begun.
    pub on: bool,
    /// How many nodes it means that there are.
    pub nodes: u32,
}

impl Engine {
    /// Takes over a closure that an administrator sets, or takes it away.
    pub(crate) fn set_closure(
        &mut self,
        kind: ClosureKind,
        name: &str,
        by: &str,
        version: u64,
        terms: Option<Closure>,
    ) -> Result<Answer, Refusal> {
        let what = format!("{kind} {name}");
        let terms = terms.map(|terms| Closure { by: by.to_owned(), ..terms });
        let before = self.nodes.closures.find(kind, name).map(|shut| (shut.version, shut.terms.clone()));
        let is = before.as_ref().map_or(0, |(version, _)| *version);
        if let Some(terms) = &terms {
            terms
                .check(kind, name, self.now)
                .map_err(|error| Refusal::Closure { closure: what.clone(), error })?;
        }
        if is != version {
            return Err(Refusal::ClosureChanged { closure: what, version: is });
        }
        let words = match (&before, &terms) {
            (None, None) => return Err(Refusal::NotClosed { closure: what }),
            (Some((_, before)), Some(terms)) if before == terms => return Ok(Answer::Version(is)),
            (Some(_), None) => format!("{what} taken away"),
            (None, Some(terms)) => format!("{what} made: {}", terms.told()),
            (Some(_), Some(terms)) => format!("{what} changed: {}", terms.told()),
        };
        if let (None, Some(terms)) = (&before, &terms) {
            self.check_meant(terms)?;
        }
        // Never one that a closure of this name had before it was taken away.
        let next = if terms.is_some() { self.now.0.max(is + 1) } else { 0 };
        self.act(by, words);
        self.put_closure(kind, name, terms.map(|terms| (next, terms)));
        Ok(Answer::Version(next))
    }

    /// A closure of nothing would be a mistake in a name.
    fn check_meant(&self, terms: &Closure) -> Result<(), Refusal> {
        for pattern in &terms.nodes {
            let known = self.nodes.all().any(|(id, _)| pattern.matches(&self.node_name(id)));
            if !known && !pattern.has_gaps() {
                return Err(Refusal::NoNodeSo { node: pattern.to_string() });
            }
        }
        Ok(())
    }

    /// Writes it and lets it count.
    fn put_closure(&mut self, kind: ClosureKind, name: &str, terms: Option<(u64, Closure)>) {
        let (version, stored) = match &terms {
            Some((version, terms)) => (*version, Some(Box::new(terms.clone()))),
            None => (0, None),
        };
        self.out.changes.push(Change::Closure { kind, name: name.to_owned(), version, terms: stored });
        let apart = terms.as_ref().is_some_and(|(_, terms)| self.nodes.closures.tells_apart(terms));
        if let Some(until) = terms.as_ref().and_then(|(_, terms)| terms.until) {
            self.timers.set(until, Due::Opening);
        }
        self.nodes.set_closure(kind, name, terms, &mut self.names);
        if apart {
            self.tell_jobs_apart();
        }
        self.telling.wanted = true;
    }

    /// What was stored.
    pub(crate) fn bring_back_closure(&mut self, stored: StoredClosure) {
        let StoredClosure { kind, name, version, terms } = stored;
        if let Some(until) = terms.until {
            self.timers.set(until, Due::Opening);
        }
        self.nodes.set_closure(kind, &name, Some((version, terms)), &mut self.names);
    }

    /// Closures that are over go by themselves.
    pub(crate) fn open_again(&mut self) {
        for (kind, name) in self.nodes.closures.over() {
            let by = self.nodes.closures.find(kind, &name).map(|shut| shut.terms.by.clone());
            self.act(&by.unwrap_or_default(), format!("{kind} {name} is over, as was set"));
            self.put_closure(kind, &name, None);
        }
        self.telling.wanted = true;
    }

    /// Gives those jobs placements of their own that closures now tell apart from others. Only when one is set that
    /// does so: those that have one may keep it, since what it says is true of them.
    fn tell_jobs_apart(&mut self) {
        let mut parties: FxHashMap<(PlacementId, Party), PlacementId> = FxHashMap::default();
        let mut moved: Vec<(JobId, PlacementId)> = Vec::new();
        let mut ids: Vec<JobId> = self.jobs.keys().copied().collect();
        // Placements get their numbers in the order of the jobs, whatever the order of the table.
        ids.sort_unstable();
        for id in ids {
            let Some(job) = self.jobs.get(&id) else { continue };
            let party = self.nodes.closures.party(job.owner, job.project, job.cost().most_ms);
            let from = job.placement;
            let nodes = &mut self.nodes;
            let to = *parties.entry((from, party)).or_insert_with(|| nodes.placement_of(from, party));
            if to != from {
                moved.push((id, to));
            }
        }
        for (id, placement) in moved {
            self.move_to(id, placement);
        }
    }

    /// The closures that keep a job from nodes which it could run on otherwise, and where none of the others has room.
    pub(crate) fn closed_reasons(&self, job: &Job) -> Vec<WaitReason> {
        if self.nodes.closures.is_empty() || self.nodes.first_fit(job.placement, &job.needs).is_some() {
            return Vec::new();
        }
        let Some(wish) = self.nodes.wish_of(job.placement) else { return Vec::new() };
        let mut found: BTreeMap<(ClosureKind, &str), &Shut> = BTreeMap::new();
        let nodes = self.nodes.nodes_of(job.placement).iter().copied();
        let suits = |&id: &NodeId| {
            let ever = self.nodes.node(id).is_some_and(|node| job.needs.fits_in(&node.total));
            ever && self.nodes.is_open(id) && !wish.avoids.contains(&id)
        };
        for id in nodes.filter(suits) {
            for shut in self.nodes.closed_by(id, &wish.party) {
                found.insert((shut.kind, &shut.name), shut);
            }
        }
        let reason = |(_, shut): (_, &Shut)| WaitReason::Closed {
            kind: shut.kind,
            words: match shut.kind {
                ClosureKind::Reservation => format!("{}: {}", shut.name, shut.terms.told()),
                ClosureKind::Drain | ClosureKind::Maintenance => shut.terms.told(),
            },
            by: shut.terms.by.clone(),
            ahead: !shut.is_on(self.now),
        };
        found.into_iter().map(reason).collect()
    }

    /// All closures, by kind and name.
    #[must_use]
    pub fn closures(&self) -> Vec<ClosureView> {
        let names: Vec<String> = self.nodes.all().map(|(id, _)| self.node_name(id)).collect();
        let count = |shut: &Shut| names.iter().filter(|name| shut.terms.means(name)).count();
        let all = self.nodes.closures.iter();
        all.map(|shut| ClosureView {
            nodes: u32::try_from(count(shut)).unwrap_or(u32::MAX),
            ..self.closure_view(shut)
        })
        .collect()
    }

    fn closure_view(&self, shut: &Shut) -> ClosureView {
        let closure = StoredClosure {
            kind: shut.kind,
            name: shut.name.clone(),
            version: shut.version,
            terms: shut.terms.clone(),
        };
        ClosureView { closure, on: shut.is_on(self.now), nodes: 1 }
    }

    /// Those that mean a node.
    pub(crate) fn closures_of(&self, id: NodeId) -> Vec<ClosureView> {
        let node = self.nodes.node(id);
        let ids = node.into_iter().flat_map(|node| &node.closures);
        ids.filter_map(|&id| self.nodes.closures.get(id)).map(|shut| self.closure_view(shut)).collect()
    }
}
