//! Berth's own networks in the engine: the two for everybody, made when they are first needed and used again, and
//! those that policies have made for some jobs alone, which go with the last of these.

use std::sync::Arc;

use berth_docker_engine::{
    Engine, EngineError, Labels,
    bollard::{
        Docker,
        models::NetworkCreateRequest,
        query_parameters::{InspectNetworkOptions, ListNetworksOptions},
    },
    filter, label,
};
use tokio::sync::Mutex;

use crate::{
    convert::{EXTERNAL, INTERNAL, network_name, on_demand_name},
    facts::OnDemand,
    shared::Shared,
};

/// What the label that tells its purpose says.
const ROLE: &str = "network";
/// The same of those that go with their last job.
const ON_DEMAND: &str = "network-on-demand";

pub(crate) struct Networks {
    cluster: String,
    /// Those that are known to be there. Two of one name would be possible: they are made, and removed, one at a
    /// time.
    there: Mutex<Vec<String>>,
}

impl Networks {
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), there: Mutex::default() }
    }

    /// Makes both that are for everybody.
    pub async fn make_all(&self, engine: &Engine) -> Result<(), EngineError> {
        for role in [EXTERNAL, INTERNAL] {
            self.ensure(engine, &network_name(&self.cluster, role)).await?;
        }
        Ok(())
    }

    /// Sees that this network is there, if it is one of Berth's own for everybody; others are not Berth's to make.
    pub async fn ensure(&self, engine: &Engine, name: &str) -> Result<(), EngineError> {
        let internal = name == network_name(&self.cluster, INTERNAL);
        if !internal && name != network_name(&self.cluster, EXTERNAL) {
            return Ok(());
        }
        self.make(engine, name, internal, ROLE).await
    }

    /// Sees that a network is there that some attempts have for themselves.
    pub async fn ensure_on_demand(&self, engine: &Engine, wanted: &OnDemand) -> Result<(), EngineError> {
        let name = on_demand_name(&self.cluster, &wanted.name).map_err(EngineError::Unsendable)?;
        self.make(engine, &name, wanted.internal, ON_DEMAND).await
    }

    async fn make(&self, engine: &Engine, name: &str, internal: bool, role: &str) -> Result<(), EngineError> {
        let mut there = self.there.lock().await;
        if there.iter().any(|known| known == name) {
            return Ok(());
        }
        let docker = connected(engine)?;
        match engine.answer(docker.inspect_network(name, None::<InspectNetworkOptions>)).await {
            Ok(found) if role == ON_DEMAND => {
                let labels = found.labels.unwrap_or_default();
                let is = |name: &str, value: &str| labels.get(name).is_some_and(|label| label == value);
                if !is(label::CLUSTER, &self.cluster) || !is(label::ROLE, role) {
                    let words = format!("there is a network {name} that is not of Berth's making");
                    return Err(EngineError::Unsendable(words));
                }
            }
            Ok(_) => {}
            Err(error) if error.is_missing() => {
                let made = engine.answer(docker.create_network(self.request(name, internal, role))).await;
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

    /// Removes a network if no attempt needs it any more. The engine refuses to remove one that somebody else's
    /// container is attached to.
    async fn remove_unused(&self, shared: &Shared, docker: &Docker, wanted: &str) -> Result<(), EngineError> {
        let Ok(name) = on_demand_name(&self.cluster, wanted) else { return Ok(()) };
        // Whoever needs it is in the books before it asks for it here.
        let mut there = self.there.lock().await;
        if shared.books().needs_network(wanted) {
            return Ok(());
        }
        there.retain(|known| *known != name);
        match shared.engine.answer(docker.remove_network(&name)).await {
            Err(error) if error.is_missing() => Ok(()),
            removed => removed,
        }
    }

    fn request(&self, name: &str, internal: bool, role: &str) -> NetworkCreateRequest {
        let labels = Labels::from([
            (label::CLUSTER.to_owned(), self.cluster.clone()),
            (label::ROLE.to_owned(), role.to_owned()),
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

fn connected(engine: &Engine) -> Result<Docker, EngineError> {
    engine.connected().ok_or_else(|| EngineError::Unreachable {
        words: "it is away".into(),
        waited: std::time::Duration::ZERO,
    })
}

/// An attempt that needed this network is forgotten. What cannot be removed now is when the engine is back.
pub(crate) fn let_go(shared: &Arc<Shared>, wanted: OnDemand) {
    let own = Arc::clone(shared);
    shared.spawn(shared.life.clone(), async move {
        let docker = own.docker_when_there().await;
        if let Err(error) = own.networks.remove_unused(&own, &docker, &wanted.name).await {
            tracing::warn!(network = wanted.name, error = %error, "a network cannot be removed");
        }
    });
}

/// Removes those networks made on demand that nobody needs any more: their last attempt went while Berth was killed
/// or the engine was away.
pub(crate) async fn sweep(shared: &Arc<Shared>) -> Result<(), EngineError> {
    let docker = connected(&shared.engine)?;
    let cluster = &shared.config.cluster;
    let mut there = shared.networks.there.lock().await;
    let options = ListNetworksOptions { filters: Some(filter(label::CLUSTER, cluster)) };
    for network in shared.engine.answer(docker.list_networks(Some(options))).await? {
        let is_of = |role: &String| role == ON_DEMAND;
        let on_demand = network.labels.as_ref().and_then(|labels| labels.get(label::ROLE)).is_some_and(is_of);
        let (Some(name), true) = (network.name, on_demand) else { continue };
        let needed = shared
            .books()
            .networks()
            .any(|wanted| on_demand_name(cluster, &wanted.name).is_ok_and(|needed| needed == name));
        if needed {
            continue;
        }
        there.retain(|known| *known != name);
        if let Err(error) = shared.engine.answer(docker.remove_network(&name)).await {
            tracing::warn!(network = name, error = %error, "a network cannot be removed");
        }
    }
    Ok(())
}
