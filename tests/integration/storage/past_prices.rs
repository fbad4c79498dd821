//! The price of a payment in the record, after a change of the customer or the catalogue.

use super::payments::monthly;
use super::world::{World, story};
use domain::catalogue::Price;
use domain::{Snapshot, TransitionKind};
use storage::{Change, Product, Run};

story! {
    async fn the_price_of_a_past_payment_stays_until_the_next_one(world: World) {
        let price = |country: Option<&str>, currency: &str, price: &str| Price {
            country: country.map(str::to_owned),
            currency: currency.to_owned(),
            price: price.parse().unwrap(),
            since: None,
        };
        let sell = async |prices| {
            let product = Product { name: None, entitlements: Vec::new(), prices };
            let change = Change::SetProduct("term".to_owned(), product);
            world.store.change_catalogue(world.app.id, change, Run::Real).await.unwrap();
        };
        let rate = |day: &str| format!("VALUES ('{}', 'EUR', '{day}', '1.10')", world.app.id);
        world.raw().run(&format!("INSERT INTO rates (app_id, currency, day, usd) {}", rate("2027-01-10")));
        sell(vec![price(Some("DE"), "EUR", "8.99"), price(None, "USD", "9.99")]).await;
        let of = |country: &str| Snapshot { country: Some(country.to_owned()), ..monthly() };
        let record = async || {
            let data = world.store.purchase(world.key("r1")).await.unwrap().data["data"].clone();
            let fields = ["purchase_price", "purchase_currency", "price_in_usd", "price_source"];
            fields.map(|field| data[field].as_str().unwrap_or("-").to_owned()).join(" ")
        };
        world.show("r1", of("DE"), &[(TransitionKind::Purchased, 1)]).await;
        assert_eq!(record().await, "8.99 EUR 9.89 catalogue");
        world.show("r1", of("US"), &[]).await;
        assert_eq!(record().await, "8.99 EUR 9.89 catalogue", "the customer moved");
        sell(vec![]).await;
        world.show("r1", of("US"), &[(TransitionKind::Cancelled, 1)]).await;
        assert_eq!(record().await, "8.99 EUR 9.89 catalogue", "the product lost its prices");
        sell(vec![price(None, "USD", "9.99")]).await;
        world.show("r1", of("US"), &[(TransitionKind::Renewed, 2)]).await;
        assert_eq!(record().await, "9.99 USD 9.99 catalogue");
        assert_eq!(world.ledger("r1"), ["1 initial 9.89 catalogue", "2 renewal 9.99 catalogue"]);
        // A payment without a price gets one from the catalogue, even later.
        sell(vec![]).await;
        world.show("r1", of("US"), &[(TransitionKind::Renewed, 3)]).await;
        assert_eq!(record().await, "- - - -");
        sell(vec![price(None, "USD", "10.99")]).await;
        world.settle_again("r1").await;
        assert_eq!(record().await, "10.99 USD 10.99 catalogue");
        let corrected = ["3 renewal not_listed catalogue", "3 correction 10.99 catalogue"];
        assert_eq!(world.ledger("r1")[2..], corrected);
        sell(vec![price(None, "USD", "12.99")]).await;
        world.settle_again("r1").await;
        assert_eq!(record().await, "10.99 USD 10.99 catalogue", "its price is recorded too");
        assert_eq!(world.ledger("r1")[2..], corrected, "once");
        assert_eq!(world.broken(1000).await, []);
    }
}
