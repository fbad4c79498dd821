//! What every request handler is given. Made once by the commands that serve HTTP.

use crate::dispatch::Dispatch;
use crate::error::Field;
use crate::metrics::Metrics;
use crate::stores::amazon::{self, Amazon, Answer};
use domain::Timestamp;
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

/// A destination as its kind makes or changes it.
#[derive(Debug, Clone)]
pub struct PreparedDestination {
    /// What is kept and shown.
    pub settings: Value,
    /// What is kept sealed.
    pub secret: SecretString,
    /// What is shown once, by its name.
    pub shown: Vec<(&'static str, SecretString)>,
    /// How it is told.
    pub traits: Traits,
}

/// What a request showed that carries no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tested {
    /// Whether the connection works.
    pub ok: bool,
    /// What was found, for people.
    pub detail: String,
}

/// The fields that a kind of destination has beside those of every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindFields {
    /// What can be given at any time.
    pub changeable: &'static [&'static str],
    /// What can be given only when one is made.
    pub on_creation: &'static [&'static str],
}

/// The fields of a kind of destination as JSON Schemas, beside those of every kind: names with their schemas.
#[derive(Debug, Clone, PartialEq)]
pub struct KindSchemas {
    /// The kind.
    pub kind: &'static str,
    /// What can be given when one is created.
    pub created: Map<String, Value>,
    /// Which of that is required.
    pub required: &'static [&'static str],
    /// What can be given in a change.
    pub changed: Map<String, Value>,
    /// What is shown.
    pub shown: Map<String, Value>,
    /// A request that creates one.
    pub example: Value,
}

/// The kinds of destinations, as those who send to them know them. A wrong field is named as it is in the API.
pub trait Kinds: Send + Sync {
    /// At most so many requests a second, where the named kind has such a bound.
    fn bound(&self, kind: &str) -> Option<i64>;

    /// The fields of the named kind; `None` when there is no such kind.
    fn fields(&self, kind: &str) -> Option<KindFields>;

    /// What the fields of each kind are, for who reads about them.
    fn schemas(&self) -> Vec<KindSchemas>;

    /// Whether these waits between attempts, in seconds, are a schedule.
    ///
    /// # Errors
    /// What was expected instead.
    fn check_schedule(&self, seconds: &[i64]) -> Result<(), Field>;

    /// A new destination of the named kind, made of these fields and random bytes.
    ///
    /// # Errors
    /// All wrong fields.
    fn make(
        &self,
        kind: &str,
        fields: &Map<String, Value>,
        random: [u8; 32],
    ) -> Result<PreparedDestination, Vec<Field>>;

    /// The same after a change of what is given; null removes what may be absent.
    ///
    /// # Errors
    /// All wrong fields.
    fn change(
        &self,
        destination: &Destination,
        secret: &SecretString,
        fields: &Map<String, Value>,
    ) -> Result<PreparedDestination, Vec<Field>>;

    /// Replaces what requests are signed with; the old secret is used too until `until`.
    ///
    /// # Errors
    /// What is wrong with the new secret, or that the kind signs nothing.
    fn rotate(
        &self,
        destination: &Destination,
        secret: &SecretString,
        rotation: Rotation,
    ) -> Result<PreparedDestination, Vec<Field>>;

    /// Sends a request with this id that shows whether the connection works, and tells no event.
    ///
    /// # Errors
    /// What is missing for it, or cannot be used; nothing was sent.
    fn test(&self, destination: Destination, secret: SecretString, id: String) -> BoxFuture<'_, Result<Tested, Field>>;
}

/// What a secret is to be replaced by. Its debug output shows no secret, nor what one is made of.
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
        shown.field("new_secret", new_secret).field("until", until).field("now", now).finish_non_exhaustive()
    }
}

/// The state of the HTTP edge; shared as `Arc<Edge>`.
pub struct Edge {
    /// What is remembered.
    pub store: Store,
    /// Who tells the engine.
    pub dispatch: Dispatch,
    /// The store that we hear.
    pub amazon: Arc<Amazon>,
    /// The kinds of destinations.
    pub kinds: Arc<dyn Kinds>,
    /// The bearer token of the admin part.
    pub admin_token: SecretString,
    /// What `notification_url` is built from.
    pub public_url: Url,
    /// The window of a platform that names none.
    pub default_window_ms: i64,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// Random bytes for ingress keys and secrets.
    pub random: fn() -> [u8; 32],
}

/// The edge as handlers see it.
pub type Shared = Arc<Edge>;

impl Edge {
    /// A path of ours as others reach it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// Gives a message to the store that it is for; `None` when there is no such store.
    pub async fn receive(&self, store: &str, ingress_key: &str, body: &[u8]) -> Option<Answer> {
        match store {
            amazon::STORE => Some(self.amazon.receive(&self.store, &self.dispatch, ingress_key, body).await),
            _ => None,
        }
    }

    /// Confirms a topic's subscription at the store that it is of.
    ///
    /// # Errors
    /// What stood against it, without the URL, which is a secret.
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
