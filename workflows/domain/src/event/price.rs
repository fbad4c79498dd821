//! The listed price of a payment: the price of one term in the catalogue, since stores show no prices. A sales report's
//! price takes its place (storage's `settling/payments`).

use super::RecordSource;
use crate::catalogue::Price;
use crate::purchase::Purchase;
use crate::time::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

/// The price that the buyer pays; `None` if nothing was paid yet, as in a trial, or a promotion has a price of its own.
pub fn price(source: RecordSource<'_>) -> Option<&Price> {
    let purchase = source.purchase;
    let was_paid = purchase.is_one_time_purchase() || purchase.was_paid();
    if was_paid && purchase.offer().is_none() { listed_price(&source.listing.prices, purchase) } else { None }
}

/// The listed price of a purchase: the price of its country, else the general one, that applied when its plan began.
#[must_use]
pub fn listed_price<'a>(prices: &'a [Price], purchase: &Purchase) -> Option<&'a Price> {
    listed(prices, purchase.country(), purchase.plan_began_at())
}

/// The price of this country, else the general one; of several, the newest that applied at `at`. If `at` is not known,
/// there is a price only if no matching price has a date.
pub fn listed<'a>(prices: &'a [Price], country: Option<&str>, at: Option<Timestamp>) -> Option<&'a Price> {
    let is_for_country = |price: &&Price| match (price.country.as_deref(), country) {
        (Some(listed), Some(country)) => listed.eq_ignore_ascii_case(country),
        (listed, _) => listed.is_none(),
    };
    let has_valid_currency = |price: &&Price| letters(&price.currency, 3).is_some();
    let matching = || prices.iter().filter(has_valid_currency).filter(is_for_country);
    if at.is_none() && matching().any(|price| price.since.is_some()) {
        return None;
    }
    let applied = |price: &&Price| price.since.is_none_or(|since| Some(since.at()) <= at);
    // `max_by_key` takes the last of equal elements, and here the first in the list must win.
    matching().filter(applied).rev().max_by_key(|price| (price.country.is_some(), price.since))
}

/// A listed price in USD: unchanged, or converted by the rate of the purchase's day, in cents. `None` without a rate.
pub fn in_usd(price: &Price, usd_rate: Option<Decimal>) -> Option<Decimal> {
    usd_of(price.price, &price.currency, usd_rate)
}

/// An amount in USD: unchanged, or converted by a rate, in cents. `None` without a rate.
pub fn usd_of(amount: Decimal, currency: &str, usd_rate: Option<Decimal>) -> Option<Decimal> {
    if currency.eq_ignore_ascii_case("USD") {
        return Some(amount);
    }
    let exact = amount.checked_mul(usd_rate?)?;
    let mut cents = exact.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    cents.rescale(2);
    Some(cents)
}

/// A code of `count` ASCII letters, in upper case; `None` for any other text.
pub fn letters(code: &str, count: usize) -> Option<String> {
    let is_code = code.len() == count && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_uppercase())
}
