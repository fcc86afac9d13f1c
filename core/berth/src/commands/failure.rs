//! Errors at the edge: what is printed, and the exit code.

use std::{error::Error, fmt, io};

use berth_api::{ClientError, ErrorCode};
use serde_json::json;

use crate::{
    client_config::{NoServer, TargetError},
    exit_code::Status,
    output,
};

/// A failure of the command's own, with its exit code and the way out.
#[derive(Debug)]
pub struct Failure {
    status: Status,
    message: String,
    help: Option<String>,
}

impl Failure {
    /// With an exit code.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), help: None }
    }

    /// What was typed makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::USAGE, message)
    }

    /// What was typed makes no sense, as this error says.
    pub fn caused_by_usage(error: impl Error) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        Self::usage(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
    }

    /// What would help.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// Prints an error and says with which code to exit.
pub fn report(error: &anyhow::Error, as_json: bool) -> Status {
    let status = status_of(error);
    if status == Status::BROKEN_PIPE {
        return status;
    }
    if as_json {
        let mut said = json!({ "error": chain(error), "exit_code": status });
        if let (Some(body), Some(said)) = (refusal(error), said.as_object_mut()) {
            said.insert("code".to_owned(), json!(body.code));
            said.insert("problems".to_owned(), json!(body.problems));
        }
        output::to_stderr(&said.to_string());
        return status;
    }
    output::note(&chain(error));
    if let Some(help) = help_of(error) {
        output::to_stderr(&format!("  {}", output::escape::lines(&help)));
    }
    status
}

/// The exit code for an error.
pub fn status_of(error: &anyhow::Error) -> Status {
    // What was added on the way up is not in the chain as itself; anyhow finds it.
    let added = error.downcast_ref::<Failure>().map(|failure| failure.status);
    added.or_else(|| error.chain().find_map(status_of_one)).unwrap_or(Status::FAILED)
}

fn status_of_one(error: &(dyn Error + 'static)) -> Option<Status> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.status);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return (error.kind() == io::ErrorKind::BrokenPipe).then_some(Status::BROKEN_PIPE);
    }
    if error.is::<NoServer>() {
        return Some(Status::NO_SERVER);
    }
    if error.is::<TargetError>() {
        return Some(Status::USAGE);
    }
    error.downcast_ref::<ClientError>().map(|error| match error {
        ClientError::Refused(body) => Status::of_refusal(body.code),
        ClientError::Unusable { .. } => Status::USAGE,
        _ => Status::NO_SERVER,
    })
}

fn refusal(error: &anyhow::Error) -> Option<&berth_api::ErrorBody> {
    error.chain().find_map(|cause| match cause.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(body)) => Some(body),
        _ => None,
    })
}

fn help_of(error: &anyhow::Error) -> Option<String> {
    if let Some(help) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.help.clone()) {
        return Some(help);
    }
    if error.chain().any(|cause| cause.is::<NoServer>()) {
        let help = "start one with `berth serve`, name one with --server, or let `berth run` bring its own";
        return Some(help.to_owned());
    }
    let help = match refusal(error)?.code {
        ErrorCode::Unauthenticated => {
            "`berth login` if you have a password there, or put a token of yours into BERTH_TOKEN or ~/.config/berth/token"
        }
        ErrorCode::TooMany | ErrorCode::Unavailable => "try again in a while",
        ErrorCode::StandsBy => "name the one that leads with --server or BERTH_SERVER",
        ErrorCode::UnknownOutcome => "`berth jobs --all` and `berth job ID` show whether it was done",
        _ => return None,
    };
    Some(help.to_owned())
}

/// The error and what lies beneath it, each said once.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut last = String::new();
    for cause in error.chain() {
        let this = cause.to_string();
        if this == last {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&this);
        last = this;
    }
    text
}

#[cfg(test)]
mod tests {
    use berth_api::ErrorBody;

    use super::*;

    fn refused(code: ErrorCode) -> anyhow::Error {
        ClientError::Refused(ErrorBody::new(code, "no")).into()
    }

    #[test]
    fn each_kind_of_no_has_its_exit_code() {
        assert_eq!(status_of(&refused(ErrorCode::Invalid)), Status::USAGE);
        assert_eq!(status_of(&refused(ErrorCode::Forbidden)), Status::REFUSED);
        assert_eq!(status_of(&refused(ErrorCode::NotFound)), Status::NOT_FOUND);
        assert_eq!(status_of(&refused(ErrorCode::Unavailable)), Status::NO_SERVER);
        assert_eq!(status_of(&NoServer { tried: Vec::new() }.into()), Status::NO_SERVER);
        assert_eq!(status_of(&anyhow::anyhow!("x")), Status::FAILED);
        let wrapped = refused(ErrorCode::NotFound).context("while looking");
        assert_eq!(status_of(&wrapped), Status::NOT_FOUND);
        let outer = refused(ErrorCode::Invalid).context(Failure::new(Status::NEVER_RAN, "not taken"));
        assert_eq!(status_of(&outer), Status::NEVER_RAN, "what the command says goes before");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_to_print() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(report(&error, false), Status::BROKEN_PIPE);
    }

    #[test]
    fn what_lies_beneath_is_said_once() {
        let error = anyhow::Error::from(io::Error::other("disk on fire")).context("a").context("a");
        assert_eq!(chain(&error), "a: disk on fire");
    }
}
