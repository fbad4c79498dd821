//! Device events queued for destinations: lists, checks, batches, and a destination's limits over purchases and devices
//! together.

use super::aging::MINUTE_MS;
use super::devices::{done, impression, lease, report, start, uuid};
use super::world::{World, new_destination, story};
use domain::DeviceId;
use serde_json::json;
use std::time::Duration;
use storage::{
    DeviceEventFilter, Idle, LeaseResult, Page, StreamPage, StreamResult, StreamStart,
    StreamStarted, StreamStatus, StreamVerdict, Verdict,
};

story! {
    async fn events_are_listed_with_their_deliveries(world: World) {
        let hook = world.destination("hook").await.id;
        let mut some = new_destination(&world.app, "some");
        some.common.events = vec!["device.impression".to_owned()];
        let some = world.store.new_destination(some).await.unwrap().id;
        world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        world.report(2, vec![report("a", 9, impression())]).await;
        let batch = world.streamed(hook).await;
        let seqs: Vec<i64> = batch.events.iter().map(|event| event.seq).collect();
        let retry = StreamVerdict::Retry { delay: Duration::from_secs(60), counts: true };
        let failed = StreamResult { error: Some("x".repeat(2_000)), ..done(seqs[2], retry) };
        let refused = StreamResult { error: Some("refused".to_owned()), ..done(seqs[1], StreamVerdict::Failed) };
        let results = vec![done(seqs[0], StreamVerdict::Delivered), refused, failed];
        world.store.finish_stream(&lease(hook, "run/1"), results, None).await.unwrap();

        let list = async |filter: DeviceEventFilter| {
            let page = world.store.device_events(filter, Page::default()).await.unwrap();
            page.items.into_iter().map(|one| (one.event.client_id, one.event.device_id)).collect::<Vec<_>>()
        };
        let named = |client_id: &str, number: u128| (client_id.to_owned(), DeviceId::new(uuid(number)));
        let all = DeviceEventFilter::default();
        assert_eq!(list(all.clone()).await, [named("a", 2), named("b", 1), named("a", 1)]);
        let status = |status| DeviceEventFilter { status: Some(status), ..all.clone() };
        assert_eq!(list(status(StreamStatus::Failed)).await, [named("b", 1)]);
        assert_eq!(list(status(StreamStatus::Delivered)).await, [named("a", 1)]);
        assert_eq!(list(status(StreamStatus::Pending)).await, [named("a", 2), named("b", 1)]);
        assert_eq!(list(status(StreamStatus::Skipped)).await, []);
        let of = |id| DeviceEventFilter { destination_id: Some(id), ..status(StreamStatus::Pending) };
        assert_eq!(list(of(hook)).await, [named("a", 2)]);
        assert_eq!(list(of(some)).await, [named("a", 2), named("b", 1)]);
        let to_some = DeviceEventFilter { destination_id: Some(some), ..all.clone() };
        assert_eq!(list(to_some).await.len(), 2);
        let device_id = Some(DeviceId::new(uuid(1)));
        let one = DeviceEventFilter { device_id, client_id: Some("b".to_owned()), ..all.clone() };
        assert_eq!(list(one.clone()).await, [named("b", 1)]);
        let impressions = DeviceEventFilter { event_type: Some("device.impression".to_owned()), ..all.clone() };
        assert_eq!(list(impressions).await.len(), 2);
        let two = Page { limit: 2, ..Page::default() };
        let cursor = world.store.device_events(all.clone(), two).await.unwrap().next_cursor;
        let rest = Page { cursor, ..Page::default() };
        assert_eq!(world.store.device_events(all.clone(), rest).await.unwrap().items.len(), 1);

        let found = world.store.device_events(one, Page::default()).await.unwrap().items.remove(0);
        let full = world.store.device_event(found.event.id).await.unwrap();
        assert_eq!((&full.event, &full.body["data"]["paywall"]), (&found, &json!("summer")));
        let to = |id| found.deliveries.iter().find(|one| one.destination_id == id).unwrap();
        let failed = to(hook);
        assert_eq!((failed.status, failed.attempts, failed.last_status), (StreamStatus::Failed, 1, Some(500)));
        assert_eq!((failed.latency_ms, failed.last_error.as_deref()), (Some(12), Some("refused")));
        assert!(failed.next_due_at.is_none() && failed.finished_at.is_some() && failed.tried_at.is_some());
        let pending = to(some);
        assert!(pending.next_due_at.is_some() && pending.tried_at.is_none() && pending.last_class.is_none());
        let failed = world.store.device_events(of(hook), Page::default()).await.unwrap().items.remove(0);
        let error = failed.deliveries.iter().find_map(|one| one.last_error.clone()).unwrap();
        assert_eq!(error.len(), 500, "an error is bounded");
        assert!(world.store.device_event(domain::EventId::new(uuid(99))).await.is_err());
        let explained = world.store.explain_device_event(found.event.id).await.unwrap();
        assert_eq!((explained.app_id, explained.addressees.len()), (world.app.id, 2));
    }
}

story! {
    async fn the_check_misses_what_should_have_been_queued(world: World) {
        let hook = world.destination("hook").await.id;
        world.age(2 * MINUTE_MS);
        world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        let batch = world.streamed(hook).await;
        world.record(hook, &[(batch.events[0].seq, StreamVerdict::Delivered)]).await;
        world.age(2 * MINUTE_MS);
        assert_eq!(world.broken(1000).await, []);
        let mut raw = world.raw();
        for (change, undo, rule) in [
            (
                "UPDATE device_deliveries SET finished_at = NULL WHERE status = 'delivered'",
                "UPDATE device_deliveries SET finished_at = 1 WHERE status = 'delivered'",
                "a_device_status_fits",
            ),
            (
                "UPDATE device_deliveries SET last_status = 500 WHERE status = 'delivered'",
                "UPDATE device_deliveries SET last_status = 200 WHERE status = 'delivered'",
                "a_delivered_device_event_was_answered",
            ),
        ] {
            raw.run(change);
            assert_eq!(world.broken(1000).await, [(rule, 1)]);
            raw.run(undo);
            assert_eq!(world.broken(1000).await, []);
        }
        raw.run("DELETE FROM device_deliveries WHERE status = 'pending'");
        for limit in [1000, 1] {
            assert_eq!(world.broken(limit).await, [("a_device_event_was_queued", 1)]);
        }
    }
}

story! {
    async fn a_batch_is_sent_whole_again(world: World) {
        let hook = world.destination("hook").await.id;
        for number in 1..=3 {
            world.report(number, vec![report("a", 0, start(number)), report("b", 5, impression())]).await;
        }
        let batch = world.streamed(hook).await;
        let seqs: Vec<i64> = batch.events.iter().map(|event| event.seq).collect();
        // The first event of the first device, and both events of the third.
        let members = vec![seqs[0], seqs[4], seqs[5]];
        let batch_id = Some(domain::DeliveryId::new(uuid(500)));
        let start = StreamStart { seqs: members.clone(), batch_id };
        let started = world.store.start_stream_request(&lease(hook, "run/1"), start.clone()).await.unwrap();
        assert_eq!(started, StreamStarted::In(Duration::ZERO));
        let lost = world.store.start_stream_request(&lease(hook, "run/2"), start).await.unwrap();
        assert_eq!(lost, StreamStarted::Lost);
        let retry = StreamVerdict::Retry { delay: Duration::ZERO, counts: true };
        world.record(hook, &members.iter().map(|seq| (*seq, retry)).collect::<Vec<_>>()).await;
        let again = world.streamed(hook).await;
        let in_batch = again.events.iter().filter(|event| event.batch_id == batch_id).map(|event| event.seq);
        assert_eq!(in_batch.collect::<Vec<_>>(), members);
        world.raw().run("UPDATE destinations SET state = 'open'");
        let probe = world.streamed(hook).await;
        assert_eq!(probe.events.iter().map(|event| event.seq).collect::<Vec<_>>(), members, "a probe has the batch");
    }
}

story! {
    async fn a_stream_leaves_half_of_the_concurrency_to_purchases(world: World) {
        let hook = world.destination("hook").await.id;
        world.alter(hook, |common| common.concurrency = 4).await;
        for number in 1..=8 {
            world.report(number, vec![report("a", 0, start(number))]).await;
        }
        for number in 0..5 {
            world.revise(&format!("r{number}"), 1).await;
        }
        assert_eq!(world.streamed(hook).await.channels, 2, "half of the concurrency");
        let mut batches = Vec::new();
        for number in 0..2 {
            match world.lease(world.key(&format!("r{number}")), hook, "a").await {
                LeaseResult::Send(batch) => batches.push(batch),
                other => panic!("there is room for purchase {number}: {other:?}"),
            }
        }
        let third = world.lease(world.key("r2"), hook, "a").await;
        assert!(matches!(third, LeaseResult::Idle(Idle::Pending { .. })), "two and the stream's two are four: {third:?}");
        world.store.release_stream(&lease(hook, "run/1")).await.unwrap();
        for number in 2..4 {
            assert!(matches!(world.lease(world.key(&format!("r{number}")), hook, "a").await, LeaseResult::Send(_)));
        }
        assert!(matches!(world.page(hook, "run/1").await, StreamPage::Wait(_)), "purchases make all four");
        let fifth = world.lease(world.key("r4"), hook, "a").await;
        assert!(matches!(fifth, LeaseResult::Idle(Idle::Pending { .. })), "{fifth:?}");
    }
}

story! {
    async fn a_stream_waits_for_requests_above_a_lowered_concurrency(world: World) {
        let hook = world.destination("hook").await.id;
        world.alter(hook, |common| common.concurrency = 4).await;
        world.report(1, vec![report("a", 0, start(1))]).await;
        let mut sent = Vec::new();
        for number in 0..4 {
            let receipt = format!("r{number}");
            world.revise(&receipt, 1).await;
            sent.push(world.attempt(world.key(&receipt), hook, &receipt).await);
        }
        world.alter(hook, |common| common.concurrency = 2).await;
        // The first two occupy the remaining places.
        for sent in &sent[..2] {
            world.finish(sent, Verdict::Delivered).await;
        }
        assert!(matches!(world.page(hook, "run/1").await, StreamPage::Wait(_)), "two requests are still in flight");
        for sent in &sent[2..] {
            world.finish(sent, Verdict::Delivered).await;
        }
        assert_eq!(world.streamed(hook).await.channels, 1);
    }
}

story! {
    async fn a_stream_and_purchases_share_the_rate(world: World) {
        let hook = world.destination("hook").await.id;
        world.alter(hook, |common| common.rate = Some(1)).await;
        world.report(1, vec![report("a", 0, start(1))]).await;
        world.revise("r1", 1).await;
        world.streamed(hook).await;
        let mut waits = Vec::new();
        loop {
            match world.store.start_stream_request(&lease(hook, "run/1"), StreamStart::default()).await.unwrap() {
                StreamStarted::In(wait) => waits.push(wait.as_secs_f64().round()),
                StreamStarted::Later(_) => break,
                StreamStarted::Lost => panic!("the stream is held"),
            }
        }
        assert_eq!(waits, [0.0, 1.0, 2.0], "one a second, two seconds ahead at most");
        let leased = world.lease(world.key("r1"), hook, "a").await;
        assert!(matches!(leased, LeaseResult::Idle(Idle::Pending { .. })), "the purchase comes after them: {leased:?}");
    }
}
