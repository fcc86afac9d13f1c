//! The contract of filters; see `wit/admit.wit` for what each part means.

#[doc(hidden)]
pub use crate::bindings::admit::exports::berth::policy::admit::Guest;
pub use crate::bindings::admit::exports::berth::policy::admit::{
    Edit, Field, Occasion, Owner, Refusal, Request, Roles,
};
use crate::{Error, Info, InstantMs, Settings};

/// Sees what is submitted before it is accepted, and may change it or refuse it.
pub trait Admit: Sized {
    /// Who the policy is, and which settings it reads.
    fn describe() -> Info;

    /// Makes the policy by its settings. One that it does not read is refused for it.
    ///
    /// # Errors
    /// `bad-settings` when they make no sense.
    fn configure(settings: &mut Settings) -> Result<Self, Error>;

    /// Looks at a job, and changes what has to be changed before it is accepted.
    ///
    /// # Errors
    /// Why it is not accepted, or not now.
    fn admit(&mut self, now_ms: InstantMs, job: &mut Draft) -> Result<(), Refusal>;
}

/// A job that is not accepted yet, with what a filter has changed of it so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    request: Request,
    edits: Vec<Edit>,
}

impl Draft {
    /// As the host tells it.
    #[must_use]
    pub fn new(request: Request) -> Self {
        Self { request, edits: Vec::new() }
    }

    /// As the host told it, whatever has been changed since.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.request.owner
    }

    /// The project it counts for.
    #[must_use]
    pub fn project(&self) -> &str {
        self.one("project").unwrap_or("default")
    }

    /// The values of a field, with what was changed; none where it is not set, nor for a variable.
    #[must_use]
    pub fn values(&self, name: &str) -> &[String] {
        let edited = self.edits.iter().map(|edit| &edit.field);
        let mut fields = edited.chain(&self.request.fields);
        fields.find(|field| field.name == name).map(|field| field.values.as_slice()).unwrap_or_default()
    }

    /// The value of a field that takes one.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<&str> {
        self.values(name).first().map(String::as_str)
    }

    /// Whether a field is set, or a variable (`env.NAME`).
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let is_variable = || {
            let variable = name.strip_prefix("env.");
            variable.is_some_and(|variable| self.request.variables.iter().any(|known| known == variable))
        };
        match self.edits.iter().find(|edit| edit.field.name == name) {
            Some(edit) => !edit.field.values.is_empty(),
            None => !self.values(name).is_empty() || is_variable(),
        }
    }

    /// Whether a field can be changed now. Of a job that was accepted before, most cannot.
    #[must_use]
    pub fn can_change(&self, name: &str) -> bool {
        let is_it = |known: &String| {
            name.strip_prefix(known.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.request.changeable.as_ref().is_none_or(|changeable| changeable.iter().any(is_it))
    }

    /// Sets a field that takes one value, and tells the submitter why. False if it cannot be changed now; nothing
    /// is done then.
    pub fn set(&mut self, name: &str, value: impl Into<String>, words: impl Into<String>) -> bool {
        self.set_all(name, vec![value.into()], words)
    }

    /// Takes a field away, likewise.
    pub fn clear(&mut self, name: &str, words: impl Into<String>) -> bool {
        self.set_all(name, Vec::new(), words)
    }

    /// Sets a field that takes several values, likewise.
    pub fn set_all(&mut self, name: &str, values: Vec<String>, words: impl Into<String>) -> bool {
        if !self.can_change(name) {
            return false;
        }
        // A field is told once, as it is in the end.
        self.edits.retain(|edit| edit.field.name != name);
        let field = Field { name: name.to_owned(), values };
        self.edits.push(Edit { field, words: words.into() });
        true
    }

    /// What was changed.
    #[must_use]
    pub fn into_edits(self) -> Vec<Edit> {
        self.edits
    }
}
