//! Users' own logins at registries, as `docker login` has left them in their home directories.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use berth_executor_api::{
    Identity,
    files::{FileError, Person, as_user, open_file},
};

use crate::auth_file::{self, Entry};

/// Where it is in a home directory.
const PLACE: &str = ".docker/config.json";
/// The most bytes that are read of it.
const MOST_BYTES: u64 = 1 << 20;

/// Why a user's own logins cannot be used. None of these tells what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum UserLoginError {
    /// It is not a file of the user's, or is reached over a link.
    #[error(
        "the user's registry logins are not used: {reason}; put a file of the user's own there, \
         which `docker login` makes, or remove it"
    )]
    Foreign {
        /// What it is, with its path.
        reason: String,
    },
    /// Others have rights to it.
    #[error(
        "the user's registry logins are not used: {} is open to others; take their rights away \
         (chmod 600)", path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It is too large to be what it should be.
    #[error(
        "the user's registry logins are not used: {} has more than {MOST_BYTES} bytes; remove it and \
         log in again", path.display()
    )]
    Large {
        /// The file.
        path: PathBuf,
    },
    /// It is not of the right form.
    #[error(
        "the user's registry logins are not used: {} is not of the form that `docker login` writes; \
         remove it and log in again", path.display()
    )]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// The system said no, to the user or to Berth.
    #[error("the user's registry logins cannot be read from {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// In the system's words.
        #[source]
        source: io::Error,
    },
}

impl UserLoginError {
    /// Whether it may be otherwise at another time without anybody's doing.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreadable { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }
}

/// What a user's own file has for a registry, and where the file is. Nothing, where there is no file.
pub(crate) async fn own_entry(
    owner: &Identity,
    host: &str,
) -> Result<Option<(PathBuf, Entry)>, UserLoginError> {
    let Some(home) = owner.home.as_deref().map(Path::new).filter(|home| home.is_absolute()) else {
        return Ok(None);
    };
    let path = home.join(PLACE);
    let Some(text) = read(owner, &path).await? else { return Ok(None) };
    match auth_file::entry(&text, host) {
        Ok(entry) => Ok(Some((path, entry))),
        Err(auth_file::BadForm) => Err(UserLoginError::Form { path }),
    }
}

async fn read(owner: &Identity, path: &Path) -> Result<Option<String>, UserLoginError> {
    let person = Person { uid: owner.uid, gid: owner.gid, groups: owner.groups.clone() };
    let (uid, place) = (owner.uid, path.to_owned());
    // With the user's own rights: homes may lie where root has none, and root's rights are not needed.
    let done = as_user(&person, move || Ok(read_as_user(&place, uid))).await;
    done.unwrap_or_else(|source| Err(UserLoginError::Unreadable { path: path.to_owned(), source }))
}

/// Everything is asked of what was opened, not of its name, which may lead elsewhere by then.
fn read_as_user(path: &Path, uid: u32) -> Result<Option<String>, UserLoginError> {
    let unreadable = |source| UserLoginError::Unreadable { path: path.to_owned(), source };
    let file = match open_file(path, uid) {
        Ok(file) => file,
        Err(FileError::Missing { .. }) => return Ok(None),
        // A home that is no directory, as some users' are who are no people.
        Err(FileError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
            return Ok(None);
        }
        Err(FileError::Unreadable { source, .. }) => return Err(unreadable(source)),
        Err(forbidden) => return Err(UserLoginError::Foreign { reason: forbidden.to_string() }),
    };
    if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
        return Err(UserLoginError::Open { path: path.to_owned() });
    }
    let bytes = most_of(file).map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(UserLoginError::Large { path: path.to_owned() });
    }
    String::from_utf8(bytes).map(Some).map_err(|_| UserLoginError::Form { path: path.to_owned() })
}

/// One byte more than there may be shows that there are too many.
fn most_of(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown, symlink},
    };

    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;
    use crate::Credentials;

    /// Whoever runs this test, with a home directory.
    fn me(home: &Path) -> Identity {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let home = Some(home.to_str().unwrap().to_owned());
        Identity { user: "me".into(), uid, gid, groups: vec![], home, email: None, roles: vec![] }
    }

    fn home_with(text: &[u8]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".docker")).unwrap();
        fs::write(home.path().join(PLACE), text).unwrap();
        fs::set_permissions(home.path().join(PLACE), fs::Permissions::from_mode(0o600)).unwrap();
        home
    }

    fn login_file() -> Vec<u8> {
        let token = STANDARD.encode("me:hidden-word");
        format!(r#"{{"auths": {{"hub.site": {{"auth": "{token}"}}}}}}"#).into_bytes()
    }

    async fn refusal(owner: &Identity) -> String {
        let words = own_entry(owner, "hub.site").await.unwrap_err().to_string();
        assert!(words.contains(PLACE), "{words}");
        assert!(!words.contains("hidden"), "{words}");
        words
    }

    #[tokio::test]
    async fn a_users_login_is_found_in_the_users_home() {
        let home = home_with(&login_file());
        let (path, entry) = own_entry(&me(home.path()), "hub.site").await.unwrap().unwrap();
        assert_eq!(path, home.path().join(PLACE));
        let login = Credentials { username: "me".into(), password: "hidden-word".into() };
        assert_eq!(entry, Entry::Login(login));
        let (_, entry) = own_entry(&me(home.path()), "other.site").await.unwrap().unwrap();
        assert_eq!(entry, Entry::None);
    }

    #[tokio::test]
    async fn no_home_and_no_file_are_no_error() {
        let empty = tempfile::tempdir().unwrap();
        let without = Identity { home: None, ..me(empty.path()) };
        for owner in [me(empty.path()), without, me(Path::new("/dev/null")), me(Path::new("relative"))] {
            assert_eq!(own_entry(&owner, "hub.site").await.unwrap(), None, "{owner:?}");
        }
    }

    #[tokio::test]
    async fn what_others_have_rights_to_is_refused() {
        let home = home_with(&login_file());
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(home.path().join(PLACE), fs::Permissions::from_mode(mode)).unwrap();
            let words = refusal(&me(home.path())).await;
            assert!(words.contains("chmod 600"), "{mode:o}: {words}");
        }
    }

    #[tokio::test]
    async fn a_link_and_what_is_no_file_are_refused() {
        let (home, other) = (home_with(b""), home_with(&login_file()));
        let place = home.path().join(PLACE);
        fs::remove_file(&place).unwrap();
        symlink(other.path().join(PLACE), &place).unwrap();
        assert!(refusal(&me(home.path())).await.contains("symbolic link"));
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        assert!(refusal(&me(home.path())).await.contains("not a regular file"));
    }

    #[tokio::test]
    async fn somebody_elses_file_is_refused_under_whatever_name() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (home, other) = (home_with(b""), home_with(&login_file()));
        for folder in [&home, &other] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        chown(other.path().join(PLACE), Some(65533), None).unwrap();
        let place = home.path().join(PLACE);
        fs::remove_file(&place).unwrap();
        fs::hard_link(other.path().join(PLACE), &place).unwrap();
        let user = Identity { uid: 65534, gid: 65534, ..me(home.path()) };
        // The user cannot even open it; root can, and still does not.
        assert!(refusal(&user).await.contains("denied"));
        assert!(refusal(&me(home.path())).await.contains("does not belong to user 0"));
    }

    #[tokio::test]
    async fn what_is_too_large_or_of_another_form_is_refused_without_its_contents() {
        let text = |text: &str| text.as_bytes().to_vec();
        let large = [login_file(), vec![b' '; 1 << 20]].concat();
        for (bytes, part) in [
            (large, "1048576 bytes"),
            (text(r#"{"auths": {"hub.site": {"auth": "hidden-%"}}}"#), "docker login"),
            (text("hidden"), "docker login"),
            (vec![0xff, 0xfe], "docker login"),
        ] {
            let home = home_with(&bytes);
            let words = refusal(&me(home.path())).await;
            assert!(words.contains(part), "{words}");
        }
    }
}
