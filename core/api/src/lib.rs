//! The wire types of `/v1`, and the client that speaks them.
//!
//! Times are RFC 3339 text in UTC, durations milliseconds, sizes bytes, CPU milli-cores; a field's name
//! ends in its unit. What a person types (`4G`, `1h30m`, `1-100:2%10`) is text, read on the server, so that
//! the command line, job files and other clients all get the same answers about mistakes.

mod account;
mod attach;
mod client;
mod closure;
mod error;
mod guests;
mod job;
mod notices;
mod operate;
mod people;
mod submit;

pub use account::{
    AccountDay, AccountRow, AccountRunning, AccountSettings, AccountUse, ActRow, SetAccount, VolumeRow,
};
pub use attach::{ExecQuery, StatsRow, TerminalSize, Word};
pub use client::{
    ApiStream, AttachedInput, AttachedOutput, Broken, Client, ClientError, JobsText, Piece, Target,
};
pub use closure::{ClosureRow, SetClosure};
pub use error::{ErrorBody, ErrorCode, Problem};
pub use guests::{GuestRow, GuestSignIn, SetGuest};
pub use hyper::body::Bytes;
pub use job::{
    Cause, EventRow, FileRow, HistoryRow, JobDetail, JobList, JobQuery, JobRow, LogPart, Reason, StateCount,
    Suggestion, Waited, Why,
};
pub use notices::{JobMessage, NoticesRow, SetNotices, SinkRow};
pub use operate::{
    Alteration, ControlRequest, ControlResult, Controls, DaemonRow, Finding, MetricsText, NewToken, NodeRow,
    PluginCheck, PluginRow, ResourceRow, ServerInfo, TokenCreated, TokenRow, UsageRow,
};
pub use people::{PasswordRow, SessionCreated, SetPassword, SignIn};
pub use submit::{Changed, CommandText, Submit, Submitted, VolumeText};
