//! Where the processes of a Berth tell each other, and whoever asks, that they are there: a *board*.
//!
//! A board forgets a process that has not told of itself for as long as it was said to be believed. Berth tells a
//! board three times within that, so that one lost word loses nobody. Nothing that Berth decides hangs on a board: who
//! leads is known by the store.

mod http;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::http::{Answer, Http, Method, Reach};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It runs the jobs.
    Leader,
    /// It shows what is stored, and waits.
    StandBy,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leader => "leader",
            Self::StandBy => "stand-by",
        })
    }
}

/// A process of a Berth, as it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The cluster's name.
    pub cluster: String,
    /// Tells it apart from all others of the cluster: letters, digits, dots and dashes.
    pub instance: String,
    /// What it does.
    pub role: Role,
    /// The machine that it runs on.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Where it listens: addresses, and the path of its socket.
    pub doors: Vec<String>,
    /// When it started, in milliseconds since 1970.
    pub started_ms: u64,
}

/// Why a board is of no use now.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// No server answers, or none in time.
    #[error("{at} does not answer: {words}")]
    Away {
        /// The last one that was tried.
        at: String,
        /// In the system's words.
        words: String,
    },
    /// A server says no.
    #[error("{at} refuses: {words}")]
    Refused {
        /// Which.
        at: String,
        /// Its words, and its status.
        words: String,
    },
    /// A server says what nobody understands.
    #[error("{at} answers with something else than expected: {words}")]
    Unreadable {
        /// Which.
        at: String,
        /// What does not fit.
        words: String,
    },
}

/// Where processes tell that they are there.
#[async_trait]
pub trait Board: Send + Sync + 'static {
    /// Tells of this process; told again, the entry is believed for its whole time again, with what is new in it.
    ///
    /// # Errors
    /// When the board does not have it. The entry of before may be there for as long as it was to be believed.
    async fn tell(&self, process: &Process) -> Result<(), BoardError>;

    /// Those of a cluster that told of themselves within the time for which they are believed, in no order.
    ///
    /// # Errors
    /// When nobody knows.
    async fn processes(&self, cluster: &str) -> Result<Vec<Process>, BoardError>;

    /// Takes the entry of a process away that told of itself through this value.
    ///
    /// # Errors
    /// When it may still be there; it goes by itself.
    async fn leave(&self, process: &Process) -> Result<(), BoardError>;
}
