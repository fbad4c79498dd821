//! Changes of plan that involve two receipts: they are linked by the notification, and take effect once the new receipt
//! is known to be real.

use super::world::{Raw, Report, World, happened, record, renewal, reported, story};
use domain::{CollapseKey, NotificationKind, TopicId, TransitionKind};
use storage::{Accepted, Due, Handling, NewNotification, Recorded, SecretString, TopicRequest};

/// Returns a notification that `new` replaced `old`.
fn changed(world: &World, message: &str, old: &str, new: &str) -> NewNotification {
    let report = Report {
        kind: NotificationKind::PlanChanged,
        customer: Some("customer-1"),
        related: Some(old),
    };
    reported(world.platform.id, message, new, 50_000, report)
}

fn links(raw: &mut Raw) -> Vec<String> {
    raw.texts(
        "SELECT old_key || ' ' || new_key AS value FROM replacements ORDER BY created_at, old_key",
    )
}

fn link(old: CollapseKey, new: CollapseKey) -> String {
    format!("{old} {new}")
}

story! {
    async fn a_plan_change_links_two_receipts_when_it_is_accepted(world: World) {
        let row = changed(&world, "m1", "old", "new");
        world.store.accept(vec![renewal(world.platform.id, "m0", "other", 1), row.clone()]).await.unwrap();
        let expected = [link(world.key("old"), world.key("new"))];
        assert_eq!(links(&mut world.raw()), expected);
        assert!(matches!(world.accept(row).await, Accepted::Repeated { .. }));
        assert!(matches!(world.accept(changed(&world, "m2", "old", "new")).await, Accepted::Duplicate { .. }));
        world.accept(changed(&world, "m3", "old", "newer")).await;
        assert_eq!(links(&mut world.raw()), expected, "the first link stays");
        world.accept(changed(&world, "m4", "new", "old")).await;
        world.accept(changed(&world, "m5", "same", "same")).await;
        assert_eq!(links(&mut world.raw()), expected, "there is no cycle of links, not even of one");
        world.accept(changed(&world, "m6", "new", "newest")).await;
        assert_eq!(links(&mut world.raw()).len(), 2, "a change of plan may follow another");
    }
}

story! {
    async fn what_is_not_accepted_open_links_nothing(world: World) {
        let mut refused = changed(&world, "m1", "old", "new");
        refused.handling = Handling::Final(domain::Outcome::Refused, "another app's".to_owned());
        world.accept(refused).await;
        let mut other = reported(
            world.platform.id,
            "m2", "new",
            1,
            Report { kind: NotificationKind::PlanChangeScheduled, customer: None, related: Some("old") },
        );
        world.accept(other.clone()).await;
        other.message_id = "m3".to_owned();
        other.body = "not JSON, \"plan_changed\"".to_owned();
        other.store_time = None;
        world.accept(other).await;
        assert_eq!(links(&mut world.raw()), Vec::<String>::new());
    }
}

story! {
    async fn a_plan_change_that_waits_for_a_topic_links_on_release(world: World) {
        let expires_at = world.store.now().await.unwrap().plus_millis(60_000);
        let url = SecretString::from("https://arn");
        world.store.add_pending_topic(TopicRequest::new(world.platform.id, "arn:1", url, expires_at)).await.unwrap();
        let topic: TopicId = world.store.topics(world.platform.id).await.unwrap().remove(0).id;
        let mut waiting = changed(&world, "m1", "old", "new");
        waiting.handling = Handling::WaitTopic(topic);
        world.accept(waiting).await;
        assert_eq!(links(&mut world.raw()), Vec::<String>::new());
        world.store.approve_topic(topic).await.unwrap();
        assert_eq!(links(&mut world.raw()), [link(world.key("old"), world.key("new"))]);
    }
}

story! {
    async fn the_old_receipt_is_replaced_as_soon_as_the_new_one_is_real(world: World) {
        world.happen("old", 1, &[TransitionKind::Purchased]).await;
        let (old, new) = (world.key("old"), world.key("new"));
        world.accept(changed(&world, "m1", "old", "new")).await;
        assert!(!world.load(old).await.is_replaced, "the new receipt is not known to be real yet");
        let mut unsure = record(new, &world.load(new).await);
        unsure.decision.outcomes = Vec::new();
        (unsure.is_answer, unsure.is_real) = (false, false);
        world.done(unsure).await;
        let loaded = world.load(old).await;
        assert!(!loaded.is_replaced && !loaded.due);
        world.done(happened(record(new, &world.load(new).await), &[TransitionKind::PlanChanged])).await;
        let loaded = world.load(old).await;
        assert!(loaded.is_replaced && loaded.due, "it is rechecked at once");
        assert_eq!(world.store.due(9).await.unwrap(), [Due { collapse_key: old, why: storage::DueReason::Wake }]);
        assert!(!world.load(new).await.is_replaced);
        world.settle(old).await;
        assert!(!world.load(old).await.due);
        world.revise("new", 60).await;
        assert!(!world.load(old).await.due, "a later revision does not recheck the old receipt");
    }
}

story! {
    async fn the_link_may_come_after_the_new_receipt_is_real(world: World) {
        world.happen("new", 1, &[TransitionKind::Purchased]).await;
        world.happen("old", 1, &[TransitionKind::Purchased]).await;
        world.accept(changed(&world, "m1", "old", "new")).await;
        assert!(!world.load(world.key("old")).await.is_replaced);
        world.settle(world.key("new")).await;
        assert!(world.load(world.key("old")).await.is_replaced);
    }
}

story! {
    async fn a_settling_unaware_of_the_new_receipt_has_moved(world: World) {
        world.happen("old", 1, &[TransitionKind::Purchased]).await;
        let (old, new) = (world.key("old"), world.key("new"));
        world.notify("m-old", "old", 60_000).await;
        let unknowing = happened(record(old, &world.load(old).await), &[TransitionKind::Expired]);
        world.accept(changed(&world, "m1", "old", "new")).await;
        world.settle(new).await;
        assert_eq!(world.store.record(unknowing).await.unwrap(), Recorded::Moved);
        let loaded = world.load(old).await;
        assert!(loaded.is_replaced && loaded.due);
        world.settle(old).await;
    }
}

story! {
    async fn a_first_settling_unaware_of_the_new_receipt_has_moved(world: World) {
        let (old, new) = (world.key("old"), world.key("new"));
        world.notify("m-old", "old", 60_000).await;
        let unknowing = record(old, &world.load(old).await);
        world.accept(changed(&world, "m1", "old", "new")).await;
        world.settle(new).await;
        assert_eq!(world.store.record(unknowing).await.unwrap(), Recorded::Moved);
        assert!(world.load(old).await.is_replaced);
        world.settle(old).await;
    }
}

story! {
    async fn the_new_purchase_and_its_event_hold_the_old_sku(world: World) {
        world.happen("old", 1, &[TransitionKind::Purchased]).await;
        world.raw().run(
            "UPDATE purchases SET purchase = REPLACE(REPLACE(purchase, '\"term_sku\":\"term\"', '\"term_sku\":\"silver\"'),
                 '\"sku\":\"term\"', '\"sku\":\"silver\"')",
        );
        world.accept(changed(&world, "m1", "old", "new")).await;
        let new = world.key("new");
        world.done(happened(record(new, &world.load(new).await), &[TransitionKind::PlanChanged])).await;
        let announced = world.store.purchase(new).await.unwrap().data;
        let (before, now) = (&announced["data"]["previous_sku_ref_id"], &announced["data"]["product_ref_id"]);
        assert_eq!((before, now), (&"silver".into(), &"term".into()), "{announced}");
        let skus = world.bodies_like("user.%").into_iter().map(|body| body["previous_sku_ref_id"].clone());
        assert_eq!(skus.collect::<Vec<_>>(), [serde_json::Value::Null, "silver".into()]);
    }
}

story! {
    async fn the_old_sku_is_named_once_the_old_receipt_is_settled_too(world: World) {
        let (old, new) = (world.key("old"), world.key("new"));
        world.notify("m0", "old", 1_000).await;
        world.accept(changed(&world, "m1", "old", "new")).await;
        world.done(happened(record(new, &world.load(new).await), &[TransitionKind::PlanChanged])).await;
        let announced = async || {
            let shown = world.store.purchase(new).await.unwrap();
            (shown.revision, shown.data["data"]["previous_sku_ref_id"].clone())
        };
        assert_eq!(announced().await, (1, serde_json::Value::Null), "nothing is known of the old receipt");
        let mut first = record(old, &world.load(old).await);
        let silver = serde_json::to_string(&first.decision.purchase).unwrap().replace(":\"term\"", ":\"silver\"");
        first.decision.purchase = serde_json::from_str(&silver).unwrap();
        world.done(first.clone()).await;
        assert!(world.load(new).await.due, "it is rechecked at once");
        world.settle_again("new").await;
        assert_eq!(announced().await, (2, "silver".into()));
        let mut later = record(old, &world.load(old).await);
        later.decision.purchase = first.decision.purchase;
        world.done(later).await;
        assert!(!world.load(new).await.due, "once");
        assert_eq!(world.broken(1000).await, []);
    }
}

/// Adds two SKUs with the same entitlement and one with another entitlement to the catalogue.
fn list(world: &World) {
    for (sku, entitlement) in [
        ("gold", "premium"),
        ("silver", "premium"),
        ("radio", "radio"),
    ] {
        world.list_product(sku, &serde_json::json!([]), &[entitlement]);
    }
}

/// Settles the beginning of one customer's subscription to a SKU on a day, reported by this type of notification.
async fn subscribe(world: &World, sku: &str, day: i64, kind: domain::NotificationKind) -> i64 {
    let since =
        domain::Timestamp::from_micros(super::world::BEGINNING).plus_millis(day * 86_400_000);
    let report = super::world::Report {
        kind,
        customer: Some("customer-1"),
        related: None,
    };
    let at_ms = since.micros() / 1000;
    world
        .accept(super::world::reported(
            world.platform.id,
            &format!("{sku}-{kind:?}"),
            sku,
            at_ms,
            report,
        ))
        .await;
    let (key, snapshot) = (
        world.key(sku),
        domain::Snapshot {
            at: since,
            term_sku: Some(sku.to_owned()),
            purchased_at: Some(
                domain::Timestamp::from_micros(super::world::BEGINNING)
                    .plus_millis(day * 86_400_000),
            ),
            renews_at: Some(since.plus_millis(31 * 86_400_000)),
            auto_renewing: Some(true),
            ..domain::Snapshot::default()
        },
    );
    let loaded = world.load(key).await;
    let verification = domain::Verification::Verified(Box::new(snapshot));
    let context = domain::SettlingContext {
        policy: domain::StorePolicy::default(),
        verification: &verification,
        is_replaced: false,
        now: loaded.now,
    };
    let decision = domain::decide(&loaded.purchase, &loaded.notifications, context);
    world
        .done(storage::Record {
            decision,
            ..super::world::record(key, &loaded)
        })
        .await
}

story! {
    async fn a_sku_change_within_an_entitlement_is_announced_once(world: World) {
        list(&world);
        for (sku, day) in [("gold", 0), ("radio", 1), ("silver", 2)] {
            subscribe(&world, sku, day, domain::NotificationKind::SubscriptionPurchased).await;
        }
        subscribe(&world, "silver", 2, domain::NotificationKind::PlanChanged).await;
        let announced = world.raw().texts("SELECT event_type AS value FROM events WHERE event_type LIKE 'user.%' ORDER BY seq");
        let [purchased, changed] = ["user.subscription.purchased", "user.subscription.sku_change"];
        assert_eq!(announced, [purchased, purchased, changed]);
        let ids = "SELECT id AS value FROM events WHERE event_type = 'user.subscription.sku_change'";
        let expected = domain::EventId::of(world.key("silver"), 1, 1, changed, 0);
        assert_eq!(world.raw().texts(ids), [expected.to_string()], "named by the announced SKU");
    }
}
