//! Changing what jobs ask for.

use std::sync::Arc;

use berth_api::{Alteration, Changed, Controls, ErrorBody, ErrorCode};
use berth_config::Changeable;
use berth_engine::{Command, LiveJob};
use berth_model::Submission;
use berth_policy_host::Occasion;
use berth_server::Caller;

use super::{Service, access, failures, filters, submit};

impl Service {
    /// The command that changes a job while it waits, or before it runs again, and what filters have changed of that.
    /// What is asked for is checked as when the job was submitted, and granted anew to its owner.
    pub(super) async fn altering(
        &self,
        who: &Caller,
        found: LiveJob,
        alteration: &Alteration,
        action: Controls,
    ) -> Result<(Command, Vec<Changed>), ErrorBody> {
        let submission = self.daemon.store.submission(found.id).await.map_err(failures::store)?;
        let read = submission.ok_or_else(|| access::no_such_job(&found.id.to_string()))?;
        let config = self.daemon.config.now();
        check_changeable(alteration, &config.jobs.changeable, access::administers(who))?;
        let (owner, before) = (&read.owner, &read.spec);
        let occasion = if action == Controls::Rerun { Occasion::Rerun } else { Occasion::Change };
        let (spec, changes) =
            self.let_change(who, owner, before, alteration.clone(), occasion, &config).await?;
        let blamed = |error| filters::with_changes(&changes, error);
        let priority = Some(before.priority);
        submit::check_priority(spec.priority, priority, &config.jobs, access::administers(who))
            .map_err(blamed)?;
        let group = self.daemon.memberships.group(&spec.project);
        submit::check_class(&spec, &owner.user, group.as_deref(), &config.classes).map_err(blamed)?;
        let grant = self.granted(owner, &spec, &read.executor).await.map_err(blamed)?;
        let (owner, executor) = (read.owner.clone(), read.executor.clone());
        let submission = Arc::new(Submission { spec, owner, grant, executor });
        let (job, by) = (found.id, who.identity.user.clone());
        let notes = changes.iter().map(|change| change.text.clone()).collect();
        let command = match action {
            Controls::Rerun => {
                let stored = found.moving.state.kind().is_end().then(|| Box::new(found));
                Command::Rerun { job, stored, altered: Some(submission), by, notes }
            }
            _ => Command::Alter { job, before: read, submission, by, notes },
        };
        Ok((command, changes))
    }
}

/// Whether the site lets somebody change this of a job that was submitted.
///
/// # Errors
/// What it does not, and what it does.
fn check_changeable(
    alteration: &Alteration,
    changeable: &[Changeable],
    administers: bool,
) -> Result<(), ErrorBody> {
    let Alteration { priority, project, cpus, memory, gpus, time } = alteration;
    let asked = [
        ("priority", priority.is_some()),
        ("project", project.is_some()),
        ("cpus", cpus.is_some()),
        ("memory", memory.is_some()),
        ("gpus", gpus.is_some()),
        ("time", time.is_some()),
    ];
    for (field, _) in asked.into_iter().filter(|(_, asked)| *asked) {
        let found = changeable.iter().find(|known| known.field == field);
        let whose = match found {
            Some(found) if administers || !found.administrators => continue,
            Some(_) => "only administrators change",
            None => "nobody changes",
        };
        let told = |known: &Changeable| {
            let by = if known.administrators { " (by administrators)" } else { "" };
            format!("{}{by}", known.field)
        };
        let all = match changeable {
            [] => "nothing can be changed here".to_owned(),
            some => {
                format!("what can be changed is {}", some.iter().map(told).collect::<Vec<_>>().join(", "))
            }
        };
        let words = format!("{whose} {field} here once a job is submitted; {all}");
        return Err(ErrorBody::new(ErrorCode::Forbidden, words));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Vec<Changeable> {
        let field = |field: &str, administrators| Changeable { field: field.into(), administrators };
        vec![field("time", false), field("priority", true)]
    }

    #[test]
    fn a_refusal_says_what_may_be_changed_and_by_whom() {
        let time = Alteration { time: Some("1h".into()), ..Alteration::default() };
        let priority = Alteration { priority: Some(1), ..Alteration::default() };
        let cpus = Alteration { cpus: Some("1".into()), ..Alteration::default() };
        let words = |alteration, administers| {
            check_changeable(alteration, &site(), administers).map_err(|error| error.message)
        };
        assert_eq!(words(&time, false), Ok(()));
        assert_eq!(words(&priority, true), Ok(()));
        let all = "what can be changed is time, priority (by administrators)";
        let refused = format!("only administrators change priority here once a job is submitted; {all}");
        assert_eq!(words(&priority, false), Err(refused));
        let refused = format!("nobody changes cpus here once a job is submitted; {all}");
        assert_eq!(words(&cpus, true), Err(refused));
        let none = check_changeable(&time, &[], true).unwrap_err();
        assert!(none.message.ends_with("nothing can be changed here"), "{none:?}");
    }
}
