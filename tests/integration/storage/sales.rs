//! What the import of a sales report lists.

use super::payments::{monthly, sale};
use super::world::{World, story};
use domain::TransitionKind;
use domain::payment::SaleKind;
use storage::{NewSale, Run};

story! {
    async fn a_refund_is_listed_with_its_own_amount(world: World) {
        world.sell("4.99").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let charge = || sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "4.99");
        let part = |at: &str, amount: &str| sale("t1", SaleKind::Refund, at, amount);
        let (first, second) = (part("2027-01-20T13:00:00Z", "3.34"), part("2027-01-25T13:00:00Z", "1.00"));
        let listed = async |lines: Vec<NewSale>| {
            let imported = world.store.import_sales(world.app.id, lines, Run::Real).await.unwrap();
            let shown = |one: storage::Difference| (one.what, one.listed, one.reported, one.usd);
            let all: Vec<_> = imported.differences.into_iter().map(shown).collect();
            world.settle_again("r1").await;
            all
        };
        let of = |listed: &str, reported: &str, usd: &str| {
            ("refund", Some(listed.to_owned()), Some(reported.to_owned()), Some(usd.to_owned()))
        };
        assert_eq!(listed(vec![charge(), first.clone()]).await, [of("4.99 USD", "3.34 USD", "-3.34")]);
        assert_eq!(listed(vec![charge(), first, second]).await, [of("4.99 USD", "1.00 USD", "-1.00")]);
    }
}
