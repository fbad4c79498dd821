//! The price of a purchase, from the catalogue's list of prices: stores show none.

use super::RecordSource;
use crate::catalogue::Price;
use crate::purchase::Purchase;
use crate::time::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

/// The price that the owner pays; `None` when nothing was paid yet, as in a trial, or a promotion has a price of its
/// own.
pub fn price(described: RecordSource<'_>) -> Option<&Price> {
    let purchase = described.purchase;
    let was_paid = purchase.is_one_time_purchase() || purchase.was_paid();
    if was_paid && purchase.offer().is_none() { listed_price(&described.listing.prices, purchase) } else { None }
}

/// The listed price of a purchase: the price of its country, else the general one, that applied when its plan began.
#[must_use]
pub fn listed_price<'a>(prices: &'a [Price], purchase: &Purchase) -> Option<&'a Price> {
    listed(prices, purchase.country(), purchase.plan_began_at())
}

/// The price of this country, else the general one; of several, the newest that applied at that time. When the time is
/// not known, only a list without dates has a price.
pub fn listed<'a>(prices: &'a [Price], country: Option<&str>, at: Option<Timestamp>) -> Option<&'a Price> {
    let concerns = |price: &&Price| match (price.country.as_deref(), country) {
        (Some(listed), Some(country)) => listed.eq_ignore_ascii_case(country),
        (listed, _) => listed.is_none(),
    };
    let sendable = |price: &&Price| letters(&price.currency, 3).is_some();
    let concerned = || prices.iter().filter(sendable).filter(concerns);
    if at.is_none() && concerned().any(|price| price.since.is_some()) {
        return None;
    }
    let held = |price: &&Price| price.since.is_none_or(|since| Some(since.at()) <= at);
    // `max_by_key` takes the last of equal ones; the first of the list must win.
    concerned().filter(held).rev().max_by_key(|price| (price.country.is_some(), price.since))
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

/// A code of `count` letters, in capitals; `None` for anything else, which could not be sent.
pub fn letters(code: &str, count: usize) -> Option<String> {
    let is_code = code.len() == count && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_uppercase())
}
