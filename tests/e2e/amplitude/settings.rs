//! The settings of an integration: keys, events of unnamed customers, and events that cannot be sent.

use super::{
    Analysts, HOUR, KEY, MINUTE, SANDBOX_KEY, SECRET_KEY, alarms, deliveries, integrate, people,
    requests_with, text,
};
use domain::{CollapseKey, Environment};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::amplitude::Profile;
use system_tests::raw::Raw;
use system_tests::rvs::{CUSTOMER, Receipt};
use system_tests::sns::{Rtn, TOPIC};
use system_tests::subscription::Subscription;
use system_tests::wait;
use system_tests::world::SOON;

/// API key of a project without test purchases. It differs from [`KEY`], because no two integrations may send the same
/// events to one project.
pub const MONEY_KEY: &str = "91aa3c5be0d84f27b6c2e51fmoneyonly";
/// API key of a project of customers with an external id, for the same reason.
const NAMED_KEY: &str = "7d20f8a4c1be4e95a36f08b2namedonly";
/// An API key without a project.
pub const WRONG_KEY: &str = "e4d909c290d0fb1ca068ffadwrong";

const PURCHASED: &str = "user.subscription.purchased";
const STARTED: &str = "user.journey.trial.started";
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_an_integration_are_honoured() {
    let mut own = Analysts::start("debug", &["*"]).await;
    the_connection_is_tested_without_an_event(&own).await;
    what_is_bought_in_a_test_has_a_project_of_its_own(&mut own).await;
    people::who_turns_out_to_be_known_has_one_profile(&mut own).await;
    an_unnamed_customer_is_sent_waits_or_is_skipped(&mut own).await;
    an_id_that_amplitude_refuses_is_the_customers_data_problem(&mut own).await;
    what_is_refused_goes_alone(&mut own).await;
    a_daily_quota_is_waited_out(&mut own).await;
    alarms::a_costly_failure_is_retried_and_raises_an_alarm(&mut own).await;
    alarms::a_throttled_project_is_left_alone(&mut own).await;
    a_wrong_key_disables_and_the_right_one_sends_what_is_pending(&mut own).await;
    own.finish().await;
}

pub async fn patch(own: &Analysts, id: &str, body: &Value) -> Value {
    own.world()
        .api
        .call(Method::PATCH, &format!("/v1/destinations/{id}"), body)
        .await
        .ok()
}

pub async fn show(own: &Analysts, id: &str) -> Value {
    own.world()
        .api
        .get(&format!("/v1/destinations/{id}"))
        .await
        .ok()
}

/// Returns the profile for which a project counted a receipt's events.
fn profile_of(own: &Analysts, key: &str, collapse_key: CollapseKey) -> Profile {
    let about = collapse_key.to_string();
    let events = own.amplitude.events(key);
    let event = events
        .iter()
        .find(|one| one.event["event_properties"]["collapse_key"] == about.as_str());
    let device = text(&event.expect("an event of the receipt").event["device_id"]);
    own.amplitude
        .profile(key, &device)
        .expect("a profile of the device")
}

/// Returns the types of a receipt's events that a project counted.
fn counted(own: &Analysts, key: &str, collapse_key: CollapseKey) -> Vec<String> {
    let about = collapse_key.to_string();
    let own = own
        .amplitude
        .events(key)
        .into_iter()
        .filter(|one| one.event["event_properties"]["collapse_key"] == about.as_str());
    own.map(|one| text(&one.event["event_type"])).collect()
}

/// The connection test queries Amplitude with the secret key, and sends no event.
async fn the_connection_is_tested_without_an_event(own: &Analysts) {
    let path = format!("/v1/destinations/{}/test", own.id);
    let tested = own.world().api.post(&path, &json!({})).await.ok();
    assert_eq!(tested["ok"], true, "{tested}");
    patch(own, &own.id, &json!({ "secret_key": WRONG_KEY })).await;
    let tested = own.world().api.post(&path, &json!({})).await.ok();
    assert_eq!(tested["ok"], false, "{tested}");
    assert!(
        !tested.to_string().contains(WRONG_KEY) && !tested.to_string().contains(KEY),
        "{tested}"
    );
    patch(own, &own.id, &json!({ "secret_key": null })).await;
    let refused = own.world().api.post(&path, &json!({})).await;
    assert_eq!(
        refused.status, 409,
        "nothing can be queried without it: {}",
        refused.body
    );
    patch(own, &own.id, &json!({ "secret_key": SECRET_KEY })).await;
    assert!(
        own.amplitude.events(KEY).is_empty(),
        "no event is sent for it"
    );
    assert!(
        own.amplitude
            .requests()
            .iter()
            .all(|exchange| exchange.target.starts_with("GET /api/2/usersearch"))
    );
}

/// Test purchases are sent with the sandbox's key only, and real purchases never with it.
async fn what_is_bought_in_a_test_has_a_project_of_its_own(own: &mut Analysts) {
    let world = own.world();
    let platform = json!({
        "store": "amazon", "name": "sandbox", "package_name": "com.example.sandbox", "environment": "sandbox",
        "topic_arn": TOPIC, "window_seconds": 1, "shared_secret": system_tests::rvs::SECRET,
    });
    let platform = world
        .api
        .post(&format!("/v1/apps/{}/platforms", world.app_id), &platform)
        .await
        .ok();
    let platform_id = text(&platform["id"]).parse().expect("a platform id");
    own.amplitude.project(MONEY_KEY, SECRET_KEY);
    let alone = json!({ "name": "money only", "api_key": MONEY_KEY, "sandbox_api_key": null });
    let alone = integrate(world, &own.amplitude, &alone).await;

    world.rvs().know(
        "tested",
        Receipt {
            environment: Environment::Sandbox,
            ..Receipt::subscription(own.now())
        },
    );
    world
        .rvs()
        .change("tested", &json!({ "termSku": "platinum.monthly" }));
    let url = text(&platform["notification_url"]);
    notify_tested(own, &url, "SUBSCRIPTION_PURCHASED").await;
    own.buy("paid", CUSTOMER).await;
    let (tested, paid) = (
        CollapseKey::of(platform_id, "tested"),
        own.world().key("paid"),
    );
    own.amplitude.wait_counted(SANDBOX_KEY, 1, SOON).await;
    own.amplitude.wait_counted(KEY, 1, SOON).await;
    own.drain(MINUTE).await;
    assert_eq!(
        (
            counted(own, SANDBOX_KEY, tested),
            counted(own, SANDBOX_KEY, paid)
        ),
        (vec![PURCHASED.to_owned()], vec![])
    );
    assert_eq!(
        (
            counted(own, KEY, tested),
            counted(own, KEY, paid).is_empty()
        ),
        (vec![], false)
    );
    own.drain_of(&alone, MINUTE).await;
    assert_eq!(
        (
            counted(own, MONEY_KEY, tested),
            counted(own, MONEY_KEY, paid).is_empty()
        ),
        (vec![], false)
    );
    let skipped = deliveries(own.world(), &alone, "skipped").await;
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(
        skipped[0]["last_error"]
            .as_str()
            .is_some_and(|why| why.contains("no Sandbox API Key")),
        "{skipped:?}"
    );
    let deleted = own
        .world()
        .api
        .call(
            Method::DELETE,
            &format!("/v1/destinations/{alone}"),
            &json!({}),
        )
        .await;
    assert_eq!(deleted.status, 204);

    // The customer has purchases in both environments: each profile shows those of its own.
    own.world().rvs().change(
        "tested",
        &json!({ "autoRenewing": false, "cancelReason": 1 }),
    );
    notify_tested(own, &url, "SUBSCRIPTION_AUTO_RENEWAL_OFF").await;
    own.amplitude.wait_counted(SANDBOX_KEY, 2, SOON).await;
    for (key, about, sku) in [
        (KEY, paid, "gold.monthly"),
        (SANDBOX_KEY, tested, "platinum.monthly"),
    ] {
        assert_eq!(
            profile_of(own, key, about).properties["namiml_active_skus"],
            json!([sku])
        );
    }
}

/// Posts a notification of the receipt `tested`.
async fn notify_tested(own: &mut Analysts, url: &str, kind: &str) {
    let package_name = "com.example.sandbox".to_owned();
    let message = own.world().sns.notification(&Rtn {
        package_name,
        at: own.now(),
        ..Rtn::new(kind, "tested")
    });
    let answer = own
        .calendar
        .world
        .post_at(url, &message)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    own.world().wait_outcome(&message.id).await;
}

/// Depending on the setting, an event of a customer without an external id is sent, waits for the id, or is skipped.
async fn an_unnamed_customer_is_sent_waits_or_is_skipped(own: &mut Analysts) {
    let nameless = "amzn1.account.NAMELESS";
    let wait = json!({ "name": "waits", "without_external_id": "wait", "api_key": SANDBOX_KEY, "sandbox_api_key": null });
    let waiting = integrate(own.world(), &own.amplitude, &wait).await;
    let skip = json!({ "name": "skips", "without_external_id": "skip", "api_key": NAMED_KEY, "sandbox_api_key": null });
    own.amplitude.project(NAMED_KEY, SECRET_KEY);
    let skipping = integrate(own.world(), &own.amplitude, &skip).await;
    let mut bought = own.buy("nameless-1", nameless).await;
    let delivery = own
        .world()
        .wait_delivery(&waiting, "nameless-1", PURCHASED, "waiting")
        .await;
    assert!(
        delivery["last_error"].is_string() || delivery["attempts"] == 0,
        "{delivery}"
    );
    own.world()
        .wait_delivery(&skipping, "nameless-1", PURCHASED, "skipped")
        .await;
    own.world()
        .wait_delivery(&own.id, "nameless-1", PURCHASED, "delivered")
        .await;
    let key = own.world().key("nameless-1");
    let sent = own
        .amplitude
        .events(KEY)
        .into_iter()
        .rfind(|one| one.event["event_properties"]["collapse_key"] == key.to_string());
    let sent = sent.expect("the nameless event").event;
    assert_eq!(sent["user_id"], Value::Null, "{sent}");
    assert!(counted(own, SANDBOX_KEY, key).is_empty(), "nothing yet");
    assert!(counted(own, NAMED_KEY, key).is_empty(), "never");

    own.name(nameless, "known@shop").await;
    own.drain_of(&waiting, MINUTE).await;
    own.world()
        .wait_delivery(&waiting, "nameless-1", PURCHASED, "delivered")
        .await;
    let named = own
        .amplitude
        .profile(SANDBOX_KEY, "known@shop")
        .expect("the customer's own id");
    assert_eq!(named.events.len(), 1, "it waited for the name: {named:?}");
    let notifications = bought.switch_off(own.now());
    own.happen(vec![(bought, notifications)]).await;
    wait::until(SOON, "both events on one profile", async || {
        let profile = own
            .amplitude
            .profile(KEY, "known@shop")
            .ok_or("no profile")?;
        if profile.events.len() == 2 {
            Ok(())
        } else {
            Err(format!("{profile:?}"))
        }
    })
    .await;
    for id in [waiting, skipping] {
        let deleted = own
            .world()
            .api
            .call(
                Method::DELETE,
                &format!("/v1/destinations/{id}"),
                &json!({}),
            )
            .await;
        assert_eq!(deleted.status, 204);
    }
}

/// Forbidden and short external ids are not sent. With a lower minimum length, the short one is.
async fn an_id_that_amplitude_refuses_is_the_customers_data_problem(own: &mut Analysts) {
    for (number, id) in ["4711", " Anonymous"].into_iter().enumerate() {
        let (customer, receipt) = (
            format!("amzn1.account.REFUSED{number}"),
            format!("refused-{number}"),
        );
        // settle 0.1.0 accepted any id.
        own.name(&customer, &receipt).await;
        let mut raw = Raw::of(&own.world().installation.stored_in());
        raw.run(&format!(
            "UPDATE users SET external_id = '{id}' WHERE external_id = '{receipt}'"
        ));
        own.buy(&receipt, &customer).await;
        let failed = own
            .world()
            .wait_delivery(&own.id, &receipt, PURCHASED, "failed")
            .await;
        let why = text(&failed["last_error"]);
        assert!(
            why.contains("external id") && why.contains("--user-id user_id") && !why.contains(id),
            "{why}"
        );
        let sent = own
            .amplitude
            .requests()
            .iter()
            .any(|exchange| exchange.events().iter().any(|event| event["user_id"] == id));
        assert!(!sent, "nothing is sent of {id}");
    }
    assert_eq!(
        show(own, &own.id).await["state"],
        "healthy",
        "it is no fault of the integration"
    );
    let alarms = alarms::alarms(own).await;
    let detail_part = "a delivery cannot be sent: the customer's external id is shorter";
    assert!(
        alarms.iter().any(|detail| detail.contains(detail_part)),
        "{alarms:?}"
    );
    patch(own, &own.id, &json!({ "min_id_length": 1 })).await;
    let again = json!({ "failed": true, "destination_id": own.id, "reason": "the project takes short ids" });
    let answer = own.world().api.post("/v1/resends", &again).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    own.world()
        .wait_delivery(&own.id, "refused-0", PURCHASED, "delivered")
        .await;
    let profile = own.amplitude.profile(KEY, "4711").expect("the short id");
    assert_eq!(profile.user_id.as_deref(), Some("4711"));
    patch(own, &own.id, &json!({ "min_id_length": null })).await;
}

/// Of several events in a request, only the refused one is given up, as is the event of a silenced device; the others
/// arrive.
async fn what_is_refused_goes_alone(own: &mut Analysts) {
    own.amplitude.refuse_type(KEY, STARTED);
    let (tried, notifications) =
        Subscription::begin("tried", "amzn1.account.TRIED", own.now(), Some(3));
    own.happen(vec![(tried, notifications)]).await;
    own.drain(MINUTE).await;
    let failed = own
        .world()
        .wait_delivery(&own.id, "tried", STARTED, "failed")
        .await;
    own.world()
        .wait_delivery(&own.id, "tried", PURCHASED, "delivered")
        .await;
    let tries = requests_with(&own.amplitude, STARTED);
    assert_eq!(tries.len(), 1, "a refused event is not retried: {tries:?}");
    let attempts = own
        .world()
        .api
        .get(&format!("/v1/deliveries/{}/attempts", text(&failed["id"])))
        .await
        .ok();
    assert_eq!(attempts["items"][0]["status"], 400, "{attempts}");

    own.name("amzn1.account.SILENT", "silent@shop").await;
    let mut silent = own.buy("silent", "amzn1.account.SILENT").await;
    own.world()
        .wait_delivery(&own.id, "silent", PURCHASED, "delivered")
        .await;
    let profile = own
        .amplitude
        .profile(KEY, "silent@shop")
        .expect("a profile");
    own.amplitude
        .silence(KEY, profile.device_ids.first().expect("a device"));
    let notifications = silent.switch_off(own.now());
    own.happen(vec![(silent, notifications)]).await;
    own.world()
        .wait_delivery(&own.id, "silent", "user.subscription.cancelled", "failed")
        .await;
    let alarms = alarms::alarms(own).await;
    assert!(
        alarms
            .iter()
            .any(|detail| detail.contains("Amplitude has silenced a customer")),
        "{alarms:?}"
    );
    assert_eq!(show(own, &own.id).await["enabled"], true);
}

/// Events of a user who exceeds the daily quota are sent when the quota allows them again.
async fn a_daily_quota_is_waited_out(own: &mut Analysts) {
    own.name("amzn1.account.QUOTA", "quota@shop").await;
    own.amplitude.exceed_quota(KEY, "quota@shop");
    own.buy("quota", "amzn1.account.QUOTA").await;
    wait::until(SOON, "a refusal", async || {
        let refused = own
            .amplitude
            .requests()
            .iter()
            .any(|exchange| exchange.answer["exceeded_daily_quota_users"].is_object());
        if refused {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    own.drain(DAY / 4).await;
    let profile = own
        .amplitude
        .profile(KEY, "quota@shop")
        .expect("counted a day later");
    assert_eq!(profile.events.len(), 1);
}

/// Amplitude's answer repeats the wrong key in plain text: settle shows it nowhere, disables the integration with a
/// visible reason, and sends the pending events when the right key is set.
async fn a_wrong_key_disables_and_the_right_one_sends_what_is_pending(own: &mut Analysts) {
    patch(own, &own.id, &json!({ "api_key": WRONG_KEY })).await;
    let mut bought = own.buy("keyless", "amzn1.account.KEYLESS").await;
    let disabled = wait::until(SOON, "the integration to be disabled", async || {
        let shown = show(own, &own.id).await;
        if shown["state"] == "disabled" {
            Ok(shown)
        } else {
            Err(shown.to_string())
        }
    })
    .await;
    assert_eq!(disabled["enabled"], false);
    let reason = text(&disabled["reason"]);
    println!("disabled: {reason}");
    assert!(
        reason.to_lowercase().contains("key") && !reason.contains(WRONG_KEY),
        "{reason}"
    );
    let notifications = bought.switch_off(own.now());
    own.happen(vec![(bought, notifications)]).await;
    let pending = deliveries(own.world(), &own.id, "pending").await;
    assert_eq!(
        pending.len(),
        2,
        "purchases settle on, and their events are pending: {pending:?}"
    );
    let answers = own.amplitude.requests();
    let echoed = answers
        .iter()
        .filter(|exchange| exchange.answer.to_string().contains(WRONG_KEY))
        .count();
    assert_eq!(echoed, 1, "the fake echoed the key, once");

    patch(own, &own.id, &json!({ "api_key": KEY, "enabled": true })).await;
    own.drain(HOUR).await;
    let key = own.world().key("keyless");
    assert_eq!(
        counted(own, KEY, key),
        [PURCHASED, "user.subscription.cancelled"]
    );
    let shown = show(own, &own.id).await;
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("healthy"), &Value::Null),
        "{shown}"
    );
}
