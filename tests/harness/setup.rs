//! What stands in a test's berth.toml.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A configuration for one test.
pub struct Setup {
    folder: PathBuf,
    /// The cluster's name; back ends that tests share tell clusters apart by it.
    pub cluster: String,
    /// The folder of the server's state.
    pub state: PathBuf,
    /// The CPUs that may be allocated.
    pub cpus: u32,
    /// The memory that may be allocated.
    pub memory: &'static str,
    /// The executors' tables; one of this machine where it is empty.
    pub executors: String,
    /// Lines for `[server]`.
    pub server: String,
    /// Where the jobs' directories are.
    pub directory: PathBuf,
    /// Lines for `[jobs]`.
    pub jobs: String,
    /// Whether jobs may name any project.
    pub open_projects: bool,
    /// Lines for `[quotas]`.
    pub quotas: String,
    /// Whole tables.
    pub more: String,
}

impl Setup {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            cluster: "berth-t".into(),
            state: folder.join("state"),
            cpus: 4,
            memory: "4G",
            executors: String::new(),
            server: String::new(),
            directory: folder.join("jobs"),
            jobs: String::new(),
            open_projects: true,
            quotas: String::new(),
            more: String::new(),
        }
    }

    /// Has this component decide which jobs start.
    pub fn scheduler(&mut self, component: &Path) {
        self.more += &format!("[scheduler]\npolicy = {component:?}\n");
    }

    /// Nodes that are simulated, on which jobs end at once.
    pub fn fake(&mut self, keys: &str) {
        self.executors += &format!("[executors.fake]\n{keys}\n");
    }

    /// Writes a secret where only the server reads it.
    pub fn secret(&self, name: &str, secret: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        let Self {
            folder,
            cluster,
            state,
            cpus,
            memory,
            executors,
            server,
            directory,
            jobs,
            open_projects,
            quotas,
            more,
        } = self;
        let local = format!("[executors.local]\ncpus = {cpus}\nmemory = {memory:?}\n");
        let executors = if executors.is_empty() { &local } else { executors };
        format!(
            "[cluster]\nname = {cluster:?}\nstate = {state:?}\n\
             [server]\nsocket = {socket:?}\nsocket-mode = \"0666\"\n{server}\n\
             [jobs]\ndirectory = {directory:?}\n{jobs}\n\
             [quotas]\nopen-projects = {open_projects}\n{quotas}\n{executors}\n{more}\n",
            socket = folder.join("s"),
        )
    }
}
