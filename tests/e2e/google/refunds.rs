//! Refunds: each is money once, whatever says it first, and ends access only if it is of the present payment.

use super::{ACCOUNT, CENTS, Shop, token};
use domain::time::{DAY, HOUR};
use serde_json::{Value, json};
use system_tests::play::push::{ONE_TIME_PURCHASED, RENEWED};
use system_tests::play::{Bought, Notice, Voided};

#[tokio::test(flavor = "multi_thread")]
async fn g29_a_void_of_an_older_order_is_money_alone() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("older").await;
    let id = bought.token.clone();
    for _ in 0..3 {
        shop.pass_until(bought.paid_until()).await;
        bought.renew(shop.now());
        shop.happen(&bought, &[RENEWED]).await;
    }
    shop.pass_days(2).await;
    let (older, now) = (bought.order_id(2), shop.now());
    bought.refund(&older, now);
    shop.fake().show(&bought);
    shop.fake().void(Voided {
        token: id.clone(),
        order_id: older.clone(),
        is_subscription: true,
        bought_at: now.minus(DAY * 62),
        voided_at: now,
        reason: 1,
        pieces: None,
    });
    shop.push_all(vec![Notice::voided(&id, &older, now)]).await;
    let amounts = [CENTS, CENTS, CENTS, CENTS, -CENTS];
    shop.wait_amounts(&id, &amounts).await;
    let ledger = shop.ledger(&id).await;
    let refund = ledger.last().expect("an entry");
    assert_eq!(refund["kind"], "refund", "{ledger:?}");
    let tax = |entry: &Value| entry["tax"].as_str().map(|tax| tax.starts_with('-'));
    assert_eq!(
        (tax(&ledger[0]), tax(refund)),
        (Some(false), Some(true)),
        "{ledger:?}"
    );
    let dated_at = super::time(&refund["occurred_at"]);
    assert_eq!(dated_at.map(super::whole), Some(super::whole(now)));

    shop.sweep_again().await;
    assert_eq!(shop.amounts(&id).await, amounts);
    let mut expected = vec!["subscription.purchased"];
    expected.extend(["subscription.renewed"; 3]);
    shop.check_events(&id, &expected).await;
    let data = shop.data(&id);
    assert_eq!(
        (&data["is_active"], &data["revoked_at"]),
        (&json!(true), &Value::Null),
        "{data}"
    );
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g31_a_refund_without_revocation_is_found_by_a_sweep() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("console").await;
    let id = bought.token.clone();
    shop.pass_days(3).await;
    let order = bought.order_id(1);
    bought.refund(&order, shop.now());
    shop.fake().show(&bought);
    shop.skip(HOUR * 25).await;
    shop.wait_amounts(&id, &[CENTS, -CENTS]).await;
    shop.sweep_again().await;
    assert_eq!(shop.amounts(&id).await, [CENTS, -CENTS]);
    shop.check_events(&id, &["subscription.purchased"]).await;
    let data = shop.data(&id);
    assert_eq!(
        (&data["is_active"], &data["revoked_at"]),
        (&json!(true), &Value::Null),
        "{data}"
    );
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g33_pieces_are_returned_one_after_the_other() {
    const COINS: &str = "coins";
    let mut shop = Shop::open().await;
    let id = token("coins");
    let mut bought = Bought::one_time(&id, COINS, 3, shop.now()).of(ACCOUNT);
    let order = bought.order_id(1);
    shop.fake().show(&bought);
    let purchased = Notice::one_time(ONE_TIME_PURCHASED, &id, COINS, shop.now());
    shop.push_all(vec![purchased]).await;
    assert_eq!(shop.amounts(&id).await, [CENTS * 3]);

    shop.pass_days(1).await;
    bought.return_pieces(2, shop.now());
    shop.fake().show(&bought);
    let part = Notice::voided_pieces(&id, &order, false, shop.now());
    shop.push_all(vec![part]).await;
    let amounts = [CENTS * 3, -CENTS * 2];
    shop.wait_amounts(&id, &amounts).await;
    let repeated = Notice::voided_pieces(&id, &order, false, shop.now());
    shop.push_all(vec![repeated]).await;
    assert_eq!(shop.amounts(&id).await, amounts, "counted once");
    let data = shop.data(&id);
    assert_eq!(
        (&data["is_active"], &data["revoked_at"]),
        (&json!(true), &Value::Null),
        "{data}"
    );

    shop.pass_days(1).await;
    bought.return_pieces(1, shop.now());
    shop.fake().show(&bought);
    let rest = Notice::voided_pieces(&id, &order, true, shop.now());
    shop.push_all(vec![rest]).await;
    shop.wait_amounts(&id, &[CENTS * 3, -CENTS * 2, -CENTS])
        .await;
    let data = shop.data(&id);
    assert_eq!(data["is_active"], false, "{data}");
    assert!(data["revoked_at"].is_string(), "{data}");
    shop.check_events(&id, &["subscription.purchased"]).await;
    shop.finish().await;
}
