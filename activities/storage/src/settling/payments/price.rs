//! The prices of payments: what is known when a payment is recorded, and what becomes known only later, such as a
//! promotion that applied or another exchange rate.

use super::ledger::{EntryRow, ForeignPrice, Source};
use crate::settings::rates;
use crate::settling::revision::{Description, Settling};
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::payment::{
    self, Adjustment, Conversion, ConvertedPrice, Day, EntryKind, Sale, UnknownPrice,
};
use domain::{CollapseKey, Timestamp};
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::BTreeMap;

/// Reasons for which a price is unknown but may become known later.
const OPEN: [UnknownPrice; 2] = [UnknownPrice::Unconfirmed, UnknownPrice::NotListed];

/// Known facts about a price.
#[derive(Debug, Default)]
pub struct KnownPrice {
    pub amount: Option<Decimal>,
    pub currency: Option<String>,
    pub usd: Option<Decimal>,
    /// Why the price is not known in USD.
    pub unknown: Option<UnknownPrice>,
    /// Whether a device reported the price.
    pub is_by_device: bool,
    /// The day whose exchange rate converts the price; `None` for USD, and without an amount.
    pub priced_on: Option<Day>,
    /// Exchange rate that converted the price.
    pub conversion: Option<Conversion>,
}

impl KnownPrice {
    /// Returns the price in the purchase's record, which comes from the catalogue or a device.
    pub fn listed(description: &Description) -> Self {
        let Description {
            data,
            priced_on,
            conversion,
            ..
        } = description;
        let text = |field: &str| data.get(field).and_then(Value::as_str);
        let decimal = |field: &str| text(field)?.parse::<Decimal>().ok();
        let amount = decimal("purchase_price");
        Self {
            currency: text("purchase_currency").map(str::to_owned),
            usd: decimal("price_in_usd"),
            unknown: UnknownPrice::of(data),
            is_by_device: text("price_source") == Some(Source::Device.as_str()),
            priced_on: priced_on.filter(|_| amount.is_some()),
            conversion: conversion.filter(|_| amount.is_some()),
            amount,
        }
    }

    pub fn unknown(why: UnknownPrice) -> Self {
        Self {
            unknown: Some(why),
            ..Self::default()
        }
    }

    /// Returns the price of a sales report.
    pub fn reported(charge: &Sale) -> Self {
        Self {
            amount: Some(charge.price),
            currency: Some(charge.currency.clone()),
            usd: charge.usd,
            priced_on: charge.conversion.map(|found| found.on),
            conversion: charge.conversion,
            ..Self::default()
        }
    }

    /// Returns the source of a price that no sales report contains.
    pub const fn source(&self) -> Source {
        if self.is_by_device {
            Source::Device
        } else {
            Source::Catalogue
        }
    }
}

/// A payment that was booked without a price, which may become known later: the store still had to confirm it, or the
/// product was not listed.
pub struct OpenPayment {
    pub number: i64,
    pub at: Timestamp,
    sku: Option<String>,
    why: UnknownPrice,
}

const SET_PRICE: Sql = statement! {"
    UPDATE payments
    SET price = ?, currency = ?, unknown_because = ?, source = ?, priced_on = ?
    WHERE collapse_key = ? AND number = ? AND entry = 0
"};

impl OpenPayment {
    /// Returns the open payments of a ledger that no further entry has changed.
    pub fn all(entries: &[EntryRow]) -> Vec<Self> {
        let is_alone = |row: &EntryRow| {
            entries
                .iter()
                .filter(|other| other.number == row.number)
                .count()
                == 1
        };
        let open = entries
            .iter()
            .filter(|row| is_alone(row))
            .filter_map(|row| {
                let why = row.unknown_because.filter(|why| OPEN.contains(why))?;
                Some(Self {
                    number: row.number,
                    at: row.occurred_at,
                    sku: row.sku.clone(),
                    why,
                })
            });
        open.collect()
    }

    /// Returns the price of the payment, or why there is none; `None` while nothing has changed.
    pub fn price(&self, description: &Description, is_newest: bool) -> Option<KnownPrice> {
        let listed = KnownPrice::listed(description);
        if self.why == UnknownPrice::Unconfirmed {
            // The record has the price of the newest payment only.
            return Some(if is_newest {
                listed
            } else {
                KnownPrice::unknown(UnknownPrice::Promotion)
            });
        }
        let sku = description
            .data
            .get("product_ref_id")
            .and_then(Value::as_str);
        Some(listed).filter(|listed| listed.amount.is_some() && sku == self.sku.as_deref())
    }

    /// Stores the price, or the reason why there is none. Returns the entry that adds its amount in USD, if that is
    /// known.
    pub fn set(
        &self,
        write: &mut Write<'_>,
        key: CollapseKey,
        price: &KnownPrice,
    ) -> Result<Option<Adjustment>, Error> {
        sql(SET_PRICE)
            .bind((
                price.amount,
                price.currency.as_deref(),
                price.unknown.unwrap_or(self.why),
                price.source(),
                price.priced_on.map(|on| on.to_string()),
                key,
                self.number,
            ))
            .later(write.connection)?;
        let (kind, at, conversion) = (EntryKind::Correction, Some(self.at), price.conversion);
        Ok(price.usd.map(|usd| Adjustment {
            number: self.number,
            kind,
            at,
            usd,
            transaction_id: None,
            conversion,
        }))
    }
}

/// Stores the day of a payment of release 0.1.0, which has none: the import of a later rate finds the purchase by its
/// day.
const NOTE_DAY: Sql = statement! {"
    UPDATE payments
    SET priced_on = ?
    WHERE collapse_key = ? AND number = ? AND entry = 0 AND priced_on IS NULL
"};

/// Returns the prices of payments, converted by the exchange rates that count now. The payments of a purchase nearly
/// always share one day, whose rate is read once.
pub fn converted(
    write: &mut Write<'_>,
    settling: &Settling<'_>,
    foreign: Vec<ForeignPrice>,
    description: &Description,
) -> Result<Vec<ConvertedPrice>, Error> {
    let listed = KnownPrice::listed(description);
    let mut known: BTreeMap<(String, Day), Option<Conversion>> = BTreeMap::new();
    known.extend(
        listed
            .currency
            .zip(listed.priced_on)
            .map(|of_day| (of_day, listed.conversion)),
    );
    let mut all = Vec::new();
    for ForeignPrice {
        number,
        price,
        currency,
        on,
        is_dated,
    } in foreign
    {
        if !is_dated {
            let note = sql(NOTE_DAY).bind((on.to_string(), settling.record.collapse_key, number));
            note.later(write.connection)?;
        }
        let conversion = match known.get(&(currency.clone(), on)) {
            Some(known) => *known,
            None => rates::conversion(write.connection, settling.origin.app_id, &currency, on)?,
        };
        let usd = payment::usd(price, &currency, conversion.map(|found| found.rate.usd));
        known.insert((currency, on), conversion);
        all.extend(usd.zip(conversion).map(|(usd, conversion)| ConvertedPrice {
            number,
            usd,
            conversion,
        }));
    }
    Ok(all)
}
