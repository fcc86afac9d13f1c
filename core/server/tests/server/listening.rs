//! Sockets and addresses.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    sync::Arc,
};

use berth_server::{BindError, Server, Settings};

use crate::{
    memory::Memory,
    running::{Running, exists},
};

async fn bind(socket: &Path) -> Result<Server, BindError> {
    let settings = Settings { socket: Some(socket.to_owned()), ..Settings::default() };
    Server::bind(settings, Arc::<Memory>::default()).await
}

/// Asks for `/v1/info` with plain calls, so that it can be done by a thread of another user.
fn whoami(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(crate::running::request("GET", "/v1/info", "", "").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    body["user"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_says_who_is_calling_on_the_socket() {
    let server = Running::start().await;
    let me = rustix::process::getuid();
    let socket = server.socket.clone();
    let found = tokio::task::spawn_blocking(move || whoami(&socket)).await.unwrap();
    assert_eq!(found, format!("uid{}", me.as_raw()));
    if !me.is_root() {
        return;
    }
    // The folder is only ours by default; the socket is everybody's.
    std::fs::set_permissions(server.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = server.socket.clone();
    // On Linux each thread has a user of its own, and this one ends with the closure.
    let other = std::thread::spawn(move || {
        let uid = rustix::process::Uid::from_raw(54321);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        whoami(&socket)
    });
    let found = tokio::task::spawn_blocking(move || other.join().unwrap()).await.unwrap();
    assert_eq!(found, "uid54321");
}

#[tokio::test]
async fn the_socket_has_the_permissions_that_were_asked_for() {
    for mode in [0o600, 0o660, 0o666] {
        let server = Running::start_with(|settings| settings.socket_mode = mode).await;
        let found = std::fs::metadata(&server.socket).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode);
        let beside: Vec<_> = std::fs::read_dir(server.folder.path()).unwrap().collect();
        assert_eq!(beside.len(), 1, "nothing is left beside it: {beside:?}");
    }
}

#[tokio::test]
async fn what_a_dead_server_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("berth.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(exists(&socket));
    let server = bind(&socket).await.unwrap();
    assert!(UnixStream::connect(&socket).is_ok());
    drop(server);
    assert!(!exists(&socket), "it goes with its server");
}

#[tokio::test]
async fn a_server_that_answers_is_left_alone() {
    let server = Running::start().await;
    let error = bind(&server.socket).await.err().unwrap();
    assert!(matches!(error, BindError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("server.socket"), "{error}");
    server.client().await.info().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = bind(&path).await.err().unwrap();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_socket_of_somebody_else_is_not_taken_along() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("berth.sock");
    let first = bind(&socket).await.unwrap();
    std::fs::remove_file(&socket).unwrap();
    let _second = bind(&socket).await.unwrap();
    drop(first);
    assert!(exists(&socket));
}

#[tokio::test]
async fn what_cannot_be_had_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/berth.sock");
    let error = bind(&missing).await.err().unwrap();
    assert!(
        matches!(error, BindError::Socket { .. }) && error.to_string().contains("missing/berth.sock"),
        "{error}"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = vec![taken.local_addr().unwrap()];
    let socket = folder.path().join("berth.sock");
    let settings = Settings { socket: Some(socket.clone()), listen, ..Settings::default() };
    let error = Server::bind(settings, Arc::<Memory>::default()).await.err().unwrap();
    assert!(
        matches!(error, BindError::Address { .. }) && error.to_string().contains("server.listen"),
        "{error}"
    );
    assert!(!exists(&socket), "nothing is left of what was opened before");
}
