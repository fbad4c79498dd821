//! Which price of a payment has precedence: that of a sales report (`Booking::of` in storage's `settling/payments`),
//! else that of a store that shows payments, else that of the first verified claim with one (storage's
//! `settling/access.rs`), else that of one term in the catalogue. A device's price far from the catalogue's makes it
//! unknown; one in a foreign currency, or that cannot be compared, leaves it to the catalogue.

use super::currency::currency_of;
use super::source::RecordSource;
use crate::catalogue::{Price, PriceSource, ProductRef};
use crate::purchase::Purchase;
use crate::time::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

/// Why the price that a device reported does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceDoubt {
    /// The currency is not that of the marketplace: the catalogue's price counts.
    ForeignCurrency,
    /// The price is far outside the catalogue's prices in its currency: no price counts.
    Implausible,
}

/// A price and its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paid<'a> {
    pub price: Decimal,
    pub currency: &'a str,
    pub source: PriceSource,
}

/// Returns the price that the buyer pays. `None` if nothing has been paid, as in a trial, if that is not known, or if a
/// promotion has its own price.
pub fn price(source: RecordSource<'_>) -> Option<Paid<'_>> {
    let purchase = source.purchase;
    let was_paid =
        purchase.is_one_time_purchase() || (purchase.was_paid() && !purchase.may_have_been_trial());
    if !was_paid {
        return None;
    }
    let of_plan = || plan_price(source).filter(|_| purchase.offer().is_none());
    shown_price(purchase).or_else(of_plan)
}

/// The price of the last payment, by a store that shows payments.
fn shown_price(purchase: &Purchase) -> Option<Paid<'_>> {
    let period = purchase.paid_period()?;
    Some(Paid {
        price: period.price?,
        currency: period.currency.as_deref()?,
        source: PriceSource::Store,
    })
}

/// Returns the currency of the last payment's price, by a store that shows payments, else of the plan's price, whether
/// or not it has been paid.
pub fn price_currency(source: RecordSource<'_>) -> Option<&str> {
    let paid = shown_price(source.purchase).or_else(|| plan_price(source));
    paid.map(|paid| paid.currency)
}

/// Returns why the price that a device reported does not count; `None` if it counts or no price was reported.
pub fn price_doubt(source: RecordSource<'_>) -> Option<PriceDoubt> {
    judge(source)?.err()
}

fn plan_price(source: RecordSource<'_>) -> Option<Paid<'_>> {
    let listed = || {
        let price = listed_price(&source.listing.prices, source.purchase)?;
        Some(Paid {
            price: price.price,
            currency: &price.currency,
            source: PriceSource::Catalogue,
        })
    };
    match judge(source) {
        Some(Ok(paid)) => Some(paid),
        Some(Err(PriceDoubt::Implausible)) => None,
        Some(Err(PriceDoubt::ForeignCurrency)) | None => listed(),
    }
}

/// Judges the price that a device reported. `None` if none was reported for this plan, or the catalogue has no price in
/// its currency for comparison.
fn judge(source: RecordSource<'_>) -> Option<Result<Paid<'_>, PriceDoubt>> {
    let (purchase, reported) = (source.purchase, source.device_price?);
    let is_of_plan = |by| purchase.sku(by) == Some(reported.sku.as_str());
    if !is_of_plan(ProductRef::Term) && !is_of_plan(ProductRef::Parent)
        || reported.price <= Decimal::ZERO
    {
        return None;
    }
    // A device can claim anything, so the country that the store shows takes precedence over the reported one.
    let country = purchase.country().or(reported.marketplace.as_deref());
    let is_foreign = country
        .and_then(currency_of)
        .is_some_and(|own| !own.eq_ignore_ascii_case(&reported.currency));
    if is_foreign || letters(&reported.currency, 3).is_none() {
        return Some(Err(PriceDoubt::ForeignCurrency));
    }
    let comparable = source
        .listing
        .prices
        .iter()
        .filter(|one| one.currency.eq_ignore_ascii_case(&reported.currency));
    let prices: Vec<Decimal> = comparable.map(|one| one.price).collect();
    let (lowest, highest) = (*prices.iter().min()?, *prices.iter().max()?);
    // Implausible: below 0.5 times the lowest or above 1.5 times the highest price. A product that overflows is
    // implausible too.
    let doubled = reported.price.checked_mul(Decimal::TWO);
    let most = highest.checked_mul(Decimal::from(3));
    let is_plausible =
        doubled.is_some_and(|doubled| doubled >= lowest && most.is_none_or(|most| doubled <= most));
    let paid = Paid {
        price: reported.price,
        currency: &reported.currency,
        source: PriceSource::Device,
    };
    Some(if is_plausible {
        Ok(paid)
    } else {
        Err(PriceDoubt::Implausible)
    })
}

/// Returns the listed price of a purchase, as of the beginning of its plan: that of its country, else the general one.
pub fn listed_price<'a>(prices: &'a [Price], purchase: &Purchase) -> Option<&'a Price> {
    listed(prices, purchase.country(), purchase.plan_began_at())
}

/// Returns the price of this country, else the general one; of several, the newest that applied at `at`. If `at` is
/// `None`, a price is returned only if no matching price has a date.
pub fn listed<'a>(
    prices: &'a [Price],
    country: Option<&str>,
    at: Option<Timestamp>,
) -> Option<&'a Price> {
    let is_for_country = |price: &&Price| match (price.country.as_deref(), country) {
        (Some(listed), Some(country)) => listed.eq_ignore_ascii_case(country),
        (listed, _) => listed.is_none(),
    };
    let has_valid_currency = |price: &&Price| letters(&price.currency, 3).is_some();
    let matching = || {
        prices
            .iter()
            .filter(has_valid_currency)
            .filter(is_for_country)
    };
    if at.is_none() && matching().any(|price| price.since.is_some()) {
        return None;
    }
    let applied = |price: &&Price| price.since.is_none_or(|since| Some(since.at()) <= at);
    // `max_by_key` returns the last of equal elements, but the first in the list must win.
    matching()
        .filter(applied)
        .rev()
        .max_by_key(|price| (price.country.is_some(), price.since))
}

/// Returns a price in USD, rounded to cents and converted at the rate of the purchase's day if necessary. `None` if the
/// rate is missing.
pub fn in_usd(paid: Paid<'_>, usd_rate: Option<Decimal>) -> Option<Decimal> {
    usd_of(paid.price, paid.currency, usd_rate)
}

/// Returns an amount in USD, rounded to cents and converted at `usd_rate` if necessary. `None` if the rate is missing.
pub fn usd_of(amount: Decimal, currency: &str, usd_rate: Option<Decimal>) -> Option<Decimal> {
    let cents =
        |exact: Decimal| exact.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    if currency.eq_ignore_ascii_case("USD") {
        // An amount in whole cents keeps its notation.
        let rounded = cents(amount);
        return Some(if rounded == amount { amount } else { rounded });
    }
    let mut converted = cents(amount.checked_mul(usd_rate?)?);
    converted.rescale(2);
    Some(converted)
}

/// Returns a code of `count` ASCII letters in upper case; `None` for any other text.
pub fn letters(code: &str, count: usize) -> Option<String> {
    let is_code = code.len() == count && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_uppercase())
}
