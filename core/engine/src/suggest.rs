//! What would make a waiting job fit. Nothing here is a guess: each change is tried on the books with the very
//! check that a start has to pass, and is told only when it passes.

use berth_model::{Hold, JobId, JobState, Resources, UtcMs};

use crate::{Engine, NodeId, PlacementId, job::Job};

/// A change after which there is room for a job by the engine's books. Whose turn it is then stays the scheduler
/// policy's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// It fits now if it asks for less.
    Less {
        /// What it asks for.
        asked: Resources,
        /// What would fit.
        instead: Resources,
        /// Where.
        node: String,
    },
    /// It fits once these have ended.
    Ends {
        /// The fewest that have to, on this node; in the order in which they end.
        jobs: Vec<JobId>,
        /// When the last of them ends at the latest; `None` when one has no time limit.
        by: Option<UtcMs>,
        /// Where.
        node: String,
    },
    /// It fits now once this hold is lifted, which is its only one.
    Unheld {
        /// The hold.
        hold: Hold,
        /// When that happens by itself at the latest, where that is known.
        at: Option<UtcMs>,
        /// The job that it waits for, for a dependency.
        on: Option<JobId>,
        /// Where.
        node: String,
    },
    /// A further task of the array fits now without its bound.
    Unbound {
        /// The bound.
        at_once: u32,
        /// Where.
        node: String,
    },
}

/// The most jobs whose end a suggestion names: beyond that it helps nobody.
const MOST_ENDS: usize = 16;

impl Engine {
    /// What would make a job fit; empty when it fits, does not wait, or nothing that is tried here helps. `active` are
    /// the jobs that may hold an allocation: others are not looked at.
    #[must_use]
    pub fn suggestions(&self, id: JobId, active: &[JobId]) -> Vec<Suggestion> {
        let Some(job) = self.jobs.get(&id) else { return Vec::new() };
        match &job.state {
            JobState::Held { holds } => {
                let mut holds = holds.iter();
                match (holds.next(), holds.next()) {
                    (Some(hold), None) => self.unheld(job, hold).into_iter().collect(),
                    _ => Vec::new(),
                }
            }
            JobState::Pending | JobState::Running { .. } if self.has_work(job) => {
                self.of_waiting(job, active)
            }
            _ => Vec::new(),
        }
    }

    /// Whether something of it is still to start.
    fn has_work(&self, job: &Job) -> bool {
        match job.array() {
            Some(array) => array.peek().is_some(),
            None => job.state == JobState::Pending,
        }
    }

    fn of_waiting(&self, job: &Job, active: &[JobId]) -> Vec<Suggestion> {
        let bound = job.array().and_then(|array| array.range.at_once().filter(|_| array.startable() == 0));
        match (self.fitting(job.placement, &job.needs), bound) {
            (Some(node), Some(at_once)) => vec![Suggestion::Unbound { at_once, node: self.node_name(node) }],
            // Room alone would not let it start, or is there already.
            (None, Some(_)) | (Some(_), None) => Vec::new(),
            (None, None) => {
                let less = self.less(job.placement, &job.needs);
                less.into_iter().chain(self.ends(job, active)).collect()
            }
        }
    }

    /// The check that a start has to pass.
    fn fitting(&self, placement: PlacementId, needs: &Resources) -> Option<NodeId> {
        self.nodes.first_fit(placement, needs)
    }

    fn unheld(&self, job: &Job, hold: Hold) -> Option<Suggestion> {
        let node = self.node_name(self.fitting(job.placement, &job.needs)?);
        let rare = job.rare.as_deref();
        let (at, on) = match hold {
            Hold::BeginTime => (rare.and_then(|rare| rare.begin), None),
            Hold::Dependency => {
                let [dependency] = rare?.dependencies.as_slice() else { return None };
                let at = self.jobs.get(&dependency.on).and_then(|job| job.ends_by());
                (at, Some(dependency.on))
            }
            Hold::User | Hold::Administrator | Hold::Inputs => (None, None),
        };
        Some(Suggestion::Unheld { hold, at, on, node })
    }

    /// The least that has to be given up of one resource; of all of them where no single one will do.
    fn less(&self, placement: PlacementId, needs: &Resources) -> Vec<Suggestion> {
        let of_one: Vec<Suggestion> = [Part::Cpu, Part::Memory, Part::Gpus]
            .into_iter()
            .filter_map(|part| self.with_less(placement, needs, &[part]))
            .collect();
        match of_one.is_empty() {
            true => {
                self.with_less(placement, needs, &[Part::Cpu, Part::Memory, Part::Gpus]).into_iter().collect()
            }
            false => of_one,
        }
    }

    fn with_less(&self, placement: PlacementId, needs: &Resources, parts: &[Part]) -> Option<Suggestion> {
        let frees = self.nodes.taking(placement).filter_map(|id| self.nodes.node(id)).map(|node| node.free());
        let cut = frees.filter_map(|free| cut(needs, &free, parts));
        let instead = cut.max_by_key(|cut| (cut.gpus, cut.cpu_millis, cut.memory_bytes))?;
        let node = self.fitting(placement, &instead)?;
        Some(Suggestion::Less { asked: *needs, instead, node: self.node_name(node) })
    }

    /// The ends that make room soonest.
    fn ends(&self, job: &Job, active: &[JobId]) -> Option<Suggestion> {
        let ways = self.nodes.taking(job.placement).filter_map(|node| {
            let (jobs, by) = self.ends_on(node, job, active)?;
            Some(Suggestion::Ends { jobs, by, node: self.node_name(node) })
        });
        ways.min_by_key(|way| match way {
            Suggestion::Ends { jobs, by, .. } => (by.map_or(u64::MAX, |by| by.0), jobs.len()),
            _ => (u64::MAX, usize::MAX),
        })
    }

    fn ends_on(&self, node: NodeId, job: &Job, active: &[JobId]) -> Option<(Vec<JobId>, Option<UtcMs>)> {
        let free = self.nodes.node(node)?.free();
        let holds = |&id: &JobId| {
            let held = self.jobs.get(&id)?;
            let here = held.run.as_ref().is_some_and(|run| run.node == node && !run.ahead);
            here.then(|| (id, held.needs, held.ends_by()))
        };
        let mut held: Vec<(JobId, Resources, Option<UtcMs>)> = active.iter().filter_map(holds).collect();
        held.sort_by_key(|&(id, _, by)| (by.map_or(u64::MAX, |by| by.0), id));
        let enough = |of: &mut dyn Iterator<Item = &(JobId, Resources, Option<UtcMs>)>| {
            let of: Vec<_> = of.collect();
            let sum = of.iter().fold(free, |sum, (_, needs, _)| sum.plus(needs));
            job.needs.fits_in(&sum) && self.named_after(node, job, &mut of.iter().map(|(id, ..)| *id))
        };
        let lengths: Vec<usize> = (0..=held.len()).collect();
        let fewest = lengths.partition_point(|&length| !enough(&mut held.iter().take(length)));
        if fewest > held.len() {
            return None;
        }
        held.truncate(fewest);
        // Those that are not needed after all, the longest first: ends that come sooner are worth more.
        for at in (0..held.len()).rev() {
            let others = held.iter().enumerate().filter(|&(other, _)| other != at);
            if enough(&mut others.map(|(_, held)| held)) {
                held.remove(at);
            }
        }
        if held.len() > MOST_ENDS {
            return None;
        }
        let by = held.iter().map(|&(_, _, by)| by).collect::<Option<Vec<_>>>();
        Some((held.iter().map(|&(id, ..)| id).collect(), by.and_then(|by| by.into_iter().max())))
    }

    /// Whether there is enough of every named resource on a node once these have ended.
    fn named_after(&self, node: NodeId, job: &Job, ended: &mut dyn Iterator<Item = JobId>) -> bool {
        let Some(state) = self.nodes.node(node) else { return false };
        let runs: Vec<_> = ended.filter_map(|id| self.jobs.get(&id)?.run.as_deref()).collect();
        self.nodes.named_of(job.placement).iter().all(|&(name, amount)| {
            let held = runs.iter().flat_map(|run| &run.held).filter(|held| held.name == name);
            let back: u64 = held.map(|held| held.amount).sum();
            amount <= self.nodes.free_named(state, name).saturating_add(back)
        })
    }
}

/// A kind of resource.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Cpu,
    Memory,
    Gpus,
}

/// What a person would write.
const WHOLE_CPU: u64 = 1000;
const PART_OF_CPU: u64 = 100;
const MEBIBYTE: u64 = 1 << 20;

/// `needs` with these parts cut down to what is free; `None` when that does not make it fit, or leaves nothing of what
/// was asked for.
fn cut(needs: &Resources, free: &Resources, parts: &[Part]) -> Option<Resources> {
    let mut cut = *needs;
    if parts.contains(&Part::Cpu) && cut.cpu_millis > free.cpu_millis {
        let step = if free.cpu_millis >= WHOLE_CPU { WHOLE_CPU } else { PART_OF_CPU };
        cut.cpu_millis = free.cpu_millis / step * step;
    }
    if parts.contains(&Part::Memory) && cut.memory_bytes > free.memory_bytes {
        cut.memory_bytes = free.memory_bytes / MEBIBYTE * MEBIBYTE;
    }
    if parts.contains(&Part::Gpus) {
        cut.gpus = cut.gpus.min(free.gpus);
    }
    let something_left = |cut: u64, asked: u64| cut > 0 || asked == 0;
    let useful = something_left(cut.cpu_millis, needs.cpu_millis)
        && something_left(cut.memory_bytes, needs.memory_bytes)
        && something_left(cut.gpus.into(), needs.gpus.into());
    (useful && cut != *needs && cut.fits_in(free)).then_some(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cpu_millis: u64, memory_mib: u64, gpus: u32) -> Resources {
        Resources { cpu_millis, memory_bytes: memory_mib << 20, gpus }
    }

    #[test]
    fn only_what_is_short_is_cut_and_something_of_it_stays() {
        let all = [Part::Cpu, Part::Memory, Part::Gpus];
        assert_eq!(cut(&of(4000, 100, 0), &of(2500, 200, 0), &[Part::Cpu]), Some(of(2000, 100, 0)));
        assert_eq!(cut(&of(4000, 100, 0), &of(650, 200, 0), &[Part::Cpu]), Some(of(600, 100, 0)));
        assert_eq!(cut(&of(4000, 100, 0), &of(0, 200, 0), &[Part::Cpu]), None, "no CPU is no job");
        assert_eq!(cut(&of(4000, 100, 0), &of(2500, 50, 0), &[Part::Cpu]), None, "memory is short, too");
        assert_eq!(cut(&of(4000, 100, 0), &of(2500, 50, 0), &all), Some(of(2000, 50, 0)));
        assert_eq!(cut(&of(1000, 0, 2), &of(4000, 0, 1), &[Part::Gpus]), Some(of(1000, 0, 1)));
        assert_eq!(cut(&of(1000, 0, 2), &of(4000, 0, 0), &all), None);
        assert_eq!(cut(&of(1000, 0, 0), &of(4000, 0, 0), &all), None, "nothing is short");
    }
}
