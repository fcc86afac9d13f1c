//! What is known of accounts.

use std::collections::HashMap;

use berth_engine::{AccountTold, WhoseTold};

use crate::{bindings::v0_1_0::usage, instance::Guest};

const MIB_IN_GIB: f64 = 1024.0;

/// The accounts as they were told with the last plan. It is asked in the middle of a plan and never waits.
#[derive(Debug, Default)]
pub(crate) struct Accounts(HashMap<WhoseTold, AccountTold>);

impl Accounts {
    /// Takes over what has changed.
    pub(crate) fn hear(&mut self, told: &[AccountTold]) {
        self.0.extend(told.iter().map(|account| (account.whose, *account)));
    }

    fn standing(&self, whose: WhoseTold) -> usage::Standing {
        match self.0.get(&whose) {
            Some(account) => account.into(),
            None => usage::Standing {
                priority: 50,
                shares: 1,
                group: None,
                used: usage::Used {
                    jobs: 0.0,
                    wall_seconds: 0.0,
                    cpu_seconds: 0.0,
                    memory_gib_seconds: 0.0,
                    cpus: 0.0,
                    memory_gib: 0.0,
                },
                faded: usage::Faded {
                    jobs: 0.0,
                    wall_seconds: 0.0,
                    cpu_seconds: 0.0,
                    memory_gib_seconds: 0.0,
                },
            },
        }
    }
}

impl From<&AccountTold> for usage::Standing {
    fn from(account: &AccountTold) -> Self {
        let AccountTold { whose: _, priority, shares, group, used, faded } = *account;
        Self {
            priority: u32::from(priority),
            shares,
            group,
            used: usage::Used {
                jobs: used.jobs as f64,
                wall_seconds: used.wall_ms as f64 / 1e3,
                cpu_seconds: used.cpu_ms as f64 / 1e3,
                memory_gib_seconds: used.memory_mib_ms as f64 / 1e3 / MIB_IN_GIB,
                cpus: used.cpu_millis as f64 / 1e3,
                memory_gib: used.memory_mib as f64 / MIB_IN_GIB,
            },
            faded: usage::Faded {
                jobs: faded.jobs,
                wall_seconds: faded.wall_s,
                cpu_seconds: faded.cpu_s,
                memory_gib_seconds: faded.memory_gib_s,
            },
        }
    }
}

impl From<usage::Whose> for WhoseTold {
    fn from(whose: usage::Whose) -> Self {
        match whose {
            usage::Whose::User(user) => Self::User(user),
            usage::Whose::Project(project) => Self::Project(project),
            usage::Whose::Group(group) => Self::Group(group),
            usage::Whose::Member(usage::Member { project, user }) => Self::Member { project, user },
        }
    }
}

impl usage::Host for Guest {
    fn of(&mut self, accounts: Vec<usage::Whose>) -> wasmtime::Result<Vec<usage::Standing>> {
        Ok(accounts.into_iter().map(|whose| self.told_accounts.standing(whose.into())).collect())
    }
}
