//! The engine's times.

use berth_executor_api::UtcMs;

/// An instant as the engine writes it. `None` where it has not come: the engine then writes the year 1.
#[must_use]
pub fn engine_time(text: &str) -> Option<UtcMs> {
    text.parse().ok().filter(|at: &UtcMs| at.0 > 0)
}

/// The same to the nanosecond, since 1970.
#[must_use]
pub fn nanoseconds(text: &str) -> Option<i128> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_the_year_1_is_none() {
        assert_eq!(engine_time("2025-11-21T09:00:00.123456789Z"), Some(UtcMs(1_763_715_600_123)));
        assert_eq!(engine_time("0001-01-01T00:00:00Z"), None);
        assert_eq!(engine_time(""), None);
        assert_eq!(nanoseconds("1970-01-01T00:00:01.000000002Z"), Some(1_000_000_002));
    }
}
