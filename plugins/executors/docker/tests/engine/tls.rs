//! Engines over TLS.

use std::{error::Error, net::SocketAddr};

use berth_docker_engine::{Endpoint, OwnCertificate, TlsFiles};
use berth_executor_api::{Executor, ExecutorError};
use berth_testbed::{OwnEngine, Wish, own_engine};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Berth, LONG};

struct Scene {
    engine: OwnEngine,
    address: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let start = || {
            let engine = own_engine(&[Wish::Tls]);
            let address = engine.tls_address();
            Self { engine, address }
        };
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    fn files(&self, ca: &str, own: Option<&str>) -> TlsFiles {
        let file = |name: &str| self.engine.certificates().join(format!("{name}.pem"));
        let own = own.map(|own| OwnCertificate { cert: file(own), key: file(&format!("{own}-key")) });
        TlsFiles { ca: file(ca), own }
    }

    /// The engine, as seen with these files.
    fn tls(&self, ca: &str, own: Option<&str>) -> Endpoint {
        Endpoint::Tls { host: self.address.to_string(), files: self.files(ca, own) }
    }

    async fn berth(&self, endpoint: Endpoint) -> Berth {
        Berth::on((*self.engine).clone(), |config| config.endpoint = endpoint).await
    }

    async fn refusal(&self, endpoint: Endpoint) -> String {
        let berth = self.berth(endpoint).await;
        let error = berth.executor().capacity().await.unwrap_err();
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error:?}");
        format!("{error}: {cause}")
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn over_tls_jobs_run_and_are_followed_and_spoken_with() {
    let scene = Scene::new().await;
    let berth = scene.berth(scene.tls("ca", Some("client"))).await;
    let job = berth.sh("echo over tls; exit 3").await;
    assert_eq!(berth.exit(&job).await.code, Some(3));
    assert_eq!(berth.read(&job, "stdout"), "over tls\n");
    let job = berth.sh(LONG).await;
    berth.running(&job).await;
    let argv = ["/bin/sh", "-c", "read line; echo \"<$line>\""].map(str::to_owned);
    let mut session = berth.executor().exec(&job.attempt, &argv, false).await.unwrap();
    session.input.write_all(b"both ways\n").await.unwrap();
    session.input.flush().await.unwrap();
    let mut said = String::new();
    session.output.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "<both ways>\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn whoever_is_not_trusted_is_told_so_on_either_side() {
    let scene = Scene::new().await;
    let port = scene.address.port();
    let by_name =
        Endpoint::Tls { host: format!("localhost:{port}"), files: scene.files("ca", Some("client")) };
    for (endpoint, parts) in [
        (scene.tls("ca", None), ["wants a certificate", "tls-cert"]),
        (scene.tls("ca", Some("stranger")), ["refuses the certificate", "stranger.pem"]),
        (scene.tls("other-ca", Some("client")), ["not from an authority in", "other-ca.pem"]),
        (by_name, ["not trusted", "localhost"]),
    ] {
        let words = scene.refusal(endpoint.clone()).await;
        assert!(parts.iter().all(|part| words.contains(part)), "{endpoint:?}: {words}");
    }
}
