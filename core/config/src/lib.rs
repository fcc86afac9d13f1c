//! berth.toml: as typed, as checked, and what is wrong with it.
//!
//! The way of a file: parsed with the place of everything kept (`load`), environment variables laid over
//! it (`environment`), names of old replaced (`renamed`), compared with the keys that there are (`keys`),
//! defaults filled in (`defaults`), given types (`raw`), and judged as a whole (`check`). No step stops at
//! its first problem. The keys, their words and their defaults stand in `raw` and nowhere else.

mod check;
mod checked;
mod classes;
mod database;
mod defaults;
mod diagnostics;
mod effective;
mod environment;
mod guests;
mod keys;
mod known;
mod ldap;
mod load;
mod notices;
mod proxy;
mod quantity;
mod raw;
mod renamed;
mod schema;
mod shape;
mod source;
mod status;
mod tree;

pub use checked::{
    Auth, Changeable, Cluster, Config, Executor, Filter, Jobs, Ldap, Limits, Log, NamedResource, Own, Policy,
    PolicySource, Proxy, Quotas, Server, Sessions, Store, Watcher,
};
pub use classes::Class;
pub use defaults::Surroundings;
pub use diagnostics::{Problem, Problems, Severity};
pub use effective::{Effective, Setting};
pub use guests::{Guests, Issuer, TokenAlgorithm};
pub use known::{Bounds, ExecutorKind, KeyDoc, KeyKind, KnownPlugins, PolicyKind};
pub use load::{Loaded, Loader, load, usual_file};
pub use notices::{Encryption, Mail, Notices, UserWebhooks, Webhook};
pub use raw::{Archive, CountAt, LogFormat, OnBreach, OnFailure, Placement};
pub use schema::{reference, schema};
pub use source::Origin;
pub use status::{Status, StatusKind};
