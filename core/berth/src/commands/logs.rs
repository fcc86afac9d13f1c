//! `berth logs`.

use berth_api::{Client, LogPart};
use clap::Args;
use futures::TryStreamExt;

use super::{
    Session,
    follow::whole_stream,
    job_id,
    sink::{Form, Sink, Stream},
};
use crate::exit_code::Status;

/// Lines are looked for in ever larger parts of the end: from this…
const FIRST_PART_BYTES: u64 = 64 << 10;
/// … up to this, which is kept in memory.
const LAST_PART_BYTES: u64 = 64 << 20;

/// Which part of what a job has written.
#[derive(Args, Clone, Debug)]
pub struct LogsArgs {
    /// Job: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id)]
    job: String,
    /// Go on with what is written later, until the job ends
    #[arg(short, long)]
    follow: bool,
    /// Only so many lines from the end
    #[arg(short = 'n', long, value_name = "LINES", conflicts_with = "bytes")]
    tail: Option<usize>,
    /// Only so many bytes from the end: 4096, 64K
    #[arg(short = 'c', long, value_name = "SIZE", value_parser = berth_model::parse_bytes)]
    bytes: Option<u64>,
    /// Only what was written from then on: 10m, or 2030-01-31T09:00:00Z; for running jobs, where the executor
    /// knows the times
    #[arg(long, value_name = "WHEN", conflicts_with_all = ["tail", "bytes"])]
    since: Option<String>,
    /// Standard error instead of standard output
    #[arg(short, long)]
    stderr: bool,
}

impl LogsArgs {
    /// Prints it, to standard output whichever stream it was.
    ///
    /// # Errors
    /// When the server cannot be asked, or knows no such job.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        let form = match session.output.json {
            true => Form::Json(self.job.clone()),
            false => Form::Raw,
        };
        let stream = if self.stderr { Stream::Stderr } else { Stream::Stdout };
        let mut sink = Sink::new(stream, form).onto_stdout();
        let name = Some(stream.name().to_owned());
        let mut part =
            LogPart { stream: name, tail_bytes: self.bytes, follow: self.follow, since: self.since.clone() };
        match self.tail {
            None if self.follow && self.bytes.is_none() && part.since.is_none() => {
                whole_stream(client, self.job, sink).await?
            }
            None => copy(&client, &self.job, &part, &mut sink).await?,
            Some(lines) => {
                let end = last_lines(&client, &self.job, &part, lines).await?;
                if self.follow {
                    part.tail_bytes = Some(end.len() as u64);
                    copy(&client, &self.job, &part, &mut sink).await?;
                } else {
                    let mut out = sink.take(&end);
                    out.extend(sink.finish());
                    sink.write(out).await?;
                }
            }
        }
        Ok(Status::OK)
    }
}

async fn copy(client: &Client, job: &str, part: &LogPart, sink: &mut Sink) -> anyhow::Result<()> {
    let mut bytes = client.logs(job, part).await?;
    while let Some(piece) = bytes.try_next().await? {
        let out = sink.take(&piece);
        sink.write(out).await?;
    }
    let rest = sink.finish();
    Ok(sink.write(rest).await?)
}

async fn last_lines(client: &Client, job: &str, part: &LogPart, lines: usize) -> anyhow::Result<Vec<u8>> {
    let mut tail_bytes = FIRST_PART_BYTES;
    loop {
        let part = LogPart { tail_bytes: Some(tail_bytes), follow: false, ..part.clone() };
        let mut bytes = client.logs(job, &part).await?;
        let mut end = Vec::new();
        while let Some(piece) = bytes.try_next().await? {
            end.extend_from_slice(&piece);
        }
        let start = start_of_lines(&end, lines);
        let is_all = (end.len() as u64) < tail_bytes || tail_bytes >= LAST_PART_BYTES;
        if start > 0 || lines == 0 || is_all {
            return Ok(end.split_off(start));
        }
        tail_bytes *= 8;
    }
}

/// Where the last so many lines begin; 0 when there are not more.
fn start_of_lines(text: &[u8], lines: usize) -> usize {
    if lines == 0 {
        return text.len();
    }
    // A line break at the very end closes the last line and opens none.
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    breaks.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let last = |text: &'static str, lines| &text[start_of_lines(text.as_bytes(), lines)..];
        assert_eq!(last("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last("a\nb\nc", 2), "b\nc");
        assert_eq!(last("a\n\n", 1), "\n");
        assert_eq!(last("a\nb\n", 5), "a\nb\n");
        assert_eq!(last("a\nb\n", 0), "");
        assert_eq!(last("", 3), "");
    }
}
