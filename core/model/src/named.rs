//! Resources that a site gives names to: licences, scratch space, devices.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

/// How many of each named resource a job asks for. None is 0.
pub type NamedAmounts = BTreeMap<String, u64>;

/// The longest name of a resource.
pub const MOST_RESOURCE_NAME_BYTES: usize = 64;

/// How much there is of a named resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stock {
    /// So much, all alike.
    Sum(u64),
    /// Units with numbers, each with the paths of its device files.
    Units(BTreeMap<u32, Vec<String>>),
}

impl Stock {
    /// How much there is in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        match self {
            Self::Sum(sum) => *sum,
            Self::Units(units) => units.len() as u64,
        }
    }

    /// The device files of these units, each once.
    #[must_use]
    pub fn devices(&self, units: &[u32]) -> Vec<String> {
        let Self::Units(all) = self else { return Vec::new() };
        let of_units: BTreeSet<&String> = units.iter().filter_map(|unit| all.get(unit)).flatten().collect();
        of_units.into_iter().cloned().collect()
    }
}

/// What an execution holds of a named resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamedGrant {
    /// Its name.
    pub name: String,
    /// How much of it.
    pub amount: u64,
    /// The numbers of its units, in rising order, where they have numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<u32>,
    /// The device files of these units. Not kept: the site may change them between two executions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

impl NamedGrant {
    /// The variable that tells the job of it.
    #[must_use]
    pub fn variable(&self) -> String {
        resource_variable(&self.name)
    }

    /// What stands in that variable: the numbers of its units, or how much it is.
    #[must_use]
    pub fn value(&self) -> String {
        match self.units.is_empty() {
            true => self.amount.to_string(),
            false => self.units.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

impl fmt::Display for NamedGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.units.is_empty() {
            true => write!(f, "{} of {}", self.amount, self.name),
            false => write!(f, "{}:[{}]", self.name, self.value()),
        }
    }
}

/// The variable that tells a job what it holds of a resource: `gpu_10.5` becomes `BERTH_RESOURCE_GPU_10_5`.
#[must_use]
pub fn resource_variable(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("BERTH_RESOURCE_{}", name.chars().map(letter).collect::<String>())
}

/// Why a text cannot be the name of a resource; `None` when it can.
#[must_use]
pub fn resource_name_fault(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(plain) {
        return Some(format!("{name:?} is no name of a resource; write letters, digits, '_', '-' and '.'"));
    }
    let long = name.len() > MOST_RESOURCE_NAME_BYTES;
    long.then(|| format!("the name of a resource has at most {MOST_RESOURCE_NAME_BYTES} letters"))
}

/// Reads the numbers of units: `0-3`, `0,2`, `0-1,4`.
///
/// # Errors
/// When it is no such list, or too long.
pub fn parse_units(text: &str) -> Result<BTreeSet<u32>, String> {
    let wrong = || format!("{text:?} are no numbers of units; write 0-3, or 0,2,5");
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let mut units = BTreeSet::new();
    for part in inner.split(',') {
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last || last - first >= MOST_UNITS {
            return Err(wrong());
        }
        units.extend(first..=last);
    }
    if units.len() > MOST_UNITS as usize {
        return Err(format!("{} units; at most {MOST_UNITS} are possible", units.len()));
    }
    Ok(units)
}

/// The most units with numbers that a node may have of one resource.
const MOST_UNITS: u32 = 4096;

/// Amounts as people read them: `2 licence, 1 gpu_10.5`.
#[must_use]
pub fn format_named(amounts: &NamedAmounts) -> String {
    amounts.iter().map(|(name, amount)| format!("{amount} {name}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_written_as_ranges_and_lists() {
        let units = |text: &str| parse_units(text).map(|units| units.into_iter().collect::<Vec<_>>());
        assert_eq!(units("[0-1]"), Ok(vec![0, 1]));
        assert_eq!(units("0-2,2,7"), Ok(vec![0, 1, 2, 7]));
        for wrong in ["", "a", "3-1", "0-", "1,,2", "0-4294967295"] {
            assert!(units(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_job_is_told_of_its_units_by_a_variable() {
        let grant =
            NamedGrant { name: "gpu_10.5".into(), amount: 2, units: vec![0, 3], ..NamedGrant::default() };
        assert_eq!((grant.variable().as_str(), grant.value().as_str()), ("BERTH_RESOURCE_GPU_10_5", "0,3"));
        assert_eq!(grant.to_string(), "gpu_10.5:[0,3]");
        let sum = NamedGrant { name: "licence".into(), amount: 5, ..NamedGrant::default() };
        assert_eq!((sum.value().as_str(), sum.to_string().as_str()), ("5", "5 of licence"));
    }

    #[test]
    fn devices_that_units_share_are_told_once() {
        let all = BTreeMap::from([
            (0, vec!["/dev/a0".to_owned(), "/dev/actl".to_owned()]),
            (1, vec!["/dev/a1".to_owned(), "/dev/actl".to_owned()]),
        ]);
        assert_eq!(Stock::Units(all.clone()).devices(&[0, 1]), ["/dev/a0", "/dev/a1", "/dev/actl"]);
        assert_eq!(Stock::Units(all).devices(&[1]), ["/dev/a1", "/dev/actl"]);
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(resource_name_fault("gpu_10.5"), None);
        for wrong in ["", "a b", "a=b", "ä", &"x".repeat(65)] {
            assert!(resource_name_fault(wrong).is_some(), "{wrong}");
        }
    }
}
