//! The configured policies, made and kept.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, anyhow};
use berth_config::{Config, Policy};
use berth_policy_host::{
    AdmitPolicy, Attached, AuthPolicy, AuthSettings, Capability, Grants, HostSettings, Limits, NetworkPolicy,
    OnSupervised, PluginStatus, PolicyHost, PolicyKind, PolicySource, PolicySpec, SchedulerEvent,
    SchedulerPolicy, StartingJob, Supervised, Supervision, WatcherPolicy, ldap,
};

use sha2::{Digest, Sha256};

use super::{LiveConfig, accounts::OwnAccounts, state::PolicyTables, turn::now};
use crate::shipped;

/// All policies of this Berth.
pub struct Policies {
    host: PolicyHost,
    pub scheduler: SchedulerPolicy,
    pub auth: AuthPolicy,
    pub watchers: Vec<Watcher>,
    pub network: Option<NetworkPolicy>,
    /// In the order in which they are asked.
    pub filters: Vec<Filter>,
    config: LiveConfig,
    tables: PolicyTables,
}

/// A watcher and how often it looks.
pub struct Watcher {
    pub name: String,
    pub every: std::time::Duration,
    pub policy: WatcherPolicy,
    /// It wants to be asked before jobs start, as far as is known.
    pub asks: AtomicBool,
}

/// A filter of what is submitted.
pub struct Filter {
    pub name: String,
    pub policy: AdmitPolicy,
}

impl Watcher {
    /// Whether it wants to be asked before jobs start, as far as is known.
    pub fn asks(&self) -> bool {
        self.asks.load(Ordering::Relaxed)
    }
}

impl Policies {
    /// Loads everything that berth.toml names. Takes the time of its compilation when it is new.
    ///
    /// # Errors
    /// When a policy cannot be loaded or refuses its settings.
    pub fn start(
        live: &LiveConfig,
        tables: PolicyTables,
        attached: Vec<Attached>,
        started: &[StartingJob],
        on_scheduler: impl FnMut(SchedulerEvent) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let config = live.now();
        let cache = config.cluster.state.join("cache").join("policies");
        let host = PolicyHost::new(HostSettings { cache_dir: Some(cache) })?;
        let scheduler = spec("scheduler", PolicyKind::Scheduler, &config.scheduler, &tables)?;
        let scheduler = SchedulerPolicy::spawn(&host, scheduler, on_scheduler)?;
        let auth = spec("auth", PolicyKind::Auth, &config.auth.policy, &tables)?;
        let settings = AuthSettings {
            instances: usize::try_from(config.auth.instances).unwrap_or(1),
            cache_for: config.auth.cache,
        };
        let auth = AuthPolicy::spawn(&host, auth, &settings, logged("auth"))?;
        let mut watchers = Vec::new();
        for watcher in &config.watchers {
            let spec = spec(&watcher.name, PolicyKind::Watcher, &watcher.policy, &tables)?;
            let policy = WatcherPolicy::spawn(&host, spec, now(), started.to_vec(), logged(&watcher.name))?;
            let (name, asks) = (watcher.name.clone(), AtomicBool::new(false));
            watchers.push(Watcher { name, every: watcher.every, policy, asks });
        }
        let network = config.network.as_ref().map(|network| {
            let spec = spec("network", PolicyKind::Network, network, &tables)?;
            anyhow::Ok(NetworkPolicy::spawn(&host, spec, attached, logged("network"))?)
        });
        let mut filters = Vec::new();
        for filter in &config.filters {
            let spec = spec(&filter.name, PolicyKind::Admit, &filter.policy, &tables)?;
            let policy = AdmitPolicy::spawn(&host, spec, logged(&filter.name))?;
            filters.push(Filter { name: filter.name.clone(), policy });
        }
        let (config, network) = (live.clone(), network.transpose()?);
        Ok(Self { host, scheduler, auth, watchers, network, filters, config, tables })
    }

    /// Whether any watcher wants to be asked before jobs start, as far as is known.
    pub fn asks_before_starts(&self) -> bool {
        self.watchers.iter().any(Watcher::asks)
    }

    /// How all of them stand.
    pub fn statuses(&self) -> Vec<PluginStatus> {
        let mut all = vec![self.scheduler.status(), self.auth.status()];
        all.extend(self.watchers.iter().map(|watcher| watcher.policy.status()));
        all.extend(self.network.as_ref().map(NetworkPolicy::status));
        all.extend(self.filters.iter().map(|filter| filter.policy.status()));
        all
    }

    /// The host, for checks of policies that are not in use.
    pub fn host(&self) -> &PolicyHost {
        &self.host
    }

    /// The policies that a change of the configuration is about: those with other settings, and those whose
    /// file has other bytes than what was loaded from it.
    pub fn to_reload(&self, held: &Config, new: &Config) -> Vec<String> {
        let mut pairs = vec![
            ("scheduler", Some((&held.scheduler, &new.scheduler))),
            ("auth", Some((&held.auth.policy, &new.auth.policy))),
            ("network", held.network.as_ref().zip(new.network.as_ref())),
        ];
        for (held, new) in held.watchers.iter().zip(&new.watchers) {
            pairs.push((held.name.as_str(), Some((&held.policy, &new.policy))));
        }
        for (held, new) in held.filters.iter().zip(&new.filters) {
            pairs.push((held.name.as_str(), Some((&held.policy, &new.policy))));
        }
        let statuses = self.statuses();
        let loaded =
            |name: &str| statuses.iter().find(|status| status.name == name).map(|status| &status.sha256);
        pairs
            .into_iter()
            .filter_map(|(name, pair)| Some((name, pair?)))
            .filter(|(name, (held, new))| held != new || loaded(name).is_some_and(|sha| differs(new, sha)))
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Loads the policy of this name anew from where berth.toml says it is. Blocks for the time of its
    /// compilation.
    ///
    /// # Errors
    /// When there is none of this name, or it cannot be loaded; the present one goes on then.
    pub fn reload(&self, name: &str) -> anyhow::Result<PluginStatus> {
        let config = self.config.now();
        let made = |kind, policy| spec(name, kind, policy, &self.tables);
        if name == "scheduler" {
            self.scheduler.reload(&self.host, made(PolicyKind::Scheduler, &config.scheduler)?)?;
            return Ok(self.scheduler.status());
        }
        if name == "auth" {
            self.auth.reload(&self.host, made(PolicyKind::Auth, &config.auth.policy)?)?;
            return Ok(self.auth.status());
        }
        if let (Some(policy), Some(config), "network") = (&self.network, &config.network, name) {
            policy.reload(&self.host, made(PolicyKind::Network, config)?)?;
            return Ok(policy.status());
        }
        let filter = self.filters.iter().zip(&config.filters).find(|(filter, _)| filter.name == name);
        if let Some((filter, config)) = filter {
            filter.policy.reload(&self.host, made(PolicyKind::Admit, &config.policy)?)?;
            return Ok(filter.policy.status());
        }
        let watcher = self.watchers.iter().zip(&config.watchers).find(|(watcher, _)| watcher.name == name);
        let (watcher, config) = watcher.ok_or_else(|| {
            let names = self.statuses().into_iter().map(|status| status.name).collect::<Vec<_>>().join(", ");
            anyhow!("there is no policy {name:?}; there are {names}")
        })?;
        watcher.policy.reload(&self.host, made(PolicyKind::Watcher, &config.policy)?)?;
        Ok(watcher.policy.status())
    }
}

/// Whether a policy's file has other bytes than those with this hash. One that cannot be read does not count: what
/// it was goes on.
fn differs(policy: &Policy, sha256: &str) -> bool {
    let berth_config::PolicySource::File(path) = &policy.source else { return false };
    let hash =
        |bytes: Vec<u8>| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    std::fs::read(path).is_ok_and(|bytes| hash(bytes) != sha256)
}

fn spec(name: &str, kind: PolicyKind, policy: &Policy, tables: &PolicyTables) -> anyhow::Result<PolicySpec> {
    let source = match &policy.source {
        berth_config::PolicySource::Shipped(shipped) => {
            let found = shipped::find(kind, shipped);
            let found = found.with_context(|| format!("no {kind} policy called {shipped:?} is shipped"))?;
            PolicySource::Shipped { name: found.name, bytes: found.bytes }
        }
        berth_config::PolicySource::File(path) => PolicySource::File(path.clone()),
    };
    let mut spec = PolicySpec::new(name, kind, source);
    let has = |capability: Capability| policy.grants.contains(capability.as_str());
    spec.grants = Grants {
        log: has(Capability::Log),
        key_value: has(Capability::KeyValue).then(|| tables.bounded(policy.limits.key_value_bytes)),
        accounts: has(Capability::Accounts).then(|| Arc::new(OwnAccounts::new()) as _),
        usage: has(Capability::Usage),
        ldap: policy.ldap.as_ref().map(directory).transpose()?,
        passwords: has(Capability::Passwords).then(|| tables.passwords()),
        ..Grants::default()
    };
    spec.settings.clone_from(&policy.settings);
    spec.limits = Limits {
        call: policy.limits.time,
        memory_bytes: policy.limits.memory_bytes,
        answer_bytes: usize::try_from(policy.limits.answer_bytes).unwrap_or(usize::MAX),
        ..spec.limits
    };
    spec.supervision = Supervision {
        strikes: policy.limits.strikes,
        probation_calls: policy.limits.probation_plans,
        ..Supervision::default()
    };
    Ok(spec)
}

/// The site's directory. No server is asked yet: one that is away must not keep Berth from starting.
fn directory(config: &berth_config::Ldap) -> anyhow::Result<Arc<dyn ldap::Directory>> {
    let mut settings = ldap::Settings::new(config.servers.clone());
    let login = |(dn, file): &(String, _)| ldap::Login { dn: dn.clone(), password_file: Clone::clone(file) };
    settings.login = config.login.as_ref().map(login);
    settings.tls = config.tls_ca.clone().map(|ca| ldap::Tls { ca, start_tls: config.start_tls });
    settings.answer_within = config.answer_within;
    Ok(Arc::new(ldap::Client::new(settings).context("auth.ldap cannot be used")?))
}

/// Writes into the log what became of a policy.
pub fn logged(name: &str) -> OnSupervised {
    let name = name.to_owned();
    Arc::new(move |became| log_supervised(&name, &became))
}

/// Writes into the log what became of a policy.
pub fn log_supervised(policy: &str, became: &Supervised) {
    match became {
        Supervised::Struck { strike, of, words } => {
            tracing::warn!(policy, strike, of, reason = words.as_str(), "policy struck");
        }
        Supervised::Benched { words } => {
            tracing::error!(policy, reason = words.as_str(), "policy benched");
        }
        Supervised::Reloaded { from, to } => tracing::info!(policy, from, to, "policy reloaded"),
        Supervised::ReloadFailed { version, words } => {
            tracing::warn!(policy, version, reason = words.as_str(), "policy not reloaded");
        }
        Supervised::RolledBack { from, to, words } => {
            tracing::warn!(policy, from, to, reason = words.as_str(), "policy rolled back");
        }
    }
}
