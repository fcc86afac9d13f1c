//! What a user would pick instead.

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::site::World;

/// How long HyperQueue may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// `xargs`, two at a time.
pub fn xargs(tasks: u64) -> Result<Duration> {
    let begun = Instant::now();
    let script = format!("seq {tasks} | xargs -P2 -n1 true");
    let status = Command::new("sh").arg("-c").arg(script).stdin(Stdio::null()).status()?;
    ensure!(status.success(), "xargs has failed, {status}");
    Ok(begun.elapsed())
}

/// Bare processes, two at a time: the standard library makes them with `posix_spawn`.
pub fn spawn_loop(tasks: u64) -> Result<Duration> {
    let begun = Instant::now();
    let run = |count: u64| -> std::io::Result<()> {
        for _ in 0..count {
            Command::new("true").stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        }
        Ok(())
    };
    let other = thread::spawn(move || run(tasks / 2));
    run(tasks - tasks / 2)?;
    other.join().map_err(|_| anyhow!("a thread has panicked"))??;
    Ok(begun.elapsed())
}

/// HyperQueue with a worker of two cores, tasks a second; or why there is no figure.
pub fn hyperqueue(world: &World, tasks: u64) -> Result<f64, String> {
    let python = world.python.as_ref().ok_or("the PyPI package hyperqueue could not be installed")?;
    try_hyperqueue(world, python, tasks).map_err(|error| format!("{error:#}"))
}

fn try_hyperqueue(world: &World, python: &std::path::Path, tasks: u64) -> Result<f64> {
    // Its files stay until the end, as those of a site do.
    let folder = tempfile::Builder::new().prefix("hq").tempdir_in(&world.base)?.keep();
    fs::create_dir(folder.join("server"))?;
    fs::create_dir(folder.join("jobs"))?;
    let mut command = Command::new(python);
    command.arg(&world.hyperqueue).arg(tasks.to_string()).arg("2").arg(&folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let status = status.with_context(|| format!("HyperQueue took more than {} s", PATIENCE.as_secs()))?;
    ensure!(status.success(), "HyperQueue has failed, {status}");
    let mut said = String::new();
    child.stdout.take().context("it has no output")?.read_to_string(&mut said)?;
    let rate = said.lines().find_map(|line| line.strip_prefix("tasks/s "));
    Ok(rate.context("HyperQueue did not say how fast it was")?.trim().parse()?)
}
