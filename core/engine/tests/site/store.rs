//! A store that keeps everything in maps.

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::{
    ArrayEnds, Change, LiveJob, QuotaSettings, Restored, StoredAccount, StoredClosure, StoredDirectory,
};
use berth_model::{
    AccountKind, AccountTerms, Attempt, Closure, ClosureKind, EventKind, InUse, JobId, JobState, Resources,
    StateKind, Stock, Used, UtcMs,
};

#[derive(Default)]
pub struct Stored {
    jobs: BTreeMap<JobId, LiveJob>,
    next_id: JobId,
    pub history: Vec<(JobId, EventKind)>,
    /// What each account has used, by the hour.
    pub charged: BTreeMap<(AccountKind, String), BTreeMap<u64, Used>>,
    pub terms: BTreeMap<(AccountKind, String), (u64, AccountTerms)>,
    pub closures: BTreeMap<(ClosureKind, String), (u64, Closure)>,
    /// On which nodes each job has failed that is to avoid those.
    pub failed: BTreeMap<JobId, BTreeSet<String>>,
    /// What directories take, and after which execution they were measured.
    pub directories: BTreeMap<JobId, (u32, u64)>,
}

const HOUR_MS: u64 = 3_600_000;

impl Stored {
    pub fn write(&mut self, change: Change) {
        match change {
            Change::Added { job, .. } => {
                let before = self.jobs.insert(job.id, *job);
                assert!(before.is_none(), "a job's number was given twice");
            }
            Change::TaskAdded { task } => {
                self.jobs.insert(task.id, *task);
            }
            Change::Updated { job, now } => {
                let stored = self.jobs.get_mut(&job).expect("only stored jobs move");
                let before = std::mem::replace(&mut stored.moving, *now);
                let after = &stored.moving;
                let over = before.state.attempt().is_some() && after.state.attempt().is_none();
                let failed = matches!(after.state.kind(), StateKind::Failed | StateKind::Lost);
                if stored.avoid_failed_nodes && over && stored.array.is_none() {
                    let lost = after.node_failures > before.node_failures;
                    let node = before.node.filter(|_| failed || lost);
                    self.failed.entry(job).or_default().extend(node);
                }
            }
            Change::Altered { job, submission } => {
                assert!(self.jobs.contains_key(&job), "only stored jobs are altered");
                let of_it = |stored: &&mut LiveJob| {
                    stored.id == job || stored.task_of.is_some_and(|(array, _)| array == job)
                };
                for job in self.jobs.values_mut().filter(of_it) {
                    job.project.clone_from(&submission.spec.project);
                    job.class.clone_from(&submission.spec.class);
                    job.needs = submission.spec.resources;
                    job.time_limit_ms = submission.spec.time_limit.map(|limit| limit.as_millis() as u64);
                }
            }
            Change::Event(event) => self.history.push((event.job, event.kind)),
            Change::Charged { kind, name, hour, used } => {
                let whose = (kind, name);
                let before = self.charged.entry(whose).or_default().insert(hour, used);
                assert!(before.is_none_or(|before| before.jobs < used.jobs), "use only grows");
            }
            Change::Directory { job, after, bytes } => {
                let before = self.directories.insert(job, (after, bytes));
                assert!(before.is_none_or(|(before, _)| before <= after), "older news replace later ones");
            }
            Change::DirectoriesGone { first, last } => {
                self.directories.retain(|job, _| !(first..=last).contains(job));
            }
            Change::Account { kind, name, version, terms } => {
                let before = match terms {
                    Some(terms) => self.terms.insert((kind, name), (version, *terms)),
                    None => self.terms.remove(&(kind, name)),
                };
                assert!(
                    before.is_none_or(|(before, _)| version == 0 || before < version),
                    "versions only rise"
                );
            }
            Change::Closure { kind, name, version, terms } => {
                let before = match terms {
                    Some(terms) => self.closures.insert((kind, name), (version, *terms)),
                    None => self.closures.remove(&(kind, name)),
                };
                assert!(
                    before.is_none_or(|(before, _)| version == 0 || before < version),
                    "versions only rise"
                );
            }
            Change::NextId(next) => {
                assert!(next > self.next_id, "numbers only rise");
                self.next_id = next;
            }
        }
    }

    pub fn job(&self, id: JobId) -> Option<LiveJob> {
        let mut job = self.jobs.get(&id).cloned()?;
        if let Some((array, _)) = job.task_of {
            job.array = self.jobs[&array].array;
        }
        // An array that runs again gives its tasks numbers that none of them has had.
        if let Some(highest) = self.tasks(id).map(|task| task.moving.attempt.number).max()
            && job.moving.state.kind().is_end()
        {
            job.moving.attempt.number = job.moving.attempt.number.max(highest);
        }
        Some(job)
    }

    pub fn jobs(&self) -> impl Iterator<Item = &LiveJob> {
        self.jobs.values()
    }

    pub fn state(&self, id: JobId) -> Option<&JobState> {
        self.jobs.get(&id).map(|job| &job.moving.state)
    }

    pub fn note(&self, id: JobId) -> Option<String> {
        self.jobs.get(&id).and_then(|job| job.moving.note.clone())
    }

    pub fn attempt(&self, id: JobId) -> Attempt {
        self.jobs[&id].moving.attempt
    }

    pub fn ends(&self) -> Vec<(JobId, StateKind)> {
        let ended = self.jobs.values().filter(|job| job.moving.state.kind().is_end());
        ended.map(|job| (job.id, job.moving.state.kind())).collect()
    }

    pub fn allocated_on(&self, node: &str) -> Resources {
        let active = |job: &&LiveJob| job.array.is_none() && job.moving.state.attempt().is_some();
        let here = |job: &&LiveJob| job.moving.node.as_deref() == Some(node);
        let sum = |sum: Resources, job: &LiveJob| sum.plus(&job.needs);
        self.jobs.values().filter(active).filter(here).fold(Resources::default(), sum)
    }

    /// A job may start on a node now: nothing closes that to it, and it has not failed there if that counts.
    pub fn check_start(&self, id: JobId, node: &str, now: UtcMs) {
        let job = self.job(id).expect("only stored jobs start");
        let most = job.time_limit_ms.map_or(u64::MAX, |limit| limit + job.grace_ms);
        for ((kind, name), (_, closure)) in &self.closures {
            let lets_in = closure.users.contains(&job.owner) || closure.projects.contains(&job.project);
            let over = closure.until.is_some_and(|until| until <= now);
            let reached = closure.from.is_none_or(|from| now.0.saturating_add(most) > from.0 || from <= now);
            let broken = closure.means(node) && !lets_in && !over && reached;
            assert!(!broken, "job {id} starts on {node} at {now}, which {kind} {name} closes: {closure:?}");
        }
        let failed = self.failed.get(&id).is_some_and(|failed| failed.contains(node));
        assert!(!failed, "job {id} starts on {node} again, where it failed");
    }

    /// What is closed, as the engine is to have it.
    pub fn closures(&self) -> Vec<StoredClosure> {
        let all = self.closures.iter();
        all.map(|((kind, name), (version, terms))| StoredClosure {
            kind: *kind,
            name: name.clone(),
            version: *version,
            terms: terms.clone(),
        })
        .collect()
    }

    fn active(&self) -> impl Iterator<Item = &LiveJob> {
        self.jobs.values().filter(|job| job.array.is_none() && job.moving.state.attempt().is_some())
    }

    /// No unit is held twice, nothing is held that there is not, and everybody holds what they asked for.
    pub fn check_named(&self, node: &str, stocks: &BTreeMap<String, Stock>) {
        let here: Vec<&LiveJob> =
            self.active().filter(|job| job.moving.node.as_deref() == Some(node)).collect();
        for (name, stock) in stocks {
            let grants =
                || here.iter().flat_map(|job| &job.moving.granted).filter(|grant| grant.name == *name);
            let held: u64 = grants().map(|grant| grant.amount).sum();
            assert!(held <= stock.total(), "{held} of {name} are held on {node}, of {}", stock.total());
            let Stock::Units(units) = stock else { continue };
            let mut seen = BTreeSet::new();
            for unit in grants().flat_map(|grant| &grant.units) {
                assert!(units.contains_key(unit), "there is no unit {unit} of {name}");
                assert!(seen.insert(unit), "unit {unit} of {name} is held twice on {node}");
            }
            assert_eq!(seen.len() as u64, held, "units of {name} without a number");
        }
        for job in here {
            let held: BTreeMap<String, u64> =
                job.moving.granted.iter().map(|grant| (grant.name.clone(), grant.amount)).collect();
            assert_eq!(held, job.named, "job {} holds what it did not ask for", job.id);
        }
    }

    /// Likewise, of what all nodes share.
    pub fn check_shared(&self, totals: &BTreeMap<String, u64>) {
        for (name, total) in totals {
            let grants = self.active().flat_map(|job| &job.moving.granted);
            let held: u64 = grants.filter(|grant| grant.name == *name).map(|grant| grant.amount).sum();
            assert!(held <= *total, "{held} of {name} are held, of {total}");
        }
    }

    pub fn check_array_bounds(&self) {
        for array in self.jobs.values() {
            let Some(bound) = array.array.and_then(|range| range.at_once()) else { continue };
            let active = self.tasks(array.id).filter(|task| task.moving.state.attempt().is_some()).count();
            assert!(active <= bound as usize, "{active} tasks of {} are active", array.id);
        }
    }

    pub fn tasks(&self, array: JobId) -> impl Iterator<Item = &LiveJob> {
        self.jobs.values().filter(move |job| job.task_of.is_some_and(|(of, _)| of == array))
    }

    fn is_of(job: &LiveJob, kind: AccountKind, name: &str) -> bool {
        match kind {
            AccountKind::User => job.owner == name,
            AccountKind::Project => job.project == name,
            AccountKind::Class => job.class.as_deref() == Some(name),
            AccountKind::ClassUser => {
                job.class.as_ref().is_some_and(|class| format!("{class}/{}", job.owner) == name)
            }
            AccountKind::Group | AccountKind::Member => false,
        }
    }

    /// What an account has running, and on the disk.
    pub fn in_use(&self, kind: AccountKind, name: &str) -> InUse {
        let active = |job: &&LiveJob| job.array.is_none() && job.moving.state.attempt().is_some();
        let whose = |job: &&LiveJob| Self::is_of(job, kind, name);
        let running = self.jobs.values().filter(active).filter(whose);
        // Classes bound nothing on the disk, and it is not counted for them.
        let has_disk = !matches!(kind, AccountKind::Class | AccountKind::ClassUser);
        let disk = self.jobs.values().filter(whose).filter(|_| has_disk);
        let disk = disk.filter_map(|job| self.directories.get(&job.id));
        let running = running.map(|job| InUse::by(&job.needs));
        let all = running.chain(disk.map(|&(_, bytes)| InUse::disk(bytes)));
        all.fold(InUse::default(), |sum, part| sum.plus(&part))
    }

    /// What an account has used within a period, and what its active jobs may still use.
    pub fn used_and_kept(&self, kind: AccountKind, name: &str, now: UtcMs, period_ms: u64) -> Used {
        let hours = self.charged.get(&(kind, name.to_owned())).into_iter().flatten();
        let counts = |&(&hour, _): &(&u64, &Used)| (hour + 1) * HOUR_MS + period_ms > now.0;
        let used: Used = hours.filter(counts).map(|(_, used)| *used).sum();
        let whose = |job: &&LiveJob| Self::is_of(job, kind, name);
        let active = |job: &&LiveJob| job.array.is_none() && job.moving.state.attempt().is_some();
        let most =
            |job: &LiveJob| Used::of(&job.needs, job.time_limit_ms.map_or(0, |limit| limit + job.grace_ms));
        used.plus(&self.jobs.values().filter(active).filter(whose).map(most).sum())
    }

    pub fn check_quotas(&self, now: UtcMs, quotas: &QuotaSettings) {
        let users: BTreeSet<&str> = self.jobs.values().map(|job| job.owner.as_str()).collect();
        let projects: BTreeSet<&str> = self.jobs.values().map(|job| job.project.as_str()).collect();
        let whose = users.iter().map(|&name| (AccountKind::User, name.to_owned(), &quotas.user));
        let projects = projects.into_iter().filter(|&name| name != "default");
        let projects = projects.map(|name| (AccountKind::Project, name.to_owned(), &quotas.project));
        let classes = quotas.classes.iter().flat_map(|(class, bounds)| {
            let parts = users.iter().map(move |user| format!("{class}/{user}"));
            let parts = parts.map(move |part| (AccountKind::ClassUser, part, &bounds.user));
            parts.chain([(AccountKind::Class, class.clone(), &bounds.all)])
        });
        for (kind, name, usual) in whose.chain(projects).chain(classes) {
            let name = name.as_str();
            let own =
                self.terms.get(&(kind, name.to_owned())).map(|(_, terms)| terms.limits).unwrap_or_default();
            let used = self.used_and_kept(kind, name, now, quotas.period_ms);
            let running = InUse { disk_bytes: 0, ..self.in_use(kind, name) };
            let passed = own.or(usual).passed_by(&used, &running);
            assert!(passed.is_none(), "{kind} {name} has {used:?} and {running:?}, more than {passed:?}");
        }
    }

    pub fn restore(&self) -> Restored {
        let live = |job: &&LiveJob| !job.moving.state.kind().is_end();
        let mut restored = Restored {
            next_id: self.next_id,
            live: self.jobs.values().filter(live).filter_map(|job| self.job(job.id)).collect(),
            ..Restored::default()
        };
        for array in self.jobs.values().filter(live).filter(|job| job.array.is_some()) {
            let mut ends = ArrayEnds::default();
            let this_time = |task: &&LiveJob| task.moving.attempt.number >= array.moving.attempt.number;
            for task in
                self.tasks(array.id).filter(this_time).filter(|task| task.moving.state.kind().is_end())
            {
                ends.ended += 1;
                ends.not_ok += u64::from(task.moving.state.kind() != StateKind::Succeeded);
                ends.highest_exit = ends.highest_exit.max(task.moving.exit_code.unwrap_or(0));
                let (_, position) = task.task_of.expect("a task");
                if position >= array.moving.array_next {
                    restored.ended_ahead.push((array.id, position));
                }
            }
            restored.arrays.push((array.id, ends));
        }
        let lost = self.jobs.values().filter(|job| job.moving.state.kind() == StateKind::Lost);
        let whose = self.charged.keys().chain(self.terms.keys()).cloned().collect::<BTreeSet<_>>();
        restored.accounts = whose
            .into_iter()
            .map(|whose| StoredAccount {
                terms: self.terms.get(&whose).cloned(),
                hours: self
                    .charged
                    .get(&whose)
                    .into_iter()
                    .flatten()
                    .map(|(&hour, &used)| (hour, used))
                    .collect(),
                kind: whose.0,
                name: whose.1,
            })
            .collect();
        let directory = |(&job, &(after, bytes)): (&JobId, &(u32, u64))| {
            let of = &self.jobs[&job];
            StoredDirectory { job, owner: of.owner.clone(), project: of.project.clone(), after, bytes }
        };
        restored.directories = self.directories.iter().map(directory).collect();
        restored.closures = self.closures();
        restored.lost = lost.map(|job| (job.id, job.moving.attempt)).collect();
        restored
    }
}
