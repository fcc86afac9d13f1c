//! What `qsub` is told, and what is not even asked of it.

use std::{collections::BTreeMap, process::Command as Process, sync::Arc, time::Duration};

use berth_executor_api::{
    Attempt, AttemptName, Command, Identity, JobId, Launch, LaunchSpec, Mount, Resources, Task,
};

use crate::{
    SgeConfig,
    convert::{KEYS, NotForSge, Together, arguments, check, together},
    script,
};

fn launch(job: u64, change: impl FnOnce(&mut LaunchSpec)) -> Launch {
    let identity = Identity {
        user: "nobody".into(),
        uid: 65534,
        gid: 65534,
        groups: Vec::new(),
        home: None,
        email: None,
        roles: Vec::new(),
    };
    let mut spec = LaunchSpec {
        cluster: "c".into(),
        name: "$(touch /tmp/x) -t 1-9".into(),
        project: "default".into(),
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
        mounts: Vec::new(),
        ports: Vec::new(),
        network: None,
        scratch_bytes: 0,
        files: Vec::new(),
        labels: BTreeMap::new(),
        constraints: BTreeMap::new(),
        interactive: false,
        extensions: BTreeMap::new(),
    };
    change(&mut spec);
    Launch {
        attempt: AttemptName::new("c", JobId(job), Attempt { number: 1, returned: 0 }),
        job: JobId(job),
        attempt_number: 1,
        task: None,
        node: Some("all.q".into()),
        directory: format!("/jobs/{job}"),
        array_directory: None,
        granted: Vec::new(),
        stdout: format!("/jobs/{job}/stdout"),
        stderr: format!("/jobs/{job}/stderr"),
        spec: Arc::new(spec),
    }
}

fn words(launch: &Launch, config: &SgeConfig) -> Result<String, NotForSge> {
    arguments(launch, launch.attempt.as_str(), None, config).map(|all| all.join(" "))
}

#[test]
fn a_job_becomes_arguments_and_its_own_name_is_none_of_them() {
    let mut config = SgeConfig::new("c", "/state");
    let plain = words(&launch(7, |_| ()), &config).unwrap();
    assert!(plain.starts_with("-clear -terse -N c-7-1 -m n"), "{plain}");
    assert!(plain.contains("-r n -notify") && plain.contains("-q all.q"), "{plain}");
    assert!(!plain.contains("touch") && !plain.contains("-t ") && !plain.contains("-l "), "{plain}");

    config.parallel_environment = Some("smp".into());
    config.gpu_complex = Some("gpu".into());
    (config.projects, config.wall_time) = (true, true);
    config.submit_options = vec!["-w".into(), "e".into()];
    let all = words(
        &launch(7, |spec| {
            spec.resources = Resources { cpu_millis: 1500, memory_bytes: 1 << 30, gpus: 2 };
            spec.project = "genomics".into();
            spec.time_limit = Some(Duration::from_secs(100));
            spec.extensions.insert(KEYS[0].into(), "arch=lx-amd64, fast".into());
            spec.extensions.insert("sge.reserve".into(), "true".into());
        }),
        &config,
    )
    .unwrap();
    for part in [
        "-pe smp 2",
        "-l h_vmem=536870912",
        "-l gpu=2",
        "-l h_rt=165",
        "-l arch=lx-amd64",
        "-l fast=TRUE",
        "-P genomics",
        "-R y",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(all.ends_with("-w e"), "{all}");
}

#[test]
fn options_cannot_say_more_than_they_are_for() {
    let config = SgeConfig::new("c", "/state");
    for (key, value) in [
        ("sge.resources", "a=1 -t 1-9"),
        ("sge.resources", "a=$(id)"),
        ("sge.resources", "-l=1"),
        ("sge.resources", "h_rt=1"),
        ("sge.resources", "a="),
        ("sge.parallel-environment", "smp 4"),
        ("sge.project", "-P"),
        ("sge.project", "a,b"),
        ("sge.reserve", "yes"),
    ] {
        let launch = launch(1, |spec| drop(spec.extensions.insert(key.into(), value.into())));
        assert!(matches!(words(&launch, &config), Err(NotForSge::Option { .. })), "{key} {value}");
    }
    let other = launch(1, |spec| drop(spec.extensions.insert("sge.other".into(), "1".into())));
    assert!(matches!(check(&other), Err(NotForSge::Option { .. })));
    let wide = launch(1, |spec| spec.resources.cpu_millis = 4000);
    assert_eq!(words(&wide, &config), Err(NotForSge::NoParallelEnvironment { slots: 4 }));
}

#[test]
fn what_sge_cannot_give_is_refused() {
    let mount = |read_only, target: &str| Mount {
        name: "data".into(),
        source: "/data".into(),
        target: target.into(),
        read_only,
    };
    let (elsewhere, guarded, same) = (mount(false, "/mnt"), mount(true, "/data"), mount(false, "/data"));
    let all: [&dyn Fn(&mut LaunchSpec); 7] = [
        &|spec| spec.image = Some("i".into()),
        &|spec| spec.as_root = true,
        &|spec| spec.interactive = true,
        &|spec| spec.ports = vec![1],
        &|spec| spec.scratch_bytes = 1,
        &|spec| spec.mounts = vec![elsewhere.clone()],
        &|spec| spec.mounts = vec![guarded.clone()],
    ];
    for change in all {
        assert!(matches!(check(&launch(1, |spec| change(spec))), Err(NotForSge::Cannot { .. })));
    }
    assert_eq!(check(&launch(1, |spec| spec.mounts = vec![same.clone()])), Ok(()));
}

fn tasks(indices: impl Iterator<Item = u64>, step: u64) -> Vec<Launch> {
    let shared = launch(1, |_| ()).spec;
    let one = |index| Launch {
        task: Some(Task { array: JobId(1), index, first: 0, last: 2000, step }),
        directory: format!("/jobs/1/{index}"),
        array_directory: Some("/jobs/1".into()),
        spec: Arc::clone(&shared),
        ..launch(100 + index, |_| ())
    };
    indices.map(one).collect()
}

fn jobs(launches: &[Launch]) -> Vec<Together> {
    together(&launches.iter().collect::<Vec<_>>())
}

#[test]
fn tasks_at_equal_distances_are_one_job() {
    let one = jobs(&tasks(1..=1000, 1));
    assert_eq!((one.len(), one[0].range, one[0].places.len()), (1, Some((1, 1000, 1)), 1000));
    let two = jobs(&tasks([3, 7, 5, 11].into_iter(), 2));
    assert_eq!(two.iter().map(|job| job.range).collect::<Vec<_>>(), [Some((3, 7, 2)), Some((11, 11, 2))]);
    assert_eq!(two[0].places, [0, 2, 1]);
    // SGE counts from 1.
    let from_zero = jobs(&tasks(0..3, 1));
    assert_eq!(from_zero.iter().map(|job| job.range).collect::<Vec<_>>(), [None, Some((1, 2, 1))]);
    let mut rest = tasks(1..=2, 1);
    rest.push(launch(9, |_| ()));
    let rest = jobs(&rest);
    assert_eq!(rest.iter().map(|job| job.places.clone()).collect::<Vec<_>>(), [vec![2], vec![0, 1]]);
}

/// Runs what SGE would, in a process group of its own.
fn run(command: &[&str], setup: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("it's $1");
    std::fs::create_dir(&directory).unwrap();
    let mut launch = launch(1, |spec| {
        spec.command = Command::Argv(command.iter().map(|word| (*word).to_owned()).collect());
        spec.env.insert("ODD".into(), "a\n'b' $HOME".into());
    });
    launch.directory = directory.to_str().unwrap().into();
    launch.stdout = format!("{}/out", launch.directory);
    launch.stderr = format!("{}/err", launch.directory);
    std::fs::write(directory.join(".sge-1.sh"), script::own(&launch, None).unwrap()).unwrap();
    let file = folder.path().join("submitted");
    std::fs::write(&file, script::submitted(&launch.directory, "1", false, 5)).unwrap();
    let shell = format!("{setup}\nexec setsid -w /bin/sh {}", file.display());
    let status =
        Process::new("/bin/sh").args(["-c", &shell]).env("JOB_ID", "5").current_dir(&directory).status();
    let out = std::fs::read_to_string(directory.join("out")).unwrap_or_default();
    (status.unwrap().code().unwrap_or(-1), out)
}

#[test]
fn the_scripts_run_the_command_as_it_is_and_keep_its_code() {
    let (code, out) = run(&["/bin/sh", "-c", "printf '%s|' \"$ODD\" \"$1\"; exit 7", "sh", "$(id) ' \""], "");
    assert_eq!((code, out.as_str()), (7, "a\n'b' $HOME|$(id) ' \"|"));
    assert_eq!(run(&["/no/such/program"], "").0, 127);
    // A word that looks like a variable is a program all the same.
    assert_eq!(run(&["a=b"], "").0, 127);
}

#[test]
fn an_attempt_runs_once_and_codes_of_sges_own_are_kept_apart() {
    let (code, out) = run(&["echo", "ran"], "mkdir .sge-1");
    assert_eq!((code, out.as_str()), (script::BEGUN_BEFORE, ""));
    assert_eq!(run(&["echo", "ran"], "rm .sge-1.sh").0, script::NO_DIRECTORY);
    assert_eq!(run(&["/bin/sh", "-c", "exit 99"], "").0, script::CODE_IN_FILE);
    assert_eq!(run(&["/bin/sh", "-c", "exit 98"], "").0, 98);
}
