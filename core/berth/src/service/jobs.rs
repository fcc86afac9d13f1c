//! Jobs: accepting, listing, showing.

use std::sync::Arc;

use berth_api::{
    ErrorBody, ErrorCode, JobDetail, JobList, JobQuery, JobRow, Reason, StateCount, Submit, Submitted,
    Waited, Why,
};
use berth_engine::{Answer, Command, Engine, LiveJob, LiveView};
use berth_model::{ArrayRange, Grant, Identity, JobId, JobRef, JobSpec, StateKind, Submission, WaitReason};
use berth_policy_host::JobRequest;
use berth_server::{Caller, Scope};
use berth_store::{ListQuery, TaskQuery};
use tokio::sync::oneshot;

use super::{Service, access, failures, filters, rows, submit, waits};
use crate::daemon::now;

/// The longest page of a list.
const MOST_ROWS: u32 = 100_000;
/// How many arrays of a page are shown with what their tasks do.
const MOST_COUNTED: usize = 100;
/// How many jobs with an allocation are looked at to say whose end would make room.
const MOST_ACTIVE: u64 = 10_000;
/// With more live jobs than this, finding those with an allocation among them would take too long.
const MOST_LIVE: usize = 200_000;
/// A page where no length is given.
const USUAL_ROWS: u32 = 1000;

impl Service {
    pub(super) async fn accept(&self, who: &Caller, job: Submit) -> Result<Submitted, ErrorBody> {
        access::needs(who, Scope::Submit)?;
        let (spec, changes) = self.let_in(who, job).await?;
        let blamed = |error| filters::with_changes(&changes, error);
        let executor = self.executor_for(spec.executor.as_deref()).map_err(blamed)?;
        let able = self.daemon.registry.get(&executor).map(|executor| &executor.description().capabilities);
        if let Some(what) = able.and_then(|able| submit::beyond(&spec, able)) {
            let words = format!("executor {executor} cannot {what}");
            return Err(blamed(ErrorBody::new(ErrorCode::Unable, words)));
        }
        let grant = self.granted(&who.identity, &spec, &executor).await.map_err(blamed)?;
        let tasks = spec.array.map(|range| range.tasks());
        let by = who.identity.user.clone();
        let ids: Vec<JobId> = spec.dependencies.iter().map(|dependency| dependency.on).collect();
        let ended = match ids.is_empty() {
            true => Vec::new(),
            false => self.daemon.store.state_of(&ids).await.map_err(failures::store)?,
        };
        let ended = ended.into_iter().filter(|(_, state)| state.is_end()).collect();
        let submission = Arc::new(Submission { spec, owner: who.identity.clone(), grant, executor });
        let notes = changes.iter().map(|change| change.text.clone()).collect();
        let answer = self.daemon.inbox.command(Command::Submit { submission, ended, by, notes }).await;
        self.still_let_in(&who.identity).await;
        match answer.map_err(|error| blamed(failures::command(error)))? {
            Answer::Submitted(id) => Ok(Submitted { id: id.0, tasks, changes }),
            other => Err(ErrorBody::new(ErrorCode::Internal, format!("unexpected answer {other:?}"))),
        }
    }

    /// What somebody asks for, checked, with all that it refers to looked up.
    ///
    /// # Errors
    /// Everything that is wrong with it, each at its field.
    pub(super) async fn understood(&self, who: &Caller, job: Submit) -> Result<JobSpec, ErrorBody> {
        let mut dependencies = Vec::new();
        for (reference, kind, field) in submit::references(&job)? {
            // How somebody else's job ends is nobody's business, so it is not there.
            let found = self.seen(who, reference).await.map_err(|error| match error.code {
                ErrorCode::NotFound => submit::unknown_dependency(reference, field),
                _ => error,
            })?;
            dependencies.push((found.id, kind));
        }
        let config = self.daemon.config.now();
        let asked_priority = job.priority.unwrap_or(0);
        let spec = submit::check(job, dependencies, (&*config).into(), now())?;
        submit::check_priority(asked_priority, None, &config.jobs, access::administers(who))?;
        let group = self.daemon.memberships.group(&spec.project);
        submit::check_class(&spec, &who.identity.user, group.as_deref(), &config.classes)?;
        if let Some(notices) = &spec.notices {
            let asked = self.daemon.notices.may_ask(&who.identity, notices);
            asked.map_err(|refused| submit::wrong(refused.field, refused.words))?;
        }
        Ok(spec)
    }

    /// What the auth policy grants a job.
    pub(super) async fn granted(
        &self,
        owner: &Identity,
        spec: &JobSpec,
        executor: &str,
    ) -> Result<Grant, ErrorBody> {
        self.for_guests(owner, spec, executor).await?;
        let mut wanted = JobRequest {
            project: spec.project.clone(),
            as_root: spec.root,
            executor: Some(executor.to_owned()),
            image: spec.image.clone(),
            extensions: spec.extensions.keys().cloned().collect(),
            ..JobRequest::default()
        };
        if !spec.volumes.is_empty() {
            spec.volumes.iter().for_each(|volume| wanted.add_volume(volume));
            wanted.of_project = self.daemon.memberships.volumes(&spec.project, &owner.user);
            wanted.of_project.retain(|name, _| spec.volumes.iter().any(|volume| volume.name == *name));
        }
        let auth = &self.daemon.policies.auth;
        let grant = auth.authorise(now(), owner, &wanted).await;
        let grant = grant.map_err(|denial| failures::denied(&denial))?;
        match spec.extensions.keys().find(|key| !grant.extensions.contains(*key)) {
            Some(key) => {
                let words = format!("option {key:?} is not granted to {}", owner.user);
                Err(ErrorBody::new(ErrorCode::Forbidden, words))
            }
            None => Ok(grant),
        }
    }

    /// The executor that a job goes to.
    fn executor_for(&self, asked: Option<&str>) -> Result<String, ErrorBody> {
        let config = self.daemon.config.now();
        match asked {
            None => Ok(config.default_executor().map(|executor| executor.name.clone()).unwrap_or_default()),
            Some(name) if config.executors.iter().any(|executor| executor.name == name) => {
                Ok(name.to_owned())
            }
            Some(name) => {
                let names: Vec<&str> =
                    config.executors.iter().map(|executor| executor.name.as_str()).collect();
                let words = format!("executor {name:?} is not configured; there are {}", names.join(", "));
                Err(ErrorBody::new(ErrorCode::Invalid, words))
            }
        }
    }

    pub(super) async fn list(&self, who: &Caller, query: JobQuery) -> Result<JobList, ErrorBody> {
        let limit = query.limit.unwrap_or(USUAL_ROWS).clamp(1, MOST_ROWS);
        let states = states(query.state.as_deref())?;
        if let Some(array) = query.array {
            return self.list_tasks(who, JobId(array), states, query.before, limit).await;
        }
        let Some(owner) = self.whose_jobs(who, query.user.as_deref(), query.project.as_deref()) else {
            return Ok(JobList::default());
        };
        let query = ListQuery {
            states,
            owner,
            project: query.project,
            name: query.name.map(|name| format!("*{name}*")),
            tag: query.tag,
            before: query.before.map(JobId),
            limit: Some(u64::from(limit)),
            newest_first: true,
            ..ListQuery::default()
        };
        let stored = self.daemon.store.list(query).await.map_err(failures::store)?;
        let full = stored.len() >= limit as usize;
        let next_before = stored.last().filter(|_| full).map(|row| row.id.0);
        let mut jobs = Vec::with_capacity(stored.len());
        let mut counted = 0;
        for row in stored {
            let counts = match row.array {
                Some(range) if counted < MOST_COUNTED => {
                    counted += 1;
                    self.task_counts(row.id, range, row.state.kind()).await?
                }
                _ => Vec::new(),
            };
            jobs.push(JobRow { tasks: counts, ..rows::row(row) });
        }
        Ok(JobList { jobs, next_before })
    }

    /// The owner whose jobs the caller sees of those asked for: everybody's for `Some(None)`; none at all for `None`.
    pub(super) fn whose_jobs(
        &self,
        who: &Caller,
        user: Option<&str>,
        project: Option<&str>,
    ) -> Option<Option<String>> {
        let own = who.identity.user.as_str();
        let shared = project.is_some_and(|project| self.daemon.memberships.shares(project, own));
        match user {
            user if shared || who.identity.sees_everything() => Some(user.map(str::to_owned)),
            None => Some(Some(own.to_owned())),
            Some(user) => access::sees(who, user).then(|| Some(user.to_owned())),
        }
    }

    /// How many tasks of an array are in which state.
    async fn task_counts(
        &self,
        array: JobId,
        range: ArrayRange,
        state: StateKind,
    ) -> Result<Vec<StateCount>, ErrorBody> {
        let counts = TaskQuery { limit: Some(0), ..TaskQuery::default() };
        let tasks = self.daemon.store.tasks_of(array, counts).await.map_err(failures::store)?;
        Ok(rows::task_counts(range, state, &tasks.counts))
    }

    async fn list_tasks(
        &self,
        who: &Caller,
        array: JobId,
        states: Vec<StateKind>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<JobList, ErrorBody> {
        let job = self.seen(who, JobRef { job: array, index: None }).await?;
        let query = TaskQuery { states, ..TaskQuery::default() };
        let tasks = self.daemon.store.tasks_of(job.id, query).await.map_err(failures::store)?;
        let mut page = tasks.rows;
        page.reverse();
        page.retain(|row| before.is_none_or(|before| row.id.0 < before));
        let full = page.len() > limit as usize;
        page.truncate(limit as usize);
        let next_before = page.last().filter(|_| full).map(|row| row.id.0);
        Ok(JobList { jobs: page.into_iter().map(rows::row).collect(), next_before })
    }

    /// A job that the caller may see. For a task whose turn has not come, what its array says of it.
    pub(super) async fn seen(&self, who: &Caller, job: JobRef) -> Result<LiveJob, ErrorBody> {
        let missing = || access::no_such_job(&job.to_string());
        let store = &self.daemon.store;
        let id = store.resolve(job).await.map_err(failures::store)?.ok_or_else(missing)?;
        let found = match store.live_job(id).await.map_err(failures::store)? {
            Some(found) => found,
            None => self.untouched_task(id, job).await?.ok_or_else(missing)?,
        };
        match access::sees_job(who, &self.daemon.memberships, &found.owner, &found.project) {
            true => Ok(found),
            false => Err(missing()),
        }
    }

    /// A task that has not become a job, put together from its array.
    async fn untouched_task(&self, id: JobId, job: JobRef) -> Result<Option<LiveJob>, ErrorBody> {
        let array = match job.index {
            Some(_) => job.job,
            // By its number alone: it can only belong to the nearest job below.
            None => {
                let below = ListQuery {
                    before: Some(id),
                    limit: Some(1),
                    newest_first: true,
                    ..ListQuery::default()
                };
                let below = self.daemon.store.list(below).await.map_err(failures::store)?;
                let Some(below) = below.first() else { return Ok(None) };
                let tasks = below.array.map_or(0, |range| range.tasks());
                if id.0 > below.id.0.saturating_add(tasks) {
                    return Ok(None);
                }
                below.id
            }
        };
        let Some(mut found) = self.daemon.store.live_job(array).await.map_err(failures::store)? else {
            return Ok(None);
        };
        let position = id.0.saturating_sub(array.0).saturating_sub(1);
        found.id = id;
        found.task_of = Some((array, position));
        if !found.moving.state.kind().is_end() {
            found.moving.state = berth_model::JobState::Pending;
        }
        Ok(Some(found))
    }

    pub(super) async fn detail(&self, who: &Caller, job: JobRef) -> Result<JobDetail, ErrorBody> {
        let found = self.seen(who, job).await?;
        let store = &self.daemon.store;
        let submission = store.submission(found.id).await.map_err(failures::store)?;
        let submission = submission.ok_or_else(|| access::no_such_job(&job.to_string()))?;
        let mut history = store.history(found.id).await.map_err(failures::store)?;
        let most = self.daemon.config.now().jobs.history_limit as usize;
        if history.len() > most {
            history.drain(..history.len() - most);
        }
        let is_owner = who.identity.user == found.owner || access::administers(who);
        let config = self.daemon.config.now();
        let jobs = &config.jobs.directory;
        let mut detail = rows::job_detail(&found, &submission, &history, jobs, is_owner);
        if let Some(range) = found.array.filter(|_| found.task_of.is_none()) {
            detail.row.tasks = self.task_counts(found.id, range, found.moving.state.kind()).await?;
        }
        Ok(detail)
    }

    pub(super) async fn reasons(&self, who: &Caller, job: JobRef) -> Result<Why, ErrorBody> {
        let found = self.seen(who, job).await?;
        let id = found.id;
        // A task whose turn has not come waits for what its array waits for.
        let asked = found.task_of.map_or(id, |(array, _)| array);
        let look = move |engine: &Engine| {
            let known = if engine.view(id).is_some() { id } else { asked };
            (known, engine.view(known).unwrap_or_default(), engine.live_jobs())
        };
        let (known, view, live) = self.daemon.inbox.look(look).await.ok_or_else(|| self.not_now())?;
        let lacks_room = view.reasons.iter().any(|reason| matches!(reason, WaitReason::NoRoom { .. }));
        let active = match lacks_room && live <= MOST_LIVE {
            true => self.active_jobs().await?,
            false => Vec::new(),
        };
        let changes = match view.reasons.is_empty() {
            true => Vec::new(),
            false => {
                let suggest = move |engine: &Engine| engine.suggestions(known, &active);
                self.daemon.inbox.look(suggest).await.ok_or_else(|| self.not_now())?
            }
        };
        let scheduler = match view.ask_policy {
            true => self.scheduler_words(if found.task_of.is_some() { asked } else { id }).await,
            false => None,
        };
        let policy = self.daemon.policies.scheduler.status();
        let store = &self.daemon.store;
        let submission = store.submission(found.id).await.map_err(failures::store)?;
        let history = store.history(asked).await.map_err(failures::store)?;
        let waited = match submission.filter(|_| !found.moving.state.kind().is_end()) {
            Some(submission) => waits::waited(&found, &submission.spec, &history, &view.spells, now()),
            None => Vec::new(),
        };
        let suggestions = changes.iter().map(waits::suggestion).collect();
        Ok(Why { suggestions, ..why(&found, view, waited, scheduler.map(|words| (policy.version, words))) })
    }

    /// The jobs that may hold something, from the store: the engine has no list of them.
    async fn active_jobs(&self) -> Result<Vec<JobId>, ErrorBody> {
        let query = ListQuery {
            states: StateKind::ALL.into_iter().filter(|kind| kind.is_active()).collect(),
            tasks: true,
            limit: Some(MOST_ACTIVE),
            ..ListQuery::default()
        };
        let rows = self.daemon.store.list(query).await.map_err(failures::store)?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    async fn scheduler_words(&self, id: JobId) -> Option<String> {
        let (reply, words) = oneshot::channel();
        self.daemon.policies.scheduler.explain(now(), id, move |words| {
            let _ = reply.send(words);
        });
        words.await.ok().flatten()
    }
}

fn why(job: &LiveJob, view: LiveView, waited: Vec<Waited>, scheduler: Option<(String, String)>) -> Why {
    let mut reasons: Vec<WaitReason> = view.reasons;
    let has_words = scheduler.is_some();
    if let Some((policy, words)) = &scheduler {
        reasons.push(WaitReason::Scheduler { policy: policy.clone(), words: words.clone() });
    }
    if has_words {
        reasons.retain(|reason| *reason != WaitReason::NotPlannedYet);
    }
    let state = &job.moving.state;
    let label = rows::label(job.id, job.task_of, job.array);
    let summary = match (reasons.first(), state.kind()) {
        (Some(first), StateKind::Held | StateKind::Pending) => format!("job {label} waits: {first}"),
        // The words of an end begin with what it is.
        (_, kind) if kind.is_end() => {
            let words = rows::detail(state, job.moving.note.as_deref()).unwrap_or_default();
            format!("job {label} {words}")
        }
        (_, kind) => match rows::detail(state, job.moving.note.as_deref()) {
            Some(words) => format!("job {label} is {kind}: {words}"),
            None => format!("job {label} is {kind}"),
        },
    };
    Why {
        id: job.id.0,
        label,
        state: state.kind().as_str().to_owned(),
        summary,
        reasons: reasons
            .iter()
            .map(|one| {
                let told = reason(one);
                Reason { since: waits::since(&waited, &told.kind), ..told }
            })
            .collect(),
        waited,
        suggestions: Vec::new(),
        expected_start: view.expected_start.map(|at| at.to_string()),
        scheduler: scheduler.map(|(policy, _)| policy),
    }
}

fn reason(reason: &WaitReason) -> Reason {
    let (kind, remedy) = match reason {
        WaitReason::Held { .. } => ("held", Some("berth release lets it go")),
        WaitReason::BeginTime { .. } => ("begin-time", None),
        WaitReason::Dependency { .. } => ("dependency", Some("berth why on that job says how it stands")),
        WaitReason::Closed { ahead: true, .. } => {
            ("closed", Some("with a shorter time limit it may start before that"))
        }
        WaitReason::Closed { .. } => {
            ("closed", Some("it starts when that is over, or when an administrator takes it away"))
        }
        WaitReason::Avoids { .. } => ("avoids", Some("it waits for another node, as was asked for it")),
        WaitReason::NoRoom { .. } => {
            ("no-room", Some("it starts when enough ends there; asking for less helps sooner"))
        }
        WaitReason::ArrayBound { .. } => {
            ("array-bound", Some("it starts when another task of its array ends"))
        }
        WaitReason::Quota { .. } => {
            ("quota", Some("it starts when something of it is given back, or was used long enough ago"))
        }
        WaitReason::Scheduler { .. } => ("scheduler", None),
        WaitReason::NotPlannedYet => ("not-planned-yet", None),
        WaitReason::Unreachable { .. } => ("unreachable", Some("an operator has to look at that back end")),
        WaitReason::GivenBack { .. } => ("given-back", Some("it is tried again by itself")),
        WaitReason::Benched { .. } => ("benched", Some("an operator has to reload that plugin")),
    };
    Reason { kind: kind.to_owned(), text: reason.to_string(), since: None, remedy: remedy.map(str::to_owned) }
}

/// The states that a query names; all that have not ended where it names none.
pub(super) fn states(text: Option<&str>) -> Result<Vec<StateKind>, ErrorBody> {
    match text.map(str::trim) {
        None | Some("") => Ok(StateKind::ALL.into_iter().filter(|kind| !kind.is_end()).collect()),
        Some("all") => Ok(Vec::new()),
        Some(text) => text
            .split(',')
            .map(|word| {
                word.trim().parse().map_err(|words: String| ErrorBody::new(ErrorCode::Invalid, words))
            })
            .collect(),
    }
}
