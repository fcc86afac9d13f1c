//! The stand-in's answers beside those of a real server: the same requests have answers with the same status, reason and
//! fields.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};

use crate::{
    Kind, StandIn,
    store::{set, text},
};

fn recorded(name: &str) -> Value {
    let path = format!("{}/recorded/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Sends a recorded request, as far as it is one of this stand-in, and gives status and body.
async fn ask(stand_in: &StandIn, request: &Value) -> (u64, Value) {
    let (method, path) = (text(request, "/method"), text(request, "/path"));
    let method: Method = method.parse().unwrap();
    let body = request.get("body").filter(|body| !body.is_null()).map(Value::to_string).unwrap_or_default();
    let request =
        axum::http::Request::builder().method(method).uri(path).body(axum::body::Body::from(body)).unwrap();
    let answer = crate::api::answer(axum::extract::State(stand_in.shared.clone()), request).await;
    let status = answer.status().as_u16();
    let bytes = axum::body::to_bytes(answer.into_body(), 4 << 20).await.unwrap();
    (status.into(), serde_json::from_slice(&bytes).unwrap_or_default())
}

/// The names of all fields, with their paths; those of lists as one.
fn fields(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{path}/{key}");
                fields(value, &path, all);
                all.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, &format!("{path}/*"), all)),
        _ => {}
    }
}

fn fields_of(value: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    fields(value, "", &mut all);
    all
}

/// Compares what does not differ from server to server.
fn same_failure(name: &str, (status, body): &(u64, Value)) {
    let real = recorded(name);
    let real = &real["response"];
    assert_eq!(*status, real["status"], "{name}");
    for field in ["kind", "apiVersion", "status", "reason", "code"] {
        assert_eq!(body[field], real["body"][field], "{name}: {field} of {body}");
    }
    assert_eq!(body["details"].is_null(), real["body"]["details"].is_null(), "{name}: {body}");
    assert_eq!(fields_of(body), fields_of(&real["body"]), "{name}");
}

#[tokio::test]
async fn failures_have_the_recorded_shape() {
    let stand_in = StandIn::start().await;
    for name in ["04-job-create-invalid-422", "07-job-get-missing-404"] {
        same_failure(name, &ask(&stand_in, &recorded(name)["request"]).await);
    }
    let create = &recorded("02-job-create-suspended-201")["request"];
    assert_eq!(ask(&stand_in, create).await.0, 201);
    same_failure("03-job-create-duplicate-409", &ask(&stand_in, create).await);
    let name = "14-job-delete-wrong-uid-409";
    same_failure(name, &ask(&stand_in, &recorded(name)["request"]).await);
    stand_in.job_quota(Some(1));
    let name = "21-job-create-quota-403";
    same_failure(name, &ask(&stand_in, &recorded(name)["request"]).await);
    stand_in.job_quota(None);
    stand_in.forbid("create", "jobs");
    let name = "05-job-create-forbidden-403";
    same_failure(name, &ask(&stand_in, &recorded(name)["request"]).await);
    stand_in.accept_only("a token");
    let name = "06-unauthorized-401";
    same_failure(name, &ask(&stand_in, &recorded(name)["request"]).await);
}

#[tokio::test]
async fn a_log_that_is_not_there_yet_is_a_bad_request() {
    let stand_in = StandIn::start().await;
    stand_in.by_hand();
    stand_in
        .put(Kind::Pod, json!({ "metadata": { "name": "rec-a-fhcpd", "namespace": "batch" }, "spec": {} }));
    let name = "09-pod-log-not-started-400";
    same_failure(name, &ask(&stand_in, &recorded(name)["request"]).await);
}

#[tokio::test]
async fn a_watch_that_is_too_old_is_told_in_a_stream_that_is_fine_otherwise() {
    let stand_in = StandIn::start().await;
    stand_in.forget_history();
    let request =
        json!({ "method": "GET", "path": "/api/v1/namespaces/batch/pods?watch=1&resourceVersion=1" });
    let (status, frame) = ask(&stand_in, &request).await;
    let real = recorded("23-watch-expired-410");
    let real = &real["response"]["frames"][0];
    assert_eq!((status, &frame["type"]), (200, &real["type"]));
    assert_eq!(fields_of(&frame["object"]), fields_of(&real["object"]));
    assert_eq!(
        (&frame["object"]["reason"], &frame["object"]["code"]),
        (&real["object"]["reason"], &real["object"]["code"])
    );
}

/// All that ours has is there in the real one; fields that nobody reads are left out of ours.
fn is_part(ours: &Value, real: &Value, but: &[&str]) {
    let more: Vec<_> = fields_of(ours)
        .difference(&fields_of(real))
        .filter(|path| !but.iter().any(|known| path.contains(known)))
        .cloned()
        .collect();
    assert!(more.is_empty(), "only the stand-in has {more:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_and_pods_have_no_fields_but_the_recorded_ones() {
    let stand_in = StandIn::start().await;
    let mut create = recorded("02-job-create-suspended-201")["request"].clone();
    set(&mut create, &["body", "spec", "suspend"], json!(false));
    let (status, made) = ask(&stand_in, &create).await;
    let real = recorded("02-job-create-suspended-201");
    assert_eq!(status, 201);
    is_part(&made, &real["response"]["body"], &[]);
    stand_in.pod_of("rec-a", |pod| pod["status"]["phase"] == "Succeeded").await;
    let (_, pods) = ask(&stand_in, &recorded("11-pod-succeeded-list-200")["request"]).await;
    let real = recorded("11-pod-succeeded-list-200");
    is_part(&pods, &real["response"]["body"], &["stand-in.", "/annotations", "/message", "/finalizers"]);
    let get = json!({ "method": "GET", "path": "/apis/batch/v1/namespaces/batch/jobs/rec-a" });
    while ask(&stand_in, &get).await.1["status"]["succeeded"] != 1 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    is_part(
        &ask(&stand_in, &get).await.1,
        &recorded("10-job-complete-200")["response"]["body"],
        &["/active"],
    );
    let delete = json!({ "method": "DELETE", "path": "/apis/batch/v1/namespaces/batch/jobs/rec-a", "body": { "propagationPolicy": "Background" } });
    let (_, gone) = ask(&stand_in, &delete).await;
    assert_eq!(fields_of(&gone), fields_of(&recorded("16-job-delete-background-200")["response"]["body"]));
}
