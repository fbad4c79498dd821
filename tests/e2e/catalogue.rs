//! Settings that change events: a catalogue and an external id change the events of known purchases, earlier purchases
//! are adopted from a file, and a later destination gets the newest state of every purchase.

use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::receiver::Receiver;
use system_tests::rvs::{CUSTOMER, Receipt};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

/// The sweep looks for noted rechecks every half minute.
const SWEPT: Duration = Duration::from_secs(300);
const KNOWN: &str = "known";
const BEFORE: [&str; 3] = ["before-1", "before-2", "before-3"];

async fn put(world: &World, path: &str, body: &Value) -> Value {
    world.api.call(Method::PUT, &format!("/v1/apps/{}/{path}", world.app_id), body).await.ok()
}

/// Waits until the newest `purchase.updated` of a receipt is as wanted.
async fn wait_announced(world: &World, receipt_id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let key = world.key(receipt_id).to_string();
    wait::until(SWEPT, &format!("news of {receipt_id}"), async || {
        if world.receiver.revisions(&key).is_empty() {
            return Err("nothing".to_owned());
        }
        let newest = world.newest_acked(receipt_id);
        if wanted(&newest["data"]) { Ok(newest) } else { Err(newest.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_the_events_and_earlier_purchases_are_adopted() {
    let setting = Setting { window_seconds: 1, rvs: true, events: vec!["*".to_owned()], ..Setting::default() };
    let mut world = World::start(setting).await;
    for receipt_id in BEFORE.iter().chain([&KNOWN]) {
        world.rvs().know(receipt_id, Receipt::subscription(api::clock::now()));
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
    let product = json!({ "entitlements": ["premium"], "prices": [{ "currency": "USD", "price": "4.99" }] });
    let path = "products/com.example.gold.month";
    let counted = put(world, &format!("{path}?dry_run=true"), &product).await;
    assert_eq!(counted, json!({ "purchases": 1 }));
    put(world, path, &product).await;
    put(world, "customers", &json!({ "external_id": "customer-1", "app_user_id": CUSTOMER })).await;
    let announced = wait_announced(world, KNOWN, |data| {
        data["last_seen_external_id"] == "customer-1" && data["entitlements"][0]["entitlement_ref_id"] == "premium"
    })
    .await;
    assert_eq!(announced["data"]["purchase_price"], "4.99");
    assert_eq!(announced["data"]["price_in_usd"], "4.99");
    assert_eq!(announced["data"]["product_ref_id"], "com.example.gold.month");
}

/// Purchases from a file are verified and announced once as `purchase.updated`, without a `user.*` event.
async fn adopted(world: &World) {
    let file = world.installation.folder().join("before.csv");
    let lines: Vec<String> = BEFORE.iter().map(|receipt_id| format!("{receipt_id},{CUSTOMER}\n")).collect();
    std::fs::write(&file, format!("receipt_id,app_user_id\n{}", lines.concat())).expect("the file");
    let (file, platform) = (file.display().to_string(), world.platform_id.to_string());
    let arguments = ["app", "import", &file, "--platform", &platform, "--rate", "100"];
    for _ in 0..2 {
        let output = world.installation.call(&arguments);
        assert!(output.status.success(), "{output:?}");
    }
    for receipt_id in BEFORE {
        let announced = wait_announced(world, receipt_id, |_| true).await;
        assert_eq!(announced["data"]["is_active"], true, "{announced}");
        assert_eq!(announced["attributes"]["revision"], 1, "announced once: {announced}");
        assert_eq!(announced["data"]["last_seen_external_id"], "customer-1");
        assert!(world.receiver.event_types(receipt_id).is_empty(), "nothing happened to {receipt_id}");
    }
}

/// A destination that is created afterwards gets the newest state of each purchase, once.
async fn later_destination(world: &World) {
    let later = Receiver::start().await;
    let id = world.add_destination(&later, &["purchase.updated".to_owned()]).await;
    for _ in 0..2 {
        let output = world.installation.call(&["resend", "missing", "--destination", &id]);
        assert!(output.status.success(), "{output:?}");
    }
    wait::until(SOON, "the newest state of every purchase", async || {
        let count = later.all().len();
        if count > BEFORE.len() { Ok(()) } else { Err(format!("{count} so far")) }
    })
    .await;
    let mut receipts: Vec<String> = later.all().iter().map(|one| one.receipt_id().to_owned()).collect();
    receipts.sort();
    assert_eq!(receipts, ["before-1", "before-2", "before-3", "known"], "each once");
    later.check();
}
