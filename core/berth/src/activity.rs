//! Whether anybody is being served: an embedded server ends when nobody is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

/// Counts what is under way, and what has ever begun.
#[derive(Clone, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Default)]
struct Counts {
    under_way: AtomicU64,
    begun: AtomicU64,
    /// Rung when the last thing under way is over.
    quiet: Notify,
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

    /// Waits until nothing is under way; how much has ever begun by then.
    pub async fn quiet(&self) -> u64 {
        loop {
            let mut rung = std::pin::pin!(self.0.quiet.notified());
            // Heard from here on, so that nothing falls between the look and the wait.
            rung.as_mut().enable();
            if let Some(begun) = self.quiet_since() {
                return begun;
            }
            rung.await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn quiet_comes_when_the_last_one_is_done() {
        let activity = Activity::default();
        assert_eq!(activity.quiet().await, 0);
        let (first, second) = (activity.begin(), activity.begin());
        let waiting = tokio::spawn({
            let activity = activity.clone();
            async move { activity.quiet().await }
        });
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "one is still under way");
        drop(second);
        assert_eq!(waiting.await.unwrap(), 2);
    }
}
