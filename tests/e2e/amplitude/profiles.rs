//! Profiles that are correct although no subscribed event carries the change: imports, external ids, merged users,
//! changes of plan and of the catalogue, refunds, later integrations.

use super::settings::MONEY_KEY;
use super::{Analysts, KEY, MINUTE, SECRET_KEY, attributes, integrate, text};
use domain::Environment;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use system_tests::amplitude::Counted;
use system_tests::rvs::{Receipt, millis};
use system_tests::sns::Rtn;
use system_tests::subscription::Subscription;
use system_tests::wait;
use system_tests::world::SOON;

const EVA: &str = "amzn1.account.EVA";
const GUEST: &str = "amzn1.account.EVAS_GUEST";
const EVAS: &str = "eva@shop";

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_right_whatever_changed_it() {
    let mut own = Analysts::start("info", &["*"]).await;
    what_is_imported_is_shown(&mut own).await;
    a_name_and_a_join_are_shown(&mut own).await;
    a_change_of_plan_is_shown(&mut own).await;
    a_change_of_the_catalogue_is_shown(&mut own).await;
    a_refund_of_what_was_bought_once_is_shown(&mut own).await;
    an_integration_from_later_is_shown_everybody(&mut own).await;
    a_worker_that_dies_with_a_profile_leaves_it_to_the_next(&mut own).await;
    own.finish().await;
}

/// Returns the changes of profiles that a project accepted, after checking that each differs from the user's previous
/// one. One exception is allowed: either receipt of a change of plan can settle first, and if the state in between is
/// superseded before it is sent, the previous state is sent again.
fn identified(own: &Analysts, key: &str) -> Vec<Counted> {
    let all = own.amplitude.identified(key);
    let content = |one: &Counted| json!([one.event["user_id"], one.event["user_properties"]]);
    let repeated = all.iter().enumerate().filter(|(index, one)| {
        let is_same_user = |other: &&Counted| other.event["device_id"] == one.event["device_id"];
        all.iter()
            .take(*index)
            .rfind(is_same_user)
            .is_some_and(|before| content(before) == content(one))
    });
    let repeated: Vec<_> = repeated.map(|(_, one)| one).collect();
    assert!(repeated.len() <= 1, "sent without a change: {repeated:?}");
    all
}

/// Returns the latest state of a user according to settle, as user properties of Amplitude.
async fn shown(own: &Analysts, device: &str) -> Value {
    let events = own.world().api.all("/v1/events").await;
    let of_user = events
        .iter()
        .map(|event| &event["body"])
        .filter(|body| body["user_id"] == device);
    let newest = of_user
        .max_by_key(|body| body["user_revision"].as_i64())
        .expect("a state of the user");
    attributes(newest)
}

/// Moves the time forward until a profile shows these SKUs, and compares it with settle's state. Returns the number of
/// changes of profiles sent so far.
async fn wait_shown(own: &mut Analysts, id: &str, skus: Value) -> usize {
    for _ in 0..20 {
        own.drain(MINUTE).await;
        let profile = own.amplitude.profile(KEY, id);
        let properties = profile
            .as_ref()
            .map(|profile| profile.properties.clone())
            .unwrap_or_default();
        if properties["namiml_active_skus"] == skus {
            let devices = profile.expect("a profile").device_ids;
            let mut states = Vec::new();
            for device in devices {
                states.push(shown(own, &device).await);
            }
            assert!(
                states.contains(&properties),
                "{properties} is none of {states:?}"
            );
            return identified(own, KEY).len();
        }
        own.skip(MINUTE).await;
        let checked = wait::within(super::CHECK, "the profile", async || {
            let found = own
                .amplitude
                .profile(KEY, id)
                .map(|profile| profile.properties["namiml_active_skus"].clone());
            if found.as_ref() == Some(&skus) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        });
        drop(checked.await);
    }
    panic!(
        "{id} never shows {skus}: {:?}, {:#?}",
        own.amplitude.profile(KEY, id),
        identified(own, KEY)
    );
}

/// An import announces no event, and still sets the profile.
async fn what_is_imported_is_shown(own: &mut Analysts) {
    let (before, _) = Subscription::begin("eva-1", EVA, own.now(), None);
    own.world().show(&before);
    let file = own.world().installation.folder().join("before.csv");
    std::fs::write(&file, format!("receipt_id,app_user_id\neva-1,{EVA}\n")).expect("the file");
    let (file, platform) = (
        file.display().to_string(),
        own.world().platform_id.to_string(),
    );
    let output = own
        .world()
        .installation
        .call(&["app", "import", &file, "--platform", &platform]);
    assert!(output.status.success(), "{output:?}");
    let device = wait::until(SOON, "the profile of the imported user", async || {
        let all = identified(own, KEY);
        all.first()
            .map(|one| text(&one.event["device_id"]))
            .ok_or_else(|| "none".to_owned())
    })
    .await;
    assert_eq!(wait_shown(own, &device, json!(["gold.monthly"])).await, 1);
    assert!(own.amplitude.events(KEY).is_empty(), "it is no event");
    assert!(
        own.world()
            .receiver
            .all()
            .iter()
            .all(|one| one.event_type() != "profile.updated")
    );
}

async fn a_name_and_a_join_are_shown(own: &mut Analysts) {
    own.name(EVA, EVAS).await;
    assert_eq!(wait_shown(own, EVAS, json!(["gold.monthly"])).await, 2);
    let (mut guest, notifications) = Subscription::begin("guest-of-eva", GUEST, own.now(), None);
    guest.shown["termSku"] = json!("platinum.monthly");
    own.happen(vec![(guest, notifications)]).await;
    own.drain(MINUTE).await;
    assert_eq!(
        identified(own, KEY).len(),
        2,
        "the purchase is a chosen event"
    );
    own.name(GUEST, EVAS).await;
    assert_eq!(
        wait_shown(own, EVAS, json!(["gold.monthly", "platinum.monthly"])).await,
        3
    );
}

/// `*` does not include the change of plan.
async fn a_change_of_plan_is_shown(own: &mut Analysts) {
    own.sell("silver.monthly", "silver", "4.99").await;
    let (mut old, _) = Subscription::begin("eva-1", EVA, own.now(), None);
    let (new, notifications) = old.change("eva-2", "silver.monthly", own.now());
    own.world().show(&old);
    own.happen(vec![(new, notifications)]).await;
    let count = wait_shown(own, EVAS, json!(["platinum.monthly", "silver.monthly"])).await;
    assert!(
        (4..=5).contains(&count),
        "each change of the state once: {count}"
    );
}

async fn a_change_of_the_catalogue_is_shown(own: &mut Analysts) {
    let before = identified(own, KEY).len();
    own.sell("platinum.monthly", "silver", "19.99").await;
    wait_entitlements(own, json!(["silver"])).await;
    assert_eq!(
        identified(own, KEY).len(),
        before + 1,
        "two purchases, one change"
    );
}

async fn wait_entitlements(own: &mut Analysts, entitlements: Value) {
    for _ in 0..20 {
        own.drain(MINUTE).await;
        let profile = own.amplitude.profile(KEY, EVAS).expect("a profile");
        if profile.properties["namiml_active_entitlements"] == entitlements {
            return;
        }
        own.skip(MINUTE).await;
        let checked = wait::within(super::CHECK, "the profile", async || {
            let found = own
                .amplitude
                .profile(KEY, EVAS)
                .expect("a profile")
                .properties;
            if found["namiml_active_entitlements"] == entitlements {
                Ok(())
            } else {
                Err(found.to_string())
            }
        });
        drop(checked.await);
    }
    panic!(
        "{entitlements} is never shown: {:?}",
        own.amplitude.profile(KEY, EVAS)
    );
}

/// The purchase is a subscribed event; its refund is not an event.
async fn a_refund_of_what_was_bought_once_is_shown(own: &mut Analysts) {
    own.sell("archive", "archive", "2.99").await;
    let fields = json!({
        "productId": "archive", "productType": "ENTITLED", "purchaseDate": millis(own.now()), "cancelDate": null,
        "quantity": null, "betaProduct": false, "testTransaction": false,
    });
    let receipt = Receipt {
        environment: Environment::Production,
        app_user_id: EVA.to_owned(),
        fields,
    };
    own.world().rvs().know("archive-1", receipt);
    notify(own, "ENTITLEMENT_PURCHASED").await;
    wait_entitlements(own, json!(["archive", "silver"])).await;
    let before = identified(own, KEY).len();
    own.world()
        .rvs()
        .change("archive-1", &json!({ "cancelDate": millis(own.now()) }));
    notify(own, "ENTITLEMENT_CANCELLED").await;
    wait_entitlements(own, json!(["silver"])).await;
    assert_eq!(identified(own, KEY).len(), before + 1);
}

async fn notify(own: &mut Analysts, kind: &str) {
    let rtn = Rtn {
        at: own.now(),
        app_user_id: EVA.to_owned(),
        ..Rtn::new(kind, "archive-1")
    };
    let message = own.world().sns.notification(&rtn);
    own.calendar.world.post_until_accepted(&message).await;
    own.world().wait_outcome(&message.id).await;
}

/// A later integration with extended user properties gets every profile by a snapshot.
async fn an_integration_from_later_is_shown_everybody(own: &mut Analysts) {
    own.amplitude.project(MONEY_KEY, SECRET_KEY);
    let later = json!({
        "name": "later", "api_key": MONEY_KEY, "sandbox_api_key": null, "user_properties": "extended",
    });
    let later = integrate(own.world(), &own.amplitude, &later).await;
    for _ in 0..2 {
        let output = own
            .world()
            .installation
            .call(&["resend", "missing", "--destination", &later]);
        assert!(output.status.success(), "{output:?}");
    }
    wait::until(SOON, "the profile in the later project", async || {
        own.amplitude
            .profile(MONEY_KEY, EVAS)
            .map(drop)
            .ok_or_else(|| "none".to_owned())
    })
    .await;
    own.drain_of(&later, MINUTE).await;
    let all = identified(own, MONEY_KEY);
    assert_eq!(all.len(), 1, "one user: {all:#?}");
    let profile = own
        .amplitude
        .profile(MONEY_KEY, EVAS)
        .expect("a profile")
        .properties;
    let old = own
        .amplitude
        .profile(KEY, EVAS)
        .expect("a profile")
        .properties;
    for (name, value) in old.as_object().expect("properties") {
        assert_eq!(profile[name], *value, "{name}");
    }
    assert_eq!(
        (
            &profile["namiml_subscription_state"],
            &profile["namiml_will_renew"]
        ),
        (&json!("active"), &json!(true))
    );
    assert_eq!(
        (
            &profile["namiml_renewals"],
            profile["namiml_ltv_usd"].is_number()
        ),
        (&json!(0), true),
        "{profile}"
    );
    assert!(
        profile["namiml_expires_at"].is_string() && profile["namiml_first_purchase_at"].is_string(),
        "{profile}"
    );
}

/// The worker aborts after it sent a profile and before it recorded that. The profile is sent again under the same id,
/// and Amplitude ignores the repetition.
async fn a_worker_that_dies_with_a_profile_leaves_it_to_the_next(own: &mut Analysts) {
    let customer = "amzn1.account.LUCA";
    own.buy("luca-1", customer).await;
    own.drain(MINUTE).await;
    let (before, repeated) = (identified(own, KEY).len(), own.amplitude.repeated(KEY));
    let webhook = own.world().destination_id.clone();
    super::settings::patch(own, &webhook, &json!({ "enabled": false })).await;
    let later = own
        .world()
        .api
        .all(&format!("/v1/apps/{}/destinations", own.world().app_id))
        .await;
    let later = later
        .iter()
        .find(|one| one["name"] == "later")
        .map(|one| text(&one["id"]))
        .expect("the later one");
    super::settings::patch(own, &later, &json!({ "enabled": false })).await;
    own.calendar
        .restart_with("deliver.after_send=1*return")
        .await;
    own.name(customer, "luca@shop").await;
    let id = own.id.clone();
    own.calendar.skip(MINUTE, &[&id]).await;
    let exit = own.calendar.world.worker().wait_end().await;
    assert_eq!(
        exit.signal(),
        Some(6),
        "ended with {exit} and not by aborting itself"
    );
    own.calendar.restart().await;
    for id in [webhook, later] {
        super::settings::patch(own, &id, &json!({ "enabled": true })).await;
    }
    wait::until(SOON, "the profile once more", async || {
        let now = own.amplitude.repeated(KEY);
        if now > repeated {
            Ok(())
        } else {
            Err(format!("{now} repeated"))
        }
    })
    .await;
    own.drain(MINUTE).await;
    assert_eq!(
        (identified(own, KEY).len(), own.amplitude.repeated(KEY)),
        (before + 1, repeated + 1)
    );
    assert_eq!(
        own.amplitude
            .profile(KEY, "luca@shop")
            .expect("a profile")
            .user_id
            .as_deref(),
        Some("luca@shop")
    );
}
