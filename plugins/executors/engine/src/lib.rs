//! What the Docker and the Swarm executor share: the way to an engine, the names and labels by which
//! things are found again, image references, registry credentials, logs as bytes.

#![deny(missing_docs)]

mod auth_file;
mod connection;
mod credentials;
mod endpoint;
mod error;
mod image;
mod image_rules;
mod logs;
mod names;
mod time;
mod tls;
mod user_login;

pub use bollard;
// For what its features leave out; see the manifest.
use log as _;

pub use crate::{
    connection::{Engine, EngineInfo, OLDEST_API},
    credentials::{Access, AccessError, Asking, Credentials, CredentialsError, Registries, RegistryLogin},
    endpoint::{Endpoint, EndpointError, EngineConfig},
    error::EngineError,
    image::{ImageError, ImageRef, Prefix},
    image_rules::{ImageRefused, ImageRules},
    logs::{Cursor, Frame, Logs, Position, demultiplex, last_bytes, log_stream},
    names::{Labels, filter, label, labels_of},
    time::{engine_time, nanoseconds},
    tls::{OwnCertificate, TlsError, TlsFiles},
    user_login::UserLoginError,
};
