//! What makes Pods of Jobs, places them, and clears up: controller manager, scheduler and garbage collector in one.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Shared,
    store::{Contents, Kind, now, set, text},
};

const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// For as long as the stand-in lives.
pub(crate) async fn control(shared: Arc<Shared>) {
    let mut changes = shared.store.changes();
    // Pods whose end is no failure, since they were suspended.
    let mut forgiven: HashSet<String> = HashSet::new();
    loop {
        let asleep = shared.settings().no_controller;
        shared.store.change(|contents| {
            if asleep {
                return;
            }
            let jobs: Vec<Value> = contents.all(Kind::Job).cloned().collect();
            for job in &jobs {
                tend_job(&shared, contents, job, &mut forgiven);
            }
            place(contents);
            collect(contents);
        });
        if changes.changed().await.is_err() {
            return;
        }
        // As controllers are, it is a little behind.
        sleep(Duration::from_millis(10)).await;
    }
}

fn owned_by(pod: &Value, uid: &str) -> bool {
    text(pod, "/metadata/ownerReferences/0/uid") == uid
}

pub(crate) fn is_over(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

pub(crate) fn is_going(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

fn holds(job: &Value, kind: &str) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    let is_it = |one: &Value| text(one, "/type") == kind && text(one, "/status") == "True";
    conditions.is_some_and(|all| all.iter().any(is_it))
}

fn add_condition(job: &mut Value, kind: &str, status: &str, reason: &str, message: &str) {
    let mut all = job.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    all.retain(|one| text(one, "/type") != kind);
    all.push(json!({
        "type": kind,
        "status": status,
        "lastProbeTime": now(),
        "lastTransitionTime": now(),
        "reason": reason,
        "message": message,
    }));
    set(job, &["status", "conditions"], json!(all));
}

fn tend_job(shared: &Shared, contents: &mut Contents, job: &Value, forgiven: &mut HashSet<String>) {
    let (uid, namespace, name) =
        (text(job, "/metadata/uid"), text(job, "/metadata/namespace"), text(job, "/metadata/name"));
    if is_going(job) {
        return;
    }
    let pods: Vec<Value> = contents.all(Kind::Pod).filter(|pod| owned_by(pod, uid)).cloned().collect();
    let suspended = job.pointer("/spec/suspend") == Some(&json!(true));
    let mut failed = None;
    let mut succeeded = false;
    let mut active = 0;
    for pod in &pods {
        let pod_uid = text(pod, "/metadata/uid").to_owned();
        let unplaced = is_going(pod) && text(pod, "/spec/nodeName").is_empty();
        if is_over(pod) || unplaced {
            if text(pod, "/status/phase") == "Succeeded" {
                succeeded = true;
            } else if !forgiven.contains(&pod_uid) {
                failed = Some(pod.clone());
            }
            release(contents, pod);
        } else {
            active += 1;
            if suspended && !is_going(pod) {
                forgiven.insert(pod_uid);
                ask_to_go(contents, pod, None);
            }
        }
    }
    let finished = holds(job, "Complete") || holds(job, "Failed");
    let known_failed = job.pointer("/status/failed").and_then(Value::as_u64).unwrap_or(0) > 0;
    if finished {
        return;
    }
    if succeeded {
        return conclude(
            contents,
            namespace,
            name,
            true,
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        );
    }
    if let Some(pod) = failed {
        let (reason, message) = why_failed(&pod);
        return conclude(contents, namespace, name, false, reason, &message);
    }
    if known_failed {
        return;
    }
    contents.update(Kind::Job, namespace, name, |job| {
        set(job, &["status", "active"], json!(active));
        set(job, &["status", "terminating"], json!(0));
        if suspended && !holds(job, "Suspended") {
            add_condition(job, "Suspended", "True", "JobSuspended", "Job suspended");
        } else if !suspended && text(job, "/status/startTime").is_empty() {
            set(job, &["status", "startTime"], json!(now()));
        } else if !suspended && holds(job, "Suspended") {
            add_condition(job, "Suspended", "False", "JobResumed", "Job resumed");
        }
    });
    if !suspended && active == 0 {
        make_pod(shared, contents, job);
    }
}

/// As the first rule of the Job's policy has it, or not.
fn why_failed(pod: &Value) -> (&'static str, String) {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let disrupted = conditions.is_some_and(|all| {
        all.iter().any(|one| text(one, "/type") == "DisruptionTarget" && text(one, "/status") == "True")
    });
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    match disrupted {
        true => (
            "PodFailurePolicy",
            format!("Pod {namespace}/{name} has condition DisruptionTarget matching FailJob rule at index 0"),
        ),
        false => ("BackoffLimitExceeded", "Job has reached the specified backoff limit".into()),
    }
}

fn conclude(contents: &mut Contents, namespace: &str, name: &str, good: bool, reason: &str, message: &str) {
    let (first, last, count) = match good {
        true => ("SuccessCriteriaMet", "Complete", "succeeded"),
        false => ("FailureTarget", "Failed", "failed"),
    };
    contents.update(Kind::Job, namespace, name, |job| {
        add_condition(job, first, "True", reason, message);
        set(job, &["status", "active"], json!(0));
    });
    contents.update(Kind::Job, namespace, name, |job| {
        add_condition(job, last, "True", reason, message);
        set(job, &["status", count], json!(1));
        if good {
            set(job, &["status", "completionTime"], json!(now()));
        }
    });
}

/// The Job has counted it.
fn release(contents: &mut Contents, pod: &Value) {
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    contents.update(Kind::Pod, namespace, name, |pod| {
        set(pod, &["metadata", "finalizers"], json!([]));
    });
}

/// Asks a Pod to go; a shorter grace takes the place of a longer.
pub(crate) fn ask_to_go(contents: &mut Contents, pod: &Value, grace: Option<u64>) -> Option<Value> {
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    let usual = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(30);
    contents.update(Kind::Pod, namespace, name, |pod| {
        let known = pod.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_u64);
        let grace = match (known, grace) {
            (Some(known), Some(grace)) => grace.min(known),
            (Some(known), None) => known,
            (None, grace) => grace.unwrap_or(usual),
        };
        if !is_going(pod) {
            set(pod, &["metadata", "deletionTimestamp"], json!(now()));
        }
        set(pod, &["metadata", "deletionGracePeriodSeconds"], json!(grace));
    })
}

fn make_pod(shared: &Shared, contents: &mut Contents, job: &Value) {
    let (uid, namespace, name) =
        (text(job, "/metadata/uid"), text(job, "/metadata/namespace"), text(job, "/metadata/name"));
    let limit = shared.settings().pod_quota;
    if let Some(limit) = limit
        && contents.all(Kind::Pod).filter(|pod| !is_over(pod)).count() >= limit
    {
        return fail_to_make(contents, job, limit);
    }
    let mut pod = json!({
        "metadata": job.pointer("/spec/template/metadata").cloned().unwrap_or_else(|| json!({})),
        "spec": job.pointer("/spec/template/spec").cloned().unwrap_or_default(),
        "status": { "phase": "Pending", "qosClass": "Burstable" },
    });
    let suffix = format!("{:05x}", contents.version());
    set(&mut pod, &["metadata", "name"], json!(format!("{name}-{suffix}")));
    set(&mut pod, &["metadata", "generateName"], json!(format!("{name}-")));
    set(&mut pod, &["metadata", "namespace"], json!(namespace));
    set(&mut pod, &["metadata", "finalizers"], json!([TRACKING]));
    let owner = json!([{
        "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    }]);
    set(&mut pod, &["metadata", "ownerReferences"], owner);
    contents.insert(Kind::Pod, pod);
}

fn fail_to_make(contents: &mut Contents, job: &Value, limit: usize) {
    let (uid, namespace, name) =
        (text(job, "/metadata/uid"), text(job, "/metadata/namespace"), text(job, "/metadata/name"));
    if contents.all(Kind::Event).any(|event| text(event, "/involvedObject/uid") == uid) {
        return;
    }
    let message = format!(
        "Error creating: pods \"{name}-\" is forbidden: exceeded quota: q, requested: pods=1, used: pods={limit}, limited: pods={limit}"
    );
    contents.insert(
        Kind::Event,
        json!({
            "metadata": { "name": format!("{name}.event"), "namespace": namespace },
            "involvedObject": { "kind": "Job", "namespace": namespace, "name": name, "uid": uid },
            "reason": "FailedCreate",
            "message": message,
            "type": "Warning",
            "lastTimestamp": now(),
        }),
    );
}

fn amount(value: Option<&Value>) -> u64 {
    let Some(text) = value.and_then(Value::as_str) else { return 0 };
    let number: String = text.chars().take_while(char::is_ascii_digit).collect();
    let number: u64 = number.parse().unwrap_or(0);
    // In thousandths, so that CPUs and bytes can be compared alike.
    match text.trim_start_matches(|letter: char| letter.is_ascii_digit()) {
        "m" => number,
        "Ki" => (number << 10).saturating_mul(1000),
        "Mi" => (number << 20).saturating_mul(1000),
        "Gi" => (number << 30).saturating_mul(1000),
        _ => number.saturating_mul(1000),
    }
}

fn requests(pod: &Value) -> serde_json::Map<String, Value> {
    let requests = pod.pointer("/spec/containers/0/resources/requests");
    requests.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Places what has no node, or says that there is none.
fn place(contents: &mut Contents) {
    let waiting: Vec<Value> = contents
        .all(Kind::Pod)
        .filter(|pod| text(pod, "/spec/nodeName").is_empty() && !is_going(pod) && !is_over(pod))
        .cloned()
        .collect();
    for pod in waiting {
        let found = node_for(contents, &pod);
        let (namespace, name) = (text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
        contents.update(Kind::Pod, namespace, name, |pod| match &found {
            Ok(node) => {
                set(pod, &["spec", "nodeName"], json!(node));
                // Until its node says that it is over.
                set(pod, &["metadata", "annotations", "stand-in.at-work"], json!("true"));
                let placed = json!([{ "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now() }]);
                set(pod, &["status", "conditions"], placed);
            }
            Err(words) => {
                let known = text(pod, "/status/conditions/0/message").to_owned();
                if known != *words {
                    let unplaced = json!([{
                        "type": "PodScheduled", "observedGeneration": 1, "status": "False", "lastProbeTime": null,
                        "lastTransitionTime": now(), "reason": "Unschedulable", "message": words,
                    }]);
                    set(pod, &["status", "conditions"], unplaced);
                }
            }
        });
    }
}

fn node_for(contents: &Contents, pod: &Value) -> Result<String, String> {
    let nodes: Vec<&Value> = contents.all(Kind::Node).collect();
    let wanted = pod.pointer(
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0",
    );
    let selector = pod.pointer("/spec/nodeSelector").and_then(Value::as_object).cloned().unwrap_or_default();
    let suits = |node: &&&Value| {
        let named = wanted.and_then(Value::as_str).is_none_or(|name| text(node, "/metadata/name") == name);
        let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
        let labelled = selector.iter().all(|(key, value)| labels.and_then(|all| all.get(key)) == Some(value));
        named
            && labelled
            && node.pointer("/spec/unschedulable") != Some(&json!(true))
            && text(node, "/status/conditions/0/status") == "True"
    };
    let suiting: Vec<&&Value> = nodes.iter().filter(suits).collect();
    let count = nodes.len();
    if suiting.is_empty() {
        return Err(format!(
            "0/{count} nodes are available: {count} node(s) didn't match Pod's node affinity/selector."
        ));
    }
    let asked = requests(pod);
    let lacking = |node: &Value| -> Option<String> {
        let name = text(node, "/metadata/name");
        let there: Vec<&Value> = contents
            .all(Kind::Pod)
            .filter(|pod| text(pod, "/spec/nodeName") == name && !is_over(pod))
            .collect();
        asked.iter().find_map(|(resource, wanted)| {
            let has = node.pointer("/status/allocatable").and_then(|all| all.get(resource));
            if has.is_none() && resource == "ephemeral-storage" {
                return None;
            }
            let taken: u64 = there.iter().map(|pod| amount(requests(pod).get(resource))).sum();
            (amount(Some(wanted)) > amount(has).saturating_sub(taken)).then(|| resource.clone())
        })
    };
    let mut short = String::new();
    for node in suiting {
        match lacking(node) {
            None => return Ok(text(node, "/metadata/name").to_owned()),
            Some(resource) => short = resource,
        }
    }
    Err(format!(
        "0/{count} nodes are available: {count} Insufficient {short}. no new claims to deallocate, preemption: 0/{count} nodes are available: {count} Preemption is not helpful for scheduling."
    ))
}

/// What belonged to a Job that is gone, goes.
fn collect(contents: &mut Contents) {
    for kind in [Kind::Pod, Kind::Service] {
        let all: Vec<Value> = contents.all(kind).cloned().collect();
        for object in all {
            let owner = text(&object, "/metadata/ownerReferences/0/uid").to_owned();
            if owner.is_empty() {
                continue;
            }
            let job = contents.by_uid(Kind::Job, &owner);
            let foreground = job.is_some_and(is_going);
            if job.is_some() && !foreground {
                continue;
            }
            let (namespace, name) = (text(&object, "/metadata/namespace"), text(&object, "/metadata/name"));
            if kind == Kind::Service {
                contents.remove(kind, namespace, name);
                continue;
            }
            release(contents, &object);
            if is_over(&object) || text(&object, "/spec/nodeName").is_empty() {
                contents.remove(kind, namespace, name);
            } else if !is_going(&object) {
                ask_to_go(contents, &object, None);
            }
        }
    }
    let going: Vec<Value> = contents.all(Kind::Job).filter(|job| is_going(job)).cloned().collect();
    for job in going {
        let uid = text(&job, "/metadata/uid");
        if !contents.all(Kind::Pod).any(|pod| owned_by(pod, uid)) {
            contents.remove(Kind::Job, text(&job, "/metadata/namespace"), text(&job, "/metadata/name"));
        }
    }
}
