//! Purchases that continue or follow others: changes of plan, now and later, and purchases outside the app.

use super::{CENTS, GOLD, Shop, time, token};
use domain::time::DAY;
use serde_json::{Value, json};
use system_tests::play::push::{EXPIRED, PURCHASED, RENEWED};
use system_tests::play::{Bought, Call, Choices};
use system_tests::wait;
use system_tests::world::SOON;

const PLATINUM: &str = "platinum:monthly";
const BASIC: &str = "basic:monthly";
/// Price of the plans to which customers change.
const OTHER_CENTS: i64 = 899;

#[tokio::test(flavor = "multi_thread")]
async fn g03_a_change_of_plan_is_one_event_in_any_order() {
    let mut shop = Shop::open().await;
    for old_first in [true, false] {
        let account = format!("customer-{old_first}");
        let [old, new] = ["old", "new"].map(|name| token(&format!("{name}-{old_first}")));
        let mut gold = Bought::subscription(&old, GOLD, shop.now()).of(&account);
        shop.happen(&gold, &[PURCHASED]).await;
        shop.pass_days(10).await;
        let platinum = Bought::subscription(&new, PLATINUM, shop.now());
        let platinum = platinum
            .of(&account)
            .continuing(&gold)
            .at_price(OTHER_CENTS);
        gold.replace(shop.now());
        shop.fake().show(&platinum);
        shop.fake().show(&gold);
        if old_first {
            shop.happen(&gold, &[EXPIRED]).await;
            shop.happen(&platinum, &[PURCHASED]).await;
        } else {
            shop.happen(&platinum, &[PURCHASED]).await;
            shop.happen(&gold, &[EXPIRED]).await;
        }
        shop.check_events(&old, &["subscription.purchased"]).await;
        shop.check_events(&new, &["subscription.sku_change"]).await;
        let [before, after] = [&old, &new].map(|id| shop.data(id));
        assert_eq!(
            (&before["is_active"], &before["original_purchase_guid"]),
            (&json!(false), &Value::Null)
        );
        assert_eq!(
            (&after["is_active"], &after["original_purchase_guid"]),
            (&json!(true), &json!(old))
        );
        assert_eq!(after["product_ref_id"], PLATINUM);
        assert_eq!(shop.amounts(&old).await, [CENTS]);
        assert_eq!(shop.amounts(&new).await, [OTHER_CENTS]);
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g05_a_purchase_outside_the_app_is_its_former_customers() {
    let choices = Choices {
        acknowledge: "settle",
        ..Choices::default()
    };
    let mut shop = Shop::open_with(choices).await;
    let mut former = shop.buy("former").await;
    shop.pass_days(5).await;
    former.cancel(shop.now());
    shop.pass_until(former.expires_at()).await;
    former.expire(former.expires_at());
    shop.happen(&former, &[EXPIRED]).await;
    shop.pass_days(20).await;

    let id = token("outside");
    let again = Bought::subscription(&id, GOLD, shop.now());
    let again = again.outside_the_app(&former).unacknowledged();
    shop.happen(&again, &[PURCHASED]).await;
    wait::until(SOON, "an acknowledgement", async || {
        match shop.fake().acknowledgements(&id).len() {
            1 => Ok(()),
            other => Err(format!("{other} of them")),
        }
    })
    .await;
    shop.check_events(&id, &["subscription.purchased"]).await;
    let data = shop.data(&id);
    assert_eq!(
        data["last_seen_external_id"],
        json!(former.account),
        "{data}"
    );
    assert_eq!(
        (&data["original_purchase_guid"], &data["is_active"]),
        (&Value::Null, &json!(true))
    );
    let requests = shop.fake().about(&id);
    let first = requests
        .iter()
        .position(|one| matches!(one.call, Call::Acknowledge { .. }));
    let reads = requests
        .iter()
        .position(|one| matches!(one.call, Call::Subscription(_)));
    assert!(reads.is_some() && reads < first, "{requests:?}");
    assert_eq!(shop.amounts(&id).await, [CENTS]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g13_a_later_change_takes_place_at_the_renewal() {
    let mut shop = Shop::open().await;
    let mut gold = shop.buy("present").await;
    shop.pass_days(10).await;
    let id = token("later");
    let mut basic = Bought::subscription(&id, BASIC, shop.now())
        .continuing(&gold)
        .at_price(OTHER_CENTS);
    basic.account.clone_from(&gold.account);
    basic.defer_from(&gold);
    gold.replace(shop.now());
    shop.fake().show(&gold);
    shop.happen(&basic, &[PURCHASED]).await;
    shop.happen(&gold, &[EXPIRED]).await;
    shop.check_events(&gold.token, &["subscription.purchased"])
        .await;
    let planned = ["subscription.pending_sku_change"];
    shop.check_events(&id, &planned).await;
    let data = shop.data(&id);
    assert_eq!(
        (&data["product_ref_id"], &data["is_active"]),
        (&json!(GOLD), &json!(true)),
        "{data}"
    );
    assert_eq!(data["original_purchase_guid"], json!(gold.token));
    assert_eq!(time(&data["expires_at"]), Some(basic.paid_until()));
    let nothing: [i64; 0] = [];
    assert_eq!(shop.amounts(&id).await, nothing, "nothing is charged yet");
    assert_eq!(shop.amounts(&gold.token).await, [CENTS]);

    shop.pass_until(basic.paid_until()).await;
    basic.renew(shop.now());
    shop.happen(&basic, &[RENEWED]).await;
    let all = [
        planned.as_slice(),
        &["subscription.renewed", "subscription.sku_change"],
    ];
    shop.check_events(&id, &all.concat()).await;
    assert_eq!(shop.data(&id)["product_ref_id"], BASIC);
    assert_eq!(shop.amounts(&id).await, [OTHER_CENTS]);
    assert_eq!(shop.amounts(&gold.token).await, [CENTS]);
    shop.pass_until(basic.paid_until().minus(DAY)).await;
    shop.check_events(&id, &all.concat()).await;
    shop.finish().await;
}
