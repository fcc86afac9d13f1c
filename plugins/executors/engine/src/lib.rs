//! What the Docker and the Swarm executor share: the way to an engine, the names and labels by which
//! things are found again, image references, registry credentials, logs as bytes.

#![deny(missing_docs)]

mod connection;
mod credentials;
mod endpoint;
mod error;
mod image;
mod logs;
mod names;
mod time;

pub use bollard;
// For what its features leave out; see the manifest.
use log as _;

pub use crate::{
    connection::{Engine, EngineInfo, OLDEST_API},
    credentials::{Credentials, CredentialsError, Registries, RegistryLogin},
    endpoint::{Endpoint, EndpointError, EngineConfig},
    error::EngineError,
    image::{ImageError, ImageRef, Prefix},
    logs::{Cursor, Frame, Logs, Position, demultiplex, last_bytes, log_stream},
    names::{Labels, filter, label, labels_of},
    time::{engine_time, nanoseconds},
};
