//! Instants and spans for people.

use std::time::{Duration, SystemTime};

use berth_model::{UtcMs, format_duration};

/// Now.
pub fn now() -> UtcMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UtcMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A span in whole seconds, or milliseconds below one: `3m12s`.
pub fn span(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{}ms", span.subsec_millis()),
        seconds => format_duration(Duration::from_secs(seconds)),
    }
}

/// A span in one unit, for columns: `45s`, `12m`, `3h`, `9d`.
pub fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5_999 => format!("{}m", seconds / 60),
        6_000..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago a time of the server's was, in one unit; the text itself where it is no time.
pub fn ago(text: &str, now: UtcMs) -> String {
    text.parse().map_or_else(|_| text.to_owned(), |at| short(now.since(at)))
}

/// The time, and how far from now: `2025-11-21 09:00:00 UTC (3m12s ago)`.
pub fn both(text: &str, now: UtcMs) -> String {
    let Ok(at) = text.parse::<UtcMs>() else { return text.to_owned() };
    let seconds = UtcMs(at.0 / 1000 * 1000).to_string();
    let day = seconds.trim_end_matches('Z').replace('T', " ");
    match at > now {
        true => format!("{day} UTC (in {})", span(at.since(now))),
        false => format!("{day} UTC ({} ago)", span(now.since(at))),
    }
}

/// From one time to another, or to now: how long a job has run.
pub fn between(from: Option<&str>, to: Option<&str>, now: UtcMs) -> Option<Duration> {
    let from: UtcMs = from?.parse().ok()?;
    let to = to.and_then(|to| to.parse().ok()).unwrap_or(now);
    Some(to.since(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMs = UtcMs(1_763_715_600_000);

    #[test]
    fn columns_show_one_unit() {
        for (seconds, text) in [(0, "0s"), (99, "99s"), (100, "1m"), (6_000, "1h"), (172_800, "2d")] {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
        assert_eq!(ago("2025-11-21T08:57:00Z", NOW), "3m");
        assert_eq!(ago("2099-01-01T00:00:00Z", NOW), "0s", "clocks differ");
        assert_eq!(ago("soon", NOW), "soon");
    }

    #[test]
    fn details_show_the_time_and_how_far_it_is() {
        assert_eq!(both("2025-11-21T08:57:00.500Z", NOW), "2025-11-21 08:57:00 UTC (2m59s ago)");
        assert_eq!(both("2025-11-21T11:00:00Z", NOW), "2025-11-21 11:00:00 UTC (in 2h)");
        assert_eq!(span(Duration::from_millis(250)), "250ms");
    }

    #[test]
    fn what_still_goes_on_is_measured_until_now() {
        let began = Some("2025-11-21T08:59:00Z");
        assert_eq!(between(began, None, NOW), Some(Duration::from_secs(60)));
        assert_eq!(between(began, Some("2025-11-21T08:59:10Z"), NOW), Some(Duration::from_secs(10)));
        assert_eq!(between(None, None, NOW), None);
    }
}
