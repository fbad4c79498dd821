//! The ledger: the price of each payment of a purchase, and the entries that changed it since.
//!
//! Entries are written only in the transaction that records a settling, under the lock of its purchase. `domain`
//! decides what a payment is and which entries are missing; a destination decides how an amount is sent.

mod confirmed;
mod earned;
mod ledger;
mod paid;

pub use confirmed::confirmed;
pub use earned::{Earned, changes, earned, is_implied};
pub use ledger::{Ledger, SaleRow, Source, booked, ledger_ahead, sales_of};
pub use paid::paid_by;

use crate::db::error::Error;
use crate::db::sql::{Sql, insert, statement};
use crate::db::statement::sql;
use crate::db::writer::Write;
use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::settling::revision::{Announcement, Description, Settling};
use domain::catalogue::PriceSource;
use domain::event::{PriceDoubt, REVENUE_ADJUSTED, RevenueAdjusted};
use domain::payment::{self, Adjustment, EntryKind, LedgerEntry, Payment, RecordedPrice, Sale, UnknownPrice};
use domain::{EventId, Purchase, Timestamp};
use ledger::{EntryRow, payment_events};
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The entries that a settling adds to the ledger of its purchase.
#[derive(Debug, Default)]
pub struct Booking {
    payments: Vec<PricedPayment>,
    adjustments: Vec<Adjustment>,
}

/// A payment, and what is known of its price.
#[derive(Debug)]
struct PricedPayment {
    payment: Payment,
    price: Option<Decimal>,
    currency: Option<String>,
    usd: Option<Decimal>,
    unknown: Option<UnknownPrice>,
    /// The transaction in the sales report that has the price.
    transaction_id: Option<String>,
    /// Whether the price is that of the device.
    is_by_device: bool,
}

/// A payment whose price is still to be confirmed by the store.
struct Unconfirmed {
    number: i64,
    at: Timestamp,
}

impl Booking {
    /// Computes the entries that a settling adds. If a sales report has the price of the newest payment, the record and
    /// its events get that price; without one, and without a new payment or correction, they keep the price that was
    /// recorded with that payment.
    pub fn of(
        write: &mut Write<'_>,
        settling: &Settling<'_>,
        ledger: Ledger,
        description: &mut Description,
    ) -> Result<Self, Error> {
        let (key, purchase) = (settling.record.collapse_key, &settling.record.decision.purchase);
        let entries = ledger.entries.all(write.connection)?;
        let unconfirmed = unconfirmed(&entries);
        let recorded: BTreeMap<i64, RecordedPrice> =
            entries.iter().filter_map(|entry| Some((entry.number, entry.recorded_price()?))).collect();
        let mut booked: Vec<LedgerEntry> = entries.into_iter().map(EntryRow::booked).collect();
        let numbers: BTreeSet<i64> = booked.iter().map(|entry| entry.number).collect();
        let new = payment::payments(&settling.record.decision.transitions, purchase, &numbers);
        if booked.is_empty() && new.is_empty() {
            return Ok(Self::default());
        }
        let (now, doubt, data) = (write.now()?, description.price_doubt, &mut description.data);
        let priced = |payment| PricedPayment::listed(payment, data).doubted(doubt).confirmed_by(purchase, now);
        let mut payments: Vec<PricedPayment> = new.into_iter().map(priced).collect();
        let already = booked.len();
        booked.extend(payments.iter().map(|paid| paid.booked(now)));
        let sales: Vec<Sale> = ledger.sales.all(write.connection)?.into_iter().map(SaleRow::sale).collect();
        let reach = payment::reach(purchase);
        let charges = payment::charges(&booked, &sales, reach);
        let charge = |number: i64| charges.get(&number).filter(|charge| charge.usd.is_some());
        for (paid, entry) in payments.iter_mut().zip(booked.iter_mut().skip(already)) {
            if let Some(charge) = charge(paid.payment.number) {
                paid.charge(charge);
                entry.usd = charge.usd;
            }
        }
        let newest = payment::newest(&booked);
        let mut adjustments = Vec::new();
        for open in unconfirmed {
            if charge(open.number).is_some() || purchase.is_price_unconfirmed(open.at) {
                continue;
            }
            // The record has the price of the newest payment only. Where there is no price, the ledger stores the
            // reason.
            let usd = if newest == Some(open.number) { listed_usd(data) } else { Err(UnknownPrice::Promotion) };
            match usd {
                Ok(usd) => {
                    let correction = open.corrected(usd);
                    booked.push(entry(&correction, open.at));
                    adjustments.push(correction);
                }
                Err(why) => sql(SET_UNKNOWN).bind(why).bind(key).bind(open.number).later(write.connection)?,
            }
        }
        let changes = payment::adjustments(&booked, &sales, payment::refund_status(purchase), reach);
        booked.extend(changes.iter().map(|change| entry(change, change.at.unwrap_or(now))));
        adjustments.extend(changes);
        if let Some(refunded) = newest.and_then(|newest| payment::refunded(&booked, newest)) {
            payment::report_refund(data, refunded);
        }
        if let Some(charge) = newest.and_then(|newest| charges.get(&newest)) {
            payment::report_price(data, charge);
            description.details.price_source = Some(PriceSource::Report);
        } else if let Some(price) = newest.and_then(|newest| recorded.get(&newest)).filter(|price| price.is_of(data)) {
            payment::keep_price(data, price);
            description.details.price_source = Some(price.source);
        }
        Ok(Self { payments, adjustments })
    }

    /// Whether it changes the revenue of payments. That is announced even if the record is unchanged.
    pub const fn adjusts(&self) -> bool {
        !self.adjustments.is_empty()
    }

    /// Number of its entries in the ledger.
    pub fn entries(&self) -> i64 {
        i64::try_from(self.payments.len() + self.adjustments.len()).unwrap_or(i64::MAX)
    }

    /// Writes the entries. `event_ids` are the events of the settling's transitions, in their order, and are written
    /// later in the same transaction.
    pub fn enter(
        &self,
        write: &mut Write<'_>,
        announcement: &Announcement<'_>,
        event_ids: &[EventId],
    ) -> Result<(), Error> {
        for paid in &self.payments {
            paid.insert(write, announcement, event_ids)?;
        }
        for (adjustment, event) in self.adjusted(announcement) {
            insert_adjustment(write, announcement, adjustment, event.id)?;
        }
        Ok(())
    }

    /// Writes an event for each adjustment, and queues it for every destination that counts and that the payment was
    /// queued for, and for those that chose its type and want its purchase. Call it after the entries are written and the
    /// events of the payments of this settling are queued.
    pub fn announce(&self, write: &mut Write<'_>, announcement: &Announcement<'_>) -> Result<(), Error> {
        for (adjustment, event) in self.adjusted(announcement) {
            announce_adjustment(write, announcement, adjustment, &event)?;
        }
        Ok(())
    }

    /// The adjustments, each with its event.
    fn adjusted<'b>(
        &'b self,
        announcement: &'b Announcement<'_>,
    ) -> impl Iterator<Item = (&'b Adjustment, Event)> + 'b {
        (0..).zip(&self.adjustments).map(|(n, adjustment)| (adjustment, announcement.event(REVENUE_ADJUSTED, n)))
    }
}

impl PricedPayment {
    /// With the price of the catalogue or the device, which is in the record of the purchase.
    fn listed(payment: Payment, data: &Value) -> Self {
        if !payment.is_priced {
            return Self::unpriced(payment, UnknownPrice::PlanChanged);
        }
        Self {
            payment,
            price: decimal(data, "purchase_price"),
            currency: data.get("purchase_currency").and_then(Value::as_str).map(str::to_owned),
            usd: decimal(data, "price_in_usd"),
            unknown: UnknownPrice::of(data),
            transaction_id: None,
            is_by_device: data.get("price_source").and_then(Value::as_str) == Some(Source::Device.as_str()),
        }
    }

    const fn unpriced(payment: Payment, why: UnknownPrice) -> Self {
        Self {
            payment,
            price: None,
            currency: None,
            usd: None,
            unknown: Some(why),
            transaction_id: None,
            is_by_device: false,
        }
    }

    /// With the reason of an unknown price, if the device reported an implausible one.
    fn doubted(self, doubt: Option<PriceDoubt>) -> Self {
        let is_doubted = doubt == Some(PriceDoubt::Implausible) && self.unknown == Some(UnknownPrice::NotListed);
        if is_doubted { Self { unknown: Some(UnknownPrice::Implausible), ..self } } else { self }
    }

    /// Removes the price while it is not known: the store may not show yet which promotion held for the payment, or a trial
    /// may have been all that there was.
    fn confirmed_by(self, purchase: &Purchase, now: Timestamp) -> Self {
        if !self.payment.is_priced || !purchase.is_price_unconfirmed(self.payment.at.unwrap_or(now)) {
            return self;
        }
        Self::unpriced(self.payment, UnknownPrice::Unconfirmed)
    }

    /// Sets the price from a sales report that was imported before.
    fn charge(&mut self, charge: &Sale) {
        self.price = Some(charge.price);
        self.currency = Some(charge.currency.clone());
        self.usd = charge.usd;
        self.unknown = None;
        self.transaction_id = Some(charge.transaction_id.clone());
    }

    fn booked(&self, now: Timestamp) -> LedgerEntry {
        let Payment { number, kind, at, .. } = self.payment;
        LedgerEntry { number, kind, at: at.unwrap_or(now), usd: self.usd, transaction_id: self.transaction_id.clone() }
    }

    fn insert(
        &self,
        write: &mut Write<'_>,
        announcement: &Announcement<'_>,
        event_ids: &[EventId],
    ) -> Result<(), Error> {
        let (payment, settling) = (&self.payment, announcement.settling);
        let event = event_ids.get(payment.index).copied();
        let source = match self.transaction_id {
            Some(_) => Source::Report,
            None if self.is_by_device => Source::Device,
            None => Source::Catalogue,
        };
        insert!(payments {
            collapse_key: settling.record.collapse_key,
            number: payment.number,
            entry: 0_i64,
            app_id: settling.origin.app_id,
            environment: settling.environment(),
            kind: payment.kind,
            event_id: event.ok_or_else(|| Error::corrupt("a payment is announced by no event"))?,
            other_event_id: payment.other_index.and_then(|index| event_ids.get(index).copied()),
            occurred_at: payment.at.unwrap_or(write.now()?),
            sku: announcement.description.data.get("product_ref_id").and_then(Value::as_str),
            price: self.price,
            currency: self.currency.as_deref(),
            usd: self.usd,
            unknown_because: self.unknown,
            source,
            transaction_id: self.transaction_id.as_deref(),
            created_at: write.now()?,
        })
        .later(write.connection)
    }
}

impl Unconfirmed {
    fn corrected(&self, usd: Decimal) -> Adjustment {
        Adjustment { number: self.number, kind: EntryKind::Correction, at: Some(self.at), usd, transaction_id: None }
    }
}

/// An amount in the record of a purchase.
fn decimal(data: &Value, field: &str) -> Option<Decimal> {
    data.get(field)?.as_str()?.parse().ok()
}

/// The price in USD in the record of a purchase.
fn listed_usd(data: &Value) -> Result<Decimal, UnknownPrice> {
    decimal(data, "price_in_usd").ok_or_else(|| UnknownPrice::of(data).unwrap_or(UnknownPrice::NotListed))
}

fn entry(adjustment: &Adjustment, at: Timestamp) -> LedgerEntry {
    LedgerEntry {
        number: adjustment.number,
        kind: adjustment.kind,
        at,
        usd: Some(adjustment.usd),
        transaction_id: adjustment.transaction_id.clone(),
    }
}

/// The payments whose price the store has still to confirm, and that no entry has changed.
fn unconfirmed(entries: &[EntryRow]) -> Vec<Unconfirmed> {
    let is_alone = |row: &EntryRow| entries.iter().filter(|other| other.number == row.number).count() == 1;
    let open = entries.iter().filter(|row| row.unknown_because == Some(UnknownPrice::Unconfirmed) && is_alone(row));
    open.map(|row| Unconfirmed { number: row.number, at: row.occurred_at }).collect()
}

const SET_UNKNOWN: Sql = statement! {"
    UPDATE payments
    SET unknown_because = ?
    WHERE collapse_key = ? AND number = ? AND entry = 0
"};

fn insert_adjustment(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    adjustment: &Adjustment,
    event: EventId,
) -> Result<(), Error> {
    let settling = announcement.settling;
    let key = settling.record.collapse_key;
    let carrier = payment_events(write.connection, key, adjustment.number)?;
    let source = match (&adjustment.transaction_id, adjustment.kind) {
        (Some(_), _) => Source::Report,
        (None, EntryKind::Correction) => Source::Catalogue,
        (None, _) => Source::Store,
    };
    insert!(payments {
        collapse_key: key,
        number: adjustment.number,
        entry: carrier.entries,
        app_id: settling.origin.app_id,
        environment: settling.environment(),
        kind: adjustment.kind,
        event_id: event,
        occurred_at: adjustment.at.unwrap_or(write.now()?),
        sku: carrier.sku.as_deref(),
        usd: adjustment.usd,
        source,
        transaction_id: adjustment.transaction_id.as_deref(),
        created_at: write.now()?,
    })
    .later(write.connection)
}

/// Records the event of one adjustment and queues it.
fn announce_adjustment(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    adjustment: &Adjustment,
    event: &Event,
) -> Result<(), Error> {
    let settling = announcement.settling;
    let carrier = payment_events(write.connection, event.collapse_key, adjustment.number)?;
    let occurred_at = adjustment.at.unwrap_or(write.now()?);
    let environment = settling.environment();
    let user = settling.owner.map(|owner| owner.id);
    let body = RevenueAdjusted {
        id: event.id,
        created_at: write.now()?,
        app: settling.origin.app_id,
        platform: settling.origin.platform_id,
        collapse_key: event.collapse_key,
        user,
        environment,
        payment_event: carrier.event_id,
        number: adjustment.number,
        sku: carrier.sku.as_deref(),
        kind: adjustment.kind,
        usd: adjustment.usd,
        occurred_at,
        transaction_id: adjustment.transaction_id.as_deref(),
    }
    .body();
    let stored = StoredEvent {
        user_id: user,
        occurred_at: Some(occurred_at),
        environment: Some(environment),
        causes: announcement.causes.clone(),
        ..StoredEvent::of(settling.origin.app_id, body.to_string())
    };
    insert(write, event, stored)?;
    for destination in announcement.destinations {
        let is_for = if destination.per_user {
            earned::was_queued(write.connection, &carrier.events(), destination.id)?
        } else {
            destination.chose(REVENUE_ADJUSTED) && destination.filter.wants(settling.origin.platform_id, environment)
        };
        if is_for {
            deliveries::queue(write, event, destination.id)?;
        }
    }
    Ok(())
}
