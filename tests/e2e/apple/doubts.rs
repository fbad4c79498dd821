//! Notifications that are repeated, out of order, unknown or incomplete: what is signed decides, and what it does not
//! show is queried.

use super::{CENTS, GOLD, PLATINUM, Shop};
use domain::time::{DAY, MINUTE};
use serde_json::json;
use system_tests::appstore::{Bought, Notice, Resource, account};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_notification_is_a_duplicate() {
    let mut shop = Shop::open().await;
    let bought = Bought::subscription(GOLD, shop.now()).of(&account("repeated"));
    shop.fake().show(&bought);
    let notice = shop.notice("SUBSCRIBED/INITIAL_BUY", &bought);
    let sent = shop.notify_all(&[notice]).await;
    let updates = shop.updates(&bought);
    for _ in 0..3 {
        shop.calendar.world.notify_until_accepted(&sent[0]).await;
    }
    shop.outcomes(&sent[0]).await;
    shop.rest().await;
    assert_eq!(shop.updates(&bought), updates);
    shop.check_events(&bought, &["subscription.purchased"])
        .await;
    assert_eq!(shop.amounts(&bought).await, [CENTS]);
    shop.finish().await;
}

/// Returns a purchase that was bought, renewed, cancelled and resumed, with the notifications about each change.
fn history_of(shop: &Shop, name: &str) -> (Bought, Vec<Notice>) {
    let now = shop.now();
    let begun_at = now.minus(DAY * 40);
    let mut bought = Bought::subscription(GOLD, begun_at).of(&account(name));
    let mut notices = vec![Notice::of("SUBSCRIBED/INITIAL_BUY", &bought, begun_at)];
    bought.renew(begun_at.plus(DAY * 30));
    let renewed_at = bought.current().bought_at;
    // Apple signs a renewal before the period begins.
    let signed_at = renewed_at.minus(MINUTE);
    notices.push(Notice::of("DID_RENEW", &bought, signed_at));
    bought.cancel();
    let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_DISABLED";
    notices.push(Notice::of(kind, &bought, renewed_at.plus(DAY)));
    bought.restore();
    let kind = "DID_CHANGE_RENEWAL_STATUS/AUTO_RENEW_ENABLED";
    notices.push(Notice::of(kind, &bought, renewed_at.plus(DAY * 2)));
    shop.fake().show(&bought);
    (bought, notices)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_within_a_window_is_the_order_of_signing() {
    let mut shop = Shop::open_slow().await;
    for is_reversed in [false, true] {
        let (bought, mut notices) = history_of(&shop, &format!("reversed {is_reversed}"));
        if is_reversed {
            notices.reverse();
        }
        shop.notify_all(&notices).await;
        let expected = [
            "subscription.purchased",
            "subscription.renewed",
            "subscription.cancelled",
            "subscription.resumed",
        ];
        shop.check_events(&bought, &expected).await;
        let data = shop.data(&bought);
        assert_eq!(
            (&data["billing_cycles"], &data["is_auto_renewable"]),
            (&json!(2), &json!(true)),
            "{data}"
        );
        assert_eq!(shop.amounts(&bought).await, [CENTS; 2]);
    }
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_behind_a_newer_one_changes_nothing() {
    let mut shop = Shop::open().await;
    let (bought, notices) = history_of(&shop, "late");
    for notice in notices.into_iter().rev() {
        shop.notify_all(&[notice]).await;
        shop.check_access(&bought, true, None);
        let data = shop.data(&bought);
        assert_eq!(
            (&data["billing_cycles"], &data["is_auto_renewable"]),
            (&json!(2), &json!(true)),
            "{data}"
        );
    }
    assert_eq!(shop.amounts(&bought).await, [CENTS; 2]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_type_is_settled_by_the_signed_state() {
    let mut shop = Shop::open().await;
    let mut bought = shop.buy("unknown").await;
    shop.pass_days(3).await;
    bought.cancel();
    shop.fake().show(&bought);
    let notice = shop.notice("SOMETHING_NEW/OF_TOMORROW", &bought);
    let notice = notice.with_data("unknownMember", json!({ "of": ["tomorrow"] }));
    shop.notify_all(&[notice.with("another", "member")]).await;
    let expected = ["subscription.purchased", "subscription.cancelled"];
    shop.check_events(&bought, &expected).await;
    assert_eq!(shop.data(&bought)["is_auto_renewable"], false);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_renewal_information_is_queried() {
    let mut shop = Shop::open().await;
    let mut bought = Bought::subscription(GOLD, shop.now()).of(&account("missing"));
    shop.fake().show(&bought);
    let notice = shop.notice("SUBSCRIBED/INITIAL_BUY", &bought);
    shop.notify_all(&[notice.without_renewal()]).await;
    assert!(shop.fake().count(Resource::Statuses) > 0, "no query");
    shop.check_events(&bought, &["subscription.purchased"])
        .await;
    let data = shop.data(&bought);
    assert_eq!(
        (&data["is_active"], &data["is_auto_renewable"]),
        (&json!(true), &json!(true)),
        "{data}"
    );

    // A payment shows that the subscription runs.
    shop.pass_term(&bought).await;
    bought.renew(shop.now());
    shop.fake().show(&bought);
    let notice = shop.notice("DID_RENEW", &bought).without_renewal();
    shop.notify_all(&[notice]).await;
    let expected = ["subscription.purchased", "subscription.renewed"];
    shop.check_events(&bought, &expected).await;
    assert_eq!(shop.amounts(&bought).await, [CENTS; 2]);
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_purchases_in_an_answer_one_is_settled() {
    let mut shop = Shop::open().await;
    let gold = shop.buy("several").await;
    // Two other subscriptions of the same Apple account, of which no notification arrives.
    let other = Bought::subscription(PLATINUM, shop.now()).of(&account("several"));
    let other = other.beside(&gold).in_group("21000002");
    let finished = Bought::subscription("news", shop.now()).of(&account("several"));
    let mut finished = finished.beside(&gold).in_group("21000003");
    finished.expire(1);
    shop.fake().show(&other);
    shop.fake().show(&finished);
    let updates = shop.updates(&gold).len();
    let notice = shop.notice("DID_CHANGE_RENEWAL_PREF", &gold);
    let queried = shop.fake().count(Resource::Statuses);
    shop.notify_all(&[notice.without_renewal()]).await;
    shop.pass_days(8).await;
    assert!(shop.fake().count(Resource::Statuses) > queried, "no query");
    assert_eq!(shop.updates(&gold).len(), updates);
    shop.check_events(&gold, &["subscription.purchased"]).await;
    let data = shop.data(&gold);
    assert_eq!(data["product_ref_id"], GOLD, "{data}");
    for unseen in [&other, &finished] {
        shop.check_events(unseen, &[]).await;
        assert!(shop.updates(unseen).is_empty());
    }
    shop.finish().await;
}
