//! The stream of changes, and taking it up again where it broke off.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use tokio::time::{sleep, timeout};

use super::{
    ApiStream, Client, ClientError,
    wire::{Call, read},
};
use crate::{ErrorCode, EventRow};

/// The server says something at least every 15 seconds.
const SILENT_AT_MOST: Duration = Duration::from_secs(50);
/// How long a server may be away before the stream gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const EVENT_AT_MOST: usize = 1 << 20;

/// A stream of events. It lives through a restart of the server.
pub(super) struct Events {
    client: Client,
    body: Option<Incoming>,
    parser: Parser,
    /// Where to take it up.
    seen: Option<u64>,
    ended: bool,
}

impl Events {
    pub(super) async fn open(client: Client, after: Option<u64>) -> Result<ApiStream<EventRow>, ClientError> {
        let body = subscribe(&client, after).await?.into_body();
        let events = Self { client, body: Some(body), parser: Parser::default(), seen: after, ended: false };
        Ok(stream::unfold(events, |mut events| async move {
            let item = events.next().await?;
            Some((item, events))
        })
        .boxed())
    }

    async fn next(&mut self) -> Option<Result<EventRow, ClientError>> {
        while !self.ended {
            if let Some(data) = self.parser.take() {
                let event = read::<EventRow>(self.client.target(), &data);
                match &event {
                    Ok(event) => self.seen = Some(event.seq),
                    Err(_) => self.ended = true,
                }
                return Some(event);
            }
            match self.receive().await {
                Ok(()) => {}
                Err(broken) => {
                    if let Err(error) = self.take_up(broken).await {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            }
        }
        None
    }

    /// Takes one piece from the connection.
    async fn receive(&mut self) -> Result<(), ClientError> {
        let broken = |what: &str, source| ClientError::broken(self.client.target(), what, source);
        let Some(body) = &mut self.body else { return Err(broken("the stream of events has ended", None)) };
        match timeout(SILENT_AT_MOST, body.frame()).await {
            Err(_) => Err(broken("the stream of events has fallen silent", None)),
            Ok(None) => Err(broken("the stream of events has ended", None)),
            Ok(Some(Err(error))) => Err(broken("the stream of events has broken off", Some(error.into()))),
            Ok(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) if !self.parser.feed(data) => {
                    Err(broken("an event is larger than 1 MiB; is this a Berth server?", None))
                }
                _ => Ok(()),
            },
        }
    }

    async fn take_up(&mut self, broken: ClientError) -> Result<(), ClientError> {
        self.body = None;
        self.parser = Parser::default();
        // Where nothing was seen yet, nobody knows what passed in between: the caller has to look again.
        let Some(seen) = self.seen else { return Err(broken) };
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match subscribe(&self.client, Some(seen)).await {
                Ok(answer) => {
                    self.body = Some(answer.into_body());
                    return Ok(());
                }
                Err(error) if !passes(&error) || began.elapsed() > PATIENCE => return Err(error),
                Err(_) => sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether it is worth trying again.
fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::NoServer { .. } | ClientError::Broken(_) => true,
        ClientError::Refused(body) => matches!(body.code, ErrorCode::Unavailable | ErrorCode::TooMany),
        ClientError::Unusable { .. } => false,
    }
}

async fn subscribe(client: &Client, after: Option<u64>) -> Result<Response<Incoming>, ClientError> {
    client.wire.open_answer(Call { last_event: after, ..Call::get("/v1/events") }).await
}

/// Takes server-sent events apart: only their data matters, which carries the number as well.
#[derive(Default)]
struct Parser {
    waiting: Vec<u8>,
    /// How much of `waiting` has been taken.
    taken: usize,
    data: Vec<u8>,
}

impl Parser {
    /// False when what waits is larger than any event.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        self.waiting.drain(..self.taken);
        self.taken = 0;
        self.waiting.extend_from_slice(bytes);
        self.data.len() + self.waiting.len() <= EVENT_AT_MOST + bytes.len()
    }

    /// The data of the next whole event.
    fn take(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = self.waiting.get(self.taken..)?;
            let length = rest.iter().position(|byte| *byte == b'\n')?;
            let line = rest.get(..length)?;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
            let whole = line.is_empty() && !self.data.is_empty();
            self.taken += length + 1;
            if whole {
                return Some(std::mem::take(&mut self.data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b": hello\n\nid: 1\ndata: {\"a\":\ndata: 1}\n\nid:2\r\ndata:x\r\n\r\ndata: cut";

    #[test]
    fn events_are_the_same_wherever_the_pieces_end() {
        for size in 1..=TEXT.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in TEXT.chunks(size) {
                assert!(parser.feed(piece));
                found.extend(std::iter::from_fn(|| parser.take()));
            }
            assert_eq!(found, [b"{\"a\":\n1}".to_vec(), b"x".to_vec()], "pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 64 * 1024];
        let fed = (0..64).take_while(|_| parser.feed(&piece)).count();
        assert!((16..20).contains(&fed), "{fed}");
    }
}
