//! Amplitude fails for days. Until shortly before the end of the seven days in which it ignores a repeated event, every
//! event is still sent and counted once; older events fail, and the reason is shown.

use super::settings::{patch, show};
use super::{Analysts, HOUR, KEY, MAX_SKIPS, MINUTE, deliveries, failed_events, text};
use domain::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use system_tests::amplitude::Fault;
use system_tests::subscription::Subscription;
use system_tests::wait;
use system_tests::world::SOON;

const PURCHASED: &str = "user.subscription.purchased";
const DAY: Duration = Duration::from_secs(86_400);
/// Time from the first attempt to the last possible one.
const LAST: Duration = Duration::from_secs((6 * 24 + 22) * 3600 + 50 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_nearly_seven_days_costs_nothing() {
    let mut own = Analysts::start("info", &["*"]).await;
    let began = own.now();
    begin_outage(&mut own).await;
    pass_days(&mut own, began, 6).await;
    skip_to(&mut own, began, 6 * DAY + 22 * HOUR).await;
    let tries = own.amplitude.requests();
    assert!(
        tries.iter().all(|exchange| exchange.status == Some(500)),
        "a request did not fail: {tries:?}"
    );
    assert_eq!(
        own.amplitude.events(KEY).len(),
        1,
        "the event that was taken before the first 500"
    );
    assert_eq!(deliveries(own.world(), &own.id, "pending").await.len(), 2);

    own.amplitude.answer_truly();
    skip_to(&mut own, began, LAST + MINUTE).await;
    own.drain(MINUTE).await;
    let passed = Duration::from_millis(own.now().millis_since(began).unsigned_abs());
    assert!(
        passed < 6 * DAY + 23 * HOUR,
        "what is counted was sent after {passed:?}"
    );
    assert_eq!(
        (own.same_events(KEY).await, own.newest_profiles(KEY)),
        (2, 2)
    );
    assert_eq!(
        own.amplitude.repeated(KEY),
        1,
        "the taken event was sent once more"
    );
    assert!(failed_events(own.world(), &own.id).await.is_empty());
    assert_eq!(show(&own, &own.id).await["state"], "healthy");
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_older_than_seven_days_fail_with_a_reason() {
    let mut own = Analysts::start("info", &["*"]).await;
    let began = own.now();
    let mut lost = begin_outage(&mut own).await;
    pass_days(&mut own, began, 3).await;
    own.name("amzn1.account.LATER", "later@shop").await;
    own.buy("later", "amzn1.account.LATER").await;
    pass_days(&mut own, began, 6).await;
    own.skip(23 * HOUR + 30 * MINUTE).await;
    wait_failed(&mut own, 2).await;
    for receipt_id in ["kept", "lost"] {
        check_failed(&own, receipt_id).await;
    }

    // The later event is still retried, until the destination is disabled after seven days without a success.
    skip_to(&mut own, began, 7 * DAY + 2 * HOUR).await;
    let disabled = own.world().wait_state(&own.id, "disabled").await;
    assert!(
        text(&disabled["reason"]).contains("no request succeeded"),
        "{disabled}"
    );
    own.amplitude.answer_truly();
    patch(&own, &own.id, &json!({ "enabled": true })).await;
    let again = json!({ "failed": true, "destination_id": own.id, "now": true, "reason": "Amplitude is back" });
    let answer = own.world().api.post("/v1/resends", &again).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    own.drain(MINUTE).await;
    let failed = failed_events(own.world(), &own.id).await;
    assert_eq!(
        own.same_events_but(KEY, &failed).await,
        2,
        "the taken event and the later one"
    );
    assert_eq!(own.newest_profiles_but(KEY, &failed), 1);

    // A user unknown to Amplitude gets an up-to-date profile with the next event.
    let notifications = lost.switch_off(own.now());
    own.happen(vec![(lost, notifications)]).await;
    own.drain(MINUTE).await;
    assert_eq!(
        failed_events(own.world(), &own.id).await,
        failed,
        "no other event failed, and failed ones stay failed"
    );
    assert_eq!(own.same_events_but(KEY, &failed).await, 3);
    assert_eq!(own.newest_profiles_but(KEY, &failed), 2);
    assert_eq!(
        own.amplitude.repeated(KEY),
        0,
        "an accepted event was never sent again"
    );
    own.finish().await;
}

/// Makes two customers buy while Amplitude answers 500 to every request, but keeps the first customer's event. Returns
/// the other customer's subscription.
async fn begin_outage(own: &mut Analysts) -> Subscription {
    own.amplitude.script([Fault::AnsweredWith(500)]);
    own.amplitude.answer(Fault::Status(500));
    own.name("amzn1.account.KEPT", "kept@shop").await;
    own.name("amzn1.account.LOST", "lost@shop").await;
    own.buy("kept", "amzn1.account.KEPT").await;
    own.amplitude.wait_counted(KEY, 1, SOON).await;
    let lost = own.buy("lost", "amzn1.account.LOST").await;
    wait::until(SOON, "a refusal of the other one", async || {
        let exchanges = own.amplitude.requests();
        let is_other = |event: &Value| event["user_id"] == "lost@shop";
        if exchanges
            .iter()
            .any(|one| one.events().iter().any(is_other))
        {
            Ok(())
        } else {
            Err(format!("{exchanges:?}"))
        }
    })
    .await;
    lost
}

/// Lets time pass until `days` days after the beginning, with at least one request per day.
async fn pass_days(own: &mut Analysts, began: Timestamp, days: u32) {
    let day_ms = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    let passed = u32::try_from(own.now().millis_since(began).div_euclid(day_ms)).unwrap_or(0);
    for day in passed + 1..=days {
        skip_to(own, began, day * DAY).await;
    }
}

/// Lets time pass until `time` after the beginning, and then until a request arrives.
async fn skip_to(own: &mut Analysts, began: Timestamp, time: Duration) {
    let passed = Duration::from_millis(own.now().millis_since(began).unsigned_abs());
    own.skip_to_a_request(time.saturating_sub(passed)).await;
}

/// Waits until `count` deliveries have failed. That needs no request; an open breaker probes one per half minute.
async fn wait_failed(own: &mut Analysts, count: usize) {
    for _ in 0..MAX_SKIPS {
        let have_failed = own.before_rest("more failed ones", async || {
            let failed = deliveries(own.world(), &own.id, "failed").await.len();
            if failed >= count {
                Ok(())
            } else {
                Err(format!("{failed} failed"))
            }
        });
        if have_failed.await {
            return;
        }
        own.skip(MINUTE / 2).await;
    }
    panic!("{count} have not failed after {MAX_SKIPS} half minutes");
}

/// Checks that the delivery of a purchase's event failed, that its last attempt made no request, and that the
/// explanation names the reason.
async fn check_failed(own: &Analysts, receipt_id: &str) {
    let delivery = own
        .world()
        .wait_delivery(&own.id, receipt_id, PURCHASED, "failed")
        .await;
    let listed: BTreeSet<_> = own
        .world()
        .api
        .all("/v1/deliveries?status=failed")
        .await
        .iter()
        .map(|one| text(&one["id"]))
        .collect();
    assert!(
        listed.contains(&text(&delivery["id"])),
        "{delivery} is not in {listed:?}"
    );
    assert!(
        text(&delivery["last_error"]).contains("counted twice"),
        "{delivery}"
    );
    let attempts = own
        .world()
        .api
        .all(&format!(
            "/v1/deliveries/{}/attempts",
            text(&delivery["id"])
        ))
        .await;
    let last = attempts
        .iter()
        .max_by_key(|one| one["number"].as_i64())
        .cloned()
        .unwrap_or_default();
    assert_eq!(
        (&last["class"], &last["status"]),
        (&json!("too_late"), &Value::Null),
        "{attempts:#?}"
    );
    let explanation = own
        .world()
        .api
        .get(&format!(
            "/v1/explain/purchases/{}",
            own.world().key(receipt_id)
        ))
        .await
        .ok()
        .to_string();
    let reason = "cannot be resent: the destination may have it and would no longer recognize it, so it might be \
                 counted twice";
    for part in ["failed at", reason] {
        assert!(explanation.contains(part), "{part} is not in {explanation}");
    }
    assert!(
        !explanation.contains("settle resend"),
        "what is refused is not advised: {explanation}"
    );
    let path = format!("/v1/explain/destinations/{}", own.id);
    let explanation = own.world().api.get(&path).await.ok().to_string();
    assert!(
        explanation.contains("none of which can be resent")
            && !explanation.contains("settle resend"),
        "{explanation}"
    );
}
