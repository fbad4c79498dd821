//! What was bought, its holder, how it renews and ends, and where: Apple's names and numbers
//! (<https://developer.apple.com/documentation/appstoreserverapi>).

use super::storefronts::STOREFRONTS;
use crate::environment::Environment;
use crate::period::{OfferPhase, PeriodCause};
use crate::store_state::{SharedAccess, StoreStatus};
use crate::verification::{EndReason, Offer, Product};

/// The type of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductKind {
    AutoRenewable,
    Consumable,
    NonConsumable,
    /// A subscription without an end of Apple's.
    NonRenewing,
    Unknown,
}

impl ProductKind {
    /// Returns the type with this name.
    pub fn of(name: &str) -> Self {
        match name {
            "Auto-Renewable Subscription" => Self::AutoRenewable,
            "Consumable" => Self::Consumable,
            "Non-Consumable" => Self::NonConsumable,
            "Non-Renewing Subscription" => Self::NonRenewing,
            _ => Self::Unknown,
        }
    }
}

/// Returns the product of a type. What does not renew is owned until it is revoked.
pub const fn product(kind: ProductKind) -> Product {
    match kind {
        ProductKind::AutoRenewable => Product::Subscription,
        ProductKind::Consumable => Product::Consumable,
        ProductKind::NonConsumable | ProductKind::NonRenewing => Product::Entitlement,
        ProductKind::Unknown => Product::Unknown,
    }
}

/// The type of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferKind {
    Introductory,
    Promotional,
    Code,
    WinBack,
    Unknown,
}

impl OfferKind {
    /// Returns the type with this number.
    pub const fn of(number: i64) -> Self {
        match number {
            1 => Self::Introductory,
            2 => Self::Promotional,
            3 => Self::Code,
            4 => Self::WinBack,
            _ => Self::Unknown,
        }
    }
}

/// Returns the offer whose price applies.
pub const fn offer(kind: OfferKind) -> Offer {
    match kind {
        OfferKind::Introductory => Offer::Introductory,
        OfferKind::Promotional => Offer::Retention,
        OfferKind::WinBack => Offer::LapsedCustomer,
        OfferKind::Code | OfferKind::Unknown => Offer::Other,
    }
}

/// Returns the phase of a period. `is_free` is whether its offer is a free trial, of whatever type the offer is.
pub const fn phase(kind: Option<OfferKind>, is_free: bool) -> OfferPhase {
    match kind {
        _ if is_free => OfferPhase::Trial,
        Some(OfferKind::Introductory) => OfferPhase::Introductory,
        Some(_) => OfferPhase::Other,
        None => OfferPhase::Base,
    }
}

/// Why a transaction exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionCause {
    /// The customer bought it: a beginning, or an upgrade.
    Purchase,
    /// The store renewed a subscription, also with another product.
    Renewal,
    /// Seats were added to a running period.
    SeatAddition,
}

/// Returns why the period of a transaction exists.
pub(super) const fn period_cause(cause: TransactionCause) -> PeriodCause {
    match cause {
        TransactionCause::Purchase => PeriodCause::Bought,
        TransactionCause::Renewal => PeriodCause::Renewed,
        TransactionCause::SeatAddition => PeriodCause::UnitsAdded,
    }
}

/// The holder of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    Buyer,
    /// A member of the buyer's family.
    Family,
    /// The holder of a seat that the buyer assigned.
    Assigned,
    Unknown,
}

impl Ownership {
    /// Returns the ownership with this name.
    pub fn of(name: &str) -> Self {
        match name {
            "PURCHASED" => Self::Buyer,
            "FAMILY_SHARED" => Self::Family,
            "ASSIGNED" => Self::Assigned,
            _ => Self::Unknown,
        }
    }

    /// Returns how the holder has it, if another customer paid.
    pub const fn shared(self) -> Option<SharedAccess> {
        match self {
            Self::Family => Some(SharedAccess::Family),
            Self::Assigned => Some(SharedAccess::Seat),
            Self::Buyer | Self::Unknown => None,
        }
    }
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Intent {
    Customer,
    /// A payment failed.
    Billing,
    /// The customer did not accept a higher price.
    PriceIncrease,
    /// The product is no longer sold.
    ProductGone,
    /// Another reason, with Apple's number for it.
    Other(i64),
}

impl Intent {
    /// Returns the reason with this number.
    pub const fn of(number: i64) -> Self {
        match number {
            1 => Self::Customer,
            2 => Self::Billing,
            3 => Self::PriceIncrease,
            4 => Self::ProductGone,
            other => Self::Other(other),
        }
    }
}

/// Returns the reason of an end.
pub const fn end_reason(intent: Intent) -> EndReason {
    match intent {
        Intent::Customer | Intent::PriceIncrease => EndReason::Customer,
        Intent::Billing | Intent::ProductGone => EndReason::Store,
        Intent::Other(number) => EndReason::Other(number),
    }
}

/// Returns the reason of an end by revocation. Apple has no number for it.
pub const fn revoked_reason(ownership: Ownership) -> EndReason {
    if ownership.shared().is_some() {
        EndReason::Other(0)
    } else {
        EndReason::Store
    }
}

/// The state of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubscriptionStatus {
    Active,
    Expired,
    Retry,
    Grace,
    Revoked,
}

impl SubscriptionStatus {
    /// Returns the state with this number; `None` for an unknown one.
    pub const fn of(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Active,
            2 => Self::Expired,
            3 => Self::Retry,
            4 => Self::Grace,
            5 => Self::Revoked,
            _ => return None,
        })
    }

    pub(super) const fn store_status(self) -> StoreStatus {
        match self {
            Self::Active => StoreStatus::Active,
            Self::Grace => StoreStatus::Grace,
            Self::Retry => StoreStatus::AccountHold,
            Self::Expired | Self::Revoked => StoreStatus::Over,
        }
    }
}

/// Returns the environment with this name; `None` for one in which Apple signs nothing, and for an unknown one.
pub fn environment(name: &str) -> Option<Environment> {
    match name {
        "Production" => Some(Environment::Production),
        "Sandbox" => Some(Environment::Sandbox),
        _ => None,
    }
}

/// Returns the country of a storefront; `None` if it is not known.
pub fn country(storefront: &str) -> Option<&'static str> {
    let has_form =
        storefront.len() == 3 && storefront.bytes().all(|byte| byte.is_ascii_uppercase());
    let mut entries = STOREFRONTS.split_ascii_whitespace().filter(|_| has_form);
    entries.find_map(|entry| entry.strip_prefix(storefront))
}

/// Returns a currency code if it consists of three capital letters.
pub fn currency(code: &str) -> Option<&str> {
    let has_form = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    has_form.then_some(code)
}
