//! An unreachable store: what is announced within and after the patience.

use super::{
    PURCHASED, RENEWED, bought, check_silence, explained, is_verified, updates, wait_alarm,
    wait_events, wait_update, wait_waiting, world,
};
use serde_json::json;
use std::time::Duration;
use system_tests::rvs::Reply;
use system_tests::wait;
use system_tests::world::SOON;

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
