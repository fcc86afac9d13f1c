//! Real servers for tests, started by the scripts beside this crate.
//!
//! Each function blocks until its server answers, and panics with the script's words when there is none:
//! a test that cannot have its server fails, and is never skipped.
//!
//! Test runners start a process for each test, several at once. The scripts take turns where they have
//! to; what a test starts for itself has a name of its own and goes when the value is dropped. Where a
//! test is killed before that, a later start cleans up after it.

#![allow(clippy::panic, reason = "a test that cannot have its server fails")]
#![deny(missing_docs)]

mod cell;
mod directory;
mod door;
mod engine;
mod etcd;
mod godocker;
mod identity;
mod mail;
mod postgres;
mod registry;
mod script;

pub use crate::{
    cell::{Cell, cell},
    directory::{Directory, directory},
    engine::{Engine, OwnEngine, Wish, docker_engine, own_engine, swarm, swarm_of_two},
    etcd::{Etcd, etcd, secure_etcd},
    godocker::godocker_commands,
    identity::{Authority, KeyKind, SigningKey},
    mail::{MailServer, MailWish, mail_server},
    postgres::{Database, Postgres, database, own_postgres},
    registry::{Registry, registry},
};

/// An image with `/bin/sh` (busybox), without bash, and with a user `someone` (1234).
pub const IMAGE_PLAIN: &str = "berth-test/plain:1";
/// The same with bash.
pub const IMAGE_BASH: &str = "berth-test/bash:1";
/// An image with `true`, `false`, `cat`, `echo`, `sleep`, `env`, `printenv`, and no shell.
pub const IMAGE_BARE: &str = "berth-test/bare:1";
/// A file in the first two that is there and cannot be executed.
pub const NOT_A_PROGRAM: &str = "/etc/not-a-program";
