//! Orders that change as time goes by: where a job stands is worked out anew for each plan.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use crate::{
    Error, Info, InstantMs, JobId, NodeId, PendingJob, PlacementId, Scheduler, Settings, Space,
    scheduler::{NodeRoom, Placement, Plan},
    table::{JobTable, Waiting},
    walk::{self, COUNTED, Strand, Walk},
};

/// An order of jobs that is another one at another time, as where waiting counts for more the smaller a job
/// is; [`export_rank!`](crate::export_rank) makes a scheduler of it. Where the order stands still, an
/// [`Order`](crate::Order) costs much less.
pub trait Rank: Sized {
    /// What a job's score follows from. Kept for every pending job, so it had better be small.
    type Facts: Copy;

    /// Who the policy is, and which settings it reads; see [`info!`](crate::info).
    fn describe() -> Info;

    /// Makes the order by its settings.
    ///
    /// # Errors
    /// `bad-settings` when they make no sense.
    fn configure(settings: &mut Settings) -> Result<Self, Error>;

    /// What is to be kept of a job.
    fn facts(&self, job: &PendingJob) -> Self::Facts;

    /// How urgent a job is at an instant: more is sooner. Of equal ones, the job with the lower number is first;
    /// what is no number comes last.
    fn score(&self, facts: &Self::Facts, now_ms: InstantMs) -> f64;
}

/// The scheduler that a [`Rank`] makes. It starts jobs in the order of their scores as long as there is room;
/// like [`Ordered`](crate::Ordered), it lets nobody pass the first of a placement that finds none.
///
/// A plan with *n* pending jobs of which *k* start costs O(*n* + *k* log *n*): each is looked at once. A change
/// costs a look-up.
#[derive(Clone, Debug)]
pub struct Ranked<R: Rank> {
    rank: R,
    jobs: JobTable<R::Facts>,
    /// The nodes of each placement, in rising order.
    nodes: BTreeMap<PlacementId, Vec<NodeId>>,
    /// The first job of each placement that found no room in the last plan.
    blocked: BTreeMap<PlacementId, JobId>,
    /// The jobs of each placement while a plan is made; kept for the next one, since a guest's memory never
    /// shrinks.
    heaps: BTreeMap<PlacementId, Vec<Place>>,
}

/// A score such that more comes first, with the job.
type Place = Reverse<(Reverse<i64>, JobId)>;

impl<R: Rank> Ranked<R> {
    /// The scheduler of this order.
    #[must_use]
    pub fn new(rank: R) -> Self {
        let (nodes, blocked, heaps) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { rank, jobs: JobTable::default(), nodes, blocked, heaps }
    }

    fn place(&self, job: &Waiting<R::Facts>, now_ms: InstantMs) -> Place {
        Reverse((Reverse(sortable(self.rank.score(&job.key, now_ms))), job.id))
    }
}

impl<R: Rank> Scheduler for Ranked<R> {
    fn describe() -> Info {
        R::describe()
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        R::configure(settings).map(Self::new)
    }

    fn placements(&mut self, placements: Vec<Placement>) {
        for Placement { id, mut nodes } in placements {
            nodes.sort_unstable();
            self.nodes.insert(id, nodes);
        }
    }

    fn pending(&mut self, jobs: Vec<PendingJob>) {
        for job in &jobs {
            if job.count == 0 {
                self.jobs.remove(job.id);
            } else {
                self.jobs.put(Waiting::new(self.rank.facts(job), job));
            }
        }
    }

    fn withdrawn(&mut self, jobs: Vec<JobId>) {
        for job in jobs {
            self.jobs.remove(job);
        }
    }

    fn plan(&mut self, now_ms: InstantMs, room: Vec<NodeRoom>, most: u32) -> Result<Plan, Error> {
        let mut heaps = std::mem::take(&mut self.heaps);
        heaps.values_mut().for_each(Vec::clear);
        for job in self.jobs.iter() {
            heaps.entry(job.placement).or_default().push(self.place(job, now_ms));
        }
        let mut heaps: BTreeMap<PlacementId, BinaryHeap<Place>> =
            heaps.into_iter().map(|(placement, places)| (placement, places.into())).collect();
        let strands = heaps.iter_mut().map(|(&placement, heap)| {
            let nodes = self.nodes.get(&placement).map_or(&[][..], Vec::as_slice);
            Strand::new(placement, nodes, heap.len() as u64, Drain(heap))
        });
        let walk = Walk::new(Space::new(room), most, strands);
        let (plan, blocked) = walk.run(|job| self.jobs.get(job).map(|job| (job.needs(), job.count)));
        self.blocked = blocked;
        self.heaps = heaps.into_iter().map(|(placement, heap)| (placement, heap.into_vec())).collect();
        Ok(plan)
    }

    /// Looks at every job.
    fn explain(&mut self, now_ms: InstantMs, job: JobId) -> Option<String> {
        let waiting = self.jobs.get(job)?;
        let place = self.place(waiting, now_ms);
        let comes_before = |other: &&Waiting<R::Facts>| {
            other.placement == waiting.placement && self.place(other, now_ms) > place
        };
        let before = self.jobs.iter().filter(comes_before).take(COUNTED).count();
        Some(walk::explain(job, before, self.blocked.get(&waiting.placement).copied()))
    }

    fn known(&mut self) -> u64 {
        self.jobs.len() as u64
    }
}

/// Jobs from the one with the highest score down, each found when it is asked for.
struct Drain<'a>(&'a mut BinaryHeap<Place>);

impl Iterator for Drain<'_> {
    type Item = (Reverse<i64>, JobId);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.pop().map(|Reverse(place)| place)
    }
}

/// A whole number that stands to others as the score to theirs; what is no number comes before all.
fn sortable(score: f64) -> i64 {
    if score.is_nan() {
        return i64::MIN;
    }
    // Added to 0, the negative zero becomes the other one.
    let bits = (score + 0.0).to_bits().cast_signed();
    bits ^ (bits >> 63 & i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_keep_their_order_as_whole_numbers() {
        let rising = [f64::NAN, f64::NEG_INFINITY, -2.0, -1.5, -1e-300, 0.0, 1e-300, 1.5, 2.0, f64::INFINITY];
        assert!(rising.map(sortable).is_sorted());
        assert!(rising.map(sortable).windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(sortable(-0.0), sortable(0.0));
    }
}
