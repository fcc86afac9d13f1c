//! What the prebuilt policies import: a policy that uses no capability has none to be granted.

use std::{collections::BTreeSet, fs};

use berth_dist::{Guest, guests, root};
use wasmparser::{Parser, Payload};

/// The interfaces that a component imports, by their short names, but for the one that has only types.
fn imports(guest: &Guest) -> BTreeSet<String> {
    let bytes = fs::read(root().join(guest.component())).expect("the component is there");
    let mut imports = BTreeSet::new();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload.expect("the component is sound") {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.insert(import.expect("the import is sound").name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    let short = |name: String| {
        let name = name.strip_prefix("berth:policy/").unwrap_or(&name);
        name.split('@').next().unwrap_or(name).to_owned()
    };
    imports.into_iter().map(short).filter(|name| name != "types").collect()
}

#[test]
fn no_policy_imports_a_capability_that_it_does_not_need() {
    for guest in guests(&root()).unwrap() {
        let expected: &[&str] = match guest.package.as_str() {
            "berth-auth-local" => &["accounts", "passwords"],
            "berth-auth-ldap" => &["accounts", "ldap", "passwords"],
            "berth-admit-rules" => &["accounts"],
            "berth-scheduler-fairshare" => &["usage"],
            "berth-guest-wants-too-much" => &["key-value"],
            _ => &[],
        };
        assert!(imports(&guest).iter().eq(expected), "{}: {:?}", guest.name, imports(&guest));
    }
}
