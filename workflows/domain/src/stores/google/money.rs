//! Money of an order.

use crate::period::RefundExtent;
use rust_decimal::Decimal;

/// The decimals of `nanos`.
const NANO_SCALE: u32 = 9;
const MAX_NANOS: i32 = 999_999_999;

/// Returns the exact amount of a `Money`. `units` is text; it is absent for 0, as is `nanos`. `None` for an invalid
/// `Money`, such as one whose parts have different signs.
pub fn amount(units: Option<&str>, nanos: Option<i32>) -> Option<Decimal> {
    let units: i64 = units.map_or(Some(0), |units| units.parse().ok())?;
    let nanos = nanos.unwrap_or(0);
    let is_money = (-MAX_NANOS..=MAX_NANOS).contains(&nanos)
        && (units == 0 || nanos == 0 || (units < 0) == (nanos < 0));
    let parts = Decimal::from(units).checked_add(Decimal::new(i64::from(nanos), NANO_SCALE))?;
    is_money.then(|| parts.normalize())
}

/// The state of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    Pending,
    Processed,
    Canceled,
    /// A refund has begun, but nothing has been returned yet.
    PendingRefund,
    PartiallyRefunded,
    Refunded,
    Unknown,
}

impl OrderState {
    /// Returns the state with this name in an answer.
    pub fn of(name: &str) -> Self {
        match name {
            "PENDING" => Self::Pending,
            "PROCESSED" => Self::Processed,
            "CANCELED" => Self::Canceled,
            "PENDING_REFUND" => Self::PendingRefund,
            "PARTIALLY_REFUNDED" => Self::PartiallyRefunded,
            "REFUNDED" => Self::Refunded,
            _ => Self::Unknown,
        }
    }

    /// Whether the order was paid, even if the money was returned later.
    pub const fn is_paid(self) -> bool {
        matches!(
            self,
            Self::Processed | Self::PendingRefund | Self::PartiallyRefunded | Self::Refunded
        )
    }
}

/// Returns how much of an order was refunded, from its state and the sum of its partial refunds; `None` if nothing was.
pub const fn refund_extent(state: OrderState, refunded: Option<Decimal>) -> Option<RefundExtent> {
    match (state, refunded) {
        (OrderState::Refunded, _) => Some(RefundExtent::Full),
        (OrderState::PartiallyRefunded, Some(amount)) => Some(RefundExtent::Amount(amount)),
        (OrderState::PartiallyRefunded, None) => Some(RefundExtent::Unknown),
        _ => None,
    }
}
