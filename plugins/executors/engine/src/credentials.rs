//! What registries want to hear before they give an image away.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use berth_executor_api::Identity;
use bollard::auth::DockerCredentials;

use crate::{
    auth_file::{self, BadForm, Entry},
    user_login::{UserLoginError, own_entry},
};

/// A user name and a password. Neither is ever shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The user's name there.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// How to log in to one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The user's name there.
    pub username: String,
    /// The file that has the password in its first line.
    pub password_file: PathBuf,
}

/// Why there are no credentials where there should be.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("the credentials file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// In the system's words.
        #[source]
        source: io::Error,
    },
    /// The file is not as it should be. Its contents are not told.
    #[error("the credentials file {} is not of the form that `docker login` writes", path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// Another user could read or change it.
    #[error("the credentials file {} can be read by others; take that right away (chmod 600)", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It leaves the login to a program, and none is run.
    #[error(
        "the credentials file {} leaves the login for {host} to a helper program, which is not run; log in \
         there with a configuration without credsStore and credHelpers",
        path.display()
    )]
    Helper {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
    },
}

/// As whom a registry is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// As everybody may: with the site's credentials, or with none.
    Site(Option<Credentials>),
    /// As one user alone.
    Own {
        /// The user's number.
        uid: u32,
        /// What the user has stored.
        credentials: Credentials,
    },
}

impl Access {
    /// What the registry is told.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::Site(credentials) => credentials.as_ref(),
            Self::Own { credentials, .. } => Some(credentials),
        }
    }

    /// The same as the engine takes it.
    #[must_use]
    pub fn for_engine(&self, host: &str) -> Option<DockerCredentials> {
        self.credentials().map(|credentials| credentials.for_engine(host))
    }
}

/// As whom a registry is asked for a user's job, and what else is worth knowing if it says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// As whom.
    pub access: Access,
    /// Why the user's own login was left aside.
    pub hint: Option<String>,
}

/// Why nobody knows as whom to ask.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The site's credentials cannot be had.
    #[error(transparent)]
    Site(#[from] CredentialsError),
    /// The user's own cannot.
    #[error(transparent)]
    Own(#[from] UserLoginError),
}

/// The site's credentials, by registry. Files are read each time, so that a new password is used at once.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    /// By host and port.
    pub logins: BTreeMap<String, RegistryLogin>,
    /// A file as `docker login` writes it, for registries that have no login of their own here.
    pub auth_file: Option<PathBuf>,
    /// Whether users' own logins, which `docker login` has stored in their homes, come before these.
    pub user_logins: bool,
}

impl Registries {
    /// The credentials for a registry; `None` where it is asked without any.
    ///
    /// # Errors
    /// When they are configured and cannot be had.
    pub async fn credentials(&self, host: &str) -> Result<Option<Credentials>, CredentialsError> {
        if let Some(login) = self.logins.get(host) {
            let text = read(&login.password_file).await?;
            let password = text.lines().next().unwrap_or_default().to_owned();
            return Ok(Some(Credentials { username: login.username.clone(), password }));
        }
        let Some(path) = &self.auth_file else { return Ok(None) };
        let path = path.clone();
        match auth_file::entry(&read(&path).await?, host) {
            Ok(Entry::Login(credentials)) => Ok(Some(credentials)),
            Ok(Entry::Helper) => Err(CredentialsError::Helper { path, host: host.to_owned() }),
            Ok(Entry::None) => Ok(None),
            Err(BadForm) => Err(CredentialsError::Form { path }),
        }
    }

    /// As whom a registry is asked for a job of this user: with the user's own login where that is allowed
    /// and there is one, otherwise as for everybody.
    ///
    /// # Errors
    /// When credentials are there and cannot be used.
    pub async fn access(&self, host: &str, owner: &Identity) -> Result<Asking, AccessError> {
        // What a login of one's own brings is kept by the number of its owner, which all guests share.
        let may_bring_one = self.user_logins && !owner.is_guest();
        let own = if may_bring_one { own_entry(owner, host).await? } else { None };
        let hint = match own {
            Some((_, Entry::Login(credentials))) => {
                let access = Access::Own { uid: owner.uid, credentials };
                return Ok(Asking { access, hint: None });
            }
            Some((path, Entry::Helper)) => Some(format!(
                "{} leaves the login for {host} to a helper program, which is not run; log in there with a \
                 configuration without credsStore and credHelpers",
                path.display()
            )),
            Some((_, Entry::None)) | None => None,
        };
        Ok(Asking { access: Access::Site(self.credentials(host).await?), hint })
    }
}

async fn read(path: &Path) -> Result<String, CredentialsError> {
    use std::os::unix::fs::MetadataExt;
    let failed = |source| CredentialsError::Unreadable { path: path.to_owned(), source };
    let mode = tokio::fs::metadata(path).await.map_err(failed)?.mode();
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Open { path: path.to_owned() });
    }
    tokio::fs::read_to_string(path).await.map_err(failed)
}

impl Credentials {
    /// As the engine takes them for this registry.
    #[must_use]
    pub fn for_engine(&self, host: &str) -> DockerCredentials {
        DockerCredentials {
            username: Some(self.username.clone()),
            password: Some(self.password.clone()),
            serveraddress: Some(host.to_owned()),
            ..DockerCredentials::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    fn private(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[tokio::test]
    async fn each_registry_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let password_file = private(folder.path(), "password", "se:cret\nsecond line\n");
        let token = STANDARD.encode("bob:other:one");
        let json = format!(r#"{{"auths":{{"https://hub.site/v1/":{{"auth":"{token}"}}}},"credsStore":"x"}}"#);
        let auth_file = private(folder.path(), "auth.json", &json);
        let login = RegistryLogin { username: "alice".into(), password_file };
        let logins = BTreeMap::from([("127.0.0.1:5000".to_owned(), login)]);
        let registries = Registries { logins, auth_file: Some(auth_file), user_logins: false };
        let of = async |host: &str| registries.credentials(host).await.unwrap();
        let alice = of("127.0.0.1:5000").await.unwrap();
        assert_eq!((alice.username.as_str(), alice.password.as_str()), ("alice", "se:cret"));
        let bob = of("hub.site").await.unwrap();
        assert_eq!((bob.username.as_str(), bob.password.as_str()), ("bob", "other:one"));
        assert_eq!(of("docker.io").await, None);
        assert!(!format!("{alice:?}{registries:?}").contains("se:cret"));
    }

    #[tokio::test]
    async fn what_others_can_read_or_nobody_can_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = private(folder.path(), "open", "x");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
        let broken = private(folder.path(), "broken", "{\"auths\": {\"h\": {\"auth\": \"secret-%\"}}}");
        for (path, part) in
            [(open, "chmod"), (broken, "docker login"), (folder.path().join("none"), "cannot be read")]
        {
            let registries = Registries { auth_file: Some(path), ..Registries::default() };
            let error = registries.credentials("h").await.unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret-"), "{error}");
        }
    }

    /// Whoever runs this test, with a home directory in which `docker login` has left this.
    fn me(home: &Path, logins: &str) -> Identity {
        fs::create_dir(home.join(".docker")).unwrap();
        private(home, ".docker/config.json", logins);
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let home = Some(home.to_str().unwrap().to_owned());
        Identity { user: "me".into(), uid, gid, groups: vec![], home, email: None, roles: vec![] }
    }

    #[tokio::test]
    async fn a_users_own_login_comes_first_then_the_sites_then_none() {
        let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let token = STANDARD.encode("me:mine");
        let text = format!(r#"{{"auths": {{"both.site": {{"auth": "{token}"}}, "kept.site": {{}}}}}}"#);
        let owner = me(home.path(), &text);
        let site = |host: &str| {
            let password_file = private(folder.path(), "password", "theirs");
            (host.to_owned(), RegistryLogin { username: "site".into(), password_file })
        };
        let logins = BTreeMap::from(["both.site", "site.site"].map(site));
        let mut registries = Registries { logins, user_logins: true, ..Registries::default() };
        let as_whom = async |registries: &Registries, host: &str| {
            let asking = registries.access(host, &owner).await.unwrap();
            let name = asking.access.credentials().map(|credentials| credentials.username.clone());
            (matches!(asking.access, Access::Own { .. }), name, asking.hint)
        };
        assert_eq!(as_whom(&registries, "both.site").await, (true, Some("me".into()), None));
        assert_eq!(as_whom(&registries, "site.site").await, (false, Some("site".into()), None));
        assert_eq!(as_whom(&registries, "other.site").await, (false, None, None));
        let (own, name, hint) = as_whom(&registries, "kept.site").await;
        assert!(!own && name.is_none() && hint.unwrap().contains("helper program"));
        let guest = Identity { user: "guest:me".into(), ..owner.clone() };
        let asking = registries.access("both.site", &guest).await.unwrap();
        assert!(
            matches!(asking.access, Access::Site(_)),
            "what one guest may pull, others with that number could use"
        );
        registries.user_logins = false;
        assert_eq!(as_whom(&registries, "both.site").await, (false, Some("site".into()), None));
        assert_eq!(as_whom(&registries, "kept.site").await, (false, None, None));
    }

    #[tokio::test]
    async fn a_users_file_that_is_not_as_it_should_be_is_an_error_also_where_the_site_has_a_login() {
        let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let owner = me(home.path(), "not json");
        let password_file = private(folder.path(), "password", "theirs");
        let login = RegistryLogin { username: "site".into(), password_file };
        let logins = BTreeMap::from([("h".to_owned(), login)]);
        let registries = Registries { logins, user_logins: true, ..Registries::default() };
        assert!(matches!(registries.access("h", &owner).await, Err(AccessError::Own(_))));
    }
}
