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
    /// Another purchase replaced it.
    Replacement,
    /// Access was revoked before the end: a notification of type 12.
    Revoked,
    /// The pending purchase was not paid for.
    PendingPurchase,
    /// No member of `canceledStateContext`, or an unknown one.
    Unknown,
}

impl Cancellation {
    /// Returns the cancellation named by a member of `canceledStateContext`.
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

/// Returns the reason of an end. Google has no numbers for reasons, so an unknown one has the number 0.
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

/// Returns the phase of a line item from the member of its `offerPhase`. A `prorationPeriod` has the phase that its
/// `originalOfferPhaseType` names, which is absent without an offer. `None` for an answer without `offerPhase`, for
/// which the order's phase applies.
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

/// Returns the type of the offer whose price applies. A promotion code counts if the phase has no type of its own.
pub const fn offer(phase: Option<OfferPhase>, has_code: bool) -> Option<Offer> {
    match phase {
        Some(OfferPhase::Trial | OfferPhase::Introductory) => Some(Offer::Introductory),
        Some(OfferPhase::Other) => Some(Offer::Other),
        Some(OfferPhase::Base) | None if has_code => Some(Offer::Other),
        Some(OfferPhase::Base) | None => None,
    }
}

/// Returns the product of a purchase. Google does not distinguish consumables from entitlements: the catalogue does;
/// for an unlisted product, whether it was consumed decides.
pub const fn product(is_subscription: bool, listed: Product, is_consumed: bool) -> Product {
    match listed {
        _ if is_subscription => Product::Subscription,
        Product::Consumable | Product::Entitlement => listed,
        Product::Unknown | Product::Subscription if is_consumed => Product::Consumable,
        Product::Unknown | Product::Subscription => Product::Entitlement,
    }
}

/// Returns the SKU of a line item: several plans share one `productId`.
pub fn sku(product: &str, plan: Option<&str>) -> String {
    plan.map_or_else(|| product.to_owned(), |plan| format!("{product}:{plan}"))
}

/// Returns the `productId` in the SKU of a plan; `None` for a SKU without a plan.
pub fn product_sku(sku: &str) -> Option<&str> {
    sku.split_once(':').map(|(product, _)| product)
}

/// Returns the id of the payment: that of the last successful order, else the token.
pub fn transaction_id<'a>(order: Option<&'a str>, token: &'a str) -> &'a str {
    order.filter(|order| !order.is_empty()).unwrap_or(token)
}

/// Returns the number of an order in its series, from 1: the first order has no suffix, its first renewal has `..0`.
/// `None` without an order or if the suffix is not a number.
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

/// Returns the environment. `is_test` is whether the answer has `testPurchase`.
pub const fn environment(is_test: bool) -> Environment {
    if is_test {
        Environment::Sandbox
    } else {
        Environment::Production
    }
}

/// Returns `regionCode` if it consists of two capital letters.
pub fn country(code: &str) -> Option<&str> {
    capitals(code, 2)
}

/// Returns `currencyCode` if it consists of three capital letters.
pub fn currency(code: &str) -> Option<&str> {
    capitals(code, 3)
}

fn capitals(code: &str, count: usize) -> Option<&str> {
    let has_form = code.len() == count && code.bytes().all(|byte| byte.is_ascii_uppercase());
    has_form.then_some(code)
}
