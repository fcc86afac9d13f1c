//! The prebuilt policies are those of the sources beside them.

use berth_dist::{faults, guests, root, source_hash};

#[test]
fn every_prebuilt_policy_matches_its_sources() {
    let faults = faults(&root()).unwrap();
    assert!(faults.is_empty(), "{}; run scripts/guests.sh build", faults.join("; "));
}

#[test]
fn the_hash_follows_each_thing_that_a_guest_is_built_from() {
    let original = root();
    let fifo = guests(&original).unwrap().into_iter().find(|guest| guest.name == "fifo").unwrap();
    let copy = tempfile::tempdir().unwrap();
    let files = [
        "Cargo.toml",
        "Cargo.lock",
        "plugins/schedulers/fifo/Cargo.toml",
        "plugins/schedulers/fifo/src/lib.rs",
        "plugins/schedulers/fifo/src/policy.rs",
        "plugin-api/policy/Cargo.toml",
        "plugin-api/policy/src/lib.rs",
        "wit/types.wit",
    ];
    for file in files {
        let to = copy.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(original.join(file), to).unwrap();
    }
    let hash = || source_hash(copy.path(), &fifo).unwrap();
    let before = hash();
    let changes = [
        ("plugins/schedulers/fifo/src/policy.rs", "eligible_ms", "submitted_ms"),
        ("plugin-api/policy/src/lib.rs", "mod slab;", "mod slab ;"),
        ("wit/types.wit", "job-id", "job-number"),
        ("Cargo.toml", "panic = \"abort\"", "panic = \"unwind\""),
        (
            "Cargo.lock",
            "name = \"wit-bindgen-rust\"\nversion = \"",
            "name = \"wit-bindgen-rust\"\nversion = \"9",
        ),
    ];
    for (file, old, new) in changes {
        let path = copy.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{file} has {old:?}");
        std::fs::write(&path, text.replacen(old, new, 1)).unwrap();
        assert_ne!(hash(), before, "{file} counts");
        std::fs::write(&path, text).unwrap();
        assert_eq!(hash(), before, "{file} is as it was");
    }
}

#[test]
fn a_newer_version_of_what_no_guest_uses_changes_no_hash() {
    let original = root();
    let lock = std::fs::read_to_string(original.join("Cargo.lock")).unwrap();
    let guests = guests(&original).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for folder in ["plugins", "plugin-api", "wit", "tests/guests", "Cargo.toml"] {
        let to = copy.path().join(folder);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(original.join(folder), to).unwrap();
    }
    let old = "name = \"tokio\"\nversion = \"";
    assert!(lock.contains(old), "the lock has tokio");
    std::fs::write(copy.path().join("Cargo.lock"), lock.replace(old, &format!("{old}9"))).unwrap();
    for guest in guests {
        let hashes = [&*original, copy.path()].map(|root| source_hash(root, &guest).unwrap());
        assert_eq!(hashes[0], hashes[1], "{}", guest.name);
    }
}
