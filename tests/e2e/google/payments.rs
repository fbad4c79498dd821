//! Payments that come late, and those of a commitment.

use super::{ACCOUNT, CENTS, GOLD, Shop, time, token};
use serde_json::Value;
use system_tests::play::Bought;
use system_tests::play::push::{CANCELED, CANCELLATION_SCHEDULED, EXPIRED, PURCHASED, RENEWED};

/// Number of committed payments, and the one after which the customer cancels.
const PAYMENTS: u32 = 12;
const CANCELED_AFTER: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn g10_a_pending_purchase_is_silent_until_it_is_paid() {
    let mut shop = Shop::open().await;
    let id = token("pending");
    let mut bought = Bought::pending(&id, GOLD, shop.now()).of(ACCOUNT);
    shop.happen(&bought, &[PURCHASED]).await;
    shop.check_events(&id, &[]).await;
    let data = shop.data(&id);
    assert_eq!(
        (&data["is_active"], &data["not_before"]),
        (&Value::Bool(false), &Value::Null),
        "{data}"
    );
    assert!(shop.ledger(&id).await.is_empty());

    shop.pass_days(2).await;
    shop.check_events(&id, &[]).await;
    bought.pay(shop.now());
    bought.is_acknowledged = true;
    shop.happen(&bought, &[PURCHASED]).await;
    shop.check_events(&id, &["subscription.purchased"]).await;
    let data = shop.data(&id);
    assert_eq!(data["is_active"], true);
    assert_eq!(time(&data["not_before"]), bought.started_at, "{data}");
    assert_eq!(shop.amounts(&id).await, [CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g39_a_cancelled_commitment_is_paid_to_its_end() {
    let mut shop = Shop::open().await;
    let id = token("instalments");
    let bought = Bought::subscription(&id, GOLD, shop.now()).of(ACCOUNT);
    let mut bought = bought.in_instalments(PAYMENTS);
    shop.happen(&bought, &[PURCHASED]).await;
    let mut expected = vec!["subscription.purchased"];
    for payment in 2..=PAYMENTS {
        shop.pass_until(bought.expires_at()).await;
        bought.renew(shop.now());
        shop.happen(&bought, &[RENEWED]).await;
        expected.push("subscription.renewed");
        if payment == CANCELED_AFTER {
            shop.pass_days(3).await;
            bought.cancel_commitment();
            shop.happen(&bought, &[CANCELLATION_SCHEDULED]).await;
            expected.push("subscription.cancelled");
        }
        shop.check_events(&id, &expected).await;
        let data = shop.data(&id);
        assert_eq!(data["is_active"], true);
        assert_eq!(data["is_auto_renewable"], payment < PAYMENTS);
    }
    shop.pass_until(bought.expires_at()).await;
    bought.cancel(shop.now());
    bought.expire(bought.expires_at());
    shop.happen(&bought, &[CANCELED]).await;
    shop.happen(&bought, &[EXPIRED]).await;
    expected.push("subscription.expired");
    shop.check_events(&id, &expected).await;
    assert_eq!(shop.data(&id)["is_active"], false);
    let payments = usize::try_from(PAYMENTS).unwrap_or_default();
    assert_eq!(shop.amounts(&id).await, vec![CENTS; payments]);
    shop.finish().await;
}
