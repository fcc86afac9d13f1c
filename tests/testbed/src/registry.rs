//! A private registry.

use crate::{
    engine::OwnEngine,
    script::{own_name, run, run_quietly},
};

/// A registry that gives its image only to those who know the password. It goes with this value.
pub struct Registry {
    /// Host and port.
    pub address: String,
    /// Who may pull.
    pub username: String,
    /// With this.
    pub password: String,
    /// An image in it that no engine has yet; the plain test image.
    pub image: String,
    name: String,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Starts a registry beside an engine of the test's own, or on this machine's loopback for the engine
/// that tests share.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn registry(beside: Option<&OwnEngine>) -> Registry {
    let name = own_name();
    let mut arguments = vec!["up", &name];
    if let Some(engine) = beside {
        arguments.extend(["--engine", engine.name()]);
    }
    let answer = run("registry.sh", &arguments);
    let file = answer.value("PASSWORD_FILE");
    let password = std::fs::read_to_string(&file);
    Registry {
        address: answer.value("REGISTRY"),
        username: answer.value("USERNAME"),
        password: password.unwrap_or_else(|error| panic!("{file}: {error}")),
        image: answer.value("IMAGE"),
        name,
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        run_quietly("registry.sh", &["down", &self.name]);
    }
}
