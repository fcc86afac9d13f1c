//! The range of an array: `1-100:2%10`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

/// The indices of an array, kept as a range however many they are.
///
/// Both ends belong to it: `30-36` is seven tasks, and `1-10:4` is 1, 5 and 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArrayRange {
    first: u64,
    last: u64,
    step: u64,
    at_once: Option<u32>,
}

/// Why a text is not an array range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArrayRangeError {
    /// Not of the form at all.
    #[error(
        "{text:?} is not an array range; write N, FIRST-LAST or FIRST-LAST:STEP, and %AT-ONCE to bound how many run"
    )]
    Form {
        /// What was given.
        text: String,
    },
    /// The last index lies before the first.
    #[error("array range {text:?} ends before it begins")]
    Backwards {
        /// What was given.
        text: String,
    },
    /// A step or a bound of zero.
    #[error("array range {text:?} has a zero where at least 1 is needed: {what}")]
    Zero {
        /// What was given.
        text: String,
        /// The part that is zero.
        what: &'static str,
    },
    /// More tasks than can be numbered.
    #[error("array range {text:?} has {tasks} tasks; at most {most} are possible")]
    TooMany {
        /// What was given.
        text: String,
        /// How many it would be.
        tasks: u64,
        /// The limit.
        most: u64,
    },
}

impl ArrayRange {
    /// The most tasks that one array may have.
    pub const MOST_TASKS: u64 = 10_000_000;

    /// A range from checked parts; `None` when `step` is zero, it runs backwards, or is too long.
    #[must_use]
    pub fn new(first: u64, last: u64, step: u64, at_once: Option<u32>) -> Option<Self> {
        if step == 0 || last < first || at_once == Some(0) || (last - first) / step >= Self::MOST_TASKS {
            return None;
        }
        Some(Self { first, last, step, at_once })
    }

    /// The first index.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The end of the range as it was given; when the step does not meet it, the last task's index is less.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The distance between two indices.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// How many tasks may run at once, when bounded.
    #[must_use]
    pub fn at_once(&self) -> Option<u32> {
        self.at_once
    }

    /// How many tasks there are; at least 1.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        (self.last - self.first) / self.step + 1
    }

    /// The index of the task at `position`, counted from 0.
    #[must_use]
    pub fn index_at(&self, position: u64) -> Option<u64> {
        (position < self.tasks()).then(|| self.first + position * self.step)
    }

    /// The position of the task with `index`, when there is one.
    #[must_use]
    pub fn position_of(&self, index: u64) -> Option<u64> {
        let offset = index.checked_sub(self.first)?;
        (index <= self.last && offset % self.step == 0).then(|| offset / self.step)
    }
}

impl FromStr for ArrayRange {
    type Err = ArrayRangeError;

    /// Reads `N` (1 to N), `FIRST-LAST`, `FIRST-LAST:STEP`, each with `%AT_ONCE` where wanted.
    /// GO-Docker's `FIRST:LAST` and `FIRST:LAST:STEP` mean the same.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ArrayRangeError::Form { text: text.to_owned() };
        let number = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| part.parse::<u64>().ok()).flatten().ok_or_else(form)
        };
        let (range, at_once) = match text.split_once('%') {
            Some((range, bound)) => (range, Some(u32::try_from(number(bound)?).map_err(|_| form())?)),
            None => (text, None),
        };
        let (first, last, step) = match range.split_once('-') {
            Some((first, rest)) => match rest.split_once(':') {
                Some((last, step)) => (number(first)?, number(last)?, number(step)?),
                None => (number(first)?, number(rest)?, 1),
            },
            None => match *range.split(':').collect::<Vec<_>>() {
                [last] => (1, number(last)?, 1),
                [first, last] => (number(first)?, number(last)?, 1),
                [first, last, step] => (number(first)?, number(last)?, number(step)?),
                _ => return Err(form()),
            },
        };
        let text = || text.to_owned();
        if step == 0 {
            return Err(ArrayRangeError::Zero { text: text(), what: "the step" });
        }
        if at_once == Some(0) {
            return Err(ArrayRangeError::Zero { text: text(), what: "the bound after %" });
        }
        if last < first {
            return Err(ArrayRangeError::Backwards { text: text() });
        }
        Self::new(first, last, step, at_once).ok_or_else(|| ArrayRangeError::TooMany {
            text: text(),
            tasks: ((last - first) / step).saturating_add(1),
            most: Self::MOST_TASKS,
        })
    }
}

impl fmt::Display for ArrayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)?;
        if self.step != 1 {
            write!(f, ":{}", self.step)?;
        }
        self.at_once.map_or(Ok(()), |bound| write!(f, "%{bound}"))
    }
}

impl Serialize for ArrayRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ArrayRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn indices(text: &str) -> Vec<u64> {
        let range: ArrayRange = text.parse().unwrap();
        (0..range.tasks()).filter_map(|position| range.index_at(position)).collect()
    }

    #[test]
    fn both_ends_belong_to_the_range() {
        assert_eq!(indices("30-36"), [30, 31, 32, 33, 34, 35, 36]);
        assert_eq!(indices("3"), [1, 2, 3]);
        assert_eq!(indices("0-0"), [0]);
    }

    #[test]
    fn a_step_that_does_not_meet_the_end_stays_inside_it() {
        assert_eq!(indices("1-10:4"), [1, 5, 9]);
        assert_eq!(indices("1:10:4"), [1, 5, 9], "as GO-Docker writes it, without its overshoot");
    }

    #[test]
    fn what_is_wrong_is_said() {
        use ArrayRangeError as E;
        for form in ["", "x", "1-", "-5", "1-5:", "1:2:3:4", "1-2-3", "5%", "5%x", "+5", "1 - 2"] {
            assert!(matches!(form.parse::<ArrayRange>(), Err(E::Form { .. })), "{form}");
        }
        assert!(matches!("5-1".parse::<ArrayRange>(), Err(E::Backwards { .. })));
        assert!(matches!("0".parse::<ArrayRange>(), Err(E::Backwards { .. })));
        assert!(matches!("1-5:0".parse::<ArrayRange>(), Err(E::Zero { .. })));
        assert!(matches!("5%0".parse::<ArrayRange>(), Err(E::Zero { .. })));
        assert!(matches!("0-18446744073709551615".parse::<ArrayRange>(), Err(E::TooMany { .. })));
    }

    proptest! {
        #[test]
        fn index_and_position_are_inverse(
            first in 0u64..1000, length in 0u64..1000, step in 1u64..40, bound in proptest::option::of(1u32..99),
        ) {
            let range = ArrayRange::new(first, first + length, step, bound).unwrap();
            prop_assert_eq!(range.to_string().parse::<ArrayRange>().unwrap(), range);
            for position in 0..range.tasks() {
                let index = range.index_at(position).unwrap();
                prop_assert!(index <= range.last());
                prop_assert_eq!(range.position_of(index), Some(position));
            }
            prop_assert_eq!(range.index_at(range.tasks()), None);
        }
    }
}
