//! What people and programs are told of jobs, and who wants to be told what.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{End, EventKind};

/// An occasion on which somebody may be told of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// It runs.
    Start,
    /// It is over, however it ended.
    End,
    /// It has failed, was rejected or got lost.
    Fail,
    /// It was ended on demand.
    Kill,
    /// It is suspended.
    Suspend,
    /// It runs again after that.
    Resume,
    /// It has sent a message of its own.
    Message,
}

impl Occasion {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Start, Self::End, Self::Fail, Self::Kill, Self::Suspend, Self::Resume, Self::Message];

    /// As people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Fail => "fail",
            Self::Kill => "kill",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Message => "message",
        }
    }

    /// What an entry of a job's history is an occasion for; nothing, for most of them.
    #[must_use]
    pub fn of(event: &EventKind) -> &'static [Self] {
        match event {
            EventKind::Running { .. } => &[Self::Start],
            EventKind::Suspended => &[Self::Suspend],
            EventKind::Resumed => &[Self::Resume],
            EventKind::Message { .. } => &[Self::Message],
            EventKind::Ended { end, .. } => match end {
                End::Succeeded => &[Self::End],
                End::Killed { .. } => &[Self::End, Self::Kill],
                End::Failed { .. } | End::Rejected { .. } | End::Lost { .. } => &[Self::End, Self::Fail],
            },
            EventKind::Submitted { .. }
            | EventKind::Held { .. }
            | EventKind::Released { .. }
            | EventKind::Starting { .. }
            | EventKind::Stopping { .. }
            | EventKind::GivenBack { .. }
            | EventKind::Requeued { .. }
            | EventKind::LateNews { .. }
            | EventKind::Act { .. }
            | EventKind::Note { .. } => &[],
        }
    }

    /// Reads a list of them: `start,end`, `all`, or `none`.
    ///
    /// # Errors
    /// At the first word that is none.
    pub fn parse_list<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Vec<Self>, OccasionError> {
        let mut list = Vec::new();
        for word in words.into_iter().flat_map(|words| words.split(',')).map(str::trim) {
            match word {
                "" | "none" => {}
                "all" => list.extend(Self::ALL),
                word => list.push(word.parse()?),
            }
        }
        list.sort_unstable();
        list.dedup();
        Ok(list)
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Occasion {
    type Err = OccasionError;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|occasion| occasion.as_str() == word)
            .ok_or_else(|| OccasionError(word.to_owned()))
    }
}

/// A word that is no occasion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is nothing to be told of; there are start, end, fail, kill, suspend, resume, message, all and none"
)]
pub struct OccasionError(String);

/// What the owner of a job wants to be told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNotices {
    /// On these occasions; where nothing is said, on those that its owner has chosen for all jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<Occasion>>,
    /// By mail to this address instead of its owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
}

/// Where somebody wants their mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailTo {
    /// At the address that the site knows.
    #[default]
    Usual,
    /// Nowhere: no mail.
    Nowhere,
    /// Here.
    Address(String),
}

/// What somebody wants to be told of all their jobs that do not say it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoticeChoice {
    /// On these occasions.
    pub on: Vec<Occasion>,
    /// By mail.
    pub mail: MailTo,
    /// By a call of this address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

impl NoticeChoice {
    /// On which occasions a job's owner is to be told of it. An address alone asks for its end.
    #[must_use]
    pub fn occasions<'a>(&'a self, job: Option<&'a JobNotices>) -> &'a [Occasion] {
        match job {
            Some(JobNotices { on: Some(on), .. }) => on,
            Some(JobNotices { on: None, mail: Some(_) }) if self.on.is_empty() => &[Occasion::End],
            _ => &self.on,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FailCause, StopCause};

    #[test]
    fn a_list_is_read_as_people_write_it() {
        let read = |text: &str| Occasion::parse_list([text]);
        assert_eq!(read("end, start,end"), Ok(vec![Occasion::Start, Occasion::End]));
        assert_eq!(read("none"), Ok(vec![]));
        assert_eq!(read("all").map(|all| all.len()), Ok(7));
        let wrong = read("end,over").unwrap_err().to_string();
        assert!(wrong.starts_with("\"over\" is nothing to be told of; there are start, end"), "{wrong}");
        for occasion in Occasion::ALL {
            assert_eq!(occasion.as_str().parse(), Ok(occasion));
            assert_eq!(serde_json::to_value(occasion).unwrap(), occasion.as_str());
            assert!(wrong.contains(occasion.as_str()));
        }
    }

    #[test]
    fn each_end_is_one_and_a_failure_or_a_kill_beside() {
        let of = |end| Occasion::of(&EventKind::Ended { end, exit: None }).to_vec();
        let killed = End::Killed { cause: StopCause::TimeLimit, exit_code: None };
        let failed = End::Failed { cause: FailCause::OutOfMemory, exit_code: None };
        assert_eq!(of(End::Succeeded), [Occasion::End]);
        assert_eq!(of(killed), [Occasion::End, Occasion::Kill]);
        assert_eq!(of(failed), [Occasion::End, Occasion::Fail]);
        assert_eq!(of(End::Lost { reason: "gone".into() }), [Occasion::End, Occasion::Fail]);
    }

    #[test]
    fn a_job_that_says_what_it_wants_gets_that_and_nothing_else() {
        let usual = NoticeChoice { on: vec![Occasion::Fail], ..NoticeChoice::default() };
        let job =
            |on: Option<Vec<Occasion>>, mail: Option<&str>| JobNotices { on, mail: mail.map(str::to_owned) };
        assert_eq!(usual.occasions(None), [Occasion::Fail]);
        assert_eq!(usual.occasions(Some(&job(Some(vec![]), None))), []);
        assert_eq!(usual.occasions(Some(&job(Some(vec![Occasion::Start]), None))), [Occasion::Start]);
        assert_eq!(usual.occasions(Some(&job(None, Some("a@b")))), [Occasion::Fail]);
        assert_eq!(NoticeChoice::default().occasions(Some(&job(None, Some("a@b")))), [Occasion::End]);
    }
}
