//! Answers in the shape in which a real server gives them.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use serde_json::{Value, json};

use crate::store::Kind;

/// A status that is a failure.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Value>,
    pub retry_after: Option<u32>,
}

impl Failure {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, retry_after: None }
    }

    fn about(self, kind: Kind, name: &str) -> Self {
        let group = if kind == Kind::Job { json!({ "group": "batch" }) } else { json!({}) };
        let mut details = group;
        if let Some(map) = details.as_object_mut() {
            map.insert("kind".into(), json!(kind.plural()));
            if !name.is_empty() {
                map.insert("name".into(), json!(name));
            }
        }
        Self { details: Some(details), ..self }
    }

    pub fn not_found(kind: Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", kind.qualified())).about(kind, name)
    }

    pub fn exists(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.qualified());
        Self::new(409, "AlreadyExists", message).about(kind, name)
    }

    pub fn quota(kind: Kind, name: &str, limit: usize) -> Self {
        let what = format!("count/{}", kind.qualified());
        let message = format!(
            "{} \"{name}\" is forbidden: exceeded quota: q, requested: {what}=1, used: {what}={limit}, limited: {what}={limit}",
            kind.qualified()
        );
        Self::new(403, "Forbidden", message).about(kind, name)
    }

    pub fn forbidden(kind: Kind, verb: &str, namespace: &str) -> Self {
        let group = if kind == Kind::Job { "batch" } else { "" };
        let message = format!(
            "{} is forbidden: User \"berth\" cannot {verb} resource \"{}\" in API group \"{group}\" in the namespace \"{namespace}\"",
            kind.qualified(),
            kind.plural()
        );
        Self::new(403, "Forbidden", message).about(kind, "")
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {}.batch \"{name}\": {why}", kind.name());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// The object is not legal, at one field.
    pub fn invalid(kind: Kind, name: &str, field: &str, reason: &str, message: &str) -> Self {
        let qualified = if kind == Kind::Job { "Job.batch" } else { kind.name() };
        let failure =
            Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {field}: {message}"));
        let details = json!({
            "name": name,
            "group": "batch",
            "kind": kind.name(),
            "causes": [{ "reason": reason, "message": message, "field": field }],
        });
        Self { details: Some(details), ..failure }
    }

    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        let mut details = self.details.clone();
        if let Some(seconds) = self.retry_after {
            let map = details.get_or_insert_with(|| json!({}));
            if let Some(map) = map.as_object_mut() {
                map.insert("retryAfterSeconds".into(), json!(seconds));
            }
        }
        if let (Some(details), Some(map)) = (details, status.as_object_mut()) {
            map.insert("details".into(), details);
        }
        status
    }

    pub fn answer(&self) -> Response<Body> {
        let mut answer = json_answer(self.code, &self.status());
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

pub(crate) fn json_answer(code: u16, body: &Value) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
