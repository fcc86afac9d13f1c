use serde_json::json;

use super::*;
use crate::{Namespace, Toleration};

fn config() -> KubernetesConfig {
    KubernetesConfig::new("c", Namespace::new("jobs").unwrap())
}

fn node(name: &str, change: impl FnOnce(&mut serde_json::Value)) -> core::Node {
    let mut node = json!({
        "metadata": { "name": name, "labels": { "disk": "ssd" } },
        "spec": {},
        "status": {
            "allocatable": { "cpu": "3920m", "memory": "16Gi", "nvidia.com/gpu": "2" },
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    });
    change(&mut node);
    serde_json::from_value(node).unwrap()
}

fn all(nodes: &[core::Node], config: &KubernetesConfig) -> Vec<Node> {
    let mut known = Nodes::default();
    for node in nodes {
        known.see(node, config);
    }
    known.all(config)
}

fn pod(uid: &str, phase: &str, spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "uid": uid }, "spec": spec, "status": { "phase": phase } }))
        .unwrap()
}

#[test]
fn a_node_has_what_is_allocatable_less_what_others_ask_for() {
    let config = config();
    let mut known = Nodes::default();
    known.see(&node("a", |_| ()), &config);
    let container =
        |cpu: &str| json!({ "name": "x", "resources": { "requests": { "cpu": cpu, "memory": "1Gi" } } });
    let spec = json!({
        "nodeName": "a",
        "containers": [container("500m"), container("20m")],
        // Runs before the others, and so counts only for what is more.
        "initContainers": [container("1")],
    });
    known.see_other(&pod("1", "Running", spec.clone()), &config);
    let total = known.all(&config)[0].total;
    assert_eq!(total, Resources { cpu_millis: 2920, memory_bytes: 14 << 30, gpus: 2 });
    known.see_other(&pod("1", "Succeeded", spec), &config);
    assert_eq!(known.all(&config)[0].total.cpu_millis, 3920);
}

#[test]
fn nodes_stand_as_they_are_and_those_that_are_not_for_jobs_are_left_out() {
    let mut config = config();
    config.node_selector = BTreeMap::from([("disk".into(), "ssd".into())]);
    config.tolerations = vec![Toleration::parse("batch=yes:NoSchedule").unwrap()];
    let taint = |key: &str, effect: &str| json!([{ "key": key, "value": "yes", "effect": effect }]);
    let nodes = [
        node("cordoned", |node| {
            node["spec"] = json!({ "unschedulable": true, "taints": taint("node.kubernetes.io/unschedulable", "NoSchedule") });
        }),
        node("away", |node| node["status"]["conditions"][0]["status"] = json!("Unknown")),
        node("batch", |node| node["spec"]["taints"] = taint("batch", "NoSchedule")),
        node("control", |node| {
            node["spec"]["taints"] = taint("node-role.kubernetes.io/control-plane", "NoSchedule")
        }),
        node("slow", |node| node["metadata"]["labels"] = json!({ "disk": "hdd" })),
        node("rather-not", |node| node["spec"]["taints"] = taint("x", "PreferNoSchedule")),
    ];
    let states: Vec<_> = all(&nodes, &config).into_iter().map(|node| (node.name, node.state)).collect();
    let wanted = [
        ("away", NodeState::Down),
        ("batch", NodeState::Up),
        ("cordoned", NodeState::Draining),
        ("rather-not", NodeState::Up),
    ];
    assert_eq!(states, wanted.map(|(name, state)| (name.to_owned(), state)));
}

#[test]
fn a_share_is_what_it_is_set_to_whatever_nodes_there_are() {
    let mut config = config();
    let total = Resources { cpu_millis: 8000, memory_bytes: 1 << 30, gpus: 0 };
    config.capacity = Capacity::Share { name: "cluster".into(), total };
    config.backlog_percent = 50;
    let told = all(&[node("a", |_| ())], &config);
    assert_eq!((told.len(), told[0].name.as_str(), told[0].total.cpu_millis), (1, "cluster", 12_000));
}

#[test]
fn only_news_is_told() {
    let config = config();
    let mut known = Nodes::default();
    known.see(&node("a", |_| ()), &config);
    assert!(known.news(&config).is_some());
    known.see(&node("a", |node| node["metadata"]["resourceVersion"] = json!("9")), &config);
    assert!(known.news(&config).is_none());
    known.only_nodes(&[]);
    assert_eq!(known.news(&config), Some(Vec::new()));
}
