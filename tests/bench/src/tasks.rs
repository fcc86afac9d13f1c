//! 10,000 × `true` as one array: the whole way, through real processes.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    figures::{median, per_second},
    peers,
    process::{Cpu, Process},
    site::{Site, World},
    table::{Table, Target, rate},
};

const TASKS: u64 = 10_000;

/// Adds the lines about tasks.
pub async fn measure(world: &World, table: &mut Table) -> Result<()> {
    let rounds = if world.full { 5 } else { 3 };
    let site = Site::start(world, "[executors.local]\ncpus = 2").await?;
    // What is made once is made before: the policy's plan, launchers, prepared statements.
    array(&site, 200, &[])?;
    let (mut xargs, mut spawn, mut usual, mut small) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut spent = Vec::new();
    for _ in 0..rounds {
        xargs.push(peers::xargs(TASKS)?);
        spawn.push(peers::spawn_loop(TASKS)?);
        let before = Spent::now(&site)?;
        usual.push(array(&site, TASKS, &[])?);
        spent.push(Spent::now(&site)?.since(&before));
        small.push(array(&site, TASKS, &["--cpus", "0.25"])?);
    }
    let per_second = |times: &[Duration]| per_second(TASKS, median(times));
    let (xargs, spawn, usual, small) =
        (per_second(&xargs), per_second(&spawn), per_second(&usual), per_second(&small));

    let what = "10,000 × true, one array, local, durable, 2 at a time";
    let target = Target::of("≥ xargs -P2", usual >= xargs);
    table.row(what, rate(usual), &format!("xargs -P2: {}", rate(xargs)), Some(usual / xargs), target);
    let compared = format!("posix_spawn loop: {}", rate(spawn));
    table.row("  the same", rate(usual), &compared, Some(usual / spawn), Target::None);
    match peers::hyperqueue(world, TASKS) {
        Ok(hyperqueue) => {
            let compared = format!("HyperQueue, not durable: {}", rate(hyperqueue));
            table.row("  the same", rate(usual), &compared, Some(usual / hyperqueue), Target::None);
        }
        Err(words) => {
            table.row("  the same", rate(usual), &format!("no figure: {words}"), None, Target::None)
        }
    }
    let compared = format!("xargs -P2: {}", rate(xargs));
    let what = "  with --cpus 0.25, so 8 at a time";
    table.row(what, rate(small), &compared, Some(small / xargs), Target::None);
    if let Some(spent) = spent.into_iter().next_back() {
        table.note(spent.words());
    }
    Ok(())
}

/// Submits an array of `true` and waits for it, as a user does: how long both took together.
pub fn array(site: &Site, tasks: u64, options: &[&str]) -> Result<Duration> {
    let range = format!("1-{tasks}");
    let begun = Instant::now();
    let submit = [&["submit", "--array", &range], options, &["--", "true"]].concat();
    let job = site.said(&submit)?;
    site.said(&["wait", &job])?;
    Ok(begun.elapsed())
}

/// Where processor time has gone.
struct Spent {
    daemon: Cpu,
    supervisor: Cpu,
    launchers: Duration,
    commands: Duration,
}

impl Spent {
    fn now(site: &Site) -> Result<Self> {
        let supervisor = site.supervisor();
        let children = supervisor.map(Process::children).unwrap_or_default();
        Ok(Self {
            daemon: site.daemon()?.cpu(),
            supervisor: supervisor.map(Process::cpu).unwrap_or_default(),
            launchers: children.into_iter().map(|child| child.cpu().own()).sum(),
            commands: crate::process::of_ended_children()?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            daemon: self.daemon.since(before.daemon),
            supervisor: self.supervisor.since(before.supervisor),
            launchers: self.launchers.saturating_sub(before.launchers),
            commands: self.commands.saturating_sub(before.commands),
        }
    }

    fn words(&self) -> String {
        let each = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e6 / TASKS as f64);
        format!(
            "processor time a task of the array, in µs: daemon {} in user mode and {} in the kernel, \
             supervisor {} and {}, its launchers {}, the tasks themselves {}, berth submit and wait {}",
            each(self.daemon.user),
            each(self.daemon.kernel),
            each(self.supervisor.user),
            each(self.supervisor.kernel),
            each(self.launchers),
            each(self.supervisor.children),
            each(self.commands),
        )
    }
}
