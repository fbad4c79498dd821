//! Rechecks of many purchases: a change notes that the purchases concerned are to be checked again, and each batch how
//! far it came, in the order of their keys. A few are rechecked in the transaction of the change itself.
//!
//! A settling that is recorded between the note and its batch counts as recorded before the change: the batch checks
//! the row that it left.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::statement::{Number, SingleText, Value, row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::purchases::purchase;
use domain::{AppId, CollapseKey, PlatformId, Timestamp};
use std::collections::BTreeSet;

/// Number of purchases per transaction, so that nothing else waits long for it.
const BATCH: i64 = 1000;
/// Maximum number of notes that one sweep continues.
const MOST_NOTES: i64 = 100;
/// Maximum number of purchases concerned by a change that are counted.
pub const MOST_COUNTED: i64 = 100_000;

/// Why purchases of a platform are rechecked.
#[derive(Debug, Clone, Copy)]
pub enum RecheckReason {
    /// It has a new secret; since when the store refused the one before.
    Secret(Option<Timestamp>),
    /// The store cannot be queried about them any more: its failures are forgotten, and none is woken.
    Failures,
    /// It is in another environment.
    Environment,
    /// Another SKU names its products.
    ProductRef,
    /// A person requests another query about what the store did not accept.
    Parked,
}

row! {
    /// A note that purchases are to be rechecked.
    #[derive(Clone)]
    struct Note {
        why: String,
        subject_id: String,
    }
}

row! {
    struct Recheck {
        app_id: AppId,
        requested_at: Timestamp,
        refused_at: Option<Timestamp>,
        after_key: String,
    }
}

row! {
    struct Range {
        purchases: i64,
        last: Option<CollapseKey>,
    }
}

/// Purchases with a SKU as their term's, and as their product's.
pub const OF_TERM: &str = "app_id = ? AND term_sku = ?";
const OF_PRODUCT: &str = "app_id = ? AND product_id = ?";
const CATALOGUE: &str = "catalogue";
const PARKED: &str = "platform_id = ? AND waits_for = 'parked'";
/// All that wait: few, unless a store is out of reach.
const WAITING: &str = "platform_id = ? AND (waits_for IS NOT NULL OR waits_through IS NOT NULL)";
const NAMED_TWICE: &str =
    "platform_id = ? AND term_sku IS NOT NULL AND product_id IS NOT NULL AND term_sku <> product_id";
/// Purchases that run and may have been announced unverified, or missed an answer while the store could not be queried;
/// those that the store never answered about; those that wait; and those that ended since the store refused the old
/// secret.
const UNVERIFIED: &str = "platform_id = ? AND (state IN ('trial', 'trial_off', 'active', 'off', 'grace') \
     OR product_id IS NULL OR waits_for IS NOT NULL OR waits_through IS NOT NULL OR updated_at >= ?)";
/// Purchases that another environment of the store may know.
const NEVER_ACCEPTED: &str = "platform_id = ? AND (product_id IS NULL OR waits_for = 'parked')";
/// Purchases with one of the noted SKUs.
const LISTED: &str = "(EXISTS (SELECT 1 FROM recheck_skus s \
     WHERE s.app_id = purchases.app_id AND s.sku = purchases.term_sku) OR EXISTS (SELECT 1 FROM recheck_skus s \
     WHERE s.app_id = purchases.app_id AND s.sku = purchases.product_id))";

impl Store {
    /// Continues the rechecks that are not done; goes through about `limit` purchases and returns through how many. A
    /// failed note is left to the next call, and does not keep the others from it.
    pub async fn continue_rechecks(&self, limit: i64) -> Result<i64, Error> {
        let notes = "SELECT why, subject_id FROM rechecks ORDER BY requested_at, why, subject_id LIMIT ?";
        let mut notes: Vec<Note> = self.read(move |connection| sql(notes).bind(MOST_NOTES).all(connection)).await?;
        let (mut seen, mut failed) = (0, None);
        while seen < limit && !notes.is_empty() {
            for note in std::mem::take(&mut notes) {
                let taken = note.clone();
                match self.write(move |write| batch(write, &taken)).await {
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

impl RecheckReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Secret(_) => "secret",
            Self::Failures => "failures",
            Self::Environment => "environment",
            Self::ProductRef => "product_ref",
            Self::Parked => "parked",
        }
    }
}

/// Rechecks purchases of a platform.
pub fn recheck_platform(write: &mut Write<'_>, platform: PlatformId, why: RecheckReason) -> Result<(), Error> {
    let are_few =
        matches!(why, RecheckReason::Parked) && few(write.connection, WAITING, [platform.into()], BATCH)?.is_some();
    if are_few {
        return purchase::recheck(write, PARKED, [platform.into()]).map(drop);
    }
    let app: Option<SingleText> =
        sql("SELECT app_id AS value FROM platforms WHERE id = ?").bind(platform).first(write.connection)?;
    let app = app.ok_or(Error::Missing { what: "platform" })?.value;
    let refused_at = if let RecheckReason::Secret(refused_at) = why { refused_at } else { None };
    let note = Note { why: why.as_str().to_owned(), subject_id: platform.to_string() };
    insert_note(write, &note, (app, refused_at))?;
    batch(write, &note).map(drop)
}

/// Rechecks purchases of an app with one of these SKUs.
pub fn recheck_skus(write: &mut Write<'_>, app: AppId, skus: &BTreeSet<String>) -> Result<(), Error> {
    let (mut left, mut many) = (BATCH, Vec::new());
    for sku in skus {
        match of_sku(write.connection, (app, sku), left)? {
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
    let note = Note { why: CATALOGUE.to_owned(), subject_id: app.to_string() };
    insert_note(write, &note, (app.to_string(), None))?;
    for sku in many {
        sql("INSERT INTO recheck_skus (app_id, sku) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(app)
            .bind(sku.as_str())
            .run(write.connection)?;
    }
    batch(write, &note).map(drop)
}

/// How many purchases have a SKU as their term's and as their product's; `None` when there are more than `most`.
fn of_sku(connection: &mut AnyConnection, (app, sku): (AppId, &str), most: i64) -> Result<Option<[i64; 2]>, Error> {
    let Some(of_term) = few(connection, OF_TERM, [app.into(), sku.into()], most)? else { return Ok(None) };
    let of_product = few(connection, OF_PRODUCT, [app.into(), sku.into()], most - of_term)?;
    Ok(of_product.map(|of_product| [of_term, of_product]))
}

/// How many purchases an index finds; `None` when there are more than `most`.
fn few<'v>(
    connection: &mut AnyConnection,
    which: &str,
    values: impl IntoIterator<Item = Value<'v>>,
    most: i64,
) -> Result<Option<i64>, Error> {
    Ok(Some(count(connection, which, values, most + 1)?).filter(|found| *found <= most))
}

/// How many purchases an index finds, at most `most`. Planned for these very values: for others, of which there are
/// many, walking the whole table until there are enough may be better.
pub fn count<'v>(
    connection: &mut AnyConnection,
    which: &str,
    values: impl IntoIterator<Item = Value<'v>>,
    most: i64,
) -> Result<i64, Error> {
    let text = format!("SELECT COUNT(*) AS value FROM (SELECT 1 FROM purchases WHERE {which} LIMIT ?) found");
    let found: Option<Number> = sql(text).once().bind_all(values).bind(most).first(connection)?;
    Ok(found.map_or(0, |found| found.value))
}

/// How many waiting purchases of a platform the store did not accept.
pub fn parked(connection: &mut AnyConnection, platform: PlatformId) -> Result<i64, Error> {
    let text = format!(
        "SELECT COUNT(*) AS value FROM (SELECT waits_for FROM purchases WHERE {WAITING} LIMIT ?) waiting \
         WHERE waits_for = 'parked'"
    );
    let found: Option<Number> = sql(text).once().bind(platform).bind(MOST_COUNTED).first(connection)?;
    Ok(found.map_or(0, |found| found.value))
}

/// Notes a recheck. One that was noted before and is not done begins anew, and keeps the earlier refusal.
fn insert_note(
    write: &mut Write<'_>,
    note: &Note,
    (app, refused_at): (String, Option<Timestamp>),
) -> Result<(), Error> {
    sql("INSERT INTO rechecks (why, subject_id, app_id, requested_at, refused_at, after_key) VALUES (?, ?, ?, ?, ?, '') \
         ON CONFLICT (why, subject_id) DO UPDATE SET after_key = '', requested_at = excluded.requested_at, \
         refused_at = CASE WHEN rechecks.refused_at IS NULL OR excluded.refused_at < rechecks.refused_at \
         THEN excluded.refused_at ELSE rechecks.refused_at END")
    .bind(note.why.as_str())
    .bind(note.subject_id.as_str())
    .bind(app)
    .bind(write.now)
    .bind(refused_at)
    .run(write.connection)
    .map(drop)
}

/// Rechecks the next batch and notes how far this went; returns the number of purchases, or `None` when there is no
/// note. It is locked meanwhile, so that a new one is not lost.
fn batch(write: &mut Write<'_>, note: &Note) -> Result<Option<i64>, Error> {
    let lock = write.connection.for_update();
    let found: Option<Recheck> = sql(format!(
        "SELECT app_id, requested_at, refused_at, after_key FROM rechecks WHERE why = ? AND subject_id = ?{lock}"
    ))
    .bind(note.why.as_str())
    .bind(note.subject_id.as_str())
    .first(write.connection)?;
    let Some(recheck) = found else { return Ok(None) };
    let range: Option<Range> = sql("SELECT COUNT(*) AS purchases, MAX(collapse_key) AS last FROM \
         (SELECT collapse_key FROM purchases WHERE app_id = ? AND collapse_key > ? \
         ORDER BY collapse_key LIMIT ?) batch")
    .bind(recheck.app_id)
    .bind(recheck.after_key.as_str())
    .bind(BATCH)
    .first(write.connection)?;
    let Range { purchases, last } = range.unwrap_or(Range { purchases: 0, last: None });
    if let Some(last) = last {
        recheck.run(write, note, last)?;
    }
    match last.filter(|_| purchases >= BATCH) {
        Some(last) => sql("UPDATE rechecks SET after_key = ? WHERE why = ? AND subject_id = ?")
            .bind(last)
            .bind(note.why.as_str())
            .bind(note.subject_id.as_str())
            .run(write.connection)
            .map(drop)?,
        None => recheck.finish(write, note)?,
    }
    Ok(Some(purchases))
}

impl Recheck {
    /// Rechecks the purchases up to this one.
    fn run(&self, write: &mut Write<'_>, note: &Note, last: CollapseKey) -> Result<(), Error> {
        let subject = || Value::from(note.subject_id.as_str());
        let range = |which: &str| format!("app_id = ? AND collapse_key > ? AND collapse_key <= ? AND {which}");
        if matches!(note.why.as_str(), "secret" | "failures") {
            let failed = range("platform_id = ? AND unverified_since <= ?");
            purchase::forget_failures(write, &failed, self.values(last, vec![subject(), self.requested_at.into()]))?;
        }
        let (which, more) = match note.why.as_str() {
            "secret" => (UNVERIFIED, vec![subject(), self.refused_at.into()]),
            "environment" => (NEVER_ACCEPTED, vec![subject()]),
            "product_ref" => (NAMED_TWICE, vec![subject()]),
            "parked" => (PARKED, vec![subject()]),
            CATALOGUE => (LISTED, Vec::new()),
            _ => return Ok(()),
        };
        purchase::recheck(write, &range(which), self.values(last, more)).map(drop)
    }

    fn values<'v>(&self, last: CollapseKey, more: Vec<Value<'v>>) -> Vec<Value<'v>> {
        [vec![self.app_id.into(), self.after_key.clone().into(), last.into()], more].concat()
    }

    /// Removes the note: all were rechecked.
    fn finish(&self, write: &mut Write<'_>, note: &Note) -> Result<(), Error> {
        if note.why == CATALOGUE {
            sql("DELETE FROM recheck_skus WHERE app_id = ?").bind(self.app_id).run(write.connection)?;
        }
        sql("DELETE FROM rechecks WHERE why = ? AND subject_id = ?")
            .bind(note.why.as_str())
            .bind(note.subject_id.as_str())
            .run(write.connection)
            .map(drop)
    }
}

/// Forgets failures of the store about a purchase that a noted recheck forgets, before its batch comes.
pub fn forget_noted(write: &mut Write<'_>, key: CollapseKey) -> Result<(), Error> {
    let which = "collapse_key = ? AND EXISTS (SELECT 1 FROM rechecks l WHERE l.why IN ('secret', 'failures') \
         AND l.subject_id = purchases.platform_id AND l.requested_at > purchases.unverified_since)";
    purchase::forget_failures(write, which, [key.into()])
}
