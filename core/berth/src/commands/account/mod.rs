//! `berth project`, `berth user`, `berth group` and `berth quota`: accounts, and what administrators set of them.

mod edit;
mod page;

use std::{fmt, str::FromStr};

use berth_api::{AccountRow, Client, ClientError, ErrorCode, SetAccount};
use clap::{Args, Subcommand};

use self::edit::{Edit, ProjectEdit};
use super::Session;
use crate::{exit_code::Status, output};

/// How often a change is tried when somebody else changes the same account at the same time.
const TRIES: usize = 5;

/// Projects.
#[derive(Subcommand, Clone, Debug)]
pub enum ProjectCommand {
    /// List projects: yours, or all for an administrator
    List,
    /// Show a project
    Show(NameArgs),
    /// Make a project
    Create(ProjectArgs),
    /// Change a project
    Change(ProjectArgs),
    /// Take a project away; its jobs go on, and nobody can submit to it any more
    Remove(RemoveArgs),
}

/// Users, or groups of projects.
#[derive(Subcommand, Clone, Debug)]
pub enum PlainCommand {
    /// List those that anything is known of
    List,
    /// Show one
    Show(NameArgs),
    /// Change what is set of one
    Change(PlainArgs),
    /// Take away what was set of one
    Clear(RemoveArgs),
}

/// Quotas.
#[derive(Subcommand, Clone, Debug)]
pub enum QuotaCommand {
    /// Show what may be used and what is left; your own, where nobody is named
    Show(QuotaShowArgs),
    /// Set bounds: cpu-time=100h, wall-time, memory-time, cpus, memory, jobs, pending, disk=50g, running-jobs=20,
    /// running-cpus, running-memory, running-gpus; KEY=none takes one away
    Set(QuotaSetArgs),
}

/// Which one.
#[derive(Args, Clone, Debug)]
pub struct NameArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Which one is to go.
#[derive(Args, Clone, Debug)]
pub struct RemoveArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Only if it is still at this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

/// A project and what is to be set of it.
#[derive(Args, Clone, Debug)]
pub struct ProjectArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    edit: Edit,
    #[command(flatten)]
    project: ProjectEdit,
}

/// A user or group and what is to be set of it.
#[derive(Args, Clone, Debug)]
pub struct PlainArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    edit: Edit,
}

/// Whose quota.
#[derive(Args, Clone, Debug)]
pub struct QuotaShowArgs {
    /// A user's name, project:NAME or group:NAME
    #[arg(value_name = "WHOSE")]
    whose: Option<Whose>,
}

/// Whose quota, and which.
#[derive(Args, Clone, Debug)]
pub struct QuotaSetArgs {
    /// A user's name, project:NAME or group:NAME
    #[arg(value_name = "WHOSE")]
    whose: Whose,
    /// Bounds
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = edit::pair)]
    limits: Vec<(String, String)>,
    /// Only if it is still at this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

/// Whose account, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    kind: &'static str,
    name: String,
}

impl FromStr for Whose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once(':') {
            None => ("user", text),
            Some(("user", name)) => ("user", name),
            Some(("project", name)) => ("project", name),
            Some(("group", name)) => ("group", name),
            Some((other, _)) => {
                return Err(format!("{other:?} is none of user, project, group"));
            }
        };
        if name.is_empty() {
            return Err(format!("{text:?} names nobody"));
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

fn whose(kind: &'static str, name: String) -> Whose {
    Whose { kind, name }
}

impl ProjectCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        match self {
            Self::List => list(session, &client, "project").await,
            Self::Show(args) => show(session, &client, &whose("project", args.name)).await,
            Self::Create(args) => change_project(session, &client, args, true).await,
            Self::Change(args) => change_project(session, &client, args, false).await,
            Self::Remove(args) => {
                remove(session, &client, whose("project", args.name), args.if_version).await
            }
        }
    }
}

impl PlainCommand {
    /// Does it for accounts of this kind.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, kind: &'static str, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        match self {
            Self::List => list(session, &client, kind).await,
            Self::Show(args) => show(session, &client, &whose(kind, args.name)).await,
            Self::Change(args) => {
                let edit = args.edit;
                let if_version = edit.if_version;
                let change = |row: &mut AccountRow| {
                    edit.apply(&mut row.settings);
                    Ok(())
                };
                set(session, &client, &whose(kind, args.name), if_version, change).await
            }
            Self::Clear(args) => remove(session, &client, whose(kind, args.name), args.if_version).await,
        }
    }
}

impl QuotaCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        match self {
            Self::Show(QuotaShowArgs { whose: None }) => {
                let user = client.info().await?.user;
                show(session, &client, &whose("user", user)).await
            }
            Self::Show(QuotaShowArgs { whose: Some(whose) }) => show(session, &client, &whose).await,
            Self::Set(QuotaSetArgs { whose, limits, if_version }) => {
                let change = |row: &mut AccountRow| {
                    edit::set_limits(&mut row.settings, &limits);
                    Ok(())
                };
                set(session, &client, &whose, if_version, change).await
            }
        }
    }
}

async fn list(session: &Session, client: &Client, kind: &str) -> anyhow::Result<Status> {
    let rows = client.accounts(kind).await?;
    match session.output.json {
        true => session.output.document(&rows)?,
        false => session.output.table(page::table(kind, &rows))?,
    }
    Ok(Status::OK)
}

async fn show(session: &Session, client: &Client, whose: &Whose) -> anyhow::Result<Status> {
    let row = client.account(whose.kind, &whose.name).await?;
    tell(session, &row)
}

fn tell(session: &Session, row: &AccountRow) -> anyhow::Result<Status> {
    match session.output.json {
        true => session.output.document(row)?,
        false => session.output.text(page::render(row).trim_end())?,
    }
    Ok(Status::OK)
}

async fn change_project(
    session: &Session,
    client: &Client,
    args: ProjectArgs,
    create: bool,
) -> anyhow::Result<Status> {
    let ProjectArgs { name, edit, project } = args;
    let if_version = edit.if_version;
    let change = |row: &mut AccountRow| {
        match (create, row.version) {
            (true, 0) | (false, 1..) => {}
            (true, _) => return Err(format!("there is a project {} already; change it", row.name)),
            (false, 0) => return Err(format!("there is no project {}; create it", row.name)),
        }
        edit.apply(&mut row.settings);
        project.apply(&mut row.settings);
        Ok(())
    };
    set(session, client, &whose("project", name), if_version, change).await
}

/// Reads an account, changes it and writes it back; again, where somebody else was faster, since what the change
/// does not name stays as the other has left it.
async fn set(
    session: &Session,
    client: &Client,
    whose: &Whose,
    if_version: Option<u64>,
    change: impl Fn(&mut AccountRow) -> Result<(), String>,
) -> anyhow::Result<Status> {
    for tries in 1.. {
        let mut row = client.account(whose.kind, &whose.name).await?;
        change(&mut row).map_err(anyhow::Error::msg)?;
        let version = if_version.unwrap_or(row.version);
        let wanted = SetAccount { version, settings: row.settings };
        match client.set_account(whose.kind, &whose.name, &wanted).await {
            Ok(row) => return tell(session, &row),
            Err(error) if is_conflict(&error) && if_version.is_none() && tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Status::OK)
}

async fn remove(
    session: &Session,
    client: &Client,
    whose: Whose,
    if_version: Option<u64>,
) -> anyhow::Result<Status> {
    let version = match if_version {
        Some(version) => version,
        None => client.account(whose.kind, &whose.name).await?.version,
    };
    client.drop_account(whose.kind, &whose.name, version).await?;
    match session.output.json {
        true => session.output.document(&serde_json::json!({ "removed": whose.name }))?,
        false => output::note(&format!("nothing is set of {whose} any more")),
    }
    Ok(Status::OK)
}

fn is_conflict(error: &ClientError) -> bool {
    error.code() == Some(ErrorCode::Conflict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_by_its_kind_and_a_user_by_the_name_alone() {
        let read = |text: &str| text.parse::<Whose>().map(|whose| whose.to_string());
        assert_eq!(read("ann"), Ok("user ann".into()));
        assert_eq!(read("project:rna"), Ok("project rna".into()));
        assert_eq!(read("group:bio"), Ok("group bio".into()));
        assert_eq!(read("team:bio"), Err("\"team\" is none of user, project, group".into()));
        assert_eq!(read("project:"), Err("\"project:\" names nobody".into()));
    }
}
