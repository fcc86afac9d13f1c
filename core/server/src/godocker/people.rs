//! Users and projects.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use berth_api::{AccountRow, ControlRequest, Controls, ErrorBody, ErrorCode, SetAccount};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, accounts,
    documents::{Project, User},
    refused::Refused,
    tasks::all_done,
};
use crate::{
    Backend, Caller,
    extract::{Query, Sent, Who, unreadable},
    routes::App,
};

const USER: &str = "user";
const PROJECT: &str = "project";

/// Which tasks of a user.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Tagged {
    tag: Option<String>,
}

type Name = Result<Path<String>, PathRejection>;

fn name(path: Name) -> Result<String, Refused> {
    let Path(name) = path.map_err(unreadable)?;
    Ok(name)
}

/// Berth shows everybody what is theirs; whole lists are for those who see all of it.
fn sees_all(who: &Caller) -> Result<(), ErrorBody> {
    match who.identity.sees_everything() {
        true => Ok(()),
        false => Err(ErrorBody::new(ErrorCode::Forbidden, "only administrators may see this")),
    }
}

fn sees(who: &Caller, login: &str) -> Result<(), ErrorBody> {
    if who.identity.user == login { Ok(()) } else { sees_all(who) }
}

pub(super) async fn users(State(front): App, Who(who): Who) -> Answer {
    sees_all(&who)?;
    let rows = front.backend.accounts(&who, USER.to_owned()).await?;
    Ok(Json(rows.iter().map(|row| accounts::user(row, &who.identity)).collect()))
}

pub(super) async fn user(State(front): App, Who(who): Who, login: Name) -> Answer {
    let row = front.backend.account(&who, USER.to_owned(), name(login)?).await?;
    Ok(Json(accounts::user(&row, &who.identity)))
}

pub(super) async fn set_user(
    State(front): App,
    Who(who): Who,
    login: Name,
    Sent(wanted): Sent<User>,
) -> Answer {
    let row = front.backend.account(&who, USER.to_owned(), name(login)?).await?;
    let settings = accounts::with_quotas(row.settings, wanted.usage)?;
    let wanted = SetAccount { version: row.version, settings };
    let row = front.backend.set_account(&who, USER.to_owned(), row.name, wanted).await?;
    Ok(Json(accounts::user(&row, &who.identity)))
}

pub(super) async fn remove_user(_: Who) -> Answer {
    Err(Refused::not_done(
        "Berth has no users of its own that could be removed; the system or its directory has them",
    ))
}

pub(super) async fn kill_all(
    State(front): App,
    Who(who): Who,
    login: Name,
    Query(tagged): Query<Tagged>,
) -> Answer {
    let request = ControlRequest {
        user: Some(name(login)?),
        tag: tagged.tag,
        ..ControlRequest::of(Controls::Kill, Vec::new())
    };
    all_done(front.backend.control(&who, request).await?, "will be killed")
}

pub(super) async fn projects_of(State(front): App, Who(who): Who, login: Name) -> Answer {
    let login = name(login)?;
    sees(&who, &login)?;
    let rows = front.backend.accounts(&who, PROJECT.to_owned()).await?;
    Ok(Json(accounts::projects_of(&login, rows).into()))
}

pub(super) async fn projects(State(front): App, Who(who): Who) -> Answer {
    sees_all(&who)?;
    let rows = front.backend.accounts(&who, PROJECT.to_owned()).await?;
    Ok(Json(rows.iter().map(accounts::project).collect()))
}

pub(super) async fn project(State(front): App, Who(who): Who, id: Name) -> Answer {
    Ok(Json(accounts::project(&known(&*front.backend, &who, name(id)?).await?)))
}

/// A project that somebody has made; any other name could be one, too, and is not.
async fn known(backend: &dyn Backend, who: &Caller, id: String) -> Result<AccountRow, ErrorBody> {
    let row = backend.account(who, PROJECT.to_owned(), id).await?;
    if row.version == 0 && row.name != accounts::DEFAULT_PROJECT {
        return Err(ErrorBody::new(ErrorCode::NotFound, format!("there is no project {}", row.name)));
    }
    Ok(row)
}

pub(super) async fn create_project(State(front): App, Who(who): Who, Sent(wanted): Sent<Project>) -> Answer {
    // Version 0 stands for a project that is not there yet, so that none is written over.
    let id = wanted.id.clone();
    let settings = accounts::with_project(berth_api::AccountSettings::default(), wanted)?;
    set(&*front.backend, &who, id, SetAccount { version: 0, settings }).await
}

pub(super) async fn set_project(
    State(front): App,
    Who(who): Who,
    id: Name,
    Sent(wanted): Sent<Project>,
) -> Answer {
    let row = known(&*front.backend, &who, name(id)?).await?;
    let settings = accounts::with_project(row.settings, wanted)?;
    set(&*front.backend, &who, row.name, SetAccount { version: row.version, settings }).await
}

async fn set(
    backend: &dyn Backend,
    who: &Caller,
    id: String,
    wanted: SetAccount,
) -> Result<Json<Value>, Refused> {
    let row = backend.set_account(who, PROJECT.to_owned(), id, wanted).await?;
    Ok(Json(accounts::project(&row)))
}

pub(super) async fn remove_project(State(front): App, Who(who): Who, id: Name) -> Answer {
    let row = known(&*front.backend, &who, name(id)?).await?;
    front.backend.drop_account(&who, PROJECT.to_owned(), row.name, row.version).await?;
    Ok(Json(json!({ "msg": "Project deleted" })))
}

pub(super) async fn usage_of_user(State(front): App, Who(who): Who, login: Name) -> Answer {
    let days = front.backend.account_days(&who, USER.to_owned(), name(login)?).await?;
    Ok(Json(days.iter().map(accounts::day).collect()))
}

pub(super) async fn usage_of_project(State(front): App, Who(who): Who, id: Name) -> Answer {
    let days = front.backend.account_days(&who, PROJECT.to_owned(), name(id)?).await?;
    Ok(Json(days.iter().map(accounts::day).collect()))
}

pub(super) async fn reset_quota(_: Who) -> Answer {
    Err(Refused::not_done(
        "what was used counts until its period is over; a higher quota lets jobs start before",
    ))
}
