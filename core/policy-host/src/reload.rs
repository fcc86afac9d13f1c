//! What new versions of all kinds have to stand before they decide anything.

use crate::{Fault, LoadError, Loaded};

/// A version that failed before it could decide anything.
pub(crate) fn refused(loaded: &Loaded, fault: Fault) -> LoadError {
    let policy = loaded.spec().name.clone();
    match fault {
        Fault::Settings { words } => LoadError::Settings { policy, words },
        fault => LoadError::Faulty { policy, fault },
    }
}
