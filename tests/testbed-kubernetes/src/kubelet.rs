//! Nodes: containers are processes of this machine, each with a group of its own.

use std::{
    collections::{BTreeMap, HashSet},
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    Shared,
    controller::is_going,
    logs::Log,
    store::{Kind, now, set, text},
};

/// How long a container's output may still come when its process is over.
const LAST_WORDS: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// For as long as the stand-in lives.
pub(crate) async fn run_pods(shared: Arc<Shared>) {
    let mut changes = shared.store.changes();
    let mut begun: HashSet<String> = HashSet::new();
    loop {
        if !shared.settings().no_kubelet {
            let new: Vec<Value> = {
                let contents = shared.store.lock();
                let placed = |pod: &&Value| {
                    !text(pod, "/spec/nodeName").is_empty() && !begun.contains(text(pod, "/metadata/uid"))
                };
                contents.all(Kind::Pod).filter(placed).cloned().collect()
            };
            for pod in new {
                begun.insert(text(&pod, "/metadata/uid").to_owned());
                let node = Running { shared: Arc::clone(&shared), pod };
                tokio::spawn(node.run());
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

struct Running {
    shared: Arc<Shared>,
    pod: Value,
}

/// How a container ended.
struct Ended {
    code: i32,
    reason: &'static str,
    message: Option<String>,
    started: Option<String>,
}

impl Running {
    fn place(&self) -> (&str, &str) {
        (text(&self.pod, "/metadata/namespace"), text(&self.pod, "/metadata/name"))
    }

    fn uid(&self) -> &str {
        text(&self.pod, "/metadata/uid")
    }

    /// The Pod as it is now.
    fn now(&self) -> Option<Value> {
        let (namespace, name) = self.place();
        let contents = self.shared.store.lock();
        contents
            .get(Kind::Pod, namespace, name)
            .filter(|pod| text(pod, "/metadata/uid") == self.uid())
            .cloned()
    }

    /// Says something of it, when the node is not frozen.
    async fn tell(&self, act: impl FnOnce(&mut Value)) {
        let node = text(&self.pod, "/spec/nodeName").to_owned();
        while self.shared.settings().frozen.contains(&node) {
            sleep(PAUSE).await;
        }
        let (namespace, name) = self.place();
        self.shared.store.change(|contents| contents.update(Kind::Pod, namespace, name, act));
    }

    async fn state(&self, phase: &str, state: Value) {
        let phase = phase.to_owned();
        let image = text(&self.pod, "/spec/containers/0/image").to_owned();
        self.tell(move |pod| {
            let running = state.get("running").is_some();
            set(pod, &["status", "phase"], json!(phase));
            set(pod, &["status", "hostIP"], json!("127.0.0.1"));
            set(pod, &["status", "podIP"], json!("127.0.0.1"));
            set(pod, &["status", "podIPs"], json!([{ "ip": "127.0.0.1" }]));
            if text(pod, "/status/startTime").is_empty() {
                set(pod, &["status", "startTime"], json!(now()));
            }
            let status = json!([{
                "name": "main", "state": state, "lastState": {}, "ready": running, "restartCount": 0,
                "image": image, "imageID": "", "started": running,
            }]);
            set(pod, &["status", "containerStatuses"], status);
        })
        .await;
    }

    async fn run(self) {
        let waiting = |reason: &str, message: Option<String>| json!({ "waiting": { "reason": reason, "message": message } });
        self.state("Pending", waiting("ContainerCreating", None)).await;
        let image = text(&self.pod, "/spec/containers/0/image").to_owned();
        if image.contains("no/such") {
            let words = format!("failed to pull and unpack image \"{image}\": not found");
            self.state("Pending", waiting("ErrImagePull", Some(words))).await;
            let words = format!("Back-off pulling image \"{image}\"");
            self.state("Pending", waiting("ImagePullBackOff", Some(words))).await;
            self.until_it_is_to_go().await;
            return self.gone("Failed").await;
        }
        if let Some(pod) = self.now().filter(is_going) {
            // Never started.
            drop(pod);
            return self.gone("Failed").await;
        }
        let log = self.shared.logs.begin(self.uid());
        let (ended, phase, why) = match self.start(&log) {
            Ok(mut child) => {
                let started = now();
                self.state("Running", json!({ "running": { "startedAt": started } })).await;
                let (status, why) = self.wait(&mut child).await;
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                let reason = if code == 0 { "Completed" } else { "Error" };
                (
                    Ended { code, reason, message: None, started: Some(started) },
                    if code == 0 { "Succeeded" } else { "Failed" },
                    why,
                )
            }
            Err(error) => {
                let message = format!(
                    "failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: {error}"
                );
                (
                    Ended { code: 128, reason: "StartError", message: Some(message), started: None },
                    "Failed",
                    None,
                )
            }
        };
        log.end(LAST_WORDS).await;
        let started = ended.started.unwrap_or_else(|| "1970-01-01T00:00:00Z".into());
        let state = json!({ "terminated": {
            "exitCode": ended.code, "reason": ended.reason, "message": ended.message,
            "startedAt": started, "finishedAt": now(),
        }});
        // The container's end is told before the Pod's.
        self.state("Running", state).await;
        let lag = self.shared.settings().lag;
        sleep(lag).await;
        if let Some((reason, message)) = why {
            self.tell(|pod| {
                set(pod, &["status", "reason"], json!(reason));
                set(pod, &["status", "message"], json!(message));
            })
            .await;
        }
        self.gone(if phase == "Failed" || why.is_some() { "Failed" } else { "Succeeded" }).await;
    }

    /// The node has done with it.
    async fn gone(&self, phase: &str) {
        self.tell(|pod| {
            set(pod, &["status", "phase"], json!(phase));
            if let Some(annotations) = pod.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
            {
                annotations.remove("stand-in.at-work");
            }
        })
        .await;
    }

    async fn until_it_is_to_go(&self) {
        let mut changes = self.shared.store.changes();
        while self.now().is_some_and(|pod| !is_going(&pod)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn start(&self, log: &Arc<Log>) -> std::io::Result<Child> {
        let container = self.pod.pointer("/spec/containers/0").cloned().unwrap_or_default();
        let mut variables = BTreeMap::new();
        for one in container.get("env").and_then(Value::as_array).into_iter().flatten() {
            let value = expand(text(one, "/value"), &variables);
            variables.insert(text(one, "/name").to_owned(), value);
        }
        let words: Vec<String> = ["command", "args"]
            .iter()
            .filter_map(|key| container.get(*key)?.as_array())
            .flatten()
            .map(|word| expand(word.as_str().unwrap_or_default(), &variables))
            .collect();
        let (reader, writer) = std::io::pipe()?;
        let mut process = Command::new(words.first().map_or("", String::as_str));
        process.args(words.get(1..).unwrap_or_default());
        process.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").envs(variables);
        process.process_group(0).kill_on_drop(true).stdin(Stdio::null());
        process.stdout(writer.try_clone()?).stderr(writer);
        if let Some(directory) = container.get("workingDir").and_then(Value::as_str) {
            process.current_dir(directory);
        }
        if rustix::process::geteuid().is_root() {
            let number = |key: &str| {
                let value = self.pod.pointer("/spec/securityContext").and_then(|all| all.get(key)?.as_u64());
                value.and_then(|value| u32::try_from(value).ok())
            };
            if let Some(gid) = number("runAsGroup") {
                process.gid(gid);
            }
            if let Some(uid) = number("runAsUser") {
                process.uid(uid);
            }
        }
        let child = process.spawn()?;
        // What it holds of the pipe has to go, or its end would not be seen.
        drop(process);
        let log = Arc::clone(log);
        std::thread::spawn(move || {
            let mut reader = reader;
            let mut piece = vec![0; 64 << 10];
            while let Ok(bytes) = reader.read(&mut piece) {
                if bytes == 0 {
                    break;
                }
                log.write(piece.get(..bytes).unwrap_or_default());
            }
            log.close();
        });
        Ok(child)
    }

    /// Until it ends, by itself, since its Pod is to go, or since its time is over.
    async fn wait(&self, child: &mut Child) -> (ExitStatus, Option<(&'static str, &'static str)>) {
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let signal = |signal: Signal| {
            if let Some(group) = group {
                // It may be over by now.
                let _ = kill_process_group(group, signal);
            }
        };
        let deadline = self.pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_u64);
        let begun = Instant::now();
        let mut kill_at: Option<Instant> = None;
        let mut why = None;
        let mut changes = self.shared.store.changes();
        loop {
            let ends_at = deadline.map(|seconds| begun + Duration::from_secs(seconds));
            let next = match (kill_at, ends_at) {
                (Some(at), _) | (None, Some(at)) => at,
                (None, None) => begun + Duration::from_hours(24),
            };
            tokio::select! {
                status = child.wait() => {
                    // What it has left behind goes with its container.
                    signal(Signal::KILL);
                    return (status.unwrap_or_default(), why);
                }
                () = tokio::time::sleep_until(next) => {
                    if kill_at.is_some() {
                        signal(Signal::KILL);
                        kill_at = Some(Instant::now() + Duration::from_hours(24));
                    } else {
                        why = Some(("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"));
                        signal(Signal::TERM);
                        let grace = self.pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64);
                        kill_at = Some(Instant::now() + Duration::from_secs(grace.unwrap_or(30)));
                    }
                }
                _ = changes.changed() => {
                    let pod = self.now();
                    let grace = match &pod {
                        Some(pod) if is_going(pod) => pod.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_u64),
                        Some(_) => continue,
                        None => Some(0),
                    };
                    let at = Instant::now() + Duration::from_secs(grace.unwrap_or(0));
                    match kill_at {
                        None => {
                            signal(Signal::TERM);
                            kill_at = Some(at);
                        }
                        Some(known) if at < known => kill_at = Some(at),
                        Some(_) => {}
                    }
                }
            }
        }
    }
}

/// Puts values in place of `$(NAME)`, and `$` in place of `$$`, as Kubernetes does.
pub(crate) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            match variables.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded + rest
}

/// Waits a little for something that comes soon.
pub(crate) async fn soon(what: impl Fn() -> bool, longest: Duration) -> bool {
    timeout(longest, async {
        while !what() {
            sleep(PAUSE).await;
        }
    })
    .await
    .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_mean_what_they_mean_in_kubernetes() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expanded) in
            [("$(A)", "1"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$(B)", "$(B)"), ("$$$$", "$$"), ("a$", "a$")]
        {
            assert_eq!(expand(text, &variables), expanded, "{text}");
        }
    }
}
