//! A destination in answers: everything except its secrets.

use super::RevealedSecrets;
use crate::edge::Edge;
use crate::error::Error;
use domain::{AppId, DestinationId, Timestamp};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Map, Value};
use storage::{DestinationHealth, Filter};

/// A destination, in a list. Which secrets there are is among the settings of its kind.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Destination {
    /// Its id.
    id: DestinationId,
    /// The app whose events it receives.
    app_id: AppId,
    /// Its kind.
    kind: String,
    /// A name for people.
    name: String,
    /// The events that are sent, by type or with a wildcard.
    events: Vec<String>,
    /// Which of them, by platform and environment. An empty list selects all.
    filter: Filter,
    /// Maximum number of requests a second over all processes; null without a limit.
    rate: Option<i64>,
    /// Maximum number of requests at once over all processes.
    concurrency: i64,
    /// The waits between attempts in seconds; null for those of the kind.
    schedule: Option<Vec<i64>>,
    /// Whether deliveries are attempted.
    enabled: bool,
    /// Its state.
    #[schemars(extend("enum" = ["healthy", "failing", "open", "disabled"]))]
    state: String,
    /// Since when it is in that state.
    since: Timestamp,
    /// Why it is in that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When it was created.
    created_at: Timestamp,
    /// The settings of its kind.
    #[serde(flatten)]
    settings: Map<String, Value>,
}

/// A destination with its health.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DestinationDetail {
    /// The destination.
    #[serde(flatten)]
    destination: Destination,
    /// Why the settings of this process allow no request to it, with the variables that would; absent when they allow them.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// Its health, and what is pending.
    health: DestinationHealth,
}

/// A destination that was created or changed. Secrets are shown in this answer only.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CreatedDestination {
    /// The destination.
    #[serde(flatten)]
    detail: DestinationDetail,
    /// Warnings about chosen events that are not sent yet, or that it skips.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The names of the fields that this answer alone shows.
    #[serde(skip)]
    pub shown_once: Vec<&'static str>,
}

impl From<storage::Destination> for Destination {
    fn from(destination: storage::Destination) -> Self {
        let settings = match destination.settings {
            Value::Object(settings) => settings,
            _ => Map::new(),
        };
        Self {
            id: destination.id,
            app_id: destination.app_id,
            kind: destination.kind,
            name: destination.name,
            events: destination.events,
            filter: destination.filter,
            rate: destination.rate,
            concurrency: destination.concurrency,
            schedule: destination.schedule,
            enabled: destination.enabled,
            state: destination.state.as_str().to_owned(),
            since: destination.since,
            reason: destination.reason,
            created_at: destination.created_at,
            settings,
        }
    }
}

impl DestinationDetail {
    /// Adds the health of a destination.
    pub async fn read(edge: &Edge, destination: storage::Destination) -> Result<Self, Error> {
        let health = edge.store.destination_health(destination.id).await?;
        let refusal = edge.allowed.refusal(&destination).map(|refusal| refusal.to_string());
        Ok(Self { destination: destination.into(), refusal, health })
    }
}

impl CreatedDestination {
    /// Adds the new secrets, and warnings about the events that this request chose.
    pub fn new(mut detail: DestinationDetail, shown: RevealedSecrets, chosen: &[String]) -> Self {
        let is_secret = |name: &&'static str| !detail.destination.settings.contains_key(*name);
        let shown_once = shown.iter().map(|(name, _)| *name).filter(is_secret).collect();
        let secrets = shown.iter().map(|(name, secret)| ((*name).to_owned(), Value::from(secret.expose_secret())));
        detail.destination.settings.extend(secrets);
        Self { detail, warnings: domain::event::unsent_choices(chosen), shown_once }
    }

    #[must_use]
    pub fn id(&self) -> DestinationId {
        self.detail.destination.id
    }

    pub fn with_warning(mut self, warning: Option<&str>) -> Self {
        self.warnings.extend(warning.map(str::to_owned));
        self
    }
}
