//! How many tasks of `true` run per second: through the executor and its supervisor, as one array, and
//! beside it the same number of bare processes, two at a time.
//!
//! `cargo run --release -p berth-executor-local --example throughput -- [TASKS]`

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    process::{Command as Process, ExitCode, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use berth_executor_api::{
    Attempt, AttemptName, AttemptState, Command, Executor, Identity, JobId, Launch, LaunchSpec, Launched,
    Report, Resources, Task,
};
use berth_executor_local::{LocalConfig, LocalExecutor, SUPERVISOR_WORD, supervisor_main};
use futures::StreamExt;

/// As many as a site with two cores and a good backlog would hand over at once.
const BATCH: usize = 64;
const ARRAY: u64 = 1;

fn main() -> ExitCode {
    if env::args_os().nth(1).is_some_and(|word| word == SUPERVISOR_WORD) {
        return supervisor_main(env::args_os().skip(2));
    }
    let tasks = env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_000);
    match measure(tasks) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(tasks: u64) -> Result<(), Box<dyn Error>> {
    let bare = bare_processes(tasks)?;
    let folder = env::temp_dir().join(format!("berth-throughput-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ours = runtime.block_on(through_executor(&folder, tasks));
    std::fs::remove_dir_all(&folder)?;
    let ours = ours?;
    let rate = |time: Duration| tasks as f64 / time.as_secs_f64();
    println!("{tasks} x true, tasks/s");
    println!("bare processes, two at a time  {:>8.0}", rate(bare));
    println!("local executor, one array      {:>8.0}", rate(ours));
    Ok(())
}

fn bare_processes(tasks: u64) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let run = move |count: u64| -> std::io::Result<()> {
        for _ in 0..count {
            Process::new("true").stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        }
        Ok(())
    };
    let other = thread::spawn(move || run(tasks / 2));
    run(tasks - tasks / 2)?;
    other.join().map_err(|_| "a thread has panicked")??;
    Ok(start.elapsed())
}

async fn through_executor(folder: &std::path::Path, tasks: u64) -> Result<Duration, Box<dyn Error>> {
    let executor = LocalExecutor::start(LocalConfig::new("berth-bench", folder.join("spool"))).await?;
    let array = folder.join("jobs/1").to_str().ok_or("the temporary folder's name is no text")?.to_owned();
    let spec = Arc::new(spec());
    let launches: Vec<Launch> = (1..=tasks).map(|index| task(&array, &spec, index, tasks)).collect();
    let mut reports = executor.reports();
    let start = Instant::now();
    let (mut sent, mut under_way, mut ended, mut failed) = (0, 0, 0, 0);
    while ended < tasks {
        if let Some(batch) = launches.get(sent..).filter(|rest| !rest.is_empty() && under_way <= BATCH) {
            let batch = batch.get(..BATCH).unwrap_or(batch);
            let answers = executor.launch(batch).await?;
            if answers.iter().any(|answer| *answer != Launched::Taken) {
                return Err("a task was not taken".into());
            }
            sent += batch.len();
            under_way += batch.len();
        }
        if let Some(Report::Attempt(report)) = reports.next().await
            && let AttemptState::Exited(exit) = report.state
        {
            ended += 1;
            under_way -= 1;
            failed += u64::from(exit.code != Some(0));
        }
    }
    let time = start.elapsed();
    if failed > 0 {
        return Err(format!("{failed} of {tasks} tasks failed").into());
    }
    Ok(time)
}

fn task(array: &str, spec: &Arc<LaunchSpec>, index: u64, last: u64) -> Launch {
    let directory = format!("{array}/{index}");
    let job = JobId(ARRAY + index);
    Launch {
        attempt: AttemptName::new("berth-bench", job, Attempt { number: 1, returned: 0 }),
        job,
        attempt_number: 1,
        task: Some(Task { array: JobId(ARRAY), index, first: 1, last, step: 1 }),
        node: None,
        stdout: format!("{directory}/stdout"),
        stderr: format!("{directory}/stderr"),
        granted: Vec::new(),
        directory,
        array_directory: Some(array.to_owned()),
        spec: Arc::clone(spec),
    }
}

fn spec() -> LaunchSpec {
    let identity = Identity {
        user: "bench".into(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: vec![],
        home: None,
        email: None,
        roles: vec![],
    };
    LaunchSpec {
        cluster: "berth-bench".into(),
        name: "true".into(),
        project: "bench".into(),
        identity,
        as_root: false,
        command: Command::Argv(vec!["true".into()]),
        env: BTreeMap::new(),
        workdir: None,
        image: None,
        resources: Resources { cpu_millis: 1000, memory_bytes: 0, gpus: 0 },
        enforce_cpu: false,
        exclusive_cpus: false,
        time_limit: None,
        grace: Duration::from_secs(5),
        mounts: vec![],
        ports: vec![],
        network: None,
        scratch_bytes: 0,
        files: vec![],
        labels: BTreeMap::new(),
        constraints: BTreeMap::new(),
        interactive: false,
        extensions: BTreeMap::new(),
    }
}
