//! A request and its answer, read and yet to be written. No meaning beyond that.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::Method;
use serde_json::{Value, json};

/// A request, read.
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) key: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) body: Bytes,
    /// When its head had been read.
    pub(super) received_at: DateTime<Utc>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let body = Bytes::from(body.to_string());
        Self { status, content_type: "application/json", headers: Vec::new(), body }
    }

    pub(super) fn detail(status: u16, text: impl Into<Value>) -> Self {
        Self::json(status, &json!({"detail": text.into()}))
    }

    pub(super) fn text(status: u16, text: &'static str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            headers: Vec::new(),
            body: Bytes::from_static(text.as_bytes()),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn ok(body: &Value) -> Self {
        Self::json(200, body)
    }

    pub(super) fn no_route() -> Self {
        Self::detail(404, "Not Found")
    }

    pub(super) fn no_workflow(id: &str) -> Self {
        Self::detail(404, format!("Workflow not found. workflow_permanent_id={id}"))
    }

    pub(super) fn not_allowed(allowed: &'static str) -> Self {
        Self::detail(405, "Method Not Allowed").with("allow", allowed)
    }
}
