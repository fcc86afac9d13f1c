//! What goes into a step and what comes out of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use berth_model::{
    AccountKind, AccountTerms, Attempt, AttemptName, Bound, Closure, ClosureError, ClosureKind, Exit, JobId,
    NamedGrant, NetworkAttachment, Resources, StateKind, Stock, StopCause, Submission, TermsError, UtcMs,
};

use crate::{
    DEFAULT_PROJECT, LaunchedView, Measured, QuotaSettings,
    change::{Change, LiveJob},
    plan::{Plan, PlanRequest},
};

/// Ties an answer to whoever waits for it.
pub type Token = u64;

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Somebody wants something and waits for the answer.
    Command {
        /// Comes back with the answer.
        token: Token,
        /// What is wanted.
        command: Command,
    },
    /// The nodes of an executor, all of them; and that it can be reached.
    Capacity {
        /// The executor's name in berth.toml.
        executor: String,
        /// What it can do that the engine has to know.
        abilities: Abilities,
        /// Its nodes.
        nodes: Vec<NodeInfo>,
    },
    /// An executor cannot be reached.
    Away {
        /// Which.
        executor: String,
        /// In its words.
        words: String,
    },
    /// An executor can be reached again, or reports may have been missed.
    Back {
        /// Which.
        executor: String,
    },
    /// The answer to [`Effect::Launch`] for one attempt.
    LaunchAnswered {
        /// The job.
        job: JobId,
        /// The execution.
        attempt: Attempt,
        /// What the back end said.
        answer: LaunchAnswer,
    },
    /// An executor's report about an attempt.
    Reported(Reported),
    /// The answer to [`Effect::Reconcile`] for one attempt.
    Reconciled {
        /// The job.
        job: JobId,
        /// The execution.
        attempt: Attempt,
        /// What is known.
        truth: Reconciled,
    },
    /// All attempts of this cluster that an executor's back end has.
    Listed {
        /// Its name.
        executor: String,
        /// The attempts.
        attempts: Vec<(JobId, Attempt)>,
    },
    /// The scheduler policy's answer.
    Planned(Plan),
    /// The scheduler policy could not answer this request; it is to be asked anew.
    PlanFailed {
        /// The request.
        snapshot: u64,
    },
    /// The scheduler policy has forgotten everything, or a fresh one stands in its place.
    PolicyRebuilt,
    /// Whether somebody beside the network policy is to be asked before a job is launched.
    AskBeforeStarts(bool),
    /// The answer of those who were asked before a launch.
    Attached {
        /// The job.
        job: JobId,
        /// The execution.
        attempt: Attempt,
        /// What it said.
        answer: StartAnswer,
    },
    /// The site has changed what it sets about quotas.
    Quotas(Box<QuotaSettings>),
    /// Nothing but that time has passed.
    Tick,
}

/// What people and policies may ask of jobs. Whether they may was settled before.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A new job or array.
    Submit {
        /// What was asked and granted.
        submission: Arc<Submission>,
        /// How jobs ended that it depends on and that the engine may no longer know.
        ended: Vec<(JobId, StateKind)>,
        /// Who submitted it.
        by: String,
        /// What is to stand in its history beside that.
        notes: Vec<String>,
    },
    /// End it.
    Kill {
        /// Which; a task may be one that has not become a job yet.
        job: JobId,
        /// By whom and why.
        cause: StopCause,
    },
    /// Keep it back.
    Hold {
        /// Which.
        job: JobId,
        /// Who.
        by: Actor,
    },
    /// Let it go.
    Release {
        /// Which.
        job: JobId,
        /// Who.
        by: Actor,
    },
    /// Stop it for a while.
    Suspend {
        /// Which.
        job: JobId,
    },
    /// Let it go on.
    Resume {
        /// Which.
        job: JobId,
    },
    /// Run it again: at once if it has ended, after its end if it runs.
    Rerun {
        /// Which.
        job: JobId,
        /// The job as it was stored, when the engine no longer knows it.
        stored: Option<Box<LiveJob>>,
        /// In place of what was asked before, for a job that has ended.
        altered: Option<Arc<Submission>>,
        /// Who asked.
        by: String,
        /// What is to stand in its history beside that.
        notes: Vec<String>,
    },
    /// Change a job.
    Alter {
        /// Which.
        job: JobId,
        /// What it asked for when the change was made of that.
        before: Arc<Submission>,
        /// In place of what was asked before. Only the priority, the project, the resources and the time limit may
        /// differ; of what runs, the priority and the time limit.
        submission: Arc<Submission>,
        /// Who asked.
        by: String,
        /// What is to stand in its history beside that.
        notes: Vec<String>,
    },
    /// Write down what a running job wants its people to know.
    Message {
        /// Which.
        job: JobId,
        /// In its words.
        text: String,
    },
    /// Write something into its history.
    Note {
        /// Which.
        job: JobId,
        /// In words.
        text: String,
    },
    /// Send a signal to it.
    Signal {
        /// Which.
        job: JobId,
        /// The signal's number.
        signal: i32,
    },
    /// Directories were measured.
    Measured {
        /// What they take.
        sizes: Vec<Measured>,
    },
    /// The directory of a job that has ended is gone.
    DirectoryGone {
        /// The job.
        job: JobId,
        /// How many tasks it has, with directories in its own.
        tasks: u64,
    },
    /// Set what an account is and may, or take that away.
    SetAccount {
        /// Whose.
        kind: AccountKind,
        /// Its name.
        name: String,
        /// Which administrator.
        by: String,
        /// The version that they saw; 0 where nothing was set. Another one is refused, so that nobody overwrites
        /// what they have not seen.
        version: u64,
        /// All of it; nothing takes it away.
        terms: Option<Box<AccountTerms>>,
    },
    /// Close nodes, or open them again.
    SetClosure {
        /// What it is.
        kind: ClosureKind,
        /// Its name among those of its kind.
        name: String,
        /// Which administrator.
        by: String,
        /// The version that they saw, as for an account.
        version: u64,
        /// All of it; nothing takes it away.
        terms: Option<Box<Closure>>,
    },
    /// Write what an administrator did into the site's history.
    Act {
        /// Who.
        by: String,
        /// In words.
        words: String,
    },
}

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Login name.
    pub name: String,
    /// Acts as an administrator on somebody else's job.
    pub administrator: bool,
}

/// What was said in answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is durable under this number.
    Submitted(JobId),
    /// The account or closure is durable, in this version.
    Version(u64),
    /// Done, or on its way.
    Done,
    /// Nothing had to be done, for this reason.
    NoNews(&'static str),
    /// The executor was asked; its answer decides. See [`Effect::Control`] with the same token.
    Asked,
}

/// Why a command was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such job is live.
    #[error("job {0} is not known, or has ended")]
    NotLive(JobId),
    /// It does not fit the job's state.
    #[error("job {job} is {state}: {why}")]
    State {
        /// The job.
        job: JobId,
        /// Where it stands.
        state: StateKind,
        /// Why that does not do.
        why: &'static str,
    },
    /// Somebody else has changed it since it was looked at.
    #[error("job {0} was changed by somebody else meanwhile; look at it and try again")]
    Outdated(JobId),
    /// It depends on a job that does not exist.
    #[error("dependency on job {0}, which does not exist")]
    UnknownDependency(JobId),
    /// It depends on an end that cannot come.
    #[error("dependency {kind} on job {on} can no longer be met: that job {state}")]
    ImpossibleDependency {
        /// The other job.
        on: JobId,
        /// How it ended.
        state: StateKind,
        /// What was asked.
        kind: &'static str,
    },
    /// No node could ever hold it.
    #[error(
        "no node of executor {executor} can ever hold {needs}; the largest that comes near has {largest}"
    )]
    TooLarge {
        /// The executor.
        executor: String,
        /// What was asked.
        needs: Resources,
        /// What the largest suitable node has.
        largest: Resources,
    },
    /// No node has the labels.
    #[error("no node of executor {executor} has {constraints}")]
    NoSuchNode {
        /// The executor.
        executor: String,
        /// The labels that were asked for.
        constraints: String,
    },
    /// There is never so much of a named resource.
    #[error(
        "it asks for {asked} of resource {name}, and {} for jobs of executor {executor}",
        if *most == 0 { "there is none".to_owned() } else { format!("there are never more than {most} in one place") }
    )]
    NoSuchResource {
        /// The executor.
        executor: String,
        /// The resource.
        name: String,
        /// What was asked.
        asked: u64,
        /// The most that one place has.
        most: u64,
    },
    /// The executor does not exist.
    #[error("executor {0:?} is not configured")]
    UnknownExecutor(String),
    /// Too many jobs wait already.
    #[error(
        "{waits} jobs wait{}, and no more than {limit} may; submit it when some have started",
        user.as_ref().map(|user| format!(" of user {user}")).unwrap_or_default()
    )]
    TooManyWait {
        /// Whose; everybody's without one.
        user: Option<String>,
        /// How many.
        waits: u64,
        /// How many may.
        limit: u64,
    },
    /// Too many submissions within a minute.
    #[error("{user} submits faster than this site allows; try again in {} s", wait_ms.div_ceil(1000))]
    TooFast {
        /// Who.
        user: String,
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// An account bounds time, and the job may run for ever.
    #[error("{account} has a quota of time, so that a job needs a time limit; give it one with --time")]
    NoTimeLimit {
        /// Whose quota.
        account: String,
    },
    /// It alone would pass a quota.
    #[error("it can use more than {bound}, which is all that {account} may use")]
    OverQuota {
        /// Whose quota.
        account: String,
        /// How much.
        bound: Bound,
    },
    /// An account has not enough left for what runs to run longer.
    #[error("{account} has not enough left of {bound} for that")]
    NotLeft {
        /// Whose quota.
        account: String,
        /// How much.
        bound: Bound,
    },
    /// No administrator has made the project.
    #[error("there is no project {0}; an administrator can make it with `berth project create {0}`")]
    NoSuchProject(String),
    /// Only members may have jobs in it.
    #[error("{user} is no member of project {project}")]
    NotAMember {
        /// Who.
        user: String,
        /// The project.
        project: String,
    },
    /// An administrator has barred it.
    #[error("{account} takes no new jobs: an administrator has barred it")]
    Barred {
        /// Whose account.
        account: String,
    },
    /// It is as it is.
    #[error("the project {DEFAULT_PROJECT} belongs to everybody and cannot be changed")]
    DefaultProject,
    /// An account cannot be so.
    #[error("{account}: {error}")]
    Terms {
        /// Whose.
        account: String,
        /// Why not.
        error: TermsError,
    },
    /// Somebody else was faster.
    #[error("{account} has been changed in the meantime: it is at version {version} now; look at it again")]
    AccountChanged {
        /// Whose.
        account: String,
        /// Its version; 0 where nothing is set.
        version: u64,
    },
    /// A closure cannot be so.
    #[error("{closure}: {error}")]
    Closure {
        /// Which.
        closure: String,
        /// Why not.
        error: ClosureError,
    },
    /// There is nothing to be opened.
    #[error("there is no {closure}")]
    NotClosed {
        /// Which.
        closure: String,
    },
    /// Somebody else was faster.
    #[error("{closure} has been changed in the meantime: it is at version {version} now; look at it again")]
    ClosureChanged {
        /// Which.
        closure: String,
        /// Its version; 0 where there is none.
        version: u64,
    },
    /// A name that no node has.
    #[error("there is no node {node}; `berth nodes` lists them")]
    NoNodeSo {
        /// The name.
        node: String,
    },
    /// The executor cannot do this.
    #[error("executor {executor} cannot {what}")]
    Unable {
        /// The executor.
        executor: String,
        /// What was asked.
        what: &'static str,
    },
}

/// What the engine has to know of an executor's capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// It suspends and resumes.
    pub suspend: bool,
    /// It sends signals.
    pub signal: bool,
    /// It ends attempts at their time limit by itself.
    pub time_limit: bool,
    /// What runs can get another time limit.
    pub new_time_limit: bool,
    /// It keeps attempts waiting, in their order, that it has no room for yet.
    pub queues: bool,
}

/// A node, as its executor describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name within the executor.
    pub name: String,
    /// What may be allocated on it.
    pub total: Resources,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its named resources.
    pub named: BTreeMap<String, Stock>,
    /// Whether it takes new jobs.
    pub usable: bool,
}

/// A back end's answer to a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchAnswer {
    /// It exists there.
    Taken,
    /// No room; nothing of it exists there.
    NoRoom(String),
    /// Never; nothing of it exists there.
    Refused(String),
    /// It cannot be said whether it exists there; to be reconciled.
    Unknown(String),
}

/// A report about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The executor.
    pub executor: String,
    /// The job.
    pub job: JobId,
    /// The execution.
    pub attempt: Attempt,
    /// What it says.
    pub state: ReportedState,
    /// Since when.
    pub at: UtcMs,
    /// CPU time so far, in microseconds.
    pub cpu_micros: Option<u64>,
    /// The most memory so far, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Sub-status or explanation.
    pub message: Option<String>,
}

/// Where an attempt stands, says its executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportedState {
    /// Taken, not running yet.
    Starting,
    /// Runs.
    Running,
    /// Suspended.
    Suspended,
    /// Over.
    Exited(Exit),
    /// Given back for want of room.
    NoRoom,
    /// Gone with its node, for sure.
    NodeGone,
}

/// The truth about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// It exists.
    Known(Reported),
    /// It does not, and would if it had ever been taken.
    Absent,
    /// Nobody can say.
    Uncertain(String),
}

/// What those said who were asked before a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAnswer {
    /// It may start, attached so where it wants a network.
    Yes(Option<NetworkAttachment>),
    /// Never.
    Never {
        /// Whose answer it is.
        by: String,
        /// Why.
        words: String,
    },
    /// Not at the moment.
    NotNow(String),
}

/// What has to be done outside, after the changes of the step are durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a command.
    Reply {
        /// The command's.
        token: Token,
        /// What to say.
        answer: Result<Answer, Refusal>,
    },
    /// Ask the scheduler policy.
    AskPlan(Box<PlanRequest>),
    /// The scheduler policy broke its contract with its answer to this request.
    Breach {
        /// The request.
        snapshot: u64,
        /// How.
        words: String,
    },
    /// Ask the watchers that want it whether the job may start, and the network policy for its network.
    AskStart {
        /// The job.
        job: Box<LaunchedView>,
        /// The execution.
        attempt: Attempt,
        /// The array, where it is a task: what was submitted is the array's.
        array: Option<JobId>,
        /// It wants a network.
        network: bool,
    },
    /// Tell those who were asked that the job is over, or was given back.
    ReleaseStart {
        /// The job.
        job: JobId,
    },
    /// Launch these.
    Launch {
        /// With this executor.
        executor: String,
        /// The attempts.
        orders: Vec<LaunchOrder>,
    },
    /// Ask an attempt to do something.
    Control {
        /// With this executor.
        executor: String,
        /// The attempt.
        attempt: AttemptName,
        /// What it is to do.
        action: ControlAction,
        /// Whom to tell what came of it.
        token: Option<Token>,
    },
    /// Find out about these attempts.
    Reconcile {
        /// With this executor.
        executor: String,
        /// The attempts.
        attempts: Vec<(JobId, Attempt)>,
    },
    /// Find out which attempts there are.
    List {
        /// With this executor.
        executor: String,
    },
    /// An account was set, or taken away.
    AccountSet {
        /// Whose.
        kind: AccountKind,
        /// Its name.
        name: String,
        /// Its version.
        version: u64,
        /// What was set.
        terms: Option<Box<AccountTerms>>,
    },
    /// Measure the directory of a job that has ended.
    Measure {
        /// The job.
        job: JobId,
        /// The array and the index in it, for a task.
        task: Option<(JobId, u64)>,
        /// Its owner's login name.
        owner: String,
        /// Its project.
        project: String,
        /// The number of the execution that is over.
        after: u32,
    },
    /// The end of these is durable; the back end may forget them.
    Forget {
        /// The executor.
        executor: String,
        /// The attempts.
        attempts: Vec<AttemptName>,
    },
}

/// One attempt to be launched.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchOrder {
    /// The job; a task's own number.
    pub job: JobId,
    /// The execution.
    pub attempt: Attempt,
    /// The array and the task's index in it.
    pub task: Option<(JobId, u64)>,
    /// The node's name within the executor.
    pub node: String,
    /// Its network, where the policy gave one.
    pub network: Option<NetworkAttachment>,
    /// The named resources that it was given.
    pub granted: Vec<NamedGrant>,
}

/// What an attempt is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlAction {
    /// Stop for a while.
    Suspend,
    /// Go on.
    Resume,
    /// Get this signal.
    Signal(i32),
    /// End, and be killed after the grace.
    Terminate {
        /// The grace.
        grace: Duration,
    },
    /// Run no longer than this from its start on.
    TimeLimit {
        /// How long.
        limit: Duration,
    },
}

/// Everything that comes out of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// To be written first, in one transaction.
    pub changes: Vec<Change>,
    /// To be done then.
    pub effects: Vec<Effect>,
    /// The engine wants to be stepped at this instant even when nothing happens before.
    pub wake_at: Option<UtcMs>,
}
