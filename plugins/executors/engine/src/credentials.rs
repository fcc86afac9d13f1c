//! What registries want to hear before they give an image away.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;

/// A user name and a password. Neither is ever shown.
#[derive(Clone, PartialEq, Eq)]
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
}

/// The site's credentials, by registry. Files are read each time, so that a new password is used at once.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    /// By host and port.
    pub logins: BTreeMap<String, RegistryLogin>,
    /// A file as `docker login` writes it, for registries that have no login of their own here.
    pub auth_file: Option<PathBuf>,
}

/// What `docker login` writes.
#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
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
        match &self.auth_file {
            Some(path) => in_auth_file(path, &read(path).await?, host),
            None => Ok(None),
        }
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

fn in_auth_file(path: &Path, text: &str, host: &str) -> Result<Option<Credentials>, CredentialsError> {
    let form = || CredentialsError::Form { path: path.to_owned() };
    let file: AuthFile = serde_json::from_str(text).map_err(|_| form())?;
    let is_it = |key: &str| {
        let bare = key.trim_start_matches("https://").trim_start_matches("http://");
        let bare = bare.split('/').next().unwrap_or(bare);
        bare == host || (host == "docker.io" && bare == "index.docker.io")
    };
    let Some((_, found)) = file.auths.iter().find(|(key, _)| is_it(key)) else { return Ok(None) };
    let decoded = STANDARD.decode(&found.auth).map_err(|_| form())?;
    let decoded = String::from_utf8(decoded).map_err(|_| form())?;
    let (username, password) = decoded.split_once(':').ok_or_else(form)?;
    Ok(Some(Credentials { username: username.to_owned(), password: password.to_owned() }))
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
        let registries = Registries { logins, auth_file: Some(auth_file) };
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
            let registries = Registries { logins: BTreeMap::new(), auth_file: Some(path) };
            let error = registries.credentials("h").await.unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret-"), "{error}");
        }
    }
}
