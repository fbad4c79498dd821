//! A burst: hundreds of notifications about one purchase are one settling.

use super::{ACCOUNT, CENTS, GOLD, START, Shop, token};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use system_tests::calendar::Calendar;
use system_tests::load::{Load, Pace, Pushes, Tokens};
use system_tests::play::push::{
    ITEMS_CHANGED, PRICE_CHANGE_UPDATED, PURCHASED, RECOVERED, RENEWED,
};
use system_tests::play::{Bought, Choices, Notice};
use system_tests::subscription::at;
use system_tests::world::{Setting, World};
use workflows::activities::MAX_PER_SETTLING;

/// The types of the notifications in turn, which are about the first payment.
const KINDS: [i64; 5] = [
    PURCHASED,
    RENEWED,
    PRICE_CHANGE_UPDATED,
    RECOVERED,
    ITEMS_CHANGED,
];
/// Maximum number of requests that name the purchase: its read, which may be repeated once.
const MAX_READS: usize = 2;
/// Maximum number of all requests to the store: besides, keys, access tokens, orders, plans, and the lists of repairs.
const MAX_REQUESTS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn as_many_notifications_as_one_settling_takes_are_one_update() {
    let setting = Setting {
        play: Some(Choices::default()),
        window_seconds: 3600,
        events: vec!["*".to_owned()],
        ..Setting::default()
    };
    let calendar = Calendar::begin(at(START), setting).await;
    let mut shop = Shop { calendar };
    shop.fake().sell("gold", "monthly", "P1M");
    let (id, now) = (token("burst"), shop.now());
    shop.fake()
        .show(&Bought::subscription(&id, GOLD, now).of(ACCOUNT));
    let before = shop.fake().exchanges().len();
    let notices: Vec<Notice> = (0..MAX_PER_SETTLING)
        .zip(KINDS.into_iter().cycle())
        .map(|(number, kind)| Notice::subscription(kind, &id, now.plus_millis(number)))
        .collect();
    let messages = shop.calendar.world.push_concurrently(&notices).await;
    assert!(shop.updates(&id).is_empty(), "its window is open");
    let key = shop.world().play_key(&id);
    let path = format!("/v1/purchases/{key}/flush");
    drop(shop.world().api.post(&path, &json!({})).await.ok());
    let mut outcomes = BTreeSet::new();
    for message in &messages {
        for one in shop.world().wait_outcome(message).await {
            outcomes.insert(one["outcome"].as_str().unwrap_or_default().to_owned());
        }
    }
    assert_eq!(outcomes, BTreeSet::from(["settled".to_owned()]));
    shop.check_events(&id, &["subscription.purchased"]).await;
    let updates = shop.updates(&id);
    let coalesced: Vec<Option<i64>> = updates
        .iter()
        .map(|update| update["attributes"]["coalesced"].as_i64())
        .collect();
    assert_eq!(coalesced, [Some(MAX_PER_SETTLING)]);
    assert_eq!(shop.amounts(&id).await, [CENTS]);
    let reads = shop.fake().about(&id);
    assert!((1..=MAX_READS).contains(&reads.len()), "{reads:#?}");
    let requests = shop.fake().exchanges().split_off(before);
    assert!(requests.len() <= MAX_REQUESTS, "{requests:#?}");
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pushes_of_one_connection_are_all_accepted() {
    let setting = Setting {
        play: Some(Choices::default()),
        ..Setting::default()
    };
    let world = World::start(setting).await;
    let fake = &world.play().fake;
    fake.sell("gold", "monthly", "P1M");
    let tokens: Vec<String> = ["first", "second", "third"].map(token).into();
    for token in &tokens {
        fake.show(&Bought::subscription(token, GOLD, fake.now()));
    }
    let url = world.play().notification_url.clone();
    let batch = Pushes::new(&url).prepare(&tokens, Tokens::One);
    // It fails if the connection is closed.
    let load = Load::new(&url, 1);
    let measured = load
        .run(batch, Pace::Saturate, Duration::from_secs(60))
        .await;
    measured.check();
    assert_eq!(measured.acknowledged().len(), tokens.len());
    world.finish().await;
}
