//! The row of a destination.

use super::{Destination, DestinationPatch, Filter, Limits, NewDestination};
use crate::connection::AnyConnection;
use crate::secrets::Secrets;
use crate::statement::{row, sql};
use crate::writer::Write;
use crate::{Error, health};
use domain::event::Wildcards;
use domain::health::State;
use domain::user::Attributes;
use domain::{AppId, DestinationId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;

row! {
    /// A destination as it is stored.
    #[derive(Clone)]
    pub struct DestinationRow {
        pub id: DestinationId,
        pub app_id: AppId,
        kind: String,
        name: String,
        events: String,
        wildcards: String,
        filter: String,
        settings: String,
        secret: String,
        pub per_user: bool,
        per_request: i64,
        profile: Option<String>,
        rate: Option<i64>,
        pub concurrency: i64,
        schedule: Option<String>,
        pub enabled: bool,
        state: String,
        reason: Option<String>,
        since: Timestamp,
        pub created_at: Timestamp,
    }
}

/// The columns of a destination that was not deleted.
pub const SELECT: &str = "SELECT id, app_id, kind, name, events, wildcards, filter, settings, secret, per_user, per_request, \
     profile, rate, concurrency, schedule, enabled, state, reason, since, created_at FROM destinations WHERE deleted_at IS NULL";

/// The end of [`SELECT`].
const PRESENT: &str = " WHERE deleted_at IS NULL";

const EVERYTHING: &str = "everything";
const LISTED: &str = "listed";

impl DestinationRow {
    /// The destination without its secret.
    pub fn destination(self) -> Result<Destination, Error> {
        let unreadable = |cause| self.unreadable(cause);
        let limits = self.limits()?;
        Ok(Destination {
            events: serde_json::from_str(&self.events).map_err(unreadable)?,
            wildcards: if self.wildcards == LISTED { Wildcards::Listed } else { Wildcards::Everything },
            filter: self.filter()?,
            schedule: limits.schedule,
            settings: serde_json::from_str(&self.settings).map_err(unreadable)?,
            id: self.id,
            app_id: self.app_id,
            kind: self.kind,
            name: self.name,
            per_user: self.per_user,
            per_request: self.per_request,
            profile: self.profile.as_deref().map(attributes),
            rate: self.rate,
            concurrency: self.concurrency,
            enabled: self.enabled,
            state: self.state,
            reason: self.reason,
            since: self.since,
            created_at: self.created_at,
        })
    }

    /// Which platforms' and environments' events it wants.
    fn filter(&self) -> Result<Filter, Error> {
        serde_json::from_str(&self.filter).map_err(|cause| self.unreadable(cause))
    }

    /// How fast it takes requests.
    fn limits(&self) -> Result<Limits, Error> {
        let schedule = self.schedule.as_deref().map(serde_json::from_str).transpose();
        let schedule = schedule.map_err(|cause| self.unreadable(cause))?;
        Ok(Limits { rate: self.rate, concurrency: self.concurrency, schedule })
    }

    fn unreadable(&self, cause: serde_json::Error) -> Error {
        Error::corrupt_by(format!("the settings of destination {} are not JSON", self.id), cause)
    }

    /// Whether it still has these settings and this secret, so that no other change is overwritten unseen.
    pub fn check_unchanged(&self, secrets: &Secrets, settings: &Value, secret: &SecretString) -> Result<(), Error> {
        let is_same_secret = self.open_secret(secrets)?.expose_secret() == secret.expose_secret();
        if is_same_secret && serde_json::from_str::<Value>(&self.settings).is_ok_and(|stored| stored == *settings) {
            return Ok(());
        }
        Err(Error::Conflict { what: "destination", detail: "somebody else changed it meanwhile: try again".to_owned() })
    }

    /// The destination's secret.
    pub fn open_secret(&self, secrets: &Secrets) -> Result<SecretString, Error> {
        secrets.open("destinations", &self.id.to_string(), &self.secret)
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

/// All destinations that an app ever had, the deleted ones too.
pub fn ever_of_app(connection: &mut AnyConnection, app: AppId) -> Result<Vec<Destination>, Error> {
    let all = SELECT.trim_end_matches(PRESENT);
    let rows: Vec<DestinationRow> =
        sql(format!("{all} WHERE app_id = ? ORDER BY created_at, id")).bind(app).all(connection)?;
    rows.into_iter().map(DestinationRow::destination).collect()
}

/// A destination that was not deleted.
pub fn require(connection: &mut AnyConnection, id: DestinationId) -> Result<DestinationRow, Error> {
    find(connection, id)?.ok_or(Error::Missing { what: "destination" })
}

/// Locks a destination until the end of the transaction, after its health; the result of a request locks them in this
/// order too. Events that are recorded meanwhile are still owed to it without waiting.
pub fn locked(write: &mut Write<'_>, id: DestinationId) -> Result<DestinationRow, Error> {
    health::lock(write, id)?;
    let lock = write.connection.for_no_key_update();
    let row = sql(format!("{SELECT} AND id = ?{lock}")).bind(id).first(write.connection)?;
    row.ok_or(Error::Missing { what: "destination" })
}

/// Sets the state of a destination that people see, and why. In the state `disabled` nothing is sent to it.
pub fn set_state(
    write: &mut Write<'_>,
    id: DestinationId,
    (state, reason): (State, Option<&str>),
) -> Result<(), Error> {
    sql(
        "UPDATE destinations SET since = CASE WHEN state = ? THEN since ELSE ? END, state = ?, reason = ?, enabled = ? \
         WHERE id = ? AND deleted_at IS NULL",
    )
    .bind(state.as_str())
    .bind(write.now)
    .bind(state.as_str())
    .bind(reason)
    .bind(state != State::Disabled)
    .bind(id)
    .run(write.connection)
    .map(drop)
}

/// The attributes with this stored name.
fn attributes(text: &str) -> Attributes {
    if text == Attributes::Extended.as_str() { Attributes::Extended } else { Attributes::Documented }
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|cause| Error::corrupt_by("a setting cannot be written as JSON", cause))
}

/// Inserts a destination, with its health.
pub fn insert(write: &mut Write<'_>, secrets: &Secrets, id: DestinationId, new: &NewDestination) -> Result<(), Error> {
    let wildcards = if new.traits.wildcards == Wildcards::Listed { LISTED } else { EVERYTHING };
    sql("INSERT INTO destinations (id, app_id, kind, name, events, wildcards, filter, settings, secret, per_user, \
         per_request, profile, rate, concurrency, schedule, enabled, state, since, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(id)
    .bind(new.app_id)
    .bind(new.kind.as_str())
    .bind(new.name.as_str())
    .bind(json(&new.events)?)
    .bind(wildcards)
    .bind(json(&new.filter)?)
    .bind(json(&new.settings)?)
    .bind(secrets.seal("destinations", &id.to_string(), &new.secret)?)
    .bind(new.traits.per_user)
    .bind(new.traits.per_request)
    .bind(new.traits.profile.map(Attributes::as_str))
    .bind(new.limits.rate)
    .bind(new.limits.concurrency)
    .bind(new.limits.schedule.as_ref().map(json).transpose()?)
    .bind(new.enabled)
    .bind(if new.enabled { State::Healthy.as_str() } else { State::Disabled.as_str() })
    .bind(write.now)
    .bind(write.now)
    .run(write.connection)
    .map_err(|error| error.or_taken("destination", &new.name))?;
    health::insert(write, id)
}

/// Changes a destination whose row is locked: fields that are not named keep what others changed meanwhile.
pub fn update(
    write: &mut Write<'_>,
    secrets: &Secrets,
    row: DestinationRow,
    patch: &DestinationPatch,
) -> Result<(), Error> {
    let limits = patch.limits.of(row.limits()?);
    let filter = patch.filter.clone().unwrap_or_default().of(row.filter()?);
    let secret = match &patch.secret {
        Some(secret) => secrets.seal("destinations", &row.id.to_string(), secret)?,
        None => row.secret,
    };
    let enabled = patch.enabled.unwrap_or(row.enabled);
    let state = match (&patch.state, enabled == row.enabled) {
        (Some(state), _) => state.clone(),
        (None, true) => row.state.clone(),
        (None, false) => if enabled { State::Healthy } else { State::Disabled }.as_str().to_owned(),
    };
    let is_enabled_again = enabled && !row.enabled;
    if is_enabled_again {
        health::reset(write, row.id)?;
    }
    if patch.settings.is_some() || patch.secret.is_some() {
        health::changed(write, row.id)?;
    }
    let reason = match &patch.reason {
        Some(reason) => reason.clone(),
        None => row.reason.filter(|_| !is_enabled_again),
    };
    let since = if state == row.state { row.since } else { write.now };
    let name = patch.name.clone().unwrap_or(row.name);
    sql("UPDATE destinations SET name = ?, events = ?, filter = ?, rate = ?, concurrency = ?, schedule = ?, \
         settings = ?, profile = ?, secret = ?, enabled = ?, state = ?, reason = ?, since = ? WHERE id = ?")
    .bind(name.as_str())
    .bind(patch.events.as_ref().map(json).transpose()?.unwrap_or(row.events))
    .bind(json(&filter)?)
    .bind(limits.rate)
    .bind(limits.concurrency)
    .bind(limits.schedule.as_ref().map(json).transpose()?)
    .bind(patch.settings.as_ref().map(json).transpose()?.unwrap_or(row.settings))
    .bind(patch.profile.map(Attributes::as_str).or(row.profile.as_deref()))
    .bind(secret)
    .bind(enabled)
    .bind(state)
    .bind(reason)
    .bind(since)
    .bind(row.id)
    .run(write.connection)
    .map(drop)
    .map_err(|error| error.or_taken("destination", &name))
}
