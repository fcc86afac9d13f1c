//! What every request needs at hand.

use std::sync::Arc;

use axum::body::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{Backend, Settings};

/// Shared by all requests.
pub(crate) struct Front {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) settings: Settings,
    /// The description of the API, written once.
    pub(crate) openapi: Bytes,
    /// The server is to end: streams end now, other requests may still finish.
    pub(crate) stop: CancellationToken,
}
