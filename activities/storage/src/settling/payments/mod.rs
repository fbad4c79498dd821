//! The ledger of payments: the revenue of each, and what changed it since.
//!
//! Entries are written in the transaction that records a settling, under the lock of its purchase, and by nothing else.
//! What is a payment, and which entries are missing, is `domain`'s; how an amount is sent is a destination's.

mod earned;
mod paid;

pub use earned::{Earned, changes, earned, is_implied};
pub use paid::paid_by;

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::events::deliveries;
use crate::events::event::{StoredEvent, insert};
use crate::purchases::purchase::Origin;
use crate::settings::destinations::Destination;
use crate::settling::revision::Announcement;
use domain::catalogue::PriceSource;
use domain::event::{Details, REVENUE_ADJUSTED};
use domain::payment::{self, Adjustment, EntryKind, LedgerEntry, Payment, Sale, UnknownPrice};
use domain::settling::Record;
use domain::{AppId, CollapseKey, EventId, Purchase, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The entries that a settling adds to the ledger of its purchase.
#[derive(Debug, Default)]
pub struct Booking {
    payments: Vec<Paid>,
    adjustments: Vec<Adjustment>,
}

/// A payment with what is known of its price.
#[derive(Debug)]
struct Paid {
    payment: Payment,
    price: Option<String>,
    currency: Option<String>,
    usd: Option<String>,
    unknown: Option<UnknownPrice>,
    /// The transaction of the sales report with the price.
    transaction_id: Option<String>,
}

row! {
    struct EntryRow {
        number: i64,
        kind: String,
        occurred_at: Timestamp,
        usd: Option<String>,
        unknown_because: Option<String>,
        transaction_id: Option<String>,
    }
}

row! {
    pub struct SaleRow {
        pub transaction_id: String,
        pub kind: String,
        pub sold_at: Timestamp,
        pub price: String,
        pub currency: String,
        pub rate: Option<String>,
    }
}

row! {
    /// The events of a payment, and how many entries it has.
    struct Carrier {
        event_id: EventId,
        other_event_id: Option<EventId>,
        sku: Option<String>,
        entries: i64,
    }
}

impl Booking {
    /// Computes what a settling adds. The record and its events get the price that a sales report has for the newest
    /// payment.
    pub fn of(
        write: &mut Write<'_>,
        (record, origin): (&Record, &Origin),
        (data, details): (&mut Value, &mut Details),
    ) -> Result<Self, Error> {
        let purchase = &record.decision.purchase;
        let entries = entries(write.connection, record.collapse_key)?;
        let unconfirmed = unconfirmed(&entries);
        let mut booked = entries.into_iter().map(EntryRow::booked).collect::<Result<Vec<_>, _>>()?;
        let numbers: BTreeSet<i64> = booked.iter().map(|entry| entry.number).collect();
        let new = payment::payments(&record.decision.transitions, purchase, &numbers);
        if booked.is_empty() && new.is_empty() {
            return Ok(Self::default());
        }
        let now = write.now;
        let mut payments: Vec<Paid> =
            new.into_iter().map(|payment| Paid::listed(payment, data).confirmed_by(purchase, now)).collect();
        for paid in &payments {
            booked.push(paid.booked(write.now)?);
        }
        let sales = sales_of(write.connection, (origin.app_id, &origin.receipt_id))?;
        let reach = payment::reach(purchase);
        let charges = payment::charges(&booked, &sales, reach);
        let already = booked.len() - payments.len();
        for (paid, entry) in payments.iter_mut().zip(booked.iter_mut().skip(already)) {
            if let Some(charge) = charges.get(&paid.payment.number).filter(|charge| charge.usd.is_some()) {
                paid.charge(charge);
                entry.usd = charge.usd;
            }
        }
        let unpriced = unconfirmed.into_iter().filter(|(number, at)| {
            let is_charged = charges.get(number).is_some_and(|charge| charge.usd.is_some());
            !is_charged && !purchase.is_offer_unconfirmed(*at)
        });
        let mut adjustments = Vec::new();
        for found in unpriced {
            adjustments.extend(price_later(write, (record.collapse_key, data), (found, &mut booked))?);
        }
        adjustments.extend(payment::adjustments(&booked, &sales, payment::refund_status(purchase), reach));
        if let Some(charge) = payment::newest(&booked).and_then(|newest| charges.get(&newest)) {
            payment::report_price(data, charge);
            details.price_source = Some(PriceSource::Report);
        }
        Ok(Self { payments, adjustments })
    }

    /// Whether it changes the revenue of payments, which is announced even if the record is unchanged.
    pub const fn adjusts(&self) -> bool {
        !self.adjustments.is_empty()
    }
}

impl Paid {
    /// From the record of the purchase, whose price is the catalogue's.
    fn listed(payment: Payment, data: &Value) -> Self {
        let text = |field: &str| data.get(field).and_then(Value::as_str).map(str::to_owned);
        let priced = |field: &str| text(field).filter(|_| payment.is_priced);
        let unknown = if payment.is_priced { UnknownPrice::of(data) } else { Some(UnknownPrice::PlanChanged) };
        Self {
            payment,
            price: priced("purchase_price"),
            currency: priced("purchase_currency"),
            usd: priced("price_in_usd"),
            unknown,
            transaction_id: None,
        }
    }

    /// Without a price while the store may not show yet which promotion held for it.
    fn confirmed_by(self, purchase: &Purchase, now: Timestamp) -> Self {
        if !self.payment.is_priced || !purchase.is_offer_unconfirmed(self.payment.at.unwrap_or(now)) {
            return self;
        }
        Self { price: None, currency: None, usd: None, unknown: Some(UnknownPrice::Unconfirmed), ..self }
    }

    /// Sets the price from a sales report that was imported before.
    fn charge(&mut self, charge: &Sale) {
        self.price = Some(charge.price.to_string());
        self.currency = Some(charge.currency.clone());
        self.usd = charge.usd.map(|usd| usd.to_string());
        self.unknown = None;
        self.transaction_id = Some(charge.transaction_id.clone());
    }

    fn booked(&self, now: Timestamp) -> Result<LedgerEntry, Error> {
        let Payment { number, kind, at, .. } = self.payment;
        let usd = self.usd.as_deref().map(str::parse).transpose();
        let usd = usd.map_err(|cause| Error::corrupt_by("a price is not a decimal", cause))?;
        Ok(LedgerEntry { number, kind, at: at.unwrap_or(now), usd, transaction_id: self.transaction_id.clone() })
    }

    const fn source(&self) -> &'static str {
        if self.transaction_id.is_some() { REPORT } else { CATALOGUE }
    }
}

const REPORT: &str = "report";
const CATALOGUE: &str = "catalogue";

/// The number and time of each payment whose price is still to be confirmed by the store.
fn unconfirmed(entries: &[EntryRow]) -> Vec<(i64, Timestamp)> {
    let is_alone = |row: &EntryRow| entries.iter().filter(|other| other.number == row.number).count() == 1;
    let is_open = |row: &&EntryRow| row.unknown_because.as_deref() == Some(UnknownPrice::Unconfirmed.as_str());
    entries.iter().filter(is_open).filter(|row| is_alone(row)).map(|row| (row.number, row.occurred_at)).collect()
}

const SET_UNKNOWN: Sql = statement! {"
    UPDATE payments
    SET unknown_because = ?
    WHERE collapse_key = ? AND number = ? AND entry = 0
"};

/// The price of a payment that the store has confirmed since, which the record has if it is the newest one. Where it has
/// none, the ledger keeps the reason.
fn price_later(
    write: &mut Write<'_>,
    (key, data): (CollapseKey, &Value),
    ((number, at), booked): ((i64, Timestamp), &mut Vec<LedgerEntry>),
) -> Result<Option<Adjustment>, Error> {
    let is_newest = payment::newest(booked) == Some(number);
    let unknown = if is_newest { UnknownPrice::of(data) } else { Some(UnknownPrice::Promotion) };
    if let Some(why) = unknown {
        return sql(SET_UNKNOWN).bind(why.as_str()).bind(key).bind(number).run(write.connection).map(|_| None);
    }
    let usd = data.get("price_in_usd").and_then(Value::as_str).unwrap_or_default();
    let usd = usd.parse().map_err(|cause| Error::corrupt_by("a price is not a decimal", cause))?;
    let (kind, transaction_id) = (EntryKind::Correction, None);
    booked.push(LedgerEntry { number, kind, at, usd: Some(usd), transaction_id: None });
    Ok(Some(Adjustment { number, kind, at: Some(at), usd, transaction_id }))
}

const COUNT_ENTRIES: Sql = statement!("UPDATE purchases SET payments = payments + ? WHERE collapse_key = ?");

/// Writes the entries of a settling. `event_ids` are the events of its transitions, in their order, and are written later
/// in the same transaction.
pub fn enter(
    write: &mut Write<'_>,
    (announcement, booking): (&Announcement<'_>, &Booking),
    event_ids: &[EventId],
) -> Result<(), Error> {
    let Booking { payments, adjustments } = booking;
    for paid in payments {
        insert_payment(write, announcement, (paid, event_ids))?;
    }
    for (n, adjustment) in (0..).zip(adjustments) {
        insert_adjustment(write, announcement, (adjustment, n))?;
    }
    let entries = payments.len() + adjustments.len();
    if entries == 0 {
        return Ok(());
    }
    sql(COUNT_ENTRIES)
        .bind(i64::try_from(entries).unwrap_or(i64::MAX))
        .bind(announcement.record.collapse_key)
        .run(write.connection)
        .map(drop)
}

/// Each adjustment has an event of its own, which is owed to every destination that counts and was owed the payment. The
/// entries are written, and the events of payments of the same settling are owed.
pub fn announce(
    write: &mut Write<'_>,
    (announcement, booking): (&Announcement<'_>, &Booking),
    destinations: &[Destination],
) -> Result<(), Error> {
    for (n, adjustment) in (0..).zip(&booking.adjustments) {
        announce_one(write, announcement, ((adjustment, n), destinations))?;
    }
    Ok(())
}

const INSERT_PAYMENT: Sql = statement! {"
    INSERT INTO payments (collapse_key, number, entry, app_id, environment, kind, event_id, other_event_id,
        occurred_at, sku, price, currency, usd, unknown_because, source, transaction_id, created_at)
    VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"};

fn insert_payment(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    (paid, event_ids): (&Paid, &[EventId]),
) -> Result<(), Error> {
    let payment = &paid.payment;
    let event =
        event_ids.get(payment.place).copied().ok_or_else(|| Error::corrupt("a payment is announcement by no event"))?;
    sql(INSERT_PAYMENT)
        .bind(announcement.record.collapse_key)
        .bind(payment.number)
        .bind(announcement.origin.app_id)
        .bind(announcement.environment())
        .bind(payment.kind.as_str())
        .bind(event)
        .bind(payment.other_place.and_then(|place| event_ids.get(place).copied()))
        .bind(payment.at.unwrap_or(write.now))
        .bind(announcement.data.get("product_ref_id").and_then(Value::as_str))
        .bind(paid.price.as_deref())
        .bind(paid.currency.as_deref())
        .bind(paid.usd.as_deref())
        .bind(paid.unknown.map(UnknownPrice::as_str))
        .bind(paid.source())
        .bind(paid.transaction_id.as_deref())
        .bind(write.now)
        .run(write.connection)
        .map(drop)
}

const INSERT_ADJUSTMENT: Sql = statement! {"
    INSERT INTO payments (collapse_key, number, entry, app_id, environment, kind, event_id, occurred_at, sku,
        usd, source, transaction_id, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"};

fn insert_adjustment(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    (adjustment, n): (&Adjustment, u32),
) -> Result<(), Error> {
    let key = announcement.record.collapse_key;
    let carrier = carrier(write.connection, key, adjustment)?;
    sql(INSERT_ADJUSTMENT)
        .bind(key)
        .bind(adjustment.number)
        .bind(carrier.entries)
        .bind(announcement.origin.app_id)
        .bind(announcement.environment())
        .bind(adjustment.kind.as_str())
        .bind(announcement.event(REVENUE_ADJUSTED, n).id)
        .bind(adjustment.at.unwrap_or(write.now))
        .bind(carrier.sku.as_deref())
        .bind(adjustment.usd.to_string())
        .bind(source(adjustment))
        .bind(adjustment.transaction_id.as_deref())
        .bind(write.now)
        .run(write.connection)
        .map(drop)
}

const fn source(adjustment: &Adjustment) -> &'static str {
    match (&adjustment.transaction_id, adjustment.kind) {
        (Some(_), _) => REPORT,
        (None, EntryKind::Correction) => CATALOGUE,
        (None, _) => "store",
    }
}

/// Records the event of one adjustment and owes it.
fn announce_one(
    write: &mut Write<'_>,
    announcement: &Announcement<'_>,
    ((adjustment, n), destinations): ((&Adjustment, u32), &[Destination]),
) -> Result<(), Error> {
    let key = announcement.record.collapse_key;
    let carrier = carrier(write.connection, key, adjustment)?;
    let event = announcement.event(REVENUE_ADJUSTED, n);
    let occurred_at = adjustment.at.unwrap_or(write.now);
    let environment = announcement.environment();
    let body = json!({
        "id": event.id, "event_type": REVENUE_ADJUSTED, "collapse_key": key, "number": adjustment.number,
        "kind": adjustment.kind.as_str(), "usd": adjustment.usd.to_string(), "sku": carrier.sku,
        "payment_event_id": carrier.event_id, "occurred_at": occurred_at, "environment": environment,
    });
    let stored = StoredEvent {
        user: announcement.owner.map(|(owner, _)| (owner.id, None)),
        occurred_at: Some(occurred_at),
        body: body.to_string(),
        environment: Some(environment),
        state_apart: None,
        profile: None,
        views: None,
    };
    insert(write, &event, stored)?;
    for destination in destinations.iter().filter(|destination| destination.per_user) {
        if earned::was_owed(write.connection, &carrier.events(), destination.id)? {
            deliveries::owe(write, &event, destination.id, 0)?;
        }
    }
    Ok(())
}

const FIND_CARRIER: Sql = statement! {"
    SELECT event_id, other_event_id, sku,
        (SELECT COUNT(*) FROM payments m WHERE m.collapse_key = p.collapse_key
        AND m.number = p.number) AS entries
    FROM payments p
    WHERE collapse_key = ? AND number = ? AND entry = 0
"};

/// The events of the payment that an adjustment changes.
fn carrier(connection: &mut AnyConnection, key: CollapseKey, adjustment: &Adjustment) -> Result<Carrier, Error> {
    let carrier: Option<Carrier> = sql(FIND_CARRIER).bind(key).bind(adjustment.number).first(connection)?;
    carrier.ok_or_else(|| Error::corrupt("an adjustment changes no payment"))
}

impl Carrier {
    fn events(&self) -> Vec<EventId> {
        std::iter::once(self.event_id).chain(self.other_event_id).collect()
    }
}

/// The entries of a purchase, those of one payment in their order.
pub fn booked(connection: &mut AnyConnection, key: CollapseKey) -> Result<Vec<LedgerEntry>, Error> {
    entries(connection, key)?.into_iter().map(EntryRow::booked).collect()
}

const ENTRIES: Sql = statement! {"
    SELECT number, kind, occurred_at, usd, unknown_because, transaction_id
    FROM payments
    WHERE collapse_key = ?
    ORDER BY number, entry
"};

fn entries(connection: &mut AnyConnection, key: CollapseKey) -> Result<Vec<EntryRow>, Error> {
    sql(ENTRIES).bind(key).all(connection)
}

const SALES_OF_RECEIPT: Sql = statement! {hot "sales_receipt", "
    SELECT s.transaction_id, s.kind, s.sold_at, s.price, s.currency, r.usd AS rate
    FROM sales s
    LEFT JOIN rates r ON r.app_id = s.app_id AND r.currency = s.currency AND r.day = s.day
    WHERE s.app_id = ? AND s.receipt_id = ?
    ORDER BY s.sold_at, s.transaction_id, s.kind
"};

/// The lines of sales reports about a receipt.
pub fn sales_of(connection: &mut AnyConnection, (app, receipt_id): (AppId, &str)) -> Result<Vec<Sale>, Error> {
    let rows: Vec<SaleRow> = sql(SALES_OF_RECEIPT).bind(app).bind(receipt_id).all(connection)?;
    rows.into_iter().map(SaleRow::sale).collect()
}

impl EntryRow {
    fn booked(self) -> Result<LedgerEntry, Error> {
        let usd = self.usd.as_deref().map(str::parse).transpose();
        Ok(LedgerEntry {
            number: self.number,
            kind: self.kind.parse().map_err(|what: String| Error::corrupt(what))?,
            at: self.occurred_at,
            usd: usd.map_err(|cause| Error::corrupt_by("an amount of the ledger is not a decimal", cause))?,
            transaction_id: self.transaction_id,
        })
    }
}

impl SaleRow {
    pub fn sale(self) -> Result<Sale, Error> {
        let no_decimal = |cause| Error::corrupt_by("an amount of a sales report is not a decimal", cause);
        let price = self.price.parse().map_err(no_decimal)?;
        let rate = self.rate.as_deref().map(str::parse).transpose();
        let rate = rate.map_err(|cause| Error::corrupt_by("a rate is not a decimal", cause))?;
        Ok(Sale {
            transaction_id: self.transaction_id,
            kind: self.kind.parse().map_err(|what: String| Error::corrupt(what))?,
            at: self.sold_at,
            usd: payment::usd(price, &self.currency, rate),
            price,
            currency: self.currency,
        })
    }
}
