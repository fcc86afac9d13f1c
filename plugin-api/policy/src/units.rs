//! Spans of time, sizes, shares and signals, as people write them.

const SPANS: [(u64, &str); 4] = [(24 * 3_600_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
const SIZES: [(u64, &str); 4] = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];

/// Signals that a program can hear and that are of use to warn it; their numbers in Linux.
const SIGNALS: [(&str, i32); 10] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("URG", 23),
    ("XCPU", 24),
];
const KILL: i32 = 9;
const STOP: i32 = 19;

/// Milliseconds of a number of seconds, or of one with `ms`, `s`, `m`, `h` or `d`.
#[must_use]
pub fn parse_span_ms(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let unit_ms = match unit {
        "ms" => 1,
        "" => 1000,
        unit => SPANS.iter().find(|(_, name)| *name == unit)?.0,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// A span of time in the largest unit that says it exactly.
#[must_use]
pub fn span(ms: u64) -> String {
    match SPANS.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// Bytes of a number, or of one with `k`, `m`, `g` or `t`, each 1024 of the one before.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let bytes = match unit.to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 1,
        unit => SIZES.iter().find(|(_, name)| *name == unit)?.0,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

/// A size for people, with one digit behind the point.
#[must_use]
pub fn size(bytes: u64) -> String {
    let Some((unit, name)) = SIZES.iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes}B");
    };
    let (whole, tenths) = (bytes / unit, bytes % unit * 10 / unit);
    if tenths == 0 { format!("{whole}{name}") } else { format!("{whole}.{tenths}{name}") }
}

/// Thousandths of a share such as `5%` or `0.5%`; at most all of it.
#[must_use]
pub fn parse_permille(text: &str) -> Option<u64> {
    let number = text.strip_suffix('%')?.trim();
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let tenths = tenths.parse::<u64>().ok().filter(|_| tenths.len() == 1)?;
    let permille = whole.parse::<u64>().ok()?.checked_mul(10)?.checked_add(tenths)?;
    (permille <= 1000).then_some(permille)
}

/// A share of a thousand, as a percentage.
#[must_use]
pub fn percent(permille: u64) -> String {
    match permille % 10 {
        0 => format!("{}%", permille / 10),
        tenths => format!("{}.{tenths}%", permille / 10),
    }
}

/// The number of a signal that a job can be warned by: its name with or without `SIG`, or its number.
#[must_use]
pub fn parse_signal(text: &str) -> Option<i32> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let named = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal);
    named
        .or_else(|| name.parse().ok())
        .filter(|signal| (1..=64).contains(signal) && ![KILL, STOP].contains(signal))
}

fn split(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_usual_units_and_read_as_they_are_written() {
        let spans = ["0", "90", "1500ms", "15 m", "12h", "7d"].map(parse_span_ms);
        let days = 7 * 24 * 3_600_000;
        assert_eq!(spans, [0, 90_000, 1500, 900_000, 43_200_000, days].map(Some));
        assert_eq!(["", "d", "-1", "1.5h", "99999999999999999999"].map(parse_span_ms), [None; 5]);
        assert_eq!([days, 36 * 3_600_000, 90_000, 1500, 0].map(span), ["7d", "36h", "90s", "1500ms", "0ms"]);
    }

    #[test]
    fn sizes_count_by_1024_whatever_case_they_have() {
        let sizes = ["17", "2k", "3M", "4 g", "1T", "5GiB", "6kb"].map(parse_bytes);
        assert_eq!(sizes, [17, 2 << 10, 3 << 20, 4 << 30, 1 << 40, 5 << 30, 6 << 10].map(Some));
        assert_eq!(["", "g", "-1", "1.5g", "3x", "99999999T"].map(parse_bytes), [None; 6]);
        assert_eq!([17, 2048, 1_600_000, 3 << 30, 1 << 40].map(size), ["17B", "2K", "1.5M", "3G", "1T"]);
    }

    #[test]
    fn shares_are_percentages_of_at_most_all() {
        assert_eq!(["5%", "0.5%", "100 %", "0%"].map(parse_permille), [50, 5, 1000, 0].map(Some));
        assert_eq!(["5", "101%", "-1%", "0.55%", "%", "half"].map(parse_permille), [None; 6]);
        assert_eq!([50, 5, 1000].map(percent), ["5%", "0.5%", "100%"]);
    }

    #[test]
    fn signals_go_by_name_and_number_and_are_such_that_a_job_can_hear() {
        assert_eq!(["USR1", "sigterm", "12", "64"].map(parse_signal), [10, 15, 12, 64].map(Some));
        assert_eq!(["KILL", "9", "STOP", "19", "0", "65", "FOO"].map(parse_signal), [None; 7]);
    }
}
