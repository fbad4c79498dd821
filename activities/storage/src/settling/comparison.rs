//! Compares a decision with what was announced before, and stores the outcomes of its notifications.

use crate::purchases::cause::{CauseKind, RevisionCause, RevisionCauses};
use crate::purchases::purchase::PurchaseRow;
use crate::settings::listing::{Listings, priced_on};
use crate::settings::rates;
use crate::settling::access::Accesses;
use crate::settling::payments::{Booking, Ledger};
use crate::settling::revision::{Description, Settling};
use db::error::Error;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Ahead, Single, sql};
use db::writer::Write;
use domain::catalogue::Listing;
use domain::event::{self, Details, RecordSource};
use domain::settling::Record;
use domain::{Outcome, Purchase};

/// A decision compared with what was announced before.
pub struct Comparison<'a> {
    pub row: &'a PurchaseRow,
    pub description: Description,
    /// Digest of the record, or of the previous one if nothing changed.
    pub digest: String,
    /// Digest of the record's content only, without the times at which devices were last seen.
    pub content_digest: String,
    pub changed: bool,
    pub revision: i64,
    /// The entries that the decision adds to the ledger.
    pub booking: Booking,
}

/// The data that a comparison needs besides the decision and the purchase's row.
pub struct Compared<'a> {
    pub listings: &'a mut Listings,
    /// The purchase that this one replaced.
    pub replaced: Ahead<'static, Single<Purchase>>,
    pub ledger: Ledger,
    /// Prices and devices from claims of the purchase.
    pub accesses: Accesses,
}

impl Settling<'_> {
    /// Compares the decision with what was announced before. A purchase that was never announced and about which
    /// nothing is known is unchanged.
    pub fn compare<'r>(
        &self,
        write: &mut Write<'_>,
        row: &'r PurchaseRow,
        with: Compared<'_>,
    ) -> Result<Comparison<'r>, Error> {
        let after = &self.record.decision.purchase;
        let listing = with.listings.find(write.connection, after)?;
        let replaced = with.replaced.value(write.connection)?;
        let replaced_sku = replaced
            .as_ref()
            .and_then(|old| old.sku(self.origin.product_ref));
        let (devices, device_price) = with.accesses.fetch(write)?;
        let (devices, device_price) = (devices.as_slice(), device_price.as_ref());
        let described = RecordSource {
            replaced_sku,
            devices,
            device_price,
            ..self.described(after, &listing)
        };
        let currency = event::price_currency(described);
        let priced_on = currency.and_then(|currency| Some((currency, priced_on(after, currency)?)));
        let conversion = match priced_on {
            Some((currency, on)) => {
                rates::conversion(write.connection, self.origin.app_id, currency, on)?
            }
            None => None,
        };
        let priced_on = priced_on.map(|(_, on)| on);
        let described = RecordSource {
            usd_rate: conversion.map(|found| found.rate.usd),
            ..described
        };
        let price_doubt = event::price_doubt(described);
        let details = Details::of(described);
        let mut description = Description {
            data: event::data(described),
            details,
            price_doubt,
            priced_on,
            conversion,
        };
        let booking = Booking::of(write, self, with.ledger, &mut description)?;
        let content_digest = event::content_digest(&description.data);
        let is_new = if row.digest.is_empty() {
            let (nothing, unlisted) = (Purchase::default(), Listing::default());
            content_digest
                != event::content_digest(&event::data(self.described(&nothing, &unlisted)))
        } else {
            content_digest != row.content_digest
        };
        let has_happened = !self.record.decision.transitions.is_empty() || booking.adjusts();
        let changed = is_new || row.state != after.state() || has_happened;
        let digest = if changed {
            event::state_digest(&description.data)
        } else {
            row.digest.clone()
        };
        let content_digest = if changed {
            content_digest
        } else {
            row.content_digest.clone()
        };
        let revision = row.revision + i64::from(changed);
        Ok(Comparison {
            row,
            description,
            digest,
            content_digest,
            changed,
            revision,
            booking,
        })
    }

    /// Returns the source of a purchase's description, still without the rate, the replaced SKU and the data of
    /// devices.
    fn described<'p>(&'p self, purchase: &'p Purchase, listing: &'p Listing) -> RecordSource<'p> {
        RecordSource {
            purchase,
            platform_type: &self.origin.store,
            receipt_id: &self.origin.receipt_id,
            environment: self.origin.environment,
            external_id: self.owner.and_then(|owner| owner.external_id.as_deref()),
            product_ref: self.origin.product_ref,
            listing,
            usd_rate: None,
            replaced_sku: None,
            devices: &[],
            device_price: None,
        }
    }
}

/// The stored reason of abandoned notifications.
pub const ABANDONED: &str = "the store did not accept their purchases in the time allowed";

const END: Sql = statement! {"
    UPDATE notifications
    SET outcome = ?, revision = ?, reason = ?, finished_at = ?, {{which}}
    WHERE seq IN (?*)
"};

/// Removes the body of a settled notification, which nothing reads any more, and its customer, who is stored with the
/// purchase. A notification with another outcome keeps both for the retention, so that a person can examine it.
const SETTLED: Clause = clause!(
    &[END],
    "body = '{{}}', traceparent = NULL, app_user_id = NULL"
);
const NOT_SETTLED: Clause = clause!(&[END], "traceparent = NULL");

impl Comparison<'_> {
    /// Returns the notifications that the decision saw and that get this outcome; `Settled` becomes `NoChange` when
    /// nothing is announced. A notification without an outcome stays open.
    pub fn seqs(&self, record: &Record, outcome: Outcome) -> Vec<i64> {
        let actual = |decided| {
            if decided == Outcome::Settled && !self.changed {
                Outcome::NoChange
            } else {
                decided
            }
        };
        let all = record
            .decision
            .outcomes
            .iter()
            .filter(|(seq, decided)| actual(*decided) == outcome && record.seqs.contains(seq));
        all.map(|(seq, _)| *seq).collect()
    }

    /// Returns the causes of the settling besides the notifications: those of rechecks, or else that the next check was
    /// due.
    pub fn causes(&self, write: &mut Write<'_>, record: &Record) -> Result<RevisionCauses, Error> {
        let mut causes = self.row.causes.clone().unwrap_or_default();
        let is_due = self
            .row
            .next_wake_at
            .map_or(Ok(false), |at| write.now().map(|now| at <= now))?;
        if causes.0.is_empty() && is_due && self.seqs(record, Outcome::Settled).is_empty() {
            causes.add(RevisionCause {
                kind: CauseKind::Scheduled,
                by: None,
            });
        }
        Ok(causes)
    }

    /// Returns the number of the store's notifications that are settled in this revision.
    pub fn coalesced(&self, record: &Record) -> i64 {
        let settled = self.seqs(record, Outcome::Settled).into_iter();
        let of_store = settled.filter(|seq| !record.from_devices.contains(seq));
        i64::try_from(of_store.count()).unwrap_or(i64::MAX)
    }

    /// Stores an outcome for the notifications that get it. All of them are open: `are_open` checked that under the
    /// purchase's lock.
    pub fn end(
        &self,
        write: &mut Write<'_>,
        record: &Record,
        outcome: Outcome,
    ) -> Result<(), Error> {
        let seqs = self.seqs(record, outcome);
        if seqs.is_empty() {
            return Ok(());
        }
        let is_settled = matches!(outcome, Outcome::Settled | Outcome::NoChange);
        sql(END.of(if is_settled { SETTLED } else { NOT_SETTLED }))
            .uncached()
            .bind((
                outcome,
                is_settled.then_some(self.revision),
                (outcome == Outcome::Abandoned).then_some(ABANDONED),
                write.now()?,
            ))
            .bind_list(seqs)
            .later(write.connection)
    }
}
