//! What no notification reported is found; what is reported again changes nothing.

use super::{ACCOUNT, CENTS, GOLD, Shop, token};
use domain::time::{DAY, HOUR};
use system_tests::play::push::{PURCHASED, RENEWED};
use system_tests::play::{Bought, Fault, Notice, Push, Resource, Voided};

/// Shows a subscription that was taken away now together with its payment, and lists the void.
pub(super) fn void(shop: &Shop, bought: &mut Bought) {
    let (order, now) = (bought.order_id(1), shop.now());
    bought.refund(&order, now);
    bought.expire(now);
    shop.fake().show(bought);
    shop.fake().void(Voided {
        token: bought.token.clone(),
        order_id: order,
        is_subscription: true,
        bought_at: now.minus(DAY),
        voided_at: now,
        reason: 7,
        pieces: None,
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_that_no_notification_reported_is_found_once() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("unreported").await;
    let id = bought.token.clone();
    shop.pass_days(1).await;
    void(&shop, &mut bought);
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
    void(&shop, &mut bought);
    for _ in 0..6 {
        shop.skip(HOUR * 12).await;
    }
    shop.fake().answer_truly();
    shop.skip(HOUR * 2).await;
    shop.wait_amounts(&id, &[CENTS, -CENTS]).await;
    shop.finish().await;
}

/// Pushes a notification about a subscription, and returns the message for its replay.
async fn push(shop: &mut Shop, number: i64, token: &str) -> Push {
    let message = Notice::subscription(number, token, shop.now()).message();
    shop.calendar.world.push_until_accepted(&message).await;
    shop.world().wait_outcome(&message.id).await;
    shop.rest().await;
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_old_messages_sends_no_event_twice() {
    let mut shop = Shop::open().await;
    let id = token("replayed");
    let mut bought = Bought::subscription(&id, GOLD, shop.now()).of(ACCOUNT);
    shop.fake().show(&bought);
    let mut messages = vec![push(&mut shop, PURCHASED, &id).await];
    for _ in 0..3 {
        shop.pass_until(bought.paid_until()).await;
        bought.renew(shop.now());
        shop.fake().show(&bought);
        messages.push(push(&mut shop, RENEWED, &id).await);
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
