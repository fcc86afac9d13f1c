//! What can go wrong with durable state, by what the caller does next.

use std::path::PathBuf;

use berth_model::JobId;

/// A cause from below.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the store did not do what it was asked. Nothing of a failed write is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Passes when somebody makes room.
    #[error("no room is left for {}: free some space on its file system or raise its quota", path.display())]
    Full {
        /// The database.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: BoxError,
    },
    /// Another Berth has it.
    #[error("{} belongs to another Berth{}: stop that one, or give this one a state folder of its own",
        path.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Owned {
        /// The database.
        path: PathBuf,
        /// The process that has it, when it could be read.
        pid: Option<u32>,
    },
    /// Passes when another program, which is no Berth, lets go of the database.
    #[error("{} is locked by another program: end whatever else has it open, such as sqlite3", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: BoxError,
    },
    /// Lasting: the file is not what it should be.
    #[error(
        "{} is damaged ({what}): put a backup in its place, or save what can be read with \
         `sqlite3 FILE .recover`, or move it away to begin with nothing",
        path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Lasting: written by a later version of Berth.
    #[error(
        "{} was written by a newer Berth (schema {found}, this one knows {known}): \
         use that version again, or a backup from before it",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this program knows.
        known: u32,
    },
    /// Lasting: back ends carry attempts by names that begin with the cluster's.
    #[error(
        "{} holds cluster {stored:?}, not {given:?}: its attempts are known by that name, \
         so set the cluster's name back, or choose another state folder",
        path.display()
    )]
    OtherCluster {
        /// The database.
        path: PathBuf,
        /// The cluster it was made for.
        stored: String,
        /// The cluster that was asked for.
        given: String,
    },
    /// The system would not read or write; may pass.
    #[error("{} cannot be {verb}: check the disk, the folder and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `opened`, `read` or `written`.
        verb: &'static str,
        /// What the system said.
        #[source]
        source: BoxError,
    },
    /// A mistake of Berth's own: the change does not fit what is stored.
    #[error("job {job}: {what}")]
    Contradiction {
        /// The job.
        job: JobId,
        /// What does not fit.
        what: &'static str,
    },
    /// A policy keeps more than it may.
    #[error("state of policy {policy:?} would grow to {bytes} bytes; at most {most} are allowed")]
    TooMuchState {
        /// The policy.
        policy: String,
        /// What it would be.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// The database is away, or cannot do it now; passes when it is back.
    #[error("{database} cannot be {verb}: {reason}; look after the database server and the way to it")]
    Away {
        /// Which, without user and password.
        database: String,
        /// `opened`, `read` or `written`.
        verb: &'static str,
        /// What it said, or what came between.
        reason: String,
    },
    /// Lasting: the database does not let Berth in, or not do what it has to.
    #[error("{database} refuses: {reason}; check [store], the role and its rights")]
    DatabaseRefused {
        /// Which, without user and password.
        database: String,
        /// What it said.
        reason: String,
    },
    /// Lasting: what the database holds is not what Berth wrote.
    #[error(
        "{database} does not hold what Berth wrote ({what}): put a backup in its place, or use another database"
    )]
    Unsound {
        /// Which, without user and password.
        database: String,
        /// What is wrong with it.
        what: String,
    },
    /// Another Berth leads: this one may read, and writes nothing.
    #[error("this Berth stands by; {leader} leads: ask that one")]
    StandsBy {
        /// Who does, as people are told.
        leader: String,
    },
    /// The connection was lost before the answer: it may or may not have been written. Only of what is not
    /// given again by itself.
    #[error("{database} was lost before it answered: look whether it was done before you do it again")]
    Uncertain {
        /// Which, without user and password.
        database: String,
    },
    /// The writer has ended: the store is being closed, or a mistake ended it.
    #[error("the store no longer writes; start Berth again")]
    Stopped,
}

impl StoreError {
    /// Whether the same call may succeed later without a change to Berth or its settings.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Locked { .. } | Self::Io { .. } | Self::Away { .. })
    }
}
