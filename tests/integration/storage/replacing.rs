//! Changes of plan over two receipts: linked when told, counted when real.

use super::world::{Raw, Said, World, happened, record, said_so, story, told};
use domain::{CollapseKey, Kind, TopicId, What};
use storage::{Accepted, Due, Fate, NewNotification, Recorded, SecretString};

/// That `new` took the place of `old`.
fn changed(world: &World, message: &str, (old, new): (&str, &str)) -> NewNotification {
    let said = Said { kind: Kind::PlanChanged, customer: Some("customer-1"), related: Some(old) };
    said_so(world.platform.id, (message, new), 50_000, said)
}

fn links(raw: &mut Raw) -> Vec<String> {
    raw.texts("SELECT old_key || ' ' || new_key AS value FROM replacements ORDER BY created_at, old_key")
}

fn link(old: CollapseKey, new: CollapseKey) -> String {
    format!("{old} {new}")
}

story! {
    async fn a_plan_change_links_two_receipts_when_it_is_accepted(world: World) {
        let row = changed(&world, "m1", ("old", "new"));
        world.store.accept(vec![told(world.platform.id, "m0", "other", 1), row.clone()]).await.unwrap();
        let expected = [link(world.key("old"), world.key("new"))];
        assert_eq!(links(&mut world.raw()), expected);
        assert_eq!(world.accept(row).await, Accepted::Repeated);
        assert!(matches!(world.accept(changed(&world, "m2", ("old", "new"))).await, Accepted::Duplicate { .. }));
        world.accept(changed(&world, "m3", ("old", "newer"))).await;
        assert_eq!(links(&mut world.raw()), expected, "the first link stands");
        world.accept(changed(&world, "m4", ("new", "old"))).await;
        world.accept(changed(&world, "m5", ("same", "same"))).await;
        assert_eq!(links(&mut world.raw()), expected, "two never replace each other, and none replaces itself");
        world.accept(changed(&world, "m6", ("new", "newest"))).await;
        assert_eq!(links(&mut world.raw()).len(), 2, "a change of plan may follow another");
    }
}

story! {
    async fn what_is_not_accepted_open_links_nothing(world: World) {
        let mut refused = changed(&world, "m1", ("old", "new"));
        refused.fate = Fate::Final(domain::Outcome::Refused, "another app's".to_owned());
        world.accept(refused).await;
        let mut other = said_so(
            world.platform.id,
            ("m2", "new"),
            1,
            Said { kind: Kind::PlanChangeScheduled, customer: None, related: Some("old") },
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
    async fn a_plan_change_that_waits_for_a_topic_links_when_it_is_released(world: World) {
        let expires_at = world.store.now().await.unwrap().plus_millis(60_000);
        let url = SecretString::from("https://arn");
        world.store.add_pending_topic(world.platform.id, "arn:1", url, expires_at).await.unwrap();
        let topic: TopicId = world.store.topics(world.platform.id).await.unwrap().remove(0).id;
        let mut waiting = changed(&world, "m1", ("old", "new"));
        waiting.fate = Fate::WaitTopic(topic);
        world.accept(waiting).await;
        assert_eq!(links(&mut world.raw()), Vec::<String>::new());
        world.store.approve_topic(topic).await.unwrap();
        assert_eq!(links(&mut world.raw()), [link(world.key("old"), world.key("new"))]);
    }
}

story! {
    async fn the_old_receipt_is_replaced_as_soon_as_the_new_one_is_real(world: World) {
        world.happen("old", 1, &[What::Purchased]).await;
        let (old, new) = (world.key("old"), world.key("new"));
        world.accept(changed(&world, "m1", ("old", "new"))).await;
        assert!(!world.load(old).await.is_replaced, "nobody knows yet that the new one is real");
        let mut unsure = record(new, &world.load(new).await);
        unsure.decision.outcomes = Vec::new();
        (unsure.is_answer, unsure.is_real) = (false, false);
        world.done(unsure).await;
        let loaded = world.load(old).await;
        assert!(!loaded.is_replaced && !loaded.due);
        world.done(happened(record(new, &world.load(new).await), &[What::PlanChanged])).await;
        let loaded = world.load(old).await;
        assert!(loaded.is_replaced && loaded.due, "it is looked at again, at once");
        assert_eq!(world.store.due(9).await.unwrap(), [Due { collapse_key: old, why: "wake" }]);
        assert!(!world.load(new).await.is_replaced);
        world.settle(old).await;
        assert!(!world.load(old).await.due);
        world.revise("new", 60).await;
        assert!(!world.load(old).await.due, "it became real once");
    }
}

story! {
    async fn the_link_may_come_after_the_new_receipt_is_real(world: World) {
        world.happen("new", 1, &[What::Purchased]).await;
        world.happen("old", 1, &[What::Purchased]).await;
        world.accept(changed(&world, "m1", ("old", "new"))).await;
        assert!(!world.load(world.key("old")).await.is_replaced);
        world.settle(world.key("new")).await;
        assert!(world.load(world.key("old")).await.is_replaced);
    }
}

story! {
    async fn a_settling_of_the_old_receipt_that_did_not_know_has_moved(world: World) {
        world.happen("old", 1, &[What::Purchased]).await;
        let (old, new) = (world.key("old"), world.key("new"));
        world.tell("m-old", "old", 60_000).await;
        let unknowing = happened(record(old, &world.load(old).await), &[What::Expired]);
        world.accept(changed(&world, "m1", ("old", "new"))).await;
        world.settle(new).await;
        assert_eq!(world.store.record(unknowing).await.unwrap(), Recorded::Moved);
        let loaded = world.load(old).await;
        assert!(loaded.is_replaced && loaded.due);
        world.settle(old).await;
    }
}

story! {
    async fn a_first_settling_of_the_old_receipt_that_did_not_know_has_moved(world: World) {
        let (old, new) = (world.key("old"), world.key("new"));
        world.tell("m-old", "old", 60_000).await;
        let unknowing = record(old, &world.load(old).await);
        world.accept(changed(&world, "m1", ("old", "new"))).await;
        world.settle(new).await;
        assert_eq!(world.store.record(unknowing).await.unwrap(), Recorded::Moved);
        assert!(world.load(old).await.is_replaced);
        world.settle(old).await;
    }
}

story! {
    async fn the_new_purchase_and_its_event_tell_the_sku_of_the_old_one(world: World) {
        world.happen("old", 1, &[What::Purchased]).await;
        world.raw().run(
            "UPDATE purchases SET purchase = REPLACE(REPLACE(purchase, '\"term_sku\":\"term\"', '\"term_sku\":\"silver\"'),
                 '\"sku\":\"term\"', '\"sku\":\"silver\"')",
        );
        world.accept(changed(&world, "m1", ("old", "new"))).await;
        let new = world.key("new");
        world.done(happened(record(new, &world.load(new).await), &[What::PlanChanged])).await;
        let told = world.store.purchase(new).await.unwrap().data;
        let (before, now) = (&told["data"]["previous_sku_ref_id"], &told["data"]["product_ref_id"]);
        assert_eq!((before, now), (&"silver".into(), &"term".into()), "{told}");
        let bodies = world.raw().texts("SELECT body AS value FROM events WHERE event_type LIKE 'user.%' ORDER BY seq");
        let skus = bodies.iter().map(|body| {
            serde_json::from_str::<serde_json::Value>(body).unwrap()["previous_sku_ref_id"].clone()
        });
        assert_eq!(skus.collect::<Vec<_>>(), [serde_json::Value::Null, "silver".into()]);
    }
}

/// Lists two SKUs that grant the same, and one that grants something else.
fn list(world: &World) {
    let app = world.app.id;
    world.raw().run(&format!(
        "INSERT INTO entitlements (app_id, ref_id, id, name)
             VALUES ('{app}', 'premium', '6f9619ff-8b86-4011-b42d-00c04fc964ff', 'Premium'),
             ('{app}', 'radio', '6f9619ff-8b86-4011-b42d-00c04fc964fe', 'Radio');
         INSERT INTO products (app_id, sku, prices) VALUES ('{app}', 'gold', '[]'), ('{app}', 'silver', '[]'),
             ('{app}', 'radio', '[]');
         INSERT INTO product_entitlements (app_id, sku, position, ref_id) VALUES ('{app}', 'gold', 0, 'premium'),
             ('{app}', 'silver', 0, 'premium'), ('{app}', 'radio', 0, 'radio')"
    ));
}

/// The same customer begins to subscribe to a SKU, on a day; what of the receipt is told besides.
async fn subscribe(world: &World, (sku, day): (&str, i64), kind: domain::Kind) -> i64 {
    let since = domain::Timestamp::from_micros(super::world::BEGINNING).plus_millis(day * 86_400_000);
    let said = super::world::Said { kind, customer: Some("customer-1"), related: None };
    let at_ms = since.micros() / 1000;
    world.accept(super::world::said_so(world.platform.id, (&format!("{sku}-{kind:?}"), sku), at_ms, said)).await;
    let (key, snapshot) = (
        world.key(sku),
        domain::Snapshot {
            at: since,
            term_sku: Some(sku.to_owned()),
            purchased_at: Some(domain::Timestamp::from_micros(super::world::BEGINNING).plus_millis(day * 86_400_000)),
            renews_at: Some(since.plus_millis(31 * 86_400_000)),
            auto_renewing: Some(true),
            ..domain::Snapshot::default()
        },
    );
    let loaded = world.load(key).await;
    let reading = domain::Reading::Verified(Box::new(snapshot));
    let given = domain::Given { reading: &reading, is_replaced: false, now: loaded.now };
    let decision = domain::decide(&loaded.purchase, &loaded.notifications, given);
    world.done(storage::Record { decision, ..super::world::record(key, &loaded) }).await
}

story! {
    async fn another_sku_with_the_same_entitlement_is_told_as_a_change_once(world: World) {
        list(&world);
        for (sku, day) in [("gold", 0), ("radio", 1), ("silver", 2)] {
            subscribe(&world, (sku, day), domain::Kind::SubscriptionPurchased).await;
        }
        subscribe(&world, ("silver", 2), domain::Kind::PlanChanged).await;
        let told = world.raw().texts("SELECT event_type AS value FROM events WHERE event_type LIKE 'user.%' ORDER BY seq");
        let [purchased, changed] = ["user.subscription.purchased", "user.subscription.sku_change"];
        assert_eq!(told, [purchased, purchased, changed]);
        let ids = "SELECT id AS value FROM events WHERE event_type = 'user.subscription.sku_change'";
        let expected = domain::EventId::of(world.key("silver"), 1, 1, changed, 0);
        assert_eq!(world.raw().texts(ids), [expected.to_string()], "named by what it is told as");
    }
}
