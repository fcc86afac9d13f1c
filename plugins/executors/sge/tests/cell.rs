//! What jobs cost a real cell, counted by programs that stand before SGE's own.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use berth_executor_api::{
    Attempt, AttemptName, AttemptState, Command, Executor, Identity, JobId, Launch, LaunchSpec, Launched,
    Report, Resources, Task,
};
use berth_executor_sge::{SgeConfig, SgeExecutor};
use berth_testbed::{Cell, cell};
use futures::StreamExt;

struct Scene {
    executor: SgeExecutor,
    folder: tempfile::TempDir,
    _cell: Cell,
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Scene {
    async fn new() -> Self {
        let cell = tokio::task::spawn_blocking(|| cell(4)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), 0o755);
        let counts = folder.path().join("counts");
        fs::create_dir(&counts).unwrap();
        open(&counts, 0o777);
        for program in ["qsub", "qstat", "qacct", "qdel", "qhost"] {
            let (path, count) = (folder.path().join(program), counts.join(program));
            fs::write(&count, "").unwrap();
            open(&count, 0o666);
            let (count, real) = (count.display(), cell.binaries.join(program));
            fs::write(&path, format!("#!/bin/sh\necho >>{count}\nexec {} \"$@\"\n", real.display())).unwrap();
            open(&path, 0o755);
        }
        let mut config = SgeConfig::new("count", folder.path().join("state"));
        config.binaries = folder.path().into();
        config.environment.clone_from(&cell.environment);
        config.look_every = Duration::from_secs(1);
        Self { executor: SgeExecutor::start(config).unwrap(), folder, _cell: cell }
    }

    fn count(&self, program: &str) -> usize {
        fs::read_to_string(self.folder.path().join("counts").join(program)).unwrap().lines().count()
    }

    fn launch(&self, job: u64, task: Option<u64>, spec: &Arc<LaunchSpec>) -> Launch {
        let base = self.folder.path().join("jobs").join(if task.is_some() {
            "array".into()
        } else {
            job.to_string()
        });
        let directory = task.map_or_else(|| base.clone(), |index| base.join(index.to_string()));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        Launch {
            attempt: AttemptName::new("count", JobId(job), Attempt { number: 1, returned: 0 }),
            job: JobId(job),
            attempt_number: 1,
            task: task.map(|index| Task { array: JobId(1), index, first: 1, last: 1000, step: 1 }),
            node: Some("all.q".into()),
            stdout: text(&directory.join("stdout")),
            stderr: text(&directory.join("stderr")),
            directory: text(&directory),
            granted: Vec::new(),
            array_directory: task.map(|_| text(&base)),
            spec: Arc::clone(spec),
        }
    }
}

fn spec(script: &str) -> Arc<LaunchSpec> {
    Arc::new(LaunchSpec {
        cluster: "count".into(),
        name: "odd; name $(id)".into(),
        project: "default".into(),
        identity: Identity {
            user: "nobody".into(),
            uid: 65534,
            gid: 65534,
            groups: Vec::new(),
            home: None,
            email: None,
            roles: Vec::new(),
        },
        as_root: false,
        command: Command::Argv(["/bin/sh", "-c", script].map(str::to_owned).into()),
        env: BTreeMap::new(),
        workdir: None,
        image: None,
        resources: Resources { cpu_millis: 1000, memory_bytes: 0, gpus: 0 },
        enforce_cpu: false,
        exclusive_cpus: false,
        time_limit: None,
        grace: Duration::from_secs(1),
        mounts: Vec::new(),
        ports: Vec::new(),
        network: None,
        scratch_bytes: 0,
        files: Vec::new(),
        labels: BTreeMap::new(),
        constraints: BTreeMap::new(),
        interactive: false,
        extensions: BTreeMap::new(),
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and a Grid Engine cell"]
async fn a_thousand_tasks_are_one_qsub_and_each_ends_by_its_own_name() {
    let scene = Scene::new().await;
    let mut reports = scene.executor.reports();
    let spec = spec("exit $((BERTH_ARRAY_TASK_ID % 7))");
    let batch: Vec<Launch> = (1..=1000).map(|index| scene.launch(1000 + index, Some(index), &spec)).collect();
    let answers = scene.executor.launch(&batch).await.unwrap();
    assert!(answers.len() == 1000 && answers.iter().all(|answer| *answer == Launched::Taken));
    assert_eq!(scene.count("qsub"), 1);

    let code = |attempt: &AttemptName| {
        let (job, _) = AttemptName::parse("count", attempt.as_str()).unwrap();
        i32::try_from((job.0 - 1000) % 7).unwrap()
    };
    let mut ended = HashSet::new();
    let some = async {
        while ended.len() < 20 {
            let Some(Report::Attempt(report)) = reports.next().await else { continue };
            if let AttemptState::Exited(exit) = report.state {
                assert_eq!(exit.code, Some(code(&report.attempt)), "{}", report.attempt);
                ended.insert(report.attempt);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(180), some).await.unwrap();
    assert_eq!(scene.count("qsub"), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and a Grid Engine cell"]
async fn a_thousand_jobs_are_watched_by_one_qstat_a_look() {
    let scene = Scene::new().await;
    let mut reports = scene.executor.reports();
    let spec = spec("sleep 600");
    for part in 0..10 {
        let batch: Vec<Launch> =
            (0..100).map(|job| scene.launch(1 + part * 100 + job, None, &spec)).collect();
        let answers = scene.executor.launch(&batch).await.unwrap();
        assert!(answers.iter().all(|answer| *answer == Launched::Taken), "{answers:?}");
    }
    assert_eq!(scene.count("qsub"), 1000);
    let (before, since) = (scene.count("qstat"), Instant::now());
    let mut told = HashSet::new();
    let all = async {
        while told.len() < 1000 {
            if let Some(Report::Attempt(report)) = reports.next().await {
                told.insert(report.attempt);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    // One a second at most.
    let most = usize::try_from(since.elapsed().as_secs()).unwrap() + 2;
    let calls = scene.count("qstat") - before;
    assert!((1..=most).contains(&calls), "{calls} calls, where {most} looks are possible");
}
