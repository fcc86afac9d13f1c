//! `berth submit`.

use clap::Args;

use super::{
    Session,
    submission::{JobArgs, assemble},
};
use crate::{exit_code::Status, output};

/// A job to be submitted.
#[derive(Args, Clone, Debug)]
#[command(
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
        let submitted = session.client().await?.submit(&job).await?;
        match session.output.json {
            true => session.output.document(&submitted)?,
            false => session.output.text(&submitted.id.to_string())?,
        }
        Ok(Status::OK)
    }
}
