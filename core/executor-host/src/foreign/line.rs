//! The line to an executor in a library: calls go in from a thread of its own, and come back completed by whatever
//! thread the library likes. Neither a call that hangs nor a wrong completion is felt anywhere else.

use std::{
    collections::HashMap,
    ffi::c_void,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use berth_executor_api::abi::{Bytes, Status};
use tokio::sync::oneshot;

use super::library::Symbols;

/// So many calls may wait for a library that is still busy with taking an earlier one.
const MOST_WAITING: usize = 1024;
/// A larger answer is none.
const LONGEST_ANSWER: usize = 64 << 20;

/// What a call was completed with.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: Status,
    pub json: Vec<u8>,
    pub body: Vec<u8>,
}

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    calls: Mutex<HashMap<u64, oneshot::Sender<Result<Answer, String>>>>,
}

impl Waiting {
    fn calls(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<Answer, String>>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call on its way in.
enum Order {
    Call { call: u64, method: &'static str, request: Vec<u8>, body: Vec<u8> },
    End,
}

/// A line to one executor.
pub(super) struct Line {
    orders: SyncSender<Order>,
    waiting: Arc<Waiting>,
    last: AtomicU64,
}

/// A call under way; dropped, it is given up.
pub(super) struct Pending {
    waiting: Arc<Waiting>,
    call: u64,
    answer: oneshot::Receiver<Result<Answer, String>>,
}

impl Pending {
    /// What became of it, or why that can make no sense.
    pub(super) async fn answer(mut self) -> Result<Answer, String> {
        let gone = || Err("the library's thread has ended".to_owned());
        (&mut self.answer).await.unwrap_or_else(|_| gone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.waiting.calls().remove(&self.call);
    }
}

impl Line {
    /// Has the executor made; the answer is what it is.
    pub(super) fn begin(name: &str, symbols: Symbols, settings: Vec<u8>) -> std::io::Result<(Self, Pending)> {
        let (orders, incoming) = sync_channel(MOST_WAITING);
        let waiting = Arc::new(Waiting::default());
        let line = Self { orders, waiting: Arc::clone(&waiting), last: AtomicU64::new(0) };
        let pending = line.expect(0);
        let thread = std::thread::Builder::new().name(format!("library {name}"));
        thread.spawn(move || serve(symbols, &settings, &waiting, &incoming))?;
        Ok((line, pending))
    }

    /// Puts a call on its way, or says why that cannot be.
    pub(super) fn call(
        &self,
        method: &'static str,
        request: Vec<u8>,
        body: Vec<u8>,
    ) -> Result<Pending, String> {
        let call = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let pending = self.expect(call);
        let sent = self.orders.try_send(Order::Call { call, method, request, body });
        sent.map_err(|_| {
            "the library takes no more calls: it does not return from an earlier one".to_owned()
        })?;
        Ok(pending)
    }

    fn expect(&self, call: u64) -> Pending {
        let (sender, answer) = oneshot::channel();
        self.waiting.calls().insert(call, sender);
        Pending { waiting: Arc::clone(&self.waiting), call, answer }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // One that hangs in a call is left where it is.
        let _ = self.orders.try_send(Order::End);
    }
}

/// The thread: makes the executor, and puts in one call after the other.
#[allow(unsafe_code, reason = "the border of the C interface")]
fn serve(symbols: Symbols, settings: &[u8], waiting: &Arc<Waiting>, orders: &Receiver<Order>) {
    // A library may complete calls whenever it likes, rightly or not, so that what it holds is never freed.
    let host = Arc::into_raw(Arc::clone(waiting)).cast_mut().cast::<c_void>();
    // SAFETY: the symbols have these types by the interface's version, the settings outlive the call, and the host's
    // end outlives the library.
    let executor = unsafe { (symbols.create)(Bytes::of(settings), host, complete) };
    for order in orders {
        let Order::Call { call, method, request, body } = order else { break };
        let (method, request, body) = (Bytes::of(method.as_bytes()), Bytes::of(&request), Bytes::of(&body));
        // SAFETY: as above; the executor is not destroyed before this loop has ended.
        unsafe { (symbols.call)(executor, call, method, request, body) };
    }
    // SAFETY: as above, and nothing is called after it.
    unsafe { (symbols.destroy)(executor) };
}

/// What libraries complete calls with.
#[allow(unsafe_code, reason = "the border of the C interface")]
unsafe extern "C" fn complete(host: *mut c_void, call: u64, status: i32, answer: Bytes, body: Bytes) {
    let taken = AssertUnwindSafe(|| {
        // SAFETY: libraries pass on what they were given, which is never freed.
        let waiting = unsafe { &*host.cast_const().cast::<Waiting>() };
        let Some(sender) = waiting.calls().remove(&call) else { return };
        let Some(status) = Status::of(status) else {
            drop(sender.send(Err(format!("status {status} is none"))));
            return;
        };
        let length = answer.length.saturating_add(body.length);
        if length > LONGEST_ANSWER {
            drop(sender.send(Err(format!("an answer of {length} bytes is too long"))));
            return;
        }
        // SAFETY: the interface has them readable until this function returns.
        let (json, body) = unsafe { (answer.copied(), body.copied()) };
        // Who asked may have given up.
        drop(sender.send(Ok(Answer { status, json, body })));
    });
    // Nothing unwinds across the border; there is nobody to tell.
    let _ = std::panic::catch_unwind(taken);
}
