//! Rechecks of many purchases, after a change of a setting or of the catalogue. A change that affects few purchases
//! rechecks them in its own transaction. For many purchases it only writes a note (a row of `rechecks`) there. Each
//! batch then rechecks the next purchases in order of their keys and stores its position in the note, and the sweep
//! continues.
//!
//! A settling that is recorded between the note and its batch is treated as if it had been recorded before the change:
//! the batch compares its condition with the row as that settling left it.

use crate::purchases::cause::{CauseKind, RevisionCause};
use crate::purchases::purchase::{self, RECHECKS, RESETS, Urgency};
use crate::settling::{duties, repairs};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::fault;
use db::sql::{Clause, Sql, clause, insert, statement};
use db::statement::{Value, row, sql, stored};
use db::writer::Write;
use domain::{AppId, CollapseKey, PlatformId, Timestamp};
use std::collections::BTreeSet;

/// Number of purchases per transaction, so that other writes do not wait long.
const BATCH: i64 = 1000;
/// Maximum number of notes that one sweep continues.
const MAX_NOTES: i64 = 100;
/// Maximum number up to which affected purchases are counted.
pub const MAX_COUNTED: i64 = 100_000;

stored! {
    pub enum RecheckReason {
        /// The platform has a new secret.
        NewSecret = "secret",
        /// The platform no longer has a usable secret: it was removed, or the store refused it. The numbers of failed
        /// queries are reset, and no purchase is rechecked.
        NoUsableSecret = "failures",
        /// The environment of their platform was changed.
        Environment = "environment",
        /// `product_ref` of their platform was changed, so that another SKU is their product.
        ProductRef = "product_ref",
        /// An admin requested another query about the purchases that the store did not accept.
        Parked = "parked",
        /// The listing of their product in the catalogue was changed.
        Catalogue = "catalogue",
    }
}

impl RecheckReason {
    /// Returns the cause of the revisions that follow.
    const fn cause(self) -> CauseKind {
        match self {
            Self::NewSecret | Self::NoUsableSecret => CauseKind::SharedSecret,
            Self::Environment => CauseKind::Environment,
            Self::ProductRef => CauseKind::ProductRef,
            Self::Parked => CauseKind::Retry,
            Self::Catalogue => CauseKind::Catalogue,
        }
    }
}

row! {
    #[derive(Clone)]
    struct NoteKey {
        why: RecheckReason,
        subject_id: String,
    }
}

row! {
    struct NoteRow {
        app_id: AppId,
        requested_at: Timestamp,
        refused_at: Option<Timestamp>,
        /// The stored form of the cause that each purchase gets.
        cause: String,
        after_key: String,
    }
}

row! {
    /// The number of purchases in a batch, and the last of them.
    struct BatchRow {
        purchases: i64,
        last: Option<CollapseKey>,
    }
}

/// The condition of the purchases of a batch.
const BATCHED: &str = "app_id = ? AND collapse_key > ? AND collapse_key <= ?";

/// Counts the purchases that an index finds, up to a limit. Not cached: a plan for a frequent value, such as a walk of
/// the table until the limit is reached, is bad for a rare one.
const COUNT: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM purchases WHERE {{which}} LIMIT ?) found
"};

/// Purchases whose term has this SKU.
pub const OF_TERM: Clause = clause! {&[RECHECKS[0], RECHECKS[1], COUNT], hot "purchases_term_sku", "
    app_id = ? AND term_sku = ?
"};
/// Purchases whose product has this SKU.
const OF_PRODUCT: Clause = clause! {&[RECHECKS[0], RECHECKS[1], COUNT], hot "purchases_product", "
    app_id = ? AND product_id = ?
"};
/// Purchases of which a further part has this SKU, which is bound between two bars: few. `|| ''` keeps the planner from
/// reading all purchases of the app.
const OF_PART: Clause = clause! {&[RECHECKS[0], RECHECKS[1], COUNT], hot "purchases_parts", "
    part_skus IS NOT NULL AND part_skus > '' AND app_id || '' = ? AND REPLACE(part_skus, ?, '') <> part_skus
"};
/// Purchases of a platform with notifications that wait after their window: few, unless the store cannot be reached.
const WAITING: Clause = clause! {&[COUNT, COUNT_PARKED], hot "purchases_waiting", "
    platform_id = ? AND (waits_for IS NOT NULL OR waits_through IS NOT NULL)
"};
const PARKED: Clause = clause! {&RECHECKS, hot "purchases_waiting", "
    platform_id = ? AND waits_for = 'parked'
"};
const BATCHED_PARKED: Clause = clause! {&RECHECKS, hot "purchases_app or purchases_waiting", "
    {BATCHED} AND platform_id = ? AND waits_for = 'parked'
"};
/// Purchases whose term and product have different SKUs: `product_ref` chooses between the two.
const BATCHED_WITH_TWO_SKUS: Clause = clause! {&RECHECKS, hot "purchases_app", "
    {BATCHED} AND platform_id = ? AND term_sku IS NOT NULL AND product_id IS NOT NULL AND term_sku <> product_id
"};
/// Purchases that a query with the new secret may change: those that run or may run again; those that the store never
/// answered about; those with notifications that wait; and those that were recorded since the store refused the old
/// secret.
const BATCHED_MAYBE_UNVERIFIED: Clause = clause! {&RECHECKS, hot "purchases_app", "
    {BATCHED} AND platform_id = ?
        AND (state IN ('trial', 'trial_off', 'active', 'off', 'grace', 'pending', 'account_hold', 'paused')
            OR product_id IS NULL OR waits_for IS NOT NULL OR waits_through IS NOT NULL OR updated_at >= ?)
"};
/// Purchases that the store did not accept, or never answered about: its other environment may know them.
const BATCHED_NEVER_ACCEPTED: Clause = clause! {&RECHECKS, hot "purchases_app", "
    {BATCHED} AND platform_id = ? AND (product_id IS NULL OR waits_for = 'parked')
"};
/// Purchases with one of the noted SKUs.
const BATCHED_LISTED: Clause = clause! {&RECHECKS, hot "purchases_app", "
    {BATCHED}
        AND (EXISTS (SELECT 1 FROM recheck_skus s WHERE s.app_id = purchases.app_id AND s.sku = purchases.term_sku)
            OR EXISTS (SELECT 1 FROM recheck_skus s WHERE s.app_id = purchases.app_id AND s.sku = purchases.product_id)
            OR (part_skus IS NOT NULL AND EXISTS (SELECT 1 FROM recheck_skus s WHERE s.app_id = purchases.app_id
                AND REPLACE(purchases.part_skus, '|' || s.sku || '|', '') <> purchases.part_skus)))
"};
/// Purchases whose failed queries began before the note.
const BATCHED_FAILED: Clause = clause! {&RESETS, hot "purchases_app", "
    {BATCHED} AND platform_id = ? AND unverified_since <= ?
"};

const NOTES: Sql = statement!(
    "SELECT why, subject_id FROM rechecks ORDER BY requested_at, why, subject_id LIMIT ?"
);

impl Store {
    /// Continues the unfinished notes until about `limit` purchases were walked; returns how many were. If a note
    /// fails, the others are still continued, and the error is returned; the next call tries that note again.
    pub async fn continue_rechecks(&self, limit: i64) -> Result<i64, Error> {
        let mut notes: Vec<NoteKey> = self
            .read(move |connection| sql(NOTES).bind(MAX_NOTES).all(connection))
            .await?;
        let (mut walked, mut failed) = (0, None);
        while walked < limit && !notes.is_empty() {
            for note in std::mem::take(&mut notes) {
                let key = note.clone();
                match self.write(move |write| batch(write, &key)).await {
                    Ok(Some(purchases)) => {
                        walked += purchases;
                        notes.push(note);
                    }
                    Ok(None) => {}
                    Err(error) => failed = Some(error),
                }
            }
        }
        failed.map_or(Ok(walked), Err)
    }
}

const APP_OF_PLATFORM: Sql = statement!("SELECT app_id AS value FROM platforms WHERE id = ?");

/// Rechecks the purchases of a platform that a reason affects: batch by batch, or all at once if they are parked and
/// few.
pub fn recheck_platform(
    write: &mut Write<'_>,
    platform: PlatformId,
    why: RecheckReason,
) -> Result<(), Error> {
    let has_few_waiting = why == RecheckReason::Parked
        && count_if_few(write.connection, WAITING, [platform.into()], BATCH)?.is_some();
    if has_few_waiting {
        return purchase::recheck(
            write,
            Urgency::Person,
            CauseKind::Retry,
            PARKED,
            [platform.into()],
        )
        .map(drop);
    }
    begin(write, platform, why, None)
}

/// Rechecks purchases of a platform with a new secret, and makes its open duties and its store's list due.
/// `refused_at` is the time at which the store refused the previous secret.
pub fn recheck_secret(
    write: &mut Write<'_>,
    platform: PlatformId,
    refused_at: Option<Timestamp>,
) -> Result<(), Error> {
    repairs::begin_again(write, platform)?;
    begin(write, platform, RecheckReason::NewSecret, refused_at)
}

fn begin(
    write: &mut Write<'_>,
    platform: PlatformId,
    why: RecheckReason,
    refused_at: Option<Timestamp>,
) -> Result<(), Error> {
    let app: Option<AppId> = sql(APP_OF_PLATFORM)
        .bind(platform)
        .value(write.connection)?;
    let note = NoteKey {
        why,
        subject_id: platform.to_string(),
    };
    insert_note(
        write,
        &note,
        app.ok_or(Error::Missing { what: "platform" })?,
        refused_at,
    )?;
    batch(write, &note).map(drop)
}

/// Rechecks purchases of an app with one of these SKUs.
pub fn recheck_skus(
    write: &mut Write<'_>,
    app: AppId,
    skus: &BTreeSet<String>,
) -> Result<(), Error> {
    let (mut left, mut many) = (BATCH, Vec::new());
    for sku in skus {
        match of_sku(write.connection, app, sku, left)? {
            Some([of_term, of_product, of_part]) => {
                left -= of_term + of_product + of_part;
                let part = between_bars(sku);
                for (count, which, sku) in [
                    (of_term, OF_TERM, sku),
                    (of_product, OF_PRODUCT, sku),
                    (of_part, OF_PART, &part),
                ] {
                    if count > 0 {
                        let values = [app.into(), sku.as_str().into()];
                        purchase::recheck(
                            write,
                            Urgency::Setting,
                            CauseKind::Catalogue,
                            which,
                            values,
                        )?;
                    }
                }
            }
            None => many.push(sku),
        }
    }
    if many.is_empty() {
        return Ok(());
    }
    // Write the note first: its row lock stops the last batch of an older note from deleting these SKUs.
    let note = NoteKey {
        why: RecheckReason::Catalogue,
        subject_id: app.to_string(),
    };
    insert_note(write, &note, app, None)?;
    for sku in many {
        insert!(
            recheck_skus {
                app_id: app,
                sku: sku.as_str()
            },
            "ON CONFLICT DO NOTHING"
        )
        .run(write.connection)?;
    }
    batch(write, &note).map(drop)
}

/// Returns a SKU as the further parts of a purchase contain it.
fn between_bars(sku: &str) -> String {
    format!("|{sku}|")
}

/// Returns the numbers of purchases whose term, whose product and of which a further part has this SKU; `None` when
/// their sum exceeds `max`.
fn of_sku(
    connection: &mut AnyConnection,
    app: AppId,
    sku: &str,
    max: i64,
) -> Result<Option<[i64; 3]>, Error> {
    let Some(of_term) = count_if_few(connection, OF_TERM, [app.into(), sku.into()], max)? else {
        return Ok(None);
    };
    let of_product = count_if_few(
        connection,
        OF_PRODUCT,
        [app.into(), sku.into()],
        max - of_term,
    )?;
    let Some(of_product) = of_product else {
        return Ok(None);
    };
    let part = between_bars(sku);
    let of_part = count_if_few(
        connection,
        OF_PART,
        [app.into(), part.as_str().into()],
        max - of_term - of_product,
    )?;
    Ok(of_part.map(|of_part| [of_term, of_product, of_part]))
}

/// Returns the number of purchases that an index finds; `None` when they are more than `max`.
fn count_if_few<'v>(
    connection: &mut AnyConnection,
    which: Clause,
    values: impl IntoIterator<Item = Value<'v>>,
    max: i64,
) -> Result<Option<i64>, Error> {
    Ok(Some(count(connection, which, values, max + 1)?).filter(|found| *found <= max))
}

/// Returns the number of purchases that an index finds, counted up to `max`.
pub fn count<'v>(
    connection: &mut AnyConnection,
    which: Clause,
    values: impl IntoIterator<Item = Value<'v>>,
    max: i64,
) -> Result<i64, Error> {
    Ok(sql(COUNT.of(which))
        .uncached()
        .bind_all(values)
        .bind(max)
        .value(connection)?
        .unwrap_or(0))
}

const COUNT_PARKED: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT waits_for FROM purchases WHERE {{which}} LIMIT ?) waiting
    WHERE waits_for = 'parked'
"};

/// Returns the number of purchases of a platform that the store did not accept, counted up to [`MAX_COUNTED`].
pub fn parked(connection: &mut AnyConnection, platform: PlatformId) -> Result<i64, Error> {
    Ok(sql(COUNT_PARKED.of(WAITING))
        .uncached()
        .bind(platform)
        .bind(MAX_COUNTED)
        .value(connection)?
        .unwrap_or(0))
}

/// Writes a note. An unfinished note with this key restarts, and keeps the earlier `refused_at` of the two.
fn insert_note(
    write: &mut Write<'_>,
    note: &NoteKey,
    app: AppId,
    refused_at: Option<Timestamp>,
) -> Result<(), Error> {
    insert!(
        rechecks {
            why: note.why,
            subject_id: note.subject_id.as_str(),
            app_id: app,
            requested_at: write.now()?,
            refused_at,
            cause: RevisionCause::of(note.why.cause(), write).json()?,
            after_key: "",
        },
        "ON CONFLICT (why, subject_id)
        DO UPDATE SET after_key = '', requested_at = excluded.requested_at, cause = excluded.cause,
        refused_at = CASE WHEN rechecks.refused_at IS NULL OR excluded.refused_at < rechecks.refused_at
        THEN excluded.refused_at ELSE rechecks.refused_at END"
    )
    .run(write.connection)
    .map(drop)
}

const LOCK_NOTE: Sql = statement! {"
    SELECT app_id, requested_at, refused_at, cause, after_key
    FROM rechecks
    WHERE why = ? AND subject_id = ?
    FOR UPDATE
"};

const END_OF_BATCH: Sql = statement! {hot "purchases_app", "
    SELECT COUNT(*) AS purchases, MAX(collapse_key) AS last
    FROM (SELECT collapse_key FROM purchases WHERE app_id = ? AND collapse_key > ?
        ORDER BY collapse_key LIMIT ?) batch
"};

const CONTINUE_NOTE: Sql =
    statement!("UPDATE rechecks SET after_key = ? WHERE why = ? AND subject_id = ?");

/// Rechecks the next batch of a note and stores its position; returns the number of walked purchases, or `None` when
/// there is no such note. The note is locked meanwhile, so that a restart is not lost.
fn batch(write: &mut Write<'_>, note: &NoteKey) -> Result<Option<i64>, Error> {
    let found: Option<NoteRow> = sql(LOCK_NOTE)
        .bind(note.why)
        .bind(note.subject_id.as_str())
        .first(write.connection)?;
    let Some(row) = found else { return Ok(None) };
    let size = if fault::is_planted("rechecks.one_by_one") {
        1
    } else {
        BATCH
    };
    let range: Option<BatchRow> = sql(END_OF_BATCH)
        .bind((row.app_id, row.after_key.as_str(), size))
        .first(write.connection)?;
    let BatchRow { purchases, last } = range.unwrap_or(BatchRow {
        purchases: 0,
        last: None,
    });
    if let Some(last) = last {
        row.run(write, note, last)?;
    }
    let next = last.filter(|_| purchases >= size);
    row.resume_duties(write, note, next)?;
    match next {
        Some(last) => sql(CONTINUE_NOTE)
            .bind((last, note.why, note.subject_id.as_str()))
            .run(write.connection)
            .map(drop)?,
        None => row.finish(write, note)?,
    }
    Ok(Some(purchases))
}

const DELETE_SKUS: Sql = statement!("DELETE FROM recheck_skus WHERE app_id = ?");

const DELETE_NOTE: Sql = statement!("DELETE FROM rechecks WHERE why = ? AND subject_id = ?");

impl NoteRow {
    /// Rechecks the purchases of the batch that ends with `last`.
    fn run(&self, write: &mut Write<'_>, note: &NoteKey, last: CollapseKey) -> Result<(), Error> {
        let subject = || Value::from(note.subject_id.as_str());
        if matches!(
            note.why,
            RecheckReason::NewSecret | RecheckReason::NoUsableSecret
        ) {
            let values = self.values(last, vec![subject(), self.requested_at.into()]);
            purchase::reset_failures(write, BATCHED_FAILED, values)?;
        }
        let (which, more) = match note.why {
            RecheckReason::NewSecret => (
                BATCHED_MAYBE_UNVERIFIED,
                vec![subject(), self.refused_at.into()],
            ),
            RecheckReason::Environment => (BATCHED_NEVER_ACCEPTED, vec![subject()]),
            RecheckReason::ProductRef => (BATCHED_WITH_TWO_SKUS, vec![subject()]),
            RecheckReason::Parked => (BATCHED_PARKED, vec![subject()]),
            RecheckReason::Catalogue => (BATCHED_LISTED, Vec::new()),
            RecheckReason::NoUsableSecret => return Ok(()),
        };
        let values = self.values(last, more);
        purchase::recheck_because(write, Urgency::Setting, &self.cause, which, values).map(drop)
    }

    /// Makes the open duties of the batch's purchases due; in the last batch also those of purchases that are not
    /// stored yet.
    fn resume_duties(
        &self,
        write: &mut Write<'_>,
        note: &NoteKey,
        through: Option<CollapseKey>,
    ) -> Result<(), Error> {
        if note.why != RecheckReason::NewSecret {
            return Ok(());
        }
        let batch = duties::Batch {
            platform: &note.subject_id,
            after: &self.after_key,
            through,
        };
        duties::resume(write, batch)
    }

    fn values<'v>(&self, last: CollapseKey, more: Vec<Value<'v>>) -> Vec<Value<'v>> {
        [
            vec![
                self.app_id.into(),
                self.after_key.clone().into(),
                last.into(),
            ],
            more,
        ]
        .concat()
    }

    /// Deletes a note whose batches have walked all purchases.
    fn finish(&self, write: &mut Write<'_>, note: &NoteKey) -> Result<(), Error> {
        if note.why == RecheckReason::Catalogue {
            sql(DELETE_SKUS).bind(self.app_id).run(write.connection)?;
        }
        sql(DELETE_NOTE)
            .bind(note.why)
            .bind(note.subject_id.as_str())
            .run(write.connection)
            .map(drop)
    }
}

const OF_KEY_AND_NOTED: Clause = clause! {&RESETS, "
    collapse_key = ? AND EXISTS (SELECT 1 FROM rechecks l WHERE l.why IN ('secret', 'failures')
        AND l.subject_id = purchases.platform_id AND l.requested_at > purchases.unverified_since)
"};

/// Resets the number of failed queries of a purchase if an unfinished note will reset it, so that a failure that is
/// counted afterwards is not lost when the batch runs.
pub fn reset_noted_failures(write: &mut Write<'_>, key: CollapseKey) -> Result<(), Error> {
    purchase::reset_failures(write, OF_KEY_AND_NOTED, [key.into()])
}
