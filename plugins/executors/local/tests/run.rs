//! Jobs as processes: codes, files, variables, sessions.

mod support;

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use berth_executor_api::{
    AttemptState, Command, Executor, JobFile, JobId, Launched, LogQuery, Stream, Task, Truth,
};

use crate::support::{ALL, Site, change, is_root, spec};

#[tokio::test]
async fn codes_and_signals_are_told_as_they_were() {
    let mut site = Site::new().await;
    for (job, script, code, signal) in [
        (1, "exit 0", Some(0), None),
        (2, "exit 3", Some(3), None),
        (3, "kill -9 $$", None, Some(9)),
        (4, "kill -SEGV $$", None, Some(11)),
        (5, "exit 125", Some(125), None),
        (6, "exit 127", Some(127), None),
    ] {
        let launch = site.shell(job, script);
        let exit = site.run(&launch).await;
        assert_eq!((exit.code, exit.signal), (code, signal), "{script}");
        assert!(exit.before_stop && exit.could_not_launch.is_none() && !exit.out_of_memory);
        let states = site.states(&launch.attempt);
        assert_eq!(states.first(), Some(&&AttemptState::Running), "{script}");
        assert_eq!(states.len(), 2, "{script}: {states:?}");
    }
    site.close().await;
}

#[tokio::test]
async fn output_goes_to_files_of_its_own() {
    let mut site = Site::new().await;
    let launch = site.shell(1, "echo out; echo err >&2; cat; pwd; stat -c %a .");
    assert_eq!(site.run(&launch).await.code, Some(0));
    let directory = fs::canonicalize(&launch.directory).unwrap();
    assert_eq!(fs::read_to_string(&launch.stdout).unwrap(), format!("out\n{}\n700\n", directory.display()));
    assert_eq!(fs::read_to_string(&launch.stderr).unwrap(), "err\n");
    assert_eq!(site.log(&launch.attempt, ALL).await, fs::read_to_string(&launch.stdout).unwrap());
    let stderr = LogQuery { stream: Stream::Stderr, tail_bytes: Some(2), follow: true, since: None };
    assert_eq!(site.log(&launch.attempt, stderr).await, "r\n");

    // Another attempt of the job finds its directory, and its output begins anew.
    let mut again = site.shell(1, "echo again");
    again.attempt = serde_json::from_value(format!("{}-1-2", support::CLUSTER).into()).unwrap();
    again.stderr.clone_from(&again.stdout);
    assert_eq!(site.run(&again).await.code, Some(0));
    assert_eq!(fs::read_to_string(&again.stdout).unwrap(), "again\n");
    site.close().await;
}

#[tokio::test]
async fn a_job_leads_a_session_and_a_group_and_holds_nothing_of_the_supervisors() {
    let mut site = Site::new().await;
    let script = "cut -d' ' -f1,5,6 /proc/self/stat | tr ' ' '\\n'; echo; ls /proc/$$/fd; \
                  grep -E 'SigBlk|SigIgn' /proc/$$/status | cut -f2 | cut -c9-";
    let launch = site.argv(1, &["/bin/sh", "-c", &format!("exec 3>&-; echo $$; {script}")]);
    assert_eq!(site.run(&launch).await.code, Some(0));
    let text = fs::read_to_string(&launch.stdout).unwrap();
    let (processes, rest) = text.split_once("\n\n").unwrap();
    let numbers: Vec<&str> = processes.lines().collect();
    assert_eq!(numbers[0], numbers[2], "its group is its own: {numbers:?}");
    assert_eq!(numbers[0], numbers[3], "its session is its own: {numbers:?}");
    let rest: Vec<&str> = rest.lines().collect();
    assert_eq!(rest[..3], ["0", "1", "2"], "standard streams only");
    // The highest of these bits is a signal of the C library's own.
    let masks = rest[3..].iter().map(|mask| u32::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff);
    assert_eq!(masks.collect::<Vec<_>>(), [0, 0], "no signal is blocked or ignored: {rest:?}");
    site.close().await;
}

#[tokio::test]
async fn tasks_of_an_array_know_which_they_are() {
    let mut site = Site::new().await;
    let text = "echo $BERTH_ARRAY_TASK_ID $BERTH_ARRAY_TASK_FIRST $BERTH_ARRAY_TASK_LAST $BERTH_ARRAY_TASK_STEP \
                $GODOCKER_TASK_ID $GOGOCKER_TASK_FIRST $BERTH_JOB_ID $GODOCKER_JID $BERTH_ARRAY_ID $1\n\
                [ \"$BERTH_JOB_DIR\" = \"$PWD\" ] && [ \"$GODOCKER_PWD\" = \"$PWD\" ] && echo here\n\
                echo $0 $GREETING\n";
    let mut spec = spec(Command::Script { text: text.into(), args: vec!["first".into()] });
    spec.env.insert("GREETING".into(), "hello".into());
    let spec = Arc::new(spec);
    let array = site.path("jobs/100").to_str().unwrap().to_owned();
    let batch: Vec<_> = (30..=36)
        .map(|index| {
            let mut launch = site.argv(71 + index, &["x"]);
            launch.spec = Arc::clone(&spec);
            launch.task = Some(Task { array: JobId(100), index, first: 30, last: 36, step: 1 });
            launch.array_directory = Some(array.clone());
            launch.directory = format!("{array}/{index}");
            launch.stdout = format!("{array}/{index}/stdout");
            launch.stderr = format!("{array}/{index}/stderr");
            launch
        })
        .collect();
    let answers = site.executor.launch(&batch).await.unwrap();
    assert_eq!(answers, vec![Launched::Taken; 7]);
    for (index, launch) in (30..=36).zip(&batch) {
        assert_eq!(site.end(&launch.attempt).await.code, Some(0));
        let job = 71 + index;
        let expected =
            format!("{index} 30 36 1 {index} 30 {job} {job} 100 first\nhere\n{array}/cmd.sh hello\n");
        assert_eq!(fs::read_to_string(&launch.stdout).unwrap(), expected);
    }
    let entries = || fs::read_dir(&array).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(entries().count(), 8, "seven tasks and one script, nothing half-made: {:?}", entries());
    site.close().await;
}

#[tokio::test]
async fn files_and_scripts_are_there_before_the_job() {
    let mut site = Site::new().await;
    let mut launch = site.argv(1, &["x"]);
    change(&mut launch, |spec| {
        spec.command = Command::Script { text: "#!/bin/cat\nthe script\n".into(), args: vec!["data".into()] };
        let data = JobFile { name: "data".into(), contents: "the data\n".into(), executable: false };
        let tool = JobFile { name: "tool".into(), contents: "#!/bin/true\n".into(), executable: true };
        spec.files = vec![data, tool];
    });
    assert_eq!(site.run(&launch).await.code, Some(0));
    assert_eq!(fs::read_to_string(&launch.stdout).unwrap(), "#!/bin/cat\nthe script\nthe data\n");
    let mode = |name| fs::metadata(site.path("jobs/1").join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("cmd.sh"), mode("data"), mode("tool")), (0o700, 0o600, 0o700));
    let mut bad = site.argv(2, &["true"]);
    change(&mut bad, |spec| {
        spec.files = vec![JobFile { name: "../x".into(), contents: String::new(), executable: false }];
    });
    let answers = site.executor.launch(&[bad]).await.unwrap();
    assert!(matches!(&answers[..], [Launched::Refused { words }] if words.contains("../x")), "{answers:?}");
    site.close().await;
}

#[tokio::test]
async fn variables_are_those_of_a_login_and_the_jobs_own() {
    let mut site = Site::new().await;
    let mut launch = site.argv(1, &["env"]);
    change(&mut launch, |spec| {
        spec.env = [("PATH", "/opt/x:/bin:/usr/bin"), ("BERTH_JOB_ID", "7"), ("A", "b=c")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        spec.workdir = Some("/".into());
    });
    assert_eq!(site.run(&launch).await.code, Some(0));
    let text = fs::read_to_string(&launch.stdout).unwrap();
    for line in
        ["PATH=/opt/x:/bin:/usr/bin", "BERTH_JOB_ID=1", "A=b=c", "USER=me", "LOGNAME=me", "SHELL=/bin/sh"]
    {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
    assert_eq!(text.lines().filter(|line| line.starts_with("PATH=")).count(), 1);
    assert!(!text.contains("CARGO"), "nothing of Berth's own: {text}");
    site.close().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_as_a_shell_would() {
    let mut site = Site::new().await;
    for (job, program, code) in [(1, "no-such-program", 127), (2, "/no/such", 127), (3, "/etc/passwd", 126)] {
        let launch = site.argv(job, &[program]);
        let attempt = site.launch(&launch).await;
        let report = site.end_report(&attempt).await;
        assert_eq!(site.end(&attempt).await.code, Some(code), "{program}");
        assert!(report.message.unwrap().contains(program));
        assert!(fs::read_to_string(&launch.stderr).unwrap().starts_with(&format!("berth: {program}: ")));
    }
    let mut nowhere = site.argv(4, &["true"]);
    nowhere.stdout = "/no/such/folder/stdout".into();
    let exit = site.run(&nowhere).await;
    assert!(exit.could_not_launch.as_ref().unwrap().contains("/no/such/folder/stdout"), "{exit:?}");
    assert_eq!((exit.code, exit.signal), (None, None));
    assert_eq!(site.states(&nowhere.attempt).len(), 1, "it never was running");
    site.close().await;
}

#[tokio::test]
async fn launching_twice_is_one_run() {
    let mut site = Site::new().await;
    let trace = site.path("trace");
    let launch = site.shell(1, &format!("echo ran >> {}", trace.display()));
    let batch = [launch.clone(), launch.clone()];
    assert_eq!(site.executor.launch(&batch).await.unwrap(), vec![Launched::Taken; 2]);
    site.end(&launch.attempt).await;
    assert_eq!(site.executor.launch(&batch).await.unwrap(), vec![Launched::Taken; 2]);
    let after = site.shell(2, "true");
    site.run(&after).await;
    assert_eq!(fs::read_to_string(&trace).unwrap(), "ran\n");
    assert!(matches!(site.truth(&launch.attempt).await, Truth::Known(_)));
    site.executor.remove(std::slice::from_ref(&launch.attempt)).await.unwrap();
    assert_eq!(site.truth(&launch.attempt).await, Truth::Absent);
    site.close().await;
}

#[tokio::test]
async fn a_thousand_jobs_at_once_all_end() {
    let mut site = Site::new().await;
    let batch: Vec<_> = (1..=1000).map(|job| site.argv(job, &["true"])).collect();
    assert_eq!(site.executor.launch(&batch).await.unwrap(), vec![Launched::Taken; 1000]);
    for launch in &batch {
        assert_eq!(site.end(&launch.attempt).await.code, Some(0));
    }
    let names: Vec<_> = batch.iter().map(|launch| launch.attempt.clone()).collect();
    let truths = site.executor.reconcile(&names).await.unwrap();
    assert!(truths.iter().all(|truth| matches!(truth, Truth::Known(report)
        if matches!(&report.state, AttemptState::Exited(exit) if exit.code == Some(0)))));
    site.executor.remove(&names).await.unwrap();
    assert_eq!(site.executor.cleanup(true).await.unwrap(), Vec::<String>::new());
    site.close().await;
}

#[tokio::test]
async fn another_user_is_refused_without_the_right_to_become_one() {
    if is_root() {
        return;
    }
    let site = Site::new().await;
    let mut launch = site.argv(1, &["true"]);
    change(&mut launch, |spec| spec.identity.uid += 1);
    let answers = site.executor.launch(&[launch]).await.unwrap();
    assert!(matches!(&answers[..], [Launched::Refused { words }] if words.contains("not as root")));
    site.close().await;
}
