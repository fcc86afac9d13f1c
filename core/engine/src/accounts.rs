//! The books of users, projects, groups of projects and members of projects: what they have used within the
//! rolling period, what their running jobs may still use, what they have at one moment, and which of their jobs have to
//! wait for that.
//!
//! A start reserves what the job uses if it runs for as long as it may; its end settles that. So what an
//! account has used and reserved together never passes its limits, and neither does what of it runs at once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound::{Excluded, Unbounded},
};

use berth_model::{AccountKind, AccountTerms, Bound, InUse, JobId, Limits, Used, UtcMs};
use rustc_hash::FxHashMap;

use crate::{
    Faded, NameId,
    cost::{Claim, Cost},
    fading::Fading,
    names::Names,
};

/// Use is kept by the hour, and falls out of the period an hour at a time.
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// The project of jobs that name none: it belongs to everybody and has no limits.
pub const DEFAULT_PROJECT: &str = "default";

/// What happens to a job that would pass a limit when it is its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBreach {
    /// It stays pending until there is something left.
    #[default]
    Wait,
    /// It ends as rejected.
    Reject,
}

/// When use counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountAt {
    /// A start reserves the most that the job can use.
    #[default]
    Start,
    /// Only what has ended counts, as in GO-Docker; limits can be overshot.
    End,
}

/// What a site sets about quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSettings {
    /// Within which limits hold, in milliseconds; whole hours.
    pub period_ms: u64,
    /// What happens to a job that would pass a limit.
    pub on_breach: OnBreach,
    /// When use counts.
    pub count_at: CountAt,
    /// For users without a bound of their own.
    pub user: Limits,
    /// For projects likewise, but for the default one.
    pub project: Limits,
    /// Jobs and tasks that may wait in all.
    pub pending: Option<u64>,
    /// Submissions of one user within a minute; as many may come at once.
    pub submissions_per_minute: Option<u32>,
    /// After this time, in milliseconds, half of what was used counts for schedulers. What was set at the start
    /// holds until the next one.
    pub half_life_ms: u64,
    /// Whether jobs may name projects that no administrator has made.
    pub open_projects: bool,
    /// The bounds of classes of jobs, by the classes' names.
    pub classes: BTreeMap<String, ClassBounds>,
}

/// What jobs of a class may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassBounds {
    /// All of them together.
    pub all: Limits,
    /// Those of each user.
    pub user: Limits,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self {
            period_ms: 30 * 24 * HOUR_MS,
            on_breach: OnBreach::default(),
            count_at: CountAt::default(),
            user: Limits::default(),
            project: Limits::default(),
            pending: None,
            submissions_per_minute: None,
            half_life_ms: 7 * 24 * HOUR_MS,
            open_projects: true,
            classes: BTreeMap::new(),
        }
    }
}

/// What was stored of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAccount {
    /// Whose.
    pub kind: AccountKind,
    /// Its name.
    pub name: String,
    /// What was set, and its version; nothing where nobody has set anything.
    pub terms: Option<(u64, AccountTerms)>,
    /// Use by the hour, counted from 1970, in rising order.
    pub hours: Vec<(u64, Used)>,
}

fn by_number(settings: &QuotaSettings, names: &mut Names) -> FxHashMap<NameId, ClassBounds> {
    settings.classes.iter().map(|(name, bounds)| (names.number(name), *bounds)).collect()
}

/// One account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// What was set, and its version.
    pub terms: Option<(u64, AccountTerms)>,
    /// Use by the hour, and its sum.
    hours: VecDeque<(u64, Used)>,
    sum: Used,
    fading: Fading,
    /// The most that running jobs can use.
    pub reserved: Used,
    /// What runs, and what lies on the disk.
    pub in_use: InUse,
    /// Jobs and tasks that wait.
    pub pending: u64,
    /// Jobs that would pass its limits, and the least that any of them needs of each.
    barred: BTreeSet<JobId>,
    least: Option<Claim>,
    /// The instant by which the last submissions are used up, for the bound on their rate.
    submitted_until: UtcMs,
}

/// What kept a job from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub kind: AccountKind,
    pub name: NameId,
    pub bound: Bound,
}

/// Why a job could never start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Never {
    /// Its account bounds time, and nobody knows for how long it may run.
    NoTimeLimit { kind: AccountKind, name: NameId },
    /// It alone would pass the limit.
    TooMuch(Breach),
}

/// Who a job belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whose {
    pub user: NameId,
    pub project: NameId,
    /// Its class, if it has one.
    pub class: Option<NameId>,
}

/// The accounts that a job counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    pub user: NameId,
    pub project: NameId,
    pub group: Option<NameId>,
    /// Known as soon as the member has sent a job.
    pub member: Option<NameId>,
    pub class: Option<NameId>,
    /// Likewise, the user's part of the class.
    pub class_user: Option<NameId>,
}

impl Keys {
    pub fn iter(self) -> impl Iterator<Item = (AccountKind, NameId)> + Clone {
        [
            Some((AccountKind::User, self.user)),
            Some((AccountKind::Project, self.project)),
            self.group.map(|group| (AccountKind::Group, group)),
            self.member.map(|member| (AccountKind::Member, member)),
            self.class.map(|class| (AccountKind::Class, class)),
            self.class_user.map(|part| (AccountKind::ClassUser, part)),
        ]
        .into_iter()
        .flatten()
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Accounts {
    pub settings: QuotaSettings,
    all: FxHashMap<(AccountKind, NameId), Account>,
    default_project: NameId,
    /// The bounds of classes, by the number of their names.
    classes: FxHashMap<NameId, ClassBounds>,
    /// The class that a user's part of one belongs to.
    class_of: FxHashMap<NameId, NameId>,
    /// Jobs and tasks that wait, of everybody.
    pub pending: u64,
    /// Whether any limit is set at all.
    bounded: bool,
    /// Whether any is on what lies on the disk.
    disk_bounded: bool,
    /// Accounts that were charged in this step.
    charged: BTreeSet<(AccountKind, NameId)>,
    /// Accounts that schedulers have to be told of.
    stale: BTreeSet<(AccountKind, NameId)>,
    /// The hour for which they were told.
    told_in: u64,
    /// When all jobs were last looked through for those that have to wait.
    pub swept: Option<UtcMs>,
}

impl Account {
    /// Bounds of its own.
    fn limits(&self) -> Limits {
        self.terms.as_ref().map(|(_, terms)| terms.limits).unwrap_or_default()
    }

    fn drop_old(&mut self, now: UtcMs, period_ms: u64) {
        while let Some(&(hour, used)) = self.hours.front() {
            if (hour + 1).saturating_mul(HOUR_MS).saturating_add(period_ms) > now.0 {
                break;
            }
            self.hours.pop_front();
            self.sum = self.sum.less(&used);
        }
    }

    fn charge(&mut self, hour: u64, used: Used, half_life_ms: u64) {
        self.fading.add(hour, &used, half_life_ms);
        match self.hours.back_mut() {
            Some((last, sum)) if *last >= hour => *sum += used,
            _ => self.hours.push_back((hour, used)),
        }
        self.sum += used;
    }
}

impl Accounts {
    pub fn new(settings: QuotaSettings, names: &mut Names) -> Self {
        let mut accounts = Self {
            classes: by_number(&settings, names),
            settings,
            all: FxHashMap::default(),
            default_project: names.number(DEFAULT_PROJECT),
            class_of: FxHashMap::default(),
            pending: 0,
            bounded: false,
            disk_bounded: false,
            charged: BTreeSet::new(),
            stale: BTreeSet::new(),
            told_in: 0,
            swept: None,
        };
        accounts.look_for_bounds();
        accounts
    }

    fn look_for_bounds(&mut self) {
        let any = |bounds: fn(&Limits) -> bool| {
            let usual = [&self.settings.user, &self.settings.project].into_iter();
            let classes = self.classes.values().flat_map(|class| [&class.all, &class.user]);
            usual.chain(classes).any(bounds) || self.all.values().any(|account| bounds(&account.limits()))
        };
        (self.bounded, self.disk_bounded) =
            (any(Limits::bounds_starts), any(|limits| limits.disk_bytes.is_some()));
    }

    pub fn set_settings(&mut self, settings: QuotaSettings, names: &mut Names) {
        let half_life_ms = self.settings.half_life_ms;
        self.classes = by_number(&settings, names);
        self.settings = QuotaSettings { half_life_ms, ..settings };
        self.look_for_bounds();
    }

    /// Whether anybody is bounded in what they use.
    pub fn are_bounded(&self) -> bool {
        self.bounded
    }

    pub fn get(&self, kind: AccountKind, name: NameId) -> Option<&Account> {
        self.all.get(&(kind, name))
    }

    fn entry(&mut self, kind: AccountKind, name: NameId) -> &mut Account {
        self.all.entry((kind, name)).or_default()
    }

    /// Takes over what was set.
    pub fn set_terms(&mut self, kind: AccountKind, name: NameId, terms: Option<(u64, AccountTerms)>) {
        self.entry(kind, name).terms = terms;
        self.stale.insert((kind, name));
        self.look_for_bounds();
    }

    /// Takes over what was stored of its use.
    pub fn restore(&mut self, kind: AccountKind, name: NameId, hours: Vec<(u64, Used)>) {
        let half_life_ms = self.settings.half_life_ms;
        let account = self.entry(kind, name);
        for (hour, used) in &hours {
            account.fading.add(*hour, used, half_life_ms);
        }
        account.sum = hours.iter().map(|(_, used)| *used).sum();
        account.hours = hours.into();
    }

    /// What was used within the period.
    pub fn used(&self, now: UtcMs, kind: AccountKind, name: NameId) -> Used {
        let Some(account) = self.get(kind, name) else { return Used::default() };
        let old = account.hours.iter().take_while(|(hour, _)| self.is_old(now, *hour)).map(|(_, used)| *used);
        account.sum.less(&old.sum())
    }

    /// The same by the hour.
    pub fn by_hour(&self, now: UtcMs, kind: AccountKind, name: NameId) -> Vec<(u64, Used)> {
        let hours = self.get(kind, name).map(|account| account.hours.iter().copied());
        hours.into_iter().flatten().filter(|&(hour, _)| !self.is_old(now, hour)).collect()
    }

    fn is_old(&self, now: UtcMs, hour: u64) -> bool {
        (hour + 1).saturating_mul(HOUR_MS).saturating_add(self.settings.period_ms) <= now.0
    }

    /// All that was used, fading.
    pub fn faded(&self, now: UtcMs, kind: AccountKind, name: NameId) -> Faded {
        let account = self.get(kind, name);
        let at = |account: &Account| account.fading.at(now.0 / HOUR_MS, self.settings.half_life_ms);
        account.map(at).unwrap_or_default()
    }

    /// Whether this is the project of jobs that name none.
    pub fn is_default(&self, project: NameId) -> bool {
        project == self.default_project
    }

    /// The accounts of this kind that anything is known of.
    pub fn names_of(&self, kind: AccountKind) -> impl Iterator<Item = NameId> {
        self.all.keys().filter(move |(of, _)| *of == kind).map(|&(_, name)| name)
    }

    /// The accounts whose figures have changed since this was asked last; all of them where everything is wanted,
    /// and once an hour, since all fade.
    pub fn take_stale(&mut self, now: UtcMs, full: bool) -> Vec<(AccountKind, NameId)> {
        let hour = now.0 / HOUR_MS;
        let stale = std::mem::take(&mut self.stale);
        if !full && self.told_in == hour {
            return stale.into_iter().collect();
        }
        self.told_in = hour;
        let mut all: Vec<_> = self.all.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// The bounds that hold for an account.
    pub fn limits(&self, kind: AccountKind, name: NameId) -> Limits {
        let own = self.get(kind, name).map(Account::limits).unwrap_or_default();
        match kind {
            AccountKind::User => own.or(&self.settings.user),
            AccountKind::Project if name == self.default_project => Limits::default(),
            AccountKind::Project => own.or(&self.settings.project),
            AccountKind::Group | AccountKind::Member => own,
            AccountKind::Class => self.classes.get(&name).map(|class| class.all).unwrap_or_default(),
            AccountKind::ClassUser => {
                let class = self.class_of.get(&name).and_then(|class| self.classes.get(class));
                class.map(|class| class.user).unwrap_or_default()
            }
        }
    }

    /// A user has a job of a class, and this is the account for that.
    pub fn joins_class(&mut self, part: NameId, class: NameId) {
        self.class_of.insert(part, class);
    }

    /// What would keep an execution of this cost from starting.
    pub fn breach(&mut self, now: UtcMs, keys: Keys, cost: &Cost) -> Option<Breach> {
        self.breach_beside(now, keys, cost, (AccountKind::User, NameId::MAX, Claim::default()))
    }

    /// Likewise, when one account has promised so much to others.
    pub fn breach_beside(
        &mut self,
        now: UtcMs,
        keys: Keys,
        cost: &Cost,
        (of_kind, of_name, promised): (AccountKind, NameId, Claim),
    ) -> Option<Breach> {
        if !self.bounded {
            return None;
        }
        let period = self.settings.period_ms;
        for (kind, name) in keys.iter() {
            let limits = self.limits(kind, name);
            if !limits.bounds_starts() {
                continue;
            }
            self.entry(kind, name).drop_old(now, period);
            let mut would_be = self.with(kind, name, cost);
            if (kind, name) == (of_kind, of_name) {
                would_be += promised;
            }
            if let Some(bound) = would_be.passes(&limits) {
                return Some(Breach { kind, name, bound });
            }
        }
        None
    }

    /// What counts against an account's limits now.
    pub fn counted(&self, kind: AccountKind, name: NameId) -> Claim {
        let Some(account) = self.get(kind, name) else { return Claim::default() };
        let used = match self.settings.count_at {
            CountAt::Start => account.sum.plus(&account.reserved),
            CountAt::End => account.sum,
        };
        Claim { used, in_use: account.in_use }
    }

    /// What would count against an account's limits with one more execution.
    pub fn with(&self, kind: AccountKind, name: NameId, cost: &Cost) -> Claim {
        let more = match self.settings.count_at {
            CountAt::Start => cost.kept(),
            CountAt::End => cost.at_once(),
        };
        self.counted(kind, name).plus(&more)
    }

    /// The account that could never let an execution of this cost start, however little else is used.
    pub fn never(&self, keys: Keys, cost: &Cost) -> Option<Never> {
        if !self.bounded {
            return None;
        }
        let counts_at_end = self.settings.count_at == CountAt::End;
        keys.iter().find_map(|(kind, name)| {
            let limits = self.limits(kind, name);
            if limits.bounds_time() && cost.most_ms.is_none() && !counts_at_end {
                return Some(Never::NoTimeLimit { kind, name });
            }
            let most = cost.most();
            let most = if counts_at_end { Claim { used: Used::default(), ..most } } else { most };
            let bound = most.passes(&limits)?;
            Some(Never::TooMuch(Breach { kind, name, bound }))
        })
    }

    /// Whether a job without a time limit can never start where time is bounded.
    pub fn never_without_limit(&self) -> bool {
        self.settings.count_at == CountAt::Start
    }

    /// Whether anybody is bounded in what lies on the disk.
    pub fn bounds_disk(&self) -> bool {
        self.disk_bounded
    }

    /// A directory that took so much takes another amount now.
    pub fn change_disk(&mut self, keys: Keys, before: u64, after: u64) {
        for (kind, name) in keys.iter() {
            let account = self.entry(kind, name);
            account.in_use = account.in_use.less(&InUse::disk(before)).plus(&InUse::disk(after));
        }
    }

    /// A project leaves its group for another, with all that it has on the disk.
    pub fn move_disk(&mut self, project: NameId, from: Option<NameId>, to: Option<NameId>) {
        let bytes = self.get(AccountKind::Project, project).map_or(0, |account| account.in_use.disk_bytes);
        let disk = InUse::disk(bytes);
        if let Some(from) = from {
            let account = self.entry(AccountKind::Group, from);
            account.in_use = account.in_use.less(&disk);
        }
        if let Some(to) = to {
            self.entry(AccountKind::Group, to).in_use += disk;
        }
    }

    pub fn reserve(&mut self, keys: Keys, cost: &Cost) {
        for (kind, name) in keys.iter() {
            let (account, most) = (self.entry(kind, name), cost.most());
            account.reserved += most.used;
            account.in_use += most.in_use;
        }
    }

    /// What was reserved for an execution is not, for now.
    pub fn give_back(&mut self, keys: Keys, cost: &Cost) {
        for (kind, name) in keys.iter() {
            let (account, most) = (self.entry(kind, name), cost.most());
            account.reserved = account.reserved.less(&most.used);
            account.in_use = account.in_use.less(&most.in_use);
        }
    }

    /// An execution is over, which may never have run: what was reserved for it is free again, and what it used
    /// is charged.
    pub fn settle(&mut self, now: UtcMs, keys: Keys, cost: &Cost, started: Option<UtcMs>, ended: UtcMs) {
        let ran_ms = started.map(|started| ended.0.saturating_sub(started.0));
        // What a job ran beyond its limit, because nobody could end it, is not for its owner to answer.
        let used = ran_ms.map(|ran| Used::of(&cost.needs, cost.most_ms.map_or(ran, |most| ran.min(most))));
        let half_life_ms = self.settings.half_life_ms;
        for (kind, name) in keys.iter() {
            let account = self.entry(kind, name);
            account.reserved = account.reserved.less(&cost.most().used);
            account.in_use = account.in_use.less(&cost.most().in_use);
            if let Some(used) = used {
                account.charge(now.0 / HOUR_MS, used, half_life_ms);
                self.charged.insert((kind, name));
                self.stale.insert((kind, name));
            }
        }
    }

    /// The latest hour of each account that was charged since this was asked last: whole sums.
    pub fn take_charged(&mut self) -> Vec<(AccountKind, NameId, u64, Used)> {
        let charged = std::mem::take(&mut self.charged);
        let latest = |(kind, name)| {
            let account = self.all.get(&(kind, name))?;
            let &(hour, used) = account.hours.back()?;
            Some((kind, name, hour, used))
        };
        charged.into_iter().filter_map(latest).collect()
    }

    /// A job has to wait until this account has something left.
    pub fn bar(&mut self, breach: &Breach, id: JobId, cost: &Cost) {
        let account = self.entry(breach.kind, breach.name);
        account.barred.insert(id);
        let most = cost.most();
        account.least = Some(account.least.map_or(most, |least| least.least(&most)));
    }

    pub fn unbar(&mut self, kind: AccountKind, name: NameId, id: JobId) {
        if let Some(account) = self.all.get_mut(&(kind, name)) {
            account.barred.remove(&id);
            if account.barred.is_empty() {
                account.least = None;
            }
        }
    }

    /// The job with the next number that this account keeps waiting.
    pub fn next_barred(&self, kind: AccountKind, name: NameId, after: Option<JobId>) -> Option<JobId> {
        let barred = &self.get(kind, name)?.barred;
        let from = after.map_or(Unbounded, Excluded);
        barred.range((from, Unbounded)).next().copied()
    }

    /// Whether this account keeps a job waiting.
    pub fn bars(&self, kind: AccountKind, name: NameId, id: JobId) -> bool {
        self.get(kind, name).is_some_and(|account| account.barred.contains(&id))
    }

    /// Whether not even the smallest of those that wait for this account could start when so much more is
    /// reserved.
    pub fn is_used_up(&mut self, now: UtcMs, kind: AccountKind, name: NameId, more: &Claim) -> bool {
        let limits = self.limits(kind, name);
        let period = self.settings.period_ms;
        let account = self.entry(kind, name);
        account.drop_old(now, period);
        let Some(least) = account.least else { return true };
        self.counted(kind, name).plus(&least).plus(more).passes(&limits).is_some()
    }

    /// Accounts that keep jobs waiting.
    pub fn with_barred(&self) -> Vec<(AccountKind, NameId)> {
        let waiting = self.all.iter().filter(|(_, account)| !account.barred.is_empty());
        waiting.map(|(&key, _)| key).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// When the next hour of use falls out of the period for an account that keeps jobs waiting.
    pub fn next_roll(&self) -> Option<UtcMs> {
        if !self.bounded {
            return None;
        }
        let first = |account: &Account| {
            let (hour, _) = account.hours.front()?;
            Some(UtcMs((hour + 1).saturating_mul(HOUR_MS).saturating_add(self.settings.period_ms)))
        };
        self.all.values().filter(|account| !account.barred.is_empty()).filter_map(first).min()
    }

    /// More, or fewer, jobs and tasks of a user wait.
    pub fn waits(&mut self, user: NameId, before: u64, after: u64) {
        let account = self.entry(AccountKind::User, user);
        account.pending = (account.pending + after).saturating_sub(before);
        self.pending = (self.pending + after).saturating_sub(before);
    }

    /// Counts a submission against its user's rate.
    ///
    /// # Errors
    /// How long, in milliseconds, they have to wait.
    pub fn submits(&mut self, now: UtcMs, user: NameId) -> Result<(), u64> {
        let Some(rate) = self.settings.submissions_per_minute.filter(|&rate| rate > 0) else { return Ok(()) };
        let each = 60_000 / u64::from(rate).min(60_000);
        let account = self.entry(AccountKind::User, user);
        let until = account.submitted_until.max(now).0 + each;
        match until.checked_sub(now.0 + 60_000) {
            Some(wait) if wait > 0 => Err(wait),
            _ => {
                account.submitted_until = UtcMs(until);
                Ok(())
            }
        }
    }
}
