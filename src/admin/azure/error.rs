//! Refusals in the form that Azure's clients read: a status, and `{"error": {"code", "message", …}}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::filter::dcr::{Finding, Severity};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    target: Option<String>,
    details: Vec<Finding>,
    allow: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), target: None, details: Vec::new(), allow: None }
    }

    /// 400.
    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400: a body that is not what the operation takes.
    pub(super) fn content(message: impl Into<String>) -> Self {
        Self::bad("InvalidRequestContent", message)
    }

    /// 404: no such resource.
    pub(super) fn not_found(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFound", format!("the resource {id:?} was not found"))
    }

    /// 405, with what is allowed.
    pub(super) fn method(allow: &'static str) -> Self {
        let message = format!("this takes only {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message) }
    }

    /// 409.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    /// 400: a rule that cannot be used, alone or together with the others.
    pub fn invalid_rule(findings: Vec<Finding>) -> Self {
        let details = findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect();
        Self { details, ..Self::bad("InvalidPayload", "the data collection rule is invalid; see the details") }
    }

    /// 400: one property of an association is wrong.
    pub(super) fn invalid_association(code: &'static str, target: &str, message: String) -> Self {
        let finding = Finding { severity: Severity::Error, code, target: target.to_owned(), message };
        let message = "the data collection rule association is invalid; see the details";
        Self { details: vec![finding], ..Self::bad("InvalidPayload", message) }
    }

    /// 409: there is no room for another.
    pub fn full(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "QuotaExceeded", message)
    }

    /// 503: it cannot be done now; nothing changed, or all of it will.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 500: it was tried and failed; nothing changed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
    }

    /// The same, pointing at a part of the request.
    pub(super) fn at(self, target: &str) -> Self {
        Self { target: Some(target.to_owned()), ..self }
    }
}

/// For logs, and for who reads kept resources from the disk.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.details.iter().try_for_each(|detail| write!(f, "; {}: {}", detail.target, detail.message))
    }
}

impl std::error::Error for Refusal {}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(target) = self.target {
            error["target"] = Value::from(target);
        }
        if !self.details.is_empty() {
            let detail =
                |detail: &Finding| json!({ "code": detail.code, "message": detail.message, "target": detail.target });
            error["details"] = self.details.iter().map(detail).collect();
        }
        let mut response = (self.status, Json(json!({ "error": error }))).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
