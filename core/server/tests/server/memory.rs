//! A backend that keeps jobs in memory and runs nothing: they stay pending until they are killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use berth_api::*;
use berth_model::{Identity, JobRef};
use berth_server::{
    Attached, AttachedEnd, Backend, ByteStream, Caller, Credentials, EventStream, OfferedImage,
    OfferedVolume, Offers, Peer, Resize, Scope,
};
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::watch;

const AT: &str = "2024-05-01T12:00:00Z";

#[derive(Default)]
struct Kept {
    jobs: BTreeMap<u64, (JobRow, Submit)>,
    events: Vec<EventRow>,
    tokens: BTreeMap<u64, (String, TokenRow)>,
}

#[derive(Default)]
pub struct Memory {
    kept: Arc<Mutex<Kept>>,
    changed: watch::Sender<usize>,
    /// How often somebody was asked for, so how many requests have begun.
    pub begun: AtomicUsize,
    /// Streams that somebody still holds.
    pub open_streams: Arc<AtomicUsize>,
    /// Events that were taken out of streams.
    pub events_taken: Arc<AtomicUsize>,
    /// The last size that a terminal was given.
    pub sizes: watch::Sender<Option<TerminalSize>>,
}

/// Counts a stream for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Memory {
    /// What happened, for as many jobs as it takes.
    pub fn fill_events(&self, count: u64) {
        let row = JobRow { id: 1, label: "1".into(), state: "pending".into(), ..JobRow::default() };
        for _ in 0..count {
            self.tell(&row);
        }
    }

    pub fn add_jobs(&self, count: u64) {
        let mut kept = self.kept.lock().unwrap();
        for _ in 0..count {
            let id = kept.jobs.len() as u64 + 1;
            let row = JobRow { id, label: id.to_string(), state: "pending".into(), ..JobRow::default() };
            kept.jobs.insert(id, (row, Submit::default()));
        }
    }

    fn tell(&self, row: &JobRow) {
        let mut kept = self.kept.lock().unwrap();
        let seq = kept.events.len() as u64 + 1;
        kept.events.push(EventRow {
            seq,
            id: row.id,
            label: row.label.clone(),
            user: row.user.clone(),
            name: row.name.clone(),
            state: row.state.clone(),
            at: AT.into(),
            exit_code: None,
            cause: None,
            extra: BTreeMap::new(),
        });
        let count = kept.events.len();
        drop(kept);
        self.changed.send_replace(count);
    }

    /// A connection on which everything comes back, and the end, too.
    fn echo(ended: impl FnOnce(i32) + Send + 'static) -> Attached {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (output, input) = tokio::io::split(ours);
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(theirs);
            let count = tokio::io::copy(&mut from, &mut to).await.unwrap_or(0);
            ended(i32::try_from(count).unwrap_or(i32::MAX));
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut to).await;
        });
        Attached {
            input: Box::new(input),
            output: Box::new(output),
            end: AttachedEnd::Closed,
            resize: None,
            guard: None,
        }
    }

    fn nobody(&self) -> Identity {
        Identity {
            user: "nobody".into(),
            uid: 65534,
            gid: 65534,
            groups: Vec::new(),
            home: None,
            email: None,
            roles: Vec::new(),
        }
    }

    fn row(&self, job: JobRef) -> Result<(JobRow, Submit), ErrorBody> {
        let found = self.kept.lock().unwrap().jobs.get(&job.job.0).cloned();
        found.ok_or_else(|| ErrorBody::new(ErrorCode::NotFound, format!("there is no job {job}")))
    }
}

fn files() -> BTreeMap<&'static str, &'static [u8]> {
    BTreeMap::from([("page.html", b"<script>".as_slice()), ("sub/a b?.txt", b"deep"), ("empty", b"")])
}

fn closure(kind: &str, name: &str) -> ClosureRow {
    ClosureRow {
        kind: kind.into(),
        name: name.into(),
        version: 3,
        nodes: vec![name.into()],
        from: Some(AT.into()),
        until: Some(AT.into()),
        users: vec!["ann".into()],
        projects: vec!["rna".into()],
        reason: "new disks".into(),
        by: "root".into(),
        on: true,
    }
}

fn no_file(path: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::NotFound, format!("there is no file {path:?}"))
}

#[async_trait::async_trait]
impl Backend for Memory {
    async fn identify(&self, credentials: Credentials) -> Result<Caller, ErrorBody> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let identity = |user: String, uid| Identity {
            user,
            uid,
            gid: uid,
            groups: Vec::new(),
            home: None,
            email: None,
            roles: Vec::new(),
        };
        match credentials {
            Credentials::Peer { uid } => Ok(Caller {
                identity: identity(format!("uid{uid}"), uid),
                scope: Scope::Admin,
                token: None,
                by_issuer: false,
                barred: None,
            }),
            Credentials::Proxied { user } => Ok(Caller {
                identity: identity(user, 2),
                scope: Scope::Submit,
                token: None,
                by_issuer: false,
                barred: None,
            }),
            Credentials::Token(secret) => {
                let kept = self.kept.lock().unwrap();
                let known = kept.tokens.values().find(|(known, _)| *known == secret);
                let (_, row) = known.ok_or_else(|| {
                    ErrorBody::new(
                        ErrorCode::Unauthenticated,
                        "this token is not known; it may have been revoked",
                    )
                })?;
                Ok(Caller {
                    identity: identity(row.user.clone(), 1),
                    scope: Scope::Submit,
                    token: Some(row.id),
                    by_issuer: false,
                    barred: (row.label == "barred").then(|| "somebody has to let you in".to_owned()),
                })
            }
        }
    }

    async fn info(&self, who: &Caller) -> Result<ServerInfo, ErrorBody> {
        Ok(ServerInfo {
            version: "0".into(),
            cluster: "test".into(),
            user: who.identity.user.clone(),
            roles: Vec::new(),
            executors: vec!["local".into()],
            jobs: vec![StateCount { state: "pending".into(), count: 1 }],
            started: AT.into(),
            notices: Vec::new(),
            leader: None,
            barred: who.barred.clone(),
        })
    }

    async fn offers(&self) -> Result<Offers, ErrorBody> {
        let labels = BTreeMap::from([("disk".into(), BTreeSet::from(["hdd".into(), "ssd".into()]))]);
        Ok(Offers {
            images: vec![OfferedImage { name: "plain:1".into(), usual: true }],
            volumes: vec![OfferedVolume { name: "home".into(), read_only: false }],
            labels,
            suspends: true,
            publishes_ports: false,
            labels_called: BTreeSet::new(),
        })
    }

    async fn submit(&self, who: &Caller, job: Submit) -> Result<Submitted, ErrorBody> {
        // A way to have every kind of no.
        if let Some(code) = job.project.as_deref().and_then(|name| name.strip_prefix("refuse-")) {
            let code = serde_json::from_value(code.into()).expect("a code");
            return Err(ErrorBody::new(code, "refused as asked"));
        }
        assert_ne!(job.project.as_deref(), Some("panic"), "asked to panic");
        if job.command.is_none() {
            let problem = Problem { field: "command".into(), message: "there is nothing to run".into() };
            return Err(ErrorBody {
                problems: vec![problem],
                ..ErrorBody::new(ErrorCode::Invalid, "the job makes no sense")
            });
        }
        let row = {
            let mut kept = self.kept.lock().unwrap();
            let id = kept.jobs.len() as u64 + 1;
            let row = JobRow {
                id,
                label: id.to_string(),
                name: job.name.clone().unwrap_or_default(),
                user: who.identity.user.clone(),
                state: "pending".into(),
                submitted: AT.into(),
                tasks: vec![StateCount { state: "pending".into(), count: 1 }],
                ..JobRow::default()
            };
            kept.jobs.insert(id, (row.clone(), job));
            row
        };
        self.tell(&row);
        Ok(Submitted { id: row.id, tasks: None, changes: Vec::new() })
    }

    async fn jobs(&self, _: &Caller, query: JobQuery) -> Result<JobList, ErrorBody> {
        let kept = self.kept.lock().unwrap();
        let below = query.before.unwrap_or(u64::MAX);
        let named = |row: &JobRow| query.name.as_ref().is_none_or(|name| row.name.contains(name));
        let limit = query.limit.unwrap_or(1000) as usize;
        let found = kept.jobs.range(..below).rev().map(|(_, (row, _))| row).filter(|row| named(row));
        let jobs: Vec<JobRow> = found.take(limit).cloned().collect();
        let last = jobs.last().map(|row| row.id).filter(|id| jobs.len() == limit && *id > 1);
        Ok(JobList { jobs, next_before: last })
    }

    async fn job(&self, _: &Caller, job: JobRef) -> Result<JobDetail, ErrorBody> {
        let (row, spec) = self.row(job)?;
        Ok(JobDetail {
            row,
            spec,
            directory: "/jobs/1".into(),
            stdout: "/jobs/1/stdout".into(),
            stderr: "/jobs/1/stderr".into(),
            note: None,
            history: vec![HistoryRow { at: AT.into(), event: "submitted".into(), text: "by a test".into() }],
        })
    }

    async fn why(&self, _: &Caller, job: JobRef) -> Result<Why, ErrorBody> {
        let (row, _) = self.row(job)?;
        Ok(Why {
            id: row.id,
            label: row.label,
            state: row.state,
            summary: "nothing runs here".into(),
            reasons: vec![Reason {
                kind: "no-room".into(),
                text: "none at all".into(),
                since: None,
                remedy: None,
            }],
            waited: Vec::new(),
            suggestions: Vec::new(),
            expected_start: None,
            scheduler: None,
        })
    }

    async fn logs(&self, _: &Caller, job: JobRef, part: LogPart) -> Result<ByteStream, ErrorBody> {
        self.row(job)?;
        let text = format!("{} of {job}\n", part.stream.as_deref().unwrap_or("stdout")).into_bytes();
        let tail = part.tail_bytes.map_or(0, |tail| text.len().saturating_sub(tail as usize));
        let written = stream::iter([Ok(text[tail..].to_vec())]);
        if !part.follow {
            return Ok(written.boxed());
        }
        let open = Open::new(&self.open_streams);
        let never = stream::once(async move {
            let _open = open;
            std::future::pending().await
        });
        Ok(written.chain(never).boxed())
    }

    async fn files(&self, _: &Caller, job: JobRef, path: String) -> Result<Vec<FileRow>, ErrorBody> {
        self.row(job)?;
        let prefix = if path.is_empty() { path.clone() } else { format!("{path}/") };
        let mut rows = BTreeMap::new();
        for (file, bytes) in files() {
            let Some(rest) = file.strip_prefix(&prefix) else { continue };
            let (name, kind) =
                rest.split_once('/').map_or((rest, "file"), |(folder, _)| (folder, "directory"));
            let row = FileRow { name: name.into(), kind: kind.into(), size_bytes: bytes.len() as u64 };
            rows.insert(name, row);
        }
        if rows.is_empty() { Err(no_file(&path)) } else { Ok(rows.into_values().collect()) }
    }

    async fn file(&self, _: &Caller, job: JobRef, path: String) -> Result<(u64, ByteStream), ErrorBody> {
        self.row(job)?;
        let bytes = files().remove(path.as_str()).ok_or_else(|| no_file(&path))?;
        Ok((bytes.len() as u64, stream::iter([Ok(bytes.to_vec())]).boxed()))
    }

    /// An echo that ends with the number of bytes.
    async fn exec(
        &self,
        _: &Caller,
        job: JobRef,
        argv: Vec<String>,
        terminal: bool,
    ) -> Result<Attached, ErrorBody> {
        self.row(job)?;
        if argv.is_empty() {
            return Err(ErrorBody::new(ErrorCode::Invalid, "there is no program"));
        }
        let (exit, told) = tokio::sync::oneshot::channel();
        let open = Open::new(&self.open_streams);
        let echo = Self::echo(move |count| {
            let _ = exit.send(count);
        });
        let end = AttachedEnd::Exit(async move { Ok(told.await.unwrap_or(-1)) }.boxed());
        let sizes = self.sizes.clone();
        let resize: Resize = Box::new(move |size| {
            sizes.send_replace(Some(size));
            std::future::ready(()).boxed()
        });
        Ok(Attached { end, resize: terminal.then_some(resize), guard: Some(Box::new(open)), ..echo })
    }

    async fn connect(&self, _: &Caller, job: JobRef, port: u16) -> Result<Attached, ErrorBody> {
        self.row(job)?;
        match port {
            7 => Ok(Self::echo(drop)),
            port => Err(ErrorBody::new(ErrorCode::Unable, format!("nobody listens on port {port}"))),
        }
    }

    async fn stats(&self, _: &Caller, job: JobRef) -> Result<StatsRow, ErrorBody> {
        self.row(job)?;
        Ok(StatsRow { job: job.to_string(), cpu_micros: 5, ..StatsRow::default() })
    }

    async fn control(&self, _: &Caller, request: ControlRequest) -> Result<Vec<ControlResult>, ErrorBody> {
        let mut results = Vec::new();
        for job in request.jobs {
            let found = job.parse().ok().and_then(|job| self.row(job).ok());
            if let Some((mut row, spec)) = found.clone() {
                row.state = "killed".into();
                self.kept.lock().unwrap().jobs.insert(row.id, (row.clone(), spec));
                self.tell(&row);
            }
            let message = found.is_none().then(|| "there is no such job".to_owned());
            results.push(ControlResult { job, done: found.is_some(), message });
        }
        Ok(results)
    }

    async fn events(&self, _: &Caller, after: Option<u64>) -> Result<EventStream, ErrorBody> {
        let (changed, taken) = (self.changed.subscribe(), self.events_taken.clone());
        let at = after.map_or(*changed.borrow(), |after| after as usize);
        if at > *changed.borrow() {
            return Err(ErrorBody::new(ErrorCode::Conflict, "there is no such event yet"));
        }
        let (kept, open) = (self.kept.clone(), Open::new(&self.open_streams));
        Ok(stream::unfold((at, changed, open), move |(at, mut changed, open)| {
            let (kept, taken) = (kept.clone(), taken.clone());
            async move {
                changed.wait_for(|count| *count > at).await.ok()?;
                taken.fetch_add(1, Ordering::SeqCst);
                let row = kept.lock().unwrap().events[at].clone();
                Some((row, (at + 1, changed, open)))
            }
        })
        .boxed())
    }

    async fn daemons(&self, _: &Caller) -> Result<Vec<DaemonRow>, ErrorBody> {
        Ok(Vec::new())
    }

    async fn nodes(&self, _: &Caller) -> Result<Vec<NodeRow>, ErrorBody> {
        Ok(vec![NodeRow {
            name: "local/here".into(),
            executor: "local".into(),
            state: "up".into(),
            cpu_millis_total: 2000,
            cpu_millis_used: 0,
            memory_bytes_total: 1 << 30,
            memory_bytes_used: 0,
            gpus_total: 0,
            gpus_used: 0,
            resources: Vec::new(),
            closures: vec![closure("drain", "local/here")],
            jobs: 0,
            note: None,
        }])
    }

    async fn resources(&self, _: &Caller) -> Result<Vec<ResourceRow>, ErrorBody> {
        Ok(vec![ResourceRow { name: "licence".into(), total: 5, used: 0 }])
    }

    async fn usage(&self, _: &Caller, by: String, since: Option<String>) -> Result<Vec<UsageRow>, ErrorBody> {
        Ok(vec![UsageRow { name: format!("{by} {}", since.unwrap_or_default()), ..UsageRow::default() }])
    }

    async fn accounts(&self, who: &Caller, kind: String) -> Result<Vec<AccountRow>, ErrorBody> {
        Ok(vec![self.account(who, kind, "a b/c%".into()).await?])
    }

    async fn account(&self, _: &Caller, kind: String, name: String) -> Result<AccountRow, ErrorBody> {
        Ok(AccountRow { kind, name, version: 3, ..AccountRow::default() })
    }

    async fn account_days(
        &self,
        _: &Caller,
        kind: String,
        name: String,
    ) -> Result<Vec<AccountDay>, ErrorBody> {
        if name == "nobody" {
            return Err(ErrorBody::new(ErrorCode::NotFound, format!("there is no {kind} nobody")));
        }
        let day = AccountDay {
            day: "2030-01-09".into(),
            jobs: 2,
            wall_ms: 90_000,
            cpu_millis: 2500,
            memory_mib: 3072,
            ..AccountDay::default()
        };
        Ok(vec![day])
    }

    async fn set_account(
        &self,
        who: &Caller,
        kind: String,
        name: String,
        wanted: SetAccount,
    ) -> Result<AccountRow, ErrorBody> {
        let row = self.account(who, kind, name).await?;
        Ok(AccountRow { version: wanted.version + 1, settings: wanted.settings, ..row })
    }

    async fn drop_account(&self, _: &Caller, _: String, _: String, version: u64) -> Result<(), ErrorBody> {
        match version {
            3 => Ok(()),
            _ => Err(ErrorBody::new(ErrorCode::Conflict, "it is at version 3")),
        }
    }

    async fn closures(&self, _: &Caller) -> Result<Vec<ClosureRow>, ErrorBody> {
        Ok(vec![closure("drain", "local/here")])
    }

    async fn set_closure(
        &self,
        _: &Caller,
        kind: String,
        name: String,
        wanted: SetClosure,
    ) -> Result<ClosureRow, ErrorBody> {
        let SetClosure { version, nodes, from, until, users, projects, reason } = wanted;
        let row = closure(&kind, &name);
        Ok(ClosureRow { version: version + 1, nodes, from, until, users, projects, reason, ..row })
    }

    async fn drop_closure(&self, _: &Caller, _: String, name: String, version: u64) -> Result<(), ErrorBody> {
        match (name.as_str(), version) {
            ("local/here", 3) => Ok(()),
            _ => Err(ErrorBody::new(ErrorCode::Conflict, "it is at version 3")),
        }
    }

    async fn acts(&self, _: &Caller, limit: u32) -> Result<Vec<ActRow>, ErrorBody> {
        Ok(vec![ActRow { seq: u64::from(limit), at: AT.into(), by: "root".into(), what: "nothing".into() }])
    }

    async fn notices(&self, _: &Caller) -> Result<NoticesRow, ErrorBody> {
        let mail = "usual".into();
        let row = NoticesRow {
            on: vec!["end".into()],
            mail,
            address: None,
            webhook: None,
            key: None,
            waiting: 0,
            troubles: Vec::new(),
        };
        Ok(row)
    }

    async fn set_notices(&self, who: &Caller, wanted: SetNotices) -> Result<NoticesRow, ErrorBody> {
        let mail = wanted.mail.unwrap_or_else(|| "usual".into());
        Ok(NoticesRow { on: wanted.on, mail, webhook: wanted.webhook, ..self.notices(who).await? })
    }

    async fn job_message(&self, who: &Caller, job: JobRef, _: JobMessage) -> Result<(), ErrorBody> {
        self.job(who, job).await.map(drop)
    }

    async fn plugins(&self, who: &Caller) -> Result<Vec<PluginRow>, ErrorBody> {
        Ok(vec![self.reload(who, "fifo".into()).await?])
    }

    async fn reload(&self, _: &Caller, plugin: String) -> Result<PluginRow, ErrorBody> {
        Ok(PluginRow {
            name: plugin,
            kind: "scheduler".into(),
            version: "1".into(),
            source: "shipped".into(),
            sha256: None,
            state: "active".into(),
            strikes: 0,
            calls: 1,
            mean_call_micros: 1,
            longest_call_micros: 1,
            capabilities: Vec::new(),
            notes: Vec::new(),
        })
    }

    async fn check(&self, _: &Caller, component: Vec<u8>) -> Result<PluginCheck, ErrorBody> {
        let text = format!("{} bytes", component.len());
        Ok(PluginCheck { ok: true, kind: "scheduler".into(), findings: vec![Finding { ok: true, text }] })
    }

    async fn tokens(&self, _: &Caller) -> Result<Vec<TokenRow>, ErrorBody> {
        Ok(self.kept.lock().unwrap().tokens.values().map(|(_, row)| row.clone()).collect())
    }

    async fn create_token(&self, who: &Caller, token: NewToken) -> Result<TokenCreated, ErrorBody> {
        let mut kept = self.kept.lock().unwrap();
        let id = kept.tokens.len() as u64 + 1;
        let row = TokenRow {
            id,
            user: token.user.unwrap_or_else(|| who.identity.user.clone()),
            label: token.label,
            scope: token.scope,
            created: AT.into(),
            expires: None,
            last_used: None,
            session: false,
        };
        let secret = format!("berth_secret{id}");
        kept.tokens.insert(id, (secret.clone(), row));
        Ok(TokenCreated { id, token: secret })
    }

    async fn revoke_token(&self, _: &Caller, id: u64) -> Result<(), ErrorBody> {
        let gone = self.kept.lock().unwrap().tokens.remove(&id);
        gone.map(drop).ok_or_else(|| ErrorBody::new(ErrorCode::NotFound, format!("there is no token {id}")))
    }

    async fn sign_in(&self, from: Peer, who: SignIn) -> Result<SessionCreated, ErrorBody> {
        if who.password != "sesame" {
            return Err(ErrorBody::new(ErrorCode::Unauthenticated, format!("wrong, from {from:?}")));
        }
        let SignIn { user, scope, label, .. } = who;
        let scope = scope.unwrap_or_else(|| "submit".into());
        let token = NewToken {
            label: label.unwrap_or_default(),
            scope: scope.clone(),
            expires_in: None,
            user: Some(user.clone()),
        };
        let root = Caller {
            identity: self.nobody(),
            scope: Scope::Admin,
            token: None,
            by_issuer: false,
            barred: None,
        };
        let TokenCreated { id, token } = self.create_token(&root, token).await?;
        Ok(SessionCreated { id, user, token, scope, expires: AT.into(), idle_ms: 1000 })
    }

    async fn sign_out(&self, who: &Caller) -> Result<(), ErrorBody> {
        match who.token {
            Some(id) => self.revoke_token(who, id).await,
            None => Ok(()),
        }
    }

    async fn passwords(&self, who: &Caller) -> Result<Vec<PasswordRow>, ErrorBody> {
        Ok(vec![PasswordRow { user: who.identity.user.clone(), changed: AT.into() }])
    }

    async fn set_password(
        &self,
        _: &Caller,
        _: Peer,
        user: String,
        _: SetPassword,
    ) -> Result<PasswordRow, ErrorBody> {
        Ok(PasswordRow { user, changed: AT.into() })
    }

    async fn drop_password(&self, _: &Caller, _: String) -> Result<(), ErrorBody> {
        Ok(())
    }

    async fn guests(&self, _: &Caller) -> Result<Vec<GuestRow>, ErrorBody> {
        Ok(vec![GuestRow { name: "guest:a".into(), standing: "waiting".into(), ..GuestRow::default() }])
    }

    async fn set_guest(&self, _: &Caller, name: String, wanted: SetGuest) -> Result<GuestRow, ErrorBody> {
        let standing = if wanted.active { "active" } else { "inactive" };
        Ok(GuestRow { name, standing: standing.into(), ..GuestRow::default() })
    }

    async fn drop_guest(&self, _: &Caller, _: String) -> Result<(), ErrorBody> {
        Ok(())
    }

    async fn guest_sign_in(&self, who: &Caller, _: GuestSignIn) -> Result<SessionCreated, ErrorBody> {
        Ok(SessionCreated {
            id: 7,
            user: who.identity.user.clone(),
            token: "secret".into(),
            scope: "submit".into(),
            expires: AT.into(),
            idle_ms: 1,
        })
    }

    async fn metrics(&self, _: &Caller) -> Result<String, ErrorBody> {
        Ok("# TYPE berth_up gauge\nberth_up 1\n".into())
    }
}
