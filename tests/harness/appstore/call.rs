//! The requests that the fake understands, by their paths.

use axum::http::{Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::form_urlencoded;

/// A group of requests, for scripts and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// `GET /inApps/v1/subscriptions/{id}`
    Statuses,
    /// `GET /inApps/v1/transactions/{id}`
    Transaction,
    /// `GET /inApps/v2/history/{id}`
    History,
    /// `GET /inApps/v2/refund/lookup/{id}`
    Refunds,
    /// `POST /inApps/v1/notifications/history`
    Notifications,
    /// `POST /inApps/v1/notifications/test`
    Test,
    /// `GET /inApps/v1/notifications/test/{token}`
    TestStatus,
}

impl Resource {
    /// All groups.
    pub const ALL: [Self; 7] = [
        Self::Statuses,
        Self::Transaction,
        Self::History,
        Self::Refunds,
        Self::Notifications,
        Self::Test,
        Self::TestStatus,
    ];
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub resource: Resource,
    /// `Production` or `Sandbox`, by the path.
    pub environment: &'static str,
    /// The transaction id, or the token of a test notification, in the path.
    pub id: String,
    pub parameters: Vec<(String, String)>,
    /// The body; null if there is none.
    pub body: Value,
}

impl Call {
    /// Returns the request with this method, URI and body; `None` if the API has no such request.
    pub fn read(method: &Method, uri: &Uri, body: &[u8]) -> Option<Self> {
        let path = uri.path();
        let (environment, path) = match path.strip_prefix("/sandbox") {
            Some(path) => ("Sandbox", path),
            None => ("Production", path),
        };
        let parts: Vec<&str> = path.strip_prefix("/inApps/")?.split('/').collect();
        let (resource, id) = match (method.as_str(), parts.as_slice()) {
            ("GET", ["v1", "subscriptions", id]) => (Resource::Statuses, *id),
            ("GET", ["v1", "transactions", id]) => (Resource::Transaction, *id),
            ("GET", ["v2", "history", id]) => (Resource::History, *id),
            ("GET", ["v2", "refund", "lookup", id]) => (Resource::Refunds, *id),
            ("POST", ["v1", "notifications", "history"]) => (Resource::Notifications, ""),
            ("POST", ["v1", "notifications", "test"]) => (Resource::Test, ""),
            ("GET", ["v1", "notifications", "test", token]) => (Resource::TestStatus, *token),
            _ => return None,
        };
        let id = percent_decode_str(id).decode_utf8().ok()?.into_owned();
        let query = uri.query().unwrap_or_default();
        let parameters = form_urlencoded::parse(query.as_bytes()).into_owned();
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(body).ok()?
        };
        Some(Self {
            resource,
            environment,
            id,
            parameters: parameters.collect(),
            body,
        })
    }

    /// Returns the first value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Returns all values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self
            .parameters
            .iter()
            .filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}
