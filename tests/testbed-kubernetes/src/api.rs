//! The API server: which request means what.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, Response, StatusCode, Uri, header, request::Parts},
};
use futures::stream;
use serde_json::{Value, json};

use crate::{
    Shared,
    answers::{Failure, json_answer},
    beside,
    controller::{ask_to_go, is_over},
    faults::Effect,
    selectors::{Fields, Labels},
    store::{Contents, Kind, set, text},
    watching::watch,
};

const MOST_BYTES: usize = 4 << 20;

/// What a path names.
pub(crate) struct Target {
    pub kind: Kind,
    /// Of all namespaces where `None`.
    pub namespace: Option<String>,
    name: Option<String>,
    /// What of it, such as its log.
    part: Option<String>,
}

fn target(path: &str) -> Option<Target> {
    let rest = path.strip_prefix("/apis/batch/v1/").or_else(|| path.strip_prefix("/api/v1/"))?;
    let mut parts = rest.split('/');
    let mut first = parts.next()?;
    let mut namespace = None;
    if first == "namespaces" {
        namespace = Some(parts.next()?.to_owned());
        first = parts.next()?;
    }
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == first)?;
    Some(Target {
        kind,
        namespace,
        name: parts.next().map(str::to_owned),
        part: parts.next().map(str::to_owned),
    })
}

pub(crate) fn query(uri: &Uri) -> Vec<(String, String)> {
    let text = uri.query().unwrap_or_default();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let text = String::from_utf8_lossy(&digits).into_owned();
                bytes.push(u8::from_str_radix(&text, 16).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Answers one request, or breaks it as a fault says.
pub(crate) async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    shared.note(&parts.method, &parts.uri);
    let wanted = shared.settings().token.clone();
    if let Some(token) = wanted {
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if given != Some(format!("Bearer {token}").as_str()) {
            return Failure::unauthorized().answer();
        }
    }
    let effect = shared.faults.take(&parts.method, &parts.uri.to_string());
    match effect {
        Some(Effect::Answer(failure)) => return failure.answer(),
        Some(Effect::Text { code, text, retry_after }) => return plain(code, text, retry_after),
        Some(Effect::Hang) => std::future::pending::<()>().await,
        Some(Effect::AfterDoing(failure)) => {
            serve(&shared, parts, body).await;
            return failure.answer();
        }
        None => {}
    }
    serve(&shared, parts, body).await
}

fn plain(code: u16, text: &'static str, retry_after: Option<u32>) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

async fn serve(shared: &Arc<Shared>, parts: Parts, body: Body) -> Response<Body> {
    if parts.uri.path() == "/version" {
        return json_answer(200, &json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.2" }));
    }
    let Some(target) = target(parts.uri.path()) else {
        return Failure::new(404, "NotFound", "the server could not find the requested resource").answer();
    };
    let bytes = match parts.headers.contains_key(header::UPGRADE) {
        true => Vec::new(),
        false => to_bytes(body, MOST_BYTES).await.map(|bytes| bytes.to_vec()).unwrap_or_default(),
    };
    let given: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let served = match (&parts.method, &target.name, target.part.as_deref()) {
        (&Method::GET, Some(_), Some("log")) => return log(shared, &target, &parts).await,
        (&Method::GET | &Method::POST, Some(_), Some("exec")) => return exec(shared, &target, parts).await,
        (&Method::GET | &Method::POST, Some(_), Some("portforward")) => {
            return forward(shared, &target, parts).await;
        }
        (&Method::GET, None, None) => return list_or_watch(shared, &target, &parts),
        (&Method::GET, Some(name), None) => get(shared, &target, name),
        (&Method::POST, None, None) => create(shared, &target, given),
        (&Method::PATCH, Some(name), None) => patch(shared, &target, name, &given),
        (&Method::DELETE, Some(name), None) => delete(shared, &target, name, &given),
        _ => Err(Failure::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )),
    };
    served.unwrap_or_else(|failure| failure.answer())
}

type Served = Result<Response<Body>, Failure>;

/// Whether the caller may, by the rights that a test has taken away.
fn allowed(shared: &Shared, target: &Target, verb: &'static str) -> Result<(), Failure> {
    let what = (target.kind.plural().to_owned(), verb);
    match shared.settings().forbidden.contains(&what) {
        true => Err(Failure::forbidden(target.kind, verb, target.namespace.as_deref().unwrap_or_default())),
        false => Ok(()),
    }
}

fn namespace(target: &Target) -> &str {
    target.namespace.as_deref().unwrap_or_default()
}

fn get(shared: &Shared, target: &Target, name: &str) -> Served {
    allowed(shared, target, "get")?;
    let contents = shared.store.lock();
    let found = contents.get(target.kind, namespace(target), name);
    found.map(|object| json_answer(200, object)).ok_or_else(|| Failure::not_found(target.kind, name))
}

fn matching(contents: &Contents, target: &Target, labels: &Labels, fields: &Fields) -> Vec<Value> {
    let in_it = |object: &&Value| is_of(object, target, labels, fields);
    contents.all(target.kind).filter(in_it).cloned().collect()
}

pub(crate) fn is_of(object: &Value, target: &Target, labels: &Labels, fields: &Fields) -> bool {
    let namespace = target.namespace.as_deref();
    namespace.is_none_or(|namespace| text(object, "/metadata/namespace") == namespace)
        && labels.select(object)
        && fields.select(object)
}

fn list_or_watch(shared: &Arc<Shared>, target: &Target, parts: &Parts) -> Response<Body> {
    let query: HashMap<String, String> = query(&parts.uri).into_iter().collect();
    let get = |key: &str| query.get(key).map_or("", String::as_str);
    let labels = Labels::parse(get("labelSelector"));
    let fields = Fields::parse(get("fieldSelector"));
    let watches = matches!(get("watch"), "1" | "true");
    if let Err(failure) = allowed(shared, target, if watches { "watch" } else { "list" }) {
        return failure.answer();
    }
    if watches {
        let from = get("resourceVersion").parse().unwrap_or(0);
        let seconds = get("timeoutSeconds").parse().unwrap_or(300);
        let target =
            Target { name: None, part: None, namespace: target.namespace.clone(), kind: target.kind };
        return watch(shared, target, labels, fields, from, Duration::from_secs(seconds));
    }
    let contents = shared.store.lock();
    let mut items = matching(&contents, target, &labels, &fields);
    for item in &mut items {
        if let Some(map) = item.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
        }
    }
    let (limit, begun): (usize, usize) =
        (get("limit").parse().unwrap_or(0), get("continue").parse().unwrap_or(0));
    let mut meta = json!({ "resourceVersion": contents.version().to_string() });
    let mut page: Vec<Value> = items.into_iter().skip(begun).collect();
    if limit > 0 && page.len() > limit {
        page.truncate(limit);
        set(&mut meta, &["continue"], json!((begun + limit).to_string()));
    }
    let kind = format!("{}List", target.kind.name());
    json_answer(
        200,
        &json!({ "kind": kind, "apiVersion": target.kind.api_version(), "metadata": meta, "items": page }),
    )
}

fn create(shared: &Shared, target: &Target, mut object: Value) -> Served {
    allowed(shared, target, "create")?;
    let kind = target.kind;
    let name = text(&object, "/metadata/name").to_owned();
    let namespace = namespace(target).to_owned();
    set(&mut object, &["metadata", "namespace"], json!(namespace));
    // A copy: what holds the settings must not wait for the contents.
    let settings = shared.settings().clone();
    if settings.missing_namespaces.contains(&namespace) {
        return Err(Failure::new(404, "NotFound", format!("namespaces \"{namespace}\" not found")));
    }
    if name.len() > 63 {
        return Err(Failure::invalid(
            kind,
            &name,
            "metadata.name",
            "FieldValueInvalid",
            "must be no more than 63 characters",
        ));
    }
    if kind == Kind::Job
        && !matches!(text(&object, "/spec/template/spec/restartPolicy"), "Never" | "OnFailure")
    {
        let message = "Required value: valid values: \"OnFailure\", \"Never\"";
        return Err(Failure::invalid(
            kind,
            &name,
            "spec.template.spec.restartPolicy",
            "FieldValueRequired",
            message,
        ));
    }
    shared.store.change(|contents| {
        if contents.get(kind, &namespace, &name).is_some() {
            return Err(Failure::exists(kind, &name));
        }
        if kind == Kind::Job
            && let Some(limit) = settings.job_quota
            && contents.all(Kind::Job).count() >= limit
        {
            return Err(Failure::quota(kind, &name, limit));
        }
        set(&mut object, &["status"], json!({}));
        if kind == Kind::Service {
            publish(&mut object);
        }
        let made = contents.insert(kind, object);
        Ok(json_answer(201, &if kind == Kind::Job { with_defaults(contents, &made) } else { made }))
    })
}

/// The port outside is the port inside: the containers are this machine's processes.
fn publish(service: &mut Value) {
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let outside = port.get("port").cloned().unwrap_or_default();
        set(port, &["nodePort"], outside);
    }
}

fn with_defaults(contents: &mut Contents, job: &Value) -> Value {
    let (uid, namespace, name) =
        (text(job, "/metadata/uid"), text(job, "/metadata/namespace"), text(job, "/metadata/name"));
    let completed = contents.update(Kind::Job, namespace, name, |job| {
        let key = "batch.kubernetes.io/controller-uid";
        set(job, &["spec", "selector", "matchLabels", key], json!(uid));
        for (label, value) in
            [(key, uid), ("batch.kubernetes.io/job-name", name), ("controller-uid", uid), ("job-name", name)]
        {
            set(job, &["spec", "template", "metadata", "labels", label], json!(value));
        }
        for (field, value) in [("completionMode", json!("NonIndexed")), ("manualSelector", json!(false))] {
            set(job, &["spec", field], value);
        }
        if job.pointer("/spec/suspend").is_none() {
            set(job, &["spec", "suspend"], json!(false));
        }
    });
    completed.unwrap_or_default()
}

pub(crate) fn merge(object: &mut Value, change: &Value) {
    let Some(changes) = change.as_object() else {
        object.clone_from(change);
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in changes {
        let Some(map) = object.as_object_mut() else { return };
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn patch(shared: &Shared, target: &Target, name: &str, change: &Value) -> Served {
    allowed(shared, target, "patch")?;
    shared.store.change(|contents| {
        let Some(known) = contents.get(target.kind, namespace(target), name).cloned() else {
            return Err(Failure::not_found(target.kind, name));
        };
        if change.pointer("/spec/template").is_some() {
            let message = "Invalid value: field is immutable";
            return Err(Failure::invalid(target.kind, name, "spec.template", "FieldValueInvalid", message));
        }
        let version = text(change, "/metadata/resourceVersion");
        if !version.is_empty() && version != text(&known, "/metadata/resourceVersion") {
            return Err(Failure::conflict(target.kind, name, "the object has been modified"));
        }
        let changed = contents.update(target.kind, namespace(target), name, |object| merge(object, change));
        Ok(json_answer(200, &changed.unwrap_or_default()))
    })
}

fn delete(shared: &Shared, target: &Target, name: &str, options: &Value) -> Served {
    allowed(shared, target, "delete")?;
    let (kind, namespace) = (target.kind, namespace(target).to_owned());
    shared.store.change(|contents| {
        let Some(object) = contents.get(kind, &namespace, name).cloned() else {
            return Err(Failure::not_found(kind, name));
        };
        for (field, what) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let wanted = text(options, &format!("/preconditions/{field}"));
            let is = text(&object, &format!("/metadata/{field}"));
            if !wanted.is_empty() && wanted != is {
                let why = format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({is}). The object might have been deleted and then recreated"
                );
                return Err(Failure::conflict(kind, name, &why));
            }
        }
        Ok(match kind {
            Kind::Job => delete_job(contents, &object, text(options, "/propagationPolicy")),
            Kind::Pod => delete_pod(contents, &object, options.get("gracePeriodSeconds").and_then(Value::as_u64)),
            _ => {
                contents.remove(kind, &namespace, name);
                json_answer(200, &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
            }
        })
    })
}

fn delete_job(contents: &mut Contents, job: &Value, policy: &str) -> Response<Body> {
    let (uid, namespace, name) =
        (text(job, "/metadata/uid"), text(job, "/metadata/namespace"), text(job, "/metadata/name"));
    match policy {
        "Background" => {
            contents.remove(Kind::Job, namespace, name);
            let details = json!({ "name": name, "group": "batch", "kind": "jobs", "uid": uid });
            json_answer(
                200,
                &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details }),
            )
        }
        "Foreground" => {
            let going = contents.update(Kind::Job, namespace, name, |job| {
                set(job, &["metadata", "deletionTimestamp"], json!(crate::store::now()));
                set(job, &["metadata", "finalizers"], json!(["foregroundDeletion"]));
            });
            json_answer(200, &going.unwrap_or_default())
        }
        _ => {
            // Its Pods are cut loose.
            let pods: Vec<Value> = contents.all(Kind::Pod).cloned().collect();
            for pod in pods.iter().filter(|pod| text(pod, "/metadata/ownerReferences/0/uid") == uid) {
                contents.update(Kind::Pod, namespace, text(pod, "/metadata/name"), |pod| {
                    set(pod, &["metadata", "ownerReferences"], json!([]));
                    set(pod, &["metadata", "finalizers"], json!([]));
                });
            }
            contents.remove(Kind::Job, namespace, name);
            let mut answer = json_answer(200, job);
            let warning = "299 - \"child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning\"";
            answer.headers_mut().insert(header::WARNING, HeaderValue::from_static(warning));
            answer
        }
    }
}

fn delete_pod(contents: &mut Contents, pod: &Value, grace: Option<u64>) -> Response<Body> {
    let now = is_over(pod) || text(pod, "/spec/nodeName").is_empty();
    let going = ask_to_go(contents, pod, if now { Some(0) } else { grace });
    json_answer(200, &going.unwrap_or_default())
}

fn pod_of(shared: &Shared, target: &Target) -> Result<Value, Failure> {
    let name = target.name.clone().unwrap_or_default();
    let contents = shared.store.lock();
    contents
        .get(Kind::Pod, namespace(target), &name)
        .cloned()
        .ok_or_else(|| Failure::not_found(Kind::Pod, &name))
}

async fn log(shared: &Arc<Shared>, target: &Target, parts: &Parts) -> Response<Body> {
    let pod = match pod_of(shared, target) {
        Ok(pod) => pod,
        Err(failure) => return failure.answer(),
    };
    let query: HashMap<String, String> = query(&parts.uri).into_iter().collect();
    let Some(log) = shared.logs.of(text(&pod, "/metadata/uid")) else {
        let name = target.name.clone().unwrap_or_default();
        let message = format!("container \"main\" in pod \"{name}\" is waiting to start: ContainerCreating");
        return Failure::new(400, "BadRequest", message).answer();
    };
    let follow = query.get("follow").is_some_and(|follow| follow == "true");
    let since = query.get("sinceTime").and_then(|since| since.parse().ok());
    let (changes, cuts) = (log.changes(), shared.cuts.subscribe());
    let state = (log, changes, cuts, 0_usize, false);
    let pieces = stream::unfold(state, move |(log, mut changes, mut cuts, mut known, over)| async move {
        loop {
            if over {
                return None;
            }
            let (bytes, next, more) = log.read(since, known);
            known = next;
            if !bytes.is_empty() {
                return Some((Ok::<_, Infallible>(bytes), (log, changes, cuts, known, over)));
            }
            if !follow || !more {
                return None;
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = cuts.changed() => return None,
            }
        }
    });
    let mut answer = Response::new(Body::from_stream(pieces));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

async fn exec(shared: &Arc<Shared>, target: &Target, parts: Parts) -> Response<Body> {
    let argv =
        query(&parts.uri).into_iter().filter(|(key, _)| key == "command").map(|(_, value)| value).collect();
    match pod_of(shared, target) {
        Ok(pod) => beside::exec(parts, pod, argv).await,
        Err(failure) => failure.answer(),
    }
}

async fn forward(shared: &Arc<Shared>, target: &Target, parts: Parts) -> Response<Body> {
    let ports = query(&parts.uri).into_iter().find(|(key, _)| key == "ports").map(|(_, value)| value);
    let port = ports.and_then(|ports| ports.parse().ok()).unwrap_or(0);
    match pod_of(shared, target) {
        Ok(_) => beside::forward(parts, port).await,
        Err(failure) => failure.answer(),
    }
}
