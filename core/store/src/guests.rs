//! People who come by the word of an outside issuer.

use berth_model::UtcMs;

/// Whether a guest may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum GuestStanding {
    /// They were seen, and no administrator has let them in yet.
    Waiting = 0,
    /// They may.
    Active = 1,
    /// They might, and may no longer.
    Inactive = 2,
}

impl GuestStanding {
    /// As people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }

    /// The standing with this number in the store.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Waiting, Self::Active, Self::Inactive].get(usize::from(number)).copied()
    }
}

/// Somebody who has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenGuest {
    /// What they are called here.
    pub name: String,
    /// Who vouches for them.
    pub issuer: String,
    /// What that one calls them.
    pub subject: String,
    /// Their address, where the issuer has made sure of it.
    pub email: Option<String>,
    /// When.
    pub at: UtcMs,
}

/// An administrator lets a guest in, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestDecision {
    /// Whom.
    pub name: String,
    /// Where not, all tokens and sessions of theirs end with it.
    pub active: bool,
    /// Who decides.
    pub by: String,
    /// When.
    pub at: UtcMs,
}

/// A guest as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGuest {
    /// What they are called here.
    pub name: String,
    /// Who vouches for them.
    pub issuer: String,
    /// What that one calls them.
    pub subject: String,
    /// Their address, where the issuer has made sure of it.
    pub email: Option<String>,
    /// Whether they may work.
    pub standing: GuestStanding,
    /// When they came first.
    pub since: UtcMs,
    /// When they came last with a token of their issuer, roughly.
    pub seen: UtcMs,
    /// When it was decided whether they may, and by whom.
    pub decided: Option<(UtcMs, String)>,
    /// What their directory takes in bytes, and when that was measured.
    pub home: Option<(u64, UtcMs)>,
}
