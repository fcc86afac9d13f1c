//! Those who guess passwords are slowed down: by who they pretend to be, by where they are, and by both together.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use berth_model::UtcMs;
use berth_server::Peer;

/// What is remembered at once. Whoever was wrong least is forgotten first.
const MOST: usize = 10_000;
/// After so long without a wrong one it counts as one less.
const FADES: Duration = Duration::from_secs(60);

/// About whom something is remembered. Names go by their hash: they may be of any length, and be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whom {
    Both(u64, Place),
    User(u64),
    Place(Place),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Uid(u32),
    Address(IpAddr),
}

impl Whom {
    /// How many wrong ones are free, and how long somebody has to wait at the most. The owner of an account has to bear
    /// what others do to it from elsewhere, and everybody behind one address what one of them does, so these waits
    /// are short.
    fn rule(self) -> (u32, Duration) {
        match self {
            Self::Both(..) => (3, Duration::from_secs(60)),
            Self::User(_) => (20, Duration::from_secs(5)),
            Self::Place(_) => (30, Duration::from_secs(2)),
        }
    }

    /// How long to wait after so many wrong ones: a second, and each time twice as long.
    fn wait(self, wrong: u32) -> Duration {
        let (free, most) = self.rule();
        match wrong.checked_sub(free) {
            None => Duration::ZERO,
            Some(beyond) => Duration::from_secs(1 << beyond.min(10)).min(most),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    wrong: u32,
    last: UtcMs,
}

impl Tries {
    fn faded(self, now: UtcMs) -> u32 {
        let fades = u64::try_from(now.since(self.last).as_millis() / FADES.as_millis()).unwrap_or(u64::MAX);
        self.wrong.saturating_sub(u32::try_from(fades).unwrap_or(u32::MAX))
    }
}

/// What is known of those who were wrong. In memory: a restart costs an attacker more than it gives them.
#[derive(Debug, Default)]
pub struct Guessing {
    tries: Mutex<HashMap<Whom, Tries>>,
    names: RandomState,
}

impl Guessing {
    /// Somebody wants to try a password. It counts as wrong until the outcome is told, so that many at once are no
    /// more than as many one by one.
    ///
    /// # Errors
    /// How long they have to wait before that. An attempt that is refused does not count.
    pub fn attempt(&self, user: &str, from: Peer, now: UtcMs) -> Result<(), Duration> {
        let mut tries = self.lock();
        let whom = self.whom(user, from);
        let left = |whom: &Whom| {
            let tried = tries.get(whom)?;
            whom.wait(tried.faded(now)).checked_sub(now.since(tried.last))
        };
        if let Some(left) = whom.iter().filter_map(left).filter(|left| !left.is_zero()).max() {
            return Err(left);
        }
        for whom in whom {
            make_room(&mut tries, &whom, now);
            let tried = tries.entry(whom).or_insert(Tries { wrong: 0, last: now });
            *tried = Tries { wrong: tried.faded(now).saturating_add(1), last: now };
        }
        Ok(())
    }

    /// It was right.
    pub fn was_right(&self, user: &str, from: Peer) {
        let mut tries = self.lock();
        for whom in self.whom(user, from) {
            match whom {
                Whom::Both(..) => drop(tries.remove(&whom)),
                Whom::User(_) | Whom::Place(_) => take_back(&mut tries, whom),
            }
        }
    }

    /// It was not found out.
    pub fn was_not_tried(&self, user: &str, from: Peer) {
        let mut tries = self.lock();
        self.whom(user, from).into_iter().for_each(|whom| take_back(&mut tries, whom));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Whom, Tries>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn whom(&self, user: &str, from: Peer) -> [Whom; 3] {
        let user = self.names.hash_one(user);
        let place = match from {
            Peer::Local { uid } => Place::Uid(uid),
            Peer::Remote { address } => Place::Address(site_of(address.to_canonical())),
        };
        [Whom::Both(user, place), Whom::User(user), Whom::Place(place)]
    }
}

/// Somebody with one IPv6 address has 2^64 of them.
fn site_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

fn take_back(tries: &mut HashMap<Whom, Tries>, whom: Whom) {
    if let Some(tried) = tries.get_mut(&whom) {
        tried.wrong = tried.wrong.saturating_sub(1);
        if tried.wrong == 0 {
            tries.remove(&whom);
        }
    }
}

fn make_room(tries: &mut HashMap<Whom, Tries>, whom: &Whom, now: UtcMs) {
    if tries.len() < MOST || tries.contains_key(whom) {
        return;
    }
    tries.retain(|_, tried| tried.faded(now) > 0);
    if tries.len() < MOST {
        return;
    }
    let least = tries.iter().min_by_key(|(_, tried)| (tried.faded(now), tried.last)).map(|(whom, _)| *whom);
    if let Some(least) = least {
        tries.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(address: &str) -> Peer {
        Peer::Remote { address: address.parse().unwrap() }
    }

    /// How many of so many attempts, one each millisecond, are let through.
    fn through(
        guessing: &Guessing,
        attempts: u64,
        user: impl Fn(u64) -> String,
        from: impl Fn(u64) -> Peer,
    ) -> u64 {
        let passes = |n: &u64| guessing.attempt(&user(*n), from(*n), UtcMs(1_000_000 + n)).is_ok();
        (0..attempts).filter(passes).count() as u64
    }

    #[test]
    fn a_thousand_guesses_at_once_are_a_few() {
        let (user, here) = (|_| "ann".to_owned(), |_| at("10.0.0.1"));
        assert_eq!(through(&Guessing::default(), 1000, user, here), 3);
        let uids = |_| Peer::Local { uid: 7 };
        assert_eq!(through(&Guessing::default(), 1000, user, uids), 3);
        let everywhere = |n: u64| at(&format!("10.0.{}.{}", n / 200, n % 200));
        assert_eq!(through(&Guessing::default(), 1000, user, everywhere), 20, "of one user, from everywhere");
        let everybody = |n: u64| format!("user{n}");
        assert_eq!(through(&Guessing::default(), 1000, everybody, here), 30, "of everybody, from one place");
        let in_one_net = |n: u64| at(&format!("fd00::{n:x}"));
        assert_eq!(through(&Guessing::default(), 1000, everybody, in_one_net), 30);
        assert_eq!(through(&Guessing::default(), 1000, user, in_one_net), 3);
    }

    #[test]
    fn waits_grow_have_an_end_and_are_told() {
        let guessing = Guessing::default();
        let mut now = UtcMs(5_000);
        let mut waits = Vec::new();
        while waits.len() < 10 {
            match guessing.attempt("ann", at("10.0.0.1"), now) {
                Ok(()) => {}
                Err(left) => {
                    waits.push(left.as_secs());
                    now = now.after(left);
                }
            }
        }
        assert_eq!(waits[..6], [1, 2, 4, 8, 16, 32]);
        assert!(waits.iter().all(|&wait| wait <= 60), "{waits:?}");
        let later = now.after(Duration::from_secs(3600));
        assert_eq!(guessing.attempt("ann", at("10.0.0.1"), later), Ok(()));
    }

    #[test]
    fn others_are_not_kept_waiting_and_the_right_password_ends_it() {
        let guessing = Guessing::default();
        let (evil, home, now) = (at("10.0.0.1"), at("10.0.0.2"), UtcMs(1_000));
        while guessing.attempt("ann", evil, now).is_ok() {}
        assert_eq!(guessing.attempt("ann", home, now), Ok(()));
        guessing.was_right("ann", home);
        assert!(guessing.attempt("ann", evil, now).is_err());
        assert_eq!(guessing.attempt("bob", evil, now), Ok(()));
        for _ in 0..100 {
            assert_eq!(guessing.attempt("carol", home, now), Ok(()));
            guessing.was_not_tried("carol", home);
        }
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_bounded_and_nothing_panics(
            seed in 0u64..1000, steps in 1u64..200, long in 0usize..5000, jump in 0u64..u64::MAX / 2,
        ) {
            let guessing = Guessing::default();
            for step in 0..steps {
                let user = format!("{}{}", step % 7, "x".repeat(long));
                let now = UtcMs(jump.wrapping_mul(step).wrapping_add(seed));
                if guessing.attempt(&user, at("10.0.0.1"), now).is_ok() && step % 3 == 0 {
                    guessing.was_right(&user, at("10.0.0.1"));
                }
            }
            prop_assert!(guessing.lock().len() <= MOST);
        }
    }

    #[test]
    fn a_crowd_does_not_push_out_who_was_wrong_often() {
        let guessing = Guessing::default();
        let (evil, now) = (at("10.0.0.1"), UtcMs(1_000));
        while guessing.attempt("ann", evil, now).is_ok() {}
        for n in 0..MOST as u32 {
            let from = Peer::Remote { address: IpAddr::V4((0x0b00_0000 + n).into()) };
            let _ = guessing.attempt(&format!("user{n}"), from, now);
        }
        assert!(guessing.lock().len() <= MOST);
        assert!(guessing.attempt("ann", evil, now).is_err());
    }
}
