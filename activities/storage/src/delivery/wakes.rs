//! Purchases whose next wake has passed. What a person waits for comes first, then changes of settings, then the
//! calendar. A purchase that was woken and did not settle is woken again with a back-off, apart from the others, so that
//! it stands before none of them.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::delivery::overdue::{BACKOFF, Due, FIRST_BACKOFF, Next, Overdue, OverduePage, Quota, WAKE};
use crate::inbox::notifications::IS_OPEN_N;
use crate::purchases::purchase::Urgency;
use domain::{CollapseKey, PlatformId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

row! {
    struct Waking {
        id: PlatformId,
        is_deleted: bool,
        is_queried: bool,
    }
}

row! {
    struct Past {
        collapse_key: CollapseKey,
        held_until: Option<Timestamp>,
    }
}

row! {
    struct Unfollowed {
        past: Past,
        wakes: i64,
        /// When its window ends, which is settled then anyway.
        window_at: Option<Timestamp>,
    }
}

/// The platforms. There are few, so their purchases are read platform by platform.
const WAKING: Sql = statement! {"
    SELECT id, (deleted_at IS NOT NULL) AS is_deleted,
        (shared_secret IS NOT NULL AND secret_refused_at IS NULL) AS is_queried
    FROM platforms
    ORDER BY id
"};

/// The purchases of a platform whose next wake has passed, and that were not woken for it.
const PAST_WAKE: Sql = statement! {hot "purchases_wake", "
    SELECT collapse_key, held_until
    FROM purchases
    WHERE platform_id = ? AND urgency = ? AND next_wake_at <= ? AND next_wake_at IS NOT NULL
        AND woken_for IS DISTINCT FROM next_wake_at
    ORDER BY next_wake_at
    LIMIT ?
"};

/// The purchases of a platform that a person waits for, the last request first: a large import does not stand before it.
const FOR_PERSON: Sql = statement! {hot "purchases_wake", "
    SELECT collapse_key, held_until
    FROM purchases
    WHERE platform_id = ? AND urgency = 'person' AND next_wake_at <= ? AND next_wake_at IS NOT NULL
        AND woken_for IS DISTINCT FROM next_wake_at
    ORDER BY next_wake_at DESC
    LIMIT ?
"};

/// The purchases to wake of a deleted platform: only those with notifications that wait for the store, so that these
/// end.
const LAST_WAKE: Sql = statement! {hot "purchases_waiting", "
    SELECT collapse_key, held_until
    FROM purchases
    WHERE platform_id = ? AND (waits_for IS NOT NULL OR waits_through IS NOT NULL) AND next_wake_at <= ?
        AND woken_for IS DISTINCT FROM next_wake_at
    ORDER BY next_wake_at
    LIMIT ?
"};

/// The purchases of a platform that were woken and did not settle, when their back-off is over.
const UNFOLLOWED: Sql = statement! {hot "purchases_woken", "
    SELECT p.collapse_key, p.held_until, p.wakes,
        (SELECT MAX(n.due_at + 0) FROM notifications n WHERE n.collapse_key = p.collapse_key AND {IS_OPEN_N}) AS window_at
    FROM purchases p
    WHERE p.platform_id = ? AND p.woken_for = p.next_wake_at AND p.sweep_at <= ?
    ORDER BY p.sweep_at
    LIMIT ?
"};

/// How long before a query that was put off its purchase counts as woken: its run needs the store's rate then. A later
/// one does not count, so that receipts which the store does not know for days never stop the calendar.
const AHEAD: Duration = Duration::from_secs(10);

/// Number of purchases of a platform that were woken once and may yet follow, or whose run queries the store soon.
const IN_PROGRESS: Sql = statement! {hot "purchases_woken", "
    SELECT COUNT(*) AS value
    FROM (SELECT 1
        FROM purchases
        WHERE platform_id = ? AND woken_for = next_wake_at AND sweep_at > ? AND sweep_at <= ? AND wakes = 1
        LIMIT ?) found
"};

/// The purchases that a person waits for, at most so many of each platform.
pub fn for_persons(connection: &mut AnyConnection, now: Timestamp, quota: Quota) -> Result<OverduePage, Error> {
    let mut found = OverduePage::default();
    for platform in platforms(connection)?.into_iter().filter(|platform| !platform.is_deleted) {
        let limit = if platform.is_queried { quota.per_store } else { quota.others };
        let rows = sql(FOR_PERSON).bind(platform.id).bind(now).bind(limit).all(connection)?;
        found.append(rows, now, limit);
    }
    Ok(found)
}

/// The purchases that did not follow their wakes, at most so many of each platform.
pub fn again(connection: &mut AnyConnection, now: Timestamp, limit: i64) -> Result<OverduePage, Error> {
    let mut found = OverduePage::default();
    for platform in platforms(connection)? {
        let rows: Vec<Unfollowed> = sql(UNFOLLOWED).bind(platform.id).bind(now).bind(limit).all(connection)?;
        found.more |= is_full(rows.len(), limit);
        found.all.extend(rows.into_iter().map(|row| {
            let until = row.past.held_until.into_iter().chain(row.window_at).filter(|until| *until > now).max();
            (row.past.collapse_key, until.map_or(Next::Wake { unfollowed: row.wakes }, Next::Postpone))
        }));
    }
    Ok(found)
}

/// The purchases of all platforms for changes of settings and the calendar, one of each platform in turn.
pub fn by_platform(connection: &mut AnyConnection, now: Timestamp, quota: Quota) -> Result<OverduePage, Error> {
    let mut platforms_found = Vec::new();
    for platform in platforms(connection)? {
        let mut left = if platform.is_queried { quota.left(connection, &platform, now)? } else { quota.others };
        let mut found = OverduePage::default();
        for urgency in [Urgency::Setting, Urgency::Calendar] {
            if left > 0 {
                let rows: Vec<Past> = if platform.is_deleted {
                    sql(LAST_WAKE).bind(platform.id).bind(now).bind(left).all(connection)?
                } else {
                    sql(PAST_WAKE).bind(platform.id).bind(urgency).bind(now).bind(left).all(connection)?
                };
                let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
                found.append(rows, now, left);
                left = left.saturating_sub(count);
            } else {
                found.more = true;
            }
            if platform.is_deleted {
                break;
            }
        }
        platforms_found.push(found);
    }
    Ok(in_turn(&platforms_found))
}

impl Quota {
    /// How many more purchases of a platform may be found.
    fn left(self, connection: &mut AnyConnection, platform: &Waking, now: Timestamp) -> Result<i64, Error> {
        let until = now.plus(FIRST_BACKOFF + AHEAD);
        let in_progress = sql(IN_PROGRESS).bind(platform.id).bind(now).bind(until).bind(self.unfollowed);
        let in_progress: Option<i64> = in_progress.value(connection)?;
        Ok(self.per_store.min(self.unfollowed.saturating_sub(in_progress.unwrap_or(0))))
    }
}

impl OverduePage {
    fn append(&mut self, rows: Vec<Past>, now: Timestamp, limit: i64) {
        self.more |= is_full(rows.len(), limit);
        self.all.extend(rows.into_iter().map(|row| {
            let held = row.held_until.filter(|until| *until > now);
            (row.collapse_key, held.map_or(Next::Wake { unfollowed: 0 }, Next::Postpone))
        }));
    }
}

fn is_full(rows: usize, limit: i64) -> bool {
    i64::try_from(rows).unwrap_or(i64::MAX) >= limit
}

fn platforms(connection: &mut AnyConnection) -> Result<Vec<Waking>, Error> {
    sql(WAKING).all(connection)
}

/// Takes one purchase of each platform in turn.
fn in_turn(platforms: &[OverduePage]) -> OverduePage {
    let longest = platforms.iter().map(|found| found.all.len()).max().unwrap_or(0);
    let all = (0..longest).flat_map(|index| platforms.iter().filter_map(move |found| found.all.get(index)));
    OverduePage { all: all.copied().collect(), more: platforms.iter().any(|found| found.more) }
}

/// Locks purchases whose next wake has passed and that nobody else has noted meanwhile. One that is being settled is
/// left out, so that this waits for none.
const LOCK: Sql = statement! {"
    SELECT collapse_key AS value
    FROM purchases
    WHERE collapse_key IN (?*) AND next_wake_at <= ? AND (woken_for IS DISTINCT FROM next_wake_at OR sweep_at <= ?)
    FOR UPDATE SKIP LOCKED
"};

const NOTE_WOKEN: Sql = statement! {"
    UPDATE purchases
    SET sweep_at = ? + CASE WHEN woken_for = next_wake_at THEN {BACKOFF} ELSE {BACKOFF_OF_FIRST} END,
        wakes = CASE WHEN woken_for = next_wake_at THEN wakes + 1 ELSE 1 END, woken_for = next_wake_at
    WHERE collapse_key IN (?*)
"};
const BACKOFF_OF_FIRST: u128 = FIRST_BACKOFF.as_micros();

const POSTPONE: Sql = statement! {"
    UPDATE purchases
    SET sweep_at = ?, wakes = CASE WHEN woken_for = next_wake_at THEN wakes ELSE 0 END, woken_for = next_wake_at
    WHERE collapse_key IN (?*)
"};

/// Notes which purchases were woken, and until when others are postponed.
pub fn note(write: &mut Write<'_>, overdue: &Overdue, woken: &[Due]) -> Result<(), Error> {
    let woken: BTreeSet<CollapseKey> = Overdue::of(WAKE, woken).collect();
    let mut postponed: BTreeMap<CollapseKey, Timestamp> = overdue.postponed(WAKE).collect();
    postponed.retain(|key, _| !woken.contains(key));
    let keys: Vec<CollapseKey> = woken.iter().chain(postponed.keys()).copied().collect();
    if keys.is_empty() {
        return Ok(());
    }
    let locked: Vec<CollapseKey> =
        sql(LOCK).uncached().bind_list(keys).bind(overdue.at).bind(overdue.at).values(write.connection)?;
    let mut groups: BTreeMap<Option<Timestamp>, Vec<CollapseKey>> = BTreeMap::new();
    for key in locked {
        groups.entry(postponed.get(&key).copied()).or_default().push(key);
    }
    for (until, keys) in groups {
        let (statement, at) = until.map_or((NOTE_WOKEN, overdue.at), |until| (POSTPONE, until));
        sql(statement).uncached().bind(at).bind_list(keys).run(write.connection)?;
    }
    Ok(())
}
