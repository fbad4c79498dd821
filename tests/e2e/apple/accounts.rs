//! Whose a purchase is: the account token of the newest period that has one; and purchases in the sandbox, and without a
//! key.

use super::{BASIC, CENTS, GOLD, Shop};
use domain::time::{DAY, HOUR};
use serde_json::json;
use system_tests::appstore::{BY_CUSTOMER, Bought, Choices, Resource, account};

#[tokio::test(flavor = "multi_thread")]
async fn a03_a_subscription_bought_again_is_its_new_customers() {
    let mut shop = Shop::open().await;
    shop.grant("gold", GOLD).await;
    let mut bought = shop.buy("first customer").await;
    let own = shop.data(&bought)["last_seen_external_id"].clone();
    assert_eq!(own, json!(account("first customer")));
    shop.pass_days(5).await;
    bought.cancel();
    let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_DISABLED";
    shop.happen(&bought, kind).await;
    shop.pass_term(&bought).await;
    bought.expire(BY_CUSTOMER);
    shop.happen(&bought, "EXPIRED/VOLUNTARY").await;
    shop.pass_days(10).await;
    bought.account = Some(account("second customer"));
    bought.buy_again(GOLD, shop.now());
    shop.happen(&bought, "SUBSCRIBED/RESUBSCRIBE").await;
    let data = shop.data(&bought);
    assert_eq!(
        data["last_seen_external_id"],
        json!(account("second customer")),
        "{data}"
    );
    let expected = [
        "subscription.purchased",
        "subscription.cancelled",
        "subscription.expired",
        "subscription.purchased",
        "subscription.transferred.from",
        "subscription.transferred.to",
    ];
    shop.sweep_until_events(&bought, &expected).await;
    let announced = shop.world().receiver.of_receipt(&bought.id);
    let owner = |name: &str| {
        let mut found = announced
            .iter()
            .filter(|one| one.event_type().ends_with(name));
        found.next().expect("an event").body["user_id"].clone()
    };
    assert_ne!(owner("transferred.from"), owner("transferred.to"));
    shop.calendar.skip(HOUR, &[]).await;
    shop.check_events(&bought, &expected).await;
    assert_eq!(shop.amounts(&bought).await, [CENTS; 2]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_a_period_without_a_token_removes_nobody() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("named").await;
    let named = json!(account("named"));
    bought.account = None;
    bought.current_mut().account = None;
    for _ in 0..2 {
        shop.pass_term(&bought).await;
        bought.renew(shop.now());
        shop.happen(&bought, "DID_RENEW").await;
        let data = shop.data(&bought);
        assert_eq!(data["last_seen_external_id"], named, "{data}");
    }
    let expected = [
        "subscription.purchased",
        "subscription.renewed",
        "subscription.renewed",
    ];
    shop.check_events(&bought, &expected).await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_in_the_sandbox_is_a_test_of_the_production() {
    let mut shop = Shop::open().await;
    let mut bought = Bought::subscription(BASIC, shop.now()).in_sandbox();
    bought = bought.of(&account("tester"));
    shop.fake().show(&bought);
    let notice = shop.notice("SUBSCRIBED/INITIAL_BUY", &bought);
    shop.notify_all(&[notice.without_renewal()]).await;
    let data = shop.data(&bought);
    assert_eq!(
        (&data["is_production"], &data["is_auto_renewable"]),
        (&json!(false), &json!(true)),
        "{data}"
    );
    shop.pass_days(9).await;
    let queries = shop.fake().about(&bought.id);
    assert!(!queries.is_empty(), "no query");
    let of_production = queries
        .iter()
        .filter(|one| one.call.environment != "Sandbox");
    assert_eq!(of_production.count(), 0, "{queries:?}");
    shop.check_events(&bought, &["subscription.purchased"])
        .await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_notifications_suffice() {
    let choices = Choices {
        has_key: false,
        ..Choices::default()
    };
    let mut shop = Shop::open_with(choices).await;
    let mut bought = shop.buy("without key").await;
    shop.pass_days(9).await;
    bought.cancel();
    let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_DISABLED";
    shop.happen(&bought, kind).await;
    shop.pass_until(bought.expires_at().plus(DAY)).await;
    bought.expire(BY_CUSTOMER);
    shop.happen(&bought, "EXPIRED/VOLUNTARY").await;
    let expected = [
        "subscription.purchased",
        "subscription.cancelled",
        "subscription.expired",
    ];
    shop.check_events(&bought, &expected).await;
    for resource in Resource::ALL {
        assert_eq!(shop.fake().count(resource), 0, "{resource:?}");
    }
    shop.finish().await;
}
