//! Filters: see what is submitted, and change it or refuse it, before anything is granted.

mod fields;

use std::{collections::HashSet, sync::Arc};

use berth_model::{Identity, Role, UtcMs};

pub use self::fields::{FieldKind, fields, kind_of};
use crate::{
    LoadError, OnSupervised, PluginStatus, PolicyHost, PolicySpec, Unanswered,
    bindings::v0_1_0::admit::{self as wit, AdmitPolicy as World},
    words::shown,
    workers::Workers,
};

/// So many jobs can be looked at by one filter at once.
const INSTANCES: usize = 2;
/// The most fields that one filter sets of one job.
const MOST_EDITS: usize = 200;

/// What a job is asked about for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// It is new.
    Submission,
    /// It waits or runs, and something of it is to be changed.
    Change,
    /// It has ended, and is to run again with something changed.
    Rerun,
}

/// A field of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    /// The name that it has in a job file; `TABLE.KEY` for one of a table.
    pub name: String,
    /// As they are written there.
    pub values: Vec<String>,
}

/// A job as filters see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmitRequest {
    /// What for.
    pub occasion: Occasion,
    /// Who asks.
    pub by: String,
    /// Whose job it is.
    pub owner: Identity,
    /// The projects that they are a member of.
    pub projects: Vec<String>,
    /// What is set, by rising names, without variables.
    pub fields: Vec<Field>,
    /// Names of variables.
    pub variables: Vec<String>,
    /// What can be changed; `None` for everything.
    pub changeable: Option<Vec<String>>,
}

/// What a filter sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The field; with no values it is taken away.
    pub field: Field,
    /// Why.
    pub words: String,
}

/// Why a filter does not let a job in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitRefusal {
    /// As it is, it never will be.
    #[error("{0}")]
    Never(String),
    /// Not at the moment.
    #[error("{0}")]
    NotNow(String),
}

/// Why a filter has said nothing of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It does not let the job in.
    #[error(transparent)]
    Refused(#[from] AdmitRefusal),
    /// It failed, or is benched.
    #[error(transparent)]
    Failed(#[from] Unanswered),
}

/// A filter that is running. Its threads end when this is dropped.
pub struct AdmitPolicy {
    workers: Workers<World>,
    words_bytes: usize,
    items: usize,
}

impl AdmitPolicy {
    /// Loads the policy, tries its settings, and starts its threads.
    ///
    /// # Errors
    /// When the policy cannot be loaded or refuses its settings.
    pub fn spawn(
        host: &PolicyHost,
        spec: PolicySpec,
        on_supervised: OnSupervised,
    ) -> Result<Self, LoadError> {
        let (words_bytes, items) = (spec.limits.words_bytes, spec.limits.answer_items.min(MOST_EDITS));
        let workers = Workers::spawn(host, spec, INSTANCES, Arc::new(|_| Ok(())), on_supervised)?;
        Ok(Self { workers, words_bytes, items })
    }

    /// What it sets of a job.
    ///
    /// # Errors
    /// When it does not let the job in, or failed, or is benched.
    pub async fn admit(&self, now: UtcMs, job: &AdmitRequest) -> Result<Vec<Edit>, NotAdmitted> {
        let (asked, wanted, most, items) =
            (job.clone(), wit::Request::from(job), self.words_bytes, self.items);
        let answer = self
            .workers
            .call(now, move |store, world| {
                let answer = world.berth_policy_admit().call_admit(store, now.0, &wanted)?;
                Ok(match answer {
                    Ok(edits) if edits.len() > items => Err(format!("it set {} fields", edits.len())),
                    Ok(edits) => sound(edits, &asked, most).map(Ok),
                    Err(wit::Refusal::Never(words)) => Ok(Err(AdmitRefusal::Never(shown(&words, most)))),
                    Err(wit::Refusal::NotNow(words)) => Ok(Err(AdmitRefusal::NotNow(shown(&words, most)))),
                })
            })
            .await?;
        Ok(answer?)
    }

    /// Loads a version anew, tries its settings, and lets it take over on probation.
    ///
    /// # Errors
    /// When it cannot be loaded or refuses its settings. Nothing has changed then.
    pub fn reload(&self, host: &PolicyHost, spec: PolicySpec) -> Result<(), LoadError> {
        self.workers.reload(host, spec)
    }

    /// The spec of the version that decides.
    #[must_use]
    pub fn spec(&self) -> PolicySpec {
        self.workers.spec()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> PluginStatus {
        self.workers.status()
    }
}

/// Edits that a filter may make.
pub(crate) fn sound(edits: Vec<wit::Edit>, asked: &AdmitRequest, most: usize) -> Result<Vec<Edit>, String> {
    let mut seen = HashSet::new();
    let mut sound = Vec::with_capacity(edits.len());
    for wit::Edit { field, words } in edits {
        let field = Field { name: field.name, values: field.values };
        let edit = Edit { field, words: shown(&words, most) };
        let name = &edit.field.name;
        if let Some(fault) = fields::fault_of(&edit) {
            return Err(fault);
        }
        if !seen.insert(name.clone()) {
            return Err(format!("it set {name:?} twice"));
        }
        if !asked.can_change(name) {
            return Err(format!("it set {name:?}, which cannot be changed any more"));
        }
        let sets_root = name == "root" && edit.field.values.iter().any(|value| value == "true");
        if sets_root && !asked.fields.contains(&edit.field) {
            return Err("it made a job of root's that was none".to_owned());
        }
        sound.push(edit);
    }
    Ok(sound)
}

impl AdmitRequest {
    fn can_change(&self, name: &str) -> bool {
        let is_it = |known: &String| {
            name.strip_prefix(known.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.changeable.as_ref().is_none_or(|changeable| changeable.iter().any(is_it))
    }
}

impl From<&AdmitRequest> for wit::Request {
    fn from(job: &AdmitRequest) -> Self {
        let owner = &job.owner;
        let role = |role: &Role| match role {
            Role::Administrator => wit::Roles::ADMINISTRATOR,
            Role::Operator => wit::Roles::OPERATOR,
        };
        let field = |field: &Field| wit::Field { name: field.name.clone(), values: field.values.clone() };
        Self {
            occasion: match job.occasion {
                Occasion::Submission => wit::Occasion::Submission,
                Occasion::Change => wit::Occasion::Change,
                Occasion::Rerun => wit::Occasion::Rerun,
            },
            by: job.by.clone(),
            owner: wit::Owner {
                user: owner.user.clone(),
                uid: owner.uid,
                gid: owner.gid,
                groups: owner.groups.clone(),
                roles: owner.roles.iter().map(role).fold(wit::Roles::empty(), |all, one| all | one),
                projects: job.projects.clone(),
            },
            fields: job.fields.iter().map(field).collect(),
            variables: job.variables.clone(),
            changeable: job.changeable.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(changeable: Option<&[&str]>) -> AdmitRequest {
        AdmitRequest {
            occasion: Occasion::Submission,
            by: "ann".into(),
            owner: Identity {
                user: "ann".into(),
                uid: 7,
                gid: 7,
                groups: Vec::new(),
                home: None,
                email: None,
                roles: Vec::new(),
            },
            projects: Vec::new(),
            fields: Vec::new(),
            variables: Vec::new(),
            changeable: changeable.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        }
    }

    fn edit(name: &str, values: &[&str]) -> wit::Edit {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        wit::Edit { field: wit::Field { name: name.to_owned(), values }, words: "why".to_owned() }
    }

    fn judged(edits: Vec<wit::Edit>, asked: &AdmitRequest) -> Result<Vec<String>, String> {
        sound(edits, asked, 100).map(|edits| edits.into_iter().map(|edit| edit.field.name).collect())
    }

    #[test]
    fn every_kind_of_field_can_be_set_and_taken_away() {
        let edits = vec![
            edit("time", &["1h"]),
            edit("tags", &["a", "b"]),
            edit("gpus", &["2"]),
            edit("hold", &["true"]),
            edit("ports", &["80", "443"]),
            edit("labels.team.x", &["rna"]),
            edit("resources.matlab", &["1"]),
            edit("env.OMP_NUM_THREADS", &["2"]),
            edit("command.script", &["true"]),
            edit("image", &[]),
            edit("root", &["false"]),
        ];
        assert_eq!(judged(edits, &asked(None)).unwrap().len(), 11);
    }

    #[test]
    fn what_no_job_has_or_takes_is_a_breach() {
        for (edits, words) in [
            (vec![edit("colour", &["red"])], "it set \"colour\", and jobs have no such field"),
            (vec![edit("labels", &["red"])], "it set \"labels\", and jobs have no such field"),
            (vec![edit("labels.", &["red"])], "it set \"labels.\", and jobs have no such field"),
            (vec![edit("time", &["1h", "2h"])], "it gave \"time\" 2 values"),
            (vec![edit("gpus", &["some"])], "it set \"gpus\" to \"some\", which it does not take"),
            (vec![edit("ports", &["80", "x"])], "it set \"ports\" to \"x\", which it does not take"),
            (vec![edit("time", &["1h"]), edit("time", &["2h"])], "it set \"time\" twice"),
            (vec![edit("root", &["true"])], "it made a job of root's that was none"),
        ] {
            assert_eq!(judged(edits, &asked(None)), Err(words.to_owned()));
        }
    }

    #[test]
    fn what_cannot_be_changed_any_more_is_a_breach() {
        let later = asked(Some(&["time", "labels"]));
        assert!(judged(vec![edit("time", &["1h"]), edit("labels.team", &["rna"])], &later).is_ok());
        let words = judged(vec![edit("timeout", &[])], &later);
        assert_eq!(words, Err("it set \"timeout\", and jobs have no such field".to_owned()));
        let words = judged(vec![edit("image", &["x"])], &later);
        assert_eq!(words, Err("it set \"image\", which cannot be changed any more".to_owned()));
    }

    #[test]
    fn root_that_was_asked_for_may_stay() {
        let mut job = asked(None);
        job.fields.push(Field { name: "root".into(), values: vec!["true".into()] });
        assert!(judged(vec![edit("root", &["true"])], &job).is_ok());
    }
}
