//! The ledger of a purchase whose store shows each payment. Each period is one payment, under the store's id of its
//! transaction; refunds, their reversals and corrected prices are its changes.
//!
//! `domain` assigns periods to payments, and computes the entries that are missing. All amounts of a period are
//! converted at the rate of the day on which it was paid. A change is booked once its amount in USD is known, so that a
//! payment without an exchange rate is neither corrected nor refunded before there is one. A refund of a period that
//! the purchase no longer has is booked against the payment in the ledger. If an answer shows such a period, with its
//! price, and the ledger has no payment of it, that is booked as well.

use super::ledger::{EntryRow, Source};
use super::price::KnownPrice;
use super::{BookedChange, Booking, PricedPayment, ShownChange, ShownPayment, entry};
use crate::settings::rates;
use crate::settling::revision::{Description, Settling};
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::payment::{
    self, Adjustment, Conversion, Day, EntryKind, LedgerEntry, Payment, PeriodPayment,
    RecordedPayment, Standing, UnknownPrice,
};
use domain::period::{Period, PeriodEntry, RefundedPayment, missing_entries, missing_tax};
use domain::{CollapseKey, Timestamp};
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

/// A payment in the ledger, with its changes.
struct Recorded {
    payment: RecordedPayment,
    /// The sum of its entries in USD.
    usd: Decimal,
    /// The sum of the tax in its refunds and reversals; `None` if no tax of them is known.
    returned_tax: Option<Decimal>,
    at: Timestamp,
    has_price: bool,
    unknown_because: Option<UnknownPrice>,
}

/// A period and the rate of its day.
struct ConvertedPeriod<'a> {
    period: &'a Period,
    /// The day whose rate converts its amounts; `None` for USD, and without a currency.
    on: Option<Day>,
    conversion: Option<Conversion>,
}

/// The entries of one payment, while those that are missing are added.
struct Sum {
    entries: Vec<PeriodEntry>,
    /// Amount in USD that is booked.
    usd: Decimal,
    /// See [`Recorded::returned_tax`].
    returned_tax: Option<Decimal>,
    at: Timestamp,
}

/// Selects the transactions among these that the ledger of another purchase has. `|| ''` keeps the planner from reading
/// all payments of the app.
const ELSEWHERE: Sql = statement! {hot "payments_store_transaction", "
    SELECT DISTINCT store_transaction AS value
    FROM payments
    WHERE store_transaction IN (?*) AND store_transaction IS NOT NULL AND collapse_key <> ? AND app_id || '' = ?
"};

const SET_PERIOD: Sql = statement! {"
    UPDATE payments
    SET price = ?, currency = ?, unknown_because = ?, source = ?, priced_on = ?, store_transaction = ?,
        period_start = ?, period_end = ?, quantity = ?, tax = ?, country = ?
    WHERE collapse_key = ? AND number = ? AND entry = 0
"};

impl Booking {
    /// Computes the entries of the periods that a purchase has, and adds the refund of the last payment to the record.
    pub(super) fn by_period(
        write: &mut Write<'_>,
        settling: &Settling<'_>,
        entries: Vec<EntryRow>,
        description: &mut Description,
    ) -> Result<Self, Error> {
        let decision = &settling.record.decision;
        let purchase = &decision.purchase;
        let rows = || entries.chunk_by(|a, b| a.number == b.number);
        let known: BTreeMap<i64, Recorded> = rows()
            .filter_map(|rows| Some((rows.first()?.number, Recorded::of(rows)?)))
            .collect();
        let recorded: Vec<RecordedPayment> =
            known.values().map(|one| one.payment.clone()).collect();
        let older = decision.older.as_slice();
        let shown = payment::unrecorded_transactions(purchase, older, &recorded);
        let elsewhere = booked_elsewhere(write, settling, shown)?;
        let mut all = payment::period_payments(
            &decision.transitions,
            purchase,
            older,
            &recorded,
            &elsewhere,
        );
        all.extend(rows().filter_map(|rows| refunded_earlier(rows, &decision.refunds)));
        let conversions = conversions(write, settling, &all)?;
        let now = write.now()?;
        let mut booking = Self {
            counts_unannounced: !known.is_empty(),
            ..Self::default()
        };
        for one in &all {
            let period = one.period.as_ref();
            let period = period.map(|period| ConvertedPeriod::of(period, &conversions));
            let sum = match known.get(&one.number) {
                Some(known) => {
                    if let Some(period) = &period {
                        known.set_period(write, settling.record.collapse_key, period)?;
                    }
                    Sum {
                        entries: known.payment.entries.clone(),
                        usd: known.usd,
                        returned_tax: known.returned_tax,
                        at: known.at,
                    }
                }
                None => match booking.add_payment(one, period.as_ref(), now) {
                    Some(sum) => sum,
                    None => continue,
                },
            };
            if let Some(period) = period {
                booking.add_changes(one.number, &period, sum);
            }
        }
        let paid = purchase.paid_period();
        let is_current = |one: &&PeriodPayment| one.period.as_ref() == paid && paid.is_some();
        if let Some(current) = all.iter().find(is_current) {
            let mut booked: Vec<LedgerEntry> =
                entries.into_iter().map(EntryRow::into_entry).collect();
            let changes = booking.adjustments.iter();
            booked.extend(changes.map(|change| entry(&change.adjustment, now)));
            if let Some(refunded) = payment::refunded(&booked, current.number) {
                payment::report_refund(&mut description.data, refunded);
            }
        }
        Ok(booking)
    }

    /// Adds a new payment. Returns its sum; `None` if it cannot be booked yet: only the event of its amount announces
    /// it, and the amount in USD is not known.
    fn add_payment(
        &mut self,
        new: &PeriodPayment,
        period: Option<&ConvertedPeriod<'_>>,
        now: Timestamp,
    ) -> Option<Sum> {
        let price = period.map_or_else(
            || KnownPrice::unknown(UnknownPrice::Unconfirmed),
            ConvertedPeriod::price,
        );
        let usd = price.usd;
        let begins_at = period.map(|period| period.period.begins_at);
        let at = begins_at.or(new.at);
        let (index, other_index) = match new.standing {
            Standing::Announced { index, other_index } => (index, other_index),
            Standing::Recorded | Standing::Unannounced => (0, None),
        };
        let paid = PricedPayment {
            payment: Payment {
                kind: new.kind,
                number: new.number,
                index,
                other_index,
                at,
                is_priced: true,
            },
            price,
            transaction_id: None,
            shown: Some(ShownPayment {
                period: period.map(|period| period.period.clone()),
            }),
        };
        if new.standing == Standing::Unannounced {
            usd?;
            self.unannounced.push(paid);
        } else {
            self.payments.push(paid);
        }
        Some(Sum {
            entries: vec![PeriodEntry {
                kind: new.kind,
                amount: period.and_then(|period| period.period.price),
            }],
            usd: usd.unwrap_or_default(),
            returned_tax: None,
            at: at.unwrap_or(now),
        })
    }

    /// Adds the changes that a payment lacks: first the difference by a newer exchange rate, then what the store shows.
    fn add_changes(&mut self, number: i64, period: &ConvertedPeriod<'_>, mut sum: Sum) {
        let by_rate = PeriodEntry {
            kind: EntryKind::Correction,
            amount: None,
        };
        let payment = sum.entries.first().map(|entry| entry.kind);
        let payment = payment.unwrap_or(EntryKind::Renewal);
        let missing = missing_entries(period.period, payment, &sum.entries);
        let known = missing.into_iter().filter(|entry| entry.amount.is_some());
        for entry in std::iter::once(by_rate).chain(known) {
            sum.entries.push(entry);
            let Some(total) = period.total(&sum.entries) else {
                return;
            };
            let usd = total.saturating_sub(sum.usd);
            if usd.is_zero() {
                continue;
            }
            sum.usd = total;
            let refund = period.period.refund.map(|refund| refund.at);
            let is_return = is_return(entry.kind);
            let tax = if is_return {
                missing_tax(period.period, sum.returned_tax)
            } else {
                None
            };
            self.adjustments.push(BookedChange {
                adjustment: Adjustment {
                    number,
                    kind: entry.kind,
                    at: refund.filter(|_| is_return).or(Some(sum.at)),
                    usd,
                    transaction_id: None,
                    conversion: period.conversion,
                },
                shown: Some(ShownChange {
                    transaction_id: period.period.transaction_id.clone(),
                    amount: entry.amount,
                    tax,
                }),
            });
        }
    }
}

impl Recorded {
    /// Returns the payment that these rows are; `None` without a row.
    fn of(rows: &[EntryRow]) -> Option<Self> {
        let first = rows.first()?;
        let entry = |row: &EntryRow| PeriodEntry {
            kind: row.kind,
            amount: row.amount,
        };
        let usd = rows.iter().filter_map(|row| row.usd);
        let returns = rows.iter().filter(|row| is_return(row.kind));
        Some(Self {
            payment: RecordedPayment {
                number: first.number,
                transaction_id: first.store_transaction.clone(),
                entries: rows.iter().map(entry).collect(),
            },
            usd: usd.fold(Decimal::ZERO, Decimal::saturating_add),
            returned_tax: returns
                .filter_map(|row| row.tax)
                .reduce(Decimal::saturating_add),
            at: first.occurred_at,
            has_price: first.price.is_some(),
            unknown_because: first.unknown_because,
        })
    }

    /// Stores the period of a payment that was booked without it, or without its price. The amount follows as a
    /// correction.
    fn set_period(
        &self,
        write: &mut Write<'_>,
        key: CollapseKey,
        found: &ConvertedPeriod<'_>,
    ) -> Result<(), Error> {
        let (period, price) = (found.period, found.price());
        let is_new = self.payment.transaction_id.is_none();
        let is_priced_now = !self.has_price && price.amount.is_some();
        if !is_new && !is_priced_now {
            return Ok(());
        }
        sql(SET_PERIOD)
            .bind((
                price.amount,
                price.currency.as_deref(),
                price.unknown.or(self.unknown_because),
                Source::Store,
                price.priced_on.map(|on| on.to_string()),
                period.transaction_id.as_str(),
                period.begins_at,
                period.ends_at,
                i64::from(period.quantity),
                period.tax,
            ))
            .bind((period.country.as_deref(), key, self.payment.number))
            .later(write.connection)
    }
}

impl<'a> ConvertedPeriod<'a> {
    fn of(period: &'a Period, conversions: &BTreeMap<(String, Day), Option<Conversion>>) -> Self {
        let of_day = converted_on(period);
        Self {
            period,
            on: of_day.as_ref().map(|(_, on)| *on),
            conversion: of_day.and_then(|of_day| *conversions.get(&of_day)?),
        }
    }

    /// Returns an amount in USD; `None` if the period's currency or its rate is not known.
    fn usd(&self, amount: Decimal) -> Option<Decimal> {
        if amount.is_zero() {
            return Some(Decimal::ZERO);
        }
        let currency = self.period.currency.as_deref()?;
        payment::usd(
            amount,
            currency,
            self.conversion.map(|found| found.rate.usd),
        )
    }

    /// Returns the sum of these entries in USD: the price, less what was returned.
    fn total(&self, entries: &[PeriodEntry]) -> Option<Decimal> {
        let sum = |counts: fn(EntryKind) -> bool| {
            let counted = entries.iter().filter(|entry| counts(entry.kind));
            counted
                .filter_map(|entry| entry.amount)
                .fold(Decimal::ZERO, Decimal::saturating_add)
        };
        let price = self.usd(sum(|kind| !is_return(kind)))?;
        let returned = self.usd(-sum(is_return))?;
        Some(price.saturating_sub(returned))
    }

    /// Returns the price of the period.
    fn price(&self) -> KnownPrice {
        let Some(amount) = self.period.price else {
            return KnownPrice::unknown(UnknownPrice::Unconfirmed);
        };
        let usd = self.usd(amount);
        KnownPrice {
            amount: Some(amount),
            currency: self.period.currency.clone(),
            usd,
            unknown: usd.is_none().then_some(UnknownPrice::NoRate),
            priced_on: self.on,
            conversion: self.conversion,
            ..KnownPrice::default()
        }
    }
}

/// Returns a payment whose period the purchase no longer has, with what these refunds return of it. `rows` are its
/// entries.
fn refunded_earlier(rows: &[EntryRow], refunds: &[RefundedPayment]) -> Option<PeriodPayment> {
    let first = rows.first()?;
    let id = first.store_transaction.as_deref()?;
    if !refunds.iter().any(|one| one.transaction_id == id) {
        return None;
    }
    let (returns, prices): (Vec<&EntryRow>, Vec<&EntryRow>) =
        rows.iter().partition(|row| is_return(row.kind));
    let quantity = first
        .quantity
        .and_then(|quantity| u32::try_from(quantity).ok());
    let booked = Period {
        price: prices
            .iter()
            .filter_map(|row| row.amount)
            .reduce(Decimal::saturating_add),
        currency: first.currency.clone(),
        quantity: quantity.unwrap_or(1),
        ..Period::unread(id, first.period_start.unwrap_or(first.occurred_at))
    };
    let returned_at = returns.iter().map(|row| row.occurred_at).max();
    payment::refunded_payment(&Recorded::of(rows)?.payment, booked, returned_at, refunds)
}

/// Whether an entry is a refund or the reversal of one.
const fn is_return(kind: EntryKind) -> bool {
    matches!(kind, EntryKind::Refund | EntryKind::Restored)
}

/// Returns the currency of a period and the day whose rate converts it; `None` for USD, and without a currency.
fn converted_on(period: &Period) -> Option<(String, Day)> {
    let currency = period.currency.as_deref()?;
    let is_converted = !currency.eq_ignore_ascii_case("USD");
    is_converted.then(|| (currency.to_owned(), Day::of(period.begins_at)))
}

/// Returns the rates of the days on which the periods were paid. All of them are read in one round trip.
fn conversions(
    write: &mut Write<'_>,
    settling: &Settling<'_>,
    payments: &[PeriodPayment],
) -> Result<BTreeMap<(String, Day), Option<Conversion>>, Error> {
    let periods = payments.iter().filter_map(|one| one.period.as_ref());
    let days: BTreeSet<(String, Day)> = periods.filter_map(converted_on).collect();
    let mut running = Vec::with_capacity(days.len());
    for (currency, on) in days {
        let app = settling.origin.app_id;
        let conversion = rates::conversion_ahead(write.connection, app, &currency, on)?;
        running.push(((currency, on), conversion));
    }
    let mut found = BTreeMap::new();
    for (of_day, conversion) in running {
        found.insert(of_day, conversion.fetch(write.connection)?);
    }
    Ok(found)
}

/// Returns the transactions among these that the ledger of another purchase of the app has.
fn booked_elsewhere(
    write: &mut Write<'_>,
    settling: &Settling<'_>,
    transactions: Vec<String>,
) -> Result<BTreeSet<String>, Error> {
    if transactions.is_empty() {
        return Ok(BTreeSet::new());
    }
    let found = sql(ELSEWHERE)
        .uncached()
        .bind_list(transactions)
        .bind((settling.record.collapse_key, settling.origin.app_id))
        .values::<String>(write.connection)?;
    Ok(found.into_iter().collect())
}
