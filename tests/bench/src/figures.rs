//! From many measurements to one figure.

use std::time::Duration;

/// The value below which this part of all lies.
pub fn quantile<T: Copy + PartialOrd>(values: &[T], part: f64) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    let last = sorted.len().checked_sub(1)?;
    let place = (part * last as f64).round() as usize;
    sorted.get(place).copied()
}

/// The one in the middle; zero of none.
pub fn median<T: Copy + PartialOrd + Default>(values: &[T]) -> T {
    quantile(values, 0.5).unwrap_or_default()
}

/// So many in this time, a second.
pub fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// One by the other.
pub fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(1e-9)
}
