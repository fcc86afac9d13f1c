//! How many notices wait where, and how it goes: in memory, put right whenever a sink has nothing left.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use berth_model::UtcMs;
use berth_store::{NoticeCount, OwedNotice};
use tokio::sync::Notify;

/// What people's own sinks begin with.
pub const USER: &str = "user:";

/// All sinks.
#[derive(Default)]
pub struct Ledger(Mutex<BTreeMap<String, Page>>);

/// One sink.
#[derive(Default)]
struct Page {
    by_owner: HashMap<String, u64>,
    /// Rises with everything that is added.
    added: u64,
    delivered: u64,
    failed: u64,
    dropped: u64,
    /// What is wrong, and since when.
    trouble: Option<(UtcMs, String)>,
    /// It is told of, once, that something is dropped because too much waits.
    full: bool,
    courier: bool,
    wake: Arc<Notify>,
}

/// How a sink does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// `mail`, `hook:NAME`, or `users` for all that people have chosen themselves.
    pub sink: String,
    /// Notices that wait.
    pub waiting: u64,
    /// Since the start.
    pub delivered: u64,
    /// Attempts that failed, since the start.
    pub failed: u64,
    /// Notices that were given up, since the start.
    pub dropped: u64,
    /// What is wrong, and since when.
    pub trouble: Option<(UtcMs, String)>,
}

/// Whether there is room for a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Free,
    /// There is none, as was so before.
    Full,
    /// There is none any more.
    FullNow,
}

impl Ledger {
    pub fn new(counts: Vec<NoticeCount>) -> Self {
        let ledger = Self::default();
        for NoticeCount { sink, owner, count } in counts {
            ledger.lock().entry(sink).or_default().by_owner.insert(owner, count);
        }
        ledger
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Page>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn sinks(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Whether one more may wait for a sink; `ahead` are about to be added to it.
    pub fn room(&self, notice: &OwedNotice, ahead: &[OwedNotice], most: u64) -> Room {
        let ahead = |own: bool| {
            let same =
                |other: &&OwedNotice| other.sink == notice.sink && (!own || other.owner == notice.owner);
            ahead.iter().filter(same).count() as u64
        };
        let mut pages = self.lock();
        let page = pages.entry(notice.sink.clone()).or_default();
        let own = page.by_owner.get(&notice.owner).copied().unwrap_or(0) + ahead(true);
        let all = page.by_owner.values().sum::<u64>() + ahead(false);
        // A sink of one person's own is theirs alone.
        let share = (most / 10).max(1);
        if own < share && all < most {
            page.full = false;
            return Room::Free;
        }
        page.dropped += 1;
        if std::mem::replace(&mut page.full, true) { Room::Full } else { Room::FullNow }
    }

    /// Notes what is stored now, and wakes who brings it.
    pub fn add(&self, notice: &OwedNotice) {
        let mut pages = self.lock();
        let page = pages.entry(notice.sink.clone()).or_default();
        *page.by_owner.entry(notice.owner.clone()).or_default() += 1;
        page.added += 1;
        page.wake.notify_one();
    }

    /// Whether a courier has to be sent; there is one from now on.
    pub fn needs_courier(&self, sink: &str) -> Option<Arc<Notify>> {
        let mut pages = self.lock();
        let page = pages.entry(sink.to_owned()).or_default();
        (!std::mem::replace(&mut page.courier, true)).then(|| Arc::clone(&page.wake))
    }

    /// How much was ever added.
    pub fn added(&self, sink: &str) -> u64 {
        self.lock().get(sink).map_or(0, |page| page.added)
    }

    /// The store had nothing left when so much had been added. True if that still holds; the courier is gone then.
    pub fn is_done(&self, sink: &str, added: u64) -> bool {
        let mut pages = self.lock();
        let Some(page) = pages.get_mut(sink) else { return true };
        if page.added != added {
            return false;
        }
        page.by_owner.clear();
        page.courier = false;
        true
    }

    pub fn delivered(&self, notice: &OwedNotice) {
        self.settled(notice, |page| {
            page.delivered += 1;
            page.trouble = None;
        });
    }

    pub fn dropped(&self, notice: &OwedNotice, at: UtcMs, words: &str) {
        self.settled(notice, |page| {
            page.dropped += 1;
            page.trouble.get_or_insert_with(|| (at, words.to_owned())).1 = words.to_owned();
        });
    }

    fn settled(&self, notice: &OwedNotice, note: impl FnOnce(&mut Page)) {
        let mut pages = self.lock();
        let page = pages.entry(notice.sink.clone()).or_default();
        if let Some(count) = page.by_owner.get_mut(&notice.owner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                page.by_owner.remove(&notice.owner);
            }
        }
        note(page);
    }

    pub fn failed(&self, sink: &str, at: UtcMs, words: &str) {
        let mut pages = self.lock();
        let page = pages.entry(sink.to_owned()).or_default();
        page.failed += 1;
        page.trouble.get_or_insert_with(|| (at, words.to_owned())).1 = words.to_owned();
    }

    /// What people have chosen themselves counts as one.
    pub fn statuses(&self) -> Vec<SinkStatus> {
        let mut all: BTreeMap<String, SinkStatus> = BTreeMap::new();
        for (name, page) in self.lock().iter() {
            let own = name.starts_with(USER);
            let sink = if own { "users" } else { name };
            let status = all.entry(sink.to_owned()).or_default();
            status.sink = sink.to_owned();
            status.waiting += page.by_owner.values().sum::<u64>();
            status.delivered += page.delivered;
            status.failed += page.failed;
            status.dropped += page.dropped;
            // What is wrong with a receiver of theirs is for them to know.
            if !own {
                status.trouble.clone_from(&page.trouble);
            }
        }
        all.into_values().collect()
    }

    /// How many notices of somebody's jobs wait to be brought to them, and what is wrong on the way.
    pub fn of(&self, user: &str) -> (u64, Vec<String>) {
        let pages = self.lock();
        let own = format!("{USER}{user}");
        let theirs = pages.iter().filter(|(name, _)| **name == own || *name == "mail");
        let mut waiting = 0;
        let mut troubles = Vec::new();
        for (name, page) in theirs {
            let count = page.by_owner.get(user).copied().unwrap_or(0);
            waiting += count;
            if let Some((since, words)) = page.trouble.as_ref().filter(|_| count > 0 || *name == own) {
                let sink = if *name == own { "webhook" } else { "mail" };
                troubles.push(format!("{sink}, since {since}: {words}"));
            }
        }
        (waiting, troubles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(sink: &str, owner: &str) -> OwedNotice {
        OwedNotice {
            id: "1".into(),
            sink: sink.into(),
            owner: owner.into(),
            target: String::new(),
            at: UtcMs(1),
            tries: 0,
            due: UtcMs(1),
            body: String::new(),
        }
    }

    #[test]
    fn one_person_takes_no_more_than_a_tenth_of_the_room() {
        let ledger = Ledger::default();
        let (ann, bob) = (notice("mail", "ann"), notice("mail", "bob"));
        for _ in 0..2 {
            assert_eq!(ledger.room(&ann, &[], 30), Room::Free);
            ledger.add(&ann);
        }
        assert_eq!(ledger.room(&ann, std::slice::from_ref(&ann), 30), Room::FullNow);
        assert_eq!(ledger.room(&ann, std::slice::from_ref(&ann), 30), Room::Full);
        assert_eq!(ledger.room(&bob, &[], 30), Room::Free);
        ledger.delivered(&ann);
        assert_eq!(ledger.room(&ann, &[], 30), Room::Free);
        assert_eq!(ledger.statuses()[0].dropped, 2);
    }

    #[test]
    fn a_courier_leaves_only_when_nothing_was_added_meanwhile() {
        let ledger = Ledger::default();
        let ann = notice("mail", "ann");
        ledger.add(&ann);
        assert!(ledger.needs_courier("mail").is_some() && ledger.needs_courier("mail").is_none());
        let seen = ledger.added("mail");
        ledger.add(&ann);
        assert!(!ledger.is_done("mail", seen));
        assert!(ledger.is_done("mail", ledger.added("mail")) && ledger.needs_courier("mail").is_some());
        assert_eq!(ledger.statuses()[0].waiting, 0);
    }
}
