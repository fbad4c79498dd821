//! The inbox: a repeated message writes nothing, and a duplicate notification is stored with the outcome `duplicate`.

use super::world::{WINDOW_MS, World, is_missing, renewal, story};
use domain::{Outcome, PlatformId};
use std::time::Duration;
use storage::{Accepted, Error, Handling, NewNotification, Page};

story! {
    async fn a_repeated_message_names_its_row_while_it_is_open(world: World) {
        let first = renewal(world.platform.id, "m1", "r1", 1);
        let began = world.store.now().await.unwrap();
        let seq = world.notify("m1", "r1", 1).await;
        world.pass(30_000);
        let Accepted::Repeated { open: Some(open) } = world.accept(first.clone()).await else { panic!("not open") };
        assert_eq!((open.seq, open.collapse_key, open.cap), (seq, world.key("r1"), None));
        world.check_left(open.quiet, WINDOW_MS - 30_000, began).await;
        world.settle(world.key("r1")).await;
        assert_eq!(world.accept(first).await, Accepted::Repeated { open: None });
    }
}

story! {
    async fn another_message_with_the_same_fact_is_a_duplicate(world: World) {
        world.notify("m1", "r1", 1).await;
        let again = renewal(world.platform.id, "m2", "r1", 1);
        let Accepted::Duplicate { .. } = world.accept(again.clone()).await else { panic!("not a duplicate") };
        assert_eq!(world.accept(again).await, Accepted::Repeated { open: None });
        let view = world.store.notifications_of("m2").await.unwrap().remove(0);
        assert_eq!(view.outcome, Some(Outcome::Duplicate));
        assert!(view.reason.unwrap().contains("m1"));
        assert_eq!(world.load(world.key("r1")).await.notifications.len(), 1);
    }
}

story! {
    async fn two_orders_of_a_purchase_at_once_are_no_duplicates(world: World) {
        let of = |message: &str, order: Option<&str>| NewNotification {
            order_id: order.map(str::to_owned),
            ..renewal(world.platform.id, message, "r1", 1)
        };
        let all = vec![
            of("m1", Some("GPA.1")),
            of("m2", Some("GPA.1..0")),
            of("m3", Some("GPA.1")),
            of("m4", None),
            of("m2", Some("GPA.1..0")),
        ];
        let accepted = world.store.accept(all).await.unwrap();
        let names: Vec<_> = accepted.iter().map(name).collect();
        assert_eq!(names, ["new", "new", "duplicate", "new", "repeated"]);
        assert_eq!(world.load(world.key("r1")).await.notifications.len(), 3);
    }
}

story! {
    async fn a_store_that_names_facts_decides_what_is_a_duplicate(world: World) {
        let of = |message: &str, at_ms: i64, fact: Option<&str>| NewNotification {
            duplicate_key: fact.map(str::to_owned),
            ..renewal(world.platform.id, message, "r1", at_ms)
        };
        let all = vec![
            of("m1", 1, Some("payment 1")),
            of("m2", 1, Some("payment 2")),
            of("m3", 2, Some("payment 1")),
            of("m4", 1, None),
            of("m5", 1, None),
            of("m1", 1, Some("payment 1")),
        ];
        let accepted = world.store.accept(all).await.unwrap();
        let names: Vec<_> = accepted.iter().map(name).collect();
        assert_eq!(names, ["new", "new", "duplicate", "new", "duplicate", "repeated"]);
        let of_other = NewNotification {
            duplicate_key: Some("payment 1".to_owned()),
            ..renewal(world.platform.id, "m6", "r2", 1)
        };
        assert_eq!(name(&world.accept(of_other).await), "new", "of another purchase");
    }
}

story! {
    async fn duplicates_within_one_call_are_folded(world: World) {
        let platform = world.platform.id;
        let all = vec![
            renewal(platform, "m1", "r1", 1),
            renewal(platform, "m1", "r1", 1),
            renewal(platform, "m2", "r1", 1),
            renewal(platform, "m1", "r2", 1),
            renewal(platform, "m3", "r1", 2),
        ];
        let accepted = world.store.accept(all).await.unwrap();
        let names: Vec<_> = accepted.iter().map(name).collect();
        assert_eq!(names, ["new", "repeated", "duplicate", "new", "new"]);
    }
}

story! {
    async fn more_rows_than_one_statement_holds_are_accepted_at_once(world: World) {
        let all: Vec<_> = (0..1300).map(|number| renewal(world.platform.id, &format!("m{number}"), "r1", number)).collect();
        let accepted = world.store.accept(all).await.unwrap();
        let seqs: Vec<_> = accepted.iter().map(|one| match one { Accepted::New { seq } => *seq, other => panic!("{other:?}") }).collect();
        let distinct: std::collections::BTreeSet<_> = seqs.iter().collect();
        assert_eq!(distinct.len(), 1300);
        let loaded = world.store.load(world.key("r1"), 0, 500).await.unwrap();
        assert_eq!((loaded.notifications.len(), loaded.more), (500, true));
        assert_eq!(Some(loaded.newest_seq), seqs.iter().max().copied());
    }
}

story! {
    async fn callers_at_the_same_time_agree_on_who_was_first(world: World) {
        let second = world.second_process().await;
        let mut tasks = Vec::new();
        for caller in 0..16 {
            let store = if caller % 2 == 0 { world.store.clone() } else { second.clone() };
            let platform = world.platform.id;
            tasks.push(tokio::spawn(async move {
                let mut accepted = Vec::new();
                for number in 0..20 {
                    accepted.extend(store.accept(crowd(platform, caller, number)).await.unwrap());
                }
                accepted
            }));
        }
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        let count = |wanted: &str| all.iter().filter(|one| name(one) == wanted).count();
        assert_eq!((count("new"), count("duplicate"), count("repeated")), (20 + 20, 20 * 15, 20 * 15));
        let mut raw = world.raw();
        assert_eq!(raw.number("SELECT COUNT(*) AS value FROM notifications WHERE outcome IS NULL"), 40);
        assert_eq!(raw.number("SELECT COUNT(*) AS value FROM notifications"), 40 + 20 * 15);
    }
}

story! {
    async fn concurrent_calls_in_opposite_order_do_not_deadlock(world: World) {
        let second = world.second_process().await;
        for round in 0..5 {
            let row = |number| renewal(world.platform.id, &format!("m{round}-{number}"), &format!("r{number}"), round);
            let upwards: Vec<_> = (0..300).map(row).collect();
            let downwards: Vec<_> = upwards.iter().rev().cloned().collect();
            let (up, down) = tokio::join!(world.store.accept(upwards), second.accept(downwards));
            let all: Vec<_> = up.unwrap().into_iter().chain(down.unwrap()).collect();
            assert_eq!(all.iter().filter(|one| name(one) == "new").count(), 300);
            assert_eq!(all.iter().filter(|one| name(one) == "repeated").count(), 300);
        }
    }
}

story! {
    async fn a_value_too_long_for_an_index_is_refused_by_its_field(world: World) {
        let endless = renewal(world.platform.id, "m1", &"r".repeat(1001), 1);
        let error = world.store.accept(vec![endless]).await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }) && error.to_string().contains("receipt_id"), "{error}");
    }
}

story! {
    async fn an_unstorable_notification_harms_no_other(world: World) {
        let good: Vec<_> = (0..20).map(|number| renewal(world.platform.id, &format!("g{number}"), "r1", number)).collect();
        let bad = renewal(PlatformId::new(world.app.id.uuid()), "bad", "r9", 1);
        let bad = tokio::spawn({ let store = world.store.clone(); async move { store.accept(vec![bad]).await } });
        let mut tasks = Vec::new();
        for one in good {
            let store = world.store.clone();
            tasks.push(tokio::spawn(async move { store.accept(vec![one]).await }));
        }
        for task in tasks {
            assert!(matches!(task.await.unwrap().unwrap()[..], [Accepted::New { .. }]));
        }
        assert!(is_missing(&bad.await.unwrap().unwrap_err()));
        assert_eq!(world.broken(1000).await, [], "notifications of a rolled-back batch are not accepted");
    }
}

story! {
    async fn a_notification_with_an_outcome_is_never_open(world: World) {
        let mut refused = renewal(world.platform.id, "m1", "r1", 1);
        refused.handling = Handling::Final(Outcome::Refused, "another app's".to_owned());
        let mut unreadable = renewal(world.platform.id, "m2", "", 1);
        (unreadable.collapse_key, unreadable.store_time) = (None, None);
        unreadable.body = "not \0 JSON".to_owned();
        world.store.accept(vec![refused, unreadable]).await.unwrap();
        assert_eq!(world.store.open_after(0, 10).await.unwrap(), []);
        assert_eq!(world.store.inbox_age().await.unwrap(), None);
        let view = world.store.notifications_of("m1").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.reason.as_deref()), (Some(Outcome::Refused), Some("another app's")));
        let view = world.store.notifications_of("m2").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.collapse_key), (Some(Outcome::Unknown), None));
        let genuine = renewal(world.platform.id, "m3", "r1", 1);
        assert!(matches!(world.accept(genuine).await, Accepted::New { .. }),
            "a refused row makes no later one a duplicate");
    }
}

story! {
    async fn an_open_row_holds_its_remaining_quiet_time(world: World) {
        let began = world.store.now().await.unwrap();
        let seq = world.notify("m1", "r1", 1).await;
        world.pass(20_000);
        let open = world.store.open_after(0, 10).await.unwrap();
        assert_eq!((open.len(), open[0].seq, open[0].collapse_key), (1, seq, world.key("r1")));
        world.check_left(open[0].quiet, WINDOW_MS - 20_000, began).await;
        assert!(world.store.inbox_age().await.unwrap().unwrap() >= Duration::from_secs(20));
        assert_eq!(world.store.open_after(seq, 10).await.unwrap(), []);
        let view = world.store.notifications_of("m1").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.waiting_for), (None, Some(storage::WaitingFor::Window)));
    }
}

story! {
    async fn the_newest_open_row_of_each_purchase_is_read_backwards(world: World) {
        world.set(|settings| settings.max_wait_ms = Some(150_000)).await;
        world.revise("held", 1).await;
        let until = world.store.now().await.unwrap().plus_millis(600_000);
        world.store.hold(world.key("held"), until, "ann", "a look").await.unwrap();
        world.notify("m1", "held", 5).await;
        world.notify("m2", "r1", 1).await;
        world.pass(60_000);
        let other = world.notify("m3", "r2", 1).await;
        let newest = world.notify("m4", "r1", 2).await;
        let open = world.store.newest_open_before(i64::MAX, 10).await.unwrap();
        assert_eq!(open.iter().map(|open| open.seq).collect::<Vec<_>>(), [newest, other]);
        let caps: Vec<i64> = open.iter().map(|open| open.cap.map_or(0, domain::time::millis)).collect();
        assert!(caps[0] <= 90_000 && caps[1] > 90_000, "the first notification of a window limits it: {caps:?}");
        assert!(open[0].quiet > Duration::from_secs(60), "the newest one restarts it: {open:?}");
        let [first] = world.store.newest_open_before(i64::MAX, 1).await.unwrap()[..] else { panic!("one row") };
        let rest = world.store.newest_open_before(first.seq, 10).await.unwrap();
        assert_eq!(rest.iter().map(|open| open.seq).collect::<Vec<_>>(), [other]);
    }
}

story! {
    async fn the_notifications_of_a_purchase_are_listed_newest_first(world: World) {
        for number in 0..5 {
            world.notify(&format!("m{number}"), "r1", number).await;
        }
        let key = world.key("r1");
        let first = world.store.notifications_of_purchase(key, Page { cursor: None, limit: 3 }).await.unwrap();
        assert_eq!(first.items[0].message_id, "m4");
        let rest = world.store.notifications_of_purchase(key, Page { cursor: first.next_cursor, limit: 3 }).await.unwrap();
        assert_eq!((rest.items.len(), rest.next_cursor), (2, None));
    }
}

story! {
    async fn alarms_are_stored(world: World) {
        world.store.alarm(Some(world.platform.id), "wrong_topic", "a topic that nobody knows").await.unwrap();
        world.store.alarm(None, "other", "x").await.unwrap();
        let alarms = world.store.alarms(Page::default()).await.unwrap().items;
        assert_eq!((alarms.len(), alarms[1].kind.as_str(), alarms[1].platform_id), (2, "wrong_topic", Some(world.platform.id)));
    }
}

story! {
    async fn the_same_alarm_again_is_counted_and_comes_first(world: World) {
        for _ in 0..3 {
            for detail in ["a", "b"] {
                world.store.alarm(Some(world.platform.id), "kind", detail).await.unwrap();
                world.store.alarm(None, "kind", detail).await.unwrap();
                world.pass(1);
            }
        }
        world.store.alarm(None, "kind", "a").await.unwrap();
        let mut seen = Vec::new();
        let mut page = Page { cursor: None, limit: 3 };
        loop {
            let part = world.store.alarms(page).await.unwrap();
            seen.extend(part.items);
            let Some(cursor) = part.next_cursor else { break };
            page = Page { cursor: Some(cursor), limit: 3 };
        }
        let counts: Vec<_> = seen.iter().map(|alarm| alarm.count).collect();
        assert_eq!(counts, [4, 3, 3, 3]);
        assert_eq!((seen[0].platform_id, seen[0].detail.as_str()), (None, "a"));
        assert!(seen[0].last_at > seen[0].at);
    }
}

story! {
    async fn a_receipts_purchases_are_found_before_they_are_settled(world: World) {
        world.notify("m1", "r1", 1).await;
        world.notify("m2", "r1", 2).await;
        assert_eq!(world.store.open_of_store_id("r1").await.unwrap(), [world.key("r1")]);
        world.settle(world.key("r1")).await;
        assert_eq!(world.store.open_of_store_id("r1").await.unwrap(), []);
    }
}

/// Returns a message that all callers send, and one of the caller's own with a notification that all callers send.
fn crowd(platform: PlatformId, caller: i64, number: i64) -> Vec<NewNotification> {
    vec![
        renewal(
            platform,
            &format!("shared-{number}"),
            &format!("shared-{number}"),
            number,
        ),
        renewal(
            platform,
            &format!("own-{caller}-{number}"),
            &format!("own-{number}"),
            number,
        ),
    ]
}

fn name(accepted: &Accepted) -> &'static str {
    match accepted {
        Accepted::New { .. } => "new",
        Accepted::Repeated { .. } => "repeated",
        Accepted::Waiting { .. } => "waiting",
        Accepted::Duplicate { .. } => "duplicate",
    }
}

story! {
    async fn an_immediate_notification_needs_no_quiet_on_reload(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1).await;
        assert!(!world.store.load(key, 0, 500).await.unwrap().quiet.is_zero());
        let mut row = renewal(world.platform.id, "m2", "r1", 2);
        row.handling = Handling::AtOnce;
        world.accept(row).await;
        assert!(world.store.load(key, 0, 500).await.unwrap().quiet.is_zero());
        world.notify("m3", "r1", 3).await;
        assert!(world.store.load(key, 0, 500).await.unwrap().quiet.is_zero(), "the other open notifications do not wait either");
    }
}
