//! Guests: who they are, what of the site is for them, and who lets them in.

use std::{sync::Arc, time::Duration};

use berth_api::{ErrorBody, ErrorCode, GuestRow, GuestSignIn, SessionCreated, SetGuest};
use berth_config::Guests as Settings;
use berth_engine::{Actor, Command};
use berth_guests::{Presented, Refusal};
use berth_model::{Identity, JobSpec, StateKind, Volume, is_guest};
use berth_policy_host::Credentials;
use berth_server::{Caller, Scope};
use berth_store::{GuestDecision, GuestStanding, JobRow, ListQuery, SeenGuest, StoredGuest, TokenScope};

use super::{
    Service, access, failures,
    tokens::{label, scope_named},
};
use crate::daemon::{Guests, now};

/// How exactly it is known when a guest came last.
const SEEN_IS_NOTED_EVERY: Duration = Duration::from_secs(60);
/// The volume that is every guest's own.
const HOME: &str = "home";
/// No process ever has this number, and no file: it stands for somebody who may do nothing.
const NOBODYS_NUMBER: u32 = u32::MAX;

impl Service {
    /// Somebody shows a token of an outside issuer.
    pub(super) async fn guest_by_token(&self, token: &str) -> Result<Caller, ErrorBody> {
        let Some(guests) = &self.daemon.guests else {
            let words = "tokens of outside issuers are not taken here";
            return Err(ErrorBody::new(ErrorCode::Unauthenticated, words));
        };
        let presented = guests.issuers.prove(now(), token).await.map_err(|refusal| {
            tracing::debug!(reason = %refusal, "token of an outside issuer refused");
            refused(&refusal)
        })?;
        let guest = self.seen_guest(guests, presented).await?;
        Ok(Caller { by_issuer: true, ..self.guest_caller(guest, Scope::Submit, None).await? })
    }

    /// Somebody shows a token or a session that Berth has made for a guest.
    pub(super) async fn guest_by_name(
        &self,
        name: &str,
        scope: Scope,
        token: u64,
    ) -> Result<Caller, ErrorBody> {
        let guest = self.daemon.store.guest(name).await.map_err(failures::store)?;
        let guest = guest.ok_or_else(|| {
            let words = format!("{name} is not known here any more; come with a token of your issuer");
            ErrorBody::new(ErrorCode::Unauthenticated, words)
        })?;
        self.guest_caller(guest, scope.min(Scope::Submit), Some(token)).await
    }

    /// Notes that somebody has come; whoever is new waits to be let in from now on.
    async fn seen_guest(&self, guests: &Guests, presented: Presented) -> Result<StoredGuest, ErrorBody> {
        let Presented { name, issuer, subject, email } = presented;
        let at = now();
        let known = self.daemon.store.guest(&name).await.map_err(failures::store)?;
        let seen = SeenGuest { name: name.clone(), issuer, subject, email, at };
        match known {
            Some(guest) if guest.email == seen.email => {
                if at.since(guest.seen) >= SEEN_IS_NOTED_EVERY {
                    let (store, most) = (Arc::clone(&self.daemon.store), guests.settings.most_waiting);
                    tokio::spawn(async move {
                        if let Err(error) = store.see_guest(seen, most).await {
                            tracing::debug!(error = %error, "a guest's visit was not noted");
                        }
                    });
                }
                return Ok(guest);
            }
            Some(_) => {}
            None => tracing::info!(guest = name, issuer = seen.issuer, "a guest has come who is not known"),
        }
        let most = guests.settings.most_waiting;
        if !self.daemon.store.see_guest(seen, most).await.map_err(failures::store)? {
            let words = format!(
                "{most} guests wait to be let in already (guests.most-waiting); ask the site's administrators"
            );
            return Err(ErrorBody::new(ErrorCode::Forbidden, words));
        }
        let guest = self.daemon.store.guest(&name).await.map_err(failures::store)?;
        guest.ok_or_else(|| ErrorBody::new(ErrorCode::Unavailable, "an administrator has just removed you"))
    }

    async fn guest_caller(
        &self,
        guest: StoredGuest,
        scope: Scope,
        token: Option<u64>,
    ) -> Result<Caller, ErrorBody> {
        let barred = self.barred(&guest);
        let StoredGuest { name, email, .. } = guest;
        let identity = match barred {
            None => self.guest_identity(name, email).await?,
            Some(_) => Identity {
                user: name,
                uid: NOBODYS_NUMBER,
                gid: NOBODYS_NUMBER,
                groups: Vec::new(),
                home: None,
                email: None,
                roles: Vec::new(),
            },
        };
        Ok(Caller { identity, scope, token, by_issuer: false, barred })
    }

    /// Why a guest may do nothing, where that is so.
    fn barred(&self, guest: &StoredGuest) -> Option<String> {
        let (name, issuer) = (&guest.name, &guest.issuer);
        let trusted = self.daemon.guests.as_ref().is_some_and(|guests| guests.issuers.trusts(issuer));
        match guest.standing {
            _ if !trusted => {
                Some(format!("{name} is known by {issuer}, whose word does not count here any more"))
            }
            GuestStanding::Active => None,
            GuestStanding::Waiting => Some(format!(
                "you are {name} and wait for an administrator to let you in; tell them that name"
            )),
            GuestStanding::Inactive => {
                Some(format!("you are {name}, and an administrator no longer lets you in"))
            }
        }
    }

    /// Who a guest is to the system: the account of all guests, with their own name and their own home.
    async fn guest_identity(&self, name: String, email: Option<String>) -> Result<Identity, ErrorBody> {
        let account = self.guests_account().await?;
        let home = self.daemon.guests.as_ref().and_then(|guests| guests.home(&name));
        let home = home.map(|home| home.to_string_lossy().into_owned());
        // What the account may is not what guests may.
        Ok(Identity { user: name, home, email, roles: Vec::new(), ..account })
    }

    /// The account that guests' jobs run as.
    async fn guests_account(&self) -> Result<Identity, ErrorBody> {
        let unable = |words: String| {
            tracing::error!(reason = words, "guests cannot be let in");
            ErrorBody::new(
                ErrorCode::Unavailable,
                "guests cannot be let in: the account for them is not in order",
            )
        };
        let Some(guests) = &self.daemon.guests else { return Err(unable("guests.user is not set".into())) };
        let user = guests.settings.user.clone();
        let account = self.daemon.policies.auth.identify(now(), &Credentials::KnownUser(user.clone())).await;
        let account = account.map_err(|denial| unable(format!("{user}: {denial}")))?;
        let own = rustix::process::geteuid().as_raw();
        if account.uid == 0 || account.uid == own {
            return Err(unable(format!("{user} is root, or Berth's own account")));
        }
        Ok(account)
    }

    /// Whether somebody who did not come as a guest may not be believed: under a guest's name, or as the account that
    /// guests' jobs run as, by which one of them could be anybody.
    pub(super) async fn is_of_guests(&self, identity: &Identity) -> bool {
        if identity.is_guest() {
            return true;
        }
        // Guests are never let in as these, whatever guests.user says, and nobody is to be locked out by it.
        let is_berths_own = identity.uid == 0 || identity.uid == rustix::process::geteuid().as_raw();
        let Some(guests) = self.daemon.guests.as_ref().filter(|_| !is_berths_own) else { return false };
        let user = guests.settings.user.clone();
        if identity.user == user {
            return true;
        }
        // An account may have several names.
        let account = self.daemon.policies.auth.identify(now(), &Credentials::KnownUser(user)).await;
        account.is_ok_and(|account| account.uid == identity.uid)
    }

    /// What of the site is not for guests, where a job is a guest's. Their directory is there when this returns.
    pub(super) async fn for_guests(
        &self,
        owner: &Identity,
        spec: &JobSpec,
        executor: &str,
    ) -> Result<(), ErrorBody> {
        if !owner.is_guest() {
            return Ok(());
        }
        let forbidden = |words: String| ErrorBody::new(ErrorCode::Forbidden, words);
        let guests = self.daemon.guests.as_ref();
        let guests = guests.ok_or_else(|| forbidden("guests run no jobs here any more".to_owned()))?;
        not_set_aside(&guests.settings, (spec.root, &spec.volumes), executor)
            .map_or(Ok(()), |words| Err(forbidden(words)))?;
        guests.make_home(&owner.user, (owner.uid, owner.gid)).await.map_err(|fault| {
            tracing::error!(guest = owner.user, reason = %fault, source = ?std::error::Error::source(&fault), "no home for a guest");
            ErrorBody::new(ErrorCode::Unavailable, "your home directory cannot be made; ask the site's administrators")
        })
    }

    /// Somebody who is no administrator starts a job of `owner` again, or lets it go.
    pub(super) async fn may_start(&self, who: &Caller, owner: &str) -> Result<(), ErrorBody> {
        if !is_guest(owner) || access::administers(who) || self.is_let_in(owner).await? {
            return Ok(());
        }
        let words =
            format!("{owner} is a guest who is not let in any more; only administrators start their jobs");
        Err(ErrorBody::new(ErrorCode::Forbidden, words))
    }

    async fn is_let_in(&self, name: &str) -> Result<bool, ErrorBody> {
        let guest = self.daemon.store.guest(name).await.map_err(failures::store)?;
        Ok(guest.is_some_and(|guest| self.barred(&guest).is_none()))
    }

    /// A guest's job was taken in. Where they were shut out at the same moment, it is held as all others of theirs.
    pub(super) async fn still_let_in(&self, owner: &Identity) {
        if owner.is_guest() && matches!(self.is_let_in(&owner.user).await, Ok(false)) {
            self.hold_waiting(&owner.user, "berth").await;
        }
    }

    pub(super) async fn list_guests(&self, who: &Caller) -> Result<Vec<GuestRow>, ErrorBody> {
        if !who.identity.sees_everything() {
            return Err(ErrorBody::new(ErrorCode::Forbidden, "only administrators see who the guests are"));
        }
        let all = self.daemon.store.guests().await.map_err(failures::store)?;
        Ok(all.into_iter().map(|guest| self.guest_row(guest)).collect())
    }

    /// What is known of a guest; `None` of somebody who is none.
    pub(super) async fn guest_of_account(&self, name: &str) -> Result<Option<Box<GuestRow>>, ErrorBody> {
        if !is_guest(name) {
            return Ok(None);
        }
        let guest = self.daemon.store.guest(name).await.map_err(failures::store)?;
        Ok(guest.map(|guest| Box::new(self.guest_row(guest))))
    }

    fn guest_row(&self, guest: StoredGuest) -> GuestRow {
        let home = self.daemon.guests.as_ref().and_then(|guests| guests.home(&guest.name));
        let (decided, decided_by) = guest.decided.unzip();
        let (home_bytes, measured) = guest.home.unzip();
        GuestRow {
            home: home.map(|home| home.to_string_lossy().into_owned()),
            name: guest.name,
            standing: guest.standing.as_str().to_owned(),
            issuer: guest.issuer,
            subject: guest.subject,
            email: guest.email,
            since: guest.since.to_string(),
            seen: guest.seen.to_string(),
            decided: decided.map(|at| at.to_string()),
            decided_by,
            home_bytes,
            home_measured: measured.map(|at| at.to_string()),
        }
    }

    pub(super) async fn decide_on_guest(
        &self,
        who: &Caller,
        name: String,
        SetGuest { active }: SetGuest,
    ) -> Result<GuestRow, ErrorBody> {
        access::needs_administrator(who)?;
        let guest = self.daemon.store.guest(&name).await.map_err(failures::store)?;
        guest.ok_or_else(|| no_such_guest(&name))?;
        if active {
            self.prepare_home(&name).await?;
        }
        let by = who.identity.user.clone();
        let decision = GuestDecision { name: name.clone(), active, by, at: now() };
        if !self.daemon.store.decide_guest(decision).await.map_err(failures::store)? {
            return Err(no_such_guest(&name));
        }
        let guest = self.daemon.store.guest(&name).await.map_err(failures::store)?;
        let guest = guest.ok_or_else(|| no_such_guest(&name))?;
        let (verb, is) =
            if active { ("let in", "") } else { ("shut out", "; their tokens and sessions ended") };
        self.note_act(who, format!("guest {name} ({} of {}) {verb}{is}", guest.subject, guest.issuer)).await;
        if !active {
            self.hold_waiting(&name, &who.identity.user).await;
        }
        Ok(self.guest_row(guest))
    }

    /// Whoever is let in has a home from then on, or the administrator hears why not.
    async fn prepare_home(&self, name: &str) -> Result<(), ErrorBody> {
        let unable = |words: String| ErrorBody::new(ErrorCode::Unable, words);
        let Some(guests) = &self.daemon.guests else {
            return Err(unable("nobody is let in as a guest here: guests.user is not set".to_owned()));
        };
        let account = self
            .guests_account()
            .await
            .map_err(|error| unable(format!("{}; see guests.user, and the server's log", error.message)))?;
        let made = guests.make_home(name, (account.uid, account.gid)).await;
        made.map_err(|fault| {
            let cause =
                std::error::Error::source(&fault).map(|cause| format!(": {cause}")).unwrap_or_default();
            unable(format!("no home for {name}: {fault}{cause}"))
        })
    }

    pub(super) async fn forget_guest(&self, who: &Caller, name: &str) -> Result<(), ErrorBody> {
        access::needs_administrator(who)?;
        if !self.daemon.store.remove_guest(name, now()).await.map_err(failures::store)? {
            return Err(no_such_guest(name));
        }
        self.note_act(who, format!("guest {name} removed; their tokens and sessions ended")).await;
        self.hold_waiting(name, &who.identity.user).await;
        Ok(())
    }

    pub(super) async fn begin_guest_session(
        &self,
        who: &Caller,
        asked: GuestSignIn,
    ) -> Result<SessionCreated, ErrorBody> {
        if !who.by_issuer {
            let words =
                "a session is given for a token of an outside issuer, and for a password at /v1/session";
            return Err(ErrorBody::new(ErrorCode::Conflict, words));
        }
        let scope = scope_named(asked.scope.as_deref().unwrap_or("submit"))?;
        if scope == TokenScope::Admin {
            return Err(ErrorBody::new(
                ErrorCode::Forbidden,
                "guests administrate nothing; ask for submit or read",
            ));
        }
        self.open_session(who.identity.user.clone(), scope, label(asked.label.unwrap_or_default())?).await
    }

    /// Holds all of a guest's jobs that wait, so that none starts any more by itself. What runs goes on.
    async fn hold_waiting(&self, name: &str, by: &str) {
        // Of an array that runs, further tasks wait.
        let states = vec![StateKind::Held, StateKind::Pending, StateKind::Running];
        let query = ListQuery { states, owner: Some(name.to_owned()), tasks: true, ..ListQuery::default() };
        let rows = match self.daemon.store.list(query).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(guest = name, error = %error, "the waiting jobs of a guest were not held");
                return;
            }
        };
        let waits = |row: &&JobRow| {
            let is_an_array = row.array.is_some() && row.task_of.is_none();
            is_an_array || row.state.kind() != StateKind::Running
        };
        for row in rows.iter().filter(waits) {
            let by = Actor { name: by.to_owned(), administrator: true };
            if let Err(error) = self.daemon.inbox.command(Command::Hold { job: row.id, by }).await {
                tracing::warn!(job = row.id.0, guest = name, reason = %error, "a guest's job was not held");
            }
        }
    }

    /// At a start: what a crash kept from being held after a guest was shut out.
    pub async fn hold_for_those_shut_out(self: Arc<Self>) {
        let Ok(all) = self.daemon.store.guests().await else { return };
        for guest in all.iter().filter(|guest| guest.standing == GuestStanding::Inactive) {
            let by = guest.decided.as_ref().map_or("berth", |(_, by)| by.as_str());
            self.hold_waiting(&guest.name, by).await;
        }
    }
}

/// What a job asks for that the site has not set aside for guests, in words.
fn not_set_aside(settings: &Settings, (root, volumes): (bool, &[Volume]), executor: &str) -> Option<String> {
    if root && !settings.allow_root {
        return Some("jobs of guests may not run as root here (guests.allow-root)".to_owned());
    }
    if !settings.executors.is_empty() && !settings.executors.contains(executor) {
        let names: Vec<&str> = settings.executors.iter().map(String::as_str).collect();
        return Some(format!("jobs of guests do not go to {executor} here, but to {}", names.join(", ")));
    }
    let is_for_guests = |name: &String| name == HOME || settings.volumes.contains(name);
    let other = volumes.iter().find(|volume| !is_for_guests(&volume.name));
    other.map(|volume| format!("volume {} is not for guests (guests.volumes)", volume.name))
}

fn refused(refusal: &Refusal) -> ErrorBody {
    let code = match refusal {
        Refusal::Unavailable(_) => ErrorCode::Unavailable,
        Refusal::NotAllowed(_) => ErrorCode::Forbidden,
        _ => ErrorCode::Unauthenticated,
    };
    ErrorBody::new(code, refusal.to_string())
}

fn no_such_guest(name: &str) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::NotFound,
        format!("there is no guest {name}; `berth guest list` has those who have come"),
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use berth_model::VolumeMode;

    use super::*;

    fn settings() -> Settings {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        Settings {
            user: "guests".into(),
            homes: None,
            allow_root: false,
            volumes: set(&["open"]),
            executors: set(&[]),
            most_waiting: 1,
            measure_every: Duration::from_secs(1),
            issuers: Vec::new(),
        }
    }

    fn words_on(names: &[&str]) -> Option<String> {
        let volume = |name: &&str| Volume { name: (*name).to_owned(), mode: VolumeMode::ReadOnly };
        let volumes: Vec<Volume> = names.iter().map(volume).collect();
        not_set_aside(&settings(), (false, &volumes), "local")
    }

    #[test]
    fn guests_get_their_home_and_the_volumes_that_are_for_them() {
        for right in [&[][..], &["home"], &["open", "home"]] {
            assert_eq!(words_on(right), None, "{right:?}");
        }
        for wrong in [&["closed"][..], &["open", "closed"], &["home", "Home"], &[""]] {
            let words = words_on(wrong).unwrap();
            assert!(words.contains("guests.volumes"), "{wrong:?}: {words}");
        }
    }

    #[test]
    fn root_and_executors_are_switches_of_their_own() {
        assert!(not_set_aside(&settings(), (true, &[]), "local").is_some());
        assert_eq!(not_set_aside(&Settings { allow_root: true, ..settings() }, (true, &[]), "local"), None);
        let only = Settings { executors: ["docker".to_owned()].into(), ..settings() };
        assert_eq!(not_set_aside(&only, (false, &[]), "docker"), None);
        assert!(not_set_aside(&only, (false, &[]), "local").unwrap().contains("docker"));
    }
}
