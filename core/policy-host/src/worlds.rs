//! What the kinds of policies have in common: all describe themselves and take settings.

use wasmtime::{Engine, Store, component::InstancePre};

use crate::{
    Fault, Limits, PolicyInfo, PolicyKind,
    bindings::v0_1_0::{
        admit::{AdmitPolicy, AdmitPolicyPre},
        auth::{AuthPolicy, AuthPolicyPre},
        network::{NetworkPolicy, NetworkPolicyPre},
        scheduler::{SchedulerPolicy, SchedulerPolicyPre},
        types,
        watcher::{WatcherPolicy, WatcherPolicyPre},
    },
    instance::{Budget, Guest, Instance},
    words::shown,
};

/// A component whose imports are linked and whose exports are looked up.
#[derive(Clone)]
pub(crate) enum Pre {
    Scheduler(SchedulerPolicyPre<Guest>),
    Auth(AuthPolicyPre<Guest>),
    Watcher(WatcherPolicyPre<Guest>),
    Network(NetworkPolicyPre<Guest>),
    Admit(AdmitPolicyPre<Guest>),
}

impl Pre {
    pub(crate) fn new(kind: PolicyKind, pre: InstancePre<Guest>) -> wasmtime::Result<Self> {
        match kind {
            PolicyKind::Scheduler => SchedulerPolicyPre::new(pre).map(Self::Scheduler),
            PolicyKind::Auth => AuthPolicyPre::new(pre).map(Self::Auth),
            PolicyKind::Watcher => WatcherPolicyPre::new(pre).map(Self::Watcher),
            PolicyKind::Network => NetworkPolicyPre::new(pre).map(Self::Network),
            PolicyKind::Admit => AdmitPolicyPre::new(pre).map(Self::Admit),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Scheduler(pre) => pre.engine(),
            Self::Auth(pre) => pre.engine(),
            Self::Watcher(pre) => pre.engine(),
            Self::Network(pre) => pre.engine(),
            Self::Admit(pre) => pre.engine(),
        }
    }
}

/// The exports of one kind of policy.
pub(crate) trait World: Sized + Send + 'static {
    /// An instance. Of a component of another kind it is an error, which loading has ruled out.
    fn instantiate(pre: &Pre, store: &mut Store<Guest>) -> wasmtime::Result<Self>;
    fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<types::Info>;
    /// The inner error is the guest's, in its words.
    fn configure(
        &self,
        store: &mut Store<Guest>,
        settings: &[(String, String)],
    ) -> wasmtime::Result<Result<(), String>>;
}

macro_rules! world {
    ($world:ident, $kind:ident, $exports:ident) => {
        impl World for $world {
            fn instantiate(pre: &Pre, store: &mut Store<Guest>) -> wasmtime::Result<Self> {
                match pre {
                    Pre::$kind(pre) => pre.instantiate(store),
                    _ => Err(wasmtime::Error::msg("not a policy of this kind")),
                }
            }

            fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<types::Info> {
                self.$exports().call_describe(store)
            }

            fn configure(
                &self,
                store: &mut Store<Guest>,
                settings: &[(String, String)],
            ) -> wasmtime::Result<Result<(), String>> {
                let settings: Vec<_> = settings
                    .iter()
                    .map(|(key, value)| types::Setting { key: key.clone(), value: value.clone() })
                    .collect();
                Ok(self.$exports().call_configure(store, &settings)?.map_err(words_of))
            }
        }
    };
}

world!(SchedulerPolicy, Scheduler, berth_policy_scheduler);
world!(AuthPolicy, Auth, berth_policy_auth);
world!(WatcherPolicy, Watcher, berth_policy_watcher);
world!(NetworkPolicy, Network, berth_policy_network);
world!(AdmitPolicy, Admit, berth_policy_admit);

/// What a guest's error says.
pub(crate) fn words_of(error: types::Error) -> String {
    match error {
        types::Error::BadSettings(words) | types::Error::Other(words) => words,
    }
}

/// Asks a fresh instance who it is.
pub(crate) fn info_of(pre: &Pre, guest: Guest, budget: Budget, limits: &Limits) -> Result<PolicyInfo, Fault> {
    fn ask<W: World>(pre: &Pre, guest: Guest, budget: Budget, limits: &Limits) -> Result<types::Info, Fault> {
        let mut instance = Instance::<W>::new(pre, guest, budget, limits)?;
        instance.call(|store, world| world.describe(store))
    }
    let info = match pre {
        Pre::Scheduler(_) => ask::<SchedulerPolicy>(pre, guest, budget, limits),
        Pre::Auth(_) => ask::<AuthPolicy>(pre, guest, budget, limits),
        Pre::Watcher(_) => ask::<WatcherPolicy>(pre, guest, budget, limits),
        Pre::Network(_) => ask::<NetworkPolicy>(pre, guest, budget, limits),
        Pre::Admit(_) => ask::<AdmitPolicy>(pre, guest, budget, limits),
    }?;
    let line = |text: String| shown(&text, 200);
    Ok(PolicyInfo {
        name: line(info.name),
        version: line(info.version),
        about: line(info.about),
        settings: info
            .settings
            .into_iter()
            .take(100)
            .map(|setting| (line(setting.key), line(setting.value)))
            .collect(),
    })
}
