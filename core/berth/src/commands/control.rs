//! `berth kill`, `suspend`, `resume`, `hold`, `release`, `rerun` and `signal`.

use berth_api::{ControlRequest, ControlResult, Controls};
use clap::Args;

use super::{Session, job_id};
use crate::{exit_code::Status, output};

/// Which jobs are meant.
#[derive(Args, Clone, Debug)]
pub struct ManyArgs {
    /// Jobs: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id, required_unless_present = "user")]
    jobs: Vec<String>,
    /// All live jobs of this user instead
    #[arg(long, value_name = "NAME", conflicts_with = "jobs")]
    user: Option<String>,
    /// With --user: only those with this tag
    #[arg(long, value_name = "WORD", requires = "user")]
    tag: Option<String>,
}

/// A signal, and to which jobs.
#[derive(Args, Clone, Debug)]
pub struct SignalArgs {
    /// Signal: a name such as USR1, or a number
    #[arg(value_name = "SIGNAL", value_parser = signal_number)]
    signal: i32,
    #[command(flatten)]
    many: ManyArgs,
}

impl ManyArgs {
    /// Has it done, and says what came of it for each job.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses as a whole.
    pub async fn run(self, session: &Session, action: Controls) -> anyhow::Result<Status> {
        self.send(session, action, None).await
    }

    async fn send(self, session: &Session, action: Controls, signal: Option<i32>) -> anyhow::Result<Status> {
        let request = ControlRequest { action, jobs: self.jobs, user: self.user, tag: self.tag, signal };
        let results = session.client().await?.control(&request).await?;
        if session.output.json {
            session.output.document(&results)?;
        } else {
            report(&results, session)?;
        }
        let all = results.iter().all(|result| result.done);
        Ok(if all { Status::OK } else { Status::FAILED })
    }
}

impl SignalArgs {
    /// Sends it.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses as a whole.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        self.many.send(session, Controls::Signal, Some(self.signal)).await
    }
}

/// What was done without more to say stays unsaid.
fn report(results: &[ControlResult], session: &Session) -> anyhow::Result<()> {
    for result in results {
        let message = result.message.as_deref();
        match (result.done, message) {
            (true, None) => {}
            (true, Some(message)) => {
                let line = format!("{}: {message}", result.job);
                session.output.text(&output::escape::one_line(&line))?;
            }
            (false, message) => {
                output::note(&format!("{}: {}", result.job, message.unwrap_or("it was not done")));
            }
        }
    }
    Ok(())
}

fn signal_number(text: &str) -> Result<i32, String> {
    const NAMES: [(&str, i32); 14] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("ALRM", 14),
        ("TERM", 15),
        ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20),
        ("WINCH", 28),
    ];
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|&(_, number)| number);
    named.or_else(|| text.parse().ok().filter(|number| (1..=64).contains(number))).ok_or_else(|| {
        format!("{text:?} is not a signal; write a name such as USR1, or a number from 1 to 64")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_by_name_or_number() {
        for (text, number) in [("USR1", 10), ("sigterm", 15), ("9", 9), ("64", 64)] {
            assert_eq!(signal_number(text), Ok(number));
        }
        for wrong in ["", "0", "65", "-9", "SIG", "NOPE"] {
            assert!(signal_number(wrong).is_err(), "{wrong}");
        }
    }
}
