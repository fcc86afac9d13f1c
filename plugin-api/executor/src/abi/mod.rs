//! Executors from a shared library: the C interface, the messages that cross it, and the library's side of it.
//!
//! `include/berth_executor.h` is the contract, for any language. In Rust a library is an implementation of
//! [`Executor`](crate::Executor) and one line:
//!
//! ```
//! use berth_executor_api::{ExecutorError, SharedExecutor, abi::Settings};
//!
//! async fn start(settings: Settings) -> Result<SharedExecutor, ExecutorError> {
//! #   let _ = settings;
//! #   Err(ExecutorError::Unusable { backend: "mine".into(), reason: "it is an example".into() })
//! }
//!
//! berth_executor_api::export_executor!(start);
//! ```

mod export;
mod serve;
mod streams;
mod wire;

use std::ffi::c_void;

pub use self::{
    export::{call, create, destroy},
    wire::{Batch, Error, ErrorKind, Exited, Message, Next, Opened, Settings, Size, Words, kind_of, method},
};

/// The interface's version. A library of another one is not used.
pub const VERSION: u32 = 1;

/// The symbols that a library exports, with a null at their ends.
pub mod symbol {
    /// The version, a `u32`: read before anything else is touched.
    pub const VERSION: &[u8] = b"berth_executor_abi_version\0";
    /// A [`Create`](super::Create).
    pub const CREATE: &[u8] = b"berth_executor_create\0";
    /// A [`Call`](super::Call).
    pub const CALL: &[u8] = b"berth_executor_call\0";
    /// A [`Destroy`](super::Destroy).
    pub const DESTROY: &[u8] = b"berth_executor_destroy\0";
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The answer is what was asked for.
    Ok,
    /// The answer is an [`Error`].
    Error,
    /// The library failed, and says how in [`Words`].
    Broken,
}

impl Status {
    /// As it crosses the border.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Broken => 2,
        }
    }

    /// `None` for what is no status.
    #[must_use]
    pub fn of(code: i32) -> Option<Self> {
        [Self::Ok, Self::Error, Self::Broken].into_iter().find(|status| status.code() == code)
    }
}

/// Bytes of somebody else's, valid until the function that they were passed to returns.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Bytes {
    /// Where they are; may be null where there are none.
    pub data: *const u8,
    /// How many.
    pub length: usize,
}

impl Bytes {
    /// These bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), length: bytes.len() }
    }

    /// A copy of them.
    ///
    /// # Safety
    /// `data` points to `length` readable bytes, or is null, or `length` is 0.
    #[must_use]
    #[allow(unsafe_code, reason = "this is the border")]
    pub unsafe fn copied(self) -> Vec<u8> {
        match self.data.is_null() || self.length == 0 {
            true => Vec::new(),
            // SAFETY: as this function asks for.
            false => unsafe { std::slice::from_raw_parts(self.data, self.length) }.to_vec(),
        }
    }
}

/// Completes a call: `host`, the call's number, a status's code, the answer, the body.
pub type Complete = unsafe extern "C" fn(*mut c_void, u64, i32, Bytes, Bytes);
/// Makes an executor of its settings; completes call 0.
pub type Create = unsafe extern "C" fn(Bytes, *mut c_void, Complete) -> *mut c_void;
/// Begins a call: the executor, the call's number, the method, the request, the body.
pub type Call = unsafe extern "C" fn(*mut c_void, u64, Bytes, Bytes, Bytes);
/// Ends an executor.
pub type Destroy = unsafe extern "C" fn(*mut c_void);
