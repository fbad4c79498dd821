//! Duties to Google: purchases are acknowledged in time, and what stays open is an alarm.

use super::{ACCOUNT, CENTS, GOLD, START, Shop, time, token, whole};
use domain::time::{DAY, HOUR, MINUTE};
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::calendar::Calendar;
use system_tests::devices::{Device, Devices};
use system_tests::play::push::{EXPIRED, PRICE_CHANGE_UPDATED, PURCHASED, RENEWED};
use system_tests::play::{Bought, Call, Choices, Fault, Notice, Resource, Voided};
use system_tests::subscription::at;
use system_tests::wait;
use system_tests::world::{SOON, Setting};

const BY_SETTLE: Choices = Choices {
    acknowledge: "settle",
    account_ids: "external",
    patience: None,
};

impl Shop {
    /// Returns a purchase of now that is not acknowledged yet.
    fn unacknowledged(&self, name: &str) -> Bought {
        let new = Bought::subscription(&token(name), GOLD, self.now());
        new.of(ACCOUNT).unacknowledged()
    }

    /// Waits until a purchase has this number of acknowledgements.
    async fn wait_acknowledged(&self, token: &str, number: usize) {
        wait::until(SOON, "an acknowledgement", async || {
            match self.fake().acknowledgements(token).len() {
                found if found == number => Ok(()),
                found => Err(format!("{found}: {:?}", self.fake().about(token))),
            }
        })
        .await;
    }

    /// Returns the explanations of a purchase's duties.
    async fn duties(&self, token: &str) -> Vec<Value> {
        let key = self.world().play_key(token);
        let path = format!("/v1/explain/purchases/{key}");
        let tree = self.world().api.get(&path).await.ok();
        let nodes = tree["then"].as_array().cloned().unwrap_or_default();
        nodes
            .into_iter()
            .filter(|node| node["what"] == "duty")
            .collect()
    }

    /// Waits until the only duty of a purchase was closed in this way.
    async fn wait_closed(&self, token: &str, result: &str) {
        wait::until(SOON, "a closed duty", async || {
            let duties = self.duties(token).await;
            match duties.as_slice() {
                [duty] if duty["result"] == result => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Waits until the open alarms are those of these kinds, while the sweep runs.
    async fn wait_alarms(&self, kinds: &[&str]) {
        self.sweep_until("the alarms about duties", async || {
            let open = self.world().api.all("/v1/alarms?open=true").await;
            let mut open: Vec<&str> = open.iter().filter_map(|one| one["kind"].as_str()).collect();
            open.retain(|kind| kind.contains("acknowledge") || kind.contains("refund"));
            open.sort_unstable();
            if open == kinds {
                Ok(())
            } else {
                Err(format!("{open:?}"))
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g07_settle_acknowledges_a_purchase_outside_the_app_soon() {
    let mut shop = Shop::open_with(BY_SETTLE).await;
    let bought = shop.unacknowledged("outside");
    let id = bought.token.clone();
    shop.happen(&bought, &[PURCHASED]).await;
    shop.wait_acknowledged(&id, 1).await;
    shop.wait_closed(&id, "settle").await;
    shop.check_events(&id, &["subscription.purchased"]).await;
    shop.happen(&bought, &[RENEWED, PRICE_CHANGE_UPDATED]).await;
    shop.skip(MINUTE).await;
    assert_eq!(shop.fake().acknowledgements(&id).len(), 1, "once per token");
    shop.wait_alarms(&[]).await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g07_a_purchase_that_the_app_forgets_is_an_alarm_a_day_before() {
    let mut shop = Shop::open().await;
    let mut bought = shop.unacknowledged("forgotten");
    let (id, began) = (bought.token.clone(), shop.now());
    shop.happen(&bought, &[PURCHASED]).await;
    shop.pass_until(began.plus(DAY * 2 - HOUR)).await;
    shop.wait_alarms(&[]).await;
    shop.pass_until(began.plus(DAY * 2 + HOUR)).await;
    shop.wait_alarms(&["acknowledge_overdue"]).await;
    assert_eq!(
        shop.fake().acknowledgements(&id),
        [],
        "settle leaves it to the app"
    );

    // Google takes the purchase back, and says so twice.
    shop.pass_until(began.plus(DAY * 3 + HOUR)).await;
    let (order, now) = (bought.order_id(1), shop.now());
    bought.refund(&order, now);
    bought.expire(now);
    shop.fake().show(&bought);
    shop.fake().void(Voided {
        token: id.clone(),
        order_id: order.clone(),
        is_subscription: true,
        bought_at: began,
        voided_at: now,
        reason: 8,
        pieces: None,
    });
    let voided = Notice::voided(&id, &order, now);
    let expired = Notice::subscription(EXPIRED, &id, now);
    shop.push_all(vec![voided, expired]).await;
    let expected = ["subscription.purchased", "subscription.expired"];
    shop.check_events(&id, &expected).await;
    let data = shop.data(&id);
    assert_eq!(data["is_active"], false, "{data}");
    let revoked_at = time(&data["revoked_at"]);
    assert_eq!(revoked_at.map(whole), Some(whole(now)), "{data}");
    assert_eq!(shop.amounts(&id).await, [CENTS, -CENTS]);
    shop.wait_closed(&id, "over").await;
    shop.wait_alarms(&[]).await;

    // The list still has it.
    for _ in 0..2 {
        shop.skip(HOUR * 5).await;
        shop.rest().await;
    }
    shop.check_events(&id, &expected).await;
    assert_eq!(shop.amounts(&id).await, [CENTS, -CENTS], "once");
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g08_a_testers_purchase_is_acknowledged_within_an_open_window() {
    let setting = Setting {
        play: Some(BY_SETTLE),
        window_seconds: 3600,
        events: vec!["*".to_owned()],
        ..Setting::default()
    };
    let calendar = Calendar::begin(at(START), setting).await;
    let mut shop = Shop { calendar };
    shop.fake().sell("gold", "monthly", "P1M");
    let mut bought = shop.unacknowledged("tester");
    bought.is_test = true;
    let (id, began) = (bought.token.clone(), shop.now());
    shop.fake().show(&bought);
    let first = Notice::subscription(PURCHASED, &id, began);
    let mut messages = vec![shop.calendar.world.push(&first).await];
    let second = Notice::subscription(PRICE_CHANGE_UPDATED, &id, began);
    messages.push(shop.calendar.world.push(&second).await);
    shop.wait_acknowledged(&id, 1).await;
    let acknowledged = shop.fake().acknowledgements(&id);
    assert!(acknowledged[0].at.since(began) < MINUTE * 3);
    assert!(shop.updates(&id).is_empty(), "its window is open");
    let key = shop.world().play_key(&id);
    let path = format!("/v1/purchases/{key}/flush");
    drop(shop.world().api.post(&path, &json!({})).await.ok());
    for message in &messages {
        shop.world().wait_outcome(message).await;
    }
    shop.finish().await;
}

/// The fail points of an acknowledgement, with the number of calls before the abort, and how the duty is closed.
const KILLS: [(&str, usize, &str); 3] = [
    ("duties.before_call", 0, "settle"),
    ("duties.after_call", 1, "found"),
    ("duties.after_finish", 1, "settle"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_around_an_acknowledgement_sends_it_once() {
    let mut shop = Shop::open_with(BY_SETTLE).await;
    for (point, calls, result) in KILLS {
        shop.calendar
            .restart_with(&format!("{point}=1*return"))
            .await;
        let bought = shop.unacknowledged(&point.replace(['.', '_'], "-"));
        let id = bought.token.clone();
        shop.fake().show(&bought);
        let notice = Notice::subscription(PURCHASED, &id, shop.now());
        let message = shop.calendar.world.push(&notice).await;
        shop.calendar.wait_abort(point).await;
        assert_eq!(shop.fake().acknowledgements(&id).len(), calls, "{point}");
        shop.calendar.restart().await;
        shop.skip(MINUTE + Duration::from_secs(1)).await;
        shop.wait_closed(&id, result).await;
        shop.world().wait_outcome(&message).await;
        assert_eq!(shop.fake().acknowledgements(&id).len(), 1, "{point}");
        shop.check_events(&id, &["subscription.purchased"]).await;
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_purchase_is_acknowledged_once_it_is_paid() {
    let mut shop = Shop::open_with(BY_SETTLE).await;
    let id = token("cash");
    let mut bought = Bought::pending(&id, GOLD, shop.now()).of(ACCOUNT);
    shop.happen(&bought, &[PURCHASED]).await;
    shop.pass_days(2).await;
    let calls = shop.fake().about(&id);
    let is_call = |call: &Call| matches!(call, Call::Acknowledge { .. });
    assert!(!calls.iter().any(|one| is_call(&one.call)), "{calls:?}");
    bought.pay(shop.now());
    shop.happen(&bought, &[PURCHASED]).await;
    shop.wait_acknowledged(&id, 1).await;
    shop.check_events(&id, &["subscription.purchased"]).await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_only_a_device_reports_is_acknowledged() {
    let shop = Shop::open_with(BY_SETTLE).await;
    let devices = Devices::of_platform(&shop.world().api, shop.world().play().id).await;
    let device = Device(1);
    let bought = shop.unacknowledged("reported");
    let id = bought.token.clone();
    shop.fake().show(&bought);
    let transaction = json!({
        "kind": "purchased", "receipt_id": id, "sku": GOLD, "price": "4.99", "currency": "USD",
        "marketplace": "US",
    });
    let data = json!({ "transaction": transaction });
    let report = device.event("reported", "device.transaction", &data);
    let answer = devices.report(device, &[report]).await.ok();
    assert_eq!(answer["accepted"], json!(1), "{answer}");
    shop.sweep_until("the acknowledgement", async || {
        match shop.fake().acknowledgements(&id).len() {
            1 => Ok(()),
            found => Err(format!("{found}: {:?}", shop.fake().about(&id))),
        }
    })
    .await;
    shop.wait_closed(&id, "settle").await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_has_one_acknowledgement_for_each_token() {
    let mut shop = Shop::open_with(BY_SETTLE).await;
    let mut last: Option<Bought> = None;
    for name in ["first", "second", "third"] {
        let mut next = shop.unacknowledged(name);
        if let Some(mut old) = last.take() {
            next = next.continuing(&old);
            old.replace(shop.now());
            shop.fake().show(&old);
        }
        shop.happen(&next, &[PURCHASED]).await;
        shop.wait_acknowledged(&next.token, 1).await;
        shop.wait_closed(&next.token, "settle").await;
        shop.pass_days(5).await;
        last = Some(next);
    }
    for name in ["first", "second", "third"] {
        assert_eq!(
            shop.fake().acknowledgements(&token(name)).len(),
            1,
            "{name}"
        );
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_to_acknowledge_is_an_alarm_and_stops_no_read() {
    let mut shop = Shop::open_with(BY_SETTLE).await;
    let denied = Fault::Status(403);
    shop.fake().answer(&[Resource::Acknowledge], &denied);
    let bought = shop.unacknowledged("denied");
    let id = bought.token.clone();
    shop.happen(&bought, &[PURCHASED]).await;
    shop.wait_alarms(&["acknowledge_refused"]).await;
    shop.check_events(&id, &["subscription.purchased"]).await;
    shop.buy("other").await;
    shop.fake().answer_truly();
    shop.skip(HOUR + MINUTE).await;
    shop.wait_acknowledged(&id, 1).await;
    shop.wait_alarms(&[]).await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_review_is_open_until_a_person_closes_it() {
    let mut shop = Shop::open().await;
    let bought = shop.buy("reviewed").await;
    let order = bought.order_id(1);
    let review = Notice::refund_review("refund-token", &order, shop.now());
    shop.push_all(vec![review]).await;
    shop.wait_alarms(&["refund_review"]).await;
    shop.skip(HOUR * 20 + MINUTE).await;
    shop.wait_alarms(&["refund_review", "refund_review_due"])
        .await;
    let platform = shop.world().play().id;
    let path = format!("/v1/platforms/{platform}/duties");
    let open = shop.world().api.all(&path).await;
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0]["order_id"], json!(order));
    let path = format!(
        "/v1/duties/{}/close",
        open[0]["id"].as_str().expect("an id")
    );
    drop(shop.world().api.post(&path, &json!({})).await.ok());
    shop.wait_closed(&bought.token, "person").await;
    shop.wait_alarms(&["refund_review"]).await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_in_an_outage_has_its_alarm() {
    let mut shop = Shop::open().await;
    let bought = shop.buy("reviewed").await;
    let review = Notice::refund_review("refund-token", &bought.order_id(1), shop.now());
    shop.push_all(vec![review]).await;
    shop.wait_alarms(&["refund_review"]).await;
    shop.calendar.stop();
    let later = shop.now().plus(DAY * 2);
    shop.calendar.pass_stopped(later).await;
    shop.calendar.resume(&[]).await;
    shop.sweep_until("the end of the duty", async || {
        let duties = shop.duties(&bought.token).await;
        if duties.iter().any(|duty| duty["result"] == "missed") {
            Ok(())
        } else {
            Err(format!("{duties:?}"))
        }
    })
    .await;
    let alarms = shop.world().api.all("/v1/alarms").await;
    let raised = alarms
        .iter()
        .filter(|alarm| alarm["kind"] == "refund_review_due");
    assert_eq!(raised.count(), 1, "{alarms:?}");
    shop.finish().await;
}
