//! Writes that the database permanently refuses, in each activity that other work waits for: an alarm within a minute,
//! a line in the log, and an explanation; and all work is done once the database accepts the writes.

use serde_json::{Value, json};
use std::time::Duration;
use system_tests::devices::{Device, Devices};
use system_tests::documents;
use system_tests::postgres;
use system_tests::process::Backend;
use system_tests::receiver::Receiver;
use system_tests::rvs::{CUSTOMER, Receipt, Reply};
use system_tests::wait;
use system_tests::world::{Setting, World};

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
/// Time limit for the retries before an alarm on any machine: a minute on an otherwise idle one.
const NOTICED: Duration = Duration::from_secs(150);

/// The beginnings of the alarms' sentences, by kind of work.
const SETTLING: &str = "a purchase cannot be settled and is retried";
const DELIVERIES: &str =
    "deliveries to this destination cannot be made or recorded and are retried";
const STREAM: &str =
    "events of devices cannot be delivered to this destination or recorded and are retried";
const CLAIM: &str = "a purchase that a device reported cannot be verified and is retried";
const SWEEP: &str = "the sweep fails and is retried";
const OF_PURCHASE: &str =
    "the request of an admin about a purchase cannot be executed and is retried";
const OF_DESTINATION: &str =
    "the request of an admin about a destination cannot be executed and is retried";

async fn world(rvs: bool) -> World {
    let events = ["purchase.updated", "user.*", "device.*"]
        .map(str::to_owned)
        .to_vec();
    World::start(Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        rvs,
        events,
        ..Setting::default()
    })
    .await
}

fn change(world: &World, statement: &str) {
    postgres::execute(world.installation.database(), statement).expect("it is changed");
}

/// Makes the database refuse rows of a table from now on, unless `holds` is true for them.
fn plant(world: &World, table: &str, holds: &str) {
    change(
        world,
        &format!("ALTER TABLE {table} ADD CONSTRAINT planted CHECK ({holds}) NOT VALID"),
    );
}

fn remove(world: &World, table: &str) {
    change(
        world,
        &format!("ALTER TABLE {table} DROP CONSTRAINT planted"),
    );
}

/// The expected alarm of an activity: its kind, the beginning of its sentence, and its subject.
struct Noted<'a> {
    activity: &'a str,
    kind: &'a str,
    sentence: &'a str,
    /// The destination; `None` if the alarm is about something else.
    destination_id: Option<&'a str>,
}

/// Waits for the log line about an activity, and for its alarm, which says what to do.
async fn wait_noted(world: &World, expected: &Noted<'_>) {
    let Noted {
        activity,
        kind,
        sentence,
        destination_id,
    } = *expected;
    wait::until(
        NOTICED,
        &format!("the alarm {kind} about {activity}"),
        async || {
            let log = world.installation.logs();
            let noted = log
                .lines()
                .filter(|line| line.contains("an activity keeps failing"));
            let activities: Vec<&str> = noted
                .filter(|line| line.contains(&format!("activity=\"{activity}\"")))
                .collect();
            let alarms = world.api.try_get("/v1/alarms").await?.body["items"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let is_alarm = |alarm: &Value| {
                let detail = alarm["detail"].as_str().unwrap_or_default();
                alarm["kind"] == kind
                    && alarm["closed_at"].is_null()
                    && alarm["destination_id"].as_str() == destination_id
                    && detail.starts_with(&format!(
                        "{sentence}: a constraint or a trigger of the database forbids the change"
                    ))
            };
            if !activities.is_empty() && alarms.iter().any(is_alarm) {
                return Ok(());
            }
            let noted: Vec<&str> = log
                .lines()
                .filter(|line| line.contains("keeps failing"))
                .collect();
            Err(format!("{noted:#?}\n{alarms:#?}"))
        },
    )
    .await;
}

/// Waits until an explanation names the constraint.
async fn wait_explained(world: &World, path: &str) {
    wait::until(
        NOTICED,
        &format!("the failure in the explanation of {path}"),
        async || {
            let explained = world
                .api
                .try_get(&format!("/v1/explain/{path}"))
                .await?
                .body
                .to_string();
            if explained.contains("planted") {
                Ok(())
            } else {
                Err(explained)
            }
        },
    )
    .await;
}

const fn settling(activity: &str) -> Noted<'_> {
    Noted {
        activity,
        kind: "settling_fails",
        sentence: SETTLING,
        destination_id: None,
    }
}

fn delivering<'a>(world: &'a World, activity: &'a str) -> Noted<'a> {
    let destination_id = Some(world.destination_id.as_str());
    Noted {
        activity,
        kind: "delivering_fails",
        sentence: DELIVERIES,
        destination_id,
    }
}

async fn buy(world: &mut World, receipt_id: &str) {
    world.rvs().know(
        receipt_id,
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    let sent = world.send(BOUGHT, receipt_id).await;
    world.wait_outcome(&sent).await;
    world.wait_acked(receipt_id, 1).await;
    world.wait_asleep(receipt_id).await;
}

/// Sends a documented signal to a destination.
async fn signal(world: &World, destination_id: &str, part: &str) {
    let is_wanted = |line: &String| line.contains("DESTINATION_ID") && line.contains(part);
    let line = documents::operators_lines()
        .into_iter()
        .find(is_wanted)
        .expect("a documented line");
    world
        .temporal
        .run_line(&line.replace("DESTINATION_ID", destination_id))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_an_admin_that_is_refused_is_seen() {
    let mut world = world(true).await;
    let other = Receiver::start().await;
    let destinations = [
        world.destination_id.clone(),
        world
            .add_destination(&other, &["device.*".to_owned()])
            .await,
    ];
    for receipt_id in ["hold", "discard", "redeliver"] {
        buy(&mut world, receipt_id).await;
    }
    world.signal_by_script("discard", "hold").await;
    wait::until(NOTICED, "a hold", async || {
        let purchase = world.purchase("discard").await;
        if purchase["held_until"].is_string() {
            Ok(())
        } else {
            Err(purchase.to_string())
        }
    })
    .await;
    let waiting = world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "discard").await;
    plant(&world, "audit_log", "FALSE");
    for receipt_id in ["hold", "discard", "redeliver"] {
        world.signal_by_script(receipt_id, receipt_id).await;
    }
    signal(&world, &destinations[0], "--signal-name disable ").await;
    signal(&world, &destinations[1], "they lost it").await;
    let [one, another] = destinations.each_ref().map(|id| Some(id.as_str()));
    for (activity, sentence, destination_id) in [
        ("hold", OF_PURCHASE, None),
        ("discard", OF_PURCHASE, None),
        ("redeliver", OF_PURCHASE, None),
        ("set_enabled", OF_DESTINATION, one),
        ("redeliver_all", OF_DESTINATION, another),
    ] {
        wait_noted(
            &world,
            &Noted {
                activity,
                kind: "request_fails",
                sentence,
                destination_id,
            },
        )
        .await;
    }
    for receipt_id in ["hold", "discard", "redeliver"] {
        wait_explained(&world, &format!("purchases/{}", world.key(receipt_id))).await;
    }
    for destination_id in &destinations {
        wait_explained(&world, &format!("destinations/{destination_id}")).await;
    }
    remove(&world, "audit_log");
    world.wait_state(&destinations[0], "disabled").await;
    world.by_script("\"reason\":\"done\"").await;
    world.wait_outcome(&waiting).await;
    world.signal_by_script("hold", "release").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_devices_or_the_sweep_and_is_refused_is_seen() {
    let mut world = world(true).await;
    world.let_sweep_help("it starts the verification of claims that become due later");
    let devices = Devices::of(&world).await;
    let device = Device(1);
    let visit = |name: &str| device.event(name, "device.session.start", &json!({}));
    drop(devices.report(device, &[visit("one")]).await.ok());
    wait::until(NOTICED, "a device event", async || {
        if world.receiver.count() > 0 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    for (table, holds) in [
        ("streams", "FALSE"),
        ("claims", "status = 'pending'"),
        ("sweeps", "FALSE"),
    ] {
        plant(&world, table, holds);
    }
    world.rvs().know(
        "claimed",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    let transaction = json!({
        "kind": "purchased", "receipt_id": "claimed", "app_user_id": CUSTOMER, "sku": "com.example.gold.month",
        "price": "4.99", "currency": "USD", "marketplace": "US",
    });
    let transaction = device.event(
        "transaction",
        "device.transaction",
        &json!({ "transaction": transaction }),
    );
    drop(
        devices
            .report(device, &[visit("two"), transaction])
            .await
            .ok(),
    );
    let hook = Some(world.destination_id.as_str());
    for (activity, kind, sentence, destination_id) in [
        ("stream", "delivering_fails", STREAM, hook),
        ("verify_claims", "claims_fail", CLAIM, None),
        ("sweep", "sweep_fails", SWEEP, None),
    ] {
        wait_noted(
            &world,
            &Noted {
                activity,
                kind,
                sentence,
                destination_id,
            },
        )
        .await;
    }
    wait_explained(&world, &format!("destinations/{}", world.destination_id)).await;
    wait_explained(&world, &format!("purchases/{}", world.key("claimed"))).await;
    for table in ["streams", "claims", "sweeps"] {
        remove(&world, table);
    }
    world.wait_acked("claimed", 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_the_store_that_cannot_be_noted_is_seen() {
    let mut world = world(true).await;
    world.rvs().answer(Reply::Status(500));
    plant(&world, "purchases", "FALSE");
    let sent = world.send(BOUGHT, "queried").await;
    wait_noted(&world, &settling("verify")).await;
    wait_explained(&world, &format!("purchases/{}", world.key("queried"))).await;
    remove(&world, "purchases");
    world.rvs().answer_truly();
    world.rvs().know(
        "queried",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    world.wait_outcome(&sent).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settling_and_a_backlog_that_are_refused_are_seen() {
    let mut world = world(false).await;
    plant(&world, "events", "FALSE");
    let sent = world.send(BOUGHT, "r1").await;
    wait_noted(&world, &settling("settle")).await;
    wait_explained(&world, &format!("notifications/{sent}")).await;
    plant(&world, "attempts", "FALSE");
    remove(&world, "events");
    world.wait_outcome(&sent).await;
    wait_noted(&world, &delivering(&world, "deliver")).await;
    world.by_script("--signal-name probe ").await;
    wait_noted(&world, &delivering(&world, "supervise")).await;
    wait_explained(&world, &format!("destinations/{}", world.destination_id)).await;
    remove(&world, "attempts");
    world.wait_acked("r1", 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_lane_of_a_purchase_that_sleeps_is_seen() {
    let mut world = world(false).await;
    world.by_script("--signal-name disable ").await;
    world.wait_state(&world.destination_id, "disabled").await;
    let sent = world.send(BOUGHT, "drained").await;
    world.wait_outcome(&sent).await;
    world.wait_asleep("drained").await;
    plant(&world, "attempts", "FALSE");
    world.by_script("\"reason\":\"done\"").await;
    wait_noted(&world, &delivering(&world, "supervise")).await;
    wait_explained(&world, &format!("purchases/{}", world.key("drained"))).await;
    wait_explained(&world, &format!("destinations/{}", world.destination_id)).await;
    remove(&world, "attempts");
    world.wait_acked("drained", 1).await;
    world.let_sweep_help("a lane is set back while a signal begins another run of its destination");
    world.finish().await;
}
