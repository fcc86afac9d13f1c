//! The site's filters see what is submitted, and what is changed of a job, before anything is granted. What they set
//! is checked like what somebody has typed, and told to whoever asked.

mod fields;

use berth_api::{Alteration, Changed, ErrorBody, ErrorCode, Submit};
use berth_config::{Config, OnFailure};
use berth_model::{Identity, JobSpec};
use berth_policy_host::{AdmitRefusal, AdmitRequest, Edit, NotAdmitted, Occasion, Unanswered};
use berth_server::Caller;

use super::{Service, rows, submit};
use crate::daemon::now;

/// Who asks what for, and whose job it is.
struct Asked<'a> {
    occasion: Occasion,
    by: &'a str,
    owner: &'a Identity,
    changeable: Option<Vec<String>>,
}

impl Service {
    /// A new job as the filters let it in, and what they have changed of it.
    ///
    /// # Errors
    /// When it is not accepted as it was typed, as a filter has it, or by a filter.
    pub(super) async fn let_in(
        &self,
        who: &Caller,
        mut job: Submit,
    ) -> Result<(JobSpec, Vec<Changed>), ErrorBody> {
        let mut changes = Vec::new();
        if self.daemon.policies.filters.is_empty() {
            return Ok((self.understood(who, job).await?, changes));
        }
        let mut spec = self.understood(who, job.clone()).await?;
        let owner = &who.identity;
        let asked = Asked { occasion: Occasion::Submission, by: &owner.user, owner, changeable: None };
        for number in 0..self.daemon.policies.filters.len() {
            let (filter, edits) = self.edits_of(number, &asked, &job).await?;
            let (next, told) = applied(&filter, &job, &edits)?;
            if !told.is_empty() {
                job = next;
                let understood = self.understood(who, job.clone()).await;
                spec = understood.map_err(|error| blamed(&filter, error))?;
                changes.extend(told);
            }
        }
        Ok((spec, changes))
    }

    /// What is to be changed of a job, as the filters have it, and what they have changed of that.
    ///
    /// # Errors
    /// Likewise.
    pub(super) async fn let_change(
        &self,
        who: &Caller,
        owner: &Identity,
        spec: &JobSpec,
        mut alteration: Alteration,
        occasion: Occasion,
        config: &Config,
    ) -> Result<(JobSpec, Vec<Changed>), ErrorBody> {
        let mut changes = Vec::new();
        let mut altered = submit::altered(spec, &alteration, config.into())?;
        let changeable = config.jobs.changeable.iter().map(|changeable| changeable.field.clone()).collect();
        let asked = Asked { occasion, by: &who.identity.user, owner, changeable: Some(changeable) };
        for number in 0..self.daemon.policies.filters.len() {
            let job = rows::spec(&altered, true);
            let (filter, edits) = self.edits_of(number, &asked, &job).await?;
            let (_, told) = applied(&filter, &job, &edits)?;
            if !told.is_empty() {
                for edit in &edits {
                    set(&mut alteration, edit).map_err(|words| cannot(&filter, &words))?;
                }
                altered = submit::altered(spec, &alteration, config.into())
                    .map_err(|error| blamed(&filter, error))?;
                changes.extend(told);
            }
        }
        Ok((altered, changes))
    }

    /// A filter's name, and what it sets of a job.
    async fn edits_of(
        &self,
        number: usize,
        asked: &Asked<'_>,
        job: &Submit,
    ) -> Result<(String, Vec<Edit>), ErrorBody> {
        let config = self.daemon.config.now();
        let policies = &self.daemon.policies;
        // Both lists are as long, since which filters there are does not change while Berth runs.
        let Some((filter, config)) = policies.filters.iter().zip(&config.filters).nth(number) else {
            return Ok((String::new(), Vec::new()));
        };
        let (fields, variables) = fields::of(job);
        let request = AdmitRequest {
            occasion: asked.occasion,
            by: asked.by.to_owned(),
            owner: asked.owner.clone(),
            projects: self.daemon.memberships.of(&asked.owner.user),
            fields,
            variables,
            changeable: asked.changeable.clone(),
        };
        let name = filter.name.clone();
        match filter.policy.admit(now(), &request).await {
            Ok(edits) => Ok((name, edits)),
            Err(NotAdmitted::Refused(AdmitRefusal::Never(words))) => {
                let words = format!("filter {name} does not accept the job: {words}");
                Err(ErrorBody::new(ErrorCode::Forbidden, words))
            }
            Err(NotAdmitted::Refused(AdmitRefusal::NotNow(words))) => {
                let words = format!("filter {name} accepts no such job now: {words}");
                Err(ErrorBody::new(ErrorCode::Unavailable, words))
            }
            Err(NotAdmitted::Failed(fault)) if config.on_failure == OnFailure::Admit => {
                tracing::warn!(policy = name.as_str(), error = %fault, "job accepted without its filter");
                Ok((name, Vec::new()))
            }
            Err(NotAdmitted::Failed(fault)) => Err(failed(&fault)),
        }
    }
}

/// A job with edits done, and what that has changed.
fn applied(filter: &str, job: &Submit, edits: &[Edit]) -> Result<(Submit, Vec<Changed>), ErrorBody> {
    let mut told = Vec::new();
    let mut job = job.clone();
    for edit in edits {
        let after = fields::edited(&job, edit).map_err(|words| cannot(filter, &words))?;
        if let Some(words) = fields::described(&job, &after, edit) {
            let field = edit.field.name.clone();
            told.push(Changed { filter: filter.to_owned(), field, text: format!("filter {filter} {words}") });
        }
        job = after;
    }
    Ok((job, told))
}

/// Does an edit on what is to be changed of a job.
fn set(alteration: &mut Alteration, edit: &Edit) -> Result<(), String> {
    let name = edit.field.name.as_str();
    let Some(value) = edit.field.values.first() else {
        return Err(format!("{name} cannot be taken away from a job that was accepted"));
    };
    let not_a_number = |_| format!("{name}: {value:?} is not a number");
    match name {
        "priority" => alteration.priority = Some(value.parse().map_err(not_a_number)?),
        "gpus" => alteration.gpus = Some(value.parse().map_err(not_a_number)?),
        "project" => alteration.project = Some(value.clone()),
        "cpus" => alteration.cpus = Some(value.clone()),
        "memory" => alteration.memory = Some(value.clone()),
        "time" => alteration.time = Some(value.clone()),
        _ => return Err(format!("{name} cannot be changed of a job that was accepted")),
    }
    Ok(())
}

/// Fails closed.
fn failed(fault: &Unanswered) -> ErrorBody {
    let words = match fault {
        Unanswered::Failed { policy, fault } => format!("filter {policy} failed: {fault}"),
        other => other.to_string(),
    };
    let words = format!("{words}; no job is accepted that it has not seen, so try again later");
    ErrorBody::new(ErrorCode::Unavailable, words)
}

/// A filter wants what cannot be.
fn cannot(filter: &str, words: &str) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Invalid,
        format!("filter {filter} has changed the job to what cannot be: {words}"),
    )
}

/// What is wrong is a filter's doing.
fn blamed(filter: &str, mut error: ErrorBody) -> ErrorBody {
    error.message = format!("as filter {filter} has changed it: {}", error.message);
    error
}

/// What is refused later may be so because of filters.
pub fn with_changes(changes: &[Changed], mut error: ErrorBody) -> ErrorBody {
    if !changes.is_empty() {
        let told: Vec<&str> = changes.iter().map(|change| change.text.as_str()).collect();
        error.message = format!("{} (before that, {})", error.message, told.join("; "));
    }
    error
}
