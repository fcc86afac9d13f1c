//! `berth serve`: the daemon with its HTTP side, from its configuration to its end.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use berth_config::{Config, Loaded, Loader, LogFormat, Problems, usual_file};
use berth_server::{Server, Settings};
use berth_status_api::Role;
use berth_store::{PostgresStore, Store};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    activity::Activity,
    commands::serve::ServeArgs,
    daemon::{
        Daemon, Presence, Reloaded,
        lead::{self, Opened},
    },
    plugins, secret_file,
    service::Service,
};

/// A Berth that need not wait to lead shows nothing before that.
const LEADS_AT_ONCE: Duration = Duration::from_millis(500);
/// How long the loop may take to write what it holds at the end, and the database to note that nobody leads.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How long an embedded server waits for somebody to come.
const EMBEDDED_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits after the end of a job before it counts those that are left.
const EMBEDDED_BREATH: Duration = Duration::from_millis(300);

/// Serves until it is told to end.
pub fn run(args: ServeArgs) -> ExitCode {
    match try_run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("berth: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn try_run(args: &ServeArgs) -> anyhow::Result<()> {
    if args.embedded {
        // Ctrl-C at the terminal is for those who follow their jobs, not for those who run them.
        rustix::process::setsid().context("no session of its own can be had")?;
    }
    let loaded = load(args).map_err(|problems| anyhow::anyhow!("the configuration is wrong\n{problems}"))?;
    if !loaded.warnings.is_empty() {
        say(&loaded.warnings.to_string());
    }
    let set_log_level = start_log(&loaded.config)?;
    let runtime = Runtime::new().context("the runtime cannot be started")?;
    let plugins = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("executors")
        .enable_all()
        .build()
        .context("the executors' runtime cannot be started")?;
    let served = runtime.block_on(serve(loaded, args, set_log_level, plugins.handle()));
    plugins.shutdown_background();
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Says something before there is a log; nobody may be listening.
fn say(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

fn load(args: &ServeArgs) -> Result<Loaded, Problems> {
    let known = plugins::known();
    // Names with two underscores are configuration; others are not looked at.
    let variables = std::env::vars_os();
    let environment: Vec<(String, String)> = variables
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut loader = Loader::new(&known).env(environment.clone().into_iter());
    let file = match (&args.config, args.embedded) {
        (Some(file), _) => Some(file.clone()),
        (None, true) => None,
        (None, false) => usual_file(environment.into_iter()),
    };
    if let Some(file) = &file {
        loader = loader.file(file);
    }
    if let Some(state) = &args.state {
        loader = loader.state(state);
    }
    loader.load()
}

/// Sets the level of the log anew.
type SetLogLevel = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What is logged at this level. A Kubernetes client would log whole answers that it does not understand, with all that
/// jobs have in their variables.
fn filter_of(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("{level},kube_client=off"))
}

fn start_log(config: &Config) -> anyhow::Result<SetLogLevel> {
    let filter = filter_of(&config.log.level)
        .with_context(|| format!("log.level {:?} cannot be understood", config.log.level))?;
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let coloured = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_ansi(coloured).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Json => registry.with(lines.json()).init(),
        LogFormat::Text => registry.with(lines.with_target(false)).init(),
    }
    Ok(Arc::new(move |level| {
        let filter = filter_of(level).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

async fn serve(
    loaded: Loaded,
    args: &ServeArgs,
    set_log_level: SetLogLevel,
    plugins: &tokio::runtime::Handle,
) -> anyhow::Result<()> {
    // From here on no word is missed, whatever is under way when it comes.
    let mut ending = Ending::listen()?;
    let presence = loaded.config.status.as_ref().map(|status| {
        let board = plugins::status::board(status)?;
        anyhow::Ok(Arc::new(Presence::start(board, &loaded.config, status.ttl)))
    });
    let presence = presence.transpose()?;
    let opened = tokio::select! {
        opened = lead::open(&loaded.config) => opened?,
        () = ending.told() => return Ok(()),
    };
    let (store, shared): (Arc<dyn Store>, _) = match opened {
        Opened::Alone(store) => (store, None),
        Opened::Shared(shared) => {
            if !stand_by(&shared.store, &loaded, &mut ending, presence.clone()).await? {
                leave(presence).await;
                return Ok(());
            }
            (Arc::clone(&shared.store) as Arc<dyn Store>, Some(shared))
        }
    };
    if let Some(presence) = &presence {
        presence.is(Role::Leader);
    }
    let done =
        run_jobs(loaded, args, set_log_level, plugins, (&store, &mut ending), presence.clone()).await?;
    match (done, shared) {
        (Done::Deposed(leader), Some(shared)) => {
            tracing::error!(leader, "this Berth leads no longer; it begins anew and stands by");
            drop(shared);
            match lead::begin_anew()? {}
        }
        _ => {
            leave(presence).await;
            Ok(())
        }
    }
}

async fn leave(presence: Option<Arc<Presence>>) {
    if let Some(presence) = presence {
        presence.leave().await;
    }
}

/// How it came that this Berth serves no longer.
enum Done {
    /// It was told to end.
    Ended,
    /// Another one leads now.
    Deposed(String),
}

fn settings(config: &Config) -> anyhow::Result<Settings> {
    Ok(Settings {
        socket: Some(config.server.socket.clone()),
        socket_mode: config.server.socket_mode,
        listen: config.server.listen.clone(),
        request_limit_bytes: config.server.request_limit_bytes,
        godocker: config.server.godocker,
        proxy: config.server.proxy.as_ref().map(proxy).transpose()?,
        ..Settings::default()
    })
}

/// Shows what is stored until this Berth leads; false when it was told to end before that.
async fn stand_by(
    store: &Arc<PostgresStore>,
    loaded: &Loaded,
    ending: &mut Ending,
    presence: Option<Arc<Presence>>,
) -> anyhow::Result<bool> {
    let candidate = Arc::clone(store);
    let mut leading = tokio::spawn(async move { candidate.lead().await });
    if let Ok(led) = tokio::time::timeout(LEADS_AT_ONCE, &mut leading).await {
        led??;
        return Ok(true);
    }
    let settings = settings(&loaded.config)?;
    let daemon =
        Arc::new(Daemon::stand_by(loaded.clone(), Arc::clone(store) as Arc<dyn Store>, presence).await?);
    let service: Arc<dyn berth_server::Backend> =
        Arc::new(Service::new(Arc::clone(&daemon), Activity::default()));
    let server = Server::bind(settings, service).await?;
    tracing::info!(leader = store.other_leader(), "standing by");
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server.serve(shutdown.clone()));
    let led = tokio::select! {
        led = &mut leading => Some(led),
        () = ending.told() => None,
    };
    shutdown.cancel();
    let _ = serving.await;
    daemon.stop();
    let Some(led) = led else {
        leading.abort();
        return Ok(false);
    };
    led??;
    Ok(true)
}

/// Runs jobs until it is told to end, or another one leads.
async fn run_jobs(
    loaded: Loaded,
    args: &ServeArgs,
    set_log_level: SetLogLevel,
    plugins: &tokio::runtime::Handle,
    (store, ending): (&Arc<dyn Store>, &mut Ending),
    presence: Option<Arc<Presence>>,
) -> anyhow::Result<Done> {
    let (settings, embedded) = (settings(&loaded.config)?, args.embedded);
    let (daemon, mut turning) = tokio::select! {
        started = Daemon::start(loaded, Arc::clone(store), plugins, presence) => started?,
        leader = store.deposed() => return Ok(Done::Deposed(leader)),
    };
    let daemon = Arc::new(daemon);
    let activity = Activity::default();
    let service = Arc::new(Service::new(Arc::clone(&daemon), activity.clone()));
    let backend: Arc<dyn berth_server::Backend> = service.clone();
    let server = Server::bind(settings, backend).await?;
    tokio::spawn(Arc::clone(&service).hold_for_those_shut_out());
    tokio::spawn(service.archive_old_ones());
    let config = daemon.config.now();
    tracing::info!(
        socket = %config.server.socket.display(),
        cluster = config.cluster.name,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    if embedded {
        tell_ready();
    }
    tokio::spawn(reload_on_hangup(Arc::clone(&daemon), args.clone(), set_log_level));
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server.serve(shutdown.clone()));
    let broke_down = tokio::select! {
        () = ending.told() => false,
        () = abandoned(&daemon, &activity), if embedded => false,
        () = over(&mut turning) => true,
        // Nothing more is to be done, not even to say good-bye.
        leader = store.deposed() => return Ok(Done::Deposed(leader)),
    };
    shutdown.cancel();
    let _ = serving.await;
    daemon.stop();
    anyhow::ensure!(!broke_down, "the loop broke down; jobs go on, and a new start takes them up");
    hand_over(&**store, &mut turning).await;
    tracing::info!("ended; jobs go on");
    Ok(Done::Ended)
}

/// Lets the loop write what it holds, and gives the store up: a stand-by need not wait for the lease then.
async fn hand_over(store: &dyn Store, turning: &mut JoinHandle<()>) {
    let _ = tokio::time::timeout(HAND_OVER, turning).await;
    match tokio::time::timeout(HAND_OVER, store.resign()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "the store was not left in order; the next start does it")
        }
        Err(_) => tracing::warn!("the store was not left in order in time; the next start does it"),
    }
}

/// The proxy whose word counts, with its secret from the file.
fn proxy(config: &berth_config::Proxy) -> anyhow::Result<berth_server::Proxy> {
    let secret = secret_file::read(&config.secret_file).context("server.proxy.secret-file cannot be used")?;
    let user_header = config.user_header.parse().context("server.proxy.user-header is no header")?;
    Ok(berth_server::Proxy { user_header, from: config.from.clone(), secret })
}

/// Whoever started an embedded server waits for this line.
fn tell_ready() {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "ready").and_then(|()| out.flush());
}

/// The word to end.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Completes when it has come, were it long ago.
    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reads the configuration again whenever SIGHUP comes, one after the other.
async fn reload_on_hangup(daemon: Arc<Daemon>, args: ServeArgs, set_log_level: SetLogLevel) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        let told = Arc::clone(&daemon);
        let (daemon, args, set_log_level) = (Arc::clone(&daemon), args.clone(), Arc::clone(&set_log_level));
        let reloading = tokio::task::spawn_blocking(move || match load(&args) {
            Ok(loaded) => Ok(daemon.reload(loaded, &*set_log_level)),
            Err(problems) => Err(problems),
        });
        match reloading.await {
            Ok(Ok(reloaded)) => {
                told.apply_quotas().await;
                tell_reloaded(&reloaded);
            }
            Ok(Err(problems)) => {
                tracing::error!("the configuration is wrong; the one before goes on");
                say(&problems.to_string());
            }
            Err(error) => tracing::error!(error = %error, "the configuration was not read again"),
        }
    }
}

fn tell_reloaded(reloaded: &Reloaded) {
    let Reloaded { taken_over, need_restart, refused, policies } = reloaded;
    tracing::info!(keys = taken_over.join(", "), policies = policies.join(", "), "configuration read again");
    if !need_restart.is_empty() {
        tracing::warn!(keys = need_restart.join(", "), "these keys hold after a restart, not before");
    }
    for (what, words) in refused {
        tracing::error!(what, reason = words, "not taken over; the one before goes on");
    }
}

async fn over(turning: &mut JoinHandle<()>) {
    if let Err(error) = turning.await {
        tracing::error!(error = %error, "the loop broke down");
    }
}

/// Completes when no job is left and nobody has come for a while. It wakes when something ends, never to look
/// whether something has.
async fn abandoned(daemon: &Daemon, activity: &Activity) {
    loop {
        let begun = activity.quiet().await;
        no_job_left(daemon).await;
        if activity.quiet_since() != Some(begun) {
            continue;
        }
        tokio::time::sleep(EMBEDDED_PATIENCE).await;
        if activity.quiet_since() == Some(begun) && live_jobs(daemon).await == Some(0) {
            return;
        }
    }
}

/// `None` while nothing can be written, and the loop does not answer.
async fn live_jobs(daemon: &Daemon) -> Option<usize> {
    daemon.inbox.look(berth_engine::Engine::live_jobs).await
}

async fn no_job_left(daemon: &Daemon) {
    loop {
        // Listened to before the look, so that no end falls between the two.
        let mut events = daemon.feed.listen();
        match live_jobs(daemon).await {
            Some(0) => return,
            Some(_) => an_end(&mut events).await,
            None => {}
        }
        drop(events);
        // Where jobs end by the thousand, one look for many of them is enough.
        tokio::time::sleep(EMBEDDED_BREATH).await;
    }
}

/// Waits until some job has ended.
async fn an_end(events: &mut tokio::sync::broadcast::Receiver<crate::daemon::Events>) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match events.recv().await {
            Ok(batch) if batch.iter().any(|told| told.event.record.kind.is_end()) => return,
            Ok(_) => {}
            // What was missed may have been an end.
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}
