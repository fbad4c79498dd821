//! A burst: hundreds of notifications about one purchase are one settling, which rests on what is signed.

use super::{CENTS, GOLD, START, Shop};
use domain::time::HOUR;
use serde_json::json;
use std::collections::BTreeSet;
use system_tests::appstore::{Bought, Choices, Notice, account};
use system_tests::calendar::Calendar;
use system_tests::subscription::at;
use system_tests::world::Setting;
use workflows::activities::MAX_PER_SETTLING;

/// The types of the notifications in turn, none of which is a further change.
const KINDS: [&str; 4] = [
    "SUBSCRIBED/INITIAL_BUY",
    "PRICE_INCREASE/ACCEPTED",
    "OFFER_REDEEMED",
    "A_TYPE_OF_LATER/UNKNOWN",
];

#[tokio::test(flavor = "multi_thread")]
async fn as_many_notifications_as_one_settling_takes_are_one_update() {
    let setting = Setting {
        appstore: Some(Choices::default()),
        window_seconds: HOUR.as_secs(),
        events: vec!["*".to_owned()],
        ..Setting::default()
    };
    let calendar = Calendar::begin(at(START), setting).await;
    let mut shop = Shop { calendar };
    let now = shop.now();
    let bought = Bought::subscription(GOLD, now).of(&account("burst"));
    shop.fake().show(&bought);
    let mut messages = Vec::new();
    for (number, kind) in (0..MAX_PER_SETTLING).zip(KINDS.into_iter().cycle()) {
        let notice = Notice::of(kind, &bought, now.plus_millis(number));
        messages.push(shop.calendar.world.notify(&notice).await);
    }
    assert!(shop.updates(&bought).is_empty(), "its window is open");
    let key = shop.world().appstore_key(&bought.id);
    let path = format!("/v1/purchases/{key}/flush");
    drop(shop.world().api.post(&path, &json!({})).await.ok());
    let mut outcomes = BTreeSet::new();
    for message in &messages {
        let all = shop.outcomes(message).await;
        outcomes.extend(all.iter().map(ToString::to_string));
    }
    assert_eq!(outcomes, BTreeSet::from(["\"settled\"".to_owned()]));
    shop.check_events(&bought, &["subscription.purchased"])
        .await;
    let updates = shop.updates(&bought);
    let coalesced: Vec<Option<i64>> = updates
        .iter()
        .map(|update| update["attributes"]["coalesced"].as_i64())
        .collect();
    assert_eq!(coalesced, [Some(MAX_PER_SETTLING)]);
    assert_eq!(shop.amounts(&bought).await, [CENTS]);
    assert_eq!(
        shop.fake().about(&bought.id).len(),
        0,
        "what is signed leaves nothing open"
    );
    shop.finish().await;
}
