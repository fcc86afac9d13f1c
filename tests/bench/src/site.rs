//! A Berth of its own for a measurement: the real program, with a state folder, a socket and job
//! directories that go with it.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use berth_api::{Client, CommandText, Submit, Target};
use futures::{StreamExt, TryStreamExt, stream};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::process::Process;

/// Whatever is waited for comes long before that, or never.
const DEADLINE: Duration = Duration::from_secs(900);
/// How long a supervisor has to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all measurements share.
#[derive(Clone, Debug)]
pub struct World {
    /// The program.
    pub berth: PathBuf,
    /// Where folders are made, on a real disk.
    pub base: PathBuf,
    /// The policy that is measured by itself.
    pub fifo: PathBuf,
    /// A Python that has HyperQueue, where there is one.
    pub python: Option<PathBuf>,
    /// The program that runs HyperQueue.
    pub hyperqueue: PathBuf,
    /// The socket of a Docker Engine with the test images, where there is one.
    pub engine: Option<PathBuf>,
    /// Long, with a million of everything.
    pub full: bool,
}

/// One Berth. Its files stay until everything has been measured: ext4 looks at each inode that was freed
/// within the last minutes whenever it needs a new one, and what came next would be measured with that.
pub struct Site {
    folder: PathBuf,
    berth: PathBuf,
    daemon: Option<Child>,
    client: Option<Client>,
}

impl Site {
    /// One that serves, with these executors.
    pub async fn start(world: &World, executors: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("b").tempdir_in(&world.base)?.keep();
        // Jobs of other users have to reach their directories.
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        fs::create_dir(folder.join("state"))?;
        let mut site = Self { folder, berth: world.berth.clone(), daemon: None, client: None };
        site.configure(executors)?;
        site.serve().await?;
        Ok(site)
    }

    /// Writes the configuration anew, for the next start.
    pub fn configure(&self, executors: &str) -> Result<()> {
        let text = format!(
            "[cluster]\nname = \"bench\"\nstate = {:?}\n[server]\nsocket = {:?}\n[log]\nlevel = \"warn\"\n{executors}\n",
            self.path("state"),
            self.path("s"),
        );
        fs::write(self.path("berth.toml"), text).context("the configuration cannot be written")
    }

    /// Starts the server; how long it took until it answered.
    pub async fn serve(&mut self) -> Result<Duration> {
        ensure!(self.daemon.is_none(), "it serves already");
        let log = File::options().create(true).append(true).open(self.path("serve.log"))?;
        let mut command = self.command();
        command.arg("serve").arg("-c").arg(self.path("berth.toml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let begun = Instant::now();
        self.daemon = Some(command.spawn().context("berth cannot be started")?);
        let client = self.answer().await?;
        let took = begun.elapsed();
        eventually(|| async { Ok(!client.nodes().await?.is_empty()) }).await?;
        self.client = Some(client);
        Ok(took)
    }

    async fn answer(&mut self) -> Result<Client> {
        let begun = Instant::now();
        loop {
            if let Ok(client) = Client::connect(Target::Unix(self.path("s"))).await
                && client.info().await.is_ok()
            {
                return Ok(client);
            }
            let ended = self.daemon.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                let log = fs::read_to_string(self.path("serve.log")).unwrap_or_default();
                bail!("berth serve has ended, {status}:\n{log}");
            }
            ensure!(begun.elapsed() < DEADLINE, "berth serve does not answer");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends the server as a power cut would, for all that it knows.
    pub fn kill(&mut self) {
        self.client = None;
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }

    /// Berth, as someone of this site calls it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.berth);
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        names.filter(|name| name.starts_with("BERTH")).for_each(|name| {
            command.env_remove(name);
        });
        command.env("BERTH_SERVER", format!("unix:{}", self.path("s").display()));
        command.env("HOME", &self.folder).current_dir(&self.folder);
        command.env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        command
    }

    /// Runs a command to its end; what it says.
    pub fn said(&self, args: &[&str]) -> Result<String> {
        let output = self.command().args(args).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "berth {} has failed, {}", args.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Someone who speaks to it.
    pub fn client(&self) -> Result<&Client> {
        self.client.as_ref().context("it does not serve")
    }

    /// The server as a process.
    pub fn daemon(&self) -> Result<Process> {
        let daemon = self.daemon.as_ref().context("it does not serve")?;
        Ok(Process(i32::try_from(daemon.id())?))
    }

    /// The supervisor of local jobs, where there is one.
    pub fn supervisor(&self) -> Option<Process> {
        let text = fs::read_to_string(self.path("state/spool/local/lock")).ok()?;
        text.trim().parse().ok().map(Process).filter(|supervisor| supervisor.lives())
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Submits so many jobs, with so many requests under way; the numbers of the jobs.
    pub async fn submit_many(&self, job: &Submit, count: u64, at_once: usize) -> Result<Vec<u64>> {
        let client = self.client()?;
        let one = |_| async move { client.submit(job).await.map(|submitted| submitted.id) };
        Ok(stream::iter(0..count).map(one).buffer_unordered(at_once).try_collect().await?)
    }

    /// Waits until no job is left.
    pub async fn all_ended(&self) -> Result<()> {
        let query = berth_api::JobQuery { limit: Some(1), ..Default::default() };
        let client = self.client()?;
        eventually(|| async { Ok(client.jobs(&query).await?.jobs.is_empty()) }).await
    }

    /// Waits until a job is in this state.
    pub async fn is(&self, job: u64, state: &str) -> Result<()> {
        let (client, job) = (self.client()?, job.to_string());
        eventually(|| async { Ok(client.job(&job).await?.row.state == state) }).await
    }
}

/// Waits until something holds. Looked at 50 times a second: often enough for the figures, and seldom enough
/// not to be measured itself.
pub async fn eventually<F: Future<Output = Result<bool>>>(mut holds: impl FnMut() -> F) -> Result<()> {
    let begun = Instant::now();
    while !holds().await? {
        ensure!(begun.elapsed() < DEADLINE, "what was waited for never came");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A job that runs this.
pub fn argv(argv: &[&str]) -> Submit {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Submit { command: Some(CommandText::Argv(argv)), ..Submit::default() }
}

impl Drop for Site {
    fn drop(&mut self) {
        let supervisor = self.supervisor();
        self.kill();
        let Some(supervisor) = supervisor else { return };
        supervisor.signal(Signal::TERM);
        let begun = Instant::now();
        while supervisor.lives() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        if supervisor.lives() {
            supervisor.signal(Signal::KILL);
        }
    }
}
