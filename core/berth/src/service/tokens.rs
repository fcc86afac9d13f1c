//! Tokens: made, listed, revoked. A secret is shown once and kept as a hash.

use std::{sync::Arc, time::Duration};

use berth_api::{ErrorBody, ErrorCode, NewToken, TokenCreated, TokenRow};
use berth_model::{Role, UtcMs};
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
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// The longest label.
const MOST_LABEL_BYTES: usize = 200;

impl Service {
    pub(super) async fn who(&self, credentials: Credentials) -> Result<Caller, ErrorBody> {
        let (credentials, scope) = match credentials {
            Credentials::Peer { uid } => (PolicyCredentials::UnixUser(uid), Scope::Admin),
            Credentials::Token(secret) => {
                let found = self.daemon.store.token(&hash(&secret)).await.map_err(failures::store)?;
                let token = found.filter(|token| token.works_at(now()));
                let token = token.ok_or_else(|| {
                    ErrorBody::new(ErrorCode::Unauthenticated, "this token is not known, or no longer good")
                })?;
                self.note_use(&token);
                (PolicyCredentials::KnownUser(token.user.clone()), scope(token.scope))
            }
        };
        let identified = self.daemon.policies.auth.identify(now(), &credentials).await;
        let mut identity = identified.map_err(|denial| failures::denied(&denial))?;
        // Whoever owns this process and its files can do anything to them anyway.
        if identity.uid == rustix::process::geteuid().as_raw() && !identity.is_administrator() {
            identity.roles.push(Role::Administrator);
        }
        Ok(Caller { identity, scope })
    }

    /// Keeps when a token was used last, roughly: a write for each request would cost more than it tells.
    fn note_use(&self, token: &StoredToken) {
        let at = now();
        if token.last_used.is_some_and(|last| at.since(last) < USE_IS_NOTED_EVERY) {
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
        let invalid = |words: String| ErrorBody::new(ErrorCode::Invalid, words);
        let scope = match asked.scope.as_str() {
            "read" => TokenScope::Read,
            "submit" => TokenScope::Submit,
            "admin" => TokenScope::Admin,
            other => {
                return Err(invalid(format!("{other:?} is not a scope; there are read, submit and admin")));
            }
        };
        // A token makes no token that may more than itself.
        access::needs(who, self::scope(scope).max(Scope::Submit))?;
        let user = asked.user.unwrap_or_else(|| who.identity.user.clone());
        if user != who.identity.user {
            access::needs_administrator(who)?;
        }
        if asked.label.len() > MOST_LABEL_BYTES || asked.label.chars().any(char::is_control) {
            return Err(invalid(format!("a label is one line of at most {MOST_LABEL_BYTES} bytes")));
        }
        let expires = match asked.expires_in.as_deref().map(berth_model::parse_duration).transpose() {
            Ok(span) => span.map(|span| now().after(span)),
            Err(error) => return Err(invalid(format!("expires_in: {error}"))),
        };
        let secret = secret()?;
        let token = berth_store::NewToken {
            hash: hash(&secret),
            user: user.clone(),
            scope,
            label: asked.label,
            created: now(),
            expires,
        };
        let id = self.daemon.store.add_token(token).await.map_err(failures::store)?;
        if user != who.identity.user {
            self.note_act(who, format!("token {id} made for {user}")).await;
        }
        Ok(TokenCreated { id, token: secret })
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
                    self.note_act(who, format!("token {id} of {} revoked", token.user)).await;
                }
                Ok(())
            }
            false => Err(missing()),
        }
    }
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
        user: token.user,
        label: token.label,
        scope: match token.scope {
            TokenScope::Read => "read",
            TokenScope::Submit => "submit",
            TokenScope::Admin => "admin",
        }
        .to_owned(),
        created: text(token.created),
        expires: token.expires.map(text),
        last_used: token.last_used.map(text),
    }
}
