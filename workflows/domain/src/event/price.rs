//! What a purchase cost, from the catalogue's list of prices: the store tells none.

use super::Described;
use crate::catalogue::Price;
use rust_decimal::{Decimal, RoundingStrategy};

/// The price that the owner pays, `None` where the list cannot know it.
pub fn price(described: Described<'_>) -> Option<&Price> {
    let purchase = described.purchase;
    let is_special = has_own_price(purchase.is_in_trial_period(), purchase.is_in_intro_offer());
    if is_special { None } else { listed(&described.listing.prices, purchase.country()) }
}

/// In a trial nothing is paid, and an introductory offer has a price of its own.
pub fn has_own_price(in_trial: Option<bool>, in_intro_offer: Option<bool>) -> bool {
    in_trial == Some(true) || in_intro_offer == Some(true)
}

/// The price that names this country, else the one that names none.
pub fn listed<'a>(prices: &'a [Price], country: Option<&str>) -> Option<&'a Price> {
    let sendable = || prices.iter().filter(|price| letters(&price.currency, 3).is_some());
    let names_it = |price: &&Price| match (price.country.as_deref(), country) {
        (Some(listed), Some(country)) => listed.eq_ignore_ascii_case(country),
        _ => false,
    };
    sendable().find(names_it).or_else(|| sendable().find(|price| price.country.is_none()))
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
