//! A Berth whose jobs run in containers of a real Docker Engine.

use berth_api::Submit;
use berth_testbed::{Engine, docker_engine};

use super::{Berth, Setup, is_root, sh};

/// The Berth and the engine. What it leaves there is removed when the test ends.
pub struct Containers {
    pub berth: Berth,
    engine: Engine,
    cluster: String,
}

impl Containers {
    /// A Berth that serves.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// One with something special in its configuration.
    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        Self::on(docker_engine(), change).await
    }

    /// The same at an engine of the test's own.
    pub async fn on(engine: Engine, change: impl FnOnce(&mut Setup)) -> Self {
        let cluster = format!("bt{}", std::process::id());
        let (host, name) = (engine.host(), cluster.clone());
        let berth = Berth::with(|setup| {
            setup.cluster = name;
            // The tests' own user may be root.
            setup.more = "[auth]\npolicy = \"local\"\n[auth.settings]\nallow-root-jobs = true\n".into();
            setup.executors = format!("[executors.docker]\nengine = {host:?}\ncpus = 4\nmemory = \"4G\"\n");
            change(setup);
        })
        .await;
        Self { berth, engine, cluster }
    }

    /// A job that runs this in a shell of this image; its number.
    pub async fn submit(&self, image: &str, script: &str) -> u64 {
        self.berth.submit_job(in_container(image, sh(script))).await
    }

    /// The numbers of all containers that this Berth has at the engine, running or not.
    pub fn containers(&self) -> Vec<String> {
        let list = self.engine.docker(&["ps", "-aq", "--filter", &self.label()]);
        list.lines().map(str::to_owned).collect()
    }

    /// Runs a command of the engine's client; its output.
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.engine.docker(arguments).trim().to_owned()
    }

    /// The container of a job, by its number.
    pub fn container(&self, job: u64) -> String {
        let filter = format!("label=berth.job={job}");
        self.docker(&["ps", "-q", "--filter", &self.label(), "--filter", &filter])
    }

    /// How many networks there are that go with their last job.
    pub fn networks_on_demand(&self) -> usize {
        let role = "label=berth.role=network-on-demand";
        self.docker(&["network", "ls", "-q", "--filter", &self.label(), "--filter", role]).lines().count()
    }

    fn label(&self) -> String {
        format!("label=berth.cluster={}", self.cluster)
    }
}

/// The same job in a container, by this test's user, whoever that is.
pub fn in_container(image: &str, job: Submit) -> Submit {
    Submit { image: Some(image.into()), root: is_root(), ..job }
}

impl Drop for Containers {
    fn drop(&mut self) {
        // Otherwise what is removed here could be made again.
        self.berth.kill_dash_9();
        let containers = self.containers();
        if !containers.is_empty() {
            let all = containers.iter().map(String::as_str);
            self.engine.try_docker(&["rm", "-f"].into_iter().chain(all).collect::<Vec<_>>());
        }
        let networks = self.engine.docker(&["network", "ls", "-q", "--filter", &self.label()]);
        for network in networks.lines() {
            self.engine.try_docker(&["network", "rm", network]);
        }
    }
}
