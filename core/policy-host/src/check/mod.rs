//! Tries a policy before anybody depends on it: `berth plugin check`.
//!
//! It runs apart from everything, on sample inputs, under fuel instead of time: the same policy gives the
//! same report every time. What it asks for of the host it gets from stand-ins.

mod admit;
mod directory;
mod others;
mod scheduler;

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    Account, Accounts, Capability, Grants, LoadError, Loaded, LogLine, MemoryKeyValues, PolicyHost,
    PolicyInfo, PolicyKind, PolicySource, PolicySpec,
};

/// How a policy is to be checked.
#[derive(Clone, Debug)]
pub struct CheckSettings {
    /// The settings that it is told.
    pub settings: Vec<(String, String)>,
    /// Fuel for each call; about one unit for each instruction.
    pub fuel: u64,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self { settings: Vec::new(), fuel: 500_000_000 }
    }
}

/// Something that a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub words: String,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// What it decides; `None` when it is no policy.
    pub kind: Option<PolicyKind>,
    /// What it says of itself.
    pub info: Option<PolicyInfo>,
    /// The hash of its bytes.
    pub sha256: Option<String>,
    /// The capabilities that have to be granted to it.
    pub capabilities: Vec<Capability>,
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
    /// What it wrote to the log.
    pub log: Vec<LogLine>,
}

impl CheckReport {
    /// Whether there is nothing wrong.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.ok)
    }

    fn ok(&mut self, words: impl Into<String>) {
        self.findings.push(Finding { ok: true, words: words.into() });
    }

    fn problem(&mut self, words: impl Into<String>) {
        self.findings.push(Finding { ok: false, words: words.into() });
    }

    /// Whether it is as it should be.
    fn found(&mut self, found: Result<String, String>) -> bool {
        let ok = found.is_ok();
        match found {
            Ok(words) => self.ok(words),
            Err(words) => self.problem(words),
        }
        ok
    }
}

impl PolicyHost {
    /// Checks a component. Takes its time; not to be called where others wait.
    #[must_use]
    pub fn check(&self, name: &str, bytes: &[u8], settings: &CheckSettings) -> CheckReport {
        let mut report = CheckReport::default();
        let log = Arc::new(Mutex::new(Vec::new()));
        match self.load_for_check(name, bytes, settings, &log) {
            Ok(loaded) => check_loaded(&loaded, &mut report),
            Err(error) => report.problem(with_causes(&error)),
        }
        report.log = std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner));
        report
    }

    fn load_for_check(
        &self,
        name: &str,
        bytes: &[u8],
        settings: &CheckSettings,
        log: &Arc<Mutex<Vec<LogLine>>>,
    ) -> Result<Loaded, LoadError> {
        let kind = self.kind_of(name, bytes)?;
        let mut spec = PolicySpec::new(name, kind, PolicySource::Bytes(Arc::from(bytes)));
        spec.settings.clone_from(&settings.settings);
        spec.grants = stand_ins(Arc::clone(log));
        self.load_metered(spec, settings.fuel)
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
}

fn check_loaded(loaded: &Loaded, report: &mut CheckReport) {
    let spec = loaded.spec();
    let info = loaded.info();
    report.kind = Some(spec.kind);
    report.info = Some(info.clone());
    report.sha256 = Some(loaded.sha256().to_owned());
    report.capabilities = loaded.imports().to_vec();
    if info.name.is_empty() || info.version.is_empty() {
        report.problem("it does not say its name and version");
    } else {
        report.ok(format!("it is {} {}, {}", info.name, info.version, info.about));
    }
    for (key, _) in &spec.settings {
        if !info.settings.iter().any(|(known, _)| known == key) {
            report.problem(format!("it does not say that it reads the setting {key:?}"));
        }
    }
    match spec.kind {
        PolicyKind::Scheduler => scheduler::check(loaded, report),
        PolicyKind::Auth => others::check_auth(loaded, report),
        PolicyKind::Watcher => others::check_watcher(loaded, report),
        PolicyKind::Network => others::check_network(loaded, report),
        PolicyKind::Admit => admit::check(loaded, report),
    }
}

/// What stands behind the capabilities in a check: the same every time.
fn stand_ins(log: Arc<Mutex<Vec<LogLine>>>) -> Grants {
    Grants {
        log: true,
        key_value: Some(Arc::new(MemoryKeyValues::new(1 << 20))),
        accounts: Some(Arc::new(SampleAccounts)),
        usage: true,
        ldap: Some(Arc::new(directory::SampleDirectory)),
        passwords: Some(Arc::new(directory::SamplePasswords)),
        log_to: Some(Arc::new(move |line| log.lock().unwrap_or_else(PoisonError::into_inner).push(line))),
    }
}

/// The user in samples, by name and number.
const SAMPLE_USER: (&str, u32) = ("sample", 1000);

/// That user's password.
const SAMPLE_PASSWORD: &str = "sample password";

/// A host with one user.
struct SampleAccounts;

impl Accounts for SampleAccounts {
    fn by_uid(&self, uid: u32) -> Result<Option<Account>, String> {
        let (user, known) = SAMPLE_USER;
        Ok((uid == known).then(|| Account {
            user: user.to_owned(),
            uid,
            gid: uid,
            home: format!("/home/{user}"),
            shell: "/bin/sh".to_owned(),
        }))
    }

    fn by_name(&self, user: &str) -> Result<Option<Account>, String> {
        if user == SAMPLE_USER.0 { self.by_uid(SAMPLE_USER.1) } else { Ok(None) }
    }

    fn groups_of(&self, user: &str) -> Result<Vec<u32>, String> {
        Ok(self.by_name(user)?.map(|account| vec![account.gid]).unwrap_or_default())
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        Ok((name == SAMPLE_USER.0).then_some(SAMPLE_USER.1))
    }
}
