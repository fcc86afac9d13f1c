//! Where an engine listens, as berth.toml describes it for all executors that speak to one.

use anyhow::Context;
use berth_config::{KeyDoc, KeyKind, Own};
use berth_docker_engine::Endpoint;

/// The keys of a table for it.
pub fn keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "engine",
            KeyKind::Text,
            "Where the engine listens (for a Swarm, a manager's): unix:///PATH, or tcp://HOST:PORT, which is without encryption unless tls-ca is set.",
        )
        .or("\"unix:///var/run/docker.sock\""),
        KeyDoc::new(
            "tls-ca",
            KeyKind::File,
            "The authority whose word on the engine's certificate counts, in PEM form; with it, tcp:// is spoken over TLS.",
        ),
        KeyDoc::new("tls-cert", KeyKind::File, "The certificate that the engine is shown, in PEM form."),
        KeyDoc::new("tls-key", KeyKind::File, "Its private key, which nobody else may read."),
    ]
}

/// What they say.
///
/// # Errors
/// When they do not go together.
pub fn endpoint(own: &Own) -> anyhow::Result<Endpoint> {
    let usual = Endpoint::default().to_string();
    let address = own.text("engine").unwrap_or(&usual);
    Ok(Endpoint::new(address, own.path("tls-ca"), own.path("tls-cert"), own.path("tls-key"))?)
}

/// Whether the files that it names can be used.
///
/// # Errors
/// When one cannot.
pub fn check(endpoint: &Endpoint) -> anyhow::Result<()> {
    match endpoint {
        Endpoint::Tls { files, .. } => files.check().context("its engine cannot be reached over TLS"),
        Endpoint::Unix(_) | Endpoint::Tcp(_) => Ok(()),
    }
}
