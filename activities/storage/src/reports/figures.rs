//! The figures of a destination: its failures and successes, and what it is owed. Also what an admin skips before it is
//! enabled again.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{Value, row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::delivery::health::{self, HealthView};
use crate::events::deliveries::{self, NEXT_OF_USERS};
use crate::reports::explain::{self, Owes};
use crate::settings::destinations::{self, Destination};
use crate::settling::profiles;
use domain::{DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

/// Which of the next deliveries of users are forgotten: those that are not being sent at this moment, and did not end
/// meanwhile.
const FORGETTABLE: &str = "
    status IN ('pending', 'waiting')
        AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = deliveries.destination_id
            AND l.collapse_key = deliveries.collapse_key AND l.lease_token IS NOT NULL AND l.lease_until > ?)";

/// The error of a delivery that was skipped so.
const FORGOTTEN: &str = "an admin enabled the destination with the newest states only";

/// The health of a destination, and what is owed to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DestinationHealth {
    /// Its health, and what is to be sent.
    #[serde(flatten)]
    pub health: HealthView,
    /// Deliveries that wait for the customer to be named, or failed for good.
    #[serde(flatten)]
    pub owes: Owes,
}

/// The figures of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The destination.
    pub id: DestinationId,
    /// `healthy`, `failing`, `open` or `disabled`.
    pub state: String,
    /// How many deliveries it is owed, counted up to a bound.
    pub owed: i64,
    /// How long it has been owed the oldest of them, in milliseconds; 0 when there is none.
    pub oldest_owed_ms: i64,
}

/// The result of skipping the `user.*` events that a destination is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// How many ended.
    pub skipped: i64,
    /// Whether there may be more.
    pub more: bool,
}

row! {
    struct Standing {
        id: DestinationId,
        state: String,
    }
}

const STATES: Sql = statement!("SELECT id, state FROM destinations WHERE deleted_at IS NULL ORDER BY id");

impl Store {
    /// The figures of all destinations that were not deleted.
    pub async fn figures(&self) -> Result<Vec<Figures>, Error> {
        self.read_now(move |connection, now| {
            let all: Vec<Standing> = sql(STATES).all(connection)?;
            let figures = |Standing { id, state }| {
                let oldest = deliveries::oldest_owed(connection, id)?;
                let oldest_owed_ms = oldest.map_or(0, |oldest| now.millis_since(oldest).max(0));
                Ok(Figures { id, state, owed: deliveries::owed(connection, id)?, oldest_owed_ms })
            };
            all.into_iter().map(figures).collect()
        })
        .await
    }

    /// The health of a destination. Deliveries are counted up to a bound.
    pub async fn destination_health(&self, id: DestinationId) -> Result<DestinationHealth, Error> {
        self.read(move |connection| {
            let health = health::view(connection, id)?;
            Ok(DestinationHealth { health, owes: explain::owes(connection, id)? })
        })
        .await
    }

    /// Ends the `user.*` deliveries that a disabled destination is owed as `skipped`, batch by batch and at most
    /// `limit`: called again it goes on with what is left. One that is being sent at this moment ends by its own
    /// attempt. An enabled destination: [`Error::Conflict`].
    pub async fn forget_user_events(&self, id: DestinationId, limit: i64) -> Result<Forgotten, Error> {
        let (mut after, mut skipped) = (0, 0);
        while skipped < limit {
            let batch = Batch { id, after, at_most: deliveries::BATCH.min(limit - skipped) };
            let Some(passed) = self.write(move |write| batch.forget(write)).await? else {
                return Ok(Forgotten { skipped, more: false });
            };
            after = passed.last;
            skipped += passed.count;
        }
        Ok(Forgotten { skipped, more: true })
    }

    /// How many [`Store::forget_user_events`] would end now, and what it would refuse.
    pub async fn count_user_events(&self, id: DestinationId) -> Result<i64, Error> {
        let (mut after, mut counted) = (0, 0);
        loop {
            let batch = Batch { id, after, at_most: deliveries::BATCH };
            let Some(passed) = self.read_now(move |connection, now| batch.count(connection, now)).await? else {
                return Ok(counted);
            };
            after = passed.last;
            counted += passed.count;
        }
    }
}

/// The next deliveries of users that a destination is owed.
#[derive(Clone, Copy)]
struct Batch {
    id: DestinationId,
    /// Behind this sequence number.
    after: i64,
    /// Maximum number of them.
    at_most: i64,
}

/// A batch that was gone through.
struct Passed {
    /// The last sequence number in it.
    last: i64,
    /// How many of them are, or would be, forgotten.
    count: i64,
}

const FORGET: Sql = statement! {hot "deliveries_news", "
    UPDATE deliveries
    SET status = 'skipped', last_error = ?, finished_at = ?
    WHERE seq IN ({NEXT_OF_USERS}) AND {FORGETTABLE}
"};

const COUNT_FORGETTABLE: Sql = statement! {hot "deliveries_news", "
    SELECT COUNT(*) AS value
    FROM deliveries
    WHERE seq IN ({NEXT_OF_USERS}) AND {FORGETTABLE}
"};

const END_OF_BATCH: Sql = statement! {hot "deliveries_news", "
    SELECT MAX(seq) AS value FROM ({NEXT_OF_USERS}) batch HAVING MAX(seq) IS NOT NULL
"};

impl Batch {
    /// Forgets it; `None` when it is empty.
    fn forget(self, write: &mut Write<'_>) -> Result<Option<Passed>, Error> {
        let destination = check_disabled(write.connection, self.id)?;
        let Some(last) = self.end(write.connection)? else { return Ok(None) };
        profiles::note_all_lost(write, &destination, self.after, self.at_most)?;
        let forget = sql(FORGET).bind(FORGOTTEN).bind(write.now).bind_all(self.values()).bind(write.now);
        let skipped = forget.run(write.connection)?;
        Ok(Some(Passed { last, count: i64::try_from(skipped).unwrap_or(i64::MAX) }))
    }

    /// Counts what would be forgotten of it.
    fn count(self, connection: &mut AnyConnection, now: Timestamp) -> Result<Option<Passed>, Error> {
        check_disabled(connection, self.id)?;
        let Some(last) = self.end(connection)? else { return Ok(None) };
        let count = sql(COUNT_FORGETTABLE).bind_all(self.values()).bind(now).value(connection)?;
        Ok(Some(Passed { last, count: count.unwrap_or(0) }))
    }

    fn end(self, connection: &mut AnyConnection) -> Result<Option<i64>, Error> {
        sql(END_OF_BATCH).bind_all(self.values()).value(connection)
    }

    /// The values of [`NEXT_OF_USERS`].
    fn values(self) -> [Value<'static>; 3] {
        [self.id.into(), self.after.into(), self.at_most.into()]
    }
}

fn check_disabled(connection: &mut AnyConnection, id: DestinationId) -> Result<Destination, Error> {
    let destination = destinations::rows::require(connection, id)?;
    if destination.enabled {
        let detail = "it is enabled, so its events are on their way: disable it first".to_owned();
        return Err(Error::Conflict { what: "destination", detail });
    }
    Ok(destination.destination())
}
