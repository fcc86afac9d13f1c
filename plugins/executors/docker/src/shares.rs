//! Cores and GPUs that belong to one attempt alone.

use std::collections::{BTreeMap, BTreeSet};

use berth_executor_api::AttemptName;

use crate::gpu::Wanted;

/// What one attempt has for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub cores: BTreeSet<u32>,
    pub gpus: Vec<String>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Others have it at the moment.
    Now(String),
    /// The engine has not as much.
    Ever(String),
}

/// Who has what. Kept in memory; after a restart it is made again from the containers' labels.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    cores: BTreeSet<u32>,
    gpus: Vec<String>,
    held: BTreeMap<AttemptName, Share>,
}

impl Shares {
    /// The cores and GPUs that there are.
    pub fn set_total(&mut self, cores: u32, gpus: Vec<String>) {
        self.cores = (0..cores).collect();
        self.gpus = gpus;
    }

    fn free_cores(&self) -> Vec<u32> {
        let taken: BTreeSet<u32> = self.held.values().flat_map(|share| share.cores.iter().copied()).collect();
        self.cores.difference(&taken).copied().collect()
    }

    fn free_gpus(&self) -> Vec<String> {
        let taken: BTreeSet<&String> = self.held.values().flat_map(|share| &share.gpus).collect();
        self.gpus.iter().filter(|id| !taken.contains(id)).cloned().collect()
    }

    /// Takes so many cores and these GPUs, or nothing. Taken again, it is the same share.
    pub fn take(
        &mut self,
        attempt: &AttemptName,
        cores: usize,
        gpus: Option<&Wanted>,
    ) -> Result<Share, Lack> {
        if let Some(held) = self.held.get(attempt) {
            return Ok(held.clone());
        }
        let free = self.free_cores();
        let amount = (cores, free.len(), self.cores.len());
        enough("CPUs", amount)?;
        let gpus = gpus.map(|wanted| self.choose_gpus(wanted)).transpose()?.unwrap_or_default();
        let share = Share { cores: free.into_iter().take(cores).collect(), gpus };
        self.hold(attempt, share.clone());
        Ok(share)
    }

    fn choose_gpus(&self, wanted: &Wanted) -> Result<Vec<String>, Lack> {
        let free = self.free_gpus();
        let count = match wanted {
            Wanted::All => self.gpus.len().max(1),
            Wanted::Count(count) => *count,
            Wanted::Ids(ids) => {
                if let Some(id) = ids.iter().find(|id| !self.gpus.contains(id)) {
                    return Err(Lack::Ever(format!(
                        "there is no GPU {id}; there are {}",
                        self.gpus.join(", ")
                    )));
                }
                return match ids.iter().find(|id| !free.contains(id)) {
                    Some(id) => Err(Lack::Now(format!("another job has GPU {id}"))),
                    None => Ok(ids.clone()),
                };
            }
        };
        enough("GPUs", (count, free.len(), self.gpus.len()))?;
        Ok(free.into_iter().take(count).collect())
    }

    /// What an attempt from before has.
    pub fn hold(&mut self, attempt: &AttemptName, share: Share) {
        if share != Share::default() {
            self.held.insert(attempt.clone(), share);
        }
    }

    /// Whether cores became free for those that share.
    pub fn give_back(&mut self, attempt: &AttemptName) -> bool {
        self.held.remove(attempt).is_some_and(|share| !share.cores.is_empty())
    }

    /// The cores of attempts that have none for themselves, as the engine takes them.
    pub fn common(&self) -> String {
        core_list(self.free_cores())
    }

    /// Whether anybody has cores for themselves.
    pub fn any_pinned(&self) -> bool {
        self.held.values().any(|share| !share.cores.is_empty())
    }
}

fn enough(what: &str, (asked, free, total): (usize, usize, usize)) -> Result<(), Lack> {
    let words = || format!("{asked} {what} were asked for, {free} of {total} are free");
    match asked {
        asked if asked > total => Err(Lack::Ever(words())),
        asked if asked > free => Err(Lack::Now(words())),
        _ => Ok(()),
    }
}

/// Cores as the engine takes them: `0,2`.
pub(crate) fn core_list(cores: impl IntoIterator<Item = u32>) -> String {
    cores.into_iter().map(|core| core.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use berth_executor_api::{Attempt, JobId};

    use super::*;

    fn name(job: u64) -> AttemptName {
        AttemptName::new("c", JobId(job), Attempt { number: 1, returned: 0 })
    }

    fn four() -> Shares {
        let mut shares = Shares::default();
        shares.set_total(4, vec!["a".into(), "b".into()]);
        shares
    }

    #[test]
    fn no_two_attempts_share_a_core() {
        let mut shares = four();
        assert_eq!(shares.take(&name(1), 3, None).unwrap().cores, [0, 1, 2].into());
        assert_eq!(shares.take(&name(1), 3, None).unwrap().cores, [0, 1, 2].into(), "again is the same");
        let lack = Lack::Now("2 CPUs were asked for, 1 of 4 are free".into());
        assert_eq!(shares.take(&name(2), 2, None), Err(lack));
        assert_eq!(shares.common(), "3");
        assert!(matches!(shares.take(&name(2), 5, None), Err(Lack::Ever(_))));
        assert!(shares.give_back(&name(1)));
        assert_eq!(shares.take(&name(2), 2, None).unwrap().cores, [0, 1].into());
    }

    #[test]
    fn no_two_attempts_share_a_gpu() {
        let mut shares = four();
        assert_eq!(shares.take(&name(1), 0, Some(&Wanted::Count(1))).unwrap().gpus, ["a"]);
        assert!(matches!(shares.take(&name(2), 0, Some(&Wanted::All)), Err(Lack::Now(_))));
        let named = Wanted::Ids(vec!["a".into()]);
        assert!(matches!(shares.take(&name(2), 0, Some(&named)), Err(Lack::Now(_))));
        let unknown = Wanted::Ids(vec!["z".into()]);
        assert!(matches!(shares.take(&name(2), 0, Some(&unknown)), Err(Lack::Ever(_))));
        assert!(!shares.give_back(&name(1)), "no cores became free");
        assert_eq!(shares.take(&name(2), 0, Some(&Wanted::All)).unwrap().gpus, ["a", "b"]);
    }

    #[test]
    fn what_lacks_the_gpus_gets_no_cores_either() {
        let mut shares = four();
        assert!(shares.take(&name(1), 2, Some(&Wanted::Count(3))).is_err());
        assert!(!shares.any_pinned());
    }

    #[test]
    fn what_attempts_from_before_have_is_not_free() {
        let mut shares = four();
        shares.hold(&name(1), Share { cores: [0, 1].into(), gpus: vec!["a".into()] });
        let share = shares.take(&name(2), 1, Some(&Wanted::Count(1))).unwrap();
        assert_eq!(share, Share { cores: [2].into(), gpus: vec!["b".into()] });
    }
}
