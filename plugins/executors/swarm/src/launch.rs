//! Launching: one service for each attempt.

use std::collections::HashMap;

use berth_docker_engine::{
    AccessError, EngineError,
    bollard::{
        Docker,
        auth::DockerCredentials,
        models::NetworkCreateRequest,
        query_parameters::{InspectNetworkOptions, ListConfigsOptionsBuilder, ListSecretsOptionsBuilder},
    },
    label,
};
use berth_executor_api::{ExecutorError, Launch, LaunchSpec, Launched, files::prepare};
use std::sync::Arc;

use crate::{
    BACKEND,
    options::{self, Options},
    service::{self, Found, Named},
    swarm::Swarm,
};

/// Why an attempt was not launched.
enum Not {
    /// For an answer.
    Refused(String),
    NoRoom(String),
    /// Nobody knows.
    Error(ExecutorError),
}

impl From<ExecutorError> for Not {
    fn from(error: ExecutorError) -> Self {
        Self::Error(error)
    }
}

impl From<EngineError> for Not {
    fn from(error: EngineError) -> Self {
        match error.is_unreachable() {
            true => Self::Error(error.for_executor(BACKEND)),
            false => Self::Refused(error.to_string()),
        }
    }
}

fn refused(error: impl std::fmt::Display) -> Not {
    Not::Refused(error.to_string())
}

/// Launches one attempt.
pub(crate) async fn launch(swarm: &Arc<Swarm>, launch: &Launch) -> Result<Launched, ExecutorError> {
    match try_launch(swarm, launch).await {
        Ok(()) => {
            swarm.wake.notify_one();
            Ok(Launched::Taken)
        }
        Err(Not::Refused(words)) => Ok(Launched::Refused { words }),
        Err(Not::NoRoom(words)) => Ok(Launched::NoRoom { words }),
        Err(Not::Error(error)) => Err(error),
    }
}

async fn try_launch(swarm: &Arc<Swarm>, launch: &Launch) -> Result<(), Not> {
    // What exists is left as it is, and so are its files.
    if let Some(existing) = swarm.service(&launch.attempt).await? {
        let labels = existing.spec.and_then(|spec| spec.labels).unwrap_or_default();
        swarm.adopt(&launch.attempt, &labels, labels.contains_key(service::own_label::STOP));
        return Ok(());
    }
    let options = options::parse(&launch.spec.extensions).map_err(refused)?;
    let nodes = nodes_with(swarm, launch).await?;
    let node = launch.node.as_deref().and_then(|name| nodes.by_name(name));
    if let (Some(name), None) = (&launch.node, node) {
        return Err(Not::NoRoom(format!("node {name} is not in the Swarm now")));
    }
    service::check(launch, node).map_err(refused)?;
    let secrets = secrets(swarm, &options).await?;
    let configs = configs(swarm, &options).await?;
    let spec = service::service(launch, &options, &Found { node, secrets, configs }, &swarm.config);
    let spec = spec.map_err(refused)?;
    let credentials = credentials(swarm, &launch.spec).await?;
    network(swarm, &launch.spec).await?;
    prepare(launch, service::SCRIPT)
        .await
        .map_err(|error| refused(format!("its files cannot be made: {error}")))?;
    let labels = spec.labels.clone().unwrap_or_default();
    let created = swarm.ask(async |docker: Docker| docker.create_service(spec, credentials).await).await;
    match created {
        Ok(_) => {}
        // Made by a request that was thought to be lost.
        Err(error) if error.is_conflict() && error.says("already exists") => {}
        // A fault within the manager may have come after it was made.
        Err(EngineError::Refused { status: 500.., message }) => {
            if swarm.service(&launch.attempt).await?.is_none() {
                return Err(Not::Refused(message));
            }
        }
        Err(error) => return Err(error.into()),
    }
    swarm.adopt(&launch.attempt, &labels, false);
    Ok(())
}

/// The nodes; asked for anew when the one that was chosen is not among those known.
async fn nodes_with(swarm: &Swarm, launch: &Launch) -> Result<crate::nodes::Nodes, Not> {
    let nodes = swarm.nodes();
    let unknown = |name: &String| nodes.by_name(name).is_none();
    if launch.node.as_ref().is_some_and(unknown) {
        swarm.refresh_nodes().await?;
        return Ok(swarm.nodes());
    }
    Ok(nodes)
}

async fn credentials(swarm: &Swarm, spec: &LaunchSpec) -> Result<Option<DockerCredentials>, Not> {
    let image = service::image(spec, &swarm.config).map_err(refused)?;
    match swarm.config.registries.access(image.host(), &spec.identity).await {
        Ok(asking) => Ok(asking.access.for_engine(image.host())),
        Err(AccessError::Own(error)) if error.may_pass() => Err(Not::NoRoom(error.to_string())),
        Err(error) => Err(refused(error)),
    }
}

async fn secrets(swarm: &Swarm, options: &Options) -> Result<Vec<Named>, Not> {
    if options.secrets.is_empty() {
        return Ok(Vec::new());
    }
    let filters = HashMap::from([("name".to_owned(), options.secrets.clone())]);
    let question = ListSecretsOptionsBuilder::new().filters(&filters).build();
    let all = swarm.ask(async |docker: Docker| docker.list_secrets(Some(question)).await).await?;
    let named = all.into_iter().filter_map(|secret| Some((secret.id?, secret.spec?.name?)));
    pick("secret", &options.secrets, named.collect())
}

async fn configs(swarm: &Swarm, options: &Options) -> Result<Vec<Named>, Not> {
    if options.configs.is_empty() {
        return Ok(Vec::new());
    }
    let filters = HashMap::from([("name".to_owned(), options.configs.clone())]);
    let question = ListConfigsOptionsBuilder::new().filters(&filters).build();
    let all = swarm.ask(async |docker: Docker| docker.list_configs(Some(question)).await).await?;
    let named = all.into_iter().filter_map(|config| Some((config.id?, config.spec?.name?)));
    pick("config", &options.configs, named.collect())
}

/// The engine also finds those that only begin with a name.
fn pick(what: &str, wanted: &[String], found: Vec<Named>) -> Result<Vec<Named>, Not> {
    let one = |name: &String| {
        let it = found.iter().find(|(_, of)| of == name).cloned();
        it.ok_or_else(|| Not::Refused(format!("there is no {what} {name:?} in the Swarm")))
    };
    wanted.iter().map(one).collect()
}

/// Makes the job's network if it is one that Berth makes and is not there yet.
async fn network(swarm: &Swarm, spec: &LaunchSpec) -> Result<(), Not> {
    let Some(attachment) = &spec.network else { return Ok(()) };
    let name = attachment.network.as_str();
    if attachment.on_demand {
        let words = format!("networks are not made on demand in a Swarm, so it has no network {name:?}");
        return Err(refused(words));
    }
    let Some(&internal) = swarm.config.networks.get(name) else { return Ok(()) };
    let look = async |docker: Docker| docker.inspect_network(name, None::<InspectNetworkOptions>).await;
    match swarm.ask(look).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    let cluster = (label::CLUSTER.to_owned(), swarm.config.cluster.clone());
    let wanted = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("overlay".into()),
        internal: Some(internal),
        labels: Some(HashMap::from([cluster])),
        ..NetworkCreateRequest::default()
    };
    match swarm.ask(async |docker: Docker| docker.create_network(wanted).await).await {
        Ok(_) => Ok(()),
        // Another launch was quicker.
        Err(error) if error.is_conflict() || error.says("already exists") => Ok(()),
        Err(error) => Err(error.into()),
    }
}
