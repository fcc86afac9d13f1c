//! The symbols of a library that is written in Rust.

use std::{ffi::c_void, panic::AssertUnwindSafe};

use super::{Bytes, Complete, Settings, serve::Served};
use crate::{ExecutorError, SharedExecutor};

/// Exports an executor from a shared library (`crate-type = ["cdylib"]`).
///
/// Takes a function that makes it, `async fn(Settings) -> Result<SharedExecutor, ExecutorError>`; see
/// [`Settings`]. It runs, as all of the executor's methods do, on a runtime of the library's own. Once for a library.
#[macro_export]
macro_rules! export_executor {
    ($make:path) => {
        #[allow(missing_docs, non_upper_case_globals, unsafe_code)]
        #[unsafe(no_mangle)]
        pub static berth_executor_abi_version: u32 = $crate::abi::VERSION;

        #[allow(missing_docs, clippy::missing_safety_doc, unsafe_code)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn berth_executor_create(
            settings: $crate::abi::Bytes,
            host: *mut ::std::ffi::c_void,
            complete: $crate::abi::Complete,
        ) -> *mut ::std::ffi::c_void {
            // SAFETY: Berth calls this as the interface says.
            unsafe { $crate::abi::create(settings, host, complete, $make) }
        }

        #[allow(missing_docs, clippy::missing_safety_doc, unsafe_code)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn berth_executor_call(
            executor: *mut ::std::ffi::c_void,
            call: u64,
            method: $crate::abi::Bytes,
            request: $crate::abi::Bytes,
            body: $crate::abi::Bytes,
        ) {
            // SAFETY: Berth calls this as the interface says.
            unsafe { $crate::abi::call(executor, call, method, request, body) }
        }

        #[allow(missing_docs, clippy::missing_safety_doc, unsafe_code)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn berth_executor_destroy(executor: *mut ::std::ffi::c_void) {
            // SAFETY: Berth calls this as the interface says.
            unsafe { $crate::abi::destroy(executor) }
        }
    };
}

/// What `berth_executor_create` does in [`export_executor!`](crate::export_executor).
///
/// # Safety
/// As the interface says: `settings` are readable, `complete` may be called with `host` from any thread until the
/// executor is destroyed.
#[allow(unsafe_code, reason = "this is the border")]
pub unsafe fn create<F>(
    settings: Bytes,
    host: *mut c_void,
    complete: Complete,
    make: impl FnOnce(Settings) -> F + Send + 'static,
) -> *mut c_void
where
    F: Future<Output = Result<SharedExecutor, ExecutorError>> + Send + 'static,
{
    // SAFETY: as this function asks for.
    let settings = unsafe { settings.copied() };
    let started = AssertUnwindSafe(|| Served::start(&settings, host, complete, make));
    match std::panic::catch_unwind(started) {
        Ok(Some(served)) => Box::into_raw(served).cast(),
        // It was told; or the runtime panicked, and Berth gives up waiting for call 0.
        Ok(None) | Err(_) => std::ptr::null_mut(),
    }
}

/// What `berth_executor_call` does in [`export_executor!`](crate::export_executor).
///
/// # Safety
/// As the interface says: `executor` is what [`create`] gave and is not destroyed; the bytes are readable.
#[allow(unsafe_code, reason = "this is the border")]
pub unsafe fn call(executor: *mut c_void, call: u64, method: Bytes, request: Bytes, body: Bytes) {
    if executor.is_null() {
        return;
    }
    // SAFETY: as this function asks for.
    let served = unsafe { &*executor.cast::<Served>() };
    // SAFETY: as this function asks for.
    let (method, request, body) = unsafe { (method.copied(), request.copied(), body.copied()) };
    // Only putting the work on its way happens here; one that panics is completed by nobody, and times out.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| served.call(call, &method, &request, &body)));
}

/// What `berth_executor_destroy` does in [`export_executor!`](crate::export_executor).
///
/// # Safety
/// As the interface says: `executor` is what [`create`] gave, and this is its only end.
#[allow(unsafe_code, reason = "this is the border")]
pub unsafe fn destroy(executor: *mut c_void) {
    if executor.is_null() {
        return;
    }
    // SAFETY: as this function asks for.
    let served = unsafe { Box::from_raw(executor.cast::<Served>()) };
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| served.end()));
}
