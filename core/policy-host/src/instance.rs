//! One instance of a policy, and the one way of calling it.

use std::{sync::Arc, time::Duration};

use wasmtime::{Store, Trap, UpdateDeadline};

use crate::{
    Fault, Grants, Limits, PolicySpec,
    capabilities::{LogGate, Presented, ToldAccounts},
    error::HostFailure,
    limits::{CallClock, Limiter, timed},
    ticker::Ticker,
    words::shown,
    worlds::{Pre, World},
};

/// What stops a call that does not end.
#[derive(Clone, Debug)]
pub(crate) enum Budget {
    /// Time.
    Time(Arc<Ticker>),
    /// Fuel, so many units for each call.
    Fuel(u64),
}

/// What the host keeps for an instance: the data of its store.
#[derive(Debug)]
pub(crate) struct Guest {
    /// The name in berth.toml.
    pub(crate) policy: Arc<str>,
    pub(crate) grants: Grants,
    pub(crate) log: LogGate,
    /// For a scheduler that may ask for them.
    pub(crate) told_accounts: ToldAccounts,
    /// What somebody presents themselves with in this call.
    pub(crate) presented: Presented,
    /// How long host functions may wait in one call, all together.
    patience: Duration,
    waited: Duration,
    limiter: Limiter,
    clock: CallClock,
}

impl Guest {
    pub(crate) fn new(spec: &PolicySpec) -> Self {
        Self {
            policy: Arc::from(spec.name.as_str()),
            grants: spec.grants.clone(),
            log: LogGate::new(&spec.limits),
            told_accounts: ToldAccounts::default(),
            presented: Presented::default(),
            patience: spec.limits.wait,
            waited: Duration::ZERO,
            limiter: Limiter::new(spec.limits.memory_bytes),
            clock: CallClock::new(spec.limits.call),
        }
    }

    /// Does something that may wait, for as long as the answer's patience at the most. Waiting costs no
    /// processor time, so it is counted apart: a guest cannot prolong its call by waiting again and again.
    pub(crate) fn waiting<T>(&mut self, wait: impl FnOnce(&Self, Duration) -> T) -> Result<T, Waited> {
        let left = self.patience.saturating_sub(self.waited);
        if left.is_zero() {
            return Err(Waited);
        }
        let (answer, took) = timed(|| wait(self, left));
        self.waited = self.waited.saturating_add(took);
        Ok(answer)
    }
}

/// Host functions have waited for as long as they may in this call.
#[derive(Debug, thiserror::Error)]
#[error("its look-ups took too long")]
pub(crate) struct Waited;

/// An instance of a policy of kind `W`. After a fault it is of no use any more.
pub(crate) struct Instance<W> {
    store: Store<Guest>,
    world: W,
    budget: Budget,
    limits: Limits,
}

impl<W: World> Instance<W> {
    pub(crate) fn new(pre: &Pre, guest: Guest, budget: Budget, limits: &Limits) -> Result<Self, Fault> {
        let mut store = Store::new(pre.engine(), guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(limits.answer_bytes);
        store.set_max_component_handles(1000);
        if matches!(budget, Budget::Time(_)) {
            store.epoch_deadline_callback(|guest| {
                let over = guest.data().clock.is_over();
                Ok(if over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
            });
        }
        // Instantiation may run code of the guest, so it is limited like any call.
        let world = limited(&mut store, &budget, limits, |store| W::instantiate(pre, store))?;
        Ok(Self { store, world, budget, limits: limits.clone() })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Memory that it has taken.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().limiter.used_bytes()
    }

    /// Calls the guest, within its limits.
    pub(crate) fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Store<Guest>, &W) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let Self { store, world, budget, limits } = self;
        limited(store, budget, limits, |store| call(store, world))
    }

    /// Takes over what the guest may ask for about accounts.
    pub(crate) fn hear_accounts(&mut self, told: &[berth_engine::AccountTold]) {
        let guest = self.store.data_mut();
        if guest.grants.usage {
            guest.told_accounts.hear(told);
        }
    }

    /// Tells the guest its settings.
    pub(crate) fn configure(&mut self, settings: &[(String, String)]) -> Result<(), Fault> {
        let most = self.limits.words_bytes;
        self.call(|store, world| world.configure(store, settings))?
            .map_err(|words| Fault::Settings { words: shown(&words, most) })
    }
}

fn limited<T>(
    store: &mut Store<Guest>,
    budget: &Budget,
    limits: &Limits,
    call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
) -> Result<T, Fault> {
    let guest = store.data_mut();
    guest.clock = CallClock::new(limits.call);
    guest.log.begin_call();
    guest.waited = Duration::ZERO;
    guest.limiter.take_refused();
    let answer = match budget {
        Budget::Time(ticker) => {
            store.set_epoch_deadline(1);
            let _ticking = ticker.while_calling();
            call(store)
        }
        Budget::Fuel(fuel) => store.set_fuel(*fuel).and_then(|()| call(store)),
    };
    let guest = store.data_mut();
    guest.log.end_call(&guest.policy);
    answer.map_err(|error| fault(&error, store.data_mut(), budget, limits))
}

/// What kind of failure the engine reports.
fn fault(error: &wasmtime::Error, guest: &mut Guest, budget: &Budget, limits: &Limits) -> Fault {
    if let Some(HostFailure(words)) = error.downcast_ref() {
        return Fault::Host { words: words.clone() };
    }
    if error.is::<Waited>() {
        return Fault::TimedOut { limit: limits.wait };
    }
    match (error.downcast_ref::<Trap>(), budget) {
        (Some(Trap::Interrupt), _) => return Fault::TimedOut { limit: guest.clock.limit() },
        (Some(Trap::OutOfFuel), Budget::Fuel(fuel)) => return Fault::OutOfFuel { fuel: *fuel },
        _ => {}
    }
    if guest.limiter.take_refused() {
        return Fault::OutOfMemory { limit_bytes: limits.memory_bytes };
    }
    let words = format!("{error:#}");
    // The engine's error for this has no type of its own that could be asked for.
    if words.contains("fuel allocated for hostcalls") {
        return Fault::AnswerTooLarge { limit: format!("{} bytes", limits.answer_bytes) };
    }
    Fault::Trapped { words: shown(&words, limits.words_bytes) }
}
