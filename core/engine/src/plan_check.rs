//! Plans: judged against what the policy was shown, then against the present books.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{Attempt, EventKind, JobEvent, JobId, JobState, Resources, Step, StopCause, UtcMs};

use crate::{
    Effect, Engine, LaunchOrder, NodeId, PlacementId, Plan, Settings, Start,
    choice::{Best, Choice},
    commands::task_id,
    job::{Array, Job, Kind, LaunchStep, Run},
    pools::Held,
    telling::Outstanding,
    timers::Due,
};

impl Engine {
    pub(crate) fn on_plan(&mut self, plan: Plan) {
        let Some(asked) = self.telling.outstanding.take_if(|asked| asked.snapshot == plan.snapshot) else {
            return;
        };
        let placed = match self.judge(&plan, &asked) {
            Ok(placed) => placed,
            Err(words) => {
                self.out.effects.push(Effect::Breach { snapshot: plan.snapshot, words });
                self.telling.start_over();
                // The host rebuilds the policy and says so; asking before that would be in vain.
                self.telling.wanted = false;
                return;
            }
        };
        self.telling.wanted |= placed.len() >= asked.most as usize;
        let mut launches: BTreeMap<String, Vec<LaunchOrder>> = BTreeMap::new();
        for &(job, node) in &placed {
            self.start_one(job, node, &mut launches);
        }
        self.send_ahead(&placed, &mut launches);
        for (executor, orders) in launches {
            self.out.effects.push(Effect::Launch { executor, orders });
        }
        for (job, words) in plan.rejections {
            self.refuse(job, words);
        }
        self.telling.expected = plan.reservations.iter().map(|&(job, _, at)| (job, at)).collect();
        self.telling.passed_over = plan.passed_over;
        self.note_spells();
        if let Some(at) = plan.wake_at {
            // Not in the past, where it would turn the loop into a spin.
            self.timers.set(at.max(UtcMs(self.now.0 + 1)), Due::Plan);
        }
    }

    fn refuse(&mut self, id: JobId, words: String) {
        // Its tasks that wait, are held or run would be left without it: it ends as a whole.
        if self.jobs.get(&id).and_then(|job| job.array()).is_some_and(Array::has_begun) {
            self.stop(id, StopCause::Scheduler { reason: words });
        } else {
            self.reject(id, "scheduler".into(), words);
        }
    }

    pub(crate) fn on_plan_failed(&mut self, snapshot: u64) {
        if self.telling.outstanding.take_if(|asked| asked.snapshot == snapshot).is_some() {
            self.timers.set(UtcMs(self.now.0 + PLAN_AGAIN_MS), Due::Plan);
        }
    }

    /// Where each start goes, by what the policy was shown.
    ///
    /// # Errors
    /// How the plan breaks the contract.
    fn judge(&self, plan: &Plan, asked: &Outstanding) -> Result<Vec<(JobId, NodeId)>, String> {
        let mut room: BTreeMap<NodeId, Resources> =
            asked.room.iter().map(|room| (room.node, room.free)).collect();
        let mut seen = BTreeSet::new();
        let mut placed = Vec::new();
        let mut fits = Vec::new();
        let mut left = asked.most;
        for start in &plan.starts {
            let Start { job: id, count, .. } = *start;
            if !seen.insert(id) {
                return Err(format!("it started job {id} twice"));
            }
            let Some(job) = self.jobs.get(&id) else {
                if self.telling.withdrawn.contains(&id) {
                    continue;
                }
                return Err(format!("it started job {id}, which it was never told of"));
            };
            // It left since and came back: this is about what it was before.
            if job.told.pending == 0 && self.telling.withdrawn.contains(&id) {
                continue;
            }
            if count == 0 || count > job.told.pending {
                let may = job.told.pending;
                return Err(format!("it started {count} tasks of job {id}, of which {may} may start"));
            }
            left = left.checked_sub(count).ok_or_else(|| {
                format!("it started more than the {} tasks that a plan may start", asked.most)
            })?;
            let (placement, needs) = asked.was.get(&id).copied().unwrap_or((job.placement, job.needs));
            self.place(start, placement, &needs, &mut room, &mut placed)?;
            fits.push((*start, placement, needs));
        }
        for (id, _) in &plan.rejections {
            let known = self.jobs.get(id).is_some_and(|job| job.told.pending > 0);
            if !known && !self.telling.withdrawn.contains(id) {
                return Err(format!("it rejected job {id}, which does not wait"));
            }
            if !seen.insert(*id) {
                return Err(format!("it both started and rejected job {id}"));
            }
        }
        let chosen = self.chosen(&fits, asked);
        Ok(chosen.unwrap_or(placed))
    }

    fn place(
        &self,
        start: &Start,
        placement: PlacementId,
        needs: &Resources,
        room: &mut BTreeMap<NodeId, Resources>,
        placed: &mut Vec<(JobId, NodeId)>,
    ) -> Result<(), String> {
        let suitable = self.nodes.told_nodes_of(placement);
        let mut candidates = suitable.iter().copied().filter(|&id| start.node.is_none_or(|node| node == id));
        let mut candidate = candidates.next();
        for _ in 0..start.count {
            // What is full for one task is full for the next of the same job.
            let node = loop {
                let Some(node) = candidate else {
                    return Err(match start.node {
                        Some(node) => {
                            format!("it put job {} on node {node}, which has no room for it", start.job)
                        }
                        None => format!("it started job {}, for which no node has room", start.job),
                    });
                };
                if let Some(free) = room.get_mut(&node)
                    && let Some(rest) = free.checked_sub(needs)
                {
                    *free = rest;
                    break node;
                }
                candidate = candidates.next();
            };
            placed.push((start.job, node));
        }
        Ok(())
    }

    /// Where the starts of a good plan go that it leaves open, by what the site wants. Policies count on the node with the
    /// lowest number: where not everything would fit otherwise, it is that; `None` then.
    fn chosen(
        &self,
        starts: &[(Start, PlacementId, Resources)],
        asked: &Outstanding,
    ) -> Option<Vec<(JobId, NodeId)>> {
        if self.settings.choice == Choice::FirstFit {
            return None;
        }
        let mut room: BTreeMap<NodeId, Resources> =
            asked.room.iter().map(|room| (room.node, room.free)).collect();
        for (start, _, needs) in starts {
            if let Some(node) = start.node {
                let free = room.get_mut(&node)?;
                *free = (0..start.count).try_fold(*free, |free, _| free.checked_sub(needs))?;
            }
        }
        let mut placed = Vec::new();
        for (start, placement, needs) in starts {
            match start.node {
                Some(node) => placed.extend((0..start.count).map(|_| (start.job, node))),
                None => self.place_best(start, *placement, needs, &mut room, &mut placed)?,
            }
        }
        Some(placed)
    }

    /// Puts each task on the best node that there is for it then; `None` when there is none.
    fn place_best(
        &self,
        start: &Start,
        placement: PlacementId,
        needs: &Resources,
        room: &mut BTreeMap<NodeId, Resources>,
        placed: &mut Vec<(JobId, NodeId)>,
    ) -> Option<()> {
        let total = |node| self.nodes.node(node).map(|node| node.total).unwrap_or_default();
        let mut best = Best::new(self.settings.choice, needs);
        for &node in self.nodes.told_nodes_of(placement) {
            if let Some(free) = room.get(&node) {
                best.offer(node, &total(node), free);
            }
        }
        for _ in 0..start.count {
            let node = best.take()?;
            let free = room.get_mut(&node)?;
            *free = free.saturating_sub(needs);
            best.offer(node, &total(node), free);
            placed.push((start.job, node));
        }
        Some(())
    }

    /// Starts a job, or the next task of an array, if that is still right. What no longer fits is dropped,
    /// and the policy is asked again when something changes.
    fn start_one(&mut self, id: JobId, node: NodeId, launches: &mut BTreeMap<String, Vec<LaunchOrder>>) {
        let Some(job) = self.jobs.get(&id) else { return };
        if self.startable(job) == 0 {
            return;
        }
        if let Some(breach) = self.breach(id) {
            return self.on_breach(id, &breach);
        }
        let Some(job) = self.jobs.get(&id) else { return };
        let (needs, placement, owner) = (job.needs, job.placement, job.owner);
        let position = job.array().map(Array::peek);
        let free_node = Some(node)
            .filter(|&node| self.nodes.is_open(node) && self.nodes.fits(node, placement, &needs))
            .or_else(|| self.nodes.best_fit(self.settings.choice, placement, &needs));
        let (id, array) = match position {
            None => (id, self.place_in_array(id)),
            Some(None) => return,
            Some(Some(position)) => {
                if free_node.is_none() {
                    self.telling.wanted |= self.nodes.depends(placement);
                    return;
                }
                match self.expand(id, position) {
                    Some(task) => (task, Some((id, position))),
                    None => return,
                }
            }
        };
        let Some(node) = free_node else {
            // What the policy does not know of may have been given to another of the same plan.
            self.telling.wanted |= self.nodes.depends(placement);
            return;
        };
        if !self.is_pending(id) {
            return;
        }
        let Some(held) = self.nodes.allocate(node, placement, &needs, owner) else { return };
        self.allocated(id, node, Some(held));
        if let Some((array, position)) = array {
            self.begin_task(array, position);
        }
        if let Some(order) = self.order(id) {
            let executor = self.jobs.get(&id).map_or(0, |job| self.nodes.executor_of(job.placement));
            launches.entry(self.names.name(executor).to_owned()).or_default().push(order);
        }
    }

    /// The live array of a task that waits for itself, and its position in it.
    fn place_in_array(&self, id: JobId) -> Option<(JobId, u64)> {
        match self.jobs.get(&id)?.kind {
            Kind::Task { array, position } if self.jobs.contains_key(&array) => Some((array, position)),
            Kind::Task { .. } | Kind::Plain | Kind::Array(_) => None,
        }
    }

    /// Notes where a job runs, and what it holds; `None` for one that is sent ahead and holds nothing yet.
    pub(crate) fn allocated(&mut self, id: JobId, node: NodeId, held: Option<Vec<Held>>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let attempt = job.attempt;
        let asks = asks_before(&self.settings, job);
        if let Some(rare) = job.rare.as_mut() {
            rare.given_back = None;
            rare.note = None;
        }
        job.run = Some(Box::new(Run {
            node,
            allocated: self.now,
            started: None,
            resumed: None,
            launch: if asks { LaunchStep::AwaitsAnswer } else { LaunchStep::Sent },
            ahead: held.is_none(),
            held: held.unwrap_or_default(),
            reserved: None,
            in_flight: false,
            asked: asks,
            unsure: false,
            network: None,
            reconciling: None,
            other_limit: false,
            stops_sent: 0,
            cpu_micros: None,
            memory_peak_bytes: None,
        }));
        self.reserve(id);
        if let Step::Moved(_) = self.apply(id, &JobEvent::Allocated(attempt)) {
            let name = self.node_name(node);
            self.record(id, EventKind::Starting { attempt, node: name });
            self.record_held(id);
            if asks {
                self.ask_start(id, attempt);
            }
        }
    }

    fn record_held(&mut self, id: JobId) {
        let run = self.jobs.get(&id).and_then(|job| job.run.as_deref());
        let held: Vec<String> = run
            .into_iter()
            .flat_map(|run| &run.held)
            .map(|held| held.kept(&self.names).to_string())
            .collect();
        if !held.is_empty() {
            self.record(id, EventKind::Note { text: format!("holds {}", held.join(", ")) });
        }
    }

    /// Those who want to be asked from now on hear of the ends of all that is launched already.
    pub(crate) fn on_ask_before_starts(&mut self, asks: bool) {
        self.settings.asks_before_starts = asks;
        if asks {
            self.jobs.values_mut().filter_map(|job| job.run.as_mut()).for_each(|run| run.asked = true);
        }
    }

    /// Whether somebody is to be asked before the job is launched.
    pub(crate) fn asks_before(&self, job: &Job) -> bool {
        asks_before(&self.settings, job)
    }

    /// Has those asked who say whether a job may start, and with which network.
    pub(crate) fn ask_start(&mut self, id: JobId, attempt: Attempt) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(view) = self.launched_view(id, job) else { return };
        let (array, network) = (self.array_of(id), wants_network(job));
        self.out.effects.push(Effect::AskStart { job: Box::new(view), attempt, array, network });
    }

    pub(crate) fn node_name(&self, node: NodeId) -> String {
        self.nodes
            .node(node)
            .map_or_else(String::new, |node| format!("{}/{}", self.names.name(node.executor), node.name))
    }

    /// The order to launch a job that starts; `None` while its network is awaited.
    pub(crate) fn order(&mut self, id: JobId) -> Option<LaunchOrder> {
        let order = self.order_of(id)?;
        self.jobs.get_mut(&id)?.run.as_mut()?.in_flight = true;
        Some(order)
    }

    fn order_of(&self, id: JobId) -> Option<LaunchOrder> {
        let job = self.jobs.get(&id)?;
        let JobState::Starting { attempt, .. } = job.state else { return None };
        let run = job.run.as_deref().filter(|run| run.launch == LaunchStep::Sent)?;
        let task = match job.kind {
            Kind::Task { array, position } => Some((array, self.index(array, position)?)),
            Kind::Plain | Kind::Array(_) => None,
        };
        let state = self.nodes.node(run.node)?;
        let node = state.name.clone();
        let granted = run.held.iter().map(|held| held.told(&self.names, &state.pools)).collect();
        Some(LaunchOrder { job: id, attempt, task, node, network: run.network.clone(), granted })
    }

    pub(crate) fn index(&self, array: JobId, position: u64) -> Option<u64> {
        match self.jobs.get(&array).and_then(|job| job.array()) {
            Some(array) => array.range.index_at(position),
            // Its array is over; the range came with the task when that was brought back.
            None => self.jobs.get(&task_id(array, position))?.rare.as_ref()?.range?.index_at(position),
        }
    }
}

/// How long to wait before a policy that could not answer is asked again.
const PLAN_AGAIN_MS: u64 = 1000;

fn wants_network(job: &Job) -> bool {
    job.rare.as_ref().is_some_and(|rare| rare.wants_network)
}

fn asks_before(settings: &Settings, job: &Job) -> bool {
    settings.asks_before_starts || wants_network(job)
}
