//! Accounts: who sees them, who sets them, and what administrators did.

use std::collections::BTreeMap;

use berth_api::{
    AccountDay, AccountRow, AccountRunning, AccountSettings, AccountUse, ActRow, ErrorBody, ErrorCode,
    Problem, SetAccount, VolumeRow,
};
use berth_engine::{Command, DEFAULT_PROJECT, Faded, Standing};
use berth_model::{AccountKind, AccountTerms, EventKind, InUse, JobId, Limits, ProjectVolume, Used, UtcMs};
use berth_server::{Caller, Scope};

use super::{Service, access, failures};

/// The most acts that are told at once.
const MOST_ACTS: u32 = 10_000;

impl Service {
    pub(super) async fn list_accounts(&self, who: &Caller, kind: &str) -> Result<Vec<AccountRow>, ErrorBody> {
        let kind = account_kind(kind)?;
        let standings = self.daemon.inbox.look(move |engine| engine.standings(kind)).await;
        let standings = standings.ok_or_else(|| self.not_now())?;
        let seen = standings.into_iter().filter(|standing| self.sees_account(who, kind, &standing.name));
        Ok(seen.map(|standing| self.account_row(standing)).collect())
    }

    pub(super) async fn one_account(
        &self,
        who: &Caller,
        kind: &str,
        name: String,
    ) -> Result<AccountRow, ErrorBody> {
        let standing = self.standing(account_kind(kind)?, name).await?;
        if !self.sees_account(who, standing.kind, &standing.name) {
            let words = format!("there is no {} {}", standing.kind, standing.name);
            return Err(ErrorBody::new(ErrorCode::NotFound, words));
        }
        let guest = match standing.kind {
            AccountKind::User => self.guest_of_account(&standing.name).await?,
            _ => None,
        };
        Ok(AccountRow { guest, ..self.account_row(standing) })
    }

    pub(super) async fn days_of_account(
        &self,
        who: &Caller,
        kind: &str,
        name: String,
    ) -> Result<Vec<AccountDay>, ErrorBody> {
        let row = self.one_account(who, kind, name).await?;
        let (kind, name) = (account_kind(kind)?, row.name);
        let hours = self.daemon.inbox.look(move |engine| engine.used_by_hour(kind, &name)).await;
        let mut days: BTreeMap<u64, Used> = BTreeMap::new();
        for (hour, used) in hours.ok_or_else(|| self.not_now())? {
            *days.entry(hour / 24).or_default() += used;
        }
        Ok(days.into_iter().map(|(day, used)| account_day(day, &used)).collect())
    }

    pub(super) async fn change_account(
        &self,
        who: &Caller,
        kind: &str,
        name: String,
        wanted: SetAccount,
    ) -> Result<AccountRow, ErrorBody> {
        access::needs_administrator(who)?;
        let kind = account_kind(kind)?;
        let terms = terms(wanted.settings)?;
        self.send_terms(who, kind, &name, wanted.version, Some(Box::new(terms))).await?;
        Ok(self.account_row(self.standing(kind, name).await?))
    }

    pub(super) async fn take_account_away(
        &self,
        who: &Caller,
        kind: &str,
        name: &str,
        version: u64,
    ) -> Result<(), ErrorBody> {
        access::needs_administrator(who)?;
        let kind = account_kind(kind)?;
        if version == 0 {
            return Err(ErrorBody::new(ErrorCode::NotFound, format!("nothing is set of {kind} {name}")));
        }
        self.send_terms(who, kind, name, version, None).await
    }

    async fn send_terms(
        &self,
        who: &Caller,
        kind: AccountKind,
        name: &str,
        version: u64,
        terms: Option<Box<AccountTerms>>,
    ) -> Result<(), ErrorBody> {
        let by = who.identity.user.clone();
        let command = Command::SetAccount { kind, name: name.to_owned(), by, version, terms };
        self.daemon.inbox.command(command).await.map(drop).map_err(failures::command)
    }

    async fn standing(&self, kind: AccountKind, name: String) -> Result<Standing, ErrorBody> {
        let standing = self.daemon.inbox.look(move |engine| engine.standing(kind, &name)).await;
        standing.ok_or_else(|| self.not_now())
    }

    /// Everybody sees their own account and those of their projects, with the parts of the other members where
    /// the project is shared.
    pub(super) fn sees_account(&self, who: &Caller, kind: AccountKind, name: &str) -> bool {
        let user = &who.identity.user;
        let memberships = &self.daemon.memberships;
        who.identity.sees_everything()
            || match kind {
                AccountKind::User => name == user,
                AccountKind::Project => name == DEFAULT_PROJECT || memberships.is_member(name, user),
                AccountKind::Group => false,
                AccountKind::Member => name
                    .split_once('/')
                    .is_some_and(|(project, member)| member == user || memberships.shares(project, user)),
                // How full a class is, is what its jobs wait for.
                AccountKind::Class => true,
                AccountKind::ClassUser => name.split_once('/').is_some_and(|(_, part)| part == user),
            }
    }

    fn account_row(&self, standing: Standing) -> AccountRow {
        let Standing { kind, name, version, terms, limits, used, reserved, in_use, faded, pending } =
            standing;
        let period = self.daemon.config.now().quotas.period;
        AccountRow {
            kind: kind.to_string(),
            name,
            version,
            settings: settings(terms),
            bounds: typed(&limits),
            period_ms: u64::try_from(period.as_millis()).unwrap_or(u64::MAX),
            used: amount(&used),
            kept: amount(&reserved),
            running: running(&in_use),
            disk_bytes: in_use.disk_bytes,
            faded: faded_amount(&faded),
            waits: pending,
            guest: None,
        }
    }

    /// Writes what an administrator did, and what cannot be undone for want of a line in it, into the site's
    /// history.
    pub(super) async fn note_act(&self, who: &Caller, words: String) {
        let by = who.identity.user.clone();
        let command = Command::Act { by: by.clone(), words: words.clone() };
        if let Err(error) = self.daemon.inbox.command(command).await {
            tracing::warn!(by, act = words, error = %error, "an act is not in the history");
        }
    }

    pub(super) async fn list_acts(&self, who: &Caller, limit: u32) -> Result<Vec<ActRow>, ErrorBody> {
        if !who.identity.sees_everything() {
            let words = "only administrators see what administrators did";
            return Err(ErrorBody::new(ErrorCode::Forbidden, words));
        }
        access::needs(who, Scope::Read)?;
        let history = self.daemon.store.history(JobId::SITE).await.map_err(failures::store)?;
        let acts = history.into_iter().filter_map(|event| match event.record.kind {
            EventKind::Act { by, words } => {
                Some(ActRow { seq: event.seq, at: event.record.at.to_string(), by, what: words })
            }
            _ => None,
        });
        let mut acts: Vec<ActRow> = acts.collect();
        let most = usize::try_from(limit.min(MOST_ACTS)).unwrap_or(usize::MAX);
        acts.drain(..acts.len().saturating_sub(most));
        Ok(acts)
    }
}

pub(super) fn account_kind(text: &str) -> Result<AccountKind, ErrorBody> {
    AccountKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let kinds = AccountKind::ALL.map(AccountKind::as_str).join(", ");
        ErrorBody::new(
            ErrorCode::NotFound,
            format!("there are no accounts of kind {text:?}; there are {kinds}"),
        )
    })
}

fn terms(settings: AccountSettings) -> Result<AccountTerms, ErrorBody> {
    let mut limits = Limits::default();
    let mut problems = Vec::new();
    for (key, text) in &settings.limits {
        if let Err(error) = limits.set(key, text) {
            problems.push(Problem { field: format!("settings.limits.{key}"), message: error.to_string() });
        }
    }
    if !problems.is_empty() {
        let message = "some bounds cannot be so".to_owned();
        return Err(ErrorBody { code: ErrorCode::Invalid, message, problems });
    }
    let AccountSettings { about, priority, shares, limits: _, barred, group, members, shared, volumes } =
        settings;
    let members = members.into_iter().collect();
    let volume = |VolumeRow { path, target, read_only }| ProjectVolume { path, target, read_only };
    let volumes = volumes.into_iter().map(|(name, row)| (name, volume(row))).collect();
    Ok(AccountTerms { about, priority, shares, limits, barred, group, members, shared, volumes })
}

fn settings(terms: AccountTerms) -> AccountSettings {
    let AccountTerms { about, priority, shares, limits, barred, group, members, shared, volumes } = terms;
    let (limits, members) = (typed(&limits), members.into_iter().collect());
    let row = |ProjectVolume { path, target, read_only }| VolumeRow { path, target, read_only };
    let volumes = volumes.into_iter().map(|(name, volume)| (name, row(volume))).collect();
    AccountSettings { about, priority, shares, limits, barred, group, members, shared, volumes }
}

fn typed(limits: &Limits) -> BTreeMap<String, String> {
    limits.typed().into_iter().map(|(key, text)| (key.to_owned(), text)).collect()
}

/// Days are counted from 1970.
fn account_day(day: u64, used: &Used) -> AccountDay {
    let Used { jobs, wall_ms, cpu_ms, memory_mib_ms, cpu_millis, memory_mib } = *used;
    let at = UtcMs(day.saturating_mul(24 * 3_600_000)).to_string();
    let day = at.split_once('T').map_or(at.as_str(), |(day, _)| day).to_owned();
    AccountDay { day, jobs, wall_ms, cpu_ms, memory_mib_ms, cpu_millis, memory_mib }
}

fn amount(used: &Used) -> AccountUse {
    AccountUse {
        jobs: used.jobs as f64,
        wall_ms: used.wall_ms as f64,
        cpu_ms: used.cpu_ms as f64,
        memory_mib_ms: used.memory_mib_ms as f64,
    }
}

fn running(in_use: &InUse) -> AccountRunning {
    let InUse { jobs, cpu_millis, memory_mib, gpus, disk_bytes: _ } = *in_use;
    AccountRunning { jobs, cpu_millis, memory_bytes: memory_mib.saturating_mul(1 << 20), gpus }
}

fn faded_amount(faded: &Faded) -> AccountUse {
    AccountUse {
        jobs: faded.jobs,
        wall_ms: faded.wall_s * 1e3,
        cpu_ms: faded.cpu_s * 1e3,
        memory_mib_ms: faded.memory_gib_s * 1e3 * 1024.0,
    }
}
