//! What Berth's rooms talk about: jobs, arrays, attempts, resources, users, and the one table that
//! says how a job moves. No I/O, no clock, no async runtime.

mod account;
mod array;
mod closure;
mod end;
mod history;
mod ids;
mod in_use;
mod named;
mod notice;
mod pattern;
mod project_volume;
mod reason;
mod resources;
mod spec;
mod state;
mod submission;
mod terms;
mod time;
mod units;
mod user;
pub mod view;

/// Bytes in a mebibyte.
pub(crate) const MIB: u64 = 1 << 20;

pub use account::{AccountKind, Bound, Limits, Measure, Used};
pub use array::{ArrayRange, ArrayRangeError};
pub use closure::{Closure, ClosureError, ClosureKind};
pub use end::{End, Exit, FailCause, StopCause};
pub use history::{EventKind, JobEventRecord};
pub use ids::{Attempt, AttemptName, AttemptNameError, JobId, JobRef, JobRefError};
pub use in_use::InUse;
pub use named::{
    NamedAmounts, NamedGrant, Stock, format_named, parse_units, resource_name_fault, resource_variable,
};
pub use notice::{JobNotices, MailTo, NoticeChoice, Occasion, OccasionError};
pub use pattern::{NodePattern, NodePatternError};
pub use project_volume::ProjectVolume;
pub use reason::WaitReason;
pub use resources::{FailedNode, NodeName, Resources};
pub use spec::{Command, Dependency, DependencyKind, JobFile, JobSpec, Volume, VolumeMode};
pub use state::{Hold, Holds, JobEvent, JobState, StateKind, Step};
pub use submission::{Grant, Mount, NetworkAttachment, Submission};
pub use terms::{AccountTerms, TermsError};
pub use time::UtcMs;
pub use units::{
    UnitError, format_bytes, format_disk, format_duration, parse_bytes, parse_cpus, parse_disk,
    parse_duration, type_disk,
};
pub use user::{GUEST_PREFIX, Identity, Role, is_guest};
