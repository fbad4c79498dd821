//! The ledger: the price of each payment of a purchase, and the entries that changed it since.
//!
//! Entries are written only in the transaction that records a settling, under the lock of its purchase. `domain`
//! decides what a payment is and which entries are missing; a destination decides how an amount is sent.

mod confirmed;
mod earned;
mod ledger;
mod paid;
mod price;

pub use confirmed::confirmed;
pub use earned::{Earned, changes, earned, is_implied};
pub use ledger::{Ledger, SaleRow, Source, ledger_ahead, ledger_entries, sales_of};
pub use paid::paid_by;

use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::settling::revision::{Announcement, Description, Settling};
use db::error::Error;
use db::sql::insert;
use db::writer::Write;
use domain::catalogue::PriceSource;
use domain::event::{PriceDoubt, REVENUE_ADJUSTED, RevenueAdjusted};
use domain::payment::{
    self, Adjustment, Conversion, EntryKind, LedgerEntry, Payment, RecordedPrice, Sale,
    UnknownPrice,
};
use domain::{EventId, Purchase, Timestamp};
use ledger::{EntryRow, ForeignPrice, payment_events};
use price::{KnownPrice, OpenPayment};
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
    price: KnownPrice,
    /// The transaction in the sales report that has the price.
    transaction_id: Option<String>,
}

impl Booking {
    /// Computes the entries that a settling adds. If a sales report has the price of the newest payment, the record and
    /// its events get that price. Without a report, and without a new payment or correction, they keep the price that
    /// was recorded with that payment.
    pub fn of(
        write: &mut Write<'_>,
        settling: &Settling<'_>,
        ledger: Ledger,
        description: &mut Description,
    ) -> Result<Self, Error> {
        let (key, purchase) = (
            settling.record.collapse_key,
            &settling.record.decision.purchase,
        );
        let entries = ledger.entries.all(write.connection)?;
        let open = OpenPayment::all(&entries);
        let recorded: BTreeMap<i64, RecordedPrice> = entries
            .iter()
            .filter_map(|entry| Some((entry.number, entry.recorded_price()?)))
            .collect();
        let foreign = entries
            .iter()
            .filter_map(|entry| entry.foreign_price(purchase).transpose());
        let foreign: Vec<ForeignPrice> = foreign.collect::<Result<_, _>>()?;
        let mut booked: Vec<LedgerEntry> = entries.into_iter().map(EntryRow::into_entry).collect();
        let numbers: BTreeSet<i64> = booked.iter().map(|entry| entry.number).collect();
        let new = payment::payments(&settling.record.decision.transitions, purchase, &numbers);
        if booked.is_empty() && new.is_empty() {
            return Ok(Self::default());
        }
        let converted = price::converted(write, settling, foreign, description)?;
        let (now, doubt) = (write.now()?, description.price_doubt);
        let priced = |payment| {
            PricedPayment::listed(payment, description)
                .doubted(doubt)
                .confirmed_by(purchase, now)
        };
        let mut payments: Vec<PricedPayment> = new.into_iter().map(priced).collect();
        let already = booked.len();
        booked.extend(payments.iter().map(|paid| paid.ledger_entry(now)));
        let sales = ledger
            .sales
            .all(write.connection)?
            .into_iter()
            .map(SaleRow::sale);
        let sales: Vec<Sale> = sales.collect::<Result<_, _>>()?;
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
        for open in open {
            if charge(open.number).is_some() || purchase.is_price_unconfirmed(open.at) {
                continue;
            }
            if let Some(price) = open.price(description, newest == Some(open.number)) {
                adjustments.extend(open.set(write, key, &price)?);
            }
        }
        booked.extend(adjustments.iter().map(|change| entry(change, now)));
        let reconverted = payment::reconverted(&booked, &sales, &converted, reach);
        booked.extend(reconverted.iter().map(|change| entry(change, now)));
        let changes =
            payment::adjustments(&booked, &sales, payment::refund_status(purchase), reach);
        booked.extend(changes.iter().map(|change| entry(change, now)));
        adjustments.extend(reconverted.into_iter().chain(changes));
        if let Some(newest) = newest {
            describe(
                description,
                newest,
                &booked,
                charges.get(&newest),
                recorded.get(&newest),
            );
        }
        Ok(Self {
            payments,
            adjustments,
        })
    }

    /// Returns whether the booking changes the revenue of payments. Such a change is announced even if the record is
    /// unchanged.
    pub const fn adjusts(&self) -> bool {
        !self.adjustments.is_empty()
    }

    /// Returns the number of entries that the booking adds to the ledger.
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

    /// Writes an event for each adjustment, and queues it for every destination that counts revenue and that the
    /// payment was queued for, and for those that chose its type and want its purchase. Call it after the entries are
    /// written and the events of the payments of this settling are queued.
    pub fn announce(
        &self,
        write: &mut Write<'_>,
        announcement: &Announcement<'_>,
    ) -> Result<(), Error> {
        for (adjustment, event) in self.adjusted(announcement) {
            announce_adjustment(write, announcement, adjustment, &event)?;
        }
        Ok(())
    }

    /// Returns the adjustments, each with its event.
    fn adjusted<'b>(
        &'b self,
        announcement: &'b Announcement<'_>,
    ) -> impl Iterator<Item = (&'b Adjustment, Event)> + 'b {
        (0..)
            .zip(&self.adjustments)
            .map(|(n, adjustment)| (adjustment, announcement.event(REVENUE_ADJUSTED, n)))
    }
}

impl PricedPayment {
    /// Returns the payment with the price in the purchase's record, which comes from the catalogue or a device.
    fn listed(payment: Payment, description: &Description) -> Self {
        let other = || KnownPrice::unknown(UnknownPrice::PlanChanged);
        let price = if payment.is_priced {
            KnownPrice::listed(description)
        } else {
            other()
        };
        Self {
            payment,
            price,
            transaction_id: None,
        }
    }

    /// Adds the reason of an unknown price, if the device reported an implausible one.
    fn doubted(mut self, doubt: Option<PriceDoubt>) -> Self {
        if doubt == Some(PriceDoubt::Implausible)
            && self.price.unknown == Some(UnknownPrice::NotListed)
        {
            self.price.unknown = Some(UnknownPrice::Implausible);
        }
        self
    }

    /// Removes the price while it is unconfirmed: the store may not show yet which promotion applied to the payment, or
    /// the purchase may have been nothing but a trial.
    fn confirmed_by(self, purchase: &Purchase, now: Timestamp) -> Self {
        if !self.payment.is_priced || !purchase.is_price_unconfirmed(self.payment.at.unwrap_or(now))
        {
            return self;
        }
        Self {
            price: KnownPrice::unknown(UnknownPrice::Unconfirmed),
            ..self
        }
    }

    /// Sets the price from a sales report that was imported before.
    fn charge(&mut self, charge: &Sale) {
        self.price = KnownPrice::reported(charge);
        self.transaction_id = Some(charge.transaction_id.clone());
    }

    fn ledger_entry(&self, now: Timestamp) -> LedgerEntry {
        let Payment {
            number, kind, at, ..
        } = self.payment;
        let (usd, transaction_id) = (self.price.usd, self.transaction_id.clone());
        LedgerEntry {
            number,
            kind,
            at: at.unwrap_or(now),
            usd,
            transaction_id,
            is_by_rate: false,
        }
    }

    fn insert(
        &self,
        write: &mut Write<'_>,
        announcement: &Announcement<'_>,
        event_ids: &[EventId],
    ) -> Result<(), Error> {
        let (payment, price, settling) = (&self.payment, &self.price, announcement.settling);
        let event = event_ids.get(payment.index).copied();
        let source = if self.transaction_id.is_some() {
            Source::Report
        } else {
            price.source()
        };
        insert!(payments {
            collapse_key: settling.record.collapse_key,
            number: payment.number,
            entry: 0_i64,
            app_id: settling.origin.app_id,
            environment: settling.environment(),
            kind: payment.kind,
            event_id: event.ok_or_else(|| Error::corrupt("a payment is announced by no event"))?,
            other_event_id: payment
                .other_index
                .and_then(|index| event_ids.get(index).copied()),
            occurred_at: payment.at.unwrap_or(write.now()?),
            sku: announcement
                .description
                .data
                .get("product_ref_id")
                .and_then(Value::as_str),
            price: price.amount,
            currency: price.currency.as_deref(),
            usd: price.usd,
            unknown_because: price.unknown,
            source,
            transaction_id: self.transaction_id.as_deref(),
            priced_on: price.priced_on.map(|on| on.to_string()),
            rate_day: rate_day(price.conversion.filter(|_| price.usd.is_some())),
            created_at: write.now()?,
        })
        .later(write.connection)
    }
}

/// Adds the refunded amount and the price of the newest payment to the record. The price is that of a sales report,
/// else the recorded one with the corrections by later exchange rates.
fn describe(
    description: &mut Description,
    newest: i64,
    booked: &[LedgerEntry],
    charge: Option<&Sale>,
    recorded: Option<&RecordedPrice>,
) {
    let data = &mut description.data;
    if let Some(refunded) = payment::refunded(booked, newest) {
        payment::report_refund(data, refunded);
    }
    if let Some(charge) = charge {
        payment::report_price(data, charge);
        description.details.price_source = Some(PriceSource::Report);
    } else if let Some(price) = recorded.filter(|price| price.is_of(data)) {
        let price = RecordedPrice {
            usd: payment::recorded_usd(booked, newest),
            ..price.clone()
        };
        payment::keep_price(data, &price);
        description.details.price_source = Some(price.source);
    }
}

/// Returns the day of the rate that converted an amount.
fn rate_day(conversion: Option<Conversion>) -> Option<String> {
    conversion.map(|found| found.rate.day.to_string())
}

/// Returns an adjustment as an entry of the ledger.
fn entry(adjustment: &Adjustment, now: Timestamp) -> LedgerEntry {
    LedgerEntry {
        number: adjustment.number,
        kind: adjustment.kind,
        at: adjustment.at.unwrap_or(now),
        usd: Some(adjustment.usd),
        transaction_id: adjustment.transaction_id.clone(),
        is_by_rate: adjustment.transaction_id.is_none() && adjustment.conversion.is_some(),
    }
}

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
        priced_on: adjustment.conversion.map(|found| found.on.to_string()),
        rate_day: rate_day(adjustment.conversion),
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
            destination.chose(REVENUE_ADJUSTED)
                && destination
                    .filter
                    .wants(settling.origin.platform_id, environment)
        };
        if is_for {
            deliveries::queue(write, event, destination.id)?;
        }
    }
    Ok(())
}
