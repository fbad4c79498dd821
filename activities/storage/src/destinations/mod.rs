//! Destinations: the endpoints that events are delivered to. Deleting one hides it; the ledger keeps its deliveries.

mod rows;

pub use rows::{DestinationRow, ever_of_app, find, of_app, set_state};

use crate::open::random_uuid;
use crate::platforms::require_app;
use crate::statement::sql;
use crate::{Error, Page, Paged, Store, audit, deliveries};
use domain::event::{Wildcards, chooses};
use domain::user::Attributes;
use domain::{AppId, DestinationId, Environment, PlatformId, Timestamp};
use rows::{SELECT, insert, locked, require, update};
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
    /// The event types it chose.
    pub events: Vec<String>,
    /// Which platforms' and environments' events it wants.
    pub filter: Filter,
    /// The settings of its kind, without secrets.
    pub settings: serde_json::Value,
    /// Its secrets, in a form that is its kind's.
    pub secret: SecretString,
    /// What its kind determines.
    pub traits: Traits,
    /// How fast it takes requests.
    pub limits: Limits,
    /// Whether deliveries are attempted.
    pub enabled: bool,
}

/// Which events a destination wants, beside their types. An empty list wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Filter {
    /// Only of these platforms.
    pub platforms: Vec<PlatformId>,
    /// Only of these environments.
    pub environments: Vec<Environment>,
}

impl Filter {
    /// Whether events of purchases on this platform that count in this environment are wanted.
    #[must_use]
    pub fn wants(&self, platform: PlatformId, environment: Environment) -> bool {
        (self.platforms.is_empty() || self.platforms.contains(&platform))
            && (self.environments.is_empty() || self.environments.contains(&environment))
    }

    /// The platforms that it wants, each once and in order; empty for all.
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
    /// Other platforms; an empty list wants all.
    pub platforms: Option<Vec<PlatformId>>,
    /// Other environments; an empty list wants all.
    pub environments: Option<Vec<Environment>>,
}

impl FilterPatch {
    /// The filter after the change.
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

/// What a destination's kind determines about its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// The meaning of the wildcards in its choice.
    pub wildcards: Wildcards,
    /// Whether requests about one user are made one after the other, over all their purchases.
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

/// How fast a destination takes requests, over all processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of requests a second; `None` for no limit.
    pub rate: Option<i64>,
    /// Maximum number of concurrent requests.
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
    /// Requests a second; `Some(None)` for no limit.
    pub rate: Option<Option<i64>>,
    /// Concurrent requests.
    pub concurrency: Option<i64>,
    /// Other waits; `Some(None)` for those of its kind.
    pub schedule: Option<Option<Vec<i64>>>,
}

impl LimitsPatch {
    /// The limits after the change.
    #[must_use]
    pub fn of(&self, before: Limits) -> Limits {
        Limits {
            rate: self.rate.unwrap_or(before.rate),
            concurrency: self.concurrency.unwrap_or(before.concurrency),
            schedule: self.schedule.clone().unwrap_or(before.schedule),
        }
    }
}

/// An endpoint that events are delivered to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Its id.
    pub id: DestinationId,
    /// The app whose events it receives.
    pub app_id: AppId,
    /// Its kind.
    pub kind: String,
    /// A name for people.
    pub name: String,
    /// The event types it chose.
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
    #[serde(skip)]
    pub profile: Option<Attributes>,
    /// Maximum number of requests a second over all processes; `None` for no limit.
    pub rate: Option<i64>,
    /// Maximum number of concurrent requests over all processes.
    pub concurrency: i64,
    /// The waits between attempts, in seconds; `None` for those of its kind.
    pub schedule: Option<Vec<i64>>,
    /// Whether deliveries are attempted.
    pub enabled: bool,
    /// `healthy`, `failing`, `open` or `disabled`.
    pub state: String,
    /// Why it is in that state.
    pub reason: Option<String>,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Changes of a destination; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct DestinationPatch {
    /// A new name.
    pub name: Option<String>,
    /// Another choice of event types.
    pub events: Option<Vec<String>>,
    /// Other platforms and environments.
    pub filter: Option<FilterPatch>,
    /// Another pace.
    pub limits: LimitsPatch,
    /// Other settings, as a whole. Deliveries that wait for a customer's id are reconsidered.
    pub settings: Option<serde_json::Value>,
    /// Other user attributes, where it keeps profiles.
    pub profile: Option<Attributes>,
    /// A new secret.
    pub secret: Option<SecretString>,
    /// The settings and the secret that the new ones are based on. When others are stored by now, nothing changes:
    /// [`Error::Conflict`].
    pub based_on: Option<(serde_json::Value, SecretString)>,
    /// Switch it on or off. What is owed stays owed; switched on, it begins anew as `healthy`.
    pub enabled: Option<bool>,
    /// Another state; `since` becomes now when it differs.
    pub state: Option<String>,
    /// Why; `Some(None)` removes it.
    pub reason: Option<Option<String>>,
}

impl Destination {
    /// What its kind determines.
    #[must_use]
    pub const fn traits(&self) -> Traits {
        Traits {
            wildcards: self.wildcards,
            per_user: self.per_user,
            per_request: self.per_request,
            profile: self.profile,
        }
    }

    /// Whether it chose events of this type.
    #[must_use]
    pub fn chose(&self, event_type: &str) -> bool {
        chooses(&self.events, self.wildcards, event_type)
    }
}

impl Store {
    /// Creates a destination.
    pub async fn new_destination(&self, new: NewDestination) -> Result<Destination, Error> {
        let id = DestinationId::new(random_uuid()?);
        let secrets = self.secrets.clone();
        self.write(move |write| {
            require_app(write, new.app_id)?;
            insert(write, &secrets, id, &new)?;
            require(write.connection, id)?.destination()
        })
        .await
    }

    /// One destination.
    pub async fn destination(&self, id: DestinationId) -> Result<Destination, Error> {
        self.read(move |connection| require(connection, id)?.destination()).await
    }

    /// The destinations of an app, the oldest first.
    pub async fn destinations(&self, app: AppId, page: Page) -> Result<Paged<Destination>, Error> {
        let (after, id) = page.pair_or(i64::MIN)?;
        self.read(move |connection| {
            let text = format!("{SELECT} AND app_id = ? AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?");
            let rows: Vec<DestinationRow> =
                sql(text).bind(app).bind(after).bind(id).bind(page.size() + 1).all(connection)?;
            let cursor = |row: &DestinationRow| format!("{}_{}", row.created_at.micros(), row.id);
            Paged::cut(rows, page.size(), cursor, DestinationRow::destination)
        })
        .await
    }

    /// Changes a destination. What is owed to it stays owed; when it is enabled, all of that is due at once, and
    /// failures count anew. With other settings all waiting deliveries are reconsidered, batch by batch;
    /// [`Store::reconsider_left`] continues after an error.
    pub async fn update_destination(&self, id: DestinationId, patch: DestinationPatch) -> Result<Destination, Error> {
        let secrets = self.secrets.clone();
        let has_settings = patch.settings.is_some();
        let changed = self
            .write(move |write| {
                let row = locked(write, id)?;
                if let Some((settings, secret)) = &patch.based_on {
                    row.check_unchanged(&secrets, settings, secret)?;
                }
                update(write, &secrets, row, &patch)?;
                if patch.settings.is_some() {
                    deliveries::request_reconsideration(write, id)?;
                }
                if patch.events.is_some() || patch.filter.is_some() {
                    audit::reset_choice(write, id)?;
                }
                require(write.connection, id)?.destination()
            })
            .await?;
        if has_settings {
            self.reconsider(id, i64::MAX).await?;
        }
        Ok(changed)
    }

    /// Reconsiders the waiting deliveries of destinations with changed settings, at most about `limit`; returns how
    /// many. There are some only after a change that was interrupted, or while one is being made.
    pub async fn reconsider_left(&self, limit: i64) -> Result<i64, Error> {
        let mut reconsidered = 0;
        for id in self.read(move |connection| deliveries::unreconsidered(connection, limit)).await? {
            if reconsidered >= limit {
                break;
            }
            reconsidered += self.reconsider(id, limit - reconsidered).await?;
        }
        Ok(reconsidered)
    }

    /// Reconsiders about `limit` waiting deliveries of a destination. A delivery that begins to wait meanwhile does so
    /// by the stored settings.
    async fn reconsider(&self, id: DestinationId, limit: i64) -> Result<i64, Error> {
        let mut reconsidered = 0;
        while reconsidered < limit {
            let Some(count) = self.write(move |write| deliveries::reconsider(write, id)).await? else { break };
            reconsidered += count;
        }
        Ok(reconsidered)
    }

    /// Hides a destination: nothing is sent to it any more, and what it was owed ends as `dead`, batch by batch.
    /// [`Store::end_deleted_owed`] continues after an error.
    pub async fn delete_destination(&self, id: DestinationId) -> Result<(), Error> {
        self.write(move |write| {
            let deleted = sql("UPDATE destinations SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
                .bind(write.now)
                .bind(id)
                .run(write.connection)?;
            if deleted == 0 { Err(Error::Missing { what: "destination" }) } else { Ok(()) }
        })
        .await?;
        self.end_deleted(id, i64::MAX).await.map(drop)
    }

    /// Ends what deleted destinations are owed, at most about `limit` deliveries; returns how many. There are some only
    /// after a deletion that was interrupted, or one that happened while an event was recorded.
    pub async fn end_deleted_owed(&self, limit: i64) -> Result<i64, Error> {
        let mut finished = 0;
        for id in self.read(move |connection| deliveries::deleted_owed(connection, limit)).await? {
            if finished >= limit {
                break;
            }
            finished += self.end_deleted(id, limit - finished).await?;
        }
        Ok(finished)
    }

    /// Ends about `limit` deliveries that a deleted destination is owed.
    async fn end_deleted(&self, id: DestinationId, limit: i64) -> Result<i64, Error> {
        let mut finished = 0;
        for status in deliveries::OPEN {
            let mut after = 0;
            while finished < limit {
                let batch = self.write(move |write| deliveries::end_deleted(write, id, (status, after))).await?;
                let Some((last, count)) = batch else { break };
                after = last;
                finished += count;
            }
        }
        Ok(finished)
    }

    /// The secret of a destination.
    pub async fn destination_secret(&self, id: DestinationId) -> Result<SecretString, Error> {
        let secrets = self.secrets.clone();
        self.read(move |connection| require(connection, id)?.open_secret(&secrets)).await
    }
}
