//! A no, as GO-Docker's clients read it.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use berth_api::{ErrorBody, ErrorCode};
use serde_json::Value;

use crate::refusal::Refusal;

/// A no on its way to one of GO-Docker's clients.
pub(super) struct Refused {
    no: Refusal,
    /// Whether the status is to tell everything that it can.
    exact: bool,
}

impl Refused {
    /// Of a submission. Its clients print the words that come with any status.
    pub(super) fn submission(no: ErrorBody) -> Self {
        Self { no: no.into(), exact: true }
    }

    /// Something that GO-Docker does and Berth does not.
    pub(super) fn not_done(what: &str) -> Self {
        ErrorBody::new(ErrorCode::Unable, what).into()
    }
}

impl From<ErrorBody> for Refused {
    fn from(no: ErrorBody) -> Self {
        Self { no: no.into(), exact: false }
    }
}

impl From<Refusal> for Refused {
    fn from(no: Refusal) -> Self {
        Self { no, exact: false }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut body = serde_json::to_value(self.no.body()).unwrap_or_default();
        if let Value::Object(fields) = &mut body {
            // Where a submission would have these, its clients look for them.
            fields.insert("msg".into(), self.no.body().to_string().into());
            fields.insert("id".into(), Value::Null);
        }
        let (head, _) = self.no.into_response().into_parts();
        // All versions of its command line look at 401, 403 and 404; most take all others for a success.
        let status = match head.status {
            status if self.exact || !status.is_client_error() => status,
            status @ (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => status,
            _ => StatusCode::FORBIDDEN,
        };
        let mut answer = (status, Json(body)).into_response();
        for (name, value) in &head.headers {
            if !answer.headers().contains_key(name) {
                answer.headers_mut().insert(name, value.clone());
            }
        }
        answer
    }
}
