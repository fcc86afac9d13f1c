//! One test for each row of the template in [`crate::drmaa2::TEMPLATE`], and for what holds beside them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use berth_docker_engine::bollard::models::{MountType, NetworkSettings};
use berth_executor_api::{
    Attempt, AttemptName, Command, Identity, JobId, LaunchSpec, Mount, NamedGrant, NetworkAttachment,
    Resources, Task,
};

use super::*;
use crate::{
    config::{Enforce, Swap},
    gpu::{Gpus, Vendor},
    shares::Share,
};

const IMAGE: &str = "berth/plain:1";

fn argv(words: &[&str]) -> Command {
    Command::Argv(words.iter().map(|word| (*word).to_owned()).collect())
}

fn launch(change: impl FnOnce(&mut LaunchSpec)) -> Launch {
    let identity = Identity {
        user: "alice".into(),
        uid: 1000,
        gid: 100,
        groups: vec![200, 300],
        home: Some("/home/alice".into()),
        email: None,
        roles: Vec::new(),
    };
    let mut spec = LaunchSpec {
        cluster: "c".into(),
        name: "hello".into(),
        project: "lab".into(),
        identity,
        as_root: false,
        command: argv(&["echo", "hi"]),
        env: BTreeMap::new(),
        workdir: None,
        image: Some(IMAGE.into()),
        resources: Resources::default(),
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
        attempt: AttemptName::new("c", JobId(7), Attempt { number: 1, returned: 0 }),
        job: JobId(7),
        attempt_number: 1,
        task: None,
        node: None,
        directory: "/jobs/7".into(),
        array_directory: None,
        stdout: "/jobs/7/stdout".into(),
        stderr: "/jobs/7/stderr".into(),
        granted: Vec::new(),
        spec: Arc::new(spec),
    }
}

fn config() -> DockerConfig {
    DockerConfig::new("c", "/none")
}

fn body_with(config: &DockerConfig, launch: &Launch, share: &Share) -> ContainerCreateBody {
    let (options, image) = checked(launch, config, 0).unwrap();
    let facts = Facts::new(launch, &options, &image, share);
    Making {
        config,
        launch,
        options: &options,
        facts: &facts,
        image: image.full(),
        network: attached_to(launch, &options, config).unwrap(),
        cgroup_parent: None,
        cores: 4,
        common_cores: None,
    }
    .body()
}

fn body(change: impl FnOnce(&mut LaunchSpec)) -> ContainerCreateBody {
    body_with(&config(), &launch(change), &Share::default())
}

fn host(change: impl FnOnce(&mut LaunchSpec)) -> HostConfig {
    body(change).host_config.unwrap()
}

fn option(spec: &mut LaunchSpec, key: &str, value: &str) {
    spec.extensions.insert(key.into(), value.into());
}

fn refused(change: impl FnOnce(&mut LaunchSpec)) -> String {
    checked(&launch(change), &config(), 0).unwrap_err()
}

#[test]
fn job_category_is_the_image_and_mandatory() {
    assert_eq!(body(|_| ()).image.as_deref(), Some(IMAGE));
    assert_eq!(body(|spec| spec.image = Some("busybox".into())).image.as_deref(), Some("busybox:latest"));
    assert!(refused(|spec| spec.image = None).contains("names no image"));
    let mut config = config();
    config.images.rules.default = Some("site/default".parse().unwrap());
    let none = launch(|spec| spec.image = None);
    assert_eq!(checked(&none, &config, 0).unwrap().1.full(), "site/default:latest");
}

#[test]
fn named_resources_bring_their_devices_and_are_told_by_a_variable() {
    let mut launch = launch(|spec| {
        spec.env.insert("BERTH_RESOURCE_GPU_10_5".into(), "7".into());
    });
    launch.granted = vec![NamedGrant {
        name: "gpu_10.5".into(),
        amount: 2,
        units: vec![0, 3],
        devices: vec!["/dev/null".into(), "/dev/zero".into()],
    }];
    let body = body_with(&config(), &launch, &Share::default());
    let devices = body.host_config.unwrap().devices.unwrap();
    let paths: Vec<_> = devices.iter().map(|device| device.path_in_container.as_deref().unwrap()).collect();
    assert_eq!(paths, ["/dev/null", "/dev/zero"]);
    let told: Vec<_> = body.env.unwrap();
    assert!(told.contains(&"BERTH_RESOURCE_GPU_10_5=0,3".to_owned()), "{told:?}");
}

#[test]
fn remote_command_and_args_come_after_the_images_entry_point() {
    let both = body(|_| ());
    assert_eq!((both.entrypoint, both.cmd), (None, Some(vec!["echo".into(), "hi".into()])));
    let neither = body(|spec| spec.command = argv(&[]));
    assert_eq!((neither.entrypoint, neither.cmd), (None, None));
}

#[test]
fn a_script_is_run_by_what_its_first_line_names() {
    let script = |text: &str| Command::Script { text: text.into(), args: vec!["a b".into()] };
    let named = body(|spec| spec.command = script("#!/usr/bin/perl\n"));
    assert_eq!(named.entrypoint.unwrap(), ["/jobs/7/cmd.sh"]);
    assert_eq!(named.cmd.unwrap(), ["a b"]);
    let plain = body(|spec| spec.command = script("echo hi\n"));
    assert_eq!(plain.entrypoint.unwrap(), ["/bin/sh"]);
    let cmd = plain.cmd.unwrap();
    assert!(cmd[1].contains("exec bash") && cmd[1].contains("exec sh"));
    assert_eq!(cmd[2..], ["/jobs/7/cmd.sh", "a b"]);
}

#[test]
fn job_name_is_a_label_and_names_and_labels_find_it_again() {
    let task = Task { array: JobId(5), index: 3, first: 1, last: 9, step: 1 };
    let mut launch = launch(|spec| {
        spec.labels.insert("mine".into(), "1".into());
        spec.labels.insert("berth.cluster".into(), "other".into());
    });
    launch.task = Some(task);
    let labels = body_with(&config(), &launch, &Share::default()).labels.unwrap();
    for (name, value) in [
        ("berth.cluster", "c"),
        ("berth.job", "7"),
        ("berth.attempt", "c-7-1"),
        ("berth.user", "alice"),
        ("berth.project", "lab"),
        ("berth.name", "hello"),
        ("berth.array", "5"),
        ("berth.task", "3"),
        ("mine", "1"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
}

#[test]
fn candidate_machines_are_the_host_name() {
    assert_eq!(body(|_| ()).hostname.as_deref(), Some("c-7-1"));
    assert_eq!(body(|spec| option(spec, "docker.hostname", "n1")).hostname.as_deref(), Some("n1"));
}

#[test]
fn working_directory_is_the_jobs_own_unless_one_is_given() {
    assert_eq!(body(|_| ()).working_dir.as_deref(), Some("/jobs/7"));
    assert_eq!(body(|spec| spec.workdir = Some("/tmp".into())).working_dir.as_deref(), Some("/tmp"));
}

#[test]
fn job_environment_is_there_and_no_secret_is_in_a_label() {
    let all = body(|spec| {
        spec.env.insert("TOKEN".into(), "secret-1".into());
        spec.env.insert("HOME".into(), "/elsewhere".into());
        spec.env.insert("BERTH_JOB_ID".into(), "999".into());
    });
    let env = all.env.unwrap();
    for line in ["TOKEN=secret-1", "HOME=/elsewhere", "USER=alice", "BERTH_JOB_ID=7", "BERTH_JOB_DIR=/jobs/7"]
    {
        assert!(env.iter().any(|set| set == line), "{line} in {env:?}");
    }
    assert!(!env.iter().any(|set| set == "BERTH_JOB_ID=999" || set.starts_with("PATH=")));
    assert!(!format!("{:?}", all.labels).contains("secret-1"));
}

#[test]
fn staged_files_are_bind_mounts_that_never_make_their_source() {
    let mount = |target: &str, read_only| Mount {
        name: "data".into(),
        source: "/data".into(),
        target: target.into(),
        read_only,
    };
    let mounts = host(|spec| spec.mounts = vec![mount("/a", true), mount("/b", false)]).mounts.unwrap();
    let seen: Vec<_> = mounts
        .iter()
        .map(|mount| (mount.source.as_deref().unwrap(), mount.target.as_deref().unwrap(), mount.read_only))
        .collect();
    let wanted =
        [("/jobs/7", "/jobs/7", Some(false)), ("/data", "/a", Some(true)), ("/data", "/b", Some(false))];
    assert_eq!(seen, wanted);
    assert!(mounts.iter().all(|mount| mount.typ == Some(MountType::BIND)));
    assert_eq!(host(|_| ()).binds, None);
    assert!(refused(|spec| spec.mounts = vec![mount("/a", true), mount("/a", true)]).contains("two things"));
    assert!(refused(|spec| spec.mounts = vec![mount("relative", true)]).contains("absolute"));
}

#[test]
fn a_home_that_is_mounted_is_home() {
    let home = Mount {
        name: "home".into(),
        source: "/home/alice".into(),
        target: "/mnt/home".into(),
        read_only: false,
    };
    let env = body(|spec| spec.mounts = vec![home]).env.unwrap();
    assert!(env.contains(&"HOME=/mnt/home".into()) && env.contains(&"BERTH_HOME=/mnt/home".into()));
    assert!(body(|_| ()).env.unwrap().contains(&"HOME=/jobs/7".into()));
}

#[test]
fn output_and_error_paths_are_kept_for_whoever_comes_after_a_crash() {
    let made = body(|_| ());
    let facts = Facts::read(&made.labels.unwrap()).unwrap();
    assert_eq!((facts.stdout.as_str(), facts.stderr.as_str()), ("/jobs/7/stdout", "/jobs/7/stderr"));
    assert_eq!((facts.uid, facts.gid, facts.groups), (1000, 100, vec![200, 300]));
    let log = made.host_config.unwrap().log_config.unwrap();
    assert_eq!((log.typ.as_deref(), log.config.unwrap()["max-size"].as_str()), (Some("json-file"), "1000t"));
    assert_eq!(made.open_stdin, Some(false));
}

#[test]
fn memory_is_a_limit_and_swap_follows_the_rule() {
    let memory = |spec: &mut LaunchSpec| spec.resources.memory_bytes = 1 << 30;
    let limits = host(memory);
    assert_eq!((limits.memory, limits.memory_swap), (Some(1 << 30), Some(1 << 30)));
    for (swap, both) in [(Swap::Same, 2 << 30), (Swap::Unlimited, -1)] {
        let config = DockerConfig { swap, ..config() };
        let limits = body_with(&config, &launch(memory), &Share::default()).host_config.unwrap();
        assert_eq!(limits.memory_swap, Some(both));
    }
    let own = host(|spec| {
        memory(spec);
        option(spec, "docker.memory-swap", "3G");
    });
    assert_eq!(own.memory_swap, Some(3 << 30));
    let config = DockerConfig { enforce: Enforce::Never, ..config() };
    assert_eq!(body_with(&config, &launch(memory), &Share::default()).host_config.unwrap().memory, None);
    assert_eq!(host(|_| ()).memory, None);
}

#[test]
fn cpus_are_a_quota_where_they_are_held_to_and_a_share_everywhere() {
    let cpus = |millis: u64, enforce: bool| {
        move |spec: &mut LaunchSpec| {
            spec.resources.cpu_millis = millis;
            spec.enforce_cpu = enforce;
        }
    };
    assert_eq!(host(cpus(500, false)).nano_cpus, None);
    assert_eq!(host(cpus(500, false)).cpu_shares, Some(512));
    assert_eq!(host(cpus(500, true)).nano_cpus, Some(500_000_000));
    assert_eq!(host(cpus(1, true)).nano_cpus, Some(10_000_000), "the least that the engine takes");
    assert_eq!(host(cpus(64_000, true)).nano_cpus, Some(4_000_000_000), "no more than it has");
    let always = DockerConfig { enforce: Enforce::Always, ..config() };
    let limits = body_with(&always, &launch(cpus(500, false)), &Share::default()).host_config.unwrap();
    assert_eq!(limits.nano_cpus, Some(500_000_000));
}

#[test]
fn exclusive_cpus_are_pinned_and_noted_in_a_label() {
    let share = Share { cores: [1, 3].into(), gpus: Vec::new() };
    let asked = launch(|spec| {
        spec.resources.cpu_millis = 2000;
        spec.exclusive_cpus = true;
        spec.enforce_cpu = true;
    });
    let made = body_with(&config(), &asked, &share);
    let limits = made.host_config.unwrap();
    assert_eq!((limits.cpuset_cpus.as_deref(), limits.nano_cpus), (Some("1,3"), None));
    assert_eq!(Facts::read(&made.labels.unwrap()).unwrap().share(), share);
}

#[test]
fn the_user_is_never_root_unless_that_was_granted() {
    let made = body(|_| ());
    assert_eq!(made.user.as_deref(), Some("1000:100"));
    let limits = made.host_config.unwrap();
    assert_eq!(limits.group_add.unwrap(), ["200", "300"]);
    assert_eq!(limits.security_opt.unwrap(), ["no-new-privileges"]);
    assert_eq!(limits.cap_drop.unwrap(), ["ALL"]);
    let root = body(|spec| spec.as_root = true);
    assert_eq!(root.user.as_deref(), Some("0:0"));
    assert_eq!(root.host_config.unwrap().cap_drop, None);
    assert!(refused(|spec| spec.identity.uid = 0).contains("root"));
    assert!(checked(&launch(|_| ()), &config(), 4711).unwrap_err().contains("no right"));
    assert!(checked(&launch(|_| ()), &config(), 1000).is_ok());
}

#[test]
fn ports_are_published_where_the_policy_says_or_anywhere_that_is_free() {
    let made = body(|spec| {
        spec.ports = vec![80, 443];
        spec.network = Some(NetworkAttachment {
            network: "external".into(),
            ports: vec![(80, 30_080)],
            ..NetworkAttachment::default()
        });
    });
    assert_eq!(made.exposed_ports.unwrap(), ["80/tcp", "443/tcp"]);
    let bindings = made.host_config.unwrap().port_bindings.unwrap();
    let port = |name: &str| bindings[name].as_ref().unwrap()[0].host_port.clone().unwrap();
    assert_eq!((port("80/tcp").as_str(), port("443/tcp").as_str()), ("30080", ""));
    let fixed = body(|spec| {
        spec.ports = vec![80];
        option(spec, "docker.ports", "8080:80,9090:90");
    });
    assert_eq!(fixed.exposed_ports.unwrap(), ["80/tcp", "90/tcp"]);
    let bindings = fixed.host_config.unwrap().port_bindings.unwrap();
    let port = |name: &str| bindings[name].as_ref().unwrap()[0].host_port.clone().unwrap();
    assert_eq!((port("80/tcp").as_str(), port("90/tcp").as_str()), ("8080", "9090"));
    let none = refused(|spec| {
        spec.ports = vec![80];
        option(spec, "docker.net", "none");
    });
    assert!(none.contains("ports"), "{none}");
}

#[test]
fn published_ports_are_read_back() {
    let settings: NetworkSettings = serde_json::from_value(serde_json::json!({"Ports": {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}, {"HostIp": "::", "HostPort": "32768"}],
        "81/tcp": null
    }}))
    .unwrap();
    let ports = mapped(&settings, "node");
    assert_eq!(ports.len(), 1);
    assert_eq!((ports[0].job, ports[0].host.as_str(), ports[0].host_port), (80, "node", 32768));
}

#[test]
fn an_entry_point_replaces_the_images() {
    let own = body(|spec| option(spec, "docker.entrypoint", "/bin/nice -n 5"));
    assert_eq!(own.entrypoint.unwrap(), ["/bin/nice", "-n", "5"]);
    assert_eq!(own.cmd.unwrap(), ["echo", "hi"]);
    assert_eq!(body(|spec| option(spec, "docker.entrypoint", "")).entrypoint.unwrap(), [""]);
}

#[test]
fn networks_are_berths_own_or_known_ones() {
    let net = |name: &'static str| move |spec: &mut LaunchSpec| option(spec, "docker.net", name);
    let mode = |change: &dyn Fn(&mut LaunchSpec)| host(change).network_mode.unwrap();
    assert_eq!(mode(&|_| ()), "berth-c-external");
    assert_eq!(mode(&net("internal")), "berth-c-internal");
    assert_eq!(mode(&net("host")), "host");
    let by_policy = |name: &str| {
        let network = Some(NetworkAttachment {
            network: name.into(),
            ports: Vec::new(),
            ..NetworkAttachment::default()
        });
        launch(|spec| spec.network = network)
    };
    let attached =
        |name: &str, config: &DockerConfig| attached_to(&by_policy(name), &Extensions::default(), config);
    assert_eq!(attached("none", &config()).unwrap(), "none");
    assert!(attached("host", &config()).is_err(), "only by an option that was granted");
    assert!(attached("theirs", &config()).is_err());
    let listed = DockerConfig { networks: vec!["theirs".into()], ..config() };
    assert_eq!(attached("theirs", &listed).unwrap(), "theirs");
}

#[test]
fn networks_made_on_demand_have_names_of_their_own_whatever_a_user_is_called() {
    let name = |name: &str| on_demand_name("c", name).unwrap();
    assert_eq!(name("user-alice_1"), "berth-c.user-alice_1");
    let all =
        ["user-a.b", "user-a-b", "user-a.2eb", "user-a b", "user-A", "user-a", "project-a", "user-\u{e4}"];
    let names: std::collections::BTreeSet<String> = all.iter().map(|one| name(one)).collect();
    assert_eq!(names.len(), all.len(), "{names:?}");
    assert!(on_demand_name("c", &"x".repeat(300)).is_err());
    let by_policy = launch(|spec| {
        let network =
            NetworkAttachment { network: "host".into(), on_demand: true, ..NetworkAttachment::default() };
        spec.network = Some(network);
    });
    assert_eq!(attached_to(&by_policy, &Extensions::default(), &config()).unwrap(), "berth-c.host");
}

#[test]
fn privileged_takes_the_locks_away() {
    let made = host(|spec| option(spec, "docker.privileged", "true"));
    assert_eq!((made.privileged, made.security_opt, made.cap_drop), (Some(true), None, None));
    assert_eq!(host(|_| ()).privileged, Some(false));
}

#[test]
fn the_engine_never_restarts_or_removes_by_itself() {
    let made = host(|spec| option(spec, "docker.restart", "no"));
    assert_eq!(made.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::NO));
    let made = host(|spec| option(spec, "docker.rm", "true"));
    assert_eq!(made.auto_remove, Some(false));
    assert!(refused(|spec| option(spec, "docker.restart", "always")).contains("twice"));
    assert!(refused(|spec| option(spec, "docker.rm", "false")).contains("recorded"));
}

#[test]
fn name_spaces_are_joined_where_that_was_granted() {
    let made = body(|spec| {
        option(spec, "docker.ipc", "host");
        option(spec, "docker.uts", "host");
        option(spec, "docker.pid", "host");
    });
    // The engine refuses a name where the name space is the host's.
    assert_eq!(made.hostname, None);
    let made = made.host_config.unwrap();
    let modes = (made.ipc_mode.as_deref(), made.uts_mode.as_deref(), made.pid_mode.as_deref());
    assert_eq!(modes, (Some("host"), Some("host"), Some("host")));
    let usual = host(|_| ());
    assert_eq!((usual.ipc_mode, usual.uts_mode, usual.pid_mode), (None, None, None));
}

#[test]
fn gpus_come_by_vendor_and_only_to_who_has_some() {
    let config = DockerConfig { gpus: Gpus::numbered(Vendor::Amd, 2), ..config() };
    let asked = launch(|spec| spec.resources.gpus = 1);
    let share = Share { cores: [].into(), gpus: vec!["1".into()] };
    let made = body_with(&config, &asked, &share);
    assert!(made.env.unwrap().contains(&"ROCR_VISIBLE_DEVICES=1".into()));
    let made = made.host_config.unwrap();
    assert_eq!(made.group_add.unwrap(), ["200", "300", "video"]);
    assert_eq!(made.devices.unwrap().len(), 2);
    let without = body_with(&config, &launch(|_| ()), &Share::default()).host_config.unwrap();
    assert_eq!((without.devices.unwrap().len(), without.device_requests.unwrap().len()), (0, 0));
    assert!(refused(|spec| spec.resources.gpus = 1).contains("has none"));
    assert!(refused(|spec| option(spec, "docker.gpus", "all")).contains("has none"));
    let twice = launch(|spec| {
        spec.resources.gpus = 1;
        option(spec, "docker.gpus", "1");
    });
    assert!(checked(&twice, &config, 0).unwrap_err().contains("twice"));
}

#[test]
fn shared_memory_limits_and_processes_are_as_asked() {
    let made = host(|spec| {
        option(spec, "docker.shm-size", "64M");
        option(spec, "docker.ulimits", "memlock=-1,stack=67108864");
        option(spec, "docker.pids-limit", "50");
    });
    assert_eq!((made.shm_size, made.pids_limit), (Some(64 << 20), Some(50)));
    assert_eq!(made.ulimits.unwrap().len(), 2);
    assert_eq!((host(|_| ()).pids_limit, host(|_| ()).ulimits), (Some(4096), None));
}

#[test]
fn a_first_process_of_berths_is_left_out_where_it_would_be_stopped_instead_of_the_job() {
    assert_eq!(host(|_| ()).init, Some(true));
    assert_eq!(host(|spec| option(spec, "docker.suspend", "signal")).init, Some(false));
    assert_eq!(host(|spec| option(spec, "docker.init", "false")).init, Some(false));
}

#[test]
fn scratch_space_is_a_volume_of_its_own() {
    let made = body(|spec| spec.scratch_bytes = 1 << 20);
    assert!(made.env.unwrap().contains(&"BERTH_SCRATCH=/scratch".into()));
    let mounts = made.host_config.unwrap().mounts.unwrap();
    assert_eq!(
        (mounts[1].typ, mounts[1].source.as_deref()),
        (Some(MountType::VOLUME), Some("c-7-1-scratch"))
    );
}

#[test]
fn what_cannot_be_run_anywhere_is_refused() {
    assert!(refused(|spec| spec.command = argv(&["a\0b"])).contains("zero byte"));
    assert!(refused(|spec| spec.workdir = Some("here".into())).contains("absolute"));
    assert!(refused(|spec| spec.image = Some("Not An Image".into())).contains("does not name an image"));
    assert!(refused(|spec| option(spec, "docker.colour", "red")).contains("no such option"));
}
