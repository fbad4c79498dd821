//! Operators' events about a destination, and when settle disables a destination.

use super::sending::{HOUR_MS, PATIENCE, RETRY, finish, lease, rendering};
use super::world::{World, new_destination, story};
use domain::schemas;
use domain::time::{HOUR, duration};
use domain::{CollapseKey, DestinationId};
use serde_json::Value;
use storage::{
    DeliveryFilter, DestinationNeed, EndpointSignal, EventFilter, FinishResult, Idle, LaneState,
    Lease, LeaseResult, Mode, Page, Rendered, Verdict,
};

const LONG: Verdict = Verdict::Retry {
    delay: HOUR.saturating_mul(10),
};

/// Creates a destination that subscribes to these events.
pub async fn chooses(world: &World, name: &str, events: &[&str]) -> DestinationId {
    let mut new = new_destination(&world.app, name);
    new.common.events = events.iter().map(|&name| name.to_owned()).collect();
    world.store.new_destination(new).await.unwrap().id
}

/// Returns the collapse key of the events about a destination.
pub fn about(id: DestinationId) -> CollapseKey {
    CollapseKey::new(id.uuid())
}

/// Delivers the operators' events about `of` to the destination `to`, and returns their bodies, which must be valid.
async fn operator_events(world: &World, of: DestinationId, to: DestinationId) -> Vec<Value> {
    let mut bodies = Vec::new();
    while let LeaseResult::Send(batch) = world.lease(about(of), to, "w").await {
        let body: Value = serde_json::from_str(&batch.attempts[0].body).unwrap();
        let (.., schema) = schemas::all()
            .into_iter()
            .find(|(kind, ..)| body["event_type"] == *kind)
            .unwrap();
        assert!(jsonschema::is_valid(&schema, &body), "{body}");
        assert_eq!(
            (&body["destination"]["id"], &body["id"]),
            (
                &of.to_string().into(),
                &batch.attempts[0].event_id.to_string().into()
            )
        );
        bodies.push(body);
        let sent = super::sending::Sent {
            batch,
            key: about(of),
            to,
            token: "w".to_owned(),
            mode: Mode::Lane,
        };
        world.finish(&sent, Verdict::Delivered).await;
    }
    bodies
}

fn types(bodies: &[Value]) -> Vec<&str> {
    bodies
        .iter()
        .map(|body| body["event_type"].as_str().unwrap())
        .collect()
}

/// Fails a request about a new purchase, and returns the result.
pub async fn fails(world: &World, number: i64, to: DestinationId) -> FinishResult {
    let receipt = format!("r{number}");
    world.revise(&receipt, number + 1).await;
    let sent = world.attempt(world.key(&receipt), to, "f").await;
    world.end(finish(&sent, LONG)).await
}

story! {
    async fn other_destinations_get_the_opening_and_closing_of_a_breaker(world: World) {
        let hook = chooses(&world, "hook", &["*", "destination.*"]).await;
        let all = chooses(&world, "all", &["destination.*"]).await;
        let one = chooses(&world, "one", &["destination.recovered"]).await;
        let none = chooses(&world, "none", &["*"]).await;
        let elsewhere = world.store.new_app("Other").await.unwrap();
        world.store.new_destination(new_destination(&elsewhere, "elsewhere")).await.unwrap();
        for number in 0..9 {
            let result = fails(&world, number, hook).await;
            assert_eq!((result.queued_for, result.operator_events), (vec![], vec![]));
        }
        let opened = fails(&world, 9, hook).await;
        assert_eq!((opened.queued_for, opened.operator_events), (vec![all], vec!["destination.failing"]));
        world.pass(5);
        assert_eq!(world.store.destination_need(all, 9).await.unwrap(), DestinationNeed::Drain { keys: vec![about(hook)], concurrency: 32 });
        let bodies = operator_events(&world, hook, all).await;
        assert_eq!(types(&bodies), ["destination.failing"]);
        let body = &bodies[0];
        assert_eq!((&body["state"], &body["failures"], &body["pending"]), (&"open".into(), &10.into(), &10.into()));
        assert_eq!((&body["reason"], &body["destination"]["name"]), (&"the endpoint answered 500".into(), &"hook".into()));

        world.pass(30_000);
        let probe = world.attempt_as(Mode::Probe, world.key("r3"), hook, "p").await;
        let closed = world.end(finish(&probe, Verdict::Delivered)).await;
        let queued_for: std::collections::BTreeSet<_> = closed.queued_for.into_iter().collect();
        assert_eq!((queued_for, closed.operator_events), ([all, one].into(), vec!["destination.recovered"]));
        for to in [all, one] {
            let bodies = operator_events(&world, hook, to).await;
            assert_eq!((types(&bodies), &bodies[0]["state"]), (vec!["destination.recovered"], &"healthy".into()));
        }
        for to in [hook, none] {
            assert!(operator_events(&world, hook, to).await.is_empty(), "no destination gets events about itself, or what it did not choose");
        }
        let filter = EventFilter { collapse_key: Some(about(hook)), ..EventFilter::default() };
        assert_eq!(world.store.events(filter, Page::default()).await.unwrap().items.len(), 2);
    }
}

story! {
    async fn a_repeated_answer_makes_no_second_operator_event(world: World) {
        let hook = world.destination("hook").await.id;
        chooses(&world, "watcher", &["destination.*"]).await;
        world.revise("r1", 1).await;
        let sent = world.attempt(world.key("r1"), hook, "a").await;
        let mut gone = finish(&sent, LONG);
        gone.result.endpoint_signal = EndpointSignal::Gone { reason: "the endpoint is gone".to_owned() };
        let first = world.end(gone.clone()).await;
        assert_eq!((first.queued_for.len(), &first.operator_events[..]), (1, &["destination.disabled"][..]));
        let again = world.end(gone).await;
        assert_eq!((again.queued_for.len(), again.operator_events.len(), again.lane), (0, 0, first.lane));
    }
}

story! {
    async fn a_gone_endpoint_is_disabled_with_a_reason_for_operators(world: World) {
        let hook = world.destination("hook").await.id;
        let watcher = chooses(&world, "watcher", &["destination.disabled"]).await;
        world.revise("r1", 1).await;
        let sent = world.attempt(world.key("r1"), hook, "a").await;
        let mut gone = finish(&sent, LONG);
        gone.result.endpoint_signal = EndpointSignal::Gone { reason: "the endpoint is gone".to_owned() };
        gone.result.alarm = Some("ask the customer".to_owned());
        assert!(matches!(world.end(gone).await.lane, LaneState::Closed { .. }));
        let bodies = operator_events(&world, hook, watcher).await;
        assert_eq!((&bodies[0]["reason"], &bodies[0]["state"]), (&"the endpoint is gone".into(), &"disabled".into()));
        let alarms = world.store.alarms(Page::default()).await.unwrap().items;
        let mut alarms: Vec<_> = alarms.iter().map(|alarm| (alarm.kind.as_str(), alarm.detail.as_str())).collect();
        alarms.sort_unstable();
        let details = ["ask the customer", "it is disabled: the endpoint is gone"].map(|what| format!("hook ({hook}): {what}"));
        assert_eq!(alarms, details.each_ref().map(|detail| ("destination", detail.as_str())));
    }
}

story! {
    async fn failed_deliveries_raise_a_throttled_operator_event(world: World) {
        let hook = world.destination("hook").await.id;
        let watcher = chooses(&world, "watcher", &["destination.exhausted"]).await;
        for (number, expected) in [(1, 1), (2, 0), (3, 1)] {
            let receipt = format!("r{number}");
            world.revise(&receipt, number).await;
            let result = world.send(&receipt, hook, Verdict::Failed).await;
            assert_eq!((result.queued_for.len(), result.operator_events.len()), (expected, expected), "{number}");
            world.pass(301_000);
        }
        let bodies = operator_events(&world, hook, watcher).await;
        assert_eq!(types(&bodies), ["destination.exhausted"; 2]);
        assert_eq!(bodies[0]["reason"], "a delivery failed for the last time: the endpoint answered 500");
    }
}

story! {
    async fn unsendable_deliveries_raise_a_throttled_operator_event(world: World) {
        let hook = world.destination("hook").await.id;
        let watcher = chooses(&world, "watcher", &["destination.exhausted"]).await;
        let refuses = || rendering(|_| Rendered::Refuse { why: "the id is too short".to_owned() });
        for (number, is_sent) in [(1, true), (2, false), (3, true)] {
            let receipt = format!("r{number}");
            world.revise(&receipt, number).await;
            let lease = Lease { render: refuses(), ..lease(world.key(&receipt), hook, "a") };
            let leased = world.store.lease(lease.clone()).await.unwrap();
            match leased {
                LeaseResult::Undeliverable { events, queued_for } if is_sent => {
                    assert_eq!((events, queued_for), (vec!["destination.exhausted"], vec![watcher]));
                    assert!(matches!(world.store.lease(lease).await.unwrap(), LeaseResult::Idle(Idle::Closed { .. })));
                }
                LeaseResult::Idle(Idle::Closed { .. }) if !is_sent => {}
                other => panic!("{number}: {other:?}"),
            }
            world.pass(301_000);
        }
        let failed = DeliveryFilter { status: Some(storage::DeliveryStatus::Failed), ..Default::default() };
        assert_eq!(world.store.deliveries(failed, Page::default()).await.unwrap().items.len(), 3);
        let bodies = operator_events(&world, hook, watcher).await;
        assert_eq!(types(&bodies), ["destination.exhausted"; 2]);
        let reason = "a delivery cannot be sent: the id is too short";
        assert_eq!(bodies[0]["reason"], reason);
        let alarms = world.store.alarms(Page::default()).await.unwrap().items;
        assert_eq!((alarms[0].count, alarms[0].detail.clone()), (2, format!("hook ({hook}): {reason}")));
        assert_eq!(world.store.destination(hook).await.unwrap().state.as_str(), "healthy", "it is no fault of the destination");
    }
}

story! {
    async fn days_without_success_warn_and_then_disable(world: World) {
        let hook = world.destination("hook").await.id;
        let watcher = chooses(&world, "watcher", &["destination.failing", "destination.disabled"]).await;
        world.revise("r1", 1).await;
        world.send("r1", hook, Verdict::Delivered).await;
        let mut hours = 0;
        let mut at = async |hour: i64, number: i64| {
            world.pass((hour - hours) * HOUR_MS);
            hours = hour;
            world.happen("r2", number, &[domain::TransitionKind::Renewed]).await;
            let sent = world.attempt(world.key("r2"), hook, "a").await;
            world.end(finish(&sent, Verdict::Retry { delay: duration(HOUR_MS / 2) })).await
        };
        for (number, (hour, expected)) in (1..).zip([(1, 0), (59, 0), (61, 1), (62, 0), (85, 1), (109, 1), (110, 0)]) {
            let result = at(hour, number).await;
            assert_eq!((result.operator_events.len(), result.queued_for.len()), (expected, expected), "hour {hour}");
            assert!(matches!(result.lane, LaneState::More | LaneState::Wait { .. }), "hour {hour}: {result:?}");
        }
        let disabled = at(121, 8).await;
        assert_eq!(disabled.operator_events, ["destination.disabled"]);
        assert!(matches!(disabled.lane, LaneState::Closed { .. }));
        let shown = world.store.destination(hook).await.unwrap();
        assert_eq!((shown.enabled, shown.state.as_str()), (false, "disabled"));
        let bodies = operator_events(&world, hook, watcher).await;
        let reasons: Vec<_> = bodies.iter().map(|body| body["reason"].as_str().unwrap()).collect();
        for (reason, percent) in reasons.iter().zip(["50 %", "70 %", "90 %"]) {
            assert!(reason.contains(percent) && reason.contains("answered 500"), "{reason}");
        }
        assert!(reasons[3].starts_with("no request succeeded for 121 h"), "{reasons:?}");
        assert_eq!((shown.reason.as_deref(), PATIENCE), (Some(reasons[3]), HOUR * 120));

        world.pass(HOUR_MS);
        world.alter(hook, move |common| common.enabled = true).await;
        world.pass(HOUR_MS);
        let again = world.send("r2", hook, RETRY).await;
        assert_eq!(again.operator_events, [""; 0], "the time until it is disabled starts again");
        assert!(world.store.destination(hook).await.unwrap().enabled);
    }
}

story! {
    async fn a_bad_hour_after_long_silence_does_not_disable(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        world.send("r1", hook, Verdict::Delivered).await;
        world.pass(1_000 * HOUR_MS);
        world.revise("r2", 1).await;
        for hour in 0..=12 {
            let result = world.send("r2", hook, Verdict::Retry { delay: duration(HOUR_MS / 2) }).await;
            let is_disabled = !world.store.destination(hook).await.unwrap().enabled;
            assert_eq!(is_disabled, hour == 12, "hour {hour}");
            let operator_events = if hour == 12 { vec!["destination.disabled"] } else { vec!["destination.failing"; usize::from([6, 9, 11].contains(&hour))] };
            assert_eq!(result.operator_events, operator_events, "hour {hour}");
            world.pass(HOUR_MS);
        }
    }
}
