//! The check: it finds nothing in data that settle wrote, and detects every change made by hand.

use super::aging::MINUTE_MS;
use super::sending::{RETRY, Sent, finish};
use super::world::{LEASE_MS, World, new_destination, new_platform, record, renewal, story};
use domain::{Decision, Outcome, RedeliverySelector, TransitionKind};
use storage::{
    Accepted, EndpointSignal, Filter, Handling, LeaseResult, Mode, NewNotification, Owner, Page,
    Run, SecretString, TopicRequest, Verdict,
};

/// Creates two destinations and purchases whose deliveries are delivered, superseded, failed and redelivered.
async fn live(world: &World) {
    let hook = world.destination("hook").await;
    let analytics = world.analytics("analytics").await;
    world.age(2 * MINUTE_MS);
    world.happen("r1", 1, &[TransitionKind::Purchased]).await;
    world
        .happen(
            "r1",
            2,
            &[TransitionKind::Cancelled, TransitionKind::Resumed],
        )
        .await;
    world.revise("r2", 1).await;
    for _ in 0..4 {
        world.send("r1", hook.id, Verdict::Delivered).await;
    }
    for _ in 0..2 {
        world.send("r1", analytics.id, Verdict::Delivered).await;
    }
    world.send("r2", hook.id, RETRY).await;
    world.pass(5_001);
    world.send("r2", hook.id, Verdict::Failed).await;
    let failed = RedeliverySelector::Failed.to(None);
    world
        .store
        .resend(failed, Page::default(), Run::Real)
        .await
        .unwrap();
    world
        .store
        .name_customer(
            world.app.id,
            Owner::AppUser("customer-1".to_owned()),
            "anna",
            None,
        )
        .await
        .unwrap();
    world.age(2 * MINUTE_MS);
}

/// Creates notifications with every outcome other than `settled`.
async fn otherwise(world: &World) {
    let (platform, key) = (world.platform.id, world.key("r3"));
    let mut outcomes = Vec::new();
    for (number, outcome) in [
        (1, Outcome::Settled),
        (2, Outcome::Unknown),
        (3, Outcome::Abandoned),
    ] {
        outcomes.push((
            world.notify(&format!("ended-{number}"), "r3", number).await,
            outcome,
        ));
    }
    let loaded = world.load(key).await;
    let mut nothing = record(key, &loaded);
    let purchase = loaded.purchase;
    nothing.decision = Decision {
        purchase,
        transitions: Vec::new(),
        outcomes,
        waits: None,
        wake: None,
        lag: None,
        refunds: Vec::new(),
        older: Vec::new(),
    };
    assert_eq!(world.done(nothing).await, 0, "nothing changed");
    world.notify("discarded", "r3", 4).await;
    world
        .store
        .discard(key, None, "ann", "a test")
        .await
        .unwrap();
    world.notify("open", "r3", 5).await;
    let duplicate = world.accept(renewal(platform, "duplicate", "r3", 5)).await;
    assert!(matches!(duplicate, Accepted::Duplicate { .. }));
    world.notify("successor", "r3", 6).await;
    let handling = Handling::Final(Outcome::Refused, "another app's".to_owned());
    world
        .accept(NewNotification {
            handling,
            ..renewal(platform, "refused", "r3", 7)
        })
        .await;
    let unreadable = NewNotification {
        collapse_key: None,
        store_time: None,
        ..renewal(platform, "unreadable", "", 8)
    };
    world.accept(unreadable).await;
    let (link, later) = (
        SecretString::from("https://arn:1"),
        world.store.now().await.unwrap().plus_millis(60_000),
    );
    world
        .store
        .add_pending_topic(TopicRequest::new(platform, "arn:1", link, later))
        .await
        .unwrap();
    let handling = Handling::WaitTopic(world.store.topics(platform).await.unwrap()[0].id);
    world
        .accept(NewNotification {
            handling,
            ..renewal(platform, "waiting", "r4", 9)
        })
        .await;
}

story! {
    async fn rows_of_the_store_break_no_rule(world: World) {
        assert_eq!(world.broken(1000).await, []);
        live(&world).await;
        otherwise(&world).await;
        for limit in [1000, 1] {
            assert_eq!(world.broken(limit).await, []);
        }
    }
}

/// The rule that detects a missing notification.
const ACCEPTED: &[&str] = &["accepted_is_stored"];

/// A table, a condition on its rows, and the rules that detect that these rows are missing.
const DELETIONS: &[(&str, &str, &[&str])] = &[
    (
        "notifications",
        "message_id = 'r1-2'",
        &["coalesced_adds_up", "accepted_is_stored"],
    ),
    ("notifications", "outcome = 'settled'", ACCEPTED),
    ("notifications", "outcome = 'no_change'", ACCEPTED),
    ("notifications", "outcome = 'duplicate'", ACCEPTED),
    ("notifications", "outcome = 'refused'", ACCEPTED),
    ("notifications", "outcome = 'discarded'", ACCEPTED),
    (
        "notifications",
        "outcome = 'unknown' AND collapse_key IS NOT NULL",
        ACCEPTED,
    ),
    (
        "notifications",
        "outcome = 'unknown' AND collapse_key IS NULL",
        ACCEPTED,
    ),
    ("notifications", "outcome = 'given_up'", ACCEPTED),
    (
        "notifications",
        "outcome IS NULL AND message_id = 'open'",
        ACCEPTED,
    ),
    (
        "notifications",
        "outcome IS NULL AND message_id = 'successor'",
        ACCEPTED,
    ),
    (
        "notifications",
        "outcome IS NULL AND waiting_topic_id IS NOT NULL",
        ACCEPTED,
    ),
    ("notifications", "receipt_id = 'r3'", ACCEPTED),
    (
        "acceptances",
        "seq = (SELECT MAX(seq) FROM acceptances)",
        &["stored_was_accepted"],
    ),
    ("acceptances", "seq > 0", &["stored_was_accepted"]),
    (
        "purchases",
        "receipt_id = 'r2'",
        &["an_outcome_names_a_revision", "an_event_is_of_something"],
    ),
    (
        "events",
        "event_type = 'purchase.updated' AND revision = 2",
        &[
            "settled_was_announced",
            "revisions_were_announced",
            "a_delivery_has_its_event",
        ],
    ),
    (
        "events",
        "event_type = 'user.subscription.purchased'",
        &["user_revisions_were_announced", "a_delivery_has_its_event"],
    ),
    ("payments", "entry = 0", &["the_ledger_is_whole"]),
    (
        "users",
        "revision > 0",
        &["an_owner_exists", "a_user_event_names_its_user"],
    ),
    (
        "deliveries",
        "event_type = 'purchase.updated' AND status = 'delivered'",
        &[
            "an_event_was_queued",
            "superseded_by_a_newer",
            "acknowledged_was_delivered",
        ],
    ),
    (
        "deliveries",
        "status = 'failed'",
        &["redeliveries_are_numbered"],
    ),
    (
        "attempts",
        "class = 'success'",
        &["delivered_was_answered", "attempts_are_recorded"],
    ),
    (
        "lanes",
        "acked_revision IS NOT NULL",
        &["acknowledged_is_recorded"],
    ),
    ("leases", "place = 7", &["a_destination_has_its_places"]),
    (
        "user_lanes",
        "acked_revision IS NOT NULL",
        &["a_users_state_is_recorded"],
    ),
];

/// A query for the texts with which the check names missing notifications.
const GONE: &str = "SELECT 'notification ' || seq || ' of ' || COALESCE('purchase ' || collapse_key, 'no purchase') \
     AS value FROM gone";

story! {
    async fn a_row_deleted_by_hand_is_noticed(world: World) {
        live(&world).await;
        otherwise(&world).await;
        // Foreign keys are not checked, like in a change by hand.
        let unchecked = if world.is_postgres() { "SET session_replication_role = replica" } else { "PRAGMA foreign_keys = OFF" };
        let back = if world.is_postgres() { "OVERRIDING SYSTEM VALUE " } else { "" };
        for (table, which, expected) in DELETIONS {
            let mut raw = world.raw();
            raw.run(unchecked);
            raw.run(&format!("CREATE TABLE gone AS SELECT * FROM {table} WHERE {which}"));
            assert!(raw.number("SELECT COUNT(*) AS value FROM gone") > 0, "{table} {which}");
            raw.run(&format!("DELETE FROM {table} WHERE {which}"));
            let broken = world.check(3).await;
            for rule in *expected {
                let speaks = broken.iter().any(|one| one.name == *rule);
                assert!(speaks, "{table} {which}: {rule} is silent, and these are not: {broken:?}");
            }
            if *table == "notifications" {
                let accepted_rule = broken.iter().find(|one| one.name == ACCEPTED[0]).unwrap();
                assert_eq!(accepted_rule.violations, raw.number("SELECT COUNT(*) AS value FROM gone"), "{which}: {accepted_rule:?}");
                for text in raw.texts(GONE) {
                    assert!(accepted_rule.examples.contains(&text), "{which}: {text}: {accepted_rule:?}");
                }
            }
            raw.run(&format!("INSERT INTO {table} {back}SELECT * FROM gone; DROP TABLE gone"));
            assert_eq!(world.broken(1000).await, [], "{table} {which} is back");
        }
    }
}

story! {
    async fn rows_of_concurrent_processes_are_missed_when_deleted(world: World) {
        let (platform, second) = (world.platform.id, world.second_process().await);
        let crowd = |whose: &str, beside: i64| {
            let whose = whose.to_owned();
            // The other process accepts the same notification, in another message, as the second row.
            (0..700).flat_map(move |number| {
                let own = renewal(platform, &format!("{whose}-{number}"), &format!("{whose}-{}", number % 9), number);
                [own, renewal(platform, &format!("{whose}-same-{number}"), &format!("r{}", number % 3), number + beside)]
            }).collect::<Vec<_>>()
        };
        let (first, others) = tokio::join!(world.store.accept(crowd("a", 0)), second.accept(crowd("b", 300)));
        let accepted = [first.unwrap(), others.unwrap()].concat();
        let rows = accepted.iter().filter(|one| !matches!(one, Accepted::Repeated { .. })).count();
        let again = world.store.accept(crowd("a", 0)).await.unwrap();
        assert!(again.iter().all(|one| matches!(one, Accepted::Repeated { .. })));
        assert_eq!(world.broken(70).await, []);
        let mut raw = world.raw();
        assert_eq!(raw.number("SELECT COUNT(*) AS value FROM notifications"), i64::try_from(rows).unwrap());
        assert!(raw.number("SELECT COUNT(*) AS value FROM acceptances") < 400, "few rows for many notifications");
        raw.run("DELETE FROM notifications");
        assert_eq!(world.broken(70).await, [("accepted_is_stored", i64::try_from(rows).unwrap())]);
        raw.run("UPDATE acceptances SET notifications = 'x' WHERE seq = (SELECT MIN(seq) FROM acceptances)");
        let broken = world.check(1000).await;
        assert!(broken[0].examples[0].contains("cannot be read"), "{broken:?}");
    }
}

/// A change by hand, its reversal, and the rule that detects it.
const CHANGES: &[(&str, &str, &str)] = &[
    (
        "UPDATE notifications SET finished_at = NULL WHERE message_id = 'r1-1'",
        "UPDATE notifications SET finished_at = accepted_at WHERE message_id = 'r1-1'",
        "an_outcome_has_a_time",
    ),
    (
        "UPDATE notifications SET waiting_topic_id = 'nobody', outcome = NULL, finished_at = NULL WHERE message_id = 'r2-1'",
        "UPDATE notifications SET waiting_topic_id = NULL, outcome = 'settled', finished_at = 1 WHERE message_id = 'r2-1'",
        "a_topic_can_be_approved",
    ),
    (
        "UPDATE leases SET collapse_key = 'k' WHERE place < 2",
        "UPDATE leases SET collapse_key = NULL WHERE place < 2",
        "a_lane_has_one_lease",
    ),
    (
        "UPDATE lanes SET acked_revision = 1 WHERE acked_revision = 2",
        "UPDATE lanes SET acked_revision = 2 WHERE acked_revision = 1",
        "acknowledged_is_recorded",
    ),
    (
        "UPDATE lanes SET acked_revision = 7 WHERE acked_revision = 2",
        "UPDATE lanes SET acked_revision = 2 WHERE acked_revision = 7",
        "acknowledged_was_delivered",
    ),
    (
        "UPDATE deliveries SET finished_at = NULL WHERE status = 'failed'",
        "UPDATE deliveries SET finished_at = created_at WHERE status = 'failed'",
        "a_status_fits",
    ),
    (
        "UPDATE deliveries SET status = 'lost' WHERE status = 'pending'",
        "UPDATE deliveries SET status = 'pending' WHERE status = 'lost'",
        "a_status_fits",
    ),
    (
        "UPDATE deliveries SET last_error = NULL WHERE status = 'failed'",
        "UPDATE deliveries SET last_error = 'x' WHERE status = 'failed'",
        "an_end_has_a_reason",
    ),
    (
        "UPDATE deliveries SET body = 'x' WHERE status = 'failed'",
        "UPDATE deliveries SET body = NULL WHERE status = 'failed'",
        "an_end_frees_the_body",
    ),
    (
        "UPDATE purchases SET revision = revision + 1",
        "UPDATE purchases SET revision = revision - 1",
        "revisions_were_announced",
    ),
    (
        "UPDATE users SET revision = revision + 1",
        "UPDATE users SET revision = revision - 1",
        "user_revisions_were_announced",
    ),
];

story! {
    async fn a_value_changed_by_hand_is_noticed(world: World) {
        live(&world).await;
        for (change, undo, rule) in CHANGES {
            world.raw().run(change);
            let broken = world.broken(1000).await;
            assert!(broken.iter().any(|(name, _)| name == rule), "{change}: {rule} is silent, and not: {broken:?}");
            world.raw().run(undo);
            assert_eq!(world.broken(1000).await, [], "{change} is undone");
        }
    }
}

story! {
    async fn types_that_a_destination_did_not_choose_are_not_missed(world: World) {
        let mut new = new_destination(&world.app, "states");
        new.common.events = vec!["purchase.updated".to_owned()];
        let states = world.store.new_destination(new).await.unwrap();
        let other = world.store.new_platform(new_platform(&world.app, "ingress-2")).await.unwrap();
        world.age(2 * MINUTE_MS);
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.age(2 * MINUTE_MS);
        world.alter(states.id, move |common| common.events = vec!["*".to_owned()]).await;
        assert_eq!(world.broken(1000).await, [], "the destination had not chosen user.* then");
        world.age(2 * MINUTE_MS);
        world.happen("r1", 2, &[TransitionKind::Renewed]).await;
        let elsewhere = Filter { platforms: vec![other.id], environments: Vec::new() };
        world.age(2 * MINUTE_MS);
        assert_eq!(world.broken(1000).await, []);
        world.raw().run("DELETE FROM deliveries WHERE event_type = 'user.subscription.renewed'");
        assert_eq!(world.broken(1000).await, [("an_event_was_queued", 1)]);
        world.alter(states.id, move |common| common.filter = elsewhere.clone()).await;
        world.age(2 * MINUTE_MS);
        world.happen("r1", 3, &[TransitionKind::Renewed]).await;
        world.age(2 * MINUTE_MS);
        assert_eq!(world.broken(1000).await, [],
            "the filter excludes this platform, and earlier filters are not known");
    }
}

story! {
    async fn a_late_success_of_what_was_superseded_agrees(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let late = world.attempt(key, hook.id, "a").await;
        world.pass(LEASE_MS + 1);
        world.revise("r1", 2).await;
        let newer = world.attempt(key, hook.id, "b").await;
        let success = finish(&late, Verdict::Delivered);
        world.end(success).await;
        assert_eq!(world.store.delivery(late.delivery_id).await.unwrap().status, storage::DeliveryStatus::Superseded);
        assert_eq!(world.broken(1000).await, []);
        world.finish(&newer, Verdict::Failed).await;
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_destination_in_trouble_agrees(world: World) {
        let hook = world.destination("hook").await;
        let mut new = new_destination(&world.app, "operators");
        new.common.events = vec!["destination.*".to_owned()];
        world.store.new_destination(new).await.unwrap();
        world.age(2 * MINUTE_MS);
        for number in 0..12 {
            world.revise(&format!("r{number}"), 1).await;
        }
        for number in 0..12 {
            let sent = match world.lease(world.key(&format!("r{number}")), hook.id, "a").await {
                LeaseResult::Send(batch) => batch,
                _ => break,
            };
            let key = world.key(&format!("r{number}"));
            let sent = Sent {
                batch: sent, key, to: hook.id, token: "a".to_owned(), mode: Mode::Lane,
            };
            let mut failed = finish(&sent, Verdict::Failed);
            failed.result.endpoint_signal = EndpointSignal::Failure { pause: None };
            world.end(failed).await;
        }
        world.age(2 * MINUTE_MS);
        assert!(world.count("events WHERE event_type LIKE 'destination.%'") > 0);
        assert_eq!(world.broken(1000).await, []);
        world.store.delete_destination(hook.id).await.unwrap();
        assert_eq!(world.broken(1000).await, []);
    }
}
