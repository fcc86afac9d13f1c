//! What every store has to do, whatever is below it.

pub mod build;
pub mod claims;
pub mod model;
pub mod random;

use std::future::Future;

use berth_store::Store;

/// A kind of store, and one place where its state is.
pub trait Kit {
    /// The store.
    type Store: Store + 'static;

    /// A place without any state.
    fn fresh() -> Self;

    /// Opens what is there; what was opened before is closed first.
    fn open(&self) -> impl Future<Output = Self::Store>;
}

/// Runs a test's async part.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// Makes a test of each claim for one kind of store.
#[macro_export]
macro_rules! claims {
    (@one [$(#[$attribute:meta])*] $kit:ty, $claim:ident) => {
        #[test]
        $(#[$attribute])*
        fn $claim() {
            $crate::suite::run($crate::suite::claims::$claim::<$kit>());
        }
    };
    (@all $attributes:tt $kit:ty: $($claim:ident),+) => {
        $($crate::claims!(@one $attributes $kit, $claim);)+
    };
    ($(#[$attribute:meta])* $kit:ty: $($claim:ident),+ $(,)?) => {
        $crate::claims!(@all [$(#[$attribute])*] $kit: $($claim),+);
    };
}
