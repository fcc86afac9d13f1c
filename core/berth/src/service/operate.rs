//! Nodes, plugins, usage, and what the server says of itself.

use std::{collections::BTreeMap, fmt::Write as _};

use berth_api::{
    AccountRow, DaemonRow, ErrorBody, ErrorCode, NodeRow, PluginRow, ResourceRow, ServerInfo, StateCount,
    UsageRow,
};
use berth_engine::{ClosureView, NamedView, NodeView, StoredClosure};
use berth_executor_host::{Reach, Supervised as Executor};
use berth_model::{AccountKind, ClosureKind, StateKind, UtcMs};
use berth_policy_host::{PluginState, PluginStatus};
use berth_server::Caller;
use berth_status_api::Process;
use berth_store::UsageBy;

use super::{Service, access, accounts::account_kind, closures, failures};
use crate::daemon::now;

impl Service {
    pub(super) async fn server_info(&self, who: &Caller) -> Result<ServerInfo, ErrorBody> {
        let config = self.daemon.config.now();
        if who.barred.is_some() {
            return Ok(ServerInfo {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                cluster: config.cluster.name.clone(),
                user: who.identity.user.clone(),
                roles: Vec::new(),
                executors: Vec::new(),
                jobs: Vec::new(),
                started: self.daemon.started.to_string(),
                notices: Vec::new(),
                leader: None,
                barred: who.barred.clone(),
            });
        }
        let mut executors: Vec<_> = config.executors.iter().collect();
        executors.sort_by_key(|executor| !executor.default);
        // All live ones, and nothing of the past, which may be long.
        let counts = self.daemon.store.counts(UtcMs(u64::MAX >> 1)).await.map_err(failures::store)?;
        Ok(ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: config.cluster.name.clone(),
            user: who.identity.user.clone(),
            roles: who.identity.roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect(),
            executors: executors.into_iter().map(|executor| executor.name.clone()).collect(),
            jobs: counts.into_iter().map(state_count).collect(),
            started: self.daemon.started.to_string(),
            notices: self.sink_rows(who),
            leader: self.daemon.leader(),
            barred: None,
        })
    }

    pub(super) async fn node_rows(&self) -> Result<Vec<NodeRow>, ErrorBody> {
        let views = self.daemon.inbox.look(berth_engine::Engine::node_views).await;
        Ok(views.ok_or_else(|| self.not_now())?.into_iter().map(node).collect())
    }

    pub(super) async fn daemon_rows(&self) -> Result<Vec<DaemonRow>, ErrorBody> {
        let Some(presence) = &self.daemon.presence else {
            let words =
                "nobody is told of Berth's processes here; [status] in berth.toml says where they tell";
            return Err(ErrorBody::new(ErrorCode::Unable, words));
        };
        let processes = presence.processes().await.map_err(|error| {
            let words = format!("who is there cannot be looked up: {error}");
            ErrorBody::new(ErrorCode::Unavailable, words)
        })?;
        let row = |process: Process| DaemonRow {
            instance: process.instance,
            role: process.role.to_string(),
            host: process.host,
            pid: process.pid,
            version: process.version,
            doors: process.doors,
            started: UtcMs(process.started_ms).to_string(),
        };
        Ok(processes.into_iter().map(row).collect())
    }

    pub(super) async fn resource_rows(&self) -> Result<Vec<ResourceRow>, ErrorBody> {
        let views = self.daemon.inbox.look(berth_engine::Engine::site_resources).await;
        Ok(views.ok_or_else(|| self.not_now())?.into_iter().map(resource).collect())
    }

    pub(super) async fn used(
        &self,
        who: &Caller,
        by: &str,
        since: Option<&str>,
    ) -> Result<Vec<UsageRow>, ErrorBody> {
        let kind = account_kind(by)?;
        let since = since.map_or(Ok(UtcMs(0)), |text| {
            let at = text.parse::<UtcMs>().ok();
            let ago = || berth_model::parse_duration(text).ok();
            let ago = || {
                ago().map(|span| {
                    UtcMs(now().0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
                })
            };
            at.or_else(ago).ok_or_else(|| {
                let words = format!(
                    "{text:?} is not an instant; write 2030-01-31T18:00:00Z, or a time ago such as 7d"
                );
                ErrorBody::new(ErrorCode::Invalid, words)
            })
        })?;
        // Jobs are summed up for users and projects; a group's are those of its projects.
        let by = match kind {
            AccountKind::User => Some(UsageBy::User),
            AccountKind::Project => Some(UsageBy::Project),
            AccountKind::Group | AccountKind::Member | AccountKind::Class | AccountKind::ClassUser => None,
        };
        let jobs = match by {
            Some(by) => self.daemon.store.usage(by, since).await.map_err(failures::store)?,
            None => Vec::new(),
        };
        let mut rows: BTreeMap<String, UsageRow> =
            jobs.into_iter().map(|row| (row.name.clone(), usage(row))).collect();
        for account in self.list_accounts(who, kind.as_str()).await? {
            take_account(rows.entry(account.name.clone()).or_default(), account);
        }
        rows.retain(|name, _| self.sees_account(who, kind, name));
        let mut rows: Vec<UsageRow> =
            rows.into_values().map(|row| UsageRow { kind: kind.to_string(), ..row }).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.wall_ms));
        Ok(rows)
    }

    pub(super) fn plugin_rows(&self) -> Vec<PluginRow> {
        let policies = self.daemon.policies.statuses().into_iter().map(policy);
        policies.chain(self.daemon.registry.iter().map(executor)).collect()
    }

    pub(super) async fn reload_policy(&self, who: &Caller, name: String) -> Result<PluginRow, ErrorBody> {
        access::needs_administrator(who)?;
        let policies = std::sync::Arc::clone(&self.daemon.policies);
        let names: Vec<String> = policies.statuses().into_iter().map(|status| status.name).collect();
        if !names.contains(&name) {
            let words = format!("there is no policy {name:?}; there are {}", names.join(", "));
            return Err(ErrorBody::new(ErrorCode::NotFound, words));
        }
        let wanted = name.clone();
        let reloaded = tokio::task::spawn_blocking(move || policies.reload(&wanted)).await;
        let reloaded = reloaded.map_err(|_| failures::stopping())?;
        if let Ok(status) = &reloaded {
            self.note_act(who, format!("policy {name} loaded anew: {}", status.sha256)).await;
        }
        reloaded.map(policy).map_err(|error| ErrorBody::new(ErrorCode::Unable, format!("{error:#}")))
    }

    pub(super) async fn metrics_text(&self) -> Result<String, ErrorBody> {
        let counts = self.daemon.store.counts(self.daemon.started).await.map_err(failures::store)?;
        // That nothing can be written is worth telling, too.
        let nodes = self.node_rows().await.unwrap_or_default();
        let mut text = String::new();
        metric(
            &mut text,
            "berth_jobs",
            "gauge",
            "Jobs, arrays and tasks by state: live ones, and those that ended since the start.",
        );
        for (state, count) in counts {
            line(&mut text, "berth_jobs", &[("state", state.as_str())], count);
        }
        metric(&mut text, "berth_node_cpu_millis", "gauge", "CPU of nodes in milli-cores.");
        for node in &nodes {
            line(
                &mut text,
                "berth_node_cpu_millis",
                &[("node", &node.name), ("what", "total")],
                node.cpu_millis_total,
            );
            line(
                &mut text,
                "berth_node_cpu_millis",
                &[("node", &node.name), ("what", "used")],
                node.cpu_millis_used,
            );
        }
        metric(&mut text, "berth_node_memory_bytes", "gauge", "Memory of nodes in bytes.");
        for node in &nodes {
            let name = ("node", node.name.as_str());
            line(&mut text, "berth_node_memory_bytes", &[name, ("what", "total")], node.memory_bytes_total);
            line(&mut text, "berth_node_memory_bytes", &[name, ("what", "used")], node.memory_bytes_used);
        }
        metric(&mut text, "berth_policy_calls_total", "counter", "Calls of policies.");
        let policies = self.daemon.policies.statuses();
        for policy in &policies {
            line(&mut text, "berth_policy_calls_total", &[("policy", &policy.name)], policy.calls);
        }
        metric(&mut text, "berth_policy_strikes_total", "counter", "Faults of policies since the start.");
        for policy in &policies {
            line(&mut text, "berth_policy_strikes_total", &[("policy", &policy.name)], policy.strikes_total);
        }
        metric(&mut text, "berth_policy_benched", "gauge", "Whether a policy is benched.");
        for policy in &policies {
            let benched = matches!(policy.state, PluginState::Benched { .. });
            line(&mut text, "berth_policy_benched", &[("policy", &policy.name)], u64::from(benched));
        }
        metric(&mut text, "berth_executor_reachable", "gauge", "Whether an executor can be reached.");
        for executor in self.daemon.registry.iter() {
            let reachable = executor.reach() == Reach::Reachable;
            line(
                &mut text,
                "berth_executor_reachable",
                &[("executor", executor.name())],
                u64::from(reachable),
            );
        }
        self.notice_metrics(&mut text);
        metric(&mut text, "berth_store_stalled", "gauge", "Whether nothing can be written at the moment.");
        line(&mut text, "berth_store_stalled", &[], u64::from(self.daemon.inbox.stalled().is_some()));
        Ok(text)
    }

    fn notice_metrics(&self, text: &mut String) {
        let sinks = self.daemon.notices.statuses();
        metric(text, "berth_notices_waiting", "gauge", "Notices that wait to be brought.");
        for sink in &sinks {
            line(text, "berth_notices_waiting", &[("sink", &sink.sink)], sink.waiting);
        }
        metric(
            text,
            "berth_notices_total",
            "counter",
            "Notices delivered and given up, and attempts that failed.",
        );
        for sink in &sinks {
            let outcomes =
                [("delivered", sink.delivered), ("failed", sink.failed), ("dropped", sink.dropped)];
            for (outcome, count) in outcomes {
                line(text, "berth_notices_total", &[("sink", &sink.sink), ("outcome", outcome)], count);
            }
        }
    }
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let labels = labels.iter().map(|(key, value)| {
        let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        format!("{key}=\"{value}\"")
    });
    let labels = labels.collect::<Vec<_>>().join(",");
    let _ = match labels.is_empty() {
        true => writeln!(text, "{name} {value}"),
        false => writeln!(text, "{name}{{{labels}}} {value}"),
    };
}

fn state_count((kind, count): (StateKind, u64)) -> StateCount {
    StateCount { state: kind.as_str().to_owned(), count }
}

fn node(view: NodeView) -> NodeRow {
    NodeRow {
        name: format!("{}/{}", view.executor, view.name),
        executor: view.executor,
        state: match (&view.away, view.open) {
            (Some(_), _) => "unreachable",
            (None, true) => closed_by(&view.closures),
            (None, false) => "closed",
        }
        .to_owned(),
        cpu_millis_total: view.total.cpu_millis,
        cpu_millis_used: view.used.cpu_millis,
        memory_bytes_total: view.total.memory_bytes,
        memory_bytes_used: view.used.memory_bytes,
        gpus_total: view.total.gpus,
        gpus_used: view.used.gpus,
        resources: view.named.into_iter().map(resource).collect(),
        closures: view.closures.into_iter().map(closures::row).collect(),
        jobs: view.jobs,
        note: view.away,
    }
}

/// What a node is because of what administrators have closed.
fn closed_by(closures: &[ClosureView]) -> &'static str {
    let on = || closures.iter().filter(|view| view.on).map(|view| &view.closure);
    let state = |closure: &StoredClosure| match closure.kind {
        ClosureKind::Drain => "drained",
        ClosureKind::Maintenance => "maintenance",
        ClosureKind::Reservation if closure.terms.is_for_nobody() => "maintenance",
        ClosureKind::Reservation => "reserved",
    };
    // What keeps everybody out says more than what keeps some out.
    on().map(state).find(|state| *state != "reserved").or_else(|| on().map(state).next()).unwrap_or("up")
}

fn resource(view: NamedView) -> ResourceRow {
    ResourceRow { name: view.name, total: view.total, used: view.used }
}

fn usage(row: berth_store::UsageRow) -> UsageRow {
    let of = |kind| row.jobs.iter().find(|(state, _)| *state == kind).map_or(0, |&(_, count)| count);
    UsageRow {
        jobs: row.jobs.iter().map(|(_, count)| count).sum(),
        succeeded: of(StateKind::Succeeded),
        cpu_micros: row.cpu_micros,
        wall_ms: row.wall_ms,
        cpu_millis_seconds: row.allocated_cpu_ms,
        name: row.name,
        ..UsageRow::default()
    }
}

/// How the account stands.
fn take_account(row: &mut UsageRow, account: AccountRow) {
    let AccountRow { name, period_ms, used, kept, running, disk_bytes, faded, .. } = account;
    row.name = name;
    row.period_ms = period_ms;
    row.counted = used;
    row.kept = kept;
    row.running = running;
    row.disk_bytes = disk_bytes;
    row.faded = faded;
}

fn policy(status: PluginStatus) -> PluginRow {
    let (state, mut notes) = match status.state {
        PluginState::Active => ("active", Vec::new()),
        PluginState::Probation { calls_left } => {
            ("probation", vec![format!("{calls_left} more calls on probation")])
        }
        PluginState::Benched { words } => ("benched", vec![words]),
    };
    notes.extend(status.last_strike.map(|words| format!("last strike: {words}")));
    notes.extend(status.last_reload_error.map(|words| format!("last reload failed: {words}")));
    notes.extend(status.previous.map(|version| format!("goes back to {version} at a strike")));
    PluginRow {
        name: status.name,
        kind: status.kind.as_str().to_owned(),
        version: status.version,
        source: status.source,
        sha256: Some(status.sha256),
        state: state.to_owned(),
        strikes: status.strikes,
        calls: status.calls,
        mean_call_micros: status.mean_call_micros,
        longest_call_micros: status.max_call_micros,
        capabilities: status.capabilities,
        notes,
    }
}

fn executor(executor: &Executor) -> PluginRow {
    let description = executor.description();
    let mut notes = description.notes.clone();
    let state = match executor.reach() {
        Reach::Reachable => "active",
        Reach::Away { words, since, next_try } => {
            notes.push(format!("away since {since}, looked for again at {next_try}: {words}"));
            "unreachable"
        }
    };
    let able = &description.capabilities;
    let capabilities = [
        (able.suspend, "suspend"),
        (able.suspend_restarts, "suspend-restarts"),
        (able.signal, "signal"),
        (able.logs, "logs"),
        (able.outputs_merged, "outputs-merged"),
        (able.stats, "stats"),
        (able.exec, "exec"),
        (able.time_limit, "time-limit"),
        (able.exclusive_cpus, "exclusive-cpus"),
        (able.images, "images"),
        (able.ports, "ports"),
        (able.networks, "networks"),
        (able.volumes, "volumes"),
        (able.scratch, "scratch"),
        (able.interactive, "interactive"),
        (able.all_or_nothing, "all-or-nothing"),
        (able.queues, "queues"),
    ];
    PluginRow {
        name: executor.name().to_string(),
        kind: "executor".to_owned(),
        version: format!("{} {}", description.name, description.version),
        source: "built in".to_owned(),
        sha256: None,
        state: state.to_owned(),
        strikes: u32::try_from(executor.faults()).unwrap_or(u32::MAX),
        calls: 0,
        mean_call_micros: 0,
        longest_call_micros: 0,
        capabilities: capabilities
            .iter()
            .filter(|(able, _)| *able)
            .map(|(_, name)| (*name).to_owned())
            .collect(),
        notes,
    }
}
