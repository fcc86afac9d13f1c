use std::{collections::BTreeMap, sync::Arc, time::Duration};

use berth_executor_api::{
    Attempt, AttemptName, Identity, JobId, Mount as GrantedMount, NetworkAttachment, Resources,
};

use super::*;
use crate::options;

fn spec() -> LaunchSpec {
    LaunchSpec {
        cluster: "c".into(),
        name: "fit".into(),
        project: "lab".into(),
        identity: Identity {
            user: "alice".into(),
            uid: 1000,
            gid: 100,
            groups: vec![100, 4711],
            home: None,
            email: None,
            roles: Vec::new(),
        },
        as_root: false,
        command: Command::Argv(vec!["work".into(), "hard".into()]),
        env: BTreeMap::from([("MINE".into(), "1".into())]),
        workdir: None,
        image: Some("lab/fit".into()),
        resources: Resources { cpu_millis: 1500, memory_bytes: 64 << 20, gpus: 2 },
        enforce_cpu: true,
        exclusive_cpus: false,
        time_limit: None,
        grace: Duration::from_secs(7),
        mounts: vec![GrantedMount {
            name: "data".into(),
            source: "/srv/data".into(),
            target: "/data".into(),
            read_only: true,
        }],
        ports: vec![80, 81],
        network: Some(NetworkAttachment {
            network: "jobs".into(),
            ports: vec![(80, 31000)],
            ..NetworkAttachment::default()
        }),
        scratch_bytes: 0,
        files: Vec::new(),
        labels: BTreeMap::from([("mine".into(), "x".into()), ("berth.user".into(), "root".into())]),
        constraints: BTreeMap::from([("disk".into(), "ssd".into())]),
        interactive: false,
        extensions: BTreeMap::from([("swarm.constraints".into(), "node.role==worker".into())]),
    }
}

fn launch(change: impl FnOnce(&mut LaunchSpec)) -> Launch {
    let mut spec = spec();
    change(&mut spec);
    Launch {
        attempt: AttemptName::new("c", JobId(12), Attempt { number: 1, returned: 0 }),
        job: JobId(12),
        attempt_number: 1,
        task: None,
        node: None,
        directory: "/jobs/12".into(),
        array_directory: None,
        stdout: "/jobs/12/out".into(),
        stderr: "/jobs/12/err".into(),
        granted: Vec::new(),
        spec: Arc::new(spec),
    }
}

fn made(launch: &Launch) -> ServiceSpec {
    let node = Known {
        id: "n1".into(),
        name: "one".into(),
        address: String::new(),
        resources: Resources::default(),
        down_since: None,
        told: None,
    };
    let found = Found {
        node: Some(&node),
        secrets: vec![("s1".into(), "token".into())],
        configs: vec![("f1".into(), "app.conf".into())],
    };
    let options = options::parse(&launch.spec.extensions).unwrap();
    service(launch, &options, &found, &SwarmConfig::new("c")).unwrap()
}

fn container_of(spec: &ServiceSpec) -> &TaskSpecContainerSpec {
    spec.task_template.as_ref().unwrap().container_spec.as_ref().unwrap()
}

#[test]
fn one_task_is_run_once_under_the_attempts_name() {
    let made = made(&launch(|_| ()));
    assert_eq!(made.name.as_deref(), Some("c-12-1"));
    assert_eq!(made.mode.as_ref().unwrap().replicated.as_ref().unwrap().replicas, Some(1));
    let template = made.task_template.as_ref().unwrap();
    let restart = template.restart_policy.as_ref().unwrap();
    assert_eq!(restart.condition, Some(TaskSpecRestartPolicyConditionEnum::NONE));
    assert_eq!(made.endpoint_spec.as_ref().unwrap().mode, Some(EndpointSpecModeEnum::DNSRR));
    assert_eq!(container_of(&made).stop_grace_period, Some(7_000_000_000));
    assert_eq!(container_of(&made).image.as_deref(), Some("lab/fit:latest"));
    let constraints = template.placement.as_ref().unwrap().constraints.as_ref().unwrap();
    assert_eq!(constraints, &["node.id==n1", "node.labels.disk==ssd", "node.role==worker"]);
}

#[test]
fn resources_are_in_the_swarms_units() {
    let all = |spec: ServiceSpec| spec.task_template.unwrap().resources.unwrap();
    let asked = all(made(&launch(|_| ())));
    let (limits, reserved) = (asked.limits.unwrap(), asked.reservations.unwrap());
    assert_eq!((limits.nano_cpus, limits.memory_bytes), (Some(1_500_000_000), Some(64 << 20)));
    assert_eq!((reserved.nano_cpus, reserved.memory_bytes), (Some(1_500_000_000), Some(64 << 20)));
    let generic = reserved.generic_resources.unwrap();
    let gpus = generic[0].discrete_resource_spec.as_ref().unwrap();
    assert_eq!((gpus.kind.as_deref(), gpus.value), (Some("gpu"), Some(2)));
    let counted = all(made(&launch(|spec| {
        spec.enforce_cpu = false;
        spec.resources = Resources { cpu_millis: 500, memory_bytes: 0, gpus: 0 };
    })));
    let (limits, reserved) = (counted.limits.unwrap(), counted.reservations.unwrap());
    assert_eq!((limits.nano_cpus, limits.memory_bytes), (None, None));
    assert_eq!((reserved.nano_cpus, reserved.memory_bytes), (Some(500_000_000), None));
    assert_eq!(reserved.generic_resources, None);
}

#[test]
fn labels_tell_a_restarted_berth_all_it_needs_and_users_cannot_set_them() {
    let made = made(&launch(|_| ()));
    let labels = made.labels.as_ref().unwrap();
    for (name, value) in [
        ("berth.cluster", "c"),
        ("berth.job", "12"),
        ("berth.attempt", "c-12-1"),
        ("berth.user", "alice"),
        ("berth.project", "lab"),
        ("berth.stdout", "/jobs/12/out"),
        ("berth.stderr", "/jobs/12/err"),
        ("berth.owner", "1000,100,100,4711"),
        ("mine", "x"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    assert_eq!(container_of(&made).labels.as_ref(), Some(labels));
    assert_eq!(attempt_of(labels, "c"), Some("c-12-1"));
    assert_eq!(attempt_of(labels, "other"), None);
}

#[test]
fn the_user_is_by_number_and_root_only_where_granted() {
    let user = |spec: &ServiceSpec| {
        let container = container_of(spec);
        (container.user.clone().unwrap(), container.groups.clone(), container.capability_drop.clone())
    };
    let groups = Some(vec!["100".to_owned(), "4711".to_owned()]);
    let dropped = Some(vec!["ALL".to_owned()]);
    assert_eq!(user(&made(&launch(|_| ()))), ("1000:100".into(), groups, dropped));
    assert_eq!(user(&made(&launch(|spec| spec.as_root = true))), ("0:0".into(), None, None));
}

#[test]
fn scripts_run_by_their_first_line_or_by_a_shell_that_is_there() {
    let command = |text: &str| {
        let script = Command::Script { text: text.into(), args: vec!["a b".into()] };
        container_of(&made(&launch(|spec| spec.command = script))).command.clone().unwrap()
    };
    assert_eq!(command("#!/usr/bin/awk -f\n"), ["/jobs/12/cmd.sh", "a b"]);
    assert_eq!(command("echo"), ["/bin/sh", "-c", ANY_SHELL, "sh", "/jobs/12/cmd.sh", "a b"]);
    assert_eq!(container_of(&made(&launch(|_| ()))).command.as_ref().unwrap(), &["work", "hard"]);
}

#[test]
fn mounts_secrets_networks_and_ports_are_as_granted() {
    let made = made(&launch(|_| ()));
    let mounts = container_of(&made).mounts.clone().unwrap();
    let places: Vec<_> = mounts
        .iter()
        .map(|mount| (mount.source.as_deref().unwrap(), mount.target.as_deref().unwrap(), mount.read_only))
        .collect();
    assert_eq!(places, [("/jobs/12", "/jobs/12", Some(false)), ("/srv/data", "/data", Some(true))]);
    let secret = &container_of(&made).secrets.as_ref().unwrap()[0];
    assert_eq!((secret.secret_id.as_deref(), secret.file.as_ref().unwrap().mode), (Some("s1"), Some(0o400)));
    let networks = made.task_template.as_ref().unwrap().networks.as_ref().unwrap();
    assert_eq!(networks[0].target.as_deref(), Some("jobs"));
    let ports = made.endpoint_spec.as_ref().unwrap().ports.as_ref().unwrap();
    let published: Vec<_> = ports.iter().map(|port| (port.target_port, port.published_port)).collect();
    assert_eq!(published, [(Some(80), Some(31000)), (Some(81), None)]);
}

#[test]
fn what_a_swarm_cannot_do_is_refused() {
    assert!(check(&launch(|_| ()), None).is_ok());
    for (spoilt, words) in [
        (launch(|spec| spec.exclusive_cpus = true), "itself alone"),
        (launch(|spec| spec.scratch_bytes = 1), "scratch"),
        (launch(|spec| spec.interactive = true), "interactive"),
    ] {
        let error = check(&spoilt, None).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut relative = launch(|_| ());
    relative.stdout = "out".into();
    assert!(matches!(check(&relative, None), Err(ServiceError::Path { .. })));
}

#[test]
fn an_image_is_one_that_the_site_allows_and_comes_from_its_registry() {
    let (without, with) = (launch(|spec| spec.image = None), launch(|_| ()));
    let mut config = SwarmConfig::new("c");
    assert!(matches!(image(&without.spec, &config), Err(ServiceError::Choice(ImageRefused::None))));
    config.images.default = Some("site/usual".parse().unwrap());
    config.images.others = false;
    config.images.prefix = Some("hub.site:5000".parse().unwrap());
    assert_eq!(image(&without.spec, &config).unwrap().full(), "hub.site:5000/site/usual:latest");
    let refused = image(&with.spec, &config);
    assert!(matches!(refused, Err(ServiceError::Choice(ImageRefused::NotAllowed { .. }))), "{refused:?}");
}
