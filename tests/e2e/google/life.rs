//! One subscription's whole life: each change is one event, and each payment is counted once.

use super::{ACCOUNT, CENTS, GOLD, Shop, time, token, whole};
use domain::time::DAY;
use serde_json::{Value, json};
use system_tests::play::push::{
    CANCELED, EXPIRED, IN_GRACE_PERIOD, ON_HOLD, PAUSE_SCHEDULE_CHANGED, PAUSED, PURCHASED,
    RECOVERED, RENEWED,
};
use system_tests::play::{Bought, TERM};

/// All events of the life, in order.
const EVENTS: [&str; 13] = [
    "journey.trial.started",
    "subscription.purchased",
    "journey.trial.converted",
    "subscription.renewed",
    "subscription.renewed",
    "subscription.in_grace_period",
    "subscription.renewal_in_grace_period",
    "subscription.in_grace_period",
    "subscription.renewed",
    "subscription.paused",
    "subscription.resumed",
    "subscription.cancelled",
    "subscription.expired",
];

/// A life with the number of events that it has caused so far.
struct Life {
    shop: Shop,
    bought: Bought,
    events: usize,
}

impl Life {
    /// Pushes a notification about the present state, and checks that it causes `events` further events. Returns the
    /// newest record.
    async fn happen(&mut self, number: i64, events: usize) -> Value {
        self.shop.happen(&self.bought, &[number]).await;
        self.events += events;
        let token = &self.bought.token;
        self.shop.check_events(token, &EVENTS[..self.events]).await;
        self.shop.data(token)
    }

    /// Lets time pass until the end of the term that is shown.
    async fn pass_term(&mut self) {
        let end = self.bought.expires_at();
        self.shop.pass_until(end).await;
    }

    /// Checks the newest record's end, and returns the record's state: active, in trial, renewing, and cycles.
    fn state(&self, data: &Value) -> [Value; 4] {
        assert_eq!(time(&data["expires_at"]), Some(self.bought.expires_at()));
        assert_eq!(data["is_production"], true);
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
    let name = token("whole-life");
    let bought = Bought::trial(&name, GOLD, shop.now(), DAY * 7).of(ACCOUNT);
    shop.fake().show(&bought);
    let mut life = Life {
        shop,
        bought,
        events: 0,
    };
    begin(&mut life).await;
    recover(&mut life).await;
    pause(&mut life).await;
    end(&mut life).await;
    let Life { shop, bought, .. } = life;
    assert_eq!(shop.amounts(&bought.token).await, [CENTS; 5]);
    let check = shop.world().api.get("/v1/check").await.ok();
    assert_eq!(check["violations"], 0, "{check}");
    shop.finish().await;
}

/// A trial, its conversion and a renewal.
async fn begin(life: &mut Life) {
    let data = life.happen(PURCHASED, 2).await;
    assert_eq!(life.state(&data), state(true, true, true, 1));
    assert_eq!(
        (&data["platform_type"], &data["product_ref_id"]),
        (&json!("google"), &json!(GOLD))
    );
    assert_eq!(data["last_seen_external_id"], ACCOUNT);
    assert_eq!(data["purchase_country"], "US");
    assert_eq!(data["purchase_guid"], json!(life.bought.token));
    assert_eq!(time(&data["not_before"]), life.bought.started_at);

    life.pass_term().await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen(RENEWED, 2).await;
    assert_eq!(life.state(&data), state(true, false, true, 2));
    assert_eq!(data["is_free_trial_conversion"], true);
    assert_eq!(data["transaction_id"], json!(life.bought.order_id(2)));
    assert_eq!(
        (&data["purchase_currency"], &data["price_source"]),
        (&json!("USD"), &json!("store"))
    );

    life.pass_term().await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen(RENEWED, 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 3));
}

/// A recovery in grace, and one in a hold.
async fn recover(life: &mut Life) {
    life.pass_term().await;
    let failed_at = life.shop.now();
    life.bought.fail_payment(failed_at, DAY * 7);
    let data = life.happen(IN_GRACE_PERIOD, 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 3));
    let began_at = time(&data["payment_issues_began_at"]).expect("a time");
    assert!(began_at >= whole(failed_at), "{data}");

    life.shop.pass_days(3).await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen(RENEWED, 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 4));
    assert_eq!(data["payment_issues_began_at"], Value::Null);

    life.pass_term().await;
    let now = life.shop.now();
    life.bought.fail_payment(now, DAY * 7);
    life.happen(IN_GRACE_PERIOD, 1).await;
    life.pass_term().await;
    let grace_end = life.bought.expires_at();
    let now = life.shop.now();
    life.bought.hold(now);
    let data = life.happen(ON_HOLD, 0).await;
    assert_eq!(data["is_active"], false);
    assert_eq!(time(&data["expires_at"]), Some(grace_end), "{data}");

    life.shop.pass_days(10).await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen(RECOVERED, 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 5));
}

/// A planned pause, which is silent, the pause in force, and its end.
async fn pause(life: &mut Life) {
    life.shop.pass_days(10).await;
    let data = life.happen(PAUSE_SCHEDULE_CHANGED, 0).await;
    assert_eq!(life.state(&data), state(true, false, true, 5));
    life.pass_term().await;
    let now = life.shop.now();
    life.bought.pause(now, now.plus(TERM));
    let data = life.happen(PAUSED, 1).await;
    assert_eq!(data["is_active"], false);

    let resumes_at = now.plus(TERM);
    life.shop.pass_until(resumes_at).await;
    let now = life.shop.now();
    life.bought.renew(now);
    let data = life.happen(RECOVERED, 1).await;
    assert_eq!(life.state(&data), state(true, false, true, 6));
}

async fn end(life: &mut Life) {
    life.shop.pass_days(5).await;
    let now = life.shop.now();
    life.bought.cancel(now);
    let data = life.happen(CANCELED, 1).await;
    assert_eq!(life.state(&data), state(true, false, false, 6));
    assert_eq!(time(&data["canceled_at"]), Some(now));

    life.pass_term().await;
    life.bought.expire(life.bought.expires_at());
    let data = life.happen(EXPIRED, 1).await;
    assert_eq!(life.state(&data), state(false, false, false, 6));
    assert_eq!(data["revoked_at"], Value::Null);
}
