//! Looking at the cell: one `qstat` for all jobs at a time, and the accounts of those that have gone.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use berth_executor_api::{AttemptName, AttemptReport, AttemptState, Exit, Node, Report, UtcMs, files::Phase};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::sleep,
};

use crate::{
    SgeConfig,
    book::{Book, Entry},
    commands::{CommandError, Commands},
    journal::{Ended, Kept},
    qacct::{self, Record},
    qhost, qstat,
    qstat::{Row, Standing},
    reports::Reports,
    script,
};

/// A look soon after something was asked of SGE.
const SOON: Duration = Duration::from_millis(500);
/// The longest pause between looks for a master that is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often queues are looked at while there are attempts.
const NODES_EVERY: Duration = Duration::from_mins(1);
/// Clocks of nodes may differ by so much from Berth's.
const SKEW: Duration = Duration::from_mins(10);
/// How long the mark of a job that was ended while it waited may take to show, if it began all the same.
const MARK_SHOWS: Duration = Duration::from_secs(2);

/// Whoever wants a look now, and hears whether it could be had.
pub(crate) type Ask = oneshot::Sender<Result<(), CommandError>>;

/// What all parts of the executor share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub config: Arc<SgeConfig>,
    pub commands: Commands,
    pub book: Book,
    pub reports: Reports,
    pub wake: Notify,
    pub asks: mpsc::UnboundedSender<Ask>,
    /// Since when attempts are in doubt whose submission was not answered.
    unsure: Mutex<HashMap<AttemptName, Instant>>,
    started: Instant,
    /// The names of all jobs at the last look.
    names: Mutex<HashSet<String>>,
    nodes: Mutex<Vec<Node>>,
}

pub(crate) fn utc_now() -> UtcMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UtcMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Shared {
    pub fn new(
        config: SgeConfig,
        commands: Commands,
        book: Book,
        reports: Reports,
    ) -> (Self, mpsc::UnboundedReceiver<Ask>) {
        let (asks, asked) = mpsc::unbounded_channel();
        let shared = Self {
            config: Arc::new(config),
            commands,
            book,
            reports,
            wake: Notify::new(),
            asks,
            unsure: Mutex::default(),
            started: Instant::now(),
            names: Mutex::default(),
            nodes: Mutex::default(),
        };
        (shared, asked)
    }

    /// These were submitted, and nobody knows whether they arrived.
    pub fn unsure(&self, attempts: &[AttemptName], since: Instant) {
        let mut unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        unsure.extend(attempts.iter().map(|attempt| (attempt.clone(), since)));
    }

    /// How long until what was on its way must have arrived. A sender never outlives the Berth that started it.
    pub fn unsettled(&self, attempt: &AttemptName) -> Duration {
        let unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        let since = unsure.get(attempt).copied().unwrap_or(self.started);
        self.config.settle.saturating_sub(since.elapsed())
    }

    /// Whether a job of this name was there at the last look.
    pub fn has_name(&self, name: &str) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// All names at the last look.
    pub fn all_names(&self) -> Vec<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Has the cell looked at now. Many who ask at the same time get one look.
    pub async fn look_now(&self) -> Result<(), CommandError> {
        let (ask, told) = oneshot::channel();
        let gone = || CommandError::Odd { program: "qstat".into(), words: "nobody looks any more".into() };
        self.asks.send(ask).map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }

    /// The queues as nodes, asked for now.
    pub async fn ask_nodes(&self) -> Result<Vec<Node>, CommandError> {
        let arguments = ["-q", "-xml"].map(str::to_owned);
        let answer = self.commands.run("qhost", &arguments).await?;
        let odd = |words: String| CommandError::Odd { program: "qhost".into(), words };
        if !answer.ok {
            return Err(odd(answer.words));
        }
        let nodes = qhost::nodes(&answer.out, &self.config).map_err(|error| odd(error.to_string()))?;
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&nodes);
        Ok(nodes)
    }
}

/// Looks, whenever there is a reason to, until nobody can ask any more.
pub(crate) async fn watch(shared: Arc<Shared>, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let mut watcher = Watcher::new(shared);
    loop {
        let mut asks = Vec::new();
        let has_work = watcher.shared.book.has_work();
        tokio::select! {
            ask = asked.recv() => match ask {
                Some(ask) => asks.push(ask),
                None => return,
            },
            () = watcher.shared.wake.notified() => {
                watcher.pause = SOON.min(watcher.shared.config.look_every);
                continue;
            }
            () = sleep(watcher.pause), if has_work => {}
        }
        while let Ok(ask) = asked.try_recv() {
            asks.push(ask);
        }
        watcher.turn(asks).await;
    }
}

struct Watcher {
    shared: Arc<Shared>,
    pause: Duration,
    away: bool,
    explained: Option<Instant>,
    nodes_asked: Instant,
    /// Jobs in error whose reason is not known yet.
    in_error: HashSet<u64>,
    /// What SGE last said of those that wait.
    scheduling: HashMap<u64, Vec<String>>,
}

impl Watcher {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            pause: SOON.min(shared.config.look_every),
            shared,
            away: false,
            explained: None,
            nodes_asked: Instant::now(),
            in_error: HashSet::new(),
            scheduling: HashMap::new(),
        }
    }

    /// One look, and one `qstat`: for the list, or in its stead for reasons.
    async fn turn(&mut self, asks: Vec<Ask>) {
        let done = match asks.is_empty() && self.wants_reasons() && !self.away {
            true => self.ask_reasons().await,
            false => self.look().await,
        };
        match &done {
            Ok(()) => self.is_back(),
            Err(error) => self.is_away(error),
        }
        for ask in asks {
            // Whoever asked may have given up.
            let _ = ask.send(match &done {
                Ok(()) => Ok(()),
                Err(error) => Err(CommandError::Away { words: error.to_string() }),
            });
        }
        if done.is_ok() && self.nodes_asked.elapsed() > NODES_EVERY {
            self.nodes_asked = Instant::now();
            self.look_at_nodes().await;
        }
    }

    fn is_back(&mut self) {
        self.pause = self.shared.config.look_every;
        if !self.in_error.is_empty() {
            self.pause = self.pause.min(SOON);
        }
        if std::mem::take(&mut self.away) {
            self.shared.reports.send(Report::Back);
        }
    }

    fn is_away(&mut self, error: &CommandError) {
        self.pause = (self.pause * 2).max(SOON).min(LONGEST_PAUSE);
        tracing::debug!(%error, "no look at the cell");
        if !std::mem::replace(&mut self.away, true) {
            self.shared.reports.send(Report::Away(error.to_string()));
        }
    }

    async fn look_at_nodes(&self) {
        let before = self.shared.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.shared.ask_nodes().await {
            Ok(nodes) if nodes != before => self.shared.reports.send(Report::Capacity(nodes)),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "no look at the queues"),
        }
    }

    async fn look(&mut self) -> Result<(), CommandError> {
        let arguments = ["-u", "*", "-xml"].map(str::to_owned);
        let answer = self.shared.commands.run("qstat", &arguments).await?;
        let odd = |words: String| CommandError::Odd { program: "qstat".into(), words };
        if !answer.ok {
            return Err(odd(answer.words));
        }
        let rows = qstat::rows(&answer.out).map_err(|error| odd(error.to_string()))?;
        let gone = self.apply(&rows);
        {
            let mut names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
            *names = rows.into_iter().map(|row| row.name).collect();
        }
        self.account_for(gone).await
    }

    /// Takes over what the list says; answers with those that are not in it any more.
    fn apply(&mut self, rows: &[Row]) -> Vec<Kept> {
        let list = List::new(rows);
        let (now, at) = (Instant::now(), utc_now());
        let mut numbered = Vec::new();
        let mut gone = Vec::new();
        let mut told = Vec::new();
        let mut book = self.shared.book.lock();
        self.in_error.clear();
        for (attempt, entry) in book.entries.iter_mut().filter(|(_, entry)| !entry.is_over()) {
            let Some(row) = list.find(&entry.kept) else {
                if entry.kept.number.is_some() {
                    entry.gone.get_or_insert(now);
                    gone.push(entry.kept.clone());
                }
                continue;
            };
            if entry.kept.number.is_none() {
                numbered.push((attempt.clone(), row.number));
            }
            entry.gone = None;
            if row.standing() == Standing::Error {
                self.in_error.insert(row.number);
            }
            told.extend(advance(entry, row, at, &self.scheduling));
        }
        for (attempt, number) in numbered {
            book.number(vec![attempt], number);
        }
        drop(book);
        told.into_iter().for_each(|report| self.shared.reports.send(Report::Attempt(report)));
        gone
    }

    /// Finds out how those ended that are not in the list any more: one `qacct` for all.
    async fn account_for(&self, gone: Vec<Kept>) -> Result<(), CommandError> {
        if gone.is_empty() {
            return Ok(());
        }
        let records = records(&self.shared, &gone).await?;
        for kept in gone {
            let record = find(&records, &kept);
            let ended = match record {
                Some(record) => Some(ended(&kept, record).await),
                None => self.without_record(&kept).await,
            };
            if let Some(ended) = ended {
                conclude(&self.shared, &kept.attempt, record.and_then(|record| record.started), ended);
            }
        }
        Ok(())
    }

    /// There is no record, or not yet.
    async fn without_record(&self, kept: &Kept) -> Option<Ended> {
        let since = self.shared.book.lock().entries.get(&kept.attempt).and_then(|entry| entry.gone)?;
        let begun = has_begun(kept).await;
        let waited = since.elapsed();
        let at = utc_now();
        let end = |exit: Exit, message: &str| Ended {
            exit,
            usage: None,
            node: None,
            message: Some(message.into()),
        };
        if !begun && kept.stopped.is_some() && waited >= MARK_SHOWS {
            // SGE keeps no account of what was ended while it waited.
            let exit = Exit { signal: Some(9), at, ..Exit::default() };
            return Some(end(exit, "ended while it waited in SGE"));
        }
        if waited < self.shared.config.record_within {
            self.say(kept, "it is not in SGE's list any more; its record is waited for");
            return None;
        }
        let exit = match begun {
            false => {
                let words = "it was taken from SGE's list before it began, and not by Berth";
                Exit {
                    could_not_launch: Some(words.into()),
                    before_stop: kept.stopped.is_none(),
                    at,
                    ..Exit::default()
                }
            }
            true => Exit { before_stop: kept.stopped.is_none(), at, ..Exit::default() },
        };
        Some(end(exit, "SGE has no record of how it ended"))
    }

    /// Tells why nothing changes, once.
    fn say(&self, kept: &Kept, words: &str) {
        let mut book = self.shared.book.lock();
        let Some(entry) = book.entries.get_mut(&kept.attempt) else { return };
        if entry.message.as_deref() != Some(words) {
            entry.message = Some(words.to_owned());
            self.shared.reports.send(Report::Attempt(entry.report()));
        }
    }

    fn wants_reasons(&self) -> bool {
        let due = self.explained.is_none_or(|at| at.elapsed() >= self.shared.config.explain_every);
        let waits = |entry: &Entry| entry.seen && entry.state == AttemptState::Starting;
        !self.in_error.is_empty() || (due && self.shared.book.lock().entries.values().any(waits))
    }

    /// Why jobs wait, and what went wrong with those in error: one `qstat` for all of them.
    async fn ask_reasons(&mut self) -> Result<(), CommandError> {
        let numbers: Vec<String> = self.in_error.iter().take(1000).map(u64::to_string).collect();
        let mut arguments = vec!["-xml".to_owned(), "-j".to_owned()];
        match numbers.is_empty() {
            true => self.explained = Some(Instant::now()),
            false => arguments.push(numbers.join(",")),
        }
        let answer = self.shared.commands.run("qstat", &arguments).await?;
        let odd = |words: String| CommandError::Odd { program: "qstat".into(), words };
        let details = qstat::details(&answer.out).map_err(|error| odd(error.to_string()))?;
        if numbers.is_empty() {
            self.scheduling = details.scheduling;
            return Ok(());
        }
        let mut failed = Vec::new();
        for entry in self.shared.book.lock().entries.values().filter(|entry| !entry.is_over()) {
            let number = entry.kept.number.filter(|number| self.in_error.contains(number));
            // A job that is no array counts as its first task.
            if let Some(words) =
                number.and_then(|number| details.errors.get(&(number, entry.kept.task.unwrap_or(1))))
            {
                failed.push((entry.kept.clone(), words.clone()));
            }
        }
        self.in_error.clear();
        for (kept, words) in failed {
            self.give_up(&kept, words).await;
        }
        Ok(())
    }

    /// A job in error stays in SGE for ever unless somebody removes it.
    async fn give_up(&self, kept: &Kept, words: String) {
        let target = target(kept);
        if let Err(error) = self.shared.commands.run_as(Some(&kept.person()), "qdel", &[target], "").await {
            tracing::warn!(attempt = %kept.attempt, %error, "job in error is not removed from SGE");
            return;
        }
        let exit = Exit {
            could_not_launch: Some(words),
            before_stop: kept.stopped.is_none(),
            at: utc_now(),
            ..Exit::default()
        };
        let ended = Ended { exit, usage: None, node: None, message: None };
        conclude(&self.shared, &kept.attempt, None, ended);
    }
}

/// The list by number and by name.
struct List<'a> {
    numbers: HashMap<u64, Vec<&'a Row>>,
    names: HashMap<&'a str, Vec<&'a Row>>,
}

impl<'a> List<'a> {
    fn new(rows: &'a [Row]) -> Self {
        let (mut numbers, mut names): (HashMap<u64, Vec<_>>, HashMap<&str, Vec<_>>) = Default::default();
        for row in rows {
            numbers.entry(row.number).or_default().push(row);
            names.entry(row.name.as_str()).or_default().push(row);
        }
        Self { numbers, names }
    }

    /// By number and name: numbers begin anew some day. By name alone only where the number is not known: the
    /// first of that name then.
    fn find(&self, kept: &Kept) -> Option<&'a Row> {
        let fits =
            |row: &&&Row| row.name == kept.name && row.owner == kept.user && row.tasks.contain(kept.task);
        match kept.number {
            Some(number) => self.numbers.get(&number)?.iter().find(fits).copied(),
            None => {
                self.names.get(kept.name.as_str())?.iter().filter(fits).min_by_key(|row| row.number).copied()
            }
        }
    }
}

/// Takes over where it stands; what is to be reported.
fn advance(
    entry: &mut Entry,
    row: &Row,
    at: UtcMs,
    scheduling: &HashMap<u64, Vec<String>>,
) -> Option<AttemptReport> {
    entry.seen = true;
    let (state, message) = match row.standing() {
        // An attempt that has run never goes back.
        Standing::Waiting | Standing::Error if entry.state != AttemptState::Starting => return None,
        Standing::Waiting | Standing::Error => (AttemptState::Starting, Some(waits(row, scheduling))),
        Standing::Running => (AttemptState::Running, None),
        Standing::Suspended => (AttemptState::Suspended, Some(format!("suspended in SGE ({})", row.letters))),
    };
    let node = row.place.clone();
    if entry.state == state && entry.message == message && entry.node == node {
        return None;
    }
    if entry.state != state {
        entry.since = entry.since.max(at);
    }
    if state != AttemptState::Starting {
        entry.phase.send_replace(Phase::Writing);
    }
    (entry.state, entry.message, entry.node) = (state, message, node);
    Some(entry.report())
}

fn waits(row: &Row, scheduling: &HashMap<u64, Vec<String>>) -> String {
    let said = scheduling.get(&row.number).map(|words| words.join("; "));
    match said {
        Some(said) => format!("waits in SGE as job {} ({}): {said}", row.number, row.letters),
        None => format!("waits in SGE as job {} ({})", row.number, row.letters),
    }
}

/// How SGE's commands name the job or task.
pub(crate) fn target(kept: &Kept) -> String {
    match (kept.number, kept.task) {
        (Some(number), Some(task)) => format!("{number}.{task}"),
        (Some(number), None) => number.to_string(),
        // Never asked without a number.
        (None, _) => kept.name.clone(),
    }
}

/// The records of these attempts: one question for all.
pub(crate) async fn records(shared: &Shared, of: &[Kept]) -> Result<Vec<Record>, CommandError> {
    let first = of.iter().map(|kept| kept.at).min().unwrap_or_default();
    let since = UtcMs(first.0.saturating_sub(u64::try_from(SKEW.as_millis()).unwrap_or(0)));
    let pattern = match of {
        [one] => one.name.clone(),
        _ => format!("{}-*", shared.config.cluster),
    };
    let arguments = ["-b".to_owned(), qacct::begin(since), "-j".to_owned(), pattern];
    let answer = shared.commands.run("qacct", &arguments).await?;
    match answer.ok
        || answer.words.contains("not found")
        || answer.words.contains("no jobs running since startup")
    {
        true => Ok(qacct::records(&answer.out)),
        false => Err(CommandError::Odd { program: "qacct".into(), words: answer.words }),
    }
}

/// The record of one attempt; the last where there are several. By name alone where the number is not known.
pub(crate) fn find<'a>(records: &'a [Record], kept: &Kept) -> Option<&'a Record> {
    let earliest = kept.at.0.saturating_sub(u64::try_from(SKEW.as_millis()).unwrap_or(0));
    records
        .iter()
        .filter(|record| record.name == kept.name && record.owner == kept.user && record.task == kept.task)
        .filter(|record| kept.number.is_none_or(|number| number == record.number))
        // The same number and name from before a counter began anew.
        .filter(|record| record.submitted.is_none_or(|at| at.0 >= earliest))
        .max_by_key(|record| record.ended)
}

/// How it ended, in Berth's words.
pub(crate) async fn ended(kept: &Kept, record: &Record) -> Ended {
    let mut exit = record.exit(kept.memory_bytes, kept.stopped);
    let mut message = None;
    match exit.code {
        Some(script::NO_DIRECTORY) if !has_begun(kept).await => {
            let words =
                format!("its directory {} is not there on node {}", kept.directory.display(), record.host);
            (exit.code, exit.could_not_launch) = (None, Some(words));
        }
        Some(script::CODE_IN_FILE) => exit.code = code_in_file(kept).await.or(exit.code),
        _ if record.failed != 0 => message = Some(record.words()),
        _ => {}
    }
    Ended { exit, usage: Some(record.usage()), node: Some(record.host.clone()), message }
}

/// One of the two codes that mean something else to SGE.
async fn code_in_file(kept: &Kept) -> Option<i32> {
    let path = script::mark(&kept.directory, script::tag(kept.attempt.as_str())).join("code");
    let owner = kept.uid;
    let read = move || -> Option<i32> {
        use std::io::Read;
        let mut text = String::new();
        berth_executor_api::files::open_file(&path, owner).ok()?.take(16).read_to_string(&mut text).ok()?;
        text.trim().parse().ok().filter(|code| matches!(code, 99 | 100))
    };
    tokio::task::spawn_blocking(read).await.ok().flatten()
}

/// Whether the attempt left its mark.
pub(crate) async fn has_begun(kept: &Kept) -> bool {
    let mark = script::mark(&kept.directory, script::tag(kept.attempt.as_str()));
    tokio::fs::symlink_metadata(mark).await.is_ok()
}

/// Notes an end and tells of it; of a beginning first, where that was too short to be seen.
pub(crate) fn conclude(shared: &Shared, attempt: &AttemptName, started: Option<UtcMs>, mut ended: Ended) {
    let mut reports = Vec::new();
    let mut book = shared.book.lock();
    if let Some(entry) = book.entries.get_mut(attempt).filter(|entry| entry.state == AttemptState::Starting)
        && let (Some(started), None) = (started, &ended.exit.could_not_launch)
    {
        (entry.state, entry.since) = (AttemptState::Running, entry.since.max(started));
        (entry.message, entry.node) = (None, ended.node.clone());
        entry.phase.send_replace(Phase::Writing);
        reports.push(entry.report());
    }
    if let Some(entry) = book.entries.get(attempt) {
        // SGE counts whole seconds: nothing ends before it began.
        ended.exit.at = ended.exit.at.max(entry.since);
    }
    reports.extend(book.end(attempt, ended));
    drop(book);
    reports.into_iter().for_each(|report| shared.reports.send(Report::Attempt(report)));
}
