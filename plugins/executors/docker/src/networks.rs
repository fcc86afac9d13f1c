//! Berth's own networks in the engine: made when they are first needed and used again.

use berth_docker_engine::{
    Engine, EngineError, Labels,
    bollard::{models::NetworkCreateRequest, query_parameters::InspectNetworkOptions},
    label,
};
use tokio::sync::Mutex;

use crate::convert::{EXTERNAL, INTERNAL, network_name};

/// What the label that tells its purpose says.
const ROLE: &str = "network";

pub(crate) struct Networks {
    cluster: String,
    /// Those that are known to be there. Two of one name would be possible: they are made one at a time.
    there: Mutex<Vec<String>>,
}

impl Networks {
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), there: Mutex::default() }
    }

    /// Makes both.
    pub async fn make_all(&self, engine: &Engine) -> Result<(), EngineError> {
        for role in [EXTERNAL, INTERNAL] {
            self.ensure(engine, &network_name(&self.cluster, role)).await?;
        }
        Ok(())
    }

    /// Sees that this network is there, if it is one of Berth's own; others are not Berth's to make.
    pub async fn ensure(&self, engine: &Engine, name: &str) -> Result<(), EngineError> {
        let internal = name == network_name(&self.cluster, INTERNAL);
        if !internal && name != network_name(&self.cluster, EXTERNAL) {
            return Ok(());
        }
        let mut there = self.there.lock().await;
        if there.iter().any(|known| known == name) {
            return Ok(());
        }
        let Some(docker) = engine.connected() else {
            return Err(EngineError::Unreachable {
                words: "it is away".into(),
                waited: std::time::Duration::ZERO,
            });
        };
        match engine.answer(docker.inspect_network(name, None::<InspectNetworkOptions>)).await {
            Ok(_) => {}
            Err(error) if error.is_missing() => {
                let made = engine.answer(docker.create_network(self.request(name, internal))).await;
                made.map(drop).or_else(|error| if error.is_conflict() { Ok(()) } else { Err(error) })?;
            }
            Err(error) => return Err(error),
        }
        there.push(name.to_owned());
        Ok(())
    }

    /// Somebody has removed them.
    pub async fn missed(&self) {
        self.there.lock().await.clear();
    }

    fn request(&self, name: &str, internal: bool) -> NetworkCreateRequest {
        let labels = Labels::from([
            (label::CLUSTER.to_owned(), self.cluster.clone()),
            (label::ROLE.to_owned(), ROLE.to_owned()),
        ]);
        NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".into()),
            internal: Some(internal),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        }
    }
}
