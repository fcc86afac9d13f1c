//! A server from its first listener to its last connection.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Backend, BindError, Settings, connection,
    front::Front,
    listen::{Door, LocalListener, bind_address},
    routes,
};

/// After an error of the system's, such as too many open files, accepting at once would only spin.
const BREATH: Duration = Duration::from_millis(50);

/// Listens already, so that clients may come; they are answered once it serves.
pub struct Server {
    settings: Settings,
    backend: Arc<dyn Backend>,
    local: Option<LocalListener>,
    remote: Vec<TcpListener>,
}

impl Server {
    /// Opens the socket and the addresses. A socket that a dead server has left is replaced.
    /// # Errors
    /// When one of them cannot be had; none is open then.
    pub async fn bind(settings: Settings, backend: Arc<dyn Backend>) -> Result<Self, BindError> {
        let local = match &settings.socket {
            Some(path) => Some(LocalListener::bind(path, settings.socket_mode).await?),
            None => None,
        };
        let mut remote = Vec::new();
        for address in &settings.listen {
            remote.push(bind_address(*address).await?);
        }
        Ok(Self { settings, backend, local, remote })
    }

    /// The addresses that it listens on, with the ports that the system has chosen.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.remote.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Answers until `shutdown` is cancelled. Then nobody new is let in, streams end, and requests under way
    /// have `patience.shutdown` to finish.
    pub async fn serve(self, shutdown: CancellationToken) {
        let stop = shutdown.child_token();
        let cut = CancellationToken::new();
        // Also when this future is dropped.
        let _ends = (stop.clone().drop_guard(), cut.clone().drop_guard());
        let patience = self.settings.patience;
        let doors = Doors::new(self.settings, self.backend, stop.clone(), cut.clone());
        let room = || Arc::new(Semaphore::new(doors.front.settings.max_connections));
        if let Some(local) = self.local {
            doors.tracker.spawn(doors.clone().open(local, room()));
        }
        let shared = room();
        for remote in self.remote {
            doors.tracker.spawn(doors.clone().open(remote, shared.clone()));
        }
        doors.tracker.close();
        stop.cancelled().await;
        if timeout(patience.shutdown, doors.tracker.wait()).await.is_err() {
            tracing::info!("connections cut at shutdown");
            cut.cancel();
            doors.tracker.wait().await;
        }
    }
}

/// Lets clients in.
#[derive(Clone)]
struct Doors {
    front: Arc<Front>,
    router: Router,
    tracker: TaskTracker,
    cut: CancellationToken,
}

impl Doors {
    fn new(
        settings: Settings,
        backend: Arc<dyn Backend>,
        stop: CancellationToken,
        cut: CancellationToken,
    ) -> Self {
        let (router, openapi) = routes::build(settings.godocker);
        let front = Arc::new(Front { backend, settings, openapi, stop });
        Self { router: router.with_state(front.clone()), front, tracker: TaskTracker::new(), cut }
    }

    async fn open<D: Door>(self, door: D, permits: Arc<Semaphore>) {
        loop {
            let next = async {
                let permit = permits.clone().acquire_owned().await;
                (permit, door.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = self.front.stop.cancelled() => return,
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (front, router, cut) = (self.front.clone(), self.router.clone(), self.cut.clone());
                    self.tracker.spawn(async move {
                        let _permit = permit;
                        connection::serve(front, router, peer, stream, cut).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection");
                    sleep(BREATH).await;
                }
            }
        }
    }
}
