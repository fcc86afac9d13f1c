//! What `berth top` shows, and what keys do to it.

use berth_api::{JobRow, NodeRow, ServerInfo};
use berth_model::JobRef;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// One look at the server.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The server.
    pub info: ServerInfo,
    /// Its nodes.
    pub nodes: Vec<NodeRow>,
    /// Its live jobs.
    pub jobs: Vec<JobRow>,
}

/// What jobs are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// What runs before what waits.
    State,
    /// Newest first.
    Id,
    /// By name.
    Name,
    /// By owner.
    User,
    /// Most CPUs first.
    Cpus,
    /// Most memory first.
    Memory,
}

impl Sort {
    /// Its column's heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Id => "ID",
            Self::Name => "NAME",
            Self::User => "USER",
            Self::Cpus => "CPU",
            Self::Memory => "MEM",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::State => Self::Id,
            Self::Id => Self::Name,
            Self::Name => Self::User,
            Self::User => Self::Cpus,
            Self::Cpus => Self::Memory,
            Self::Memory => Self::State,
        }
    }
}

/// What keys are for just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Moving about.
    Table,
    /// Typing a filter.
    Filter,
    /// Yes or no: killing this job.
    Confirm(String),
}

/// What a key asks for beyond the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing.
    Nothing,
    /// To leave.
    Quit,
    /// To kill a job.
    Kill(String),
}

/// The state of the screen.
#[derive(Debug)]
pub struct Model {
    /// What it said last.
    pub snapshot: Snapshot,
    /// The order.
    pub sort: Sort,
    /// Only jobs with this in their name, owner or state.
    pub filter: String,
    /// What keys are for.
    pub mode: Mode,
    /// What happened last.
    pub message: Option<String>,
    /// Why what is shown may be old.
    pub trouble: Option<String>,
    /// The marked row.
    pub marked: usize,
    /// Rows on the screen; the view says.
    pub page: usize,
}

impl Model {
    /// With a first look.
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            sort: Sort::State,
            filter: String::new(),
            mode: Mode::Table,
            message: None,
            trouble: None,
            marked: 0,
            page: 10,
        }
    }

    /// The jobs to be shown, in order.
    pub fn jobs(&self) -> Vec<&JobRow> {
        let filter = self.filter.to_lowercase();
        let fits = |text: &str| text.to_lowercase().contains(&filter);
        let mut jobs: Vec<&JobRow> = self.snapshot.jobs.iter().collect();
        jobs.retain(|job| {
            fits(&job.name) || fits(&job.user) || fits(&job.state) || fits(&job.project) || fits(&job.label)
        });
        let newest = |job: &JobRow| std::cmp::Reverse(job.label.parse::<JobRef>().ok());
        jobs.sort_by_key(|job| newest(job));
        match self.sort {
            Sort::State => jobs.sort_by_key(|job| rank(&job.state)),
            Sort::Id => {}
            Sort::Name => jobs.sort_by(|a, b| a.name.cmp(&b.name)),
            Sort::User => jobs.sort_by(|a, b| a.user.cmp(&b.user)),
            Sort::Cpus => jobs.sort_by_key(|job| std::cmp::Reverse(job.cpu_millis)),
            Sort::Memory => jobs.sort_by_key(|job| std::cmp::Reverse(job.memory_bytes)),
        }
        jobs
    }

    /// A new look: the mark stays on its job.
    pub fn on_fresh(&mut self, snapshot: Snapshot) {
        let marked = self.marked_label();
        self.snapshot = snapshot;
        self.trouble = None;
        self.mark(marked);
    }

    /// The server does not answer.
    pub fn on_trouble(&mut self, text: String) {
        self.trouble = Some(text);
    }

    /// Something to be read.
    pub fn say(&mut self, text: String) {
        self.message = Some(text);
    }

    /// A key was pressed.
    pub fn on_key(&mut self, key: KeyEvent) -> Ask {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Ask::Quit;
        }
        match self.mode.clone() {
            Mode::Table => self.on_table_key(key.code),
            Mode::Filter => self.on_filter_key(key.code),
            Mode::Confirm(job) => {
                self.mode = Mode::Table;
                match key.code {
                    KeyCode::Char('y' | 'Y') => return Ask::Kill(job),
                    _ => self.message = Some(format!("job {job} goes on")),
                }
                Ask::Nothing
            }
        }
    }

    fn on_table_key(&mut self, key: KeyCode) -> Ask {
        self.message = None;
        let last = self.jobs().len().saturating_sub(1);
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Ask::Quit,
            KeyCode::Up => self.marked = self.marked.saturating_sub(1),
            KeyCode::Down => self.marked = (self.marked + 1).min(last),
            KeyCode::PageUp => self.marked = self.marked.saturating_sub(self.page),
            KeyCode::PageDown => self.marked = (self.marked + self.page).min(last),
            KeyCode::Home => self.marked = 0,
            KeyCode::End => self.marked = last,
            KeyCode::Char('s') => {
                let marked = self.marked_label();
                self.sort = self.sort.next();
                self.mark(marked);
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('k') => match self.marked_label() {
                Some(job) => self.mode = Mode::Confirm(job),
                None => self.message = Some("there is no job to kill".to_owned()),
            },
            _ => {}
        }
        Ask::Nothing
    }

    fn on_filter_key(&mut self, key: KeyCode) -> Ask {
        let marked = self.marked_label();
        match key {
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.chars().count() < 100 => self.filter.push(c),
            _ => {}
        }
        self.mark(marked);
        Ask::Nothing
    }

    fn marked_label(&self) -> Option<String> {
        self.jobs().get(self.marked).map(|job| job.label.clone())
    }

    fn mark(&mut self, label: Option<String>) {
        let jobs = self.jobs();
        let found = label.and_then(|label| jobs.iter().position(|job| job.label == label));
        self.marked = found.unwrap_or(self.marked.min(jobs.len().saturating_sub(1)));
    }
}

fn rank(state: &str) -> usize {
    let order = ["running", "stopping", "suspended", "starting", "pending", "held"];
    order.iter().position(|known| *known == state).unwrap_or(order.len())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn sample() -> Snapshot {
        let job = |id: u64, name: &str, user: &str, state: &str, cpu_millis| JobRow {
            id,
            label: id.to_string(),
            name: name.into(),
            user: user.into(),
            state: state.into(),
            cpu_millis,
            submitted: "2025-11-21T08:57:00Z".into(),
            started: (state == "running").then(|| "2025-11-21T08:59:00Z".into()),
            ..JobRow::default()
        };
        Snapshot {
            info: ServerInfo {
                version: "0.1.0".into(),
                cluster: "berth".into(),
                user: "ann".into(),
                roles: Vec::new(),
                executors: vec!["local".into()],
                jobs: vec![
                    berth_api::StateCount { state: "running".into(), count: 1 },
                    berth_api::StateCount { state: "pending".into(), count: 2 },
                ],
                started: "2025-11-21T08:00:00Z".into(),
                notices: Vec::new(),
                leader: None,
                barred: None,
            },
            nodes: crate::commands::nodes::tests::sample(),
            jobs: vec![
                job(3, "evil\x1b[2J\nname", "bob", "pending", 4000),
                job(2, "train", "ann", "running", 2500),
                job(1, "align", "ann", "pending", 500),
            ],
        }
    }

    fn model() -> Model {
        Model::new(sample())
    }

    fn press(model: &mut Model, keys: &str) -> Vec<Ask> {
        keys.chars().map(|c| model.on_key(KeyCode::Char(c).into())).collect()
    }

    fn labels(model: &Model) -> Vec<&str> {
        model.jobs().iter().map(|job| job.label.as_str()).collect()
    }

    #[test]
    fn what_runs_comes_first_and_s_changes_the_order() {
        let mut model = model();
        assert_eq!(labels(&model), ["2", "3", "1"]);
        press(&mut model, "s");
        assert_eq!((model.sort, labels(&model)), (Sort::Id, vec!["3", "2", "1"]));
        assert_eq!(model.marked, 1, "the mark stays on its job");
        press(&mut model, "s");
        assert_eq!((model.sort, labels(&model)), (Sort::Name, vec!["1", "3", "2"]));
        press(&mut model, "ss");
        assert_eq!((model.sort, labels(&model)), (Sort::Cpus, vec!["3", "2", "1"]));
    }

    #[test]
    fn a_filter_is_typed_kept_and_dropped() {
        let mut model = model();
        press(&mut model, "/ANN");
        assert_eq!(labels(&model), ["2", "1"]);
        model.on_key(KeyCode::Enter.into());
        assert_eq!((press(&mut model, "q"), labels(&model)), (vec![Ask::Quit], vec!["2", "1"]));
        press(&mut model, "/");
        model.on_key(KeyCode::Esc.into());
        assert_eq!(labels(&model).len(), 3);
    }

    #[test]
    fn killing_asks_first_and_names_the_job() {
        let mut model = model();
        assert_eq!(press(&mut model, "k"), [Ask::Nothing]);
        assert_eq!(model.mode, Mode::Confirm("2".into()));
        assert_eq!(press(&mut model, "n"), [Ask::Nothing], "anything but y is a no");
        assert_eq!(press(&mut model, "ky"), [Ask::Nothing, Ask::Kill("2".into())]);
        press(&mut model, "k");
        let mut other = sample();
        other.jobs.retain(|job| job.id != 2);
        model.on_fresh(other);
        assert_eq!(press(&mut model, "y"), [Ask::Kill("2".into())], "not the one that moved into its row");
    }

    #[test]
    fn the_mark_stays_within_the_jobs() {
        let mut model = model();
        for key in [KeyCode::Up, KeyCode::PageUp, KeyCode::Home] {
            model.on_key(key.into());
            assert_eq!(model.marked, 0);
        }
        for key in [KeyCode::End, KeyCode::Down, KeyCode::PageDown] {
            model.on_key(key.into());
            assert_eq!(model.marked, 2);
        }
        model.on_fresh(Snapshot { jobs: Vec::new(), ..sample() });
        assert_eq!((model.marked, press(&mut model, "k")), (0, vec![Ask::Nothing]));
        assert_eq!(model.mode, Mode::Table);
    }
}
