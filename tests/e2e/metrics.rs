//! `/metrics` after notifications were accepted, settled and delivered.

use api::metrics::{METRICS, Metric, MetricKind};
use serde_json::json;
use system_tests::receiver::Reply;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

#[tokio::test(flavor = "multi_thread")]
async fn every_counter_of_the_path_is_on_the_metrics_page() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    let message = world
        .sns
        .notification(&Rtn::new("SUBSCRIPTION_PURCHASED", "counted"));
    world.post_until_accepted(&message).await;
    world.post_until_accepted(&message).await;
    let refused = world
        .post(
            &world
                .sns
                .message("arn:aws:sns:us-east-1:111122223333:foreign", "{}"),
        )
        .await;
    assert_eq!(refused.map(|answer| answer.status), Ok(403));
    world.wait_received("counted", 1).await;

    let wanted = [
        "settle_notifications_accepted_total 1",
        "settle_notifications_duplicate_total 1",
        "settle_notifications_refused_total{reason=",
        "settle_settling_lag_seconds_count 1",
        "settle_deliveries_total{outcome=\"delivered\"} 1",
        "settle_inbox_age_seconds 0",
        "settle_check_violations 0",
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
        format!("settle_destination_pending{{{of}}} 1"),
    ];
    wait_shown(&world, &disabled).await;
    world.receiver.answer(Reply::Status(200));
    let path = format!("/v1/destinations/{}/enable", world.destination_id);
    assert_eq!(world.api.post(&path, &json!({})).await.status, 202);
    world.wait_acked("gone", 1).await;
    let enabled = [
        format!("settle_destination_state{{{of},state=\"healthy\"}} 1"),
        format!("settle_destination_pending{{{of}}} 0"),
        format!("settle_destination_oldest_pending_seconds{{{of}}} 0"),
    ];
    wait_shown(&world, &enabled).await;
    check_page(&world).await;
    world.finish().await;
}

/// Checks that the page contains only metrics from the reference, with their types and meanings.
async fn check_page(world: &World) {
    let answer = world.api.try_get("/metrics").await.expect("the page");
    let page = answer.body.as_str().expect("a text");
    let mut count = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("# ")) {
        let (keyword, rest) = line.split_once(' ').expect("a keyword");
        let (name, rest) = rest.split_once(' ').expect("a name");
        let metric = METRICS
            .iter()
            .find(|metric| metric.name == name)
            .unwrap_or_else(|| panic!("{name} is unknown"));
        assert_eq!(
            rest,
            if keyword == "HELP" {
                metric.help
            } else {
                metric.kind.as_str()
            },
            "{name}"
        );
        count += 1;
    }
    assert!(count > 30, "{page}");
    for line in page
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let of = |metric: &&Metric| match metric.kind {
            MetricKind::Histogram => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.strip_suffix(end) == Some(metric.name)),
            MetricKind::Counter | MetricKind::Gauge => metric.name == name,
        };
        let metric = METRICS
            .iter()
            .find(of)
            .unwrap_or_else(|| panic!("{line} is unknown"));
        let labels = line
            .split_once('{')
            .map_or("", |(_, rest)| rest.split('}').next().unwrap_or_default());
        for label in labels
            .split("\",")
            .filter_map(|label| label.split('=').next())
            .filter(|label| !label.is_empty())
        {
            assert!(
                metric.labels.contains(&label) || label == "le",
                "{line}: {label} is unknown"
            );
        }
    }
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
