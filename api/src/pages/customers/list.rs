//! The columns of the list of payments. This module is pure.

use super::address::PATH;
use super::statement::badge;
use crate::cell::{Cell, CellPart};
use crate::lists::{Column, Filter, FilterKind, List, ListHead};
use crate::parts::{Code, Moment};
use crate::text::capital;
use crate::visit::Visit;
use api::resources::payments::{kind, not_known, rate_of};
use api::resources::refunds::{STATE, estimate};
use api::resources::statement::NO_MONEY;
use domain::Environment;
use domain::payment::EntryKind;
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
        let what = Cell::from(CellPart::link(visit.to(&purchase(one)), kind(one.kind)))
            .and(badge(one.environment));
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

/// Returns the list of payments.
pub fn payments(visit: &Visit) -> List<PaymentView> {
    List {
        screen: PATH,
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
            Some((visit.to(PATH), "search for a customer")),
        ),
    }
}

/// Returns the address of the list of all of a customer's payments.
pub fn all_of(user: domain::UserId, visit: &Visit) -> String {
    visit.to(&format!("/ui/payments?user_id={user}"))
}

fn is_test(one: &PaymentView) -> bool {
    one.environment == Environment::Sandbox
}

const fn is_refund(one: &PaymentView) -> bool {
    matches!(one.kind, EntryKind::Refund | EntryKind::Restored)
}

/// Returns the path of the purchase's page.
fn purchase(one: &PaymentView) -> String {
    format!("/ui/purchases/{}", one.collapse_key)
}

/// Returns the source of an amount, and what a sales report shows about it.
fn source(one: &PaymentView) -> String {
    if one.is_shown {
        return "Store".to_owned();
    }
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

#[cfg(test)]
mod tests {
    use super::source;
    use api::fixtures::entry;
    use domain::payment::EntryKind;
    use storage::PaymentView;

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
        let by_store = PaymentView {
            is_shown: true,
            ..entry(1, EntryKind::Initial, "9.99")
        };
        assert_eq!(source(&by_store), "Store");
        let estimated = shown("store", None, false);
        assert!(
            estimated.starts_with("Settle's estimate, since it ended early"),
            "{estimated}"
        );
    }
}
