//! The client: one method per route.

mod attach;
mod error;
mod events;
mod page;
mod target;
mod wire;

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use hyper::{
    Method,
    body::{Bytes, Incoming},
    header,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};

pub use attach::{AttachedInput, AttachedOutput, Piece};
pub use error::{Broken, ClientError};
pub use page::JobsText;
pub use target::Target;
use wire::{Call, Wire, read, refused};

use crate::{
    AccountDay, AccountRow, ActRow, ClosureRow, ControlRequest, ControlResult, DaemonRow, ErrorCode,
    EventRow, ExecQuery, FileRow, GuestRow, GuestSignIn, JobDetail, JobList, JobMessage, JobQuery, JobRow,
    LogPart, NewToken, NodeRow, NoticesRow, PasswordRow, PluginCheck, PluginRow, ResourceRow, ServerInfo,
    SessionCreated, SetAccount, SetClosure, SetGuest, SetNotices, SetPassword, SignIn, StatsRow, Submit,
    Submitted, TokenCreated, TokenRow, UsageRow, Why,
};

/// Things as they come from the server. An error is its last item.
pub type ApiStream<T> = Pin<Box<dyn Stream<Item = Result<T, ClientError>> + Send>>;

const JSON: &str = "application/json";
const IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const IN_PATH: &AsciiSet = &IN_SEGMENT.remove(b'/');

/// Speaks to one server, over as many connections as there are requests under way. Clones share them.
/// It has to be used inside a tokio runtime; a current-thread one is enough.
#[derive(Clone)]
pub struct Client {
    wire: Arc<Wire>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.target()).finish_non_exhaustive()
    }
}

impl Client {
    /// Reaches the server; nothing is sent yet.
    /// # Errors
    /// `NoServer` when nobody listens there, `Unusable` when the address makes no sense.
    pub async fn connect(target: Target) -> Result<Self, ClientError> {
        let wire = Wire::connect(target::Address::read(target)?).await?;
        Ok(Self { wire: Arc::new(wire) })
    }

    /// The server, for messages.
    #[must_use]
    pub fn target(&self) -> &str {
        self.wire.target()
    }

    /// The server and the caller.
    /// # Errors
    /// See [`ClientError`], as for every method here.
    pub async fn info(&self) -> Result<ServerInfo, ClientError> {
        self.get("/v1/info").await
    }

    /// Sends a job; when this returns, it is durable.
    /// # Errors
    /// After `Broken` it is not known whether the job was taken.
    pub async fn submit(&self, job: &Submit) -> Result<Submitted, ClientError> {
        self.post("/v1/jobs", job).await
    }

    /// One page of jobs; `next_before` leads to the next.
    /// # Errors
    /// See [`ClientError`].
    pub async fn jobs(&self, query: &JobQuery) -> Result<JobList, ClientError> {
        self.get(&with_query("/v1/jobs", query)?).await
    }

    /// One page of jobs as text, for those who only pass it on.
    /// # Errors
    /// See [`ClientError`].
    pub async fn jobs_text(&self, query: &JobQuery) -> Result<JobsText, ClientError> {
        let body = self.wire.ask(Call::get(&with_query("/v1/jobs", query)?)).await?;
        JobsText::read(body).ok_or_else(|| {
            ClientError::broken(self.target(), "the list of jobs is not as a Berth server writes it", None)
        })
    }

    /// All jobs that the query names, page by page as they are taken; its `limit` is the size of a page.
    pub fn all_jobs(&self, query: JobQuery) -> ApiStream<JobRow> {
        let client = self.clone();
        let pages = stream::try_unfold(Some(query), move |query| {
            let client = client.clone();
            async move {
                let Some(mut query) = query else { return Ok::<_, ClientError>(None) };
                let page = client.jobs(&query).await?;
                let next = page.next_before.map(|before| {
                    query.before = Some(before);
                    query
                });
                Ok(Some((stream::iter(page.jobs.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    /// Everything about one job: `12`, or `12.7` for a task.
    /// # Errors
    /// See [`ClientError`].
    pub async fn job(&self, job: &str) -> Result<JobDetail, ClientError> {
        self.get(&format!("/v1/jobs/{}", segment(job))).await
    }

    /// Why it has not started.
    /// # Errors
    /// See [`ClientError`].
    pub async fn why(&self, job: &str) -> Result<Why, ClientError> {
        self.get(&format!("/v1/jobs/{}/why", segment(job))).await
    }

    /// What it has written, and with `follow` what it writes until it ends.
    /// # Errors
    /// See [`ClientError`]; the stream breaks off with one, too.
    pub async fn logs(&self, job: &str, part: &LogPart) -> Result<ApiStream<Bytes>, ClientError> {
        let path = with_query(&format!("/v1/jobs/{}/logs", segment(job)), part)?;
        let answer = self.wire.open_answer(Call::get(&path)).await?;
        Ok(self.bytes(answer.into_body()))
    }

    /// Starts a process beside a running job.
    /// # Errors
    /// See [`ClientError`].
    pub async fn exec(
        &self,
        job: &str,
        argv: &[String],
        terminal: bool,
    ) -> Result<(AttachedInput, AttachedOutput), ClientError> {
        let query = ExecQuery { argv: attach::argv_text(argv)?, terminal };
        attach::attach(&self.wire, &with_query(&format!("/v1/jobs/{}/exec", segment(job)), &query)?).await
    }

    /// Connects with a port of a running job.
    /// # Errors
    /// See [`ClientError`].
    pub async fn connect_port(
        &self,
        job: &str,
        port: u16,
    ) -> Result<(AttachedInput, AttachedOutput), ClientError> {
        attach::attach(&self.wire, &format!("/v1/jobs/{}/ports/{port}", segment(job))).await
    }

    /// What a running job uses now.
    /// # Errors
    /// See [`ClientError`].
    pub async fn stats(&self, job: &str) -> Result<StatsRow, ClientError> {
        self.get(&format!("/v1/jobs/{}/stats", segment(job))).await
    }

    /// The files in its directory, or in a folder of it.
    /// # Errors
    /// See [`ClientError`].
    pub async fn files(&self, job: &str, folder: &str) -> Result<Vec<FileRow>, ClientError> {
        let folder = folder.trim_matches('/');
        let slash = if folder.is_empty() { "" } else { "/" };
        self.get(&format!("/v1/jobs/{}/files/{}{slash}", segment(job), in_path(folder))).await
    }

    /// One file of it, with its size.
    /// # Errors
    /// See [`ClientError`]; the stream breaks off with one, too.
    pub async fn file(&self, job: &str, path: &str) -> Result<(u64, ApiStream<Bytes>), ClientError> {
        let path = path.trim_matches('/');
        let route = format!("/v1/jobs/{}/files/{}", segment(job), in_path(path));
        let answer = self.wire.open_answer(Call::get(&route)).await?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        if header(header::CONTENT_TYPE) == Some(JSON) {
            return Err(refused(ErrorCode::Conflict, format!("{path:?} is a folder; list it instead")));
        }
        let length = header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
        Ok((length, self.bytes(answer.into_body())))
    }

    /// Kill, hold, release, suspend, resume, rerun, signal; one result for each job.
    /// # Errors
    /// See [`ClientError`].
    pub async fn control(&self, request: &ControlRequest) -> Result<Vec<ControlResult>, ClientError> {
        self.post("/v1/jobs/control", request).await
    }

    /// Changes of jobs, behind `after` or from now on: whatever happens once this has returned is in the
    /// stream. It reconnects and resumes when the server restarts, and ends with an error when the server
    /// stays away, or when it broke off before anything was seen: look at the jobs again then, and call anew.
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(&self, after: Option<u64>) -> Result<ApiStream<EventRow>, ClientError> {
        events::Events::open(self.clone(), after).await
    }

    /// The nodes.
    /// # Errors
    /// See [`ClientError`].
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, ClientError> {
        self.get("/v1/nodes").await
    }

    /// The processes of this Berth, where they tell each other that they are there.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn daemons(&self) -> Result<Vec<DaemonRow>, ClientError> {
        self.get("/v1/daemons").await
    }

    /// The resources with names that belong to no node.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub async fn resources(&self) -> Result<Vec<ResourceRow>, ClientError> {
        self.get("/v1/resources").await
    }

    /// What everybody has used: by `user` or `project`, since an instant (RFC 3339) or ever.
    /// # Errors
    /// See [`ClientError`].
    pub async fn usage(&self, by: &str, since: Option<&str>) -> Result<Vec<UsageRow>, ClientError> {
        let query = [("by", Some(by)), ("since", since)];
        let query: Vec<_> = query.iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect();
        self.get(&with_query("/v1/usage", &query)?).await
    }

    /// Accounts of a kind that the caller may see: `user`, `project`, `group`, `member`.
    /// # Errors
    /// See [`ClientError`].
    pub async fn accounts(&self, kind: &str) -> Result<Vec<AccountRow>, ClientError> {
        self.get(&format!("/v1/accounts/{}", segment(kind))).await
    }

    /// One account.
    /// # Errors
    /// See [`ClientError`].
    pub async fn account(&self, kind: &str, name: &str) -> Result<AccountRow, ClientError> {
        self.get(&account_path(kind, name)).await
    }

    /// What an account has used by day, within the quotas' period.
    /// # Errors
    /// See [`ClientError`].
    pub async fn account_days(&self, kind: &str, name: &str) -> Result<Vec<AccountDay>, ClientError> {
        self.get(&format!("{}/days", account_path(kind, name))).await
    }

    /// Sets an account as a whole.
    /// # Errors
    /// A conflict when it is at another version by now; see [`ClientError`].
    pub async fn set_account(
        &self,
        kind: &str,
        name: &str,
        wanted: &SetAccount,
    ) -> Result<AccountRow, ClientError> {
        self.send(Method::PUT, &account_path(kind, name), wanted).await
    }

    /// Takes away what was set of an account.
    /// # Errors
    /// A conflict when it is at another version by now; see [`ClientError`].
    pub async fn drop_account(&self, kind: &str, name: &str, version: u64) -> Result<(), ClientError> {
        let path = with_query(&account_path(kind, name), &[("version", version)])?;
        self.wire.ask(Call { method: Method::DELETE, ..Call::get(&path) }).await.map(drop)
    }

    /// What is closed, or will be.
    /// # Errors
    /// See [`ClientError`].
    pub async fn closures(&self) -> Result<Vec<ClosureRow>, ClientError> {
        self.get("/v1/closures").await
    }

    /// Closes nodes.
    /// # Errors
    /// A conflict when it is at another version by now; see [`ClientError`].
    pub async fn set_closure(
        &self,
        kind: &str,
        name: &str,
        wanted: &SetClosure,
    ) -> Result<ClosureRow, ClientError> {
        self.send(Method::PUT, &closure_path(kind, name), wanted).await
    }

    /// Opens nodes again.
    /// # Errors
    /// A conflict when it is at another version by now; see [`ClientError`].
    pub async fn drop_closure(&self, kind: &str, name: &str, version: u64) -> Result<(), ClientError> {
        let path = with_query(&closure_path(kind, name), &[("version", version)])?;
        self.wire.ask(Call { method: Method::DELETE, ..Call::get(&path) }).await.map(drop)
    }

    /// The latest acts of administrators, oldest first.
    /// # Errors
    /// See [`ClientError`].
    pub async fn acts(&self, limit: u32) -> Result<Vec<ActRow>, ClientError> {
        self.get(&with_query("/v1/acts", &[("limit", limit)])?).await
    }

    /// What the caller is told of their jobs.
    /// # Errors
    /// See [`ClientError`].
    pub async fn notices(&self) -> Result<NoticesRow, ClientError> {
        self.get("/v1/notices").await
    }

    /// Says what the caller wants to be told of their jobs, as a whole.
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_notices(&self, wanted: &SetNotices) -> Result<NoticesRow, ClientError> {
        self.send(Method::PUT, "/v1/notices", wanted).await
    }

    /// Writes down what a running job wants its people to know.
    /// # Errors
    /// See [`ClientError`].
    pub async fn job_message(&self, job: &str, message: &JobMessage) -> Result<(), ClientError> {
        let body = serde_json::to_vec(message).map_err(|error| {
            ClientError::broken(self.target(), "the request cannot be written", Some(error.into()))
        })?;
        let path = format!("/v1/jobs/{}/messages", segment(job));
        let call = Call::get(&path);
        let call = Call { method: Method::POST, content_type: Some(JSON), body: body.into(), ..call };
        self.wire.ask(call).await.map(drop)
    }

    /// The plugins.
    /// # Errors
    /// See [`ClientError`].
    pub async fn plugins(&self) -> Result<Vec<PluginRow>, ClientError> {
        self.get("/v1/plugins").await
    }

    /// Loads a policy anew.
    /// # Errors
    /// See [`ClientError`].
    pub async fn reload(&self, plugin: &str) -> Result<PluginRow, ClientError> {
        let path = format!("/v1/plugins/{}/reload", segment(plugin));
        self.ask(Call { method: Method::POST, ..Call::get(&path) }).await
    }

    /// Has the server look at a policy's component without using it.
    /// # Errors
    /// See [`ClientError`].
    pub async fn check(&self, component: impl Into<Bytes>) -> Result<PluginCheck, ClientError> {
        let content_type = Some("application/wasm");
        let call = Call::get("/v1/plugins/check");
        self.ask(Call { method: Method::POST, content_type, body: component.into(), ..call }).await
    }

    /// The caller's tokens; all, for an administrator.
    /// # Errors
    /// See [`ClientError`].
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, ClientError> {
        self.get("/v1/tokens").await
    }

    /// Makes a token. The answer is the only place where its secret is ever seen.
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_token(&self, token: &NewToken) -> Result<TokenCreated, ClientError> {
        self.post("/v1/tokens", token).await
    }

    /// Ends a token.
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_token(&self, id: u64) -> Result<(), ClientError> {
        let path = format!("/v1/tokens/{id}");
        self.wire.ask(Call { method: Method::DELETE, ..Call::get(&path) }).await.map(drop)
    }

    /// Begins a session. The answer is the only place where its secret is ever seen.
    /// # Errors
    /// See [`ClientError`].
    pub async fn sign_in(&self, who: &SignIn) -> Result<SessionCreated, ClientError> {
        self.post("/v1/session", who).await
    }

    /// Ends the session, or the token, that this client uses.
    /// # Errors
    /// See [`ClientError`].
    pub async fn sign_out(&self) -> Result<(), ClientError> {
        self.wire.ask(Call { method: Method::DELETE, ..Call::get("/v1/session") }).await.map(drop)
    }

    /// Who has a password; for others than administrators only whether they have one themselves.
    /// # Errors
    /// See [`ClientError`].
    pub async fn passwords(&self) -> Result<Vec<PasswordRow>, ClientError> {
        self.get("/v1/passwords").await
    }

    /// Sets somebody's password.
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_password(&self, user: &str, wanted: &SetPassword) -> Result<PasswordRow, ClientError> {
        self.send(Method::PUT, &format!("/v1/passwords/{}", segment(user)), wanted).await
    }

    /// Takes somebody's password away.
    /// # Errors
    /// See [`ClientError`].
    pub async fn drop_password(&self, user: &str) -> Result<(), ClientError> {
        let path = format!("/v1/passwords/{}", segment(user));
        self.wire.ask(Call { method: Method::DELETE, ..Call::get(&path) }).await.map(drop)
    }

    /// All guests.
    /// # Errors
    /// See [`ClientError`].
    pub async fn guests(&self) -> Result<Vec<GuestRow>, ClientError> {
        self.get("/v1/guests").await
    }

    /// Lets a guest in, or no longer.
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_guest(&self, name: &str, wanted: &SetGuest) -> Result<GuestRow, ClientError> {
        self.send(Method::PUT, &format!("/v1/guests/{}", segment(name)), wanted).await
    }

    /// Forgets a guest.
    /// # Errors
    /// See [`ClientError`].
    pub async fn drop_guest(&self, name: &str) -> Result<(), ClientError> {
        let path = format!("/v1/guests/{}", segment(name));
        self.wire.ask(Call { method: Method::DELETE, ..Call::get(&path) }).await.map(drop)
    }

    /// Begins a session for whoever this client's token, one of an outside issuer, is about. The answer is the only
    /// place where its secret is ever seen.
    /// # Errors
    /// See [`ClientError`].
    pub async fn guest_sign_in(&self, wanted: &GuestSignIn) -> Result<SessionCreated, ClientError> {
        self.post("/v1/guests/session", wanted).await
    }

    /// Metrics in Prometheus's text format.
    /// # Errors
    /// See [`ClientError`].
    pub async fn metrics(&self) -> Result<crate::MetricsText, ClientError> {
        let body = self.wire.ask(Call::get("/metrics")).await?;
        String::from_utf8(body.into()).map_err(|error| {
            ClientError::broken(self.target(), "the metrics are not text", Some(error.into()))
        })
    }

    /// The description of the API.
    /// # Errors
    /// See [`ClientError`].
    pub async fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        self.get("/v1/openapi.json").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Call::get(path)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.send(Method::POST, path, body).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| {
            ClientError::broken(self.target(), "the request cannot be written", Some(error.into()))
        })?;
        let call = Call::get(path);
        self.ask(Call { method, content_type: Some(JSON), body: body.into(), ..call }).await
    }

    async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, ClientError> {
        read(self.target(), &self.wire.ask(call).await?)
    }

    fn bytes(&self, body: Incoming) -> ApiStream<Bytes> {
        let target = self.target().to_owned();
        let data = body.into_data_stream();
        data.map_err(move |error| {
            ClientError::broken(&target, "the server broke off before the end", Some(error.into()))
        })
        .boxed()
    }
}

fn account_path(kind: &str, name: &str) -> String {
    format!("/v1/accounts/{}/{}", segment(kind), segment(name))
}

fn closure_path(kind: &str, name: &str) -> String {
    format!("/v1/closures/{}/{}", segment(kind), segment(name))
}

fn segment(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, IN_SEGMENT)
}

fn in_path(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, IN_PATH)
}

fn with_query(path: &str, query: &impl Serialize) -> Result<String, ClientError> {
    match serde_urlencoded::to_string(query) {
        Ok(query) if query.is_empty() => Ok(path.to_owned()),
        Ok(query) => Ok(format!("{path}?{query}")),
        Err(error) => Err(refused(ErrorCode::Invalid, format!("the query cannot be written: {error}"))),
    }
}
