//! An API that fails over the end of a term ends no access.

use super::{ACCOUNT, CENTS, GOLD, Shop, token};
use domain::time::HOUR;
use serde_json::json;
use system_tests::play::push::{PURCHASED, RENEWED};
use system_tests::play::{Bought, Choices, Fault, Notice, Resource};
use system_tests::wait;
use system_tests::world::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn g24_an_outage_over_the_end_of_a_term_ends_nothing() {
    let choices = Choices {
        patience: Some("2s"),
        ..Choices::default()
    };
    let mut shop = Shop::open_with(choices).await;
    let id = token("outage");
    let now = shop.now();
    let bought = Bought::subscription(&id, GOLD, now).of(ACCOUNT);
    let mut bought = bought.until(now.plus(HOUR * 3));
    shop.happen(&bought, &[PURCHASED]).await;
    let before = shop.updates(&id);

    shop.fake().answer(&Resource::API, &Fault::Status(503));
    shop.skip(HOUR * 6).await;
    bought.renew(shop.now());
    shop.fake().show(&bought);
    let renewed = Notice::subscription(RENEWED, &id, shop.now());
    let message = shop.calendar.world.push(&renewed).await;
    wait::until(SOON, "an alarm about the store", async || {
        let alarms = shop.world().api.all("/v1/alarms").await;
        let is_raised = alarms
            .iter()
            .any(|alarm| alarm["kind"] == "verification_waits");
        if is_raised {
            Ok(())
        } else {
            Err(format!("{alarms:?}"))
        }
    })
    .await;
    shop.check_events(&id, &["subscription.purchased"]).await;
    assert_eq!(shop.updates(&id), before, "nothing is announced");
    assert_eq!(shop.data(&id)["is_active"], true);

    shop.fake().answer_truly();
    let key = shop.world().play_key(&id);
    let path = format!("/v1/purchases/{key}/flush");
    let body = json!({ "reason": "the store is back" });
    shop.world().request(&path, &body).await;
    shop.world().wait_outcome(&message).await;
    let expected = ["subscription.purchased", "subscription.renewed"];
    shop.check_events(&id, &expected).await;
    assert_eq!(shop.amounts(&id).await, [CENTS; 2]);
    assert_eq!(shop.data(&id)["is_active"], true);
    shop.finish().await;
}
