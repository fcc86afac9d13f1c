//! Following what a job writes, over breaks of the connection.

use std::time::{Duration, Instant};

use berth_api::{Client, ClientError, ErrorCode, LogPart};
use futures::TryStreamExt;

use super::sink::Sink;

/// How long a server may be away before one gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Passes on a stream of a job from its beginning until the job has ended and all of it is there.
///
/// # Errors
/// When the server stays away or refuses, or nobody reads our output any more.
pub async fn whole_stream(client: Client, job: String, mut sink: Sink) -> anyhow::Result<()> {
    let part = LogPart { stream: Some(sink.stream().name().to_owned()), follow: true, ..LogPart::default() };
    // Every byte is passed on once, however often the connection has to be made anew.
    let mut passed = 0;
    let mut away = Away::default();
    loop {
        let before = passed;
        let Err(error) = once(&client, &job, &part, &mut sink, &mut passed).await else { break };
        if passed > before {
            away = Away::default();
        }
        away.pause(error.downcast::<ClientError>()?).await?;
    }
    let rest = sink.finish();
    Ok(sink.write(rest).await?)
}

async fn once(
    client: &Client,
    job: &str,
    part: &LogPart,
    sink: &mut Sink,
    passed: &mut u64,
) -> anyhow::Result<()> {
    let mut skip = *passed;
    let mut bytes = client.logs(job, part).await?;
    while let Some(piece) = bytes.try_next().await? {
        let known = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
        skip -= known as u64;
        let new = piece.get(known..).unwrap_or_default();
        let out = sink.take(new);
        sink.write(out).await?;
        *passed += new.len() as u64;
    }
    Ok(())
}

/// A server that does not answer, and how long it has not.
#[derive(Debug, Default)]
pub struct Away {
    since: Option<Instant>,
    pause: Duration,
}

impl Away {
    /// Waits a while before the next try.
    ///
    /// # Errors
    /// Gives the error back when it will not pass, or has lasted too long.
    pub async fn pause(&mut self, error: ClientError) -> Result<(), ClientError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !passes(&error) || since.elapsed() > PATIENCE {
            return Err(error);
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        tokio::time::sleep(self.pause).await;
        Ok(())
    }
}

/// Whether it is worth trying again.
pub fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::NoServer { .. } | ClientError::Broken(_) => true,
        _ => matches!(error.code(), Some(ErrorCode::Unavailable | ErrorCode::TooMany)),
    }
}
