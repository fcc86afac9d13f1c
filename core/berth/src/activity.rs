//! Whether anybody is being served: an embedded server ends when nobody is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts what is under way, and what has ever begun.
#[derive(Clone, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Default)]
struct Counts {
    under_way: AtomicU64,
    begun: AtomicU64,
}

/// Something under way, until it is dropped.
pub struct UnderWay(Arc<Counts>);

impl Activity {
    /// Something begins.
    pub fn begin(&self) -> UnderWay {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(Arc::clone(&self.0))
    }

    /// How much has ever begun, if nothing is under way.
    pub fn quiet_since(&self) -> Option<u64> {
        let begun = self.0.begun.load(Ordering::SeqCst);
        (self.0.under_way.load(Ordering::SeqCst) == 0).then_some(begun)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
