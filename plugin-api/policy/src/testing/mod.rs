//! Plays the host for a scheduler policy, natively, and watches it for breaches of the contract; and makes up what
//! other policies are asked about.
//!
//! ```
//! # use berth_policy_sdk::{Info, Order, PendingJob, info, Ordered};
//! # #[derive(Default)]
//! # struct Smallest;
//! # impl Order for Smallest {
//! #     type Key = u64;
//! #     fn describe() -> Info { info!("smallest", "who asks for least memory goes first") }
//! #     fn key(&self, job: &PendingJob) -> u64 { job.needs.memory_bytes }
//! # }
//! use berth_policy_sdk::testing::{Host, job, node};
//!
//! let mut host = Host::<Ordered<Smallest>>::new(&[]).unwrap();
//! host.nodes([node(1, 1000, 8 << 30, 0)]);
//! host.submit([job(1).memory(4 << 30), job(2).memory(1 << 30), job(3).memory(3 << 30)]);
//! assert_eq!(host.turn(0).unwrap().jobs(), [2, 3, 1]);
//! ```

mod accounts;
mod admit;
mod books;
mod build;
mod host;
mod watch;

pub(crate) use self::accounts::standings;
pub use self::{
    accounts::{set_accounts, usual_standing},
    admit::{Edits, Sample, admitted},
    books::Breach,
    build::{JobBuilder, job, node},
    host::{Host, Started},
    watch::watched,
};
