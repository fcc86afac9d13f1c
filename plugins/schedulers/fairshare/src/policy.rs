//! Who has used less of what they have a share in goes first.

use std::collections::{BTreeMap, BTreeSet, btree_set};

use berth_policy_sdk::{
    Error, Info, InstantMs, JobId, NameId, PendingJob, PlacementId, RunningJob, Scheduler, Settings, Space,
    info,
    round::{Finished, Round},
    scheduler::{NodeRoom, Placement, Plan},
};

use crate::{
    accounts::Amount,
    contest::{Bid, Contest, Field, Score},
    pending::{Lane, Pair, Pending, Place, PlaceBy},
    running::Running,
    scene::{Scene, Seat, View},
    settings::{Choices, Method},
};

/// The project of jobs that name none.
const DEFAULT_PROJECT: &str = "default";

/// Where a job waits for room, it is looked again after this time who comes first.
const LOOK_AGAIN_MS: u64 = 60_000;

/// The policy.
#[derive(Clone, Debug)]
pub struct Fairshare {
    pub(crate) choices: Choices,
    pub(crate) pending: Pending,
    running: Running,
    names: Vec<String>,
    default_project: Option<NameId>,
    /// The groups of the last plan's projects.
    groups: BTreeSet<NameId>,
    /// The first job of each placement that found no room in the last plan.
    pub(crate) blocked: BTreeMap<PlacementId, JobId>,
}

impl Scheduler for Fairshare {
    fn describe() -> Info {
        info!(
            "fairshare",
            "who has used less of what they have a share in goes first",
            "method" => "weights (usual): GO-Docker's weighted sum; shares: Slurm's classic factor; tree: Slurm's Fair Tree",
            "use" => "faded (usual): of what was used, half counts after each half-life; window: what the quotas' period has",
            "advance" => "for so long more than it has run, a running job counts; 60s unless given",
            "compat" => "true: GO-Docker to the letter, with ended jobs only and CPUs and memory whatever the time",
            "wait-weight" => "weights: of having waited; 0.1 unless given",
            "user-time-weight" => "weights: of the user's running time; 1 unless given",
            "user-cpu-weight" => "weights: of the user's CPU time; 0.2 unless given",
            "user-memory-weight" => "weights: of the user's memory time; 0.2 unless given",
            "project-time-weight" => "weights: of the project's running time; 0.1 unless given",
            "project-cpu-weight" => "weights: of the project's CPU time; 0.01 unless given",
            "project-memory-weight" => "weights: of the project's memory time; 0.01 unless given",
            "user-priority-weight" => "weights: of the user's priority; 1 unless given",
            "project-priority-weight" => "weights: of the project's priority; 1 unless given",
            "cpu-cost" => "shares, tree: what a second of a CPU counts; 1 unless given",
            "memory-cost" => "shares, tree: what a second of a GiB counts; 0 unless given",
            "dampening" => "shares: divides the exponent of the factor that users are shown; changes no order; 1 unless given",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        let choices = Choices::configure(settings)?;
        let by = match choices.method {
            Method::Weights(weights) if choices.is_compat && weights.wait > 0.0 => PlaceBy::Second,
            _ if choices.is_compat => PlaceBy::Number,
            _ => PlaceBy::Priority,
        };
        let (running, names, groups) = (Running::default(), Vec::new(), BTreeSet::new());
        let (default_project, blocked) = (None, BTreeMap::new());
        Ok(Self { choices, pending: Pending::new(by), running, names, default_project, groups, blocked })
    }

    fn names(&mut self, first: NameId, names: Vec<String>) {
        for (number, name) in (first..).zip(names) {
            if name == DEFAULT_PROJECT {
                self.default_project = Some(number);
            }
            let at = number as usize;
            if at >= self.names.len() {
                self.names.resize(at + 1, String::new());
            }
            if let Some(known) = self.names.get_mut(at) {
                *known = name;
            }
        }
    }

    fn placements(&mut self, placements: Vec<Placement>) {
        for placement in placements {
            self.pending.place(placement);
        }
    }

    fn pending(&mut self, jobs: Vec<PendingJob>) {
        for job in &jobs {
            self.pending.put(job);
        }
    }

    fn withdrawn(&mut self, jobs: Vec<JobId>) {
        for job in jobs {
            self.pending.remove(job);
        }
    }

    fn started(&mut self, jobs: Vec<RunningJob>) {
        for job in &jobs {
            self.running.put(job);
        }
    }

    fn ended(&mut self, jobs: Vec<JobId>) {
        for job in jobs {
            self.running.remove(job);
        }
    }

    fn plan(&mut self, now_ms: InstantMs, room: Vec<NodeRoom>, most: u32) -> Result<Plan, Error> {
        let scene = self.look(now_ms, None);
        let mut round = Round::new(Space::new(room), most);
        self.go(scene, &mut round);
        let Finished { mut plan, blocked, is_again } = round.finish();
        plan.wake_at_ms = if is_again {
            // What the host would have placed otherwise may leave room that was not seen.
            Some(now_ms)
        } else if !blocked.is_empty() && !self.choices.is_compat {
            // What runs counts for more all the time, and so another may come first, whose job fits.
            Some(now_ms.saturating_add(LOOK_AGAIN_MS))
        } else {
            None
        };
        self.blocked = blocked;
        Ok(plan)
    }

    fn explain(&mut self, now_ms: InstantMs, job: JobId) -> Option<String> {
        self.why(now_ms, job)
    }

    fn known(&mut self) -> u64 {
        self.pending.len()
    }
}

impl Fairshare {
    /// How all stand now, and how `asked` does in words.
    pub(crate) fn look(&mut self, now_ms: InstantMs, asked: Option<Pair>) -> Scene {
        let view = View {
            choices: &self.choices,
            pending: &self.pending,
            running: &self.running,
            default_project: self.default_project,
            now_ms,
            asked,
        };
        Scene::look(&view, &mut self.groups)
    }

    pub(crate) fn name(&self, name: NameId) -> &str {
        self.names.get(name as usize).map_or("?", String::as_str)
    }

    /// Lets those start who are next, as long as there is room.
    fn go<'a>(&'a self, scene: Scene, round: &mut Round<'a>) {
        let mut strands = BTreeMap::new();
        for (placement, site) in self.pending.sites().filter(|(_, site)| site.waits > 0) {
            strands.insert(placement, round.join(placement, &site.nodes, site.waits));
        }
        let mut course = Course { policy: self, scene, lanes: Vec::new(), is_open: Vec::new() };
        let mut contest = course.contest(&strands, round);
        contest.open(&course);
        while round.left() > 0 {
            let Some(lane) = contest.next(&course) else { break };
            course.turn(lane, round);
        }
    }

    /// What the first jobs of a seat's lanes are ordered by.
    pub(crate) fn score(&self, scene: &Scene, seat: usize, place: Place) -> Score {
        let wait = scene.wait.map_or(0.0, |wait| wait.term(self.pending.second(place)));
        let score = match scene.parts.get(seat) {
            // Summed up in the order of the formula, so that what is equal there is equal here.
            Some(parts) => parts.iter().fold(wait, |sum, part| sum + part),
            None => scene.seats.get(seat).map_or(0.0, |seat| scene.term(seat.own)) + wait,
        };
        Score([score, 0.0, 0.0])
    }
}

/// The first job of a user in a project that waits for some nodes, and those behind it.
struct Runner<'a> {
    seat: usize,
    strand: usize,
    head: Option<(Place, JobId)>,
    jobs: &'a Lane,
    /// From the second one on, as soon as that has its turn.
    rest: Option<btree_set::Iter<'a, (Place, JobId)>>,
    /// Tasks of the first job that have started.
    begun: u32,
}

/// A plan while it is made.
struct Course<'a> {
    policy: &'a Fairshare,
    scene: Scene,
    lanes: Vec<Runner<'a>>,
    /// Of each placement that takes part.
    is_open: Vec<bool>,
}

impl<'a> Course<'a> {
    fn contest(&mut self, strands: &BTreeMap<PlacementId, usize>, round: &Round<'_>) -> Contest {
        self.is_open = (0..strands.len()).map(|strand| round.is_open(strand)).collect();
        let mut contest = Contest::new(self.scene.combine);
        let mut groups = BTreeMap::new();
        // Both are in the order of pairs, and those of a project stand together.
        let (mut seats, mut of_project) = (self.scene.seats.iter().enumerate().peekable(), None);
        for (pair, placement, jobs) in self.policy.pending.lanes() {
            while seats.next_if(|(_, seat)| seat.pair < pair).is_some() {}
            let (Some(&(number, seat)), Some(&strand)) = (seats.peek(), strands.get(&placement)) else {
                continue;
            };
            let node = match of_project {
                _ if self.policy.choices.is_compat => Contest::ROOT,
                Some((project, node)) if project == seat.project => node,
                _ => {
                    let group = seat.group.map_or(Contest::ROOT, |group| {
                        *groups.entry(group).or_insert_with(|| contest.branch(Contest::ROOT, group))
                    });
                    contest.branch(group, seat.project)
                }
            };
            of_project = Some((seat.project, node));
            contest.leaf(node, self.lanes.len());
            let head = Some(jobs.head());
            self.lanes.push(Runner { seat: number, strand, head, jobs, rest: None, begun: 0 });
        }
        contest
    }

    /// It is the turn of the first job of a lane.
    fn turn(&mut self, number: usize, round: &mut Round<'a>) {
        let choices = &self.policy.choices;
        let Some(lane) = self.lanes.get_mut(number) else { return };
        let Some((job, waiting)) = lane.head.and_then(|(_, job)| Some((job, self.policy.pending.get(job)?)))
        else {
            lane.head = None;
            return;
        };
        let needs = waiting.needs();
        let left = waiting.count - lane.begun;
        // One task at a time, where each start makes a difference to who is next.
        let wanted = if choices.advance_ms == 0 { left } else { 1 };
        let placed = round.start(lane.strand, job, &needs, waiting.count, wanted);
        lane.begun += placed;
        if lane.begun == waiting.count {
            let all = lane.jobs;
            let rest = lane.rest.get_or_insert_with(|| {
                let mut all = all.iter();
                all.next();
                all
            });
            lane.head = rest.next().copied();
            lane.begun = 0;
        }
        if let Some(&Seat { group, project, own, .. }) = self.scene.seats.get(lane.seat)
            && placed > 0
            && choices.advance_ms > 0
        {
            let advance = Amount::of(&needs, choices.advance_ms, placed);
            for account in group.into_iter().chain([project, own]) {
                self.scene.add(account, &advance);
            }
        }
        if let Some(is_open) = self.is_open.get_mut(lane.strand) {
            *is_open = round.is_open(lane.strand);
        }
    }
}

impl Field for Course<'_> {
    fn leaf(&self, leaf: usize) -> Option<Bid> {
        let lane = self.lanes.get(leaf)?;
        let (place, job) = lane.head.filter(|_| self.is_open.get(lane.strand) == Some(&true))?;
        Some((self.policy.score(&self.scene, lane.seat, place), place, job))
    }

    fn term(&self, account: usize) -> f64 {
        self.scene.term(account)
    }
}
