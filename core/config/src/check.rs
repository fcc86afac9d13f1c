//! From what was written to what is used: everything that takes more than one value to judge.

mod resources;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
};

use crate::{
    checked::{
        Auth, Changeable, Cluster, Config, Executor, Filter, Jobs, Limits, Log, Own, Policy, PolicySource,
        Quotas, Server, Sessions, Watcher, bare,
    },
    diagnostics::{Problem, nearest},
    known::{KnownPlugins, PolicyKind},
    quantity,
    raw::{
        At, CountAt, Open, RawAuth, RawBounds, RawCluster, RawConfig, RawExecutor, RawFilter, RawJobs,
        RawLimits, RawLog, RawNetwork, RawQuotas, RawServer, RawWatcher,
    },
    source::{Sources, Span},
};

/// What can be changed of a job that was submitted.
const CHANGEABLE: [&str; 6] = ["priority", "project", "cpus", "memory", "gpus", "time"];
/// The longest path that the kernel takes for a socket, less the zero at its end.
const MOST_SOCKET_BYTES: usize = 107;
/// Leaves room for job and attempt within the 63 bytes that a Kubernetes name may have.
const MOST_NAME_BYTES: usize = 32;

pub(crate) struct Check<'a> {
    pub(crate) known: &'a KnownPlugins,
    pub(crate) sources: &'a Sources,
    pub(crate) problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    pub(crate) fn config(&mut self, raw: RawConfig) -> Config {
        self.compare_limits(&raw.server, &raw.jobs);
        let known = self.known;
        let RawConfig { scheduler, auth, .. } = raw;
        let executors: Vec<&str> = raw.executors.keys().map(String::as_str).collect();
        let guests = self.guests(&raw.guests, &raw.issuers, &executors);
        Config {
            guests,
            cluster: self.cluster(&raw.cluster),
            server: self.server(&raw.server),
            jobs: self.jobs(&raw.jobs),
            quotas: self.quotas(&raw.quotas, &raw.jobs),
            store: self.store(&raw.store),
            scheduler: self.policy(
                ("scheduler", &known.scheduler),
                &scheduler.policy,
                &scheduler.settings,
                &scheduler.grants,
                &scheduler.limits,
            ),
            auth: self.auth(&auth),
            watchers: self.watchers(&raw.watchers),
            network: self.network(&raw.network),
            filters: self.filters(&raw.filters, &raw.watchers),
            notices: self.notices(&raw.notices),
            webhooks: self.webhooks(&raw.webhooks),
            executors: self.executors(raw.executors),
            resources: resources::resources(self, &raw.resources),
            classes: self.classes(&raw.classes),
            status: self.status(&raw.status),
            log: self.log(&raw.log),
        }
    }

    pub(crate) fn error(&mut self, span: &Span, message: String, label: impl Into<String>) {
        self.problems.push(Problem::error(message).at(span).label(label));
    }

    pub(crate) fn warning(&mut self, span: &Span, message: String, label: impl Into<String>) {
        self.problems.push(Problem::warning(message).at(span).label(label));
    }

    fn cluster(&mut self, raw: &RawCluster) -> Cluster {
        self.name("cluster.name", &raw.name, &raw.name.span());
        Cluster { name: raw.name.value(), state: raw.state.value() }
    }

    /// Names end up in names of containers, services and files.
    pub(crate) fn name(&mut self, key: &str, name: &str, span: &Span) {
        let mut letters = name.chars();
        let starts = letters.next().is_some_and(|first| first.is_ascii_lowercase());
        let rest = letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if name.len() > MOST_NAME_BYTES {
            self.error(span, format!("{key} is too long"), format!("{MOST_NAME_BYTES} letters at most"));
        } else if !starts || !rest || name.ends_with('-') {
            let label = "lower-case letters, digits and dashes, beginning with a letter";
            self.error(span, format!("{key} cannot be {name:?}"), label);
        }
    }

    fn server(&mut self, raw: &RawServer) -> Server {
        let length = raw.socket.as_os_str().len();
        if length > MOST_SOCKET_BYTES {
            let message = format!("the path of the socket has {length} bytes, more than the kernel takes");
            let help = format!("set `server.socket` to a path of at most {MOST_SOCKET_BYTES} bytes");
            self.problems.push(Problem::error(message).at(&raw.socket.span()).help(help));
        }
        let mut listen: Vec<SocketAddr> = Vec::new();
        for address in &raw.listen {
            match address.parse::<SocketAddr>() {
                Ok(parsed) if listen.contains(&parsed) => {
                    self.error(&address.span(), format!("{parsed} stands here twice"), "take this one out");
                }
                Ok(parsed) => {
                    if !parsed.ip().is_loopback() {
                        let message = format!("{parsed} can be reached from other machines, unencrypted");
                        let label = "listen on 127.0.0.1 and put a proxy with TLS in front";
                        self.warning(&address.span(), message, label);
                    }
                    listen.push(parsed);
                }
                Err(_) => {
                    let message = format!("{:?} is not an address to listen on", **address);
                    self.error(&address.span(), message, "write 127.0.0.1:8920 or [::1]:8920");
                }
            }
        }
        Server {
            socket: raw.socket.value(),
            socket_mode: raw.socket_mode.0,
            listen,
            request_limit_bytes: raw.request_limit.0,
            godocker: *raw.godocker,
            proxy: self.proxy(&raw.proxy),
        }
    }

    fn compare_limits(&mut self, server: &RawServer, jobs: &RawJobs) {
        let (script, request) = (&jobs.script_limit, &server.request_limit);
        if script.0 > request.0 {
            let message = "jobs.script-limit is more than server.request-limit lets through".to_owned();
            let default = self.sources.is_default(&script.span());
            let span = if default { request.span() } else { script.span() };
            self.warning(&span, message, "the lower one holds");
        }
        if let (Some(usual), Some(longest)) = (&jobs.default_time, &jobs.longest_time)
            && usual.0 > longest.0
        {
            let message = "jobs.default-time is longer than jobs.longest-time".to_owned();
            self.error(&usual.span(), message, "make it shorter");
        }
    }

    fn jobs(&mut self, raw: &RawJobs) -> Jobs {
        Jobs {
            directory: raw.directory.value(),
            script_limit_bytes: raw.script_limit.0,
            most_array_tasks: *raw.most_array_tasks,
            default_cpu_millis: raw.default_cpus.0,
            default_memory_bytes: raw.default_memory.0,
            default_time: raw.default_time.as_ref().map(|time| time.0),
            longest_time: raw.longest_time.as_ref().map(|time| time.0),
            grace: raw.grace.0,
            changeable: self.changeable(&raw.changeable),
            retry_on_node_failure: *raw.retry_on_node_failure,
            starts_per_plan: *raw.starts_per_plan,
            placement: *raw.placement,
            most_priority: raw.most_priority.as_ref().map(|most| **most),
            archive: *raw.archive,
            archive_after: raw.archive_after.as_ref().map(|age| age.0),
            archive_directory: raw.archive_directory.value(),
            archive_limit_bytes: raw.archive_limit.0,
            history_limit: *raw.history_limit,
        }
    }

    fn changeable(&mut self, raw: &[At<String>]) -> Vec<Changeable> {
        let mut fields: Vec<Changeable> = Vec::with_capacity(raw.len());
        for text in raw {
            let (field, administrators) = match text.strip_suffix(":admin") {
                Some(field) => (field, true),
                None => (text.as_str(), false),
            };
            if !CHANGEABLE.contains(&field) {
                let label = match nearest(field, CHANGEABLE) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("write {}, each with or without `:admin`", CHANGEABLE.join(", ")),
                };
                let message = format!("jobs.changeable: {field:?} is nothing that can be changed of a job");
                self.error(&text.span(), message, label);
            } else if fields.iter().any(|known| known.field == field) {
                let message = format!("jobs.changeable: {field:?} stands there twice");
                self.error(&text.span(), message, "take this one out");
            } else {
                fields.push(Changeable { field: field.to_owned(), administrators });
            }
        }
        fields
    }

    fn quotas(&mut self, raw: &RawQuotas, jobs: &RawJobs) -> Quotas {
        let all = [("quotas.user", &raw.user), ("quotas.project", &raw.project)];
        if jobs.default_time.is_none() && jobs.longest_time.is_none() && *raw.count == CountAt::Start {
            for (table, bounds) in all {
                let time = [&bounds.wall_time, &bounds.cpu_time, &bounds.memory_time];
                if let Some(time) = time.into_iter().flatten().next() {
                    let message =
                        format!("{table} bounds time, so that jobs without a time limit are refused");
                    self.warning(&time.span(), message, "set jobs.default-time, too");
                }
            }
        }
        if let Some(pending) = &raw.project.pending {
            let message = "quotas.project.pending: only users are bounded in what waits".to_owned();
            self.error(&pending.span(), message, "take it out");
        }
        Quotas {
            period: raw.period.0,
            on_breach: *raw.on_breach,
            count: *raw.count,
            pending: raw.pending.as_ref().map(|pending| **pending),
            submissions_per_minute: raw.submissions_per_minute.as_ref().map(|rate| **rate),
            half_life: raw.half_life.0,
            open_projects: *raw.open_projects,
            measure_every: raw.measure_every.0,
            user: bounds(&raw.user),
            project: bounds(&raw.project),
        }
    }

    fn policy(
        &mut self,
        (section, kind): (&str, &PolicyKind),
        policy: &At<String>,
        settings: &Open,
        grants: &[At<String>],
        limits: &RawLimits,
    ) -> Policy {
        Policy {
            source: self.policy_source(section, kind, policy),
            settings: flattened(&settings.0),
            grants: self.grants(section, kind, grants),
            limits: Limits {
                time: limits.time.0,
                memory_bytes: limits.memory.0,
                answer_bytes: limits.answer.0,
                key_value_bytes: limits.key_value.0,
                strikes: *limits.strikes,
                probation_plans: *limits.probation_plans,
            },
            ldap: None,
        }
    }

    fn auth(&mut self, raw: &RawAuth) -> Auth {
        let known = self.known;
        let kind = ("auth", &known.auth);
        let mut policy = self.policy(kind, &raw.policy, &raw.settings, &raw.grants, &raw.limits);
        policy.ldap = self.ldap(&raw.ldap, raw.grants.iter().find(|grant| grant.as_str() == "ldap"));
        let sessions = Sessions { idle: raw.sessions.idle.0, longest: raw.sessions.longest.0 };
        Auth { policy, instances: *raw.instances, cache: raw.cache.0, sessions }
    }

    fn policy_source(&mut self, section: &str, kind: &PolicyKind, policy: &At<String>) -> PolicySource {
        let span = policy.span();
        if policy.contains('/') || policy.ends_with(".wasm") {
            let path = self.sources.resolve(&span, Path::new(policy.as_str()));
            let trouble = match std::fs::metadata(&path) {
                Ok(found) if found.is_file() => None,
                Ok(_) => Some(format!("{} is not a file", path.display())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Some(format!("{} does not exist", path.display()))
                }
                Err(error) => Some(format!("{} cannot be looked at: {error}", path.display())),
            };
            if let Some(trouble) = trouble {
                self.error(
                    &span,
                    format!("{section}.policy: {trouble}"),
                    "name a component, built for wasm32",
                );
            }
            return PolicySource::File(path);
        }
        let known = kind.shipped.iter().any(|name| *name == **policy);
        // A default needs no looking up, so that defaults hold without any plugins known.
        if !known && !self.sources.is_default(&span) {
            let label = match nearest(policy, kind.shipped.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None if kind.shipped.is_empty() => "write the path of a component".to_owned(),
                None => format!("write {}, or the path of a component", kind.shipped.join(", ")),
            };
            self.error(&span, format!("no policy for {section} is called {:?}", **policy), label);
        }
        PolicySource::Shipped(policy.to_string())
    }

    fn grants(&mut self, section: &str, kind: &PolicyKind, grants: &[At<String>]) -> BTreeSet<String> {
        let mut granted = BTreeSet::new();
        for grant in grants {
            let (name, span) = (grant.as_str(), grant.span());
            if !kind.capabilities.iter().any(|known| known == name) && !self.sources.is_default(&span) {
                let label = match nearest(name, kind.capabilities.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("there are {}", kind.capabilities.join(", ")),
                };
                self.error(&span, format!("{section}: no capability {name:?} can be granted here"), label);
            } else if !granted.insert(name.to_owned()) {
                self.error(&span, format!("{section}: {name:?} is granted twice"), "take this one out");
            }
        }
        granted
    }

    fn watchers(&mut self, raw: &[At<RawWatcher>]) -> Vec<Watcher> {
        let known = self.known;
        let mut seen = BTreeSet::new();
        let mut watchers = Vec::with_capacity(raw.len());
        for watcher in raw {
            self.name("a watcher's name", &watcher.name, &watcher.name.span());
            if !seen.insert(watcher.name.as_str()) {
                let message = format!("two watchers are called {:?}", *watcher.name);
                self.error(&watcher.name.span(), message, "call this one something else");
            }
            let policy = self.policy(
                ("watchers", &known.watcher),
                &watcher.policy,
                &watcher.settings,
                &watcher.grants,
                &watcher.limits,
            );
            watchers.push(Watcher { name: watcher.name.value(), policy, every: watcher.every.0 });
        }
        watchers
    }

    fn filters(&mut self, raw: &[At<RawFilter>], watchers: &[At<RawWatcher>]) -> Vec<Filter> {
        let known = self.known;
        let mut seen = BTreeSet::new();
        let mut filters = Vec::with_capacity(raw.len());
        for filter in raw {
            self.name("a filter's name", &filter.name, &filter.name.span());
            if !seen.insert(filter.name.as_str()) {
                let message = format!("two filters are called {:?}", *filter.name);
                self.error(&filter.name.span(), message, "call this one something else");
            } else if watchers.iter().any(|watcher| *watcher.name == *filter.name)
                || ["scheduler", "auth", "network"].contains(&filter.name.as_str())
            {
                let message = format!("another policy than this filter is called {:?}, too", *filter.name);
                self.error(&filter.name.span(), message, "call this one something else");
            }
            let policy = self.policy(
                ("filters", &known.admit),
                &filter.policy,
                &filter.settings,
                &filter.grants,
                &filter.limits,
            );
            filters.push(Filter { name: filter.name.value(), policy, on_failure: *filter.on_failure });
        }
        filters
    }

    fn network(&mut self, raw: &RawNetwork) -> Option<Policy> {
        let Some(policy) = &raw.policy else {
            if !raw.settings.0.is_empty() {
                let message = "network.settings are read by nobody, because network.policy is not set";
                self.warning(&raw.settings.span(), message.to_owned(), "set the policy, or take them out");
            }
            return None;
        };
        let kind = ("network", &self.known.network);
        Some(self.policy(kind, policy, &raw.settings, &raw.grants, &raw.limits))
    }

    fn executors(&mut self, raw: BTreeMap<String, At<RawExecutor>>) -> Vec<Executor> {
        let mut raw: Vec<_> = raw.into_iter().collect();
        raw.sort_by_key(|(_, executor)| executor.span().start);
        let mut default: Option<String> = None;
        let mut executors = Vec::with_capacity(raw.len());
        for (name, executor) in raw {
            self.name("an executor's name", &name, &executor.span());
            match &default {
                Some(other) if *executor.default => {
                    let message = format!("executors {other:?} and {name:?} are both the default");
                    self.error(&executor.default.span(), message, "take this one out");
                }
                None if *executor.default => default = Some(name.clone()),
                _ => {}
            }
            let (kind, own) = (executor.kind.value(), Own(executor.value().own.0));
            executors.push(Executor { name, kind, default: *executor.default, own });
        }
        if default.is_none()
            && let Some(first) = executors.first_mut()
        {
            first.default = true;
        }
        executors
    }

    fn log(&mut self, raw: &RawLog) -> Log {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        for part in raw.level.split(',').map(str::trim) {
            // What stands in brackets chooses spans and is left to the filter itself.
            let level = part.rsplit(']').next().unwrap_or(part);
            let level = level.rsplit('=').next().unwrap_or(level);
            let plain = level.to_ascii_lowercase();
            if LEVELS.contains(&plain.as_str()) || (part.ends_with(']')) {
                continue;
            }
            let label = match nearest(&plain, LEVELS) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("write one of {}, or target=level", LEVELS.join(", ")),
            };
            self.error(&raw.level.span(), format!("log.level: {level:?} is no level"), label);
        }
        Log { level: raw.level.value(), format: *raw.format }
    }
}

/// A policy's settings as it is told them.
fn flattened(table: &toml::Table) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (key, value) in table {
        flatten(key.clone(), value, &mut pairs);
    }
    pairs
}

fn flatten(key: String, value: &toml::Value, pairs: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (inner, value) in table {
                flatten(format!("{key}.{inner}"), value, pairs);
            }
        }
        toml::Value::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                flatten(format!("{key}.{index}"), value, pairs);
            }
        }
        plain => pairs.push((key, bare(plain))),
    }
}

/// Gibibytes and CPUs are whole ones in the file; use is counted in mebibytes and thousandths.
pub(crate) fn bounds(raw: &RawBounds) -> berth_model::Limits {
    let millis = |time: &Option<At<quantity::Span>>| {
        time.as_ref().map(|time| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX))
    };
    berth_model::Limits {
        wall_ms: millis(&raw.wall_time),
        cpu_ms: millis(&raw.cpu_time),
        memory_mib_ms: millis(&raw.memory_time).map(|millis| millis.saturating_mul(1024)),
        cpu_millis: raw.cpus.as_ref().map(|cpus| cpus.0),
        memory_mib: raw.memory.as_ref().map(|memory| memory.0 >> 20),
        jobs: raw.jobs.as_ref().map(|jobs| **jobs),
        pending: raw.pending.as_ref().map(|pending| **pending),
        running_jobs: raw.running_jobs.as_ref().map(|jobs| **jobs),
        running_cpu_millis: raw.running_cpus.as_ref().map(|cpus| cpus.0),
        running_memory_mib: raw.running_memory.as_ref().map(|memory| memory.0 >> 20),
        running_gpus: raw.running_gpus.as_ref().map(|gpus| **gpus),
        disk_bytes: raw.disk.as_ref().map(|disk| disk.0),
    }
}
