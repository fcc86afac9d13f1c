//! Policies for tests, and what has been compiled of them before.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// A policy that is bad on purpose, prebuilt.
pub fn bad_policy(name: &str) -> PathBuf {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/dist").join(format!("{name}.wasm"));
    path.canonicalize().unwrap()
}

/// Compiling policies takes seconds; this folder keeps what tests before have compiled. Berth uses what
/// fits its own version, settings and processor, and compiles the rest.
fn kept() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("policies-{user}"))
}

fn folder(path: &Path) {
    DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
}

fn copy(from: &Path, to: &Path) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let Ok(entries) = fs::read_dir(from) else { return };
    for entry in entries.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let is_whole = path.extension().is_some_and(|extension| extension == "cwasm");
        if !is_whole || to.join(&name).exists() {
            continue;
        }
        // Several tests do so at once: each file appears whole or not at all.
        let beside = to.join(format!("{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        fs::copy(&path, &beside).unwrap();
        fs::rename(&beside, to.join(&name)).unwrap();
    }
}

/// Gives a new Berth what was compiled before.
pub fn bring(state: &Path) {
    let cache = state.join("cache/policies");
    DirBuilder::new().recursive(true).mode(0o755).create(state).unwrap();
    folder(&cache);
    copy(&kept(), &cache);
}

/// Keeps what a Berth has compiled.
pub fn keep(state: &Path) {
    folder(&kept());
    copy(&state.join("cache/policies"), &kept());
}
