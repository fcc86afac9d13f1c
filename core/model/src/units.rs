//! Sizes, CPU counts and durations as people write them.

use std::time::Duration;

/// Why a text is not the quantity it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a size.
    #[error(
        "{text:?} is not a size; write bytes, or a number with K, M, G, T (1024 each) or KB, MB, GB, TB (1000 each)"
    )]
    Size {
        /// What was given.
        text: String,
    },
    /// Not a size on a disk.
    #[error(
        "{text:?} is not a size on a disk; write bytes, or a number with k, m, g, t (1000 each) or Ki, Mi, Gi, Ti (1024 each)"
    )]
    Disk {
        /// What was given.
        text: String,
    },
    /// Not a number of CPUs.
    #[error("{text:?} is not a number of CPUs; write 2, 0.5 or 500m")]
    Cpus {
        /// What was given.
        text: String,
    },
    /// Not a duration.
    #[error("{text:?} is not a duration; write 90s, 15m, 2h, 7d, 1h30m, or [DAYS-]HH:MM:SS")]
    Duration {
        /// What was given.
        text: String,
    },
}

/// A decimal number as an exact fraction of thousandths, without floating point.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 3 || text.ends_with('.') {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(fraction)
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// Reads a size in bytes: `1073741824`, `512M`, `1.5G`, `2GiB`, `2GB`.
///
/// # Errors
/// When the text is not a size or does not fit 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Size { text: text.to_owned() };
    let (number, unit) = split_unit(text.trim());
    let unit_bytes: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    let value = u128::from(thousandths(number).ok_or_else(wrong)?) * u128::from(unit_bytes) / 1000;
    u64::try_from(value).map_err(|_| wrong())
}

/// Reads what may lie on a disk, in bytes: a letter stands for a power of 1000 there, as disks are sold and as GO-Docker
/// has it: `10g`, `1.5T`, `500m`; and `10Gi` for powers of 1024.
///
/// # Errors
/// When the text is not such a size or does not fit 64 bits.
pub fn parse_disk(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Disk { text: text.to_owned() };
    let (number, unit) = split_unit(text.trim());
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = unit.strip_suffix('i').map_or((unit, 1000), |letter| (letter, 1024));
    let power = match (letter, base) {
        ("", 1000) => 0,
        ("k", _) => 1,
        ("m", _) => 2,
        ("g", _) => 3,
        ("t", _) => 4,
        _ => return Err(wrong()),
    };
    let value = u128::from(thousandths(number).ok_or_else(wrong)?) * u128::pow(base, power) / 1000;
    u64::try_from(value).map_err(|_| wrong())
}

/// Reads a number of CPUs as milli-cores: `2`, `0.5`, `500m`.
///
/// # Errors
/// When the text is not such a number or is zero.
pub fn parse_cpus(text: &str) -> Result<u64, UnitError> {
    let text = text.trim();
    let milli = match text.strip_suffix('m') {
        Some(milli) if !milli.contains('.') => thousandths(milli).map(|value| value / 1000),
        Some(_) => None,
        None => thousandths(text),
    };
    milli.filter(|&milli| milli > 0).ok_or_else(|| UnitError::Cpus { text: text.to_owned() })
}

/// Reads a duration: bare seconds, `90s`, `15m`, `2h`, `7d`, `250ms`, sums such as `1h30m`, and
/// `HH:MM:SS` or `DAYS-HH:MM:SS` as Slurm writes them (`MM:SS` too).
///
/// # Errors
/// When the text is none of these or does not fit.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let trimmed = text.trim();
    let millis = if trimmed.contains(':') { clock_millis(trimmed) } else { unit_millis(trimmed) };
    millis.map(Duration::from_millis).ok_or_else(|| UnitError::Duration { text: text.to_owned() })
}

fn unit_millis(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = split_unit(rest);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let per_unit: u64 = match unit.trim() {
            "ms" => 1,
            "" | "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        let value = u128::from(thousandths(number)?) * u128::from(per_unit) / 1000;
        sum = sum.checked_add(u64::try_from(value).ok()?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

fn clock_millis(text: &str) -> Option<u64> {
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (number(days)?, clock),
        None => (0, text),
    };
    let parts = clock.split(':').map(number).collect::<Option<Vec<_>>>()?;
    let (hours, minutes, seconds) = match *parts {
        [hours, minutes, seconds] => (hours, minutes, seconds),
        [minutes, seconds] if days == 0 => (0, minutes, seconds),
        _ => return None,
    };
    if minutes > 59 && hours > 0 || seconds > 59 {
        return None;
    }
    let hours = days.checked_mul(24)?.checked_add(hours)?;
    hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?.checked_add(seconds)?.checked_mul(1000)
}

fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Writes bytes as people read them, in powers of 1024 with at most one decimal: `1.5G`.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    for (unit, shift) in units {
        let tenths = (u128::from(bytes) * 10) >> shift;
        if tenths >= 10 {
            let (whole, tenth) = (tenths / 10, tenths % 10);
            return if tenth == 0 { format!("{whole}{unit}") } else { format!("{whole}.{tenth}{unit}") };
        }
    }
    format!("{bytes}B")
}

/// Writes what lies on a disk as people read it, in powers of 1000 with at most one decimal: `1.5GB`.
#[must_use]
pub fn format_disk(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000_u64), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000)];
    let Some((unit, size)) = units.into_iter().find(|&(_, size)| bytes >= size) else {
        return format!("{bytes}B");
    };
    match (bytes / size, bytes % size / (size / 10)) {
        (whole, 0) => format!("{whole}{unit}"),
        (whole, tenth) => format!("{whole}.{tenth}{unit}"),
    }
}

/// Writes a size as [`parse_disk`] reads it, to the byte.
#[must_use]
pub fn type_disk(bytes: u64) -> String {
    let units = [
        ("t", 1_000_000_000_000),
        ("Ti", 1 << 40),
        ("g", 1_000_000_000),
        ("Gi", 1 << 30),
        ("m", 1_000_000),
        ("Mi", 1 << 20),
        ("k", 1000),
        ("Ki", 1 << 10),
    ];
    let unit = units.into_iter().find(|&(_, size)| bytes > 0 && bytes.is_multiple_of(size));
    unit.map_or_else(|| bytes.to_string(), |(unit, size): (_, u64)| format!("{}{unit}", bytes / size))
}

/// Writes a duration with its two largest units: `2d4h`, `1h30m`, `45s`, `0.250s`.
#[must_use]
pub fn format_duration(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds < 10 && span.subsec_millis() > 0 {
        return format!("{seconds}.{:03}s", span.subsec_millis());
    }
    let parts =
        [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let largest = parts.iter().position(|&(_, value)| value > 0).unwrap_or(3);
    parts
        .iter()
        .skip(largest)
        .take(2)
        .filter(|&&(_, value)| value > 0 || seconds == 0)
        .map(|(unit, value)| format!("{value}{unit}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("100", 100),
            ("4G", 4 << 30),
            ("1.5G", 3 << 29),
            ("2GiB", 2 << 30),
            ("2GB", 2_000_000_000),
            ("512 M", 512 << 20),
            ("0.001k", 1),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "G", "4X", "-1", "1.2345G", "1.", ".5G", "99999999999T", "1 2", "0x10"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_on_a_disk_are_read_in_powers_of_1000_and_written_back_to_the_byte() {
        for (text, bytes, back) in [
            ("0", 0, "0"),
            ("4096", 4096, "4Ki"),
            ("10k", 10_000, "10k"),
            ("10K", 10_000, "10k"),
            ("1.5g", 1_500_000_000, "1500m"),
            ("2T", 2_000_000_000_000, "2t"),
            ("2TB", 2_000_000_000_000, "2t"),
            ("3Gi", 3 << 30, "3Gi"),
            ("3GiB", 3 << 30, "3Gi"),
            ("1000000007", 1_000_000_007, "1000000007"),
        ] {
            assert_eq!(parse_disk(text), Ok(bytes), "{text}");
            assert_eq!((type_disk(bytes).as_str(), parse_disk(&type_disk(bytes))), (back, Ok(bytes)));
        }
        for wrong in ["", "g", "10x", "10i", "10gg", "10gii", "-1", "1e3", "99999999999t", "5p"] {
            assert!(parse_disk(wrong).is_err(), "{wrong}");
        }
        let written: Vec<String> = [0, 999, 1000, 1_550_000_000, u64::MAX].map(format_disk).into();
        assert_eq!(written, ["0B", "999B", "1KB", "1.5GB", "18446744TB"]);
    }

    #[test]
    fn cpus_are_milli_cores() {
        assert_eq!(parse_cpus("2"), Ok(2000));
        assert_eq!(parse_cpus("0.5"), Ok(500));
        assert_eq!(parse_cpus("250m"), Ok(250));
        for wrong in ["0", "", "-1", "two", "1.5m", "0.0001"] {
            assert!(parse_cpus(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_in_the_forms_of_slurm_and_go_docker() {
        for (text, seconds) in [
            ("30", 30),
            ("30s", 30),
            ("5h", 18_000),
            ("7d", 604_800),
            ("1h30m", 5_400),
            ("01:30:00", 5_400),
            ("2-00:00:01", 172_801),
            ("90:00", 5_400),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "x", "5y", "1:2:3:4", "-5", "1:60", "1h-2", "1:", "h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quantities_are_written_short() {
        assert_eq!(format_bytes(0), "0B");
        assert_eq!(format_bytes(3 << 29), "1.5G");
        assert_eq!(format_bytes(u64::MAX), "16777215.9T");
        assert_eq!(format_duration(Duration::from_millis(250)), "0.250s");
        assert_eq!(format_duration(Duration::from_secs(5_400)), "1h30m");
        assert_eq!(format_duration(Duration::from_secs(86_401)), "1d");
        assert_eq!(format_duration(Duration::ZERO), "0s");
    }
}
