//! Purchased products that are missing from the catalogue: one alarm for each product, with its customers.

use super::payments::{monthly, refunded};
use super::world::{World, story};
use domain::verification::Product as Kind;
use domain::{Snapshot, TransitionKind};
use std::collections::BTreeSet;
use storage::{Alarm, AlarmFilter, Change, EntitlementText, Page, Product, Run};

const BOUGHT: &[(TransitionKind, u64)] = &[(TransitionKind::Purchased, 1)];

impl World {
    /// Returns the alarms about missing products.
    async fn missing(&self, open: bool) -> Vec<Alarm> {
        let kind = Some("product_unlisted".to_owned());
        let filter = AlarmFilter {
            open: Some(open),
            kind,
            ..AlarmFilter::default()
        };
        self.store
            .alarms_of(filter, Page::default())
            .await
            .unwrap()
            .items
    }

    async fn recatalogue(&self, change: Change) {
        self.store
            .change_catalogue(self.app.id, change, Run::Real)
            .await
            .unwrap();
    }

    /// Adds an entitlement to the catalogue, so that the app grants access.
    async fn give_access(&self) {
        let gold = EntitlementText {
            name: "Gold".to_owned(),
            description: None,
        };
        self.recatalogue(Change::SetEntitlement("gold".to_owned(), gold))
            .await;
    }
}

story! {
    async fn a_bought_product_that_is_not_listed_raises_one_alarm(world: World) {
        world.show("r0", monthly(), BOUGHT).await;
        assert_eq!(world.missing(true).await, [], "an app without entitlements gives no access by settle");
        world.give_access().await;
        world.show("r1", monthly(), BOUGHT).await;
        world.show("r2", monthly(), BOUGHT).await;
        let open = world.missing(true).await;
        assert_eq!(open.len(), 1, "{open:?}");
        assert!(open[0].detail.starts_with("`term` is not in the catalogue"), "{open:?}");
        assert_eq!((open[0].platform_id, open[0].unlisted_sku()), (Some(world.platform.id), Some("term")));
        assert_eq!(open[0].customers, Some(1), "all are of one customer");
        assert_eq!(world.store.one_alarm(open[0].id).await.unwrap().customers, Some(1));
        let keys = ["r0", "r1", "r2"].map(|receipt| world.key(receipt));
        assert_eq!(world.store.unlisted(keys.to_vec()).await.unwrap(), BTreeSet::from(keys));
        for receipt in ["r0", "r1", "r2"] {
            world.show(receipt, refunded(), &[(TransitionKind::Expired, 1)]).await;
        }
        assert_eq!(world.missing(true).await[0].customers, Some(0), "nobody has it any more");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn the_alarm_closes_when_the_product_is_listed_under_either_sku(world: World) {
        world.give_access().await;
        world.show("r1", monthly(), BOUGHT).await;
        let other = Change::SetProduct("other".to_owned(), Product::default());
        world.recatalogue(other).await;
        assert_eq!(world.missing(true).await.len(), 1, "another product was listed");
        world.recatalogue(Change::SetProduct("parent".to_owned(), Product::default())).await;
        assert_eq!(world.missing(true).await, []);
        let closed = world.missing(false).await;
        assert_eq!((closed[0].acknowledged_by.as_deref(), closed[0].customers), (Some("settle"), None));
        // The product is listed without entitlements on purpose.
        world.show("r2", monthly(), BOUGHT).await;
        assert_eq!(world.missing(true).await, []);
        assert_eq!(world.store.unlisted(vec![world.key("r2")]).await.unwrap(), BTreeSet::new());
        world.recatalogue(Change::DeleteProduct("parent".to_owned())).await;
        world.show("r3", monthly(), BOUGHT).await;
        assert_eq!(world.missing(true).await.len(), 1, "it is open again");
        world.recatalogue(Change::SetProduct("term".to_owned(), Product::default())).await;
        assert_eq!(world.missing(true).await, []);
    }
}

story! {
    async fn what_is_used_up_or_for_no_money_raises_no_alarm(world: World) {
        world.give_access().await;
        let coins = Snapshot { product: Kind::Consumable, term: None, renews_at: None, ..monthly() };
        world.show("r1", coins, BOUGHT).await;
        world.show("r2", Snapshot { is_test: true, ..monthly() }, BOUGHT).await;
        assert_eq!(world.missing(true).await, []);
    }
}
