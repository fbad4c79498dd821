//! The single alarm of a failing destination, and the displayed state of a destination.

use super::operator_events::fails;
use super::sending::{RETRY, finish, lease, rendering};
use super::world::{World, story};
use domain::DestinationId;
use storage::{AlarmFilter, EndpointSignal, Lease, Mode, Page, Rendered, Verdict};

const MINUTES_MS: i64 = 5 * 60_000;

/// Returns the alarms about failing destinations: how often each was raised, and why it was closed.
async fn alarms(world: &World) -> Vec<(i64, Option<String>)> {
    let mut all = world.store.alarms(Page::default()).await.unwrap().items;
    all.retain(|one| one.kind == "destination_failing");
    let open = all
        .iter()
        .filter(|one| one.acknowledged_at.is_none())
        .count();
    assert_eq!(
        all.iter().filter(|one| one.note.is_none()).count(),
        open,
        "{all:?}"
    );
    let mut found: Vec<_> = all.into_iter().map(|one| (one.count, one.note)).collect();
    found.sort();
    found
}

/// Returns the displayed state of a destination, after checking that it is the same everywhere.
async fn shown(world: &World, id: DestinationId) -> &'static str {
    let one = world.store.shown_state(id).await.unwrap();
    let listed = world
        .store
        .destinations(world.app.id, Page::default())
        .await
        .unwrap()
        .items;
    let overview = world.store.overview(None).await.unwrap().destinations;
    let in_list = listed.iter().find(|one| one.id == id).unwrap().shown_state;
    let in_overview = overview
        .iter()
        .find(|one| one.destination.id == id)
        .unwrap()
        .shown_state;
    let explained = world
        .store
        .explain_destination(id)
        .await
        .unwrap()
        .shown_state;
    assert_eq!([in_list, in_overview, explained], [one; 3]);
    one.as_str()
}

story! {
    async fn a_failing_destination_has_one_alarm_until_it_works(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        world.send("r1", hook, RETRY).await;
        assert_eq!(alarms(&world).await, [], "one failure needs nobody");
        for _ in 0..3 {
            world.pass(MINUTES_MS);
            world.send("r1", hook, RETRY).await;
            assert_eq!(alarms(&world).await, [(1, None)], "it is raised once");
        }
        let alarm = world.store.alarms(Page::default()).await.unwrap().items.remove(0);
        assert_eq!((alarm.destination_id, alarm.about.as_deref()), (Some(hook), Some("hook")));
        assert!(alarm.detail.contains(&format!("`settle explain destination {hook}`")), "{alarm:?}");
        world.pass(MINUTES_MS);
        world.send("r1", hook, Verdict::Delivered).await;
        assert_eq!(alarms(&world).await, [(1, Some("it works again".to_owned()))]);
        let filter = AlarmFilter { open: Some(true), ..AlarmFilter::default() };
        assert_eq!(world.store.alarms_of(filter, Page::default()).await.unwrap().items, []);
        world.revise("r1", 2).await;
        for expected in [(1, Some("it works again".to_owned())), (2, None)] {
            world.send("r1", hook, RETRY).await;
            assert_eq!(alarms(&world).await, [expected], "the same alarm is open again");
            world.pass(MINUTES_MS);
        }
    }
}

story! {
    async fn a_disabled_destination_has_no_second_open_alarm(world: World) {
        let hook = world.destination("hook").await.id;
        for number in 0..10 {
            fails(&world, number, hook).await;
        }
        assert_eq!(alarms(&world).await, [(1, None)], "the breaker is open");
        world.pass(30_000);
        let probe = world.attempt_as(Mode::Probe, world.key("r3"), hook, "p").await;
        let mut gone = finish(&probe, RETRY);
        gone.result.endpoint_signal = EndpointSignal::Gone { reason: "the endpoint is gone".to_owned() };
        world.end(gone).await;
        let filter = AlarmFilter { open: Some(true), ..AlarmFilter::default() };
        let open = world.store.alarms_of(filter, Page::default()).await.unwrap().items;
        let details: Vec<_> = open.iter().map(|one| one.detail.as_str()).collect();
        assert_eq!(details, [format!("hook ({hook}): it is disabled: the endpoint is gone")]);
        assert_eq!(alarms(&world).await.len(), 1);
    }
}

story! {
    async fn a_person_who_disables_or_deletes_closes_the_alarm(world: World) {
        let (hook, other) = (world.destination("hook").await.id, world.destination("other").await.id);
        for number in 0..10 {
            fails(&world, number, hook).await;
            world.send(&format!("r{number}"), other, RETRY).await;
        }
        assert_eq!(alarms(&world).await, [(1, None), (1, None)]);
        world.alter(hook, |common| common.enabled = false).await;
        world.store.delete_destination(other).await.unwrap();
        let closed = ["it was deleted", "it was disabled"].map(|why| (1, Some(why.to_owned())));
        assert_eq!(alarms(&world).await, closed);
        world.alter(hook, |common| common.enabled = true).await;
        assert_eq!(alarms(&world).await, closed, "it was closed already");
    }
}

story! {
    async fn a_destination_without_a_request_is_not_called_healthy(world: World) {
        let hook = world.destination("hook").await.id;
        assert_eq!(shown(&world, hook).await, "not_tried");
        world.revise("r1", 1).await;
        assert_eq!(shown(&world, hook).await, "not_tried", "it is pending");
        world.send("r1", hook, RETRY).await;
        assert_eq!(shown(&world, hook).await, "failing");
        world.pass(5_001);
        world.send("r1", hook, Verdict::Delivered).await;
        assert_eq!(shown(&world, hook).await, "healthy");
        world.alter(hook, |common| common.enabled = false).await;
        assert_eq!(shown(&world, hook).await, "disabled");
    }
}

story! {
    async fn a_destination_that_sends_nothing_for_a_day_skips_all(world: World) {
        let hook = world.destination("hook").await.id;
        let skip = async |receipt: &str| {
            world.revise(receipt, 1).await;
            let render = rendering(|_| Rendered::Skip { why: "the integration has no key".to_owned() });
            world.store.lease(Lease { render, ..lease(world.key(receipt), hook, receipt) }).await.unwrap();
        };
        skip("r1").await;
        assert_eq!(shown(&world, hook).await, "skips_everything");
        world.revise("r2", 1).await;
        assert_eq!(shown(&world, hook).await, "not_tried", "an event is pending");
        world.raw().run("UPDATE deliveries SET status = 'waiting' WHERE status = 'pending'");
        assert_eq!(shown(&world, hook).await, "not_tried", "an event waits for a login");
        world.raw().run("UPDATE deliveries SET status = 'failed' WHERE status = 'waiting'");
        assert_eq!(shown(&world, hook).await, "not_tried", "an event failed");
        let day_later = "UPDATE deliveries SET created_at = created_at - 90000000000;
             UPDATE health SET last_success_at = last_success_at - 90000000000";
        world.raw().run(day_later);
        assert_eq!(shown(&world, hook).await, "not_tried", "nothing happened for a day");
        world.revise("r3", 1).await;
        world.send("r3", hook, Verdict::Delivered).await;
        skip("r4").await;
        assert_eq!(shown(&world, hook).await, "healthy", "an event was delivered");
        world.raw().run(day_later);
        assert_eq!(shown(&world, hook).await, "healthy");
        skip("r5").await;
        assert_eq!(shown(&world, hook).await, "skips_everything");
    }
}
