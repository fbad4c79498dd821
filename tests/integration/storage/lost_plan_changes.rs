//! Changes of plan that involve two receipts and whose notification was lost: the receipts are linked by the store's
//! reason, the customer and the dates.

use super::world::{BEGINNING, Report, World, record, reported, story};
use domain::verification::{EndReason, Product};
use domain::{
    CollapseKey, NotificationKind, SettlingContext, Snapshot, State, Timestamp, Verification,
};
use storage::{Page, Record, Recorded};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const CHANGE_MS: i64 = 10 * DAY_MS;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_micros(BEGINNING).plus_millis(ms)
}

/// Returns a snapshot of a running subscription that began at this time.
fn running(sku: &str, began_ms: i64) -> Snapshot {
    Snapshot {
        product: Product::Subscription,
        term_sku: Some(sku.to_owned()),
        purchased_at: Some(at(began_ms)),
        renews_at: Some(at(began_ms + 60 * DAY_MS)),
        auto_renewing: Some(true),
        ..Snapshot::default()
    }
}

/// Returns the old receipt's snapshot after the change.
fn replaced() -> Snapshot {
    let closed = Snapshot {
        ends_at: Some(at(CHANGE_MS)),
        end_reason: Some(EndReason::Replaced),
        ..running("gold", 0)
    };
    Snapshot {
        renews_at: None,
        auto_renewing: Some(false),
        ..closed
    }
}

async fn accept(
    world: &World,
    receipt: &str,
    kind: NotificationKind,
    ms: i64,
    customer: &str,
    related: Option<&str>,
) {
    let report = Report {
        kind,
        customer: Some(customer),
        related,
    };
    let message = format!("{receipt}-{kind:?}-{ms}");
    world
        .accept(reported(
            world.platform.id,
            &message,
            receipt,
            at(ms).micros() / 1000,
            report,
        ))
        .await;
}

fn decided(
    world: &World,
    receipt: &str,
    shown: &Snapshot,
    loaded: &storage::Loaded,
    now_ms: i64,
) -> Record {
    let verification = Verification::Verified(Box::new(Snapshot {
        at: at(now_ms),
        ..shown.clone()
    }));
    let context = SettlingContext {
        policy: domain::StorePolicy::default(),
        verification: &verification,
        is_replaced: loaded.is_replaced,
        now: at(now_ms),
    };
    let decision = domain::decide(&loaded.purchase, &loaded.notifications, context);
    Record {
        decision,
        ..record(world.key(receipt), loaded)
    }
}

/// Settles a receipt with this snapshot at this time, and returns how often the record had to be repeated.
async fn settle(world: &World, receipt: &str, shown: &Snapshot, now_ms: i64) -> u32 {
    let mut moved = 0;
    loop {
        let loaded = world.load(world.key(receipt)).await;
        match world
            .store
            .record(decided(world, receipt, shown, &loaded, now_ms))
            .await
            .unwrap()
        {
            Recorded::Done { .. } => return moved,
            Recorded::Moved => moved += 1,
        }
        assert!(moved < 3, "the purchase changes again and again");
    }
}

/// Returns the recorded `user.*` events, each with its purchase, in order.
fn announced(world: &World) -> Vec<(String, String)> {
    let text = "SELECT collapse_key || ' ' || event_type AS value FROM events WHERE event_type LIKE 'user.%' ORDER BY seq";
    let names = [("old", world.key("old")), ("new", world.key("new"))];
    let name = |key: &str| {
        names
            .iter()
            .find(|(_, known)| known.to_string() == key)
            .map_or("other", |(name, _)| name)
    };
    let rows = world.raw().texts(text);
    rows.iter()
        .map(|row| {
            let (key, event) = row.split_once(' ').unwrap();
            (
                name(key).to_owned(),
                event.rsplit('.').next().unwrap().to_owned(),
            )
        })
        .collect()
}

fn events(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(of, what)| ((*of).to_owned(), (*what).to_owned()))
        .collect()
}

fn links(world: &World) -> Vec<String> {
    world
        .raw()
        .texts("SELECT old_key || ' ' || new_key AS value FROM replacements ORDER BY old_key")
}

async fn alarms(world: &World) -> Vec<(String, i64)> {
    let page = Page {
        cursor: None,
        limit: 9,
    };
    world
        .store
        .alarms(page)
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|alarm| (alarm.kind, alarm.count))
        .collect()
}

/// Settles the purchase of the old receipt and its end by a change of plan, while the new receipt is unknown.
async fn lose_the_change(world: &World) {
    accept(
        world,
        "old",
        NotificationKind::SubscriptionPurchased,
        0,
        "customer-1",
        None,
    )
    .await;
    settle(world, "old", &running("gold", 0), HOUR_MS).await;
    accept(
        world,
        "old",
        NotificationKind::SubscriptionCancelled,
        CHANGE_MS,
        "customer-1",
        None,
    )
    .await;
    settle(world, "old", &replaced(), CHANGE_MS + 3 * HOUR_MS).await;
}

fn link(old: CollapseKey, new: CollapseKey) -> String {
    format!("{old} {new}")
}

story! {
    async fn a_renewal_links_the_new_receipt_and_announces_it_once(world: World) {
        lose_the_change(&world).await;
        assert_eq!(world.load(world.key("old")).await.purchase.state(), State::Replaced);
        assert_eq!(alarms(&world).await, [("replacement_unknown".to_owned(), 1)]);
        settle(&world, "old", &replaced(), CHANGE_MS + DAY_MS).await;
        assert_eq!(alarms(&world).await, [("replacement_unknown".to_owned(), 1)], "once, not at every recheck");
        let new = running("silver", CHANGE_MS + 60_000);
        accept(&world, "new", NotificationKind::Renewed, CHANGE_MS + 3 * DAY_MS, "customer-1", None).await;
        settle(&world, "new", &new, CHANGE_MS + 3 * DAY_MS + 3 * HOUR_MS).await;
        let expected = events(&[("old", "purchased"), ("new", "renewed"), ("new", "sku_change")]);
        assert_eq!(announced(&world), expected);
        assert_eq!(links(&world), [link(world.key("old"), world.key("new"))]);
        let body = world.bodies_like("%.sku_change").remove(0);
        assert_eq!(body["previous_sku_ref_id"], "gold", "{body}");
        let old = world.load(world.key("old")).await;
        assert!(old.is_replaced && old.due, "it is rechecked, so that it no longer waits for a successor");
        settle(&world, "old", &replaced(), CHANGE_MS + 20 * DAY_MS).await;
        assert_eq!(world.load(world.key("old")).await.purchase.successor_missing_since(), None);
        accept(&world, "new", NotificationKind::PlanChanged, CHANGE_MS + 60_000, "customer-1", Some("old")).await;
        settle(&world, "new", &new, CHANGE_MS + 21 * DAY_MS).await;
        assert_eq!(announced(&world), expected, "the notification that was lost announces nothing more");
    }
}

story! {
    async fn a_known_new_receipt_is_linked_without_an_alarm(world: World) {
        let new = running("silver", CHANGE_MS - 60_000);
        accept(&world, "new", NotificationKind::Adopted, CHANGE_MS + HOUR_MS, "customer-1", None).await;
        settle(&world, "new", &new, CHANGE_MS + HOUR_MS).await;
        assert_eq!(announced(&world), events(&[]));
        accept(&world, "old", NotificationKind::SubscriptionPurchased, 0, "customer-1", None).await;
        settle(&world, "old", &running("gold", 0), HOUR_MS).await;
        accept(&world, "old", NotificationKind::SubscriptionCancelled, CHANGE_MS, "customer-1", None).await;
        assert_eq!(settle(&world, "old", &replaced(), CHANGE_MS + 3 * HOUR_MS).await, 1, "it is decided anew");
        assert_eq!(links(&world), [link(world.key("old"), world.key("new"))]);
        assert!(world.load(world.key("new")).await.due);
        settle(&world, "new", &new, CHANGE_MS + 4 * HOUR_MS).await;
        settle(&world, "new", &new, CHANGE_MS + 5 * HOUR_MS).await;
        assert_eq!(announced(&world), events(&[("old", "purchased"), ("new", "sku_change")]));
        assert!(alarms(&world).await.is_empty());
    }
}

story! {
    async fn the_purchase_of_the_new_receipt_is_the_change(world: World) {
        lose_the_change(&world).await;
        accept(&world, "new", NotificationKind::SubscriptionPurchased, CHANGE_MS + 60_000, "customer-1", None).await;
        settle(&world, "new", &running("silver", CHANGE_MS + 60_000), CHANGE_MS + 4 * HOUR_MS).await;
        assert_eq!(announced(&world), events(&[("old", "purchased"), ("new", "sku_change")]));
    }
}

story! {
    async fn a_week_without_the_new_receipt_expires_the_old_one_once(world: World) {
        lose_the_change(&world).await;
        let since = CHANGE_MS + 3 * HOUR_MS;
        settle(&world, "old", &replaced(), since + 7 * DAY_MS - 1).await;
        assert_eq!(announced(&world), events(&[("old", "purchased")]));
        let explained = world.store.explain_purchase(world.key("old")).await.unwrap();
        assert_eq!((explained.successor_missing_since, explained.is_believed), (Some(at(since)), false));
        for late_ms in [0, DAY_MS, 9 * DAY_MS] {
            settle(&world, "old", &replaced(), since + 7 * DAY_MS + late_ms).await;
        }
        let expected = [("old", "purchased"), ("old", "expired")];
        assert_eq!(announced(&world), events(&expected));
        assert_eq!(world.load(world.key("old")).await.purchase.state(), State::Replaced);
        assert_eq!(alarms(&world).await, [("replacement_unknown".to_owned(), 1)]);
        accept(&world, "new", NotificationKind::PlanChanged, CHANGE_MS + 60_000, "customer-1", Some("old")).await;
        settle(&world, "new", &running("silver", CHANGE_MS + 60_000), since + 20 * DAY_MS).await;
        settle(&world, "old", &replaced(), since + 20 * DAY_MS).await;
        assert_eq!(announced(&world), events(&[expected[0], expected[1], ("new", "sku_change")]));
    }
}

story! {
    async fn a_receipt_known_within_the_week_prevents_the_expiry(world: World) {
        lose_the_change(&world).await;
        let loaded = world.load(world.key("old")).await;
        let late = CHANGE_MS + 9 * DAY_MS;
        let unknowing = decided(&world, "old", &replaced(), &loaded, late);
        assert_eq!(unknowing.decision.transitions.len(), 1, "expired");
        accept(&world, "new", NotificationKind::Renewed, CHANGE_MS + 3 * DAY_MS, "customer-1", None).await;
        settle(&world, "new", &running("silver", CHANGE_MS), late).await;
        assert_eq!(world.store.record(unknowing).await.unwrap(), Recorded::Moved);
        settle(&world, "old", &replaced(), late).await;
        assert_eq!(announced(&world), events(&[("old", "purchased"), ("new", "renewed"), ("new", "sku_change")]));
    }
}

story! {
    async fn a_receipt_of_another_time_or_user_is_not_linked(world: World) {
        lose_the_change(&world).await;
        let others = [
            ("late", "customer-1", running("silver", CHANGE_MS + 601_000)),
            ("same", "customer-1", running("gold", CHANGE_MS)),
            ("foreign", "customer-2", running("silver", CHANGE_MS)),
            ("tester", "customer-1", Snapshot { is_test: true, ..running("silver", CHANGE_MS) }),
        ];
        for (receipt, customer, shown) in &others {
            accept(&world, receipt, NotificationKind::Renewed, CHANGE_MS + DAY_MS, customer, None).await;
            settle(&world, receipt, shown, CHANGE_MS + DAY_MS + 3 * HOUR_MS).await;
        }
        settle(&world, "old", &replaced(), CHANGE_MS + 2 * DAY_MS).await;
        assert_eq!(links(&world), Vec::<String>::new());
        assert!(!announced(&world).iter().any(|(_, what)| what == "sku_change"));
    }
}
