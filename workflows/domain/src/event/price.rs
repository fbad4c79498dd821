//! What a purchase cost, from the catalogue's list of prices: the store tells none.

use super::Described;
use crate::catalogue::Price;
use crate::purchase::State;
use rust_decimal::{Decimal, RoundingStrategy};

/// The price that the owner paid, `None` where the list cannot know it: in a trial nothing was paid, and an
/// introductory offer has a price of its own.
pub fn price(described: Described<'_>) -> Option<&Price> {
    let purchase = described.purchase;
    let in_trial =
        purchase.is_in_trial_period() == Some(true) || matches!(purchase.state(), State::Trial | State::TrialOff);
    if in_trial || purchase.is_in_intro_offer() == Some(true) {
        return None;
    }
    let listed = || described.listing.prices.iter().filter(|price| letters(&price.currency, 3).is_some());
    let here = |price: &&Price| match (price.country.as_deref(), purchase.country()) {
        (Some(listed), Some(country)) => listed.eq_ignore_ascii_case(country),
        _ => false,
    };
    listed().find(here).or_else(|| listed().find(|price| price.country.is_none()))
}

/// The same in USD: as listed, or by the rate of the purchase's day, in cents. `None` without a rate.
pub fn in_usd(price: &Price, usd_rate: Option<Decimal>) -> Option<Decimal> {
    if price.currency.eq_ignore_ascii_case("USD") {
        return Some(price.price);
    }
    let exact = price.price.checked_mul(usd_rate?)?;
    let mut cents = exact.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    cents.rescale(2);
    Some(cents)
}

/// A code of so many letters, in capitals; `None` for anything else, since it could not be sent.
pub fn letters(code: &str, count: usize) -> Option<String> {
    let is_code = code.len() == count && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_uppercase())
}
