//! First come, first served: what decides while the scheduler policy is benched.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
};

use berth_engine::{NodeId, PendingTold, PlacementId, Plan, PlanRequest, Start, Told};
use berth_model::{JobId, Resources, UtcMs};

use crate::contract::take_lowest;

/// Where a job stands in the order: by its submission, then by its number.
type Place = (UtcMs, JobId);

/// Pending jobs in order of arrival, apart by placement. A job that does not fit holds up those behind
/// it with the same placement, so that large jobs are not passed by for ever.
#[derive(Debug, Default)]
pub(crate) struct FirstCome {
    jobs: HashMap<JobId, PendingTold>,
    queues: HashMap<PlacementId, BTreeSet<Place>>,
    placements: HashMap<PlacementId, Vec<NodeId>>,
}

impl FirstCome {
    pub(crate) fn tell(&mut self, told: &Told) {
        for placement in &told.placements {
            self.placements.insert(placement.id, placement.nodes.clone());
        }
        for job in &told.withdrawn {
            self.forget(*job);
        }
        for job in &told.pending {
            self.forget(job.id);
            self.queues.entry(job.placement).or_default().insert((job.submitted, job.id));
            self.jobs.insert(job.id, *job);
        }
    }

    fn forget(&mut self, job: JobId) {
        if let Some(known) = self.jobs.remove(&job)
            && let Some(queue) = self.queues.get_mut(&known.placement)
        {
            queue.remove(&(known.submitted, job));
        }
    }

    pub(crate) fn plan(&self, request: &PlanRequest) -> Plan {
        let mut free: BTreeMap<NodeId, Resources> =
            request.room.iter().map(|room| (room.node, room.free)).collect();
        let mut queues: HashMap<PlacementId, _> =
            self.queues.iter().map(|(placement, queue)| (*placement, queue.iter())).collect();
        let mut heads: BinaryHeap<Reverse<(Place, PlacementId)>> = queues
            .iter_mut()
            .filter_map(|(placement, queue)| Some(Reverse((*queue.next()?, *placement))))
            .collect();
        let mut left = request.most;
        let mut starts = Vec::new();
        while left > 0
            && let Some(Reverse(((_, id), placement))) = heads.pop()
        {
            let Some(job) = self.jobs.get(&id) else { continue };
            let nodes = self.placements.get(&placement).map(Vec::as_slice).unwrap_or_default();
            let count = start_tasks(&mut free, nodes, job, left);
            if count > 0 {
                starts.push(Start { job: id, count, node: None });
                left -= count;
            }
            let whole = count == job.count;
            if whole && let Some(next) = queues.get_mut(&placement).and_then(Iterator::next) {
                heads.push(Reverse((*next, placement)));
            }
        }
        let waiting = self.jobs.len().saturating_sub(starts.len()) as u64;
        let passed_over =
            (waiting > 0).then(|| ("waits for its turn, in order of arrival".to_owned(), waiting));
        Plan {
            snapshot: request.snapshot,
            starts,
            passed_over: passed_over.into_iter().collect(),
            ..Plan::default()
        }
    }
}

/// Takes room for as many tasks as fit, and says how many.
fn start_tasks(
    free: &mut BTreeMap<NodeId, Resources>,
    nodes: &[NodeId],
    job: &PendingTold,
    most: u32,
) -> u32 {
    let most = job.count.min(most);
    (0..most).find(|_| take_lowest(free, nodes, &job.needs).is_none()).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use berth_engine::{PlacementTold, Room};
    use proptest::prelude::*;

    use super::*;
    use crate::contract::judge;

    fn cpus(cpus: u64) -> Resources {
        Resources { cpu_millis: cpus * 1000, memory_bytes: 0, gpus: 0 }
    }

    fn job(id: u64, submitted: u64, placement: PlacementId, count: u32, needs: u64) -> PendingTold {
        PendingTold {
            id: JobId(id),
            owner: 0,
            project: 0,
            placement,
            count,
            needs: cpus(needs),
            submitted: UtcMs(submitted),
            eligible: UtcMs(submitted),
            time_limit_ms: None,
            priority: 0,
        }
    }

    /// Placement 0 has both nodes, placement 1 the second one.
    fn request(pending: Vec<PendingTold>, free: [u64; 2], most: u32) -> PlanRequest {
        let pending_known = pending.len() as u64;
        let placements =
            vec![PlacementTold { id: 0, nodes: vec![0, 1] }, PlacementTold { id: 1, nodes: vec![1] }];
        PlanRequest {
            snapshot: 1,
            now: UtcMs(100),
            told: Told { full: true, placements, pending, ..Told::default() },
            room: free.into_iter().zip(0..).map(|(free, node)| Room { node, free: cpus(free) }).collect(),
            most,
            pending_known,
        }
    }

    fn starts(request: &PlanRequest) -> Vec<(u64, u32)> {
        let mut order = FirstCome::default();
        order.tell(&request.told);
        order.plan(request).starts.iter().map(|start| (start.job.0, start.count)).collect()
    }

    #[test]
    fn who_came_first_starts_first() {
        let jobs = vec![job(1, 30, 0, 1, 1), job(2, 10, 0, 1, 1), job(3, 20, 1, 1, 1)];
        assert_eq!(starts(&request(jobs.clone(), [2, 2], 9)), [(2, 1), (3, 1), (1, 1)]);
        assert_eq!(starts(&request(jobs, [2, 2], 2)), [(2, 1), (3, 1)]);
    }

    #[test]
    fn a_large_job_holds_up_those_behind_it_where_they_run_on_the_same_nodes() {
        let jobs = vec![job(1, 10, 0, 1, 9), job(2, 20, 0, 1, 1), job(3, 30, 1, 1, 1)];
        assert_eq!(starts(&request(jobs, [4, 4], 9)), [(3, 1)]);
    }

    #[test]
    fn an_array_starts_as_many_tasks_as_fit() {
        assert_eq!(starts(&request(vec![job(1, 10, 0, 10, 2)], [4, 3], 9)), [(1, 3)]);
    }

    #[test]
    fn a_job_that_is_told_again_is_not_there_twice() {
        let mut order = FirstCome::default();
        let mut asked = request(vec![job(1, 10, 0, 5, 1)], [9, 9], 9);
        order.tell(&asked.told);
        asked.told = Told { pending: vec![job(1, 10, 1, 2, 1)], ..Told::default() };
        order.tell(&asked.told);
        assert_eq!(order.plan(&asked).starts, [Start { job: JobId(1), count: 2, node: None }]);
        order.tell(&Told { withdrawn: vec![JobId(1), JobId(7)], ..Told::default() });
        let plan = order.plan(&asked);
        assert_eq!((plan.starts, plan.passed_over), (vec![], vec![]));
    }

    proptest! {
        #[test]
        fn whatever_waits_the_plan_keeps_the_contract(
            jobs in prop::collection::vec((0u64..5, 0u32..3, 1u32..4, 0u64..5), 0..30),
            free in [0u64..9, 0u64..9],
            most in 0u32..20,
        ) {
            let jobs = jobs.into_iter().zip(1..).map(|((at, place, count, needs), id)| {
                job(id, at, place, count, needs)
            });
            let request = request(jobs.collect(), free, most);
            let mut order = FirstCome::default();
            order.tell(&request.told);
            let plan = order.plan(&request);
            prop_assert_eq!(judge(&request, &plan), Ok(()));
            // The first of all starts, if anything can be started at all and there is room for it.
            let first = request.told.pending.iter().min_by_key(|job| (job.submitted, job.id));
            if let Some(first) = first && most > 0 && first.placement == 0 {
                let fits = free.iter().any(|free| first.needs.fits_in(&cpus(*free)));
                prop_assert_eq!(fits, plan.starts.first().is_some_and(|start| start.job == first.id));
            }
        }
    }
}
