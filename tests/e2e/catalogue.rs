//! Settings that change events: a catalogue and an external id change the events of known purchases, earlier purchases
//! are adopted from a file, a later destination gets the latest state of every purchase, and a destination filtered to
//! one platform gets nothing of the others.

use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::http::text;
use system_tests::raw::Raw;
use system_tests::receiver::Receiver;
use system_tests::rvs::{CUSTOMER, Receipt};
use system_tests::sns::{Rtn, TOPIC};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

/// The sweep checks for recorded rechecks every half minute.
const SWEPT: Duration = Duration::from_secs(300);
const KNOWN: &str = "known";
/// The package of a second platform.
const OTHER: &str = "com.example.settle.other";
const BEFORE: [&str; 3] = ["before-1", "before-2", "before-3"];

async fn put(world: &World, path: &str, body: &Value) -> Value {
    world
        .api
        .call(
            Method::PUT,
            &format!("/v1/apps/{}/{path}", world.app_id),
            body,
        )
        .await
        .ok()
}

/// Waits until the newest `purchase.updated` of a receipt satisfies `wanted`.
async fn wait_announced(world: &World, receipt_id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let key = world.key(receipt_id).to_string();
    wait::until(SWEPT, &format!("news of {receipt_id}"), async || {
        if world.receiver.revisions(&key).is_empty() {
            return Err("nothing".to_owned());
        }
        let newest = world.newest_acked(receipt_id);
        if wanted(&newest["data"]) {
            Ok(newest)
        } else {
            Err(newest.to_string())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_the_events_and_earlier_purchases_are_adopted() {
    let setting = Setting {
        window_seconds: 1,
        rvs: true,
        events: vec!["*".to_owned()],
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    for receipt_id in BEFORE.iter().chain([&KNOWN]) {
        world
            .rvs()
            .know(receipt_id, Receipt::subscription(api::clock::now()));
    }
    world.send("SUBSCRIPTION_PURCHASED", KNOWN).await;
    let first = wait_announced(&world, KNOWN, |_| true).await;
    assert_eq!(first["data"]["entitlements"], json!([]));
    assert_eq!(first["data"]["last_seen_external_id"], Value::Null);
    assert_eq!(first["data"]["purchase_price"], Value::Null);

    catalogue_and_name(&world).await;
    adopted(&world).await;
    later_destination(&world).await;
    assert_eq!(
        world.receiver.event_types(KNOWN),
        ["user.subscription.purchased"],
        "a change of settings announces no transition"
    );
    world.finish().await;
}

/// An entitlement, a product with a price and an external id appear in the events of a known purchase.
async fn catalogue_and_name(world: &World) {
    put(world, "entitlements/premium", &json!({ "name": "Premium" })).await;
    let product =
        json!({ "entitlements": ["premium"], "prices": [{ "currency": "USD", "price": "4.99" }] });
    let path = "products/com.example.gold.month";
    let counted = put(world, &format!("{path}?dry_run=true"), &product).await;
    assert_eq!(counted, json!({ "purchases": 1 }));
    put(world, path, &product).await;
    put(
        world,
        "customers",
        &json!({ "external_id": "customer-1", "app_user_id": CUSTOMER }),
    )
    .await;
    let announced = wait_announced(world, KNOWN, |data| {
        data["last_seen_external_id"] == "customer-1"
            && data["entitlements"][0]["entitlement_ref_id"] == "premium"
    })
    .await;
    assert_eq!(announced["data"]["purchase_price"], "4.99");
    assert_eq!(announced["data"]["price_in_usd"], "4.99");
    assert_eq!(
        announced["data"]["product_ref_id"],
        "com.example.gold.month"
    );
}

/// Purchases from a file are verified and announced once as `purchase.updated`, without a `user.*` event.
async fn adopted(world: &World) {
    let file = world.installation.folder().join("before.csv");
    let lines: Vec<String> = BEFORE
        .iter()
        .map(|receipt_id| format!("{receipt_id},{CUSTOMER}\n"))
        .collect();
    std::fs::write(&file, format!("receipt_id,app_user_id\n{}", lines.concat())).expect("the file");
    let (file, platform) = (file.display().to_string(), world.platform_id.to_string());
    let arguments = [
        "app",
        "import",
        &file,
        "--platform",
        &platform,
        "--rate",
        "100",
    ];
    for _ in 0..2 {
        let output = world.installation.call(&arguments);
        assert!(output.status.success(), "{output:?}");
    }
    for receipt_id in BEFORE {
        let announced = wait_announced(world, receipt_id, |_| true).await;
        assert_eq!(announced["data"]["is_active"], true, "{announced}");
        assert_eq!(
            announced["attributes"]["revision"], 1,
            "announced once: {announced}"
        );
        assert_eq!(announced["data"]["last_seen_external_id"], "customer-1");
        assert!(
            world.receiver.event_types(receipt_id).is_empty(),
            "nothing happened to {receipt_id}"
        );
    }
}

/// A destination that is created afterwards gets the latest state of each purchase, once.
async fn later_destination(world: &World) {
    let later = Receiver::start().await;
    let id = world
        .add_destination(&later, &["purchase.updated".to_owned()])
        .await;
    for _ in 0..2 {
        let output = world
            .installation
            .call(&["resend", "missing", "--destination", &id]);
        assert!(output.status.success(), "{output:?}");
    }
    wait::until(SOON, "the newest state of every purchase", async || {
        let count = later.all().len();
        if count > BEFORE.len() {
            Ok(())
        } else {
            Err(format!("{count} so far"))
        }
    })
    .await;
    let mut receipts: Vec<String> = later
        .all()
        .iter()
        .map(|one| one.receipt_id().to_owned())
        .collect();
    receipts.sort();
    assert_eq!(
        receipts,
        ["before-1", "before-2", "before-3", "known"],
        "each once"
    );
    later.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_of_one_platform_gets_nothing_of_the_others() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    let other = json!({
        "store": "amazon", "name": "other", "package_name": OTHER, "environment": "sandbox", "topic_arn": TOPIC,
        "window_seconds": 1,
    });
    let other = world
        .api
        .post(&format!("/v1/apps/{}/platforms", world.app_id), &other)
        .await
        .ok();
    let filtered = Receiver::start().await;
    let created = world
        .create_destination(&json!({
            "kind": "webhook", "name": "of one platform", "url": filtered.url(), "events": ["*"],
            "filter": { "platforms": [world.platform_id] },
        }))
        .await;
    filtered.trust_shown(&created);
    let elsewhere = Rtn {
        package_name: OTHER.to_owned(),
        ..Rtn::new("SUBSCRIPTION_PURCHASED", "elsewhere")
    };
    let elsewhere = world.sns.notification(&elsewhere);
    let posted = world
        .post_at(&text(&other, "notification_url"), &elsewhere)
        .await
        .map(|answer| answer.status);
    assert_eq!(posted, Ok(200));
    world.wait_outcome(&elsewhere.id).await;
    world.send("SUBSCRIPTION_PURCHASED", KNOWN).await;
    let id = text(&created, "id");
    for event_type in ["user.subscription.purchased", "purchase.updated"] {
        world
            .wait_delivery(&id, KNOWN, event_type, "delivered")
            .await;
    }
    assert!(
        filtered.all().iter().all(|one| one.receipt_id() == KNOWN),
        "nothing of the other platform"
    );
    filtered.check();
    let with_states = "SELECT COUNT(*) AS value FROM events WHERE views IS NOT NULL";
    assert!(
        Raw::of(&world.installation.stored_in()).number(with_states) > 0,
        "the states on that platform are stored"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_accepts_a_recheck_that_is_under_way() {
    // Each batch contains one purchase, and only the sweep would continue after the first.
    let planted = (
        "FAILPOINTS".to_owned(),
        "rechecks.one_by_one=return;sweep.hang=return".to_owned(),
    );
    let mut world = World::start(Setting {
        window_seconds: 1,
        variables: vec![planted],
        ..Setting::default()
    })
    .await;
    for receipt_id in BEFORE {
        world.send("SUBSCRIPTION_PURCHASED", receipt_id).await;
        world.wait_acked(receipt_id, 1).await;
    }
    let path = format!("/v1/platforms/{}", world.platform_id);
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "product_ref": "parent" }))
            .await
            .ok(),
    );
    let causes =
        Raw::of(&world.installation.stored_in()).texts("SELECT cause AS value FROM rechecks");
    let [cause] = &causes[..] else {
        panic!("one note: {causes:?}")
    };
    let cause: Value = serde_json::from_str(cause).expect("a cause");
    assert_eq!(cause["kind"], "product_ref", "{cause}");
    world.finish().await;
}
