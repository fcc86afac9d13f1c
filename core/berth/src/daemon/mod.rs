//! The daemon: wires the rooms together. Channels in, one transaction, effects out.

mod accounts;
mod attachments;
mod directories;
mod disk;
mod effects;
mod feed;
mod gate;
mod guests;
mod homes;
mod launches;
pub mod lead;
mod memberships;
pub mod message;
mod notices;
pub mod passwords;
pub mod places;
mod policies;
pub mod presence;
mod settings;
mod state;
mod translate;
mod turn;
mod watch;

use std::{
    collections::{BTreeMap, HashMap},
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use berth_config::{Config, Loaded};
use berth_engine::{Engine, Restored, Settings};
use berth_executor_host::{Limits, Registry};
use berth_model::{JobId, StateKind, UtcMs};
use berth_policy_host::{SchedulerEvent, StartingJob};
use berth_store::{Store, StoreError};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch as tokio_watch},
    task::JoinHandle,
};

use self::{
    directories::Directories, feed::Feed, gate::Gate, launches::Launches, state::PolicyTables, turn::Turn,
};
pub use self::{
    feed::{About, Events, Listening},
    guests::Guests,
    memberships::Memberships,
    message::{CommandError, Inbox},
    notices::{Notices, SinkStatus},
    policies::Policies,
    presence::Presence,
    settings::{LiveConfig, Reloaded},
    turn::now,
};
use crate::plugins;

/// How often a stand-by looks who leads, for those who ask.
const LEADER_AGAIN: Duration = Duration::from_millis(500);

/// How many messages may wait for the loop.
const MOST_WAITING: usize = 65_536;

/// A running daemon, without its HTTP side.
pub struct Daemon {
    /// The way into the loop.
    pub inbox: Inbox,
    /// Durable state.
    pub store: Arc<dyn Store>,
    /// The policies.
    pub policies: Arc<Policies>,
    /// The executors.
    pub registry: Arc<Registry>,
    /// What happens.
    pub feed: Listening,
    /// Who belongs to which project.
    pub memberships: Arc<Memberships>,
    /// Who is told what.
    pub notices: Arc<Notices>,
    /// What there is for guests, where anybody comes as one.
    pub guests: Option<Arc<Guests>>,
    /// What berth.toml decides.
    pub config: LiveConfig,
    /// Who else is there, where they tell each other.
    pub presence: Option<Arc<Presence>>,
    /// When it started.
    pub started: UtcMs,
    stop: tokio_watch::Sender<bool>,
}

impl Daemon {
    /// Starts executors and policies, and goes on where the last one stopped. The task is the loop; it ends
    /// when [`Daemon::stop`] is called, or when it breaks down.
    ///
    /// # Errors
    /// When something cannot be used as it is configured; the words say what to do.
    ///
    /// Executors run on `plugins`, so that one that blocks, against its contract, holds up no loop.
    pub async fn start(
        loaded: Loaded,
        store: Arc<dyn Store>,
        plugins: &Handle,
        presence: Option<Arc<Presence>>,
    ) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let live = LiveConfig::new(loaded);
        let config = live.now();
        let (mut engine, memberships) = restore(&config, &*store).await?;
        let memberships = Arc::new(memberships);
        let (registry, host_events) = start_executors(&config, &store, &mut engine, plugins).await?;

        let (sender, messages) = mpsc::channel(MOST_WAITING);
        let (stall, stalled) = tokio_watch::channel(None);
        let inbox = Inbox::new(sender, stalled);
        let (plan, plans) = mpsc::unbounded_channel();
        let policies = start_policies(&live, &store, &engine, plan).await?;
        let (registry, policies) = (Arc::new(registry), Arc::new(policies));
        watch::ask_wishes(&policies).await;
        inbox.tell(message::Message::AskBeforeStarts(policies.asks_before_starts())).await;

        let (stop, stopped) = tokio_watch::channel(false);
        let feed = Feed::new();
        let listening = feed.listening();
        let notices = Notices::start(&config, &store, &listening, &stopped).await?;
        let sight = watch::Sight {
            registry: Arc::clone(&registry),
            store: Arc::clone(&store),
            inbox: inbox.clone(),
            directories: Directories::new(&config.jobs.directory),
        };
        watch::start(&policies, &Arc::new(sight), &stopped);
        let (bounded, is_bounded) = tokio_watch::channel(false);
        let (unmeasured, to_measure) = mpsc::unbounded_channel();
        let keeper = disk::Keeper {
            store: Arc::clone(&store),
            inbox: inbox.clone(),
            config: live.clone(),
            directories: Directories::new(&config.jobs.directory),
        };
        disk::start(keeper, is_bounded, to_measure, stopped.clone());
        let turn = Turn {
            engine,
            store: Arc::clone(&store),
            registry: Arc::clone(&registry),
            policies: Arc::clone(&policies),
            launches: Launches::new(&config.cluster.name, &config.jobs.directory),
            gate: Gate::start(&store, &policies, &registry, &inbox),
            feed,
            memberships: Arc::clone(&memberships),
            inbox: inbox.clone(),
            cluster: config.cluster.name.clone(),
            resources: config.resources.clone(),
            stall,
            waiting: HashMap::new(),
            asked: HashMap::new(),
            next_token: 0,
            plans,
            asked_at: None,
            plan_took: Duration::ZERO,
            held: Vec::new(),
            held_until: None,
            forgotten: BTreeMap::new(),
            measures: bounded,
            to_measure: Vec::new(),
            unmeasured,
            last_ends: [None; 2],
        };
        let guests = Guests::new(&config);
        if let Some(guests) = &guests {
            guests.keep_measured(&store, stopped.clone());
        }
        let turning = tokio::spawn(turn.run(messages, host_events, stopped));
        let started = now();
        let daemon = Self {
            inbox,
            store,
            policies,
            registry,
            feed: listening,
            memberships,
            notices,
            guests,
            config: live,
            presence,
            started,
            stop,
        };
        Ok((daemon, turning))
    }

    /// One that shows what is stored while another Berth leads. It has no loop and no executors: whoever wants
    /// something done is told who leads. Members of a project see only their own jobs here.
    ///
    /// # Errors
    /// When a policy cannot be used as it is configured.
    pub async fn stand_by(
        loaded: Loaded,
        store: Arc<dyn Store>,
        presence: Option<Arc<Presence>>,
    ) -> anyhow::Result<Self> {
        let live = LiveConfig::new(loaded);
        let config = live.now();
        let (sender, _) = mpsc::channel(1);
        let (stall, stalled) = tokio_watch::channel(Some(standing_by(&*store)));
        let (stop, mut stopped) = tokio_watch::channel(false);
        let told = Arc::clone(&store);
        tokio::spawn(async move {
            while tokio::time::timeout(LEADER_AGAIN, stopped.wait_for(|stop| *stop)).await.is_err() {
                stall.send_replace(Some(standing_by(&*told)));
            }
        });
        let engine = Engine::restore(engine_settings(&config), Restored::default(), &[]);
        let (plan, _) = mpsc::unbounded_channel();
        let policies = start_policies(&live, &store, &engine, plan).await?;
        let (registry, _) = Registry::new(1);
        Ok(Self {
            inbox: Inbox::of_a_stand_by(sender, stalled),
            notices: Notices::at_rest(&config, &store)?,
            store,
            policies: Arc::new(policies),
            registry: Arc::new(registry),
            feed: Feed::new().listening(),
            memberships: Arc::new(Memberships::new(&[])),
            guests: Guests::new(&config),
            config: live,
            presence,
            started: now(),
            stop,
        })
    }

    /// Who leads, where this Berth stands by.
    pub fn leader(&self) -> Option<String> {
        match self.inbox.stands_by() {
            true => Some(leader(&*self.store)),
            false => self.store.other_leader(),
        }
    }

    /// Takes over a changed configuration, as far as that can be done without a restart. Blocks for the time that
    /// policies take to compile.
    pub fn reload(&self, loaded: Loaded, log: impl FnOnce(&str) -> Result<(), String>) -> Reloaded {
        self.config.reload(loaded, &self.policies, log)
    }

    /// Has the loop hold to what the configuration says now. False when it has ended.
    pub async fn apply_quotas(&self) -> bool {
        let config = self.config.now();
        let quotas = settings::quotas(&config.quotas, &config.classes);
        self.inbox.tell(message::Message::Quotas(Box::new(quotas))).await
    }

    /// Ends the loop between two turns. Jobs go on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// What a stand-by tells those who want something done.
fn standing_by(store: &dyn Store) -> String {
    StoreError::StandsBy { leader: leader(store) }.to_string()
}

/// Who leads, as a stand-by says it, which has the lease already when it is about to lead.
fn leader(store: &dyn Store) -> String {
    store.other_leader().unwrap_or_else(|| "this one, as soon as it has read what is stored,".to_owned())
}

/// Makes the directories that may not exist yet.
fn prepare_directories(config: &Config) -> anyhow::Result<()> {
    make(&config.cluster.state, 0o755)?;
    make(&config.jobs.directory, 0o755)?;
    if let Some(folder) = config.server.socket.parent() {
        make(folder, 0o755)?;
    }
    Ok(())
}

fn make(path: &Path, mode: u32) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("{} cannot be made", path.display()))
}

fn engine_settings(config: &Config) -> Settings {
    Settings {
        cluster: config.cluster.name.clone(),
        starts_per_plan: config.jobs.starts_per_plan,
        choice: settings::choice(config.jobs.placement),
        has_network_policy: config.network.is_some(),
        // What they want is not known yet. If it is nothing, the answer is yes.
        asks_before_starts: !config.watchers.is_empty(),
        quotas: settings::quotas(&config.quotas, &config.classes),
        site_resources: settings::site_resources(config),
    }
}

async fn restore(config: &Config, store: &dyn Store) -> anyhow::Result<(Engine, Memberships)> {
    let stored = store.restore().await?;
    let settings = engine_settings(config);
    let dependencies: Vec<JobId> =
        stored.live.iter().flat_map(|job| &job.dependencies).map(|dependency| dependency.on).collect();
    let ended: Vec<(JobId, StateKind)> = match dependencies.is_empty() {
        true => Vec::new(),
        false => store.state_of(&dependencies).await?,
    };
    let live = stored.live.len();
    if live > 0 {
        tracing::info!(live, "jobs restored");
    }
    let memberships = Memberships::new(&stored.accounts);
    Ok((Engine::restore(settings, stored, &ended), memberships))
}

async fn start_executors(
    config: &Config,
    store: &Arc<dyn Store>,
    engine: &mut Engine,
    runtime: &Handle,
) -> anyhow::Result<(Registry, mpsc::Receiver<berth_executor_host::HostEvent>)> {
    let (registry, events) = Registry::new(MOST_WAITING);
    let leads = Arc::clone(store);
    let mut registry = registry.acting_while(Arc::new(move || leads.may_act()));
    for executor in &config.executors {
        engine.add_executor(&executor.name);
        let (config, described) = (config.clone(), executor.clone());
        let made = runtime.spawn(async move { plugins::executor(&config, &described).await }).await??;
        registry.add(&executor.name, made, Limits::default(), runtime.clone())?;
    }
    Ok((registry, events))
}

/// Plans come at most one at a time, and what becomes of a policy is rare: the channel needs no bound.
async fn start_policies(
    live: &LiveConfig,
    store: &Arc<dyn Store>,
    engine: &Engine,
    plans: mpsc::UnboundedSender<SchedulerEvent>,
) -> anyhow::Result<Policies> {
    let runtime = Handle::current();
    let tables = PolicyTables::new(Arc::clone(store), runtime);
    let attached = match live.now().network {
        Some(_) => {
            let placed = engine.launched().iter().map(|job| job.id).collect();
            attachments::of(&**store, &placed).await?
        }
        None => Vec::new(),
    };
    let started: Vec<StartingJob> = engine.launched().into_iter().map(gate::starting).collect();
    let live = live.clone();
    let on_scheduler = move |event| {
        // The loop is on its way out when it no longer listens.
        let _ = plans.send(event);
    };
    tokio::task::spawn_blocking(move || Policies::start(&live, tables, attached, &started, on_scheduler))
        .await?
}
