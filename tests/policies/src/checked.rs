//! Holds each plan of a policy against what a model says to the same request.

use std::collections::BTreeMap;

use berth_engine::{NodeId, Plan, PlanRequest};
use berth_model::{JobId, Resources};

use crate::{naive::Books, planners::Planner};

/// A job, and the nodes of those of its tasks that start.
pub type Placed = (JobId, Vec<NodeId>);

/// What a model says: the nodes of the tasks that start, for each job in its turn; and what is promised for
/// later, by job.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub starts: Vec<Placed>,
    pub later: BTreeMap<JobId, u64>,
}

/// A plain way to say what a policy does.
pub trait Model {
    /// `books` has taken in what the request tells.
    fn say(&mut self, books: &Books, request: &PlanRequest) -> Said;

    /// What of it has come true: so many tasks of each job.
    fn started(&mut self, started: &BTreeMap<JobId, usize>) {
        let _ = started;
    }
}

impl Model for Box<dyn Model> {
    fn say(&mut self, books: &Books, request: &PlanRequest) -> Said {
        self.as_mut().say(books, request)
    }

    fn started(&mut self, started: &BTreeMap<JobId, usize>) {
        self.as_mut().started(started);
    }
}

/// A policy under the eyes of a model.
pub struct Checked<P, M> {
    policy: P,
    model: M,
    books: Books,
}

impl<P: Planner, M: Model> Checked<P, M> {
    pub fn new(policy: P, model: M) -> Self {
        Self { policy, model, books: Books::default() }
    }
}

impl<P: Planner, M: Model> Planner for Checked<P, M> {
    fn plan(&mut self, request: PlanRequest) -> Plan {
        self.books.hear(&request.told);
        let said = self.model.say(&self.books, &request);
        let plan = self.policy.plan(request.clone());
        let starts = placed(&self.books, &request, &plan);
        // A job stands in a plan once, with one node or as the host places it: what cannot be said so is said
        // with the next plan, which the policy then asks for.
        let asks_again = plan.wake_at.is_some_and(|at| at.0 <= request.now.0);
        let is_part = |(expected, got): (&Placed, &Placed)| {
            expected.0 == got.0 && !got.1.is_empty() && expected.1.starts_with(&got.1)
        };
        let are_same = starts == said.starts;
        let are_part = starts.len() == said.starts.len() && said.starts.iter().zip(&starts).all(is_part);
        assert!(
            are_same || (asks_again && are_part),
            "at {} it starts {starts:?}, where {:?} is right",
            request.now,
            said.starts
        );
        let later: BTreeMap<JobId, u64> = plan.reservations.iter().map(|(job, _, at)| (*job, at.0)).collect();
        if are_same {
            assert_eq!(later, said.later, "what is promised at {}", request.now);
        }
        self.model.started(&starts.iter().map(|(job, nodes)| (*job, nodes.len())).collect());
        plan
    }
}

/// Where the host puts the tasks of a plan.
fn placed(books: &Books, request: &PlanRequest, plan: &Plan) -> Vec<Placed> {
    let mut free: BTreeMap<NodeId, Resources> =
        request.room.iter().map(|room| (room.node, room.free)).collect();
    let mut placed = Vec::new();
    for start in &plan.starts {
        let job = &books.pending[&start.job];
        let mut nodes = Vec::new();
        for _ in 0..start.count {
            let mut allowed = books.placements[&job.placement].iter().copied();
            let node = allowed
                .find(|node| {
                    start.node.is_none_or(|wanted| wanted == *node)
                        && free.get(node).is_some_and(|free| job.needs.fits_in(free))
                })
                .expect("there is room for what it starts");
            let left = free[&node].saturating_sub(&job.needs);
            free.insert(node, left);
            nodes.push(node);
        }
        placed.push((start.job, nodes));
    }
    placed
}
