//! Retention: finished work keeps no body; old bodies and attempts are removed unless they are still needed; the ledger
//! stays.

use super::aging::{DAY_MS, MINUTE_MS};
use super::sending::{lease, must_send, rendering};
use super::world::{LEASE_MS, World, renewal, story};
use domain::{Outcome, RedeliverySelector, TransitionKind};
use storage::{Handling, Lease, NewNotification, Page, Rendered, Run, Skipped, Verdict};

const NINETY_DAYS_MS: i64 = 90 * DAY_MS;

/// Prunes rows older than ninety days, at most `limit` of each table.
async fn prune(world: &World, limit: i64) -> usize {
    let now = world.store.now().await.unwrap();
    world
        .store
        .prune(now.plus_millis(-NINETY_DAYS_MS), limit)
        .await
        .unwrap()
}

/// Returns the number of rows in each table of the ledger.
fn rows(world: &World) -> Vec<i64> {
    [
        "notifications",
        "purchases",
        "events",
        "deliveries",
        "lanes",
    ]
    .map(|table| world.count(table))
    .to_vec()
}

story! {
    async fn old_bodies_go_and_the_ledger_stays(world: World) {
        let hook = world.destination("hook").await;
        world.age(2 * MINUTE_MS);
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.revise("r1", 2).await;
        for _ in 0..2 {
            world.send("r1", hook.id, Verdict::Delivered).await;
        }
        world.raw().run("UPDATE events SET state_apart = body");
        world.age(NINETY_DAYS_MS - MINUTE_MS);
        let before = rows(&world);
        assert_eq!(prune(&world, 1000).await, 0, "the bodies are not old enough");
        world.age(2 * MINUTE_MS);
        // Two events (the first state and the user's) and three deliveries, one of them superseded.
        assert_eq!(prune(&world, 1000).await, 2 + 3);
        assert_eq!(prune(&world, 1000).await, 0, "once");
        assert_eq!(rows(&world), before);
        assert_eq!(world.broken(1000).await, []);
        let events = world.store.events(Default::default(), Page::default()).await.unwrap().items;
        let [newest, oldest, user] = events.as_slice() else { panic!("{events:?}") };
        assert!(newest.body["data"].is_object(), "the newest state of a purchase is whole");
        assert_eq!(oldest.body["attributes"]["coalesced"], 1);
        assert!(oldest.body["data"].is_null() && user.body.as_object().is_some_and(serde_json::Map::is_empty));
        assert_eq!(world.count("attempts WHERE number > 0"), 0);
        assert_eq!(world.count("events WHERE state_apart IS NOT NULL"), 1,
            "the state beside a body is pruned with it");
        let announced = world.store.explain_purchase(world.key("r1")).await.unwrap().events;
        let pruned: Vec<bool> = announced.iter().map(|one| one.event.pruned_at.is_some()).collect();
        assert_eq!(pruned, [true, true, false]);
        assert!(announced.iter().all(|one| one.changes.is_none()), "what is left has nothing to be compared with: {announced:?}");
        let event = RedeliverySelector::Event(user.id).to(None);
        let again = world.store.resend(event, Page::default(), Run::Real).await.unwrap();
        assert_eq!((again.requeued.pending, again.requeued.skipped.get(&Skipped::Pruned)), (0, Some(&1)));
        // The latest state can always be redelivered; it can be pruned once a newer one is recorded.
        let purchase = RedeliverySelector::Purchase(world.key("r1"));
        let again = world.store.resend(purchase.to(None), Page::default(), Run::Real).await.unwrap();
        assert_eq!(again.requeued.pending, 1);
        let sent = world.attempt(world.key("r1"), hook.id, "again").await;
        assert!(sent.body.contains("\"data\""), "{}", sent.body);
        world.finish(&sent, Verdict::Delivered).await;
        world.revise("r1", 3).await;
        assert_eq!(prune(&world, 1000).await, 1, "the second state");
    }
}

/// Returns the number of rows of a table with a body or a trace.
fn left(world: &World, table: &str) -> i64 {
    world.count(&format!(
        "{table} WHERE (body IS NOT NULL AND body <> '{{}}') OR traceparent IS NOT NULL"
    ))
}

story! {
    async fn no_body_stays_after_the_end(world: World) {
        let hook = world.destination("hook").await;
        let platform = world.platform.id;
        world.notify("first", "r1", 1).await;
        assert_eq!(left(&world, "notifications"), 1);
        world.settle(world.key("r1")).await;
        world.accept(renewal(platform, "again", "r1", 1)).await;
        assert_eq!(left(&world, "notifications"), 0, "a duplicate has neither body nor trace");
        let handling = Handling::Final(Outcome::Refused, "another app's".to_owned());
        world.accept(NewNotification { handling, ..renewal(platform, "refused", "r1", 2) }).await;
        world.happen("r1", 3, &[TransitionKind::Renewed]).await;
        assert_eq!(left(&world, "notifications"), 1, "what was refused");
        for verdict in [Verdict::Failed, Verdict::Delivered] {
            let sent = world.attempt(world.key("r1"), hook.id, "a").await;
            assert_eq!(world.count("deliveries WHERE body IS NOT NULL"), 1, "frozen while it may be sent again");
            world.finish(&sent, verdict).await;
        }
        assert_eq!(left(&world, "deliveries"), 0, "delivered, failed and superseded");
        let failed = RedeliverySelector::Failed.to(None);
        world.store.resend(failed, Page::default(), Run::Real).await.unwrap();
        let again = world.attempt(world.key("r1"), hook.id, "b").await;
        assert!(again.traceparent.is_some(), "the trace of its event");
        world.finish(&again, Verdict::Delivered).await;
        assert_eq!(world.broken(1000).await, []);
        world.age(NINETY_DAYS_MS + MINUTE_MS);
        prune(&world, 1000).await;
        assert_eq!(world.count("notifications WHERE pruned_at IS NOT NULL"), 1, "what was refused");
    }
}

story! {
    async fn attempts_that_decide_something_stay(world: World) {
        let (hook, analytics) = (world.destination("hook").await, world.analytics("analytics").await);
        let key = world.key("r1");
        world.revise("r1", 1).await;
        let late = world.attempt(key, hook.id, "late").await;
        world.pass(LEASE_MS + 1);
        world.revise("r1", 2).await;
        let newer = world.attempt(key, hook.id, "newer").await;
        world.finish(&late, Verdict::Delivered).await;
        world.finish(&newer, Verdict::Failed).await;
        world.send("r1", analytics.id, Verdict::Failed).await;
        world.age(NINETY_DAYS_MS + MINUTE_MS);
        prune(&world, 1000).await;
        let of = |which: &str| world.count(&format!("attempts a JOIN deliveries d ON d.id = a.delivery_id WHERE {which}"));
        assert_eq!(of("a.class = 'success'"), 1, "the lane acknowledged the revision by it");
        assert_eq!(of(&format!("d.destination_id = '{}'", hook.id)), 1);
        assert_eq!(of(&format!("d.destination_id = '{}'", analytics.id)), 1, "it may have counted the event");
        assert_eq!(world.count("attempts WHERE response IS NOT NULL OR headers IS NOT NULL"), 0);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn what_waits_or_is_pending_keeps_its_body(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.happen("r1", 2, &[TransitionKind::Renewed]).await;
        let user_event = world.attempt(world.key("r1"), hook.id, "a").await;
        world.finish(&user_event, Verdict::Delivered).await;
        world.raw().run("UPDATE deliveries SET status = 'waiting', last_error = 'no name' \
                         WHERE event_type = 'user.subscription.renewed'");
        world.notify("open", "r2", 1).await;
        world.age(2 * NINETY_DAYS_MS);
        // The delivered event, the superseded state, and their deliveries.
        assert_eq!(prune(&world, 1000).await, 2 + 2);
        assert_eq!(world.count("notifications WHERE outcome IS NULL AND pruned_at IS NULL"), 1);
        assert_eq!(world.count("events WHERE pruned_at IS NOT NULL"), 2);
        let pending = "deliveries WHERE status IN ('pending', 'waiting') AND pruned_at IS NOT NULL";
        assert_eq!(world.count(pending), 0);
        // A pending body is sent unchanged, and pruned when its delivery is old.
        let state = world.attempt(world.key("r1"), hook.id, "b").await;
        assert_eq!((state.revision, state.body.contains("\"data\"")), (2, true));
        world.finish(&state, Verdict::Delivered).await;
        assert_eq!(prune(&world, 1000).await, 0, "the delivery has just ended");
        world.age(NINETY_DAYS_MS + MINUTE_MS);
        assert_eq!(prune(&world, 1000).await, 1, "its delivery, and not the newest state");
    }
}

story! {
    async fn a_state_keeps_its_body_while_its_events_are_pending(world: World) {
        let hook = world.destination("hook").await;
        let key = world.key("r1");
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.raw().run("UPDATE deliveries SET status = 'waiting', last_error = 'no name' \
                         WHERE event_type = 'user.subscription.purchased'");
        world.send("r1", hook.id, Verdict::Delivered).await;
        world.revise("r1", 2).await;
        world.send("r1", hook.id, Verdict::Delivered).await;
        world.age(2 * NINETY_DAYS_MS);
        prune(&world, 1000).await;
        assert_eq!(world.count("events WHERE pruned_at IS NOT NULL"), 0);
        world.raw().run("UPDATE deliveries SET status = 'pending', last_error = NULL WHERE status = 'waiting'");
        let render_guid = rendering(|unsent| Rendered::Body(unsent.data["purchase_guid"].to_string()));
        let sent = must_send(&world.store, Lease { render: render_guid, ..lease(key, hook.id, "late") }).await;
        assert_eq!((sent.revision, sent.body.as_str()), (1, "\"r1\""));
        world.finish(&sent, Verdict::Delivered).await;
        prune(&world, 1000).await;
        assert_eq!(world.count("events WHERE pruned_at IS NOT NULL"), 2, "the event, and the state of its revision");
    }
}

story! {
    async fn a_large_ledger_is_scanned_in_parts_and_repeatedly(world: World) {
        let hook = world.destination("hook").await;
        for number in 0..4 {
            world.revise("r1", number).await;
            world.send("r1", hook.id, Verdict::Delivered).await;
            world.age(MINUTE_MS);
        }
        world.age(NINETY_DAYS_MS);
        let mut pruned = Vec::new();
        for _ in 0..6 {
            pruned.push(prune(&world, 1).await);
        }
        assert_eq!(pruned.iter().sum::<usize>(), 3 + 4, "three states, four deliveries: {pruned:?}");
        assert!(pruned.iter().all(|count| *count <= 2), "one row of each table at a time: {pruned:?}");
        // The scan passed the fourth state while that was the newest; the next scan starts from the beginning and finds
        // it.
        world.revise("r1", 4).await;
        let mut later = 0;
        for _ in 0..12 {
            later += prune(&world, 1).await;
        }
        assert_eq!(later, 1);
    }
}

story! {
    async fn what_was_pruned_before_is_not_read_again(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        world.send("r1", hook.id, Verdict::Delivered).await;
        world.revise("r1", 2).await;
        world.send("r1", hook.id, Verdict::Delivered).await;
        world.age(NINETY_DAYS_MS + MINUTE_MS);
        // Each table has a hundred thousand older rows that were pruned long ago.
        let older = |table: &str, values: &str| format!(
            "INSERT INTO {table} WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers
             WHERE i < 100000) SELECT {values} FROM numbers"
        );
        let (platform, destination) = (world.platform.id, hook.id);
        let mut raw = world.raw();
        raw.run(&older(
            "notifications (seq, platform_id, message_id, receipt_id, store_type, body, accepted_at, due_at, outcome,
             finished_at, pruned_at)",
            &format!("-i, '{platform}', 'm' || i, 'r', 'T', '{{}}', 1, 1, 'settled', 1, 2"),
        ));
        raw.run(&older(
            "events (seq, id, collapse_key, app_id, event_type, revision, body, created_at, pruned_at)",
            "-i, 'e' || i, 'k', 'a', 'purchase.updated', 1, '{}', 1, 2",
        ));
        raw.run(&older(
            "deliveries (seq, id, destination_id, event_id, n, event_type, collapse_key, revision, status, attempts,
             next_due_at, created_at, finished_at, pruned_at)",
            &format!(
                "-i, 'd' || i, '{destination}', 'e' || i, 0, 'purchase.updated', 'k', 1, 'delivered', 1, 1, 1, 1, 2"
            ),
        ));
        // A walk over all of them would begin at this point.
        raw.run("INSERT INTO retention (id, through) VALUES (1, -100001)");
        assert_eq!(prune(&world, 1).await, 2, "one row of each table in the first call");
        assert_eq!(prune(&world, 1).await, 1, "the delivery of the newest state");
        assert_eq!(prune(&world, 1).await, 0);
    }
}
