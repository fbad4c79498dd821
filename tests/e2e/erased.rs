//! An erased customer, as seen from outside: what is received, what Amplitude receives, and with what the store is
//! queried afterwards, even if all processes are killed meanwhile.

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Output;
use system_tests::amplitude::Amplitude;
use system_tests::receiver::Received;
use system_tests::rvs::{CUSTOMER, Receipt};
use system_tests::sns::{Rtn, TOPIC};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const RECEIPT: &str = "erased-1";
const OWN_ID: &str = "anna.erased@example.com";
const KEY: &str = "7d1e90c4b5f2a8e36c0d51c9sandbox";
const SECRET_KEY: &str = "c0ffee5eb7a94d21f36a8b9esecret";

/// Waits until the newest `purchase.updated` of the receipt contains this external id.
async fn wait_named(world: &World, wanted: Value) {
    wait::until(
        SOON,
        &format!("an update with the name {wanted}"),
        async || {
            let updates = world.receiver.about(&world.key(RECEIPT).to_string());
            let newest = updates
                .last()
                .map(|one| one.body["data"]["last_seen_external_id"].clone());
            if newest.as_ref() == Some(&wanted) {
                Ok(())
            } else {
                Err(format!("{newest:?}"))
            }
        },
    )
    .await;
}

/// Returns the bytes of the database file and its log, after the log was written back completely.
fn bytes(world: &World) -> Vec<u8> {
    let path = world.installation.database();
    let mut connection = SqliteConnection::establish(path).expect("a database");
    connection
        .batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("a checkpoint");
    [path.to_owned(), format!("{path}-wal")]
        .iter()
        .flat_map(|file| std::fs::read(file).unwrap_or_default())
        .collect()
}

/// Runs the command that erases the customer.
fn erase(world: &World) -> Output {
    let by_hand = [
        "--external-id",
        OWN_ID,
        "--reason",
        "request 17",
        "--by",
        "support",
        "--yes",
        "--json",
    ];
    let arguments: Vec<&str> = ["customer", "erase", "--app", &world.app_id]
        .into_iter()
        .chain(by_hand)
        .collect();
    world.installation.call(&arguments)
}

/// Checks that the database files contain none of the customer's names, not even in deleted data.
async fn check_files(world: &mut World) {
    world.kill9();
    let bytes = bytes(world);
    for name in [OWN_ID, CUSTOMER] {
        assert!(
            !bytes
                .windows(name.len())
                .any(|part| part == name.as_bytes()),
            "{name} is in the database"
        );
    }
    world.restart().await;
}

/// Sends messages that name the customer but no known purchase: an unreadable one, and one about another package.
async fn send_oddly(world: &mut World, millis: i64) {
    let unreadable = world
        .sns
        .message(TOPIC, &format!("about {CUSTOMER}, and no JSON"));
    let rtn = Rtn {
        package_name: "com.example.other".to_owned(),
        ..Rtn::new("SUBSCRIPTION_PURCHASED", RECEIPT)
    };
    let foreign = world.sns.notification(&rtn.later(millis));
    for message in [&unreadable, &foreign] {
        world.post_until_accepted(message).await;
    }
}

/// Returns the requests that ask Amplitude to delete users.
fn deletions(amplitude: &Amplitude) -> Vec<Value> {
    let all = amplitude.requests().into_iter();
    all.filter(|one| one.target == "POST /api/2/deletions/users")
        .map(|one| one.body)
        .collect()
}

/// Waits until the erasure is done, and returns the report.
async fn wait_done(world: &World, path: &str) -> Value {
    wait::until(SOON, "a request to Amplitude", async || {
        let report = world.api.try_get(path).await?.body;
        if report["stage"] == "done" {
            Ok(report)
        } else {
            Err(report.to_string())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_customer_renews_and_stays_unknown() {
    let amplitude = Amplitude::start().await;
    amplitude.project(KEY, SECRET_KEY);
    let events = vec!["*".to_owned(), "user.erased".to_owned()];
    let variables = vec![("SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(), amplitude.url())];
    let mut world = World::start(Setting {
        window_seconds: 1,
        rvs: true,
        events,
        variables,
        ..Setting::default()
    })
    .await;
    let integration = json!({
        "kind": "amplitude", "name": "Analytics", "endpoint": amplitude.url(), "sandbox_api_key": KEY,
        "secret_key": SECRET_KEY,
    });
    world.add(&integration).await;
    world.rvs().know(
        RECEIPT,
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    let customers = format!("/v1/apps/{}/customers", world.app_id);
    let name = json!({ "external_id": OWN_ID, "app_user_id": CUSTOMER });
    let named = world.api.call(Method::PUT, &customers, &name).await.ok();
    world.send("SUBSCRIPTION_PURCHASED", RECEIPT).await;
    wait_named(&world, json!(OWN_ID)).await;
    let state = world
        .api
        .get(&format!(
            "{customers}/state?external_id={OWN_ID}&environment=sandbox"
        ))
        .await
        .ok();
    assert_eq!(
        (&state["user_id"], &state["purchases"][0]["is_active"]),
        (&named["user_id"], &json!(true)),
        "{state}"
    );

    send_oddly(&mut world, 1).await;
    let printed = erase(&world);
    assert!(
        printed.status.success(),
        "{}",
        String::from_utf8_lossy(&printed.stderr)
    );
    let report: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    assert!(
        !report["removed_at"].is_null() && report["counts"]["purchases"] == 1,
        "{report}"
    );
    world.restart().await;
    wait_named(&world, Value::Null).await;
    let path = format!(
        "{customers}/erase/{}",
        report["id"].as_str().expect("an id")
    );
    let report = wait_done(&world, &path).await;
    assert_eq!(report["destinations"][0]["status"], "accepted", "{report}");
    let requests = deletions(&amplitude);
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0]["user_ids"], json!([OWN_ID, named["user_id"]]));

    send_oddly(&mut world, 2).await;
    let (received, queries) = (world.receiver.all().len(), world.rvs().about(RECEIPT).len());
    let message_id = world.send("SUBSCRIPTION_RENEWED", RECEIPT).await;
    assert_eq!(world.wait_outcome(&message_id).await.len(), 1);
    let query = world.rvs().about(RECEIPT).pop().expect("a query");
    assert!(world.rvs().about(RECEIPT).len() > queries);
    assert_eq!(
        (query.app_user_id.as_str(), query.status),
        (CUSTOMER, Some(200)),
        "the store is queried as before"
    );
    let purchase = world.purchase(RECEIPT).await;
    assert_ne!(purchase["user_id"], named["user_id"]);
    let all = world.receiver.all();
    let erased: Vec<_> = all
        .iter()
        .filter(|one| one.event_type() == "user.erased")
        .collect();
    assert_eq!(erased.len(), 1);
    assert_eq!(erased[0].body["user_id"], named["user_id"]);
    let later = all[received..].iter().map(|one| one.body.to_string());
    for text in later.chain([purchase.to_string(), report.to_string()]) {
        assert!(!text.contains(OWN_ID) && !text.contains(CUSTOMER), "{text}");
    }
    for query in [
        format!("external_id={OWN_ID}"),
        format!("app_user_id={CUSTOMER}"),
    ] {
        let found = world.api.get(&format!("/v1/purchases?{query}")).await.ok();
        assert_eq!(found["items"], json!([]), "{query}");
    }
    check_files(&mut world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_killed_after_each_step_is_completed() {
    let events = vec!["*".to_owned(), "user.erased".to_owned()];
    let variables = vec![(
        "FAILPOINTS".to_owned(),
        "erase.after_step=1*return".to_owned(),
    )];
    let mut world = World::start(Setting {
        window_seconds: 1,
        rvs: true,
        events,
        variables,
        ..Setting::default()
    })
    .await;
    world.let_sweep_help("it goes on with what a kill interrupted");
    world.rvs().know(
        RECEIPT,
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    let name = json!({ "external_id": OWN_ID, "app_user_id": CUSTOMER });
    drop(
        world
            .api
            .call(
                Method::PUT,
                &format!("/v1/apps/{}/customers", world.app_id),
                &name,
            )
            .await
            .ok(),
    );
    world.send("SUBSCRIPTION_PURCHASED", RECEIPT).await;
    wait_named(&world, json!(OWN_ID)).await;
    let (mut kills, mut printed) = (0, erase(&world));
    while !printed.status.success() {
        world.serve().wait_end().await;
        kills += 1;
        world.restart().await;
        printed = erase(&world);
    }
    assert!(kills > 0, "it was never killed");
    wait_named(&world, Value::Null).await;
    wait::until(SOON, "one event", async || {
        let all = world.receiver.all();
        // After a kill, a request that arrived may be sent again with the same id.
        let erased: BTreeSet<&str> = all
            .iter()
            .filter(|one| one.event_type() == "user.erased")
            .map(Received::event_id)
            .collect();
        if erased.len() == 1 {
            Ok(())
        } else {
            Err(format!("{erased:?}"))
        }
    })
    .await;
    check_files(&mut world).await;
    world.finish().await;
}
