//! Tokens: made, listed, revoked. A secret is shown once and kept as a hash.

use std::{sync::Arc, time::Duration};

use berth_api::{ErrorBody, ErrorCode, NewToken, TokenCreated, TokenRow};
use berth_model::{Role, UtcMs, is_guest};
use berth_policy_host::Credentials as PolicyCredentials;
use berth_server::{Caller, Credentials, Scope};
use berth_store::{Batch, Extra, StoredToken, TokenScope};
use sha2::{Digest, Sha256};

use super::{Service, access, failures};
use crate::daemon::now;

/// How every secret begins, so that one that got out is recognised.
const PREFIX: &str = "berth_";
/// How exactly the last use of a token is known.
const USE_IS_NOTED_EVERY: Duration = Duration::from_secs(60);
/// A session's use is noted so often that it does not end while it is used.
const USES_BEFORE_IDLE: u32 = 4;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// The longest label.
const MOST_LABEL_BYTES: usize = 200;

impl Service {
    pub(super) async fn who(&self, credentials: Credentials) -> Result<Caller, ErrorBody> {
        let (credentials, scope, token) = match credentials {
            Credentials::Peer { uid } => (PolicyCredentials::UnixUser(uid), Scope::Admin, None),
            // Browsers send along whatever lets them through the proxy, whoever made them ask.
            Credentials::Proxied { user } if is_guest(&user) => {
                let words = "a guest comes with a token of their issuer, and not by the proxy's word";
                return Err(ErrorBody::new(ErrorCode::Unauthenticated, words));
            }
            Credentials::Proxied { user } => (PolicyCredentials::KnownUser(user), Scope::Submit, None),
            Credentials::Token(secret) if berth_guests::looks_signed(&secret) => {
                return self.guest_by_token(&secret).await;
            }
            Credentials::Token(secret) => {
                let found = self.daemon.store.token(&hash(&secret)).await.map_err(failures::store)?;
                let token = found.filter(|token| token.works_at(now()));
                let token = token.ok_or_else(|| {
                    ErrorBody::new(ErrorCode::Unauthenticated, "this token is not known, or no longer good")
                })?;
                self.note_use(&token);
                if is_guest(&token.user) {
                    return self.guest_by_name(&token.user, scope(token.scope), token.id).await;
                }
                (PolicyCredentials::KnownUser(token.user.clone()), scope(token.scope), Some(token.id))
            }
        };
        let identified = self.daemon.policies.auth.identify(now(), &credentials).await;
        let mut identity = identified.map_err(|denial| failures::denied(&denial))?;
        if self.is_of_guests(&identity).await {
            let words = format!("{} is nobody by itself here: guests' jobs run as it", identity.user);
            return Err(ErrorBody::new(ErrorCode::Forbidden, words));
        }
        // Whoever owns this process and its files can do anything to them anyway.
        if identity.uid == rustix::process::geteuid().as_raw() && !identity.is_administrator() {
            identity.roles.push(Role::Administrator);
        }
        Ok(Caller { identity, scope, token, by_issuer: false, barred: None })
    }

    /// Keeps when a token was used last, roughly: a write for each request would cost more than it tells.
    fn note_use(&self, token: &StoredToken) {
        let at = now();
        let idle = token.idle_ms.map(|idle| Duration::from_millis(idle) / USES_BEFORE_IDLE);
        let every = idle.map_or(USE_IS_NOTED_EVERY, |idle| idle.min(USE_IS_NOTED_EVERY));
        if token.last_used.is_some_and(|last| at.since(last) < every) {
            return;
        }
        let batch = Batch { changes: Vec::new(), extras: vec![Extra::TokenUsed { id: token.id, at }] };
        let store = Arc::clone(&self.daemon.store);
        tokio::spawn(async move {
            if let Err(error) = store.commit(Arc::new(batch)).await {
                tracing::debug!(error = %error, "use of a token not noted");
            }
        });
    }

    pub(super) async fn make_token(&self, who: &Caller, asked: NewToken) -> Result<TokenCreated, ErrorBody> {
        let scope = scope_named(&asked.scope)?;
        // A token makes no token that may more than itself.
        access::needs(who, self::scope(scope).max(Scope::Submit))?;
        let user = asked.user.unwrap_or_else(|| who.identity.user.clone());
        if user != who.identity.user {
            access::needs_administrator(who)?;
        }
        let label = label(asked.label)?;
        let expires = match asked.expires_in.as_deref().map(berth_model::parse_duration).transpose() {
            Ok(span) => span.map(|span| now().after(span)),
            Err(error) => return Err(ErrorBody::new(ErrorCode::Invalid, format!("expires_in: {error}"))),
        };
        // Whom their issuer no longer vouches for does not come back for ever with what they made here.
        let longest = || now().after(self.daemon.config.now().auth.sessions.longest);
        let expires = match is_guest(&user) {
            true => Some(expires.map_or_else(longest, |at: UtcMs| at.min(longest()))),
            false => expires,
        };
        let (id, secret) =
            self.mint(Mint { user: user.clone(), scope, label, expires, idle_ms: None }).await?;
        if user != who.identity.user {
            self.note_act(who, format!("token {id} made for {user}")).await;
        }
        Ok(TokenCreated { id, token: secret })
    }

    /// Makes a token or a session: its number and its secret, which is kept nowhere.
    pub(super) async fn mint(&self, mint: Mint) -> Result<(u64, String), ErrorBody> {
        let Mint { user, scope, label, expires, idle_ms } = mint;
        let secret = secret()?;
        let hash = hash(&secret);
        let token = berth_store::NewToken { hash, user, scope, label, created: now(), expires, idle_ms };
        let id = self.daemon.store.add_token(token).await.map_err(failures::store)?;
        Ok((id, secret))
    }

    pub(super) async fn list_tokens(&self, who: &Caller) -> Result<Vec<TokenRow>, ErrorBody> {
        let user = (!access::administers(who)).then_some(who.identity.user.as_str());
        let tokens = self.daemon.store.tokens(user).await.map_err(failures::store)?;
        Ok(tokens.into_iter().filter(|token| token.works_at(now())).map(row).collect())
    }

    pub(super) async fn end_token(&self, who: &Caller, id: u64) -> Result<(), ErrorBody> {
        access::needs(who, Scope::Submit)?;
        let user = (!access::administers(who)).then_some(who.identity.user.as_str());
        let tokens = self.daemon.store.tokens(user).await.map_err(failures::store)?;
        let missing = || ErrorBody::new(ErrorCode::NotFound, format!("there is no token {id}"));
        let token = tokens.iter().find(|token| token.id == id).ok_or_else(missing)?;
        match self.daemon.store.revoke_token(id, now()).await.map_err(failures::store)? {
            true => {
                if token.user != who.identity.user {
                    let what = if token.is_session() { "session" } else { "token" };
                    self.note_act(who, format!("{what} {id} of {} revoked", token.user)).await;
                }
                Ok(())
            }
            false => Err(missing()),
        }
    }
}

/// A token to be made.
pub(super) struct Mint {
    pub(super) user: String,
    pub(super) scope: TokenScope,
    pub(super) label: String,
    pub(super) expires: Option<UtcMs>,
    /// For a session.
    pub(super) idle_ms: Option<u64>,
}

/// A scope as people write it.
pub(super) fn scope_named(text: &str) -> Result<TokenScope, ErrorBody> {
    let all = [TokenScope::Read, TokenScope::Submit, TokenScope::Admin];
    all.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| {
        let words = format!("{text:?} is not a scope; there are read, submit and admin");
        ErrorBody::new(ErrorCode::Invalid, words)
    })
}

/// A label, if it can be one.
pub(super) fn label(text: String) -> Result<String, ErrorBody> {
    if text.len() > MOST_LABEL_BYTES || text.chars().any(char::is_control) {
        let words = format!("a label is one line of at most {MOST_LABEL_BYTES} bytes");
        return Err(ErrorBody::new(ErrorCode::Invalid, words));
    }
    Ok(text)
}

fn scope(scope: TokenScope) -> Scope {
    match scope {
        TokenScope::Read => Scope::Read,
        TokenScope::Submit => Scope::Submit,
        TokenScope::Admin => Scope::Admin,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A secret has enough randomness that a plain hash keeps it.
fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn secret() -> Result<String, ErrorBody> {
    let mut bytes = [0u8; SECRET_BYTES];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match got {
        Ok(SECRET_BYTES) => Ok(format!("{PREFIX}{}", hex(&bytes))),
        _ => Err(ErrorBody::new(ErrorCode::Internal, "the system gives no random bytes")),
    }
}

fn row(token: StoredToken) -> TokenRow {
    let text = |at: UtcMs| at.to_string();
    TokenRow {
        id: token.id,
        expires: token.ends().map(text),
        session: token.is_session(),
        user: token.user,
        label: token.label,
        scope: token.scope.as_str().to_owned(),
        created: text(token.created),
        last_used: token.last_used.map(text),
    }
}
