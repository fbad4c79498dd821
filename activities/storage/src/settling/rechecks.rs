//! Rechecks of many purchases: a change notes that the purchases concerned are to be checked again, and each batch how
//! far it came, in the order of their keys. A few are rechecked in the transaction of the change itself.
//!
//! A settling that is recorded between the note and its batch counts as recorded before the change: the batch checks
//! the row that it left.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{Value, row, sql, stored};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::purchases::purchase::{self, FORGETS, RECHECKS};
use domain::{AppId, CollapseKey, PlatformId, Timestamp};
use std::collections::BTreeSet;

/// Number of purchases per transaction, so that nothing else waits long for it.
const BATCH: i64 = 1000;
/// Maximum number of notes that one sweep continues.
const MAX_NOTES: i64 = 100;
/// Maximum number of purchases concerned by a change that are counted.
pub const MAX_COUNTED: i64 = 100_000;

stored! {
    /// Why purchases are rechecked.
    pub enum RecheckReason {
        /// Their platform has a new secret.
        NewSecret = "secret",
        /// The store cannot be queried about them any more: its failures are forgotten, and none is woken.
        NoUsableSecret = "failures",
        /// Their platform is in another environment.
        Environment = "environment",
        /// Another SKU names their products.
        ProductRef = "product_ref",
        /// A person requests another query about what the store did not accept.
        Parked = "parked",
        /// The catalogue has other products.
        Catalogue = "catalogue",
    }
}

row! {
    /// A note that purchases are to be rechecked.
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
        after_key: String,
    }
}

row! {
    struct BatchRow {
        purchases: i64,
        last: Option<CollapseKey>,
    }
}

/// The purchases of a batch.
const BATCHED: &str = "app_id = ? AND collapse_key > ? AND collapse_key <= ?";

/// How many purchases an index finds. Not cached, but planned for these very values: for others, of which there are
/// many, walking the whole table until there are enough may be better.
const COUNT: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM purchases WHERE {{which}} LIMIT ?) found
"};

/// Purchases with a SKU as their term's.
pub const OF_TERM: Clause = clause! {&[RECHECKS[0], RECHECKS[1], COUNT], hot "purchases_term_sku", "
    app_id = ? AND term_sku = ?
"};
/// Purchases with a SKU as their product's.
const OF_PRODUCT: Clause = clause! {&[RECHECKS[0], RECHECKS[1], COUNT], hot "purchases_product", "
    app_id = ? AND product_id = ?
"};
/// All that wait: few, unless a store is out of reach.
const WAITING: Clause = clause! {&[COUNT, COUNT_PARKED], hot "purchases_waiting", "
    platform_id = ? AND (waits_for IS NOT NULL OR waits_through IS NOT NULL)
"};
const PARKED: Clause = clause! {&RECHECKS, hot "purchases_waiting", "
    platform_id = ? AND waits_for = 'parked'
"};
const BATCHED_PARKED: Clause = clause! {&RECHECKS, hot "purchases_app or purchases_waiting", "
    {BATCHED} AND platform_id = ? AND waits_for = 'parked'
"};
const BATCHED_WITH_TWO_SKUS: Clause = clause! {&RECHECKS, hot "purchases_app", "
    {BATCHED} AND platform_id = ? AND term_sku IS NOT NULL AND product_id IS NOT NULL AND term_sku <> product_id
"};
/// Purchases that run and may have been announced unverified, or missed an answer while the store could not be queried;
/// those that the store never answered about; those that wait; and those that ended since the store refused the old
/// secret.
const BATCHED_MAYBE_UNVERIFIED: Clause = clause! {&RECHECKS, hot "purchases_app", "
    {BATCHED} AND platform_id = ?
        AND (state IN ('trial', 'trial_off', 'active', 'off', 'grace') OR product_id IS NULL
            OR waits_for IS NOT NULL OR waits_through IS NOT NULL OR updated_at >= ?)
"};
/// Purchases that another environment of the store may know.
const BATCHED_NEVER_ACCEPTED: Clause = clause! {&RECHECKS, hot "purchases_app", "
    {BATCHED} AND platform_id = ? AND (product_id IS NULL OR waits_for = 'parked')
"};
/// Purchases with one of the noted SKUs.
const BATCHED_LISTED: Clause = clause! {&RECHECKS, hot "purchases_app", "
    {BATCHED}
        AND (EXISTS (SELECT 1 FROM recheck_skus s WHERE s.app_id = purchases.app_id AND s.sku = purchases.term_sku)
            OR EXISTS (SELECT 1 FROM recheck_skus s WHERE s.app_id = purchases.app_id AND s.sku = purchases.product_id))
"};
const BATCHED_FAILED: Clause = clause! {&FORGETS, hot "purchases_app", "
    {BATCHED} AND platform_id = ? AND unverified_since <= ?
"};

const NOTES: Sql = statement!("SELECT why, subject_id FROM rechecks ORDER BY requested_at, why, subject_id LIMIT ?");

impl Store {
    /// Continues the rechecks that are not done; goes through about `limit` purchases and returns through how many. A
    /// failed note is left to the next call, and does not keep the others from it.
    pub async fn continue_rechecks(&self, limit: i64) -> Result<i64, Error> {
        let mut notes: Vec<NoteKey> = self.read(move |connection| sql(NOTES).bind(MAX_NOTES).all(connection)).await?;
        let (mut seen, mut failed) = (0, None);
        while seen < limit && !notes.is_empty() {
            for note in std::mem::take(&mut notes) {
                let key = note.clone();
                match self.write(move |write| batch(write, &key)).await {
                    Ok(Some(purchases)) => {
                        seen += purchases;
                        notes.push(note);
                    }
                    Ok(None) => {}
                    Err(error) => failed = Some(error),
                }
            }
        }
        failed.map_or(Ok(seen), Err)
    }
}

const APP_OF_PLATFORM: Sql = statement!("SELECT app_id AS value FROM platforms WHERE id = ?");

/// Rechecks purchases of a platform.
pub fn recheck_platform(write: &mut Write<'_>, platform: PlatformId, why: RecheckReason) -> Result<(), Error> {
    let has_few_waiting =
        why == RecheckReason::Parked && count_if_few(write.connection, WAITING, [platform.into()], BATCH)?.is_some();
    if has_few_waiting {
        return purchase::recheck(write, PARKED, [platform.into()]).map(drop);
    }
    begin(write, platform, why, None)
}

/// Rechecks purchases of a platform with a new secret; the store refused the one before since then.
pub fn recheck_secret(write: &mut Write<'_>, platform: PlatformId, refused_at: Option<Timestamp>) -> Result<(), Error> {
    begin(write, platform, RecheckReason::NewSecret, refused_at)
}

fn begin(
    write: &mut Write<'_>,
    platform: PlatformId,
    why: RecheckReason,
    refused_at: Option<Timestamp>,
) -> Result<(), Error> {
    let app: Option<AppId> = sql(APP_OF_PLATFORM).bind(platform).value(write.connection)?;
    let note = NoteKey { why, subject_id: platform.to_string() };
    insert_note(write, &note, app.ok_or(Error::Missing { what: "platform" })?, refused_at)?;
    batch(write, &note).map(drop)
}

const INSERT_SKU: Sql = statement!("INSERT INTO recheck_skus (app_id, sku) VALUES (?, ?) ON CONFLICT DO NOTHING");

/// Rechecks purchases of an app with one of these SKUs.
pub fn recheck_skus(write: &mut Write<'_>, app: AppId, skus: &BTreeSet<String>) -> Result<(), Error> {
    let (mut left, mut many) = (BATCH, Vec::new());
    for sku in skus {
        match of_sku(write.connection, app, sku, left)? {
            Some([of_term, of_product]) => {
                left -= of_term + of_product;
                for (count, which) in [(of_term, OF_TERM), (of_product, OF_PRODUCT)] {
                    if count > 0 {
                        purchase::recheck(write, which, [app.into(), sku.as_str().into()])?;
                    }
                }
            }
            None => many.push(sku),
        }
    }
    if many.is_empty() {
        return Ok(());
    }
    // The note first: its lock keeps the last batch of one before from removing the SKUs.
    let note = NoteKey { why: RecheckReason::Catalogue, subject_id: app.to_string() };
    insert_note(write, &note, app, None)?;
    for sku in many {
        sql(INSERT_SKU).bind(app).bind(sku.as_str()).run(write.connection)?;
    }
    batch(write, &note).map(drop)
}

/// How many purchases have a SKU as their term's and as their product's; `None` when there are more than `max`.
fn of_sku(connection: &mut AnyConnection, app: AppId, sku: &str, max: i64) -> Result<Option<[i64; 2]>, Error> {
    let Some(of_term) = count_if_few(connection, OF_TERM, [app.into(), sku.into()], max)? else { return Ok(None) };
    let of_product = count_if_few(connection, OF_PRODUCT, [app.into(), sku.into()], max - of_term)?;
    Ok(of_product.map(|of_product| [of_term, of_product]))
}

/// How many purchases an index finds; `None` when there are more than `max`.
fn count_if_few<'v>(
    connection: &mut AnyConnection,
    which: Clause,
    values: impl IntoIterator<Item = Value<'v>>,
    max: i64,
) -> Result<Option<i64>, Error> {
    Ok(Some(count(connection, which, values, max + 1)?).filter(|found| *found <= max))
}

/// How many purchases an index finds, at max `max`.
pub fn count<'v>(
    connection: &mut AnyConnection,
    which: Clause,
    values: impl IntoIterator<Item = Value<'v>>,
    max: i64,
) -> Result<i64, Error> {
    Ok(sql(COUNT.of(which)).uncached().bind_all(values).bind(max).value(connection)?.unwrap_or(0))
}

const COUNT_PARKED: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT waits_for FROM purchases WHERE {{which}} LIMIT ?) waiting
    WHERE waits_for = 'parked'
"};

/// How many waiting purchases of a platform the store did not accept.
pub fn parked(connection: &mut AnyConnection, platform: PlatformId) -> Result<i64, Error> {
    Ok(sql(COUNT_PARKED.of(WAITING)).uncached().bind(platform).bind(MAX_COUNTED).value(connection)?.unwrap_or(0))
}

const UPSERT_NOTE: Sql = statement! {"
    INSERT INTO rechecks (why, subject_id, app_id, requested_at, refused_at, after_key)
    VALUES (?, ?, ?, ?, ?, '')
    ON CONFLICT (why, subject_id)
    DO UPDATE SET after_key = '', requested_at = excluded.requested_at,
        refused_at = CASE WHEN rechecks.refused_at IS NULL OR excluded.refused_at < rechecks.refused_at
        THEN excluded.refused_at ELSE rechecks.refused_at END
"};

/// Notes a recheck. One that was noted before and is not done begins anew, and keeps the earlier refusal.
fn insert_note(write: &mut Write<'_>, note: &NoteKey, app: AppId, refused_at: Option<Timestamp>) -> Result<(), Error> {
    sql(UPSERT_NOTE)
        .bind(note.why)
        .bind(note.subject_id.as_str())
        .bind(app)
        .bind(write.now)
        .bind(refused_at)
        .run(write.connection)
        .map(drop)
}

const LOCK_NOTE: Sql = statement! {"
    SELECT app_id, requested_at, refused_at, after_key
    FROM rechecks
    WHERE why = ? AND subject_id = ?
    FOR UPDATE
"};

const END_OF_BATCH: Sql = statement! {hot "purchases_app", "
    SELECT COUNT(*) AS purchases, MAX(collapse_key) AS last
    FROM (SELECT collapse_key FROM purchases WHERE app_id = ? AND collapse_key > ?
        ORDER BY collapse_key LIMIT ?) batch
"};

const CONTINUE_NOTE: Sql = statement!("UPDATE rechecks SET after_key = ? WHERE why = ? AND subject_id = ?");

/// Rechecks the next batch and notes how far this went; returns the number of purchases, or `None` when there is no
/// note. It is locked meanwhile, so that a new one is not lost.
fn batch(write: &mut Write<'_>, note: &NoteKey) -> Result<Option<i64>, Error> {
    let found: Option<NoteRow> =
        sql(LOCK_NOTE).bind(note.why).bind(note.subject_id.as_str()).first(write.connection)?;
    let Some(row) = found else { return Ok(None) };
    let range: Option<BatchRow> =
        sql(END_OF_BATCH).bind(row.app_id).bind(row.after_key.as_str()).bind(BATCH).first(write.connection)?;
    let BatchRow { purchases, last } = range.unwrap_or(BatchRow { purchases: 0, last: None });
    if let Some(last) = last {
        row.run(write, note, last)?;
    }
    match last.filter(|_| purchases >= BATCH) {
        Some(last) => sql(CONTINUE_NOTE)
            .bind(last)
            .bind(note.why)
            .bind(note.subject_id.as_str())
            .run(write.connection)
            .map(drop)?,
        None => row.finish(write, note)?,
    }
    Ok(Some(purchases))
}

const DELETE_SKUS: Sql = statement!("DELETE FROM recheck_skus WHERE app_id = ?");

const DELETE_NOTE: Sql = statement!("DELETE FROM rechecks WHERE why = ? AND subject_id = ?");

impl NoteRow {
    /// Rechecks the purchases up to this one.
    fn run(&self, write: &mut Write<'_>, note: &NoteKey, last: CollapseKey) -> Result<(), Error> {
        let subject = || Value::from(note.subject_id.as_str());
        if matches!(note.why, RecheckReason::NewSecret | RecheckReason::NoUsableSecret) {
            let values = self.values(last, vec![subject(), self.requested_at.into()]);
            purchase::forget_failures(write, BATCHED_FAILED, values)?;
        }
        let (which, more) = match note.why {
            RecheckReason::NewSecret => (BATCHED_MAYBE_UNVERIFIED, vec![subject(), self.refused_at.into()]),
            RecheckReason::Environment => (BATCHED_NEVER_ACCEPTED, vec![subject()]),
            RecheckReason::ProductRef => (BATCHED_WITH_TWO_SKUS, vec![subject()]),
            RecheckReason::Parked => (BATCHED_PARKED, vec![subject()]),
            RecheckReason::Catalogue => (BATCHED_LISTED, Vec::new()),
            RecheckReason::NoUsableSecret => return Ok(()),
        };
        purchase::recheck(write, which, self.values(last, more)).map(drop)
    }

    fn values<'v>(&self, last: CollapseKey, more: Vec<Value<'v>>) -> Vec<Value<'v>> {
        [vec![self.app_id.into(), self.after_key.clone().into(), last.into()], more].concat()
    }

    /// Removes the note: all were rechecked.
    fn finish(&self, write: &mut Write<'_>, note: &NoteKey) -> Result<(), Error> {
        if note.why == RecheckReason::Catalogue {
            sql(DELETE_SKUS).bind(self.app_id).run(write.connection)?;
        }
        sql(DELETE_NOTE).bind(note.why).bind(note.subject_id.as_str()).run(write.connection).map(drop)
    }
}

const OF_KEY_AND_NOTED: Clause = clause! {&FORGETS, "
    collapse_key = ? AND EXISTS (SELECT 1 FROM rechecks l WHERE l.why IN ('secret', 'failures')
        AND l.subject_id = purchases.platform_id AND l.requested_at > purchases.unverified_since)
"};

/// Forgets failures of the store about a purchase that a noted recheck forgets, before its batch comes.
pub fn forget_noted(write: &mut Write<'_>, key: CollapseKey) -> Result<(), Error> {
    purchase::forget_failures(write, OF_KEY_AND_NOTED, [key.into()])
}
