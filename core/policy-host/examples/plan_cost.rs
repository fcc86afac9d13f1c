//! Measures what a plan costs: a tick of 1,000 changes with many jobs pending.
//!
//! `cargo run --release -p berth-policy-host --example plan_cost -- plugins/dist/fifo.wasm [KEY=VALUE…] [PENDING…]`

use std::{error::Error, path::PathBuf, sync::mpsc, time::Instant};

use berth_engine::{
    AccountTold, Faded, NodeTold, PendingTold, PlacementTold, PlanRequest, Room, Told, WhoseTold,
};
use berth_model::{JobId, Resources, Used, UtcMs};
use berth_policy_host::{
    HostSettings, PolicyHost, PolicyKind, PolicySource, PolicySpec, SchedulerEvent, SchedulerPolicy,
};

const TICKS: u64 = 50;
const CHANGES: u64 = 500;
/// Each user is in one project.
const USERS: u64 = 4000;
const PROJECTS: u64 = 40;
const CPU: Resources = Resources { cpu_millis: 1000, memory_bytes: 1 << 30, gpus: 0 };

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let file = PathBuf::from(arguments.next().ok_or("give a scheduler policy's file")?);
    let (mut settings, mut pending) = (Vec::new(), Vec::new());
    for text in arguments {
        let text = text.to_string_lossy();
        match text.split_once('=') {
            Some((key, value)) => settings.push((key.to_owned(), value.to_owned())),
            None => pending.push(text.parse()?),
        }
    }
    if pending.is_empty() {
        pending = vec![100_000, 1_000_000];
    }
    let host = PolicyHost::new(HostSettings::default())?;
    println!(
        "{:>10} {:>14} {:>14} {:>14} {:>12}",
        "pending", "full state", "tick median", "tick max", "memory/job"
    );
    for pending in pending {
        measure(&host, &file, &settings, pending)?;
    }
    Ok(())
}

fn job(id: u64) -> PendingTold {
    PendingTold {
        id: JobId(id),
        owner: u32::try_from(id % USERS).unwrap_or(0),
        project: u32::try_from(id % PROJECTS).unwrap_or(0),
        placement: 0,
        count: 1,
        needs: CPU,
        submitted: UtcMs(id),
        eligible: UtcMs(id),
        time_limit_ms: Some(3_600_000),
        priority: i32::try_from(id % 7).unwrap_or(0),
    }
}

/// Of every user, project and member.
fn accounts() -> Vec<AccountTold> {
    let whose = (1..=USERS).map(job).flat_map(|PendingTold { owner: user, project, .. }| {
        [WhoseTold::User(user), WhoseTold::Member { project, user }]
    });
    let projects = (0..u32::try_from(PROJECTS).unwrap_or(0)).map(WhoseTold::Project);
    let account = |(number, whose): (usize, WhoseTold)| AccountTold {
        whose,
        priority: 50,
        shares: 1,
        group: None,
        used: Used { wall_ms: number as u64 * 77_777, cpu_ms: number as u64 * 55_555, ..Used::default() },
        faded: Faded { wall_s: number as f64 * 77.0, cpu_s: number as f64 * 55.0, ..Faded::default() },
    };
    whose.chain(projects).enumerate().map(account).collect()
}

fn measure(
    host: &PolicyHost,
    file: &std::path::Path,
    settings: &[(String, String)],
    pending: u64,
) -> Result<(), Box<dyn Error>> {
    let mut spec = PolicySpec::new("measured", PolicyKind::Scheduler, PolicySource::File(file.to_owned()));
    settings.clone_into(&mut spec.settings);
    spec.grants.log = true;
    spec.grants.usage = true;
    let (sender, events) = mpsc::channel();
    let policy = SchedulerPolicy::spawn(host, spec, move |event| {
        // The receiver lives until the end of the measurement.
        let _ = sender.send(event);
    })?;
    let ask = |request: PlanRequest| -> Result<(u64, Vec<JobId>), Box<dyn Error>> {
        let before = Instant::now();
        policy.plan(request);
        let event = events.recv()?;
        let micros = u64::try_from(before.elapsed().as_micros())?;
        match event {
            SchedulerEvent::Planned(plan) => {
                Ok((micros, plan.starts.iter().map(|start| start.job).collect()))
            }
            other => Err(format!("no plan: {other:?}").into()),
        }
    };
    let total = Resources { cpu_millis: 500_000, memory_bytes: 500 << 30, gpus: 0 };
    let request = |snapshot, told, pending_known| PlanRequest {
        snapshot,
        now: UtcMs(10_000_000 + snapshot),
        told,
        room: (0..2).map(|node| Room { node, free: total }).collect(),
        most: 1000,
        pending_known,
    };
    let full = Told {
        full: true,
        names: (0..USERS).map(|name| format!("name-{name}")).collect(),
        nodes: (0..2).map(|id| NodeTold { id, name: 0, executor: 0, total, usable: true }).collect(),
        placements: vec![PlacementTold { id: 0, nodes: vec![0, 1] }],
        pending: (1..=pending).map(job).collect(),
        accounts: accounts(),
        ..Told::default()
    };
    let (whole, mut started) = ask(request(1, full, pending))?;
    let (mut ticks, mut known, mut next) = (Vec::new(), pending, pending + 1);
    for snapshot in 2..TICKS + 2 {
        let withdrawn: Vec<JobId> = started.into_iter().take(usize::try_from(CHANGES)?).collect();
        known = known + CHANGES - withdrawn.len() as u64;
        let told = Told { withdrawn, pending: (next..next + CHANGES).map(job).collect(), ..Told::default() };
        next += CHANGES;
        let micros;
        (micros, started) = ask(request(snapshot, told, known))?;
        ticks.push(micros);
    }
    ticks.sort_unstable();
    let median = ticks.get(ticks.len() / 2).copied().unwrap_or_default();
    let most = ticks.last().copied().unwrap_or_default();
    let memory = policy.status().memory_bytes / pending.max(1);
    println!("{pending:>10} {whole:>11} us {median:>11} us {most:>11} us {memory:>10} B");
    Ok(())
}
