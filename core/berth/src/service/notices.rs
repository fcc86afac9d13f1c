//! What people are told of their jobs, and what jobs have to say themselves.

use berth_api::{ErrorBody, ErrorCode, JobMessage, NoticesRow, Problem, SetNotices, SinkRow};
use berth_engine::Command;
use berth_model::{EventKind, JobRef, MailTo, NoticeChoice, Occasion};
use berth_server::{Caller, Scope};

use super::{Service, access, failures};
use crate::daemon::SinkStatus;

/// The longest message of a job.
const MOST_MESSAGE_CHARS: usize = 1000;
/// The most messages of one job.
const MOST_MESSAGES: usize = 200;

impl Service {
    pub(super) fn own_notices(&self, who: &Caller) -> NoticesRow {
        let notices = &self.daemon.notices;
        let user = who.identity.user.as_str();
        let choice = notices.choice(user);
        let (waiting, troubles) = notices.own_status(user);
        // Who may only look is told no secrets.
        let may_know = access::needs(who, Scope::Submit).is_ok();
        let key = choice.webhook.as_ref().filter(|_| may_know).and_then(|url| notices.key(user, url));
        NoticesRow {
            on: choice.on.iter().map(ToString::to_string).collect(),
            mail: match &choice.mail {
                MailTo::Usual => "usual".to_owned(),
                MailTo::Nowhere => "none".to_owned(),
                MailTo::Address(address) => address.clone(),
            },
            address: notices.address(&who.identity, &choice),
            webhook: choice.webhook,
            key,
            waiting,
            troubles,
        }
    }

    pub(super) async fn choose_notices(
        &self,
        who: &Caller,
        wanted: SetNotices,
    ) -> Result<NoticesRow, ErrorBody> {
        access::needs(who, Scope::Submit)?;
        let on = Occasion::parse_list(wanted.on.iter().map(String::as_str));
        let mail = match wanted.mail.as_deref() {
            None | Some("usual") => MailTo::Usual,
            Some("none") => MailTo::Nowhere,
            Some(address) => MailTo::Address(address.to_owned()),
        };
        let choice = NoticeChoice {
            on: on.map_err(|error| wrong("on", error.to_string()))?,
            mail,
            webhook: wanted.webhook,
        };
        let may = self.daemon.notices.may_choose(&who.identity, &choice);
        may.map_err(|refused| wrong(refused.field, refused.words))?;
        self.daemon.notices.choose(&who.identity.user, choice).await.map_err(failures::store)?;
        Ok(self.own_notices(who))
    }

    /// What a job has to say is its owner's word: who is in it has their rights.
    pub(super) async fn take_message(
        &self,
        who: &Caller,
        job: JobRef,
        message: JobMessage,
    ) -> Result<(), ErrorBody> {
        let found = self.seen(who, job).await?;
        access::may_enter(who, &found.owner, &job.to_string())?;
        let text = message.text.trim();
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(wrong("text", "a message is one line of text".to_owned()));
        }
        let chars = text.chars().count();
        if chars > MOST_MESSAGE_CHARS {
            let words = format!("{chars} characters; at most {MOST_MESSAGE_CHARS} are possible");
            return Err(wrong("text", words));
        }
        let history = self.daemon.store.history(found.id).await.map_err(failures::store)?;
        let is_message = |kind: &EventKind| matches!(kind, EventKind::Message { .. });
        if history.iter().filter(|event| is_message(&event.record.kind)).count() >= MOST_MESSAGES {
            let words = format!("job {job} has sent {MOST_MESSAGES} messages, and may send no more");
            return Err(ErrorBody::new(ErrorCode::Forbidden, words));
        }
        let command = Command::Message { job: found.id, text: text.to_owned() };
        self.daemon.inbox.command(command).await.map(drop).map_err(failures::command)
    }

    /// How it goes with each sink, for those who see everything.
    pub(super) fn sink_rows(&self, who: &Caller) -> Vec<SinkRow> {
        match who.identity.sees_everything() {
            true => self.daemon.notices.statuses().into_iter().map(sink_row).collect(),
            false => Vec::new(),
        }
    }
}

fn wrong(field: &str, message: String) -> ErrorBody {
    let mut body = ErrorBody::new(ErrorCode::Invalid, "this cannot be taken as it is written");
    body.problems.push(Problem { field: field.to_owned(), message });
    body
}

fn sink_row(status: SinkStatus) -> SinkRow {
    SinkRow {
        name: status.sink,
        waiting: status.waiting,
        delivered: status.delivered,
        failed: status.failed,
        dropped: status.dropped,
        trouble: status.trouble.map(|(since, words)| format!("since {since}: {words}")),
    }
}
