//! Amounts that can be bounded.

use berth_policy_sdk::units;

/// A field with an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// In milli-cores.
    Cpus,
    /// In bytes.
    Memory,
    /// Whole ones.
    Gpus,
    /// In milliseconds.
    Time,
    /// In bytes.
    Scratch,
}

impl Amount {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cpus, Self::Memory, Self::Gpus, Self::Time, Self::Scratch];

    /// The field's name.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Gpus => "gpus",
            Self::Time => "time",
            Self::Scratch => "scratch",
        }
    }

    /// Reads an amount, as it stands in settings or as the host tells it.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<u64> {
        let text = text.trim();
        match self {
            Self::Cpus => cpu_millis(text),
            Self::Memory | Self::Scratch => units::parse_bytes(text),
            Self::Gpus => text.parse().ok(),
            Self::Time => units::parse_span_ms(text),
        }
    }

    /// For people, and as a job file has it.
    #[must_use]
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Cpus if amount.is_multiple_of(1000) => (amount / 1000).to_string(),
            Self::Cpus => format!("{amount}m"),
            Self::Memory | Self::Scratch => units::size(amount),
            Self::Gpus => amount.to_string(),
            Self::Time => units::span(amount),
        }
    }
}

/// Milli-cores of `2`, `0.5` or `500m`.
fn cpu_millis(text: &str) -> Option<u64> {
    if let Some(millis) = text.strip_suffix('m') {
        return millis.parse().ok();
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = u32::try_from(part.len()).ok().filter(|digits| (1..=3).contains(digits))?;
    let part = part.parse::<u64>().ok()?.checked_mul(10u64.pow(3 - digits))?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_and_the_host_write_them() {
        assert_eq!(
            ["2", "0.5", "1.25", "500m"].map(|text| Amount::Cpus.parse(text)),
            [Some(2000), Some(500), Some(1250), Some(500)]
        );
        assert_eq!(["", "x", "1.", "0.1234", "-1"].map(|text| Amount::Cpus.parse(text)), [None; 5]);
        assert_eq!(Amount::Memory.parse("4G"), Some(4 << 30));
        assert_eq!(Amount::Memory.parse("4294967296"), Some(4 << 30));
        assert_eq!(
            (Amount::Time.parse("2h"), Amount::Time.parse("7200000ms")),
            (Some(7_200_000), Some(7_200_000))
        );
        let shown = Amount::ALL.map(|amount| amount.show(2000));
        assert_eq!(shown, ["2", "1.9K", "2000", "2s", "1.9K"]);
    }
}
