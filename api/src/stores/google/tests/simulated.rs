//! The simulated store: the lives of sample purchases, as the protocol reads their resources.

use super::super::sample::TYPES;
use super::super::simulated::purchase::{Sent, SimulatedPurchase};
use super::super::simulated::resources::{NamedPurchase, OrderName, PRODUCTS, plans};
use super::now;
use domain::time::DAY;
use domain::{CollapseKey, PlatformId, Timestamp};
use protocols::stores::google::order::Order;
use protocols::stores::google::product::Product;
use protocols::stores::google::shown::{
    CanceledBy, OrderState, PurchaseStage, Renewal, ShownOrder, ShownPurchase,
};
use protocols::stores::google::subscription::Subscription;
use serde_json::{Value, json};
use uuid::Uuid;

/// A sample: its type, and its day.
type Day = (&'static str, u32);

const BOUGHT: Day = ("SUBSCRIPTION_PURCHASED", 0);

fn day(number: u32) -> Timestamp {
    now().plus(DAY.saturating_mul(number))
}

fn key() -> CollapseKey {
    CollapseKey::of(PlatformId::new(Uuid::from_u128(1)), "sample.first.mac")
}

/// Returns the purchase with these samples on a day.
fn on(today: u32, samples: &[Day]) -> NamedPurchase {
    let sent = samples.iter().map(|(name, number)| Sent {
        store_type: (*name).to_owned(),
        at: day(*number),
    });
    let sent: Vec<Sent> = sent.collect();
    NamedPurchase {
        key: key(),
        token: "sample.first.mac".to_owned(),
        purchase: SimulatedPurchase::of(&sent, day(today)).expect("a purchase"),
    }
}

/// Returns the subscription as the protocol reads it.
fn subscription(today: u32, samples: &[Day]) -> ShownPurchase {
    let body = on(today, samples).subscription().expect("a subscription");
    let read: Subscription = serde_json::from_value(body).expect("the resource");
    read.shown(day(today)).expect("a known state")
}

/// Returns the order with this number as the protocol reads it.
fn order(named: &NamedPurchase, number: usize) -> Option<ShownOrder> {
    let read: Order = serde_json::from_value(named.order(number)?).expect("the resource");
    Some(read.shown())
}

/// Checks the stage, the day on which the item ends, and the number of the last paid order.
fn check(today: u32, samples: &[Day], stage: PurchaseStage, until: u32, number: usize) {
    let shown = subscription(today, samples);
    let last = on(today, samples).purchase.last_order();
    assert_eq!(
        (shown.stage, shown.expires_at(), last),
        (stage, Some(day(until)), number),
        "{samples:?} on day {today}"
    );
    let id = OrderName {
        purchase: key(),
        number: last,
    };
    assert_eq!(shown.order_ids(), [id.id().as_str()]);
    assert!(shown.is_test && shown.is_acknowledged == Some(true));
}

#[test]
fn a_subscription_renews_by_itself_until_it_is_canceled() {
    check(0, &[BOUGHT], PurchaseStage::Active, 30, 0);
    check(70, &[BOUGHT], PurchaseStage::Active, 90, 2);
    let renewed = [BOUGHT, ("SUBSCRIPTION_RENEWED", 29)];
    check(29, &renewed, PurchaseStage::Active, 60, 1);
    let canceled = [BOUGHT, ("SUBSCRIPTION_CANCELED", 5)];
    check(6, &canceled, PurchaseStage::Canceled, 30, 0);
    check(40, &canceled, PurchaseStage::Expired, 30, 0);
    let shown = subscription(6, &canceled);
    let by = shown.cancellation.map(|found| (found.by, found.at));
    assert_eq!(by, Some((CanceledBy::Customer, Some(day(5)))));
    let is_off = |shown: &ShownPurchase| {
        let renewals = shown.items.iter().map(|item| item.renewal);
        renewals.eq([Renewal::Automatic { is_on: false }])
    };
    assert!(is_off(&shown));
    let restarted = [canceled.as_slice(), &[("SUBSCRIPTION_RESTARTED", 6)]].concat();
    check(7, &restarted, PurchaseStage::Active, 30, 0);
    assert!(!is_off(&subscription(7, &restarted)));
}

#[test]
fn a_failed_payment_is_recovered_or_ends_the_purchase() {
    let grace = [BOUGHT, ("SUBSCRIPTION_IN_GRACE_PERIOD", 29)];
    check(30, &grace, PurchaseStage::Grace, 36, 0);
    assert!(subscription(30, &grace).unpaid_order.is_some());
    check(40, &grace, PurchaseStage::Hold, 36, 0);
    check(70, &grace, PurchaseStage::Expired, 66, 0);
    let by = subscription(70, &grace).cancellation.map(|found| found.by);
    assert_eq!(by, Some(CanceledBy::Store));
    let paid = [grace.as_slice(), &[("SUBSCRIPTION_RENEWED", 31)]].concat();
    check(32, &paid, PurchaseStage::Active, 59, 1);
    let hold = [grace.as_slice(), &[("SUBSCRIPTION_ON_HOLD", 33)]].concat();
    check(34, &hold, PurchaseStage::Hold, 33, 0);
    let recovered = [hold.as_slice(), &[("SUBSCRIPTION_RECOVERED", 40)]].concat();
    check(41, &recovered, PurchaseStage::Active, 70, 1);
}

#[test]
fn a_pause_ends_in_a_payment() {
    let paused = [BOUGHT, ("SUBSCRIPTION_PAUSED", 10)];
    check(11, &paused, PurchaseStage::Paused, 10, 0);
    assert_eq!(subscription(11, &paused).resumes_at, Some(day(40)));
    check(41, &paused, PurchaseStage::Active, 70, 1);
    let resumed = [paused.as_slice(), &[("SUBSCRIPTION_RECOVERED", 20)]].concat();
    check(21, &resumed, PurchaseStage::Active, 50, 1);
}

#[test]
fn each_end_is_shown() {
    for (name, by, is_refunded) in [
        ("SUBSCRIPTION_REVOKED", CanceledBy::Developer, false),
        ("SUBSCRIPTION_EXPIRED", CanceledBy::Store, false),
        ("VOIDED_PURCHASE", CanceledBy::Developer, true),
    ] {
        let samples = [BOUGHT, (name, 4)];
        check(5, &samples, PurchaseStage::Expired, 4, 0);
        let shown = subscription(5, &samples);
        assert_eq!(shown.cancellation.map(|found| found.by), Some(by), "{name}");
        let paid = order(&on(5, &samples), 0).expect("an order");
        let is_returned = paid.state == OrderState::Refunded && paid.refunds.len() == 1;
        assert_eq!(is_returned, is_refunded, "{name}");
        let after = [samples.as_slice(), &[("SUBSCRIPTION_RENEWED", 5)]].concat();
        check(6, &after, PurchaseStage::Expired, 4, 0);
    }
    let again = [
        BOUGHT,
        ("SUBSCRIPTION_EXPIRED", 4),
        ("SUBSCRIPTION_PURCHASED", 6),
    ];
    check(7, &again, PurchaseStage::Active, 36, 1);
}

#[test]
fn a_one_time_purchase_lasts_until_it_is_refunded() {
    let shown = |today: u32, samples: &[Day]| {
        let named = on(today, samples);
        assert_eq!(named.subscription(), None);
        let body = named.product().expect("a one-time purchase");
        let read: Product = serde_json::from_value(body).expect("the resource");
        let shown = read.shown(day(today)).expect("a known state");
        assert!(shown.is_test && shown.is_acknowledged == Some(true));
        (shown.stage, order(&named, 0).expect("an order").state)
    };
    let bought = [("ONE_TIME_PRODUCT_PURCHASED", 0)];
    let expected = (PurchaseStage::Active, OrderState::Processed);
    assert_eq!(shown(400, &bought), expected);
    let voided = [bought[0], ("VOIDED_PURCHASE", 3)];
    let expected = (PurchaseStage::Voided, OrderState::Refunded);
    assert_eq!(shown(4, &voided), expected);
    assert_eq!(on(0, &[BOUGHT]).product(), None);
}

#[test]
fn an_order_shows_its_term_and_its_price() {
    let named = on(31, &[BOUGHT]);
    let renewal = order(&named, 1).expect("the renewal");
    let [line] = renewal.lines.as_slice() else {
        panic!("one line: {renewal:?}");
    };
    assert_eq!(
        (line.period_from, line.period_until),
        (Some(day(30)), Some(day(60)))
    );
    let total = renewal.total.as_ref().map(|total| total.amount.to_string());
    assert_eq!(
        (total.as_deref(), renewal.number()),
        (Some("9.99"), Some(2))
    );
    assert_eq!(order(&named, 2), None);
    for number in [0, 1, 25] {
        let name = OrderName {
            purchase: key(),
            number,
        };
        assert_eq!(OrderName::parse(&name.id()), Some(name));
    }
    for other in ["", "GPA.", "GPA.1234-5678-9012-12345", "GPA.1234..x"] {
        assert_eq!(OrderName::parse(other), None, "{other}");
    }
}

#[test]
fn the_catalogue_of_the_demo_has_every_simulated_product() {
    let skus = PRODUCTS.map(|(sku, ..)| sku);
    for (name, _) in TYPES {
        let named = on(0, &[(*name, 0)]);
        let items = match named.subscription() {
            Some(_) => subscription(0, &[(*name, 0)]).items,
            None => {
                let body = named.product().expect("a one-time purchase");
                let read: Product = serde_json::from_value(body).expect("the resource");
                read.shown(now()).expect("a known state").items
            }
        };
        let [item] = items.as_slice() else {
            panic!("{name}: one item");
        };
        assert!(
            skus.contains(&item.sku().as_str()),
            "{name}: {}",
            item.sku()
        );
    }
    let listed: Value = plans("demo.gold").expect("the product");
    assert_eq!(listed["basePlans"][0]["basePlanId"], json!("monthly"));
    assert_eq!(plans("other"), None);
}
