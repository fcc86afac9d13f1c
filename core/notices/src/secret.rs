//! Secrets in files, which nobody else may read.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Fewer bytes than this can be guessed.
const LEAST_KEY_BYTES: usize = 16;
/// More is no secret but a mistake.
const MOST_BYTES: u64 = 64 * 1024;

/// A secret. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a secret cannot be had from its file.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// In the system's words.
        #[source]
        source: io::Error,
    },
    /// Others could take it.
    #[error("{} is open to others; take their rights away (chmod 600)", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in it, or not enough.
    #[error("{} has a secret of {bytes} bytes; from {least} on it is one", path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
        /// How long it has to be.
        least: usize,
    },
}

impl Secret {
    /// Reads a password: the file without the end of its line.
    ///
    /// # Errors
    /// When it is not there, empty, or open to others.
    pub fn password(path: &Path) -> Result<Self, SecretError> {
        Self::read(path, 1)
    }

    /// Reads a key for signatures, likewise.
    ///
    /// # Errors
    /// When it is not there, short enough to be guessed, or open to others.
    pub fn key(path: &Path) -> Result<Self, SecretError> {
        Self::read(path, LEAST_KEY_BYTES)
    }

    fn read(path: &Path, least: usize) -> Result<Self, SecretError> {
        let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
        let found = fs::metadata(path).map_err(unreadable)?;
        if found.mode() & 0o077 != 0 {
            return Err(SecretError::Open { path: path.to_owned() });
        }
        if !found.is_file() || found.len() > MOST_BYTES {
            return Err(unreadable(io::Error::other("it is no file with a secret in it")));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let secret = text.strip_suffix('\n').unwrap_or(&text);
        let secret = secret.strip_suffix('\r').unwrap_or(secret);
        if secret.len() < least {
            return Err(SecretError::Short { path: path.to_owned(), bytes: secret.len(), least });
        }
        Ok(Self(secret.to_owned()))
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_its_file_without_the_lines_end_and_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        assert!(matches!(Secret::password(&path), Err(SecretError::Unreadable { .. })));
        write(" pass word \r\n", 0o600);
        assert_eq!(Secret::password(&path).unwrap().reveal(), " pass word ");
        assert_eq!(format!("{:?}", Secret::password(&path).unwrap()), "Secret");
        let words = Secret::key(&path).unwrap_err().to_string();
        assert!(words.contains("11 bytes") && !words.contains("pass"), "{words}");
        write("\n", 0o600);
        assert!(matches!(Secret::password(&path), Err(SecretError::Short { .. })));
        write("long enough to be a key", 0o640);
        let words = Secret::key(&path).unwrap_err().to_string();
        assert!(words.contains("chmod 600") && !words.contains("enough"), "{words}");
    }
}
