//! A socket in front of an engine that lets everything through but its events.

use std::path::{Path, PathBuf};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// What an engine answers that has nothing to tell.
const NOTHING_YET: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

pub struct Silence {
    pub socket: PathBuf,
    server: JoinHandle<()>,
}

impl Silence {
    pub fn before(engine: &Path, folder: &Path) -> Self {
        let socket = folder.join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let engine = engine.to_owned();
        let server = tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                let there = UnixStream::connect(&engine).await.unwrap();
                tokio::spawn(carry(here, there));
            }
        });
        Self { socket, server }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn carry(here: UnixStream, there: UnixStream) {
    let (mut asks, mut hears) = here.into_split();
    let (mut answers, mut engine) = there.into_split();
    tokio::select! {
        () = questions(&mut asks, &mut engine) => {}
        // Either side may go at any time.
        _ = copy(&mut answers, &mut hears) => return,
    }
    if hears.write_all(NOTHING_YET).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Hands them on until events are asked for.
async fn questions(asks: &mut OwnedReadHalf, engine: &mut OwnedWriteHalf) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = asks.read(&mut bytes).await {
        let piece = bytes.get(..count).unwrap_or_default();
        let line = piece.split(|byte| *byte == b'\r').next().unwrap_or_default();
        if String::from_utf8_lossy(line).contains("/events?") {
            return;
        }
        if engine.write_all(piece).await.is_err() {
            break;
        }
    }
    std::future::pending().await
}
