//! Deep queues: memory, listing, restart.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use berth_api::Controls;

use crate::{
    figures::{median, per_second},
    site::{Site, World, argv},
    table::{Table, Target, rate, seconds, whole},
    throughput::{WIDE, close},
};

const TASKS: u64 = 1_000_000;
const AT_ONCE: usize = 64;
const LISTED: u64 = 100_000;
const LIST_AT_MOST: Duration = Duration::from_millis(300);
const RESTART_AT_MOST: Duration = Duration::from_secs(10);
/// Nothing fits into this one, so what waited goes on waiting.
const NARROW: &str = "[executors.fake]\ncpus = 0.001";

/// Adds the lines about deep queues.
pub async fn measure(world: &World, table: &mut Table) -> Result<()> {
    let jobs = if world.full { 1_000_000 } else { 100_000 };
    let mut site = Site::start(world, WIDE).await?;
    let job = argv(&["true"]);
    site.submit_many(&job, 500, AT_ONCE).await?;
    site.all_ended().await?;
    close(&site).await?;

    unexpanded(&site, table).await?;
    let before = site.daemon()?.memory_bytes()?;
    let begun = Instant::now();
    site.submit_many(&job, jobs, AT_ONCE).await?;
    let submitted = per_second(jobs, begun.elapsed());
    let after = site.daemon()?.memory_bytes()?;
    let each = after.saturating_sub(before) as f64 / jobs as f64 / 1024.0;
    let many = whole(jobs as f64);
    let what = format!("memory of a separate pending job, all of Berth, {many} pending");
    let target = Target::of("< 0.6 KiB", each < 0.6);
    table.row(
        &what,
        format!("{each:.2} KiB"),
        "Slurm 22.05: 3.2 KiB (measured before)",
        Some(each / 3.2),
        target,
    );
    table.note(format!(
        "Berth in all: {} MiB with nothing pending, {} MiB with {many} pending, which came at {}",
        before >> 20,
        after >> 20,
        rate(submitted)
    ));

    list(&site, table)?;
    site.kill();
    site.configure(NARROW)?;
    let took = site.serve().await?;
    let info = site.client()?.info().await?;
    let pending: u64 =
        info.jobs.iter().filter(|count| count.state == "pending").map(|count| count.count).sum();
    ensure!(pending >= jobs, "of {jobs} jobs {pending} are pending after the restart");
    let what = format!("kill -9 and start again, to serving, {many} pending");
    let target = Target::of(if world.full { "< 10 s" } else { "< 10 s (1,000,000)" }, took < RESTART_AT_MOST);
    table.row(&what, seconds(took), "", None, target);

    site.kill();
    site.configure(WIDE)?;
    let begun = Instant::now();
    site.serve().await?;
    site.all_ended().await?;
    let what = format!("{many} pending jobs found at a start, from the start to the last end");
    table.row(&what, rate(per_second(jobs, begun.elapsed())), "", None, Target::None);
    Ok(())
}

/// An array that waits as a whole.
async fn unexpanded(site: &Site, table: &mut Table) -> Result<()> {
    let mut array = argv(&["true"]);
    array.array = Some(format!("1-{TASKS}"));
    let before = site.daemon()?.memory_bytes()?;
    let id = site.client()?.submit(&array).await?.id;
    site.is(id, "pending").await?;
    let after = site.daemon()?.memory_bytes()?;
    let each = after.saturating_sub(before) as f64 / TASKS as f64 / 1024.0;
    let what = format!("memory of a task of an array of {} that waits", whole(TASKS as f64));
    let compared = "HyperQueue: 0.36 KiB (measured before)";
    let target = Target::of("< 0.01 KiB", each < 0.01);
    table.row(&what, format!("{each:.4} KiB"), compared, Some(each / 0.36), target);
    let kill = berth_api::ControlRequest::of(Controls::Kill, vec![id.to_string()]);
    site.client()?.control(&kill).await?;
    site.is(id, "killed").await
}

fn list(site: &Site, table: &mut Table) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let body = get(site, &format!("/v1/jobs?state=pending&limit={LISTED}"))?;
        times.push(begun.elapsed());
        let rows = body.windows(9).filter(|part| part == b"\"label\":\"").count() as u64;
        ensure!(rows == LISTED, "{rows} jobs were listed");
    }
    let took = median(&times);
    let compared = "Slurm's squeue: 1.1 s (measured before)";
    let target = Target::of("< 0.3 s", took < LIST_AT_MOST);
    let what = "list of 100,000 pending jobs, JSON over the API: median of 5";
    table.row(what, seconds(took), compared, Some(took.as_secs_f64() / 1.1), target);

    let begun = Instant::now();
    site.said(&["--json", "jobs", "--state", "pending"])?;
    table.row(
        "  by `berth --json jobs`, all that wait",
        seconds(begun.elapsed()),
        compared,
        None,
        Target::None,
    );
    Ok(())
}

/// An answer as it comes over the socket, not read any further.
fn get(site: &Site, path: &str) -> Result<Vec<u8>> {
    let mut stream = UnixStream::connect(site.path("s"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: berth\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "the list was not given");
    Ok(answer)
}
