//! Secrets in files that nobody else may read.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, bail, ensure};

/// The longest secret.
const MOST_BYTES: u64 = 64 << 10;

/// What is in the file, without the end of its line.
///
/// # Errors
/// When it cannot be read, is empty, or open to others.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
    let about = file.metadata().with_context(|| format!("{shown} cannot be read"))?;
    if about.mode() & 0o077 != 0 {
        bail!("{shown} is open to others; take their rights away (chmod 600)");
    }
    let mut text = String::new();
    Read::take(&mut file, MOST_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("{shown} cannot be read"))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    ensure!(!secret.is_empty(), "{shown} is empty");
    Ok(secret.to_owned())
}

/// Writes a file that only this user may read, whole or not at all, with its folder where that is missing.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be written", path.display());
    let folder = path.parent().with_context(cannot)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(cannot)?;
    let beside = folder.join(format!(".{}", std::process::id()));
    // Left by a process that died here and had the same number.
    let _ = fs::remove_file(&beside);
    let written =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    let moved = written.and_then(|()| fs::rename(&beside, path));
    if moved.is_err() {
        let _ = fs::remove_file(&beside);
    }
    moved.with_context(cannot)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_for_nobody_else_and_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/secret");
        write(&path, "open sesame\n").unwrap();
        write(&path, " open sesame \n").unwrap();
        assert_eq!(read(&path).unwrap(), " open sesame ");
        let modes =
            [path.as_path(), path.parent().unwrap()].map(|path| fs::metadata(path).unwrap().mode() & 0o777);
        assert_eq!(modes, [0o600, 0o700]);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let words = read(&path).unwrap_err().to_string();
        assert!(words.contains("chmod 600") && !words.contains("sesame"), "{words}");
        write(&path, "\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("empty"));
    }
}
