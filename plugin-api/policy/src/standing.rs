//! What is known of accounts, for schedulers that were granted `usage`.

pub use crate::bindings::scheduler::berth::policy::usage::{Faded, Member, Standing, Used, Whose};

/// One standing for each account, in their order: one call for all of them, since each costs the host a look-up
/// and a call costs more.
#[must_use]
pub fn standings(accounts: &[Whose]) -> Vec<Standing> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::scheduler::berth::policy::usage::of(accounts);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::standings(accounts);
}
