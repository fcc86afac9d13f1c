//! The core loop as a pure state machine: what happened goes in, what has to be written and done
//! comes out. No I/O, no clock, no threads; the replay, the property tests and the daemon all drive
//! the very same code.

mod accounts;
mod alter;
mod arrays;
mod avoid;
mod change;
mod choice;
mod closures;
mod commands;
mod cost;
mod dependencies;
mod disk;
mod engine;
mod explain;
mod fading;
mod feasible;
mod io;
mod job;
mod kin;
mod names;
mod nodes;
mod pace;
mod placements;
mod plan;
mod plan_check;
mod pools;
mod quotas;
mod reports;
mod restore;
mod shutting;
mod spells;
mod suggest;
mod telling;
mod terms;
mod timers;

pub use accounts::{ClassBounds, CountAt, DEFAULT_PROJECT, OnBreach, QuotaSettings, StoredAccount};
pub use change::{ArrayEnds, Change, LiveJob, Moving, Restored, StoredDirectory};
pub use choice::Choice;
pub use disk::Measured;
pub use engine::{Engine, Settings};
pub use explain::{LaunchedView, LiveView, NamedView, NodeView, RunningView};
pub use fading::Faded;
pub use io::{
    Abilities, Actor, Answer, Command, ControlAction, Effect, Input, LaunchAnswer, LaunchOrder, NodeInfo,
    Outcome, Reconciled, Refusal, Reported, ReportedState, StartAnswer, Token,
};
pub use plan::{
    AccountTold, NameId, NodeId, NodeTold, PendingTold, PlacementId, PlacementTold, Plan, PlanRequest, Room,
    RunningTold, Start, Told, WhoseTold,
};
pub use shutting::{ClosureView, StoredClosure};
pub use spells::{Bar, Spell};
pub use suggest::Suggestion;
pub use terms::Standing;
