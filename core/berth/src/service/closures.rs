//! Closures: who sets them, and how they are shown.

use berth_api::{ClosureRow, ErrorBody, ErrorCode, Problem, SetClosure};
use berth_engine::{ClosureView, Command, StoredClosure};
use berth_model::{Closure, ClosureKind, NodePattern, UtcMs};
use berth_server::Caller;

use super::{Service, access, failures};
use crate::daemon::now;

impl Service {
    pub(super) async fn list_closures(&self) -> Result<Vec<ClosureRow>, ErrorBody> {
        let views = self.daemon.inbox.look(berth_engine::Engine::closures).await;
        Ok(views.ok_or_else(|| self.not_now())?.into_iter().map(row).collect())
    }

    pub(super) async fn change_closure(
        &self,
        who: &Caller,
        kind: &str,
        name: String,
        wanted: SetClosure,
    ) -> Result<ClosureRow, ErrorBody> {
        access::needs_administrator(who)?;
        let kind = closure_kind(kind)?;
        let version = wanted.version;
        let terms = closure(kind, &name, &who.identity.user, wanted, now())?;
        self.send_closure(who, kind, &name, version, Some(Box::new(terms))).await?;
        let rows = self.list_closures().await?;
        let found = rows.into_iter().find(|row| row.kind == kind.as_str() && row.name == name);
        // It may have been taken away again by now.
        found
            .ok_or_else(|| ErrorBody::new(ErrorCode::Conflict, format!("there is no {kind} {name} any more")))
    }

    pub(super) async fn take_closure_away(
        &self,
        who: &Caller,
        kind: &str,
        name: &str,
        version: u64,
    ) -> Result<(), ErrorBody> {
        access::needs_administrator(who)?;
        self.send_closure(who, closure_kind(kind)?, name, version, None).await
    }

    async fn send_closure(
        &self,
        who: &Caller,
        kind: ClosureKind,
        name: &str,
        version: u64,
        terms: Option<Box<Closure>>,
    ) -> Result<(), ErrorBody> {
        let by = who.identity.user.clone();
        let command = Command::SetClosure { kind, name: name.to_owned(), by, version, terms };
        self.daemon.inbox.command(command).await.map(drop).map_err(failures::command)
    }
}

fn closure_kind(text: &str) -> Result<ClosureKind, ErrorBody> {
    ClosureKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let kinds = ClosureKind::ALL.map(ClosureKind::as_str).join(", ");
        ErrorBody::new(
            ErrorCode::NotFound,
            format!("there are no closures of kind {text:?}; there are {kinds}"),
        )
    })
}

/// What was asked for, read.
fn closure(
    kind: ClosureKind,
    name: &str,
    by: &str,
    wanted: SetClosure,
    now: UtcMs,
) -> Result<Closure, ErrorBody> {
    let mut problems = Vec::new();
    let mut wrong =
        |field: &str, message: String| problems.push(Problem { field: field.to_owned(), message });
    let meant = match (wanted.nodes.is_empty(), kind) {
        (true, ClosureKind::Drain) => vec![name.to_owned()],
        (true, ClosureKind::Maintenance) => vec!["*".to_owned()],
        _ => wanted.nodes,
    };
    let mut nodes = Vec::new();
    for text in meant {
        match text.parse::<NodePattern>() {
            Ok(pattern) => nodes.push(pattern),
            Err(error) => wrong("nodes", error.to_string()),
        }
    }
    let mut instant = |field: &str, text: Option<String>| {
        let text = text?;
        let from_now = || berth_model::parse_duration(&text).ok().map(|span| now.after(span));
        let at = text.parse::<UtcMs>().ok().or_else(from_now);
        if at.is_none() {
            let words = "is not an instant; write 2030-01-31T18:00:00Z, or a time from now such as 2h";
            wrong(field, format!("{text:?} {words}"));
        }
        at
    };
    let (from, until) = (instant("from", wanted.from), instant("until", wanted.until));
    if !problems.is_empty() {
        let message = format!("{kind} {name} cannot be so");
        return Err(ErrorBody { code: ErrorCode::Invalid, message, problems });
    }
    let (users, projects) = (wanted.users.into_iter().collect(), wanted.projects.into_iter().collect());
    Ok(Closure { nodes, from, until, users, projects, reason: wanted.reason, by: by.to_owned() })
}

/// As it is shown.
pub(super) fn row(view: ClosureView) -> ClosureRow {
    let ClosureView { closure: StoredClosure { kind, name, version, terms }, on, nodes: _ } = view;
    let Closure { nodes, from, until, users, projects, reason, by } = terms;
    ClosureRow {
        kind: kind.to_string(),
        name,
        version,
        nodes: nodes.iter().map(ToString::to_string).collect(),
        from: from.map(|at| at.to_string()),
        until: until.map(|at| at.to_string()),
        users: users.into_iter().collect(),
        projects: projects.into_iter().collect(),
        reason,
        by,
        on,
    }
}
