//! From a request to a running job.

use std::{io, path::Path, sync::Arc};

use berth_executor_api::{AttemptName, Command, Exit, Launch, LaunchSpec, Launched, Resources};
use rustix::process::{geteuid, getpid};

use super::{
    Supervisor,
    attempt::{Attempt, Phase, millis},
    clock,
    journal::{Claim, Ended, Record, Start},
    launcher::Launcher,
    limits, log,
    note::Note,
    protocol::Item,
    spawn::{self, Around, Ready},
};

/// How long after a sweep for an ended launcher's children another launcher may miss one of its own.
const SWEEP_MS: u64 = 5000;
/// More than these do not make it faster.
const USUAL_LAUNCHERS: usize = 4;
/// So many may stand still at once; whatever comes then has to wait.
const MOST_LAUNCHERS: usize = 16;

impl Supervisor {
    /// Takes a batch: it is in the journal when this returns, and is started one by one afterwards.
    pub(super) fn launch(&mut self, specs: &[Arc<LaunchSpec>], items: Vec<Item>) -> Vec<Launched> {
        let mut taken = Vec::new();
        let mut answers: Vec<Launched> = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| self.claim(index, specs, item, &mut taken))
            .collect();
        let claims: Vec<Record> = taken
            .iter()
            .filter_map(|(_, ready)| self.attempts.get(&ready.launch.attempt))
            .map(|attempt| Record::Claimed(attempt.claim.clone()))
            .collect();
        let written = self.journal.write_now(&claims);
        for (index, ready) in taken {
            match &written {
                Ok(()) => self.queue.push_back(ready),
                Err(error) => {
                    let words = format!("the supervisor's journal cannot be written: {error}");
                    self.give_up_claim(&ready);
                    answers.get_mut(index).into_iter().for_each(|answer| {
                        *answer = Launched::NoRoom { words: words.clone() };
                    });
                }
            }
        }
        answers
    }

    fn claim(
        &mut self,
        index: usize,
        specs: &[Arc<LaunchSpec>],
        item: Item,
        taken: &mut Vec<(usize, Ready)>,
    ) -> Launched {
        let Some(launch) = item.unpack(specs, &self.settings.node) else {
            return Launched::Refused { words: "the batch lacks this attempt's spec".into() };
        };
        // One that is known never to have run may be launched after all.
        let known = self.attempts.get(&launch.attempt);
        if known.is_some_and(|attempt| !matches!(attempt.phase, Phase::NeverRan)) {
            return Launched::Taken;
        }
        let own = (!self.as_root).then(|| geteuid().as_raw());
        if let Err(words) = check(&launch, own) {
            return Launched::Refused { words };
        }
        let cpus = match self.own_cpus(&launch.spec) {
            Ok(cpus) => cpus,
            Err(refusal) => return refusal,
        };
        let ready = self.ready(launch, (!cpus.is_empty()).then(|| cpus.clone()));
        let claim = Claim {
            attempt: ready.launch.attempt.clone(),
            uid: ready.uid,
            stdout: ready.launch.stdout.clone(),
            stderr: ready.launch.stderr.clone(),
            time_limit: ready.launch.spec.time_limit,
            grace: ready.launch.spec.grace,
            grouped: ready.grouped,
            cpus,
            needs: ready.launch.spec.resources,
        };
        self.attempts.insert(claim.attempt.clone(), Attempt::new(claim, Phase::Queued));
        self.live += 1;
        taken.push((index, ready));
        Launched::Taken
    }

    /// The CPUs that it has for itself; none where it shares.
    fn own_cpus(&mut self, spec: &LaunchSpec) -> Result<Vec<usize>, Launched> {
        let wanted = spec.resources.cpu_millis;
        if !spec.exclusive_cpus {
            return Ok(Vec::new());
        }
        if !self.pins.could_ever(wanted) {
            let words = format!("this machine has only {} CPUs", self.pins.all().len());
            return Err(Launched::Refused { words });
        }
        self.pins.take(wanted).ok_or_else(|| {
            let free = self.pins.free_count();
            Launched::NoRoom { words: format!("{free} CPUs are free that no job has for itself") }
        })
    }

    fn ready(&self, launch: Launch, cpus: Option<Vec<usize>>) -> Ready {
        let spec = &launch.spec;
        let identity = &spec.identity;
        let (uid, gid, groups) = match spec.as_root {
            true => (0, 0, vec![0]),
            false => (identity.uid, identity.gid, identity.groups.clone()),
        };
        let limits = limits::limits(spec, self.settings.enforce);
        let memory_by_group = limits.memory_bytes.is_some() && self.cgroups.holds_memory();
        let cpu_by_group = limits.cpu_millis.is_some() && self.cgroups.holds_cpu();
        Ready {
            uid,
            gid,
            groups,
            limits,
            grouped: memory_by_group || cpu_by_group,
            address_space_bytes: limits.memory_bytes.filter(|_| !memory_by_group),
            cpus,
            array_is_ready: false,
            data: self.settings.data.clone(),
            launch,
        }
    }

    fn give_up_claim(&mut self, ready: &Ready) {
        if let Some(attempt) = self.attempts.remove(&ready.launch.attempt) {
            self.live -= 1;
            self.pins.give_back(&attempt.claim.cpus);
        }
    }

    /// Gives those that wait to launchers, in their order, as far as these and the machine have room.
    pub(super) fn start_some(&mut self) {
        while self.queue.front().is_some_and(|ready| self.has_room(&ready.launch.spec.resources)) {
            let Some(place) = self.launcher_with_room() else { return };
            let Some(ready) = self.queue.pop_front() else { return };
            self.start(ready, place);
        }
    }

    /// Whether the machine has room for this beside what runs. What is more than all of it runs alone.
    fn has_room(&self, needs: &Resources) -> bool {
        let Some(capacity) = &self.settings.capacity else { return true };
        let held = self.holding.values().fold(Resources::default(), |sum, one| sum.plus(one));
        self.holding.is_empty() || needs.fits_in(&capacity.saturating_sub(&held))
    }

    /// The one with the most room. Another one is started when none has any, up to one for each CPU and
    /// beyond that when all stand still.
    fn launcher_with_room(&mut self) -> Option<usize> {
        let with_room = self.launchers.iter().enumerate().filter(|(_, one)| one.has_room());
        if let Some((place, _)) = with_room.min_by_key(|(_, one)| one.load()) {
            return Some(place);
        }
        let count = self.launchers.len();
        let usual = count < self.pins.all().len().min(USUAL_LAUNCHERS);
        let all_still = || self.launchers.iter().all(Launcher::stands_still);
        if count >= MOST_LAUNCHERS || !(usual || all_still()) {
            return None;
        }
        match self.new_launcher() {
            Ok(launcher) => {
                self.launchers.push(launcher);
                Some(self.launchers.len() - 1)
            }
            Err(error) => {
                log(format_args!("no launcher could be started: {error}"));
                None
            }
        }
    }

    fn new_launcher(&self) -> io::Result<Launcher> {
        Launcher::start(Around {
            supervisor: getpid(),
            as_root: self.as_root,
            journal: self.journal.appender()?,
            notes: self.note_writer.try_clone()?,
            cgroups: self.cgroups.clone(),
        })
    }

    fn start(&mut self, mut ready: Ready, place: usize) {
        let name = ready.launch.attempt.clone();
        if let Some(array) = &ready.launch.array_directory {
            ready.array_is_ready = self.ready_arrays.contains(&(array.clone(), ready.uid));
        }
        if ready.cpus.is_some() {
            self.spread_others();
        } else {
            ready.cpus = self.pins.shared();
        }
        let group = match ready.grouped {
            true => self.cgroups.make(name.as_str(), ready.limits),
            false => Ok(()),
        };
        let launcher = self.launchers.get_mut(place);
        let given = group.and_then(|()| match launcher {
            Some(launcher) => launcher.hand_over(ready).map_err(io::Error::from),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        });
        if let Err(error) = given {
            self.finish(&name, not_launched(format!("it could not be prepared: {error}")));
        } else if let Some(attempt) = self.attempts.get_mut(&name) {
            attempt.phase = Phase::Launching;
            self.holding.insert(name, attempt.claim.needs);
        }
    }

    /// Takes what children told.
    pub(super) fn take_notes(&mut self) {
        for note in self.notes.take() {
            match note {
                Note::Started { attempt, start } => self.on_started(&attempt, start),
                Note::NotLaunched { attempt, words } => self.on_not_launched(&attempt, words),
                Note::NotExecuted { attempt, words } => {
                    if let Some(attempt) = self.attempts.get_mut(&attempt) {
                        attempt.failure = Some(words);
                    }
                }
            }
        }
    }

    /// One that was swept away with what another launcher had left behind gets another try: it never ran.
    fn on_not_launched(&mut self, name: &AttemptName, words: String) {
        let given = self.launchers.iter_mut().filter_map(|one| one.told(name)).last();
        let swept = self.swept_at.is_some_and(|at| clock::since_boot_ms() < at + SWEEP_MS);
        let Some(attempt) = self.attempts.get_mut(name).filter(|attempt| attempt.is_launching()) else {
            return;
        };
        match given.filter(|_| swept && !attempt.swept) {
            Some(ready) => {
                attempt.swept = true;
                attempt.phase = Phase::Queued;
                self.holding.remove(name);
                self.queue.push_front(ready);
            }
            None => self.finish(name, not_launched(words)),
        }
    }

    fn on_started(&mut self, name: &AttemptName, start: Start) {
        let given = self.launchers.iter_mut().find_map(|one| one.told(name));
        let array = given.and_then(|ready| Some((ready.launch.array_directory?, ready.uid)));
        self.ready_arrays.extend(array);
        let Some(attempt) = self.attempts.get_mut(name) else { return };
        if !attempt.is_launching() {
            return;
        }
        attempt.phase = Phase::Running(start);
        attempt.since = start.at;
        self.by_pid.insert(start.pid, name.clone());
        if let Some(limit) = attempt.claim.time_limit {
            let at = start.since_boot_ms.saturating_add(millis(limit));
            attempt.time_limit_at = Some(at);
            self.deadlines.insert((at, name.clone()));
        }
        // What was asked while it was on its way.
        let (suspended, stopped, kill_at) = (attempt.suspended, attempt.stopped, attempt.kill_at);
        self.report(name);
        if stopped {
            let now = clock::since_boot_ms();
            let late = kill_at.is_some_and(|at| at <= now);
            self.signal_all(name, if late { libc::SIGKILL } else { libc::SIGTERM });
        } else if suspended {
            self.signal_all(name, libc::SIGSTOP);
        }
    }

    pub(super) fn report(&mut self, name: &AttemptName) {
        if let Some(attempt) = self.attempts.get(name) {
            self.reports.push(attempt.report(&self.settings.node));
        }
    }
}

/// The end of an attempt that never ran.
pub(super) fn not_launched(reason: String) -> Ended {
    log(format_args!("an attempt could not be launched: {reason}"));
    let at = clock::now();
    let exit = Exit { could_not_launch: Some(reason), before_stop: true, at, ..Exit::default() };
    Ended { exit, usage: None, message: None }
}

/// Whether this can be run here at all; `own` is the only user that can, where that is so.
fn check(launch: &Launch, own: Option<u32>) -> Result<(), String> {
    let spec = &launch.spec;
    let uid = if spec.as_root { 0 } else { spec.identity.uid };
    if let Some(own) = own
        && own != uid
    {
        let (user, who) = (&spec.identity.user, if spec.as_root { " as root" } else { "" });
        return Err(format!("cannot run jobs of {user}{who}: Berth runs as user {own}, not as root"));
    }
    let paths = [&launch.directory, &launch.stdout, &launch.stderr];
    let more = [launch.array_directory.as_ref(), spec.workdir.as_ref()];
    for path in paths.into_iter().chain(more.into_iter().flatten()) {
        if !path.starts_with('/') {
            return Err(format!("{path:?} is not an absolute path"));
        }
    }
    if let Some(array) = &launch.array_directory
        && !Path::new(&launch.directory).starts_with(array)
    {
        return Err(format!("{} does not lie in the array's directory {array}", launch.directory));
    }
    if let Some(file) = spec.files.iter().find(|file| !is_plain_name(&file.name)) {
        return Err(format!("{:?} cannot be the name of a file in the job's directory", file.name));
    }
    if let Some(mount) = spec.mounts.iter().find(|mount| mount.source != mount.target) {
        return Err(format!("volume {:?} cannot be seen at another place without a container", mount.name));
    }
    match &spec.command {
        Command::Argv(argv) if argv.is_empty() => Err("it has no command".into()),
        _ => Ok(()),
    }
}

fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | ".." | spawn::SCRIPT) && !name.contains(['/', '\0'])
}
