//! Moves the engine's epoch on while a call is under way, and sleeps otherwise.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use wasmtime::Engine;

/// How often a running call is looked at.
const TICK: Duration = Duration::from_millis(5);

/// The thread that ticks. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    parked: bool,
    stopped: bool,
    ticks: u64,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, of_thread) = (engine.clone(), Arc::clone(&shared));
        thread::Builder::new()
            .name("policy-ticker".to_owned())
            .spawn(move || of_thread.run(|| engine.increment_epoch()))?;
        Ok(Self { shared })
    }

    /// Ticks until the answer is dropped.
    pub(crate) fn while_calling(&self) -> Ticking<'_> {
        let mut state = self.shared.lock();
        state.under_way += 1;
        // A call that begins while the ticker still runs costs no wake-up.
        if state.parked {
            self.shared.wake.notify_one();
        }
        Ticking { shared: &self.shared }
    }

    /// How often it has ticked.
    #[cfg(test)]
    pub(crate) fn ticks(&self) -> u64 {
        self.shared.lock().ticks
    }

    /// Whether it sleeps until the next call.
    #[cfg(test)]
    pub(crate) fn is_parked(&self) -> bool {
        self.shared.lock().parked
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.wake.notify_one();
    }
}

/// A call is under way.
pub(crate) struct Ticking<'a> {
    shared: &'a Shared,
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.shared.lock().under_way -= 1;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, tick: impl Fn()) {
        let mut state = self.lock();
        while !state.stopped {
            state.parked = state.under_way == 0;
            state = if state.parked {
                self.wake.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.wake.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0
            };
            state.parked = false;
            state.ticks += 1;
            tick();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_ticks_only_while_a_call_is_under_way() {
        let ticker = Ticker::start(&Engine::default()).unwrap();
        let until = |condition: &dyn Fn() -> bool| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while !condition() {
                assert!(Instant::now() < deadline, "nothing happened");
                thread::yield_now();
            }
        };
        until(&|| ticker.is_parked());
        let before = ticker.ticks();
        let calling = ticker.while_calling();
        until(&|| ticker.ticks() >= before + 3);
        drop(calling);
        until(&|| ticker.is_parked());
        let parked = ticker.ticks();
        thread::sleep(TICK * 4);
        assert_eq!(ticker.ticks(), parked);
    }
}
