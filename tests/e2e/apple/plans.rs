//! Changes of plan, at once and at the next renewal, all within one purchase.

use super::{BASIC, CENTS, OTHER_CENTS, OTHER_PRICE, PLATINUM, Shop, time};
use serde_json::{Value, json};
use system_tests::appstore::whole;

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_at_once_is_one_change_with_a_payment() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("upgrade").await;
    shop.pass_days(10).await;
    bought.change_price(OTHER_PRICE);
    let upgraded_at = whole(shop.now());
    bought.upgrade(PLATINUM, upgraded_at);
    shop.happen(&bought, "DID_CHANGE_RENEWAL_PREF/UPGRADE")
        .await;
    let expected = ["subscription.purchased", "subscription.sku_change"];
    shop.check_events(&bought, &expected).await;
    let data = shop.data(&bought);
    assert_eq!(
        (&data["product_ref_id"], &data["is_active"]),
        (&json!(PLATINUM), &json!(true)),
        "{data}"
    );
    assert_eq!(data["original_purchase_guid"], Value::Null);
    assert_eq!(time(&data["expires_at"]), Some(bought.expires_at()));
    // How much of the former payment Apple returned is shown nowhere.
    assert_eq!(shop.amounts(&bought).await, [CENTS, OTHER_CENTS]);

    shop.pass_term(&bought).await;
    bought.renew(shop.now());
    shop.happen(&bought, "DID_RENEW").await;
    let expected = [expected[0], expected[1], "subscription.renewed"];
    shop.check_events(&bought, &expected).await;
    assert_eq!(
        shop.amounts(&bought).await,
        [CENTS, OTHER_CENTS, OTHER_CENTS]
    );
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_a_downgrade_that_switches_renewal_on_resumes_first() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("downgrade").await;
    shop.pass_days(5).await;
    bought.cancel();
    let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_DISABLED";
    shop.happen(&bought, kind).await;
    shop.pass_days(5).await;
    bought.plan(BASIC);
    shop.happen(&bought, "DID_CHANGE_RENEWAL_PREF/DOWNGRADE")
        .await;
    let mut expected = vec![
        "subscription.purchased",
        "subscription.cancelled",
        "subscription.resumed",
        "subscription.pending_sku_change",
    ];
    shop.check_events(&bought, &expected).await;
    let data = shop.data(&bought);
    assert_eq!(data["is_auto_renewable"], true, "{data}");
    assert_ne!(data["product_ref_id"], BASIC, "{data}");

    shop.pass_term(&bought).await;
    bought.change_price(OTHER_PRICE);
    bought.renew(shop.now());
    shop.happen(&bought, "DID_RENEW").await;
    expected.extend(["subscription.renewed", "subscription.sku_change"]);
    shop.check_events(&bought, &expected).await;
    let data = shop.data(&bought);
    assert_eq!(data["product_ref_id"], BASIC, "{data}");
    assert_eq!(shop.amounts(&bought).await, [CENTS, OTHER_CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_change_that_is_withdrawn_changes_nothing() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("withdrawn").await;
    let own = bought.next_product.clone();
    shop.pass_days(5).await;
    bought.plan(BASIC);
    shop.happen(&bought, "DID_CHANGE_RENEWAL_PREF/DOWNGRADE")
        .await;
    shop.pass_days(1).await;
    bought.plan(&own);
    shop.happen(&bought, "DID_CHANGE_RENEWAL_PREF").await;
    shop.pass_term(&bought).await;
    bought.renew(shop.now());
    shop.happen(&bought, "DID_RENEW").await;
    let expected = [
        "subscription.purchased",
        "subscription.pending_sku_change",
        "subscription.renewed",
    ];
    shop.check_events(&bought, &expected).await;
    assert_eq!(shop.data(&bought)["product_ref_id"], json!(own));
    assert_eq!(shop.amounts(&bought).await, [CENTS; 2]);
    shop.finish().await;
}
