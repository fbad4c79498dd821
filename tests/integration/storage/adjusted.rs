//! A change of a payment: its event for webhooks that subscribe to it, and the purchase's record.

use super::payments::{monthly, refunded};
use super::sending::{lease, must_send};
use super::world::{World, new_destination, story};
use domain::TransitionKind;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use storage::Verdict;

story! {
    async fn a_webhook_that_chose_it_gets_each_change_of_a_payment(world: World) {
        world.sell("9.99").await;
        world.analytics("analytics").await;
        let hook = |name: &str, choice: &str| {
            let mut new = new_destination(&world.app, name);
            new.common.events = vec![choice.to_owned()];
            world.store.new_destination(new)
        };
        let by_name = hook("by name", "revenue.adjusted").await.unwrap();
        hook("by wildcard", "revenue.*").await.unwrap();
        hook("of all", "*").await.unwrap();
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.show("r1", refunded(), &[(TransitionKind::Expired, 1)]).await;
        let to = "SELECT x.name || ' ' || e.id AS value FROM deliveries d JOIN destinations x ON x.id = d.destination_id
            JOIN events e ON e.id = d.event_id WHERE d.event_type = 'revenue.adjusted' ORDER BY x.name";
        let queued = world.raw().texts(to);
        let names: Vec<&str> = queued.iter().filter_map(|one| one.rsplit_once(' ')).map(|(name, _)| name).collect();
        assert_eq!(names, ["analytics", "by name", "by wildcard"], "{queued:?}");
        let ids: BTreeSet<&str> = queued.iter().filter_map(|one| one.rsplit(' ').next()).collect();
        assert_eq!(ids.len(), 1, "all of them name one event");
        let body = world.raw().texts("SELECT body AS value FROM events WHERE event_type = 'revenue.adjusted'");
        let body: Value = serde_json::from_str(&body[0]).expect("JSON");
        assert_eq!((&body["usd"], &body["kind"], &body["is_estimate"]), (&json!("-9.99"), &json!("refund"), &json!(true)));
        let payment = world.raw().texts("SELECT event_id AS value FROM payments WHERE entry = 0");
        assert_eq!(body["payment_event_id"], json!(payment[0]));
        let bodies = "SELECT body AS value FROM events WHERE event_type = 'purchase.updated' ORDER BY seq";
        let records = world.raw().texts(bodies);
        let records = records.iter().map(|body| serde_json::from_str::<Value>(body).expect("JSON"));
        let refunds: Vec<[Value; 2]> =
            records.map(|body| ["refunded_amount", "refunded_at"].map(|field| body["data"][field].clone())).collect();
        assert_eq!(refunds[0], [Value::Null, Value::Null], "nothing is refunded");
        assert_eq!(refunds[1], [json!("9.99"), body["occurred_at"].clone()]);
        // A webhook receives the change whether or not it received the payment.
        let sent = must_send(&world.store, lease(world.key("r1"), by_name.id, "a")).await;
        assert_eq!(sent.types(), ["revenue.adjusted"]);
        world.finish(&sent, Verdict::Delivered).await;
        assert_eq!(world.broken(1000).await, []);
    }
}
