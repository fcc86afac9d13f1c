use std::{collections::BTreeMap, sync::Arc, time::Duration};

use berth_executor_api::{Attempt, AttemptName, Command, JobFile, JobId, LaunchSpec, Mount, Resources};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, json};

use super::*;
use crate::{Capacity, Namespace, Toleration};

fn config() -> KubernetesConfig {
    let mut config = KubernetesConfig::new("c", Namespace::new("jobs-{project}").unwrap());
    config.host_paths = vec!["/shared".into()];
    config
}

fn spec() -> LaunchSpec {
    LaunchSpec {
        cluster: "c".into(),
        name: "Größe 1".into(),
        project: "alpha".into(),
        identity: Identity {
            user: "anna".into(),
            uid: 1234,
            gid: 1235,
            groups: vec![1235, 4711],
            home: None,
            email: None,
            roles: Vec::new(),
        },
        as_root: false,
        command: Command::Argv(vec!["run".into(), "$HOME costs $(A)".into()]),
        env: BTreeMap::from([("A".into(), "$(B)".into())]),
        workdir: None,
        image: Some("site/plain:1".into()),
        resources: Resources { cpu_millis: 1500, memory_bytes: 1 << 30, gpus: 0 },
        enforce_cpu: false,
        exclusive_cpus: false,
        time_limit: None,
        grace: Duration::from_secs(20),
        mounts: Vec::new(),
        ports: Vec::new(),
        network: None,
        scratch_bytes: 0,
        files: Vec::new(),
        labels: BTreeMap::new(),
        constraints: BTreeMap::new(),
        interactive: false,
        extensions: BTreeMap::new(),
    }
}

fn launch(change: impl FnOnce(&mut LaunchSpec)) -> Launch {
    let mut spec = spec();
    change(&mut spec);
    Launch {
        attempt: AttemptName::new("c", JobId(7), Attempt { number: 1, returned: 0 }),
        job: JobId(7),
        attempt_number: 1,
        task: None,
        node: Some("node-1".into()),
        directory: "/shared/jobs/7".into(),
        array_directory: None,
        stdout: "/shared/jobs/7/stdout".into(),
        stderr: "/shared/jobs/7/stderr".into(),
        granted: Vec::new(),
        spec: Arc::new(spec),
    }
}

fn convert(launch: &Launch, config: &KubernetesConfig) -> Result<Job, ConvertError> {
    let options = crate::options::parse(&launch.spec.extensions)?;
    job(launch, &options, config)
}

fn made(change: impl FnOnce(&mut LaunchSpec)) -> Job {
    convert(&launch(change), &config()).unwrap()
}

fn pod(job: &Job) -> PodSpec {
    job.spec.clone().unwrap().template.spec.unwrap()
}

fn container(job: &Job) -> Container {
    pod(job).containers.remove(0)
}

fn refused(change: impl FnOnce(&mut LaunchSpec)) -> String {
    convert(&launch(change), &config()).unwrap_err().to_string()
}

#[test]
fn a_job_runs_once_and_is_nobody_in_the_cluster() {
    let job = made(|_| ());
    let spec = job.spec.clone().unwrap();
    assert_eq!((spec.backoff_limit, spec.completions, spec.parallelism), (Some(0), Some(1), Some(1)));
    assert_eq!(spec.pod_replacement_policy.as_deref(), Some("Failed"));
    assert_eq!(spec.ttl_seconds_after_finished, Some(7 * 24 * 3600));
    let pod = pod(&job);
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert_eq!((pod.automount_service_account_token, pod.enable_service_links), (Some(false), Some(false)));
    assert_eq!(pod.termination_grace_period_seconds, Some(20));
}

#[test]
fn its_name_namespace_and_labels_lead_back_to_the_attempt() {
    let job = made(|spec| {
        spec.labels = BTreeMap::from([("team".into(), "red".into()), ("a b".into(), "c".into())])
    });
    let meta = &job.metadata;
    assert_eq!((meta.name.as_deref(), meta.namespace.as_deref()), (Some("c-7-1"), Some("jobs-alpha")));
    let attempt = names::attempt_of(meta, "c").unwrap();
    assert_eq!(attempt.as_str(), "c-7-1");
    assert_eq!(names::attempt_of(meta, "other"), None);
    let labels = meta.labels.as_ref().unwrap();
    assert_eq!((labels["team"].as_str(), labels.contains_key("a b")), ("red", false));
    let template = job.spec.as_ref().unwrap().template.metadata.clone().unwrap();
    assert_eq!(template.labels.as_ref(), Some(labels));
    assert_eq!(names::attempt_of(&template, "c"), Some(attempt));
    assert!(meta.annotations.as_ref().unwrap()[annotation::LABELS].contains("a b"));
}

#[test]
fn it_runs_as_its_user_and_can_become_nobody_else() {
    let job = made(|_| ());
    let identity = pod(&job).security_context.unwrap();
    assert_eq!((identity.run_as_user, identity.run_as_group), (Some(1234), Some(1235)));
    assert_eq!((identity.run_as_non_root, identity.fs_group), (Some(true), Some(1235)));
    assert_eq!(identity.supplemental_groups, Some(vec![4711]));
    assert_eq!(identity.seccomp_profile.unwrap().type_, "RuntimeDefault");
    let confined = container(&job).security_context.unwrap();
    assert_eq!((confined.allow_privilege_escalation, confined.privileged), (Some(false), Some(false)));
    assert_eq!(confined.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
}

#[test]
fn root_is_only_who_was_granted_to_be() {
    assert!(refused(|spec| spec.identity.uid = 0).contains("root"));
    let job = made(|spec| spec.as_root = true);
    assert_eq!(pod(&job).security_context.unwrap().run_as_user, Some(0));
    assert_eq!(container(&job).security_context.unwrap().allow_privilege_escalation, Some(false));
}

#[test]
fn words_come_through_as_they_are() {
    let container = container(&made(|_| ()));
    assert_eq!(container.command.unwrap(), ["run", "$$HOME costs $$(A)"]);
    let a = container.env.unwrap().into_iter().find(|one| one.name == "A").unwrap();
    assert_eq!(a.value.as_deref(), Some("$$(B)"));
}

#[test]
fn a_script_is_run_by_what_it_names_or_the_best_shell_there_is() {
    let words = |text: &str| {
        let command = Command::Script { text: text.into(), args: vec!["one".into()] };
        container(&made(|spec| spec.command = command)).command.unwrap()
    };
    assert_eq!(words("#!/bin/x\n"), ["/shared/jobs/7/cmd.sh", "one"]);
    assert_eq!(words("echo")[0], "/bin/sh");
    assert_eq!(words("echo")[4..], ["/shared/jobs/7/cmd.sh", "one"]);
}

fn amounts(job: &Job) -> (Value, Value) {
    let resources = container(job).resources.unwrap();
    (json!(resources.requests), json!(resources.limits))
}

#[test]
fn what_it_asks_for_is_requested_and_held() {
    let (requests, limits) = amounts(&made(|spec| {
        spec.resources.gpus = 2;
        spec.extensions = BTreeMap::from([("kubernetes.resources".into(), "x.org/fpga=1".into())]);
    }));
    let others = json!({ "memory": "1073741824", "nvidia.com/gpu": "2", "x.org/fpga": "1" });
    assert_eq!(limits, others, "CPUs are counted, not held");
    let mut all = others;
    all["cpu"] = json!("1500m");
    assert_eq!(requests, all);
    let (_, limits) = amounts(&made(|spec| spec.enforce_cpu = true));
    assert_eq!(limits["cpu"], "1500m");
}

#[test]
fn its_time_limit_is_its_pods_in_whole_seconds() {
    let deadline = |millis| {
        pod(&made(|spec| spec.time_limit = Some(Duration::from_millis(millis)))).active_deadline_seconds
    };
    assert_eq!((deadline(60_000), deadline(1500), deadline(0)), (Some(60), Some(2), Some(1)));
    assert_eq!(pod(&made(|_| ())).active_deadline_seconds, None);
}

#[test]
fn it_goes_to_the_node_that_was_chosen_and_else_where_its_labels_lead() {
    let constraints = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
    let chosen = pod(&made(|spec| spec.constraints = constraints.clone()));
    let affinity = json!(chosen.affinity);
    let term = affinity.pointer(
        "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0",
    );
    assert_eq!(term, Some(&json!({ "key": "metadata.name", "operator": "In", "values": ["node-1"] })));
    assert_eq!(chosen.node_selector, None);
    let mut config = config();
    let total = Resources { cpu_millis: 1, memory_bytes: 1, gpus: 0 };
    config.capacity = Capacity::Share { name: "cluster".into(), total };
    config.node_selector = BTreeMap::from([("pool".into(), "batch".into())]);
    let share = pod(&convert(&launch(|spec| spec.constraints = constraints), &config).unwrap());
    assert_eq!(
        (share.affinity, share.node_selector.map(|all| json!(all))),
        (None, Some(json!({ "disk": "ssd", "pool": "batch" })))
    );
}

#[test]
fn the_site_and_the_job_say_what_is_tolerated() {
    let mut config = config();
    config.tolerations = vec![Toleration::parse("batch:NoSchedule").unwrap()];
    config.pull_secrets = vec!["login".into()];
    config.priority_class = Some("low".into());
    let launch = launch(|spec| {
        spec.extensions = BTreeMap::from([("kubernetes.tolerations".into(), "gpu=yes".into())]);
    });
    let pod = pod(&convert(&launch, &config).unwrap());
    let wanted = json!([
        { "key": "batch", "operator": "Exists", "effect": "NoSchedule" },
        { "key": "gpu", "operator": "Equal", "value": "yes" },
    ]);
    assert_eq!(json!(pod.tolerations), wanted);
    assert_eq!(json!(pod.image_pull_secrets), json!([{ "name": "login" }]));
    assert_eq!(pod.priority_class_name.as_deref(), Some("low"));
}

fn mounts(job: &Job) -> (Value, Value) {
    (json!(pod(job).volumes), json!(container(job).volume_mounts))
}

#[test]
fn directories_that_nodes_have_are_mounted_at_the_same_path() {
    let (volumes, mounts) = mounts(&made(|spec| {
        let (name, source, target) = ("data".into(), "/shared/data".into(), "/data".into());
        spec.mounts = vec![Mount { name, source, target, read_only: true }];
    }));
    assert_eq!(
        volumes[0],
        json!({ "name": "v0", "hostPath": { "path": "/shared/jobs/7", "type": "Directory" } })
    );
    assert_eq!(mounts[0], json!({ "name": "v0", "mountPath": "/shared/jobs/7" }));
    assert_eq!(mounts[1], json!({ "name": "v1", "mountPath": "/data", "readOnly": true }));
}

#[test]
fn what_lies_in_a_claim_is_mounted_from_it_and_the_claim_only_once() {
    let mut config = config();
    config.host_paths.clear();
    config.claims = BTreeMap::from([("/shared".into(), "everything".into())]);
    let launch = launch(|spec| {
        let (name, source, target) = ("data".into(), "/shared".into(), "/data".into());
        spec.mounts = vec![Mount { name, source, target, read_only: true }];
    });
    let (volumes, mounts) = mounts(&convert(&launch, &config).unwrap());
    let claim = json!([{ "name": "v0", "persistentVolumeClaim": { "claimName": "everything" } }]);
    assert_eq!(volumes, claim);
    assert_eq!(mounts[0], json!({ "name": "v0", "mountPath": "/shared/jobs/7", "subPath": "jobs/7" }));
    assert_eq!(mounts[1], json!({ "name": "v0", "mountPath": "/data", "readOnly": true }));
}

#[test]
fn without_a_volume_its_directory_is_the_pods_and_its_files_travel_with_it() {
    let mut config = config();
    config.host_paths.clear();
    let launch = launch(|spec| {
        spec.command = Command::Script { text: "echo $1".into(), args: Vec::new() };
        spec.files = vec![JobFile { name: "in.txt".into(), contents: "it".into(), executable: false }];
    });
    let job = convert(&launch, &config).unwrap();
    let (volumes, mounts) = mounts(&job);
    assert_eq!(volumes[0], json!({ "name": "v0", "emptyDir": {} }));
    assert_eq!(mounts[0]["mountPath"], "/shared/jobs/7");
    let file =
        json!({ "name": "v1", "mountPath": "/shared/jobs/7/cmd.sh", "subPath": "0", "readOnly": true });
    assert_eq!((mounts[1].clone(), mounts[2]["mountPath"].as_str()), (file, Some("/shared/jobs/7/in.txt")));
    let script = json!({ "path": "0", "mode": 0o555, "fieldRef": { "fieldPath": "metadata.annotations['berth.file-0']" } });
    assert_eq!(volumes[1]["downwardAPI"]["items"][0], script);
    let annotations = job.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
    assert_eq!(
        (annotations["berth.file-0"].as_str(), annotations["berth.file-1"].as_str()),
        ("echo $1", "it")
    );
    let long = "x".repeat(200 << 10);
    let launch = self::launch(|spec| spec.command = Command::Script { text: long, args: Vec::new() });
    assert!(convert(&launch, &config).unwrap_err().to_string().contains("192 KiB"));
}

#[test]
fn scratch_space_has_a_size_and_what_is_named_is_mounted() {
    let job = made(|spec| {
        spec.scratch_bytes = 1 << 20;
        let options = [("secrets", "key:/run/key"), ("config-maps", "set:/etc/set"), ("claims", "db:/db:ro")];
        spec.extensions = options.map(|(key, value)| (format!("kubernetes.{key}"), value.to_owned())).into();
    });
    let (volumes, mounts) = mounts(&job);
    assert_eq!(volumes[1]["emptyDir"]["sizeLimit"], "1048576");
    assert_eq!(volumes[2]["secret"], json!({ "secretName": "key", "defaultMode": 0o440 }));
    assert_eq!(volumes[3]["configMap"]["name"], "set");
    assert_eq!(volumes[4]["persistentVolumeClaim"]["claimName"], "db");
    let paths: Vec<_> =
        mounts.as_array().unwrap().iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/shared/jobs/7", "/scratch", "/run/key", "/etc/set", "/db"]);
    let env = container(&job).env.unwrap();
    assert!(env.iter().any(|one| one.name == "BERTH_SCRATCH" && one.value.as_deref() == Some("/scratch")));
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let mount = |source: &str, target: &str| Mount {
        name: "m".into(),
        source: source.into(),
        target: target.into(),
        read_only: false,
    };
    type Change = fn(&mut LaunchSpec);
    let cases: [(&str, Change); 7] = [
        ("itself alone", |spec| spec.exclusive_cpus = true),
        ("interactive", |spec| spec.interactive = true),
        ("`services`", |spec| spec.ports = vec![80]),
        ("names no image", |spec| spec.image = None),
        ("kubernetes.x", |spec| spec.extensions = BTreeMap::from([("kubernetes.x".into(), "1".into())])),
        ("mounted there", |spec| {
            spec.scratch_bytes = 1;
            spec.extensions = BTreeMap::from([("kubernetes.claims".into(), "a:/scratch".into())]);
        }),
        ("network", |spec| {
            let network = "inside".into();
            spec.network = Some(berth_executor_api::NetworkAttachment { network, ..Default::default() });
        }),
    ];
    for (words, change) in cases {
        let said = refused(change);
        assert!(said.contains(words), "{words}: {said}");
    }
    for (source, target, words) in [
        ("/etc", "/data", "host-paths"),
        ("/shared/../etc", "/data", ".."),
        ("/shared/x", "data", "absolute"),
        ("/shared/x", "/a:b", "absolute"),
    ] {
        let said = refused(|spec| spec.mounts = vec![mount(source, target)]);
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_service_publishes_the_ports_of_its_job_alone_and_goes_with_it() {
    let mut config = config();
    config.services = true;
    let mut job = convert(&launch(|spec| spec.ports = vec![80, 8080]), &config).unwrap();
    job.metadata.uid = Some("u".into());
    assert_eq!(ports_of(&job), [80, 8080]);
    let service = json!(service(&job, &ports_of(&job)));
    assert_eq!(service["spec"]["type"], "NodePort");
    assert_eq!(service["spec"]["ports"][1]["targetPort"], 8080);
    assert_eq!(service["spec"]["selector"], json!({ "berth.cluster": "c", "berth.attempt": "c-7-1" }));
    assert_eq!(service["metadata"]["ownerReferences"][0]["uid"], "u");
}
