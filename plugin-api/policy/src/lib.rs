//! What an author of a policy needs: the contracts of `wit/` as Rust types and traits, a macro per kind
//! that makes a component of an implementation, and for schedulers that only order jobs the rest as well.
//!
//! A complete scheduler, to be built for `wasm32-unknown-unknown` as a `cdylib`:
//!
//! ```
//! use berth_policy_sdk::{Info, Order, PendingJob, info};
//!
//! /// Who asks for least memory goes first.
//! #[derive(Default)]
//! pub struct Smallest;
//!
//! impl Order for Smallest {
//!     type Key = u64;
//!     fn describe() -> Info {
//!         info!("smallest", "who asks for least memory goes first")
//!     }
//!     fn key(&self, job: &PendingJob) -> u64 {
//!         job.needs.memory_bytes
//!     }
//! }
//!
//! berth_policy_sdk::export_order!(Smallest);
//! ```
//!
//! And a filter, which sees each job before it is accepted:
//!
//! ```
//! use berth_policy_sdk::{Admit, Draft, Error, Info, InstantMs, Settings, admit::Refusal, info};
//!
//! /// Nobody's job runs for ever.
//! pub struct Bounded;
//!
//! impl Admit for Bounded {
//!     fn describe() -> Info {
//!         info!("bounded", "jobs without a time limit get one of a day")
//!     }
//!     fn configure(_: &mut Settings) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!     fn admit(&mut self, _: InstantMs, job: &mut Draft) -> Result<(), Refusal> {
//!         if !job.has("time") {
//!             job.set("time", "1d", "jobs need a time limit here");
//!         }
//!         Ok(())
//!     }
//! }
//!
//! berth_policy_sdk::export_admit!(Bounded);
//!
//! // With the test kit:
//! use berth_policy_sdk::testing::{Sample, admitted};
//! let edits = admitted(&mut Bounded, &Sample::new().field("cpus", "2000m")).unwrap();
//! assert_eq!(edits, [("time".to_owned(), vec!["1d".to_owned()])]);
//! ```
//!
//! For any other target the macros only check that the type is fit to be exported, so that a policy is
//! tested as the plain Rust that it is; [`testing`] plays the host.
#![deny(missing_docs)]

pub mod admit;
pub mod auth;
#[doc(hidden)]
pub mod bindings;
mod export;
mod limits;
mod looks;
pub mod network;
pub mod order;
pub mod ports;
pub mod queue;
pub mod rank;
mod resources;
pub mod round;
pub mod scheduler;
mod settings;
pub mod site;
mod slab;
pub mod space;
pub mod standing;
pub mod table;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod units;
mod walk;
pub mod watcher;

pub use admit::{Admit, Draft};
pub use auth::Auth;
pub use bindings::{
    auth::berth::policy::{accounts, key_value, ldap, passwords},
    scheduler::berth::policy::{
        log,
        types::{Attribute, Error, Info, InstantMs, JobId, NameId, NodeId, PlacementId, Resources, Setting},
    },
};
#[doc(hidden)]
pub use export::Held;
pub use limits::Limits;
pub use looks::Looks;
pub use network::Network;
pub use order::{Order, Ordered};
pub use queue::OrderedQueue;
pub use rank::{Rank, Ranked};
pub use round::Round;
pub use scheduler::{NodeRoom, PendingJob, Plan, RunningJob, Scheduler};
pub use settings::{Settings, bad_settings};
pub use site::Site;
pub use space::Space;
pub use table::JobTable;
pub use watcher::Watcher;
