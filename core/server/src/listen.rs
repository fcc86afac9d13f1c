//! Opening the places where clients come in.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use crate::Peer;

/// Where clients come in.
pub(crate) trait Door: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next client, and what is known of it.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Door for LocalListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.listener.accept().await?;
        let uid = stream.peer_cred()?.uid();
        Ok((stream, Peer::Local { uid }))
    }
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, from) = TcpListener::accept(self).await?;
        // Answers are whole when they are written.
        stream.set_nodelay(true).ok();
        Ok((stream, Peer::Remote { address: from.ip() }))
    }
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another server is there and answers.
    #[error("another Berth already answers on {}; stop it, or set `server.socket` to another path", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// What is there was not made by a server.
    #[error("{} is there and is not a socket; move it away, or set `server.socket` to another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system does not let us.
    #[error("cannot make the socket {}; its folder has to be there and writable", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system does not let us.
    #[error("cannot listen on {address}; choose another in `server.listen`")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A Unix socket that takes its file with it when it goes.
pub(crate) struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: by now the path may be somebody else's.
    made: (u64, u64),
}

impl LocalListener {
    pub(crate) async fn bind(path: &Path, mode: u32) -> Result<Self, BindError> {
        make_room(path).await?;
        let failed = |source| BindError::Socket { path: path.to_owned(), source };
        // Made beside its place and moved there, so that nobody ever finds it with other permissions.
        let beside = path.with_file_name(format!(".{}", std::process::id()));
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&beside).map_err(failed)?;
        let placed = std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode))
            .and_then(|()| std::fs::rename(&beside, path))
            .and_then(|()| std::fs::symlink_metadata(path));
        match placed {
            Ok(made) => Ok(Self { listener, path: path.to_owned(), made: (made.dev(), made.ino()) }),
            Err(error) => {
                std::fs::remove_file(&beside).ok();
                Err(failed(error))
            }
        }
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.made);
        if ours {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

/// What a server that is gone has left is in nobody's way; anything else is.
async fn make_room(path: &Path) -> Result<(), BindError> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::Socket { path: path.to_owned(), source }),
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(())
        }
        // Also when it is only too busy to answer.
        _ => Err(BindError::InUse { path: path.to_owned() }),
    }
}

pub(crate) async fn bind_address(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError::Address { address, source })
}
