//! What the HTTP side asks for, done with the daemon's rooms. Rights are decided here.

mod access;
mod accounts;
mod alter;
mod archive;
mod attach;
mod causes;
mod check;
mod closures;
mod control;
mod events;
mod failures;
mod filters;
mod guessing;
mod guests;
mod jobs;
mod notices;
mod offers;
mod operate;
mod outputs;
mod passwords;
mod rows;
mod submit;
mod tokens;
mod waits;

use std::sync::Arc;

use berth_api::{
    AccountDay, AccountRow, ActRow, ClosureRow, ControlRequest, ControlResult, DaemonRow, ErrorBody,
    ErrorCode, FileRow, GuestRow, GuestSignIn, JobDetail, JobList, JobMessage, JobQuery, LogPart, NewToken,
    NodeRow, NoticesRow, PasswordRow, PluginCheck, PluginRow, ResourceRow, ServerInfo, SessionCreated,
    SetAccount, SetClosure, SetGuest, SetNotices, SetPassword, SignIn, StatsRow, Submit, Submitted,
    TokenCreated, TokenRow, UsageRow, Why,
};
use berth_model::JobRef;
use berth_server::{Attached, Backend, ByteStream, Caller, Credentials, EventStream, Offers, Peer};

use futures::StreamExt;
use tokio::sync::Semaphore;

use crate::{
    activity::{Activity, UnderWay},
    daemon::Daemon,
};

/// The daemon, as the HTTP side sees it.
pub struct Service {
    daemon: Arc<Daemon>,
    activity: Activity,
    busy: archive::Busy,
    guessing: guessing::Guessing,
    /// How many may log in at a time: one fewer than the auth policy has instances, where it has several.
    logins: Semaphore,
}

impl Service {
    pub fn new(daemon: Arc<Daemon>, activity: Activity) -> Self {
        let instances = usize::try_from(daemon.config.now().auth.instances).unwrap_or(1);
        Self {
            daemon,
            activity,
            busy: archive::Busy::default(),
            guessing: guessing::Guessing::default(),
            logins: Semaphore::new(instances.saturating_sub(1).max(1)),
        }
    }

    /// Why the loop does not answer.
    fn not_now(&self) -> ErrorBody {
        match self.daemon.inbox.stalled() {
            Some(words) if self.daemon.inbox.stands_by() => ErrorBody::new(ErrorCode::StandsBy, words),
            Some(words) => ErrorBody::new(ErrorCode::Unavailable, words),
            None => failures::stopping(),
        }
    }
}

/// A stream that counts as under way until it is over.
fn counted<T: Send + 'static>(
    under_way: UnderWay,
    stream: impl futures::Stream<Item = T> + Send + 'static,
) -> std::pin::Pin<Box<dyn futures::Stream<Item = T> + Send>> {
    stream
        .inspect(move |_| {
            let _ = &under_way;
        })
        .boxed()
}

#[async_trait::async_trait]
impl Backend for Service {
    async fn identify(&self, credentials: Credentials) -> Result<Caller, ErrorBody> {
        // Every request begins with this.
        let _under_way = self.activity.begin();
        self.who(credentials).await
    }

    async fn info(&self, who: &Caller) -> Result<ServerInfo, ErrorBody> {
        self.server_info(who).await
    }

    async fn offers(&self) -> Result<Offers, ErrorBody> {
        self.site_offers().await
    }

    async fn submit(&self, who: &Caller, job: Submit) -> Result<Submitted, ErrorBody> {
        self.accept(who, job).await
    }

    async fn jobs(&self, who: &Caller, query: JobQuery) -> Result<JobList, ErrorBody> {
        self.list(who, query).await
    }

    async fn job(&self, who: &Caller, job: JobRef) -> Result<JobDetail, ErrorBody> {
        self.detail(who, job).await
    }

    async fn why(&self, who: &Caller, job: JobRef) -> Result<Why, ErrorBody> {
        self.reasons(who, job).await
    }

    async fn logs(&self, who: &Caller, job: JobRef, part: LogPart) -> Result<ByteStream, ErrorBody> {
        let under_way = self.activity.begin();
        Ok(counted(under_way, self.read_logs(who, job, part).await?))
    }

    async fn files(&self, who: &Caller, job: JobRef, path: String) -> Result<Vec<FileRow>, ErrorBody> {
        self.list_files(who, job, &path).await
    }

    async fn file(&self, who: &Caller, job: JobRef, path: String) -> Result<(u64, ByteStream), ErrorBody> {
        let under_way = self.activity.begin();
        let (size, stream) = self.read_file(who, job, &path).await?;
        Ok((size, counted(under_way, stream)))
    }

    async fn exec(
        &self,
        who: &Caller,
        job: JobRef,
        argv: Vec<String>,
        terminal: bool,
    ) -> Result<Attached, ErrorBody> {
        let under_way = self.activity.begin();
        let attached = self.exec_beside(who, job, argv, terminal).await?;
        Ok(Attached { guard: Some(Box::new(under_way)), ..attached })
    }

    async fn connect(&self, who: &Caller, job: JobRef, port: u16) -> Result<Attached, ErrorBody> {
        let under_way = self.activity.begin();
        let attached = self.connect_with(who, job, port).await?;
        Ok(Attached { guard: Some(Box::new(under_way)), ..attached })
    }

    async fn stats(&self, who: &Caller, job: JobRef) -> Result<StatsRow, ErrorBody> {
        self.stats_now(who, job).await
    }

    async fn control(&self, who: &Caller, request: ControlRequest) -> Result<Vec<ControlResult>, ErrorBody> {
        self.control_all(who, request).await
    }

    async fn events(&self, who: &Caller, after: Option<u64>) -> Result<EventStream, ErrorBody> {
        let under_way = self.activity.begin();
        Ok(counted(under_way, self.follow_events(who, after).await?))
    }

    async fn resources(&self, _who: &Caller) -> Result<Vec<ResourceRow>, ErrorBody> {
        self.resource_rows().await
    }

    async fn daemons(&self, _who: &Caller) -> Result<Vec<DaemonRow>, ErrorBody> {
        self.daemon_rows().await
    }

    async fn nodes(&self, _who: &Caller) -> Result<Vec<NodeRow>, ErrorBody> {
        self.node_rows().await
    }

    async fn usage(
        &self,
        who: &Caller,
        by: String,
        since: Option<String>,
    ) -> Result<Vec<UsageRow>, ErrorBody> {
        self.used(who, &by, since.as_deref()).await
    }

    async fn accounts(&self, who: &Caller, kind: String) -> Result<Vec<AccountRow>, ErrorBody> {
        self.list_accounts(who, &kind).await
    }

    async fn account(&self, who: &Caller, kind: String, name: String) -> Result<AccountRow, ErrorBody> {
        self.one_account(who, &kind, name).await
    }

    async fn account_days(
        &self,
        who: &Caller,
        kind: String,
        name: String,
    ) -> Result<Vec<AccountDay>, ErrorBody> {
        self.days_of_account(who, &kind, name).await
    }

    async fn set_account(
        &self,
        who: &Caller,
        kind: String,
        name: String,
        wanted: SetAccount,
    ) -> Result<AccountRow, ErrorBody> {
        self.change_account(who, &kind, name, wanted).await
    }

    async fn drop_account(
        &self,
        who: &Caller,
        kind: String,
        name: String,
        version: u64,
    ) -> Result<(), ErrorBody> {
        self.take_account_away(who, &kind, &name, version).await
    }

    async fn closures(&self, _who: &Caller) -> Result<Vec<ClosureRow>, ErrorBody> {
        self.list_closures().await
    }

    async fn set_closure(
        &self,
        who: &Caller,
        kind: String,
        name: String,
        wanted: SetClosure,
    ) -> Result<ClosureRow, ErrorBody> {
        self.change_closure(who, &kind, name, wanted).await
    }

    async fn drop_closure(
        &self,
        who: &Caller,
        kind: String,
        name: String,
        version: u64,
    ) -> Result<(), ErrorBody> {
        self.take_closure_away(who, &kind, &name, version).await
    }

    async fn acts(&self, who: &Caller, limit: u32) -> Result<Vec<ActRow>, ErrorBody> {
        self.list_acts(who, limit).await
    }

    async fn notices(&self, who: &Caller) -> Result<NoticesRow, ErrorBody> {
        Ok(self.own_notices(who))
    }

    async fn set_notices(&self, who: &Caller, wanted: SetNotices) -> Result<NoticesRow, ErrorBody> {
        self.choose_notices(who, wanted).await
    }

    async fn job_message(&self, who: &Caller, job: JobRef, message: JobMessage) -> Result<(), ErrorBody> {
        self.take_message(who, job, message).await
    }

    async fn plugins(&self, _who: &Caller) -> Result<Vec<PluginRow>, ErrorBody> {
        Ok(self.plugin_rows())
    }

    async fn reload(&self, who: &Caller, plugin: String) -> Result<PluginRow, ErrorBody> {
        self.reload_policy(who, plugin).await
    }

    async fn check(&self, who: &Caller, component: Vec<u8>) -> Result<PluginCheck, ErrorBody> {
        access::needs_administrator(who)?;
        let host = self.daemon.policies.host().clone();
        let checked = tokio::task::spawn_blocking(move || check::check(&host, &component)).await;
        checked.map_err(|_| failures::stopping())
    }

    async fn tokens(&self, who: &Caller) -> Result<Vec<TokenRow>, ErrorBody> {
        self.list_tokens(who).await
    }

    async fn create_token(&self, who: &Caller, token: NewToken) -> Result<TokenCreated, ErrorBody> {
        self.make_token(who, token).await
    }

    async fn revoke_token(&self, who: &Caller, id: u64) -> Result<(), ErrorBody> {
        self.end_token(who, id).await
    }

    async fn sign_in(&self, from: Peer, who: SignIn) -> Result<SessionCreated, ErrorBody> {
        let _under_way = self.activity.begin();
        self.begin_session(from, who).await
    }

    async fn sign_out(&self, who: &Caller) -> Result<(), ErrorBody> {
        self.end_session(who).await
    }

    async fn passwords(&self, who: &Caller) -> Result<Vec<PasswordRow>, ErrorBody> {
        self.list_passwords(who).await
    }

    async fn set_password(
        &self,
        who: &Caller,
        from: Peer,
        user: String,
        wanted: SetPassword,
    ) -> Result<PasswordRow, ErrorBody> {
        self.put_password(who, from, user, wanted).await
    }

    async fn drop_password(&self, who: &Caller, user: String) -> Result<(), ErrorBody> {
        self.take_password_away(who, user).await
    }

    async fn guests(&self, who: &Caller) -> Result<Vec<GuestRow>, ErrorBody> {
        self.list_guests(who).await
    }

    async fn set_guest(&self, who: &Caller, name: String, wanted: SetGuest) -> Result<GuestRow, ErrorBody> {
        self.decide_on_guest(who, name, wanted).await
    }

    async fn drop_guest(&self, who: &Caller, name: String) -> Result<(), ErrorBody> {
        self.forget_guest(who, &name).await
    }

    async fn guest_sign_in(&self, who: &Caller, wanted: GuestSignIn) -> Result<SessionCreated, ErrorBody> {
        let _under_way = self.activity.begin();
        self.begin_guest_session(who, wanted).await
    }

    async fn metrics(&self, _who: &Caller) -> Result<String, ErrorBody> {
        self.metrics_text().await
    }
}
