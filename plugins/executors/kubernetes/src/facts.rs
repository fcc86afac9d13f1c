//! What a Job says of its attempt: by its own state, and by what Berth has noted on it. Pure.

use berth_executor_api::UtcMs;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use serde_json::{Value, json};

use crate::{
    names::annotation,
    standing::{Standing, State, time},
};

/// What the Job says.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// There is none, and so nobody who will say more.
    pub no_job: bool,
    pub stopped: bool,
    pub suspended: bool,
    /// It was suspended by Berth, and so ran before.
    pub ran: bool,
    pub complete: Option<Option<UtcMs>>,
    pub failed: Option<(Option<UtcMs>, String, String)>,
    /// It will have failed, for this reason, once its Pod is gone.
    pub failing: Option<String>,
    pub noted: Option<Noted>,
    pub withdrawn: Option<Withdrawn>,
}

/// Why Berth takes an attempt back that gets no further. It counts once its Pod is gone without having run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Withdrawn {
    /// For want of room; otherwise it cannot be started.
    pub no_room: bool,
    pub words: String,
}

impl Withdrawn {
    pub fn write(&self) -> String {
        json!({ "no-room": self.no_room, "words": self.words }).to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let words = value.get("words")?.as_str()?.to_owned();
        Some(Self { no_room: value.get("no-room")?.as_bool()?, words })
    }
}

/// An end as it was noted on the Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub state: State,
    pub message: Option<String>,
    pub node: Option<String>,
}

impl Noted {
    pub fn of(standing: &Standing) -> Option<Self> {
        let Standing { state, message, node, .. } = standing.clone();
        matches!(state, State::Exited(_) | State::NodeGone).then_some(Self { state, message, node })
    }

    pub fn write(&self) -> String {
        let exit = match &self.state {
            State::Exited(exit) => Some(exit),
            _ => None,
        };
        json!({ "exit": exit, "message": self.message, "node": self.node }).to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let words = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let exit = value.get("exit")?.clone();
        let state = match exit.is_null() {
            true => State::NodeGone,
            false => State::Exited(serde_json::from_value(exit).ok()?),
        };
        Some(Self { state, message: words("message"), node: words("node") })
    }
}

impl Facts {
    pub fn of(job: Option<&Job>) -> Self {
        let Some(job) = job else { return Self { no_job: true, ..Self::default() } };
        let annotations = job.metadata.annotations.as_ref();
        let has = |key: &str| annotations.is_some_and(|all| all.contains_key(key));
        let status = job.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let holds = |kind: &str| {
            let is_it = |one: &&JobCondition| one.type_ == kind && one.status == "True";
            conditions.into_iter().flatten().find(is_it)
        };
        let at = |one: &JobCondition| one.last_transition_time.as_ref().map(time);
        let words = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            no_job: false,
            stopped: has(annotation::STOP),
            ran: has(annotation::BASE) || has(annotation::SUSPENDED),
            suspended: job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true),
            complete: holds("Complete").map(at),
            failed: holds("Failed").map(|one| (at(one), words(&one.reason), words(&one.message))),
            failing: holds("FailureTarget").map(|one| words(&one.reason)),
            noted: annotations.and_then(|all| all.get(annotation::EXIT)).and_then(|text| Noted::read(text)),
            withdrawn: annotations
                .and_then(|all| all.get(annotation::WITHDRAWN))
                .and_then(|text| Withdrawn::read(text)),
        }
    }

    pub fn is_over_time(&self) -> bool {
        let failed = self.failed.as_ref().map(|(_, reason, _)| reason);
        failed.or(self.failing.as_ref()).is_some_and(|reason| reason == "DeadlineExceeded")
    }
}
