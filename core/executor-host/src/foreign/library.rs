//! Opening a shared library and touching its symbols. With `line`, the only code here that is unsafe.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_executor_api::abi::{self, symbol};

/// Why a library is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// It cannot be opened.
    #[error("{path} cannot be used as an executor: {words}", path = path.display())]
    NotOpened {
        /// Which file.
        path: PathBuf,
        /// In the loader's words.
        words: String,
    },
    /// Others than its owner could put something else there, which would run with Berth's rights.
    #[error(
        "{path} belongs to uid {owner} with mode {mode:o}; make it belong to root or uid {own} and let nobody else write it",
        path = path.display()
    )]
    NotSafe {
        /// Which file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
        /// Whom it may belong to.
        own: u32,
    },
    /// It lacks something that an executor has.
    #[error("{path} is no executor: it exports no {symbol}", path = path.display())]
    NoSymbol {
        /// Which file.
        path: PathBuf,
        /// What is missing.
        symbol: String,
    },
    /// It speaks another version of the interface.
    #[error("{path} speaks version {theirs} of the executor interface, and this Berth version {ours}; build it anew", path = path.display())]
    WrongVersion {
        /// Which file.
        path: PathBuf,
        /// The library's.
        theirs: u32,
        /// Berth's.
        ours: u32,
    },
    /// It does not come to an end with something.
    #[error("{path} did not end {what} within {waited:?}", path = path.display())]
    NoAnswer {
        /// Which file.
        path: PathBuf,
        /// With what.
        what: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// It says that it cannot be used as it is configured, or failed at its start.
    #[error("{path} refuses to start: {words}", path = path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// In its words.
        words: String,
    },
}

/// What a library exports.
#[derive(Clone, Copy)]
pub(super) struct Symbols {
    pub create: abi::Create,
    pub call: abi::Call,
    pub destroy: abi::Destroy,
}

/// Opens a library and looks at its version before anything else. It stays open until Berth ends: threads of its own
/// may be anywhere in it.
pub(super) fn open(path: &Path) -> Result<Symbols, LibraryError> {
    safe(path)?;
    let library = Box::leak(Box::new(dlopen(path)?));
    let theirs = version(library, path)?;
    if theirs != abi::VERSION {
        return Err(LibraryError::WrongVersion { path: path.to_owned(), theirs, ours: abi::VERSION });
    }
    Ok(Symbols {
        create: function(library, path, symbol::CREATE)?,
        call: function(library, path, symbol::CALL)?,
        destroy: function(library, path, symbol::DESTROY)?,
    })
}

/// What is loaded runs with Berth's rights, so nobody without them may write it.
fn safe(path: &Path) -> Result<(), LibraryError> {
    let not_opened =
        |error: std::io::Error| LibraryError::NotOpened { path: path.to_owned(), words: error.to_string() };
    let file = std::fs::metadata(path).map_err(not_opened)?;
    let own = rustix::process::geteuid().as_raw();
    let writable = file.mode() & 0o022 != 0;
    if (file.uid() != 0 && file.uid() != own) || writable {
        let (owner, mode) = (file.uid(), file.mode() & 0o7777);
        return Err(LibraryError::NotSafe { path: path.to_owned(), owner, mode, own });
    }
    Ok(())
}

#[allow(unsafe_code, reason = "the border of the C interface")]
fn dlopen(path: &Path) -> Result<libloading::Library, LibraryError> {
    // SAFETY: running the library's initialisers is what the operator asked for by naming it.
    let library = unsafe { libloading::Library::new(path) };
    library.map_err(|error| LibraryError::NotOpened { path: path.to_owned(), words: words(&error) })
}

#[allow(unsafe_code, reason = "the border of the C interface")]
fn version(library: &'static libloading::Library, path: &Path) -> Result<u32, LibraryError> {
    // SAFETY: the interface says that this symbol is a `const uint32_t`.
    let version = unsafe { library.get::<*const u32>(symbol::VERSION) };
    let version = version.map_err(|_| no_symbol(path, symbol::VERSION))?;
    // SAFETY: as above; the library stays open.
    Ok(unsafe { version.read_unaligned() })
}

#[allow(unsafe_code, reason = "the border of the C interface")]
fn function<T: Copy>(
    library: &'static libloading::Library,
    path: &Path,
    name: &[u8],
) -> Result<T, LibraryError> {
    // SAFETY: the version was the right one, and it says which type this symbol has.
    let function = unsafe { library.get::<T>(name) };
    function.map(|function| *function).map_err(|_| no_symbol(path, name))
}

fn no_symbol(path: &Path, name: &[u8]) -> LibraryError {
    let symbol = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    LibraryError::NoSymbol { path: path.to_owned(), symbol }
}

/// The loader's own words, which stand in the source of libloading's.
fn words(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
