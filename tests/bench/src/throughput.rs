//! Jobs through the loop, the policy in WebAssembly and the store, with a back end on which they end at once.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    figures::per_second,
    process::Cpu,
    site::{Site, World, argv, eventually},
    table::{Table, Target, rate, whole},
};

/// A node with room for 4,000 jobs.
pub const WIDE: &str = "[executors.fake]\ncpus = 4000";
const TASKS: u64 = 200_000;
const AT_ONCE: usize = 64;
const AT_LEAST: f64 = 20_000.0;

/// Adds the lines about throughput.
pub async fn measure(world: &World, table: &mut Table) -> Result<()> {
    let jobs = if world.full { 200_000 } else { 50_000 };
    let site = Site::start(world, WIDE).await?;
    let job = argv(&["true"]);
    site.submit_many(&job, 500, AT_ONCE).await?;
    site.all_ended().await?;

    let (reached, spent) = array(&site).await?;
    let what = format!("array of {} through loop, WASM fifo and store, fake executor", whole(TASKS as f64));
    table.row(&what, rate(reached), "", None, Target::of("≥ 20,000/s", reached >= AT_LEAST));
    table.note(words("a task of the array through the fake executor", TASKS, spent));

    let (reached, spent) = prepared(&site, jobs).await?;
    let what = format!("{} separate jobs that were pending, likewise", whole(jobs as f64));
    table.row(&what, rate(reached), "", None, Target::of("≥ 20,000/s", reached >= AT_LEAST));
    table.note(words("a pending job through the fake executor", jobs, spent));

    let (before, begun) = (site.daemon()?.cpu(), Instant::now());
    site.submit_many(&job, jobs, AT_ONCE).await?;
    site.all_ended().await?;
    let (took, spent) = (begun.elapsed(), site.daemon()?.cpu().since(before));
    let what =
        format!("{} separate jobs, 64 requests under way, first request to last end", whole(jobs as f64));
    table.row(&what, rate(per_second(jobs, took)), "", None, Target::None);
    table.note(words("a job submitted over the API to the fake executor", jobs, spent));
    Ok(())
}

async fn array(site: &Site) -> Result<(f64, Cpu)> {
    let mut array = argv(&["true"]);
    array.array = Some(format!("1-{TASKS}"));
    let (before, begun) = (site.daemon()?.cpu(), Instant::now());
    let id = site.client()?.submit(&array).await?.id;
    site.is(id, "succeeded").await?;
    Ok((per_second(TASKS, begun.elapsed()), site.daemon()?.cpu().since(before)))
}

/// Jobs wait behind one that takes the whole node, until that is killed.
async fn prepared(site: &Site, jobs: u64) -> Result<(f64, Cpu)> {
    let gate = close(site).await?;
    site.submit_many(&argv(&["true"]), jobs, AT_ONCE).await?;
    let (before, begun) = (site.daemon()?.cpu(), Instant::now());
    site.said(&["kill", &gate.to_string()])?;
    site.all_ended().await?;
    Ok((per_second(jobs, begun.elapsed()), site.daemon()?.cpu().since(before)))
}

/// Has a job take the whole node; its number.
pub async fn close(site: &Site) -> Result<u64> {
    let mut gate = argv(&["sleep", "86400"]);
    gate.cpus = Some("4000".into());
    let gate = site.client()?.submit(&gate).await?.id;
    site.is(gate, "running").await?;
    let client = site.client()?;
    // Not only started: its start has been told to whoever asks.
    eventually(|| async { Ok(client.nodes().await?.iter().any(|node| node.jobs > 0)) }).await?;
    Ok(gate)
}

fn words(what: &str, jobs: u64, spent: Cpu) -> String {
    let each = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e6 / jobs as f64);
    let (user, kernel) = (each(spent.user), each(spent.kernel));
    format!("processor time of the daemon for {what}: {user} µs in user mode and {kernel} µs in the kernel")
}
