//! The columns of the list of payments. Pure.

use super::SCREEN;
use super::paid::NO_MONEY;
use crate::pages::cell::{Cell, CellPart};
use crate::pages::lists::{Column, Filter, FilterKind, List, ListHead};
use crate::pages::parts::{Badge, Code, Moment, Tone};
use crate::pages::text::capital;
use crate::pages::visit::Visit;
use crate::resources::rates::{RateDay, rate_sentence};
use crate::resources::refunds::{STATE, estimate};
use domain::Environment;
use domain::payment::{EntryKind, UnknownPrice};
use storage::PaymentView;

pub const FILTERS: &[Filter<PaymentView>] = &[
    Filter::new("user_id", "customer", FilterKind::Address(|_| None)),
    Filter::new(
        "collapse_key",
        "purchase",
        FilterKind::Address(|one| Some(purchase(one))),
    ),
];

pub const COLUMNS: &[Column<PaymentView>] = &[
    Column::head("Date", |one, _| Moment::at(one.occurred_at).into()),
    Column::new("What", |one, visit| {
        let what =
            Cell::from(CellPart::link(visit.to(&purchase(one)), kind(one.kind))).and(badge(one));
        what.under(
            one.sku
                .as_ref()
                .map(Code::short)
                .into_iter()
                .map(CellPart::from)
                .collect(),
        )
    }),
    Column::number("Price", |one, _| {
        if is_test(one) {
            return Cell::from("0").under(vec![NO_MONEY.into()]);
        }
        let price = one.price.as_ref().zip(one.currency.as_ref());
        let price = price.map(|(price, currency)| format!("{price} {currency}"));
        let refund = one
            .usd
            .as_ref()
            .filter(|_| is_refund(one))
            .map(|usd| format!("{usd} USD"));
        price.or(refund).map_or_else(Cell::none, Cell::from)
    }),
    Column::number("In USD", |one, _| match (&one.usd, one.unknown_because) {
        _ if is_test(one) => "0".into(),
        (Some(usd), _) => {
            Cell::from(usd.as_str()).under(rate_of(one).map(CellPart::from).into_iter().collect())
        }
        (None, None) => CellPart::Muted("not known").into(),
        (None, Some(why)) => not_known(one, why).into(),
    }),
    Column::new("By", |one, _| {
        let transaction = one.transaction_id.as_ref().map(Code::short).into_iter();
        let source = one.usd.as_ref().map(|_| source(one));
        source
            .map_or_else(Cell::none, Cell::from)
            .under(transaction.map(CellPart::from).collect())
    }),
];

/// The list of payments.
pub fn payments(visit: &Visit) -> List<PaymentView> {
    List {
        screen: SCREEN.path,
        title: "Payments".to_owned(),
        path: "/ui/payments".to_owned(),
        api: "/v1/payments",
        command: "settle payment",
        nouns: ["payment", "payments"],
        order: "newest first",
        live: "purchases",
        fixed: None,
        ids: &["event_id", "collapse_key", "transaction_id"],
        filters: FILTERS,
        columns: COLUMNS,
        head: ListHead::Title,
        nothing: (
            "No payments yet.",
            Some((visit.to(SCREEN.path), "search for a customer")),
        ),
    }
}

/// The list of all payments of a customer.
pub fn all_of(user: domain::UserId, visit: &Visit) -> String {
    visit.to(&format!("/ui/payments?user_id={user}"))
}

fn is_test(one: &PaymentView) -> bool {
    one.environment == Environment::Sandbox
}

/// The badge of a test purchase.
pub fn badge(one: &PaymentView) -> Option<Badge> {
    is_test(one).then(|| Badge::new(Tone::Idle, "test"))
}

const fn is_refund(one: &PaymentView) -> bool {
    matches!(one.kind, EntryKind::Refund | EntryKind::Restored)
}

/// Address of the purchase's page.
pub fn purchase(one: &PaymentView) -> String {
    format!("/ui/purchases/{}", one.collapse_key)
}

/// Display name of an entry's kind.
pub const fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Initial => "Payment",
        EntryKind::Renewal => "Renewal",
        EntryKind::TrialConversion => "First payment after the trial",
        EntryKind::Recovery => "Late payment",
        EntryKind::PlanChange => "First payment of a new plan",
        EntryKind::Refund => "Refund",
        EntryKind::Restored => "Refund reversed",
        EntryKind::Correction => "Price correction (no refund)",
    }
}

/// The exchange rate that converts an amount; `None` where none does.
pub fn rate_of(one: &PaymentView) -> Option<String> {
    one.rate_day
        .as_deref()
        .map(|day| rate_sentence(day, RateDay::of(one.is_rate_carried)))
}

/// Source of an amount, and what a sales report shows about it.
fn source(one: &PaymentView) -> String {
    if let Some(basis) = estimate(one) {
        return capital(basis);
    }
    let price = match one.source.as_str() {
        "report" => return "Sales report".to_owned(),
        STATE => "Early end",
        "device" => "Price on the device",
        _ => "List price",
    };
    let report = match one.transaction_id {
        Some(_) if one.is_corrected => "corrected by a sales report",
        Some(_) => "confirmed by a sales report",
        None => "not confirmed by a sales report yet",
    };
    format!("{price} ({report})")
}

/// That an amount is not known, and why.
pub fn not_known(one: &PaymentView, why: UnknownPrice) -> String {
    format!("not known: {}", unknown(one, why))
}

/// Why an amount is not known.
pub const fn unknown(one: &PaymentView, why: UnknownPrice) -> &'static str {
    match why {
        UnknownPrice::ProductUnknown => "the store never showed the product",
        UnknownPrice::Promotion => "the promotion has its own price",
        UnknownPrice::NotListed if one.is_unlisted => "the product is not in the catalogue",
        UnknownPrice::NotListed => "the catalogue has no price for that country",
        UnknownPrice::NoRate => "no exchange rate for that day or the week before it",
        UnknownPrice::PlanChanged => "the plan changed immediately",
        UnknownPrice::Unconfirmed => "the store has not confirmed it yet",
        UnknownPrice::Implausible => "the device reported an implausible price",
    }
}

#[cfg(test)]
pub mod tests {
    use super::{kind, not_known, source};
    use domain::payment::{EntryKind, UnknownPrice};
    use domain::{CollapseKey, Environment, EventId};
    use storage::PaymentView;
    use uuid::Uuid;

    /// A payment in USD by the list, or a change of it.
    pub fn entry(number: i64, kind: EntryKind, usd: &str) -> PaymentView {
        let price = kind.is_payment().then(|| usd.to_owned());
        PaymentView {
            event_id: EventId::new(Uuid::from_u128(1)),
            collapse_key: CollapseKey::new(Uuid::from_u128(2)),
            number,
            kind,
            occurred_at: "2026-11-03T16:20:01Z".parse().unwrap(),
            sku: None,
            currency: price.as_ref().map(|_| "USD".to_owned()),
            price,
            usd: Some(usd.to_owned()),
            rate_day: None,
            is_rate_carried: false,
            unknown_because: None,
            is_unlisted: false,
            source: "catalogue".to_owned(),
            transaction_id: None,
            is_corrected: false,
            environment: Environment::Production,
            created_at: "2026-11-03T16:20:01Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_new_plan_needs_no_change_of_the_former_one() {
        // So is a purchase beside another one with a shared entitlement.
        assert_eq!(kind(EntryKind::PlanChange), "First payment of a new plan");
    }

    #[test]
    fn a_missing_price_and_a_missing_product_differ() {
        let missing = |is_unlisted| {
            let one = PaymentView {
                is_unlisted,
                ..entry(1, EntryKind::Initial, "9.99")
            };
            not_known(&one, UnknownPrice::NotListed)
        };
        assert_eq!(
            missing(true),
            "not known: the product is not in the catalogue"
        );
        assert_eq!(
            missing(false),
            "not known: the catalogue has no price for that country"
        );
    }

    #[test]
    fn a_corrected_price_is_not_confirmed() {
        let shown = |price_source: &str, transaction: Option<&str>, is_corrected| {
            source(&PaymentView {
                source: price_source.to_owned(),
                transaction_id: transaction.map(str::to_owned),
                is_corrected,
                ..entry(1, EntryKind::Initial, "9.99")
            })
        };
        let transaction = Some("T-1");
        assert_eq!(
            shown("catalogue", None, false),
            "List price (not confirmed by a sales report yet)"
        );
        assert_eq!(
            shown("catalogue", transaction, false),
            "List price (confirmed by a sales report)"
        );
        assert_eq!(
            shown("catalogue", transaction, true),
            "List price (corrected by a sales report)"
        );
        assert_eq!(
            shown("device", transaction, true),
            "Price on the device (corrected by a sales report)"
        );
        assert_eq!(shown("report", transaction, false), "Sales report");
        assert_eq!(
            shown("store", transaction, false),
            "Early end (confirmed by a sales report)"
        );
        let estimated = shown("store", None, false);
        assert!(
            estimated.starts_with("Settle's estimate, since it ended early"),
            "{estimated}"
        );
    }
}
