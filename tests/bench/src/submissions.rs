//! Separate submissions over the API, durable when they are answered.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    commits::Bare,
    figures::{median, per_second, ratio},
    process,
    site::{Site, World, argv},
    table::{Table, Target, ms, rate},
};

const JOBS: u64 = 1_000;
const AT_ONCE: usize = 64;
const ONE_BY_ONE: usize = 400;
const PROCESSES: usize = 20;
const PROCESS_AT_MOST: Duration = Duration::from_millis(5);

/// One job fills this back end: what is submitted behind it waits.
const NARROW: &str = "[executors.fake]\ncpus = 1";

/// Adds the lines about submissions.
pub async fn measure(world: &World, table: &mut Table) -> Result<()> {
    let rounds = if world.full { 9 } else { 5 };
    let site = Site::start(world, NARROW).await?;
    let job = argv(&["true"]);
    block(&site).await?;
    site.submit_many(&job, 200, AT_ONCE).await?;
    let mut bare = Bare::open(site.folder())?;
    (0..100).try_for_each(|_| bare.commit().map(drop))?;

    let mut times = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        site.submit_many(&job, JOBS, AT_ONCE).await?;
        times.push(begun.elapsed());
    }
    let reached = per_second(JOBS, median(&times));

    let (mut one_by_one, mut commits) = (Vec::new(), Vec::new());
    for _ in 0..ONE_BY_ONE {
        commits.push(bare.commit()?);
        let begun = Instant::now();
        site.client()?.submit(&job).await?;
        one_by_one.push(begun.elapsed());
    }
    let (single, commit) = (median(&one_by_one), median(&commits));

    let bare_rate = 1.0 / commit.as_secs_f64();
    let compared = format!("bare SQLite commits, one by one: {}", rate(bare_rate));
    let what = "1,000 submissions over the API, 64 under way, durable when answered";
    let target = Target::of("≥ 2,000/s", reached >= 2_000.0);
    table.row(what, rate(reached), &compared, Some(reached / bare_rate), target);
    let times = ratio(single, commit);
    let compared = format!("a bare SQLite commit: {}", ms(commit));
    let target = Target::of("≤ 1.5 × a commit", times <= 1.5);
    table.row("one submission at a time: median", ms(single), &compared, Some(times), target);

    let (spent, took) = processes(&site)?;
    let compared = format!("{} until it is done", ms(took));
    let target = Target::of("< 5 ms", spent < PROCESS_AT_MOST);
    table.row("one `berth submit` process: work, median of 20", ms(spent), &compared, None, target);
    drop(site);
    run(world, table).await
}

/// Has a job take all the room there is, for good.
async fn block(site: &Site) -> Result<()> {
    let first = site.client()?.submit(&argv(&["sleep", "86400"])).await?;
    site.is(first.id, "running").await
}

/// What one process of the command line computes, and how long it takes.
fn processes(site: &Site) -> Result<(Duration, Duration)> {
    let (mut spent, mut took) = (Vec::new(), Vec::new());
    for _ in 0..PROCESSES {
        let (before, begun) = (process::of_ended_children()?, Instant::now());
        site.said(&["submit", "--", "true"])?;
        took.push(begun.elapsed());
        spent.push(process::of_ended_children()?.saturating_sub(before));
    }
    Ok((median(&spent), median(&took)))
}

/// The same 1,000, run as processes of this machine.
async fn run(world: &World, table: &mut Table) -> Result<()> {
    let site = Site::start(world, "[executors.local]\ncpus = 2").await?;
    let job = argv(&["true"]);
    site.submit_many(&job, 100, AT_ONCE).await?;
    site.all_ended().await?;
    let xargs = per_second(JOBS, crate::peers::xargs(JOBS)?);
    let begun = Instant::now();
    site.submit_many(&job, JOBS, AT_ONCE).await?;
    site.all_ended().await?;
    let reached = per_second(JOBS, begun.elapsed());
    let compared = format!("xargs -P2: {}", rate(xargs));
    let what = "1,000 × true as separate submissions, first request to last end";
    table.row(what, rate(reached), &compared, Some(reached / xargs), Target::None);
    Ok(())
}
