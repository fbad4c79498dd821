//! One subscription's whole life: each change is one event, and each payment is counted once.

use super::{CENTS, GOLD, Shop, time};
use domain::time::DAY;
use serde_json::{Value, json};
use system_tests::appstore::{
    BY_CUSTOMER, Bought, CONSUMABLE, NON_CONSUMABLE, PRICE, account, whole,
};

/// All events of the life, in order.
const EVENTS: [&str; 15] = [
    "journey.trial.started",
    "subscription.purchased",
    "journey.trial.converted",
    "subscription.renewed",
    "subscription.renewed",
    "subscription.in_grace_period",
    "subscription.renewal_in_grace_period",
    "subscription.in_grace_period",
    "subscription.renewed",
    "subscription.cancelled",
    "subscription.resumed",
    "subscription.cancelled",
    "subscription.expired",
    "subscription.purchased",
    "subscription.renewed",
];

/// A life with the number of events that it has caused so far.
struct Life {
    shop: Shop,
    bought: Bought,
    events: usize,
}

impl Life {
    /// Sends a notification about the present state, and checks that it causes `events` further events. Returns the
    /// newest record.
    async fn happen(&mut self, kind: &str, events: usize) -> Value {
        self.shop.happen(&self.bought, kind).await;
        self.events += events;
        let expected = &EVENTS[..self.events];
        self.shop.check_events(&self.bought, expected).await;
        self.shop.data(&self.bought)
    }

    /// Lets time pass until the end of the current period.
    async fn pass_term(&mut self) {
        self.shop.pass_term(&self.bought).await;
    }

    /// Checks the newest record's end, and returns the record's state: active, in trial, renewing, and cycles.
    fn state(&self, data: &Value) -> [Value; 4] {
        let end = self.bought.grace_ends_at;
        let end = end.unwrap_or_else(|| self.bought.expires_at());
        assert_eq!(time(&data["expires_at"]), Some(end), "{data}");
        assert_eq!(data["is_production"], true);
        let current = self.bought.current();
        assert_eq!(data["transaction_id"], json!(current.id), "{data}");
        let names = [
            "is_active",
            "is_in_trial_period",
            "is_auto_renewable",
            "billing_cycles",
        ];
        names.map(|name| data[name].clone())
    }
}

/// Returns a record's state: active, in trial, renewing, and cycles.
fn state(is_active: bool, in_trial: bool, renews: bool, cycles: u32) -> [Value; 4] {
    [
        json!(is_active),
        json!(in_trial),
        json!(renews),
        json!(cycles),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_is_announced_once_and_in_order() {
    let shop = Shop::open().await;
    let bought = Bought::trial(GOLD, shop.now(), DAY * 7).of(&account("whole life"));
    let mut life = Life {
        shop,
        bought,
        events: 0,
    };
    begin(&mut life).await;
    recover(&mut life).await;
    end(&mut life).await;
    begin_again(&mut life).await;
    let Life { shop, bought, .. } = life;
    assert_eq!(shop.amounts(&bought).await, [CENTS; 6]);
    shop.finish().await;
}

/// A trial, its conversion and a renewal.
async fn begin(life: &mut Life) {
    let data = life.happen("SUBSCRIBED/INITIAL_BUY", 2).await;
    assert_eq!(life.state(&data), state(true, true, true, 1));
    assert_eq!(
        (&data["platform_type"], &data["product_ref_id"]),
        (&json!("apple"), &json!(GOLD))
    );
    assert_eq!(data["last_seen_external_id"], json!(life.bought.account));
    assert_eq!(data["purchase_country"], "US");
    assert_eq!(data["purchase_guid"], json!(life.bought.id));
    assert_eq!(time(&data["not_before"]), Some(life.bought.began_at));

    life.pass_term().await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen("DID_RENEW", 2).await;
    assert_eq!(life.state(&data), state(true, false, true, 2));
    assert_eq!(data["is_free_trial_conversion"], true);
    assert_eq!(
        (&data["purchase_currency"], &data["price_source"]),
        (&json!("USD"), &json!("store"))
    );

    life.pass_term().await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen("DID_RENEW", 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 3));
}

/// A recovery in grace, and one after it.
async fn recover(life: &mut Life) {
    life.pass_term().await;
    let failed_at = whole(life.shop.now());
    life.bought.fail_payment(Some(DAY * 16));
    let data = life.happen("DID_FAIL_TO_RENEW/GRACE_PERIOD", 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 3));
    let began_at = time(&data["payment_issues_began_at"]).expect("a time");
    assert!(began_at >= failed_at, "{data}");

    life.shop.pass_days(3).await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen("DID_RENEW/BILLING_RECOVERY", 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 4));
    assert_eq!(data["payment_issues_began_at"], Value::Null);

    life.pass_term().await;
    life.bought.fail_payment(Some(DAY * 16));
    life.happen("DID_FAIL_TO_RENEW/GRACE_PERIOD", 1).await;
    let grace_end = life.bought.grace_ends_at.expect("a grace period");
    life.shop.pass_until(grace_end).await;
    life.bought.end_grace();
    let data = life.happen("GRACE_PERIOD_EXPIRED", 0).await;
    assert_eq!(life.state(&data), state(false, false, true, 4));

    life.shop.pass_days(10).await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen("DID_RENEW/BILLING_RECOVERY", 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 5));
    assert_eq!(data["payment_issues_began_at"], Value::Null);
}

/// A cancellation that is taken back, another one, and the end.
async fn end(life: &mut Life) {
    life.shop.pass_days(5).await;
    life.bought.cancel();
    let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_DISABLED";
    let data = life.happen(kind, 1).await;
    assert_eq!(life.state(&data), state(true, false, false, 5));
    assert!(data["canceled_at"].is_string(), "{data}");

    life.shop.pass_days(1).await;
    life.bought.restore();
    let enabled = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_ENABLED";
    let data = life.happen(enabled, 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 5));
    assert_eq!(data["canceled_at"], Value::Null);

    life.shop.pass_days(1).await;
    life.bought.cancel();
    life.happen(kind, 1).await;
    life.pass_term().await;
    life.bought.expire(BY_CUSTOMER);
    let data = life.happen("EXPIRED/VOLUNTARY", 1).await;
    assert_eq!(life.state(&data), state(false, false, false, 5));
    assert_eq!(data["revoked_at"], Value::Null);
    assert_eq!(data["expiration_reason"], "customer", "{data}");
}

/// The subscription is bought again, which continues the purchase with a new count.
async fn begin_again(life: &mut Life) {
    life.shop.pass_days(40).await;
    let now = life.shop.now();
    life.bought.buy_again(GOLD, now);
    let data = life.happen("SUBSCRIBED/RESUBSCRIBE", 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 1));
    assert_eq!(time(&data["not_before"]), Some(life.bought.began_at));
    assert_eq!(data["canceled_at"], Value::Null);

    life.pass_term().await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen("DID_RENEW", 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_ends_unpaid_did_not_convert() {
    let mut shop = Shop::open().await;
    let mut bought = Bought::trial(GOLD, shop.now(), DAY * 7).of(&account("trial"));
    shop.happen(&bought, "SUBSCRIBED/INITIAL_BUY").await;
    shop.pass_days(2).await;
    bought.cancel();
    let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_DISABLED";
    shop.happen(&bought, kind).await;
    shop.pass_term(&bought).await;
    bought.expire(BY_CUSTOMER);
    shop.happen(&bought, "EXPIRED/VOLUNTARY").await;
    let expected = [
        "journey.trial.started",
        "subscription.purchased",
        "subscription.cancelled",
        "journey.trial.did_not_convert",
        "subscription.expired",
    ];
    shop.check_events(&bought, &expected).await;
    assert!(shop.amounts(&bought).await.is_empty());
    let data = shop.data(&bought);
    assert_eq!(data["is_free_trial_conversion"], false, "{data}");
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_time_purchases_are_bought_and_taken_back() {
    let mut shop = Shop::open().await;
    let coins = Bought::one_time("coins", CONSUMABLE, shop.now()).of(&account("coins"));
    shop.happen(&coins, "ONE_TIME_CHARGE").await;
    shop.pass_days(1).await;
    let more = Bought::one_time("coins", CONSUMABLE, shop.now());
    let mut more = more.beside(&coins).of(&account("coins"));
    more.current_mut().quantity = 3;
    more.current_mut().price = Some(PRICE * 3);
    shop.happen(&more, "ONE_TIME_CHARGE").await;
    let mut level = Bought::one_time("level", NON_CONSUMABLE, shop.now());
    shop.happen(&level, "ONE_TIME_CHARGE").await;
    for bought in [&coins, &more, &level] {
        shop.check_events(bought, &["subscription.purchased"]).await;
        let data = shop.data(bought);
        assert_eq!(
            (&data["is_active"], &data["expires_at"]),
            (&json!(true), &Value::Null),
            "{data}"
        );
    }
    assert_eq!(shop.amounts(&coins).await, [CENTS]);
    assert_eq!(shop.amounts(&more).await, [CENTS * 3]);

    shop.pass_days(3).await;
    let refunded_at = whole(shop.now());
    level.refund(&level.id.clone(), refunded_at);
    shop.happen(&level, "REFUND").await;
    shop.check_events(&level, &["subscription.purchased"]).await;
    shop.check_access(&level, false, Some(refunded_at));
    assert_eq!(shop.amounts(&level).await, [CENTS, -CENTS]);
    shop.check_access(&coins, true, None);
    shop.finish().await;
}
