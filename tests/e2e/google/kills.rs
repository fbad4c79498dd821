//! `kill -9` at every fail point of a purchase and of a repair: each purchase is announced once, and each amount is
//! booked once. `duties` kills around an acknowledgement.

use super::{CENTS, GOLD, Shop, token};
use crate::kills::{ACCEPTING, DELIVERING, SETTLING, events_of, purchase_at, wait_asleep};
use domain::time::{HOUR, MINUTE};
use system_tests::play::push::PURCHASED;
use system_tests::play::{Bought, Notice};
use system_tests::wait;
use system_tests::world::SOON;
use workflows::contract;

/// The fail points of a repair that found something.
const REPAIRING: [&str; 2] = ["repairs.after_answer", "repairs.after_accept"];

/// Buys a subscription while the process aborts at a fail point, and checks that it counts once.
async fn buy_and_kill(shop: &mut Shop, point: &str) {
    let name = purchase_at(point);
    let id = token(&name);
    let bought = Bought::subscription(&id, GOLD, shop.now());
    shop.fake().show(&bought.of(&format!("customer-{name}")));
    shop.calendar
        .restart_with(&format!("{point}=1*return"))
        .await;
    let message = Notice::subscription(PURCHASED, &id, shop.now()).message();
    let answer = shop.calendar.world.post_push(&message).await;
    shop.calendar.wait_abort(point).await;
    if ACCEPTING[..2].contains(&point) {
        assert!(
            answer.is_err(),
            "{point}: a dead process answered {answer:?}"
        );
    }
    shop.calendar.restart().await;
    // Without an answer, and sometimes in spite of one, Pub/Sub pushes the message again.
    shop.calendar.world.push_until_accepted(&message).await;
    let outcomes = shop.world().wait_outcome(&message.id).await;
    assert_eq!(outcomes.len(), 1, "{point}: {outcomes:?}");
    shop.rest().await;
    assert_eq!(
        events_of(shop.world(), &id),
        ["user.subscription.purchased"],
        "{point}"
    );
    assert_eq!(shop.amounts(&id).await, [CENTS], "{point}");
    wait_asleep(shop.world(), shop.world().play_key(&id)).await;
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

/// Lets the sweep run until the process has aborted itself in a repair, and restarts it after the end of its lease.
async fn repair_and_kill(shop: &mut Shop, point: &str) {
    let world = &mut shop.calendar.world;
    wait::until(SOON, &format!("an abort at {point}"), async || {
        if world.worker().exit_status().is_some() {
            return Ok(());
        }
        world.temporal.skip_timer(contract::SWEEP, 31).await;
        Err("it runs".to_owned())
    })
    .await;
    shop.calendar.wait_abort(point).await;
    shop.calendar.restart().await;
    shop.skip(MINUTE * 11).await;
}

/// Checks that one payment was returned once, also after the lists were read again.
async fn check_returned(shop: &mut Shop, token: &str, events: &[&str]) {
    let amounts = [CENTS, -CENTS];
    shop.wait_amounts(token, &amounts).await;
    shop.check_events(token, events).await;
    shop.sweep_again().await;
    assert_eq!(shop.amounts(token).await, amounts, "{token}");
    shop.check_events(token, events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_survives_every_kill_in_the_repair_that_finds_it() {
    let mut shop = Shop::open().await;
    for point in REPAIRING {
        let mut bought = shop.buy(&purchase_at(point)).await;
        shop.pass_days(1).await;
        shop.void(&mut bought);
        shop.calendar
            .restart_with(&format!("{point}/voids=1*return"))
            .await;
        shop.skip(HOUR * 5).await;
        repair_and_kill(&mut shop, point).await;
        let events = ["subscription.purchased", "subscription.expired"];
        check_returned(&mut shop, &bought.token, &events).await;
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_survives_every_kill_in_the_repair_that_finds_it() {
    let mut shop = Shop::open().await;
    for point in REPAIRING {
        let mut bought = shop.buy(&purchase_at(point)).await;
        shop.pass_days(3).await;
        let (order, now) = (bought.order_id(1), shop.now());
        bought.refund(&order, now);
        shop.fake().show(&bought);
        shop.calendar
            .restart_with(&format!("{point}/orders=1*return"))
            .await;
        shop.skip(HOUR * 25).await;
        repair_and_kill(&mut shop, point).await;
        check_returned(&mut shop, &bought.token, &["subscription.purchased"]).await;
    }
    shop.finish().await;
}
