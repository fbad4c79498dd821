//! Failed payments: grace and hold, whichever notification and answer come first.

use super::{CENTS, Shop, time, token, whole};
use domain::time::DAY;
use serde_json::Value;
use system_tests::play::Notice;
use system_tests::play::push::{CANCELED, EXPIRED, IN_GRACE_PERIOD, ON_HOLD, RECOVERED, RENEWED};

#[tokio::test(flavor = "multi_thread")]
async fn g01_an_unrecovered_hold_is_one_expiry() {
    let mut shop = Shop::open().await;
    for (name, together) in [("apart", false), ("together", true)] {
        let mut bought = shop.buy(name).await;
        let (id, paid_until) = (bought.token.clone(), bought.paid_until());
        shop.pass_until(paid_until).await;
        bought.hold(shop.now());
        shop.happen(&bought, &[ON_HOLD]).await;
        let before = shop.updates(&id).len();
        shop.pass_days(53).await;
        bought.end_hold(shop.now());
        if together {
            shop.happen(&bought, &[CANCELED, EXPIRED]).await;
        } else {
            shop.happen(&bought, &[CANCELED]).await;
            shop.happen(&bought, &[EXPIRED]).await;
        }
        let expected = ["subscription.purchased", "subscription.expired"];
        shop.check_events(&id, &expected).await;
        assert_eq!(shop.updates(&id).len(), before + 1, "one update");
        let data = shop.data(&id);
        assert_eq!(time(&data["expires_at"]), Some(paid_until), "{data}");
        assert_eq!(
            (&data["is_active"], &data["revoked_at"]),
            (&Value::Bool(false), &Value::Null)
        );
        assert_eq!(shop.amounts(&id).await, [CENTS]);
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g16_a_recovery_from_grace_may_have_either_type() {
    let mut shop = Shop::open().await;
    for (name, number) in [("as-renewed", RENEWED), ("as-recovered", RECOVERED)] {
        let mut bought = shop.buy(name).await;
        let id = bought.token.clone();
        shop.pass_until(bought.paid_until()).await;
        bought.fail_payment(shop.now(), DAY * 7);
        shop.happen(&bought, &[IN_GRACE_PERIOD]).await;
        shop.pass_days(2).await;
        bought.renew(shop.now());
        shop.happen(&bought, &[number]).await;
        let expected = [
            "subscription.purchased",
            "subscription.in_grace_period",
            "subscription.renewal_in_grace_period",
        ];
        shop.check_events(&id, &expected).await;
        assert_eq!(shop.amounts(&id).await, [CENTS; 2]);
        let data = shop.data(&id);
        assert_eq!(time(&data["expires_at"]), Some(bought.paid_until()));
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g18_a_hold_is_silent_and_its_recovery_renews() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("held").await;
    let id = bought.token.clone();
    shop.pass_until(bought.paid_until()).await;
    let failed_at = shop.now();
    bought.fail_payment(failed_at, DAY * 16);
    shop.happen(&bought, &[IN_GRACE_PERIOD]).await;
    shop.pass_until(bought.expires_at()).await;
    bought.hold(shop.now());
    shop.happen(&bought, &[ON_HOLD]).await;
    let before = ["subscription.purchased", "subscription.in_grace_period"];
    shop.check_events(&id, &before).await;
    assert_eq!(shop.data(&id)["is_active"], false);

    shop.pass_until(failed_at.plus(DAY * 45)).await;
    bought.renew(shop.now());
    shop.happen(&bought, &[RECOVERED]).await;
    let after = [before.as_slice(), &["subscription.renewed"]].concat();
    shop.check_events(&id, &after).await;
    let data = shop.data(&id);
    assert_eq!(data["is_active"], true);
    assert_eq!(time(&data["expires_at"]), Some(bought.paid_until()));
    assert_eq!(data["payment_issues_began_at"], Value::Null);
    assert_eq!(shop.amounts(&id).await, [CENTS; 2]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g22_a_hold_that_is_shown_behind_grace_is_silent() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("late-read").await;
    let id = token("late-read");
    shop.pass_until(bought.paid_until()).await;
    let failed_at = shop.now();
    shop.pass_days(1).await;
    bought.hold(shop.now());
    shop.fake().show(&bought);
    let grace = Notice::subscription(IN_GRACE_PERIOD, &id, failed_at);
    shop.push_all(vec![grace]).await;
    assert_eq!(shop.updates(&id).len(), 2, "one update");
    let data = shop.data(&id);
    assert_eq!(data["is_active"], false);
    assert_eq!(
        time(&data["payment_issues_began_at"]),
        Some(whole(failed_at)),
        "{data}"
    );
    shop.happen(&bought, &[ON_HOLD]).await;
    assert_eq!(shop.updates(&id).len(), 2, "the second one changes nothing");
    shop.check_events(&id, &["subscription.purchased"]).await;
    assert_eq!(shop.amounts(&id).await, [CENTS]);
    shop.finish().await;
}
