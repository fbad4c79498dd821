//! A price and its refund in one sales report: in the ledger and in the list of payments.

use super::payments::{monthly, refunded, sale};
use super::world::{World, story};
use domain::TransitionKind;
use domain::payment::{EntryKind, SaleKind};
use storage::{Page, Run};

story! {
    async fn a_price_and_its_refund_in_one_report_are_two_entries(world: World) {
        world.sell("9.99").await;
        let analytics = world.analytics("analytics").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let lines = vec![
            sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "7.99"),
            sale("t1", SaleKind::Refund, "2027-01-20T13:00:00Z", "7.99"),
        ];
        let answer = world.store.import_sales(world.app.id, lines.clone(), Run::Real).await.unwrap();
        let stated = answer.differences.iter().map(|one| (one.what, one.usd.as_deref().unwrap()));
        assert_eq!(stated.collect::<Vec<_>>(), [("correction", "-2.00"), ("refund", "-7.99")]);
        world.settle_again("r1").await;
        let expected = ["user.subscription.purchased 9.99", "revenue.adjusted -2.00", "revenue.adjusted -7.99"];
        assert_eq!(world.sum_up("r1", analytics.id).await, expected);
        assert_eq!(world.ledger("r1")[1..], ["1 correction -2.00 report", "1 refund -7.99 report"]);
        world.settle_again("r1").await;
        assert_eq!(world.ledger("r1").len(), 3, "the same facts again");
        assert_eq!((world.differing().await, world.broken(1000).await), (vec![], vec![]));
        let subject = || storage::PaymentSubject::Purchases(vec![world.key("r1")]);
        let (mut cursor, mut listed) = (None, Vec::new());
        loop {
            let page = world.store.payments(Some(world.app.id), subject(), Page { cursor, limit: 1 }).await.unwrap();
            listed.extend(page.items.into_iter().map(|one| (one.kind, one.usd.unwrap_or_default())));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let (refund, correction) = ((EntryKind::Refund, "-7.99"), (EntryKind::Correction, "-2.00"));
        let listed: Vec<_> = listed.iter().map(|(kind, usd)| (*kind, usd.as_str())).collect();
        assert_eq!(listed, [refund, correction, (EntryKind::Initial, "9.99")], "newest first, page by page");
        let other = domain::AppId::new(uuid::Uuid::from_u128(7));
        assert_eq!(world.store.payments(Some(other), subject(), Page::default()).await.unwrap().items, []);
    }
}

story! {
    async fn a_refund_by_an_early_end_is_confirmed_by_a_report(world: World) {
        world.sell("9.99").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.show("r1", refunded(), &[(TransitionKind::Expired, 1)]).await;
        let refund = async || {
            let subject = storage::PaymentSubject::Purchases(vec![world.key("r1")]);
            let listed = world.store.payments(Some(world.app.id), subject, Page::default()).await.unwrap().items;
            listed.into_iter().find(|one| one.kind == EntryKind::Refund).unwrap()
        };
        let inferred = refund().await;
        assert_eq!((inferred.source.as_str(), inferred.transaction_id), ("store", None));
        let charge = sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "9.99");
        world.store.import_sales(world.app.id, vec![charge], Run::Real).await.unwrap();
        assert_eq!(refund().await.transaction_id, None, "a charge confirms no refund");
        let line = sale("t1", SaleKind::Refund, "2027-01-20T13:00:00Z", "9.99");
        world.store.import_sales(world.app.id, vec![line], Run::Real).await.unwrap();
        let confirmed = refund().await;
        assert_eq!((confirmed.transaction_id.as_deref(), confirmed.is_corrected), (Some("t1"), false));
        assert_eq!(world.ledger("r1").len(), 2, "the report agrees");
    }
}
