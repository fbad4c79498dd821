//! Creating, changing and deleting destinations. A deleted destination is hidden; its deliveries stay in the database.

use crate::admin::platforms::require_app;
use crate::delivery::{health, places};
use crate::events::deliveries;
use crate::reports::check;
use crate::reports::shown_state::{SHOWN_STATE, ShownDestination, since};
use crate::settings::destinations::rows::{COLUMNS, DestinationRow, SELECT, require};
use crate::settings::destinations::{
    Destination, DestinationChange, DestinationSettings, NewDestination,
};
use crate::store::{ShownSettings, Store};
use db::audit_log::AuditEntry;
use db::error::Error;
use db::page::{CREATED, Page, Paged};
use db::secrets::{Secrets, random_uuid, sha256};
use db::sql::{Sql, insert, statement};
use db::statement::sql;
use db::writer::Write;
use domain::health::State;
use domain::{AppId, DestinationId};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};

/// Also clears the secret, which nothing needs any more.
const DELETE: Sql = statement!(
    "UPDATE destinations SET deleted_at = ?, secret = NULL WHERE id = ? AND deleted_at IS NULL"
);

/// Replaces the settings by their visible part: after a deletion, nothing needs the hidden part.
const SHOW_ALL: Sql = statement!("UPDATE destinations SET settings = ? WHERE id = ?");

const DELETED: Sql = statement!(
    "SELECT {COLUMNS} FROM destinations WHERE deleted_at IS NOT NULL ORDER BY created_at, id"
);

const LIST: Sql = statement! {"
    SELECT {CREATED} AS cursor, {COLUMNS}, h.first_failure_at, {SHOWN_STATE} AS shown_state
    FROM destinations t
    JOIN health h ON h.destination_id = t.id
    WHERE deleted_at IS NULL AND app_id = ? AND (created_at, id) > (?, ?)
    ORDER BY created_at, id
    LIMIT ?
"};

const COUNT_OF_KIND: Sql = statement! {"
    SELECT count(*) AS value FROM destinations WHERE app_id = ? AND kind = ? AND deleted_at IS NULL
"};

/// Refuses a destination beyond the maximum number of its kind in the app.
fn check_number(write: &mut Write<'_>, new: &NewDestination) -> Result<(), Error> {
    let Some(most) = new.traits.per_app else {
        return Ok(());
    };
    let number: Option<i64> = sql(COUNT_OF_KIND)
        .bind(new.app_id)
        .bind(new.kind.as_str())
        .value(write.connection)?;
    if number.unwrap_or_default() <= most {
        return Ok(());
    }
    let detail = format!(
        "the app has {most} of the kind `{}`, which is the maximum: delete one first",
        new.kind
    );
    Err(Error::Conflict {
        what: "destination",
        detail,
    })
}

impl Store {
    pub async fn new_destination(&self, new: NewDestination) -> Result<Destination, Error> {
        let id = DestinationId::new(random_uuid()?);
        let (secrets, shown) = (self.database.secrets.clone(), self.shown);
        self.change("destination.create", move |write| {
            require_app(write, new.app_id)?;
            insert(write, &secrets, id, &new)?;
            check_number(write, &new)?;
            let destination = require(write.connection, id)?.destination();
            let entry = AuditEntry::on(new.app_id, id).after(fields(&destination, shown));
            Ok((destination, Some(entry)))
        })
        .await
    }

    pub async fn destination(&self, id: DestinationId) -> Result<Destination, Error> {
        self.read(move |connection| Ok(require(connection, id)?.destination()))
            .await
    }

    /// Lists the destinations of an app, oldest first.
    pub async fn destinations(
        &self,
        app: AppId,
        page: Page,
    ) -> Result<Paged<ShownDestination>, Error> {
        let (after, id) = page.pair_or(i64::MIN)?;
        self.read_now(move |connection, now| {
            page.read(
                connection,
                sql(LIST).bind_all(since(now)).bind((app, after, id)),
            )
        })
        .await
    }

    /// Changes a destination. `set` changes the settings that every kind has, and may run more than once. Pending
    /// deliveries stay pending. Enabling the destination makes them due at once, sets the state to `healthy` and resets
    /// the failures. If the settings of its kind change, its waiting deliveries are reconsidered in batches: they
    /// become due and are rendered with the new settings. After an error, [`Store::reconsider_left`] continues.
    pub async fn update_destination(
        &self,
        id: DestinationId,
        change: DestinationChange,
        mut set: impl FnMut(&mut DestinationSettings) + Send + 'static,
    ) -> Result<Destination, Error> {
        let (secrets, shown) = (self.database.secrets.clone(), self.shown);
        let has_settings = change.settings.is_some();
        let changed = self
            .change("destination.update", move |write| {
                let row = locked(write, id)?;
                if let Some((settings, secret)) = &change.based_on {
                    row.check_unchanged(&secrets, settings, secret)?;
                }
                let mut common = row.common.clone();
                set(&mut common);
                update(write, &secrets, &row, &change, &common)?;
                if change.settings.is_some() {
                    deliveries::request_reconsideration(write, id)?;
                }
                if common.events != row.events || common.filter != row.filter {
                    check::reset_choice(write, id)?;
                }
                let destination = require(write.connection, id)?.destination();
                let (mut before, mut after) = (fields(&row, shown), fields(&destination, shown));
                // The hidden part of the settings counts as a secret too.
                let is_hidden =
                    row.settings != destination.settings && before["settings"] == after["settings"];
                if change.secret.is_some() || is_hidden {
                    after["secret"] = json!("replaced");
                }
                redact_what_becomes_secret(
                    &mut before["settings"],
                    &after["settings"],
                    &destination.settings,
                );
                let entry = AuditEntry::on(destination.app_id, id)
                    .before(before)
                    .after(after);
                Ok((destination, Some(entry)))
            })
            .await?;
        if has_settings {
            self.reconsider(id, i64::MAX).await?;
        }
        Ok(changed)
    }

    /// Reconsiders about `limit` waiting deliveries of destinations whose settings changed. Returns their number. Such
    /// deliveries exist only during a change, or after one that was interrupted.
    pub async fn reconsider_left(&self, limit: i64) -> Result<i64, Error> {
        let mut reconsidered = 0;
        for id in self
            .read(move |connection| deliveries::unreconsidered(connection, limit))
            .await?
        {
            if reconsidered >= limit {
                break;
            }
            reconsidered += self.reconsider(id, limit - reconsidered).await?;
        }
        Ok(reconsidered)
    }

    /// Reconsiders about `limit` waiting deliveries of a destination. A delivery that starts to wait meanwhile was
    /// already rendered with the new settings.
    async fn reconsider(&self, id: DestinationId, limit: i64) -> Result<i64, Error> {
        let mut reconsidered = 0;
        while reconsidered < limit {
            let Some(count) = self
                .write(move |write| deliveries::reconsider(write, id))
                .await?
            else {
                break;
            };
            reconsidered += count;
        }
        Ok(reconsidered)
    }

    /// Deletes a destination: it is hidden, nothing more is sent to it, and its pending and waiting deliveries end as
    /// `failed`, in batches. After an error, [`Store::end_deleted_pending`] continues.
    pub async fn delete_destination(&self, id: DestinationId) -> Result<(), Error> {
        let shown = self.shown;
        self.change("destination.delete", move |write| {
            let destination = require(write.connection, id)?.destination();
            remove_hidden(write, &destination, shown)?;
            sql(DELETE)
                .bind(write.now()?)
                .bind(id)
                .run(write.connection)?;
            health::close_alarm(write, id, "it was deleted")?;
            Ok((
                (),
                Some(AuditEntry::on(destination.app_id, id).before(fields(&destination, shown))),
            ))
        })
        .await?;
        self.end_deleted(id, i64::MAX).await.map(drop)
    }

    /// Returns the deleted destinations of all apps.
    pub async fn deleted_destinations(&self) -> Result<Vec<Destination>, Error> {
        self.read(|connection| sql(DELETED).all(connection)).await
    }

    /// Removes the hidden settings of a deleted destination, which releases before 0.1.1 kept; returns whether there
    /// were any.
    pub async fn strip_deleted_destination(&self, destination: Destination) -> Result<bool, Error> {
        let shown = self.shown;
        self.change("destination.update", move |write| {
            let is_changed = remove_hidden(write, &destination, shown)?;
            let entry = AuditEntry::on(destination.app_id, destination.id)
                .after(json!({ "secret": "removed" }));
            Ok((is_changed, is_changed.then_some(entry)))
        })
        .await
    }

    /// Ends about `limit` pending or waiting deliveries of deleted destinations. Returns their number. Such deliveries
    /// exist only after a deletion that was interrupted, or that happened while an event was recorded.
    pub async fn end_deleted_pending(&self, limit: i64) -> Result<i64, Error> {
        let mut finished = 0;
        for id in self
            .read(move |connection| deliveries::deleted_pending(connection, limit))
            .await?
        {
            if finished >= limit {
                break;
            }
            finished += self.end_deleted(id, limit - finished).await?;
        }
        Ok(finished)
    }

    /// Ends about `limit` pending or waiting deliveries of a deleted destination.
    async fn end_deleted(&self, id: DestinationId, limit: i64) -> Result<i64, Error> {
        let mut finished = 0;
        for status in deliveries::OPEN {
            let mut after = 0;
            while finished < limit {
                let batch = self
                    .write(move |write| deliveries::end_deleted(write, id, status, after))
                    .await?;
                let Some((last, count)) = batch else { break };
                after = last;
                finished += count;
            }
        }
        Ok(finished)
    }

    /// Returns the decrypted secret of a destination.
    pub async fn destination_secret(&self, id: DestinationId) -> Result<SecretString, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| require(connection, id)?.open_secret(&secrets))
            .await
    }

    /// Returns a version that changes whenever the destination's secret is stored: a hash of the encrypted secret,
    /// which reveals nothing about the secret.
    pub async fn destination_secret_version(&self, id: DestinationId) -> Result<String, Error> {
        self.read(move |connection| {
            Ok(sha256(
                require(connection, id)?
                    .secret
                    .as_deref()
                    .unwrap_or_default(),
            ))
        })
        .await
    }
}

/// Returns a destination's fields for the audit log: its common settings, kind, visible settings and state.
fn fields(destination: &Destination, shown: ShownSettings) -> Value {
    let mut fields = json!(destination.common);
    fields["kind"] = json!(destination.kind);
    fields["settings"] = shown(&destination.kind, &destination.settings);
    fields["state"] = json!(destination.state);
    fields
}

/// Removes the hidden settings of a deleted destination; returns whether there were any.
pub fn remove_hidden(
    write: &mut Write<'_>,
    destination: &Destination,
    shown: ShownSettings,
) -> Result<bool, Error> {
    let visible = shown(&destination.kind, &destination.settings);
    if visible == destination.settings {
        return Ok(false);
    }
    sql(SHOW_ALL)
        .bind(json(&visible)?)
        .bind(destination.id)
        .run(write.connection)?;
    Ok(true)
}

/// Redacts the former value of each setting that is hidden in the new settings: it is a secret from now on.
fn redact_what_becomes_secret(before: &mut Value, shown: &Value, settings: &Value) {
    for (name, former) in before.as_object_mut().into_iter().flatten() {
        if shown.get(name) != settings.get(name) && shown.get(name) != Some(former) {
            *former = json!("[redacted]");
        }
    }
}

const LOCK: Sql = statement!("{SELECT} AND id = ? FOR NO KEY UPDATE");

/// Locks the health of a destination and then its row, until the end of the transaction. Finishing a request locks them
/// in the same order. The lock does not block deliveries to the destination that are recorded in the meantime.
fn locked(write: &mut Write<'_>, id: DestinationId) -> Result<DestinationRow, Error> {
    health::lock(write, id)?;
    sql(LOCK).bind(id).one(write.connection, "destination")
}

/// Inserts a destination, with its health.
fn insert(
    write: &mut Write<'_>,
    secrets: &Secrets,
    id: DestinationId,
    new: &NewDestination,
) -> Result<(), Error> {
    let sealed = secrets.seal(write, ("destinations", &id.to_string()), &new.secret)?;
    let common = &new.common;
    insert!(destinations {
        id,
        app_id: new.app_id,
        kind: new.kind.as_str(),
        name: common.name.as_str(),
        events: json(&common.events)?,
        wildcards: new.traits.wildcards,
        filter: json(&common.filter)?,
        settings: json(&new.settings)?,
        secret: sealed,
        per_user: new.traits.per_user,
        per_request: new.traits.per_request,
        profile: new.traits.profile,
        rate: common.rate,
        concurrency: common.concurrency,
        schedule: common.schedule.as_ref().map(json).transpose()?,
        enabled: common.enabled,
        both_environments: common.both_environments,
        state: if common.enabled {
            State::Healthy
        } else {
            State::Disabled
        },
        since: write.now()?,
        created_at: write.now()?,
    })
    .run(write.connection)
    .map_err(|error| error.or_taken("destination", &common.name))?;
    health::insert(write, id)?;
    places::provide(write, id, common.concurrency)
}

const UPDATE: Sql = statement! {"
    UPDATE destinations
    SET name = ?, events = ?, filter = ?, rate = ?, concurrency = ?, schedule = ?, settings = ?, profile = ?,
        secret = ?, enabled = ?, both_environments = ?, state = ?, reason = ?, since = ?
    WHERE id = ?
"};

/// Changes a destination whose row is locked. Fields that the change does not name keep their stored value.
fn update(
    write: &mut Write<'_>,
    secrets: &Secrets,
    row: &DestinationRow,
    change: &DestinationChange,
    common: &DestinationSettings,
) -> Result<(), Error> {
    if common.concurrency > row.concurrency {
        places::provide(write, row.id, common.concurrency)?;
    }
    let secret = match &change.secret {
        Some(secret) => Some(secrets.seal(write, ("destinations", &row.id.to_string()), secret)?),
        None => row.secret.clone(),
    };
    let state = match (common.enabled, row.enabled) {
        (true, false) => State::Healthy,
        (false, true) => State::Disabled,
        _ => row.state,
    };
    let is_enabled_again = common.enabled && !row.enabled;
    if is_enabled_again {
        health::reset(write, row.id)?;
    }
    if change.settings.is_some() || change.secret.is_some() {
        health::changed(write, row.id)?;
    }
    let reason = match &change.reason {
        Some(reason) => reason.clone(),
        None => row.reason.clone().filter(|_| !is_enabled_again),
    };
    let since = if state == row.state {
        row.since
    } else {
        write.now()?
    };
    if state != row.state {
        health::close_alarm(
            write,
            row.id,
            if common.enabled {
                "it was enabled"
            } else {
                "it was disabled"
            },
        )?;
    }
    sql(UPDATE)
        .bind((
            common.name.as_str(),
            json(&common.events)?,
            json(&common.filter)?,
            common.rate,
            common.concurrency,
            common.schedule.as_ref().map(json).transpose()?,
            json(change.settings.as_ref().unwrap_or(&row.settings))?,
            change.profile.or(row.profile),
            secret,
            common.enabled,
            common.both_environments,
            state,
            reason,
            since,
            row.id,
        ))
        .run(write.connection)
        .map(drop)
        .map_err(|error| error.or_taken("destination", &common.name))
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|cause| Error::corrupt_by("a setting cannot be written as JSON", cause))
}
