//! A destination as it is returned: everything except its secrets.

use crate::edge::Edge;
use crate::error::Error;
use domain::DestinationId;
use protocols::destinations;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use storage::{Destination, DestinationHealth, ShownState};

/// Secrets that are shown once, by name.
pub type RevealedSecrets = Vec<(&'static str, SecretString)>;

/// A destination with its health.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DestinationDetail {
    /// Data of the destination.
    #[serde(flatten)]
    destination: Destination,
    /// State of the destination, as displayed.
    shown_state: ShownState,
    /// Why this process's settings forbid requests to the destination, and the variables to change; absent if they
    /// allow requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// Health and delivery counts.
    health: DestinationHealth,
}

/// A destination that was created or changed. Secrets are returned in this response only.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CreatedDestination {
    /// The destination.
    #[serde(flatten)]
    detail: DestinationDetail,
    /// Events that the destination skips, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Names of the fields that only this response shows.
    #[serde(skip)]
    pub shown_once: Vec<&'static str>,
}

/// What settle does by itself while a destination fails and its breaker is open.
pub const CHECKED: &str = "settle checks it every 30 s and sends what waits by itself";

/// Returns a state's name for display, on the page and on the command line. It describes events only: a test may have
/// succeeded before the first event, and a failing destination may still respond.
pub const fn shown_state_for_people(state: ShownState) -> &'static str {
    match state {
        ShownState::NotTried => "no event sent yet",
        ShownState::SkipsEverything => "skips everything",
        ShownState::Healthy => "healthy",
        ShownState::Failing => "failing",
        ShownState::Open => "failing, checked every 30 s",
        ShownState::Disabled => "disabled",
    }
}

impl DestinationDetail {
    /// Reads a destination's health and adds it.
    pub async fn read(edge: &Edge, destination: Destination) -> Result<Self, Error> {
        let DestinationStanding {
            shown_state,
            health,
        } = DestinationStanding::read(edge, destination.id).await?;
        let refusal =
            destinations::refusal(&destination, &edge.allowed).map(|refusal| refusal.to_string());
        Ok(Self {
            destination: destinations::shown(destination),
            shown_state,
            refusal,
            health,
        })
    }
}

/// State of a destination, with its health.
pub struct DestinationStanding {
    /// State of the destination, as displayed.
    pub shown_state: ShownState,
    pub health: DestinationHealth,
}

impl DestinationStanding {
    /// Reads a destination's state and health.
    ///
    /// # Errors
    /// 404 if there is no such destination.
    pub async fn read(edge: &Edge, id: DestinationId) -> Result<Self, Error> {
        Ok(Self {
            shown_state: edge.store.shown_state(id).await?,
            health: edge.store.destination_health(id).await?,
        })
    }
}

impl CreatedDestination {
    /// Adds the new secrets.
    pub fn new(mut detail: DestinationDetail, shown: RevealedSecrets) -> Self {
        let settings = &mut detail.destination.settings;
        let shown_once = shown
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| settings.get(name).is_none())
            .collect();
        for (name, secret) in shown {
            settings[name] = secret.expose_secret().into();
        }
        Self {
            detail,
            warnings: Vec::new(),
            shown_once,
        }
    }

    pub fn id(&self) -> DestinationId {
        self.detail.destination.id
    }

    pub fn with_warning(mut self, warning: Option<&str>) -> Self {
        self.warnings.extend(warning.map(str::to_owned));
        self
    }
}
