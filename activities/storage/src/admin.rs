//! What an admin may do to one purchase: hold, release, discard, redeliver.

use crate::connection::AnyConnection;
use crate::statement::{row, sql};
use crate::writer::Write;
use crate::{Destination, Error, Store, deliveries, destinations, lanes, purchase};
use domain::event::{PURCHASE_UPDATED, chooses};
use domain::{AppId, CollapseKey, DestinationId, EventId, Lane, Outcome, Timestamp};

row! {
    /// How often an event was owed to a destination.
    pub struct Times {
        pending: i64,
        /// Also how often: the first time is 0.
        pub next_n: i64,
    }
}

impl Store {
    /// Stops settling of a purchase until a time.
    #[expect(clippy::too_many_arguments, reason = "four words that read well at the call, and the store")]
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

    /// Ends what is open up to a sequence number, or all of it; answers how many rows that ended.
    #[expect(clippy::too_many_arguments, reason = "four words that read well at the call, and the store")]
    pub async fn discard(&self, key: CollapseKey, through: Option<i64>, by: &str, reason: &str) -> Result<i64, Error> {
        let why = format!("{by}: {reason}");
        self.write(move |write| {
            purchase::lock(write, key)?;
            let ended = sql("UPDATE notifications SET outcome = ?, reason = ?, ended_at = ? WHERE collapse_key = ? \
                 AND seq <= ? AND outcome IS NULL AND waiting_topic_id IS NULL")
            .bind(Outcome::Discarded)
            .bind(why.as_str())
            .bind(write.now)
            .bind(key)
            .bind(through.unwrap_or(i64::MAX))
            .run(write.connection)?;
            Ok(i64::try_from(ended).unwrap_or(i64::MAX))
        })
        .await
    }

    /// Sends the newest `purchase.updated` again, to one destination or to all that chose it, and ends
    /// the back-off of those lanes; answers the open lanes.
    pub async fn redeliver(&self, key: CollapseKey, destination: Option<DestinationId>) -> Result<Vec<Lane>, Error> {
        self.write(move |write| {
            purchase::lock(write, key)?;
            let app = purchase::origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?.app_id;
            let newest = newest_event(write.connection, key)?;
            for target in to_tell(write, app, destination)? {
                let chose_it = destination.is_some() || chooses(&target.events, PURCHASE_UPDATED);
                if let (Some(event), true) = (&newest, chose_it) {
                    owe_again(write, event, target.id)?;
                }
                end_back_off(write, key, target.id)?;
            }
            lanes::open(write.connection, key)
        })
        .await
    }
}

/// The destination that was named, or all of the app.
fn to_tell(write: &mut Write<'_>, app: AppId, named: Option<DestinationId>) -> Result<Vec<Destination>, Error> {
    let mut all = destinations::of_app(write.connection, app)?;
    let Some(named) = named else { return Ok(all) };
    all.retain(|one| one.id == named);
    if all.is_empty() { Err(Error::Missing { what: "destination" }) } else { Ok(all) }
}

/// The newest `purchase.updated`.
pub fn newest_event(connection: &mut AnyConnection, key: CollapseKey) -> Result<Option<deliveries::Event>, Error> {
    sql("SELECT id, event_type, collapse_key, revision, traceparent FROM events \
         WHERE collapse_key = ? AND event_type = ? ORDER BY seq DESC LIMIT 1")
    .bind(key)
    .bind(PURCHASE_UPDATED)
    .first(connection)
}

/// Owes the event once more, unless it is owed already.
fn owe_again(write: &mut Write<'_>, event: &deliveries::Event, destination: DestinationId) -> Result<(), Error> {
    let times = times(write.connection, event.id, destination)?;
    if times.pending > 0 {
        return Ok(());
    }
    deliveries::owe(write, event, destination, u32::try_from(times.next_n).unwrap_or(u32::MAX))
}

/// How often an event was owed to a destination.
pub fn times(connection: &mut AnyConnection, event: EventId, destination: DestinationId) -> Result<Times, Error> {
    let times = sql("SELECT COUNT(CASE WHEN status = 'pending' THEN 1 END) AS pending, \
         COALESCE(MAX(n) + 1, 0) AS next_n FROM deliveries WHERE event_id = ? AND destination_id = ?")
    .bind(event)
    .bind(destination)
    .first(connection)?;
    Ok(times.unwrap_or(Times { pending: 0, next_n: 0 }))
}

fn end_back_off(write: &mut Write<'_>, key: CollapseKey, destination: DestinationId) -> Result<(), Error> {
    sql("UPDATE deliveries SET next_due_at = ? WHERE collapse_key = ? AND destination_id = ? AND status = 'pending' \
         AND next_due_at > ?")
    .bind(write.now)
    .bind(key)
    .bind(destination)
    .bind(write.now)
    .run(write.connection)
    .map(drop)
}
