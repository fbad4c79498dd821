//! Destinations: whom we tell. Deleting one hides it; the ledger keeps what it was told.

use crate::connection::AnyConnection;
use crate::open::random_uuid;
use crate::platforms::require_app;
use crate::secrets::Secrets;
use crate::statement::{row, sql};
use crate::writer::Write;
use crate::{Error, Page, Paged, Store, deliveries};
use domain::{AppId, DestinationId, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

const HEALTHY: &str = "healthy";
const DISABLED: &str = "disabled";

/// A destination that is to be made.
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
    /// What its kind needs to know, without secrets.
    pub settings: serde_json::Value,
    /// Its secret.
    pub secret: SecretString,
    /// Whether deliveries are attempted.
    pub enabled: bool,
}

/// Whom we tell.
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
    /// What its kind needs to know, without secrets.
    pub settings: serde_json::Value,
    /// Whether deliveries are attempted.
    pub enabled: bool,
    /// `healthy`, `failing`, `open` or `disabled`.
    pub state: String,
    /// Why it is in that state.
    pub reason: Option<String>,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What is to change in a destination; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct DestinationPatch {
    /// A new name.
    pub name: Option<String>,
    /// Another choice of event types.
    pub events: Option<Vec<String>>,
    /// Other settings, as a whole.
    pub settings: Option<serde_json::Value>,
    /// A new secret.
    pub secret: Option<SecretString>,
    /// Switch it on or off. What is owed stays owed.
    pub enabled: Option<bool>,
    /// Another state; `since` becomes now when it differs.
    pub state: Option<String>,
    /// Why; `Some(None)` removes it.
    pub reason: Option<Option<String>>,
}

row! {
    /// A destination as it is stored.
    pub struct DestinationRow {
        pub id: DestinationId,
        pub app_id: AppId,
        kind: String,
        name: String,
        events: String,
        settings: String,
        secret: String,
        pub enabled: bool,
        state: String,
        reason: Option<String>,
        since: Timestamp,
        created_at: Timestamp,
    }
}

const SELECT: &str = "SELECT id, app_id, kind, name, events, settings, secret, enabled, state, reason, since, \
     created_at FROM destinations WHERE deleted_at IS NULL";

impl DestinationRow {
    /// The destination without its secret.
    pub fn destination(self) -> Result<Destination, Error> {
        let unreadable =
            |cause| Error::corrupt_by(format!("the settings of destination {} are not JSON", self.id), cause);
        Ok(Destination {
            events: serde_json::from_str(&self.events).map_err(unreadable)?,
            settings: serde_json::from_str(&self.settings).map_err(unreadable)?,
            id: self.id,
            app_id: self.app_id,
            kind: self.kind,
            name: self.name,
            enabled: self.enabled,
            state: self.state,
            reason: self.reason,
            since: self.since,
            created_at: self.created_at,
        })
    }

    /// The destination's secret.
    pub fn open_secret(&self, secrets: &Secrets) -> Result<SecretString, Error> {
        secrets.open("destinations", &self.id.to_string(), &self.secret)
    }
}

impl Store {
    /// Makes a destination.
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

    /// Changes a destination. What is owed to it stays owed.
    pub async fn update_destination(&self, id: DestinationId, patch: DestinationPatch) -> Result<Destination, Error> {
        let secrets = self.secrets.clone();
        self.write(move |write| {
            let row = require(write.connection, id)?;
            update(write, &secrets, row, &patch)?;
            require(write.connection, id)?.destination()
        })
        .await
    }

    /// Hides a destination: nothing is sent to it any more, and what it was owed ends as `dead`.
    pub async fn delete_destination(&self, id: DestinationId) -> Result<(), Error> {
        self.write(move |write| {
            let deleted = sql("UPDATE destinations SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
                .bind(write.now)
                .bind(id)
                .run(write.connection)?;
            if deleted == 0 { Err(Error::Missing { what: "destination" }) } else { deliveries::end_deleted(write, id) }
        })
        .await
    }

    /// The secret of a destination.
    pub async fn destination_secret(&self, id: DestinationId) -> Result<SecretString, Error> {
        let secrets = self.secrets.clone();
        self.read(move |connection| require(connection, id)?.open_secret(&secrets)).await
    }
}

/// A destination that was not deleted, if there is one.
pub fn find(connection: &mut AnyConnection, id: DestinationId) -> Result<Option<DestinationRow>, Error> {
    sql(format!("{SELECT} AND id = ?")).bind(id).first(connection)
}

/// The destinations of an app that were not deleted, enabled or not.
pub fn of_app(connection: &mut AnyConnection, app: AppId) -> Result<Vec<Destination>, Error> {
    let rows: Vec<DestinationRow> =
        sql(format!("{SELECT} AND app_id = ? ORDER BY created_at, id")).bind(app).all(connection)?;
    rows.into_iter().map(DestinationRow::destination).collect()
}

fn require(connection: &mut AnyConnection, id: DestinationId) -> Result<DestinationRow, Error> {
    find(connection, id)?.ok_or(Error::Missing { what: "destination" })
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|cause| Error::corrupt_by("a setting cannot be written as JSON", cause))
}

fn insert(write: &mut Write<'_>, secrets: &Secrets, id: DestinationId, new: &NewDestination) -> Result<(), Error> {
    sql("INSERT INTO destinations (id, app_id, kind, name, events, settings, secret, enabled, state, since, \
         created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(id)
    .bind(new.app_id)
    .bind(new.kind.as_str())
    .bind(new.name.as_str())
    .bind(json(&new.events)?)
    .bind(json(&new.settings)?)
    .bind(secrets.seal("destinations", &id.to_string(), &new.secret)?)
    .bind(new.enabled)
    .bind(if new.enabled { HEALTHY } else { DISABLED })
    .bind(write.now)
    .bind(write.now)
    .run(write.connection)
    .map(drop)
    .map_err(|error| error.or_taken("destination", &new.name))
}

fn update(
    write: &mut Write<'_>,
    secrets: &Secrets,
    row: DestinationRow,
    patch: &DestinationPatch,
) -> Result<(), Error> {
    let secret = match &patch.secret {
        Some(secret) => secrets.seal("destinations", &row.id.to_string(), secret)?,
        None => row.secret,
    };
    let enabled = patch.enabled.unwrap_or(row.enabled);
    let state = match (&patch.state, enabled == row.enabled) {
        (Some(state), _) => state.clone(),
        (None, true) => row.state.clone(),
        (None, false) => if enabled { HEALTHY } else { DISABLED }.to_owned(),
    };
    let since = if state == row.state { row.since } else { write.now };
    let name = patch.name.clone().unwrap_or(row.name);
    sql("UPDATE destinations SET name = ?, events = ?, settings = ?, secret = ?, enabled = ?, state = ?, reason = ?, \
         since = ? WHERE id = ?")
    .bind(name.as_str())
    .bind(patch.events.as_ref().map(json).transpose()?.unwrap_or(row.events))
    .bind(patch.settings.as_ref().map(json).transpose()?.unwrap_or(row.settings))
    .bind(secret)
    .bind(enabled)
    .bind(state)
    .bind(patch.reason.clone().unwrap_or(row.reason))
    .bind(since)
    .bind(row.id)
    .run(write.connection)
    .map(drop)
    .map_err(|error| error.or_taken("destination", &name))
}
