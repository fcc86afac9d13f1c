//! The simulated back end itself. Knows no clock and no runtime: the time is an argument, and what
//! it has to tell waits in its outbox.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
};

use berth_executor_api::{
    Action, AttemptName, AttemptState, JobId, Launch, Launched, NodeState, Places, Report, Truth, UtcMs,
};

use crate::{
    config::{FakeConfig, Lack},
    convert::Behaviour,
    entry::{Entry, Facts, Phase},
    faults,
    journal::{Journal, Record, Runs},
    nodes::Nodes,
    reports::{Outbox, What},
};

/// Nodes, attempts, and what is to come.
pub(crate) struct Cluster {
    pub config: FakeConfig,
    pub world: World,
    entries: HashMap<AttemptName, Box<Entry>>,
    site: Arc<Behaviour>,
    /// Attempts of which it cannot be said whether they exist.
    pub blurred: HashSet<AttemptName>,
    /// So many launch calls lose their answer.
    pub lose_replies: u32,
}

/// What attempts act upon.
pub(crate) struct World {
    pub nodes: Nodes,
    pub out: Outbox,
    journal: Option<Journal>,
    runs: Option<BTreeMap<AttemptName, Runs>>,
}

/// The answers to a launch, and whether they are lost on the way.
pub(crate) struct Answers {
    pub launched: Vec<Launched>,
    pub lost: bool,
}

impl Cluster {
    /// Begins, or goes on from the state file.
    pub(crate) fn new(config: FakeConfig, now: UtcMs) -> Result<Self, String> {
        let world = World {
            nodes: Nodes::new(&config.nodes)?,
            out: Outbox::default(),
            journal: None,
            runs: (config.count_runs || config.state.is_some()).then(BTreeMap::new),
        };
        let mut cluster = Self {
            world,
            entries: HashMap::new(),
            site: Arc::new(Behaviour::of_site(&config)),
            blurred: HashSet::new(),
            lose_replies: 0,
            config,
        };
        if let Some(path) = cluster.config.state.clone() {
            let opened = Journal::open(&path);
            let (journal, records) =
                opened.map_err(|error| format!("state file {}: {error}", path.display()))?;
            let noted = cluster.replay(records, now);
            cluster.world.journal = Some(journal);
            cluster.note_missed_ends(&noted, now);
        }
        Ok(cluster)
    }

    /// Does again what was done before the process died. What was told then is not told again. Answers
    /// with the attempts whose ends are in the file.
    fn replay(&mut self, records: Vec<Record>, now: UtcMs) -> HashSet<AttemptName> {
        let mut noted = HashSet::new();
        for record in records {
            match record {
                Record::Launched { attempt, at, facts } => {
                    self.run_due(at);
                    let node = self.world.nodes.find(&facts.node).unwrap_or(usize::MAX);
                    self.world.nodes.take(node, &facts.resources, &facts.ports);
                    self.insert(attempt, facts, node, at);
                }
                Record::Asked { attempt, at, action } => {
                    self.run_due(at);
                    self.control(&attempt, action.into(), at);
                }
                Record::Removed { attempt, at } => {
                    self.run_due(at);
                    self.entries.remove(&attempt);
                }
                Record::Node { name, at, state } => {
                    self.run_due(at);
                    self.set_node(&name, state, at);
                }
                // It ends again by itself.
                Record::Ended { attempt, .. } => {
                    noted.insert(attempt);
                }
            }
        }
        self.run_due(now);
        self.world.out.take();
        noted
    }

    /// Writes down what ended while there was no process to do so.
    fn note_missed_ends(&mut self, noted: &HashSet<AttemptName>, now: UtcMs) {
        let Some(journal) = &mut self.world.journal else { return };
        for (attempt, entry) in &self.entries {
            if entry.is_over() && !noted.contains(attempt) {
                journal.note(&Record::Ended { attempt: attempt.clone(), at: now });
            }
        }
    }

    /// Everything that happens until `now`, each at its own time.
    pub(crate) fn run_due(&mut self, now: UtcMs) {
        while let Some((at, what)) = self.world.out.next_due(now) {
            match what {
                What::Tell(report) => self.world.out.tell_site(*report),
                What::Attempt(name, generation) => {
                    let Some(entry) = self.entries.get_mut(&name) else { continue };
                    if entry.generation == generation && !self.world.advance(&name, entry, at) {
                        self.entries.remove(&name);
                    }
                }
            }
        }
    }

    pub(crate) fn launch(&mut self, batch: &[Launch], now: UtcMs) -> Answers {
        let mut room = self.config.accepts_per_call.unwrap_or(usize::MAX);
        let mut lost = self.lose_replies > 0;
        self.lose_replies = self.lose_replies.saturating_sub(1);
        let mut answer = |launch: &Launch| {
            if self.entries.contains_key(&launch.attempt) {
                return Launched::Taken;
            }
            if room == 0 {
                return Launched::NoRoom { words: "the call is full".into() };
            }
            match self.launch_one(launch, now) {
                Ok(lose_reply) => {
                    room -= 1;
                    lost |= lose_reply;
                    Launched::Taken
                }
                Err(answer) => answer,
            }
        };
        let launched = batch.iter().map(&mut answer).collect();
        Answers { launched, lost }
    }

    /// Whether the answer is to be lost; or the answer why it is not taken.
    fn launch_one(&mut self, launch: &Launch, now: UtcMs) -> Result<bool, Launched> {
        let spec = &launch.spec;
        let behaviour = Behaviour::of(spec, &self.site).map_err(|words| Launched::Refused { words })?;
        let behaviour = faults::strike(behaviour, launch.attempt.as_str(), &self.config);
        if let Some(words) = behaviour.refuse.clone() {
            return Err(Launched::Refused { words });
        }
        let (no_room, given_back) = returns(launch, &behaviour);
        if no_room {
            return Err(Launched::NoRoom { words: "no room, as asked".into() });
        }
        let node = self.world.nodes.place(launch)?;
        let facts = Facts {
            node: self.world.nodes.name(node).unwrap_or_default().to_owned(),
            resources: spec.resources,
            time_limit: spec.time_limit.filter(|_| self.config.has(Lack::TimeLimit)),
            grace: spec.grace,
            given_back,
            ports: if spec.ports.is_empty() { Vec::new() } else { self.world.nodes.publish(node, spec) },
            environment: if behaviour.prints_env { environment(launch) } else { String::new() },
            behaviour,
        };
        if let Some(journal) = &mut self.world.journal {
            journal.note(&Record::Launched {
                attempt: launch.attempt.clone(),
                at: now,
                facts: facts.clone(),
            });
        }
        let lose_reply = facts.behaviour.lose_reply;
        self.insert(launch.attempt.clone(), facts, node, now);
        Ok(lose_reply)
    }

    /// The entry goes into the books once it has come as far as it comes now: most never change again.
    fn insert(&mut self, attempt: AttemptName, facts: Facts, node: usize, now: UtcMs) {
        if let Some(runs) = &mut self.world.runs {
            runs.entry(attempt.clone()).or_default().launched += 1;
        }
        let mut entry = Box::new(Entry::new(facts, node, now));
        if entry.facts.behaviour.start_ms > 0 {
            self.world.out.tell(entry.report(&attempt), &entry.facts.behaviour, now);
        }
        if self.world.advance(&attempt, &mut entry, now) {
            self.entries.insert(attempt, entry);
        }
    }

    /// Whether the attempt is there to be asked.
    pub(crate) fn control(&mut self, name: &AttemptName, action: Action, now: UtcMs) -> bool {
        let Some(entry) = self.entries.get_mut(name).filter(|entry| !entry.is_over()) else { return false };
        let phase = entry.ask(action, now);
        if let Some(journal) = &mut self.world.journal {
            journal.note(&Record::Asked { attempt: name.clone(), at: now, action: action.into() });
        }
        if let Some(phase) = phase {
            self.world.enter(name, entry, phase, now);
        }
        if !self.world.advance(name, entry, now) {
            self.entries.remove(name);
        }
        true
    }

    pub(crate) fn truth(&self, name: &AttemptName) -> Truth {
        if self.blurred.contains(name) {
            return Truth::Uncertain { words: "as asked".into() };
        }
        self.entry(name).map_or(Truth::Absent, |entry| Truth::Known(entry.report(name)))
    }

    pub(crate) fn attempts(&self) -> Vec<AttemptName> {
        self.entries.keys().cloned().collect()
    }

    pub(crate) fn entry(&self, name: &AttemptName) -> Option<&Entry> {
        self.entries.get(name).map(Box::as_ref)
    }

    pub(crate) fn remove(&mut self, name: &AttemptName, now: UtcMs) {
        if self.entries.get(name).is_some_and(|entry| entry.is_over()) {
            self.forget(name, now);
        }
    }

    fn forget(&mut self, name: &AttemptName, now: UtcMs) {
        if let Some(entry) = self.entries.remove(name) {
            if !entry.is_over() {
                self.world.nodes.give_back(entry.node, &entry.facts.resources, &entry.facts.ports);
            }
            if let Some(journal) = &mut self.world.journal {
                journal.note(&Record::Removed { attempt: name.clone(), at: now });
            }
        }
    }

    pub(crate) fn cleanup(&mut self, dry_run: bool, now: UtcMs) -> Vec<String> {
        let mut names: Vec<_> = self.entries.keys().cloned().collect();
        names.sort();
        let mut lines = Vec::with_capacity(names.len());
        for name in names {
            let node = self.entries.get(&name).map(|entry| entry.facts.node.clone()).unwrap_or_default();
            lines.push(format!("attempt {name} on node {node}"));
            if !dry_run {
                self.forget(&name, now);
            }
        }
        lines
    }

    /// Changes a node's state; what ran on one that goes down is gone. Whether there is such a node.
    pub(crate) fn set_node(&mut self, name: &str, state: NodeState, now: UtcMs) -> bool {
        let Some(index) = self.world.nodes.set_state(name, state) else { return false };
        if let Some(journal) = &mut self.world.journal {
            journal.note(&Record::Node { name: name.to_owned(), at: now, state });
        }
        if state == NodeState::Down {
            let there =
                |(_, entry): &(&AttemptName, &mut Box<Entry>)| entry.node == index && !entry.is_over();
            let mut gone: Vec<_> = self.entries.iter_mut().filter(there).collect();
            gone.sort_by_key(|(name, _)| *name);
            for (name, entry) in gone {
                self.world.enter(name, entry, Phase::Over(AttemptState::NodeGone), now);
            }
        }
        self.world.out.tell_site(Report::Capacity(self.world.nodes.all()));
        true
    }

    pub(crate) fn runs(&self, name: &AttemptName) -> Option<Runs> {
        Some(self.world.runs.as_ref()?.get(name).copied().unwrap_or_default())
    }

    pub(crate) fn names(&self) -> Vec<AttemptName> {
        self.entries.keys().cloned().collect()
    }

    /// Puts what happened into the state file.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        self.world.journal.as_mut().map_or(Ok(()), Journal::write)
    }
}

impl World {
    /// Moves the attempt as far as it comes at this time, and plans for the next one. Whether the back
    /// end keeps it.
    fn advance(&mut self, name: &AttemptName, entry: &mut Entry, at: UtcMs) -> bool {
        while let Some(phase) = entry.due(at) {
            self.enter(name, entry, phase, at);
        }
        if let Some(next) = entry.next_time() {
            self.out.later(next, What::Attempt(name.clone(), entry.generation));
        }
        entry.phase != Phase::Over(AttemptState::NoRoom)
    }

    fn enter(&mut self, name: &AttemptName, entry: &mut Entry, phase: Phase, at: UtcMs) {
        entry.enter(phase, at);
        self.out.tell(entry.report(name), &entry.facts.behaviour, at);
        if !entry.is_over() {
            return;
        }
        self.nodes.give_back(entry.node, &entry.facts.resources, &entry.facts.ports);
        if let Some(journal) = &mut self.journal {
            journal.note(&Record::Ended { attempt: name.clone(), at });
        }
        if let Some(runs) = &mut self.runs {
            runs.entry(name.clone()).or_default().ended += 1;
        }
    }
}

/// Whether this launch has no room, and whether it is given back when it should start.
fn returns(launch: &Launch, behaviour: &Behaviour) -> (bool, bool) {
    let Behaviour { no_room, give_back, .. } = *behaviour;
    if no_room == 0 && give_back == 0 {
        return (false, false);
    }
    let parsed = AttemptName::parse(&launch.spec.cluster, launch.attempt.as_str());
    let returned = parsed.map_or(0, |(_, attempt): (JobId, _)| attempt.returned);
    (returned < no_room, returned < give_back)
}

fn environment(launch: &Launch) -> String {
    let home = launch.spec.identity.home.as_deref().unwrap_or(&launch.directory);
    let all = launch.environment(Places { directory: &launch.directory, home, data: None });
    all.into_iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
pub(crate) mod tests;
