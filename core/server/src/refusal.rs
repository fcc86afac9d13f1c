//! The one place where an error becomes an HTTP answer.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use berth_api::{ErrorBody, ErrorCode, Problem};

/// A no on its way out.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: ErrorBody,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ErrorBody::new(code, message).into()
    }

    /// A mistake at a place that has a name.
    pub(crate) fn at(field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let problems = vec![Problem { field: field.to_owned(), message: message.clone() }];
        ErrorBody { code: ErrorCode::Invalid, message: format!("{field}: {message}"), problems }.into()
    }

    pub(crate) fn wrong_method() -> Self {
        let message =
            "this address does not know this method; the Allow header of this answer names those it does";
        Self::new(ErrorCode::Invalid, message).with(StatusCode::METHOD_NOT_ALLOWED)
    }

    pub(crate) fn wrong_content_type() -> Self {
        let message = "send JSON with `Content-Type: application/json`, or TOML with `application/toml`";
        Self::new(ErrorCode::Invalid, message).with(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    }

    pub(crate) fn too_slow(what: &str) -> Self {
        Self::new(ErrorCode::Invalid, format!("{what} came too slowly; send it again"))
            .with(StatusCode::REQUEST_TIMEOUT)
    }

    /// What is said.
    pub(crate) fn body(&self) -> &ErrorBody {
        &self.body
    }

    /// The same, without the status.
    pub(crate) fn into_body(self) -> ErrorBody {
        self.body
    }

    fn with(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl From<ErrorBody> for Refusal {
    fn from(body: ErrorBody) -> Self {
        Self { status: status(body.code), body }
    }
}

fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Invalid => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::TooMany => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unable => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::Unavailable | ErrorCode::StandsBy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::UnknownOutcome => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.body.code;
        let mut answer = (self.status, Json(self.body)).into_response();
        let headers = answer.headers_mut();
        match code {
            ErrorCode::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"berth\""));
            }
            ErrorCode::TooMany | ErrorCode::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }
}
