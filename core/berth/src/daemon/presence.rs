//! Berth's processes tell that they are there, and what they do. Nothing is decided by it.

use std::{path::Path, sync::Arc, time::Duration};

use berth_config::Config;
use berth_status_api::{Board, BoardError, Process, Role};
use tokio::{sync::watch, task::JoinHandle};

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// This process on the board.
pub struct Presence {
    board: Arc<dyn Board>,
    me: watch::Sender<Process>,
    telling: JoinHandle<()>,
}

impl Presence {
    /// Tells of this process from now on, three times within the time for which it is believed.
    pub fn start(board: Arc<dyn Board>, config: &Config, ttl: Duration) -> Self {
        let (me, told) = watch::channel(this_process(config));
        let telling = tokio::spawn(tell(Arc::clone(&board), told, ttl / 3));
        Self { board, me, telling }
    }

    /// This process does something else now.
    pub fn is(&self, role: Role) {
        self.me.send_if_modified(|me| std::mem::replace(&mut me.role, role) != role);
    }

    /// Those that are there.
    ///
    /// # Errors
    /// When nobody knows.
    pub async fn processes(&self) -> Result<Vec<Process>, BoardError> {
        let cluster = self.me.borrow().cluster.clone();
        let mut processes = self.board.processes(&cluster).await?;
        processes.sort_by(|one, other| (one.role, &one.instance).cmp(&(other.role, &other.instance)));
        Ok(processes)
    }

    /// Says good-bye, so that nobody has to wait until this process is missed.
    pub async fn leave(&self) {
        self.telling.abort();
        let me = self.me.borrow().clone();
        match tokio::time::timeout(FAREWELL, self.board.leave(&me)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "this process is listed a little longer"),
            Err(_) => tracing::warn!("this process is listed a little longer; the board does not answer"),
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.telling.abort();
    }
}

/// Tells again and again, and at once when something has changed.
async fn tell(board: Arc<dyn Board>, mut told: watch::Receiver<Process>, every: Duration) {
    let mut is_away = false;
    loop {
        let me = told.borrow_and_update().clone();
        match board.tell(&me).await {
            Ok(()) if std::mem::take(&mut is_away) => tracing::info!("this process is listed again"),
            Ok(()) => {}
            Err(error) if !std::mem::replace(&mut is_away, true) => {
                tracing::warn!(error = %error, "this process is not listed; it goes on, and tries again");
            }
            Err(_) => {}
        }
        if matches!(tokio::time::timeout(every, told.changed()).await, Ok(Err(_))) {
            return;
        }
    }
}

fn this_process(config: &Config) -> Process {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_owned();
    let pid = std::process::id();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
    let addresses = config.server.listen.iter().map(ToString::to_string);
    Process {
        cluster: config.cluster.name.clone(),
        instance: format!("{}-{pid}", host.chars().map(plain).collect::<String>()),
        // Whoever leads says so as soon as it does.
        role: Role::StandBy,
        host,
        pid,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        doors: addresses.chain([Path::new(&config.server.socket).display().to_string()]).collect(),
        started_ms: super::now().0,
    }
}
