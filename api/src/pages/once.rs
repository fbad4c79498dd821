//! A secret that is shown once: on the page that answers the form which created it. Pure.

use super::form::Sent;
use super::parts::Sentence;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::Value;
use std::convert::Infallible;

/// The resource that a form created, and the form; empty on a page that answers none. Without `Debug`, since it
/// contains secrets.
#[derive(Clone, Default)]
pub struct ShownOnce {
    pub sent: Sent,
    /// Response of the API.
    pub answer: Value,
}

/// A value that is shown once, with its label and what to know of it.
pub struct Once {
    pub label: String,
    pub value: String,
    pub note: Option<Sentence>,
}

impl ShownOnce {
    /// Whether the page answers a form that created something.
    pub fn is_answer(&self) -> bool {
        !self.answer.is_null()
    }

    /// A text of the answer, if it has that field.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.answer[name].as_str()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ShownOnce {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
