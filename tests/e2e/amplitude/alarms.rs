//! Answers that fail an attempt and may raise an alarm: the event is sent again, and counted once.

use super::chaos::classes;
use super::{Analysts, HOUR, KEY, text};
use domain::Timestamp;
use serde_json::{Value, json};
use system_tests::amplitude::Fault;
use system_tests::wait;
use system_tests::world::SOON;

/// Returns the details of the alarms about the integration.
pub async fn alarms(own: &Analysts) -> Vec<String> {
    let all = own.world().api.all("/v1/alarms").await;
    all.iter()
        .map(|one| text(&one["detail"]))
        .filter(|detail| detail.contains(&own.id))
        .collect()
}

/// Each of these answers is given to one attempt of one event.
pub async fn a_costly_failure_is_retried_and_raises_an_alarm(own: &mut Analysts) {
    let few = "Amplitude counted fewer events than a request held: they are sent again";
    for (name, fault, class, alarm) in [
        ("fewer", Fault::Fewer(1), "too_few", Some(few)),
        ("miscounted", Fault::Miscounted(1), "too_few", Some(few)),
        (
            "forbidden",
            Fault::Status(403),
            "forbidden",
            Some("Amplitude's firewall rejected the request"),
        ),
        ("odd", Fault::Status(400), "refused", None),
        ("project", Fault::ProjectThrottled, "throttled", None),
    ] {
        let (customer, external_id, before) = (
            format!("amzn1.account.{name}"),
            format!("{name}@shop"),
            raised(own).await,
        );
        own.name(&customer, &external_id).await;
        own.amplitude.script([fault]);
        own.buy(name, &customer).await;
        own.drain(HOUR).await;
        assert_eq!(
            classes(own, name).await,
            [vec![json!(class), json!("success")]],
            "{name}"
        );
        let events = own
            .amplitude
            .profile(KEY, &external_id)
            .expect("counted in the end")
            .events;
        assert_eq!(events.len(), 1, "{name}: {events:?}");
        let after = alarms(own).await;
        assert!(
            alarm.is_none_or(|expected_text| after
                .iter()
                .any(|detail| detail.contains(expected_text))),
            "{name}: {after:?}"
        );
        assert_eq!(
            raised(own).await - before,
            i64::from(alarm.is_some()),
            "{name}: {after:?}"
        );
    }
}

/// Returns how often the alarm about the integration was raised.
async fn raised(own: &Analysts) -> i64 {
    let all = own.world().api.all("/v1/alarms").await;
    let about = all
        .iter()
        .filter(|one| text(&one["detail"]).contains(&own.id));
    about.filter_map(|one| one["count"].as_i64()).sum()
}

/// A throttled project gets no request for half a minute, whichever user an event is about.
pub async fn a_throttled_project_is_left_alone(own: &mut Analysts) {
    own.amplitude.script([Fault::ProjectThrottled]);
    own.buy("throttled", "amzn1.account.THROTTLED").await;
    let until = wait::until(SOON, "a refusal", async || {
        let attempts = attempts(own, "throttled").await;
        let first = attempts
            .first()
            .filter(|first| first["class"] == "throttled");
        first
            .map(|first| time(&first["next_due_at"]))
            .ok_or_else(|| format!("{attempts:?}"))
    })
    .await;
    own.buy("beside", "amzn1.account.BESIDE").await;
    own.drain(HOUR).await;
    let attempts = attempts(own, "beside").await;
    assert!(
        time(&attempts[0]["started_at"]) >= until,
        "before {until}: {attempts:?}"
    );
}

/// Returns the attempts to send a receipt's purchase to the integration.
async fn attempts(own: &Analysts, receipt_id: &str) -> Vec<Value> {
    let all = own.world().deliveries(receipt_id).await;
    let Some(delivery) = all.iter().find(|one| one["destination_id"] == *own.id) else {
        return Vec::new();
    };
    own.world()
        .api
        .all(&format!(
            "/v1/deliveries/{}/attempts",
            text(&delivery["id"])
        ))
        .await
}

fn time(value: &Value) -> Timestamp {
    text(value).parse().expect("a time")
}
