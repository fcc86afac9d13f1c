//! What tells one Berth from all others that share a database.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::{StoreError, lock::Ownership};

/// Where the kernel says which start of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A Berth's own name among those that share a database: no other process has it as long as this exists.
#[derive(Debug)]
pub struct Instance {
    name: String,
    _ownership: Ownership,
}

impl Instance {
    /// The name that is kept in this folder; it is made when there is none. It is another one after the machine
    /// has started anew, and on another machine that has a copy of the folder.
    ///
    /// # Errors
    /// When another process has it, and when the system refuses.
    pub fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("instance");
        let ownership = Ownership::take(&path)?;
        let io =
            |source: io::Error| StoreError::Io { path: path.clone(), verb: "opened", source: source.into() };
        let own = match fs::read_to_string(&path) {
            Ok(own) if !own.trim().is_empty() => own.trim().to_owned(),
            Ok(_) => make(&path).map_err(io)?,
            Err(error) if error.kind() == ErrorKind::NotFound => make(&path).map_err(io)?,
            Err(error) => return Err(io(error)),
        };
        let boot = fs::read_to_string(BOOT_ID).map_err(io)?;
        Ok(Self { name: format!("{own}@{}", boot.trim()), _ownership: ownership })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn make(path: &Path) -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, name.as_bytes())?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_name_for_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Instance::take(folder.path()).unwrap();
        let refused = Instance::take(folder.path()).unwrap_err();
        assert!(matches!(refused, StoreError::Owned { .. }), "{refused}");
        let name = first.name().to_owned();
        drop(first);
        assert_eq!(Instance::take(folder.path()).unwrap().name(), name);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Instance::take(other.path()).unwrap().name(), name);
    }
}
