//! Who may do what.

use berth_api::{ErrorBody, ErrorCode};
use berth_server::{Caller, Scope};

use crate::daemon::Memberships;

/// Whether somebody may see the jobs of `owner`.
pub fn sees(who: &Caller, owner: &str) -> bool {
    who.identity.user == owner || who.identity.sees_everything()
}

/// Whether somebody may see a job of `owner` in `project`.
pub fn sees_job(who: &Caller, memberships: &Memberships, owner: &str, project: &str) -> bool {
    sees(who, owner) || memberships.shares(project, &who.identity.user)
}

/// Whether somebody acts as an administrator on a job of `owner`.
pub fn as_administrator(who: &Caller, owner: &str) -> bool {
    who.identity.user != owner && administers(who)
}

/// Whether somebody may do what only administrators may.
pub fn administers(who: &Caller) -> bool {
    who.identity.is_administrator() && who.scope == Scope::Admin
}

/// Somebody wants to change something about a job of `owner` in `project`.
///
/// # Errors
/// `not-found` when they may not even see it, `forbidden` when they may not touch it.
pub fn may_touch(
    who: &Caller,
    memberships: &Memberships,
    (owner, project): (&str, &str),
    job: &str,
) -> Result<(), ErrorBody> {
    if !sees_job(who, memberships, owner, project) {
        return Err(no_such_job(job));
    }
    needs(who, Scope::Submit)?;
    if who.identity.user == owner || administers(who) || memberships.shares(project, &who.identity.user) {
        return Ok(());
    }
    Err(ErrorBody::new(ErrorCode::Forbidden, format!("job {job} belongs to {owner}")))
}

/// Somebody wants to reach into a job of `owner` that they may see. What they do there they do with its owner's
/// rights, which a shared project gives to nobody.
///
/// # Errors
/// `forbidden` for all but its owner and administrators.
pub fn may_enter(who: &Caller, owner: &str, job: &str) -> Result<(), ErrorBody> {
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
        format!("this token does not allow it; make one, or log in, with --scope {needed}"),
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
