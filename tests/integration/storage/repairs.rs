//! Repairs of platforms: when they are due, that runs take turns and lose nothing, and what is accepted of their
//! findings.

use super::store_credentials::another_store;
use super::world::{REFUSAL, World, record, renewal, story};
use domain::period::Period;
use domain::time::{DAY, HOUR, MINUTE};
use domain::{CollapseKey, Notification, NotificationKind, PlatformId, Timestamp, VoidedPayment};
use serde_json::json;
use std::time::Duration;
use storage::{
    Accepted, DueRepair, FoundNotification, NewNotification, OrderPlace, PlatformChange,
    RepairKind, RepairLease, Store, StorePartChange, StoreTest,
};

const STORE: &str = "proof";
const OFFERED: [(&str, RepairKind); 2] = [(STORE, RepairKind::Voids), (STORE, RepairKind::Orders)];
const LEASE: Duration = MINUTE;
const DAY_MS: i64 = 86_400_000;

async fn due(store: &Store) -> Vec<DueRepair> {
    store.due_repairs(OFFERED.to_vec(), 10).await.unwrap()
}

async fn lease(store: &Store, platform_id: PlatformId, kind: RepairKind) -> Option<RepairLease> {
    let due = DueRepair { platform_id, kind };
    store.lease_repair(due, LEASE).await.unwrap()
}

/// Takes the repair of voids of this platform.
async fn voids(store: &Store, platform: PlatformId) -> RepairLease {
    let taken = lease(store, platform, RepairKind::Voids).await;
    taken.expect("a repair that is due")
}

/// Returns a finding about a purchase, and the order that it says was voided.
fn finding(platform: PlatformId, receipt_id: &str, order: &str) -> FoundNotification {
    let at = Timestamp::from_millis(1_700_000_000_000);
    let notification = Notification {
        message_id: format!("voided:{order}:1"),
        collapse_key: CollapseKey::of(platform, receipt_id),
        receipt_id: receipt_id.to_owned(),
        kind: NotificationKind::Unknown,
        store_type: "VOIDED".to_owned(),
        store_time: at,
        app_user_id: None,
        related_receipt_id: None,
        is_test: false,
        voided: Some(VoidedPayment {
            transaction_id: order.to_owned(),
            at,
            units: None,
        }),
        refunded: None,
    };
    notification.into()
}

/// Returns a message of the store's history.
fn past_message(platform: PlatformId, message_id: &str) -> FoundNotification {
    let notification = Notification {
        message_id: message_id.to_owned(),
        kind: NotificationKind::Renewed,
        store_type: "PAID".to_owned(),
        voided: None,
        ..finding(platform, "r1", "none").notification
    };
    FoundNotification {
        own: Some(json!({ "transaction": { "price": 4990 } })),
        ..notification.into()
    }
}

/// Adds a payment with this order to the ledger of a purchase.
fn pay(world: &World, receipt_id: &str, order: &str, micros: i64) {
    let (app, key) = (world.app.id, world.key(receipt_id));
    world.raw().run(&format!(
        "INSERT INTO payments (collapse_key, number, entry, app_id, environment, kind, event_id, occurred_at, source,
            created_at, store_transaction)
         VALUES ('{key}', {micros}, 0, '{app}', 'production', 'initial', 'event of {order}', {micros}, 'store', 1,
            '{order}')"
    ));
}

story! {
    async fn repairs_of_a_platform_are_due_at_once_then_by_their_waits(world: World) {
        assert!(world.store.due_repairs(Vec::new(), 10).await.unwrap().is_empty());
        assert!(due(&world.store).await.is_empty(), "no platform has that store");
        let platform = another_store(&world).await;
        let mut kinds: Vec<&str> = due(&world.store).await.iter().map(|one| one.kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["orders", "voids"]);
        let run = voids(&world.store, platform).await;
        assert_eq!((run.repaired_through, run.place.as_deref(), run.failures), (None, None, 0));
        assert_eq!(due(&world.store).await.len(), 1, "a run has the other one");
        assert!(world.store.finish_repair(&run, HOUR).await.unwrap());
        assert_eq!(due(&world.store).await.len(), 1);
        world.pass(3_600_000);
        assert_eq!(due(&world.store).await.len(), 2);
        let next = voids(&world.store, platform).await;
        assert!(next.repaired_through.is_some() && next.began_at > run.began_at);
    }
}

story! {
    async fn one_process_at_a_time_runs_a_repair(world: World) {
        let platform = another_store(&world).await;
        due(&world.store).await;
        let second = world.second_process().await;
        let both = tokio::join!(
            lease(&world.store, platform, RepairKind::Voids),
            lease(&second, platform, RepairKind::Voids)
        );
        assert!(both.0.is_some() != both.1.is_some(), "{both:?}");
    }
}

story! {
    async fn a_lost_run_is_followed_by_one_from_its_place(world: World) {
        let platform = another_store(&world).await;
        due(&world.store).await;
        let run = voids(&world.store, platform).await;
        assert!(world.store.advance_repair(&run, "page 2".to_owned(), LEASE).await.unwrap());
        // It stores what it found on the second page, and dies before it moves on.
        let found = || vec![finding(platform, "r1", "GPA.1")];
        assert_eq!(world.store.accept_repaired(platform, found()).await.unwrap().len(), 1);
        assert!(lease(&world.store, platform, RepairKind::Voids).await.is_none(), "it is not lost yet");
        world.pass(60_000);
        let next = voids(&world.store, platform).await;
        assert_eq!(next.place.as_deref(), Some("page 2"));
        assert_eq!(next.repaired_through, None, "the pass is not complete");
        let again = world.store.accept_repaired(platform, found()).await.unwrap();
        assert_eq!(again.len(), 1, "the open one, whose purchase may not have been signalled");
        let stored = "SELECT message_id AS value FROM notifications WHERE receipt_id = 'r1'";
        assert_eq!(world.raw().texts(stored), ["voided:GPA.1:1"]);
    }
}

story! {
    async fn a_run_that_another_one_replaced_moves_nothing(world: World) {
        let platform = another_store(&world).await;
        due(&world.store).await;
        let lost = voids(&world.store, platform).await;
        world.pass(60_000);
        let run = voids(&world.store, platform).await;
        assert!(!world.store.advance_repair(&lost, "old".to_owned(), LEASE).await.unwrap());
        assert!(!world.store.finish_repair(&lost, HOUR).await.unwrap());
        assert!(!world.store.postpone_repair(&lost, HOUR, "late").await.unwrap());
        assert!(!world.store.restart_repair(&lost, HOUR, "late").await.unwrap());
        assert!(world.store.advance_repair(&run, "new".to_owned(), LEASE).await.unwrap());
    }
}

story! {
    async fn a_failed_repair_waits_and_keeps_its_place(world: World) {
        let platform = another_store(&world).await;
        due(&world.store).await;
        let mut run = voids(&world.store, platform).await;
        run.place = Some("page 2".to_owned());
        assert!(world.store.release_repair(&run).await.unwrap());
        let second = voids(&world.store, platform).await;
        assert_eq!(second.place.as_deref(), Some("page 2"), "it is due at once");
        assert!(world.store.postpone_repair(&second, HOUR, "HTTP 503\0").await.unwrap());
        assert_eq!(due(&world.store).await.len(), 1, "the other kind is not held up");
        world.pass(3_600_000);
        let third = voids(&world.store, platform).await;
        assert_eq!((third.place.as_deref(), third.failures), (Some("page 2"), 1));
        assert!(world.store.restart_repair(&third, Duration::ZERO, "the page is gone").await.unwrap());
        let fourth = voids(&world.store, platform).await;
        assert_eq!((fourth.place.as_deref(), fourth.failures), (None, 2));
        assert!(fourth.began_at >= third.began_at);
        assert!(world.store.finish_repair(&fourth, HOUR).await.unwrap());
        world.pass(3_600_000);
        assert_eq!(voids(&world.store, platform).await.failures, 0);
    }
}

story! {
    async fn what_is_found_twice_is_accepted_once(world: World) {
        let platform = world.platform.id;
        // Two orders of a purchase, voided at once.
        let found = || vec![finding(platform, "r1", "GPA.1"), finding(platform, "r1", "GPA.1..0")];
        let open = world.store.accept_repaired(platform, found()).await.unwrap();
        assert_eq!(open.len(), 2);
        world.settle(world.key("r1")).await;
        assert!(world.store.accept_repaired(platform, found()).await.unwrap().is_empty());
        let outcomes = "SELECT outcome AS value FROM notifications WHERE receipt_id = 'r1' AND outcome = 'duplicate'";
        assert_eq!(world.raw().texts(outcomes), [""; 0]);
        assert!(world.store.accept_repaired(platform, Vec::new()).await.unwrap().is_empty());
    }
}

story! {
    async fn a_void_that_is_recorded_is_not_accepted_again(world: World) {
        let platform = world.platform.id;
        let (key, at) = (world.key("r1"), Timestamp::from_millis(1_700_000_000_000));
        world.accept(renewal(platform, "m1", "r1", 1000)).await;
        let mut settled = record(key, &world.load(key).await);
        let voided = Period { voided_at: Some(at.plus_millis(700)), ..Period::unread("GPA.1..0", at) };
        let mut purchase = json!(settled.decision.purchase);
        purchase["periods"] = json!([Period::unread("GPA.1", at), voided]);
        settled.decision.purchase = serde_json::from_value(purchase).unwrap();
        world.done(settled).await;
        let found = vec![finding(platform, "r1", "GPA.1..0")];
        assert!(world.store.accept_repaired(platform, found).await.unwrap().is_empty());
        let found = vec![finding(platform, "r1", "GPA.1"), finding(platform, "r1", "GPA.1..1")];
        assert_eq!(world.store.accept_repaired(platform, found).await.unwrap().len(), 2);
    }
}

story! {
    async fn a_message_of_the_history_is_the_one_that_is_pushed(world: World) {
        let platform = world.platform.id;
        let accept = async |message: &str| {
            let found = vec![past_message(platform, message)];
            world.store.accept_repaired(platform, found).await.unwrap().len()
        };
        // Two messages of one time are no duplicates of each other.
        assert_eq!((accept("m1").await, accept("m2").await), (1, 1));
        let pushed = past_message(platform, "m1").notification;
        let pushed = world.store.accept(vec![NewNotification::of(platform, pushed)]).await.unwrap();
        assert!(matches!(pushed[..], [Accepted::Repeated { open: Some(_) }]), "{pushed:?}");
        let stored = |column: &str| {
            let text = format!("SELECT {column} AS value FROM notifications WHERE receipt_id = 'r1' ORDER BY message_id");
            world.raw().texts(&text)
        };
        assert_eq!(stored("message_id"), ["m1", "m2"]);
        assert_eq!(stored("CAST(store_time AS TEXT)"), ["1700000000000000"; 2]);
        for body in stored("body") {
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["signed"]["transaction"]["price"], 4990, "{body}");
        }
        let loaded = world.load(world.key("r1")).await.notifications;
        assert_eq!(loaded.len(), 2, "what was signed changes nothing of what is reported");
        world.settle(world.key("r1")).await;
        assert_eq!(accept("m1").await, 0);
    }
}

story! {
    async fn the_history_is_due_at_once_after_new_credentials(world: World) {
        let platform = another_store(&world).await;
        let offered = || vec![(STORE, RepairKind::Notifications)];
        assert_eq!(world.store.due_repairs(offered(), 10).await.unwrap().len(), 1);
        let run = lease(&world.store, platform, RepairKind::Notifications).await.unwrap();
        assert!(world.store.finish_repair(&run, HOUR).await.unwrap());
        assert!(world.store.due_repairs(offered(), 10).await.unwrap().is_empty());
        world.store.try_access(platform).await.unwrap();
        assert!(world.store.setup_facts(platform, None).await.unwrap().is_query_requested);
        let requested = world.store.lease_requested_repair(platform, LEASE).await.unwrap();
        let requested = requested.expect("the list that shows whether the credentials are accepted");
        assert_eq!((requested.kind, requested.place.as_deref()), (RepairKind::Notifications, None));
        assert_eq!(requested.repaired_through, Some(run.began_at));
    }
}

story! {
    async fn a_test_is_due_once_after_each_request(world: World) {
        let platform = another_store(&world).await;
        let due = async || {
            let offered = vec![(STORE, RepairKind::Test)];
            world.store.due_repairs(offered, 10).await.unwrap().len()
        };
        let progress = async || world.store.setup_facts(platform, None).await.unwrap().store_test;
        let requested = async || world.store.lease_requested_repair(platform, LEASE).await.unwrap();
        assert_eq!((due().await, progress().await), (0, None));
        assert!(lease(&world.store, platform, RepairKind::Test).await.is_none());
        world.store.request_test(platform).await.unwrap();
        assert!(due().await == 1 && matches!(progress().await, Some(StoreTest::Open { .. })));
        let lost = requested().await.expect("a requested test");
        assert!(due().await == 0 && requested().await.is_none());
        world.pass(60_000);
        let run = lease(&world.store, platform, RepairKind::Test).await.expect("the run was lost");
        assert!(!world.store.finish_repair(&lost, Duration::ZERO).await.unwrap());
        assert!(world.store.finish_repair(&run, Duration::ZERO).await.unwrap());
        assert_eq!(progress().await, Some(StoreTest::Accepted { at: run.began_at }));
        world.pass(3 * DAY_MS);
        assert!(due().await == 0 && lease(&world.store, platform, RepairKind::Test).await.is_none());

        world.store.request_test(platform).await.unwrap();
        let earlier = requested().await.expect("another one");
        world.store.request_test(platform).await.unwrap();
        assert!(!world.store.restart_repair(&earlier, HOUR, "late").await.unwrap());
        let run = requested().await.expect("the last one");
        assert!(world.store.restart_repair(&run, HOUR, "no URL").await.unwrap());
        let failed = progress().await;
        assert!(matches!(&failed, Some(StoreTest::Failed { why, .. }) if why == "no URL"), "{failed:?}");
        world.pass(3 * DAY_MS);
        assert_eq!(due().await, 0, "a failure is not repeated");
    }
}

story! {
    async fn orders_are_read_in_time_order_page_by_page(world: World) {
        let (platform, now) = (world.platform.id, world.store.now().await.unwrap());
        let other = another_store(&world).await;
        world.revise("r1", 1).await;
        world.revise("r2", 1).await;
        let micros = |days: i64| now.plus_millis(-days * DAY_MS).micros();
        pay(&world, "r1", "GPA.1", micros(40));
        pay(&world, "r1", "GPA.1..0", micros(10));
        pay(&world, "r2", "GPA.2", micros(10));
        pay(&world, "r2", "GPA.2..0", micros(1));
        let range = now.minus(DAY * 20)..now;
        let (mut found, mut after) = (Vec::new(), OrderPlace::before(range.start));
        loop {
            let page = world.store.recorded_orders(platform, range.clone(), after.clone(), 1).await.unwrap();
            let Some(order) = page.first() else { break };
            // The place is stored as text.
            after = OrderPlace::after(order).to_string().parse().unwrap();
            assert!(!order.is_refunded);
            found.push((order.store_transaction.clone(), order.receipt_id.clone()));
        }
        found[..2].sort();
        let expected = [("GPA.1..0", "r1"), ("GPA.2", "r2"), ("GPA.2..0", "r2")];
        assert_eq!(found, expected.map(|(order, receipt)| (order.to_owned(), receipt.to_owned())));
        let of_other = world.store.recorded_orders(other, range.clone(), OrderPlace::before(range.start), 10);
        assert!(of_other.await.unwrap().is_empty());
    }
}

/// Returns whether each order of the last two days is refunded.
async fn are_refunded(world: &World) -> Vec<bool> {
    let now = world.store.now().await.unwrap();
    let (range, after) = (
        now.minus(DAY * 2)..now,
        OrderPlace::before(now.minus(DAY * 2)),
    );
    let orders = world
        .store
        .recorded_orders(world.platform.id, range, after, 10);
    orders
        .await
        .unwrap()
        .iter()
        .map(|order| order.is_refunded)
        .collect()
}

story! {
    async fn an_order_is_refunded_if_its_last_entry_is_all_of_it(world: World) {
        let now = world.store.now().await.unwrap();
        world.revise("r1", 1).await;
        pay(&world, "r1", "GPA.1", now.minus(DAY).micros());
        assert_eq!(are_refunded(&world).await, [false]);
        world.raw().run("UPDATE payments SET amount = '4.99' WHERE store_transaction = 'GPA.1'");
        let entry = |entry: i64, kind: &str, amount: &str| {
            world.raw().run(&format!(
                "INSERT INTO payments (collapse_key, number, entry, app_id, environment, kind, event_id, occurred_at,
                    source, created_at, amount)
                 SELECT collapse_key, number, {entry}, app_id, environment, '{kind}', 'entry {entry}', occurred_at,
                    source, created_at, '{amount}' FROM payments WHERE store_transaction = 'GPA.1' AND entry = 0"
            ));
        };
        entry(1, "refund", "-4.99");
        assert_eq!(are_refunded(&world).await, [true]);
        entry(2, "restored", "4.99");
        assert_eq!(are_refunded(&world).await, [false]);
        entry(3, "refund", "-1.50");
        assert_eq!(are_refunded(&world).await, [false], "a part, behind which the rest may follow");
    }
}

story! {
    async fn a_platform_without_usable_credentials_is_not_queried(world: World) {
        let platform = world.platform.id;
        world.set_secret(Some("one")).await;
        let query = world.store.platform_query(platform).await.unwrap().expect("it can be queried");
        assert_eq!((query.receipt_id.as_str(), query.app_user_id.as_deref()), ("", None));
        assert!(world.store.refuse_secret(&query, REFUSAL).await.unwrap());
        assert!(world.store.platform_query(platform).await.unwrap().is_none());
        world.set_secret(Some("two")).await;
        assert!(world.store.platform_query(platform).await.unwrap().is_some());
    }
}

story! {
    async fn new_credentials_begin_the_list_again_at_once(world: World) {
        let platform = another_store(&world).await;
        due(&world.store).await;
        let run = voids(&world.store, platform).await;
        assert!(world.store.advance_repair(&run, "page 2".to_owned(), LEASE).await.unwrap());
        let postponed = world.store.postpone_repair(&run, HOUR, "no usable credentials").await;
        assert!(postponed.unwrap() && due(&world.store).await.len() == 1);
        let failed = world.store.setup_facts(platform, None).await.unwrap();
        assert_eq!(failed.failure.as_deref(), Some("no usable credentials"));
        assert!(failed.failed_at.is_some() && failed.answered_at.is_none(), "{failed:?}");
        let change = PlatformChange {
            of_store: Some(StorePartChange {
                settings: serde_json::Map::new(),
                credentials: Some("another key".into()),
            }),
            ..PlatformChange::default()
        };
        world.store.update_platform(platform, change, |_| {}).await.unwrap();
        let again = voids(&world.store, platform).await;
        assert_eq!((again.place.as_deref(), again.failures), (None, 0));
        assert!(!world.store.finish_repair(&run, HOUR).await.unwrap(), "the earlier run is replaced");
        assert!(world.store.finish_repair(&again, HOUR).await.unwrap());
        let answered = world.store.setup_facts(platform, None).await.unwrap();
        assert_eq!((answered.failure, answered.answered_at), (None, Some(again.began_at)));
    }
}

story! {
    async fn a_deleted_platform_is_not_repaired(world: World) {
        let platform = another_store(&world).await;
        due(&world.store).await;
        let run = voids(&world.store, platform).await;
        world.store.delete_platform(platform).await.unwrap();
        assert!(due(&world.store).await.is_empty());
        assert!(world.store.postpone_repair(&run, HOUR, "no usable credentials").await.unwrap());
        world.pass(3_600_000);
        assert!(due(&world.store).await.is_empty());
    }
}
