//! How a kind of destination applies the fields of a request: to a new destination, a changed one, or one with a
//! rotated secret.

use domain::Timestamp;
use domain::user::Attributes;
use secrecy::SecretString;
use serde_json::Value;
use std::fmt;
use storage::Traits;

/// A new destination, built by its kind from the fields of a request.
#[derive(Debug, Clone)]
pub struct NewSettings {
    /// The settings, which are stored in plain text and shown.
    pub settings: Value,
    /// The secrets as JSON in the kind's own form, which storage encrypts.
    pub secret: SecretString,
    /// The secrets to show once, by their API names.
    pub shown: Vec<(&'static str, SecretString)>,
    /// The order, batches and wildcards of the kind's events.
    pub traits: Traits,
}

/// A changed destination, as its kind builds it from the fields of a request.
#[derive(Debug, Clone)]
pub struct ChangedSettings {
    pub settings: Value,
    pub secret: SecretString,
    /// The secrets to show once, by their API names.
    pub shown: Vec<(&'static str, SecretString)>,
    /// The user attributes in the destination's profiles after the change; `None` for a kind without profiles.
    pub profile: Option<Attributes>,
}

/// The replacement of a signing secret, and how long the old secret signs too. Debug output shows neither secrets nor
/// random bytes.
#[derive(Clone)]
pub struct Rotation {
    /// The new secret; `None` generates one.
    pub new_secret: Option<SecretString>,
    /// The time until which the old secret signs requests too.
    pub until: Timestamp,
    pub now: Timestamp,
    /// Random bytes for a new secret.
    pub random: [u8; 32],
}

impl fmt::Debug for Rotation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            new_secret,
            until,
            now,
            random: _,
        } = self;
        let mut shown = formatter.debug_struct("Rotation");
        shown
            .field("new_secret", new_secret)
            .field("until", until)
            .field("now", now)
            .finish_non_exhaustive()
    }
}
