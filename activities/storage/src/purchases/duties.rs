//! The rows of duties: accepted notifications and records of answers insert and close them. Each transaction changes
//! them after all other rows, and in the order of their ids.

use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Value, batches, sql, stored};
use db::writer::Write;
use domain::duty::{Acknowledgement, Deadline};
use domain::{CollapseKey, DutyId, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Numbers of rows per statement.
const SIZES: [usize; 3] = [64, 8, 1];

stored! {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum DutyKind {
        /// A purchase has to be acknowledged to the store, which otherwise returns the money.
        Acknowledge = "acknowledge",
        /// The store's question about a refund has to be answered. Only a person answers it.
        RefundReview = "refund_review",
        /// A consent was withdrawn, so the app has to act. Only a person closes it.
        ConsentWithdrawn = "consent_withdrawn",
    }
}

impl DutyKind {
    /// Returns whether an alarm is raised before the deadline. Release 0.2.0 reads the kinds of such duties of all
    /// platforms and does not know the last one, so going back to it would stop all of these alarms.
    const fn has_warning(self) -> bool {
        !matches!(self, Self::ConsentWithdrawn)
    }
}

stored! {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum DutyResult {
        /// Done by settle.
        Settle = "settle",
        /// Found done: by the app, or by an attempt of settle whose result was lost. A question: decided by the store.
        Found = "found",
        /// The purchase was over before it was done.
        Over = "over",
        /// The store does not know the purchase.
        Unknown = "unknown",
        /// Closed by a person.
        Person = "person",
        /// Closed long after its deadline: nothing showed it done.
        Missed = "missed",
        /// The platform was deleted.
        Deleted = "deleted",
    }
}

/// A duty that a notification causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDuty {
    pub id: DutyId,
    pub kind: DutyKind,
    pub collapse_key: Option<CollapseKey>,
    pub order_id: Option<String>,
    /// Time from the acceptance of the notification to the deadline.
    pub within: Duration,
    /// Time from the acceptance of the notification to the alarm.
    pub warn_after: Duration,
    /// When settle attempts it.
    pub attempt: FirstAttempt,
    /// Whether notifications repeat the duty: the earliest deadline counts, and once that has passed, a further
    /// notification opens the closed duty again.
    pub is_repeated: bool,
}

/// When settle attempts a duty for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstAttempt {
    /// Never: only a person does it.
    Never,
    /// At the next sweep.
    Soon,
    AtOnce,
}

impl NewDuty {
    fn values(&self, platform: PlatformId, now: Timestamp) -> [Value<'_>; 9] {
        let is_attempted = self.attempt != FirstAttempt::Never;
        let warn_at = now.plus(self.warn_after);
        [
            self.id.into(),
            self.kind.into(),
            platform.into(),
            self.collapse_key.into(),
            self.order_id.as_deref().into(),
            now.into(),
            now.plus(self.within).into(),
            self.kind.has_warning().then_some(warn_at).into(),
            is_attempted.then_some(now).into(),
        ]
    }
}

/// A duty that is open becomes due again by a further notification of its purchase, which may be paid by then.
const INSERT: Sql = statement! {"
    INSERT INTO duties (id, kind, platform_id, collapse_key, order_id, created_at, answer_by, warn_at, due_at)
    VALUES ?*
    ON CONFLICT (id) DO UPDATE SET due_at = excluded.due_at
    WHERE duties.done_at + 0 IS NULL AND duties.due_at IS NULL AND excluded.due_at IS NOT NULL
"};

/// An open duty gets the earliest of its deadlines, since notifications come in any order. A closed one becomes open
/// again if its deadline passed before this notification and the new one lies ahead: a notification that comes late may
/// be an earlier one.
const INSERT_OR_REOPEN: Sql = statement! {"
    INSERT INTO duties (id, kind, platform_id, collapse_key, order_id, created_at, answer_by, warn_at, due_at)
    VALUES ?*
    ON CONFLICT (id) DO UPDATE SET answer_by = excluded.answer_by, due_at = excluded.due_at,
        created_at = CASE WHEN duties.done_at IS NULL THEN duties.created_at ELSE excluded.created_at END,
        warn_at = CASE WHEN duties.done_at IS NULL AND duties.warned_at IS NOT NULL THEN NULL ELSE excluded.warn_at END,
        warned_at = CASE WHEN duties.done_at IS NULL THEN duties.warned_at END,
        done_at = NULL, result = NULL
    WHERE (duties.done_at IS NULL AND excluded.answer_by < duties.answer_by)
        OR (duties.done_at IS NOT NULL AND duties.answer_by < excluded.created_at
            AND excluded.answer_by > excluded.created_at)
"};

/// What accepted notifications do to duties.
#[derive(Debug, Default)]
pub struct DutyChanges<'d> {
    /// The duties that they cause.
    caused: BTreeMap<DutyId, Caused<'d>>,
    /// The duties that the store shows done.
    closed: BTreeSet<DutyId>,
}

#[derive(Debug, Clone, Copy)]
struct Caused<'d> {
    platform: PlatformId,
    duty: &'d NewDuty,
}

impl<'d> DutyChanges<'d> {
    /// Adds what a notification to this platform does.
    pub fn add(&mut self, platform: PlatformId, duty: Option<&'d NewDuty>, closes: Option<DutyId>) {
        self.closed.extend(closes);
        let Some(duty) = duty else {
            return;
        };
        let known = self.caused.get(&duty.id);
        let is_later = known.is_some_and(|one| duty.is_repeated && one.duty.within <= duty.within);
        if !is_later {
            self.caused.insert(duty.id, Caused { platform, duty });
        }
    }

    /// Stores the changes. A duty that is caused and closed is closed.
    pub fn store(self, write: &mut Write<'_>) -> Result<(), Error> {
        let mut caused: Vec<Caused<'_>> = self.caused.into_values().collect();
        for id in self.closed {
            let up_to = caused.partition_point(|one| one.duty.id <= id);
            let later = caused.split_off(up_to);
            insert(write, &caused)?;
            close(write, id, DutyResult::Found)?;
            caused = later;
        }
        insert(write, &caused)
    }
}

/// Inserts duties, which are in the order of their ids.
fn insert(write: &mut Write<'_>, all: &[Caused<'_>]) -> Result<(), Error> {
    for alike in all.chunk_by(|one, next| one.duty.is_repeated == next.duty.is_repeated) {
        let now = write.now()?;
        let is_repeated = alike.first().is_some_and(|one| one.duty.is_repeated);
        let statement = if is_repeated {
            INSERT_OR_REOPEN
        } else {
            INSERT
        };
        for batch in batches(alike, &SIZES) {
            let rows = batch.iter().map(|one| one.duty.values(one.platform, now));
            sql(statement).bind_rows(rows).later(write.connection)?;
        }
    }
    Ok(())
}

/// If attempts began, the next one is due, since the purchase is paid: those before wait for the payment, and one in
/// progress may not have seen it.
const WATCH: Sql = statement! {"
    INSERT INTO duties (id, kind, platform_id, collapse_key, created_at, answer_by, warn_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET answer_by = excluded.answer_by,
        warn_at = CASE WHEN duties.warned_at IS NULL THEN excluded.warn_at END,
        due_at = CASE WHEN duties.attempts > 0 THEN excluded.created_at ELSE duties.due_at END
    WHERE duties.done_at + 0 IS NULL
"};

const REQUIRE: Sql = statement! {"
    INSERT INTO duties (id, kind, platform_id, collapse_key, created_at, answer_by, warn_at, due_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET due_at = excluded.due_at
    WHERE duties.done_at + 0 IS NULL AND duties.due_at IS NULL
"};

const CLOSE: Sql = statement! {"
    UPDATE duties
    SET done_at = ?, result = ?, due_at = NULL, warn_at = NULL, failure = NULL
    WHERE id = ? AND done_at + 0 IS NULL
"};

/// Replaces the result of a record that found the duty done before the attempt that did it was stored, and that of a
/// deadline that passed meanwhile.
const CLOSE_DONE: Sql = statement! {"
    UPDATE duties
    SET done_at = ?, result = ?, due_at = NULL, warn_at = NULL, failure = NULL
    WHERE id = ? AND COALESCE(result, 'found') IN ('found', 'missed')
"};

/// Watches the acknowledgement of a purchase, as the answer shows it that is recorded. A closed duty stays closed,
/// because that answer may be older.
pub fn watch(
    write: &mut Write<'_>,
    platform: PlatformId,
    key: CollapseKey,
    shown: Acknowledgement,
) -> Result<(), Error> {
    let id = DutyId::acknowledgement(key);
    match shown {
        Acknowledgement::Early => Ok(()),
        Acknowledgement::Due(deadline) => {
            let row = (id, DutyKind::Acknowledge, platform, key, write.now()?);
            sql(WATCH)
                .bind(row)
                .bind(deadline.at)
                .bind(deadline.warn_at)
                .later(write.connection)
        }
        Acknowledgement::Done => close(write, id, DutyResult::Found),
        Acknowledgement::Over => close(write, id, DutyResult::Over),
    }
}

/// Makes the acknowledgement of a purchase due, unless it is closed or an attempt is ahead. Returns whether it is due
/// now.
pub fn require(
    write: &mut Write<'_>,
    platform: PlatformId,
    key: CollapseKey,
    deadline: Deadline,
) -> Result<bool, Error> {
    let (id, now) = (DutyId::acknowledgement(key), write.now()?);
    let due = sql(REQUIRE)
        .bind((id, DutyKind::Acknowledge, platform, key, now))
        .bind((deadline.at, deadline.warn_at, now))
        .run(write.connection)?;
    Ok(due > 0)
}

/// Closes a duty that is open. Returns whether it was open.
pub fn close_if_open(write: &mut Write<'_>, id: DutyId, result: DutyResult) -> Result<bool, Error> {
    let closed = sql(CLOSE)
        .bind((write.now()?, result, id))
        .run(write.connection)?;
    Ok(closed > 0)
}

/// Closes a duty that is open; if settle did it, also one that was found done or missed.
pub fn close(write: &mut Write<'_>, id: DutyId, result: DutyResult) -> Result<(), Error> {
    let statement = if result == DutyResult::Settle {
        CLOSE_DONE
    } else {
        CLOSE
    };
    sql(statement)
        .bind((write.now()?, result, id))
        .later(write.connection)
}
