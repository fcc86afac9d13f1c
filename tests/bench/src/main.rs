//! Measures Berth beside what a user would pick instead: same machine, same disk, same run, one table.
//! `tests/bench/run.sh` builds everything and starts this.

mod commits;
mod containers;
mod deep;
mod figures;
mod latency;
mod machine;
mod peers;
mod plans;
mod process;
mod site;
mod submissions;
mod table;
mod tasks;
mod throughput;

use std::{env, fs, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

use crate::{commits::Bare, site::World, table::Table};

/// The parts, in their order.
const PARTS: [&str; 7] = ["tasks", "submissions", "latency", "throughput", "plans", "containers", "deep"];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("no runtime").and_then(|runtime| runtime.block_on(until_interrupted()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("berth-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is under way is dropped when somebody has had enough, and cleans up then.
async fn until_interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = run() => done,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("told to end"),
    }
}

async fn run() -> Result<()> {
    let parts: Vec<String> = env::args().skip(1).collect();
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("{unknown:?} is no part; there are {}", PARTS.join(", "));
    }
    let folder = folder()?;
    let world = world(&folder)?;
    let synchronous = {
        let mut bare = Bare::open(folder.path())?;
        bare.commit()?;
        bare.synchronous()?
    };
    let settings = machine::settings(folder.path(), &world.berth, &synchronous, world.python.as_deref());
    settings.iter().for_each(|line| eprintln!("{line}"));

    let mut table = Table::default();
    let begun = Instant::now();
    for part in PARTS.into_iter().filter(|part| parts.is_empty() || parts.iter().any(|name| name == part)) {
        eprintln!("{part}, after {} s", begun.elapsed().as_secs());
        match part {
            "tasks" => tasks::measure(&world, &mut table).await,
            "submissions" => submissions::measure(&world, &mut table).await,
            "latency" => latency::measure(&world, &mut table).await,
            "throughput" => throughput::measure(&world, &mut table).await,
            "plans" => plans::measure(&world, &mut table),
            "containers" => containers::measure(&world, &mut table).await,
            _ => deep::measure(&world, &mut table).await,
        }
        .with_context(|| format!("{part} could not be measured"))?;
    }
    settings.iter().for_each(|line| println!("{line}"));
    println!("measured in {} s\n\n{}", begun.elapsed().as_secs(), table.text());
    Ok(())
}

/// Where everything is made. A disk in memory would make commits cheap that are not.
fn folder() -> Result<tempfile::TempDir> {
    let base = env::var_os("BERTH_BENCH_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let (kind, _) = machine::file_system(&base);
    ensure!(
        !matches!(kind.as_str(), "tmpfs" | "ramfs"),
        "{} is on {kind}, in memory; name a folder on a disk with BERTH_BENCH_DIR",
        base.display()
    );
    let folder = tempfile::Builder::new().prefix("bb").tempdir_in(&base);
    let folder = folder.with_context(|| format!("no folder can be made in {}", base.display()))?;
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(folder)
}

fn world(folder: &tempfile::TempDir) -> Result<World> {
    let named = |name: &str| env::var_os(name).map(PathBuf::from);
    let berth =
        named("BERTH_BENCH_PROGRAM").context("BERTH_BENCH_PROGRAM does not name the berth to measure")?;
    let checkout =
        named("BERTH_BENCH_CHECKOUT").context("BERTH_BENCH_CHECKOUT does not name the checkout")?;
    Ok(World {
        berth,
        base: folder.path().to_owned(),
        fifo: checkout.join("plugins/dist/fifo.wasm"),
        python: named("BERTH_BENCH_PYTHON").filter(|python| python.exists()),
        hyperqueue: checkout.join("tests/bench/hyperqueue_true.py"),
        engine: named("BERTH_BENCH_ENGINE"),
        full: env::var("BERTH_BENCH_FULL").is_ok_and(|full| full == "1"),
    })
}
