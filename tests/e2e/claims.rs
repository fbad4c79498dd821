//! Claims of devices: the store's notification and the device's report result in one purchase, in any order, and a
//! claim of an invented receipt moves nothing.

use serde_json::{Value, json};
use std::time::Duration;
use system_tests::amplitude::Amplitude;
use system_tests::devices::{Device, Devices};
use system_tests::rvs::{CUSTOMER, Receipt, Reply};
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use tokio::task::JoinSet;
use workflows::contract;

const PURCHASED: &str = "SUBSCRIPTION_PURCHASED";

async fn world(variables: &[(&str, &str)]) -> World {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let events = vec!["purchase.updated".to_owned(), "user.*".to_owned()];
    let mut world = World::start(Setting {
        window_seconds: 1,
        rvs: true,
        events,
        variables,
        ..Setting::default()
    })
    .await;
    world.let_sweep_help("it starts the verification of claims that become due later");
    world
}

fn transaction(device: Device, receipt_id: &str, customer: &str) -> Value {
    let transaction = json!({
        "kind": "purchased", "receipt_id": receipt_id, "app_user_id": customer, "sku": "com.example.gold.month",
        "price": "4.99", "currency": "USD", "marketplace": "US",
    });
    device.event(
        "transaction",
        "device.transaction",
        &json!({ "transaction": transaction }),
    )
}

fn present(device: Device, receipt_id: &str, customer: &str) -> Value {
    let receipts = json!([{ "receipt_id": receipt_id, "app_user_id": customer }]);
    device.event(
        "start",
        "device.session.start",
        &json!({ "receipts": receipts }),
    )
}

/// Waits until the newest update of a receipt names this device, and returns its `data` without the values that differ
/// between receipts and devices.
async fn wait_access(world: &World, receipt_id: &str, device: Device) -> Value {
    let key = world.key(receipt_id).to_string();
    let update = wait::until(SOON, &format!("access to {receipt_id}"), async || {
        let newest = world
            .receiver
            .about(&key)
            .pop()
            .map(|received| received.body);
        let newest = newest.ok_or("nothing")?;
        let named = newest["data"]["devices_with_access"][0]["id"] == json!(device.id());
        if named {
            Ok(newest)
        } else {
            Err(newest["data"]["devices_with_access"].to_string())
        }
    })
    .await;
    let mut data = update["data"].clone();
    assert_eq!(data["last_seen_device_id"], json!(device.id()));
    for field in ["purchase_guid", "transaction_id", "last_seen_device_id"] {
        data[field] = Value::Null;
    }
    for field in ["id", "first_launch", "last_active"] {
        data["devices_with_access"][0][field] = Value::Null;
    }
    data
}

/// When the store notifies the purchase that a device reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Before,
    Together,
    After,
    Never,
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_store_and_device_gives_one_purchase() {
    let mut world = world(&[]).await;
    let devices = Devices::of(&world).await;
    let bought = Receipt::subscription(api::clock::now().plus_millis(-3_600_000));
    let orders = [Store::Before, Store::Together, Store::After, Store::Never];
    let mut records = Vec::new();
    for (number, order) in (1..).zip(orders) {
        let (device, receipt_id) = (Device(number), format!("receipt-{number}"));
        let customer = format!("{CUSTOMER}.{number}");
        let rtn = Rtn {
            app_user_id: customer.clone(),
            ..Rtn::new(PURCHASED, &receipt_id)
        };
        world.rvs().know(
            &receipt_id,
            Receipt {
                app_user_id: customer.clone(),
                ..bought.clone()
            },
        );
        if matches!(order, Store::Before | Store::Together) {
            let message = world.send_rtn(&rtn).await;
            if order == Store::Before {
                world.wait_outcome(&message).await;
            }
        }
        drop(
            devices
                .report(device, &[transaction(device, &receipt_id, &customer)])
                .await
                .ok(),
        );
        let mut record = wait_access(&world, &receipt_id, device).await;
        if order == Store::After {
            let message = world.send_rtn(&rtn).await;
            world.wait_outcome(&message).await;
            record = wait_access(&world, &receipt_id, device).await;
        }
        records.push((order, record));
    }
    for number in 1..=4 {
        let types = world.receiver.event_types(&format!("receipt-{number}"));
        assert_eq!(types, ["user.subscription.purchased"], "receipt-{number}");
    }
    for (order, record) in &records {
        assert_eq!(record, &records[0].1, "{order:?}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_devices_of_a_household_are_one_update() {
    let mut world = world(&[]).await;
    let devices = Devices::of(&world).await;
    world.rvs().know(
        "shared",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    let message = world.send(PURCHASED, "shared").await;
    world.wait_outcome(&message).await;
    // The purchase is held, however long the three reports take.
    world
        .act("shared", "hold", &json!({ "reason": "a household" }))
        .await;
    wait::until(SOON, "a hold", async || {
        let purchase = world.purchase("shared").await;
        if purchase["held_until"].is_string() {
            Ok(())
        } else {
            Err(purchase.to_string())
        }
    })
    .await;
    for number in 1..=3 {
        let device = Device(number);
        drop(
            devices
                .report(device, &[present(device, "shared", CUSTOMER)])
                .await
                .ok(),
        );
        let path = format!("/v1/explain/purchases/{}", world.key("shared"));
        wait::until(SOON, "a verified claim", async || {
            let explained = world.api.get(&path).await.ok().to_string();
            let verified = explained
                .matches("reported this purchase (present): the store confirmed it")
                .count();
            if verified == number as usize {
                Ok(())
            } else {
                Err(explained)
            }
        })
        .await;
    }
    world
        .act("shared", "release", &json!({ "reason": "a household" }))
        .await;
    let key = world.key("shared").to_string();
    let updates = wait::until(SOON, "an update with three devices", async || {
        let updates = world.receiver.about(&key);
        let newest = updates.last().ok_or("nothing")?;
        let named = newest.body["data"]["devices_with_access"]
            .as_array()
            .map_or(0, Vec::len);
        if named == 3 {
            Ok(updates)
        } else {
            Err(format!("{named} devices"))
        }
    })
    .await;
    let counted = updates
        .iter()
        .map(|one| &one.body["attributes"])
        .map(|one| (&one["revision"], &one["coalesced"]));
    assert_eq!(
        counted.collect::<Vec<_>>(),
        [(&json!(1), &json!(1)), (&json!(2), &json!(0))]
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_or_invented_receipt_moves_nothing() {
    let mut world = world(&[]).await;
    let devices = Devices::of(&world).await;
    world.rvs().know(
        "owned",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    world.rvs().know(
        "foreign",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    let message = world.send(PURCHASED, "owned").await;
    world.wait_outcome(&message).await;
    let (thief, queries) = (Device(1), world.rvs().about("owned").len());
    let reports = [
        present(thief, "owned", "amzn1.account.THIEF"),
        transaction(thief, "invented", "amzn1.account.THIEF"),
    ];
    drop(devices.report(thief, &reports).await.ok());
    let other = Device(2);
    drop(
        devices
            .report(
                other,
                &[transaction(other, "foreign", "amzn1.account.THIEF")],
            )
            .await
            .ok(),
    );
    world.rvs().wait_queries("invented", 1, SOON).await;
    world.rvs().wait_queries("foreign", 1, SOON).await;
    for _ in 0..3 {
        drop(devices.report(thief, &reports).await.ok());
        drop(
            devices
                .report(other, &[present(other, "foreign", "amzn1.account.THIEF")])
                .await
                .ok(),
        );
    }
    wait::throughout(Duration::from_secs(8), "nothing moves", async || {
        let counts =
            ["owned", "invented", "foreign"].map(|receipt| world.rvs().about(receipt).len());
        if counts == [queries, 1, 1] {
            Ok(())
        } else {
            Err(format!("{counts:?} queries"))
        }
    })
    .await;
    assert_eq!(
        world.newest_acked("owned")["data"]["devices_with_access"],
        json!([])
    );
    for receipt in ["invented", "foreign"] {
        let runs = world.temporal.runs(&world.workflow(receipt)).await;
        assert!(runs.is_empty(), "a claim starts no purchase: {runs:?}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_with_many_customers_costs_five_queries() {
    let world = world(&[]).await;
    let devices = Devices::of(&world).await;
    world.rvs().know(
        "bought",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    for number in 1..=8 {
        let device = Device(number);
        let customer = format!("{CUSTOMER}.{number}");
        let report = [transaction(device, "invented", &customer)];
        drop(devices.report(device, &report).await.ok());
    }
    // A second customer may claim a receipt like the first.
    let (other, owner) = (Device(9), Device(10));
    let wrong = [transaction(other, "bought", "amzn1.account.OTHER")];
    drop(devices.report(other, &wrong).await.ok());
    world.rvs().wait_queries("bought", 1, SOON).await;
    let right = [transaction(owner, "bought", CUSTOMER)];
    drop(devices.report(owner, &right).await.ok());
    wait_access(&world, "bought", owner).await;

    world.rvs().wait_queries("invented", 5, SOON).await;
    wait::throughout(Duration::from_secs(8), "no query", async || {
        let count = world.rvs().about("invented").len();
        if count == 5 {
            Ok(())
        } else {
            Err(format!("{count} queries"))
        }
    })
    .await;
    let path = format!("/v1/explain/purchases/{}", world.key("invented"));
    let explained = world.api.get(&path).await.ok().to_string();
    let results = ["refused (unknown_receipt)", "not confirmed yet"];
    let counts = results.map(|result| {
        let claim = format!("reported this purchase (purchased): {result}");
        explained.matches(&claim).count()
    });
    assert_eq!(counts, [5, 3], "{explained}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_query_and_verification_loses_nothing() {
    let mut world = world(&[("FAILPOINTS", "claims.after_query=1*return")]).await;
    let devices = Devices::of(&world).await;
    world.rvs().know(
        "bought",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    let device = Device(1);
    drop(
        devices
            .report(device, &[transaction(device, "bought", CUSTOMER)])
            .await
            .ok(),
    );
    world.worker().wait_end().await;
    world.start_with(&[("FAILPOINTS", "")]).await;
    wait_access(&world, "bought", device).await;
    assert_eq!(
        world.receiver.event_types("bought"),
        ["user.subscription.purchased"]
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_makes_a_run_of_claims_that_ends_go_on() {
    let world = world(&[]).await;
    let devices = Devices::of(&world).await;
    world.rvs().know(
        "bought",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    world.rvs().answer_about("bought", Reply::Hang);
    let device = Device(1);
    drop(
        devices
            .report(device, &[transaction(device, "bought", CUSTOMER)])
            .await
            .ok(),
    );
    world.rvs().wait_queries("bought", 1, SOON).await;
    // The signal stands for a claim that arrives after the activity found none.
    let run = contract::claims_workflow_id(world.platform_id);
    world
        .temporal
        .signal(&run, contract::PENDING, &json!({}))
        .await
        .expect("an open run");
    world.rvs().answer_truly_about("bought");
    world.rvs().release();
    wait_access(&world, "bought", device).await;
    wait::until(SOON, "the end of the run", async || {
        if world.temporal.is_closed(&run).await {
            Ok(())
        } else {
            Err("it is open".to_owned())
        }
    })
    .await;
    let signals = world
        .temporal
        .count(&run, EventType::WorkflowExecutionSignaled)
        .await;
    assert!(signals >= 2, "settle starts a run with a signal: {signals}");
    let activities = world
        .temporal
        .count(&run, EventType::ActivityTaskScheduled)
        .await;
    assert!(
        activities >= 2,
        "{activities} activities for {signals} signals"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paywall_and_its_purchase_are_one_person_in_amplitude() {
    const KEY: &str = "2b8c66f07e5d49a1b3e8d40fsandbox";
    let amplitude = Amplitude::start().await;
    amplitude.project(KEY, "c0ffee5eb7a94d21f36a8b9esecret");
    let world = world(&[("SETTLE_AMPLITUDE_ALLOWED_URLS", &amplitude.url())]).await;
    let integration = json!({
        "kind": "amplitude", "name": "analytics", "endpoint": amplitude.url(), "sandbox_api_key": KEY,
        "events": ["device.impression", "user.subscription.purchased"],
    });
    world.add(&integration).await;
    let devices = Devices::of(&world).await;
    world.rvs().know(
        "bought",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    let device = Device(1);
    let events = [
        device.impression("shown"),
        transaction(device, "bought", CUSTOMER),
    ];
    drop(devices.report(device, &events).await.ok());
    let counted = amplitude.wait_counted(KEY, 2, SOON).await;
    let of = counted.iter().map(|one| {
        (
            one.event["event_type"].as_str(),
            &one.event["device_id"],
            one.event.get("user_id"),
        )
    });
    let (id, none) = (json!(device.id()), None);
    let expected = [
        (Some("device.impression"), &id, none),
        (Some("user.subscription.purchased"), &id, none),
    ];
    assert_eq!(
        of.collect::<Vec<_>>(),
        expected,
        "nobody is logged in, and it is one device"
    );
    world.finish().await;
    amplitude.check();
}

/// Number of attackers' addresses, and of devices per address that report twenty receipts each: more claims than may
/// wait per address.
const STRANGERS: u32 = 18;
const DEVICES_OF_STRANGER: u32 = 11;
/// Maximum number of queries about invented receipts until an honest claim is verified: those of the first five
/// seconds, of one page and of one round.
const MOST_QUERIES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn eighteen_addresses_hold_up_no_claim() {
    let variables = [
        ("SETTLE_DEVICES_TRUSTED_PROXIES", "127.0.0.0/8"),
        ("SETTLE_AMAZON_RVS_PER_SECOND", "50"),
    ];
    let mut world = world(&variables).await;
    let devices = Devices::of(&world).await;
    for receipt in ["known", "fresh"] {
        world.rvs().know(
            receipt,
            Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
        );
    }
    let message = world.send(PURCHASED, "known").await;
    world.wait_outcome(&message).await;
    let before = world.rvs().all().len();
    let strangers = (0..STRANGERS).map(|stranger| {
        let devices = devices.behind(&format!("198.51.100.{stranger}"));
        async move {
            for number in 0..DEVICES_OF_STRANGER {
                let device = Device(1000 + stranger * DEVICES_OF_STRANGER + number);
                let receipts: Vec<Value> = (0..20)
                    .map(|index| json!({ "receipt_id": format!("junk-{}-{index}", device.0), "app_user_id": "x" }))
                    .collect();
                let start = device.event("start", "device.session.start", &json!({ "receipts": receipts }));
                drop(devices.report(device, &[start]).await.ok());
            }
        }
    });
    strangers.collect::<JoinSet<()>>().join_all().await;
    let alarms = world.api.all("/v1/alarms").await;
    assert!(
        alarms.iter().any(|alarm| alarm["kind"] == "claims_dropped"),
        "{alarms:?}"
    );
    // The device shares an attacker's address: claims of known purchases do not count against any limit.
    let (honest, buyer) = (Device(1), Device(2));
    drop(
        devices
            .behind("198.51.100.1")
            .report(honest, &[present(honest, "known", CUSTOMER)])
            .await
            .ok(),
    );
    let path = format!("/v1/explain/purchases/{}", world.key("known"));
    let explained = world.api.get(&path).await.ok().to_string();
    assert!(
        explained.contains("reported this purchase (present): the store confirmed it"),
        "before the answer: {explained}"
    );
    let before_claim = world.rvs().all().len();
    drop(
        devices
            .behind("203.0.113.9")
            .report(buyer, &[transaction(buyer, "fresh", CUSTOMER)])
            .await
            .ok(),
    );
    wait_access(&world, "fresh", buyer).await;
    wait_access(&world, "known", honest).await;
    let meanwhile = world
        .rvs()
        .all()
        .iter()
        .skip(before_claim)
        .take_while(|query| query.receipt_id != "fresh")
        .count();
    assert!(
        meanwhile <= MOST_QUERIES,
        "{meanwhile} queries of strangers, {} before",
        before_claim - before
    );
    world.finish().await;
}
