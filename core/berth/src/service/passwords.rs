//! Logging in, logging out, and passwords.

use std::time::Duration;

use berth_api::{ErrorBody, ErrorCode, PasswordRow, SessionCreated, SetPassword, SignIn};
use berth_model::Identity;
use berth_policy_host::{Credentials, Denial, Password};
use berth_server::{Caller, Peer, Scope};
use berth_store::{PasswordChange, TokenScope};
use tokio::{sync::SemaphorePermit, time::timeout};

use super::{
    Service, access, failures,
    tokens::{Mint, label, scope_named},
};
use crate::daemon::{now, passwords};

/// The shortest password that is taken, in characters.
const LEAST_CHARACTERS: usize = 8;
/// The longest one.
const MOST_BYTES: usize = 1024;
/// The longest name that is looked at.
const MOST_NAME_BYTES: usize = 256;
/// How long somebody waits behind others who log in.
const PATIENCE: Duration = Duration::from_secs(5);

impl Service {
    pub(super) async fn begin_session(&self, from: Peer, asked: SignIn) -> Result<SessionCreated, ErrorBody> {
        let SignIn { user, password, scope, label: name } = asked;
        let scope = scope_named(scope.as_deref().unwrap_or("submit"))?;
        let name = label(name.unwrap_or_default())?;
        if user.len() > MOST_NAME_BYTES || password.len() > MOST_BYTES {
            return Err(ErrorBody::new(ErrorCode::Invalid, "no name and no password is as long as that"));
        }
        let identity = self.proven(from, &user, Password::new(password)).await?;
        self.open_session(identity.user, scope, name).await
    }

    /// A session for somebody who has shown who they are.
    pub(super) async fn open_session(
        &self,
        user: String,
        scope: TokenScope,
        name: String,
    ) -> Result<SessionCreated, ErrorBody> {
        let sessions = self.daemon.config.now().auth.sessions;
        let idle_ms = u64::try_from(sessions.idle.as_millis()).unwrap_or(u64::MAX);
        let expires = now().after(sessions.longest);
        let mint =
            Mint { user: user.clone(), scope, label: name, expires: Some(expires), idle_ms: Some(idle_ms) };
        let (id, token) = self.mint(mint).await?;
        tracing::debug!(user, session = id, "session begun");
        let scope = scope.as_str().to_owned();
        Ok(SessionCreated { id, user, token, scope, expires: expires.to_string(), idle_ms })
    }

    /// Whoever has this password. What is wrong is not said, nor is it logged whom somebody wanted to be: people type
    /// their password in the wrong place.
    async fn proven(&self, from: Peer, user: &str, password: Password) -> Result<Identity, ErrorBody> {
        self.guessing.attempt(user, from, now()).map_err(too_many)?;
        let Ok(_permit) = self.turn_to_log_in().await else {
            self.guessing.was_not_tried(user, from);
            return Err(ErrorBody::new(ErrorCode::TooMany, "too many people log in at once; try again"));
        };
        match self.daemon.policies.auth.identify_by_password(now(), user, password).await {
            // A guest has no password, nor has the account that they share.
            Ok(identity) if self.is_of_guests(&identity).await => {
                tracing::info!(from = place(from), "password of somebody who has none");
                Err(ErrorBody::new(ErrorCode::Unauthenticated, "the user or the password is wrong"))
            }
            Ok(identity) => {
                self.guessing.was_right(user, from);
                Ok(identity)
            }
            Err(Denial::Unknown) => {
                tracing::info!(from = place(from), "wrong password");
                Err(ErrorBody::new(ErrorCode::Unauthenticated, "the user or the password is wrong"))
            }
            Err(denial) => {
                self.guessing.was_not_tried(user, from);
                Err(failures::denied(&denial))
            }
        }
    }

    /// Hashing costs memory and time, and those who are known already are not to wait for it.
    async fn turn_to_log_in(&self) -> Result<SemaphorePermit<'_>, ()> {
        timeout(PATIENCE, self.logins.acquire()).await.map_err(drop)?.map_err(drop)
    }

    pub(super) async fn end_session(&self, who: &Caller) -> Result<(), ErrorBody> {
        let Some(id) = who.token else {
            let words = "there is no session to end: you are known here without one";
            return Err(ErrorBody::new(ErrorCode::Conflict, words));
        };
        self.daemon.store.revoke_token(id, now()).await.map(drop).map_err(failures::store)
    }

    pub(super) async fn list_passwords(&self, who: &Caller) -> Result<Vec<PasswordRow>, ErrorBody> {
        let all = self.daemon.store.passwords().await.map_err(failures::store)?;
        let shown = |user: &str| access::administers(who) || user == who.identity.user;
        let rows = all.into_iter().filter(|(user, _)| shown(user));
        Ok(rows.map(|(user, changed)| PasswordRow { user, changed: changed.to_string() }).collect())
    }

    pub(super) async fn put_password(
        &self,
        who: &Caller,
        from: Peer,
        user: String,
        wanted: SetPassword,
    ) -> Result<PasswordRow, ErrorBody> {
        self.may_change_password(who, &user)?;
        let SetPassword { password, current } = wanted;
        sound(&password)?;
        if user == who.identity.user {
            self.knows_current(who, from, current).await?;
        } else {
            // A slip of the pen is found now, and not by whoever cannot log in.
            let known =
                self.daemon.policies.auth.identify(now(), &Credentials::KnownUser(user.clone())).await;
            known.map_err(|denial| match denial {
                Denial::Unknown => {
                    ErrorBody::new(ErrorCode::NotFound, format!("nobody is known here as {user:?}"))
                }
                denial => failures::denied(&denial),
            })?;
        }
        let hash = self.hashed(Password::new(password)).await?;
        let at = now();
        let change = PasswordChange { user: user.clone(), hash: Some(hash), at, spare: who.token };
        self.daemon.store.change_password(change).await.map_err(failures::store)?;
        if user != who.identity.user {
            self.note_act(who, format!("password of {user} set")).await;
        }
        Ok(PasswordRow { user, changed: at.to_string() })
    }

    pub(super) async fn take_password_away(&self, who: &Caller, user: String) -> Result<(), ErrorBody> {
        self.may_change_password(who, &user)?;
        let change = PasswordChange { user: user.clone(), hash: None, at: now(), spare: who.token };
        if !self.daemon.store.change_password(change).await.map_err(failures::store)? {
            return Err(ErrorBody::new(ErrorCode::NotFound, format!("{user} has no password here")));
        }
        if user != who.identity.user {
            self.note_act(who, format!("password of {user} taken away")).await;
        }
        Ok(())
    }

    /// A password may more than a token that was made for less.
    fn may_change_password(&self, who: &Caller, user: &str) -> Result<(), ErrorBody> {
        access::needs(who, Scope::Admin)?;
        if user != who.identity.user {
            access::needs_administrator(who)?;
        }
        if !self.daemon.config.now().auth.policy.grants.contains("passwords") {
            let words = "no password is ever asked for here: auth.grants has no \"passwords\"";
            return Err(ErrorBody::new(ErrorCode::Unable, words));
        }
        Ok(())
    }

    /// Whoever has found somebody's terminal open does not get to keep their account.
    async fn knows_current(&self, who: &Caller, from: Peer, given: Option<String>) -> Result<(), ErrorBody> {
        let user = who.identity.user.as_str();
        let hash = self.daemon.store.password(user).await.map_err(failures::store)?;
        let Some(hash) = hash.filter(|_| !access::administers(who)) else { return Ok(()) };
        let refused = |words: &str| Err(ErrorBody::new(ErrorCode::Forbidden, words));
        let Some(given) = given.filter(|given| given.len() <= MOST_BYTES) else {
            return refused("the present password is needed, too (--current)");
        };
        self.guessing.attempt(user, from, now()).map_err(too_many)?;
        let given = Password::new(given);
        if self.blocking(move || passwords::matches(Some(&hash), &given)).await? {
            self.guessing.was_right(user, from);
            return Ok(());
        }
        refused("the present password is another one")
    }

    async fn hashed(&self, password: Password) -> Result<String, ErrorBody> {
        let hash = self.blocking(move || passwords::hash(&password)).await?;
        hash.map_err(|words| {
            tracing::error!(reason = words, "a password cannot be hashed");
            ErrorBody::new(ErrorCode::Internal, "the password cannot be hashed")
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let busy = |()| ErrorBody::new(ErrorCode::TooMany, "too many people log in at once; try again");
        let _permit = self.turn_to_log_in().await.map_err(busy)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| failures::stopping())
    }
}

fn sound(password: &str) -> Result<(), ErrorBody> {
    let invalid = |words: String| Err(ErrorBody::new(ErrorCode::Invalid, words));
    if password.chars().count() < LEAST_CHARACTERS {
        return invalid(format!("a password has at least {LEAST_CHARACTERS} characters"));
    }
    if password.len() > MOST_BYTES || password.chars().any(char::is_control) {
        return invalid(format!("a password is one line of at most {MOST_BYTES} bytes"));
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn too_many(left: Duration) -> ErrorBody {
    let seconds = left.as_millis().div_ceil(1000);
    ErrorBody::new(ErrorCode::TooMany, format!("too many wrong passwords; try again in {seconds}s"))
}

fn place(from: Peer) -> String {
    match from {
        Peer::Local { uid } => format!("user {uid} of this machine"),
        Peer::Remote { address } => address.to_canonical().to_string(),
    }
}
