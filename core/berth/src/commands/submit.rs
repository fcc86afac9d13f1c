//! `berth submit`.

use berth_api::{ClientError, Submitted};
use clap::Args;

use super::{
    Failure, Session,
    submission::{JobArgs, assemble},
};
use crate::{exit_code::Status, output};

/// After an answer that never came, too, the job may be there.
fn not_known(error: ClientError) -> anyhow::Error {
    match error.nothing_was_done() {
        true => error.into(),
        false => {
            let failure = Failure::new(Status::UNKNOWN_OUTCOME, "it is not known whether the job was taken");
            anyhow::Error::new(error).context(
                failure.help(
                    "`berth jobs` shows it if it was; look there, later too, before you submit it again",
                ),
            )
        }
    }
}

/// Says on standard error what the site's filters have changed.
pub fn tell_changes(submitted: &Submitted) {
    submitted.changes.iter().for_each(|change| output::note(&change.text));
}

/// A job to be submitted.
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "berth submit [OPTIONS] SCRIPT [ARG]...\n       berth submit [OPTIONS] -- CMD [ARG]...",
    after_help = "Options at the top of a script count as if they were typed, unless they are:\n\n    \
    #!/bin/sh\n    #BERTH --cpus 2 --memory 4G\n    #BERTH --time 1h\n    ./compute"
)]
pub struct SubmitArgs {
    #[command(flatten)]
    job: JobArgs,
}

impl SubmitArgs {
    /// Submits it and prints its number.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let job = assemble(self.job, &mut |warning| output::note(&warning))?;
        let client = session.client().await?;
        let submitted = client.submit(&job).await.map_err(not_known)?;
        tell_changes(&submitted);
        match session.output.json {
            true => session.output.document(&submitted)?,
            false => session.output.text(&submitted.id.to_string())?,
        }
        Ok(Status::OK)
    }
}
