//! Several purchases of one user, and several users: none waits for another user.

use super::{Analysts, HOUR, KEY, MINUTE, SECRET_KEY, requests_with};
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::amplitude::{Amplitude, Exchange, Fault};
use system_tests::calendar::Step;
use system_tests::subscription::Subscription;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

/// How long one user is throttled.
const THROTTLED: Duration = Duration::from_secs(600);
/// Number of consecutive users who must not wait, and maximum number of users who buy.
const USERS: usize = 4;
const MAX_USERS: usize = 20;
/// A third of the pause of a throttled user.
const A_PART_OF_THE_PAUSE: Duration = Duration::from_secs(10);
/// Number of purchases of one user that are settled together.
const PURCHASES: usize = 20;

/// The `renewed` of purchase P1 fails, the `expired` of P2 is delivered, and then the `renewed` is: the profile still
/// shows P2 as expired.
pub async fn an_older_event_leaves_the_profile_alone(own: &mut Analysts) {
    const RENEWED: &str = "user.subscription.renewed";
    own.name("amzn1.account.CARL", "carl@shop").await;
    let now = own.now();
    let (mut first, mut notifications) =
        Subscription::begin("carl-1", "amzn1.account.CARL", now, None);
    let (mut second, more) = Subscription::begin("carl-2", "amzn1.account.CARL", now, None);
    second.shown["termSku"] = json!("platinum.monthly");
    notifications.extend(more);
    own.live(vec![Step {
        at: now,
        shown: vec![first.clone(), second.clone()],
        notifications,
    }])
    .await;
    own.drain(MINUTE).await;
    assert_eq!(skus(own), json!(["gold.monthly", "platinum.monthly"]));

    own.amplitude.answer_to(RENEWED, Fault::Status(500));
    let before = requests_with(&own.amplitude, RENEWED).len();
    let notifications = first.renew(own.now());
    own.happen(vec![(first, notifications)]).await;
    wait::until(SOON, "a renewal that is stuck", async || {
        let tries = requests_with(&own.amplitude, RENEWED).len();
        if tries > before {
            Ok(())
        } else {
            Err(tries.to_string())
        }
    })
    .await;
    let notifications = second.expire(own.now());
    own.happen(vec![(second, notifications)]).await;
    wait::until(SOON, "the newer state on the profile", async || {
        let seen = skus(own);
        if seen == json!(["gold.monthly"]) {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    })
    .await;
    let stuck = requests_with(&own.amplitude, RENEWED);
    assert!(
        stuck
            .iter()
            .skip(before)
            .all(|exchange| exchange.status == Some(500)),
        "every attempt failed"
    );

    own.amplitude.answer_truly();
    own.drain(HOUR).await;
    let carl = own.amplitude.profile(KEY, "carl@shop").expect("a profile");
    let renewed = carl
        .events
        .iter()
        .rfind(|event| event["event_type"] == RENEWED)
        .expect("the renewal is counted");
    assert_eq!(
        renewed["user_properties"]["namiml_active_skus"],
        json!(["gold.monthly", "platinum.monthly"])
    );
    assert_eq!(renewed["$skip_user_properties_sync"], true, "{renewed}");
    assert_eq!(skus(own), json!(["gold.monthly"]), "P2 stays expired");
    own.newest_profiles(KEY);
}

fn skus(own: &Analysts) -> Value {
    let profile = own.amplitude.profile(KEY, "carl@shop");
    profile
        .map(|profile| profile.properties["namiml_active_skus"].clone())
        .unwrap_or_default()
}

/// While one user is throttled for ten minutes, events of other users are sent.
pub async fn one_throttled_user_delays_nobody_else(own: &mut Analysts) {
    own.name("amzn1.account.BUSY", "busy@shop").await;
    own.amplitude.throttle(KEY, "busy@shop", THROTTLED);
    own.buy("busy-1", "amzn1.account.BUSY").await;
    wait::until(SOON, "a refusal for the throttled user", async || {
        let refused = own
            .amplitude
            .requests()
            .iter()
            .filter(|exchange| exchange.status == Some(429))
            .count();
        if refused > 0 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    // A stall of the machine may delay a user's events, so a sufficient number of users in a row must be in time.
    let mut in_a_row = 0;
    for number in 0..MAX_USERS {
        let lag = lag(own, number).await;
        println!("beside a throttled user, sent to Amplitude {lag:?} later than to the webhook");
        in_a_row = if lag < A_PART_OF_THE_PAUSE {
            in_a_row + 1
        } else {
            0
        };
        if in_a_row == USERS {
            break;
        }
    }
    assert_eq!(
        in_a_row, USERS,
        "so many of {MAX_USERS} users in a row, to whom nobody's pause applied"
    );
    assert!(
        own.amplitude.profile(KEY, "busy@shop").is_none(),
        "nothing of the throttled user is counted yet"
    );
    own.skip(THROTTLED).await;
    own.drain(MINUTE).await;
    let busy = own
        .amplitude
        .profile(KEY, "busy@shop")
        .expect("counted after ten minutes");
    assert!(
        busy.events
            .iter()
            .any(|event| event["event_type"] == "user.subscription.purchased"),
        "{busy:?}"
    );
}

/// Returns how much later a new user's purchase is sent to Amplitude than to the webhook, which is not throttled.
async fn lag(own: &mut Analysts, number: usize) -> Duration {
    let (customer, id) = (
        format!("amzn1.account.BESIDE{number}"),
        format!("beside{number}@shop"),
    );
    own.name(&customer, &id).await;
    let receipt_id = format!("beside-{number}");
    own.buy(&receipt_id, &customer).await;
    let sent_at = wait::until(SOON, &format!("the purchase of {id}"), async || {
        own.amplitude.profile(KEY, &id).ok_or("none")?;
        let requests = own.amplitude.requests();
        let is_theirs = |one: &&Exchange| {
            one.events()
                .iter()
                .any(|event| event["user_id"] == id.as_str())
        };
        requests
            .iter()
            .find(is_theirs)
            .map(|one| one.began)
            .ok_or_else(|| "no request".to_owned())
    })
    .await;
    let webhook_at = wait::until(
        SOON,
        &format!("the purchase of {id} at the webhook"),
        async || {
            let all = own.world().receiver.all();
            let first = all.iter().find(|one| one.receipt_id() == receipt_id);
            first.map(|one| one.began).ok_or_else(|| "none".to_owned())
        },
    )
    .await;
    sent_at.saturating_duration_since(webhook_at)
}

/// A lane whose user has another request in flight waits once, and then the destination's run delivers it, so that
/// Temporal retries hardly any activity.
#[tokio::test(flavor = "multi_thread")]
async fn purchases_of_one_user_do_not_retry_through_the_engine() {
    let amplitude = Amplitude::start().await;
    amplitude.project(KEY, SECRET_KEY);
    let variables = vec![("SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(), amplitude.url())];
    let mut world = World::start(Setting {
        window_seconds: 1,
        variables,
        ..Setting::default()
    })
    .await;
    let body = json!({
        "kind": "amplitude", "name": "Analytics", "endpoint": amplitude.url(), "sandbox_api_key": KEY, "events": ["user.*"],
    });
    world.add(&body).await;
    amplitude.answer(Fault::Late(Duration::from_millis(200)));
    let receipts: Vec<String> = (0..PURCHASES)
        .map(|number| format!("same-{number}"))
        .collect();
    for receipt in &receipts {
        world.send("SUBSCRIPTION_PURCHASED", receipt).await;
    }
    amplitude.wait_counted(KEY, PURCHASES, SOON).await;
    let mut retries = 0;
    for receipt in &receipts {
        world.wait_asleep(receipt).await;
        let history = world.temporal.history(&world.workflow(receipt)).await;
        retries += history
            .iter()
            .filter_map(|event| event.attributes.as_ref())
            .map(retried)
            .sum::<i32>();
    }
    println!("{retries} retries of {PURCHASES} purchases of one user");
    assert!(retries <= 5, "{retries} retries");
    assert_eq!(
        (amplitude.events(KEY).len(), amplitude.repeated(KEY)),
        (PURCHASES, 0),
        "each once"
    );
    world.finish().await;
}

/// Returns the number of retries of an activity.
fn retried(attributes: &Attributes) -> i32 {
    let Attributes::ActivityTaskStartedEventAttributes(started) = attributes else {
        return 0;
    };
    started.attempt - 1
}
