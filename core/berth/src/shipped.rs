//! The policies that ship with Berth, within the program itself.

use berth_policy_host::PolicyKind;

/// A policy within the program.
pub struct ShippedPolicy {
    /// The name that berth.toml gives it.
    pub name: &'static str,
    /// What it decides.
    pub kind: PolicyKind,
    /// The component.
    pub bytes: &'static [u8],
}

macro_rules! shipped {
    ($($kind:ident $name:literal $file:literal),* $(,)?) => {
        /// All of them.
        pub const POLICIES: &[ShippedPolicy] = &[$(ShippedPolicy {
            name: $name,
            kind: PolicyKind::$kind,
            bytes: include_bytes!(concat!("../../../plugins/dist/", $file, ".wasm")),
        }),*];
    };
}

shipped![
    Scheduler "fifo" "fifo",
    Scheduler "priority" "priority",
    Scheduler "backfill" "backfill",
    Scheduler "fairshare" "fairshare",
    Auth "local" "local",
    Auth "ldap" "ldap",
    Watcher "disk-quota" "disk-quota",
    Watcher "idle" "idle",
    Watcher "max-lifespan" "max-lifespan",
    Network "bridge" "bridge",
    Network "isolated" "isolated",
    Admit "rules" "rules",
];

/// The shipped policy of this kind and name.
pub fn find(kind: PolicyKind, name: &str) -> Option<&'static ShippedPolicy> {
    POLICIES.iter().find(|policy| policy.kind == kind && policy.name == name)
}

/// The names of all shipped policies of a kind.
pub fn names(kind: PolicyKind) -> Vec<&'static str> {
    POLICIES.iter().filter(|policy| policy.kind == kind).map(|policy| policy.name).collect()
}
