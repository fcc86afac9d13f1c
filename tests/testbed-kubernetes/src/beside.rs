//! Processes beside containers, and connections with ports, over WebSocket.

use std::{collections::BTreeMap, process::Stdio, sync::Arc};

use axum::{
    body::Body,
    extract::{
        FromRequestParts,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::{Response, request::Parts},
    response::IntoResponse,
};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    sync::Mutex,
};

use crate::store::text;

type Sink = Arc<Mutex<SplitSink<WebSocket, Message>>>;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

async fn upgrade(
    mut parts: Parts,
    protocols: &'static [&'static str],
) -> Result<WebSocketUpgrade, Response<Body>> {
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    upgrade.map(|upgrade| upgrade.protocols(protocols.iter().copied())).map_err(IntoResponse::into_response)
}

async fn send(sink: &Sink, channel: u8, bytes: &[u8]) -> bool {
    let mut message = vec![channel];
    message.extend_from_slice(bytes);
    sink.lock().await.send(Message::Binary(message.into())).await.is_ok()
}

/// Runs a command with the Pod's variables.
pub(crate) async fn exec(parts: Parts, pod: Value, argv: Vec<String>) -> Response<Body> {
    match upgrade(parts, &["v5.channel.k8s.io", "v4.channel.k8s.io"]).await {
        Ok(upgrade) => upgrade.on_upgrade(move |socket| run(socket, pod, argv)).into_response(),
        Err(answer) => answer,
    }
}

async fn run(socket: WebSocket, pod: Value, argv: Vec<String>) {
    let (sink, mut messages) = socket.split();
    let sink: Sink = Arc::new(Mutex::new(sink));
    let variables: BTreeMap<String, String> = pod
        .pointer("/spec/containers/0/env")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|one| {
            (text(one, "/name").to_owned(), crate::kubelet::expand(text(one, "/value"), &BTreeMap::new()))
        })
        .collect();
    let mut process = Command::new(argv.first().map_or("", String::as_str));
    process.args(argv.get(1..).unwrap_or_default()).envs(variables).kill_on_drop(true);
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match process.spawn() {
        Ok(child) => child,
        Err(error) => {
            let status = json!({
                "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
                "message": format!("error executing command in container: {error}"),
            });
            send(&sink, STATUS, status.to_string().as_bytes()).await;
            let _ = sink.lock().await.close().await;
            return;
        }
    };
    let mut stdin = child.stdin.take();
    let outputs = [
        child.stdout.take().map(|stdout| tokio::spawn(copy(stdout, STDOUT, Arc::clone(&sink)))),
        child.stderr.take().map(|stderr| tokio::spawn(copy(stderr, STDERR, Arc::clone(&sink)))),
    ];
    let input = tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            let Message::Binary(bytes) = message else { continue };
            match (bytes.first(), &mut stdin) {
                (Some(&STDIN), Some(stdin)) => {
                    // It may have ended.
                    let _ = stdin.write_all(bytes.get(1..).unwrap_or_default()).await;
                }
                (Some(&CLOSE), _) => stdin = None,
                (Some(&RESIZE), _) | (_, None) | (None, _) => {}
                (Some(_), Some(_)) => {}
            }
        }
    });
    let ended = child.wait().await;
    for output in outputs.into_iter().flatten() {
        let _ = output.await;
    }
    let code = ended.ok().and_then(|status| status.code()).unwrap_or(137);
    let status = match code {
        0 => json!({ "metadata": {}, "status": "Success" }),
        code => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
    };
    send(&sink, STATUS, status.to_string().as_bytes()).await;
    let _ = sink.lock().await.close().await;
    input.abort();
}

async fn copy(mut from: impl AsyncRead + Unpin, channel: u8, sink: Sink) {
    let mut piece = vec![0; 16 << 10];
    while let Ok(bytes) = from.read(&mut piece).await {
        if bytes == 0 || !send(&sink, channel, piece.get(..bytes).unwrap_or_default()).await {
            return;
        }
    }
}

/// Connects with a port, which on this machine is the machine's own.
pub(crate) async fn forward(parts: Parts, port: u16) -> Response<Body> {
    match upgrade(parts, &["v5.channel.k8s.io", "v4.channel.k8s.io"]).await {
        Ok(upgrade) => upgrade.on_upgrade(move |socket| bridge(socket, port)).into_response(),
        Err(answer) => answer,
    }
}

async fn bridge(socket: WebSocket, port: u16) {
    let (sink, mut messages) = socket.split();
    let sink: Sink = Arc::new(Mutex::new(sink));
    // Which port a channel is, first of all, on both of its channels.
    for channel in [0, 1] {
        send(&sink, channel, &port.to_le_bytes()).await;
    }
    let stream = match TcpStream::connect(("127.0.0.1", port)).await {
        Ok(stream) => stream,
        Err(error) => {
            let words = format!("an error occurred forwarding {port} -> {port}: {error}");
            send(&sink, 1, words.as_bytes()).await;
            // As kubelet does, the connection stays for a while.
            while let Some(Ok(_)) = messages.next().await {}
            return;
        }
    };
    let (mut reader, mut writer) = stream.into_split();
    let out = Arc::clone(&sink);
    let output = tokio::spawn(async move {
        let mut piece = vec![0; 16 << 10];
        while let Ok(bytes) = reader.read(&mut piece).await {
            if bytes == 0 || !send(&out, 0, piece.get(..bytes).unwrap_or_default()).await {
                break;
            }
        }
        let _ = out.lock().await.close().await;
    });
    while let Some(Ok(message)) = messages.next().await {
        if let Message::Binary(bytes) = message
            && bytes.first() == Some(&0)
            && writer.write_all(bytes.get(1..).unwrap_or_default()).await.is_err()
        {
            break;
        }
    }
    drop(writer);
    output.abort();
}
