//! `berth kill`, `suspend`, `resume`, `hold`, `release`, `rerun`, `alter`, `archive` and `signal`.

use std::io::IsTerminal;

use berth_api::{Alteration, ControlRequest, ControlResult, Controls};
use clap::Args;

use super::{Session, job_id};
use crate::{exit_code::Status, output};

/// How many jobs a preview shows.
const SHOWN: usize = 10;

/// Which jobs are meant.
#[derive(Args, Clone, Debug)]
pub struct ManyArgs {
    /// Jobs: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id, required_unless_present = "filter")]
    jobs: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// With a filter: do it, if so many jobs are meant
    #[arg(long, value_name = "COUNT", conflicts_with = "yes")]
    confirm: Option<u64>,
    /// With a filter: do it, however many jobs are meant
    #[arg(long)]
    yes: bool,
}

/// Jobs by what they are.
#[derive(Args, Clone, Debug)]
#[group(id = "filter", multiple = true, conflicts_with = "jobs")]
struct Filter {
    /// All live jobs of this user instead
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All live jobs with this tag
    #[arg(long, value_name = "WORD")]
    tag: Option<String>,
    /// All live jobs of this project
    #[arg(id = "of-project", long = "of-project", value_name = "NAME")]
    project: Option<String>,
    /// All live jobs whose name has this in it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// All jobs in this state
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// All jobs that ended longer ago than this, such as 30d
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
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

/// How jobs are archived, and which.
#[derive(Args, Clone, Debug)]
pub struct ArchiveArgs {
    /// Pack their directories, even where the site removes them
    #[arg(long)]
    pack: bool,
    #[command(flatten)]
    many: ManyArgs,
}

/// What is to be different, and about which jobs.
#[derive(Args, Clone, Debug)]
pub struct AlterArgs {
    #[command(flatten)]
    alteration: AlterationArgs,
    #[command(flatten)]
    many: ManyArgs,
}

/// What can be different about a job.
#[derive(Args, Clone, Debug)]
struct AlterationArgs {
    /// Priority; higher is sooner among equals
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Project that it counts for
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
    /// CPUs: 2, 0.5, 500m
    #[arg(short, long, value_name = "N")]
    cpus: Option<String>,
    /// Memory: 512M, 4G
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// Whole GPUs
    #[arg(short, long, value_name = "N")]
    gpus: Option<u32>,
    /// Longest time it may run: 90s, 2h, 1-12:00:00
    #[arg(short, long, value_name = "DURATION")]
    time: Option<String>,
}

impl AlterationArgs {
    /// Nothing, where nothing was named.
    fn alteration(self) -> Option<Alteration> {
        let Self { priority, project, cpus, memory, gpus, time } = self;
        let wanted = Alteration { priority, project, cpus, memory, gpus, time };
        (wanted != Alteration::default()).then_some(wanted)
    }
}

impl ManyArgs {
    /// Has it done, and says what came of it for each job.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses as a whole.
    pub async fn run(self, session: &Session, action: Controls) -> anyhow::Result<Status> {
        self.send(session, ControlRequest::of(action, Vec::new())).await
    }

    /// Sends what is to be done with these jobs.
    async fn send(self, session: &Session, what: ControlRequest) -> anyhow::Result<Status> {
        let Filter { user, tag, project, name, state, older_than } = self.filter;
        let (jobs, expect) = (self.jobs, self.confirm);
        let mut request =
            ControlRequest { jobs, user, tag, project, name, state, older_than, expect, ..what };
        let client = session.client().await?;
        if request.is_filter() && !self.yes && self.confirm.is_none() {
            let preview = ControlRequest { preview: true, ..request.clone() };
            let meant = client.control(&preview).await?;
            if !confirmed(&meant, session)? {
                return Ok(Status::FAILED);
            }
            request.expect = Some(meant.len() as u64);
        }
        let results = client.control(&request).await?;
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
        let signal = Some(self.signal);
        let what = ControlRequest { signal, ..ControlRequest::of(Controls::Signal, Vec::new()) };
        self.many.send(session, what).await
    }
}

impl ArchiveArgs {
    /// Has them archived.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses as a whole.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let what = ControlRequest { pack: self.pack, ..ControlRequest::of(Controls::Archive, Vec::new()) };
        self.many.send(session, what).await
    }
}

impl AlterArgs {
    /// Has jobs changed, or ended ones run again with something changed.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses as a whole.
    pub async fn run(self, session: &Session, action: Controls) -> anyhow::Result<Status> {
        let alter = self.alteration.alteration();
        self.many.send(session, ControlRequest { alter, ..ControlRequest::of(action, Vec::new()) }).await
    }
}

/// Shows which jobs are meant, and has a person at a terminal type how many they are.
fn confirmed(meant: &[ControlResult], session: &Session) -> anyhow::Result<bool> {
    if session.output.json {
        session.output.document(&meant)?;
        return Ok(false);
    }
    for result in meant.iter().take(SHOWN) {
        let line = format!("{}: {}", result.job, result.message.as_deref().unwrap_or_default());
        session.output.text(&output::escape::one_line(&line))?;
    }
    let count = meant.len();
    if count > SHOWN {
        session.output.text(&format!("and {} more", count - SHOWN))?;
    }
    if count == 0 {
        output::note("no job is meant");
        return Ok(false);
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        output::note(&format!("{count} jobs are meant and nothing was done; add --confirm {count} to do it"));
        return Ok(false);
    }
    output::note(&format!("{count} jobs are meant; type their number to do it:"));
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    Ok(typed.trim() == count.to_string())
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
