//! 200 containers through Docker, at most 8 at once, beside a bare program on the same engine.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        CreateContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptions,
        StartContainerOptions, WaitContainerOptions,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    figures::{median, ratio},
    site::{Site, World, eventually},
    table::{Table, Target},
};

const CONTAINERS: u64 = 200;
const AT_ONCE: usize = 8;
const IMAGE: &str = "berth-test/plain:1";

/// Adds the line about containers, where there is an engine.
pub async fn measure(world: &World, table: &mut Table) -> Result<()> {
    let what = "200 × true in containers, at most 8 at once";
    let Some(engine) = &world.engine else {
        table.row(what, String::new(), "no figure: no engine", None, Target::None);
        return Ok(());
    };
    let executors = format!(
        "[executors.docker]\nengine = \"unix://{}\"\ncpus = 64\nmemory = \"64G\"\n\
         [auth]\npolicy = \"local\"\n[auth.settings]\nallow-root-jobs = true",
        engine.display()
    );
    let site = Site::start(world, &executors).await?;
    let bare = Bare::connect(engine)?;
    // What is made once, networks and plans, is made before.
    array(&site, AT_ONCE as u64).await?;
    let (mut berths, mut same, mut usual) = (Vec::new(), Vec::new(), Vec::new());
    let rounds = if world.full { 5 } else { 3 };
    for _ in 0..rounds {
        same.push(bare.run(CONTAINERS, &like_berth()).await?);
        berths.push(array(&site, CONTAINERS).await?);
        usual.push(bare.run(CONTAINERS, &HostConfig::default()).await?);
    }
    // The engine is not left with what the server had no time to remove.
    bare.is_rid_of_berths().await?;
    let each = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let (berth, same, usual) = (median(&berths), median(&same), median(&usual));
    let by = ratio(berth, same);
    let target = Target::of("≤ 1.15 × its time", by <= 1.15);
    let compared = format!("bollard alone, such containers: {}", each(same));
    table.row(what, each(berth), &compared, Some(by), target);
    let compared = format!("bollard alone, the engine's usual ones: {}", each(usual));
    table.row("  the same", each(berth), &compared, Some(ratio(berth, usual)), Target::None);
    Ok(())
}

/// What a container of Berth's has beyond the engine's usual ones, as far as it costs the engine time: a first
/// process, a network where jobs find each other by name, no capabilities.
fn like_berth() -> HostConfig {
    HostConfig {
        init: Some(true),
        network_mode: Some("berth-bench-external".into()),
        security_opt: Some(vec!["no-new-privileges".into()]),
        ..HostConfig::default()
    }
}

/// As a user does it: an array is submitted and waited for. Its containers are gone then, too, as the other
/// program's are.
async fn array(site: &Site, tasks: u64) -> Result<Duration> {
    let range = format!("1-{tasks}%{AT_ONCE}");
    let root = rustix::process::geteuid().is_root().then_some("--root");
    let begun = Instant::now();
    let submit = ["submit", "--image", IMAGE, "--cpus", "0.1", "--array", &range].into_iter();
    let job = site.said(&submit.chain(root).chain(["--", "true"]).collect::<Vec<_>>())?;
    site.said(&["wait", &job])?;
    Ok(begun.elapsed())
}

/// What somebody writes who has only an engine: as many at once, and for each its code and its output.
struct Bare {
    docker: Docker,
}

impl Bare {
    fn connect(socket: &Path) -> Result<Self> {
        let socket = socket.to_str().context("the engine's socket has an odd name")?;
        let docker = Docker::connect_with_unix(socket, 120, API_DEFAULT_VERSION)?;
        Ok(Self { docker })
    }

    async fn is_rid_of_berths(&self) -> Result<()> {
        let label = HashMap::from([("label".to_owned(), vec!["berth.cluster=bench".to_owned()])]);
        let all = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
        eventually(|| async { Ok(self.docker.list_containers(Some(all.clone())).await?.is_empty()) }).await
    }

    async fn run(&self, count: u64, like: &HostConfig) -> Result<Duration> {
        let docker = self.docker.clone().negotiate_version().await?;
        let begun = Instant::now();
        let all = stream::iter(0..count).map(|_| one(&docker, like)).buffer_unordered(AT_ONCE);
        all.try_collect::<Vec<_>>().await?;
        Ok(begun.elapsed())
    }
}

async fn one(docker: &Docker, like: &HostConfig) -> Result<()> {
    let body = ContainerCreateBody {
        image: Some(IMAGE.into()),
        cmd: Some(vec!["true".into()]),
        host_config: Some(like.clone()),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    let ends = docker.wait_container(&id, None::<WaitContainerOptions>).try_collect::<Vec<_>>().await?;
    ensure!(ends.first().is_some_and(|end| end.status_code == 0), "a container has failed");
    let both = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
    docker.logs(&id, Some(both)).try_collect::<Vec<_>>().await?;
    docker.remove_container(&id, None::<RemoveContainerOptions>).await?;
    Ok(())
}
