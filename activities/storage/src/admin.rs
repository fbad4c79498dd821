//! What an admin may do to one purchase: hold, release, discard, redeliver.

use crate::again::{self, Condition, Skipped};
use crate::connection::AnyConnection;
use crate::deliveries::Event;
use crate::pages::{self, RunMode};
use crate::statement::sql;
use crate::writer::Write;
use crate::{Destination, Error, Page, Store, asked, destinations, lanes, purchase};
use domain::event::PURCHASE_UPDATED;
use domain::{AppId, CollapseKey, DestinationId, Lane, Outcome, Timestamp};
use serde_json::json;

impl Store {
    /// Stops settling of a purchase until a time.
    #[expect(clippy::too_many_arguments, reason = "four arguments that read well at the call, and the store")]
    pub async fn hold(&self, key: CollapseKey, until: Timestamp, by: &str, reason: &str) -> Result<(), Error> {
        let (by, reason) = (by.to_owned(), reason.to_owned());
        self.write(move |write| {
            purchase::lock(write, key)?;
            purchase::forget_failures(write, "collapse_key = ?", [key.into()])?;
            sql("UPDATE purchases SET held_until = ?, held_by = ?, held_reason = ? WHERE collapse_key = ?")
                .bind(until)
                .bind(by.as_str())
                .bind(reason.as_str())
                .bind(key)
                .run(write.connection)
                .map(drop)
        })
        .await
    }

    /// Ends a hold. Where there is none, nothing happens.
    pub async fn release(&self, key: CollapseKey) -> Result<(), Error> {
        self.write(move |write| {
            purchase::forget_failures(write, "collapse_key = ?", [key.into()])?;
            sql("UPDATE purchases SET held_until = NULL, held_by = NULL, held_reason = NULL WHERE collapse_key = ?")
                .bind(key)
                .run(write.connection)
                .map(drop)
        })
        .await
    }

    /// Ends the open notifications up to a sequence number, or all of them; returns how many rows that ended.
    #[expect(clippy::too_many_arguments, reason = "four arguments that read well at the call, and the store")]
    pub async fn discard(&self, key: CollapseKey, through: Option<i64>, by: &str, reason: &str) -> Result<i64, Error> {
        let why = format!("{by}: {reason}");
        self.write(move |write| {
            purchase::lock(write, key)?;
            let discarded =
                sql("UPDATE notifications SET outcome = ?, reason = ?, finished_at = ? WHERE collapse_key = ? \
                 AND seq <= ? AND outcome IS NULL AND waiting_topic_id IS NULL")
                .bind(Outcome::Discarded)
                .bind(why.as_str())
                .bind(write.now)
                .bind(key)
                .bind(through.unwrap_or(i64::MAX))
                .run(write.connection)?;
            Ok(i64::try_from(discarded).unwrap_or(i64::MAX))
        })
        .await
    }

    /// Sends the newest `purchase.updated` and the dead `user.*` events of the purchase again, to one destination or to
    /// all, as far as each may be owed again, and ends the back-off of those lanes. A request with a name is carried
    /// out once, since its deliveries may have arrived before it is repeated. Returns the open lanes.
    pub async fn redeliver(
        &self,
        key: CollapseKey,
        destination: Option<DestinationId>,
        once: Option<String>,
    ) -> Result<Vec<Lane>, Error> {
        let how = once.map_or(RunMode::Anew, RunMode::Once);
        let place = how.place(&Page::default(), &json!([key, destination]));
        self.write(move |write| {
            pages::once(write, place.as_ref(), |write| redeliver(write, key, destination))?;
            lanes::open(write.connection, key)
        })
        .await
    }
}

fn redeliver(write: &mut Write<'_>, key: CollapseKey, destination: Option<DestinationId>) -> Result<(), Error> {
    purchase::lock(write, key)?;
    let origin = purchase::origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
    let newest = newest_event(write.connection, key)?;
    for target in targets(write, origin.app_id, destination)? {
        for event in dead_events(write.connection, key, target.id)? {
            let _: Result<u32, Skipped> = again::owe(write, (&event, &origin), (&target, Condition::Unacknowledged))?;
        }
        if let Some(event) = &newest {
            let _: Result<u32, Skipped> = again::owe(write, (event, &origin), (&target, Condition::Always))?;
        }
        end_back_off(write, key, target.id)?;
    }
    Ok(())
}

/// The destination that was named, or all of the app.
fn targets(write: &mut Write<'_>, app: AppId, named: Option<DestinationId>) -> Result<Vec<Destination>, Error> {
    let mut all = destinations::of_app(write.connection, app)?;
    let Some(named) = named else { return Ok(all) };
    all.retain(|one| one.id == named);
    if all.is_empty() { Err(Error::Missing { what: "destination" }) } else { Ok(all) }
}

/// The newest `purchase.updated`.
pub fn newest_event(connection: &mut AnyConnection, key: CollapseKey) -> Result<Option<Event>, Error> {
    sql("SELECT id, event_type, collapse_key, revision, traceparent FROM events \
         WHERE collapse_key = ? AND event_type = ? ORDER BY seq DESC LIMIT 1")
    .bind(key)
    .bind(PURCHASE_UPDATED)
    .first(connection)
}

/// The `user.*` events of a purchase that died, in their order; one that died twice comes twice.
fn dead_events(
    connection: &mut AnyConnection,
    key: CollapseKey,
    destination: DestinationId,
) -> Result<Vec<Event>, Error> {
    // Written so that no index of the destination's dead deliveries seems better than the one of the lane.
    sql("SELECT event_id AS id, event_type, collapse_key, revision, traceparent FROM deliveries \
         WHERE collapse_key = ? AND destination_id = ? AND status || '' = 'dead' AND event_type <> ? ORDER BY seq")
    .bind(key)
    .bind(destination)
    .bind(PURCHASE_UPDATED)
    .all(connection)
}

fn end_back_off(write: &mut Write<'_>, key: CollapseKey, destination: DestinationId) -> Result<(), Error> {
    asked::end(write, (key, destination))?;
    sql("UPDATE deliveries SET next_due_at = ? WHERE collapse_key = ? AND destination_id = ? AND status = 'pending' \
         AND next_due_at > ?")
    .bind(write.now)
    .bind(key)
    .bind(destination)
    .bind(write.now)
    .run(write.connection)
    .map(drop)
}
