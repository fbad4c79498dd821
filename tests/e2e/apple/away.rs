//! What no notification reports is found: by queries when a period should have ended, and in the history of
//! notifications. An API that fails changes nothing.

use super::{BASIC, CENTS, GOLD, OTHER_CENTS, OTHER_PRICE, PLATINUM, Shop, time};
use domain::time::HOUR;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::appstore::{BY_CUSTOMER, Bought, Fault, Notice, Resource, account, whole};
use system_tests::wait;
use system_tests::world::SOON;

impl Shop {
    /// Returns the requests to the sandbox about purchases.
    fn sandbox_requests(&self) -> Vec<Resource> {
        let all = self.fake().exchanges().into_iter();
        let of_sandbox = all.filter(|one| one.call.environment == "Sandbox");
        let resources = of_sandbox.map(|one| one.call.resource);
        resources
            .filter(|resource| *resource != Resource::Notifications)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_an_upgrade_that_was_never_sent_is_found_once() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("upgrade").await;
    shop.pass_days(2).await;
    bought.change_price(OTHER_PRICE);
    let upgraded_at = whole(shop.now());
    bought.upgrade(PLATINUM, upgraded_at);
    shop.fake().show(&bought);
    let never_sent = shop.notice("DID_CHANGE_RENEWAL_PREF/UPGRADE", &bought);
    shop.pass_days(9).await;
    let expected = ["subscription.purchased", "subscription.sku_change"];
    shop.check_events(&bought, &expected).await;
    let types = shop.world().receiver.of_receipt(&bought.id);
    let change = types.iter().find(|one| {
        let event_type = one.event_type();
        event_type == "user.subscription.sku_change"
    });
    let body = &change.expect("a change").body;
    assert_eq!(time(&body["occurred_at"]), Some(upgraded_at), "{body}");
    assert_eq!(shop.data(&bought)["product_ref_id"], PLATINUM);
    assert_eq!(shop.amounts(&bought).await, [CENTS, OTHER_CENTS]);

    // It arrives after all.
    shop.notify_all(&[never_sent]).await;
    shop.check_events(&bought, &expected).await;
    assert_eq!(shop.amounts(&bought).await, [CENTS, OTHER_CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_that_was_never_sent_is_found_at_the_end() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("expiry").await;
    shop.pass_days(3).await;
    bought.cancel();
    shop.fake().show(&bought);
    shop.pass_until(bought.expires_at().minus(HOUR)).await;
    let mut expected = vec!["subscription.purchased", "subscription.cancelled"];
    shop.check_events(&bought, &expected).await;
    bought.expire(BY_CUSTOMER);
    shop.fake().show(&bought);
    shop.pass_days(2).await;
    expected.push("subscription.expired");
    shop.check_events(&bought, &expected).await;
    let data = shop.data(&bought);
    assert_eq!(data["is_active"], false, "{data}");
    assert_eq!(time(&data["expires_at"]), Some(bought.expires_at()));
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_notifications_are_found_in_the_history() {
    let mut shop = Shop::open().await;
    // The first reading of the history.
    shop.calendar.skip(HOUR * 2, &[]).await;
    let mut bought = Bought::subscription(GOLD, shop.now()).of(&account("lost"));
    let tester = Bought::subscription(BASIC, shop.now()).in_sandbox();
    let tester = tester.of(&account("tester"));
    for one in [&bought, &tester] {
        shop.fake().show(one);
        shop.fake()
            .lose(&shop.notice("SUBSCRIBED/INITIAL_BUY", one));
    }
    bought.cancel();
    shop.fake().show(&bought);
    let at = shop.now().plus_millis(1000);
    let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_DISABLED";
    let cancelled = shop.fake().lose(&Notice::of(kind, &bought, at));
    shop.calendar.skip(HOUR * 3, &[]).await;
    let expected = ["subscription.purchased", "subscription.cancelled"];
    shop.sweep_until_events(&bought, &expected).await;
    shop.sweep_until_events(&tester, &expected[..1]).await;
    assert_eq!(shop.data(&tester)["is_production"], false);
    assert_eq!(shop.data(&bought)["is_production"], true);

    // One of them arrives after all.
    shop.calendar.world.notify_until_accepted(&cancelled).await;
    shop.calendar.skip(HOUR * 3, &[]).await;
    shop.rest().await;
    shop.check_events(&bought, &expected).await;
    assert_eq!(shop.amounts(&bought).await, [CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_fails_delays_and_loses_nothing() {
    let mut shop = Shop::open().await;
    let faults = [
        Fault::Code(5_000_001),
        Fault::Cut,
        Fault::Body(200, "{}x".to_owned()),
        Fault::Body(502, "<html>".to_owned()),
        Fault::Late(Duration::from_secs(2)),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let bought = Bought::subscription(GOLD, shop.now());
        let bought = bought.of(&account(&format!("fault {number}")));
        shop.fake().show(&bought);
        shop.fake().answer_next(Resource::Statuses, [fault]);
        let notice = shop.notice("SUBSCRIBED/INITIAL_BUY", &bought);
        shop.notify_all(&[notice.without_renewal()]).await;
        shop.check_events(&bought, &["subscription.purchased"])
            .await;
        assert_eq!(shop.data(&bought)["is_auto_renewable"], true);
        assert_eq!(shop.amounts(&bought).await, [CENTS]);
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a28_an_app_without_a_release_is_an_alarm_and_no_loss() {
    let mut shop = Shop::open().await;
    shop.fake().answer(&Resource::ALL, &Fault::Empty(401));
    let mut bought = shop.buy("unreleased").await;
    shop.pass_days(9).await;
    let alarm = wait::until(SOON, "an alarm about the key", async || {
        let alarms = shop.world().api.all("/v1/alarms?open=true").await;
        let platform = json!(shop.world().appstore().id);
        let mut of_platform = alarms
            .iter()
            .filter(|alarm| alarm["platform_id"] == platform);
        let found = of_platform.find(|alarm| {
            let detail = alarm["detail"].as_str().unwrap_or_default();
            detail.contains("no production release")
        });
        found.cloned().ok_or_else(|| format!("{alarms:?}"))
    })
    .await;
    println!("{alarm}");
    shop.check_events(&bought, &["subscription.purchased"])
        .await;
    assert_eq!(shop.data(&bought)["is_active"], true);
    assert_eq!(shop.sandbox_requests(), [], "no fall-back to the sandbox");

    // What Apple signs is settled meanwhile.
    bought.cancel();
    let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_DISABLED";
    shop.happen(&bought, kind).await;
    let expected = ["subscription.purchased", "subscription.cancelled"];
    shop.check_events(&bought, &expected).await;
    shop.fake().answer_truly();
    shop.pass_days(8).await;
    shop.check_events(&bought, &expected).await;
    assert_eq!(shop.data(&bought)["revoked_at"], Value::Null);
    shop.finish().await;
}
