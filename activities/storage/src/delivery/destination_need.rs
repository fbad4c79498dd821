//! What the run of a destination must do next: probe it, drain its backlog, wait or rest.

use crate::delivery::free_lanes::{
    CollapseKeyRow, DUE, FreeLane, Lanes, TRIED_BEFORE, TRIED_SINCE, UNTRIED_SINCE,
};
use crate::delivery::health;
use crate::events::deliveries;
use crate::settings::destinations::{self, DestinationRow};
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::low_mark::{Beginning, LowMarks, Queue, QueueRead};
use db::partial::PENDING_TRIED;
use db::sql::{Sql, statement};
use db::statement::sql;
use domain::time::OVERLAP;
use domain::{AppId, CollapseKey, DestinationId, Timestamp};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The next action of a destination's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationNeed {
    /// Nothing: no delivery is due, or the destination is disabled or deleted.
    Rest,
    /// The circuit breaker is open: send a probe.
    Probe {
        /// The lane to probe: the one with the newest delivery of those not tried since the breaker opened; if all were
        /// tried, the one tried longest ago.
        key: CollapseKey,
        wait: Duration,
    },
    /// Check again later: a `Retry-After` pauses the destination, or all lanes with due deliveries are leased, or their
    /// users are paused.
    Pause {
        /// How long until the next check.
        wait: Duration,
    },
    /// Deliver the backlog of these lanes.
    Drain {
        /// The lanes with due deliveries, the one that has waited longest first.
        keys: Vec<CollapseKey>,
        /// Maximum number of requests in flight.
        concurrency: i64,
    },
}

/// Purchases whose runs may be waiting for a back-off that must be cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanesInBackoff {
    /// The purchases whose next attempt is more than 30 seconds ahead.
    pub keys: Vec<CollapseKey>,
    /// This page covers the deliveries that were last tried up to this time; see [`Store::backoff_cancelled`].
    pub through: Timestamp,
}

/// Number of deliveries that are read for each lane of the result: a lane can have several.
const DELIVERIES_PER_LANE: i64 = 8;

/// A back-off that ends within this time is not cancelled.
const SOON: Duration = Duration::from_secs(30);
/// How soon to check again when all lanes with due deliveries are leased.
const TAKEN: Duration = Duration::from_secs(5);
/// How soon to check again if all lanes are leased and the destination gets requests user by user: a user's next
/// request can start when the one in flight completes.
const USER_TAKEN: Duration = Duration::from_secs(1);
/// How soon to check again when the users of all due deliveries are paused.
const USER_PAUSED: Duration = Duration::from_secs(30);

const EARLIEST: i64 = Timestamp::EARLIEST.micros();

const NOTE_CANCELLED: Sql = statement! {"
    UPDATE health
    SET backoff_cancelled_through = ?
    WHERE destination_id = ? AND COALESCE(backoff_cancelled_through, {EARLIEST}) NOT BETWEEN ? AND ?
"};

const REQUEST_RETRY: Sql = statement! {"
    UPDATE health
    SET paused_until = NULL, retry_requested_at = ?
    WHERE destination_id = ?
"};

impl Store {
    /// Returns what the run of a destination must do next, with at most `limit` lanes.
    pub async fn destination_need(
        &self,
        id: DestinationId,
        limit: i64,
    ) -> Result<DestinationNeed, Error> {
        let marks = Arc::clone(&self.low_marks);
        self.read_now(move |connection, now| {
            match destinations::find(connection, id)?.filter(|found| found.enabled) {
                Some(destination) => need(connection, &destination, &marks, limit, now),
                None => Ok(DestinationNeed::Rest),
            }
        })
        .await
    }

    /// Returns a page of the purchases whose back-off must be cancelled; `None` if no page is left. While the
    /// destination is disabled or its breaker is open, these are all purchases with a tried delivery; otherwise those
    /// last tried before the latest recovery or the latest retry requested by an admin.
    pub async fn lanes_in_backoff(
        &self,
        id: DestinationId,
        limit: i64,
    ) -> Result<Option<LanesInBackoff>, Error> {
        let clock = self.database.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let Some(destination) = destinations::find(connection, id)? else {
                return Ok(None);
            };
            lanes_in_backoff(connection, &destination, limit, now)
        })
        .await
    }

    /// Records that the back-off was cancelled for the deliveries that were last tried up to `through`.
    pub async fn backoff_cancelled(
        &self,
        id: DestinationId,
        through: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |write| {
            let latest = write.now()?.plus(OVERLAP);
            sql(NOTE_CANCELLED)
                .bind((through, id, through, latest))
                .run(write.connection)
                .map(drop)
        })
        .await
    }

    /// Makes all pending deliveries of a destination that were tried before due now, despite their back-off, and ends
    /// the destination's pause. An open breaker stays open.
    pub async fn retry_now(&self, id: DestinationId) -> Result<(), Error> {
        self.change("destination.retry", move |write| {
            sql(REQUEST_RETRY)
                .bind(write.now()?)
                .bind(id)
                .run(write.connection)?;
            let app: Option<AppId> = sql(APP).bind(id).value(write.connection)?;
            Ok(((), Some(AuditEntry::on(app, id))))
        })
        .await
    }
}

const APP: Sql = statement!("SELECT app_id AS value FROM destinations WHERE id = ?");

const IN_BACKOFF: Sql = statement! {hot "deliveries_pending_tried", "
    SELECT DISTINCT collapse_key
    FROM deliveries
    WHERE destination_id = ? AND status {PENDING_TRIED} AND tried_at > ? AND tried_at <= ? AND next_due_at > ?
"};

fn lanes_in_backoff(
    connection: &mut AnyConnection,
    destination: &DestinationRow,
    limit: i64,
    now: Timestamp,
) -> Result<Option<LanesInBackoff>, Error> {
    let row = health::find(connection, destination.id, now)?;
    let takes_nothing = !destination.enabled || row.health.opened_at.is_some();
    let Some(until) = (if takes_nothing {
        Some(now)
    } else {
        row.health.due_since()
    }) else {
        return Ok(None);
    };
    let through = row
        .backoff_cancelled_through
        .and_then(|through| through.unless_ahead(Duration::ZERO, now));
    let after = through.unwrap_or(Timestamp::EARLIEST);
    let tried = Tried {
        destination: destination.id,
        after,
        until,
    };
    let Some(through) = tried.end_of_page(connection, limit)? else {
        return Ok(None);
    };
    let keys: Vec<CollapseKeyRow> = sql(IN_BACKOFF)
        .bind((destination.id, after, through, now.plus(SOON)))
        .all(connection)?;
    Ok(Some(LanesInBackoff {
        keys: keys.into_iter().map(|row| row.collapse_key).collect(),
        through,
    }))
}

/// The pending deliveries of a destination that were last tried after one time and up to another.
pub struct Tried {
    pub destination: DestinationId,
    pub after: Timestamp,
    pub until: Timestamp,
}

const TRIED: Sql = statement! {hot "deliveries_pending_tried", "
    SELECT tried_at AS value
    FROM deliveries
    WHERE destination_id = ? AND status {PENDING_TRIED} AND tried_at > ? AND tried_at <= ?
    ORDER BY tried_at
    LIMIT ?
"};

impl Tried {
    /// Returns when the last of the next `limit` deliveries was tried; `None` if there are none.
    pub fn end_of_page(
        &self,
        connection: &mut AnyConnection,
        limit: i64,
    ) -> Result<Option<Timestamp>, Error> {
        let tried: Vec<Timestamp> = sql(TRIED)
            .bind((self.destination, self.after, self.until, limit))
            .values(connection)?;
        Ok(tried.last().copied())
    }
}

fn need(
    connection: &mut AnyConnection,
    destination: &DestinationRow,
    marks: &LowMarks,
    limit: i64,
    now: Timestamp,
) -> Result<DestinationNeed, Error> {
    let health = health::find(connection, destination.id, now)?.health;
    if let Some(wait) = health.paused_for(now) {
        let is_pending = deliveries::is_pending(connection, destination.id)?;
        return Ok(if is_pending {
            DestinationNeed::Pause { wait }
        } else {
            DestinationNeed::Rest
        });
    }
    let lanes = Lanes::new(destination.id, &health, now);
    let free = if destination.per_user {
        lanes.of_free_users()
    } else {
        lanes
    };
    if let Some(wait) = health.probe_in(now) {
        let key = to_probe(connection, free, health.opened_at.unwrap_or(now))?;
        return match key {
            Some(key) => Ok(DestinationNeed::Probe { key, wait }),
            None if deliveries::is_pending(connection, destination.id)? => {
                Ok(DestinationNeed::Pause { wait: TAKEN })
            }
            None => Ok(DestinationNeed::Rest),
        };
    }
    let keys = due_lanes(connection, free, marks, limit)?;
    if !keys.is_empty() {
        return Ok(DestinationNeed::Drain {
            keys,
            concurrency: destination.concurrency,
        });
    }
    if lanes.taken().first::<CollapseKeyRow>(connection)?.is_some() {
        let wait = if destination.per_user {
            USER_TAKEN
        } else {
            TAKEN
        };
        return Ok(DestinationNeed::Pause { wait });
    }
    // Either the user of the due delivery is paused, or the delivery became due between these statements.
    let is_due = lanes
        .any_due()
        .first::<CollapseKeyRow>(connection)?
        .is_some();
    Ok(if is_due {
        DestinationNeed::Pause { wait: USER_PAUSED }
    } else {
        DestinationNeed::Rest
    })
}

/// Returns the free lanes of a destination with a due delivery, the one that has waited longest first. Lanes that were
/// tried before the clock was set back come last.
fn due_lanes(
    connection: &mut AnyConnection,
    free: Lanes,
    marks: &LowMarks,
    limit: i64,
) -> Result<Vec<CollapseKey>, Error> {
    let at_most = limit.saturating_mul(DELIVERIES_PER_LANE);
    let queue = |name| Queue {
        name,
        destination: Some(free.destination),
    };
    let mut rows = marks.read(queue("due"), free.now, |start: &Beginning| {
        let due = free
            .matching(DUE)
            .bind(free.now)
            .bind(start.from)
            .bind_all(free.head())
            .bind(at_most);
        let rows: Vec<FreeLane> = due.all(connection)?;
        let first = rows.first().map_or(free.now, |row| row.next_due_at);
        Ok(QueueRead {
            rows,
            first,
            apart: Vec::new(),
        })
    })?;
    if let Some(since) = free.due_since {
        rows.extend(marks.read(queue("tried"), free.now, |start: &Beginning| {
            let tried = free
                .matching(TRIED_BEFORE)
                .bind(since)
                .bind(start.from)
                .bind_all(free.head())
                .bind(at_most);
            let rows: Vec<FreeLane> = tried.all(connection)?;
            let first = rows.first().and_then(|row| row.tried_at).unwrap_or(since);
            Ok(QueueRead {
                rows,
                first,
                apart: Vec::new(),
            })
        })?);
    }
    let tried = free
        .matching(TRIED_SINCE)
        .bind(free.now.plus(OVERLAP))
        .bind(at_most);
    rows.extend(tried.all::<FreeLane>(connection)?);
    let mut seen = HashSet::new();
    let keys = rows
        .into_iter()
        .map(|row| row.collapse_key)
        .filter(|key| seen.insert(*key));
    Ok(keys.take(usize::try_from(limit).unwrap_or(0)).collect())
}

/// Returns the lane to probe: the one with the newest delivery of those not tried since the breaker opened, so that one
/// delivery that always fails cannot keep the breaker open. If all were tried, the lane that was tried longest ago;
/// lanes that were tried before the clock was set back come first.
fn to_probe(
    connection: &mut AnyConnection,
    free: Lanes,
    opened_at: Timestamp,
) -> Result<Option<CollapseKey>, Error> {
    let ahead = free.now.plus(OVERLAP);
    for (which, since) in [
        (UNTRIED_SINCE, opened_at),
        (TRIED_SINCE, ahead),
        (TRIED_SINCE, opened_at),
    ] {
        let lane: Option<CollapseKeyRow> =
            free.matching(which).bind(since).bind(1).first(connection)?;
        if let Some(lane) = lane {
            return Ok(Some(lane.collapse_key));
        }
    }
    Ok(None)
}
