//! Loads, limits, supervises and reloads policies: WebAssembly components written against the contracts
//! in `wit/`.
//!
//! A policy has no authority but what it is granted, runs on threads of its own, and is stopped when it
//! takes too long. What it answers is a proposal; whoever asked checks it against the books.

mod admit;
mod auth;
mod bindings;
mod cache;
mod capabilities;
mod check;
mod contract;
mod convert;
mod error;
mod fallback;
mod host;
mod instance;
mod limits;
mod network;
mod policy;
mod reload;
mod scheduler;
mod supervise;
mod ticker;
mod types;
mod watcher;
mod words;
mod workers;
mod worlds;

pub use crate::{
    admit::{
        AdmitPolicy, AdmitRefusal, AdmitRequest, Edit, Field, FieldKind, NotAdmitted, Occasion, fields,
        kind_of,
    },
    auth::{AuthPolicy, AuthSettings},
    capabilities::{
        Account, Accounts, Capability, Grants, HostAccounts, KeyValueStore, LogLine, MemoryKeyValues,
        Passwords, ldap,
    },
    check::{CheckReport, CheckSettings, Finding},
    error::{Fault, LoadError},
    host::{HostSettings, Loaded, PolicyHost},
    limits::Limits,
    network::NetworkPolicy,
    policy::{PolicyInfo, PolicyKind, PolicySource, PolicySpec},
    scheduler::{Explained, SchedulerEvent, SchedulerPolicy},
    supervise::{PluginState, PluginStatus, Supervised, Supervision},
    types::{
        Attached, Credentials, Denial, DirectorySize, JobRequest, NetworkRefusal, NetworkRequest, Password,
        StartRefusal, StartingJob, Verdict, WatchedJob, Wishes,
    },
    watcher::{Unjudged, WatcherPolicy},
    workers::{OnSupervised, Unanswered},
};
