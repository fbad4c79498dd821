//! The state of every request handler, created once by the commands that serve HTTP.

use crate::dispatch::Dispatch;
use crate::error::Field;
use crate::metrics::Metrics;
use crate::stores::amazon::{self, Amazon, Answer};
use domain::Timestamp;
use domain::destination::KindSchemas;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use storage::{Destination, Store, Traits};
use url::Url;

/// The stores that a platform can be of, by the name in their URL. Each has its arm in [`Edge::receive`].
pub const STORES: &[&str] = &[amazon::STORE];

/// A destination as its kind creates or changes it.
#[derive(Debug, Clone)]
pub struct PreparedDestination {
    /// The settings, which are stored and shown.
    pub settings: Value,
    /// The secrets, which are stored encrypted.
    pub secret: SecretString,
    /// The secrets that are shown once, by name.
    pub shown: Vec<(&'static str, SecretString)>,
    /// How events are delivered to it.
    pub traits: Traits,
}

/// The result of a test request, which carries no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tested {
    /// Whether the connection works.
    pub ok: bool,
    /// What was found, as text for people.
    pub detail: String,
}

/// The names of the fields that only one kind of destination has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindFields {
    /// Fields that can be set at any time.
    pub changeable: &'static [&'static str],
    /// Fields that can be set only on creation.
    pub on_creation: &'static [&'static str],
}

/// The kinds of destinations. Errors name a wrong field by its name in the API.
pub trait Kinds: Send + Sync {
    /// Maximum number of requests a second, where the named kind has such a bound.
    fn bound(&self, kind: &str) -> Option<i64>;

    /// The fields of the named kind; `None` when there is no such kind.
    fn fields(&self, kind: &str) -> Option<KindFields>;

    /// The schemas of each kind's fields, for the documentation.
    fn schemas(&self) -> Vec<KindSchemas>;

    /// Whether these waits between attempts, in seconds, are a schedule.
    ///
    /// # Errors
    /// What was expected instead.
    fn check_schedule(&self, seconds: &[i64]) -> Result<(), Field>;

    /// Prepares a new destination of the named kind from these fields and random bytes.
    ///
    /// # Errors
    /// All wrong fields.
    fn make(
        &self,
        kind: &str,
        fields: &Map<String, Value>,
        random: [u8; 32],
    ) -> Result<PreparedDestination, Vec<Field>>;

    /// Prepares a change of a destination; null removes an optional field.
    ///
    /// # Errors
    /// All wrong fields.
    fn change(
        &self,
        destination: &Destination,
        secret: &SecretString,
        fields: &Map<String, Value>,
    ) -> Result<PreparedDestination, Vec<Field>>;

    /// Replaces the signing secret; the old one signs too until `until`.
    ///
    /// # Errors
    /// What is wrong with the new secret, or that the kind signs nothing.
    fn rotate(
        &self,
        destination: &Destination,
        secret: &SecretString,
        rotation: Rotation,
    ) -> Result<PreparedDestination, Vec<Field>>;

    /// Sends a request with this id that carries no event, to test the connection.
    ///
    /// # Errors
    /// A field that is missing for it or cannot be used; nothing was sent.
    fn test(&self, destination: Destination, secret: SecretString, id: String) -> BoxFuture<'_, Result<Tested, Field>>;
}

/// The replacement of a secret. Its debug output shows neither a secret nor the random bytes.
#[derive(Clone)]
pub struct Rotation {
    /// The new secret; generated when absent.
    pub new_secret: Option<SecretString>,
    /// Until when requests are signed with the old one too.
    pub until: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// Random bytes for a generated secret.
    pub random: [u8; 32],
}

impl fmt::Debug for Rotation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { new_secret, until, now, random: _ } = self;
        let mut shown = formatter.debug_struct("Rotation");
        shown.field("new_secret", new_secret).field("until", until).field("now", now).finish_non_exhaustive()
    }
}

/// The state of the HTTP edge; shared as `Arc<Edge>`.
pub struct Edge {
    /// The database.
    pub store: Store,
    /// The dispatcher, which signals the engine.
    pub dispatch: Dispatch,
    /// The ingress of the Amazon Appstore.
    pub amazon: Arc<Amazon>,
    /// The kinds of destinations.
    pub kinds: Arc<dyn Kinds>,
    /// The bearer token of the admin part.
    pub admin_token: SecretString,
    /// The base of every `notification_url`.
    pub public_url: Url,
    /// The default window of a platform.
    pub default_window_ms: i64,
    /// The metrics of this process.
    pub metrics: Metrics,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// Random bytes for ingress keys and secrets.
    pub random: fn() -> [u8; 32],
}

/// The edge as handlers see it.
pub type Shared = Arc<Edge>;

impl Edge {
    /// The public URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// Passes a message to its store; `None` when there is no such store.
    pub async fn receive(&self, store: &str, ingress_key: &str, body: &[u8]) -> Option<Answer> {
        match store {
            amazon::STORE => Some(self.amazon.receive(&self.store, &self.dispatch, ingress_key, body).await),
            _ => None,
        }
    }

    /// Confirms a topic's subscription at the store that it is of.
    ///
    /// # Errors
    /// The reason, without the URL, which is a secret.
    pub async fn confirm(&self, store: &str, subscribe_url: &SecretString) -> Result<(), String> {
        match store {
            amazon::STORE => self.amazon.visit(subscribe_url).await.map_err(|error| error.to_string()),
            other => Err(format!("there is no store `{other}`")),
        }
    }

    /// Whether a store has topics of this name.
    ///
    /// # Errors
    /// What that store expects instead.
    pub fn check_topic(&self, store: &str, name: &str) -> Result<(), String> {
        match store {
            amazon::STORE => self.amazon.check_topic(name),
            other => Err(format!("no topic: there is no store `{other}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rotation;
    use domain::Timestamp;

    #[test]
    fn debug_output_of_a_rotation_hides_secret_and_random_bytes() {
        let now = Timestamp::from_micros(0);
        let rotation = Rotation { new_secret: Some("whsec_new".into()), until: now, now, random: [171; 32] };
        let shown = format!("{rotation:?} {rotation:#?}");
        for hidden in ["whsec", "random", "171", "0xab"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}
