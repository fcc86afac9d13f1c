//! What administrators close of the site: drains, the maintenance switch, reservations and planned maintenance.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{NodePattern, NodePatternError, UtcMs, terms::check_name};

/// The most patterns, users or projects of one closure.
const MOST_NAMED: usize = 1000;
/// The longest reason, in bytes.
const MOST_REASON: usize = 1000;

/// Why nodes are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClosureKind {
    /// Nothing new starts on some nodes; named by their pattern.
    Drain,
    /// Nothing new starts anywhere; there is one at most, named [`Closure::SITE`].
    Maintenance,
    /// Nodes are kept for some people or projects, or, where it names nobody, for planned work on them.
    Reservation,
}

impl ClosureKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Drain, Self::Maintenance, Self::Reservation];

    /// As the API and the store have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
            Self::Reservation => "reservation",
        }
    }
}

impl fmt::Display for ClosureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Nodes on which only some jobs may start, or none.
///
/// A job that it does not let in starts on none of its nodes from `from` until `until`, nor before that when its time
/// limit would let it reach into that time. What runs goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Closure {
    /// Which nodes.
    pub nodes: Vec<NodePattern>,
    /// From when on; always, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UtcMs>,
    /// Until when; for ever, where it is left out. It goes by itself then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcMs>,
    /// Users whose jobs it lets in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<String>,
    /// Projects whose jobs it lets in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub projects: BTreeSet<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Which administrator has set it.
    pub by: String,
}

/// Why a closure cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClosureError {
    /// Nobody would know why.
    #[error("a {0} needs a reason, for those whose jobs wait because of it")]
    NoReason(ClosureKind),
    /// Too long.
    #[error("the reason has {0} bytes; the most is {MOST_REASON}")]
    LongReason(usize),
    /// Closes nothing.
    #[error("it names no nodes; write EXECUTOR/NODE, with * for any letters")]
    NoNodes,
    /// Too many names.
    #[error("it names {0} nodes, users or projects; the most is {MOST_NAMED}")]
    TooManyNames(usize),
    /// Not how nodes are named.
    #[error(transparent)]
    Pattern(#[from] NodePatternError),
    /// Not a name.
    #[error("{0}")]
    Name(String),
    /// There is no time in it.
    #[error("it would end at {until}, which is not after {after}")]
    NoTime {
        /// The end.
        until: UtcMs,
        /// Its begin, or now.
        after: UtcMs,
    },
    /// Only a reservation has it.
    #[error("only a reservation has {what}, and this is a {kind}")]
    NotHere {
        /// What.
        what: &'static str,
        /// The kind.
        kind: ClosureKind,
    },
    /// A drain is named by its nodes, and the switch has a name of its own.
    #[error("a {kind} cannot be named {name:?}")]
    WrongName {
        /// The kind.
        kind: ClosureKind,
        /// The name.
        name: String,
    },
}

impl Closure {
    /// The name of the maintenance switch.
    pub const SITE: &'static str = "site";

    /// Whether it means the node with this name, `EXECUTOR/NODE`.
    #[must_use]
    pub fn means(&self, node: &str) -> bool {
        self.nodes.iter().any(|pattern| pattern.matches(node))
    }

    /// Whether it lets nobody in.
    #[must_use]
    pub fn is_for_nobody(&self) -> bool {
        self.users.is_empty() && self.projects.is_empty()
    }

    /// Whether there can be such a closure of this kind and name, beginning to be known now.
    ///
    /// # Errors
    /// What does not do.
    pub fn check(&self, kind: ClosureKind, name: &str, now: UtcMs) -> Result<(), ClosureError> {
        if self.nodes.is_empty() {
            return Err(ClosureError::NoNodes);
        }
        let named = [self.nodes.len(), self.users.len(), self.projects.len()];
        if let Some(&many) = named.iter().find(|&&named| named > MOST_NAMED) {
            return Err(ClosureError::TooManyNames(many));
        }
        if self.reason.len() > MOST_REASON {
            return Err(ClosureError::LongReason(self.reason.len()));
        }
        if kind != ClosureKind::Reservation && self.reason.trim().is_empty() {
            return Err(ClosureError::NoReason(kind));
        }
        let only =
            [("a begin", self.from.is_some()), ("people or projects of its own", !self.is_for_nobody())];
        if kind != ClosureKind::Reservation
            && let Some((what, _)) = only.into_iter().find(|&(_, has)| has)
        {
            return Err(ClosureError::NotHere { what, kind });
        }
        let right = match (kind, self.nodes.as_slice()) {
            (ClosureKind::Drain, [only]) => only.to_string() == name,
            (ClosureKind::Maintenance, [only]) => name == Self::SITE && only.is_everything(),
            (ClosureKind::Drain | ClosureKind::Maintenance, _) => false,
            (ClosureKind::Reservation, _) => true,
        };
        if !right {
            return Err(ClosureError::WrongName { kind, name: name.to_owned() });
        }
        let own = (kind == ClosureKind::Reservation).then_some(name);
        let names = self.users.iter().chain(&self.projects).map(String::as_str).chain(own);
        for name in names {
            check_name(name).map_err(|error| ClosureError::Name(error.to_string()))?;
        }
        if let Some(until) = self.until {
            let after = self.from.unwrap_or(now).max(now);
            if until <= after {
                return Err(ClosureError::NoTime { until, after });
            }
        }
        Ok(())
    }

    /// What it says, for a history or somebody who waits: `local/n1 until 2030-01-31T18:00:00Z for user ann: a reason`.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = match self.nodes.as_slice() {
            [one] if one.is_everything() => "all nodes".to_owned(),
            nodes => nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        text.extend(self.from.map(|from| format!(" from {from}")));
        text.extend(self.until.map(|until| format!(" until {until}")));
        let who = [("user", &self.users), ("project", &self.projects)];
        let who =
            who.into_iter().flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind} {name}")));
        let who: Vec<String> = who.collect();
        if !who.is_empty() {
            text = format!("{text} for {}", who.join(", "));
        }
        if !self.reason.is_empty() {
            text = format!("{text}: {}", self.reason);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nodes: &[&str]) -> Closure {
        Closure {
            nodes: nodes.iter().map(|node| node.parse().unwrap()).collect(),
            from: None,
            until: None,
            users: BTreeSet::new(),
            projects: BTreeSet::new(),
            reason: "new disks".into(),
            by: "root".into(),
        }
    }

    #[test]
    fn a_closure_is_checked_against_its_kind() {
        use ClosureKind as K;
        let drain = of(&["local/n1"]);
        assert_eq!(drain.check(K::Drain, "local/n1", UtcMs(5)), Ok(()));
        assert_eq!(of(&["*"]).check(K::Maintenance, "site", UtcMs(5)), Ok(()));
        assert_eq!(of(&["local/*", "x/y"]).check(K::Reservation, "course", UtcMs(5)), Ok(()));
        let refused = |closure: &Closure, kind, name: &str| {
            closure.check(kind, name, UtcMs(5)).unwrap_err().to_string()
        };
        let silent = Closure { reason: " ".into(), ..drain.clone() };
        assert_eq!(
            refused(&silent, K::Drain, "local/n1"),
            "a drain needs a reason, for those whose jobs wait because of it"
        );
        assert_eq!(refused(&drain, K::Drain, "local/n2"), "a drain cannot be named \"local/n2\"");
        assert_eq!(refused(&drain, K::Maintenance, "site"), "a maintenance cannot be named \"site\"");
        assert!(refused(&drain, K::Reservation, "a/b").starts_with("\"a/b\" is no name"));
        let hers = Closure { users: ["ann".into()].into(), ..drain.clone() };
        assert_eq!(
            refused(&hers, K::Drain, "local/n1"),
            "only a reservation has people or projects of its own, and this is a drain"
        );
        let over = Closure { until: Some(UtcMs(5)), ..drain };
        assert_eq!(
            refused(&over, K::Drain, "local/n1"),
            "it would end at 1970-01-01T00:00:00.005Z, which is not after 1970-01-01T00:00:00.005Z"
        );
    }

    #[test]
    fn it_says_where_when_for_whom_and_why() {
        assert_eq!(of(&["*"]).told(), "all nodes: new disks");
        let closure = Closure {
            from: Some(UtcMs(0)),
            until: Some(UtcMs(1000)),
            users: ["ann".into()].into(),
            projects: ["rna".into()].into(),
            ..of(&["a/*", "b/n1"])
        };
        assert_eq!(
            closure.told(),
            "a/*, b/n1 from 1970-01-01T00:00:00Z until 1970-01-01T00:00:01Z for user ann, project rna: new disks"
        );
    }
}
