//! What administrators set of accounts, and what is known of them.

use berth_model::{AccountKind, AccountTerms, EventKind, InUse, JobEventRecord, JobId, Limits, Used};

use crate::{
    AccountTold, Answer, Change, DEFAULT_PROJECT, Effect, Engine, Faded, NameId, Refusal, StoredAccount,
    WhoseTold, accounts::Whose,
};

/// What is known of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Whose.
    pub kind: AccountKind,
    /// Its name.
    pub name: String,
    /// Of what was set; 0 where nobody has set anything.
    pub version: u64,
    /// What was set, or what holds for everybody.
    pub terms: AccountTerms,
    /// The bounds that hold, the usual ones among them.
    pub limits: Limits,
    /// What was used within the period.
    pub used: Used,
    /// The most that running jobs can use.
    pub reserved: Used,
    /// What runs, and what job directories take.
    pub in_use: InUse,
    /// All that was ever used, fading.
    pub faded: Faded,
    /// Jobs and tasks that wait; of a user only.
    pub pending: u64,
}

impl Engine {
    /// Takes over what an administrator sets, or takes it away.
    pub(crate) fn set_account(
        &mut self,
        kind: AccountKind,
        name: &str,
        by: &str,
        version: u64,
        terms: Option<AccountTerms>,
    ) -> Result<Answer, Refusal> {
        let account = format!("{kind} {name}");
        if kind == AccountKind::Project && name == DEFAULT_PROJECT {
            return Err(Refusal::DefaultProject);
        }
        if let Some(terms) = &terms {
            terms.check(kind, name).map_err(|error| Refusal::Terms { account: account.clone(), error })?;
        }
        let number = self.names.number(name);
        let before = self.accounts.get(kind, number).and_then(|account| account.terms.clone());
        let is = before.as_ref().map_or(0, |(version, _)| *version);
        if is != version {
            return Err(Refusal::AccountChanged { account, version: is });
        }
        let before = before.map(|(_, terms)| terms);
        if terms == before {
            return Ok(Answer::Version(is));
        }
        // Never one that an account of this name had before it was taken away.
        let next = self.now.0.max(is + 1);
        let words = match (&before, &terms) {
            (_, None) => format!("{account} taken away"),
            (before, Some(terms)) => {
                let is_new = before.is_none();
                let changes = terms.changes_from(&before.clone().unwrap_or_default()).join(", ");
                let verb = if is_new { "made" } else { "changed" };
                if changes.is_empty() {
                    format!("{account} {verb}")
                } else {
                    format!("{account} {verb}: {changes}")
                }
            }
        };
        self.act(by, words);
        let version = if terms.is_some() { next } else { 0 };
        self.take_terms(kind, number, terms.clone().map(|terms| (version, terms)));
        let (name, terms) = (name.to_owned(), terms.map(Box::new));
        self.out.changes.push(Change::Account { kind, name: name.clone(), version, terms: terms.clone() });
        self.out.effects.push(Effect::AccountSet { kind, name, version, terms });
        self.telling.wanted = true;
        self.look_at_barred();
        Ok(Answer::Version(version))
    }

    /// Writes what an administrator did into the site's history.
    pub(crate) fn act(&mut self, by: &str, words: String) {
        let kind = EventKind::Act { by: by.to_owned(), words };
        self.out.changes.push(Change::Event(JobEventRecord { job: JobId::SITE, at: self.now, kind }));
    }

    fn take_terms(&mut self, kind: AccountKind, number: NameId, terms: Option<(u64, AccountTerms)>) {
        if kind == AccountKind::Project {
            let group = terms.as_ref().and_then(|(_, terms)| terms.group.as_deref());
            let group = group.map(|group| self.names.number(group));
            self.move_disk(number, self.kin.group(number), group);
            self.kin.set_group(number, group);
        }
        self.accounts.set_terms(kind, number, terms);
    }

    /// What was stored of an account.
    pub(crate) fn bring_back_account(&mut self, stored: StoredAccount) {
        let number = self.names.number(&stored.name);
        let mut join = |of: &str, user: &str| {
            let (of, user) = (self.names.number(of), self.names.number(user));
            match stored.kind {
                AccountKind::ClassUser => {
                    let part = self.kin.join_class(&mut self.names, of, user);
                    self.accounts.joins_class(part, of);
                }
                _ => self.kin.join(&mut self.names, Whose { user, project: of, class: None }),
            }
        };
        if let (AccountKind::Member | AccountKind::ClassUser, Some((of, user))) =
            (stored.kind, stored.name.split_once('/'))
        {
            join(of, user);
        }
        self.take_terms(stored.kind, number, stored.terms);
        self.accounts.restore(stored.kind, number, stored.hours);
    }

    /// The number of a project that a job names. What nobody has made and nobody may use is not remembered, or
    /// whoever is refused could fill the table of names.
    pub(crate) fn project_number(&mut self, project: &str) -> Result<NameId, Refusal> {
        match self.names.find(project) {
            Some(number) => Ok(number),
            None if self.accounts.settings.open_projects => Ok(self.names.number(project)),
            None => Err(Refusal::NoSuchProject(project.to_owned())),
        }
    }

    /// Whether an owner may have jobs in a project.
    pub(crate) fn check_project(&self, whose: Whose) -> Result<(), Refusal> {
        let terms = |kind, name| self.accounts.get(kind, name).and_then(|account| account.terms.as_ref());
        let name = || self.names.name(whose.project).to_owned();
        let keys = [
            Some((AccountKind::User, whose.user)),
            Some((AccountKind::Project, whose.project)),
            self.kin.group(whose.project).map(|group| (AccountKind::Group, group)),
        ];
        for (kind, account) in keys.into_iter().flatten() {
            if terms(kind, account).is_some_and(|(_, terms)| terms.barred) {
                return Err(Refusal::Barred { account: self.account_name(kind, account) });
            }
        }
        if self.accounts.is_default(whose.project) {
            return Ok(());
        }
        match terms(AccountKind::Project, whose.project) {
            None if self.accounts.settings.open_projects => Ok(()),
            None => Err(Refusal::NoSuchProject(name())),
            Some((_, terms)) if terms.members.contains(self.names.name(whose.user)) => Ok(()),
            Some(_) => {
                let user = self.names.name(whose.user).to_owned();
                Err(Refusal::NotAMember { user, project: name() })
            }
        }
    }

    /// What is known of an account.
    #[must_use]
    pub fn standing(&self, kind: AccountKind, name: &str) -> Standing {
        let number = self.names.find(name);
        let (version, terms) =
            number.and_then(|number| self.accounts.get(kind, number)?.terms.clone()).unwrap_or_default();
        let number = number.unwrap_or(NameId::MAX);
        let account = self.accounts.get(kind, number);
        Standing {
            kind,
            name: name.to_owned(),
            version,
            terms,
            limits: self.accounts.limits(kind, number),
            used: self.accounts.used(self.now, kind, number),
            reserved: account.map(|account| account.reserved).unwrap_or_default(),
            in_use: account.map(|account| account.in_use).unwrap_or_default(),
            faded: self.accounts.faded(self.now, kind, number),
            pending: account.map_or(0, |account| account.pending),
        }
    }

    /// What an account has used within the period, by the hour, counted from 1970.
    #[must_use]
    pub fn used_by_hour(&self, kind: AccountKind, name: &str) -> Vec<(u64, Used)> {
        let number = self.names.find(name);
        number.map_or_else(Vec::new, |number| self.accounts.by_hour(self.now, kind, number))
    }

    /// What is known of all accounts of a kind, by name.
    #[must_use]
    pub fn standings(&self, kind: AccountKind) -> Vec<Standing> {
        let mut names: Vec<&str> =
            self.accounts.names_of(kind).map(|number| self.names.name(number)).collect();
        names.sort_unstable();
        names.into_iter().map(|name| self.standing(kind, name)).collect()
    }

    /// What has changed of accounts since this was asked last, or everything.
    pub(crate) fn tell_accounts(&mut self, full: bool) -> Vec<AccountTold> {
        let changed = self.accounts.take_stale(self.now, full);
        changed.into_iter().filter_map(|(kind, number)| self.account_told(kind, number)).collect()
    }

    fn account_told(&self, kind: AccountKind, number: NameId) -> Option<AccountTold> {
        let account = self.accounts.get(kind, number)?;
        let whose = match kind {
            AccountKind::User => WhoseTold::User(number),
            AccountKind::Project => WhoseTold::Project(number),
            AccountKind::Group => WhoseTold::Group(number),
            AccountKind::Member => {
                let (project, user) = self.kin.of_member(number)?;
                WhoseTold::Member { project, user }
            }
            // Policies are not told of classes, which only bound.
            AccountKind::Class | AccountKind::ClassUser => return None,
        };
        let usual = AccountTerms::default();
        let terms = account.terms.as_ref().map_or(&usual, |(_, terms)| terms);
        Some(AccountTold {
            whose,
            priority: terms.priority,
            shares: terms.shares,
            group: self.kin.group(number).filter(|_| kind == AccountKind::Project),
            used: self.accounts.used(self.now, kind, number),
            faded: self.accounts.faded(self.now, kind, number),
        })
    }
}
