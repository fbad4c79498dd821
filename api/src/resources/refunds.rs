//! Texts about refunds. A refund without a transaction is inferred from an early end, and is settle's estimate until a
//! sales report contains it. Pure.

use domain::Environment;
use domain::event::REVENUE_ADJUSTED;
use domain::payment::EntryKind;
use storage::{DeliveryView, Destination, PaymentView, PurchaseView};

/// Source of an entry inferred from the state that the store shows.
pub const STATE: &str = "store";

/// Reason given for an estimate.
const EARLY_END: &str = "settle's estimate, since it ended early; no sales report has a refund yet";
const VALID_AGAIN: &str =
    "settle's estimate, since it is valid again; no sales report shows it yet";

/// Returns why an entry is an estimate; `None` for one that a store or a report shows.
pub fn estimate(one: &PaymentView) -> Option<&'static str> {
    if one.source != STATE || one.is_shown || one.transaction_id.is_some() {
        return None;
    }
    Some(if one.kind == EntryKind::Restored {
        VALID_AGAIN
    } else {
        EARLY_END
    })
}

/// Returns a purchase's latest refund and its amount in USD; `None` if the refund was reversed.
pub fn refund<'a>(
    view: &PurchaseView,
    payments: &'a [PaymentView],
) -> Option<(&'a PaymentView, &'a str)> {
    let mut own = payments
        .iter()
        .filter(|one| one.collapse_key == view.collapse_key);
    let last = own.find(|one| matches!(one.kind, EntryKind::Refund | EntryKind::Restored))?;
    let usd = last
        .usd
        .as_deref()
        .filter(|_| last.kind == EntryKind::Refund)?;
    Some((last, usd.trim_start_matches('-')))
}

/// Returns whether a refund or its reversal was not sent to a destination because it is not subscribed, although it
/// received other events about the purchase. An integration receives a refund together with the payment.
pub fn is_unsent_refund(
    one: &PaymentView,
    destination: &Destination,
    got: &[&DeliveryView],
) -> bool {
    let is_refund = matches!(one.kind, EntryKind::Refund | EntryKind::Restored);
    let is_counted =
        one.environment == Environment::Production && one.created_at >= destination.created_at;
    let is_sent = destination.chose(REVENUE_ADJUSTED)
        || got.iter().any(|one| one.event_type == REVENUE_ADJUSTED);
    is_refund && is_counted && !destination.per_user && !is_sent && !got.is_empty()
}

/// Returns the sentence about a refund, as the customer sees it.
pub fn refunded(refund: &PaymentView, amount: &str, is_test: bool) -> String {
    let at = refund.occurred_at;
    match estimate(refund) {
        _ if is_test => format!("Refunded on {at}"),
        Some(_) => format!(
            "Ended early on {at}: settle counts {amount} USD as refunded until a sales report shows what came back"
        ),
        None => format!("Refunded {amount} USD on {at}"),
    }
}

#[cfg(test)]
pub mod tests {
    use super::{STATE, estimate};
    use domain::payment::EntryKind;
    use domain::{CollapseKey, Environment, EventId, Timestamp};
    use storage::PaymentView;
    use uuid::Uuid;

    /// Returns an entry for the purchase with the nil key.
    pub fn entry(kind: EntryKind, source: &str, transaction: Option<&str>) -> PaymentView {
        PaymentView {
            event_id: EventId::new(Uuid::nil()),
            collapse_key: CollapseKey::new(Uuid::nil()),
            number: 1,
            kind,
            occurred_at: Timestamp::from_micros(0),
            sku: None,
            price: None,
            currency: None,
            tax: None,
            country: None,
            usd: Some("-9.99".to_owned()),
            rate_day: None,
            is_rate_carried: false,
            unknown_because: None,
            is_unlisted: false,
            is_shown: false,
            source: source.to_owned(),
            transaction_id: transaction.map(str::to_owned),
            is_corrected: false,
            environment: Environment::Production,
            created_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn what_no_report_has_is_an_estimate() {
        for kind in [
            EntryKind::Refund,
            EntryKind::Restored,
            EntryKind::Correction,
        ] {
            let one = |source, transaction| entry(kind, source, transaction);
            assert!(
                estimate(&one(STATE, None)).is_some_and(|text| text.contains("settle's estimate")),
                "{kind:?}"
            );
            for known in [
                one(STATE, Some("T-1")),
                one("report", Some("T-1")),
                one("catalogue", None),
            ] {
                assert_eq!(estimate(&known), None, "{known:?}");
            }
        }
    }
}
