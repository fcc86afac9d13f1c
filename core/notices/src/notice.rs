//! What is told of a job. Nothing in it is a secret: no variables, no script, no arguments.

use std::{fmt::Write as _, time::Duration};

use berth_model::{Occasion, UtcMs, format_bytes, format_duration};
use serde::{Deserialize, Serialize};

/// The longest that words of others are told at.
const MOST_WORDS: usize = 1000;
/// Likewise for a name.
const MOST_NAME: usize = 200;

/// One thing that happened to a job, with what was known of the job then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The cluster's name.
    pub cluster: String,
    /// What happened: `start`, `end`, `suspend`, `resume` or `message`.
    pub event: Occasion,
    /// When.
    pub at: UtcMs,
    /// The job's number.
    pub job: u64,
    /// As people write it.
    pub label: String,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub user: String,
    /// Its project.
    pub project: String,
    /// Where it stood then, in the field's word: `running`, `succeeded`, `failed` and so on.
    pub state: String,
    /// Why it ended so, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The exit code as a shell would give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What the job said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Counts its executions from 1.
    pub attempt: u32,
    /// How many tasks it has, for an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// Where it is or was: `EXECUTOR/NODE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When it was submitted.
    pub submitted: UtcMs,
    /// When it began to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<UtcMs>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<UtcMs>,
    /// CPU time used, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_micros: Option<u64>,
    /// The most memory used, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
}

/// Text without anything that could begin a line or a header, and no longer than so many characters.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    let mut line: String = text.chars().map(plain).take(most).collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

impl Notice {
    /// With everything that others have written brought to a bearable length and into one line.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.name = one_line(&self.name, MOST_NAME);
        for words in [&mut self.cause, &mut self.message].into_iter().flatten() {
            *words = one_line(words, MOST_WORDS);
        }
        self
    }

    /// What happened, in a few words: `failed: exit code 3`.
    #[must_use]
    pub fn words(&self) -> String {
        match (self.event, &self.cause, &self.message) {
            (Occasion::Start, ..) => "has started".to_owned(),
            (Occasion::Suspend, ..) => "is suspended".to_owned(),
            (Occasion::Resume, ..) => "runs again".to_owned(),
            (Occasion::Message, _, message) => {
                format!("says: {}", one_line(message.as_deref().unwrap_or_default(), MOST_WORDS))
            }
            (_, Some(cause), _) => format!("{}: {}", self.ended_as(), one_line(cause, MOST_WORDS)),
            _ => self.ended_as().to_owned(),
        }
    }

    fn ended_as(&self) -> &str {
        match self.state.as_str() {
            "killed" => "was killed",
            "rejected" => "was rejected",
            "lost" => "is lost",
            "failed" => "has failed",
            "succeeded" => "has succeeded",
            other => other,
        }
    }

    /// The subject of a mail about it.
    #[must_use]
    pub fn subject(&self) -> String {
        let words = one_line(&self.words(), 120);
        format!("[{}] job {} ({}) {words}", self.cluster, self.label, one_line(&self.name, 80))
    }

    /// The text of a mail about it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text =
            format!("Job {} ({}) {}.\n\n", self.label, one_line(&self.name, MOST_NAME), self.words());
        for (title, value) in self.lines() {
            let _ = writeln!(text, "  {title:<11} {}", one_line(&value, MOST_WORDS));
        }
        let _ = write!(text, "\nMore about it:  berth job {}\n", self.label);
        text
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let ran = self.started.map(|started| self.ended.unwrap_or(self.at).since(started));
        let lines = [
            ("name", Some(self.name.clone())),
            ("user", Some(self.user.clone())),
            ("project", Some(self.project.clone())),
            ("state", Some(self.state.clone())),
            ("cause", self.cause.clone()),
            ("exit code", self.exit_code.map(|code| code.to_string())),
            ("tasks", self.tasks.map(|tasks| tasks.to_string())),
            ("attempt", (self.attempt > 1).then(|| self.attempt.to_string())),
            ("node", self.node.clone()),
            ("submitted", Some(self.submitted.to_string())),
            ("started", self.started.map(|at| at.to_string())),
            ("ended", self.ended.map(|at| at.to_string())),
            ("ran for", ran.filter(|_| self.event != Occasion::Start).map(format_duration)),
            ("CPU time", self.cpu_micros.map(|micros| format_duration(Duration::from_micros(micros)))),
            ("memory", self.memory_peak_bytes.map(|bytes| format!("{} at most", format_bytes(bytes)))),
        ];
        lines.into_iter().filter_map(|(title, value)| Some((title, value?))).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn notice() -> Notice {
        Notice {
            cluster: "berth".into(),
            event: Occasion::End,
            at: UtcMs(1_763_715_600_000),
            job: 12,
            label: "12".into(),
            name: "align".into(),
            user: "ann".into(),
            project: "rna".into(),
            state: "failed".into(),
            cause: Some("exit code 3".into()),
            exit_code: Some(3),
            message: None,
            attempt: 2,
            tasks: None,
            node: Some("local/here".into()),
            submitted: UtcMs(1_763_715_500_000),
            started: Some(UtcMs(1_763_715_540_000)),
            ended: Some(UtcMs(1_763_715_600_000)),
            cpu_micros: Some(58_000_000),
            memory_peak_bytes: Some(12 << 20),
        }
    }

    #[test]
    fn a_mail_says_what_happened_and_what_was_used() {
        let notice = notice();
        assert_eq!(notice.subject(), "[berth] job 12 (align) has failed: exit code 3");
        assert_eq!(
            notice.text(),
            "Job 12 (align) has failed: exit code 3.\n\n  name        align\n  user        ann\n  project     rna\n  \
             state       failed\n  cause       exit code 3\n  exit code   3\n  attempt     2\n  node        local/here\n  \
             submitted   2025-11-21T08:58:20Z\n  started     2025-11-21T08:59:00Z\n  ended       2025-11-21T09:00:00Z\n  \
             ran for     1m\n  CPU time    58s\n  memory      12M at most\n\nMore about it:  berth job 12\n"
        );
    }

    #[test]
    fn what_others_wrote_begins_no_line_and_comes_to_an_end() {
        let evil = "x\r\nBcc: victim@example.org\u{2028}\u{0}y";
        let notice = Notice {
            name: evil.into(),
            cause: Some(evil.repeat(1000)),
            event: Occasion::Message,
            message: Some(evil.into()),
            ..notice()
        };
        for text in [notice.subject(), notice.words()] {
            assert!(!text.contains(['\r', '\n', '\0', '\u{2028}']), "{text:?}");
        }
        assert!(notice.text().lines().all(|line| !line.starts_with("Bcc")), "{}", notice.text());
        let bounded = notice.bounded();
        assert!(bounded.cause.as_ref().unwrap().chars().count() <= MOST_WORDS + 1);
        assert!(serde_json::to_string(&bounded).unwrap().len() < 8192);
    }
}
