//! What a store knows about a purchase, or why a check must be repeated.

use domain::Verification;
use std::time::Duration;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Verification(Verification),
    /// Like [`Self::Verification`], with the store's id for the customer.
    Named(Verification, CustomerName),
    /// The store refuses the platform's credential, or its account lacks a right.
    Refused(Refusal),
    /// The check has to be repeated.
    Retry(Retry),
}

/// The result of a request that acknowledges a purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcknowledgeAnswer {
    Done,
    /// The store did not do it, perhaps because it is done already: a check shows which.
    Unclear,
    /// The store does not allow it with the platform's credential, which may still read.
    Refused,
    /// The request has to be repeated.
    Retry(Retry),
}

/// The store's id of a customer, in an answer. It is written to no workflow history, so it never leaves the activity.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerName(pub String);

impl std::fmt::Debug for CustomerName {
    /// Hides the id.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CustomerName").finish_non_exhaustive()
    }
}

/// Why every query for a platform fails until an admin acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// A sentence for people, which says what to do. It never repeats the store's own text.
    pub why: &'static str,
    /// Whether the credential itself can be right: once its account has the right, the same credential works.
    pub can_recover: bool,
}

impl Refusal {
    /// Returns the refusal of a credential that never works again.
    pub const fn of_credential(why: &'static str) -> Self {
        Self {
            why,
            can_recover: false,
        }
    }
}

/// Why a check has to be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The kind of failure, used as a metric's label.
    pub class: &'static str,
    /// A sentence for people. It never repeats the store's own text, which can contain the URL and so the secret.
    pub why: String,
    /// Whether the store throttles all purchases of the platform.
    pub is_throttled: bool,
    /// The store's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Whether to raise an alarm: the response is undocumented, and repeating the check may never help.
    pub is_strange: bool,
}

impl Retry {
    /// Returns a failure that is likely to pass by itself.
    pub fn new(class: &'static str, why: impl Into<String>) -> Self {
        Self {
            class,
            why: why.into(),
            is_throttled: false,
            retry_after: None,
            is_strange: false,
        }
    }
}
