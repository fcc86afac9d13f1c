//! One machine and nothing but processors, as the papers have it: whole workloads, from the definitions.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Job;

/// Something that runs. Times in milliseconds since the beginning.
#[derive(Clone, Copy, Debug)]
struct Running {
    expected: u64,
    ends: u64,
    cpus: u64,
}

/// A machine in which each event is looked at by itself: submissions first, then ends, those in the order in
/// which the jobs have started.
struct Machine<'a> {
    jobs: &'a [Job],
    now: u64,
    free: u64,
    running: Vec<Running>,
    waiting: Vec<usize>,
    started: BTreeMap<usize, u64>,
}

/// What a policy does after an event, with whether something was over earlier than was expected. It may ask for
/// an instant at which it wants to be asked again.
type Pass<'a> = dyn FnMut(&mut Machine<'_>, bool) -> Option<u64> + 'a;

fn play(processors: u64, jobs: &[Job], pass: &mut Pass<'_>) -> Vec<u64> {
    let (running, waiting, started) = (vec![], vec![], BTreeMap::new());
    let mut machine = Machine { jobs, now: 0, free: processors, running, waiting, started };
    let mut submissions: BTreeSet<(u64, usize)> =
        jobs.iter().enumerate().map(|(number, job)| (job.submitted * 1000, number)).collect();
    let mut wake: Option<u64> = None;
    loop {
        let submission = submissions.first().map(|&(at, number)| (at, 0, number));
        let end = machine.running.iter().enumerate().map(|(index, one)| (one.ends, 1, index)).min();
        let asked = wake.map(|at| (at, 2, 0));
        let Some((at, kind, which)) = [submission, end, asked].into_iter().flatten().min() else { break };
        machine.now = machine.now.max(at);
        let mut is_early = false;
        if kind == 0 {
            submissions.pop_first();
            machine.waiting.push(which);
        } else if kind == 1 {
            let over = machine.running.remove(which);
            machine.free += over.cpus;
            is_early = over.expected > machine.now;
        }
        wake = pass(&mut machine, is_early).filter(|&at| at > machine.now);
    }
    assert!(machine.waiting.is_empty(), "every job starts");
    machine.started.into_values().collect()
}

impl Machine<'_> {
    fn cpus(&self, job: usize) -> u64 {
        self.jobs[job].cpus
    }

    fn limit(&self, job: usize) -> u64 {
        self.jobs[job].limit.expect("a limit") * 1000
    }

    fn start(&mut self, job: usize) {
        self.waiting.retain(|&other| other != job);
        self.free -= self.cpus(job);
        let (expected, ends) = (self.now + self.limit(job), self.now + self.jobs[job].runs * 1000);
        self.running.push(Running { expected, ends, cpus: self.cpus(job) });
        self.started.insert(job, self.now);
    }
}

/// EASY: when each job starts.
pub fn easy(processors: u64, jobs: &[Job]) -> Vec<u64> {
    play(processors, jobs, &mut |machine, _| {
        while let Some(&head) = machine.waiting.first().filter(|&&head| machine.cpus(head) <= machine.free) {
            machine.start(head);
        }
        let &head = machine.waiting.first()?;
        let mut ends: Vec<(u64, u64)> =
            machine.running.iter().map(|one| (one.expected.max(machine.now), one.cpus)).collect();
        ends.sort_unstable();
        let mut free = machine.free;
        let mut shadow = machine.now;
        for &(end, cpus) in &ends {
            if free >= machine.cpus(head) && end > shadow {
                break;
            }
            (free, shadow) = (free + cpus, end);
        }
        let mut extra = free - machine.cpus(head);
        for job in machine.waiting.clone().into_iter().skip(1) {
            if machine.cpus(job) > machine.free {
                continue;
            }
            if machine.now + machine.limit(job) <= shadow {
                machine.start(job);
            } else if machine.cpus(job) <= extra {
                extra -= machine.cpus(job);
                machine.start(job);
            }
        }
        None
    })
}

/// Conservative backfill: when each job starts. Jobs end by their expected ends.
pub fn conservative(processors: u64, jobs: &[Job]) -> Vec<u64> {
    let mut promised: BTreeMap<usize, u64> = BTreeMap::new();
    play(processors, jobs, &mut |machine, is_early| {
        for job in machine.waiting.clone() {
            let known = promised.remove(&job);
            if is_early || known.is_none() {
                promised.insert(job, earliest(machine, &promised, processors, job));
            } else if let Some(at) = known {
                promised.insert(job, at);
            }
        }
        for job in machine.waiting.clone() {
            if promised[&job] <= machine.now && machine.cpus(job) <= machine.free {
                promised.remove(&job);
                machine.start(job);
            }
        }
        promised.values().copied().filter(|&at| at > machine.now).min()
    })
}

/// The earliest instant at which a job delays neither what runs nor anybody's promise.
fn earliest(machine: &Machine<'_>, promised: &BTreeMap<usize, u64>, processors: u64, job: usize) -> u64 {
    let runs = machine.running.iter().map(|one| (machine.now, one.expected, one.cpus));
    let waits = promised.iter().map(|(&job, &at)| (at, at + machine.limit(job), machine.cpus(job)));
    let uses: Vec<(u64, u64, u64)> = runs.chain(waits).collect();
    let used = |at: u64| -> u64 {
        uses.iter().filter(|(from, until, _)| (*from..*until).contains(&at)).map(|one| one.2).sum()
    };
    let fits = |from: u64| {
        let during = from..from + machine.limit(job);
        let begins = uses.iter().map(|one| one.0).filter(|at| during.contains(at));
        std::iter::once(from).chain(begins).all(|at| used(at) + machine.cpus(job) <= processors)
    };
    let instants: BTreeSet<u64> = uses.iter().map(|one| one.1).chain([machine.now]).collect();
    instants.into_iter().find(|&at| at >= machine.now && fits(at)).expect("it fits when all is over")
}
