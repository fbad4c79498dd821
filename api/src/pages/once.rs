//! A secret that is shown once, on the page that responds to the form that created it. This module is pure.

use super::form::Sent;
use super::parts::Sentence;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::Value;
use std::convert::Infallible;

/// A form that created a resource, and the API's response to it. Empty on a page that does not respond to such a form.
/// It has no `Debug`, because it contains secrets.
#[derive(Clone, Default)]
pub struct ShownOnce {
    pub sent: Sent,
    /// The API's response.
    pub answer: Value,
}

/// A value that is shown once, with its label and a note on how to use it.
pub struct Once {
    pub label: String,
    pub value: String,
    pub note: Option<Sentence>,
}

impl ShownOnce {
    /// Returns whether the page responds to a form that created something.
    pub fn is_answer(&self) -> bool {
        !self.answer.is_null()
    }

    /// Returns a text field of the response, if present.
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
