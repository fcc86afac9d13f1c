//! What can go wrong with a policy.

use std::{io, path::PathBuf, time::Duration};

use crate::{Capability, PolicyKind};

/// Why a policy cannot be put to use. Nothing has been decided by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is not there, or not readable.
    #[error("cannot read the policy {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is something else than a component.
    #[error("{policy} is not a WebAssembly component that can be compiled: {words}")]
    NotAComponent {
        /// The policy.
        policy: String,
        /// What the compiler says.
        words: String,
    },
    /// It exports none of the contracts, or one of another version.
    #[error(
        "{policy} exports no policy contract that this Berth serves; it exports {exports}, and one of {served} is wanted"
    )]
    NoContract {
        /// The policy.
        policy: String,
        /// What it exports.
        exports: String,
        /// What would do.
        served: String,
    },
    /// It is a policy, but of another kind.
    #[error("{policy} is of kind {found}, but is configured as {wanted}")]
    WrongKind {
        /// The policy.
        policy: String,
        /// The kind it is.
        found: PolicyKind,
        /// The kind that berth.toml gives it.
        wanted: PolicyKind,
    },
    /// It imports a capability that berth.toml does not grant.
    #[error(
        "{policy} wants {capability}, which is not granted; add \"{capability}\" to {key} in berth.toml to grant it"
    )]
    NotGranted {
        /// The policy.
        policy: String,
        /// What it imports.
        capability: Capability,
        /// The key of berth.toml.
        key: String,
    },
    /// It imports a capability that policies of its kind never get.
    #[error("{policy} wants {capability}, which no {kind} policy can have")]
    NotForItsKind {
        /// The policy.
        policy: String,
        /// What it imports.
        capability: Capability,
        /// Its kind.
        kind: PolicyKind,
    },
    /// It imports something that does not exist here.
    #[error(
        "{policy} imports {import}, which Berth does not have; build it for wasm32-unknown-unknown, without WASI"
    )]
    UnknownImport {
        /// The policy.
        policy: String,
        /// The import's name.
        import: String,
    },
    /// It does not have the shape that its contract gives it.
    #[error("{policy} does not keep to its contract: {words}")]
    Contract {
        /// The policy.
        policy: String,
        /// What differs.
        words: String,
    },
    /// It refuses its settings.
    #[error("{policy} refuses its settings: {words}")]
    Settings {
        /// The policy.
        policy: String,
        /// Its words.
        words: String,
    },
    /// It already failed when it was asked who it is or told its settings.
    #[error("{policy} failed when it was tried")]
    Faulty {
        /// The policy.
        policy: String,
        /// How.
        #[source]
        fault: Fault,
    },
    /// The system gives no thread for it.
    #[error("cannot start a thread for {policy}")]
    NoThread {
        /// The policy.
        policy: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The engine for WebAssembly cannot be set up on this machine.
    #[error("cannot set up the WebAssembly engine: {words}")]
    NoEngine {
        /// What it says.
        words: String,
    },
}

/// How a call of a policy failed. All but [`Fault::Host`] are the policy's fault and count as strikes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It computed for longer than it may.
    #[error("it took longer than {limit:?}")]
    TimedOut {
        /// What it may.
        limit: Duration,
    },
    /// It used up the fuel that stands for time where calls are repeated exactly.
    #[error("it took more than {fuel} units of fuel")]
    OutOfFuel {
        /// What it had.
        fuel: u64,
    },
    /// It wanted more memory than it may have, and failed.
    #[error("it wanted more than {limit_bytes} bytes of memory")]
    OutOfMemory {
        /// What it may have.
        limit_bytes: u64,
    },
    /// Its answer is larger than it may be.
    #[error("its answer is larger than {limit}")]
    AnswerTooLarge {
        /// What it may be.
        limit: String,
    },
    /// It trapped.
    #[error("it trapped: {words}")]
    Trapped {
        /// What the engine says.
        words: String,
    },
    /// It answered what its contract rules out.
    #[error("it broke its contract: {words}")]
    Breach {
        /// What.
        words: String,
    },
    /// It says that its settings make no sense.
    #[error("it refuses its settings: {words}")]
    Settings {
        /// Its words.
        words: String,
    },
    /// Berth could not do what the policy asked it for: not the policy's fault.
    #[error("Berth could not serve it: {words}")]
    Host {
        /// What went wrong.
        words: String,
    },
}

/// A failure of the host inside a call, carried through the engine as an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostFailure(pub(crate) String);
