//! The row of a destination.

use super::Destination;
use const_format::formatcp;
use db::connection::AnyConnection;
use db::error::Error;
use db::secrets::Secrets;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use db::writer::Write;
use domain::health::State;
use domain::{AppId, DestinationId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::ops::Deref;

row! {
    /// A destination as it is stored, with its secret.
    #[derive(Clone)]
    pub struct DestinationRow {
        destination: Destination,
        /// Encrypted secret; `None` after deletion.
        pub secret: Option<String>,
    }
}

pub const COLUMNS: &str = "
    id, app_id, kind, name, events, wildcards, filter, settings, secret, per_user, per_request, profile, rate,
        concurrency, schedule, enabled, both_environments, state, reason, since, created_at";

/// The columns of a destination that was not deleted.
pub const SELECT: &str = formatcp!("SELECT {COLUMNS} FROM destinations WHERE deleted_at IS NULL");

impl Deref for DestinationRow {
    type Target = Destination;

    fn deref(&self) -> &Destination {
        &self.destination
    }
}

impl DestinationRow {
    pub fn destination(self) -> Destination {
        self.destination
    }

    /// Checks that the destination still has these settings and this secret, so that no concurrent change is
    /// overwritten.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the settings or the secret differ.
    pub fn check_unchanged(
        &self,
        secrets: &Secrets,
        settings: &Value,
        secret: &SecretString,
    ) -> Result<(), Error> {
        let is_same_secret = self.open_secret(secrets)?.expose_secret() == secret.expose_secret();
        if is_same_secret && self.settings == *settings {
            return Ok(());
        }
        Err(Error::Conflict {
            what: "destination",
            detail: "someone else changed it meanwhile: try again".to_owned(),
        })
    }

    pub fn open_secret(&self, secrets: &Secrets) -> Result<SecretString, Error> {
        let sealed = self.secret.as_deref().ok_or(Error::Missing {
            what: "destination",
        })?;
        secrets.open("destinations", &self.id.to_string(), sealed)
    }
}

const FIND: Sql = statement!("{SELECT} AND id = ?");

/// Returns a destination that was not deleted, if there is one.
pub fn find(
    connection: &mut AnyConnection,
    id: DestinationId,
) -> Result<Option<DestinationRow>, Error> {
    sql(FIND).bind(id).first(connection)
}

/// Like [`find`], but the row is fetched later.
pub fn find_ahead(
    connection: &mut AnyConnection,
    id: DestinationId,
) -> Result<Ahead<'static, DestinationRow>, Error> {
    sql(FIND).bind(id).ahead(connection)
}

const OF_APP: Sql = statement!("{SELECT} AND app_id = ? ORDER BY created_at, id");

/// Returns the destinations of an app that were not deleted, enabled or not.
pub fn of_app(connection: &mut AnyConnection, app: AppId) -> Result<Vec<Destination>, Error> {
    sql(OF_APP).bind(app).all(connection)
}

const OF_EVENTS: Sql = statement! {"
    {SELECT} AND events LIKE ? AND app_id IN (SELECT id FROM apps WHERE apps.deleted_at IS NULL)
    ORDER BY app_id, created_at, id
"};

/// Returns the destinations of all apps that may have chosen events whose type begins with `begin`. Deleted apps and
/// destinations are left out.
pub fn of_events(connection: &mut AnyConnection, begin: &str) -> Result<Vec<Destination>, Error> {
    sql(OF_EVENTS).bind(format!("%{begin}%")).all(connection)
}

/// Like [`of_app`], but the destinations are fetched later.
pub fn of_app_ahead(
    connection: &mut AnyConnection,
    app: AppId,
) -> Result<Ahead<'static, Destination>, Error> {
    sql(OF_APP).bind(app).ahead(connection)
}

/// Returns a destination that was not deleted, or [`Error::Missing`].
pub fn require(connection: &mut AnyConnection, id: DestinationId) -> Result<DestinationRow, Error> {
    find(connection, id)?.ok_or(Error::Missing {
        what: "destination",
    })
}

const SET_STATE: Sql = statement! {"
    UPDATE destinations
    SET since = CASE WHEN state = ? THEN since ELSE ? END, state = ?, reason = ?, enabled = ?
    WHERE id = ? AND deleted_at IS NULL
"};

/// Sets the state that is shown to people, and its reason. The state `disabled` also switches the destination off.
pub fn set_state(
    write: &mut Write<'_>,
    id: DestinationId,
    state: State,
    reason: Option<&str>,
) -> Result<(), Error> {
    sql(SET_STATE)
        .bind((
            state,
            write.now()?,
            state,
            reason,
            state != State::Disabled,
            id,
        ))
        .run(write.connection)
        .map(drop)
}
