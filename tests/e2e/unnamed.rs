//! A webhook that waits for logins: events of customers without an external id wait in the database only, are sent in
//! order as soon as the customer is named, and are given up after thirty days.

use domain::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::calendar::{Calendar, Step};
use system_tests::receiver::Received;
use system_tests::sns::Rtn;
use system_tests::subscription::{Subscription, at};
use system_tests::wait;
use system_tests::world::{SOON, World};
use workflows::contract;

const PURCHASED: &str = "user.subscription.purchased";
const CANCELLED: &str = "user.subscription.cancelled";
const UPDATED: &str = "purchase.updated";
const DAY: Duration = Duration::from_secs(86_400);

/// Buys a yearly subscription now and switches it off a minute later, so that nothing else happens for 30 days.
async fn buy_and_switch_off(own: &mut Calendar, receipt_id: &str, customer: &str) {
    let (bought, notifications) = Subscription::begin(receipt_id, customer, own.now(), None);
    let mut bought = bought.in_weeks(52, "gold.yearly");
    own.live(vec![step(own.now(), &bought, notifications)])
        .await;
    let later = own.now().plus_millis(60_000);
    let notifications = bought.switch_off(later);
    own.live(vec![step(later, &bought, notifications)]).await;
}

fn step(at: Timestamp, shown: &Subscription, notifications: Vec<Rtn>) -> Step {
    Step {
        at,
        shown: vec![shown.clone()],
        notifications,
    }
}

async fn name(world: &World, customer: &str, external_id: &str) {
    let body = json!({ "external_id": external_id, "app_user_id": customer });
    let path = format!("/v1/apps/{}/customers", world.app_id);
    let _: Value = world.api.call(Method::PUT, &path, &body).await.ok();
}

/// Waits until a receipt's deliveries have these types and statuses, oldest first.
async fn wait_statuses(world: &World, receipt_id: &str, wanted: &[(&str, &str)]) {
    wait::until(
        SOON,
        &format!("the deliveries of {receipt_id}"),
        async || {
            let all = world.deliveries(receipt_id).await;
            let found: Vec<_> = all
                .iter()
                .rev()
                .map(|one| (text(&one["event_type"]), text(&one["status"])))
                .collect();
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        },
    )
    .await;
}

/// Waits until the events of a receipt wait, and checks that neither Temporal nor the receiver has any trace of them.
async fn check_waiting(world: &World, receipt_id: &str) {
    let waiting = [
        (PURCHASED, "waiting"),
        (UPDATED, "superseded"),
        (CANCELLED, "waiting"),
        (UPDATED, "waiting"),
    ];
    wait_statuses(world, receipt_id, &waiting).await;
    world.wait_asleep(receipt_id).await;
    wait::until(SOON, "no open run but the sweep", async || {
        let open = world.temporal.list("ExecutionStatus = 'Running'").await;
        let ids: Vec<String> = open
            .into_iter()
            .filter_map(|run| Some(run.execution?.workflow_id))
            .collect();
        if ids.iter().all(|id| id.contains(contract::SWEEP)) {
            Ok(())
        } else {
            Err(format!("{ids:?}"))
        }
    })
    .await;
    assert!(about(world, receipt_id).is_empty(), "nothing is sent");
}

/// Waits until both events of a receipt have arrived in order, with this name, and the purchase's record after them.
async fn wait_named(world: &World, receipt_id: &str, external_id: &str) {
    wait::until(SOON, &format!("everything of {receipt_id}"), async || {
        let (types, newest) = (
            world.receiver.event_types(receipt_id),
            world.receiver.about(&key(world, receipt_id)),
        );
        let is_named = newest
            .last()
            .is_some_and(|one| one.body["data"]["last_seen_external_id"] == external_id);
        if types == [PURCHASED, CANCELLED] && is_named {
            Ok(())
        } else {
            Err(format!("{types:?}, {newest:?}"))
        }
    })
    .await;
    let recorded = world
        .api
        .all(&format!(
            "/v1/events?collapse_key={}",
            world.key(receipt_id)
        ))
        .await;
    for sent in about(world, receipt_id)
        .into_iter()
        .filter(|one| one.event_type().starts_with("user."))
    {
        let stored = recorded
            .iter()
            .find(|one| one["id"] == sent.event_id())
            .expect("the event");
        let mut names = sent.body["external_ids"]
            .as_array()
            .cloned()
            .expect("names");
        let named = json!({ "key": "external_id", "type": "custom", "value": external_id });
        assert_eq!(names.remove(0), named);
        let mut unnamed = sent.body.clone();
        unnamed["external_ids"] = Value::Array(names);
        assert_eq!(
            unnamed, stored["body"],
            "all but the name is as it was recorded"
        );
    }
}

/// Returns the requests about a receipt that the receiver got.
fn about(world: &World, receipt_id: &str) -> Vec<Received> {
    world
        .receiver
        .all()
        .into_iter()
        .filter(|one| one.receipt_id() == receipt_id)
        .collect()
}

fn key(world: &World, receipt_id: &str) -> String {
    world.key(receipt_id).to_string()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_waits_for_logins_gets_events_by_name() {
    let mut own = Calendar::start(at("2027-01-31T10:00")).await;
    let path = format!("/v1/destinations/{}", own.world.destination_id);
    let patched = own
        .world
        .api
        .call(
            Method::PATCH,
            &path,
            &json!({ "without_external_id": "wait" }),
        )
        .await
        .ok();
    assert_eq!(patched["without_external_id"], "wait");

    // One customer is named; another proves to be a named customer.
    name(&own.world, "amzn1.account.DORA", "dora@shop").await;
    for (receipt_id, customer, external_id) in [
        ("first", "amzn1.account.ANNA", "anna@shop"),
        ("guest", "amzn1.account.GUEST", "dora@shop"),
    ] {
        buy_and_switch_off(&mut own, receipt_id, customer).await;
        check_waiting(&own.world, receipt_id).await;
        name(&own.world, customer, external_id).await;
        wait_named(&own.world, receipt_id, external_id).await;
    }

    buy_and_switch_off(&mut own, "never", "amzn1.account.NOBODY").await;
    check_waiting(&own.world, "never").await;
    own.skip(DAY * 30, &[]).await;
    let abandoned = [
        (PURCHASED, "skipped"),
        (UPDATED, "superseded"),
        (CANCELLED, "skipped"),
        (UPDATED, "skipped"),
    ];
    wait_statuses(&own.world, "never", &abandoned).await;
    let skipped = own.world.deliveries("never").await;
    assert!(
        text(&skipped[0]["last_error"]).starts_with("no_login: "),
        "{skipped:?}"
    );
    let explained = own
        .world
        .api
        .get(&format!("/v1/explain/purchases/{}", own.world.key("never")))
        .await
        .ok();
    assert!(
        explained.to_string().contains("not sent: no_login: "),
        "{explained}"
    );
    assert!(about(&own.world, "never").is_empty());

    // A later name causes a new record of the purchase, but not the events that were given up.
    name(&own.world, "amzn1.account.NOBODY", "otto@shop").await;
    wait::until(SOON, "the named record", async || {
        let newest = own.world.receiver.about(&key(&own.world, "never")).pop();
        let is_named = newest
            .as_ref()
            .is_some_and(|one| one.body["data"]["last_seen_external_id"] == "otto@shop");
        if is_named {
            Ok(())
        } else {
            Err(format!("{newest:?}"))
        }
    })
    .await;
    assert!(own.world.receiver.event_types("never").is_empty());
    own.world.finish().await;
}
