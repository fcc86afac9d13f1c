//! Auth policies: a small pool of instances, with answers remembered for a while.
//!
//! A policy that fails or is benched lets nobody in.

use std::{
    collections::HashMap,
    hash::Hash,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use berth_model::{Grant, Identity, Mount, Role, UtcMs};

use crate::{
    Credentials, Denial, JobRequest, LoadError, OnSupervised, Password, PluginStatus, PolicyHost, PolicySpec,
    Unanswered,
    bindings::v0_1_0::auth::{self as wit, AuthPolicy as World},
    words::shown,
    workers::Workers,
};

/// How auth is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    /// Instances, each on a thread of its own: so many look-ups may wait at once.
    pub instances: usize,
    /// How long an answer that lets somebody in may be used again; zero asks each time.
    pub cache_for: Duration,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self { instances: 2, cache_for: Duration::from_secs(30) }
    }
}

/// An auth policy that is running. Its threads end when this is dropped.
pub struct AuthPolicy {
    workers: Workers<World>,
    words_bytes: usize,
    forgotten: AtomicU64,
    identified: Remembered<Credentials, Identity>,
    /// What was granted to whom: the whole identity counts, since roles and groups may change.
    authorised: Remembered<(String, JobRequest), (Identity, Grant)>,
}

impl AuthPolicy {
    /// Loads the policy, tries its settings, and starts its threads.
    ///
    /// # Errors
    /// When the policy cannot be loaded or refuses its settings.
    pub fn spawn(
        host: &PolicyHost,
        spec: PolicySpec,
        settings: &AuthSettings,
        on_supervised: OnSupervised,
    ) -> Result<Self, LoadError> {
        let words_bytes = spec.limits.words_bytes;
        let workers = Workers::spawn(host, spec, settings.instances, Arc::new(|_| Ok(())), on_supervised)?;
        Ok(Self {
            workers,
            words_bytes,
            forgotten: AtomicU64::new(0),
            identified: Remembered::new(settings.cache_for),
            authorised: Remembered::new(settings.cache_for),
        })
    }

    /// Who is this?
    ///
    /// # Errors
    /// When nobody is known by the credentials, or it cannot be said now.
    pub async fn identify(&self, now: UtcMs, credentials: &Credentials) -> Result<Identity, Denial> {
        let version = self.version();
        if let Some(identity) = self.identified.get(now, version, credentials, |_| true) {
            return Ok(identity);
        }
        let wanted = wit::Credentials::from(credentials);
        let most = self.words_bytes;
        let answer = self
            .workers
            .call(now, move |store, world| {
                let answer = world.berth_policy_auth().call_identify(store, now.0, &wanted)?;
                Ok(match answer {
                    Ok(identity) => sound(identity, &wanted).map(Ok),
                    Err(denial) => Ok(Err(denied(denial, most))),
                })
            })
            .await;
        let identity = answer.map_err(unavailable)??;
        self.identified.put(now, version, credentials.clone(), identity.clone());
        Ok(identity)
    }

    /// Is this the password of the user of this name, and who is that? Asked anew each time.
    ///
    /// # Errors
    /// `unknown` when it is not, or there is no such user: what is wrong is not said. Likewise when it cannot be said
    /// now.
    pub async fn identify_by_password(
        &self,
        now: UtcMs,
        user: &str,
        password: Password,
    ) -> Result<Identity, Denial> {
        let (user, most) = (user.to_owned(), self.words_bytes);
        let answer = self
            .workers
            .call(now, move |store, world| {
                let handle = store.data_mut().presented.show(&user, &password);
                let shown = wit::PasswordCredentials { user, password: handle };
                let wanted = wit::Credentials::Password(shown);
                let answer = world.berth_policy_auth().call_identify(&mut *store, now.0, &wanted);
                let was_right = store.data_mut().presented.put_away();
                Ok(match answer? {
                    Ok(identity) => proven(identity, &wanted, was_right).map(Ok),
                    Err(denial) => Ok(Err(denied(denial, most))),
                })
            })
            .await;
        answer.map_err(unavailable)?
    }

    /// May this job be accepted, and with what?
    ///
    /// # Errors
    /// When it may not, or it cannot be said now.
    pub async fn authorise(&self, now: UtcMs, who: &Identity, job: &JobRequest) -> Result<Grant, Denial> {
        let version = self.version();
        let key = (who.user.clone(), job.clone());
        if let Some((_, grant)) = self.authorised.get(now, version, &key, |(of, _)| of == who) {
            return Ok(grant);
        }
        let (identity, request, asked) = (wit::Identity::from(who), wit::JobRequest::from(job), job.clone());
        let most = self.words_bytes;
        let answer = self
            .workers
            .call(now, move |store, world| {
                let answer = world.berth_policy_auth().call_authorise(store, now.0, &identity, &request)?;
                Ok(match answer {
                    Ok(grant) => no_more_than_asked(grant, &asked).map(Ok),
                    Err(denial) => Ok(Err(denied(denial, most))),
                })
            })
            .await;
        let grant = answer.map_err(unavailable)??;
        self.authorised.put(now, version, key, (who.clone(), grant.clone()));
        Ok(grant)
    }

    /// Loads a version anew, tries its settings, and lets it take over on probation.
    ///
    /// # Errors
    /// When it cannot be loaded or refuses its settings. Nothing has changed then.
    pub fn reload(&self, host: &PolicyHost, spec: PolicySpec) -> Result<(), LoadError> {
        self.workers.reload(host, spec)
    }

    /// The spec of the version that decides.
    #[must_use]
    pub fn spec(&self) -> PolicySpec {
        self.workers.spec()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> PluginStatus {
        self.workers.status()
    }

    fn version(&self) -> Version {
        (self.workers.generation(), self.forgotten.load(Ordering::Acquire))
    }

    /// Forgets what was answered, so that a change of accounts is seen at once.
    pub fn forget_answers(&self) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.identified.clear();
        self.authorised.clear();
    }
}

/// Fails closed.
fn unavailable(unanswered: Unanswered) -> Denial {
    let words = match &unanswered {
        Unanswered::Failed { policy, fault } => format!("policy {policy} failed: {fault}"),
        other => other.to_string(),
    };
    Denial::Unavailable(words)
}

fn denied(denial: wit::Denial, most: usize) -> Denial {
    match denial {
        wit::Denial::Unknown => Denial::Unknown,
        wit::Denial::Forbidden(words) => Denial::Forbidden(shown(&words, most)),
        wit::Denial::Unavailable(words) => Denial::Unavailable(shown(&words, most)),
    }
}

/// An identity by a password that somebody has found right.
pub(crate) fn proven(
    identity: wit::Identity,
    asked: &wit::Credentials,
    was_right: bool,
) -> Result<Identity, String> {
    match was_right {
        true => sound(identity, asked),
        false => Err("it let somebody in whose password nobody has found right".to_owned()),
    }
}

/// An identity that is the one that was asked for, and has a name that can be used.
pub(crate) fn sound(identity: wit::Identity, asked: &wit::Credentials) -> Result<Identity, String> {
    let wit::Identity { user, uid, gid, groups, home, email, roles } = identity;
    if user.is_empty() || user.len() > 256 || user.chars().any(|c| c.is_control() || c == '/') {
        return Err(format!("it gave {user:?} as a user's name"));
    }
    match asked {
        wit::Credentials::UnixUser(asked) if *asked != uid => {
            return Err(format!("asked who has number {asked}, it named somebody with number {uid}"));
        }
        wit::Credentials::KnownUser(asked) if *asked != user => {
            return Err(format!("asked for user {asked:?}, it gave {user:?}"));
        }
        wit::Credentials::Password(asked) if asked.user != user => {
            return Err(format!("asked for user {:?} by a password, it gave {user:?}", asked.user));
        }
        _ => {}
    }
    let role = |role| match role {
        wit::Role::Administrator => Role::Administrator,
        wit::Role::Operator => Role::Operator,
    };
    Ok(Identity { user, uid, gid, groups, home, email, roles: roles.into_iter().map(role).collect() })
}

/// A grant of what was asked for, or less.
pub(crate) fn no_more_than_asked(grant: wit::Grant, asked: &JobRequest) -> Result<Grant, String> {
    let wit::Grant { mounts, as_root, extensions } = grant;
    if as_root && !asked.as_root {
        return Err("it granted root where that was not asked for".to_owned());
    }
    if let Some(extension) = extensions.iter().find(|extension| !asked.extensions.contains(extension)) {
        return Err(format!("it granted {extension:?}, which was not asked for"));
    }
    let mut seen = Vec::new();
    for mount in &mounts {
        let Some((_, read_only)) = asked.volumes.iter().find(|(name, _)| *name == mount.name) else {
            return Err(format!("it granted volume {:?}, which was not asked for", mount.name));
        };
        if *read_only && !mount.read_only {
            return Err(format!("it granted writing to volume {:?}, asked for reading", mount.name));
        }
        let of_project = asked.of_project.get(&mount.name).filter(|volume| volume.path == mount.source);
        if of_project.is_some_and(|volume| volume.read_only) && !mount.read_only {
            return Err(format!(
                "it granted writing to volume {:?}, which its project may only read",
                mount.name
            ));
        }
        if seen.contains(&&mount.name) {
            return Err(format!("it granted volume {:?} twice", mount.name));
        }
        seen.push(&mount.name);
        for path in [&mount.source, &mount.target] {
            if !is_plain_absolute(path) {
                return Err(format!("volume {:?} has {path:?} for an absolute path", mount.name));
            }
        }
    }
    let mount = |mount: wit::Mount| Mount {
        name: mount.name,
        source: mount.source,
        target: mount.target,
        read_only: mount.read_only,
    };
    Ok(Grant { mounts: mounts.into_iter().map(mount).collect(), as_root, extensions })
}

fn is_plain_absolute(path: &str) -> bool {
    use std::path::Component;
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    Path::new(path).is_absolute() && Path::new(path).components().all(plain) && !path.contains('\0')
}

impl From<&Credentials> for wit::Credentials {
    fn from(credentials: &Credentials) -> Self {
        match credentials {
            Credentials::UnixUser(uid) => Self::UnixUser(*uid),
            Credentials::KnownUser(user) => Self::KnownUser(user.clone()),
        }
    }
}

impl From<&Identity> for wit::Identity {
    fn from(identity: &Identity) -> Self {
        let role = |role: &Role| match role {
            Role::Administrator => wit::Role::Administrator,
            Role::Operator => wit::Role::Operator,
        };
        Self {
            user: identity.user.clone(),
            uid: identity.uid,
            gid: identity.gid,
            groups: identity.groups.clone(),
            home: identity.home.clone(),
            email: identity.email.clone(),
            roles: identity.roles.iter().map(role).collect(),
        }
    }
}

impl From<&JobRequest> for wit::JobRequest {
    fn from(job: &JobRequest) -> Self {
        let of_project = |name: &String| {
            let volume = job.of_project.get(name)?;
            let (source, target) = (volume.path.clone(), volume.target(name));
            Some(wit::ProjectVolume { source, target, read_only: volume.read_only })
        };
        let volume = |(name, read_only): &(String, bool)| wit::VolumeRequest {
            name: name.clone(),
            read_only: *read_only,
            of_project: of_project(name),
        };
        Self {
            project: job.project.clone(),
            as_root: job.as_root,
            volumes: job.volumes.iter().map(volume).collect(),
            executor: job.executor.clone(),
            image: job.image.clone(),
            extensions: job.extensions.clone(),
        }
    }
}

/// Answers with the instant until which they may be used, and the version that gave them.
struct Remembered<K, V> {
    keep: Duration,
    answers: Mutex<HashMap<K, (UtcMs, Version, V)>>,
}

/// The version of the policy, and how often answers had been forgotten when it was asked: what was asked before that
/// is not remembered behind it.
type Version = (u64, u64);

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    const MOST: usize = 10_000;

    fn new(keep: Duration) -> Self {
        Self { keep, answers: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (UtcMs, Version, V)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, now: UtcMs, version: Version, key: &K, fits: impl Fn(&V) -> bool) -> Option<V> {
        let answers = self.lock();
        let (until, of, answer) = answers.get(key)?;
        (now < *until && *of == version && fits(answer)).then(|| answer.clone())
    }

    fn put(&self, now: UtcMs, version: Version, key: K, answer: V) {
        if self.keep.is_zero() {
            return;
        }
        let mut answers = self.lock();
        if answers.len() >= Self::MOST {
            answers.retain(|_, (until, ..)| now < *until);
        }
        if answers.len() >= Self::MOST {
            answers.clear();
        }
        answers.insert(key, (now.after(self.keep), version, answer));
    }

    fn clear(&self) {
        self.lock().clear();
    }
}
