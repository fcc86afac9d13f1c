//! What goes over a WebSocket between a person and a running job.
//!
//! Binary messages are bytes, as they are. Text messages are [`Word`]s.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ErrorBody;

/// What is to run beside a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExecQuery {
    /// The program and its arguments, as a JSON list of strings: `["sh","-c","id"]`.
    #[serde(default)]
    pub argv: String,
    /// With a terminal, which carries both outputs as one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
}

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalSize {
    /// Its width.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
}

/// What the two sides tell each other beside bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// From the client: no more bytes will come. From the server: the other end of the connection has closed.
    End,
    /// From the client: its terminal has this size now. Without a terminal at the other end it says nothing.
    Resize(TerminalSize),
    /// From the server, last of all: the process has ended with this code.
    Exit(i32),
    /// From the server, last of all: it broke off.
    Error(ErrorBody),
}

/// What a running job uses now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatsRow {
    /// The job, as people write it.
    pub job: String,
    /// CPU time so far, in microseconds.
    pub cpu_micros: u64,
    /// Memory now, in bytes.
    pub memory_bytes: u64,
    /// The most memory so far, in bytes.
    pub memory_peak_bytes: u64,
    /// Bytes read from block devices.
    pub read_bytes: u64,
    /// Bytes written to block devices.
    pub written_bytes: u64,
    /// Bytes of disk in use.
    pub disk_bytes: u64,
}
