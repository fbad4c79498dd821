//! Attempts of duties, the alarms about those that stay open, and the end of those that nothing else ends. Due duties
//! are found by their platform and time, so no search depends on the number of duties or purchases.

use crate::devices::claims::due::{CAN_VERIFY, VERIFIES};
use crate::events::alarms;
use crate::purchases::duties::{self, DutyKind, DutyResult};
use crate::store::Store;
use db::alarm::{About, NewAlarm};
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::duty::Deadline;
use domain::time::DAY;
use domain::{CollapseKey, DutyId, PlatformId, Timestamp};
use std::time::Duration;

/// How long after its deadline a duty is closed as missed, unless it is a question. Weekly checks of the purchase find an
/// acknowledgement done or over before, unless the store no longer shows the purchase.
const OVERDUE_FOR: Duration = DAY.saturating_mul(14);
/// Same as [`OVERDUE_FOR`], for an acknowledgement that rests because the first payment is pending.
const RESTS_FOR: Duration = DAY.saturating_mul(60);
/// Later than all deadlines, in microseconds.
const END_OF_TIME: i64 = i64::MAX;

/// The kind and the text of an alarm.
#[derive(Debug, Clone, Copy)]
struct AlarmText {
    kind: &'static str,
    detail: &'static str,
}

/// The alarm about purchases that are not acknowledged in time.
const OVERDUE: AlarmText = AlarmText {
    kind: "acknowledge_overdue",
    detail: "the store returns the money of purchases that are not acknowledged in time, and some are not acknowledged yet: \
     `settle duty list` shows them; see why the app, or settle, does not acknowledge them",
};
/// The alarm about a question whose deadline is near.
const UNANSWERED: AlarmText = AlarmText {
    kind: "refund_review_due",
    detail: "a question of the store about a refund is not answered yet, and its deadline is near: answer it at the store, then \
     close it with `settle duty close`; `settle duty list` shows it",
};
/// The alarm about a store that does not allow settle to acknowledge purchases.
const REFUSED: AlarmText = AlarmText {
    kind: "acknowledge_refused",
    detail: "the store refuses settle's acknowledgements of purchases: give its account the right to manage orders and \
     subscriptions; it is tried again every hour, and purchases are read meanwhile",
};

row! {
    /// A duty that this process attempts until its lease ends.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct LeasedDuty {
        pub id: DutyId,
        pub platform_id: PlatformId,
        pub collapse_key: CollapseKey,
        /// Number of attempts, including this one.
        pub attempts: i64,
        /// When the lease ends. Once the duty has another due time, the result of the attempt does not postpone it.
        leased_until: Timestamp,
    }
}

/// The leased duties of a platform, and when the next one is due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DutyPage {
    pub leased: Vec<LeasedDuty>,
    /// How long until the next duty is due; `None` if no other one has an attempt ahead.
    pub next_due_in: Option<Duration>,
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DutyAttempt {
    Closed(DutyResult),
    /// Not possible yet: a notification or a record makes the duty due again.
    Idle,
    /// The platform's settings leave it to the app, whose acknowledgement is watched.
    Left,
    /// Failed for this reason, which is not the store's own text; the next attempt is after this time.
    Failed(Duration, String),
    /// The store does not allow it.
    Refused(Duration),
}

/// Takes one index step per platform, however many of its duties are due.
const PLATFORMS_DUE: Sql = statement! {hot "duties_due", "
    WITH RECURSIVE next (platform_id) AS (
        SELECT (SELECT d.platform_id FROM duties d WHERE d.due_at IS NOT NULL ORDER BY d.platform_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.platform_id FROM duties d WHERE d.due_at IS NOT NULL AND d.platform_id > next.platform_id
            ORDER BY d.platform_id LIMIT 1)
        FROM next
        WHERE next.platform_id IS NOT NULL
    )
    SELECT platform_id AS value
    FROM next
    WHERE (SELECT d.due_at FROM duties d WHERE d.platform_id = next.platform_id AND d.due_at <= ? ORDER BY d.due_at LIMIT 1)
            IS NOT NULL
        AND (SELECT created_at FROM platforms WHERE id = next.platform_id AND {CAN_VERIFY}) IS NOT NULL
"};

row! {
    struct DueRow {
        id: DutyId,
        due_at: Timestamp,
    }
}

const DUE: Sql = statement! {hot "duties_due", "
    SELECT id, due_at
    FROM duties
    WHERE platform_id = ? AND due_at <= ?
    ORDER BY due_at
    LIMIT ?
"};

const NEXT_DUE: Sql = statement! {hot "duties_due", "
    SELECT due_at AS value
    FROM duties
    WHERE platform_id = ? AND due_at > ?
    ORDER BY due_at
    LIMIT 1
"};

/// Leases a duty, unless another process leased it since it was read.
const LEASE: Sql = statement! {"
    UPDATE duties
    SET due_at = ?, attempts = attempts + 1
    WHERE id = ? AND COALESCE(due_at, 0) = ? AND collapse_key IS NOT NULL
    RETURNING id, platform_id, collapse_key, attempts, due_at AS leased_until
"};

const POSTPONE: Sql = statement! {"
    UPDATE duties
    SET due_at = ?, failure = ?
    WHERE id = ? AND done_at + 0 IS NULL AND COALESCE(due_at, 0) = ?
"};

/// A purchase that is not paid yet has no deadline; its record sets one.
const REST: Sql = statement! {"
    UPDATE duties
    SET due_at = NULL, failure = NULL, warn_at = NULL
    WHERE id = ? AND done_at + 0 IS NULL AND COALESCE(due_at, 0) = ?
"};

const LEAVE: Sql = statement! {"
    UPDATE duties
    SET due_at = NULL, failure = NULL, attempts = 0
    WHERE id = ? AND done_at + 0 IS NULL AND COALESCE(due_at, 0) = ?
"};

/// Text after all keys of purchases, which begin with a hexadecimal digit.
const AFTER_ALL: &str = "g";

/// Locks the duties that [`RESUME`] changes, in the order of all processes.
const LOCK_OPEN: Sql = statement! {"
    SELECT id AS value
    FROM duties
    WHERE platform_id = ? AND done_at IS NULL AND kind = ? AND collapse_key > ? AND collapse_key <= ?
    ORDER BY id
    FOR NO KEY UPDATE
"};

const RESUME: Sql = statement! {"
    UPDATE duties
    SET due_at = ?
    WHERE platform_id = ? AND done_at IS NULL AND kind = ? AND collapse_key > ? AND collapse_key <= ?
"};

row! {
    struct LateRow {
        id: DutyId,
        kind: DutyKind,
        platform_id: PlatformId,
        is_live: bool,
    }
}

const LATE: Sql = statement! {hot "duties_to_warn", "
    SELECT d.id, d.kind, d.platform_id,
        COALESCE((SELECT f.deleted_at IS NULL FROM platforms f WHERE f.id = d.platform_id), FALSE) AS is_live
    FROM duties d
    WHERE d.warn_at <= ?
    ORDER BY d.warn_at
    LIMIT ?
"};

const WARN: Sql = statement! {"
    UPDATE duties
    SET warn_at = NULL, warned_at = ?
    WHERE id = ? AND COALESCE(warn_at, 0) > 0
"};

row! {
    struct PastRow {
        platform_id: PlatformId,
        is_live: bool,
    }
}

/// The live platforms with a duty that [`PAST`] finds for the same times, and the deleted ones with an open duty.
const PLATFORMS_PAST: Sql = statement! {"
    SELECT each_platform.id AS platform_id, (each_platform.deleted_at IS NULL) AS is_live
    FROM platforms each_platform
    WHERE (SELECT d.id FROM duties d WHERE d.platform_id = each_platform.id AND d.done_at IS NULL
            AND d.answer_by <= CASE WHEN each_platform.deleted_at IS NULL THEN CAST(? AS BIGINT) ELSE {END_OF_TIME} END
            AND (each_platform.deleted_at IS NOT NULL OR d.kind = 'refund_review' OR d.answer_by <= ?)
            AND (each_platform.deleted_at IS NOT NULL OR d.due_at IS NOT NULL OR d.attempts = 0 OR d.answer_by <= ?)
            ORDER BY d.answer_by LIMIT 1)
        IS NOT NULL
    LIMIT ?
"};

/// The open duties of a platform whose deadline passed: all questions, others after the second time, and those that rest
/// after the third.
const PAST: Sql = statement! {"
    SELECT id AS value
    FROM duties
    WHERE platform_id = ? AND done_at IS NULL AND answer_by <= ?
        AND (kind = 'refund_review' OR answer_by <= ?)
        AND (due_at IS NOT NULL OR attempts = 0 OR answer_by <= ?)
    ORDER BY answer_by
    LIMIT ?
"};

/// The platforms with an open alarm of this kind.
const RAISED: Sql = statement! {"
    SELECT platform_id AS value
    FROM alarms
    WHERE kind = ? AND detail = ? AND acknowledged_at + 0 IS NULL AND platform_id IS NOT NULL
"};

const WARNED: Sql = statement! {"
    SELECT id AS value
    FROM duties
    WHERE platform_id = ? AND done_at IS NULL AND warned_at IS NOT NULL AND kind = ?
    LIMIT 1
"};

/// Returns the alarm about a duty that stays open; `None` if none is raised.
const fn overdue(kind: DutyKind) -> Option<AlarmText> {
    match kind {
        DutyKind::Acknowledge => Some(OVERDUE),
        DutyKind::RefundReview => Some(UNANSWERED),
        DutyKind::ConsentWithdrawn => None,
    }
}

impl AlarmText {
    /// Returns the alarm about a platform.
    const fn about(self, platform: PlatformId) -> NewAlarm<'static> {
        NewAlarm {
            about: About::Platform(platform),
            kind: self.kind,
            detail: self.detail,
        }
    }

    fn raise(self, write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
        alarms::raise(write, About::Platform(platform), self.kind, self.detail)
    }
}

/// A range of purchases of a platform, by their keys.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'b> {
    /// Id of the platform.
    pub platform: &'b str,
    /// The key before the range; empty for its beginning.
    pub after: &'b str,
    /// The last key of the range; `None` for its end.
    pub through: Option<CollapseKey>,
}

/// Makes the open acknowledgements of purchases due, because the settings or credentials of their platform changed:
/// settle may have to do now what it left to the app.
pub fn resume(write: &mut Write<'_>, batch: Batch<'_>) -> Result<(), Error> {
    let Batch {
        platform, after, ..
    } = batch;
    let kind = DutyKind::Acknowledge;
    let through = batch.through.map(|key| key.to_string());
    let through = through.as_deref().unwrap_or(AFTER_ALL);
    let open: Vec<DutyId> = sql(LOCK_OPEN)
        .bind((platform, kind, after, through))
        .values(write.connection)?;
    if open.is_empty() {
        return Ok(());
    }
    sql(RESUME)
        .bind((write.now()?, platform, kind, after, through))
        .run(write.connection)
        .map(drop)
}

impl Store {
    /// Returns the platforms with due duties whose store can be queried.
    pub async fn platforms_with_due_duties(&self) -> Result<Vec<PlatformId>, Error> {
        self.read_now(|connection, now| sql(PLATFORMS_DUE).bind(now).values(connection))
            .await
    }

    /// Leases at most `limit` due duties of a platform, those first that have been due longest; none if the store
    /// cannot be queried.
    pub async fn lease_duties(
        &self,
        platform: PlatformId,
        lease: Duration,
        limit: i64,
    ) -> Result<DutyPage, Error> {
        let found = self.read_now(move |connection, now| {
            let verifies: Option<PlatformId> = sql(VERIFIES).bind(platform).value(connection)?;
            if verifies.is_none() {
                return Ok((Vec::new(), None));
            }
            let due = sql(DUE).bind((platform, now, limit));
            let due: Vec<DueRow> = due.all(connection)?;
            let next: Option<Timestamp> =
                sql(NEXT_DUE).bind(platform).bind(now).value(connection)?;
            Ok((due, next.map(|at| at.since(now))))
        });
        let (mut due, next_due_in) = found.await?;
        if due.is_empty() {
            return Ok(DutyPage {
                leased: Vec::new(),
                next_due_in,
            });
        }
        // All processes lock the rows in the same order.
        due.sort_unstable_by_key(|row| row.id);
        let leased = self.write(move |write| {
            let until = write.now()?.plus(lease);
            let mut leased: Vec<LeasedDuty> = Vec::new();
            for row in &due {
                let taken = sql(LEASE).bind((until, row.id, row.due_at));
                leased.extend(taken.first::<LeasedDuty>(write.connection)?);
            }
            Ok(leased)
        });
        Ok(DutyPage {
            leased: leased.await?,
            next_due_in,
        })
    }

    /// Makes the acknowledgement of a purchase due that an answer shows unacknowledged and that settle does: the
    /// notification of the purchase may be lost, or a device may have reported it. Returns whether it became due.
    pub async fn require_acknowledgement(
        &self,
        platform: PlatformId,
        key: CollapseKey,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        self.write(move |write| duties::require(write, platform, key, deadline))
            .await
    }

    /// Stores the result of an attempt, unless the duty was closed meanwhile. If it became due again meanwhile, such as
    /// by a record that shows the purchase paid, it stays due.
    pub async fn finish_duty(&self, duty: LeasedDuty, attempt: DutyAttempt) -> Result<(), Error> {
        self.write(move |write| match &attempt {
            DutyAttempt::Closed(result) => {
                duties::close(write, duty.id, *result)?;
                if *result == DutyResult::Settle {
                    let alarm = REFUSED.about(duty.platform_id);
                    alarms::close(write, alarm, "the store accepts acknowledgements")?;
                }
                Ok(())
            }
            DutyAttempt::Idle => sql(REST)
                .bind((duty.id, duty.leased_until))
                .run(write.connection)
                .map(drop),
            DutyAttempt::Left => sql(LEAVE)
                .bind((duty.id, duty.leased_until))
                .run(write.connection)
                .map(drop),
            DutyAttempt::Failed(wait, why) => {
                let at = write.now()?.plus(*wait);
                sql(POSTPONE)
                    .bind((at, why.as_str(), duty.id, duty.leased_until))
                    .run(write.connection)
                    .map(drop)
            }
            DutyAttempt::Refused(wait) => {
                let at = write.now()?.plus(*wait);
                let why = "the store does not allow settle to acknowledge purchases";
                sql(POSTPONE)
                    .bind((at, why, duty.id, duty.leased_until))
                    .run(write.connection)?;
                REFUSED.raise(write, duty.platform_id)
            }
        })
        .await
    }

    /// Closes at most `limit` duties that nothing else ends: questions whose deadline passed, acknowledgements long after
    /// theirs, and all duties of deleted platforms. Returns the number of closed duties.
    pub async fn close_missed_duties(&self, limit: i64) -> Result<usize, Error> {
        let found = self.read_now(move |connection, now| {
            let of_live = [now, now.minus(OVERDUE_FOR), now.minus(RESTS_FOR)];
            let of_deleted = [Timestamp::from_micros(END_OF_TIME); 3];
            let platforms = sql(PLATFORMS_PAST).bind_all(of_live).bind(limit);
            let platforms: Vec<PastRow> = platforms.all(connection)?;
            let mut missed: Vec<(DutyId, DutyResult)> = Vec::new();
            let mut left = limit;
            for row in platforms {
                let (before, result) = if row.is_live {
                    (of_live, DutyResult::Missed)
                } else {
                    (of_deleted, DutyResult::Deleted)
                };
                let past: Vec<DutyId> = sql(PAST)
                    .bind(row.platform_id)
                    .bind_all(before)
                    .bind(left)
                    .values(connection)?;
                left = left.saturating_sub(i64::try_from(past.len()).unwrap_or(i64::MAX));
                missed.extend(past.into_iter().map(|id| (id, result)));
                if left <= 0 {
                    break;
                }
            }
            Ok(missed)
        });
        let mut missed = found.await?;
        if missed.is_empty() {
            return Ok(0);
        }
        missed.sort_unstable_by_key(|(id, _)| *id);
        self.write(move |write| {
            let mut number = 0;
            for (id, result) in &missed {
                number += usize::from(duties::close_if_open(write, *id, *result)?);
            }
            Ok(number)
        })
        .await
    }

    /// Raises alarms about at most `limit` duties that stayed open until shortly before their deadline, and closes the
    /// alarms whose duties are all closed. Returns the number of duties.
    pub async fn warn_of_duties(&self, limit: i64) -> Result<usize, Error> {
        let found = self.read_now(move |connection, now| {
            let late: Vec<LateRow> = sql(LATE).bind(now).bind(limit).all(connection)?;
            let mut settled: Vec<(DutyKind, PlatformId)> = Vec::new();
            for kind in [DutyKind::Acknowledge, DutyKind::RefundReview] {
                let Some(AlarmText { kind: name, detail }) = overdue(kind) else {
                    continue;
                };
                let raised: Vec<PlatformId> =
                    sql(RAISED).bind(name).bind(detail).values(connection)?;
                for platform in raised {
                    let warned = sql(WARNED).bind(platform).bind(kind);
                    let warned: Option<DutyId> = warned.value(connection)?;
                    if warned.is_none() {
                        settled.push((kind, platform));
                    }
                }
            }
            Ok((late, settled))
        });
        let (mut late, settled) = found.await?;
        if late.is_empty() && settled.is_empty() {
            return Ok(0);
        }
        late.sort_unstable_by_key(|row| row.id);
        self.write(move |write| {
            let mut number = 0;
            for row in &late {
                let warned = sql(WARN).bind(write.now()?).bind(row.id);
                let is_new = warned.run(write.connection)? > 0;
                if let Some(alarm) = overdue(row.kind).filter(|_| is_new && row.is_live) {
                    alarm.raise(write, row.platform_id)?;
                }
                number += usize::from(is_new);
            }
            for (kind, platform) in &settled {
                let is_late = |row: &LateRow| (row.kind, row.platform_id) == (*kind, *platform);
                if let Some(alarm) = overdue(*kind).filter(|_| !late.iter().any(is_late)) {
                    let why = "no duty is near its deadline any more";
                    alarms::close(write, alarm.about(*platform), why)?;
                }
            }
            Ok(number)
        })
        .await
    }
}
