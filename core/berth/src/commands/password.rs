//! `berth password`.

use berth_api::SetPassword;
use clap::{Args, Subcommand};

use super::{Failure, Session};
use crate::{
    exit_code::Status,
    output::{
        self, secret,
        table::{Column, Table},
        time,
    },
};

/// Passwords, for logging in over the network.
#[derive(Subcommand, Clone, Debug)]
pub enum PasswordCommand {
    /// Set a password: yours, or somebody else's for administrators; sessions that its user has elsewhere end
    Set(SetArgs),
    /// Take a password away; sessions that its user has elsewhere end
    Remove(WhoseArgs),
    /// List who has a password: you, or all for an administrator
    List,
}

/// Whose, and how it is given.
#[derive(Args, Clone, Debug)]
pub struct SetArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    /// Give the present password first; those who have one and are no administrators need to
    #[arg(long)]
    current: bool,
}

/// Whose password.
#[derive(Args, Clone, Debug)]
pub struct WhoseArgs {
    /// Somebody else's, for administrators
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl PasswordCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        match self {
            Self::Set(args) => set(args, session).await,
            Self::Remove(args) => remove(args, session).await,
            Self::List => list(session).await,
        }
    }
}

impl WhoseArgs {
    async fn name(self, client: &berth_api::Client) -> anyhow::Result<String> {
        match self.user {
            Some(user) => Ok(user),
            None => Ok(client.info().await?.user),
        }
    }
}

async fn set(args: SetArgs, session: &Session) -> anyhow::Result<Status> {
    let client = session.client().await?;
    let user = args.whose.name(&client).await?;
    let current = match args.current {
        true => Some(secret::ask("Present password: ")?),
        false => None,
    };
    let password = secret::ask(&format!("New password of {user}: "))?;
    if secret::asks_a_person() && secret::ask("Once more: ")? != password {
        return Err(Failure::usage("these were two different ones; nothing was changed").into());
    }
    let set = client.set_password(&user, &SetPassword { password, current }).await?;
    match session.output.json {
        true => session.output.document(&set)?,
        false => output::note(&format!("the password of {user} is set")),
    }
    Ok(Status::OK)
}

async fn remove(args: WhoseArgs, session: &Session) -> anyhow::Result<Status> {
    let client = session.client().await?;
    let user = args.name(&client).await?;
    client.drop_password(&user).await?;
    if session.output.json {
        session.output.document(&serde_json::json!({ "removed": user }))?;
    }
    Ok(Status::OK)
}

async fn list(session: &Session) -> anyhow::Result<Status> {
    let rows = session.client().await?.passwords().await?;
    if session.output.json {
        session.output.document(&rows)?;
        return Ok(Status::OK);
    }
    let now = time::now();
    let mut table = Table::new(&[Column::text("USER", 6), Column::text("SINCE", 10)]);
    for row in rows {
        table.row([row.user, time::both(&row.changed, now)]);
    }
    session.output.table(table)?;
    Ok(Status::OK)
}
