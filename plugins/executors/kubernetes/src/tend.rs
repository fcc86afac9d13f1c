//! What follows from where attempts stand: it is told, and where time decides, something is done.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use berth_executor_api::{AttemptName, PortMapping, UtcMs};
use k8s_openapi::api::core::v1::{Event, Service};
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::time::{sleep, sleep_until, timeout};

use crate::{
    book::Entry,
    cluster::Cluster,
    control::{self, delete_pod, live_pods},
    convert::ports_of,
    error::KubeError,
    facts::{Noted, Withdrawn},
    launch,
    names::annotation,
    reconcile::given_up,
    standing::{Standing, State, Trouble, report},
    watch,
};

/// When nothing is due.
const LONG: Duration = Duration::from_hours(1);
/// Between two looks at all attempts.
const TOGETHER: Duration = Duration::from_millis(50);
/// How long the cluster may take for a Pod before it is asked why there is none.
const POD_WITHIN: Duration = Duration::from_secs(3);
/// Before something is tried again that did not work.
const AGAIN: Duration = Duration::from_secs(2);

/// Looks at where an attempt stands, and tells it if it is news.
pub(crate) fn news(cluster: &Arc<Cluster>, attempt: &AttemptName) {
    let Some((news, standing)) = cluster.book.with(attempt, |entry| {
        let mut standing = entry.standing();
        if standing.unseen && !entry.knows_its_pods() {
            // Watches of Jobs and of Pods do not wait for each other.
            tokio::spawn(watch::verify(Arc::clone(cluster), attempt.clone()));
            return (false, standing);
        }
        if let Some(words) = down(cluster, &standing) {
            standing.message = Some(words);
        }
        if standing.state.is_end() {
            let first = !std::mem::replace(&mut entry.ending, true);
            entry.note(&standing);
            return (first, standing);
        }
        (!entry.ending && entry.note(&standing), standing)
    }) else {
        return;
    };
    if standing.trouble.is_some() || standing.state == State::Running {
        cluster.wake.notify_one();
    }
    if !news {
        return;
    }
    let (cluster, attempt) = (Arc::clone(cluster), attempt.clone());
    if standing.state.is_end() {
        tokio::spawn(tell_end(cluster, attempt, standing));
    } else if wants_ports(&cluster, &attempt) {
        tokio::spawn(async move {
            let (standing, _) = published(&cluster, &attempt, standing).await;
            tell(&cluster, &attempt, &standing);
        });
    } else {
        tell(&cluster, &attempt, &standing);
    }
}

/// Since when a node does not answer.
pub(crate) fn down_since(cluster: &Cluster, node: &str) -> Option<UtcMs> {
    cluster.nodes.lock().unwrap_or_else(PoisonError::into_inner).down_since(node)
}

/// Its node does not answer: what runs there may go on all the same.
fn down(cluster: &Cluster, standing: &Standing) -> Option<String> {
    let node = standing.node.as_deref().filter(|_| !standing.state.is_end())?;
    let since = down_since(cluster, node)?;
    Some(format!("unreachable: {node} has not answered since {since}"))
}

fn tell(cluster: &Cluster, attempt: &AttemptName, standing: &Standing) {
    let at = standing.at.unwrap_or_else(Cluster::now);
    let told = cluster.book.with(attempt, |entry| {
        let late = entry.over && !standing.state.is_end();
        (!late).then(|| (entry.time(at), entry.ports.clone()))
    });
    if let Some(Some((at, ports))) = told {
        cluster.reports.tell(report(attempt, standing, at, ports));
    }
}

/// Tells of an end, once everything that was written is in its file.
async fn tell_end(cluster: Arc<Cluster>, attempt: AttemptName, standing: Standing) {
    let standing = complete(&cluster, &attempt, standing).await;
    let told = cluster.book.with(&attempt, |entry| (std::mem::replace(&mut entry.over, true), entry.ran));
    let Some((false, told_running)) = told else { return };
    if !told_running && let Some(started) = standing.started {
        // It ran and ended between two pieces of news.
        let running =
            Standing { state: State::Running, message: None, at: Some(started), ..standing.clone() };
        let at = cluster.book.with(&attempt, |entry| entry.time(started)).unwrap_or(started);
        cluster.reports.tell(report(&attempt, &running, at, Vec::new()));
    }
    tell(&cluster, &attempt, &standing);
    // What came back is removed once that is told.
    cluster.wake.notify_one();
}

/// Waits until the output of an attempt that has ended is whole, and notes the end where nothing else keeps it.
pub(crate) async fn complete(
    cluster: &Arc<Cluster>,
    attempt: &AttemptName,
    mut standing: Standing,
) -> Standing {
    if standing.leaving && standing.pod.is_some() {
        note_end(cluster, attempt, &standing).await;
    }
    if let Err(words) = written(cluster, attempt).await {
        standing.message = Some(match standing.message.take() {
            Some(message) => format!("{message}; {words}"),
            None => words,
        });
    }
    standing
}

/// A Pod that goes takes its exit code along. What cannot be noted is still told; only a crash of Berth in this
/// moment would then not know it.
async fn note_end(cluster: &Cluster, attempt: &AttemptName, standing: &Standing) {
    let is_noted = cluster.book.with(attempt, |entry| entry.annotation(annotation::EXIT).is_some());
    let Some(noted) = Noted::of(standing).filter(|_| is_noted == Some(false)) else { return };
    if let Err(error) = cluster.annotate(attempt, annotation::EXIT, &noted.write()).await {
        tracing::warn!(%attempt, %error, "end is not noted on its Job");
    }
}

/// Waits for an attempt's output to be in its file, as long as it takes the writer.
pub(crate) async fn written(cluster: &Cluster, attempt: &AttemptName) -> Result<(), String> {
    let Some(mut written) = cluster.book.with(attempt, |entry| entry.writing.written.clone()) else {
        return Ok(());
    };
    // The writer has a bound on every question; this is for one that breaks down.
    let patience = cluster.config.answer_within.saturating_mul(6);
    let done = match timeout(patience, written.wait_for(Option::is_some)).await {
        Ok(Ok(done)) => done.clone().unwrap_or(Ok(())),
        Ok(Err(_)) => Err("its output was given up".into()),
        Err(_) => Err("its output took too long".into()),
    };
    cluster.book.with(attempt, |entry| entry.phase.send_replace(berth_executor_api::files::Phase::Ended));
    done
}

fn wants_ports(cluster: &Cluster, attempt: &AttemptName) -> bool {
    let wants = |entry: &mut Entry| {
        entry.ports.is_empty() && entry.job.as_ref().is_some_and(|job| !ports_of(job).is_empty())
    };
    cluster.config.services && cluster.book.with(attempt, wants) == Some(true)
}

/// Sees that the ports of a running attempt are published, and says where.
pub(crate) async fn published(
    cluster: &Arc<Cluster>,
    attempt: &AttemptName,
    standing: Standing,
) -> (Standing, Vec<PortMapping>) {
    let job = cluster.book.with(attempt, |entry| entry.job.clone()).flatten();
    if let (State::Running, Some(host), Some(job), true) =
        (&standing.state, &standing.host, &job, wants_ports(cluster, attempt))
    {
        match launch::publish(cluster, job, &ports_of(job)).await {
            Ok(service) => {
                let ports = mappings(&service, host);
                cluster.book.with(attempt, |entry| entry.ports = ports);
            }
            Err(error) => tracing::warn!(%attempt, %error, "ports are not published"),
        }
    }
    let ports = cluster.book.with(attempt, |entry| entry.ports.clone()).unwrap_or_default();
    (standing, ports)
}

fn mappings(service: &Service, host: &str) -> Vec<PortMapping> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let one = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let job = u16::try_from(port.port).ok()?;
        let host_port = u16::try_from(port.node_port?).ok()?;
        Some(PortMapping { job, host: host.to_owned(), host_port })
    };
    ports.filter_map(one).collect()
}

/// What is to be done about an attempt.
enum Deed {
    /// It was asked to end, and has a Pod all the same.
    Stop(u32),
    /// It gets no further.
    TakeBack(Withdrawn),
    /// There is no Pod, and events may say why.
    Explain,
    /// Berth is to ask what became of it.
    AskAgain,
    /// What came back to Berth is removed.
    Remove,
}

/// For as long as the executor lives.
pub(crate) async fn tend(cluster: Arc<Cluster>) {
    loop {
        let next = round(&cluster);
        // What comes together is looked at together.
        sleep(TOGETHER).await;
        tokio::select! {
            () = cluster.wake.notified() => {}
            () = sleep_until(next.into()) => {}
        }
    }
}

/// Begins what is due, and says when to look again.
fn round(cluster: &Arc<Cluster>) -> Instant {
    let now = Instant::now();
    let mut next = now + LONG;
    let mut deeds = Vec::new();
    for (attempt, entry) in cluster.book.entries().iter_mut().filter(|(_, entry)| !entry.acting) {
        let (deed, due) = due(cluster, entry, now);
        if let Some(due) = due {
            next = next.min(due);
        }
        if let Some(deed) = deed {
            entry.acting = true;
            deeds.push((attempt.clone(), deed));
        }
    }
    for (attempt, deed) in deeds {
        tokio::spawn(act(Arc::clone(cluster), attempt, deed));
    }
    next
}

fn due(cluster: &Cluster, entry: &mut Entry, now: Instant) -> (Option<Deed>, Option<Instant>) {
    let config = &cluster.config;
    let standing = entry.standing();
    if standing.state == State::NoRoom {
        return (entry.over.then_some(Deed::Remove), None);
    }
    if standing.state.is_end() {
        return (None, None);
    }
    let grace = entry.annotation(annotation::STOP).map(|grace| grace.parse().unwrap_or(1));
    if let Some(grace) = grace {
        let missed = entry
            .pods()
            .any(|pod| crate::standing::is_live(pod) && pod.metadata.deletion_timestamp.is_none());
        return (missed.then_some(Deed::Stop(grace)), None);
    }
    if given_up(cluster, &standing).is_some() {
        let first = !std::mem::replace(&mut entry.given_up, true);
        return (first.then_some(Deed::AskAgain), None);
    }
    let lost_at = standing
        .node
        .as_deref()
        .and_then(|node| down_since(cluster, node))
        .map(|since| now + config.lost_after.saturating_sub(Cluster::now().since(since)));
    entry.given_up = false;
    let Some((trouble, since)) = entry.trouble.clone() else { return (None, lost_at) };
    let no_room = matches!(trouble, Trouble::NoRoom | Trouble::NoRoomForGood | Trouble::NoPod);
    let after = match trouble {
        Trouble::NoRoom | Trouble::NoPod => config.no_room_after,
        Trouble::CannotStart => config.cannot_start_after,
        Trouble::NoRoomForGood | Trouble::NeverStarts => Duration::ZERO,
    };
    // Without a reason nothing is taken back.
    if trouble == Trouble::NoPod && entry.words.is_none() {
        let ask = since + POD_WITHIN.min(after);
        return match now >= ask {
            true => (Some(Deed::Explain), Some(since + after)),
            false => (None, Some(ask)),
        };
    }
    if now >= since + after {
        let forbidden = entry.words.as_deref().is_some_and(never_allowed);
        let words = standing.message.unwrap_or_else(|| "the cluster does not start it".into());
        return (Some(Deed::TakeBack(Withdrawn { no_room: no_room && !forbidden, words })), None);
    }
    (None, Some(since + after))
}

/// Whether the reason why there is no Pod is the job itself and not a quota.
fn never_allowed(words: &str) -> bool {
    words.contains("violates PodSecurity") || words.contains("admission webhook")
}

async fn act(cluster: Arc<Cluster>, attempt: AttemptName, deed: Deed) {
    let done = match deed {
        Deed::Stop(grace) => stop_missed(&cluster, &attempt, grace).await,
        Deed::TakeBack(why) => take_back(&cluster, &attempt, &why).await,
        Deed::Explain => explain(&cluster, &attempt).await,
        Deed::Remove => give_away(&cluster, &attempt).await,
        Deed::AskAgain => {
            cluster.reports.back();
            Ok(())
        }
    };
    if let Err(error) = done {
        tracing::warn!(%attempt, %error, "attempt cannot be tended");
        sleep(AGAIN).await;
    }
    if cluster.book.with(&attempt, |entry| entry.acting = false).is_some() {
        news(&cluster, &attempt);
        cluster.wake.notify_one();
    }
}

async fn stop_missed(cluster: &Cluster, attempt: &AttemptName, grace: u32) -> Result<(), KubeError> {
    let pods = cluster.book.with(attempt, |entry| live_pods(entry)).unwrap_or_default();
    for pod in &pods {
        delete_pod(cluster, pod, Some(grace), false).await?;
    }
    // Its Pods are seen to go.
    sleep(Duration::from_millis(100)).await;
    Ok(())
}

/// Takes an attempt back that gets no further. First it is noted why; then its Pod goes, but only if it is still as
/// it was: one that was placed or started meanwhile stays, and the note says nothing any more.
async fn take_back(cluster: &Cluster, attempt: &AttemptName, why: &Withdrawn) -> Result<(), KubeError> {
    let place =
        cluster.book.with(attempt, |entry| (entry.namespace.clone(), entry.name.clone(), live_pods(entry)));
    let Some((namespace, name, pods)) = place else { return Ok(()) };
    let note = json!({ "annotations": { annotation::WITHDRAWN: why.write() } });
    let change = match pods.is_empty() {
        false => json!({ "metadata": note }),
        // None is made for it any more either.
        true => json!({ "metadata": note, "spec": { "suspend": true } }),
    };
    let job = cluster.patch(&namespace, &name, change).await?;
    cluster.book.with(attempt, |entry| entry.see_job(job));
    for pod in &pods {
        if !delete_pod(cluster, pod, None, true).await? {
            // The watch brings what has changed.
            let change = json!({ "metadata": { "annotations": { annotation::WITHDRAWN: null } } });
            let job = cluster.patch(&namespace, &name, change).await?;
            cluster.book.with(attempt, |entry| entry.see_job(job));
            sleep(AGAIN).await;
            return Ok(());
        }
    }
    let gone = async {
        while cluster.book.with(attempt, |entry| !entry.standing().state.is_end()) == Some(true) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    // Kubernetes says so soon; if not, it is tried again.
    let _ = timeout(cluster.config.answer_within, gone).await;
    Ok(())
}

/// What came back has to leave nothing behind.
async fn give_away(cluster: &Cluster, attempt: &AttemptName) -> Result<(), KubeError> {
    let job = cluster.book.with(attempt, |entry| entry.job.clone()).flatten();
    if let Some(job) = job {
        control::delete(cluster, &job).await?;
    }
    cluster.book.forget(attempt);
    Ok(())
}

/// Looks for the events that say why there is no Pod.
async fn explain(cluster: &Cluster, attempt: &AttemptName) -> Result<(), KubeError> {
    let about = cluster.book.with(attempt, |entry| {
        let uid = entry.job.as_ref().and_then(|job| job.metadata.uid.clone())?;
        Some((entry.namespace.clone(), uid))
    });
    let Some(Some((namespace, uid))) = about else { return Ok(()) };
    let params = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let events =
        cluster.ask(async |client| Api::<Event>::namespaced(client, &namespace).list(&params).await).await;
    let mut events = match events {
        Ok(events) => events.items,
        // Without the right to read them it stays without words.
        Err(error) if error.code() == Some(403) => Vec::new(),
        Err(error) => return Err(error),
    };
    events.retain(|event| event.type_.as_deref() == Some("Warning"));
    events.sort_by_key(|event| event.last_timestamp.clone().map(|at| at.0));
    let words = events.pop().and_then(|event| event.message);
    let words = words.unwrap_or_else(|| "and no event says why".into());
    cluster.book.with(attempt, |entry| entry.words = Some(words));
    Ok(())
}
