//! `kill -9` at every fail point of a purchase in the App Store: it is announced once, and its payment is booked once.

use super::{CENTS, GOLD, Shop};
use crate::kills::{ACCEPTING, DELIVERING, SETTLING, events_of, purchase_at, wait_asleep};
use system_tests::appstore::{Bought, account};

/// Buys a subscription while the process aborts at a fail point, and checks that it counts once.
async fn buy_and_kill(shop: &mut Shop, point: &str) {
    let bought = Bought::subscription(GOLD, shop.now()).of(&account(&purchase_at(point)));
    shop.fake().show(&bought);
    let notice = shop.notice("SUBSCRIBED/INITIAL_BUY", &bought);
    let message = notice.message(shop.fake().chain());
    let fail_point = format!("{point}=1*return");
    shop.calendar.restart_with(&fail_point).await;
    let answer = shop.calendar.world.post_notification(&message).await;
    shop.calendar.wait_abort(point).await;
    if ACCEPTING[..2].contains(&point) {
        assert!(
            answer.is_err(),
            "{point}: a dead process answered {answer:?}"
        );
    }
    shop.calendar.restart().await;
    // Without an answer Apple repeats the notification after an hour, and sometimes in spite of one.
    shop.calendar.world.notify_until_accepted(&message).await;
    let outcomes = shop.outcomes(&message).await;
    assert_eq!(outcomes, ["settled"], "{point}");
    shop.rest().await;
    let world = shop.world();
    assert_eq!(
        events_of(world, &bought.id),
        ["user.subscription.purchased"],
        "{point}"
    );
    assert_eq!(shop.amounts(&bought).await, [CENTS], "{point}");
    wait_asleep(world, world.appstore_key(&bought.id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_survives_every_kill_until_it_is_recorded() {
    let mut shop = Shop::open().await;
    for point in ACCEPTING.into_iter().chain(SETTLING) {
        buy_and_kill(&mut shop, point).await;
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_survives_every_kill_in_its_deliveries() {
    let mut shop = Shop::open().await;
    for point in DELIVERING {
        buy_and_kill(&mut shop, point).await;
    }
    shop.finish().await;
}
