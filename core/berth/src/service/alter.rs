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
        let config = self.daemon.config.now();
        let spec = submit::altered(&submission.spec, alteration, (&*config).into())?;
        let before = Some(submission.spec.priority);
        submit::check_priority(spec.priority, before, &config.jobs, access::administers(who))?;
        let group = self.daemon.memberships.group(&spec.project);
        submit::check_class(&spec, &submission.owner.user, group.as_deref(), &config.classes)?;
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
