//! Whom we tell. One folder per kind, and the list of them in this file.
//!
//! All is pure: settings, requests and replies are values. Sending is `crate::http`'s.

pub mod webhook;

use crate::http::{Reply, Request};
use crate::outcome::Verdict;
use domain::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

/// A value that a kind of destination cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: expected {expected}")]
pub struct Invalid {
    /// The field, as it is named in the API.
    pub field: String,
    /// What it should have been. Never repeats a secret.
    pub expected: String,
}

impl Invalid {
    /// A field and what it should have been.
    pub fn new(field: &str, expected: impl Into<String>) -> Self {
        Self { field: field.to_owned(), expected: expected.into() }
    }
}

/// The settings of a destination of some kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Config {
    /// An HTTPS endpoint that receives signed events.
    Webhook(webhook::Config),
}

impl Config {
    /// Reads the settings of a destination of the named kind.
    ///
    /// # Errors
    /// The first field that is wrong, or the kind itself.
    pub fn parse(kind: &str, settings: &Value, allow_http: bool) -> Result<Self, Invalid> {
        match kind {
            "webhook" => webhook::config::parse(settings, allow_http).map(Self::Webhook),
            other => Err(unknown(other)),
        }
    }

    /// The request that tells it one event. `at` is the time of this attempt.
    ///
    /// # Errors
    /// The secret is not one of this kind.
    #[expect(clippy::too_many_arguments, reason = "four parts of one request, and whom it is for")]
    pub fn request(&self, secret: &SecretString, id: &str, at: Timestamp, body: &str) -> Result<Request, Invalid> {
        match self {
            Self::Webhook(config) => webhook::request::request(config, secret, id, at, body),
        }
    }

    /// What a reply to attempt `number` (from 1) means. `jitter` is a random number from 0 to 1.
    #[must_use]
    pub fn outcome(&self, reply: &Reply, number: i64, jitter: f64) -> Verdict {
        match self {
            Self::Webhook(_) => webhook::response::outcome(reply, number, jitter),
        }
    }
}

/// A new secret for a destination of the named kind, made of random bytes.
///
/// # Errors
/// The kind is unknown.
pub fn new_secret(kind: &str, random: [u8; 32]) -> Result<String, Invalid> {
    match kind {
        "webhook" => Ok(webhook::config::new_secret(random)),
        other => Err(unknown(other)),
    }
}

fn unknown(kind: &str) -> Invalid {
    Invalid::new("kind", format!("`webhook`, and not `{kind}`"))
}
