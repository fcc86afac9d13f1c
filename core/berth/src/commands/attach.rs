//! `berth exec`, `berth netcat` and `berth stats`: what is done beside a running job.

use std::{
    io::{self, IsTerminal, Read, Write},
    time::Duration,
};

use berth_api::{AttachedInput, AttachedOutput, Piece, StatsRow, TerminalSize};
use berth_model::format_bytes;
use clap::Args;
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use rustix::termios::tcgetwinsize;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::{Failure, Session, job_id};
use crate::{
    exit_code::Status,
    output::{
        table::{Column, Table},
        time::span,
    },
};

/// The most bytes that are read at once from standard input.
const PIECE_BYTES: usize = 16 << 10;

/// A process beside a running job.
#[derive(Args, Clone, Debug)]
pub struct ExecArgs {
    /// With a terminal; usual where this command has one
    #[arg(short, long, overrides_with = "no_terminal")]
    terminal: bool,
    /// Without a terminal
    #[arg(short = 'T', long)]
    no_terminal: bool,
    /// Job: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id)]
    job: String,
    /// Program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    argv: Vec<String>,
}

/// A port of a running job.
#[derive(Args, Clone, Debug)]
pub struct NetcatArgs {
    /// Job: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id)]
    job: String,
    /// Port inside the job, published or not
    #[arg(value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
}

/// Running jobs.
#[derive(Args, Clone, Debug)]
pub struct StatsArgs {
    /// Jobs: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", required = true, value_parser = job_id)]
    jobs: Vec<String>,
}

impl ExecArgs {
    /// Runs it with this command's input and output; its exit code is this command's.
    ///
    /// # Errors
    /// When the server cannot be asked, the job does not run, or its executor cannot do this.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        no_json(session, "exec")?;
        let both = io::stdin().is_terminal() && io::stdout().is_terminal();
        let terminal = !self.no_terminal && (self.terminal || both);
        let client = session.client().await?;
        let (input, output) = client.exec(&self.job, &self.argv, terminal).await?;
        let (_raw, sizes) = match terminal && both {
            true => (Some(RawMode::enter()?), Sizes::watch()?),
            false => (None, Sizes::none()),
        };
        match carry(input, output, sizes).await? {
            Piece::Exit(code) => Ok(Status::of_job("failed", Some(code), None)),
            _ => Ok(Status::UNKNOWN_END),
        }
    }
}

impl NetcatArgs {
    /// Carries standard input there and what comes back to standard output.
    ///
    /// # Errors
    /// When the server cannot be asked, the job does not run, or nobody listens there.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        no_json(session, "netcat")?;
        let (input, output) = session.client().await?.connect_port(&self.job, self.port).await?;
        carry(input, output, Sizes::none()).await?;
        Ok(Status::OK)
    }
}

impl StatsArgs {
    /// Prints what they use.
    ///
    /// # Errors
    /// When the server cannot be asked, or one of them does not run.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        let mut rows = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            rows.push(client.stats(job).await?);
        }
        if session.output.json {
            session.output.document(&rows)?;
            return Ok(Status::OK);
        }
        session.output.table(table(&rows))?;
        Ok(Status::OK)
    }
}

fn table(rows: &[StatsRow]) -> Table {
    let mut table = Table::new(&[
        Column::fixed("JOB"),
        Column::number("CPU TIME"),
        Column::number("MEMORY"),
        Column::number("PEAK"),
        Column::number("READ"),
        Column::number("WRITTEN"),
    ]);
    for row in rows {
        table.row([
            row.job.clone(),
            span(Duration::from_micros(row.cpu_micros)),
            format_bytes(row.memory_bytes),
            format_bytes(row.memory_peak_bytes),
            format_bytes(row.read_bytes),
            format_bytes(row.written_bytes),
        ]);
    }
    table
}

/// What comes from a program of any kind is no document.
fn no_json(session: &Session, command: &str) -> Result<(), Failure> {
    match session.output.json {
        true => Err(Failure::usage(format!("`berth {command}` carries bytes, and has no --json"))),
        false => Ok(()),
    }
}

/// Until the other side has ended; its last word.
async fn carry(input: AttachedInput, mut output: AttachedOutput, sizes: Sizes) -> anyhow::Result<Piece> {
    let sending = tokio::spawn(send(input, read_stdin(), sizes));
    let last = loop {
        match output.next().await? {
            Piece::Bytes(bytes) => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&bytes)?;
                stdout.flush()?;
            }
            last => break last,
        }
    };
    sending.abort();
    Ok(last)
}

/// Until the connection is over: also after the last byte of input, which is not the process's end.
async fn send(mut input: AttachedInput, mut pieces: mpsc::Receiver<Vec<u8>>, mut sizes: Sizes) {
    let mut open = true;
    loop {
        let sent = tokio::select! {
            size = sizes.next() => input.resize(size).await,
            piece = pieces.recv(), if open => match piece {
                Some(piece) => input.send(piece).await,
                None => {
                    open = false;
                    input.end().await
                }
            },
        };
        if !sent {
            return;
        }
    }
}

/// How large the terminal here is, and how large it becomes.
struct Sizes {
    changes: Option<Signal>,
    /// The first is nobody's change.
    at_once: bool,
}

impl Sizes {
    fn watch() -> io::Result<Self> {
        Ok(Self { changes: Some(signal(SignalKind::window_change())?), at_once: true })
    }

    /// Of no terminal.
    fn none() -> Self {
        Self { changes: None, at_once: false }
    }

    /// The next one. Nothing is lost where it is not waited for to the end.
    async fn next(&mut self) -> TerminalSize {
        let Some(changes) = &mut self.changes else { return std::future::pending().await };
        loop {
            if !std::mem::take(&mut self.at_once) && changes.recv().await.is_none() {
                return std::future::pending().await;
            }
            let Ok(now) = tcgetwinsize(io::stdout()) else { continue };
            // One that does not know its size says zero.
            if now.ws_col > 0 && now.ws_row > 0 {
                return TerminalSize { columns: now.ws_col, rows: now.ws_row };
            }
        }
    }
}

/// Standard input, read on a thread that may wait for ever.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, pieces) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(got @ 1..) = stdin.read(&mut piece) {
            if sender.blocking_send(piece.get(..got).unwrap_or_default().to_vec()).is_err() {
                return;
            }
        }
    });
    pieces
}

/// Keys go through as they are, until it is dropped.
struct RawMode;

impl RawMode {
    fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        Ok(Self)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = disable_raw_mode();
    }
}
