//! Queries to RVS: settle announces what the answer shows; and the effects of missing answers and refusals.

mod patience;
mod refusals;
mod waiting;

use domain::Environment;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::rvs::{self, Receipt, Reply};
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const PURCHASED: &str = "SUBSCRIPTION_PURCHASED";
const RENEWED: &str = "SUBSCRIPTION_RENEWED";

/// Starts a world with verification, which gives up waiting for the store after this time.
async fn world(patience: &str) -> World {
    let variables = vec![("SETTLE_AMAZON_PATIENCE".to_owned(), patience.to_owned())];
    let events = vec!["*".to_owned()];
    World::start(Setting {
        window_seconds: 1,
        rvs: true,
        events,
        variables,
        ..Setting::default()
    })
    .await
}

/// Returns a receipt for the fake of RVS.
fn bought() -> Receipt {
    Receipt::subscription(api::clock::now().plus_millis(-3_600_000))
}

/// Returns the received `purchase.updated` bodies of a receipt, in the order of arrival.
fn updates(world: &World, receipt_id: &str) -> Vec<Value> {
    world
        .receiver
        .about(&world.key(receipt_id).to_string())
        .into_iter()
        .map(|one| one.body)
        .collect()
}

/// Waits until the newest `purchase.updated` of a receipt satisfies `is_wanted`, and returns it.
async fn wait_update(
    world: &World,
    receipt_id: &str,
    what: &str,
    is_wanted: impl Fn(&Value) -> bool,
) -> Value {
    wait::until(
        SOON,
        &format!("{what} of {receipt_id}"),
        async || match updates(world, receipt_id).pop() {
            Some(newest) if is_wanted(&newest) => Ok(newest),
            other => Err(format!("{other:?}")),
        },
    )
    .await
}

/// Waits until exactly these `user.*` events of a receipt were received.
async fn wait_events(world: &World, receipt_id: &str, wanted: &[&str]) {
    wait::until(
        SOON,
        &format!("the events {wanted:?} of {receipt_id}"),
        async || {
            let types = world.receiver.event_types(receipt_id);
            if types == wanted {
                Ok(())
            } else {
                Err(format!("{types:?}"))
            }
        },
    )
    .await;
}

fn is_verified(update: &Value) -> bool {
    update["attributes"]["verified"] == true
}

/// Returns the explanation of a message, as text.
async fn explained(world: &World, message_id: &str) -> String {
    world
        .api
        .get(&format!("/v1/explain/notifications/{message_id}"))
        .await
        .ok()
        .to_string()
}

/// Waits until a message's notification has no outcome and this `waiting_for`.
async fn wait_waiting(world: &World, message_id: &str, wanted: &str) {
    wait::until(
        SOON,
        &format!("{message_id} to wait for {wanted}"),
        async || {
            let answer = world
                .api
                .try_get(&format!("/v1/notifications/{message_id}"))
                .await?;
            let one = &answer.body["notifications"][0];
            if one["outcome"].is_null() && one["waiting_for"] == wanted {
                Ok(())
            } else {
                Err(answer.body.to_string())
            }
        },
    )
    .await;
}

async fn wait_alarm(world: &World, kind: &str) -> Value {
    wait::until(SOON, &format!("an alarm `{kind}`"), async || {
        let alarms = world.api.all("/v1/alarms").await;
        let found = alarms.iter().find(|alarm| alarm["kind"] == kind).cloned();
        found.ok_or_else(|| format!("{alarms:?}"))
    })
    .await
}

/// Checks for two seconds that nothing is received about a receipt.
async fn check_silence(world: &World, receipt_id: &str) {
    wait::throughout(Duration::from_secs(2), "silence", async || {
        let (types, updates) = (
            world.receiver.event_types(receipt_id),
            updates(world, receipt_id),
        );
        if types.is_empty() && updates.is_empty() {
            Ok(())
        } else {
            Err(format!("{types:?}, {updates:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amazons_answer_is_announced_once_and_ids_are_unchanged() {
    let mut world = world("60s").await;
    let receipt_id = "odd/receipt+1=:1:11+Sheet2!A1+";
    world.rvs().know(receipt_id, bought());
    let message_id = world.send(PURCHASED, receipt_id).await;
    let update = wait_update(&world, receipt_id, "an update", is_verified).await;
    let data = &update["data"];
    assert_eq!(
        (&data["is_active"], &data["is_auto_renewable"]),
        (&json!(true), &json!(true)),
        "{update}"
    );
    assert_eq!(
        (&data["product_ref_id"], &data["current_term_length"]),
        (&json!("com.example.gold.month"), &json!("P1M"))
    );
    assert_eq!(
        (&data["purchase_country"], &data["is_production"]),
        (&json!("US"), &json!(false))
    );
    wait_events(&world, receipt_id, &["user.subscription.purchased"]).await;
    let queries = world.rvs().about(receipt_id);
    assert_eq!(queries.len(), 1, "{queries:?}");
    let first = queries.first().expect("a query");
    assert_eq!(
        (first.environment, first.status),
        (Environment::Sandbox, Some(200))
    );
    assert_eq!(
        (first.secret.as_str(), first.app_user_id.as_str()),
        (rvs::SECRET, rvs::CUSTOMER)
    );
    assert_eq!(
        world.wait_outcome(&message_id).await[0]["outcome"],
        "settled"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sandbox_and_production_are_queried_for_their_own_only() {
    for (environment, right, wrong) in [
        ("sandbox", Environment::Sandbox, Environment::Production),
        ("production", Environment::Production, Environment::Sandbox),
    ] {
        let mut world = World::start(Setting {
            window_seconds: 1,
            rvs: true,
            environment,
            ..Setting::default()
        })
        .await;
        world.rvs().know(
            "elsewhere",
            Receipt {
                environment: wrong,
                ..bought()
            },
        );
        let message_id = world.send(PURCHASED, "elsewhere").await;
        wait_waiting(&world, &message_id, "parked").await;
        let queries = world.rvs().all();
        assert!(
            queries.iter().all(|query| query.environment == right),
            "{queries:?}"
        );
        world.rvs().know(
            "elsewhere",
            Receipt {
                environment: right,
                ..bought()
            },
        );
        world
            .act("elsewhere", "flush", &json!({ "reason": "a test" }))
            .await;
        wait_update(&world, "elsewhere", "an update", is_verified).await;
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_or_customer_is_in_the_log_or_a_history() {
    let variables = vec![("SETTLE_LOG".to_owned(), "trace,sqlx=warn".to_owned())];
    let mut world = World::start(Setting {
        window_seconds: 1,
        rvs: true,
        variables,
        ..Setting::default()
    })
    .await;
    world.rvs().know("hidden", bought());
    for reply in [
        Reply::Status(500),
        Reply::Status(404),
        Reply::Body("{".to_owned()),
    ] {
        world.rvs().answer_next(1, &reply);
    }
    let customer = "amzn1.account.HIDDEN7Q";
    world.rvs().know(
        "hidden",
        Receipt {
            app_user_id: customer.to_owned(),
            ..bought()
        },
    );
    let message = world.sns.notification(&Rtn {
        app_user_id: customer.to_owned(),
        ..Rtn::new(PURCHASED, "hidden")
    });
    world.post_until_accepted(&message).await;
    wait_update(&world, "hidden", "an update", is_verified).await;
    let alarm = wait_alarm(&world, "verification_strange").await.to_string();
    let log = world.worker().log();
    assert!(
        log.contains("queried the store about a purchase"),
        "the log is not what it should be"
    );
    let histories = system_tests::decoded::histories(&world).await;
    let history: String = histories
        .iter()
        .map(|(_, bytes)| String::from_utf8_lossy(bytes))
        .collect();
    assert!(
        history.contains("com.example.gold.month"),
        "the history is not what it should be"
    );
    let metrics = world.api.get("/metrics").await.body.to_string();
    assert!(
        metrics.contains("settle_verifications_total{answer=\\\"verified\\\"} 1"),
        "{metrics}"
    );
    for (place, text) in [
        ("log", &log),
        ("history", &history),
        ("alarm", &alarm),
        ("metrics", &metrics),
    ] {
        for hidden in ["rvs/secret", "rvs%2Fsecret", customer, "verifyReceiptId"] {
            let found = text.lines().find(|line| line.contains(hidden));
            assert!(found.is_none(), "{hidden} is in the {place}: {found:?}");
        }
    }
    world.finish().await;
}
