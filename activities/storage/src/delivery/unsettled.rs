//! Purchases whose window has ended without a settling: a wake-up was lost, or the engine is late.
//!
//! While purchases that are just as late settle by themselves, the engine is only late, and nothing is woken: a signal
//! for each of them would make it later. A purchase that was overtaken by younger ones is woken, and all are when
//! nothing late has settled for a minute.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::delivery::overdue::{BACKOFF, Due, Found, Next, Overdue, UNSETTLED};
use crate::inbox::notifications::{OPEN, OPEN_OF_N};
use domain::time::MINUTE;
use domain::{CollapseKey, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after its end a window may stay unsettled before the sweep wakes the purchase.
const GRACE: Duration = Duration::from_secs(15);
const GRACE_MICROS: u128 = GRACE.as_micros();
/// Within this time something late must have settled by itself, if the engine is only late.
const PROGRESS: Duration = MINUTE;
/// How much later than others that settle by themselves a purchase may be.
const MARGIN: Duration = Duration::from_secs(15);
/// A purchase that is this late is woken in any case.
const MAX_PATIENCE: Duration = MINUTE.saturating_mul(60);
/// How long a purchase is postponed that was woken before, while the engine is only late.
const PATIENCE: Duration = Duration::from_secs(30);
/// Number of the last settled purchases that show whether the engine is late.
const SAMPLES: i64 = 500;
/// Maximum number of rows of one reading: a purchase can have many.
const ROWS: i64 = 500;
/// Maximum number of rows per statement.
const BATCH: usize = 500;

/// When the sweep takes an open notification: at first at the end of its window.
const SWEEP_AT: &str = "COALESCE(sweep_at, CASE WHEN cap_at < due_at THEN cap_at ELSE due_at END)";

row! {
    /// The open notifications of a purchase, except those that wait.
    struct Standing {
        collapse_key: CollapseKey,
        /// The largest number of wakes that were not followed, and the latest time of the next.
        wakes: Option<i64>,
        again_at: Option<Timestamp>,
        /// When the window ends, and when `max_wait` ends it anyway.
        window_at: Timestamp,
        cap_at: Option<Timestamp>,
        held_until: Option<Timestamp>,
    }
}

row! {
    struct Row {
        seq: i64,
        collapse_key: CollapseKey,
    }
}

const FRESH: Sql = statement! {hot "notifications_due", "
    SELECT collapse_key AS value
    FROM notifications
    WHERE {OPEN} AND wakes IS NULL AND {SWEEP_AT} <= ?
    ORDER BY {SWEEP_AT}
    LIMIT ?
"};

const WOKEN: Sql = statement! {hot "notifications_woken", "
    SELECT collapse_key AS value
    FROM notifications
    WHERE {OPEN} AND wakes IS NOT NULL AND sweep_at <= ?
    ORDER BY sweep_at
    LIMIT ?
"};

const STANDINGS: Sql = statement! {hot "notifications_of_key", "
    SELECT n.collapse_key, MAX(n.wakes) AS wakes, MAX(CASE WHEN n.wakes IS NOT NULL THEN n.sweep_at END) AS again_at,
        CASE WHEN MIN(n.due_at - n.accepted_at) <= 0 THEN MIN(n.due_at) ELSE MAX(n.due_at) END AS window_at,
        MIN(n.cap_at) AS cap_at,
        (SELECT p.held_until FROM purchases p WHERE p.collapse_key = n.collapse_key) AS held_until
    FROM notifications n
    WHERE n.collapse_key IN (?*) AND {OPEN_OF_N}
    GROUP BY n.collapse_key
"};

/// The ends of the windows of those of the last settled notifications that were settled late, and by themselves. A
/// record stamps its purchase and its notifications with one time.
const LATELY_SETTLED: Sql = statement! {hot "purchases_order", "
    SELECT n.due_at AS value
    FROM (SELECT collapse_key, updated_at
        FROM purchases
        WHERE updated_at > ?
        ORDER BY updated_at DESC
        LIMIT {SAMPLES}) newest
    JOIN notifications n ON n.collapse_key = newest.collapse_key AND n.finished_at = newest.updated_at
    WHERE n.outcome IN ('settled', 'no_change') AND n.wakes IS NULL AND n.waits_since IS NULL
        AND n.finished_at > n.due_at + {GRACE_MICROS}
    ORDER BY n.due_at
"};

/// The overdue purchases, at most `limit` that were not woken before and as many that were.
pub fn find(connection: &mut AnyConnection, now: Timestamp, limit: i64) -> Result<Found, Error> {
    let patience = patience(connection, now)?;
    let (mut keys, mut more) = (Vec::new(), false);
    for (statement, before) in [(FRESH, patience), (WOKEN, now)] {
        let rows: Vec<CollapseKey> = sql(statement).bind(before).bind(ROWS).values(connection)?;
        more |= i64::try_from(rows.len()).unwrap_or(i64::MAX) >= ROWS;
        let mut seen = BTreeSet::new();
        let all = rows.into_iter().filter(|key| seen.insert(*key));
        keys.extend(all.take(usize::try_from(limit).unwrap_or(0)));
        more |= i64::try_from(seen.len()).unwrap_or(i64::MAX) >= limit;
    }
    if keys.is_empty() {
        return Ok(Found::default());
    }
    let standings: Vec<Standing> = sql(STANDINGS).uncached().bind_list(keys.iter().copied()).all(connection)?;
    let standings: BTreeMap<_, _> = standings.into_iter().map(|standing| (standing.collapse_key, standing)).collect();
    let mut seen = BTreeSet::new();
    let keys = keys.into_iter().filter(|key| seen.insert(*key));
    let all = keys.filter_map(|key| Some((key, standings.get(&key)?.next(now, patience)))).collect();
    Ok(Found { all, more })
}

impl Standing {
    /// What to do now. Windows that ended after `patience` may yet be settled.
    fn next(&self, now: Timestamp, patience: Timestamp) -> Next {
        let ends_at = self.cap_at.map_or(self.window_at, |cap_at| cap_at.min(self.window_at));
        if let Some(until) = self.held_until.filter(|until| *until > now) {
            return Next::Postpone(until);
        }
        if ends_at > now.minus(GRACE) {
            return Next::Postpone(ends_at.plus(GRACE));
        }
        if let Some(again_at) = self.again_at.filter(|again_at| *again_at > now) {
            return Next::Postpone(again_at);
        }
        if ends_at > patience {
            return Next::Postpone(now.plus(PATIENCE));
        }
        Next::Wake { unfollowed: self.wakes.unwrap_or(0) }
    }
}

/// A window that ended after this time may yet be settled by itself.
fn patience(connection: &mut AnyConnection, now: Timestamp) -> Result<Timestamp, Error> {
    let overdue = now.minus(GRACE);
    let any: Option<CollapseKey> = sql(FRESH).bind(overdue).bind(1).value(connection)?;
    let any = any.or(sql(WOKEN).bind(now).bind(1).value(connection)?);
    if any.is_none() {
        return Ok(overdue);
    }
    let settled: Vec<Timestamp> = sql(LATELY_SETTLED).bind(now.minus(PROGRESS)).values(connection)?;
    // A few may have been held, or flushed by hand.
    let oldest = settled.get(settled.len() / 10).map_or(overdue, |window_at| window_at.minus(MARGIN));
    Ok(oldest.min(overdue).max(now.minus(MAX_PATIENCE)))
}

/// Locks what is due of purchases. A row that is being settled is left out, so that this waits for no settling.
const LOCK: Sql = statement! {"
    SELECT seq, collapse_key
    FROM notifications
    WHERE collapse_key IN (?*) AND {OPEN} AND {SWEEP_AT} <= ?
    FOR UPDATE SKIP LOCKED
"};

const NOTE_WOKEN: Sql = statement! {"
    UPDATE notifications
    SET sweep_at = ? + CASE WHEN wakes IS NULL THEN {BACKOFF_OF_FIRST} ELSE {BACKOFF} END, wakes = COALESCE(wakes, 0) + 1
    WHERE seq IN (?*)
"};
const BACKOFF_OF_FIRST: u128 = crate::delivery::overdue::FIRST_BACKOFF.as_micros();

const POSTPONE: Sql = statement!("UPDATE notifications SET sweep_at = ? WHERE seq IN (?*)");

/// Notes which purchases were woken, and until when others are postponed.
pub fn note(write: &mut Write<'_>, overdue: &Overdue, woken: &[Due]) -> Result<(), Error> {
    let mut postponed: BTreeMap<CollapseKey, Timestamp> = overdue.postponed(UNSETTLED).collect();
    let woken: BTreeSet<CollapseKey> = Overdue::of(UNSETTLED, woken).collect();
    postponed.retain(|key, _| !woken.contains(key));
    let keys: Vec<CollapseKey> = woken.iter().chain(postponed.keys()).copied().collect();
    let mut rows: BTreeMap<Option<Timestamp>, Vec<i64>> = BTreeMap::new();
    for keys in keys.chunks(BATCH) {
        let locked: Vec<Row> =
            sql(LOCK).uncached().bind_list(keys.iter().copied()).bind(overdue.at).all(write.connection)?;
        for Row { seq, collapse_key } in locked {
            rows.entry(postponed.get(&collapse_key).copied()).or_default().push(seq);
        }
    }
    for (until, seqs) in rows {
        for seqs in seqs.chunks(BATCH) {
            let (statement, at) = until.map_or((NOTE_WOKEN, overdue.at), |until| (POSTPONE, until));
            sql(statement).uncached().bind(at).bind_list(seqs.iter().copied()).run(write.connection)?;
        }
    }
    Ok(())
}
