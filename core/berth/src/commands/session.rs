//! What every command has at hand.

use berth_api::{Client, Target};

use crate::{
    cli::Global,
    client_config::{self, Surroundings},
    output::Output,
};

/// The server that is meant, and how to speak.
pub struct Session {
    /// Where output goes.
    pub output: Output,
    /// The environment.
    pub around: Surroundings,
    server: Option<String>,
}

impl Session {
    /// For this process.
    pub fn new(global: Global) -> Self {
        Self {
            output: Output::of_process(global.json),
            around: Surroundings::of_process(),
            server: global.server.filter(|server| !server.is_empty()),
        }
    }

    /// Whether somebody named a server.
    pub fn names_server(&self) -> bool {
        self.server.is_some()
    }

    /// The server: the named one, else the usual one.
    ///
    /// # Errors
    /// When there is none.
    pub fn target(&self) -> anyhow::Result<Target> {
        match &self.server {
            Some(server) => self.around.named(server),
            None => Ok(client_config::usual(&self.around, client_config::ask)?),
        }
    }

    /// A client of that server.
    ///
    /// # Errors
    /// When there is none.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(self.target()?).await?)
    }
}
