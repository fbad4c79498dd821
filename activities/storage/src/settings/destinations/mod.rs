//! Destinations: the endpoints that events are delivered to. Deleting one hides it; its deliveries stay in the
//! database.

pub mod rows;

pub use rows::{DestinationRow, find, find_ahead, of_app, of_app_ahead, set_state};

use crate::db::statement::{json_columns, row};
use domain::event::{Wildcards, chooses};
use domain::health::State;
use domain::user::Attributes;
use domain::{AppId, DestinationId, Environment, PlatformId, Timestamp};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A destination that is to be created.
#[derive(Debug, Clone)]
pub struct NewDestination {
    /// The app whose events it receives.
    pub app_id: AppId,
    /// Its kind, such as `webhook`.
    pub kind: String,
    /// A name for people, unique in the app.
    pub name: String,
    pub events: Vec<String>,
    /// Which platforms' and environments' events it wants.
    pub filter: Filter,
    /// The settings of its kind, without secrets.
    pub settings: serde_json::Value,
    /// Its secrets, in the format of its kind.
    pub secret: SecretString,
    /// The properties that its kind determines.
    pub traits: Traits,
    pub limits: Limits,
    pub enabled: bool,
}

/// The platforms and environments whose events a destination wants. An empty list means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Filter {
    /// The wanted platforms.
    pub platforms: Vec<PlatformId>,
    /// The wanted environments.
    pub environments: Vec<Environment>,
}

impl Filter {
    /// Whether it wants the events of a purchase on this platform that counts in this environment.
    #[must_use]
    pub fn wants(&self, platform: PlatformId, environment: Environment) -> bool {
        (self.platforms.is_empty() || self.platforms.contains(&platform))
            && (self.environments.is_empty() || self.environments.contains(&environment))
    }

    /// The wanted platforms, each once and in order; empty for all.
    #[must_use]
    pub fn sorted_platforms(&self) -> Vec<PlatformId> {
        let platforms: BTreeSet<PlatformId> = self.platforms.iter().copied().collect();
        platforms.into_iter().collect()
    }

    /// Whether it wants events of one environment and not of the other.
    #[must_use]
    pub fn is_one_environment(&self) -> bool {
        self.environments.first().is_some_and(|first| self.environments.iter().all(|other| other == first))
    }
}

/// Changes of a filter; `None` leaves a list as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterPatch {
    /// New platforms; an empty list means all.
    pub platforms: Option<Vec<PlatformId>>,
    /// New environments; an empty list means all.
    pub environments: Option<Vec<Environment>>,
}

impl FilterPatch {
    #[must_use]
    pub fn of(&self, before: Filter) -> Filter {
        Filter {
            platforms: self.platforms.clone().unwrap_or(before.platforms),
            environments: self.environments.clone().unwrap_or(before.environments),
        }
    }
}

impl From<Filter> for FilterPatch {
    fn from(Filter { platforms, environments }: Filter) -> Self {
        Self { platforms: Some(platforms), environments: Some(environments) }
    }
}

/// The properties of a destination that its kind determines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// The meaning of the wildcards in its choice.
    pub wildcards: Wildcards,
    /// Whether requests about one user are made one after the other, over all their purchases. Such a destination
    /// counts: it adds up the revenue of a user, so it is sent each change of a payment.
    pub per_user: bool,
    /// Maximum number of events in one request.
    pub per_request: i64,
    /// Which user attributes it keeps profiles of; `None` where it keeps none.
    pub profile: Option<Attributes>,
}

impl Default for Traits {
    fn default() -> Self {
        Self { wildcards: Wildcards::Everything, per_user: false, per_request: 1, profile: None }
    }
}

/// The limits on the requests to a destination, over all processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of requests a second; `None` for no limit.
    pub rate: Option<i64>,
    pub concurrency: i64,
    /// The waits between attempts, in seconds; `None` for those of its kind.
    pub schedule: Option<Vec<i64>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rate: None, concurrency: 32, schedule: None }
    }
}

/// Changes of the limits; `None` leaves a limit as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitsPatch {
    /// New maximum number of requests a second; `Some(None)` for no limit.
    pub rate: Option<Option<i64>>,
    /// New maximum number of concurrent requests.
    pub concurrency: Option<i64>,
    /// New waits between attempts, in seconds; `Some(None)` for those of its kind.
    pub schedule: Option<Option<Vec<i64>>>,
}

impl LimitsPatch {
    #[must_use]
    pub fn of(&self, before: Limits) -> Limits {
        Limits {
            rate: self.rate.unwrap_or(before.rate),
            concurrency: self.concurrency.unwrap_or(before.concurrency),
            schedule: self.schedule.clone().unwrap_or(before.schedule),
        }
    }
}

row! {
    /// An endpoint that events are delivered to.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Destination {
        pub id: DestinationId,
        /// The app whose events it receives.
        pub app_id: AppId,
        pub kind: String,
        pub name: String,
        pub events: Vec<String>,
        /// The meaning of the wildcards in its choice.
        pub wildcards: Wildcards,
        /// Which platforms' and environments' events it wants.
        pub filter: Filter,
        /// The settings of its kind, without secrets.
        pub settings: serde_json::Value,
        /// Whether requests about one user are made one after the other.
        pub per_user: bool,
        /// Maximum number of events in one request.
        pub per_request: i64,
        /// Which user attributes it keeps profiles of; `None` where it keeps none.
        pub profile: Option<Attributes>,
        /// Maximum number of requests a second over all processes; `None` for no limit.
        pub rate: Option<i64>,
        /// Maximum number of concurrent requests over all processes.
        pub concurrency: i64,
        /// The waits between attempts, in seconds; `None` for those of its kind.
        pub schedule: Option<Vec<i64>>,
        pub enabled: bool,
        pub state: State,
        /// Why it is in that state.
        pub reason: Option<String>,
        /// Since when it is in that state.
        pub since: Timestamp,
        pub created_at: Timestamp,
    }
}

json_columns!(Filter, Vec<String>, Vec<i64>);

/// Changes of a destination; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct DestinationPatch {
    pub name: Option<String>,
    /// A new choice of event types.
    pub events: Option<Vec<String>>,
    /// Changes of the wanted platforms and environments.
    pub filter: Option<FilterPatch>,
    pub limits: LimitsPatch,
    /// New settings, which replace the old ones as a whole. Deliveries that wait for the user's own id become due,
    /// because the new settings may not need it.
    pub settings: Option<serde_json::Value>,
    /// Which user attributes it keeps profiles of from now on.
    pub profile: Option<Attributes>,
    pub secret: Option<SecretString>,
    /// The settings and the secret that the new ones are based on. If the stored ones differ, nothing is changed:
    /// [`crate::Error::Conflict`].
    pub based_on: Option<(serde_json::Value, SecretString)>,
    /// Switches it on or off. Pending deliveries stay pending; when it is switched on, its state is `healthy` again.
    pub enabled: Option<bool>,
    /// The reason that people see; `Some(None)` removes it.
    pub reason: Option<Option<String>>,
}

impl Destination {
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { rate: self.rate, concurrency: self.concurrency, schedule: self.schedule.clone() }
    }

    /// Whether it chose events of this type.
    #[must_use]
    pub fn chose(&self, event_type: &str) -> bool {
        chooses(&self.events, self.wildcards, event_type)
    }
}
