//! What wit-bindgen makes of the contracts in `wit/`: one module per world. What the worlds share is made
//! once and named in the others, so that a `Setting` is the same type to every kind of policy.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

/// The world of scheduler policies, and the types and the log that all worlds share.
pub mod scheduler {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "scheduler-policy",
        pub_export_macro: true,
        export_macro_name: "export",
        additional_derives: [PartialEq],
    });
}

/// The world of auth policies, and the key-value table.
pub mod auth {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "auth-policy",
        pub_export_macro: true,
        export_macro_name: "export",
        additional_derives: [PartialEq],
        with: {
            "berth:policy/types@0.1.0": super::scheduler::berth::policy::types,
            "berth:policy/log@0.1.0": super::scheduler::berth::policy::log,
        },
    });
}

/// The world of watcher policies.
pub mod watcher {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "watcher-policy",
        pub_export_macro: true,
        export_macro_name: "export",
        additional_derives: [PartialEq],
        with: {
            "berth:policy/types@0.1.0": super::scheduler::berth::policy::types,
            "berth:policy/log@0.1.0": super::scheduler::berth::policy::log,
            "berth:policy/key-value@0.1.0": super::auth::berth::policy::key_value,
        },
    });
}

/// The world of network policies.
pub mod network {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "network-policy",
        pub_export_macro: true,
        export_macro_name: "export",
        additional_derives: [PartialEq],
        with: {
            "berth:policy/types@0.1.0": super::scheduler::berth::policy::types,
            "berth:policy/log@0.1.0": super::scheduler::berth::policy::log,
            "berth:policy/key-value@0.1.0": super::auth::berth::policy::key_value,
        },
    });
}

/// The world of filters of submissions.
pub mod admit {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "admit-policy",
        pub_export_macro: true,
        export_macro_name: "export",
        additional_derives: [PartialEq],
        with: {
            "berth:policy/types@0.1.0": super::scheduler::berth::policy::types,
            "berth:policy/log@0.1.0": super::scheduler::berth::policy::log,
            "berth:policy/key-value@0.1.0": super::auth::berth::policy::key_value,
            "berth:policy/accounts@0.1.0": super::auth::berth::policy::accounts,
        },
    });
}
