//! The user's state in an event: over all the user's purchases, as of the transaction that recorded the event.

use super::world::{BEGINNING, Report, World, happened, record, reported, story};
use domain::{NotificationKind, Timestamp, TransitionKind};
use storage::{EventFilter, EventView, Page, Recorded, Store};

/// Adds the product of all purchases to the catalogue.
fn list(world: &World) {
    world.list_product(
        "term",
        &serde_json::json!([{ "currency": "eur", "price": "4.99" }]),
        &["gold"],
    );
}

/// Returns the end of the entitlement in an event's state.
fn until(event: &EventView) -> String {
    event.body["active_entitlements"][0]["expiration"]
        .as_str()
        .unwrap_or("never had")
        .to_owned()
}

/// Returns when a purchase of this revision renews.
fn renewal(revision: i64) -> String {
    Timestamp::from_micros(BEGINNING)
        .plus_millis(revision * 30 * 24 * 3_600_000)
        .to_string()
}

/// Returns the `user.*` events in order of their user revisions.
async fn all_events(world: &World) -> Vec<EventView> {
    let page = Page {
        cursor: None,
        limit: 1000,
    };
    let mut events = world
        .store
        .events(EventFilter::default(), page)
        .await
        .unwrap()
        .items;
    events.retain(|event| event.event_type.starts_with("user."));
    events.sort_by_key(|event| event.body["user_revision"].as_i64());
    events
}

async fn settle(store: Store, key: domain::CollapseKey) {
    loop {
        let loaded = store.load(key, i64::MAX, 500).await.unwrap();
        let recorded = store
            .record(happened(record(key, &loaded), &[TransitionKind::Renewed]))
            .await
            .unwrap();
        if recorded != Recorded::Moved {
            return;
        }
    }
}

story! {
    async fn no_event_shows_a_state_that_is_already_over(world: World) {
        list(&world);
        let second = world.second_process().await;
        for round in 1..=8 {
            for receipt in ["r1", "r2"] {
                world.notify(&format!("{receipt}-{round}"), receipt, round).await;
            }
            let one = tokio::spawn(settle(world.store.clone(), world.key("r1")));
            let two = tokio::spawn(settle(second.clone(), world.key("r2")));
            one.await.unwrap();
            two.await.unwrap();
        }
        let mut newest = 0;
        for event in all_events(&world).await {
            newest = newest.max(event.revision);
            assert_eq!(until(&event), renewal(newest), "{}", event.body);
        }
        assert_eq!(newest, 8);
    }
}

story! {
    async fn a_replaced_purchase_does_not_count_before_it_settles(world: World) {
        list(&world);
        for number in 1..=3 {
            world.happen("old", number, &[TransitionKind::Renewed]).await;
        }
        let report = Report { kind: NotificationKind::PlanChanged, customer: Some("customer-1"), related: Some("old") };
        world.accept(reported(world.platform.id, "m1", "new", 50_000, report)).await;
        let new = world.key("new");
        world.done(happened(record(new, &world.load(new).await), &[TransitionKind::PlanChanged])).await;
        let events = all_events(&world).await;
        assert_eq!(until(&events[2]), renewal(3));
        assert_eq!(until(&events[3]), renewal(1), "the replaced receipt no longer counts");
    }
}

story! {
    async fn the_price_in_dollars_is_by_the_rate_of_the_purchases_day(world: World) {
        list(&world);
        let (key, app) = (world.key("r1"), world.app.id);
        let began = Report { kind: NotificationKind::SubscriptionPurchased, customer: Some("customer-1"), related: None };
        world.accept(reported(world.platform.id, "m1", "r1", BEGINNING / 1000, began)).await;
        let nothing = serde_json::Value::Null;
        for (day, expected) in [("2026-12-31", nothing.clone()), ("2027-01-16", nothing), ("2027-01-15", "5.49".into())] {
            let rate = format!("VALUES ('{app}', 'EUR', '{day}', '1.10')");
            world.raw().run(&format!("INSERT INTO rates (app_id, currency, day, usd) {rate}"));
            world.settle(key).await;
            let data = world.store.purchase(key).await.unwrap().data["data"].clone();
            assert_eq!((&data["purchase_price"], &data["purchase_currency"]), (&"4.99".into(), &"EUR".into()));
            assert_eq!(data["price_in_usd"], expected, "with the rate of {day}: {data}");
        }
    }
}
