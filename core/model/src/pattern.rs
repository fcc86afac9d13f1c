//! Names with gaps, by which a site means several nodes at once.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A node's name, `EXECUTOR/NODE`, in which `*` stands for any letters and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodePattern(String);

/// Why a text is no such pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a node; write EXECUTOR/NODE, with * for any letters")]
pub struct NodePatternError(String);

impl NodePattern {
    /// Whether it means the node with this name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.as_bytes())
    }

    /// Whether it means every node that there can be.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.bytes().all(|letter| letter == b'*')
    }

    /// Whether it has gaps, so that it need not mean a node that there is.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.0.contains(['*', '?'])
    }
}

impl FromStr for NodePattern {
    type Err = NodePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = !text.is_empty() && text.len() <= 256 && !text.contains(char::is_whitespace);
        let everything = text.bytes().all(|letter| letter == b'*');
        match plain && !text.contains(char::is_control) && (everything || text.contains('/')) {
            true => Ok(Self(text.to_owned())),
            false => Err(NodePatternError(text.to_owned())),
        }
    }
}

impl fmt::Display for NodePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Goes back to the last `*` where letters do not fit, so that no pattern takes long.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut letter) = (0, 0);
    let mut last_gap: Option<(usize, usize)> = None;
    while let Some(found) = name.get(letter) {
        match pattern.get(at) {
            Some(b'*') => {
                last_gap = Some((at + 1, letter));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == found => {
                at += 1;
                letter += 1;
            }
            _ => match &mut last_gap {
                Some((behind, from)) => {
                    *from += 1;
                    (at, letter) = (*behind, *from);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stand_for_letters() {
        let meant = |pattern: &str, name: &str| pattern.parse::<NodePattern>().unwrap().matches(name);
        for (pattern, name) in [
            ("*", "a/b"),
            ("a/*", "a/b"),
            ("a/n?", "a/n1"),
            ("*/n1", "a/n1"),
            ("a/*x*y", "a/1x2xy"),
            ("a/b", "a/b"),
        ] {
            assert!(meant(pattern, name), "{pattern} and {name}");
        }
        for (pattern, name) in [("a/*", "b/a"), ("a/n?", "a/n"), ("a/b", "a/bc"), ("*/*x", "a/xy")] {
            assert!(!meant(pattern, name), "{pattern} and {name}");
        }
        for wrong in ["", "node", "a/ b", "a/\n"] {
            assert!(wrong.parse::<NodePattern>().is_err(), "{wrong:?}");
        }
    }
}
