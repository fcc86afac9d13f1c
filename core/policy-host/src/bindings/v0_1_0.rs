//! `berth:policy@0.1.0`.

// SAFETY: the unsafe blocks are those that `bindgen!` writes to skip a type check which it has made
// itself when the exports were looked up.
#![allow(unsafe_code)]

/// The interfaces that several worlds share: generated once, so that their types are the same.
pub(crate) mod shared {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package berth:host;
            world shared {
                import berth:policy/types@0.1.0;
                import berth:policy/log@0.1.0;
                import berth:policy/key-value@0.1.0;
                import berth:policy/accounts@0.1.0;
                import berth:policy/usage@0.1.0;
                import berth:policy/ldap@0.1.0;
                import berth:policy/passwords@0.1.0;
            }
        ",
        imports: { default: trappable },
    });
}

pub(crate) mod scheduler {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "berth:policy/scheduler-policy",
        imports: { default: trappable },
        with: {
            "berth:policy/types@0.1.0": super::shared::berth::policy::types,
            "berth:policy/log@0.1.0": super::shared::berth::policy::log,
            "berth:policy/usage@0.1.0": super::shared::berth::policy::usage,
        },
    });
    pub(crate) use exports::berth::policy::scheduler::*;
}

pub(crate) mod auth {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "berth:policy/auth-policy",
        imports: { default: trappable },
        with: {
            "berth:policy/types@0.1.0": super::shared::berth::policy::types,
            "berth:policy/log@0.1.0": super::shared::berth::policy::log,
            "berth:policy/key-value@0.1.0": super::shared::berth::policy::key_value,
            "berth:policy/accounts@0.1.0": super::shared::berth::policy::accounts,
            "berth:policy/ldap@0.1.0": super::shared::berth::policy::ldap,
            "berth:policy/passwords@0.1.0": super::shared::berth::policy::passwords,
        },
    });
    pub(crate) use exports::berth::policy::auth::*;
}

pub(crate) mod watcher {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "berth:policy/watcher-policy",
        imports: { default: trappable },
        with: {
            "berth:policy/types@0.1.0": super::shared::berth::policy::types,
            "berth:policy/log@0.1.0": super::shared::berth::policy::log,
            "berth:policy/key-value@0.1.0": super::shared::berth::policy::key_value,
        },
    });
    pub(crate) use exports::berth::policy::watcher::*;
}

pub(crate) mod network {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "berth:policy/network-policy",
        imports: { default: trappable },
        with: {
            "berth:policy/types@0.1.0": super::shared::berth::policy::types,
            "berth:policy/log@0.1.0": super::shared::berth::policy::log,
            "berth:policy/key-value@0.1.0": super::shared::berth::policy::key_value,
        },
    });
    pub(crate) use exports::berth::policy::network::*;
}

pub(crate) mod admit {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "berth:policy/admit-policy",
        imports: { default: trappable },
        with: {
            "berth:policy/types@0.1.0": super::shared::berth::policy::types,
            "berth:policy/log@0.1.0": super::shared::berth::policy::log,
            "berth:policy/key-value@0.1.0": super::shared::berth::policy::key_value,
            "berth:policy/accounts@0.1.0": super::shared::berth::policy::accounts,
        },
    });
    pub(crate) use exports::berth::policy::admit::*;
}

pub(crate) use shared::berth::policy::{accounts, key_value, ldap, log, passwords, types, usage};
