//! Making a component of a policy: its instance in a static, and the world's exports in front of it.

use std::cell::RefCell;

use crate::{Error, Setting, Settings};

/// The one policy of an instance; empty until it is configured.
#[doc(hidden)]
#[derive(Debug)]
pub struct Held<T>(RefCell<Option<T>>);

impl<T> Held<T> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// Makes the policy by its settings, in the place of one that was there.
    ///
    /// # Errors
    /// What `make` says, or that a setting was not read by it.
    pub fn configure(
        &self,
        settings: Vec<Setting>,
        make: impl FnOnce(&mut Settings) -> Result<T, Error>,
    ) -> Result<(), Error> {
        let mut settings = Settings::new(settings);
        let made = make(&mut settings)?;
        settings.finish()?;
        *self.0.borrow_mut() = Some(made);
        Ok(())
    }

    /// Asks the policy; `None` when it was never configured, which the contract rules out.
    pub fn ask<A>(&self, ask: impl FnOnce(&mut T) -> A) -> Option<A> {
        self.0.borrow_mut().as_mut().map(ask)
    }

    /// Likewise for calls that may fail.
    ///
    /// # Errors
    /// What the policy says, or that it was never configured.
    pub fn try_ask<A>(&self, ask: impl FnOnce(&mut T) -> Result<A, Error>) -> Result<A, Error> {
        self.ask(ask).unwrap_or_else(|| Err(Error::Other("asked before it was configured".into())))
    }
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Says who a policy is: `info!("name", "one line about it", "setting" => "what it does", …)`. The version is
/// that of the crate it stands in.
#[macro_export]
macro_rules! info {
    ($name:expr, $about:expr $(, $key:expr => $line:expr)* $(,)?) => {
        $crate::Info {
            name: ::std::string::String::from($name),
            version: ::std::string::String::from(env!("CARGO_PKG_VERSION")),
            about: ::std::string::String::from($about),
            settings: ::std::vec![$($crate::Setting {
                key: ::std::string::String::from($key),
                value: ::std::string::String::from($line),
            }),*],
        }
    };
}

/// Makes a component of a type that implements [`Order`](crate::Order).
#[macro_export]
macro_rules! export_order {
    ($order:ty) => {
        $crate::export_scheduler!($crate::Ordered<$order>);
    };
}

/// Makes a component of a type that implements [`Rank`](crate::Rank).
#[macro_export]
macro_rules! export_rank {
    ($rank:ty) => {
        $crate::export_scheduler!($crate::Ranked<$rank>);
    };
}

/// Makes a component of a type that implements [`Scheduler`](crate::Scheduler).
#[macro_export]
macro_rules! export_scheduler {
    ($policy:ty) => {
        $crate::__fit!($policy, $crate::Scheduler);

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::{Error, Info, Setting, scheduler as contract};

            struct Component;
            ::std::thread_local! {
                static POLICY: $crate::Held<$policy> = const { $crate::Held::new() };
            }
            fn tell(told: impl FnOnce(&mut $policy)) {
                POLICY.with(|policy| policy.ask(told));
            }
            impl contract::Guest for Component {
                fn describe() -> Info {
                    <$policy as $crate::Scheduler>::describe()
                }
                fn configure(settings: Vec<Setting>) -> Result<(), Error> {
                    POLICY
                        .with(|policy| policy.configure(settings, <$policy as $crate::Scheduler>::configure))
                }
                fn names(first: $crate::NameId, names: Vec<String>) {
                    tell(|policy| $crate::Scheduler::names(policy, first, names));
                }
                fn nodes(nodes: Vec<contract::Node>) {
                    tell(|policy| $crate::Scheduler::nodes(policy, nodes));
                }
                fn placements(placements: Vec<contract::Placement>) {
                    tell(|policy| $crate::Scheduler::placements(policy, placements));
                }
                fn pending(jobs: Vec<$crate::PendingJob>, attributes: Vec<$crate::scheduler::JobAttribute>) {
                    tell(|policy| {
                        $crate::Scheduler::attributes(policy, attributes);
                        $crate::Scheduler::pending(policy, jobs);
                    });
                }
                fn withdrawn(jobs: Vec<$crate::JobId>) {
                    tell(|policy| $crate::Scheduler::withdrawn(policy, jobs));
                }
                fn started(jobs: Vec<$crate::RunningJob>) {
                    tell(|policy| $crate::Scheduler::started(policy, jobs));
                }
                fn ended(jobs: Vec<$crate::JobId>) {
                    tell(|policy| $crate::Scheduler::ended(policy, jobs));
                }
                fn plan(
                    now_ms: $crate::InstantMs,
                    room: Vec<$crate::NodeRoom>,
                    most: u32,
                ) -> Result<$crate::Plan, Error> {
                    POLICY.with(|policy| {
                        policy.try_ask(|policy| $crate::Scheduler::plan(policy, now_ms, room, most))
                    })
                }
                fn explain(now_ms: $crate::InstantMs, job: $crate::JobId) -> Option<String> {
                    POLICY
                        .with(|policy| policy.ask(|policy| $crate::Scheduler::explain(policy, now_ms, job)))
                        .flatten()
                }
                fn len() -> u64 {
                    POLICY.with(|policy| policy.ask(|policy| $crate::Scheduler::known(policy))).unwrap_or(0)
                }
            }
    $crate::bindings::scheduler::export!(Component with_types_in $crate::bindings::scheduler);
        };
    };
}

/// Makes a component of a type that implements [`Auth`](crate::Auth).
#[macro_export]
macro_rules! export_auth {
    ($policy:ty) => {
        $crate::__fit!($policy, $crate::Auth);

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::{Error, Info, Setting, auth as contract};

            struct Component;
            ::std::thread_local! {
                static POLICY: $crate::Held<$policy> = const { $crate::Held::new() };
            }
            fn unconfigured() -> contract::Denial {
                contract::Denial::Unavailable("the auth policy was asked before it was configured".into())
            }
            impl contract::Guest for Component {
                fn describe() -> Info {
                    <$policy as $crate::Auth>::describe()
                }
                fn configure(settings: Vec<Setting>) -> Result<(), Error> {
                    POLICY.with(|policy| policy.configure(settings, <$policy as $crate::Auth>::configure))
                }
                fn identify(
                    now_ms: $crate::InstantMs,
                    credentials: contract::Credentials,
                ) -> Result<contract::Identity, contract::Denial> {
                    POLICY
                        .with(|policy| {
                            policy.ask(|policy| $crate::Auth::identify(policy, now_ms, credentials))
                        })
                        .unwrap_or_else(|| Err(unconfigured()))
                }
                fn authorise(
                    now_ms: $crate::InstantMs,
                    who: contract::Identity,
                    job: contract::JobRequest,
                ) -> Result<contract::Grant, contract::Denial> {
                    POLICY
                        .with(|policy| policy.ask(|policy| $crate::Auth::authorise(policy, now_ms, who, job)))
                        .unwrap_or_else(|| Err(unconfigured()))
                }
            }
    $crate::bindings::auth::export!(Component with_types_in $crate::bindings::auth);
        };
    };
}

/// Makes a component of a type that implements [`Watcher`](crate::Watcher).
#[macro_export]
macro_rules! export_watcher {
    ($policy:ty) => {
        $crate::__fit!($policy, $crate::Watcher);

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::{Error, Info, Setting, watcher as contract};

            struct Component;
            ::std::thread_local! {
                static POLICY: $crate::Held<$policy> = const { $crate::Held::new() };
            }
            impl contract::Guest for Component {
                fn describe() -> Info {
                    <$policy as $crate::Watcher>::describe()
                }
                fn configure(settings: Vec<Setting>) -> Result<(), Error> {
                    POLICY.with(|policy| policy.configure(settings, <$policy as $crate::Watcher>::configure))
                }
                fn wants() -> contract::Wishes {
                    POLICY
                        .with(|policy| policy.ask(|policy| $crate::Watcher::wants(policy)))
                        .unwrap_or(contract::Wishes::empty())
                }
                fn judge(
                    now_ms: $crate::InstantMs,
                    jobs: Vec<contract::WatchedJob>,
                ) -> Result<Vec<contract::Judgement>, Error> {
                    POLICY
                        .with(|policy| policy.try_ask(|policy| $crate::Watcher::judge(policy, now_ms, jobs)))
                }
                fn may_start(
                    now_ms: $crate::InstantMs,
                    job: contract::StartingJob,
                ) -> Result<(), contract::Refusal> {
                    POLICY
                        .with(|policy| policy.ask(|policy| $crate::Watcher::may_start(policy, now_ms, job)))
                        .unwrap_or_else(|| {
                            let words = "the watcher was asked before it was configured";
                            Err(contract::Refusal::NotNow(words.into()))
                        })
                }
                fn started(now_ms: $crate::InstantMs, job: contract::StartingJob) {
                    POLICY.with(|policy| policy.ask(|policy| $crate::Watcher::started(policy, now_ms, job)));
                }
                fn ended(now_ms: $crate::InstantMs, job: $crate::JobId) {
                    POLICY.with(|policy| policy.ask(|policy| $crate::Watcher::ended(policy, now_ms, job)));
                }
            }
    $crate::bindings::watcher::export!(Component with_types_in $crate::bindings::watcher);
        };
    };
}

/// Makes a component of a type that implements [`Network`](crate::Network).
#[macro_export]
macro_rules! export_network {
    ($policy:ty) => {
        $crate::__fit!($policy, $crate::Network);

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::{Error, Info, Setting, network as contract};

            struct Component;
            ::std::thread_local! {
                static POLICY: $crate::Held<$policy> = const { $crate::Held::new() };
            }
            impl contract::Guest for Component {
                fn describe() -> Info {
                    <$policy as $crate::Network>::describe()
                }
                fn configure(settings: Vec<Setting>) -> Result<(), Error> {
                    POLICY.with(|policy| policy.configure(settings, <$policy as $crate::Network>::configure))
                }
                fn attach(
                    now_ms: $crate::InstantMs,
                    request: contract::NetworkRequest,
                ) -> Result<contract::Attachment, contract::Refusal> {
                    POLICY
                        .with(|policy| policy.ask(|policy| $crate::Network::attach(policy, now_ms, request)))
                        .unwrap_or_else(|| {
                            let words = "the network policy was asked before it was configured";
                            Err(contract::Refusal::NotNow(words.into()))
                        })
                }
                fn release(now_ms: $crate::InstantMs, job: $crate::JobId) {
                    POLICY.with(|policy| policy.ask(|policy| $crate::Network::release(policy, now_ms, job)));
                }
                fn attached(job: $crate::JobId, node: String, what: contract::Attachment) {
                    POLICY.with(|policy| {
                        policy.ask(|policy| $crate::Network::attached(policy, job, node, what))
                    });
                }
            }
    $crate::bindings::network::export!(Component with_types_in $crate::bindings::network);
        };
    };
}

/// Makes a component of a type that implements [`Admit`](crate::Admit).
#[macro_export]
macro_rules! export_admit {
    ($policy:ty) => {
        $crate::__fit!($policy, $crate::Admit);

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::{Error, Info, Setting, admit as contract};

            struct Component;
            ::std::thread_local! {
                static POLICY: $crate::Held<$policy> = const { $crate::Held::new() };
            }
            impl contract::Guest for Component {
                fn describe() -> Info {
                    <$policy as $crate::Admit>::describe()
                }
                fn configure(settings: Vec<Setting>) -> Result<(), Error> {
                    POLICY.with(|policy| policy.configure(settings, <$policy as $crate::Admit>::configure))
                }
                fn admit(
                    now_ms: $crate::InstantMs,
                    job: contract::Request,
                ) -> Result<Vec<contract::Edit>, contract::Refusal> {
                    let mut draft = $crate::Draft::new(job);
                    POLICY
                        .with(|policy| policy.ask(|policy| $crate::Admit::admit(policy, now_ms, &mut draft)))
                        .unwrap_or_else(|| {
                            let words = "the filter was asked before it was configured";
                            Err(contract::Refusal::NotNow(words.into()))
                        })?;
                    Ok(draft.into_edits())
                }
            }
    $crate::bindings::admit::export!(Component with_types_in $crate::bindings::admit);
        };
    };
}

/// Whether a type is fit to be exported; on every target.
#[doc(hidden)]
#[macro_export]
macro_rules! __fit {
    ($policy:ty, $contract:path) => {
        const _: fn() = || {
            fn fit<T: $contract + 'static>() {}
            fit::<$policy>();
        };
    };
}
