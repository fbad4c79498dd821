//! What people read about money that came back. The stores of this release show no refund: one without a transaction
//! follows from an early end, and is settle's estimate until a sales report has it. Pure.

use domain::payment::EntryKind;
use storage::PaymentView;

/// The source of an entry that follows from the state that the store shows.
pub const STATE: &str = "store";

/// What an estimate is based on.
const EARLY_END: &str = "settle's estimate, since it ended early; no sales report has a refund yet";
const VALID_AGAIN: &str = "settle's estimate, since it is valid again; no sales report shows it yet";

/// The basis of an entry that no store and no report shows; `None` for others.
pub fn estimate(one: &PaymentView) -> Option<&'static str> {
    if one.source != STATE || one.transaction_id.is_some() {
        return None;
    }
    Some(if one.kind == EntryKind::Restored { VALID_AGAIN } else { EARLY_END })
}

#[cfg(test)]
mod tests {
    use super::{STATE, estimate};
    use domain::payment::EntryKind;
    use domain::{CollapseKey, Environment, EventId, Timestamp};
    use storage::PaymentView;
    use uuid::Uuid;

    fn entry(kind: EntryKind, source: &str, transaction: Option<&str>) -> PaymentView {
        PaymentView {
            event_id: EventId::new(Uuid::nil()),
            collapse_key: CollapseKey::new(Uuid::nil()),
            number: 1,
            kind,
            occurred_at: Timestamp::from_micros(0),
            sku: None,
            price: None,
            currency: None,
            usd: Some("-9.99".to_owned()),
            rate_day: None,
            is_rate_carried: false,
            unknown_because: None,
            is_unlisted: false,
            source: source.to_owned(),
            transaction_id: transaction.map(str::to_owned),
            is_corrected: false,
            environment: Environment::Production,
            created_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn what_no_report_has_is_an_estimate() {
        for kind in [EntryKind::Refund, EntryKind::Restored, EntryKind::Correction] {
            let one = |source, transaction| entry(kind, source, transaction);
            assert!(estimate(&one(STATE, None)).is_some_and(|text| text.contains("settle's estimate")), "{kind:?}");
            for known in [one(STATE, Some("T-1")), one("report", Some("T-1")), one("catalogue", None)] {
                assert_eq!(estimate(&known), None, "{known:?}");
            }
        }
    }
}
