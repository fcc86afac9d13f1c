//! What Berth does for people, shown with the program itself: each test starts one as a user would.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../harness/mod.rs"]
mod harness;

mod admit;
mod archive;
mod arrays;
mod classes;
mod containers;
mod control;
mod daemons;
mod dependencies;
mod doors;
mod events;
mod faults;
mod godocker;
mod guests;
mod jobs;
mod kubernetes;
mod ldap;
mod libraries;
mod load;
mod networks;
mod nodes;
mod notices;
mod passwords;
mod policies;
mod projects;
mod quotas;
mod refusals;
mod reload;
mod resources;
mod running;
mod scripts;
mod standby;
mod terminal;
mod tokens;
mod users;
mod waiting;
mod watchers;
