//! Purchases whose window has ended without a settling: a wake-up was lost, or the engine is late.
//!
//! While many purchases that are just as late settle by themselves, the engine is only late, and only a few are woken:
//! a signal for each would delay the engine further. Those few are the oldest, since some wake-ups may be lost all the
//! same. A purchase is also woken if younger ones were settled before it, and all are woken if hardly any late one has
//! settled for a minute. Windows that had ended when the engine was emptied are woken without waiting.
//!
//! A wake is recorded before its signal, so that the settling it causes never counts as one that happened by itself.

use crate::delivery::overdue::{BACKOFF, Due, DueReason, Overdue, OverduePage, SweepAction};
use crate::inbox::notifications::{IS_OPEN, IS_OPEN_N};
use db::connection::AnyConnection;
use db::error::Error;
use db::low_mark::{Beginning, LowMarks, Queue, QueueRead};
use db::partial::{OPEN_DUE, OPEN_WOKEN};
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::time::MINUTE;
use domain::{CollapseKey, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after its end a window may stay unsettled before the sweep wakes the purchase.
const TOLERANCE: Duration = Duration::from_secs(15);
const TOLERANCE_MICROS: u128 = TOLERANCE.as_micros();
/// If the engine is only late, late purchases must have settled by themselves within this time.
const PROGRESS: Duration = MINUTE;
/// Number of late purchases that must have settled by themselves.
const ENOUGH: usize = 50;
/// Divisor of the limit: a fifth of the purchases that may be woken are woken in any case, oldest first.
const OLDEST: usize = 5;
/// How much later a purchase may be than others that settle by themselves.
const MARGIN: Duration = Duration::from_secs(15);
/// A purchase that is later than this is woken in any case.
const MAX_PATIENCE: Duration = MINUTE.saturating_mul(60);
/// How long a purchase that was woken before is postponed while the engine is only late.
const PATIENCE: Duration = Duration::from_secs(30);
/// Number of recently settled purchases that are checked for signs that the engine is late.
const SAMPLES: i64 = 500;
/// Maximum number of rows of one read: a purchase can have many.
const ROWS: i64 = 500;
/// Maximum number of rows per statement.
const BATCH: usize = 500;

/// SQL for the time when the sweep next handles an open notification; initially the end of its window.
const SWEEP_AT: &str = "COALESCE(sweep_at, CASE WHEN cap_at < due_at THEN cap_at ELSE due_at END)";

row! {
    /// The open notifications of a purchase, except waiting ones.
    struct UnsettledPurchase {
        collapse_key: CollapseKey,
        /// The largest number of wakes without a settling; `again_at` is the latest time of the next wake.
        wakes: Option<i64>,
        again_at: Option<Timestamp>,
        /// When the window ends; `cap_at` is when `max_wait` ends it at the latest.
        window_at: Timestamp,
        cap_at: Option<Timestamp>,
        held_until: Option<Timestamp>,
    }
}

row! {
    struct Fresh {
        collapse_key: CollapseKey,
        sweep_at: Timestamp,
    }
}

row! {
    struct OpenNotification {
        seq: i64,
        collapse_key: CollapseKey,
    }
}

const FRESH: Sql = statement! {hot "notifications_open_due", "
    SELECT n.collapse_key, {SWEEP_AT} AS sweep_at
    FROM notifications n
    WHERE {OPEN_DUE} AND wakes IS NULL AND {SWEEP_AT} <= ? AND {SWEEP_AT} >= ?
    ORDER BY {SWEEP_AT}
    LIMIT ?
"};

const WOKEN: Sql = statement! {hot "notifications_open_woken", "
    SELECT n.collapse_key, sweep_at
    FROM notifications n
    WHERE {OPEN_WOKEN} AND wakes IS NOT NULL AND sweep_at <= ? AND sweep_at >= ?
    ORDER BY sweep_at
    LIMIT ?
"};

const STANDINGS: Sql = statement! {hot "notifications_open_of_key", "
    SELECT n.collapse_key, MAX(n.wakes) AS wakes, MAX(CASE WHEN n.wakes IS NOT NULL THEN n.sweep_at END) AS again_at,
        CASE WHEN MIN(n.due_at - n.accepted_at) <= 0 THEN MIN(n.due_at) ELSE MAX(n.due_at) END AS window_at,
        MIN(n.cap_at) AS cap_at,
        (SELECT p.held_until FROM purchases p WHERE p.collapse_key = n.collapse_key) AS held_until
    FROM notifications n
    WHERE n.collapse_key IN (?*) AND {IS_OPEN_N}
    GROUP BY n.collapse_key
"};

/// The ends of windows among recently settled purchases that settled late and by themselves. Settling stores the same
/// time in a purchase and its notifications.
const LATELY_SETTLED: Sql = statement! {hot "purchases_order", "
    SELECT MAX(n.due_at) AS value
    FROM (SELECT collapse_key, updated_at
        FROM purchases
        WHERE updated_at > ?
        ORDER BY updated_at DESC
        LIMIT {SAMPLES}) newest
    JOIN notifications n ON n.collapse_key = newest.collapse_key AND n.finished_at = newest.updated_at
    WHERE n.outcome IN ('settled', 'no_change')
    GROUP BY n.collapse_key, n.finished_at
    HAVING MAX(n.wakes) IS NULL AND MAX(n.waits_since) IS NULL AND n.finished_at > MAX(n.due_at) + {TOLERANCE_MICROS}
    ORDER BY MAX(n.due_at)
"};

const EMPTIED_AT: Sql =
    statement!("SELECT emptied_at AS value FROM sweeps WHERE emptied_at IS NOT NULL");

/// Returns the overdue purchases: at most `limit` that were not woken before, and as many that were.
pub fn find(
    connection: &mut AnyConnection,
    marks: &LowMarks,
    now: Timestamp,
    limit: i64,
) -> Result<OverduePage, Error> {
    let fresh = first_of(
        connection,
        marks,
        now,
        &Waiting {
            name: "fresh",
            rows: FRESH,
            due_by: now.minus(TOLERANCE),
        },
    )?;
    let woken = first_of(
        connection,
        marks,
        now,
        &Waiting {
            name: "woken",
            rows: WOKEN,
            due_by: now,
        },
    )?;
    if fresh.is_empty() && woken.is_empty() {
        return Ok(OverduePage::default());
    }
    let limit = usize::try_from(limit).unwrap_or(0);
    let patience = patience(connection, now)?;
    let mut more = is_full(fresh.len()) || is_full(woken.len());
    let (fresh, woken) = (
        once(fresh, |row| row.collapse_key),
        once(woken, |row| row.collapse_key),
    );
    let chosen = choose(
        &fresh,
        Limits {
            now,
            patience,
            limit,
        },
    );
    more |= chosen.len() < fresh.len() || woken.len() > limit;
    let keys = chosen.into_iter().chain(
        woken
            .into_iter()
            .take(limit)
            .map(|row| (row.collapse_key, patience)),
    );
    let keys = once(keys, |(key, _)| *key);
    let standings: Vec<UnsettledPurchase> = sql(STANDINGS)
        .uncached()
        .bind_list(keys.iter().map(|(key, _)| *key))
        .all(connection)?;
    let standings: BTreeMap<_, _> = standings
        .into_iter()
        .map(|standing| (standing.collapse_key, standing))
        .collect();
    let all = keys
        .into_iter()
        .filter_map(|(key, patience)| Some((key, standings.get(&key)?.next(now, patience))));
    Ok(OverduePage {
        all: all.collect(),
        more,
    })
}

/// A queue of unsettled notifications.
struct Waiting {
    name: &'static str,
    /// Selects the rows that are due by a time, from a low mark on.
    rows: Sql,
    due_by: Timestamp,
}

/// Reads the first rows of a queue.
fn first_of(
    connection: &mut AnyConnection,
    marks: &LowMarks,
    now: Timestamp,
    waiting: &Waiting,
) -> Result<Vec<Fresh>, Error> {
    marks.read(Queue::of_all(waiting.name), now, |start: &Beginning| {
        let due = sql(waiting.rows).bind((waiting.due_by, start.from, ROWS));
        let rows: Vec<Fresh> = due.all(connection)?;
        let first = rows.first().map_or(waiting.due_by, |row| row.sweep_at);
        Ok(QueueRead {
            rows,
            first,
            apart: Vec::new(),
        })
    })
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    now: Timestamp,
    /// A window that ended later than this may still be settled by itself.
    patience: Timestamp,
    limit: usize,
}

/// Returns the purchases to wake, the oldest in any case; each with the time by which its window must have ended.
fn choose(
    fresh: &[Fresh],
    Limits {
        now,
        patience,
        limit,
    }: Limits,
) -> Vec<(CollapseKey, Timestamp)> {
    let oldest = (limit / OLDEST).max(1);
    let limits = (0..limit).map(|index| if index < oldest { now } else { patience });
    let chosen = fresh
        .iter()
        .zip(limits)
        .take_while(|(row, until)| row.sweep_at <= *until);
    chosen
        .map(|(row, until)| (row.collapse_key, until))
        .collect()
}

fn once<T>(all: impl IntoIterator<Item = T>, key: impl Fn(&T) -> CollapseKey) -> Vec<T> {
    let mut seen = BTreeSet::new();
    all.into_iter()
        .filter(|one| seen.insert(key(one)))
        .collect()
}

fn is_full(rows: usize) -> bool {
    i64::try_from(rows).unwrap_or(i64::MAX) >= ROWS
}

impl UnsettledPurchase {
    /// Returns the next action. Windows that ended after `patience` may still be settled by themselves.
    fn next(&self, now: Timestamp, patience: Timestamp) -> SweepAction {
        let ends_at = self
            .cap_at
            .map_or(self.window_at, |cap_at| cap_at.min(self.window_at));
        if let Some(until) = self.held_until.filter(|until| *until > now) {
            return SweepAction::Postpone(until);
        }
        if ends_at > now.minus(TOLERANCE) {
            return SweepAction::Postpone(ends_at.plus(TOLERANCE));
        }
        if let Some(again_at) = self.again_at.filter(|again_at| *again_at > now) {
            return SweepAction::Postpone(again_at);
        }
        // A signal that was recorded but not accepted by the engine is sent in any case.
        if ends_at > patience && self.wakes != Some(0) {
            return SweepAction::Postpone(now.plus(PATIENCE));
        }
        SweepAction::Wake {
            unfollowed: self.wakes.unwrap_or(0),
        }
    }
}

/// Returns the time after which an ended window may still be settled by itself.
fn patience(connection: &mut AnyConnection, now: Timestamp) -> Result<Timestamp, Error> {
    let overdue = now.minus(TOLERANCE);
    let settled: Vec<Timestamp> = sql(LATELY_SETTLED)
        .bind(now.minus(PROGRESS))
        .values(connection)?;
    if settled.len() < ENOUGH {
        return Ok(overdue);
    }
    // Skips the oldest tenth: a few purchases may have been held, or settled on request.
    let oldest = settled
        .get(settled.len() / 10)
        .map_or(overdue, |window_at| window_at.minus(MARGIN));
    let emptied_at: Option<Timestamp> = sql(EMPTIED_AT).value(connection)?;
    let lost = emptied_at.map_or(oldest, |emptied_at| emptied_at.max(oldest));
    Ok(lost.max(now.minus(MAX_PATIENCE)).min(overdue))
}

/// Locks the due rows of purchases. Rows that are being settled are skipped, so that this never waits for a settling.
const LOCK: Sql = statement! {hot "notifications_open_of_key", "
    SELECT seq, collapse_key
    FROM notifications
    WHERE collapse_key IN (?*) AND {IS_OPEN} AND {SWEEP_AT} <= ?
    FOR UPDATE SKIP LOCKED
"};

const NOTE_WAKING: Sql = statement!(
    "UPDATE notifications SET wakes = 0, sweep_at = ? WHERE seq IN (?*) AND wakes IS NULL"
);

const NOTE_WOKEN: Sql = statement! {"
    UPDATE notifications
    SET sweep_at = ? + CASE WHEN wakes IS NULL THEN {BACKOFF_OF_FIRST} ELSE {BACKOFF} END, wakes = COALESCE(wakes, 0) + 1
    WHERE seq IN (?*)
"};
const BACKOFF_OF_FIRST: u128 = crate::delivery::overdue::FIRST_BACKOFF.as_micros();

const POSTPONE: Sql = statement!("UPDATE notifications SET sweep_at = ? WHERE seq IN (?*)");

/// Records that purchases are about to be woken: from now on, their settlings no longer count as ones that happened by
/// themselves. Each purchase stays due until its wake is recorded too.
pub fn note_waking(write: &mut Write<'_>, overdue: &Overdue) -> Result<(), Error> {
    let keys: Vec<CollapseKey> = Overdue::of(DueReason::Unsettled, &overdue.found).collect();
    for keys in keys.chunks(BATCH) {
        let rows: Vec<OpenNotification> = sql(LOCK)
            .uncached()
            .bind_list(keys.iter().copied())
            .bind(overdue.at)
            .all(write.connection)?;
        for rows in rows.chunks(BATCH) {
            let seqs = rows.iter().map(|row| row.seq);
            sql(NOTE_WAKING)
                .uncached()
                .bind(overdue.at)
                .bind_list(seqs)
                .run(write.connection)?;
        }
    }
    Ok(())
}

/// Records which purchases were woken, and until when others are postponed.
pub fn note(write: &mut Write<'_>, overdue: &Overdue, woken: &[Due]) -> Result<(), Error> {
    let mut postponed: BTreeMap<CollapseKey, Timestamp> =
        overdue.postponed(DueReason::Unsettled).collect();
    let woken: BTreeSet<CollapseKey> = Overdue::of(DueReason::Unsettled, woken).collect();
    postponed.retain(|key, _| !woken.contains(key));
    let keys: Vec<CollapseKey> = woken.iter().chain(postponed.keys()).copied().collect();
    let mut rows: BTreeMap<Option<Timestamp>, Vec<i64>> = BTreeMap::new();
    for keys in keys.chunks(BATCH) {
        let locked: Vec<OpenNotification> = sql(LOCK)
            .uncached()
            .bind_list(keys.iter().copied())
            .bind(overdue.at)
            .all(write.connection)?;
        for OpenNotification { seq, collapse_key } in locked {
            rows.entry(postponed.get(&collapse_key).copied())
                .or_default()
                .push(seq);
        }
    }
    for (until, seqs) in rows {
        for seqs in seqs.chunks(BATCH) {
            let (statement, at) = until.map_or((NOTE_WOKEN, overdue.at), |until| (POSTPONE, until));
            sql(statement)
                .uncached()
                .bind(at)
                .bind_list(seqs.iter().copied())
                .run(write.connection)?;
        }
    }
    Ok(())
}
