//! `berth top`: jobs and nodes, full screen, as they change.

mod model;
mod view;

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::{Duration, Instant},
};

use berth_api::{Client, ClientError, ControlRequest, Controls, JobQuery, NodeRow, ServerInfo};
use clap::Args;
use futures::TryStreamExt;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use serde_json::json;
use tokio::{
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval, sleep},
};

use self::model::{Ask, Model, Snapshot};
use super::{Failure, Session};
use crate::{exit_code::Status, output::time};

/// Never more often than this is the server asked and the screen drawn for its sake.
const BREATH: Duration = Duration::from_millis(250);
/// Asking takes at most this part of the time, however long an answer takes.
const SHARE: u32 = 4;
/// More rows than any screen has.
const MOST_ROWS: u32 = 500;

/// A view of all jobs.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Keys: arrows, PgUp, PgDn, Home, End move; s sorts by the next column; / filters; \
    k kills the marked job after asking; q leaves.")]
pub struct TopArgs {
    /// Only this user's jobs
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
}

/// What arrives while the screen is up.
enum Message {
    Key(KeyEvent),
    Resized,
    Fresh(Box<Snapshot>),
    Trouble(String),
    Done(String),
    KeysGone,
}

impl TopArgs {
    /// Shows it until one leaves. With `--json` it prints what it would show, once.
    ///
    /// # Errors
    /// When there is no terminal or no server.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        if session.output.json {
            let Snapshot { info, nodes, jobs } = fetch(&session.client().await?, self.user).await?;
            session.output.document(&json!({ "info": info, "nodes": nodes, "jobs": jobs }))?;
            return Ok(Status::OK);
        }
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let help = "berth jobs and berth nodes print the same, and berth top --json does for programs";
            return Err(Failure::usage("berth top needs a terminal").help(help).into());
        }
        let client = session.client().await?;
        let first = fetch(&client, self.user.clone()).await?;
        let mut terminal = ratatui::try_init()?;
        let result = watch(client, self.user, first, &mut terminal, session.output.coloured()).await;
        ratatui::restore();
        result.map(|()| Status::OK)
    }
}

async fn watch(
    client: Client,
    user: Option<String>,
    first: Snapshot,
    terminal: &mut ratatui::DefaultTerminal,
    coloured: bool,
) -> anyhow::Result<()> {
    let (sender, mut messages) = mpsc::channel(64);
    let changed = Arc::new(Notify::new());
    read_keys(sender.clone());
    tokio::spawn(listen(client.clone(), changed.clone(), sender.clone()));
    tokio::spawn(refresh(client.clone(), user, changed.clone(), sender.clone()));
    let mut model = Model::new(first);
    // Times go on while nothing happens.
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| view::draw(frame, &mut model, time::now(), coloured))?;
        let message = tokio::select! {
            message = messages.recv() => message,
            _ = tick.tick() => continue,
        };
        match message {
            Some(Message::Key(key)) => match model.on_key(key) {
                Ask::Nothing => {}
                Ask::Quit => return Ok(()),
                Ask::Kill(job) => drop(tokio::spawn(kill(client.clone(), job, sender.clone()))),
            },
            Some(Message::Fresh(snapshot)) => model.on_fresh(*snapshot),
            Some(Message::Trouble(text)) => model.on_trouble(text),
            Some(Message::Done(text)) => model.say(text),
            Some(Message::Resized) => {}
            Some(Message::KeysGone) | None => return Ok(()),
        }
    }
}

/// Keys are waited for in a thread of their own, which ends with the process.
fn read_keys(sender: mpsc::Sender<Message>) {
    std::thread::spawn(move || {
        loop {
            let message = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Message::Key(key),
                Ok(Event::Resize(..)) => Message::Resized,
                Ok(_) => continue,
                Err(_) => Message::KeysGone,
            };
            let is_last = matches!(message, Message::KeysGone);
            if sender.blocking_send(message).is_err() || is_last {
                return;
            }
        }
    });
}

/// Waits for changes; how many come at once makes no difference.
async fn listen(client: Client, changed: Arc<Notify>, sender: mpsc::Sender<Message>) {
    loop {
        if let Err(error) = listen_once(&client, &changed).await
            && sender.send(Message::Trouble(error.to_string())).await.is_err()
        {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn listen_once(client: &Client, changed: &Notify) -> Result<(), ClientError> {
    let mut events = client.events(None).await?;
    changed.notify_one();
    while events.try_next().await?.is_some() {
        changed.notify_one();
    }
    Ok(())
}

/// Asks the server when something has changed, and gives it time to breathe.
async fn refresh(client: Client, user: Option<String>, changed: Arc<Notify>, sender: mpsc::Sender<Message>) {
    loop {
        changed.notified().await;
        let began = Instant::now();
        let message = match fetch(&client, user.clone()).await {
            Ok(snapshot) => Message::Fresh(Box::new(snapshot)),
            Err(error) => Message::Trouble(error.to_string()),
        };
        if sender.send(message).await.is_err() {
            return;
        }
        sleep((began.elapsed() * SHARE).max(BREATH)).await;
    }
}

async fn fetch(client: &Client, user: Option<String>) -> Result<Snapshot, ClientError> {
    let query = |states: &str| JobQuery {
        state: Some(states.to_owned()),
        user: user.clone(),
        limit: Some(MOST_ROWS),
        ..JobQuery::default()
    };
    // Those that run must not be pushed out by the many that wait.
    let (active, waiting) = (query("starting,running,suspended,stopping"), query("held,pending"));
    let info = async { client.info().await };
    let nodes = async { client.nodes().await };
    let (info, nodes, active, waiting): (ServerInfo, Vec<NodeRow>, _, _) =
        tokio::try_join!(info, nodes, client.jobs(&active), client.jobs(&waiting))?;
    let jobs = active.jobs.into_iter().chain(waiting.jobs).collect();
    Ok(Snapshot { info, nodes, jobs })
}

async fn kill(client: Client, job: String, sender: mpsc::Sender<Message>) {
    let jobs = vec![job.clone()];
    let request = ControlRequest::of(Controls::Kill, jobs);
    let said = match client.control(&request).await {
        Ok(results) => {
            let refused = results.into_iter().find(|result| !result.done).and_then(|result| result.message);
            refused.unwrap_or_else(|| format!("asked job {job} to end"))
        }
        Err(error) => error.to_string(),
    };
    // Where the screen is gone, nobody wants to know.
    let _ = sender.send(Message::Done(said)).await;
}
