//! A line to a server that can lose what is said on it.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const PLAIN: u8 = 0;
/// The next COMMIT is not passed on, and the line breaks.
const LOSE_REQUEST: u8 = 1;
/// The next COMMIT is passed on, and the line breaks before its answer.
const LOSE_ANSWER: u8 = 2;

/// Passes on what is said, until it is told not to.
pub struct Proxy {
    pub port: u16,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(AtomicU8::new(PLAIN));
        let of_task = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(pass_on(client, server, Arc::clone(&of_task)));
            }
        });
        Self { port, mode }
    }

    /// The next end of a transaction never arrives.
    pub fn lose_the_next_request(&self) {
        self.mode.store(LOSE_REQUEST, Ordering::SeqCst);
    }

    /// The next end of a transaction arrives, and its answer does not.
    pub fn lose_the_next_answer(&self) {
        self.mode.store(LOSE_ANSWER, Ordering::SeqCst);
    }

    /// Whether it has lost what it was told to.
    pub fn has_lost(&self) -> bool {
        self.mode.load(Ordering::SeqCst) == PLAIN
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, mode: Arc<AtomicU8>) {
    let (mut asked, mut said) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                let ends = asked[..count].windows(6).any(|word| word == b"COMMIT");
                let lose = if ends { mode.swap(PLAIN, Ordering::SeqCst) } else { PLAIN };
                if lose == LOSE_REQUEST {
                    return;
                }
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
                if lose == LOSE_ANSWER {
                    // It has been carried out when it is answered.
                    let _ = server.read(&mut said).await;
                    return;
                }
            }
            read = server.read(&mut said) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&said[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
