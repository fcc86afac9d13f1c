//! What the HTTP side needs from the daemon behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    pin::Pin,
};

use berth_api::{
    AccountDay, AccountRow, ActRow, ClosureRow, ControlRequest, ControlResult, DaemonRow, ErrorBody,
    EventRow, FileRow, GuestRow, GuestSignIn, JobDetail, JobList, JobMessage, JobQuery, LogPart, NewToken,
    NodeRow, NoticesRow, PasswordRow, PluginCheck, PluginRow, ResourceRow, ServerInfo, SessionCreated,
    SetAccount, SetClosure, SetGuest, SetNotices, SetPassword, SignIn, StatsRow, Submit, Submitted,
    TerminalSize, TokenCreated, TokenRow, UsageRow, Why,
};
use berth_model::{Identity, JobRef};
use futures::Stream;

/// What a token allows; somebody known by the kernel may do everything that is theirs to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Looking.
    Read,
    /// Submitting and controlling one's own jobs, too.
    Submit,
    /// Everything that the person may.
    Admin,
}

/// Whoever sends a request, made sure of.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub identity: Identity,
    /// What these credentials allow.
    pub scope: Scope,
    /// The number of the token that was shown, if one was.
    pub token: Option<u64>,
    /// They are known by a token of an outside issuer, which is none of Berth's own.
    pub by_issuer: bool,
    /// Why they may do nothing but see who they are.
    pub barred: Option<String>,
}

/// What is known of the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process on this machine, of this user.
    Local {
        /// The user's id.
        uid: u32,
    },
    /// Somebody somewhere.
    Remote {
        /// Where from.
        address: IpAddr,
    },
}

/// How somebody presents themselves.
pub enum Credentials {
    /// The kernel's word for the other end of a Unix socket.
    Peer {
        /// Its user id.
        uid: u32,
    },
    /// A bearer token. Never logged, never in an error.
    Token(String),
    /// The word of the site's proxy, which has made sure who it is.
    Proxied {
        /// Their name.
        user: String,
    },
}

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Vec<u8>, ErrorBody>> + Send>>;
/// Changes of jobs as they come.
pub type EventStream = Pin<Box<dyn Stream<Item = EventRow> + Send>>;

/// How a two-way connection with a job ends.
pub enum AttachedEnd {
    /// Without a word.
    Closed,
    /// With the exit code of a process.
    Exit(futures::future::BoxFuture<'static, Result<i32, ErrorBody>>),
}

/// Makes the terminal at a job's end of a connection this large, as far as that can be done.
pub type Resize = Box<dyn Fn(TerminalSize) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

/// A two-way connection with a job. Dropping it ends it.
pub struct Attached {
    /// Goes to the job.
    pub input: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    /// Comes from it.
    pub output: Box<dyn tokio::io::AsyncRead + Send + Unpin>,
    /// What is to be told when the output has ended.
    pub end: AttachedEnd,
    /// The terminal there, where there is one that has a size.
    pub resize: Option<Resize>,
    /// Dropped with the connection.
    pub guard: Option<Box<dyn std::any::Any + Send>>,
}

/// An image that everybody may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedImage {
    /// Its name, as jobs give it.
    pub name: String,
    /// What jobs run in that name none.
    pub usual: bool,
}

/// A volume that jobs may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedVolume {
    /// Its name.
    pub name: String,
    /// Nobody writes to it.
    pub read_only: bool,
}

/// What a site has for jobs. Not for one person: what somebody may use of it is decided when they ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Images that the executors' tables offer.
    pub images: Vec<OfferedImage>,
    /// Volumes that the site has given names.
    pub volumes: Vec<OfferedVolume>,
    /// The labels of nodes, each with the values that there are.
    pub labels: BTreeMap<String, BTreeSet<String>>,
    /// Whether an executor can stop jobs for a while.
    pub suspends: bool,
    /// Whether an executor can publish ports.
    pub publishes_ports: bool,
    /// Labels of jobs for which the site has webhooks called.
    pub labels_called: BTreeSet<String>,
}

/// The daemon, as the HTTP side sees it. It decides who may do what to which job; the HTTP side only
/// finds out who is asking. A job that the caller may not see does not exist for them.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Who is this?
    async fn identify(&self, credentials: Credentials) -> Result<Caller, ErrorBody>;
    /// The server and the caller.
    async fn info(&self, who: &Caller) -> Result<ServerInfo, ErrorBody>;
    /// What there is for jobs. Anybody may hear it who reaches the server.
    async fn offers(&self) -> Result<Offers, ErrorBody>;
    /// Accepts a job; when this answers, it is durable.
    async fn submit(&self, who: &Caller, job: Submit) -> Result<Submitted, ErrorBody>;
    /// Lists jobs that the caller may see.
    async fn jobs(&self, who: &Caller, query: JobQuery) -> Result<JobList, ErrorBody>;
    /// Everything about one job.
    async fn job(&self, who: &Caller, job: JobRef) -> Result<JobDetail, ErrorBody>;
    /// Why it has not started.
    async fn why(&self, who: &Caller, job: JobRef) -> Result<Why, ErrorBody>;
    /// What it has written.
    async fn logs(&self, who: &Caller, job: JobRef, part: LogPart) -> Result<ByteStream, ErrorBody>;
    /// The files in its directory, or in a folder of it.
    async fn files(&self, who: &Caller, job: JobRef, path: String) -> Result<Vec<FileRow>, ErrorBody>;
    /// One file of it, with its size.
    async fn file(&self, who: &Caller, job: JobRef, path: String) -> Result<(u64, ByteStream), ErrorBody>;
    /// Starts a process beside a running job.
    async fn exec(
        &self,
        who: &Caller,
        job: JobRef,
        argv: Vec<String>,
        terminal: bool,
    ) -> Result<Attached, ErrorBody>;
    /// Connects with a port of a running job.
    async fn connect(&self, who: &Caller, job: JobRef, port: u16) -> Result<Attached, ErrorBody>;
    /// What a running job uses now.
    async fn stats(&self, who: &Caller, job: JobRef) -> Result<StatsRow, ErrorBody>;
    /// Does something with jobs; one result for each.
    async fn control(&self, who: &Caller, request: ControlRequest) -> Result<Vec<ControlResult>, ErrorBody>;
    /// Changes of jobs that the caller may see: those behind `after`, then the new ones as they come. From now
    /// on, where `after` is not given.
    async fn events(&self, who: &Caller, after: Option<u64>) -> Result<EventStream, ErrorBody>;
    /// The nodes.
    async fn nodes(&self, who: &Caller) -> Result<Vec<NodeRow>, ErrorBody>;
    /// The processes of this Berth, where they tell each other that they are there.
    async fn daemons(&self, who: &Caller) -> Result<Vec<DaemonRow>, ErrorBody>;
    /// Named resources that belong to no node.
    async fn resources(&self, who: &Caller) -> Result<Vec<ResourceRow>, ErrorBody>;
    /// What is closed, or will be, by kind and name.
    async fn closures(&self, who: &Caller) -> Result<Vec<ClosureRow>, ErrorBody>;
    /// Closes nodes, as a whole.
    async fn set_closure(
        &self,
        who: &Caller,
        kind: String,
        name: String,
        wanted: SetClosure,
    ) -> Result<ClosureRow, ErrorBody>;
    /// Opens them again.
    async fn drop_closure(
        &self,
        who: &Caller,
        kind: String,
        name: String,
        version: u64,
    ) -> Result<(), ErrorBody>;
    /// What users (or projects, groups, members) have used: those that the caller may see. What their jobs took that
    /// ended since an instant, or ever; and how their accounts stand.
    async fn usage(
        &self,
        who: &Caller,
        by: String,
        since: Option<String>,
    ) -> Result<Vec<UsageRow>, ErrorBody>;
    /// Accounts of a kind that the caller may see.
    async fn accounts(&self, who: &Caller, kind: String) -> Result<Vec<AccountRow>, ErrorBody>;
    /// One of them.
    async fn account(&self, who: &Caller, kind: String, name: String) -> Result<AccountRow, ErrorBody>;
    /// What one of them has used by day, within the quotas' period; days without any are left out.
    async fn account_days(
        &self,
        who: &Caller,
        kind: String,
        name: String,
    ) -> Result<Vec<AccountDay>, ErrorBody>;
    /// Sets one, as it is to be.
    async fn set_account(
        &self,
        who: &Caller,
        kind: String,
        name: String,
        wanted: SetAccount,
    ) -> Result<AccountRow, ErrorBody>;
    /// Takes away what was set of one.
    async fn drop_account(
        &self,
        who: &Caller,
        kind: String,
        name: String,
        version: u64,
    ) -> Result<(), ErrorBody>;
    /// The latest acts of administrators, oldest first.
    async fn acts(&self, who: &Caller, limit: u32) -> Result<Vec<ActRow>, ErrorBody>;
    /// What the caller is told of their jobs.
    async fn notices(&self, who: &Caller) -> Result<NoticesRow, ErrorBody>;
    /// Says what the caller wants to be told, as a whole.
    async fn set_notices(&self, who: &Caller, wanted: SetNotices) -> Result<NoticesRow, ErrorBody>;
    /// Writes down what a running job wants its people to know.
    async fn job_message(&self, who: &Caller, job: JobRef, message: JobMessage) -> Result<(), ErrorBody>;
    /// The plugins.
    async fn plugins(&self, who: &Caller) -> Result<Vec<PluginRow>, ErrorBody>;
    /// Loads a policy anew.
    async fn reload(&self, who: &Caller, plugin: String) -> Result<PluginRow, ErrorBody>;
    /// Looks at a policy's component without using it.
    async fn check(&self, who: &Caller, component: Vec<u8>) -> Result<PluginCheck, ErrorBody>;
    /// The caller's tokens; an administrator's view has all.
    async fn tokens(&self, who: &Caller) -> Result<Vec<TokenRow>, ErrorBody>;
    /// Makes a token.
    async fn create_token(&self, who: &Caller, token: NewToken) -> Result<TokenCreated, ErrorBody>;
    /// Ends a token.
    async fn revoke_token(&self, who: &Caller, id: u64) -> Result<(), ErrorBody>;
    /// Begins a session for somebody who has none; `from` is where they are.
    async fn sign_in(&self, from: Peer, who: SignIn) -> Result<SessionCreated, ErrorBody>;
    /// Ends the session or token that the caller has shown.
    async fn sign_out(&self, who: &Caller) -> Result<(), ErrorBody>;
    /// Who has a password; an administrator's view has all.
    async fn passwords(&self, who: &Caller) -> Result<Vec<PasswordRow>, ErrorBody>;
    /// Sets somebody's password.
    async fn set_password(
        &self,
        who: &Caller,
        from: Peer,
        user: String,
        wanted: SetPassword,
    ) -> Result<PasswordRow, ErrorBody>;
    /// Takes somebody's password away.
    async fn drop_password(&self, who: &Caller, user: String) -> Result<(), ErrorBody>;
    /// All guests.
    async fn guests(&self, who: &Caller) -> Result<Vec<GuestRow>, ErrorBody>;
    /// Lets a guest in, or no longer.
    async fn set_guest(&self, who: &Caller, name: String, wanted: SetGuest) -> Result<GuestRow, ErrorBody>;
    /// Forgets a guest.
    async fn drop_guest(&self, who: &Caller, name: String) -> Result<(), ErrorBody>;
    /// Begins a session for a guest who has shown a token of their issuer.
    async fn guest_sign_in(&self, who: &Caller, wanted: GuestSignIn) -> Result<SessionCreated, ErrorBody>;
    /// Metrics in Prometheus's text format.
    async fn metrics(&self, who: &Caller) -> Result<String, ErrorBody>;
}
