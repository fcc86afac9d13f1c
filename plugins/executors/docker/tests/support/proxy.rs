//! A socket in front of an engine that can be cut, so that the engine itself stays as it is.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

pub struct Proxy {
    pub socket: PathBuf,
    engine: PathBuf,
    life: Mutex<CancellationToken>,
}

impl Proxy {
    pub fn new(folder: &Path, engine: &Path) -> Arc<Self> {
        let socket = folder.join("engine.sock");
        let proxy = Self { socket, engine: engine.to_owned(), life: Mutex::new(CancellationToken::new()) };
        proxy.mend();
        Arc::new(proxy)
    }

    /// Breaks all connections and takes no more.
    pub fn cut(&self) {
        self.life.lock().unwrap().cancel();
        let _ = std::fs::remove_file(&self.socket);
    }

    /// Takes connections again.
    pub fn mend(&self) {
        let mut life = self.life.lock().unwrap();
        let _ = std::fs::remove_file(&self.socket);
        *life = CancellationToken::new();
        let listener = UnixListener::bind(&self.socket).unwrap();
        let (engine, now) = (self.engine.clone(), life.clone());
        tokio::spawn(life.clone().run_until_cancelled_owned(serve(listener, engine, now)));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn serve(listener: UnixListener, engine: PathBuf, life: CancellationToken) {
    while let Ok((mut here, _)) = listener.accept().await {
        let engine = engine.clone();
        let carry = async move {
            if let Ok(mut there) = UnixStream::connect(engine).await {
                // Either side may go at any time.
                let _ = copy_bidirectional(&mut here, &mut there).await;
            }
        };
        tokio::spawn(life.clone().run_until_cancelled_owned(carry));
    }
}
