//! The requests of a check, their order, and the customer that they find.

use super::{
    OLD, OLDEST, ORDER, PACKAGE, TOKEN, answered, check, error, google, item, order, outcome,
    repeated, shown, subject, subscription, token,
};
use crate::http::Method;
use crate::stores::google::check::{CheckOutcome, KnownPurchase, KnownTerm, NextStep, next};
use crate::stores::google::customer::CustomerOrigin;
use crate::stores::google::request::{PackageName, Query, request};
use crate::stores::google::shown::PurchaseKind;
use crate::stores::google::{STORE, Settings};
use crate::stores::{Answer, CheckStep, CustomerName, Replied, StoreProtocol as _};
use domain::Verification;
use domain::verification::{Term, Unit};
use serde_json::{Value, json};
use std::time::Duration;

const OTHER: &str = "GPA.9999-5678-9012-12345..3";

fn package() -> PackageName {
    PackageName::new(PACKAGE).unwrap()
}

/// Returns the path of the next request after these replies, with its bucket.
fn sent(replies: &[Replied]) -> String {
    match google().next(&subject(TOKEN), replies) {
        CheckStep::Send(request, bucket) => format!("{} {}", bucket.name, request.url),
        CheckStep::Done(answer) => panic!("{answer:?}"),
    }
}

fn account(id: &str) -> Value {
    json!({ "obfuscatedExternalAccountId": id, "externalAccountId": "linked", "obfuscatedExternalProfileId": "profile" })
}

fn customer(replies: &[Replied]) -> Option<(String, CustomerOrigin)> {
    match outcome(replies) {
        CheckOutcome::Shown(_, customer) => customer.map(|one| (one.name.0, one.origin)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_subscription_takes_two_requests() {
    let base =
        "https://androidpublisher.googleapis.com/androidpublisher/v3/applications/com.example.app";
    assert_eq!(
        sent(&[]),
        format!("subscriptions {base}/purchases/subscriptionsv2/tokens/{TOKEN}")
    );
    let replies = [answered(200, subscription(json!({})))];
    assert_eq!(sent(&replies), format!("orders {base}/orders/{ORDER}"));
    let replies = [
        answered(200, subscription(json!({}))),
        answered(200, order(ORDER, json!({}))),
    ];
    assert_eq!(shown(&replies).orders.len(), 1);
}

#[test]
fn a_one_time_purchase_is_tried_after_a_subscription() {
    let unknown = error(404, "purchaseTokenNotFound");
    let body = json!({
        "purchaseStateContext": { "purchaseState": "PURCHASED" }, "orderId": ORDER,
        "productLineItem": [{ "productId": "coins" }],
    });
    let replies = [
        unknown,
        answered(200, body),
        answered(200, order(ORDER, json!({}))),
    ];
    assert!(sent(&replies[..1]).starts_with("one_time https://"));
    assert!(sent(&replies[..1]).contains("/purchases/productsv2/tokens/"));
    assert!(sent(&replies[..2]).starts_with("orders https://"));
    assert_eq!(shown(&replies).kind, PurchaseKind::OneTime);
}

#[test]
fn a_kind_that_is_known_spares_a_request() {
    for (kind, other) in [
        (PurchaseKind::Subscription, PurchaseKind::OneTime),
        (PurchaseKind::OneTime, PurchaseKind::Subscription),
    ] {
        let known = KnownPurchase {
            kind: Some(kind),
            ..KnownPurchase::default()
        };
        let first = NextStep::Send(Query::Purchase(kind, token(TOKEN)));
        assert_eq!(check(&known, &[]), first);
        let unknown = [error(404, "purchaseTokenNotFound")];
        assert_eq!(
            check(&known, &unknown),
            NextStep::Done(CheckOutcome::Unknown),
            "{other:?}"
        );
    }
}

#[test]
fn a_purchase_without_an_order_takes_one_request() {
    let pending = json!({
        "subscriptionState": "SUBSCRIPTION_STATE_PENDING",
        "lineItems": [{ "productId": "premium" }],
    });
    assert_eq!(shown(&[answered(200, subscription(pending))]).orders, []);
}

#[test]
fn each_order_is_requested_once_and_few_are() {
    let of = |ids: &[&str]| {
        let items: Vec<Value> = ids
            .iter()
            .map(|id| item("monthly", json!({ "latestSuccessfulOrderId": id })))
            .collect();
        answered(200, subscription(json!({ "lineItems": items })))
    };
    let both = json!({ "orders": [order(ORDER, json!({})), order(OTHER, json!({}))] });
    let replies = [of(&[ORDER, OTHER, ORDER]), answered(200, both)];
    let shown_orders = shown(&replies).orders;
    let ids: Vec<&str> = shown_orders.iter().map(|order| order.id.as_str()).collect();
    assert_eq!(ids, [ORDER, OTHER]);
    let many: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain([".."]).collect();
    let step = check(&KnownPurchase::default(), &[of(&many)]);
    assert!(
        matches!(&step, NextStep::Send(Query::Orders(ids)) if ids.len() == 16),
        "{step:?}"
    );
    let mismatched = [of(&[ORDER]), answered(200, order(OTHER, json!({})))];
    assert!(matches!(outcome(&mismatched), CheckOutcome::Retry(_)));
}

#[test]
fn the_purchases_own_account_comes_first() {
    let members = json!({
        "externalAccountIdentifiers": account("own"), "linkedPurchaseToken": OLD,
        "outOfAppPurchaseContext": { "expiredExternalAccountIdentifiers": account("former") },
    });
    let replies = [answered(200, subscription(members)), error(404, "notFound")];
    assert_eq!(
        customer(&replies),
        Some(("own".to_owned(), CustomerOrigin::Purchase))
    );
}

#[test]
fn the_chain_names_the_customer_of_a_purchase_that_does_not() {
    let linked = |members: Value| answered(200, subscription(members));
    let unknown = || error(404, "notFound");
    let first = || linked(json!({ "linkedPurchaseToken": OLD }));
    let replies = [
        first(),
        unknown(),
        linked(json!({ "linkedPurchaseToken": OLDEST })),
        linked(json!({ "externalAccountIdentifiers": account("first") })),
    ];
    assert!(sent(&replies[..2]).ends_with(&format!("/subscriptionsv2/tokens/{OLD}")));
    assert!(sent(&replies[..3]).ends_with(&format!("/subscriptionsv2/tokens/{OLDEST}")));
    assert_eq!(
        customer(&replies),
        Some(("first".to_owned(), CustomerOrigin::Chain))
    );
    let dead = [first(), unknown(), error(410, "purchaseTokenNoLongerValid")];
    assert_eq!(customer(&dead), None, "one per token");
    let round = [
        first(),
        unknown(),
        linked(json!({ "linkedPurchaseToken": TOKEN })),
    ];
    assert_eq!(customer(&round), None, "a chain that bites its tail");
    let long = [
        first(),
        unknown(),
        linked(json!({ "linkedPurchaseToken": OLDEST })),
        linked(json!({ "linkedPurchaseToken": "and-so-on" })),
    ];
    assert_eq!(customer(&long), None, "at most two");
    let away = [first(), unknown(), answered(503, "")];
    assert!(matches!(outcome(&away), CheckOutcome::Retry(_)));
}

/// G05: a purchase made in Play after the previous one had ended, which is not linked.
#[test]
fn g05_the_context_names_the_customer_outside_the_app() {
    let context = json!({
        "expiredPurchaseToken": OLD, "expiredExternalAccountIdentifiers": account("former"),
    });
    let body = subscription(json!({
        "outOfAppPurchaseContext": context, "acknowledgementState": "ACKNOWLEDGEMENT_STATE_PENDING",
    }));
    let replies = [answered(200, body), error(404, "notFound")];
    assert_eq!(
        customer(&replies),
        Some(("former".to_owned(), CustomerOrigin::OutOfApp))
    );
    let shown = shown(&replies);
    assert_eq!((shown.linked, shown.former), (None, Some(token(OLD))));
    assert_eq!(shown.is_acknowledged, Some(false));
}

#[test]
fn a_text_that_is_no_account_names_no_customer() {
    let long = "x".repeat(201);
    for id in ["", " ", "a\nb", &long] {
        let body = subscription(json!({ "externalAccountIdentifiers": account(id) }));
        assert_eq!(
            customer(&[answered(200, body), error(404, "notFound")]),
            None,
            "{id}"
        );
    }
}

#[test]
fn an_answer_has_the_meaning_and_the_customer_apart() {
    let body = subscription(json!({ "externalAccountIdentifiers": account("own") }));
    let replies = [
        answered(200, body),
        error(404, "notFound"),
        error(404, "notFound"),
    ];
    let CheckStep::Done(answer) = google().next(&subject(TOKEN), &replies) else {
        panic!("not done");
    };
    let Answer::Named(Verification::Verified(snapshot), name) = &answer else {
        panic!("{answer:?}");
    };
    assert_eq!(name, &CustomerName("own".to_owned()));
    assert_eq!(snapshot.term_sku.as_deref(), Some("premium:monthly"));
    assert!(!format!("{answer:?}").contains("own\""), "{answer:?}");
}

#[test]
fn a_cancelled_commitment_renews_while_payments_are_left() {
    let renews = |details: Value| {
        let plan = json!({ "autoRenewEnabled": true, "installmentDetails": details });
        let item = item("monthly", json!({ "autoRenewingPlan": plan }));
        let body = subscription(json!({ "lineItems": [item] }));
        let missing = || error(404, "notFound");
        let replies = [answered(200, body), missing(), missing()];
        let CheckStep::Done(answer) = google().next(&subject(TOKEN), &replies) else {
            panic!("not done");
        };
        let Answer::Verification(Verification::Verified(snapshot)) = &answer else {
            panic!("{answer:?}");
        };
        let state = snapshot.state.as_ref();
        state.is_some_and(|state| state.renews_by_commitment)
    };
    let left = |left| json!({ "remainingCommittedPaymentsCount": left, "pendingCancellation": {} });
    assert!(renews(left(7)));
    assert!(!renews(left(0)));
    assert!(
        !renews(json!({ "pendingCancellation": {} })),
        "none is left"
    );
    let uncancelled = json!({ "remainingCommittedPaymentsCount": 7 });
    assert!(!renews(uncancelled), "it renews by itself");
}

#[test]
fn the_length_of_a_term_is_read_once_for_each_plan() {
    let plan = json!({ "basePlans": [{
        "basePlanId": "monthly", "autoRenewingBasePlanType": { "billingPeriodDuration": "P1M" },
    }] });
    let replies = [
        answered(200, subscription(json!({}))),
        answered(200, order(ORDER, json!({}))),
        answered(200, plan),
    ];
    assert!(sent(&replies[..2]).starts_with("publishing https://"));
    let month = Term {
        count: 1,
        unit: Unit::Month,
    };
    assert_eq!(shown(&replies).term, Some(month));
    let known = |sku: &str| KnownPurchase {
        term: Some(KnownTerm {
            sku: sku.to_owned(),
            term: month,
        }),
        ..KnownPurchase::default()
    };
    let step = next(&token(TOKEN), &known("premium:monthly"), &replies[..2]);
    assert!(
        matches!(&step, NextStep::Done(CheckOutcome::Shown(shown, _)) if shown.term == Some(month)),
        "{step:?}"
    );
    let step = next(&token(TOKEN), &known("premium:yearly"), &replies[..2]);
    assert!(
        matches!(&step, NextStep::Send(Query::Plans(plan)) if plan.sku() == "premium:monthly"),
        "{step:?}"
    );
    for failed in [
        answered(503, ""),
        error(403, "forbidden"),
        error(404, "notFound"),
    ] {
        let [first, second, _] = &replies;
        let again = [first, second].map(repeated);
        let all: Vec<Replied> = again.into_iter().chain([failed]).collect();
        assert_eq!(shown(&all).term, None, "a term is never waited for");
    }
}

#[test]
fn known_orders_are_read_again_with_the_current_one() {
    let known = KnownPurchase {
        orders: vec!["GPA.1".to_owned(), "GPA.1..0".to_owned(), ORDER.to_owned()],
        ..KnownPurchase::default()
    };
    let first = || answered(200, subscription(json!({})));
    let NextStep::Send(Query::Orders(ids)) = check(&known, &[first()]) else {
        panic!("no batch");
    };
    assert_eq!(ids, ["GPA.1", "GPA.1..0", ORDER]);
    let orders = ids.iter().map(|id| order(id, json!({})));
    let batch = answered(200, json!({ "orders": orders.collect::<Vec<_>>() }));
    let NextStep::Done(CheckOutcome::Shown(shown, _)) = check(&known, &[first(), batch]) else {
        panic!("not shown");
    };
    assert_eq!(shown.orders.len(), 3);
}

#[test]
fn an_order_of_the_purchase_before_pays_for_nothing() {
    let before = json!({ "purchaseToken": OLD });
    let replies = [
        answered(200, subscription(json!({}))),
        answered(200, order(ORDER, before)),
        error(404, "notFound"),
    ];
    let CheckStep::Done(Answer::Verification(Verification::Verified(snapshot))) =
        google().next(&subject(TOKEN), &replies)
    else {
        panic!("not verified");
    };
    assert_eq!(snapshot.state.unwrap().periods, []);
}

#[test]
fn a_request_is_guarded_unless_the_operator_chose_the_address() {
    let query = Query::Purchase(PurchaseKind::Subscription, token("a/b+c=d:e"));
    let (sent, bucket) = request(&Settings::default(), &package(), &query).unwrap();
    assert_eq!((sent.method, sent.body.len()), (Method::Get, 0));
    assert!(
        sent.url.path().ends_with("/tokens/a%2Fb%2Bc%3Dd%3Ae"),
        "{}",
        sent.url
    );
    assert!(!sent.is_operator_url);
    assert_eq!((bucket.name, bucket.per_second), ("subscriptions", 40));
    let settings = Settings {
        base: Some("http://127.0.0.1:9000/".parse().unwrap()),
        per_second: 7,
        ..Settings::default()
    };
    let (sent, bucket) = request(&settings, &package(), &Query::Order(ORDER.to_owned())).unwrap();
    assert!(
        sent.url
            .as_str()
            .starts_with("http://127.0.0.1:9000/androidpublisher/v3/")
    );
    assert!(sent.is_operator_url);
    assert_eq!(bucket.per_second, 7);
    assert!(
        !format!("{sent:?} {query:?}").contains("a/b"),
        "no token in a log"
    );
}

#[test]
fn the_package_is_the_platforms_own() {
    for name in ["com.example.app", "a.b", "Com.Example_1.A2"] {
        assert!(PackageName::new(name).is_some(), "{name}");
    }
    let long = format!("a.{}", "b".repeat(200));
    for name in [
        "", "app", "com..app", ".a.b", "a.b.", "a/b.c", "com.1app", "a.ü", &long,
    ] {
        assert!(PackageName::new(name).is_none(), "{name}");
    }
    for name in ["", "app", "../x"] {
        let mut of = subject(TOKEN);
        name.clone_into(&mut of.package_name);
        assert!(matches!(
            google().next(&of, &[]),
            CheckStep::Done(Answer::Refused(_))
        ));
    }
}

#[test]
fn the_store_has_its_name_and_limits() {
    let google = google();
    assert_eq!((google.name(), google.per_second()), (STORE, 40));
    assert_eq!(google.give_up_after(), Duration::from_secs(900));
    assert!(google.issues_tokens());
}
