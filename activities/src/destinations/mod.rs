//! Whom we tell. One folder per kind, and the list of them in this file.
//!
//! All is pure: settings, requests and replies are values. Sending is `crate::http`'s.

pub mod amplitude;
mod redaction;
pub mod schedule;
mod schemas;
pub mod webhook;

pub use schedule::check_schedule;
pub use schemas::Schemas;

use crate::http::{Reply, Request};
use crate::result::{DeliveryResult, EventAttempt};
use domain::Timestamp;
use domain::user::Attributes;
use ipnet::IpNet;
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::fmt;
use storage::{Attempt, Destination, Rendered, Traits, Unsent};
use url::Url;

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

/// What the operator allows destinations to be.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Whether they may be reached by plain HTTP.
    pub http: bool,
    /// Networks that may be delivered to although they are not public.
    pub networks: Vec<IpNet>,
    /// Origins of the operator's own that stand for a vendor's, whatever their address and scheme.
    pub origins: Vec<Url>,
}

/// The fields that a kind has beside those of every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindFields {
    /// What can be given at any time.
    pub changeable: &'static [&'static str],
    /// What can be given only when one is made.
    pub on_creation: &'static [&'static str],
}

/// A destination as its kind made it of the fields of a request.
#[derive(Debug, Clone)]
pub struct Created {
    /// What is kept and shown.
    pub settings: Value,
    /// What is kept sealed: JSON in a form that is the kind's.
    pub secret: SecretString,
    /// What is shown once, by its name in the API.
    pub shown: Vec<(&'static str, SecretString)>,
    /// How it is told.
    pub traits: Traits,
}

/// A destination as its kind changed it.
#[derive(Debug, Clone)]
pub struct Changed {
    /// All settings after the change.
    pub settings: Value,
    /// All secrets after the change.
    pub secret: SecretString,
    /// What is shown once, by its name in the API.
    pub shown: Vec<(&'static str, SecretString)>,
    /// Which user attributes it keeps profiles of after the change, if it keeps any.
    pub profile: Option<Attributes>,
}

/// What a secret is to be replaced by, and for how long the old one is used too. Its debug output shows no secret, nor
/// what one is made of.
#[derive(Clone)]
pub struct Rotation {
    /// The new secret; one is made when absent.
    pub new_secret: Option<SecretString>,
    /// Until when requests are signed with the old one too.
    pub until: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// For a new secret.
    pub random: [u8; 32],
}

impl fmt::Debug for Rotation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { new_secret, until, now, random: _ } = self;
        let mut shown = formatter.debug_struct("Rotation");
        shown.field("given", new_secret).field("until", until).field("now", now).finish_non_exhaustive()
    }
}

/// What making a body did, for those who count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenderNotes {
    /// How many values were cut.
    pub capped: u64,
    /// Why the customer's id cannot be sent, if that is why nothing is: `forbidden`, `short` or `long`.
    pub wrong_id: Option<&'static str>,
}

/// A destination that is ready to be used.
#[derive(Debug, Clone)]
pub enum Config {
    /// An HTTPS endpoint that receives signed events.
    Webhook(webhook::Config),
    /// A project of the analytics vendor.
    Amplitude(amplitude::Config),
}

impl Config {
    /// At most so many requests a second, where the named kind has such a bound.
    #[must_use]
    pub fn max_rate(kind: &str) -> Option<i64> {
        match kind {
            amplitude::KIND => Some(amplitude::config::RATE),
            _ => None,
        }
    }

    /// The fields of the named kind; `None` when there is no such kind.
    #[must_use]
    pub fn fields(kind: &str) -> Option<KindFields> {
        match kind {
            webhook::KIND => Some(webhook::config::FIELDS),
            amplitude::KIND => Some(amplitude::config::FIELDS),
            _ => None,
        }
    }

    /// What the fields of each kind are.
    #[must_use]
    pub fn schemas() -> Vec<Schemas> {
        vec![webhook::schemas::schemas(), amplitude::schemas::schemas()]
    }

    /// Makes the settings and secrets of a new destination of the named kind. What is no field of the kind is refused.
    ///
    /// # Errors
    /// All fields that are wrong, or the kind itself.
    pub fn create(
        kind: &str,
        fields: &Map<String, Value>,
        allowed: &Allowed,
        random: [u8; 32],
    ) -> Result<Created, Vec<Invalid>> {
        match kind {
            webhook::KIND => webhook::config::create(fields, allowed, random),
            amplitude::KIND => amplitude::config::create(fields, allowed),
            other => Err(vec![unknown(other)]),
        }
    }

    /// Changes what is given, leaves the rest; null removes what may be absent.
    ///
    /// # Errors
    /// All fields that are wrong.
    pub fn change(
        destination: &Destination,
        secret: &SecretString,
        fields: &Map<String, Value>,
        allowed: &Allowed,
    ) -> Result<Changed, Vec<Invalid>> {
        match destination.kind.as_str() {
            webhook::KIND => webhook::config::change(&destination.settings, secret, fields, allowed),
            amplitude::KIND => amplitude::config::change(&destination.settings, secret, fields, allowed),
            other => Err(vec![unknown(other)]),
        }
    }

    /// Replaces the secret that requests are signed with; the old one is used too for a while.
    ///
    /// # Errors
    /// What is wrong with the new secret, or that the kind signs nothing.
    pub fn rotate(destination: &Destination, secret: &SecretString, rotation: &Rotation) -> Result<Changed, Invalid> {
        match destination.kind.as_str() {
            webhook::KIND => webhook::config::rotate(&destination.settings, secret, rotation),
            other => Err(Invalid::new("kind", format!("`{}`: nothing is signed for `{other}`", webhook::KIND))),
        }
    }

    /// A destination ready to be used.
    ///
    /// # Errors
    /// The first setting or secret that cannot be used.
    pub fn ready(destination: &Destination, secret: &SecretString, allowed: &Allowed) -> Result<Self, Invalid> {
        match destination.kind.as_str() {
            webhook::KIND => webhook::config::ready(destination, secret, allowed).map(Self::Webhook),
            amplitude::KIND => amplitude::config::ready(destination, secret, allowed).map(Self::Amplitude),
            other => Err(unknown(other)),
        }
    }

    /// What an event looks like to a destination, in every attempt.
    #[must_use]
    pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
        match destination.kind.as_str() {
            webhook::KIND => webhook::body::render(destination, unsent),
            amplitude::KIND => amplitude::body::render(destination, unsent),
            other => Rendered::Refuse { why: unknown(other).to_string() },
        }
    }

    /// What [`Self::render`] did when it gave this.
    #[must_use]
    pub fn render_notes(destination: &Destination, unsent: &Unsent, rendered: &Rendered) -> RenderNotes {
        match destination.kind.as_str() {
            amplitude::KIND => amplitude::body::render_notes(destination, unsent, rendered),
            _ => RenderNotes::default(),
        }
    }

    /// The request that tells it one event, or several where it takes them. `at` is the time of this attempt.
    ///
    /// # Errors
    /// The secret is not one of this kind.
    pub fn request(&self, at: Timestamp, attempts: &[Attempt]) -> Result<Request, Invalid> {
        match self {
            Self::Webhook(config) => webhook::request::request(config, at, attempts),
            Self::Amplitude(config) => amplitude::request::request(config, attempts),
        }
    }

    /// Why no request can ever be made for an event as it is frozen, in words for a person; its class is `no_key`.
    #[must_use]
    pub fn lacks_key(&self, attempt: &Attempt) -> Option<String> {
        match self {
            Self::Webhook(_) => None,
            Self::Amplitude(config) => amplitude::request::lacks_key(config, attempt),
        }
    }

    /// What a reply means for each event and for the destination. `jitter` is a random number from 0 to 1, `at` is now.
    #[must_use]
    pub fn judge(&self, reply: &Reply, events: &[EventAttempt<'_>], (jitter, at): (f64, Timestamp)) -> DeliveryResult {
        match self {
            Self::Webhook(config) => webhook::response::judge(config, reply, events, (jitter, at)),
            Self::Amplitude(config) => amplitude::response::judge(config, reply, events, (jitter, at)),
        }
    }

    /// How long after its first attempt an event is not sent any more, in milliseconds.
    #[must_use]
    pub const fn gives_up_after_ms(&self) -> Option<i64> {
        match self {
            Self::Webhook(_) => None,
            Self::Amplitude(_) => Some(amplitude::GIVES_UP_AFTER_MS),
        }
    }

    /// After how long without success it is disabled, in milliseconds.
    #[must_use]
    pub const fn patience_ms(&self) -> i64 {
        match self {
            Self::Webhook(_) => webhook::PATIENCE_MS,
            Self::Amplitude(_) => amplitude::PATIENCE_MS,
        }
    }

    /// A text of the other side without our secrets in it.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        match self {
            Self::Webhook(config) => webhook::config::redact(config, text),
            Self::Amplitude(config) => amplitude::config::redact(config, text),
        }
    }

    /// A request that shows whether the connection works, and tells no event.
    ///
    /// # Errors
    /// What is missing for it.
    pub fn test(&self, at: Timestamp, id: &str) -> Result<Request, Invalid> {
        match self {
            Self::Webhook(config) => webhook::request::test(config, at, id),
            Self::Amplitude(config) => amplitude::request::test(config),
        }
    }

    /// What the reply to [`Self::test`] shows.
    ///
    /// # Errors
    /// What does not work, in words for a person.
    pub fn tested(&self, reply: &Reply) -> Result<String, String> {
        match self {
            Self::Webhook(_) => webhook::response::tested(reply),
            Self::Amplitude(config) => amplitude::response::tested(config, reply),
        }
    }
}

fn unknown(kind: &str) -> Invalid {
    Invalid::new("kind", format!("`{}` or `{}`, and not `{kind}`", webhook::KIND, amplitude::KIND))
}
