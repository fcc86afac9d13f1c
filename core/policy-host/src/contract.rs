//! Whether a plan keeps to the contract, judged against the full state that it was made from.

use std::collections::{BTreeMap, HashMap, HashSet};

use berth_engine::{NodeId, PendingTold, Plan, PlanRequest, Start};
use berth_model::{JobId, Resources};

/// Judges a plan that answers a request with the full state.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn judge(request: &PlanRequest, plan: &Plan) -> Result<(), String> {
    let mentioned = mentioned_once(plan)?;
    let pending: HashMap<JobId, &PendingTold> = request
        .told
        .pending
        .iter()
        .filter(|job| mentioned.contains(&job.id))
        .map(|job| (job.id, job))
        .collect();
    if let Some(unknown) = mentioned.iter().filter(|job| !pending.contains_key(job)).min() {
        return Err(format!("job {unknown} is not pending"));
    }
    let mut books = Books::new(request);
    let mut total = 0u64;
    for start in &plan.starts {
        let Some(job) = pending.get(&start.job) else { continue };
        if start.count == 0 || start.count > job.count {
            return Err(format!("job {} starts {} tasks of {}", job.id, start.count, job.count));
        }
        total += u64::from(start.count);
        books.take(job, start)?;
    }
    if total > u64::from(request.most) {
        return Err(format!("{total} tasks start where {} may", request.most));
    }
    Ok(())
}

/// The jobs that the plan decides about, none of them twice.
fn mentioned_once(plan: &Plan) -> Result<HashSet<JobId>, String> {
    let mut decided = HashSet::new();
    let jobs = plan.starts.iter().map(|start| start.job).chain(plan.rejections.iter().map(|(job, _)| *job));
    for job in jobs {
        if !decided.insert(job) {
            return Err(format!("job {job} is in it twice"));
        }
    }
    decided.extend(plan.reservations.iter().map(|(job, ..)| *job));
    Ok(decided)
}

/// What is free while the starts of a plan are taken off one after the other.
struct Books<'a> {
    free: BTreeMap<NodeId, Resources>,
    placements: HashMap<u32, &'a [NodeId]>,
}

impl<'a> Books<'a> {
    fn new(request: &'a PlanRequest) -> Self {
        let told = &request.told;
        Self {
            free: request.room.iter().map(|room| (room.node, room.free)).collect(),
            placements: told.placements.iter().map(|placement| (placement.id, &*placement.nodes)).collect(),
        }
    }

    fn take(&mut self, job: &PendingTold, start: &Start) -> Result<(), String> {
        let nodes = self.placements.get(&job.placement).copied().unwrap_or_default();
        let chosen = match &start.node {
            Some(node) if !nodes.contains(node) => {
                return Err(format!("job {} may not run on node {node}", job.id));
            }
            Some(node) => std::slice::from_ref(node),
            None => nodes,
        };
        for _ in 0..start.count {
            if take_lowest(&mut self.free, chosen, &job.needs).is_none() {
                return Err(format!("there is no room for job {}", job.id));
            }
        }
        Ok(())
    }
}

/// Takes `needs` off the first of `nodes`, which are in rising order, that has them free, and says which.
pub(crate) fn take_lowest(
    free: &mut BTreeMap<NodeId, Resources>,
    nodes: &[NodeId],
    needs: &Resources,
) -> Option<NodeId> {
    nodes.iter().copied().find(|node| {
        let Some(free) = free.get_mut(node) else { return false };
        let left = free.checked_sub(needs);
        *free = left.unwrap_or(*free);
        left.is_some()
    })
}

#[cfg(test)]
mod tests {
    use berth_engine::{PlacementTold, Room, Told};
    use berth_model::UtcMs;

    use super::*;

    fn request() -> PlanRequest {
        let cpus = |cpus: u64| Resources { cpu_millis: cpus * 1000, memory_bytes: 0, gpus: 0 };
        let job = |id, count, placement| PendingTold {
            id: JobId(id),
            owner: 0,
            project: 0,
            placement,
            count,
            needs: cpus(2),
            submitted: UtcMs(0),
            eligible: UtcMs(0),
            time_limit_ms: None,
            priority: 0,
        };
        let placements =
            vec![PlacementTold { id: 0, nodes: vec![0, 1] }, PlacementTold { id: 1, nodes: vec![1] }];
        let pending = vec![job(1, 1, 0), job(2, 5, 0), job(3, 1, 1)];
        PlanRequest {
            snapshot: 1,
            now: UtcMs(0),
            told: Told { full: true, placements, pending, ..Told::default() },
            room: vec![Room { node: 0, free: cpus(5) }, Room { node: 1, free: cpus(4) }],
            most: 4,
            pending_known: 3,
        }
    }

    fn judged(starts: &[(u64, u32, Option<NodeId>)], rejected: &[u64]) -> Result<(), String> {
        let starts =
            starts.iter().map(|(job, count, node)| Start { job: JobId(*job), count: *count, node: *node });
        let rejections = rejected.iter().map(|job| (JobId(*job), String::new())).collect();
        judge(&request(), &Plan { starts: starts.collect(), rejections, ..Plan::default() })
    }

    #[test]
    fn what_fits_is_no_breach() {
        assert_eq!(judged(&[], &[]), Ok(()));
        assert_eq!(judged(&[(1, 1, None), (2, 3, None)], &[3]), Ok(()));
        assert_eq!(judged(&[(3, 1, Some(1)), (2, 2, Some(0)), (1, 1, None)], &[]), Ok(()));
    }

    #[test]
    fn each_breach_is_named() {
        let words = |starts: &[_], rejected: &[u64]| judged(starts, rejected).expect_err("a breach");
        assert_eq!(words(&[(9, 1, None)], &[]), "job 9 is not pending");
        assert_eq!(words(&[], &[9]), "job 9 is not pending");
        assert_eq!(words(&[(1, 1, None), (1, 1, None)], &[]), "job 1 is in it twice");
        assert_eq!(words(&[(1, 1, None)], &[1]), "job 1 is in it twice");
        assert_eq!(words(&[(1, 2, None)], &[]), "job 1 starts 2 tasks of 1");
        assert_eq!(words(&[(1, 0, None)], &[]), "job 1 starts 0 tasks of 1");
        assert_eq!(words(&[(2, 5, None)], &[]), "there is no room for job 2");
        assert_eq!(words(&[(2, 3, Some(0))], &[]), "there is no room for job 2");
        assert_eq!(words(&[(3, 1, Some(0))], &[]), "job 3 may not run on node 0");
        let few = PlanRequest { most: 1, ..request() };
        let two = Plan { starts: vec![Start { job: JobId(2), count: 2, node: None }], ..Plan::default() };
        assert_eq!(judge(&few, &two), Err("2 tasks start where 1 may".to_owned()));
    }
}
