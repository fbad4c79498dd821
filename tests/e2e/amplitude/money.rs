//! Amplitude's sum of revenue equals the payments less the refunds, even after corrections and a worker's death, and
//! the revenue check agrees.

use super::{Analysts, KEY, MINUTE};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use system_tests::sns::Rtn;
use system_tests::subscription::{Subscription, at};
use system_tests::wait;
use system_tests::world::SOON;

const CUSTOMER: &str = "amzn1.account.MONEY";

fn cents(amount: &Value) -> i64 {
    let amount: f64 = amount
        .as_f64()
        .or_else(|| amount.as_str()?.parse().ok())
        .expect("an amount");
    format!("{:.0}", amount * 100.0).parse().expect("cents")
}

/// Returns Amplitude's revenue for a receipt, in cents, and the number of events with an amount.
fn earned(own: &Analysts, receipt_id: &str) -> (i64, usize) {
    let key = own.world().key(receipt_id).to_string();
    let events = own.amplitude.events(KEY);
    let of_receipt = events
        .iter()
        .filter(|one| one.event["event_properties"]["collapse_key"] == key.as_str());
    let amounts: Vec<i64> = of_receipt
        .filter_map(|one| one.event.get("revenue"))
        .map(cents)
        .collect();
    (amounts.iter().sum(), amounts.len())
}

/// Returns a one-time purchase as Amazon shows it, and the notification of its purchase.
fn coins(receipt_id: &str, own: &Analysts) -> (Subscription, Vec<Rtn>) {
    let (mut bought, _) = Subscription::begin(receipt_id, CUSTOMER, own.now(), None);
    bought.shown["productType"] = json!("CONSUMABLE");
    bought.shown["productId"] = json!("coins");
    for field in ["termSku", "term", "renewalDate"] {
        bought.shown[field] = Value::Null;
    }
    let notifications = vec![rtn("CONSUMABLE_PURCHASED", receipt_id, own)];
    (bought, notifications)
}

fn rtn(kind: &str, receipt_id: &str, own: &Analysts) -> Rtn {
    Rtn {
        app_user_id: CUSTOMER.to_owned(),
        at: own.now(),
        ..Rtn::new(kind, receipt_id)
    }
}

/// Makes Amazon show a receipt and send its notifications, and waits until every event is delivered.
async fn happen(own: &mut Analysts, shown: &Subscription, notifications: Vec<Rtn>) {
    own.happen(vec![(shown.clone(), notifications)]).await;
    own.drain(MINUTE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amplitudes_sum_is_payments_less_refunds() {
    let mut own = Analysts::start("info", &["*", "user.subscription.sku_change"]).await;
    own.sell("coins", "coins", "1.99").await;
    own.name(CUSTOMER, "money@shop").await;

    refunded_at_once(&mut own).await;
    refunded_after_a_renewal(&mut own).await;
    taken_back_and_changed(&mut own).await;
    corrected_by_a_report(&mut own).await;
    killed_while_a_refund_is_recorded(&mut own).await;

    let check = own
        .world()
        .api
        .get("/v1/check/revenue?limit=500")
        .await
        .ok();
    assert_eq!(check["unexplained"], 0, "{check}");
    let lines = check["lines"].as_array().expect("lines");
    assert!(
        lines.iter().all(|line| line["differs"].is_null()),
        "{check}"
    );
    let ledger: i64 = lines.iter().map(|line| cents(&line["ledger"])).sum();
    let events = own.amplitude.events(KEY);
    let announced: i64 = events
        .iter()
        .filter_map(|one| one.event.get("revenue"))
        .map(cents)
        .sum();
    assert_eq!(announced, ledger, "to the cent");
    let kinds = own
        .world()
        .receiver
        .all()
        .into_iter()
        .filter(|one| one.event_type().starts_with("revenue"))
        .count();
    assert_eq!(kinds, 0, "no webhook gets it");
    own.finish().await;
}

async fn refunded_at_once(own: &mut Analysts) {
    let mut bought = own.buy("money-1", CUSTOMER).await;
    own.drain(MINUTE).await;
    assert_eq!(earned(own, "money-1"), (999, 1));
    own.skip(30 * MINUTE).await;
    let notifications = bought.revoke(own.now());
    happen(own, &bought, notifications).await;
    assert_eq!(
        earned(own, "money-1"),
        (0, 2),
        "paid and refunded on the same day"
    );
}

async fn refunded_after_a_renewal(own: &mut Analysts) {
    let mut bought = own.buy("money-2", CUSTOMER).await;
    own.drain(MINUTE).await;
    own.calendar.pass_until(bought.ends_at()).await;
    own.amplitude.set(own.now());
    let notifications = bought.renew(own.now());
    happen(own, &bought, notifications).await;
    assert_eq!(earned(own, "money-2"), (1998, 2));
    let later = own.now().plus_millis(3 * 86_400_000);
    own.calendar.pass_until(later).await;
    own.amplitude.set(own.now());
    let notifications = bought.revoke(own.now());
    happen(own, &bought, notifications).await;
    assert_eq!(
        earned(own, "money-2"),
        (999, 3),
        "only the present term is refunded"
    );
}

async fn taken_back_and_changed(own: &mut Analysts) {
    let (mut bought, notifications) = coins("money-3", own);
    happen(own, &bought, notifications).await;
    assert_eq!(earned(own, "money-3"), (199, 1));
    bought.shown["cancelDate"] = json!(own.now().micros() / 1000);
    bought.shown["cancelReason"] = json!(1);
    let notifications = vec![rtn("CONSUMABLE_CANCELLED", "money-3", own)];
    happen(own, &bought, notifications).await;
    assert_eq!(
        earned(own, "money-3"),
        (0, 2),
        "only `revenue.adjusted` reports the refund"
    );

    let mut old = own.buy("money-4", CUSTOMER).await;
    own.drain(MINUTE).await;
    let (new, notifications) = old.change("money-5", "platinum.monthly", own.now());
    own.happen(vec![(old.clone(), Vec::new()), (new, notifications)])
        .await;
    own.drain(MINUTE).await;
    assert_eq!(
        (earned(own, "money-4"), earned(own, "money-5")),
        ((999, 1), (1999, 1))
    );
}

async fn corrected_by_a_report(own: &mut Analysts) {
    own.buy("money-6", CUSTOMER).await;
    own.drain(MINUTE).await;
    let now = own.now();
    let csv = |price: &str| {
        format!(
            "Transaction Id,Transaction Time,Transaction Type,Vendor SKU,Receipt ID,Marketplace Currency,Sales Price\n\
             T6,{now},Charge,gold.monthly,money-6,USD,{price}\nT4,{now},Refund,gold.monthly,money-4,USD,-6.50\n"
        )
    };
    for (price, cents, count) in [("8.49", 849, 2), ("8.49", 849, 2), ("8.99", 899, 3)] {
        let world = own.world();
        let answer = world
            .api
            .post_csv(&format!("/v1/apps/{}/sales", world.app_id), csv(price))
            .await
            .ok();
        assert_eq!(
            (&answer["matched"], &answer["unmatched"]),
            (&json!(2), &json!([])),
            "{answer}"
        );
        let later = own.now().plus_millis(60_000);
        own.calendar.pass_until(later).await;
        own.amplitude.set(own.now());
        wait::until(SOON, &format!("{cents} cents of money-6"), async || {
            let found = earned(own, "money-6");
            if found == (cents, count) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }
    own.drain(MINUTE).await;
    assert_eq!(
        earned(own, "money-4"),
        (349, 2),
        "the part that the change of plan refunded"
    );
}

async fn killed_while_a_refund_is_recorded(own: &mut Analysts) {
    let mut bought = own.buy("money-7", CUSTOMER).await;
    own.drain(MINUTE).await;
    own.skip(30 * MINUTE).await;
    own.calendar
        .restart_with("record.after_commit=1*return")
        .await;
    let notifications = bought.revoke(own.now());
    own.world().show(&bought);
    let messages: Vec<_> = notifications
        .iter()
        .map(|rtn| own.world().sns.notification(rtn))
        .collect();
    for message in &messages {
        own.calendar.world.post_until_accepted(message).await;
    }
    let exit = own.calendar.world.worker().wait_end().await;
    assert_eq!(
        exit.signal(),
        Some(6),
        "ended with {exit} and not by aborting itself"
    );
    own.calendar.restart().await;
    for message in &messages {
        own.world().wait_outcome(&message.id).await;
    }
    own.drain(MINUTE).await;
    assert_eq!(earned(own, "money-7"), (0, 2), "sent once");
    assert!(own.now() > at("2027-01-31T10:00"));
}
