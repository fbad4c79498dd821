//! A failing destination: its breaker, probes, pauses, and when it is disabled. Pending deliveries are never lost.

use super::sending::{HOUR_MS, RETRY, finish, lease};
use super::world::{World, story};
use domain::time::{DAY, HOUR, duration};
use domain::{CollapseKey, DestinationId};
use std::time::Duration;
use storage::{
    AlarmFilter, AttemptClass, DestinationChange, DestinationNeed, EndpointSignal, HealthView,
    Idle, LaneState, Lease, LeaseResult, Mode, Page, Verdict,
};

const LONG: Verdict = Verdict::Retry {
    delay: HOUR.saturating_mul(10),
};

/// Settles purchases `r0`, `r1`, … and fails one request for each except the last.
pub async fn all_fail(world: &World, to: DestinationId, purchases: usize) {
    for number in 0..purchases {
        world.revise(&format!("r{number}"), 1).await;
    }
    for number in 0..purchases - 1 {
        world.send(&format!("r{number}"), to, LONG).await;
    }
}

pub async fn state(world: &World, id: DestinationId) -> String {
    world
        .store
        .destination(id)
        .await
        .unwrap()
        .state
        .as_str()
        .to_owned()
}

pub async fn destination_need(world: &World, id: DestinationId) -> DestinationNeed {
    world.store.destination_need(id, 100).await.unwrap()
}

/// Returns the changeable columns of the deliveries and lanes of all purchases but this one.
fn rows_beside(world: &World, receipt: &str) -> Vec<String> {
    let all = |table: &str, columns: &[&str]| {
        let columns: Vec<String> = columns
            .iter()
            .map(|name| format!("COALESCE(CAST({name} AS TEXT), '-')"))
            .collect();
        let (columns, but) = (columns.join(" || ' ' || "), world.key(receipt));
        let rows = format!(
            "SELECT {columns} AS value FROM {table} WHERE collapse_key <> '{but}' ORDER BY 1"
        );
        world.raw().texts(&rows)
    };
    let deliveries = [
        "seq",
        "status",
        "attempts",
        "next_due_at",
        "tried_at",
        "body",
        "last_error",
        "finished_at",
    ];
    let lanes = [
        "collapse_key",
        "acked_revision",
        "nameless_device_id",
        "retry_after_until",
    ];
    [all("deliveries", &deliveries), all("lanes", &lanes)].concat()
}

/// Returns the purchases whose lanes are in back-off, page by page, and records each as cancelled.
async fn lanes_in_backoff(world: &World, id: DestinationId, limit: i64) -> Vec<Vec<CollapseKey>> {
    let mut pages = Vec::new();
    while let Some(page) = world.store.lanes_in_backoff(id, limit).await.unwrap() {
        let again = world.store.lanes_in_backoff(id, limit).await.unwrap();
        assert_eq!(
            again.as_ref(),
            Some(&page),
            "lanes that are not noted as cancelled are returned again"
        );
        world
            .store
            .backoff_cancelled(id, page.through)
            .await
            .unwrap();
        let mut keys = page.keys;
        keys.sort_unstable();
        pages.push(keys);
    }
    pages
}

/// Returns the purchases whose lanes are to be drained.
pub async fn drained(world: &World, id: DestinationId) -> Vec<CollapseKey> {
    match destination_need(world, id).await {
        DestinationNeed::Drain { mut keys, .. } => {
            keys.sort_unstable();
            keys
        }
        other => panic!("nothing to drain: {other:?}"),
    }
}

pub fn sorted(world: &World, receipts: &[&str]) -> Vec<CollapseKey> {
    let mut keys: Vec<_> = receipts.iter().map(|receipt| world.key(receipt)).collect();
    keys.sort_unstable();
    keys
}

story! {
    async fn ten_failures_of_different_purchases_open_the_breaker(world: World) {
        let hook = world.destination("hook").await;
        all_fail(&world, hook.id, 10).await;
        assert_eq!(state(&world, hook.id).await, "failing");
        world.revise("r10", 1).await;
        let others = rows_beside(&world, "r9");
        let tenth = world.send("r9", hook.id, LONG).await;
        assert_eq!(rows_beside(&world, "r9"), others, "it opens without a change of another purchase");
        assert!(matches!(tenth.lane, LaneState::Pending { last_seq } if last_seq > 0), "{tenth:?}");
        let shown = world.store.destination(hook.id).await.unwrap();
        assert_eq!((shown.state.as_str(), shown.reason.as_deref()), ("open", Some("the endpoint answered 500")));
        for (mode, receipt) in [(Mode::Lane, "r10"), (Mode::Drain, "r10"), (Mode::Lane, "r3")] {
            let leased = world.store.lease(Lease { mode, ..lease(world.key(receipt), hook.id, "c") }).await.unwrap();
            assert!(matches!(leased, LeaseResult::Idle(Idle::Pending { wait, last_seq: 1.. }) if (1..=30_000).contains(&wait.as_millis())), "{leased:?}");
        }
        let nothing = world.lease(world.key("unheard"), hook.id, "n").await;
        assert!(matches!(nothing, LeaseResult::Idle(Idle::Closed { last_seq: 0 })), "{nothing:?}");
        assert_eq!(world.store.lanes(world.key("r10")).await.unwrap().len(), 1, "it is pending, not erased");
        let HealthView { health, pending } = world.store.health(hook.id).await.unwrap();
        assert_eq!((health.failures, pending), (10, 11));
        assert_eq!(health.last_error.as_deref(), Some("the endpoint answered 500"));
        let alarms = world.store.alarms(Page::default()).await.unwrap().items;
        assert_eq!((alarms.len(), alarms[0].kind.as_str()), (1, "destination_failing"), "{alarms:?}");
        assert!(alarms[0].detail.contains("keep failing"), "{alarms:?}");
        let of_app = AlarmFilter { app_id: Some(world.app.id), ..AlarmFilter::default() };
        assert_eq!(world.store.alarms_of(of_app, Page::default()).await.unwrap().items, alarms);
        assert_eq!((alarms[0].destination_id, alarms[0].about.as_deref()), (Some(hook.id), Some("hook")));
    }
}

story! {
    async fn one_purchase_alone_never_opens_the_breaker(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        for _ in 0..25 {
            let left = world.send("r1", hook.id, RETRY).await.lane;
            assert!(matches!(left, LaneState::Wait { .. }), "{left:?}");
            world.pass(5_001);
        }
        assert_eq!(state(&world, hook.id).await, "failing");
        assert_eq!(world.store.health(hook.id).await.unwrap().health.failures, 1);
    }
}

story! {
    async fn a_failed_probe_of_the_newest_state_uses_no_step(world: World) {
        let hook = world.destination("hook").await;
        let began = world.store.now().await.unwrap();
        all_fail(&world, hook.id, 11).await;
        world.revise("r4", 2).await;
        let DestinationNeed::Probe { key, wait } = destination_need(&world, hook.id).await else { panic!("nothing to probe") };
        assert_eq!(key, world.key("r4"));
        world.check_left(wait, 30_000, began).await;
        world.pass(30_000);
        assert_eq!(destination_need(&world, hook.id).await, DestinationNeed::Probe { key, wait: Duration::ZERO });
        let began = world.store.now().await.unwrap();
        let probe = world.attempt_as(Mode::Probe, key, hook.id, "p1").await;
        assert_eq!((probe.revision, probe.number), (2, 1));
        // Like after the last step of the schedule.
        let left = world.finish(&probe, Verdict::Failed).await;
        assert!(matches!(left, LaneState::Pending { .. }), "{left:?}");
        let stored = world.store.delivery(probe.delivery_id).await.unwrap();
        assert_eq!((stored.status.as_str(), stored.attempts), ("pending", 1));
        let DestinationNeed::Probe { key: other, wait } = destination_need(&world, hook.id).await else { panic!("nothing to probe") };
        assert_ne!(other, key, "another lane is probed next");
        world.check_left(wait, 30_000, began).await;
        let again = world.attempt_as(Mode::Probe, key, hook.id, "p2").await;
        assert_eq!(again.number, 1, "a probe does not count as an attempt of the schedule");
        assert_eq!(world.count("attempts WHERE mode = 'probe' AND counts"), 0);
    }
}

story! {
    async fn a_probe_without_a_state_takes_what_happened_first(world: World) {
        let hook = world.destination("hook").await;
        world.alter(hook.id, move |common| common.events = vec!["user.*".to_owned()]).await;
        world.happen("r1", 1, &[domain::TransitionKind::Cancelled, domain::TransitionKind::Resumed]).await;
        let key = world.key("r1");
        let first = world.attempt(key, hook.id, "a").await;
        world.finish(&first, LONG).await;
        world.open_breakers();
        let probe = world.attempt_as(Mode::Probe, key, hook.id, "p").await;
        assert_eq!((probe.delivery_id, probe.types()), (first.delivery_id, vec!["user.subscription.cancelled"]));
    }
}

story! {
    async fn an_open_breaker_cancels_back_offs_once_per_probe(world: World) {
        let hook = world.destination("hook").await;
        for number in 0..10 {
            world.revise(&format!("r{number}"), 1).await;
        }
        for number in 0..9 {
            // Two requests are sent at the same time each; the back-off of `r3` ends soon.
            world.pass(number % 2);
            let wait = if number == 3 { RETRY } else { LONG };
            world.send(&format!("r{number}"), hook.id, wait).await;
        }
        assert_eq!(world.store.lanes_in_backoff(hook.id, 3).await.unwrap(), None, "the breaker is not open yet");
        world.send("r9", hook.id, LONG).await;
        let pages = lanes_in_backoff(&world, hook.id, 3).await;
        assert!(pages.len() > 1 && pages.iter().all(|page| page.len() <= 4), "{pages:?}");
        let mut all: Vec<CollapseKey> = pages.concat();
        all.sort_unstable();
        assert_eq!(all, sorted(&world, &["r0", "r1", "r2", "r4", "r5", "r6", "r7", "r8", "r9"]));
        world.pass(30_000);
        let DestinationNeed::Probe { key, wait: Duration::ZERO } = destination_need(&world, hook.id).await else { panic!("nothing to probe") };
        let probe = world.attempt_as(Mode::Probe, key, hook.id, "p").await;
        world.finish(&probe, LONG).await;
        assert_eq!(lanes_in_backoff(&world, hook.id, 3).await, [vec![key]], "only lanes that were attempted since");
    }
}

story! {
    async fn making_everything_due_cancels_back_offs(world: World) {
        let hook = world.destination("hook").await;
        all_fail(&world, hook.id, 3).await;
        assert_eq!(lanes_in_backoff(&world, hook.id, 9).await, Vec::<Vec<CollapseKey>>::new(),
            "lanes in back-off are not called back by themselves");
        world.pass(5);
        world.store.retry_now(hook.id).await.unwrap();
        assert_eq!(lanes_in_backoff(&world, hook.id, 9).await, [sorted(&world, &["r0", "r1"])]);
        assert_eq!(drained(&world, hook.id).await, sorted(&world, &["r0", "r1", "r2"]));
        world.pass(5);
        world.send("r0", hook.id, LONG).await;
        assert_eq!(lanes_in_backoff(&world, hook.id, 9).await, Vec::<Vec<CollapseKey>>::new(),
            "the lane failed after the back-offs were cancelled");
    }
}

story! {
    async fn the_sweep_cancels_back_offs_of_a_disabled_destination(world: World) {
        let hook = world.destination("hook").await;
        all_fail(&world, hook.id, 3).await;
        let late = async || world.store.late_destinations().await.unwrap().in_backoff;
        assert_eq!(late().await, []);
        world.alter(hook.id, move |common| common.enabled = false).await;
        assert_eq!(late().await, [hook.id]);
        assert_eq!(lanes_in_backoff(&world, hook.id, 9).await, [sorted(&world, &["r0", "r1"])]);
        assert_eq!(world.store.destination_need(hook.id, 9).await.unwrap(), DestinationNeed::Rest);
        assert_eq!(late().await, []);
    }
}

story! {
    async fn a_success_closes_the_breaker_and_makes_all_pending_due(world: World) {
        let hook = world.destination("hook").await;
        all_fail(&world, hook.id, 11).await;
        world.revise("r10", 2).await;
        world.pass(30_000);
        let probe = world.attempt_as(Mode::Probe, world.key("r10"), hook.id, "p").await;
        world.pass(5);
        assert!(matches!(world.finish(&probe, Verdict::Delivered).await, LaneState::Closed { .. }));
        let shown = world.store.destination(hook.id).await.unwrap();
        assert_eq!((shown.state.as_str(), shown.reason), ("healthy", None));
        let pending = sorted(&world, &["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"]);
        assert_eq!(drained(&world, hook.id).await, pending);
        let drain = world.attempt_as(Mode::Drain, pending[0], hook.id, "d").await;
        assert_eq!(drained(&world, hook.id).await.len(), 9, "a leased lane is not drained");
        assert!(matches!(world.finish(&drain, LONG).await, LaneState::Wait { .. }));
        assert_eq!(drained(&world, hook.id).await.len(), 9, "a lane that was attempted since keeps its back-off");
        let mine = world.attempt(pending[1], hook.id, "l").await;
        assert_eq!(mine.number, 2, "the purchase's own run finds it due too");
        for key in &pending[2..] {
            let drain = world.attempt_as(Mode::Drain, *key, hook.id, "d").await;
            world.finish(&drain, Verdict::Delivered).await;
        }
        assert_eq!(destination_need(&world, hook.id).await, DestinationNeed::Rest);
    }
}

story! {
    async fn retry_now_makes_everything_due_whatever_it_waits_for(world: World) {
        let (hook, other) = (world.destination("hook").await.id, world.destination("other").await.id);
        for receipt in ["r1", "r2", "r3"] {
            world.revise(receipt, 1).await;
        }
        for (receipt, to) in [("r1", hook), ("r2", hook), ("r1", other)] {
            let sent = world.attempt(world.key(receipt), to, receipt).await;
            world.finish(&sent, LONG).await;
        }
        world.raw().run("UPDATE deliveries SET next_due_at = next_due_at + 3600000000 WHERE tried_at IS NULL");
        let paused = world.store.now().await.unwrap().plus_millis(60_000).micros();
        world.raw().run(&format!("UPDATE health SET paused_until = {paused}"));
        assert!(matches!(destination_need(&world, hook).await, DestinationNeed::Pause { .. }));
        world.pass(5);
        world.store.retry_now(hook).await.unwrap();
        assert_eq!(drained(&world, hook).await, sorted(&world, &["r1", "r2"]),
            "a delivery that was never attempted keeps its due time");
        assert!(matches!(destination_need(&world, other).await, DestinationNeed::Pause { .. }),
            "another destination is not retried");
        world.pass(5);
        let again = world.attempt(world.key("r1"), hook, "again").await;
        assert_eq!(again.number, 2);
        assert!(matches!(world.finish(&again, LONG).await, LaneState::Wait { .. }));
        assert_eq!(drained(&world, hook).await, [world.key("r2")],
            "a lane that was attempted since has a back-off of its own");
        world.open_breakers();
        world.store.retry_now(hook).await.unwrap();
        assert!(matches!(destination_need(&world, hook).await, DestinationNeed::Probe { .. }), "an open breaker stays open");
    }
}

story! {
    async fn a_retry_that_fails_keeps_the_earlier_due_time(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        world.send("r1", hook, RETRY).await;
        world.pass(5);
        world.store.retry_now(hook).await.unwrap();
        world.pass(5);
        world.send("r1", hook, LONG).await;
        assert!(matches!(world.lease(world.key("r1"), hook, "early").await, LeaseResult::Idle(Idle::Wait { .. })));
        world.pass(5_001);
        assert_eq!(world.attempt(world.key("r1"), hook, "due").await.number, 2, "the retry used up no step");
    }
}

story! {
    async fn all_stays_pending_for_a_gone_destination_until_it_is_enabled(world: World) {
        let hook = world.destination("hook").await;
        all_fail(&world, hook.id, 3).await;
        let sent = world.attempt(world.key("r2"), hook.id, "a").await;
        let mut end = finish(&sent, LONG);
        (end.status, end.result.endpoint_signal) = (Some(410), EndpointSignal::Gone { reason: "the endpoint is gone".to_owned() });
        assert!(matches!(world.end(end).await.lane, LaneState::Closed { .. }));
        let shown = world.store.destination(hook.id).await.unwrap();
        assert_eq!((shown.enabled, shown.state.as_str()), (false, "disabled"));
        assert_eq!(shown.reason.as_deref(), Some("the endpoint is gone"));
        world.revise("r0", 2).await;
        for receipt in ["r0", "r1", "r2"] {
            assert!(matches!(world.lease(world.key(receipt), hook.id, "b").await, LeaseResult::Idle(Idle::Closed { last_seq: 1.. })));
        }
        assert_eq!(destination_need(&world, hook.id).await, DestinationNeed::Rest);
        assert_eq!(world.store.health(hook.id).await.unwrap().pending, 4);

        world.pass(1_000);
        let shown = world.alter(hook.id, move |common| common.enabled = true).await;
        assert_eq!((shown.enabled, shown.state.as_str(), shown.reason), (true, "healthy", None));
        assert_eq!(world.store.health(hook.id).await.unwrap().health.failures, 0);
        assert_eq!(drained(&world, hook.id).await, sorted(&world, &["r0", "r1", "r2"]), "enabling cancels back-offs");
        assert_eq!(world.attempt(world.key("r0"), hook.id, "c").await.revision, 2, "the newest state");
        assert_eq!(world.attempt(world.key("r1"), hook.id, "d").await.number, 2);
    }
}

story! {
    async fn the_sweep_restarts_the_lost_run_of_a_destination(world: World) {
        let hook = world.destination("hook").await;
        all_fail(&world, hook.id, 11).await;
        world.pass(46_000);
        let probe = world.attempt_as(Mode::Probe, world.key("r10"), hook.id, "p").await;
        let late = async || world.store.late_destinations().await.unwrap().destinations;
        assert_eq!(late().await, [hook.id], "an open breaker is probed although nothing is due for hours");
        world.pass(5);
        world.finish(&probe, Verdict::Delivered).await;
        assert_eq!(late().await, [], "after recovery the destination has time to be drained");
        world.pass(46_000);
        assert_eq!(late().await, [hook.id], "lanes that failed before the recovery are late");
        for number in 0..10 {
            world.send(&format!("r{number}"), hook.id, LONG).await;
        }
        world.raw().run("UPDATE health SET opened_at = NULL");
        world.pass(46_000);
        assert_eq!(late().await, []);
    }
}

story! {
    async fn a_stale_lease_does_not_affect_the_health_of_a_destination(world: World) {
        let hook = world.destination("hook").await;
        for receipt in ["r1", "r2", "r3", "r4"] {
            world.revise(receipt, 1).await;
        }
        let ends = async |receipt: &str, endpoint_signal: EndpointSignal| {
            let sent = world.attempt(world.key(receipt), hook.id, receipt).await;
            world.pass(5);
            (finish(&sent, LONG), endpoint_signal)
        };
        let gone = EndpointSignal::Gone { reason: "the endpoint is gone".to_owned() };
        let late = [ends("r1", gone.clone()).await, ends("r2", EndpointSignal::Failure { pause: Some(duration(60_000)) }).await];
        let change = DestinationChange { settings: Some(serde_json::json!({ "url": "https://b.example" })), ..Default::default() };
        world.store.update_destination(hook.id, change, |_| {}).await.unwrap();
        for (mut end, endpoint_signal) in late {
            end.result.endpoint_signal = endpoint_signal;
            world.end(end).await;
        }
        let health = world.store.health(hook.id).await.unwrap().health;
        assert_eq!((state(&world, hook.id).await.as_str(), health.failures, health.paused_until), ("healthy", 0, None));
        let (mut late, _) = ends("r3", gone.clone()).await;
        for enabled in [false, true] {
            world.alter(hook.id, move |common| common.enabled = enabled).await;
        }
        late.result.endpoint_signal = gone.clone();
        world.end(late).await;
        assert_eq!(state(&world, hook.id).await, "healthy", "a 410 from before the enabling does not disable");
        let (mut fresh, _) = ends("r4", gone.clone()).await;
        fresh.result.endpoint_signal = gone;
        world.end(fresh).await;
        assert_eq!(state(&world, hook.id).await, "disabled");
    }
}

story! {
    async fn retry_now_is_no_sign_of_health(world: World) {
        let hook = world.destination("hook").await;
        all_fail(&world, hook.id, 3).await;
        world.store.retry_now(hook.id).await.unwrap();
        assert_eq!(world.store.health(hook.id).await.unwrap().health.recovered_at, None);
        let day_ms = 24 * HOUR_MS;
        for _ in 0..6 {
            world.pass(day_ms);
            world.store.retry_now(hook.id).await.unwrap();
            world.pass(1);
            let sent = world.attempt(world.key("r0"), hook.id, "a").await;
            let mut end = finish(&sent, LONG);
            end.disable_after = DAY * 5;
            world.end(end).await;
            if state(&world, hook.id).await == "disabled" {
                return;
            }
        }
        panic!("it is never disabled while somebody retries it");
    }
}

story! {
    async fn what_is_refused_for_good_is_counted_and_nothing_else(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let answers = [
            (404, AttemptClass::Refused, true),
            (500, AttemptClass::ServerError, true),
            (403, AttemptClass::Forbidden, true),
            (408, AttemptClass::ClientError, true),
            (410, AttemptClass::Gone, true),
            (429, AttemptClass::Throttled, true),
            (400, AttemptClass::Refused, false),
            (499, AttemptClass::Refused, true),
        ];
        for (status, class, counts) in answers {
            let sent = world.attempt(key, hook.id, "a").await;
            let mut end = finish(&sent, RETRY);
            (end.status, end.result.events[0].class, end.result.events[0].counts) = (Some(status), class, counts);
            world.end(end).await;
            world.pass(5_001);
        }
        let probe = world.attempt_as(Mode::Probe, key, hook.id, "p").await;
        let mut end = finish(&probe, RETRY);
        (end.status, end.result.events[0].class) = (Some(404), AttemptClass::Refused);
        world.end(end).await;
        world.pass(5_001);
        let next = world.attempt(key, hook.id, "b").await;
        assert_eq!((next.refusals, next.number), (2, 8));
        let attempts = world.store.attempts(next.delivery_id).await.unwrap();
        assert_eq!(attempts.len(), 10);
    }
}
