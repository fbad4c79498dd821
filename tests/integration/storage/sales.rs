//! The list that the import of a sales report returns.

use super::payments::{monthly, promoted, sale};
use super::world::{World, story};
use domain::TransitionKind;
use domain::payment::SaleKind;
use domain::verification::Offer;
use storage::{NewSale, Page, PaymentSubject, Run};

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

impl World {
    /// Returns the listed payments of `r1` by number: amount, source, the sales report's transaction, and whether the
    /// report corrects it.
    async fn listed(&self) -> Vec<String> {
        let subject = PaymentSubject::Purchases(vec![self.key("r1")]);
        let page = self
            .store
            .payments(Some(self.app.id), subject, Page::default())
            .await
            .unwrap();
        let shown = |one: storage::PaymentView| {
            let transaction = one.transaction_id.as_deref().unwrap_or("-");
            let corrected = if one.is_corrected { " corrected" } else { "" };
            format!(
                "{} {} {} {transaction}{corrected}",
                one.number,
                one.usd.unwrap_or_default(),
                one.source
            )
        };
        let mut all: Vec<_> = page.items.into_iter().map(shown).collect();
        all.sort_unstable();
        all
    }
}

story! {
    async fn a_report_with_the_recorded_price_confirms_each_payment(world: World) {
        world.sell("9.99").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        assert_eq!(world.listed().await, ["1 9.99 catalogue -"]);
        let import = async |id: &str, at: &str, price: &str| {
            let line = sale(id, SaleKind::Charge, at, price);
            world.store.import_sales(world.app.id, vec![line], Run::Real).await.unwrap();
            world.settle_again("r1").await;
        };
        import("t1", "2027-01-10T13:00:00Z", "9.99").await;
        assert_eq!(world.ledger("r1").len(), 1, "the price is right, so nothing is booked");
        assert_eq!(world.listed().await, ["1 9.99 catalogue t1"]);
        world.show("r1", monthly(), &[(TransitionKind::Renewed, 2)]).await;
        assert_eq!(world.listed().await, ["1 9.99 catalogue t1", "2 9.99 catalogue -"], "the earlier one stays");
        import("t2", "2027-01-10T14:00:00Z", "9.99").await;
        assert_eq!(world.listed().await, ["1 9.99 catalogue t1", "2 9.99 catalogue t2"]);
        world.show("r1", monthly(), &[(TransitionKind::Renewed, 3)]).await;
        import("t3", "2027-01-10T15:00:00Z", "7.99").await;
        let corrected = ["3 -2.00 report t3", "3 9.99 catalogue t3 corrected"];
        assert_eq!(world.listed().await[2..], corrected);
    }
}

story! {
    async fn a_price_that_was_added_later_is_confirmed(world: World) {
        world.sell("9.99").await;
        let introductory = promoted("12:05", Some(Offer::Introductory));
        world.show("r1", introductory, &[(TransitionKind::Renewed, 2)]).await;
        world.show("r1", promoted("15:00", None), &[]).await;
        assert_eq!(world.listed().await, ["2  catalogue -", "2 9.99 catalogue -"]);
        let line = sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "9.99");
        world.store.import_sales(world.app.id, vec![line], Run::Real).await.unwrap();
        world.settle_again("r1").await;
        assert_eq!(world.ledger("r1").len(), 2, "the added price is right, so nothing is booked");
        assert_eq!(world.listed().await, ["2  catalogue t1", "2 9.99 catalogue t1"]);
    }
}

story! {
    async fn payments_of_several_purchases_are_one_list(world: World) {
        world.sell("9.99").await;
        for receipt in ["r1", "r2", "r3"] {
            world.show(receipt, monthly(), &[(TransitionKind::Purchased, 1)]).await;
        }
        let line = |receipt: &str| NewSale {
            receipt_id: receipt.to_owned(),
            ..sale(&format!("t-{receipt}"), SaleKind::Charge, "2027-01-10T13:00:00Z", "9.99")
        };
        world.store.import_sales(world.app.id, vec![line("r1"), line("r3")], Run::Real).await.unwrap();
        let keys = vec![world.key("r1"), world.key("r2"), world.key("not bought")];
        let listed = async |keys, limit| {
            let (subject, page) = (PaymentSubject::Purchases(keys), Page { cursor: None, limit });
            let payments = world.store.payments(Some(world.app.id), subject, page).await.unwrap();
            let mut all: Vec<_> = payments.items.into_iter().map(|one| (one.collapse_key, one.transaction_id)).collect();
            all.sort();
            (all, payments.next_cursor.is_some())
        };
        let mut expected = vec![(world.key("r1"), Some("t-r1".to_owned())), (world.key("r2"), None)];
        expected.sort();
        assert_eq!(listed(keys.clone(), 2).await, (expected, false));
        assert!(listed(keys.clone(), 1).await.1, "there are more");
        assert_eq!(listed(Vec::new(), 2).await, (Vec::new(), false), "of no purchase, not of all");
        let mut purchases: Vec<_> = world.store.purchases_of(keys).await.unwrap();
        purchases.sort_by(|a, b| a.receipt_id.cmp(&b.receipt_id));
        assert_eq!(purchases.iter().map(|one| one.receipt_id.as_str()).collect::<Vec<_>>(), ["r1", "r2"]);
        assert!(world.store.purchases_of(Vec::new()).await.unwrap().is_empty());
    }
}
