//! What a purchase cost, from the catalogue's list of prices: the store tells none.

use super::RecordSource;
use crate::catalogue::Price;
use crate::purchase::Purchase;
use crate::time::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

/// The price that the owner pays, `None` where the list cannot know it: nothing was paid yet, as in a trial, or a
/// promotion has a price of its own.
pub fn price(described: RecordSource<'_>) -> Option<&Price> {
    let purchase = described.purchase;
    let was_paid = purchase.is_one_time_purchase() || purchase.was_paid();
    if was_paid && purchase.offer().is_none() { listed_price(&described.listing.prices, purchase) } else { None }
}

/// The listed price of a purchase: of its country, else of everywhere else, the one that held when its plan began.
#[must_use]
pub fn listed_price<'a>(prices: &'a [Price], purchase: &Purchase) -> Option<&'a Price> {
    listed(prices, (purchase.country(), purchase.plan_began_at()))
}

/// The price that names this country, else the one that names none; of several the newest that held at that time. At
/// a time that is not known only a list without dates says anything.
pub fn listed<'a>(prices: &'a [Price], (country, at): (Option<&str>, Option<Timestamp>)) -> Option<&'a Price> {
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
    // The last of equal ones would win: the first of the list does.
    concerned().filter(held).rev().max_by_key(|price| (price.country.is_some(), price.since))
}

/// The same in USD: as listed, or by the rate of the purchase's day, in cents. `None` without a rate.
pub fn in_usd(price: &Price, usd_rate: Option<Decimal>) -> Option<Decimal> {
    usd_of(price.price, &price.currency, usd_rate)
}

/// An amount in USD: as it is, or by a rate, in cents. `None` without a rate.
pub fn usd_of(amount: Decimal, currency: &str, usd_rate: Option<Decimal>) -> Option<Decimal> {
    if currency.eq_ignore_ascii_case("USD") {
        return Some(amount);
    }
    let exact = amount.checked_mul(usd_rate?)?;
    let mut cents = exact.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    cents.rescale(2);
    Some(cents)
}

/// A code of so many letters, in capitals; `None` for anything else, since it could not be sent.
pub fn letters(code: &str, count: usize) -> Option<String> {
    let is_code = code.len() == count && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_uppercase())
}
