//! Receipts and secrets that the store refuses.

use super::{
    PURCHASED, bought, check_silence, is_verified, wait_alarm, wait_events, wait_update,
    wait_waiting, world,
};
use reqwest::Method;
use serde_json::json;
use system_tests::rvs::{self, Receipt};

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
        "a refused secret is not used again"
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
