//! What berth.toml decides at the moment, and taking over a changed one while Berth runs.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use berth_config::{Class, Config, Effective, Jobs, Loaded, Placement, Quotas};
use berth_engine::{Choice, ClassBounds, CountAt, OnBreach, QuotaSettings};
use berth_model::NamedAmounts;
use tokio::sync::watch;

use super::Policies;

/// The configuration that holds, shared by all who ask.
#[derive(Clone)]
pub struct LiveConfig(Arc<Shared>);

struct Shared {
    holds: watch::Sender<Arc<Config>>,
    /// The keys with their values, as they were written when they were last taken over.
    written: Mutex<BTreeMap<String, String>>,
}

/// What came of a changed configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys whose new values hold now.
    pub taken_over: Vec<String>,
    /// Keys whose new values hold after a restart, and not before.
    pub need_restart: Vec<String>,
    /// Policies that could not be loaded as they are configured now, with the reason. They go on as before.
    pub refused: Vec<(String, String)>,
    /// Policies that were loaded anew.
    pub policies: Vec<String>,
}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveConfig").finish_non_exhaustive()
    }
}

impl LiveConfig {
    pub fn new(loaded: Loaded) -> Self {
        let written = Mutex::new(values(&loaded.effective));
        Self(Arc::new(Shared { holds: watch::channel(Arc::new(loaded.config)).0, written }))
    }

    /// What holds now. Whoever does several things with it asks once, so that all of them fit together.
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.holds.borrow())
    }

    /// Takes over what of a changed configuration can be taken over while Berth runs. Blocks for the time that
    /// policies take to compile. `log` sets the level of the log.
    pub fn reload(
        &self,
        loaded: Loaded,
        policies: &Policies,
        log: impl FnOnce(&str) -> Result<(), String>,
    ) -> Reloaded {
        let (held, new) = (self.now(), loaded.config);
        let mut changed = self.changed(&loaded.effective);
        let mut out = Reloaded::default();
        let mut next = (*held).clone();
        next.jobs = Jobs {
            directory: held.jobs.directory.clone(),
            archive_directory: held.jobs.archive_directory.clone(),
            starts_per_plan: held.jobs.starts_per_plan,
            placement: held.jobs.placement,
            ..new.jobs.clone()
        };
        next.quotas = new.quotas.clone();
        next.classes.clone_from(&new.classes);
        next.scheduler = new.scheduler.clone();
        next.auth.policy = new.auth.policy.clone();
        next.auth.sessions = new.auth.sessions;
        if let (Some(next), Some(new)) = (&mut next.network, &new.network) {
            *next = new.clone();
        }
        let same_watchers = held.watchers.len() == new.watchers.len()
            && held.watchers.iter().zip(&new.watchers).all(|(held, new)| held.name == new.name);
        if same_watchers {
            for (next, new) in next.watchers.iter_mut().zip(&new.watchers) {
                next.policy = new.policy.clone();
            }
        }
        let same_filters = held.filters.len() == new.filters.len()
            && held.filters.iter().zip(&new.filters).all(|(held, new)| held.name == new.name);
        if same_filters {
            next.filters.clone_from(&new.filters);
        }
        match log(&new.log.level) {
            Ok(()) => next.log.level.clone_from(&new.log.level),
            Err(words) => out.refused.push(("log.level".to_owned(), words)),
        }
        self.0.holds.send_replace(Arc::new(next));
        for name in policies.to_reload(&held, &self.now()) {
            match policies.reload(&name) {
                Ok(_) => out.policies.push(name),
                Err(error) => {
                    self.put_back(&name, &held);
                    changed.retain(|key| !is_of(key, &name, &held));
                    out.refused.push((name, format!("{error:#}")));
                }
            }
        }
        let same = Same {
            network: held.network.is_some() == new.network.is_some(),
            watchers: same_watchers,
            filters: same_filters,
        };
        let reloads = |key: &String| reloads(key, same);
        (out.taken_over, out.need_restart) = changed.into_iter().partition(reloads);
        self.remember(&out.taken_over, &loaded.effective);
        out
    }

    fn changed(&self, new: &Effective) -> Vec<String> {
        let written = self.0.written.lock().unwrap_or_else(PoisonError::into_inner);
        let new = values(new);
        let gone = written.keys().filter(|key| !new.contains_key(*key));
        let other = new.iter().filter(|(key, value)| written.get(*key) != Some(value)).map(|(key, _)| key);
        let mut changed: Vec<String> = gone.chain(other).cloned().collect();
        changed.sort();
        changed
    }

    /// Keeps those that hold now; the others differ at the next time, too.
    fn remember(&self, taken_over: &[String], new: &Effective) {
        let mut written = self.0.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = values(new);
        for key in taken_over {
            match new.remove(key) {
                Some(value) => written.insert(key.clone(), value),
                None => written.remove(key),
            };
        }
    }

    /// A policy that could not be loaded keeps its settings.
    fn put_back(&self, name: &str, held: &Config) {
        let mut next = (*self.now()).clone();
        match name {
            "scheduler" => next.scheduler = held.scheduler.clone(),
            "auth" => next.auth.policy = held.auth.policy.clone(),
            "network" => next.network.clone_from(&held.network),
            _ => {
                for (next, held) in next.watchers.iter_mut().zip(&held.watchers) {
                    if held.name == name {
                        next.policy = held.policy.clone();
                    }
                }
                for (next, held) in next.filters.iter_mut().zip(&held.filters) {
                    if held.name == name {
                        next.policy = held.policy.clone();
                    }
                }
            }
        }
        self.0.holds.send_replace(Arc::new(next));
    }
}

/// What the engine holds everybody to.
pub fn quotas(quotas: &Quotas, classes: &[Class]) -> QuotaSettings {
    let class = |class: &Class| (class.name.clone(), ClassBounds { all: class.all, user: class.user });
    QuotaSettings {
        period_ms: u64::try_from(quotas.period.as_millis()).unwrap_or(u64::MAX),
        on_breach: match quotas.on_breach {
            berth_config::OnBreach::Wait => OnBreach::Wait,
            berth_config::OnBreach::Reject => OnBreach::Reject,
        },
        count_at: match quotas.count {
            berth_config::CountAt::Start => CountAt::Start,
            berth_config::CountAt::End => CountAt::End,
        },
        user: quotas.user,
        project: quotas.project,
        pending: quotas.pending,
        submissions_per_minute: quotas.submissions_per_minute,
        half_life_ms: u64::try_from(quotas.half_life.as_millis()).unwrap_or(u64::MAX),
        open_projects: quotas.open_projects,
        classes: classes.iter().map(class).collect(),
    }
}

/// Which node a job goes to where the scheduler leaves that open.
pub fn choice(placement: Placement) -> Choice {
    match placement {
        Placement::FirstFit => Choice::FirstFit,
        Placement::BestFit => Choice::BestFit,
        Placement::Spread => Choice::Spread,
    }
}

/// The named resources that belong to no node.
pub fn site_resources(config: &Config) -> NamedAmounts {
    let of_site = config.resources.iter().filter(|resource| resource.is_of_site());
    of_site.map(|resource| (resource.name.clone(), resource.stock.total())).collect()
}

fn values(effective: &Effective) -> BTreeMap<String, String> {
    effective.iter().map(|setting| (setting.path.clone(), setting.value.clone())).collect()
}

/// Whether a key is one of the policy of this name.
fn is_of(key: &str, policy: &str, config: &Config) -> bool {
    let watcher = config.watchers.iter().position(|watcher| watcher.name == policy);
    let filter = config.filters.iter().position(|filter| filter.name == policy);
    let section = match (watcher, filter) {
        (Some(number), _) => format!("watchers.{number}."),
        (None, Some(number)) => format!("filters.{number}."),
        (None, None) => format!("{policy}."),
    };
    key.starts_with(&section)
}

/// Which policies there are, as far as that cannot change while Berth runs.
#[derive(Clone, Copy, Debug)]
struct Same {
    network: bool,
    watchers: bool,
    filters: bool,
}

/// Whether a changed key holds without a restart. `berth help serve` says the same.
fn reloads(key: &str, same: Same) -> bool {
    match key.split('.').collect::<Vec<_>>().as_slice() {
        ["jobs", "directory" | "archive-directory" | "starts-per-plan" | "placement"]
        | ["auth", "instances" | "cache"] => false,
        ["watchers", _, "every" | "name"] => false,
        ["quotas", "half-life"] => false,
        ["jobs", _] | ["log", "level"] | ["quotas" | "classes" | "scheduler" | "auth", ..] => true,
        ["network", ..] => same.network,
        ["watchers", ..] => same.watchers,
        ["filters", _, "name"] => false,
        ["filters", ..] => same.filters,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Same;

    #[test]
    fn what_shapes_the_daemon_needs_a_restart_and_what_it_asks_at_each_job_does_not() {
        let all = Same { network: true, watchers: true, filters: true };
        let reloads = |key| super::reloads(key, all);
        for key in [
            "jobs.grace",
            "jobs.longest-time",
            "log.level",
            "quotas.user.cpu-time",
            "classes.0.all.running-jobs",
            "scheduler.policy",
            "scheduler.limits.time",
            "auth.settings.administrators",
            "watchers.0.limits.strikes",
            "network.policy",
            "filters.0.policy",
            "filters.0.on-failure",
        ] {
            assert!(reloads(key), "{key}");
        }
        for key in [
            "jobs.directory",
            "jobs.archive-directory",
            "jobs.starts-per-plan",
            "jobs.placement",
            "auth.instances",
            "auth.cache",
            "watchers.0.every",
            "filters.0.name",
            "log.format",
            "server.socket",
            "cluster.name",
            "store.path",
            "executors.local.cpus",
        ] {
            assert!(!reloads(key), "{key}");
        }
        for (key, same) in [
            ("network.policy", Same { network: false, ..all }),
            ("watchers.1.policy", Same { watchers: false, ..all }),
            ("filters.1.policy", Same { filters: false, ..all }),
        ] {
            assert!(!super::reloads(key, same), "{key}");
        }
    }
}
