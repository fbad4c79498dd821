//! What was bought, how it ended, and where.

use crate::environment::Environment;
use crate::period::OfferPhase;
use crate::verification::{EndReason, Offer, Product};

/// Why a purchase ended or will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    User,
    System,
    Developer,
    /// Another purchase took its place.
    Replacement,
    /// Access was taken away before the end: a notification of type 12.
    Revoked,
    /// The payment of a pending purchase was not made.
    PendingPurchase,
    /// A member of `canceledStateContext` that we do not know, or none.
    Unknown,
}

impl Cancellation {
    /// By the name of the member of `canceledStateContext`.
    pub fn of(member: &str) -> Self {
        match member {
            "userInitiatedCancellation" => Self::User,
            "systemInitiatedCancellation" => Self::System,
            "developerInitiatedCancellation" => Self::Developer,
            "replacementCancellation" => Self::Replacement,
            _ => Self::Unknown,
        }
    }
}

/// The reason of an end. Google has no numbers for reasons, so that an unknown one has the number 0.
pub const fn end_reason(cancellation: Cancellation) -> EndReason {
    match cancellation {
        Cancellation::User => EndReason::Customer,
        Cancellation::System => EndReason::Store,
        Cancellation::Developer | Cancellation::Revoked => EndReason::Internal,
        Cancellation::Replacement => EndReason::Replaced,
        Cancellation::PendingPurchase => EndReason::Pending,
        Cancellation::Unknown => EndReason::Other(0),
    }
}

/// The phase of a line item, by the member of its `offerPhase`. A `prorationPeriod` has the phase that its
/// `originalOfferPhaseType` names, which is absent without an offer. `None` for an answer without `offerPhase`: the
/// order's phase counts then.
pub fn phase(member: Option<&str>, original: Option<&str>) -> Option<OfferPhase> {
    let member = member?;
    let phase = if member == "prorationPeriod" {
        original.unwrap_or("BASE")
    } else {
        member
    };
    Some(match phase {
        "basePrice" | "BASE" | "ORIGINAL_OFFER_PHASE_TYPE_UNSPECIFIED" => OfferPhase::Base,
        "freeTrial" | "FREE_TRIAL" => OfferPhase::Trial,
        "introductoryPrice" | "INTRODUCTORY" => OfferPhase::Introductory,
        _ => OfferPhase::Other,
    })
}

/// The type of the offer whose price applies. A code counts if the phase has no type of its own.
pub const fn offer(phase: Option<OfferPhase>, has_code: bool) -> Option<Offer> {
    match phase {
        Some(OfferPhase::Trial | OfferPhase::Introductory) => Some(Offer::Introductory),
        Some(OfferPhase::Other) => Some(Offer::Other),
        Some(OfferPhase::Base) | None if has_code => Some(Offer::Other),
        Some(OfferPhase::Base) | None => None,
    }
}

/// The product of a purchase. Google does not tell apart what is used up and what is owned: the catalogue does, else a
/// consumption.
pub const fn product(is_subscription: bool, listed: Product, is_consumed: bool) -> Product {
    match listed {
        _ if is_subscription => Product::Subscription,
        Product::Consumable | Product::Entitlement => listed,
        Product::Unknown | Product::Subscription if is_consumed => Product::Consumable,
        Product::Unknown | Product::Subscription => Product::Entitlement,
    }
}

/// The SKU of a line item: several plans share one `productId`.
pub fn sku(product: &str, plan: Option<&str>) -> String {
    plan.map_or_else(|| product.to_owned(), |plan| format!("{product}:{plan}"))
}

/// The id of the payment: the last successful order, else the token.
pub fn transaction_id<'a>(order: Option<&'a str>, token: &'a str) -> &'a str {
    order.filter(|order| !order.is_empty()).unwrap_or(token)
}

/// The number of an order in its series, from 1: the first one has no suffix, its first renewal `..0`. `None` without an
/// order, and for a suffix that is no number.
pub fn billing_cycles(order: Option<&str>) -> Option<u64> {
    let order = order.filter(|order| !order.is_empty())?;
    let Some((_, renewal)) = order.split_once("..") else {
        return Some(1);
    };
    let is_number = !renewal.is_empty() && renewal.bytes().all(|byte| byte.is_ascii_digit());
    renewal
        .parse::<u64>()
        .ok()
        .filter(|_| is_number)?
        .checked_add(2)
}

/// The environment, by whether the answer has `testPurchase`.
pub const fn environment(is_test: bool) -> Environment {
    if is_test {
        Environment::Sandbox
    } else {
        Environment::Production
    }
}

/// `regionCode`, if it has two capitals.
pub fn country(code: &str) -> Option<&str> {
    capitals(code, 2)
}

/// `currencyCode`, if it has three capitals.
pub fn currency(code: &str) -> Option<&str> {
    capitals(code, 3)
}

fn capitals(code: &str, count: usize) -> Option<&str> {
    let has_form = code.len() == count && code.bytes().all(|byte| byte.is_ascii_uppercase());
    has_form.then_some(code)
}
