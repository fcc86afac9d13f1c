//! The executor's settings.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// What [`crate::SgeExecutor::start`] needs to know.
#[derive(Clone, Debug)]
pub struct SgeConfig {
    /// The cluster's name, part of every attempt's name.
    pub cluster: String,
    /// Where it is noted what was handed to SGE; on a disk, and the same for all Berths that share work.
    pub state: PathBuf,
    /// Where SGE's own programs are. The real ones, not wrappers that work out the architecture each time.
    pub binaries: PathBuf,
    /// The variables that tell those programs which cell they are to talk to, such as `SGE_ROOT`.
    pub environment: BTreeMap<String, String>,
    /// The queues that jobs go to, each a node of Berth's; all of the cell's where there is none.
    pub queues: Vec<String>,
    /// How much more than a queue has may be sent to it and wait there, in percent.
    pub backlog_percent: u64,
    /// The parallel environment of jobs that ask for more than one CPU; such jobs are refused where `None`.
    pub parallel_environment: Option<String>,
    /// The resource that memory is asked for by, for each slot; memory is not asked for where `None`.
    pub memory_complex: Option<String>,
    /// The resource that stands for a GPU; jobs that ask for one are refused where `None`.
    pub gpu_complex: Option<String>,
    /// How many GPUs each queue has.
    pub gpus: u32,
    /// Whether SGE is told a job's project, which it then has to know.
    pub projects: bool,
    /// Whether SGE is told the time limit, too, a minute late so that Berth's own comes first.
    pub wall_time: bool,
    /// Further arguments of every `qsub`, as they are.
    pub submit_options: Vec<String>,
    /// The longest time between two looks at the cell, while there are attempts.
    pub look_every: Duration,
    /// How often SGE's reasons for waiting are asked for.
    pub explain_every: Duration,
    /// A command that takes longer is ended, and the cell counts as away.
    pub answer_within: Duration,
    /// How long a submission whose sender is gone may take to arrive.
    pub settle: Duration,
    /// How long the record of an ended job is waited for.
    pub record_within: Duration,
    /// How many commands run at the same time.
    pub commands_at_once: usize,
    /// The site's data area, told to jobs.
    pub data: Option<String>,
}

impl SgeConfig {
    /// The usual settings. The cell is the one that this process's own variables name.
    #[must_use]
    pub fn new(cluster: impl Into<String>, state: impl Into<PathBuf>) -> Self {
        Self {
            cluster: cluster.into(),
            state: state.into(),
            binaries: "/usr/lib/gridengine".into(),
            environment: BTreeMap::new(),
            queues: Vec::new(),
            backlog_percent: 0,
            parallel_environment: None,
            memory_complex: Some("h_vmem".into()),
            gpu_complex: None,
            gpus: 0,
            projects: false,
            wall_time: false,
            submit_options: Vec::new(),
            look_every: Duration::from_secs(5),
            explain_every: Duration::from_mins(1),
            answer_within: Duration::from_secs(20),
            settle: Duration::from_secs(5),
            record_within: Duration::from_mins(5),
            commands_at_once: 4,
            data: None,
        }
    }
}
