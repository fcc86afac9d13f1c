//! Policies that only order jobs: all of them sorted for each plan, and every node looked at for every task.

use std::{cmp::Ordering, collections::BTreeMap, collections::BTreeSet};

use berth_engine::{NodeId, PendingTold, PlanRequest};
use berth_model::Resources;

use crate::{
    checked::{Model, Said},
    naive::Books,
};

/// The most urgent first, by a number at an instant: less is sooner. Of equal ones, who was submitted first.
pub struct ByNumber<F>(pub F);

impl<F: Fn(&PendingTold, u64) -> f64> Model for ByNumber<F> {
    fn say(&mut self, books: &Books, request: &PlanRequest) -> Said {
        let Self(number) = self;
        let now = request.now.0;
        let mut jobs: Vec<&PendingTold> = books.pending.values().collect();
        jobs.sort_by(|a, b| {
            let by_number = number(a, now).partial_cmp(&number(b, now)).unwrap_or(Ordering::Equal);
            by_number.then((a.submitted, a.id).cmp(&(b.submitted, b.id)))
        });
        let mut free: BTreeMap<NodeId, Resources> =
            request.room.iter().map(|room| (room.node, room.free)).collect();
        let mut closed = BTreeSet::new();
        let mut said = Said::default();
        for job in jobs {
            let mut nodes = Vec::new();
            while nodes.len() < job.count as usize && !closed.contains(&job.placement) {
                let allowed = &books.placements[&job.placement];
                let fits = |node: &&NodeId| free.get(*node).is_some_and(|free| job.needs.fits_in(free));
                match allowed.iter().find(fits) {
                    Some(&node) => {
                        free.insert(node, free[&node].saturating_sub(&job.needs));
                        nodes.push(node);
                    }
                    None => {
                        closed.insert(job.placement);
                    }
                }
            }
            if !nodes.is_empty() {
                said.starts.push((job.id, nodes));
            }
        }
        said
    }
}
