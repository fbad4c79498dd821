//! The cost of waiting for the store.

use super::{PURCHASED, bought, is_verified, wait_update, wait_waiting, world};
use serde_json::json;
use std::time::Duration;
use system_tests::rvs::Reply;
use system_tests::sns::Rtn;
use system_tests::temporal::Memory;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;

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
        // Each flush causes one more query. A run that is too busy for another signal is answered 503.
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
    // The purchase is held, however long posting takes.
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
