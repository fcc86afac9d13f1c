//! What becomes of jobs, on a Swarm of one node.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use berth_executor_api::{
    Action, AttemptState, Command, Launch, LaunchSpec, Launched, LogQuery, Mount, NetworkAttachment, Report,
    Stream, Truth,
};
use berth_testbed::{IMAGE_BASH, IMAGE_PLAIN, NOT_A_PROGRAM, Wish, own_engine, registry, swarm};
use futures::TryStreamExt;

use crate::scene::{Scene, config, until};

const STOP: Action = Action::Terminate { grace: Duration::ZERO };

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn script(spec: &mut LaunchSpec, image: &str, text: &str) {
    spec.image = Some(image.into());
    spec.command = Command::Script { text: text.into(), args: vec!["one".into()] };
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn a_script_runs_as_its_user_with_the_best_shell_that_the_image_has() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    std::fs::set_permissions(scene.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let lines = "echo ${BASH_VERSION:+bash} $1 $(id -u):$(id -g) $(id -G) $PWD\necho made > made\n";
    for (image, shell) in [(IMAGE_BASH, "bash "), (IMAGE_PLAIN, "")] {
        let launch = scene.shell_with("", |spec| {
            script(spec, image, lines);
            spec.identity.uid = 1234;
            spec.identity.gid = 1234;
            spec.identity.groups = vec![1234, 4711];
        });
        scene.start(&launch).await;
        let (exit, report) = scene.end(&launch).await;
        assert_eq!(exit.code, Some(0), "{report:?}\n{}", text(&launch.stderr));
        assert_eq!(text(&launch.stdout), format!("{shell}one 1234:1234 1234 4711 {}\n", launch.directory));
        let made = std::fs::metadata(Path::new(&launch.directory).join("made")).unwrap();
        assert_eq!((made.uid(), std::fs::metadata(&launch.stdout).unwrap().uid()), (1234, 1234));
    }
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn what_cannot_be_started_ends_with_the_reason() {
    let engine = swarm();
    let mut settings = config(&engine);
    settings.init = false;
    let mut scene = Scene::new(settings);
    let argv = |program: &str| Command::Argv(vec![program.to_owned()]);
    let missing = Mount {
        name: "data".into(),
        source: "/nowhere/at/all".into(),
        target: "/data".into(),
        read_only: true,
    };
    let jobs = [
        (scene.shell_with("true", |spec| spec.image = Some("no/such:image".into())), "No such image", None),
        (scene.shell_with("", |spec| spec.command = argv("/no/such/program")), "no such file", Some(127)),
        (scene.shell_with("", |spec| spec.command = argv(NOT_A_PROGRAM)), "permission denied", Some(126)),
        (
            scene.shell_with("true", |spec| spec.mounts = vec![missing]),
            "bind source path does not exist",
            None,
        ),
    ];
    for (launch, words, code) in jobs {
        scene.start(&launch).await;
        let (exit, _) = scene.end(&launch).await;
        let said = exit.could_not_launch.clone().unwrap_or_default();
        assert!(said.contains(words), "{words}: {exit:?}");
        assert_eq!(exit.code, code, "{exit:?}");
    }
    // An init starts at any rate, and tells by its code.
    let mut scene = scene.again(config(&engine));
    for (program, code, words) in
        [("/no/such/program", 127, "not found"), (NOT_A_PROGRAM, 126, "may not be executed")]
    {
        let launch = scene.shell_with("", |spec| spec.command = argv(program));
        scene.start(&launch).await;
        let (exit, report) = scene.end(&launch).await;
        assert_eq!(exit.code, Some(code));
        assert!(report.message.as_ref().is_some_and(|said| said.contains(words)), "{report:?}");
    }
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn what_is_refused_leaves_no_service() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    let set = |spec: &mut LaunchSpec, key: &str, value: &str| {
        spec.extensions.insert(key.into(), value.into());
    };
    let mut too_big = scene.shell_with("true", |spec| spec.resources.cpu_millis = 640_000);
    scene.executor.capacity().await.unwrap();
    too_big.node = Some(engine.name().to_owned());
    let jobs = [
        (too_big, "the job asks for"),
        (scene.shell_with("true", |spec| spec.image = None), "needs one"),
        (scene.shell_with("true", |spec| set(spec, "swarm.sekrets", "a")), "swarm.sekrets"),
        (scene.shell_with("true", |spec| set(spec, "swarm.secrets", "none")), "no secret \"none\""),
        (scene.shell_with("true", |spec| set(spec, "swarm.configs", "none")), "no config \"none\""),
        (scene.shell_with("true", |spec| spec.exclusive_cpus = true), "itself alone"),
        (scene.shell_with("true", |spec| spec.resources.memory_bytes = 1000), "4MiB"),
        (
            scene.shell_with("true", |spec| {
                spec.network = Some(NetworkAttachment {
                    network: "nowhere".into(),
                    ports: Vec::new(),
                    ..NetworkAttachment::default()
                });
            }),
            "nowhere",
        ),
    ];
    for (launch, words) in jobs {
        match scene.launch(&launch).await {
            Launched::Refused { words: said } => assert!(said.contains(words), "{words}: {said}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    let mut elsewhere = scene.shell("true");
    elsewhere.node = Some("no-such-node".into());
    assert!(matches!(scene.launch(&elsewhere).await, Launched::NoRoom { .. }));
    assert_eq!(scene.executor.attempts().await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn a_job_without_a_suitable_node_says_so_and_can_be_stopped() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    let launch = scene.shell_with("true", |spec| {
        spec.extensions.insert("swarm.constraints".into(), "node.labels.disk==ssd".into());
    });
    scene.start(&launch).await;
    let unsuitable = "no suitable node (scheduling constraints not satisfied";
    let says = |report: &berth_executor_api::AttemptReport| {
        report.message.as_ref().is_some_and(|message| message.contains(unsuitable))
    };
    let report = scene.told(&launch, "no suitable node", says).await;
    assert_eq!(report.state, AttemptState::Starting);
    scene.executor.control(&launch.attempt, STOP).await.unwrap();
    let (exit, _) = scene.end(&launch).await;
    assert_eq!((exit.code, exit.before_stop), (None, false));
    scene.executor.remove(std::slice::from_ref(&launch.attempt)).await.unwrap();
    assert_eq!(scene.truth(&launch).await, Truth::Absent);
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn jobs_beyond_the_nodes_capacity_wait_in_the_swarm_for_room() {
    let engine = swarm();
    let mut settings = config(&engine);
    settings.backlog_percent = 100;
    let mut scene = Scene::new(settings);
    let node = scene.executor.capacity().await.unwrap().remove(0);
    let whole = node.total.cpu_millis / 2;
    let all = |spec: &mut LaunchSpec| spec.resources.cpu_millis = whole;
    let first = scene.shell_with("echo run >> trace; while [ ! -e go ]; do sleep 0.1; done", all);
    let second = scene.shell_with("exit 4", all);
    scene.start(&first).await;
    scene.running(&first).await;
    scene.start(&second).await;
    let waits = |report: &berth_executor_api::AttemptReport| {
        report
            .message
            .as_ref()
            .is_some_and(|words| words.contains("no suitable node (insufficient resources"))
    };
    scene.told(&second, "no room yet", waits).await;
    std::fs::write(Path::new(&first.directory).join("go"), "").unwrap();
    assert_eq!(scene.end(&first).await.0.code, Some(0));
    assert_eq!(scene.end(&second).await.0.code, Some(4));
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn too_much_memory_ends_a_job_and_is_told() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    let eats = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    let launch = scene.shell_with(eats, |spec| spec.resources.memory_bytes = 16 << 20);
    scene.start(&launch).await;
    let (exit, report) = scene.end(&launch).await;
    assert!(exit.out_of_memory && exit.code == Some(137), "{report:?}");
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn output_is_whole_to_the_byte_across_a_crash_of_berth() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    let says = r"printf 'a\377\000b\n'; echo err >&2; touch half; while [ ! -e go ]; do sleep 0.1; done; printf 'end'";
    let mut apart = scene.shell(says);
    let mut together = scene.shell(says);
    together.stderr = together.stdout.clone();
    for launch in [&apart, &together] {
        scene.start(launch).await;
        scene.running(launch).await;
    }
    until("the first half", async || std::fs::read(&apart.stdout).unwrap() == b"a\xff\x00b\n").await;
    let mut scene = scene.again(config(&engine));
    for launch in [&mut apart, &mut together] {
        std::fs::write(Path::new(&launch.directory).join("go"), "").unwrap();
        assert_eq!(scene.end(launch).await.0.code, Some(0));
    }
    assert_eq!(std::fs::read(&apart.stdout).unwrap(), b"a\xff\x00b\nend");
    assert_eq!(text(&apart.stderr), "err\n");
    let mut lines: Vec<_> =
        std::fs::read(&together.stdout).unwrap().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    assert_eq!(lines, [&b"a\xff\x00b"[..], b"end", b"err"]);
    // Reading from a time on, and after the service is gone.
    let all = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow: false, since: None };
    let late = LogQuery { since: Some("2100-01-01T00:00:00Z".parse().unwrap()), ..all };
    for (query, wanted) in [(all, &b"a\xff\x00b\nend"[..]), (late, b"")] {
        let log = scene.executor.logs(&apart.attempt, query).await.unwrap();
        assert_eq!(log.try_concat().await.unwrap(), wanted);
    }
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn secrets_and_configs_are_given_by_name_to_the_jobs_user_alone() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    let file = scene.folder().join("text");
    for (what, name, contents) in
        [("secret", "token", "s3cret"), ("secret", "token2", "other"), ("config", "app.conf", "x=1")]
    {
        std::fs::write(&file, contents).unwrap();
        engine.docker(&[what, "create", name, file.to_str().unwrap()]);
    }
    let shows = "cat /run/secrets/token /app.conf; stat -c %a:%u /run/secrets/token; ls /run/secrets";
    let launch = scene.shell_with(shows, |spec| {
        spec.extensions.insert("swarm.secrets".into(), "token".into());
        spec.extensions.insert("swarm.configs".into(), "app.conf".into());
    });
    scene.start(&launch).await;
    let (exit, _) = scene.end(&launch).await;
    assert_eq!((exit.code, text(&launch.stdout)), (Some(0), "s3cretx=1400:0\ntoken\n".to_owned()));
    let service = engine.docker(&["service", "inspect", launch.attempt.as_str()]);
    assert!(!service.contains("s3cret"));
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn a_private_registry_gives_its_image_to_those_with_the_password_be_it_the_users_or_the_sites() {
    let engine = own_engine(&[Wish::Swarm, Wish::Pull]);
    let registry = registry(Some(&engine));
    let home = tempfile::tempdir().unwrap();
    let run = async |settings| {
        let mut scene = Scene::new(settings);
        let launch = scene.shell_with("exit 3", |spec| {
            spec.image = Some(registry.image.clone());
            spec.identity.home = Some(home.path().to_str().unwrap().into());
        });
        scene.start(&launch).await;
        let (exit, report) = scene.end(&launch).await;
        scene.executor.remove(std::slice::from_ref(&launch.attempt)).await.unwrap();
        assert!(!format!("{report:?}").contains(&registry.password));
        exit
    };
    let without = run(config(&engine)).await;
    let words = without.could_not_launch.unwrap();
    assert!(words.contains("No such image"), "{words}");

    let stored = home.path().join(".docker");
    let login = ["login", "-u", &registry.username, "-p", &registry.password, &registry.address];
    engine.docker(&[&["--config", stored.to_str().unwrap()], &login[..]].concat());
    let not_asked = run(config(&engine)).await;
    assert!(not_asked.could_not_launch.is_some(), "users' own logins are not used unless that is wished for");
    let mut settings = config(&engine);
    settings.registries.user_logins = true;
    let own = run(settings.clone()).await;
    assert_eq!((own.code, own.could_not_launch), (Some(3), None));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(stored.join("config.json"), open).unwrap();
    let mut scene = Scene::new(settings);
    let launch = scene.shell_with("exit 3", |spec| {
        spec.image = Some(registry.image.clone());
        spec.identity.home = Some(home.path().to_str().unwrap().into());
    });
    match scene.launch(&launch).await {
        Launched::Refused { words } => assert!(words.contains("chmod 600"), "{words}"),
        other => panic!("{other:?}"),
    }
    drop(scene);
    engine.docker(&["rmi", "-f", &registry.image]);

    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, &registry.password).unwrap();
    std::fs::set_permissions(&password_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let login = berth_docker_engine::RegistryLogin { username: registry.username.clone(), password_file };
    let mut settings = config(&engine);
    settings.registries.logins.insert(registry.address.clone(), login);
    let with = run(settings).await;
    assert_eq!((with.code, with.could_not_launch), (Some(3), None));
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn networks_and_ports_are_made_told_and_cleaned_up() {
    let engine = swarm();
    let mut settings = config(&engine);
    settings.networks.insert("jobs-inside".into(), true);
    let mut scene = Scene::new(settings);
    let long = "while :; do sleep 0.1; done";
    let inside = scene.shell_with(long, |spec| {
        spec.network = Some(NetworkAttachment {
            network: "jobs-inside".into(),
            ports: Vec::new(),
            ..NetworkAttachment::default()
        });
    });
    let open = scene.shell_with(long, |spec| spec.ports = vec![8080]);
    for launch in [&inside, &open] {
        scene.start(launch).await;
    }
    scene.running(&inside).await;
    let told = scene.running(&open).await;
    assert_eq!((told.ports.len(), told.ports[0].job), (1, 8080));
    assert!(told.ports[0].host_port > 0 && !told.ports[0].host.is_empty(), "{told:?}");
    let about = ["network", "inspect", "-f", "{{.Internal}} {{.Driver}}", "jobs-inside"];
    assert_eq!(engine.docker(&about), "true overlay");
    // A service of somebody else stays.
    let foreign = ["service", "create", "-q", "-d", "--name", "foreign", "--no-resolve-image", IMAGE_PLAIN];
    engine.docker(&[&foreign[..], &["sleep", "1000"]].concat());
    let lines = scene.executor.cleanup(false).await.unwrap();
    assert!(lines.contains(&format!("service {}", open.attempt)), "{lines:?}");
    assert!(lines.contains(&"network jobs-inside".to_owned()), "{lines:?}");
    assert!(!engine.try_docker(&["network", "rm", "jobs-inside"]).status.success(), "it is gone");
    assert_eq!(scene.executor.cleanup(true).await.unwrap(), Vec::<String>::new());
    assert_eq!(engine.docker(&["service", "ls", "--format", "{{.Name}}"]), "foreign");
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn a_service_that_someone_else_removed_is_asked_about_and_absent() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    let launch = scene.shell("while :; do sleep 0.1; done");
    scene.start(&launch).await;
    scene.running(&launch).await;
    engine.docker(&["service", "rm", launch.attempt.as_str()]);
    scene.report("a reason to ask", |report| *report == Report::Back).await;
    assert_eq!(scene.truth(&launch).await, Truth::Absent);
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn a_restarted_engine_runs_nothing_twice() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    let failed = scene.shell("echo run >> trace; exit 5");
    let running = scene.shell("echo run >> trace; while :; do sleep 0.1; done");
    let stopped = scene.shell("echo run >> trace; while :; do sleep 0.1; done");
    for launch in [&failed, &running, &stopped] {
        scene.start(launch).await;
    }
    scene.end(&failed).await;
    for launch in [&running, &stopped] {
        until("its trace", async || scene.runs(launch) == 1).await;
    }
    scene.executor.control(&stopped.attempt, STOP).await.unwrap();
    scene.end(&stopped).await;
    engine.kill();
    scene.report("that it is away", |report| matches!(report, Report::Away(_))).await;
    engine.start_again();
    scene.report("that it is back", |report| *report == Report::Back).await;
    let over = |truth: &Truth| matches!(truth, Truth::Known(report) if matches!(report.state, AttemptState::Exited(_)));
    // Its container ended with the engine.
    until("the end of what ran", async || over(&scene.truth(&running).await)).await;
    for launch in [&failed, &running, &stopped] {
        assert!(over(&scene.truth(launch).await));
        assert_eq!(scene.runs(launch), 1);
        let filter = format!("label=com.docker.swarm.service.name={}", launch.attempt);
        let made = engine.docker(&["ps", "-aq", "--filter", &filter]);
        assert_eq!(made.lines().count(), 1);
    }
}

#[tokio::test]
#[ignore = "needs root, for an engine of its own"]
async fn a_user_cannot_turn_an_output_file_into_someone_elses() {
    let engine = swarm();
    let mut scene = Scene::new(config(&engine));
    std::fs::set_permissions(scene.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let secret = scene.folder().join("roots");
    std::fs::write(&secret, "roots\n").unwrap();
    let turns = format!("rm stdout; ln -s {} stdout; echo evil; touch half", secret.display());
    let launch: Launch = scene.shell_with(&turns, |spec| {
        spec.identity.uid = 1234;
        spec.identity.gid = 1234;
    });
    scene.start(&launch).await;
    let (exit, _) = scene.end(&launch).await;
    assert_eq!(exit.code, Some(0));
    // After a crash the file is opened anew, by its name.
    let scene = scene.again(config(&engine));
    let Truth::Known(report) = scene.truth(&launch).await else { panic!("it is there") };
    let words = report.message.unwrap_or_default();
    assert!(words.contains("cannot be written"), "{words}");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "roots\n");
}
