//! How fast the SQLite store is: `cargo run --release -p berth-store --example commits [JOBS] [FOLDER]`.
//!
//! Every commit is durable (`synchronous=FULL`). The processor time is that of the whole process, building
//! the batches left out where it says "writer".

use std::{
    collections::BTreeMap,
    error::Error,
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use berth_engine::{Change, LiveJob, Moving};
use berth_model::{
    Attempt, Command, End, EventKind, Grant, Identity, JobEventRecord, JobId, JobSpec, JobState, Resources,
    StateKind, Submission, UtcMs,
};
use berth_store::{Batch, ListQuery, SqliteOptions, SqliteStore, Store, UsageBy};
use rustix::time::{ClockId, clock_gettime};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ATTEMPT: Attempt = Attempt { number: 1, returned: 0 };

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let jobs: u64 = arguments.next().map_or(Ok(1_000_000), |jobs| jobs.parse())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let path = folder.path().join("berth.db");
    let open = || SqliteStore::open(&path, "berth", &SqliteOptions::default());

    let store = open()?;
    single(&store, 2_000).await?;
    let mut next = 1 + 2_000;
    for per_commit in [10, 100, 1_000] {
        let count = (per_commit * 400).min(jobs / 5).max(per_commit);
        lives(&store, next, count, per_commit).await?;
        next += count;
    }
    tasks(&store, next, (jobs / 5).min(200_000)).await?;
    next += 1 + (jobs / 5).min(200_000);
    fill(&store, next, jobs).await?;
    list(&store).await?;
    sums(&store).await?;
    drop(store);

    println!("database: {} MiB", std::fs::metadata(&path)?.len() >> 20);
    let begun = Instant::now();
    let store = open()?;
    println!("open: {:?}", begun.elapsed());
    let begun = Instant::now();
    let restored = store.restore().await?;
    println!("restore of {} live jobs: {:?}", restored.live.len(), begun.elapsed());
    Ok(())
}

fn moving(state: JobState, at: u64) -> Moving {
    let ended = matches!(state, JobState::Ended { .. });
    let ran = ended || state.kind() == StateKind::Running;
    Moving {
        attempt: ATTEMPT,
        node: state.kind().ne(&StateKind::Pending).then(|| "fake/node-17".into()),
        eligible: UtcMs(at),
        started: ran.then_some(UtcMs(at + 5)),
        ended: ended.then_some(UtcMs(at + 10)),
        exit_code: ended.then_some(0),
        priority: 0,
        node_failures: 0,
        array_next: 0,
        cpu_micros: ended.then_some(1_500),
        memory_peak_bytes: ended.then_some(3 << 20),
        note: None,
        granted: Vec::new(),
        failed_on: Vec::new(),
        state,
    }
}

/// The states after `pending` that a job goes through, with the events that go with them.
fn life(job: JobId, at: u64) -> [Vec<Change>; 4] {
    let end = End::Succeeded;
    let ended = JobState::Ended { end: Box::new(end.clone()) };
    let step = |state: JobState, kind: EventKind| {
        vec![
            Change::Updated { job, now: Box::new(moving(state, at)) },
            Change::Event(JobEventRecord { job, at: UtcMs(at), kind }),
        ]
    };
    [
        step(
            JobState::Starting { attempt: ATTEMPT, taken: false },
            EventKind::Starting { attempt: ATTEMPT, node: "fake/node-17".into() },
        ),
        step(JobState::Starting { attempt: ATTEMPT, taken: true }, EventKind::Note { text: "taken".into() }),
        step(JobState::Running { attempt: ATTEMPT }, EventKind::Running { attempt: ATTEMPT }),
        step(ended, EventKind::Ended { end, exit: None }),
    ]
}

fn job(id: u64, at: u64) -> LiveJob {
    LiveJob {
        id: JobId(id),
        task_of: None,
        array: None,
        owner: format!("user{}", id % 50),
        project: format!("project{}", id % 7),
        class: None,
        name: format!("job-{id}"),
        executor: "fake".into(),
        constraints: BTreeMap::new(),
        needs: Resources { cpu_millis: 1_000, memory_bytes: 1 << 30, gpus: 0 },
        named: BTreeMap::new(),
        time_limit_ms: Some(3_600_000),
        grace_ms: 30_000,
        submitted: UtcMs(at),
        begin: None,
        dependencies: Vec::new(),
        retry_on_node_failure: 0,
        avoid_failed_nodes: false,
        wants_network: false,
        moving: moving(JobState::Pending, at),
    }
}

fn submission(job: &LiveJob) -> Submission {
    Submission {
        spec: JobSpec {
            name: job.name.clone(),
            description: String::new(),
            tags: Vec::new(),
            project: job.project.clone(),
            class: job.class.clone(),
            executor: None,
            image: None,
            command: Command::Argv(vec!["sh".into(), "-c".into(), "echo hello; sleep 1".into()]),
            env: BTreeMap::from([("LANG".into(), "C".into())]),
            workdir: Some("/home/someone/project".into()),
            output: None,
            error: None,
            resources: job.needs,
            named: job.named.clone(),
            asked_cpus: true,
            exclusive_cpus: false,
            time_limit: job.time_limit_ms.map(Duration::from_millis),
            grace: Duration::from_millis(job.grace_ms),
            array: job.array,
            dependencies: Vec::new(),
            hold: false,
            begin: None,
            priority: 0,
            volumes: Vec::new(),
            ports: Vec::new(),
            network: None,
            constraints: BTreeMap::new(),
            labels: BTreeMap::new(),
            scratch_bytes: 0,
            files: Vec::new(),
            interactive: false,
            root: false,
            retry_on_node_failure: 0,
            avoid_failed_nodes: false,
            notices: None,
            extensions: BTreeMap::new(),
        },
        owner: Identity {
            user: job.owner.clone(),
            uid: 1_000,
            gid: 1_000,
            groups: vec![100, 101],
            home: Some(format!("/home/{}", job.owner)),
            email: None,
            roles: Vec::new(),
        },
        grant: Grant::default(),
        executor: job.executor.clone(),
    }
}

fn added(id: u64, at: u64) -> [Change; 3] {
    let job = job(id, at);
    let by = job.owner.clone();
    let submitted = EventKind::Submitted { by };
    let submission = Arc::new(submission(&job));
    [
        Change::NextId(JobId(id + 1)),
        Change::Event(JobEventRecord { job: job.id, at: UtcMs(at), kind: submitted }),
        Change::Added { job: Box::new(job), submission },
    ]
}

const AT: u64 = 1_763_715_600_000;

/// One job per commit, one after the other: what a lone submission waits for.
async fn single(store: &SqliteStore, jobs: u64) -> Outcome<()> {
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    for id in 1..=jobs {
        let one = Instant::now();
        store.commit(Arc::new(Batch::from(added(id, AT).to_vec()))).await?;
        longest = longest.max(one.elapsed());
    }
    let each = begun.elapsed() / u32::try_from(jobs)?;
    println!("one submission per commit: {each:?} each, the longest {longest:?}");
    Ok(())
}

/// Whole lives, as the loop writes them: each commit brings some jobs one step further.
async fn lives(store: &SqliteStore, first: u64, jobs: u64, per_commit: u64) -> Outcome<()> {
    let mut batches = Vec::new();
    for start in (first..first + jobs).step_by(usize::try_from(per_commit)?) {
        let ids = start..(start + per_commit).min(first + jobs);
        batches.push(Batch::from(ids.clone().flat_map(|id| added(id, AT)).collect::<Vec<_>>()));
        let mut steps: [Vec<Change>; 4] = Default::default();
        for id in ids {
            for (step, changes) in steps.iter_mut().zip(life(JobId(id), AT)) {
                step.extend(changes);
            }
        }
        batches.extend(steps.map(Batch::from));
    }
    let what = format!("lives (1 submission, 4 changes, 5 events), {per_commit} jobs per commit");
    write(store, &what, jobs, batches).await
}

/// Tasks of an array, a thousand at a time.
async fn tasks(store: &SqliteStore, array: u64, tasks: u64) -> Outcome<()> {
    let parent = LiveJob { array: format!("1-{tasks}").parse().ok(), ..job(array, AT) };
    let submission = Arc::new(submission(&parent));
    let mut batches = vec![Batch::from(vec![Change::Added { job: Box::new(parent.clone()), submission }])];
    for start in (0..tasks).step_by(1_000) {
        let mut added = Vec::new();
        let mut steps: [Vec<Change>; 4] = Default::default();
        for position in start..(start + 1_000).min(tasks) {
            let id = JobId(array + 1 + position);
            let task = LiveJob { id, task_of: Some((parent.id, position)), ..parent.clone() };
            added.push(Change::TaskAdded { task: Box::new(task) });
            for (step, changes) in steps.iter_mut().zip(life(id, AT)) {
                step.extend(changes);
            }
        }
        // A task is added in the turn in which it starts.
        let [starting, rest @ ..] = steps;
        added.extend(starting);
        batches.push(Batch::from(added));
        batches.extend(rest.map(Batch::from));
    }
    write(store, "tasks (4 changes, 4 events), 1000 per commit", tasks, batches).await
}

async fn fill(store: &SqliteStore, first: u64, jobs: u64) -> Outcome<()> {
    let mut wall = Duration::ZERO;
    for start in (first..first + jobs).step_by(1_000) {
        let ids = start..(start + 1_000).min(first + jobs);
        let batch = Arc::new(Batch::from(ids.flat_map(|id| added(id, AT)).collect::<Vec<_>>()));
        let begun = Instant::now();
        store.commit(batch).await?;
        wall += begun.elapsed();
    }
    println!("{jobs} submissions, 1000 per commit: {:.0} jobs/s", jobs as f64 / wall.as_secs_f64());
    Ok(())
}

async fn write(store: &SqliteStore, what: &str, jobs: u64, batches: Vec<Batch>) -> Outcome<()> {
    let commits = batches.len();
    let rows: usize = batches.iter().map(|batch| batch.changes.len()).sum();
    let (begun, cpu) = (Instant::now(), cpu_time());
    let mut longest = Duration::ZERO;
    for batch in batches {
        let one = Instant::now();
        store.commit(Arc::new(batch)).await?;
        longest = longest.max(one.elapsed());
    }
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_time() - cpu);
    println!(
        "{what}: {:.0} jobs/s, {:.0} changes/s, {:.0} commits/s, writer {:.1} µs of processor time per job, \
         longest commit {longest:?}",
        jobs as f64 / wall,
        rows as f64 / wall,
        commits as f64 / wall,
        cpu.as_secs_f64() * 1e6 / jobs as f64,
    );
    Ok(())
}

async fn list(store: &SqliteStore) -> Outcome<()> {
    let query = ListQuery { states: vec![StateKind::Pending], limit: Some(100_000), ..ListQuery::default() };
    for _ in 0..2 {
        let begun = Instant::now();
        let rows = store.list(query.clone()).await?.len();
        println!("list of {rows} pending: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    let seen = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&seen);
    let each = Box::new(move |row: berth_store::JobRow| {
        sum.fetch_add(row.owner.len() as u64, Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    store.list_each(query, each).await?;
    println!("the same row by row: {:?}", begun.elapsed());
    let begun = Instant::now();
    let states = vec![StateKind::Pending, StateKind::Running];
    let query = ListQuery {
        states,
        owner: Some("user7".into()),
        limit: Some(50),
        newest_first: true,
        ..ListQuery::default()
    };
    let rows = store.list(query).await?.len();
    println!("the latest {rows} live jobs of one user: {:?}", begun.elapsed());
    Ok(())
}

async fn sums(store: &SqliteStore) -> Outcome<()> {
    let begun = Instant::now();
    let counts = store.counts(UtcMs(0)).await?;
    println!("counts {counts:?}: {:?}", begun.elapsed());
    let begun = Instant::now();
    let users = store.usage(UsageBy::User, UtcMs(0)).await?.len();
    println!("usage of {users} users: {:?}", begun.elapsed());
    Ok(())
}

/// Processor time of this process so far, its own and the system's for it.
fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::from_secs(spent.tv_sec.unsigned_abs()) + Duration::from_nanos(spent.tv_nsec.unsigned_abs())
}
