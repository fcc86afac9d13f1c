//! The HTTP side of Berth: listeners, who is asking, routes, errors and event streams.
//!
//! It finds out who is asking and speaks HTTP; what is allowed and what happens is the [`Backend`]'s. Only
//! this crate knows status codes. A request that nobody could be found out for never reaches a route, but
//! for the description of the API and the health check.

mod backend;
mod connection;
mod extract;
mod front;
mod godocker;
mod listen;
mod mistake;
mod patience;
mod proxy;
mod refusal;
mod routes;
mod server;
mod settings;

pub use backend::{
    Attached, AttachedEnd, Backend, ByteStream, Caller, Credentials, EventStream, OfferedImage,
    OfferedVolume, Offers, Peer, Resize, Scope,
};
pub use listen::BindError;
pub use routes::openapi;
pub use server::Server;
pub use settings::{Patience, Proxy, Settings};
