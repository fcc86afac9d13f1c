//! Requests that a test wants to go wrong.

use std::sync::{Mutex, PoisonError};

use axum::http::Method;

use crate::answers::Failure;

/// What happens instead of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Answer(Failure),
    /// Not even a status object.
    Text {
        code: u16,
        text: &'static str,
        retry_after: Option<u32>,
    },
    /// It is done, and then there is this answer.
    AfterDoing(Failure),
    /// There is never an answer.
    Hang,
}

#[derive(Debug)]
pub(crate) struct Fault {
    pub method: Method,
    /// What the URL has in it.
    pub part: String,
    /// How often.
    pub times: usize,
    pub effect: Effect,
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn take(&self, method: &Method, url: &str) -> Option<Effect> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = faults
            .iter_mut()
            .find(|fault| fault.times > 0 && fault.method == *method && url.contains(&fault.part))?;
        fault.times -= 1;
        Some(fault.effect.clone())
    }
}
