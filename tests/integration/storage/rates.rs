//! Exchange rates that are carried forward, and rates that arrive later.

use super::batches::{fail_no_more, fail_where};
use super::overlapping::{Stall, two_processes};
use super::payments::{monthly, promoted, sale};
use super::world::{World, record, story};
use domain::TransitionKind;
use domain::catalogue::Price;
use domain::payment::SaleKind;
use domain::verification::Offer;
use storage::{
    Change, NewSale, Page, PaymentSubject, PaymentView, Product, Rate, Recorded, Run, Store,
};

impl World {
    /// Adds a product with this price in EUR to the catalogue.
    async fn sell_in_euros(&self, price: &str) {
        let prices = vec![Price {
            country: None,
            currency: "EUR".to_owned(),
            price: price.parse().unwrap(),
            since: None,
        }];
        let product = Product {
            name: None,
            entitlements: Vec::new(),
            prices,
        };
        let change = Change::SetProduct("term".to_owned(), product);
        self.store
            .change_catalogue(self.app.id, change, Run::Real)
            .await
            .unwrap();
    }

    /// Stores rates of the euro, and returns how many purchases they wake.
    async fn rates(&self, rates: &[(&str, &str)]) -> i64 {
        self.sleep();
        let rate = |(day, usd): &(&str, &str)| Rate {
            day: (*day).to_owned(),
            currency: "EUR".to_owned(),
            usd: (*usd).to_owned(),
        };
        self.store
            .put_rates(self.app.id, rates.iter().map(rate).collect())
            .await
            .unwrap();
        self.woken()
    }

    /// Returns the price in USD in a receipt's record.
    async fn price_in_usd(&self, receipt: &str) -> String {
        let data = self.store.purchase(self.key(receipt)).await.unwrap().data;
        data["data"]["price_in_usd"]
            .as_str()
            .unwrap_or("-")
            .to_owned()
    }

    /// Returns a receipt's ledger entries, oldest first, with the day of the rate and whether the rate is carried
    /// forward.
    async fn converted(&self, receipt: &str) -> Vec<String> {
        let subject = PaymentSubject::Purchases(vec![self.key(receipt)]);
        let page = self
            .store
            .payments(Some(self.app.id), subject, Page::default())
            .await
            .unwrap();
        let shown = |one: PaymentView| {
            let carried = if one.is_rate_carried { " carried" } else { "" };
            let usd = one.usd.as_deref().unwrap_or("-");
            format!(
                "{} {usd} {}{carried}",
                one.kind.as_str(),
                one.rate_day.as_deref().unwrap_or("-")
            )
        };
        page.items.into_iter().rev().map(shown).collect()
    }
}

story! {
    async fn a_rate_is_carried_forward_and_the_days_own_corrects_it_once(world: World) {
        world.sell_in_euros("8.99").await;
        let analytics = world.analytics("analytics").await;
        // A Friday's rate for a purchase on Sunday, and a rate from a year ago.
        assert_eq!(world.rates(&[("2027-01-08", "1.08"), ("2026-01-10", "1.01")]).await, 0);
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        assert_eq!(world.converted("r1").await, ["initial 9.71 2027-01-08 carried"]);
        for (rates, why) in [
            (("2027-01-11", "1.2"), "it is of the day after"),
            (("2027-01-07", "1.2"), "it ended with the one that counts"),
            (("2027-01-08", "1.08"), "it is the same"),
        ] {
            assert_eq!(world.rates(&[rates]).await, 0, "{why}");
        }
        world.settle_again("r1").await;
        assert_eq!(world.rates(&[("2027-01-10", "1.1")]).await, 1);
        // A process that is killed before its commit is followed by another one; both may have loaded the same state.
        for _ in 0..3 {
            world.settle_again("r1").await;
        }
        let expected = ["initial 9.71 2027-01-08 carried", "correction 0.18 2027-01-10"];
        assert_eq!(world.converted("r1").await, expected);
        assert_eq!(world.count("events WHERE event_type = 'revenue.adjusted'"), 1);
        assert_eq!(world.price_in_usd("r1").await, "9.89", "the record has the corrected price");
        let earned = ["user.subscription.purchased 9.71", "revenue.adjusted 0.18"];
        assert_eq!(world.sum_up("r1", analytics.id).await, earned);
        assert_eq!(world.rates(&[("2027-01-09", "1.3")]).await, 0, "another one has taken its place");
    }
}

story! {
    async fn a_price_without_a_rate_gets_it_later(world: World) {
        world.sell_in_euros("8.99").await;
        assert_eq!(world.rates(&[("2027-01-02", "1.08")]).await, 0);
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        assert_eq!(world.converted("r1").await, ["initial - -"], "it is older than a week");
        assert_eq!(world.rates(&[("2027-01-03", "1.08")]).await, 1, "it is a week old");
        world.settle_again("r1").await;
        world.settle_again("r1").await;
        assert_eq!(world.converted("r1").await, ["initial - -", "correction 9.71 2027-01-03 carried"]);
        assert_eq!(world.price_in_usd("r1").await, "9.71");
    }
}

story! {
    async fn a_payment_of_0_1_0_without_a_rate_gets_it_when_settled_next(world: World) {
        world.sell_in_euros("8.99").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.raw().run("UPDATE payments SET priced_on = NULL");
        world.rates(&[("2027-01-08", "1.08")]).await;
        world.settle_again("r1").await;
        assert_eq!(world.rates(&[("2027-01-10", "1.1")]).await, 1, "the payment has its day since");
        world.settle_again("r1").await;
        world.settle_again("r1").await;
        let expected = ["initial - -", "correction 9.71 2027-01-08 carried", "correction 0.18 2027-01-10"];
        assert_eq!(world.converted("r1").await, expected);
        world.raw().run("UPDATE payments SET priced_on = NULL, usd = '9.71' WHERE entry = 0");
        world.settle_again("r1").await;
        assert_eq!(world.converted("r1").await.len(), expected.len(), "an amount that it converted stays");
    }
}

story! {
    async fn a_price_that_is_listed_later_is_booked_once(world: World) {
        let analytics = world.analytics("analytics").await;
        for (woken, receipt, carried) in [(1, "r1", &[("2027-01-08", "1.08")][..]), (2, "r2", &[][..])] {
            world.rates(carried).await;
            world.show(receipt, monthly(), &[(TransitionKind::Purchased, 1)]).await;
            assert_eq!(world.converted(receipt).await, ["initial - -"], "it is not listed");
            world.sell_in_euros("8.99").await;
            world.settle_again(receipt).await;
            let expected = ["initial - -", "correction 9.71 2027-01-08 carried"];
            assert_eq!(world.converted(receipt).await, expected[..=carried.len()]);
            assert_eq!(world.rates(&[("2027-01-10", "1.1")]).await, woken, "{receipt}");
            world.settle_again(receipt).await;
            world.settle_again(receipt).await;
            let earned: &[&str] = match carried {
                [] => &["revenue.adjusted 9.89"],
                _ => &["revenue.adjusted 9.71", "revenue.adjusted 0.18"],
            };
            assert_eq!(world.sum_up(receipt, analytics.id).await, earned);
            let change = Change::DeleteProduct("term".to_owned());
            world.store.change_catalogue(world.app.id, change, Run::Real).await.unwrap();
            world.raw().run("DELETE FROM rates");
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_report_by_a_carried_rate_is_corrected_by_the_days_own_one(world: World) {
        world.sell("9.99").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.rates(&[("2027-01-08", "1.25")]).await;
        let line = NewSale { currency: "EUR".to_owned(), ..sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "8.00") };
        world.store.import_sales(world.app.id, vec![line], Run::Real).await.unwrap();
        world.settle_again("r1").await;
        assert_eq!(world.converted("r1").await, ["initial 9.99 -", "correction 0.01 2027-01-08 carried"]);
        assert_eq!(world.rates(&[("2027-01-10", "1.5")]).await, 1);
        world.settle_again("r1").await;
        world.settle_again("r1").await;
        assert_eq!(world.ledger("r1"), ["1 initial 9.99 catalogue", "1 correction 0.01 report", "1 correction 2.00 report"]);
        assert_eq!(world.converted("r1").await[2], "correction 2.00 2027-01-10");
    }
}

story! {
    async fn a_price_that_is_confirmed_later_is_converted_anew(world: World) {
        world.sell_in_euros("8.99").await;
        for (woken, receipt, carried) in [(1, "r1", &[("2027-01-08", "1.08")][..]), (2, "r2", &[][..])] {
            world.rates(carried).await;
            let promoted_yet = promoted("12:05", Some(Offer::Introductory));
            world.show(receipt, promoted_yet, &[(TransitionKind::Renewed, 2)]).await;
            world.show(receipt, promoted("15:00", None), &[]).await;
            world.settle_again(receipt).await;
            let expected = ["renewal - -", "correction 9.71 2027-01-08 carried"];
            assert_eq!(world.converted(receipt).await, expected[..=carried.len()]);
            assert_eq!(world.rates(&[("2027-01-10", "1.1")]).await, woken, "{receipt}");
            world.settle_again(receipt).await;
            world.settle_again(receipt).await;
            let last = world.converted(receipt).await.pop();
            let difference = if carried.is_empty() { "correction 9.89 2027-01-10" } else { "correction 0.18 2027-01-10" };
            assert_eq!(last.as_deref(), Some(difference));
            assert_eq!(world.price_in_usd(receipt).await, "9.89");
            world.raw().run("DELETE FROM rates");
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

/// The first process is killed while it writes the correction; the second has loaded the same state and follows. Its
/// record is set aside for as long as the customer is locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_and_a_kill_correct_a_price_once() {
    let (world, second) = two_processes().await;
    world.sell_in_euros("8.99").await;
    world.rates(&[("2027-01-08", "1.08")]).await;
    world
        .show("r1", monthly(), &[(TransitionKind::Purchased, 1)])
        .await;
    world.rates(&[("2027-01-10", "1.1")]).await;
    let key = world.key("r1");
    let loaded = world.load(key).await;
    let mut again = record(key, &loaded);
    again.decision.purchase = loaded.purchase;
    let begin = |store: &Store| {
        let (store, again) = (store.clone(), again.clone());
        tokio::spawn(async move { store.record(again).await })
    };
    let stall = Stall::by(&world, "LOCK TABLE payments IN SHARE ROW EXCLUSIVE MODE");
    let first = begin(&world.store);
    stall.wait_stalled(&world, 1).await;
    let other = begin(&second);
    let kill = "SELECT COUNT(pg_terminate_backend(pid)) AS value FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'relation'";
    assert_eq!(world.raw().number(kill), 1);
    stall.end();
    for recording in [first, other] {
        drop(recording.await.unwrap());
    }
    for store in [&world.store, &second] {
        assert!(
            matches!(begin(store).await.unwrap(), Ok(Recorded::Done { .. })),
            "it is repeated"
        );
    }
    world.settle_again("r1").await;
    assert_eq!(
        world.converted("r1").await,
        [
            "initial 9.71 2027-01-08 carried",
            "correction 0.18 2027-01-10"
        ]
    );
    assert_eq!(
        world.count("events WHERE event_type = 'revenue.adjusted'"),
        1
    );
    assert_eq!(world.broken(1000).await, []);
}

story! {
    async fn a_refund_of_a_report_dates_no_payment_of_0_1_0(world: World) {
        world.sell_in_euros("8.99").await;
        world.rates(&[("2027-01-08", "1.08"), ("2027-01-15", "1.2")]).await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.raw().run("UPDATE payments SET priced_on = NULL, rate_day = NULL");
        let refund = sale("t1", SaleKind::Refund, "2027-01-15T13:00:00Z", "2.00");
        let line = NewSale { currency: "EUR".to_owned(), ..refund };
        world.store.import_sales(world.app.id, vec![line], Run::Real).await.unwrap();
        for _ in 0..3 {
            world.settle_again("r1").await;
        }
        assert_eq!(world.converted("r1").await, ["initial 9.71 -", "refund -2.40 2027-01-15"]);
    }
}

story! {
    async fn a_refund_of_a_whole_payment_leaves_nothing_to_correct(world: World) {
        world.sell_in_euros("8.99").await;
        world.rates(&[("2027-01-08", "1.08")]).await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let refund = sale("t1", SaleKind::Refund, "2027-01-10T13:00:00Z", "8.99");
        let line = NewSale { currency: "EUR".to_owned(), ..refund };
        world.store.import_sales(world.app.id, vec![line], Run::Real).await.unwrap();
        world.settle_again("r1").await;
        let expected = ["initial 9.71 2027-01-08 carried", "refund -9.71 2027-01-08 carried"];
        assert_eq!(world.converted("r1").await, expected);
        assert_eq!(world.rates(&[("2027-01-10", "1.1")]).await, 1);
        world.settle_again("r1").await;
        world.settle_again("r1").await;
        assert_eq!(world.converted("r1").await, expected);
    }
}

story! {
    async fn an_import_completes_what_0_1_0_left_without_a_rate(world: World) {
        for (woken, receipt, is_dated) in [(1, "r1", true), (2, "r2", false)] {
            world.sell_in_euros("8.99").await;
            world.show(receipt, monthly(), &[(TransitionKind::Purchased, 1)]).await;
            assert_eq!(world.ledger(receipt), ["1 initial no_rate catalogue"]);
            if !is_dated {
                let key = world.key(receipt);
                world.raw().run(&format!("UPDATE payments SET priced_on = NULL WHERE collapse_key = '{key}'"));
            }
            let change = Change::DeleteProduct("term".to_owned());
            world.store.change_catalogue(world.app.id, change, Run::Real).await.unwrap();
            assert_eq!(world.rates(&[("2027-01-10", "1.1")]).await, woken, "{receipt}");
            // A worker of release 0.1.0 settled the purchase then, and recorded no correction.
            assert_eq!(world.rates(&[("2027-01-10", "1.1")]).await, 1, "{receipt}: the same rate again");
            world.settle_again(receipt).await;
            world.settle_again(receipt).await;
            assert_eq!(world.converted(receipt).await, ["initial - -", "correction 9.89 2027-01-10"]);
            assert_eq!(world.rates(&[("2027-01-10", "1.1")]).await, 0, "{receipt}: it is complete");
            world.raw().run("DELETE FROM rates");
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn the_day_of_a_payment_of_0_1_0_is_noted_before_its_rate_comes(world: World) {
        world.sell_in_euros("8.99").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.raw().run("UPDATE payments SET priced_on = NULL");
        world.settle_again("r1").await;
        assert_eq!(world.raw().texts("SELECT priced_on AS value FROM payments"), ["2027-01-10"]);
        assert_eq!(world.rates(&[("2027-03-01", "1.1")]).await, 0, "it is of another day");
        assert_eq!(world.rates(&[("2027-01-10", "1.1")]).await, 1);
    }
}

/// Number of purchases, divided equally between four days.
const MANY: i64 = 1_200;

/// Inserts purchases paid in euros at the beginning of February.
fn crowd(world: &World) {
    let key = "'00000000-0000-5000-8000-' || (100000000000 + i)";
    let purchases = world
        .purchases()
        .numbered(1, MANY)
        .sql("receipt_id", "'c' || i")
        .sql("collapse_key", key);
    world.raw().run(&purchases);
    world.raw().run(&format!(
        "INSERT INTO payments (collapse_key, number, entry, app_id, environment, kind, event_id, occurred_at, source,
            price, currency, usd, priced_on, created_at)
         WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {MANY})
         SELECT {key}, 1, 0, '{}', 'production', 'initial', 'e' || i, i, 'catalogue',
            '8.99', 'EUR', '9.71', '2027-02-0' || (1 + i % 4), i
         FROM numbers",
        world.app.id
    ));
}

story! {
    async fn an_import_over_many_payments_is_stored_in_portions(world: World) {
        crowd(&world);
        let days = ["2027-02-01", "2027-02-02", "2027-02-03", "2027-02-04"];
        let rate = |day: &str| Rate { day: day.to_owned(), currency: "EUR".to_owned(), usd: "1.1".to_owned() };
        let import = async || world.store.put_rates(world.app.id, days.map(rate).to_vec()).await;
        let rechecked = || (world.woken(), world.count("purchases WHERE settling = 2"), world.count("rates"));
        // A purchase of the oldest day makes the import fail: what preceded it is stored.
        fail_where(&world, "purchases", "NEW.receipt_id = 'c4'");
        import().await.unwrap_err();
        assert_eq!(rechecked(), (MANY * 3 / 4, MANY * 3 / 4, 3), "the newest days first");
        fail_no_more(&world, "purchases");
        import().await.unwrap();
        assert_eq!(rechecked(), (MANY, MANY, 4), "each once");
        assert_eq!(world.count("audit_log WHERE operation = 'rates.put'"), 4);
        world.sleep();
        import().await.unwrap();
        assert_eq!(world.woken(), 0);
    }
}
