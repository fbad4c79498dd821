//! Redelivery of one purchase's events.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::Page;
use crate::db::statement::sql;
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::delivery::retry_after;
use crate::events::deliveries::Event;
use crate::events::lanes;
use crate::purchases::purchase;
use crate::redelivery::again::{self, Condition, Skipped, newest_event};
use crate::redelivery::pages::{self, RunMode};
use crate::settings::destinations::{self, Destination};
use domain::event::PURCHASE_UPDATED;
use domain::{AppId, CollapseKey, DestinationId, Lane};
use serde_json::json;

impl Store {
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
    retry_after::end(write, (key, destination))?;
    sql("UPDATE deliveries SET next_due_at = ? WHERE collapse_key = ? AND destination_id = ? AND status = 'pending' \
         AND next_due_at > ?")
    .bind(write.now)
    .bind(key)
    .bind(destination)
    .bind(write.now)
    .run(write.connection)
    .map(drop)
}
