//! `berth node`, `berth maintenance` and `berth reservation`: what administrators close, and open again.

mod names;
mod page;

use berth_api::{Client, ClientError, ClosureRow, ErrorCode, SetClosure};
use clap::{Args, Subcommand};

use self::names::patterns;
pub use self::page::words;
use super::Session;
use crate::{exit_code::Status, output};

/// How often a closure is set when somebody else changes the same one at the same time.
const TRIES: usize = 5;

/// The name of the maintenance switch.
const SITE: &str = "site";

/// Nodes.
#[derive(Subcommand, Clone, Debug)]
pub enum NodeCommand {
    /// Have nothing new start on nodes; what runs goes on
    Drain(DrainArgs),
    /// Let jobs start on nodes again
    Resume(ResumeArgs),
}

/// The maintenance switch.
#[derive(Subcommand, Clone, Debug)]
pub enum MaintenanceCommand {
    /// Have nothing new start anywhere
    On(OnArgs),
    /// Let jobs start again
    Off,
    /// Show whether it is on
    Status,
}

/// Reservations.
#[derive(Subcommand, Clone, Debug)]
pub enum ReservationCommand {
    /// List what is closed, or will be
    List,
    /// Keep nodes for people or projects, or for nobody: planned maintenance
    Create(ReservationArgs),
    /// Change a reservation; what is not named stays
    Change(ReservationArgs),
    /// Take a reservation away
    Delete(DeleteArgs),
}

/// Which nodes.
#[derive(Args, Clone, Debug, Default)]
pub struct WhichNodes {
    /// Nodes: EXECUTOR/NODE, with * for any letters, or a node's own name
    #[arg(value_name = "NODE", required_unless_present = "executor")]
    nodes: Vec<String>,
    /// Nodes of this executor; all of them where none is named
    #[arg(long, value_name = "NAME")]
    executor: Option<String>,
}

/// What is to be drained.
#[derive(Args, Clone, Debug)]
pub struct DrainArgs {
    #[command(flatten)]
    which: WhichNodes,
    /// Why, for those whose jobs wait because of it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Until when; by itself they take jobs again then: 2030-01-31T18:00:00Z, or a time from now such as 2h
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// What is to be opened again.
#[derive(Args, Clone, Debug)]
pub struct ResumeArgs {
    #[command(flatten)]
    which: WhichNodes,
}

/// Why, and for how long.
#[derive(Args, Clone, Debug)]
pub struct OnArgs {
    /// Why, for those whose jobs wait because of it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Until when; by itself jobs start again then: 2030-01-31T18:00:00Z, or a time from now such as 2h
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// A reservation.
#[derive(Args, Clone, Debug)]
pub struct ReservationArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Nodes: EXECUTOR/NODE, with * for any letters, or a node's own name; separated by commas
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    nodes: Vec<String>,
    /// Nodes of this executor; all of them where none is named
    #[arg(long, value_name = "NAME")]
    executor: Option<String>,
    /// From when on: 2030-01-31T18:00:00Z, or a time from now such as 2h; always, where it is not given
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until when, likewise; for ever, where it is not given
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Users whose jobs may start there, separated by commas
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    users: Vec<String>,
    /// Projects whose jobs may start there, separated by commas
    #[arg(long, value_name = "PROJECTS", value_delimiter = ',')]
    projects: Vec<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only if it is still at this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

/// Which reservation is to go.
#[derive(Args, Clone, Debug)]
pub struct DeleteArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Only if it is still at this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

impl NodeCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        match self {
            Self::Drain(DrainArgs { which, reason, until }) => {
                let names = patterns(&client, &which.nodes, which.executor.as_deref()).await?;
                let mut rows = Vec::new();
                for name in names {
                    let wanted =
                        SetClosure { reason: reason.clone(), until: until.clone(), ..SetClosure::default() };
                    rows.push(put(&client, "drain", &name, wanted).await?);
                }
                tell(session, &rows)
            }
            Self::Resume(ResumeArgs { which }) => {
                let names = patterns(&client, &which.nodes, which.executor.as_deref()).await?;
                for name in &names {
                    resume(&client, name).await?;
                }
                done(session, "resumed", &names)
            }
        }
    }
}

impl MaintenanceCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        match self {
            Self::On(OnArgs { reason, until }) => {
                let wanted = SetClosure { reason, until, ..SetClosure::default() };
                let row = put(&client, "maintenance", SITE, wanted).await?;
                tell(session, &[row])
            }
            Self::Off => {
                match version(&client, "maintenance", SITE).await? {
                    0 => output::note("maintenance is off already"),
                    at => client.drop_closure("maintenance", SITE, at).await?,
                }
                done(session, "off", &[SITE.to_owned()])
            }
            Self::Status => {
                let rows = client.closures().await?;
                let on: Vec<ClosureRow> = rows.into_iter().filter(|row| row.kind == "maintenance").collect();
                match (session.output.json, on.first()) {
                    (true, row) => session.output.document(&row)?,
                    (false, None) => session.output.text("maintenance is off; jobs start as usual\n")?,
                    (false, Some(row)) => session.output.text(&format!("{}\n", words(row)))?,
                }
                Ok(Status::OK)
            }
        }
    }
}

impl ReservationCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        match self {
            Self::List => {
                let rows = client.closures().await?;
                match session.output.json {
                    true => session.output.document(&rows)?,
                    false => session.output.table(page::table(&rows))?,
                }
                Ok(Status::OK)
            }
            Self::Create(args) => {
                if args.nodes.is_empty() && args.executor.is_none() {
                    anyhow::bail!(
                        "a reservation needs nodes: name them with --nodes, or --executor for all of one"
                    );
                }
                let name = args.name.clone();
                if args.if_version.is_none() && find(&client, "reservation", &name).await?.is_some() {
                    anyhow::bail!("there is a reservation {name} already; change it");
                }
                let wanted = args.over(&client, ClosureRow::default()).await?;
                tell(session, &[client.set_closure("reservation", &name, &wanted).await?])
            }
            Self::Change(args) => change(session, &client, args).await,
            Self::Delete(DeleteArgs { name, if_version }) => {
                let at = match if_version {
                    Some(version) => version,
                    None => version(&client, "reservation", &name).await?,
                };
                client.drop_closure("reservation", &name, at).await?;
                done(session, "deleted", &[name])
            }
        }
    }
}

impl ReservationArgs {
    /// What is to be set over what there is.
    async fn over(self, client: &Client, row: ClosureRow) -> anyhow::Result<SetClosure> {
        let list = |given: Vec<String>, before: Vec<String>| if given.is_empty() { before } else { given };
        let nodes = match self.nodes.is_empty() && self.executor.is_none() {
            true => row.nodes,
            false => patterns(client, &self.nodes, self.executor.as_deref()).await?,
        };
        Ok(SetClosure {
            version: self.if_version.unwrap_or(row.version),
            nodes,
            from: self.from.or(row.from),
            until: self.until.or(row.until),
            users: list(self.users, row.users),
            projects: list(self.projects, row.projects),
            reason: self.reason.unwrap_or(row.reason),
        })
    }
}

/// Reads a reservation, changes it and writes it back; again, where somebody else was faster, since what the change
/// does not name stays as the other has left it.
async fn change(session: &Session, client: &Client, args: ReservationArgs) -> anyhow::Result<Status> {
    for tries in 1.. {
        let name = args.name.clone();
        let Some(row) = find(client, "reservation", &name).await? else {
            anyhow::bail!("there is no reservation {name}; create it");
        };
        let wanted = args.clone().over(client, row).await?;
        match client.set_closure("reservation", &name, &wanted).await {
            Ok(row) => return tell(session, &[row]),
            Err(error) if is_conflict(&error) && args.if_version.is_none() && tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Status::OK)
}

/// Sets a closure over whatever there is under its name, since it says all of it.
async fn put(client: &Client, kind: &str, name: &str, wanted: SetClosure) -> anyhow::Result<ClosureRow> {
    for tries in 1.. {
        let version = version(client, kind, name).await?;
        match client.set_closure(kind, name, &SetClosure { version, ..wanted.clone() }).await {
            Err(error) if is_conflict(&error) && tries < TRIES => {}
            answer => return Ok(answer?),
        }
    }
    anyhow::bail!("others change {kind} {name} at the same time")
}

async fn resume(client: &Client, name: &str) -> anyhow::Result<()> {
    let at = version(client, "drain", name).await?;
    if at > 0 {
        return Ok(client.drop_closure("drain", name, at).await?);
    }
    let nodes = client.nodes().await?;
    let closures = nodes.iter().filter(|node| node.name == name).flat_map(|node| &node.closures);
    let wider: Vec<&str> = closures.filter(|row| row.kind == "drain").map(|row| row.name.as_str()).collect();
    match wider.as_slice() {
        [] => anyhow::bail!("{name} is not drained; `berth nodes` says what is"),
        [first, ..] => anyhow::bail!("{name} is drained together with others; resume '{first}'"),
    }
}

async fn find(client: &Client, kind: &str, name: &str) -> Result<Option<ClosureRow>, ClientError> {
    Ok(client.closures().await?.into_iter().find(|row| row.kind == kind && row.name == name))
}

async fn version(client: &Client, kind: &str, name: &str) -> Result<u64, ClientError> {
    Ok(find(client, kind, name).await?.map_or(0, |row| row.version))
}

fn tell(session: &Session, rows: &[ClosureRow]) -> anyhow::Result<Status> {
    match (session.output.json, rows) {
        (true, [one]) => session.output.document(one)?,
        (true, several) => session.output.document(&several)?,
        (false, rows) => {
            for row in rows {
                session.output.text(&format!("{}\n", words(row)))?;
            }
        }
    }
    Ok(Status::OK)
}

fn done(session: &Session, what: &str, names: &[String]) -> anyhow::Result<Status> {
    match session.output.json {
        true => session.output.document(&serde_json::json!({ what: names }))?,
        false => output::note(&format!("{what}: {}", names.join(", "))),
    }
    Ok(Status::OK)
}

fn is_conflict(error: &ClientError) -> bool {
    error.code() == Some(ErrorCode::Conflict)
}
