//! Two-way connections with running jobs.

use futures::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use hyper::{body::Bytes, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};

use super::{ClientError, refused, wire::Wire};
use crate::{ErrorBody, ErrorCode, TerminalSize, Word};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The way to the job. Dropping both halves ends the connection.
pub struct AttachedInput {
    socket: SplitSink<Socket, Message>,
}

/// What comes from the job.
pub struct AttachedOutput {
    socket: SplitStream<Socket>,
    target: String,
}

/// One thing that came from the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// The process has ended with this code; the last of all.
    Exit(i32),
    /// The other end has closed; the last of all.
    End,
}

pub(super) async fn attach(wire: &Wire, path: &str) -> Result<(AttachedInput, AttachedOutput), ClientError> {
    let upgraded = wire.upgrade(path).await?;
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    let (input, output) = socket.split();
    let target = wire.target().to_owned();
    Ok((AttachedInput { socket: input }, AttachedOutput { socket: output, target }))
}

impl AttachedInput {
    /// Sends bytes; `false` when the connection is over.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> bool {
        self.socket.send(Message::Binary(bytes.into())).await.is_ok()
    }

    /// Says that no more bytes will come; `false` when the connection is over.
    pub async fn end(&mut self) -> bool {
        self.say(&Word::End).await
    }

    /// Says how large the terminal here is; `false` when the connection is over.
    pub async fn resize(&mut self, size: TerminalSize) -> bool {
        self.say(&Word::Resize(size)).await
    }

    async fn say(&mut self, word: &Word) -> bool {
        let text = serde_json::to_string(word).unwrap_or_default();
        self.socket.send(Message::text(text)).await.is_ok()
    }
}

impl AttachedOutput {
    /// What comes next.
    ///
    /// # Errors
    /// The server's, or that the connection broke off.
    pub async fn next(&mut self) -> Result<Piece, ClientError> {
        loop {
            let broke_off = |source: Option<Error>| {
                let what = "the connection with the job ended early; the job itself goes on";
                ClientError::broken(&self.target, what, source.map(Into::into))
            };
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => return Ok(Piece::Bytes(bytes)),
                Some(Ok(Message::Text(text))) => match serde_json::from_str(text.as_str()) {
                    Ok(Word::Exit(code)) => return Ok(Piece::Exit(code)),
                    Ok(Word::End) => return Ok(Piece::End),
                    Ok(Word::Error(body)) => return Err(ClientError::Refused(body)),
                    // A newer server may say more.
                    Ok(Word::Resize(_)) | Err(_) => {}
                },
                Some(Ok(Message::Close(_))) | None => return Err(broke_off(None)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(broke_off(Some(error))),
            }
        }
    }
}

/// The arguments as they stand in the query.
pub(super) fn argv_text(argv: &[String]) -> Result<String, ClientError> {
    serde_json::to_string(argv).map_err(|error| {
        let body = ErrorBody::new(ErrorCode::Invalid, format!("the command cannot be written: {error}"));
        refused(body.code, body.message)
    })
}
