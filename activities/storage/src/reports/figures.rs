//! The figures of destinations for metrics and the API: state, health and number of pending deliveries. Also skips the
//! pending `user.*` events of a disabled destination, before an admin enables it again.

use crate::delivery::health::{self, HealthView};
use crate::events::deliveries::{self, FREED, MAX_COUNTED, NEXT_OF_USERS};
use crate::events::user_leases::LIVE;
use crate::reports::explain::{self, Backlog};
use crate::settings::destinations::{self, Destination};
use crate::settling::profiles;
use crate::store::Store;
use const_format::formatcp;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::PENDING_OF_DESTINATION;
use db::sql::{Sql, statement};
use db::statement::{Value, row, sql};
use db::writer::Write;
use domain::{AppId, DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The condition for a delivery that can be skipped: it is pending or waiting, and its lane is not leased. Binds now.
const FORGETTABLE: &str = formatcp!(
    "
    status IN ('pending', 'waiting')
        AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.destination_id = deliveries.destination_id
            AND l.collapse_key = deliveries.collapse_key AND {LIVE})"
);

/// The error of a skipped delivery.
const NEWEST_ONLY: &str = "an admin enabled the destination with the latest states only";

/// Health of a destination, with counts of its pending, waiting and failed deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationHealth {
    /// Health of the destination, and the number of its pending deliveries.
    #[serde(flatten)]
    pub health: HealthView,
    /// The numbers of its waiting, failed and skipped deliveries.
    #[serde(flatten)]
    pub backlog: Backlog,
}

/// The figures of a destination for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    pub id: DestinationId,
    /// `healthy`, `failing`, `open` or `disabled`.
    pub state: String,
    /// Number of its pending deliveries, counted up to 10,000 to bound the cost of a scrape.
    pub pending: i64,
    /// The age of the oldest pending delivery in milliseconds; 0 if there is none.
    pub oldest_pending_ms: i64,
}

/// The result of skipping a destination's pending `user.*` events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedEvents {
    pub skipped: i64,
    /// Whether more deliveries may remain to be skipped.
    pub more: bool,
}

row! {
    struct FiguresRow {
        id: DestinationId,
        state: String,
        pending: i64,
        oldest: Option<Timestamp>,
    }
}

/// Number of destinations in one statement, which counts at most ten million deliveries.
const PAGE: usize = 1000;

const PAGE_OF_FIGURES: Sql = statement! {
    hot "deliveries_pending_of_destination", "
    SELECT d.id, d.state,
        (SELECT COUNT(*) FROM (SELECT p.seq FROM deliveries p WHERE p.destination_id = d.id
            AND p.status {PENDING_OF_DESTINATION} LIMIT {MAX_COUNTED}) counted) AS pending,
        (SELECT p.created_at FROM deliveries p WHERE p.destination_id = d.id
            AND p.status {PENDING_OF_DESTINATION} ORDER BY p.seq LIMIT 1) AS oldest
    FROM destinations d
    WHERE d.deleted_at IS NULL AND d.id > ?
    ORDER BY d.id
    LIMIT ?
"};

const APP: Sql = statement!("SELECT app_id AS value FROM destinations WHERE id = ?");

impl Store {
    /// Returns the figures of all destinations that are not deleted.
    pub async fn figures(&self) -> Result<Vec<Figures>, Error> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self
                .read_now(move |connection, now| page_of_figures(connection, after, now))
                .await?;
            let Some(last) = page.last().filter(|_| page.len() == PAGE) else {
                all.extend(page);
                return Ok(all);
            };
            after = last.id.to_string();
            all.extend(page);
        }
    }

    /// Returns the health of a destination, with the numbers of its deliveries, which are counted up to a maximum.
    pub async fn destination_health(&self, id: DestinationId) -> Result<DestinationHealth, Error> {
        self.read(move |connection| {
            let health = health::view(connection, id)?;
            Ok(DestinationHealth {
                health,
                backlog: explain::backlog(connection, id)?,
            })
        })
        .await
    }

    /// Ends at most `limit` pending `user.*` deliveries of a disabled destination as `skipped`, in batches. Call it
    /// again for the rest. A delivery that is currently being sent is left to its attempt.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the destination is enabled.
    pub async fn skip_user_events(
        &self,
        id: DestinationId,
        limit: i64,
    ) -> Result<SkippedEvents, Error> {
        let (mut after, mut skipped) = (0, 0);
        while skipped < limit {
            let batch = Batch {
                id,
                after,
                at_most: deliveries::BATCH.min(limit - skipped),
            };
            let skip = move |write: &mut Write<'_>| {
                let passed = batch.skip(write)?;
                // The audit entry of the first batch stands for all.
                let has_entry =
                    after == 0 && passed.as_ref().is_some_and(|passed| passed.count > 0);
                let app = if has_entry {
                    sql(APP).bind(id).value::<AppId>(write.connection)?
                } else {
                    None
                };
                Ok((passed, has_entry.then(|| AuditEntry::on(app, id))))
            };
            let Some(passed) = self.change("destination.skip-events", skip).await? else {
                return Ok(SkippedEvents {
                    skipped,
                    more: false,
                });
            };
            after = passed.last;
            skipped += passed.count;
        }
        Ok(SkippedEvents {
            skipped,
            more: true,
        })
    }

    /// Counts the deliveries that [`Store::skip_user_events`] would skip now. Fails in the same cases.
    pub async fn count_user_events(&self, id: DestinationId) -> Result<i64, Error> {
        let (mut after, mut counted) = (0, 0);
        loop {
            let batch = Batch {
                id,
                after,
                at_most: deliveries::BATCH,
            };
            let Some(passed) = self
                .read_now(move |connection, now| batch.count(connection, now))
                .await?
            else {
                return Ok(counted);
            };
            after = passed.last;
            counted += passed.count;
        }
    }
}

/// Returns the figures of the next destinations after this id.
fn page_of_figures(
    connection: &mut AnyConnection,
    after: String,
    now: Timestamp,
) -> Result<Vec<Figures>, Error> {
    let rows: Vec<FiguresRow> = sql(PAGE_OF_FIGURES)
        .bind(after)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .all(connection)?;
    let figures = |FiguresRow {
                       id,
                       state,
                       pending,
                       oldest,
                   }| {
        let oldest_pending_ms = oldest.map_or(0, |oldest| now.millis_since(oldest).max(0));
        Figures {
            id,
            state,
            pending,
            oldest_pending_ms,
        }
    };
    Ok(rows.into_iter().map(figures).collect())
}

/// The next pending `user.*` deliveries of a destination.
#[derive(Clone, Copy)]
struct Batch {
    id: DestinationId,
    /// Only deliveries with a higher sequence number.
    after: i64,
    at_most: i64,
}

struct Passed {
    /// The last sequence number in the batch.
    last: i64,
    /// Number of deliveries that were or would be skipped.
    count: i64,
}

const SKIP: Sql = statement! {hot "deliveries_news", "
    UPDATE deliveries
    SET status = 'skipped', last_error = ?, finished_at = ?, {FREED}
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
    /// Skips the deliveries of the batch; `None` if the batch is empty.
    fn skip(self, write: &mut Write<'_>) -> Result<Option<Passed>, Error> {
        let destination = check_disabled(write.connection, self.id)?;
        let Some(last) = self.end(write.connection)? else {
            return Ok(None);
        };
        profiles::note_all_lost(write, &destination, self.after, self.at_most)?;
        let skip = sql(SKIP)
            .bind(NEWEST_ONLY)
            .bind(write.now()?)
            .bind_all(self.values())
            .bind(write.now()?);
        let skipped = skip.run(write.connection)?;
        Ok(Some(Passed {
            last,
            count: i64::try_from(skipped).unwrap_or(i64::MAX),
        }))
    }

    /// Counts the deliveries of the batch that would be skipped; `None` if the batch is empty.
    fn count(
        self,
        connection: &mut AnyConnection,
        now: Timestamp,
    ) -> Result<Option<Passed>, Error> {
        check_disabled(connection, self.id)?;
        let Some(last) = self.end(connection)? else {
            return Ok(None);
        };
        let count = sql(COUNT_FORGETTABLE)
            .bind_all(self.values())
            .bind(now)
            .value(connection)?;
        Ok(Some(Passed {
            last,
            count: count.unwrap_or(0),
        }))
    }

    fn end(self, connection: &mut AnyConnection) -> Result<Option<i64>, Error> {
        sql(END_OF_BATCH).bind_all(self.values()).value(connection)
    }

    /// Returns the values that [`NEXT_OF_USERS`] binds.
    fn values(self) -> [Value<'static>; 3] {
        [self.id.into(), self.after.into(), self.at_most.into()]
    }
}

fn check_disabled(connection: &mut AnyConnection, id: DestinationId) -> Result<Destination, Error> {
    let destination = destinations::rows::require(connection, id)?;
    if destination.enabled {
        let detail = "it is enabled, so its events are on their way: disable it first".to_owned();
        return Err(Error::Conflict {
            what: "destination",
            detail,
        });
    }
    Ok(destination.destination())
}
