//! Purchases for which it is unknowable whether they were a trial.

use super::payments::{BOUGHT, at, refunded};
use super::world::{Report, World, reported, story};
use domain::{NotificationKind, Timestamp, TransitionKind};
use serde_json::Value;

story! {
    async fn a_possible_trial_earns_and_refunds_nothing(world: World) {
        let to = world.analytics("analytics").await.id;
        world.sell("9.99").await;
        let bought = Report { kind: NotificationKind::SubscriptionPurchased, customer: Some("anna's"), related: None };
        let bought_at = at(BOUGHT).millis_since(Timestamp::default());
        world.accept(reported(world.platform.id, "m1", "r1", bought_at, bought)).await;
        let happened = [(TransitionKind::Purchased, 1), (TransitionKind::Expired, 1)];
        world.settle_shown(world.key("r1"), refunded(), &happened).await;
        assert_eq!(world.ledger("r1"), ["1 initial unconfirmed catalogue"]);
        assert_eq!(world.sum_up("r1", to).await, [""; 0]);
        world.settle_again("r1").await;
        assert_eq!(world.ledger("r1"), ["1 initial unconfirmed catalogue"], "a later check learns no price");
        let state = world.bodies_like("purchase.updated").remove(0);
        let fields = ["purchase_price", "price_in_usd", "is_free_trial_conversion"].map(|field| &state["data"][field]);
        assert!(fields.into_iter().all(Value::is_null), "{state}");
    }
}
