//! People who send jobs, kill some and run some again, while Berth comes and goes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use berth_api::{Client, ClientError, ControlRequest, ControlResult, Controls, Submit, Target};
use tokio::{sync::Semaphore, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{chance::Chance, harness::sh};

/// The name of jobs that do not end by themselves.
pub const ENDLESS: &str = "endless";

/// Where load goes, and how much of it there may be.
#[derive(Clone)]
pub struct Site {
    pub target: Target,
    /// The file, in a shell's words, to which every execution adds a line.
    pub trace: String,
    /// What all jobs have in common.
    pub base: Submit,
    /// One for each submission.
    pub permits: Arc<Semaphore>,
    /// How many promises there are by now.
    pub promised: Arc<AtomicUsize>,
}

impl Site {
    pub fn promised(&self) -> usize {
        self.promised.load(Ordering::Relaxed)
    }
}

/// Something that Berth has acknowledged.
#[derive(Clone, Debug)]
pub struct Promise {
    pub job: u64,
    /// Every task has one of these codes, in the order of their indices; a job alone has one.
    pub codes: Vec<i32>,
    /// Its kill was acknowledged before it could end by itself.
    pub killed: bool,
    /// It was run again so often, for sure.
    pub reruns: u32,
}

/// Somebody who sends jobs.
pub struct Load {
    stop: CancellationToken,
    work: JoinHandle<Vec<Promise>>,
}

impl Load {
    pub fn start(site: &Site, chance: Chance) -> Self {
        let stop = CancellationToken::new();
        let person = Person { site: site.clone(), chance, client: None, stop: stop.clone() };
        Self { work: tokio::spawn(person.work()), stop }
    }

    /// Has it finish what it is about, and gives what it was promised.
    pub async fn stop(self) -> Vec<Promise> {
        self.stop.cancel();
        self.work.await.unwrap()
    }
}

struct Person {
    site: Site,
    chance: Chance,
    client: Option<Client>,
    stop: CancellationToken,
}

impl Person {
    async fn work(mut self) -> Vec<Promise> {
        let mut promises = Vec::new();
        loop {
            let permits = Arc::clone(&self.site.permits);
            tokio::select! {
                permit = permits.acquire() => permit.unwrap().forget(),
                () = self.stop.cancelled() => return promises,
            }
            let promise = match self.chance.below(8) {
                0 => self.array().await,
                1 => self.killed().await,
                2 => self.again().await,
                _ => self.single().await,
            };
            self.site.promised.fetch_add(usize::from(promise.is_some()), Ordering::Relaxed);
            promises.extend(promise);
        }
    }

    /// A job that leaves its trace, takes a moment, and exits with this code.
    fn job(&mut self, code: &str) -> Submit {
        let moment = self.chance.below(120);
        self.traced(&format!("sleep 0.{moment:03}; exit {code}"))
    }

    /// A job that leaves its trace and goes on with this.
    fn traced(&self, script: &str) -> Submit {
        let Site { trace, base, .. } = &self.site;
        let script = format!("echo \"$BERTH_JOB_ID $BERTH_ATTEMPT\" >> {trace}; {script}");
        Submit { command: sh(&script).command, cpus: Some("500m".into()), ..base.clone() }
    }

    async fn single(&mut self) -> Option<Promise> {
        let code = i32::try_from(self.chance.below(3)).unwrap();
        let job = self.job(&code.to_string());
        let id = self.submit(&job).await?;
        Some(Promise { job: id, codes: vec![code], killed: false, reruns: 0 })
    }

    async fn array(&mut self) -> Option<Promise> {
        let job = Submit { array: Some("0-3%2".into()), ..self.job("$BERTH_ARRAY_TASK_ID") };
        let id = self.submit(&job).await?;
        Some(Promise { job: id, codes: vec![0, 1, 2, 3], killed: false, reruns: 0 })
    }

    /// A job that never ends by itself, and is killed.
    async fn killed(&mut self) -> Option<Promise> {
        let job = Submit { name: Some(ENDLESS.into()), ..self.traced("exec sleep 1000") };
        let id = self.submit(&job).await?;
        sleep(Duration::from_millis(self.chance.below(200))).await;
        // Asking twice is no error, so it is asked until there is an answer.
        loop {
            if let Some(Ok(result)) = self.control(Controls::Kill, id).await
                && result.done
            {
                return Some(Promise { job: id, codes: vec![143], killed: true, reruns: 0 });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// A job that is run again when it has ended.
    async fn again(&mut self) -> Option<Promise> {
        let mut promise = self.single().await?;
        while !self.has_ended(promise.job).await {
            sleep(Duration::from_millis(20)).await;
        }
        // Without an answer nobody knows whether it was taken; the check looks at what is stored then.
        if let Some(Ok(result)) = self.control(Controls::Rerun, promise.job).await {
            promise.reruns += u32::from(result.done);
        }
        Some(promise)
    }

    async fn has_ended(&mut self, job: u64) -> bool {
        let Some(client) = self.client().await else { return false };
        match client.job(&job.to_string()).await {
            Ok(detail) => crate::harness::is_over(&detail.row.state),
            Err(error) => {
                assert!(error.code().is_none(), "job {job}: {error}");
                self.client = None;
                false
            }
        }
    }

    /// The number, if it was acknowledged.
    async fn submit(&mut self, job: &Submit) -> Option<u64> {
        let client = self.client().await?;
        match client.submit(job).await {
            Ok(submitted) => Some(submitted.id),
            Err(error) => {
                self.on_error(&error);
                None
            }
        }
    }

    async fn control(&mut self, action: Controls, job: u64) -> Option<Result<ControlResult, ClientError>> {
        let client = self.client().await?;
        let request = ControlRequest::of(action, vec![job.to_string()]);
        let result = client.control(&request).await.map(|mut results| results.remove(0));
        if let Err(error) = &result {
            self.on_error(error);
        }
        Some(result)
    }

    /// Only a server that goes away is a reason not to do as one is asked.
    fn on_error(&mut self, error: &ClientError) {
        let goes_away = error.code().is_none_or(|code| code == berth_api::ErrorCode::Unavailable);
        assert!(goes_away, "{error}");
        self.client = None;
    }

    /// A client, once somebody listens.
    async fn client(&mut self) -> Option<Client> {
        while self.client.is_none() {
            match Client::connect(self.site.target.clone()).await {
                Ok(client) => self.client = Some(client),
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
        self.client.clone()
    }
}
