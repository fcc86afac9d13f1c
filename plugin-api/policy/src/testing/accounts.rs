//! The accounts that a policy under test may ask for.

use std::cell::RefCell;

use crate::standing::{Faded, Standing, Used, Whose};

thread_local! {
    static KNOWN: RefCell<Vec<(Whose, Standing)>> = const { RefCell::new(Vec::new()) };
}

/// The standing of an account of which nothing is known.
#[must_use]
pub fn usual_standing() -> Standing {
    Standing {
        priority: 50,
        shares: 1,
        group: None,
        used: Used {
            jobs: 0.0,
            wall_seconds: 0.0,
            cpu_seconds: 0.0,
            memory_gib_seconds: 0.0,
            cpus: 0.0,
            memory_gib: 0.0,
        },
        faded: Faded { jobs: 0.0, wall_seconds: 0.0, cpu_seconds: 0.0, memory_gib_seconds: 0.0 },
    }
}

/// Lets policies that run on this thread know these accounts, and no others.
pub fn set_accounts(accounts: impl IntoIterator<Item = (Whose, Standing)>) {
    KNOWN.set(accounts.into_iter().collect());
}

/// What a policy gets when it asks.
pub(crate) fn standings(accounts: &[Whose]) -> Vec<Standing> {
    KNOWN.with_borrow(|known| accounts.iter().map(|whose| find(known, whose)).collect())
}

fn find(known: &[(Whose, Standing)], wanted: &Whose) -> Standing {
    let found = known.iter().find(|(whose, _)| is_same(whose, wanted));
    found.map_or_else(usual_standing, |(_, standing)| *standing)
}

fn is_same(one: &Whose, other: &Whose) -> bool {
    match (one, other) {
        (Whose::User(one), Whose::User(other))
        | (Whose::Project(one), Whose::Project(other))
        | (Whose::Group(one), Whose::Group(other)) => one == other,
        (Whose::Member(one), Whose::Member(other)) => (one.project, one.user) == (other.project, other.user),
        _ => false,
    }
}
