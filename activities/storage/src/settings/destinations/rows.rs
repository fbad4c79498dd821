//! The row of a destination.

use super::{Destination, Filter, Limits};
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::secrets::Secrets;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use const_format::formatcp;
use domain::event::Wildcards;
use domain::health::State;
use domain::user::Attributes;
use domain::{AppId, DestinationId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

row! {
    /// A destination as it is stored.
    #[derive(Clone)]
    pub struct DestinationRow {
        pub id: DestinationId,
        pub app_id: AppId,
        pub kind: String,
        pub name: String,
        pub events: String,
        pub wildcards: String,
        pub filter: String,
        pub settings: String,
        pub secret: String,
        pub per_user: bool,
        pub per_request: i64,
        pub profile: Option<String>,
        pub rate: Option<i64>,
        pub concurrency: i64,
        pub schedule: Option<String>,
        pub enabled: bool,
        pub state: String,
        pub reason: Option<String>,
        pub since: Timestamp,
        pub created_at: Timestamp,
    }
}

/// The columns of a destination.
pub const COLUMNS: &str = "
    id, app_id, kind, name, events, wildcards, filter, settings, secret, per_user, per_request, profile, rate,
        concurrency, schedule, enabled, state, reason, since, created_at";

/// The columns of a destination that was not deleted.
pub const SELECT: &str = formatcp!("SELECT {COLUMNS} FROM destinations WHERE deleted_at IS NULL");

pub const EVERYTHING: &str = "everything";
pub const LISTED: &str = "listed";

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
    pub fn filter(&self) -> Result<Filter, Error> {
        serde_json::from_str(&self.filter).map_err(|cause| self.unreadable(cause))
    }

    /// How fast it takes requests.
    pub fn limits(&self) -> Result<Limits, Error> {
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

const FIND: Sql = statement!("{SELECT} AND id = ?");

/// A destination that was not deleted, if there is one.
pub fn find(connection: &mut AnyConnection, id: DestinationId) -> Result<Option<DestinationRow>, Error> {
    sql(FIND).bind(id).first(connection)
}

const OF_APP: Sql = statement!("{SELECT} AND app_id = ? ORDER BY created_at, id");

/// The destinations of an app that were not deleted, enabled or not.
pub fn of_app(connection: &mut AnyConnection, app: AppId) -> Result<Vec<Destination>, Error> {
    let rows: Vec<DestinationRow> = sql(OF_APP).bind(app).all(connection)?;
    rows.into_iter().map(DestinationRow::destination).collect()
}

/// A destination that was not deleted.
pub fn require(connection: &mut AnyConnection, id: DestinationId) -> Result<DestinationRow, Error> {
    find(connection, id)?.ok_or(Error::Missing { what: "destination" })
}

const SET_STATE: Sql = statement! {"
    UPDATE destinations
    SET since = CASE WHEN state = ? THEN since ELSE ? END, state = ?, reason = ?, enabled = ?
    WHERE id = ? AND deleted_at IS NULL
"};

/// Sets the state of a destination that people see, and why. In the state `disabled` nothing is sent to it.
pub fn set_state(
    write: &mut Write<'_>,
    id: DestinationId,
    (state, reason): (State, Option<&str>),
) -> Result<(), Error> {
    sql(SET_STATE)
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
