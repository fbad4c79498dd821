//! The body of `purchase.updated`: its digest, the catalogue, and which changes make a revision.

use super::world::{BEGINNING, Report, World, happened, record, reported, story};
use domain::{NotificationKind, Timestamp, Transition, TransitionKind};
use serde_json::{Value, json};

async fn data(world: &World, receipt: &str) -> Value {
    world.store.purchase(world.key(receipt)).await.unwrap().data["data"].clone()
}

/// Returns a record that leaves the purchase unchanged.
async fn again(world: &World, receipt: &str) -> storage::Record {
    let key = world.key(receipt);
    let loaded = world.load(key).await;
    let mut same = record(key, &loaded);
    same.decision.purchase = loaded.purchase;
    same
}

story! {
    async fn an_unchanged_record_of_a_purchase_is_announced_once(world: World) {
        world.revise("r1", 1).await;
        assert_eq!(world.done(again(&world, "r1").await).await, 1);
        assert_eq!(world.count("events"), 1);
        let what_happened = happened(again(&world, "r1").await, &[TransitionKind::Renewed]);
        assert_eq!(world.done(what_happened).await, 2, "a transition makes a revision although the record is the same");
        let digests = "SELECT COUNT(*) AS value FROM purchases WHERE LENGTH(digest) = 64";
        assert_eq!(world.raw().number(digests), 1);
    }
}

story! {
    async fn the_catalogue_is_read_when_a_purchase_is_announced(world: World) {
        world.revise("r1", 1).await;
        assert_eq!(data(&world, "r1").await["entitlements"], Value::Array(Vec::new()),
            "the product is not in the catalogue");
        world.list_product("parent", &json!([]), &["gold", "blue"]);
        assert_eq!(world.done(again(&world, "r1").await).await, 2, "it has changed");
        let names = |data: &Value| -> Vec<String> {
            let listed = data["entitlements"].as_array().unwrap().iter();
            listed.map(|one| one["entitlement_ref_id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&data(&world, "r1").await), ["gold", "blue"], "in the order of the catalogue");
        world.list_product("term", &json!([]), &["blue"]);
        assert_eq!(world.done(again(&world, "r1").await).await, 3);
        assert_eq!(names(&data(&world, "r1").await), ["blue"], "the SKU's own product precedes its parent's");
        assert_eq!(world.done(again(&world, "r1").await).await, 3);
    }
}

story! {
    async fn the_product_sku_is_of_the_term_or_parent_by_the_setting(world: World) {
        world.revise("r1", 1).await;
        assert_eq!(data(&world, "r1").await["product_ref_id"], "term");
        let skus = world.raw().texts("SELECT term_sku || ' ' || product_id AS value FROM purchases");
        assert_eq!(skus, ["term parent"]);
        world.raw().run("UPDATE platforms SET product_ref = 'parent'");
        assert_eq!(world.done(again(&world, "r1").await).await, 2);
        assert_eq!(data(&world, "r1").await["product_ref_id"], "parent");
    }
}

story! {
    async fn a_new_name_is_announced_with_the_next_settling(world: World) {
        world.revise("r1", 1).await;
        assert_eq!(data(&world, "r1").await["last_seen_external_id"], Value::Null);
        world.name_users(Some("ext-1"));
        assert_eq!(world.done(again(&world, "r1").await).await, 2);
        assert_eq!(data(&world, "r1").await["last_seen_external_id"], "ext-1");
    }
}

story! {
    async fn the_price_at_the_time_of_purchase_is_announced(world: World) {
        let began = Timestamp::from_micros(BEGINNING);
        let (before, after) = (began.plus_millis(-86_400_000), began.plus_millis(86_400_000));
        let prices = json!([
            { "currency": "USD", "price": "3.99" },
            { "currency": "USD", "price": "4.99", "since": before },
            { "currency": "USD", "price": "5.99", "since": after },
        ]);
        world.list_product("term", &prices, &[]);
        let bought = [(before.plus_millis(-1), "3.99"), (before, "4.99"), (began, "4.99"), (after, "5.99")];
        for (number, (bought_at, price)) in bought.into_iter().enumerate() {
            let (message, receipt) = (format!("m{number}"), format!("r{number}"));
            let report = Report { kind: NotificationKind::SubscriptionPurchased, customer: Some("customer-1"), related: None };
            world.accept(reported(world.platform.id, &message, &receipt, bought_at.micros() / 1000, report)).await;
            world.settle(world.key(&receipt)).await;
            let data = data(&world, &receipt).await;
            assert_eq!((&data["purchase_price"], &data["price_source"]), (&price.into(), &"catalogue".into()), "{data}");
        }
    }
}

story! {
    async fn events_hold_their_time_and_the_record_the_newest(world: World) {
        world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        let mut next = record(key, &world.load(key).await);
        let at = |millis| Some(Timestamp::from_millis(millis));
        let transition = |what, at| Transition { kind: what, at, cycle: None };
        next.decision.transitions = vec![
            transition(TransitionKind::Purchased, at(1_000)),
            transition(TransitionKind::Renewed, at(3_000)),
            transition(TransitionKind::Cancelled, None),
        ];
        world.done(next).await;
        let bodies = world.bodies_like("%");
        let when: Vec<&Value> = bodies[..3].iter().map(|body| &body["occurred_at"]).collect();
        let (first, newest) = ("1970-01-01T00:00:01.000000Z".into(), "1970-01-01T00:00:03.000000Z".into());
        assert_eq!(when, [&first, &newest, &Value::Null]);
        assert_eq!(bodies[3]["attributes"]["occurred_at"], newest);
        for name in ["environment", "product_type", "expiration_reason", "offer_type", "price_source"] {
            assert_eq!(bodies[0][name], bodies[3]["data"][name], "{name}");
        }
        assert_eq!((&bodies[0]["environment"], &bodies[0]["product_type"]), (&"production".into(), &"subscription".into()));
    }
}
