//! Compiled components on disk, so that a restart does not compile them again.
//!
//! What lies there is machine code that Berth will run, so the folder and its files have to belong to
//! Berth's own user and be writable by nobody else; anything else is not used. A check sum tells a
//! damaged file from a good one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

/// Stands at the head of every file, with the check sum behind it.
const MAGIC: &[u8; 8] = b"BERTHCW1";
const HEAD: usize = MAGIC.len() + 32;
const OTHERS_MAY_WRITE: u32 = 0o022;

/// A folder of compiled components.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Makes the folder if need be.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let found = fs::symlink_metadata(folder)?;
        if !found.is_dir() || !only_ours(&found) {
            return Err(io::Error::other("it does not belong to Berth's user alone"));
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where the component with this hash lies when it is compiled by `engine`.
    pub(crate) fn path(&self, sha256: &str, engine: &Engine) -> PathBuf {
        // The hash covers wasmtime's version, its settings and the processor's features.
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{sha256}-{:016x}.cwasm", hasher.finish()))
    }

    /// The compiled component, if there is a sound one.
    pub(crate) fn load(&self, sha256: &str, engine: &Engine) -> Option<Component> {
        let path = self.path(sha256, engine);
        match read_checked(&path) {
            Ok(code) => compiled(engine, &code)
                .inspect_err(
                    |error| tracing::warn!(path = %path.display(), %error, "compiled policy not usable"),
                )
                .ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled policy not used");
                None
            }
        }
    }

    /// Keeps a compiled component. Several may do so at once: each file appears whole or not at all.
    pub(crate) fn keep(&self, sha256: &str, engine: &Engine, component: &Component) {
        let path = self.path(sha256, engine);
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| write_whole(&path, &code));
        if let Err(error) = kept {
            tracing::warn!(path = %path.display(), %error, "compiled policy not kept");
        }
    }
}

fn only_ours(found: &fs::Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw() && found.mode() & OTHERS_MAY_WRITE == 0
}

fn read_checked(path: &Path) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits();
    let mut file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || !only_ours(&found) {
        return Err(io::Error::other("it does not belong to Berth's user alone"));
    }
    let mut contents = Vec::new();
    file.read_to_end(&mut contents)?;
    let damaged = || io::Error::other("it is damaged");
    let (head, code) = contents.split_at_checked(HEAD).ok_or_else(damaged)?;
    let sum = head.strip_prefix(MAGIC).ok_or_else(damaged)?;
    if sum != Sha256::digest(code).as_slice() {
        return Err(damaged());
    }
    contents.drain(..HEAD);
    Ok(contents)
}

fn write_whole(path: &Path, code: &[u8]) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{}-{number}.new", process::id()));
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(MAGIC)?;
            file.write_all(Sha256::digest(code).as_slice())?;
            file.write_all(code)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is left of a failed attempt is of no use; that it cannot be removed either changes nothing.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[allow(unsafe_code)]
fn compiled(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was written by `keep` from `Component::serialize`: its check sum is right, and the
    // file belongs to this user with nobody else able to write to it or to its folder. The engine itself
    // refuses what another version or other settings of it have made.
    unsafe { Component::deserialize(engine, code) }
}
