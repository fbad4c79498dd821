//! Purchases whose next wake has passed. Those for which a person waits come first, then changes of settings, then the
//! calendar. A purchase that was woken and did not settle is woken again with a back-off, in a separate category, so
//! that it never delays the others.
//!
//! Each category is read by two statements, whatever the number of platforms: the first finds the platforms with due
//! purchases, the second reads a bounded number of purchases of each. The cost of neither depends on how many purchases
//! are due.

use crate::delivery::overdue::{
    BACKOFF, Due, DueReason, FIRST_BACKOFF, Overdue, OverduePage, Quota, SweepAction,
};
use crate::inbox::notifications::IS_OPEN_N;
use crate::settings::credential::IS_USABLE;
use const_format::formatcp;
use db::connection::AnyConnection;
use db::error::Error;
use db::low_mark::{Beginning, LowMarks, Queue, QueueRead};
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::{CollapseKey, PlatformId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

/// Maximum number of platforms of which one category is read at once; those whose purchases have waited longest come
/// first.
const MAX_PLATFORMS: usize = 5_000;
/// Approximate maximum number of purchases of one category that are found at once, shared equally between platforms.
const MAX_FOUND: i64 = 5_000;
/// Maximum number of purchases per statement.
const BATCH: usize = 500;

row! {
    /// The due purchases of a platform, as text that is parsed into [`Past`].
    struct Found {
        id: PlatformId,
        is_queried: bool,
        found: String,
    }
}

row! {
    struct Planned {
        id: PlatformId,
        is_queried: bool,
        /// Number of purchases that were woken once and may still settle, or whose run will soon query the store.
        in_progress: i64,
        setting: String,
        calendar: String,
        /// The purchases of a deleted platform whose notifications still wait.
        waiting: String,
    }
}

/// A due purchase. A statement returns it as text with four fields, in which `0` stands for an absent value.
struct Past {
    collapse_key: CollapseKey,
    held_until: Timestamp,
    /// Number of consecutive wakes that no settling followed.
    wakes: i64,
    /// When the purchase's window ends; the purchase is settled then anyway.
    window_at: Timestamp,
}

/// The purchase `p` as text for [`Past`].
const PAST: &str = "p.collapse_key || ' ' || COALESCE(p.held_until, 0) || ' 0 0'";
/// The condition for purchases of `each_platform` whose next wake has passed, and that were not woken for it yet.
const PAST_WAKE: &str =
    "platform_id = each_platform.id AND next_wake_at <= ? AND next_wake_at IS NOT NULL
    AND woken_for IS DISTINCT FROM next_wake_at";
/// The condition for purchases of a deleted platform. Only those with notifications that wait for the store are woken,
/// so that these notifications get an outcome.
const LAST_WAKE: &str =
    "platform_id = each_platform.id AND (waits_for IS NOT NULL OR waits_through IS NOT NULL)
    AND next_wake_at <= ? AND woken_for IS DISTINCT FROM next_wake_at";

/// The low mark of `each_platform`. Platforms in which the last read found due purchases are read from the beginning.
/// Binds the ids of these platforms and the mark.
const FROM: &str = formatcp!("CASE WHEN each_platform.id IN (?*) THEN {EARLIEST} ELSE ? END");
const EARLIEST: i64 = Timestamp::EARLIEST.micros();

/// The platforms with purchases for which a person waits, each with the earliest time of a wake.
const WITH_PERSONS: Sql = statement! {hot "purchases_wake", "
    SELECT COALESCE(string_agg(id || ' ' || (
            SELECT next_wake_at
            FROM purchases
            WHERE urgency = 'person' AND {PAST_WAKE} AND next_wake_at >= {FROM}
            ORDER BY next_wake_at
            LIMIT 1), ','), '') AS value
    FROM platforms each_platform
    WHERE deleted_at IS NULL
"};

/// For each platform, the purchases for which a person waits, the latest request first, so that a large import does not
/// delay that request.
const FOR_PERSONS: Sql = statement! {hot "purchases_wake", "
    SELECT id, {IS_USABLE} AS is_queried, COALESCE((
            SELECT string_agg({PAST}, ',' ORDER BY p.next_wake_at DESC)
            FROM (SELECT collapse_key, held_until, next_wake_at
                FROM purchases
                WHERE urgency = 'person' AND {PAST_WAKE}
                ORDER BY next_wake_at DESC
                LIMIT ?) p), '') AS found
    FROM platforms each_platform
    WHERE id IN (?*)
"};

/// The platforms with purchases that were woken and did not settle, each with the earliest end of a back-off that is
/// over.
const WITH_UNFOLLOWED: Sql = statement! {hot "purchases_woken", "
    SELECT COALESCE(string_agg(id || ' ' || (
            SELECT sweep_at
            FROM purchases
            WHERE platform_id = each_platform.id AND woken_for = next_wake_at AND sweep_at <= ? AND sweep_at >= {FROM}
            ORDER BY sweep_at
            LIMIT 1), ','), '') AS value
    FROM platforms each_platform
"};

/// For each platform, the purchases that were woken and did not settle, and whose back-off is over.
const UNFOLLOWED: Sql = statement! {hot "purchases_woken", "
    SELECT id, {IS_USABLE} AS is_queried, COALESCE((
            SELECT string_agg(
                p.collapse_key || ' ' || COALESCE(p.held_until, 0) || ' ' || p.wakes || ' ' || COALESCE((
                        SELECT MAX(n.due_at + 0)
                        FROM notifications n
                        WHERE n.collapse_key = p.collapse_key AND {IS_OPEN_N}), 0),
                ',' ORDER BY p.sweep_at)
            FROM (SELECT collapse_key, held_until, wakes, sweep_at
                FROM purchases
                WHERE platform_id = each_platform.id AND woken_for = next_wake_at AND sweep_at <= ?
                ORDER BY sweep_at
                LIMIT ?) p), '') AS found
    FROM platforms each_platform
    WHERE id IN (?*)
"};

/// The platforms with purchases that are due because of a change of settings or the calendar, and deleted platforms
/// with purchases whose notifications wait.
const WITH_PLANNED: Sql = statement! {hot "purchases_wake", "
    SELECT COALESCE(string_agg(id || ' ' || CASE WHEN deleted_at IS NULL THEN COALESCE((
                SELECT next_wake_at
                FROM purchases
                WHERE urgency = 'setting' AND {PAST_WAKE} AND next_wake_at >= {FROM}
                ORDER BY next_wake_at
                LIMIT 1), (
                SELECT next_wake_at
                FROM purchases
                WHERE urgency = 'calendar' AND {PAST_WAKE} AND next_wake_at >= {FROM}
                ORDER BY next_wake_at
                LIMIT 1))
            ELSE (
                SELECT next_wake_at
                FROM purchases
                WHERE {LAST_WAKE} AND next_wake_at >= {FROM}
                ORDER BY next_wake_at
                LIMIT 1) END, ','), '') AS value
    FROM platforms each_platform
"};

/// How long before a postponed query its purchase counts as woken, because its run will then use the rate at which the
/// store may be queried. Queries further ahead do not count, so that purchases that the store does not know for days
/// never stop the calendar.
const AHEAD: Duration = Duration::from_secs(10);

/// For each platform, the purchases that are due because of a change of settings or the calendar.
const PLANNED: Sql = statement! {hot "purchases_wake", "
    SELECT id, {IS_USABLE} AS is_queried, (
            SELECT COUNT(*)
            FROM (SELECT 1
                FROM purchases
                WHERE platform_id = each_platform.id AND woken_for = next_wake_at AND sweep_at > ? AND sweep_at <= ?
                    AND wakes = 1
                LIMIT ?) found) AS in_progress,
        CASE WHEN deleted_at IS NULL THEN COALESCE((
            SELECT string_agg({PAST}, ',' ORDER BY p.next_wake_at)
            FROM (SELECT collapse_key, held_until, next_wake_at
                FROM purchases
                WHERE urgency = 'setting' AND {PAST_WAKE}
                ORDER BY next_wake_at
                LIMIT ?) p), '') ELSE '' END AS setting,
        CASE WHEN deleted_at IS NULL THEN COALESCE((
            SELECT string_agg({PAST}, ',' ORDER BY p.next_wake_at)
            FROM (SELECT collapse_key, held_until, next_wake_at
                FROM purchases
                WHERE urgency = 'calendar' AND {PAST_WAKE}
                ORDER BY next_wake_at
                LIMIT ?) p), '') ELSE '' END AS calendar,
        CASE WHEN deleted_at IS NULL THEN '' ELSE COALESCE((
            SELECT string_agg({PAST}, ',' ORDER BY p.next_wake_at)
            FROM (SELECT collapse_key, held_until, next_wake_at
                FROM purchases
                WHERE {LAST_WAKE}
                ORDER BY next_wake_at
                LIMIT ?) p), '') END AS waiting
    FROM platforms each_platform
    WHERE id IN (?*)
"};

/// Returns the purchases for which a person waits, a limited number of each platform, alternating between platforms.
pub fn for_persons(
    connection: &mut AnyConnection,
    marks: &LowMarks,
    now: Timestamp,
    quota: Quota,
) -> Result<OverduePage, Error> {
    let platforms = Platforms::with(
        connection,
        marks,
        now,
        &Waking {
            name: "for_persons",
            platforms: WITH_PERSONS,
            queues: 1,
        },
    )?;
    let limit = platforms.share(quota.per_store.max(quota.others));
    let pages = platforms.read(|ids| {
        sql(FOR_PERSONS)
            .uncached()
            .bind(now)
            .bind(limit)
            .bind_list(ids)
            .all(connection)
    })?;
    platforms.in_turn(
        pages,
        |Found {
             id,
             is_queried,
             found,
         }| {
            let limit = if is_queried {
                quota.per_store
            } else {
                quota.others
            }
            .min(limit);
            Ok((id, OverduePage::default().with(&found, now, limit)?))
        },
    )
}

/// Returns the purchases that did not settle after a wake, at most `limit` of each platform, alternating between
/// platforms.
pub fn again(
    connection: &mut AnyConnection,
    marks: &LowMarks,
    now: Timestamp,
    limit: i64,
) -> Result<OverduePage, Error> {
    let platforms = Platforms::with(
        connection,
        marks,
        now,
        &Waking {
            name: "unfollowed",
            platforms: WITH_UNFOLLOWED,
            queues: 1,
        },
    )?;
    let limit = platforms.share(limit);
    let pages = platforms.read(|ids| {
        sql(UNFOLLOWED)
            .uncached()
            .bind(now)
            .bind(limit)
            .bind_list(ids)
            .all(connection)
    })?;
    platforms.in_turn(pages, |Found { id, found, .. }| {
        Ok((id, OverduePage::default().with(&found, now, limit)?))
    })
}

/// Returns the purchases that are due because of changes of settings or the calendar, alternating between platforms.
pub fn by_platform(
    connection: &mut AnyConnection,
    marks: &LowMarks,
    now: Timestamp,
    quota: Quota,
) -> Result<OverduePage, Error> {
    let platforms = Platforms::with(
        connection,
        marks,
        now,
        &Waking {
            name: "planned",
            platforms: WITH_PLANNED,
            queues: 3,
        },
    )?;
    let limit = platforms.share(quota.per_store.max(quota.others));
    let soon = now.plus(FIRST_BACKOFF + AHEAD);
    let pages = platforms.read(|ids| {
        let planned = sql(PLANNED).uncached().bind((now, soon, quota.unfollowed));
        let planned = (0..3).fold(planned, |planned, _| planned.bind(now).bind(limit));
        planned.bind_list(ids).all(connection)
    })?;
    platforms.in_turn(
        pages,
        |Planned {
             id,
             is_queried,
             in_progress,
             setting,
             calendar,
             waiting,
         }| {
            let in_progress = quota.unfollowed.saturating_sub(in_progress);
            let limit = if is_queried {
                quota.per_store.min(in_progress)
            } else {
                quota.others
            }
            .min(limit);
            let past = [setting, calendar, waiting];
            Ok((
                id,
                past.iter().try_fold(OverduePage::default(), |page, past| {
                    page.with(past, now, limit)
                })?,
            ))
        },
    )
}

/// The platforms with due purchases, those that have waited longest first.
struct Platforms {
    ids: Vec<PlatformId>,
    more: bool,
}

/// A category of due purchases.
struct Waking {
    name: &'static str,
    /// Selects the platforms with purchases of this category.
    platforms: Sql,
    /// Number of queues that `platforms` searches, each from a low mark on.
    queues: usize,
}

impl Platforms {
    fn with(
        connection: &mut AnyConnection,
        marks: &LowMarks,
        now: Timestamp,
        waking: &Waking,
    ) -> Result<Self, Error> {
        marks.read(Queue::of_all(waking.name), now, |start: &Beginning| {
            let apart = || start.apart.iter().map(String::as_str);
            let found = (0..waking.queues).fold(sql(waking.platforms).uncached(), |found, _| {
                found.bind(now).bind_list(apart()).bind(start.from)
            });
            let rows = Self::of(found.value::<String>(connection)?)?;
            let apart = rows.ids.iter().map(ToString::to_string).collect();
            Ok(QueueRead {
                rows,
                first: now,
                apart,
            })
        })
    }

    fn of(text: Option<String>) -> Result<Self, Error> {
        let (text, mut all) = (text.unwrap_or_default(), Vec::new());
        for one in text.split(',').filter(|one| !one.is_empty()) {
            let [id, at] = fields(one)?;
            all.push((parsed::<i64>(at)?, parsed::<PlatformId>(id)?));
        }
        all.sort_unstable();
        let more = all.len() > MAX_PLATFORMS;
        Ok(Self {
            ids: all
                .into_iter()
                .take(MAX_PLATFORMS)
                .map(|(_, id)| id)
                .collect(),
            more,
        })
    }

    /// Returns how many purchases of each platform are read, at most `limit`.
    fn share(&self, limit: i64) -> i64 {
        let count = i64::try_from(self.ids.len()).unwrap_or(i64::MAX).max(1);
        limit.min((MAX_FOUND / count).max(1))
    }

    /// Reads rows of the platforms, if there are any platforms.
    fn read<T>(
        &self,
        read: impl FnOnce(Vec<PlatformId>) -> Result<Vec<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        if self.ids.is_empty() {
            Ok(Vec::new())
        } else {
            read(self.ids.clone())
        }
    }

    /// Merges the platforms' pages, taking one purchase of each platform in turn.
    fn in_turn<T>(
        &self,
        rows: Vec<T>,
        page: impl FnMut(T) -> Result<(PlatformId, OverduePage), Error>,
    ) -> Result<OverduePage, Error> {
        let mut pages = rows
            .into_iter()
            .map(page)
            .collect::<Result<BTreeMap<PlatformId, OverduePage>, Error>>()?;
        let pages: Vec<OverduePage> = self.ids.iter().filter_map(|id| pages.remove(id)).collect();
        let longest = pages.iter().map(|found| found.all.len()).max().unwrap_or(0);
        let all = (0..longest)
            .flat_map(|index| pages.iter().filter_map(move |found| found.all.get(index)));
        Ok(OverduePage {
            all: all.copied().collect(),
            more: self.more || pages.iter().any(|found| found.more),
        })
    }
}

impl OverduePage {
    /// Adds the purchases in a text that a statement returned, up to `limit` purchases in total.
    fn with(mut self, text: &str, now: Timestamp, limit: i64) -> Result<Self, Error> {
        let limit = usize::try_from(limit).unwrap_or(0);
        let mut found = text.split(',').filter(|one| !one.is_empty());
        for past in found.by_ref().take(limit.saturating_sub(self.all.len())) {
            let past: Past = past.parse()?;
            let until = past.held_until.max(past.window_at);
            let next = if until > now {
                SweepAction::Postpone(until)
            } else {
                SweepAction::Wake {
                    unfollowed: past.wakes,
                }
            };
            self.all.push((past.collapse_key, next));
        }
        self.more |= self.all.len() >= limit && !text.is_empty() || found.next().is_some();
        Ok(self)
    }
}

impl FromStr for Past {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let [collapse_key, held_until, wakes, window_at] = fields(text)?;
        let (held_until, window_at) = (parsed(held_until)?, parsed(window_at)?);
        let [held_until, window_at] = [held_until, window_at].map(Timestamp::from_micros);
        Ok(Self {
            collapse_key: parsed(collapse_key)?,
            held_until,
            wakes: parsed(wakes)?,
            window_at,
        })
    }
}

fn fields<const N: usize>(text: &str) -> Result<[&str; N], Error> {
    let fields: Vec<&str> = text.split(' ').collect();
    fields.try_into().map_err(|_| unreadable(text))
}

fn parsed<T: FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| unreadable(text))
}

fn unreadable(text: &str) -> Error {
    Error::corrupt(format!(
        "a statement about overdue purchases returned `{text}`"
    ))
}

/// Locks purchases whose next wake has passed and was not recorded by another process. Purchases that are being settled
/// are skipped, so that this never waits for a settling.
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

/// Records which purchases were woken, and until when others are postponed.
pub fn note(write: &mut Write<'_>, overdue: &Overdue, woken: &[Due]) -> Result<(), Error> {
    let woken: BTreeSet<CollapseKey> = Overdue::of(DueReason::Wake, woken).collect();
    let mut postponed: BTreeMap<CollapseKey, Timestamp> =
        overdue.postponed(DueReason::Wake).collect();
    postponed.retain(|key, _| !woken.contains(key));
    let keys: Vec<CollapseKey> = woken.iter().chain(postponed.keys()).copied().collect();
    let mut groups: BTreeMap<Option<Timestamp>, Vec<CollapseKey>> = BTreeMap::new();
    for keys in keys.chunks(BATCH) {
        let lock = sql(LOCK)
            .uncached()
            .bind_list(keys.iter().copied())
            .bind(overdue.at)
            .bind(overdue.at);
        for key in lock.values::<CollapseKey>(write.connection)? {
            groups
                .entry(postponed.get(&key).copied())
                .or_default()
                .push(key);
        }
    }
    for (until, keys) in groups {
        let (statement, at) = until.map_or((NOTE_WOKEN, overdue.at), |until| (POSTPONE, until));
        for keys in keys.chunks(BATCH) {
            sql(statement)
                .uncached()
                .bind(at)
                .bind_list(keys.iter().copied())
                .run(write.connection)?;
        }
    }
    Ok(())
}
