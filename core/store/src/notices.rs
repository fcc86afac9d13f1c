//! Notices that are owed.

use berth_model::UtcMs;

/// A notice on its way to one sink.
#[derive(Clone, PartialEq, Eq)]
pub struct OwedNotice {
    /// The same however often it has to be brought, and nobody else's.
    pub id: String,
    /// Where it goes.
    pub sink: String,
    /// Whose job it is about.
    pub owner: String,
    /// The address, where the sink has several.
    pub target: String,
    /// When it happened.
    pub at: UtcMs,
    /// How often the other side has not taken it.
    pub tries: u32,
    /// When it is to be tried.
    pub due: UtcMs,
    /// What it says, as JSON.
    pub body: String,
}

impl std::fmt::Debug for OwedNotice {
    /// Without what it says.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwedNotice").field("id", &self.id).field("sink", &self.sink).finish_non_exhaustive()
    }
}

/// How many notices of one person's jobs wait for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeCount {
    /// Where they go.
    pub sink: String,
    /// Whose jobs they are about.
    pub owner: String,
    /// How many.
    pub count: u64,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeFate {
    /// It was delivered, or was given up.
    Gone,
    /// It is to be tried again.
    Again {
        /// How often it was not taken by now.
        tries: u32,
        /// When.
        due: UtcMs,
    },
}
