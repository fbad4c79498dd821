//! Payments that come late, in other currencies, and those of a commitment.

use super::{CENTS, GOLD, OTHER_PRICE, Shop, time};
use domain::time::DAY;
use serde_json::{Value, json};
use system_tests::appstore::{BY_BILLING, BY_CUSTOMER, BY_PRICE, Bought, account, millis, whole};

/// Number of committed payments, and the one after which the customer cancels.
const PAYMENTS: u32 = 4;
const CANCELED_AFTER: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a18_a_payment_is_collected_after_45_days_of_retries() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("retried").await;
    shop.pass_term(&bought).await;
    bought.fail_payment(None);
    shop.happen(&bought, "DID_FAIL_TO_RENEW").await;
    let mut expected = vec!["subscription.purchased"];
    shop.check_events(&bought, &expected).await;
    let data = shop.data(&bought);
    assert_eq!(data["is_active"], false, "{data}");
    shop.pass_days(45).await;
    shop.check_events(&bought, &expected).await;
    let recovered_at = whole(shop.now());
    bought.renew(recovered_at);
    shop.happen(&bought, "DID_RENEW/BILLING_RECOVERY").await;
    expected.push("subscription.renewed");
    shop.check_events(&bought, &expected).await;
    let data = shop.data(&bought);
    assert_eq!(
        (&data["is_active"], &data["payment_issues_began_at"]),
        (&json!(true), &Value::Null),
        "{data}"
    );
    assert_eq!(time(&data["expires_at"]), Some(bought.expires_at()));
    assert_eq!(shop.amounts(&bought).await, [CENTS; 2]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_never_collected_ends_after_its_retries() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("unpaid").await;
    shop.pass_term(&bought).await;
    bought.fail_payment(None);
    shop.happen(&bought, "DID_FAIL_TO_RENEW").await;
    shop.pass_days(60).await;
    bought.expire(BY_BILLING);
    shop.happen(&bought, "EXPIRED/BILLING_RETRY").await;
    let expected = ["subscription.purchased", "subscription.expired"];
    shop.check_events(&bought, &expected).await;
    let data = shop.data(&bought);
    assert_eq!(data["expiration_reason"], "store", "{data}");
    assert_eq!(
        time(&data["expires_at"]),
        Some(bought.expires_at()),
        "{data}"
    );
    assert_eq!(shop.amounts(&bought).await, [CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a35_a_declined_price_is_an_end_by_the_customer() {
    let mut shop = Shop::open().await;
    let accepted = shop.buy("accepted").await;
    let mut declined = shop.buy("declined").await;
    shop.pass_days(10).await;
    shop.happen(&accepted, "PRICE_INCREASE/ACCEPTED").await;
    shop.happen(&declined, "PRICE_INCREASE/PENDING").await;
    for bought in [&accepted, &declined] {
        shop.check_events(bought, &["subscription.purchased"]).await;
    }
    shop.pass_term(&declined).await;
    declined.expire(BY_PRICE);
    shop.happen(&declined, "EXPIRED/PRICE_INCREASE").await;
    let expected = ["subscription.purchased", "subscription.expired"];
    shop.check_events(&declined, &expected).await;
    let data = shop.data(&declined);
    assert_eq!(data["expiration_reason"], "customer", "{data}");
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a39_a_cancelled_commitment_goes_on_until_its_end() {
    let mut shop = Shop::open().await;
    let bought = Bought::subscription(GOLD, shop.now()).of(&account("committed"));
    let mut bought = bought;
    let until = bought.began_at.plus(DAY * 30 * PAYMENTS);
    let info = json!({ "commitmentExpiresDate": millis(until) });
    bought
        .renewal_members
        .insert("commitmentInfo".to_owned(), info);
    shop.happen(&bought, "SUBSCRIBED/INITIAL_BUY").await;
    let mut expected = vec!["subscription.purchased"];
    for payment in 2..=PAYMENTS {
        shop.pass_term(&bought).await;
        bought.renew(shop.now());
        shop.happen(&bought, "DID_RENEW").await;
        expected.push("subscription.renewed");
        if payment == CANCELED_AFTER {
            shop.pass_days(3).await;
            bought.cancel();
            let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_DISABLED";
            shop.happen(&bought, kind).await;
            expected.push("subscription.cancelled");
        }
        shop.check_events(&bought, &expected).await;
        let data = shop.data(&bought);
        assert_eq!(data["is_active"], true, "{data}");
    }
    shop.pass_until(until).await;
    bought.expire(BY_CUSTOMER);
    shop.happen(&bought, "EXPIRED/VOLUNTARY").await;
    expected.push("subscription.expired");
    shop.check_events(&bought, &expected).await;
    assert_eq!(time(&shop.data(&bought)["expires_at"]), Some(until));
    assert_eq!(shop.amounts(&bought).await, [CENTS; 4]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn milliunits_are_exact_in_every_currency() {
    let mut shop = Shop::open().await;
    for (price, currency, storefront, country, shown) in [
        (300_000, "JPY", "JPN", json!("JP"), "300"),
        (1_990, "AUD", "AUS", json!("AU"), "1.99"),
        (4_125, "KWD", "KWT", json!("KW"), "4.125"),
        (OTHER_PRICE, "EUR", "ZZZ", Value::Null, "8.99"),
    ] {
        let bought = Bought::subscription(GOLD, shop.now()).of(&account(currency));
        let bought = bought.at_price(price, currency, storefront);
        shop.happen(&bought, "SUBSCRIBED/INITIAL_BUY").await;
        let data = shop.data(&bought);
        assert_eq!(
            (&data["purchase_price"], &data["purchase_currency"]),
            (&json!(shown), &json!(currency)),
            "{data}"
        );
        assert_eq!(data["purchase_country"], country, "{data}");
        let ledger = shop.ledger(&bought).await;
        assert_eq!(ledger[0]["price"], shown, "{ledger:?}");
    }
    shop.finish().await;
}
