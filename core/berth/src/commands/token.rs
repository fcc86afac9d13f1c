//! `berth token`.

use berth_api::NewToken;
use berth_model::parse_duration;
use clap::{Args, Subcommand, ValueEnum};

use super::Session;
use crate::{
    exit_code::Status,
    output::{
        self,
        table::{Column, Table},
        time,
    },
};

/// Tokens, for reaching the server over the network.
#[derive(Subcommand, Clone, Debug)]
pub enum TokenCommand {
    /// Make a token and print its secret, this once
    Create(CreateArgs),
    /// List tokens and sessions, without their secrets
    List,
    /// End tokens and sessions
    Revoke(RevokeArgs),
}

/// A token to be made.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// What it is for
    #[arg(value_name = "LABEL")]
    label: String,
    /// What it allows
    #[arg(long, value_name = "WHAT", default_value = "submit")]
    scope: ScopeArg,
    /// How long it is good for, such as 30d; for ever otherwise
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires_in: Option<String>,
    /// Somebody else's, for administrators
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// What a token or a session allows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ScopeArg {
    /// Looking
    Read,
    /// Submitting and controlling one's own jobs, too
    Submit,
    /// Everything that its owner may do
    Admin,
}

impl ScopeArg {
    /// As the server calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
        }
    }
}

/// Tokens to be ended.
#[derive(Args, Clone, Debug)]
pub struct RevokeArgs {
    /// Numbers, as `berth token list` gives them
    #[arg(value_name = "NUMBER", required = true)]
    ids: Vec<u64>,
}

impl TokenCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        match self {
            Self::Create(args) => create(args, session).await,
            Self::List => list(session).await,
            Self::Revoke(args) => revoke(args, session).await,
        }
    }
}

async fn create(args: CreateArgs, session: &Session) -> anyhow::Result<Status> {
    let scope = args.scope.as_str();
    let wanted =
        NewToken { label: args.label, scope: scope.to_owned(), expires_in: args.expires_in, user: args.user };
    let created = session.client().await?.create_token(&wanted).await?;
    match session.output.json {
        true => session.output.document(&created)?,
        false => {
            session.output.text(&created.token)?;
            output::note(&format!(
                "token {} is shown this once; keep it in ~/.config/berth/token",
                created.id
            ));
        }
    }
    Ok(Status::OK)
}

async fn list(session: &Session) -> anyhow::Result<Status> {
    let tokens = session.client().await?.tokens().await?;
    if session.output.json {
        session.output.document(&tokens)?;
        return Ok(Status::OK);
    }
    let now = time::now();
    let mut table = Table::new(&[
        Column::number("NUMBER"),
        Column::fixed("KIND"),
        Column::text("USER", 6),
        Column::text("LABEL", 8),
        Column::fixed("SCOPE"),
        Column::text("MADE", 10).leaving(2),
        Column::text("GOOD UNTIL", 10).leaving(1),
        Column::text("LAST USED", 10).leaving(3),
    ]);
    for token in tokens {
        let both = |at: &str| time::both(at, now);
        table.row([
            token.id.to_string(),
            if token.session { "session" } else { "token" }.to_owned(),
            token.user,
            token.label,
            token.scope,
            both(&token.created),
            token.expires.as_deref().map_or_else(|| "for ever".to_owned(), both),
            token.last_used.as_deref().map_or_else(|| "never".to_owned(), both),
        ]);
    }
    session.output.table(table)?;
    Ok(Status::OK)
}

async fn revoke(args: RevokeArgs, session: &Session) -> anyhow::Result<Status> {
    let client = session.client().await?;
    for &id in &args.ids {
        client.revoke_token(id).await?;
    }
    if session.output.json {
        session.output.document(&serde_json::json!({ "revoked": args.ids }))?;
    }
    Ok(Status::OK)
}

fn lifetime(text: &str) -> Result<String, berth_model::UnitError> {
    parse_duration(text).map(|_| text.to_owned())
}
