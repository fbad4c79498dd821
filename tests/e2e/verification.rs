//! Queries to RVS: settle announces what its answer shows; and what happens while it does not answer or refuses.

use domain::Environment;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::rvs::{self, Receipt, Reply};
use system_tests::sns::Rtn;
use system_tests::temporal::Memory;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;

const PURCHASED: &str = "SUBSCRIPTION_PURCHASED";
const RENEWED: &str = "SUBSCRIPTION_RENEWED";

/// A world with verification, which gives up waiting for the store after this time.
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

/// A receipt for the fake of RVS.
fn bought() -> Receipt {
    Receipt::subscription(api::clock::now().plus_millis(-3_600_000))
}

/// The received `purchase.updated` bodies of a receipt, in the order of arrival.
fn updates(world: &World, receipt_id: &str) -> Vec<Value> {
    world
        .receiver
        .about(&world.key(receipt_id).to_string())
        .into_iter()
        .map(|one| one.body)
        .collect()
}

/// Waits until the newest `purchase.updated` of a receipt is as wanted, and returns it.
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

/// The explanation of a message, as text.
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
async fn unknown_fields_are_accepted_and_a_broken_answer_is_retried() {
    let mut world = world("60s").await;
    let mut strange = bought();
    for (name, value) in [
        ("cancelReason", json!([])),
        ("promotions", json!("none")),
        ("term", json!(7)),
    ] {
        strange.fields[name] = value;
    }
    strange.fields["purchaseDate"] = json!(strange.fields["purchaseDate"].to_string());
    strange.fields["autoRenewing"] = json!("true");
    world.rvs().know("strange", strange);
    world
        .rvs()
        .answer_next(1, &Reply::Body("{\"receiptId\":".to_owned()));
    world.rvs().answer_next(
        1,
        &Reply::Body("{\"receiptId\":\"another\",\"productId\":\"x\"}".to_owned()),
    );
    world.send(PURCHASED, "strange").await;
    let update = wait_update(&world, "strange", "an update", is_verified).await;
    assert_eq!(update["data"]["is_auto_renewable"], true, "{update}");
    assert_eq!(world.rvs().about("strange").len(), 3);
    assert_eq!(
        updates(&world, "strange").len(),
        1,
        "nothing was announced before"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn within_patience_all_is_accepted_and_nothing_announced() {
    let mut world = world("10m").await;
    world.rvs().know("patient", bought());
    world.rvs().answer(Reply::Status(503));
    let first = world.send(PURCHASED, "patient").await;
    let status = world
        .wait_status("patient", "a verification", |status| {
            status["verification"].is_object()
        })
        .await;
    assert!(
        status["verification"]["why"]
            .as_str()
            .is_some_and(|why| why.contains("503")),
        "{status}"
    );
    assert!(
        status["verification"]["next_query_at"].is_string(),
        "{status}"
    );
    wait_waiting(&world, &first, "verification").await;
    let explained = explained(&world, &first).await;
    assert!(
        explained.contains("no response from Amazon since") && explained.contains(": HTTP 503"),
        "{explained}"
    );
    check_silence(&world, "patient").await;

    world
        .act("patient", "hold", &json!({ "reason": "a test" }))
        .await;
    world
        .wait_status("patient", "a hold", |status| {
            status["held_until"].is_string() && status["verification"].is_null()
        })
        .await;
    let queries = world.rvs().about("patient").len();
    wait::throughout(
        Duration::from_secs(4),
        "a hold stops the queries",
        async || {
            let now = world.rvs().about("patient").len();
            if now == queries {
                Ok(())
            } else {
                Err(format!("{now} queries, {queries} before"))
            }
        },
    )
    .await;
    world
        .act("patient", "release", &json!({ "reason": "a test" }))
        .await;
    world.rvs().wait_queries("patient", queries + 1, SOON).await;

    let second = world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "patient").await;
    world
        .rvs()
        .change("patient", &json!({ "autoRenewing": false }));
    world.rvs().answer_truly();
    world
        .act("patient", "flush", &json!({ "reason": "a test" }))
        .await;
    let update = wait_update(&world, "patient", "the end of waiting", is_verified).await;
    assert_eq!(
        (
            &update["attributes"]["revision"],
            &update["attributes"]["coalesced"]
        ),
        (&json!(1), &json!(2)),
        "{update}"
    );
    let key = world.key("patient");
    let explained = world
        .api
        .get(&format!("/v1/explain/purchases/{key}"))
        .await
        .ok()
        .to_string();
    assert!(
        explained.contains("revision 1: 2 notifications; settled on request by "),
        "{explained}"
    );
    for message_id in [first, second] {
        assert_eq!(
            world.wait_outcome(&message_id).await[0]["outcome"],
            "settled"
        );
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_or_refusing_service_is_waited_for_too() {
    let mut world = world("10m").await;
    world.rvs().know("hung", bought());
    world.rvs().answer(Reply::Hang);
    let message_id = world.send(PURCHASED, "hung").await;
    world.rvs().wait_queries("hung", 1, SOON).await;
    world
        .wait_status("hung", "a time-out", |status| {
            status["verification"]["why"]
                .as_str()
                .is_some_and(|why| why.contains("in time"))
        })
        .await;
    world.rvs_mut().refuse().await;
    world.rvs().answer_truly();
    world
        .wait_status("hung", "no connection", |status| {
            status["verification"]["why"]
                .as_str()
                .is_some_and(|why| why.contains("no connection"))
        })
        .await;
    let explained = explained(&world, &message_id).await;
    assert!(
        explained.contains(": no connection to 127.0.0.1 could be made"),
        "{explained}"
    );
    check_silence(&world, "hung").await;
    world.rvs_mut().accept().await;
    wait_update(&world, "hung", "an update", is_verified).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_patience_only_certain_facts_are_announced_unverified() {
    let mut world = world("2s").await;
    world.rvs().know("bought", bought());
    world.rvs().know("renewed", bought());
    world.rvs().answer(Reply::Status(500));
    let bought = world.send(PURCHASED, "bought").await;
    let renewed = world.send(RENEWED, "renewed").await;
    wait_update(&world, "renewed", "an unverified update", |update| {
        update["attributes"]["verified"] == false
    })
    .await;
    wait_events(&world, "renewed", &["user.subscription.renewed"]).await;
    assert_eq!(world.wait_outcome(&renewed).await[0]["outcome"], "settled");
    wait_waiting(&world, &bought, "verification").await;
    wait_alarm(&world, "verification_waits").await;
    check_silence(&world, "bought").await;

    world.rvs().answer_truly();
    for receipt_id in ["bought", "renewed"] {
        world
            .act(receipt_id, "flush", &json!({ "reason": "a test" }))
            .await;
    }
    wait_update(&world, "bought", "an update", is_verified).await;
    wait_events(&world, "bought", &["user.subscription.purchased"]).await;
    wait_events(&world, "renewed", &["user.subscription.renewed"]).await;
    assert_eq!(world.wait_outcome(&bought).await[0]["outcome"], "settled");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_receipt_waits_visibly_and_is_retried_on_request() {
    let mut world = world("60s").await;
    let message_id = world.send(PURCHASED, "unknown").await;
    wait_waiting(&world, &message_id, "parked").await;
    world.wait_asleep("unknown").await;
    let queries = world.rvs().about("unknown");
    assert_eq!(
        queries.iter().map(|query| query.status).collect::<Vec<_>>(),
        [Some(400)]
    );
    check_silence(&world, "unknown").await;
    world.rvs().know("unknown", bought());
    world
        .act("unknown", "flush", &json!({ "reason": "a test" }))
        .await;
    wait_update(&world, "unknown", "an update", is_verified).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_another_customer_waits_visibly() {
    let mut world = world("60s").await;
    world.rvs().know(
        "foreign",
        Receipt {
            app_user_id: "amzn1.account.ANOTHER".to_owned(),
            ..bought()
        },
    );
    let message_id = world.send(PURCHASED, "foreign").await;
    wait_waiting(&world, &message_id, "parked").await;
    assert_eq!(
        world
            .rvs()
            .about("foreign")
            .last()
            .and_then(|query| query.status),
        Some(497)
    );
    check_silence(&world, "foreign").await;
    world.rvs().know("foreign", bought());
    world
        .act("foreign", "flush", &json!({ "reason": "a test" }))
        .await;
    wait_update(&world, "foreign", "an update", is_verified).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_secret_is_used_once_and_the_right_one_verifies() {
    let mut world = world("60s").await;
    world.rvs().know("refused", bought());
    world.rvs().trust("another secret");
    world.send(PURCHASED, "refused").await;
    wait_update(&world, "refused", "an unverified update", |update| {
        update["attributes"]["verified"] == false
    })
    .await;
    let alarm = wait_alarm(&world, "secret_refused").await;
    assert_eq!(
        alarm["platform_id"],
        world.platform_id.to_string(),
        "{alarm}"
    );
    world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "refused").await;
    world.send(PURCHASED, "another").await;
    wait_update(&world, "refused", "the next update", |update| {
        update["attributes"]["revision"] == 2
    })
    .await;
    wait_update(&world, "another", "an update", |_| true).await;
    assert_eq!(
        world.rvs().all().len(),
        1,
        "it was queried again with a secret that was refused"
    );

    world.rvs().know("another", bought());
    world
        .rvs()
        .change("refused", &json!({ "autoRenewing": false }));
    world.rvs().trust(rvs::SECRET);
    let patch = json!({ "shared_secret": rvs::SECRET });
    let patched = world
        .api
        .call(
            Method::PATCH,
            &format!("/v1/platforms/{}", world.platform_id),
            &patch,
        )
        .await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    wait_update(&world, "refused", "a verified update", is_verified).await;
    wait_update(&world, "another", "a verified update", is_verified).await;
    wait_events(
        &world,
        "refused",
        &["user.subscription.purchased", "user.subscription.cancelled"],
    )
    .await;
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
async fn a_throttled_platform_rests_for_amazons_retry_after() {
    let mut world = world("10m").await;
    for receipt_id in ["one", "two"] {
        world.rvs().know(receipt_id, bought());
    }
    world.rvs().answer_next(1, &Reply::RetryAfter(5));
    world.send(PURCHASED, "one").await;
    let throttled = world.rvs().wait_queries("one", 1, SOON).await[0].began;
    let workflow = world.workflow("one");
    wait::until(
        SOON,
        "the end of the query that was throttled",
        async || {
            let count = world
                .temporal
                .count(&workflow, EventType::ActivityTaskCompleted)
                .await;
            if count > 0 {
                Ok(())
            } else {
                Err("it goes on".to_owned())
            }
        },
    )
    .await;
    world.send(PURCHASED, "two").await;
    let rested = world.rvs().wait_queries("two", 1, SOON).await[0].began - throttled;
    assert!(
        rested > Duration::from_millis(4_900),
        "queried again after {rested:?}"
    );
    for receipt_id in ["one", "two"] {
        wait_update(&world, receipt_id, "an update", is_verified).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_for_the_store_continues_in_a_new_run() {
    let temporal = vec!["limit.historyCount.suggestContinueAsNew=30".to_owned()];
    let setting = Setting {
        window_seconds: 1,
        rvs: true,
        memory: Memory::Volatile,
        temporal,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.rvs().know("long", bought());
    world.rvs().answer(Reply::Status(500));
    world.send(PURCHASED, "long").await;
    let workflow = world.workflow("long");
    wait::until(SOON, "a continued run", async || {
        if world.temporal.runs(&workflow).await.len() > 1 {
            return Ok(());
        }
        // Each flush queries once more. A run that is too busy for another signal is answered 503.
        let path = format!("/v1/purchases/{}/flush", world.key("long"));
        let answer = world.api.post(&path, &json!({ "reason": "a test" })).await;
        assert!([202, 503].contains(&answer.status), "{answer:?}");
        Err("one run".to_owned())
    })
    .await;
    let status = world
        .wait_status("long", "a verification", |status| {
            status["verification"].is_object()
        })
        .await;
    assert!(status["continued"].as_i64() > Some(0), "{status}");
    world.rvs().answer_truly();
    wait_update(&world, "long", "an update", is_verified).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_notifications_beyond_one_settling_cause_no_loop() {
    let mut world = world("60s").await;
    let first = world.send("SUBSCRIPTION_AUTO_RENEWAL_ON", "many").await;
    wait_waiting(&world, &first, "parked").await;
    // However long it takes to post them.
    world
        .act("many", "hold", &json!({ "reason": "a test" }))
        .await;
    world
        .wait_status("many", "a hold", |status| status["held_until"].is_string())
        .await;
    let before = world.rvs().about("many").len();
    for number in 1..=505 {
        let rtn = Rtn::new("SUBSCRIPTION_AUTO_RENEWAL_ON", "many").later(number);
        let message = world.sns.notification(&rtn);
        world.post_until_accepted(&message).await;
    }
    world
        .act("many", "release", &json!({ "reason": "a test" }))
        .await;
    wait::until(SOON, "a query", async || {
        let queries = world.rvs().about("many").len();
        if queries > before {
            Ok(())
        } else {
            Err(format!("{queries} queries"))
        }
    })
    .await;
    world.wait_asleep("many").await;
    let queries = world.rvs().about("many").len() - before;
    assert!((1..10).contains(&queries), "{queries} queries");
    world.rvs().know("many", bought());
    world
        .act("many", "flush", &json!({ "reason": "a test" }))
        .await;
    wait_update(&world, "many", "an update", is_verified).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_costs_one_timer_per_query() {
    let mut world = world("10m").await;
    world.rvs().know("cheap", bought());
    world.rvs().answer_next(2, &Reply::Status(500));
    world.send(PURCHASED, "cheap").await;
    wait_update(&world, "cheap", "an update", is_verified).await;
    world.wait_asleep("cheap").await;
    let timers = world
        .temporal
        .count(&world.workflow("cheap"), EventType::TimerStarted)
        .await;
    assert_eq!(timers, 3, "one for the window, two for the store");
    world.finish().await;
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
    let histories = super::secrets::histories(&world).await;
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
