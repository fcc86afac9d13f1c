//! Sample questions to auth, watcher and network policies.

use std::collections::HashSet;

use berth_model::{Identity, JobId, NetworkAttachment, ProjectVolume, Resources, UtcMs};

use super::{CheckReport, SAMPLE_PASSWORD, SAMPLE_USER};
use crate::{
    Credentials, DirectorySize, Fault, JobRequest, Loaded, NetworkRequest, Password, StartingJob, WatchedJob,
    Wishes,
    auth::{no_more_than_asked, proven, sound},
    bindings::v0_1_0::{auth, network, watcher},
    instance::Instance,
    network::fits,
    watcher::among_asked,
    worlds::{World, words_of},
};

pub(super) const NOW: UtcMs = UtcMs(1_700_000_000_000);

/// A configured instance; without one there is nothing more to find.
pub(super) fn opened<W: World>(loaded: &Loaded, report: &mut CheckReport) -> Option<Instance<W>> {
    let opened = loaded.instantiate::<W>().and_then(|mut instance| {
        instance.configure(&loaded.spec().settings)?;
        Ok(instance)
    });
    opened.inspect_err(|fault| report.problem(format!("it failed at its settings: {fault}"))).ok()
}

pub(super) fn check_auth(loaded: &Loaded, report: &mut CheckReport) {
    let Some(mut policy) = opened::<auth::AuthPolicy>(loaded, report) else { return };
    let (user, uid) = SAMPLE_USER;
    let known = [Credentials::UnixUser(uid), Credentials::KnownUser(user.to_owned())];
    let strangers = [Credentials::UnixUser(4242), Credentials::KnownUser("nobody-here".to_owned())];
    let mut identity = None;
    for credentials in known.iter().chain(&strangers) {
        // After a fault the instance is of no use any more.
        match identified(&mut policy, credentials) {
            Ok((words, who)) => {
                report.ok(words);
                identity = identity.or(who);
            }
            Err(words) => return report.problem(words),
        }
    }
    for password in [SAMPLE_PASSWORD, "another one"] {
        if !report.found(by_password(&mut policy, password)) {
            return;
        }
    }
    let Some(identity) = identity else {
        return report.ok("it lets no sample user in, so no job was tried");
    };
    let plain = JobRequest { project: "sample".to_owned(), ..JobRequest::default() };
    let greedy = JobRequest {
        as_root: true,
        volumes: vec![("home".to_owned(), false), ("no-such-volume".to_owned(), true)],
        extensions: vec!["docker.privileged".to_owned()],
        ..plain.clone()
    };
    let owned = ProjectVolume { path: "/srv/sample".to_owned(), target: None, read_only: true };
    let projects = JobRequest {
        volumes: vec![("data".to_owned(), false)],
        of_project: [("data".to_owned(), owned)].into(),
        ..plain.clone()
    };
    for job in [plain, greedy, projects] {
        if !report.found(authorised(&mut policy, &identity, &job)) {
            return;
        }
    }
}

/// What was found, and who it was.
fn identified(
    policy: &mut Instance<auth::AuthPolicy>,
    credentials: &Credentials,
) -> Result<(String, Option<Identity>), String> {
    let wanted = auth::Credentials::from(credentials);
    let answer = policy
        .call(|store, world| world.berth_policy_auth().call_identify(store, NOW.0, &wanted))
        .map_err(|fault| format!("it failed at {credentials:?}: {fault}"))?;
    match answer {
        Ok(identity) => {
            let identity = sound(identity, &wanted)?;
            Ok((format!("{credentials:?} is {}", identity.user), Some(identity)))
        }
        Err(denial) => Ok((format!("{credentials:?} is denied: {denial:?}"), None)),
    }
}

fn by_password(policy: &mut Instance<auth::AuthPolicy>, password: &str) -> Result<String, String> {
    let (user, _) = SAMPLE_USER;
    let shown = Password::new(password);
    let called = policy.call(|store, world| {
        let handle = store.data_mut().presented.show(user, &shown);
        let wanted = auth::PasswordCredentials { user: user.to_owned(), password: handle };
        let wanted = auth::Credentials::Password(wanted);
        let answer = world.berth_policy_auth().call_identify(&mut *store, NOW.0, &wanted);
        Ok((answer?, store.data_mut().presented.put_away(), wanted))
    });
    let (answer, was_right, wanted) = called.map_err(|fault| format!("it failed at a password: {fault}"))?;
    let which = if password == SAMPLE_PASSWORD { "right" } else { "wrong" };
    match answer {
        Ok(identity) => {
            let identity = proven(identity, &wanted, was_right)?;
            Ok(format!("{user} with the {which} password is {}", identity.user))
        }
        Err(denial) => Ok(format!("{user} with the {which} password is denied: {denial:?}")),
    }
}

fn authorised(
    policy: &mut Instance<auth::AuthPolicy>,
    who: &Identity,
    job: &JobRequest,
) -> Result<String, String> {
    let (identity, request) = (auth::Identity::from(who), auth::JobRequest::from(job));
    let answer = policy
        .call(|store, world| world.berth_policy_auth().call_authorise(store, NOW.0, &identity, &request))
        .map_err(|fault| format!("it failed at a job: {fault}"))?;
    let what = match (job.as_root, job.of_project.is_empty()) {
        (true, _) => "a job that wants everything",
        (false, true) => "a plain job",
        (false, false) => "a job with a volume of its project's",
    };
    match answer {
        Ok(grant) => {
            let grant = no_more_than_asked(grant, job)?;
            let root = if grant.as_root { ", as root" } else { "" };
            Ok(format!("{what} is let in with {} volumes{root}", grant.mounts.len()))
        }
        Err(denial) => Ok(format!("{what} is denied: {denial:?}")),
    }
}

pub(super) fn check_watcher(loaded: &Loaded, report: &mut CheckReport) {
    let Some(mut policy) = opened::<watcher::WatcherPolicy>(loaded, report) else { return };
    let jobs: Vec<watcher::WatchedJob> = (1..=3).map(|id| (&sample_watched(id)).into()).collect();
    for (what, jobs) in [("no jobs", [].as_slice()), ("three jobs", jobs.as_slice())] {
        let answer = policy.call(|store, world| world.berth_policy_watcher().call_judge(store, NOW.0, jobs));
        let went_on = report.found(match answer {
            Ok(Ok(judgements)) => {
                among_asked(judgements, jobs, 1000).map(|verdicts| format!("{what}: {verdicts:?}"))
            }
            Ok(Err(error)) => Err(format!("it could not judge {what}: {}", words_of(error))),
            Err(fault) => Err(format!("it failed at {what}: {fault}")),
        });
        if !went_on {
            return;
        }
    }
    check_starts(&mut policy, report);
}

/// Of a watcher that wants to know of starts, whether it answers when it is asked, and hears of starts and ends.
fn check_starts(policy: &mut Instance<watcher::WatcherPolicy>, report: &mut CheckReport) {
    let wishes = policy.call(|store, world| world.berth_policy_watcher().call_wants(store)).map(Wishes::from);
    let wishes = match wishes {
        Ok(wishes) => wishes,
        Err(fault) => return report.problem(format!("it failed when asked what it wants: {fault}")),
    };
    if !wishes.starts {
        return;
    }
    let job = watcher::StartingJob::from(&StartingJob {
        id: JobId(4),
        user: SAMPLE_USER.0.to_owned(),
        project: "sample".to_owned(),
        needs: Resources { cpu_millis: 1000, memory_bytes: 1 << 30, gpus: 0 },
        time_limit_ms: None,
        node: "local/sample".to_owned(),
    });
    let asked = policy.call(|store, world| {
        let watcher = world.berth_policy_watcher();
        let answer = watcher.call_may_start(&mut *store, NOW.0, &job)?;
        watcher.call_started(&mut *store, NOW.0, &job)?;
        watcher.call_ended(&mut *store, NOW.0, job.id)?;
        watcher.call_ended(store, NOW.0, u64::MAX)?;
        Ok(answer)
    });
    report.found(match asked {
        Ok(Ok(())) => Ok("it lets a job start".to_owned()),
        Ok(Err(refusal)) => Ok(format!("it lets a job not start: {refusal:?}")),
        Err(fault) => Err(format!("it failed at a start: {fault}")),
    });
}

/// A job just started, one that has run for a day, and one of which little is known.
fn sample_watched(id: u64) -> WatchedJob {
    let ran_ms = if id == 2 { 86_400_000 } else { 1000 };
    let known = id != 3;
    WatchedJob {
        id: JobId(id),
        user: SAMPLE_USER.0.to_owned(),
        project: "sample".to_owned(),
        needs: Resources { cpu_millis: 1000, memory_bytes: 1 << 30, gpus: 0 },
        started: UtcMs(NOW.0 - ran_ms),
        active_since: UtcMs(NOW.0 - ran_ms),
        suspended: false,
        time_limit_ms: known.then_some(3_600_000),
        cpu_micros: known.then_some(ran_ms * 1000),
        memory_bytes: known.then_some(2 << 30),
        directory: (id == 2).then_some(DirectorySize { bytes: 1 << 40, whole: false }),
    }
}

pub(super) fn check_network(loaded: &Loaded, report: &mut CheckReport) {
    let Some(mut policy) = opened::<network::NetworkPolicy>(loaded, report) else { return };
    let mut taken = HashSet::new();
    for job in [1, 2] {
        let asked = NetworkRequest {
            job: JobId(job),
            user: SAMPLE_USER.0.to_owned(),
            project: "sample".to_owned(),
            label: None,
            ports: vec![80, 443],
            node: "local/sample".to_owned(),
        };
        if !report.found(attached_twice(&mut policy, &asked, &mut taken)) {
            return;
        }
    }
    for job in [1, u64::MAX] {
        let released =
            policy.call(|store, world| world.berth_policy_network().call_release(store, NOW.0, job));
        report.found(match released {
            Ok(()) => Ok(format!("it let go of job {job}")),
            Err(fault) => Err(format!("it failed at letting go of job {job}: {fault}")),
        });
    }
}

fn attached_twice(
    policy: &mut Instance<network::NetworkPolicy>,
    asked: &NetworkRequest,
    taken: &mut HashSet<u16>,
) -> Result<String, String> {
    let mut attach = || -> Result<Result<NetworkAttachment, String>, Fault> {
        let wanted = network::NetworkRequest::from(asked);
        let answer =
            policy.call(|store, world| world.berth_policy_network().call_attach(store, NOW.0, &wanted))?;
        Ok(answer.map(NetworkAttachment::from).map_err(|refusal| format!("{refusal:?}")))
    };
    let failed = |fault: Fault| format!("it failed at job {}: {fault}", asked.job);
    let first = attach().map_err(failed)?;
    if attach().map_err(failed)? != first {
        return Err(format!("it gave job {} something else the second time", asked.job));
    }
    match first {
        Ok(attachment) => {
            fits(&attachment, asked, taken)?;
            taken.extend(attachment.ports.iter().map(|(_, host)| *host));
            Ok(format!(
                "job {} gets network {:?}, ports {:?}",
                asked.job, attachment.network, attachment.ports
            ))
        }
        Err(refusal) => Ok(format!("job {} is refused: {refusal}", asked.job)),
    }
}
