//! Changing what jobs ask for.

use std::sync::Arc;

use berth_api::{Alteration, Controls, ErrorBody};
use berth_engine::{Command, LiveJob};
use berth_model::Submission;
use berth_server::Caller;

use super::{Service, access, failures, submit};

impl Service {
    /// The command that changes a job while it waits, or before it runs again. What is asked for is checked as when
    /// the job was submitted, and granted anew to its owner.
    pub(super) async fn altering(
        &self,
        who: &Caller,
        found: LiveJob,
        alteration: &Alteration,
        action: Controls,
    ) -> Result<Command, ErrorBody> {
        let submission = self.daemon.store.submission(found.id).await.map_err(failures::store)?;
        let submission = submission.ok_or_else(|| access::no_such_job(&found.id.to_string()))?;
        let limits = &self.daemon.config.now().jobs;
        let spec = submit::altered(&submission.spec, alteration, limits)?;
        let before = Some(submission.spec.priority);
        submit::check_priority(spec.priority, before, limits, access::administers(who))?;
        let grant = self.granted(&submission.owner, &spec, &submission.executor).await?;
        let (owner, executor) = (submission.owner.clone(), submission.executor.clone());
        let submission = Arc::new(Submission { spec, owner, grant, executor });
        let (job, by) = (found.id, who.identity.user.clone());
        Ok(match action {
            Controls::Rerun => {
                let stored = found.moving.state.kind().is_end().then(|| Box::new(found));
                Command::Rerun { job, stored, altered: Some(submission), by }
            }
            _ => Command::Alter { job, submission, by },
        })
    }
}
