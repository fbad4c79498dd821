//! Refunds: each is money once, whatever says it first, and ends access only if it is of the current transaction.

use super::{CENTS, GOLD, OTHER_CENTS, OTHER_PRICE, PLATINUM, Shop};
use domain::time::{DAY, HOUR, MINUTE};
use serde_json::Value;
use system_tests::appstore::{Bought, Notice, Resource, account, whole};

/// Returns a purchase whose second period was refunded, with the notifications of its renewal and its refund. Nothing of
/// it was sent.
fn refunded_renewal(shop: &Shop, mut bought: Bought) -> (Bought, [Notice; 2]) {
    let now = shop.now();
    bought.renew(now);
    let renewed = Notice::of("DID_RENEW", &bought, now.minus(HOUR));
    let current = bought.current().id.clone();
    bought.refund(&current, now.minus(MINUTE));
    let refunded = shop.notice("REFUND", &bought);
    shop.fake().show(&bought);
    (bought, [renewed, refunded])
}

#[tokio::test(flavor = "multi_thread")]
async fn a01_a_renewal_behind_its_refund_revives_nothing() {
    let mut shop = Shop::open().await;
    let first = shop.buy("late renewal").await;
    shop.pass_until(first.expires_at().plus(HOUR * 2)).await;
    let (bought, [renewed, refunded]) = refunded_renewal(&shop, first);
    shop.notify_all(&[refunded]).await;
    let revoked_at = whole(bought.current().returned.expect("a refund").at);
    let expected = ["subscription.purchased", "subscription.expired"];
    shop.check_events(&bought, &expected).await;
    shop.check_access(&bought, false, Some(revoked_at));
    shop.notify_all(&[renewed]).await;
    shop.check_events(&bought, &expected).await;
    shop.check_access(&bought, false, Some(revoked_at));
    assert_eq!(shop.amounts(&bought).await, [CENTS, CENTS, -CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a01_a_refund_and_its_renewal_in_a_window_are_in_order() {
    let mut shop = Shop::open_slow().await;
    for is_refund_first in [true, false] {
        let first = shop.buy(&format!("refund first {is_refund_first}")).await;
        shop.pass_until(first.expires_at().plus(HOUR * 2)).await;
        let (bought, mut both) = refunded_renewal(&shop, first);
        if is_refund_first {
            both.reverse();
        }
        shop.notify_all(&both).await;
        let expected = [
            "subscription.purchased",
            "subscription.renewed",
            "subscription.expired",
        ];
        shop.check_events(&bought, &expected).await;
        let revoked_at = whole(bought.current().returned.expect("a refund").at);
        shop.check_access(&bought, false, Some(revoked_at));
        assert_eq!(shop.amounts(&bought).await, [CENTS, CENTS, -CENTS]);
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a06_a_refund_has_the_transaction_id_of_its_purchase() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("same id").await;
    shop.pass_days(3).await;
    let refunded_at = whole(shop.now());
    bought.refund(&bought.id.clone(), refunded_at);
    bought.status = 5;
    shop.happen(&bought, "REFUND").await;
    let expected = ["subscription.purchased", "subscription.expired"];
    shop.check_events(&bought, &expected).await;
    shop.check_access(&bought, false, Some(refunded_at));
    let data = shop.data(&bought);
    assert_eq!(data["expiration_reason"], "store", "{data}");
    assert_eq!(shop.amounts(&bought).await, [CENTS, -CENTS]);
    shop.happen(&bought, "REFUND").await;
    shop.check_events(&bought, &expected).await;
    assert_eq!(shop.amounts(&bought).await, [CENTS, -CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a08_a_reversed_refund_gives_access_and_money_again() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("reversed").await;
    let id = bought.id.clone();
    shop.pass_days(3).await;
    bought.refund(&id, shop.now());
    shop.happen(&bought, "REFUND").await;
    shop.pass_days(5).await;
    bought.reverse_refund(&id, shop.now());
    shop.happen(&bought, "REFUND_REVERSED").await;
    let mut expected = vec![
        "subscription.purchased",
        "subscription.expired",
        "subscription.resumed",
    ];
    shop.check_events(&bought, &expected).await;
    shop.check_access(&bought, true, None);
    let amounts = [CENTS, -CENTS, CENTS];
    assert_eq!(shop.amounts(&bought).await, amounts);
    shop.happen(&bought, "REFUND_REVERSED").await;
    shop.check_events(&bought, &expected).await;
    assert_eq!(shop.amounts(&bought).await, amounts);

    shop.pass_term(&bought).await;
    bought.expire(1);
    shop.happen(&bought, "EXPIRED/VOLUNTARY").await;
    expected.push("subscription.expired");
    shop.check_events(&bought, &expected).await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_refund_of_an_older_transaction_is_money_alone() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("older").await;
    shop.pass_days(10).await;
    bought.change_price(OTHER_PRICE);
    bought.upgrade(PLATINUM, shop.now());
    shop.happen(&bought, "DID_CHANGE_RENEWAL_PREF/UPGRADE")
        .await;
    for _ in 0..2 {
        shop.pass_term(&bought).await;
        bought.renew(shop.now());
        shop.happen(&bought, "DID_RENEW").await;
    }
    shop.pass_days(2).await;
    let older = bought.transaction_id(2);
    bought.refund(&older, shop.now());
    let queried = shop.fake().count(Resource::Statuses);
    shop.fake().show(&bought);
    let refund = shop.notice("REFUND", &bought).about(&bought, &older);
    shop.notify_all(std::slice::from_ref(&refund)).await;
    let expected = [
        "subscription.purchased",
        "subscription.sku_change",
        "subscription.renewed",
        "subscription.renewed",
    ];
    shop.check_events(&bought, &expected).await;
    shop.check_access(&bought, true, None);
    let paid = [CENTS, OTHER_CENTS, OTHER_CENTS, OTHER_CENTS, -OTHER_CENTS];
    assert_eq!(shop.amounts(&bought).await, paid);
    let after = shop.fake().count(Resource::Statuses);
    assert!(
        after > queried,
        "the statuses after a refund of another transaction"
    );
    let ledger = shop.ledger(&bought).await;
    let entry = ledger.last().expect("an entry");
    assert_eq!(entry["kind"], "refund", "{ledger:?}");
    assert_eq!(entry["tax"], Value::Null, "{ledger:?}");

    let repeated = shop.notice("REFUND", &bought).about(&bought, &older);
    shop.notify_all(&[repeated]).await;
    assert_eq!(shop.amounts(&bought).await, paid);
    shop.check_events(&bought, &expected).await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a33_a_family_member_has_access_and_no_money() {
    let mut shop = Shop::open().await;
    let mut buyer = shop.buy("buyer").await;
    let member = Bought::subscription(GOLD, shop.now()).of_family();
    let mut member = member.of(&account("member"));
    shop.happen(&member, "SUBSCRIBED/INITIAL_BUY").await;
    shop.check_events(&member, &["subscription.purchased"])
        .await;
    assert!(shop.amounts(&member).await.is_empty());
    shop.pass_days(4).await;
    let now = shop.now();
    buyer.refund(&buyer.id.clone(), now);
    member.withdraw(now);
    shop.fake().show(&buyer);
    shop.happen(&member, "REVOKE").await;
    let expected = ["subscription.purchased", "subscription.expired"];
    shop.check_events(&member, &expected).await;
    shop.check_access(&member, false, Some(whole(now)));
    assert!(shop.amounts(&member).await.is_empty());
    shop.check_events(&buyer, &expected[..1]).await;
    shop.happen(&buyer, "REFUND").await;
    shop.check_events(&buyer, &expected).await;
    assert_eq!(shop.amounts(&buyer).await, [CENTS, -CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a36_questions_about_consumption_change_nothing() {
    let mut shop = Shop::open().await;
    let bought = shop.buy("question").await;
    shop.pass_days(2).await;
    for _ in 0..3 {
        let question = shop.notice("CONSUMPTION_REQUEST", &bought);
        let question = question.with_data("consumptionRequestReason", "UNINTENDED_PURCHASE");
        shop.notify_all(&[question]).await;
        shop.calendar.skip(HOUR, &[]).await;
    }
    shop.pass_days(1).await;
    shop.happen(&bought, "REFUND_DECLINED").await;
    shop.check_events(&bought, &["subscription.purchased"])
        .await;
    shop.check_access(&bought, true, None);
    assert_eq!(shop.amounts(&bought).await, [CENTS]);
    shop.pass_until(bought.expires_at().minus(DAY)).await;
    shop.check_events(&bought, &["subscription.purchased"])
        .await;
    shop.finish().await;
}
