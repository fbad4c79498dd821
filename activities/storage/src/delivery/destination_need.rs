//! The next need of a destination as a whole.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::statement::{Number, Statement, Value, row, sql};
use crate::db::store::Store;
use crate::delivery::claim::limits::SENT_ENVIRONMENT;
use crate::delivery::health;
use crate::events::deliveries;
use crate::settings::destinations::{self, DestinationRow};
use domain::health::Health;
use domain::{CollapseKey, DestinationId, Timestamp};
use std::collections::HashSet;

/// The next need of a destination as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationNeed {
    /// Nothing is owed that could be sent now, or it is disabled or deleted.
    Rest,
    /// Its breaker is open: this lane is tried next.
    Probe {
        /// The lane with the newest state of those that were not tried since it opened, else the one tried longest ago.
        key: CollapseKey,
        /// In milliseconds from now.
        in_ms: i64,
    },
    /// Its `Retry-After` pauses it.
    Pause {
        /// How long, in milliseconds.
        ms: i64,
    },
    /// Lanes are owed.
    Drain {
        /// Those that have waited longest.
        keys: Vec<CollapseKey>,
        /// How many at once.
        concurrency: i64,
    },
}

/// Purchases whose runs may wait for an attempt that is cancelled, or too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanesInBackoff {
    /// Those whose next attempt is not soon.
    pub keys: Vec<CollapseKey>,
    /// The time until which this page covers tried deliveries; see [`Store::backoff_cancelled`].
    pub through: Timestamp,
}

/// Number of deliveries that are read for each lane that is wanted, since a lane has more than one.
const DELIVERIES_PER_LANE: i64 = 8;

row! {
    struct Key {
        collapse_key: CollapseKey,
    }
}

/// How near the next attempt of a run is that is left to wait for it, in milliseconds.
const SOON_MS: i64 = 30_000;
/// How soon to check again when all that is due is leased, in milliseconds.
const TAKEN_MS: i64 = 5_000;
/// How soon to check again where requests about a user are made one after the other, in milliseconds: the next one is
/// due after the request in flight.
const USER_TAKEN_MS: i64 = 1_000;
/// How soon to check again when the users of all that is due are paused, in milliseconds.
const USER_PAUSED_MS: i64 = 30_000;
/// No other delivery of its track waits before it: events of a lane are sent in order, so one behind another that is
/// not due is not due. Binds the values of [`head`].
pub const IS_HEAD: &str = "(d.event_type = 'purchase.updated' OR NOT EXISTS (SELECT 1 FROM deliveries h \
     WHERE h.collapse_key = d.collapse_key AND h.destination_id = d.destination_id AND h.status = 'pending' \
     AND h.event_type <> 'purchase.updated' AND h.seq < d.seq AND h.next_due_at > ? \
     AND (h.tried_at IS NULL OR h.tried_at >= ?)))";
/// Nothing of its lane was tried since a time.
const UNTRIED: &str = "NOT EXISTS (SELECT 1 FROM deliveries t WHERE t.collapse_key = d.collapse_key \
     AND t.destination_id = d.destination_id AND t.status = 'pending' AND t.tried_at > ?)";
/// The lane is not leased.
const NOT_LEASED: &str = "NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id \
     AND l.collapse_key = d.collapse_key AND l.lease_until > ?)";
impl Store {
    /// Returns what a destination needs next; at most `limit` lanes at a time.
    pub async fn destination_need(&self, id: DestinationId, limit: i64) -> Result<DestinationNeed, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            match destinations::find(connection, id)?.filter(|found| found.enabled) {
                Some(destination) => need(connection, &destination, (limit, now)),
                None => Ok(DestinationNeed::Rest),
            }
        })
        .await
    }

    /// A page of the purchases whose back-off is to be cancelled: while the destination takes nothing, all that were
    /// tried; else those that were tried before all of it became due. `None` when nothing is left.
    pub async fn lanes_in_backoff(&self, id: DestinationId, limit: i64) -> Result<Option<LanesInBackoff>, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let Some(destination) = destinations::find(connection, id)? else { return Ok(None) };
            lanes_in_backoff(connection, &destination, (limit, now))
        })
        .await
    }

    /// Notes that the back-off was cancelled for deliveries that were tried until a time.
    pub async fn backoff_cancelled(&self, id: DestinationId, through: Timestamp) -> Result<(), Error> {
        self.write(move |write| {
            sql("UPDATE health SET backoff_cancelled_through = ? WHERE destination_id = ? \
                 AND (backoff_cancelled_through IS NULL OR backoff_cancelled_through < ?)")
            .bind(through)
            .bind(id)
            .bind(through)
            .run(write.connection)
            .map(drop)
        })
        .await
    }

    /// Makes everything due that is owed to a destination and was tried before, whatever it waits for, and ends a pause
    /// by `Retry-After`. An open breaker stays open.
    pub async fn retry_now(&self, id: DestinationId) -> Result<(), Error> {
        self.write(move |write| {
            sql("UPDATE health SET paused_until = NULL, retry_requested_at = ? WHERE destination_id = ?")
                .bind(write.now)
                .bind(id)
                .run(write.connection)
                .map(drop)
        })
        .await
    }
}

fn lanes_in_backoff(
    connection: &mut AnyConnection,
    destination: &DestinationRow,
    (limit, now): (i64, Timestamp),
) -> Result<Option<LanesInBackoff>, Error> {
    let row = health::find(connection, destination.id)?;
    let health = row.health();
    let takes_nothing = !destination.enabled || health.opened_at.is_some();
    let Some(until) = (if takes_nothing { Some(now) } else { health.due_since() }) else { return Ok(None) };
    let since = row.backoff_cancelled_through().unwrap_or(Timestamp::from_micros(i64::MIN));
    let Some(through) = tried(connection, destination.id, (since, until, limit))? else { return Ok(None) };
    let keys: Vec<Key> = sql("SELECT DISTINCT collapse_key FROM deliveries WHERE destination_id = ? \
         AND status = 'pending' AND tried_at > ? AND tried_at <= ? AND next_due_at > ?")
    .bind(destination.id)
    .bind(since)
    .bind(through)
    .bind(now.plus_millis(SOON_MS))
    .all(connection)?;
    Ok(Some(LanesInBackoff { keys: keys.into_iter().map(|row| row.collapse_key).collect(), through }))
}

/// When the last one was tried of the next `limit` pending deliveries that were tried after a time, and at another one at
/// the latest; `None` when there is none.
pub fn tried(
    connection: &mut AnyConnection,
    destination: DestinationId,
    (since, until, limit): (Timestamp, Timestamp, i64),
) -> Result<Option<Timestamp>, Error> {
    let tried: Vec<Number> = sql("SELECT tried_at AS value FROM deliveries WHERE destination_id = ? \
         AND status = 'pending' AND tried_at > ? AND tried_at <= ? ORDER BY tried_at LIMIT ?")
    .bind(destination)
    .bind(since)
    .bind(until)
    .bind(limit)
    .all(connection)?;
    Ok(tried.last().map(|last| Timestamp::from_micros(last.value)))
}

fn need(
    connection: &mut AnyConnection,
    destination: &DestinationRow,
    (limit, now): (i64, Timestamp),
) -> Result<DestinationNeed, Error> {
    let row = health::find(connection, destination.id)?;
    let health = row.health();
    if let Some(ms) = health.paused_ms(now) {
        let is_owed = deliveries::is_owed(connection, destination.id)?;
        return Ok(if is_owed { DestinationNeed::Pause { ms } } else { DestinationNeed::Rest });
    }
    if let Some(in_ms) = health.probe_in_ms(now) {
        let key = to_probe(connection, destination, (&health, now))?;
        return match key {
            Some(key) => Ok(DestinationNeed::Probe { key, in_ms }),
            None if deliveries::is_owed(connection, destination.id)? => Ok(DestinationNeed::Pause { ms: TAKEN_MS }),
            None => Ok(DestinationNeed::Rest),
        };
    }
    let keys = due_lanes(connection, (destination, &health), (limit, now))?;
    if !keys.is_empty() {
        return Ok(DestinationNeed::Drain { keys, concurrency: destination.concurrency });
    }
    let taken = sql(taken_lane()).bind(destination.id).bind(now).bind(now).bind_all(head(&health, now));
    let taken: Option<Key> = taken.first(connection)?;
    if taken.is_some() {
        let ms = if destination.per_user { USER_TAKEN_MS } else { TAKEN_MS };
        return Ok(DestinationNeed::Pause { ms });
    }
    if !destination.per_user {
        return Ok(DestinationNeed::Rest);
    }
    let due = sql(due_lane()).bind(destination.id).bind(now).bind_all(head(&health, now));
    let due: Option<Key> = due.first(connection)?;
    Ok(if due.is_some() { DestinationNeed::Pause { ms: USER_PAUSED_MS } } else { DestinationNeed::Rest })
}

/// The free lanes of a destination in which something is due, those that have waited longest first.
pub fn due_lanes(
    connection: &mut AnyConnection,
    (destination, health): (&DestinationRow, &Health),
    (limit, now): (i64, Timestamp),
) -> Result<Vec<CollapseKey>, Error> {
    let at_most = limit.saturating_mul(DELIVERIES_PER_LANE);
    let due = free(destination, (&format!("d.next_due_at <= ? AND {IS_HEAD}"), now.into()), "d.next_due_at");
    let mut rows: Vec<Key> = due((head(health, now), now)).bind(at_most).all(connection)?;
    if let Some(since) = health.due_since() {
        let tried = free(destination, (&format!("d.tried_at < ? AND {IS_HEAD}"), since.into()), "d.tried_at");
        let tried = tried((head(health, now), now));
        rows.extend(tried.bind(at_most).all::<Key>(connection)?);
    }
    let mut seen = HashSet::new();
    let keys = rows.into_iter().map(|row| row.collapse_key).filter(|key| seen.insert(*key));
    Ok(keys.take(usize::try_from(limit).unwrap_or(0)).collect())
}

/// The lane with the newest delivery of those that were not tried since the breaker opened: what fails by itself does
/// not keep it open. When all were, the one tried longest ago.
fn to_probe(
    connection: &mut AnyConnection,
    destination: &DestinationRow,
    (health, now): (&Health, Timestamp),
) -> Result<Option<CollapseKey>, Error> {
    let opened_at = health.opened_at.unwrap_or(now);
    for (condition, order) in [(UNTRIED, "d.seq DESC"), ("d.tried_at > ?", "d.tried_at")] {
        let lane = free(destination, (condition, opened_at.into()), order);
        let key: Option<Key> = lane((Vec::new(), now)).bind(1).first(connection)?;
        if let Some(key) = key {
            return Ok(Some(key.collapse_key));
        }
    }
    Ok(None)
}

/// The values that [`IS_HEAD`] binds.
pub fn head(health: &Health, now: Timestamp) -> Vec<Value<'static>> {
    vec![now.into(), health.due_since().unwrap_or(Timestamp::from_micros(i64::MIN)).into()]
}

/// Something is due in a leased lane: perhaps of a worker that died.
fn taken_lane() -> String {
    format!(
        "SELECT d.collapse_key FROM deliveries d WHERE d.destination_id = ? AND d.status = 'pending' \
         AND d.next_due_at <= ? AND EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id \
         AND l.collapse_key = d.collapse_key AND l.lease_until > ?) AND {IS_HEAD} ORDER BY d.next_due_at LIMIT 1"
    )
}

/// Something is due, whether or not it could be claimed.
fn due_lane() -> String {
    format!(
        "SELECT d.collapse_key FROM deliveries d WHERE d.destination_id = ? AND d.status = 'pending' \
         AND d.next_due_at <= ? AND {IS_HEAD} ORDER BY d.next_due_at LIMIT 1"
    )
}

/// Its user is neither leased nor paused in this environment.
fn user_is_free() -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM purchases p JOIN platforms f ON f.id = p.platform_id \
         JOIN user_lanes u ON u.destination_id = d.destination_id AND u.user_id = p.user_id \
         AND u.environment = {SENT_ENVIRONMENT} WHERE p.collapse_key = d.collapse_key \
         AND (u.lease_until > ? OR u.paused_until > ?))"
    )
}

/// The free lanes of pending deliveries that match a condition. Further values of the condition are bound with the
/// time; the limit is bound last.
fn free<'a>(
    destination: &'a DestinationRow,
    (condition, value): (&str, Value<'a>),
    order: &str,
) -> impl FnOnce((Vec<Value<'a>>, Timestamp)) -> Statement<'a> + 'a + use<'a> {
    let user_is_free = if destination.per_user { format!(" AND {}", user_is_free()) } else { String::new() };
    let text = format!(
        "SELECT d.collapse_key FROM deliveries d WHERE d.destination_id = ? AND d.status = 'pending' AND {condition} \
         AND {NOT_LEASED}{user_is_free} ORDER BY {order} LIMIT ?"
    );
    move |(more, now)| {
        let statement = sql(text).bind(destination.id).bind(value).bind_all(more).bind(now);
        if destination.per_user { statement.bind(now).bind(now) } else { statement }
    }
}
