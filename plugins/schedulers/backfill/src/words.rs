//! What people are told: why jobs wait, and when they start.

use berth_policy_sdk::{InstantMs, JobId, scheduler::PassedOver};

use crate::{line::Line, timeline::UNKNOWN};

/// Jobs that do not start with a plan, by the reason.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub first: u64,
    pub promised: u64,
    pub passed_over: u64,
    pub without_place: u64,
    /// Those of which all tasks start.
    pub started: u64,
    too_deep: u64,
    unusable: u64,
    next_time: u64,
}

impl Tally {
    /// Counts those that were not looked at.
    pub fn rest(&mut self, line: &Line<'_>) {
        let (mut waits, mut cut) = (0, 0);
        for strand in &line.strands {
            if strand.places.is_empty() {
                self.unusable += strand.waits;
            } else {
                waits += strand.waits;
                cut += strand.cut.map_or(0, |_| 1 + strand.behind_cut());
            }
        }
        self.too_deep = cut;
        let looked_at =
            self.first + self.promised + self.passed_over + self.without_place + self.started + cut;
        self.next_time = waits.saturating_sub(looked_at);
    }

    pub fn entries(&self) -> Vec<PassedOver> {
        let entries = [
            ("it comes first among those that wait for the same nodes; none has enough free yet", self.first),
            ("it has a place later, when jobs before it are over", self.promised),
            ("it does not fit now, or would delay a job that comes before it", self.passed_over),
            ("no node that takes jobs has a place for it at any time that is known", self.without_place),
            ("more jobs come before it than the policy looks at", self.too_deep),
            ("no node that it may run on takes jobs at the moment", self.unusable),
            ("enough others start first; it is looked at again at once", self.next_time),
        ];
        let entry = |(words, jobs): (&str, u64)| PassedOver { words: words.to_owned(), jobs };
        entries.into_iter().filter(|&(_, jobs)| jobs > 0).map(entry).collect()
    }
}

/// When a job starts.
pub fn starts(at: InstantMs, now: InstantMs) -> String {
    match at {
        UNKNOWN => "starts when jobs without a time limit are over, which nobody knows".to_owned(),
        at if at <= now => "starts as soon as there is room".to_owned(),
        at => format!("starts by {} at the latest", clock(at, now)),
    }
}

/// How many jobs come before one.
pub fn before(count: usize, most: usize) -> String {
    match count {
        0 => "no other that waits for the same nodes comes before it".to_owned(),
        1 => "1 job that waits for the same nodes comes before it".to_owned(),
        _ if count >= most => format!("{most} or more jobs that wait for the same nodes come before it"),
        _ => format!("{count} jobs that wait for the same nodes come before it"),
    }
}

/// That it fits, and why it does not start.
pub fn would_delay(first: JobId, at: InstantMs, now: InstantMs) -> String {
    format!("job {first} comes first and {}; this one would delay it", starts(at, now))
}

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// An instant to the minute, rounded up; with its day where that is not today.
fn clock(at: InstantMs, now: InstantMs) -> String {
    let minutes = at.div_ceil(MINUTE_MS);
    let (day, minute) = (minutes / (24 * 60), minutes % (24 * 60));
    let time = format!("{:02}:{:02} UTC", minute / 60, minute % 60);
    if day == now / DAY_MS {
        return time;
    }
    let (year, month, day) = date(day);
    format!("{year:04}-{month:02}-{day:02} {time}")
}

/// Year, month and day in the Gregorian calendar of a day counted from 1970-01-01: Howard Hinnant's
/// `civil_from_days`, <https://howardhinnant.github.io/date_algorithms.html>.
fn date(day: u64) -> (u64, u64, u64) {
    let from_march_0000 = day + 719_468;
    let (era, day_of_era) = (from_march_0000 / 146_097, from_march_0000 % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T14:04:01Z.
    const NOW: InstantMs = 1_795_269_841_000;

    #[test]
    fn a_time_of_today_needs_no_date_and_seconds_round_up() {
        assert_eq!(clock(NOW, NOW), "14:05 UTC");
        assert_eq!(clock(NOW + 59_000, NOW), "14:05 UTC");
        assert_eq!(clock(NOW + 59_001, NOW), "14:06 UTC");
    }

    #[test]
    fn another_day_is_named() {
        assert_eq!(clock(NOW + 10 * 3_600_000, NOW), "2026-11-22 00:05 UTC");
        assert_eq!(clock(951_782_400_000, NOW), "2000-02-29 00:00 UTC");
        assert_eq!(clock(4_107_542_340_001, NOW), "2100-03-01 00:00 UTC");
        assert_eq!(clock(0, NOW), "1970-01-01 00:00 UTC");
    }
}
