//! Jobs that a filter under test is asked about.

use crate::{
    Admit, Draft,
    admit::{Field, Occasion, Owner, Refusal, Request, Roles},
};

/// What a filter has changed: names of fields, and what it has set them to.
pub type Edits = Vec<(String, Vec<String>)>;

/// A job of alice's to be submitted, who has the number 1000 and is in no further group and no project.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample(Request);

impl Default for Sample {
    fn default() -> Self {
        Self::new()
    }
}

impl Sample {
    /// One that asks for nothing.
    #[must_use]
    pub fn new() -> Self {
        let owner = Owner {
            user: "alice".into(),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            roles: Roles::empty(),
            projects: Vec::new(),
        };
        Self(Request {
            occasion: Occasion::Submission,
            by: "alice".into(),
            owner,
            fields: Vec::new(),
            variables: Vec::new(),
            changeable: None,
        })
    }

    /// With a value of a field, beside those that it has.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        match self.0.fields.iter_mut().find(|field| field.name == name) {
            Some(field) => field.values.push(value.to_owned()),
            None => self.0.fields.push(Field { name: name.to_owned(), values: vec![value.to_owned()] }),
        }
        self
    }

    /// With a variable.
    #[must_use]
    pub fn variable(mut self, name: &str) -> Self {
        self.0.variables.push(name.to_owned());
        self
    }

    /// In a project that its owner is a member of.
    #[must_use]
    pub fn project(mut self, project: &str) -> Self {
        self.0.owner.projects.push(project.to_owned());
        self.field("project", project)
    }

    /// Of an owner who is in this group, too.
    #[must_use]
    pub fn group(mut self, group: u32) -> Self {
        self.0.owner.groups.push(group);
        self
    }

    /// One that was accepted before, and of which only these fields can be changed.
    #[must_use]
    pub fn changed(mut self, changeable: &[&str]) -> Self {
        self.0.occasion = Occasion::Change;
        self.0.changeable = Some(changeable.iter().map(|&name| name.to_owned()).collect());
        self
    }
}

/// What a filter makes of a job.
///
/// # Errors
/// Its words, when it does not let the job in.
pub fn admitted(policy: &mut impl Admit, sample: &Sample) -> Result<Edits, String> {
    let mut draft = Draft::new(sample.0.clone());
    match policy.admit(0, &mut draft) {
        Ok(()) => {
            Ok(draft.into_edits().into_iter().map(|edit| (edit.field.name, edit.field.values)).collect())
        }
        Err(Refusal::Never(words) | Refusal::NotNow(words)) => Err(words),
    }
}
