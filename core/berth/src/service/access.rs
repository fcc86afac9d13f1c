//! Who may do what.

use berth_api::{ErrorBody, ErrorCode};
use berth_server::{Caller, Scope};

/// Whether somebody may see the jobs of `owner`.
pub fn sees(who: &Caller, owner: &str) -> bool {
    who.identity.user == owner || who.identity.sees_everything()
}

/// Whether somebody acts as an administrator on a job of `owner`.
pub fn as_administrator(who: &Caller, owner: &str) -> bool {
    who.identity.user != owner && administers(who)
}

/// Whether somebody may do what only administrators may.
pub fn administers(who: &Caller) -> bool {
    who.identity.is_administrator() && who.scope == Scope::Admin
}

/// Somebody wants to change something about a job of `owner`.
///
/// # Errors
/// `not-found` when they may not even see it, `forbidden` when they may not touch it.
pub fn may_touch(who: &Caller, owner: &str, job: &str) -> Result<(), ErrorBody> {
    if !sees(who, owner) {
        return Err(no_such_job(job));
    }
    needs(who, Scope::Submit)?;
    if who.identity.user == owner || administers(who) {
        return Ok(());
    }
    Err(ErrorBody::new(ErrorCode::Forbidden, format!("job {job} belongs to {owner}")))
}

/// The credentials have to allow this much.
///
/// # Errors
/// `forbidden` when they do not.
pub fn needs(who: &Caller, scope: Scope) -> Result<(), ErrorBody> {
    if who.scope >= scope {
        return Ok(());
    }
    let needed = match scope {
        Scope::Read => "read",
        Scope::Submit => "submit",
        Scope::Admin => "admin",
    };
    Err(ErrorBody::new(
        ErrorCode::Forbidden,
        format!("this token does not allow it; make one with --scope {needed}"),
    ))
}

/// Only administrators may do this.
///
/// # Errors
/// `forbidden` for others.
pub fn needs_administrator(who: &Caller) -> Result<(), ErrorBody> {
    match administers(who) {
        true => Ok(()),
        false => Err(ErrorBody::new(ErrorCode::Forbidden, "only administrators may do this")),
    }
}

/// What somebody hears of a job that is not there, or not there for them.
pub fn no_such_job(job: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::NotFound, format!("there is no job {job}"))
}
