//! `berth login` and `berth logout`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use berth_api::{Client, ClientError, ErrorCode, GuestSignIn, SessionCreated, SignIn, Target};
use clap::Args;

use super::{Failure, Session, token::ScopeArg};
use crate::{
    exit_code::Status,
    output::{self, secret, time},
    secret_file,
};

/// The longest token that is sent.
const MOST_TOKEN_BYTES: u64 = 64 << 10;

/// Somebody with a password, or with a token of an outside issuer.
#[derive(Args, Clone, Debug)]
pub struct LoginArgs {
    /// Your name there; the one that you have here unless given
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Come as a guest: with a token of an issuer that the site trusts, from this file; - stands for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    oidc_token_file: Option<PathBuf>,
    /// What the session is to allow
    #[arg(long, value_name = "WHAT", default_value = "submit")]
    scope: ScopeArg,
    /// What the session is called in lists
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Print the session's secret instead of keeping it for this user
    #[arg(long)]
    print: bool,
}

/// Whoever has logged in.
#[derive(Args, Clone, Debug)]
pub struct LogoutArgs {}

impl LoginArgs {
    /// Asks for the password, without showing it, or reads it as the first line of standard input.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let url = address(session)?;
        let created = match &self.oidc_token_file {
            Some(file) => self.by_token(&url, file).await?,
            None => self.by_password(&url).await?,
        };
        self.keep(&url, &created, session)
    }

    async fn by_token(&self, url: &str, file: &Path) -> anyhow::Result<SessionCreated> {
        let token =
            read_token(file).with_context(|| format!("no token can be read from {}", file.display()))?;
        let client = Client::connect(Target::Http { url: url.to_owned(), token: Some(token) }).await?;
        let (scope, label) = (Some(self.scope.as_str().to_owned()), self.label.clone());
        client.guest_sign_in(&GuestSignIn { scope, label }).await.map_err(without_tokens)
    }

    async fn by_password(&self, url: &str) -> anyhow::Result<SessionCreated> {
        let user = self.user.clone().or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()));
        let user = user.ok_or_else(|| Failure::usage("who are you? Give --user NAME"))?;
        let client = Client::connect(Target::Http { url: url.to_owned(), token: None }).await?;
        let password = secret::ask(&format!("Password of {user}: "))?;
        let (scope, label) = (Some(self.scope.as_str().to_owned()), self.label.clone());
        client.sign_in(&SignIn { user, password, scope, label }).await.map_err(without_tokens)
    }

    /// Shows the session's secret, or keeps it for this user.
    fn keep(&self, url: &str, created: &SessionCreated, session: &Session) -> anyhow::Result<Status> {
        if self.print {
            match session.output.json {
                true => session.output.document(created)?,
                false => session.output.text(&created.token)?,
            }
            return Ok(Status::OK);
        }
        let file = session.around.session_file().ok_or_else(no_home)?;
        secret_file::write(&file, &format!("{url}\n{}\n", created.token))?;
        if session.output.json {
            let shown = serde_json::json!({
                "id": created.id, "user": created.user, "scope": created.scope, "expires": created.expires,
            });
            session.output.document(&shown)?;
        } else {
            let until = time::both(&created.expires, time::now());
            output::note(&format!("you are {} until {until}, or until `berth logout`", created.user));
        }
        Ok(Status::OK)
    }
}

impl LogoutArgs {
    /// Ends the session there, and forgets it here.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let url = address(session)?;
        let file = session.around.session_file().ok_or_else(no_home)?;
        let Some(secret) = session.around.session_for(&url)? else {
            return Err(Failure::new(Status::REFUSED, "you have not logged in there").into());
        };
        let client = Client::connect(Target::Http { url, token: Some(secret) }).await?;
        match client.sign_out().await {
            // It has ended by itself.
            Err(ClientError::Refused(body)) if body.code == ErrorCode::Unauthenticated => {}
            ended => ended?,
        }
        std::fs::remove_file(&file)?;
        if session.output.json {
            session.output.document(&serde_json::json!({ "logged_out": true }))?;
        }
        Ok(Status::OK)
    }
}

/// Whatever white space stands around it.
fn read_token(file: &Path) -> anyhow::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    match file.to_str() {
        Some("-") => std::io::stdin().take(MOST_TOKEN_BYTES).read_to_string(&mut text)?,
        _ => std::fs::File::open(file)?.take(MOST_TOKEN_BYTES).read_to_string(&mut text)?,
    };
    let token = text.trim();
    anyhow::ensure!(!token.is_empty(), "it is empty");
    Ok(token.to_owned())
}

/// Where sessions are of use.
fn address(session: &Session) -> anyhow::Result<String> {
    match session.target()? {
        Target::Http { url, .. } => Ok(url),
        Target::Unix(_) => {
            let failure =
                Failure::usage("on this machine the kernel says who you are; there is nothing to log in to");
            Err(failure.help("name a server over the network: --server http://HOST:PORT").into())
        }
    }
}

fn no_home() -> Failure {
    Failure::new(Status::FAILED, "there is no place to keep a session: HOME is not set").help("use --print")
}

/// Another token would not help.
fn without_tokens(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Refused(body) if body.code == ErrorCode::Unauthenticated => {
            Failure::new(Status::REFUSED, body.message).into()
        }
        other => other.into(),
    }
}
