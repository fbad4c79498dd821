//! What no notification reported is found; what is reported again changes nothing.

use super::{ACCOUNT, CENTS, GOLD, Shop, token};
use domain::time::HOUR;
use system_tests::play::push::{PURCHASED, RENEWED};
use system_tests::play::{Bought, Fault, Notice, Resource};

#[tokio::test(flavor = "multi_thread")]
async fn a_void_that_no_notification_reported_is_found_once() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("unreported").await;
    let id = bought.token.clone();
    shop.pass_days(1).await;
    shop.void(&mut bought);
    shop.skip(HOUR * 5).await;
    shop.wait_amounts(&id, &[CENTS, -CENTS]).await;
    let data = shop.data(&id);
    assert_eq!(data["is_active"], false, "{data}");
    assert!(data["revoked_at"].is_string(), "{data}");
    let expected = ["subscription.purchased", "subscription.expired"];
    shop.check_events(&id, &expected).await;

    // The list still has it.
    let updates = shop.updates(&id).len();
    for _ in 0..2 {
        shop.skip(HOUR * 5).await;
        shop.rest().await;
    }
    assert_eq!(shop.updates(&id).len(), updates, "the record is the same");

    // Google's own notification is late.
    let late = Notice::voided(&id, &bought.order_id(1), shop.now());
    shop.push_all(vec![late]).await;
    shop.check_events(&id, &expected).await;
    assert_eq!(shop.amounts(&id).await, [CENTS, -CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_read_for_days_loses_nothing() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("outage-of-the-list").await;
    let id = bought.token.clone();
    let down = Fault::Status(503);
    shop.fake().answer(&[Resource::Voided], &down);
    shop.void(&mut bought);
    for _ in 0..6 {
        shop.skip(HOUR * 12).await;
    }
    shop.fake().answer_truly();
    shop.skip(HOUR * 2).await;
    shop.wait_amounts(&id, &[CENTS, -CENTS]).await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_old_messages_sends_no_event_twice() {
    let mut shop = Shop::open().await;
    let id = token("replayed");
    let mut bought = Bought::subscription(&id, GOLD, shop.now()).of(ACCOUNT);
    shop.fake().show(&bought);
    let purchased = Notice::subscription(PURCHASED, &id, shop.now());
    let mut messages = vec![shop.push(&purchased).await];
    for _ in 0..3 {
        shop.pass_until(bought.paid_until()).await;
        bought.renew(shop.now());
        shop.fake().show(&bought);
        let renewed = Notice::subscription(RENEWED, &id, shop.now());
        messages.push(shop.push(&renewed).await);
    }
    let updates = shop.updates(&id).len();
    for message in &messages {
        shop.calendar.world.push_until_accepted(message).await;
    }
    shop.skip(HOUR).await;
    let mut expected = vec!["subscription.purchased"];
    expected.extend(["subscription.renewed"; 3]);
    shop.check_events(&id, &expected).await;
    assert_eq!(shop.amounts(&id).await, [CENTS; 4]);
    assert_eq!(shop.updates(&id).len(), updates, "the record is the same");
    shop.finish().await;
}
