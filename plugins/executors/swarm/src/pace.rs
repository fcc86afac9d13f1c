//! When to look next.

use std::time::Duration;

use tokio::time::Instant;

/// The first look after something happened.
const FIRST: Duration = Duration::from_millis(30);
/// What happens together leads to one look.
const TOGETHER: Duration = Duration::from_millis(15);
/// How the distance between looks grows.
const GROWTH: f32 = 1.6;

/// Looks soon after something happened, and then ever more seldom.
#[derive(Debug)]
pub(crate) struct Pace {
    distance: Duration,
    next: Instant,
}

impl Pace {
    pub fn new() -> Self {
        Self { distance: FIRST, next: Instant::now() + FIRST }
    }

    /// When the next one is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Something happened.
    pub fn hurry(&mut self) {
        self.distance = FIRST;
        self.next = self.next.min(Instant::now() + TOGETHER);
    }

    /// One was had, with news or without.
    pub fn looked(&mut self, news: bool, longest: Duration) {
        let distance = if news { FIRST } else { self.distance.mul_f32(GROWTH) };
        self.distance = distance.min(longest);
        self.next = Instant::now() + self.distance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn looks_grow_rare_until_there_is_news() {
        let (mut pace, longest) = (Pace::new(), Duration::from_secs(2));
        let mut distances = Vec::new();
        for _ in 0..12 {
            pace.looked(false, longest);
            distances.push(pace.next() - Instant::now());
        }
        assert!(distances.is_sorted() && distances[0] < distances[1]);
        assert_eq!(distances.last(), Some(&longest));
        pace.looked(true, longest);
        assert_eq!(pace.next() - Instant::now(), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_brings_the_next_look_forward_and_never_puts_it_off() {
        let mut pace = Pace::new();
        pace.looked(false, Duration::from_secs(2));
        pace.hurry();
        let due = pace.next();
        assert_eq!(due - Instant::now(), TOGETHER);
        tokio::time::advance(TOGETHER / 2).await;
        pace.hurry();
        assert_eq!(pace.next(), due);
    }
}
