//! Orders: what was paid, for which period, and what was refunded.

use super::{ORDER, TOKEN, answered, item, merged, order, shown, subscription, time, token};
use crate::stores::google::meaning;
use crate::stores::google::money::Money;
use crate::stores::google::shown::{OfferPhase, OrderState, ShownOrder};
use domain::text::decimal;
use serde_json::{Value, json};

/// Returns an order with these members, as a check parses it.
fn read(members: Value) -> ShownOrder {
    let body = order(ORDER, members);
    let replies = [answered(200, subscription(json!({}))), answered(200, body)];
    shown(&replies).orders.remove(0)
}

fn line(members: Value) -> Value {
    let base = json!({
        "productId": "premium", "productTitle": "Premium",
        "total": { "currencyCode": "EUR", "units": "4", "nanos": 990_000_000 },
        "tax": { "currencyCode": "EUR", "nanos": 800_000_000 },
        "listingPrice": { "currencyCode": "EUR", "units": "5" },
    });
    merged(base, members)
}

fn euros(units: &str) -> Value {
    json!({ "currencyCode": "EUR", "units": units })
}

#[test]
fn the_price_the_tax_and_the_period_of_an_order_are_read() {
    let details = json!({
        "basePlanId": "monthly", "offerId": "welcome", "offerPhaseDetails": { "introductoryPriceDetails": {} },
        "servicePeriodStartTime": "2026-09-01T10:00:00Z", "servicePeriodEndTime": "2026-10-01T10:00:00Z",
    });
    let shown = read(json!({
        "lineItems": [line(json!({ "subscriptionDetails": details }))],
        "tax": { "currencyCode": "EUR", "nanos": 800_000_000 }, "lastEventTime": "2026-09-01T10:00:05Z",
        "buyerAddress": { "buyerCountry": "AT", "buyerState": "Wien", "buyerPostcode": "1010" },
        "developerRevenueInBuyerCurrency": euros("3"), "salesChannel": "IN_APP",
        "orderDetails": { "taxInclusive": true }, "orderHistory": { "processedEvent": { "eventTime": "2026-09-01T10:00:01Z" } },
    }));
    assert_eq!(
        (shown.id.as_str(), shown.state),
        (ORDER, OrderState::Processed)
    );
    assert_eq!(
        (shown.token.as_ref(), shown.country.as_deref()),
        (Some(&token(TOKEN)), Some("AT"))
    );
    assert_eq!(shown.created_at, time("2026-09-01T10:00:00Z"));
    assert_eq!(shown.changed_at, time("2026-09-01T10:00:05Z"));
    let amount = |money: &Option<Money>| money.as_ref().map(|one| one.amount);
    assert_eq!(
        (amount(&shown.total), amount(&shown.tax)),
        (decimal("4.99"), decimal("0.8"))
    );
    let line = &shown.lines[0];
    assert_eq!(
        (amount(&line.total), amount(&line.tax)),
        (decimal("4.99"), decimal("0.8"))
    );
    assert_eq!(
        (line.plan_id.as_deref(), line.offer_id.as_deref()),
        (Some("monthly"), Some("welcome"))
    );
    assert_eq!(
        (line.phase, line.is_prorated),
        (Some(OfferPhase::Introductory), false)
    );
    assert_eq!(line.period_from, time("2026-09-01T10:00:00Z"));
    assert_eq!(line.period_until, time("2026-10-01T10:00:00Z"));
    assert_eq!((shown.refunds.len(), shown.canceled_at), (0, None));
    assert!(!format!("{shown:?}").contains("Wien"), "no address");
}

#[test]
fn the_phase_of_an_order_is_read_in_both_forms() {
    let phase = |details: Value| {
        let shown = read(json!({ "lineItems": [line(json!({ "subscriptionDetails": details }))] }));
        (shown.lines[0].phase, shown.lines[0].is_prorated)
    };
    assert_eq!(phase(json!({})), (None, false));
    let named = |name: &str| phase(json!({ "offerPhase": name }));
    assert_eq!(named("FREE_TRIAL"), (Some(OfferPhase::FreeTrial), false));
    assert_eq!(named("OFFER_PHASE_UNSPECIFIED"), (None, false));
    let detailed =
        |details: Value| phase(json!({ "offerPhase": "BASE", "offerPhaseDetails": details }));
    assert_eq!(
        detailed(json!({ "freeTrialDetails": {} })),
        (Some(OfferPhase::FreeTrial), false)
    );
    assert_eq!(
        detailed(json!({ "baseDetails": {} })),
        (Some(OfferPhase::Base), false)
    );
    let prorated = json!({ "prorationPeriodDetails": { "originalOfferPhase": "INTRODUCTORY" } });
    assert_eq!(detailed(prorated), (Some(OfferPhase::Introductory), true));
}

#[test]
fn an_order_of_pieces_is_read() {
    let details = json!({ "quantity": 3, "offerId": "sale", "purchaseOptionId": "buy" });
    let shown = read(json!({ "lineItems": [line(json!({ "oneTimePurchaseDetails": details }))] }));
    let line = &shown.lines[0];
    assert_eq!(
        (line.quantity, line.plan_id.as_deref()),
        (Some(3), Some("buy"))
    );
    assert_eq!((line.period_from, line.phase), (None, None));
}

#[test]
fn every_state_of_an_order_is_read() {
    for (name, state) in [
        ("PENDING", OrderState::Pending),
        ("PROCESSED", OrderState::Processed),
        ("CANCELED", OrderState::Canceled),
        ("PENDING_REFUND", OrderState::PendingRefund),
        ("PARTIALLY_REFUNDED", OrderState::PartiallyRefunded),
        ("REFUNDED", OrderState::Refunded),
        ("STATE_UNSPECIFIED", OrderState::Unknown),
        ("ANOTHER", OrderState::Unknown),
    ] {
        assert_eq!(read(json!({ "state": name })).state, state);
    }
    let canceled = json!({ "cancellationEvent": { "eventTime": "2026-09-02T00:00:00Z" } });
    let shown = read(json!({ "state": "CANCELED", "orderHistory": canceled }));
    assert_eq!(shown.canceled_at, time("2026-09-02T00:00:00Z"));
}

/// G31: a refund without revocation, which only the order shows.
#[test]
fn g31_an_order_shows_a_refund_that_no_notification_named() {
    let part = json!({
        "createTime": "2026-09-03T00:00:00Z", "processTime": "2026-09-04T00:00:00Z", "state": "PROCESSED_SUCCESSFULLY",
        "refundDetails": { "total": euros("1"), "tax": euros("0") },
    });
    let planned = json!({ "createTime": "2026-09-05T00:00:00Z", "state": "PENDING" });
    let full = json!({
        "eventTime": "2026-09-06T00:00:00Z", "refundReason": "CHARGEBACK", "refundDetails": { "total": euros("4") },
    });
    let history = json!({ "partialRefundEvents": [part, planned], "refundEvent": full });
    let shown = read(json!({ "state": "REFUNDED", "orderHistory": history }));
    let refunds: Vec<_> = shown
        .refunds
        .iter()
        .map(|one| (one.at, one.is_full, one.is_processed, one.is_chargeback))
        .collect();
    let expected = [
        (time("2026-09-04T00:00:00Z"), false, true, false),
        (time("2026-09-05T00:00:00Z"), false, false, false),
        (time("2026-09-06T00:00:00Z"), true, true, true),
    ];
    assert_eq!(refunds, expected);
    let amounts: Vec<_> = shown
        .refunds
        .iter()
        .map(|one| one.total.as_ref().map(|money| money.amount))
        .collect();
    assert_eq!(amounts, [decimal("1"), None, decimal("4")]);
}

#[test]
fn the_tax_of_an_order_and_of_its_refunds_is_passed_on() {
    let tax = |nanos: i64| json!({ "currencyCode": "EUR", "nanos": nanos });
    let part = |nanos: Option<i64>| {
        json!({
            "processTime": "2026-09-04T00:00:00Z", "state": "PROCESSED_SUCCESSFULLY",
            "refundDetails": { "total": euros("1"), "tax": nanos.map(tax) },
        })
    };
    let passed_on = |parts: Vec<Value>| {
        let history = json!({ "partialRefundEvents": parts });
        let shown = read(json!({
            "state": "PARTIALLY_REFUNDED", "tax": tax(800_000_000), "orderHistory": history,
        }));
        let mut purchase = super::read(json!({}));
        purchase.orders = vec![shown];
        let order = meaning::answer(&token(TOKEN), &purchase).orders.remove(0);
        (order.tax, order.refunded_tax)
    };
    let (tenth, half) = (Some(100_000_000), Some(500_000_000));
    for (parts, expected) in [
        (vec![], None),
        (vec![part(tenth), part(half)], decimal("0.6")),
        (vec![part(tenth), part(None)], None),
        // Never more than the tax of the order.
        (vec![part(half), part(half)], decimal("0.8")),
    ] {
        assert_eq!(passed_on(parts), (decimal("0.8"), expected));
    }
}

/// G34: a tester's renewals, each with its own order.
#[test]
fn g34_the_id_of_an_order_has_its_number() {
    let number = |id: &str| {
        let body = order(id, json!({}));
        let paid = item("monthly", json!({ "latestSuccessfulOrderId": id }));
        let purchase = subscription(json!({ "lineItems": [paid] }));
        shown(&[answered(200, purchase), answered(200, body)]).orders[0].number()
    };
    assert_eq!(number(ORDER), Some(1));
    for (suffix, expected) in [
        ("..0", Some(2)),
        ("..5", Some(7)),
        ("..4294967295", None),
        ("..x", None),
        ("..+1", None),
        ("..", None),
    ] {
        assert_eq!(number(&format!("{ORDER}{suffix}")), expected, "{suffix}");
    }
}

/// G01: the end of a hold moves the item's date, but not the end of the paid period.
#[test]
fn g01_the_paid_period_ends_before_an_unrecovered_hold() {
    let details = json!({ "servicePeriodEndTime": "2026-10-01T10:00:00Z" });
    let paid = order(
        ORDER,
        json!({ "lineItems": [line(json!({ "subscriptionDetails": details }))] }),
    );
    let held = item(
        "monthly",
        json!({ "expiryTime": "2026-11-30T10:00:00Z", "autoRenewingPlan": {} }),
    );
    let body = subscription(json!({
        "subscriptionState": "SUBSCRIPTION_STATE_EXPIRED", "lineItems": [held],
        "canceledStateContext": { "systemInitiatedCancellation": {} },
    }));
    let shown = shown(&[answered(200, body), answered(200, paid)]);
    assert_eq!(shown.paid_until(), time("2026-10-01T10:00:00Z"));
    assert_eq!(shown.expires_at(), time("2026-11-30T10:00:00Z"));
}
