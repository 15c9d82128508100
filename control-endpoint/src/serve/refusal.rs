//! Every answer of 400 and above: a status and a `Problem` that says what is wrong and what to do.

use axum::Json;
use axum::http::header::{ALLOW, CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use command_line::said::in_full;
use protocol::control::Problem;

use crate::limits::{NOWHERE_RETRY_S, RETRY_AFTER_S};

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
    header: Option<(HeaderName, String)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
            header: None,
        }
    }

    pub(super) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    /// RFC 6750 section 3.
    pub(super) fn unauthorized(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error).with(WWW_AUTHENTICATE, "Bearer")
    }

    /// RFC 6585 section 4.
    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "as many fills as max_fills allows are running; come again",
        )
        .with(RETRY_AFTER, RETRY_AFTER_S.to_string())
    }

    /// There is no place for a viewer.
    pub(super) fn nowhere(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
            .with(RETRY_AFTER, NOWHERE_RETRY_S.to_string())
    }

    /// RFC 9110 section 15.5.17.
    pub(super) fn range(size: u64) -> Self {
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("the object has {size} bytes"),
        )
        .with(CONTENT_RANGE, format!("bytes */{size}"))
    }

    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this cannot be done with what is here; see docs/control.md",
        )
        .with(ALLOW, "GET, HEAD, PUT, POST, DELETE")
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }
}

/// Ours, whatever it is: the log has it in full.
impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!("{}", in_full(error.as_ref()));
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed here; the log of oca-control says why",
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Problem { error: self.error })).into_response();
        if let Some((name, value)) = self.header
            && let Ok(value) = value.try_into()
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
