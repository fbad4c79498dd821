//! Destinations: the endpoints that events are delivered to. Deleting one hides it; its deliveries stay in the
//! database.

pub mod rows;

pub use rows::{DestinationRow, find, find_ahead, of_app, of_app_ahead, of_events, set_state};

use crate::settings::without_default;
use db::statement::{json_columns, row};
use domain::event::{REVENUE_ADJUSTED, Wildcards, chooses};
use domain::health::State;
use domain::user::Attributes;
use domain::{AppId, DestinationId, Environment, PlatformId, Timestamp};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Deref;

row! {
    /// The settings that every kind of destination has: columns, and fields of requests and answers with their
    /// descriptions.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct DestinationSettings {
        /// Display name, unique within the app.
        #[schemars(length(max = 200))]
        pub name: String,
        /// Events to send, by type or wildcard; all by default.
        #[serde(default = "all_events")]
        #[schemars(extend("maxItems" = 32, "x-nullIsAbsent" = true), transform = without_default)]
        pub events: Vec<String>,
        /// Filter for events by platform and environment. An empty list selects all.
        #[serde(default)]
        pub filter: Filter,
        /// Maximum number of requests per second over all processes; null for the default of the kind, which is also
        /// the maximum.
        #[schemars(range(min = 1, max = 1000))]
        pub rate: Option<i64>,
        /// Maximum number of concurrent requests over all processes.
        #[serde(default = "usual_concurrency")]
        #[schemars(range(min = 1, max = 200))]
        pub concurrency: i64,
        /// Waits between attempts in seconds, at most 8 days in total; null for the default of the kind.
        pub schedule: Option<Vec<i64>>,
        /// Whether deliveries are attempted.
        #[serde(default = "yes")]
        #[schemars(extend("x-nullIsAbsent" = true))]
        pub enabled: bool,
        /// Whether the user's state in events covers both environments. By default it covers purchases in the event's
        /// own environment only, so a test purchase grants nothing in production.
        #[serde(default)]
        pub both_environments: bool,
    }
}

fn all_events() -> Vec<String> {
    vec!["*".to_owned()]
}

const fn usual_concurrency() -> i64 {
    32
}

const fn yes() -> bool {
    true
}

impl DestinationSettings {
    /// Returns the settings of a destination with this name and the defaults.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            events: all_events(),
            filter: Filter::default(),
            rate: None,
            concurrency: usual_concurrency(),
            schedule: None,
            enabled: true,
            both_environments: false,
        }
    }
}

/// A destination that is to be created.
#[derive(Debug, Clone)]
pub struct NewDestination {
    /// Id of the app whose events the destination receives.
    pub app_id: AppId,
    /// Kind of the destination, such as `webhook`.
    pub kind: String,
    pub common: DestinationSettings,
    /// The settings of its kind, without secrets.
    pub settings: serde_json::Value,
    /// Secrets of the destination, in the format of its kind.
    pub secret: SecretString,
    /// The properties that its kind determines.
    pub traits: Traits,
}

/// The platforms and environments whose events a destination wants. An empty list means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Filter {
    /// Only events of these platforms.
    #[schemars(extend("maxItems" = 100))]
    pub platforms: Vec<PlatformId>,
    /// Only events of these environments.
    #[schemars(extend("maxItems" = 2))]
    pub environments: Vec<Environment>,
}

impl Filter {
    /// Returns whether the filter selects the events of a purchase on this platform that counts in this environment.
    pub fn wants(&self, platform: PlatformId, environment: Environment) -> bool {
        (self.platforms.is_empty() || self.platforms.contains(&platform))
            && (self.environments.is_empty() || self.environments.contains(&environment))
    }

    /// Returns the selected platforms, each once and in order; empty for all.
    pub fn sorted_platforms(&self) -> Vec<PlatformId> {
        let platforms: BTreeSet<PlatformId> = self.platforms.iter().copied().collect();
        platforms.into_iter().collect()
    }

    /// Returns whether the filter selects events of one environment only.
    pub fn is_one_environment(&self) -> bool {
        self.environments
            .first()
            .is_some_and(|first| self.environments.iter().all(|other| other == first))
    }
}

/// The properties of a destination that its kind determines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// The meaning of the wildcards in its choice of events.
    pub wildcards: Wildcards,
    /// Whether requests about one user are sent one at a time, over all of the user's purchases. Such a destination
    /// counts revenue: it adds up a user's payments, so it is sent each change of a payment.
    pub per_user: bool,
    /// Maximum number of events in one request.
    pub per_request: i64,
    /// The user attributes in the profiles that it keeps; `None` if it keeps no profiles.
    pub profile: Option<Attributes>,
    /// Maximum number of destinations of its kind in an app; `None` for any number.
    pub per_app: Option<i64>,
}

impl Default for Traits {
    fn default() -> Self {
        Self {
            wildcards: Wildcards::Everything,
            per_user: false,
            per_request: 1,
            profile: None,
            per_app: None,
        }
    }
}

row! {
    /// A destination. The settings of its kind show which secrets it has.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct Destination {
        /// Id of the destination.
        pub id: DestinationId,
        /// Id of the app whose events the destination receives.
        pub app_id: AppId,
        /// Kind of the destination.
        pub kind: String,
        #[serde(flatten)]
        pub common: DestinationSettings,
        /// The meaning of the wildcards in its choice of events.
        #[serde(skip)]
        pub wildcards: Wildcards,
        /// The settings of its kind, without secrets.
        #[serde(flatten)]
        pub settings: serde_json::Value,
        /// Whether requests about one user are made one after the other.
        #[serde(skip)]
        pub per_user: bool,
        /// Maximum number of events in one request.
        #[serde(skip)]
        pub per_request: i64,
        /// The user attributes in the profiles that it keeps; `None` if it keeps no profiles.
        #[serde(skip)]
        pub profile: Option<Attributes>,
        /// State of the destination.
        #[schemars(with = "String", extend("enum" = ["healthy", "failing", "open", "disabled"]))]
        pub state: State,
        /// Reason for the state.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
        /// When the destination entered its state.
        pub since: Timestamp,
        /// When the destination was created.
        pub created_at: Timestamp,
    }
}

json_columns!(Filter);

/// A change of the fields that only some kinds of destinations have; `None` leaves a field unchanged.
#[derive(Debug, Clone, Default)]
pub struct DestinationChange {
    /// New settings of its kind, which replace the old ones as a whole. Deliveries that wait for the user's own id
    /// become due, because the new settings may not need it.
    pub settings: Option<serde_json::Value>,
    /// The user attributes in the profiles that it keeps from now on.
    pub profile: Option<Attributes>,
    pub secret: Option<SecretString>,
    /// The settings and the secret that the new ones are based on. If the stored ones differ, nothing is changed:
    /// [`crate::Error::Conflict`].
    pub based_on: Option<(serde_json::Value, SecretString)>,
    /// The reason for its state that is shown to people; `Some(None)` removes it.
    pub reason: Option<Option<String>>,
}

impl Deref for Destination {
    type Target = DestinationSettings;

    fn deref(&self) -> &DestinationSettings {
        &self.common
    }
}

impl Destination {
    /// Returns whether it is sent a user's state over both environments. False for a destination that gets the events
    /// of only one environment.
    pub fn wants_both_environments(&self) -> bool {
        self.both_environments && !self.filter.is_one_environment()
    }

    /// Returns whether it chose events of this type. A destination that counts revenue never chooses the changes of
    /// payments: it is sent them with their payments.
    pub fn chose(&self, event_type: &str) -> bool {
        let is_of_payment = self.per_user && event_type == REVENUE_ADJUSTED;
        !is_of_payment && chooses(&self.events, self.wildcards, event_type)
    }
}
