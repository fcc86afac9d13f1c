//! The variables that every job gets, whatever runs it.

use crate::Launch;

/// Where the job finds its things, as it sees them: inside a container these differ from the host's.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The job's directory.
    pub directory: &'a str,
    /// The user's home; the job's directory where there is none.
    pub home: &'a str,
    /// The data area, where the site has one.
    pub data: Option<&'a str>,
}

impl Launch {
    /// The job's environment: the user's variables first, then Berth's, which they cannot override.
    ///
    /// The names beginning with `GODOCKER_` are those that GO-Docker gave to jobs; `GOGOCKER_` is how
    /// that system spelled the ones of arrays.
    #[must_use]
    pub fn environment(&self, places: Places<'_>) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> =
            self.spec.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        all.retain(|(name, _)| !is_reserved(name));
        all.extend(self.own_environment(places));
        all
    }

    /// Berth's part of it.
    pub(crate) fn own_environment(&self, places: Places<'_>) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut set = |name: &str, value: String| all.push((name.to_owned(), value));
        let job = self.job.to_string();
        set("BERTH_JOB_ID", job.clone());
        set("BERTH_JOB_NAME", self.spec.name.clone());
        set("BERTH_JOB_DIR", places.directory.to_owned());
        set("BERTH_HOME", places.home.to_owned());
        set("BERTH_ATTEMPT", self.attempt_number.to_string());
        set("BERTH_PROJECT", self.spec.project.clone());
        set("GODOCKER_JID", job);
        set("GODOCKER_PWD", places.directory.to_owned());
        set("GODOCKER_HOME", places.home.to_owned());
        if let Some(data) = places.data {
            set("GODOCKER_DATA", data.to_owned());
        }
        for grant in &self.granted {
            set(&grant.variable(), grant.value());
        }
        if let Some(task) = self.task {
            set("BERTH_ARRAY_ID", task.array.to_string());
            for (part, value) in
                [("ID", task.index), ("FIRST", task.first), ("LAST", task.last), ("STEP", task.step)]
            {
                for prefix in ["BERTH_ARRAY_TASK_", "GODOCKER_TASK_", "GOGOCKER_TASK_"] {
                    set(&format!("{prefix}{part}"), value.to_string());
                }
            }
        }
        all
    }
}

/// Whether users cannot set a variable of this name.
fn is_reserved(name: &str) -> bool {
    ["BERTH_JOB_", "BERTH_ARRAY_", "BERTH_RESOURCE_", "GODOCKER_", "GOGOCKER_TASK_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || matches!(name, "BERTH_HOME" | "BERTH_ATTEMPT" | "BERTH_PROJECT")
}
