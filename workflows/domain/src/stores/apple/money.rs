//! Money of a transaction: exact amounts of milliunits, also in currencies without decimals.

use crate::period::RefundExtent;
use rust_decimal::Decimal;

/// The decimals of milliunits.
const MILLI_SCALE: u32 = 3;
/// A whole transaction, in the milliunits of a percentage.
const WHOLE: i64 = 100_000;

/// Returns the exact amount of a number of milliunits, such as 300 yen for 300000.
pub fn amount(milliunits: i64) -> Decimal {
    Decimal::new(milliunits, MILLI_SCALE).normalize()
}

/// Seats with an equal price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceTier {
    /// The price of one seat.
    pub price: Decimal,
    pub seats: u32,
}

/// Returns the price of a transaction: with several seats the sum of their tiers, since `price` is then their average.
pub fn total(price: Option<Decimal>, tiers: &[PriceTier]) -> Option<Decimal> {
    if tiers.is_empty() {
        return price;
    }
    let sum = tiers.iter().try_fold(Decimal::ZERO, |sum, tier| {
        let part = tier.price.checked_mul(Decimal::from(tier.seats))?;
        sum.checked_add(part)
    });
    sum.map(|sum| sum.normalize())
}

/// The type of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationKind {
    Full,
    Prorated,
    /// The end of access that another customer paid.
    Shared,
    Unknown,
}

impl RevocationKind {
    /// Returns the type with this name. Before Apple named the type, transactions were refunded in full.
    pub fn of(name: Option<&str>) -> Self {
        match name {
            None | Some("REFUND_FULL") => Self::Full,
            Some("REFUND_PRORATED") => Self::Prorated,
            Some("FAMILY_REVOKE" | "ASSIGNMENT_REVOKE") => Self::Shared,
            Some(_) => Self::Unknown,
        }
    }
}

/// Returns how much of a transaction was refunded. `percentage` is in milliunits.
pub fn refund_extent(kind: RevocationKind, percentage: Option<i64>) -> RefundExtent {
    let part = percentage.filter(|part| (0..WHOLE).contains(part));
    let mille = part.and_then(|part| u16::try_from(part / 100).ok());
    match (kind, mille) {
        (RevocationKind::Full | RevocationKind::Shared, _) => RefundExtent::Full,
        (_, Some(mille)) => RefundExtent::Mille(mille),
        (_, None) if percentage >= Some(WHOLE) => RefundExtent::Full,
        (_, None) => RefundExtent::Unknown,
    }
}
