//! The conformance kit: a suite that an executor's author runs against the real thing.
//!
//! The author writes a [`Fixture`], which says how to reach the executor, how to crash it and cut it
//! off, and what the back end runs; [`run`] goes through all cases and gives a [`Report`]. What the
//! executor does not offer is told as not supported, and that it then says so is checked too.
//!
//! ```no_run
//! # use berth_executor_api::conformance::{Fixture, run};
//! # async fn my_test(fixture: impl Fixture) {
//! run(&fixture).await.assert_passed();
//! # }
//! ```

mod abilities;
mod control;
mod keeping;
mod lifecycle;
mod logs;
mod reach;
mod report;
mod restart;
mod sample;
mod stage;

use std::{panic::AssertUnwindSafe, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};

use self::{
    report::Miss,
    stage::{Checked, Stage},
};
pub use self::{
    report::{CaseResult, Outcome, Report},
    sample::{Sample, Work},
};
use crate::{Identity, Launch, Resources, SharedExecutor};

/// Where and as whom the kit's jobs run.
#[derive(Clone, Debug)]
pub struct Site {
    /// The cluster's name. The kit removes everything of it at the end.
    pub cluster: String,
    /// Whom the jobs run as.
    pub identity: Identity,
    /// A directory that the jobs' directories are made in, absolute.
    pub directory: String,
    /// The container image, where there are such.
    pub image: Option<String>,
    /// What each job asks for. Fifty of them must fit on a node at once.
    pub resources: Resources,
}

/// What the kit needs to know of an executor and may do to it.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The executor. Called once, first of all.
    async fn executor(&self) -> SharedExecutor;

    /// Drops everything that the executor keeps in Berth's memory, as a crash of Berth would, without
    /// asking it to do anything before. The kit has let go of its own handle.
    async fn crash(&self);

    /// A new executor on the same back end, as a restarted Berth would make it. Follows `crash`.
    async fn restart(&self) -> SharedExecutor;

    /// Makes the back end unreachable, while jobs there go on; `false` where that cannot be done.
    async fn cut(&self) -> bool {
        false
    }

    /// Undoes `cut`.
    async fn mend(&self) {}

    /// Where and as whom jobs run.
    fn site(&self) -> Site;

    /// What the back end is given to run. As a rule a real shell is.
    fn work(&self, sample: &Sample) -> Work {
        sample.in_shell()
    }

    /// Changes a launch into one that the back end refuses; `false` where it never does.
    fn spoil(&self, launch: &mut Launch) -> bool {
        let _ = launch;
        false
    }

    /// How often this attempt was run. As a rule its own traces in its directory are counted; a
    /// fixture whose jobs write elsewhere has to ask the back end.
    async fn runs(&self, launch: &Launch) -> usize {
        let trace = std::path::Path::new(&launch.directory).join(sample::TRACE);
        std::fs::read_to_string(trace).map_or(0, |text| text.lines().count())
    }

    /// How often the executor looks at a back end that tells nothing by itself: a job that is shorter than a few
    /// looks may be over when it is first seen. Zero, as a rule, has every job seen while it runs.
    fn looks_every(&self) -> Duration {
        Duration::ZERO
    }

    /// The longest that one case may take.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// One case of the suite.
struct Case {
    name: &'static str,
    run: for<'a> fn(&'a Stage<'a>) -> BoxFuture<'a, Checked>,
}

macro_rules! cases {
    ($($module:ident::$name:ident,)*) => {
        &[$(Case { name: stringify!($name), run: |stage| $module::$name(stage).boxed() },)*]
    };
}

/// All cases. The last one removes everything that the others have left.
const CASES: &[Case] = cases![
    abilities::capacity_is_there_and_stays,
    abilities::describe_is_honest,
    lifecycle::exit_codes_are_told,
    lifecycle::reports_come_in_order,
    lifecycle::a_signal_is_told,
    lifecycle::a_command_that_is_not_there_is_told,
    lifecycle::launched_twice_runs_once,
    lifecycle::a_batch_is_answered_in_order,
    lifecycle::array_tasks_know_their_place,
    lifecycle::the_time_limit_ends_a_job,
    restart::a_running_attempt_is_adopted,
    restart::launched_again_after_a_restart_runs_once,
    restart::an_exit_code_is_known_after_a_restart,
    restart::what_ended_while_berth_was_away_is_known,
    restart::what_was_never_launched_is_absent,
    control::a_job_ends_when_asked_to,
    control::a_deaf_job_is_killed_after_the_grace,
    control::no_grace_kills_at_once,
    control::ending_what_is_over_or_unknown_is_no_error,
    control::an_end_before_the_stop_says_so,
    control::suspended_stands_still_until_resumed,
    control::a_suspended_job_can_be_ended,
    control::a_signal_arrives,
    logs::outputs_are_whole_and_separate,
    logs::a_tail_is_the_end,
    logs::following_ends_with_the_job,
    logs::stats_are_told_of_what_runs,
    reach::cut_off_says_nothing_false,
    reach::the_truth_is_known_after_mending,
    keeping::what_is_removed_is_absent,
    keeping::what_it_has_is_listed_until_it_is_removed,
    keeping::what_runs_is_not_removed,
    keeping::a_clean_up_leaves_nothing,
];

/// Runs the whole suite, one case after the other.
pub async fn run(fixture: &dyn Fixture) -> Report {
    run_some(fixture, |_| true).await
}

/// Runs the cases whose names are wanted.
pub async fn run_some(fixture: &dyn Fixture, wanted: impl Fn(&str) -> bool) -> Report {
    let stage = Stage::new(fixture).await;
    let mut cases = Vec::new();
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        let outcome = match one(&stage, case, fixture.patience()).await {
            Ok(()) => Outcome::Passed,
            Err(Miss::Lacks(what)) => Outcome::NotSupported(what),
            Err(Miss::Failed(words)) => Outcome::Failed(words),
        };
        cases.push(CaseResult { name: case.name, outcome });
        fixture.mend().await;
        stage.tidy(fixture.patience()).await;
    }
    Report { executor: stage.description.name.clone(), cases }
}

async fn one(stage: &Stage<'_>, case: &Case, patience: Duration) -> Checked {
    let guarded = AssertUnwindSafe((case.run)(stage)).catch_unwind();
    match tokio::time::timeout(patience, guarded).await {
        Ok(Ok(checked)) => checked,
        Ok(Err(_)) => Err(Miss::Failed("the executor panicked".into())),
        Err(_) => {
            let waiting = stage.waiting_for();
            Err(Miss::Failed(format!("took longer than {patience:?}; was waiting for {waiting}")))
        }
    }
}
