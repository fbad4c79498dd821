//! Payments that an integration does not receive because of the events to which it subscribes.

use super::payments::{monthly, refunded, sale};
use super::world::{World, new_destination, story};
use domain::payment::{EntryKind, SaleKind};
use domain::{DestinationId, TransitionKind};
use storage::{Run, UnchosenPayment, UnchosenType};

impl World {
    /// Creates an integration that subscribes to this event.
    async fn chooser(&self, name: &str, chosen: &str) -> DestinationId {
        let mut new = new_destination(&self.app, name);
        (new.traits.per_user, new.common.events) = (true, vec![chosen.to_owned()]);
        self.store.new_destination(new).await.unwrap().id
    }

    /// Returns the event types and payments that a destination's explanation counts as not subscribed.
    async fn counted(&self, id: DestinationId) -> Vec<UnchosenType> {
        self.store.explain_destination(id).await.unwrap().unchosen
    }
}

story! {
    async fn payments_that_an_integration_did_not_choose_are_counted(world: World) {
        world.sell("9.99").await;
        let renewals = world.chooser("renewals", TransitionKind::Renewed.event_type()).await;
        let [all, hook] = [world.analytics("all").await.id, world.destination("hook").await.id];
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let keys = vec![world.key("r1"), world.key("r2")];
        let found = world.store.unchosen_payments(world.app.id, keys.clone()).await.unwrap();
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((one.destination_id, one.collapse_key, one.kind), (renewals, world.key("r1"), EntryKind::Initial));
        let usd = |amount: &str| amount.parse().ok();
        assert_eq!((one.event_type.as_str(), one.usd), ("user.subscription.purchased", usd("9.99")));
        assert_eq!((world.counted(all).await, world.counted(hook).await), (Vec::new(), Vec::new()));
        // The price is corrected; later payments are subscribed, and a refund is not a payment.
        let lines = vec![sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "8.49")];
        world.store.import_sales(world.app.id, lines, Run::Real).await.unwrap();
        world.settle_again("r1").await;
        let expected = UnchosenType {
            event_type: "user.subscription.purchased".to_owned(),
            payments: 1,
            usd: usd("8.49"),
            is_least: false,
            is_part: false,
            latest: vec![UnchosenPayment { usd: usd("8.49"), ..one.clone() }],
        };
        let explained = world.store.explain_destination(renewals).await.unwrap();
        assert_eq!(explained.store_ids.get(&world.key("r1")).map(String::as_str), Some("r1"));
        assert_eq!(world.counted(renewals).await, std::slice::from_ref(&expected));
        world.show("r1", monthly(), &[(TransitionKind::Renewed, 2)]).await;
        world.show("r2", monthly(), &[(TransitionKind::TrialStarted, 1), (TransitionKind::Purchased, 1)]).await;
        world.show("r2", monthly(), &[(TransitionKind::TrialConverted, 1), (TransitionKind::Renewed, 1)]).await;
        world.show("r1", refunded(), &[(TransitionKind::Expired, 1)]).await;
        assert_eq!(world.counted(renewals).await, [expected]);
        // A payment before the creation of an integration does not count as missing there.
        let later = world.chooser("later", TransitionKind::Renewed.event_type()).await;
        world.raw().run(&format!("UPDATE destinations SET created_at = created_at + 60000000 WHERE id = '{later}'"));
        assert_eq!(world.counted(later).await, []);
        let of_both = world.store.unchosen_payments(world.app.id, keys).await.unwrap();
        assert_eq!(of_both.iter().map(|one| one.destination_id).collect::<Vec<_>>(), [renewals]);
        assert_eq!(world.store.unchosen_payments(world.app.id, Vec::new()).await.unwrap(), []);
    }
}

story! {
    async fn a_busy_app_hides_no_payment_of_a_quiet_one(world: World) {
        world.sell("9.99").await;
        let renewals = world.chooser("renewals", TransitionKind::Renewed.event_type()).await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let alone = world.counted(renewals).await;
        let [one] = alone.as_slice() else { panic!("{alone:?}") };
        assert_eq!((one.payments, one.is_least), (1, false));
        world.raw().run(
            "INSERT INTO events (id, collapse_key, app_id, event_type, revision, body, created_at)
                WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < 1000)
                SELECT 'b' || i, 'b' || i, 'busy', 'user.subscription.purchased', 1, '{}', i FROM numbers",
        );
        assert_eq!(world.counted(renewals).await, alone);
    }
}
