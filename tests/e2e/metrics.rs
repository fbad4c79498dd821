//! `/metrics` after notifications were accepted, settled and delivered.

use serde_json::json;
use system_tests::receiver::Reply;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

#[tokio::test(flavor = "multi_thread")]
async fn every_counter_of_the_path_is_on_the_metrics_page() {
    let mut world = World::start(Setting { window_seconds: 1, ..Setting::default() }).await;
    let message = world.sns.notification(&Rtn::new("SUBSCRIPTION_PURCHASED", "counted"));
    world.post_until_accepted(&message).await;
    world.post_until_accepted(&message).await;
    let refused = world.post(&world.sns.message("arn:aws:sns:us-east-1:111122223333:foreign", "{}")).await;
    assert_eq!(refused.map(|answer| answer.status), Ok(403));
    world.wait_received("counted", 1).await;

    let wanted = [
        "settle_notifications_accepted_total 1",
        "settle_notifications_duplicate_total 1",
        "settle_notifications_refused_total{reason=",
        "settle_settling_lag_seconds_count 1",
        "settle_deliveries_total{outcome=\"delivered\"} 1",
        "settle_inbox_age_seconds 0",
        "settle_audit_violations 0",
        "settle_sweep_age_seconds ",
    ];
    wait_shown(&world, &wanted.map(str::to_owned)).await;

    world.receiver.answer(Reply::Status(410));
    world.send("SUBSCRIPTION_PURCHASED", "gone").await;
    let of = format!("destination=\"{}\"", world.destination_id);
    let disabled = [
        "# HELP settle_destination_events_total".to_owned(),
        format!("settle_destination_events_total{{{of},event=\"destination.disabled\"}} 1"),
        format!("settle_destination_state{{{of},state=\"disabled\"}} 1"),
        format!("settle_destination_owed{{{of}}} 1"),
    ];
    wait_shown(&world, &disabled).await;
    world.receiver.answer(Reply::Status(200));
    let path = format!("/v1/destinations/{}/enable", world.destination_id);
    assert_eq!(world.api.post(&path, &json!({})).await.status, 202);
    world.wait_acked("gone", 1).await;
    let enabled = [
        format!("settle_destination_state{{{of},state=\"healthy\"}} 1"),
        format!("settle_destination_owed{{{of}}} 0"),
        format!("settle_destination_oldest_owed_seconds{{{of}}} 0"),
    ];
    wait_shown(&world, &enabled).await;
    world.finish().await;
}

/// Waits until all these lines are on the page.
pub async fn wait_shown(world: &World, wanted: &[String]) {
    wait::until(SOON, "every count", async || {
        let answer = world.api.try_get("/metrics").await?;
        let text = answer.body.as_str().unwrap_or_default();
        match wanted.iter().find(|line| !text.contains(line.as_str())) {
            None => Ok(()),
            Some(missing) => Err(format!("`{missing}` is missing in\n{text}")),
        }
    })
    .await;
}
