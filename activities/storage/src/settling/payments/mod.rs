//! The ledger: the price of each payment of a purchase, and the entries that changed it since.
//!
//! Entries are written only in the transaction that records a settling, under the lock of its purchase. `domain`
//! decides what a payment is and which entries are missing; a destination decides how an amount is sent. For a
//! store that shows each payment, the periods are booked (`periods.rs`).

mod confirmed;
mod earned;
mod ledger;
mod paid;
mod periods;
mod price;

pub use confirmed::confirmed;
pub use earned::{Earned, changes, earned, is_implied};
pub use ledger::{Ledger, SaleRow, Source, ledger_ahead, ledger_entries, sales_of};
pub use paid::paid_by;

use crate::events::deliveries::{self, Event};
use crate::events::event::{StoredEvent, insert};
use crate::settings::destinations::Destination;
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
use domain::period::Period;
use domain::{EventId, Purchase, Timestamp};
use ledger::{EntryRow, ForeignPrice, payment_events};
use price::{KnownPrice, OpenPayment};
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The entries that a settling adds to the ledger of its purchase.
#[derive(Debug, Default)]
pub struct Booking {
    payments: Vec<PricedPayment>,
    /// Payments that no transition announces; each has its amount in USD.
    unannounced: Vec<PricedPayment>,
    adjustments: Vec<BookedChange>,
    /// Whether destinations that count revenue count the unannounced payments: those since the purchase is known.
    counts_unannounced: bool,
}

/// A payment, and what is known of its price.
#[derive(Debug)]
struct PricedPayment {
    payment: Payment,
    price: KnownPrice,
    /// The transaction in the sales report that has the price.
    transaction_id: Option<String>,
    /// The payment as the store shows it, if it shows each payment.
    shown: Option<ShownPayment>,
}

/// A payment of a store that shows each payment; its period, if that is known.
#[derive(Debug)]
struct ShownPayment {
    period: Option<Period>,
}

/// A change of a payment, by which the ledger adds up.
#[derive(Debug)]
struct BookedChange {
    adjustment: Adjustment,
    /// The change as the store shows it, if it shows each payment.
    shown: Option<ShownChange>,
}

/// A change of a payment, in the currency of its period.
#[derive(Debug)]
struct ShownChange {
    transaction_id: String,
    /// The amount that it adds; `None` if only the exchange rate changed.
    amount: Option<Decimal>,
    /// The tax in what it returns.
    tax: Option<Decimal>,
}

impl Booking {
    /// Computes the entries that a settling adds: those of the periods, if the store shows each payment.
    pub fn of(
        write: &mut Write<'_>,
        settling: &Settling<'_>,
        ledger: Ledger,
        description: &mut Description,
    ) -> Result<Self, Error> {
        if settling.record.decision.purchase.shows_payments() {
            let entries = ledger.entries.all(write.connection)?;
            return Self::by_period(write, settling, entries, description);
        }
        Self::by_transition(write, settling, ledger, description)
    }

    /// Computes the entries of a store that shows no payments. If a sales report has the price of the newest payment,
    /// the record and its events get that price. Without a report, and without a new payment or correction, they keep
    /// the price that was recorded with that payment.
    fn by_transition(
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
            adjustments: adjustments.into_iter().map(BookedChange::derived).collect(),
            ..Self::default()
        })
    }

    /// Returns whether the booking changes the revenue of payments. Such a change is announced even if the record is
    /// unchanged.
    pub const fn adjusts(&self) -> bool {
        !self.adjustments.is_empty() || !self.unannounced.is_empty()
    }

    /// Returns the number of entries that the booking adds to the ledger.
    pub fn entries(&self) -> i64 {
        let entries = self.payments.len() + self.unannounced.len() + self.adjustments.len();
        i64::try_from(entries).unwrap_or(i64::MAX)
    }

    /// Writes the entries. `event_ids` are the events of the settling's transitions, in their order, and are written
    /// later in the same transaction.
    pub fn enter(
        &self,
        write: &mut Write<'_>,
        announcement: &Announcement<'_>,
        event_ids: &[EventId],
    ) -> Result<(), Error> {
        let id = |index: usize| event_ids.get(index).copied();
        for paid in &self.payments {
            let event = id(paid.payment.index)
                .ok_or_else(|| Error::corrupt("a payment is announced by no event"))?;
            let other = paid.payment.other_index.and_then(id);
            paid.insert(write, announcement, PaymentIds { event, other })?;
        }
        for (paid, event) in self.apart(announcement) {
            let ids = PaymentIds {
                event: event.id,
                other: None,
            };
            paid.insert(write, announcement, ids)?;
        }
        for (change, event) in self.adjusted(announcement) {
            insert_adjustment(write, announcement, change, event.id)?;
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
        for (paid, event) in self.apart(announcement) {
            announce_payment(write, announcement, paid, &event, self.counts_unannounced)?;
        }
        for (change, event) in self.adjusted(announcement) {
            announce_adjustment(write, announcement, change, &event)?;
        }
        Ok(())
    }

    /// Returns the adjustments, each with its event.
    fn adjusted<'b>(
        &'b self,
        announcement: &'b Announcement<'_>,
    ) -> impl Iterator<Item = (&'b BookedChange, Event)> + 'b {
        (0..)
            .zip(&self.adjustments)
            .map(|(n, change)| (change, announcement.event(REVENUE_ADJUSTED, n)))
    }

    /// Returns the payments that no transition announces, each with its event. Their events are numbered after those of
    /// the adjustments.
    fn apart<'b>(
        &'b self,
        announcement: &'b Announcement<'_>,
    ) -> impl Iterator<Item = (&'b PricedPayment, Event)> + 'b {
        let first = u32::try_from(self.adjustments.len()).unwrap_or(u32::MAX);
        (first..)
            .zip(&self.unannounced)
            .map(|(n, paid)| (paid, announcement.event(REVENUE_ADJUSTED, n)))
    }
}

/// The events that announce a payment.
struct PaymentIds {
    event: EventId,
    other: Option<EventId>,
}

impl BookedChange {
    /// Returns a change that no period shows.
    const fn derived(adjustment: Adjustment) -> Self {
        Self {
            adjustment,
            shown: None,
        }
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
            shown: None,
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
        ids: PaymentIds,
    ) -> Result<(), Error> {
        let (payment, price, settling) = (&self.payment, &self.price, announcement.settling);
        let source = if self.transaction_id.is_some() {
            Source::Report
        } else if self.shown.is_some() {
            Source::Store
        } else {
            price.source()
        };
        let period = self.period();
        insert!(payments {
            collapse_key: settling.record.collapse_key,
            number: payment.number,
            entry: 0_i64,
            app_id: settling.origin.app_id,
            environment: settling.environment(),
            kind: payment.kind,
            event_id: ids.event,
            other_event_id: ids.other,
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
            store_transaction: period.map(|period| period.transaction_id.as_str()),
            amount: period.and_then(|period| period.price),
            tax: period.and_then(|period| period.tax),
            country: period.and_then(|period| period.country.as_deref()),
            period_start: period.map(|period| period.begins_at),
            period_end: period.and_then(|period| period.ends_at),
            quantity: period.map(|period| i64::from(period.quantity)),
            created_at: write.now()?,
        })
        .later(write.connection)
    }

    /// Returns the period of the payment, if the store shows it.
    fn period(&self) -> Option<&Period> {
        self.shown.as_ref()?.period.as_ref()
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
    change: &BookedChange,
    event: EventId,
) -> Result<(), Error> {
    let (adjustment, shown) = (&change.adjustment, change.shown.as_ref());
    let settling = announcement.settling;
    let key = settling.record.collapse_key;
    let carrier = payment_events(write.connection, key, adjustment.number)?;
    let source = match (&adjustment.transaction_id, adjustment.kind) {
        (Some(_), _) => Source::Report,
        (None, EntryKind::Correction) if shown.is_none() => Source::Catalogue,
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
        store_transaction: shown.map(|shown| shown.transaction_id.as_str()),
        amount: shown.and_then(|shown| shown.amount),
        tax: shown.and_then(|shown| shown.tax),
        created_at: write.now()?,
    })
    .later(write.connection)
}

/// Records the event of one adjustment and queues it.
fn announce_adjustment(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    change: &BookedChange,
    event: &Event,
) -> Result<(), Error> {
    let adjustment = &change.adjustment;
    let carrier = payment_events(write.connection, event.collapse_key, adjustment.number)?;
    let shown = change.shown.as_ref();
    let body = RevenueAdjusted {
        payment_event: carrier.event_id,
        number: adjustment.number,
        sku: carrier.sku.as_deref(),
        kind: adjustment.kind,
        usd: adjustment.usd,
        occurred_at: adjustment.at.unwrap_or(write.now()?),
        transaction_id: adjustment
            .transaction_id
            .as_deref()
            .or_else(|| shown.map(|shown| shown.transaction_id.as_str())),
        ..adjusted(write, announcement, event)?
    };
    store_adjusted(write, announcement, event, body)?;
    for destination in announcement.destinations {
        let is_for = if destination.per_user {
            earned::was_queued(write.connection, &carrier.events(), destination.id)?
        } else {
            chose_adjustments(destination, announcement)
        };
        if is_for {
            deliveries::queue(write, event, destination.id)?;
        }
    }
    Ok(())
}

/// Records the event of a payment that no transition announces, and queues it. `is_counted` is whether destinations
/// that count revenue get it.
fn announce_payment(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    paid: &PricedPayment,
    event: &Event,
    is_counted: bool,
) -> Result<(), Error> {
    let data = &announcement.description.data;
    let body = RevenueAdjusted {
        sku: data.get("product_ref_id").and_then(Value::as_str),
        number: paid.payment.number,
        usd: paid.price.usd.unwrap_or_default(),
        occurred_at: paid.payment.at.unwrap_or(write.now()?),
        transaction_id: paid.period().map(|period| period.transaction_id.as_str()),
        ..adjusted(write, announcement, event)?
    };
    store_adjusted(write, announcement, event, body)?;
    let settling = announcement.settling;
    for destination in announcement.destinations {
        let is_for = if destination.per_user {
            let mut types = payment::event_types().into_iter();
            is_counted
                && types.any(|one| destination.chose(one))
                && destination
                    .filter
                    .wants(settling.origin.platform_id, settling.environment())
        } else {
            chose_adjustments(destination, announcement)
        };
        if is_for {
            deliveries::queue(write, event, destination.id)?;
        }
    }
    Ok(())
}

/// Whether a destination is subscribed to `revenue.adjusted` of this purchase.
fn chose_adjustments(destination: &Destination, announcement: &Announcement<'_>) -> bool {
    let settling = announcement.settling;
    destination.chose(REVENUE_ADJUSTED)
        && destination
            .filter
            .wants(settling.origin.platform_id, settling.environment())
}

/// Returns a `revenue.adjusted` of nothing, which is its own payment.
fn adjusted<'a>(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    event: &Event,
) -> Result<RevenueAdjusted<'a>, Error> {
    let settling = announcement.settling;
    Ok(RevenueAdjusted {
        id: event.id,
        created_at: write.now()?,
        app: settling.origin.app_id,
        platform: settling.origin.platform_id,
        collapse_key: event.collapse_key,
        user: settling.owner.map(|owner| owner.id),
        environment: settling.environment(),
        payment_event: event.id,
        number: 0,
        sku: None,
        kind: EntryKind::Correction,
        usd: Decimal::ZERO,
        occurred_at: write.now()?,
        transaction_id: None,
    })
}

fn store_adjusted(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    event: &Event,
    body: RevenueAdjusted<'_>,
) -> Result<(), Error> {
    let stored = StoredEvent {
        user_id: body.user,
        occurred_at: Some(body.occurred_at),
        environment: Some(body.environment),
        causes: announcement.causes.clone(),
        ..StoredEvent::of(body.app, body.body().to_string())
    };
    insert(write, event, stored)
}
