//! `berth run`: submits a job and stays with it.

mod attend;
mod pending;

use berth_api::{Client, ClientError, ErrorCode, Submit, Submitted};
use clap::Args;

use super::{
    Failure, Session,
    failure::status_of,
    submission::{JobArgs, assemble},
    submit::tell_changes,
};
use crate::{client_config::NoServer, exit_code::Status, output};

/// The server that one brings along may be on its way out just then.
const TRIES: usize = 5;

/// A job to be run.
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "berth run [OPTIONS] SCRIPT [ARG]...\n       berth run [OPTIONS] -- CMD [ARG]...",
    after_help = "The exit code is the job's own; `berth help exit-codes` lists those of a job that has none. \
    Ctrl-C asks the job to end; a second Ctrl-C leaves it alone.\n\nWithout a server around, one is brought along \
    that ends when no job is left."
)]
pub struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
}

impl RunArgs {
    /// Runs it.
    ///
    /// # Errors
    /// When it cannot be submitted, or the server stays away.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let job = assemble(self.job, &mut |warning| output::note(&warning))?;
        // Codes of a job's own begin at 1, so Berth's go where shells put theirs.
        let (client, events, submitted) = submit(session, &job).await.map_err(not_taken)?;
        tell_changes(&submitted);
        let number = submitted.id;
        let attendance = attend::Attendance::new(client, submitted, session.output)?;
        attendance.stay(events).await.map_err(|error| match status_of(&error) {
            Status::BROKEN_PIPE => error,
            _ => error.context(Failure::new(
                Status::UNKNOWN_END,
                format!("job {number} could not be followed to its end"),
            )),
        })
    }
}

fn not_taken(error: anyhow::Error) -> anyhow::Error {
    let unknown = error.downcast_ref::<ClientError>().is_some_and(|error| !error.nothing_was_done());
    error.context(match unknown {
        true => Failure::new(Status::UNKNOWN_END, "it is not known whether the job was taken")
            .help("`berth jobs` shows it if it was; look there before you run it again"),
        false => Failure::new(Status::NEVER_RAN, "the job was not taken"),
    })
}

/// Submits, with ears open before.
async fn submit(
    session: &Session,
    job: &Submit,
) -> anyhow::Result<(Client, berth_api::ApiStream<berth_api::EventRow>, Submitted)> {
    for _ in 1..TRIES {
        match try_submit(session, job).await {
            Err(error) if !session.names_server() && is_leaving(&error) => {}
            result => return result,
        }
    }
    try_submit(session, job).await
}

/// Whether the server went away before it took the job.
fn is_leaving(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::NoServer { .. }) => true,
        Some(error) => error.code() == Some(ErrorCode::Unavailable),
        None => false,
    }
}

async fn try_submit(
    session: &Session,
    job: &Submit,
) -> anyhow::Result<(Client, berth_api::ApiStream<berth_api::EventRow>, Submitted)> {
    let target = match session.target() {
        Err(error) if error.is::<NoServer>() => crate::embedded::ensure(&session.around)?,
        target => target?,
    };
    let client = Client::connect(target).await?;
    let events = client.events(None).await?;
    let submitted = client.submit(job).await?;
    Ok((client, events, submitted))
}
