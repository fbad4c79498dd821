//! Connecting with the page alone: from a new app to the first event that a receiver verifies, and an integration set
//! up according to its documentation.

use super::stage::Stage;
use serde_json::json;
use system_tests::rvs::{Receipt, SECRET};
use system_tests::sns::{PACKAGE, Rtn, TOPIC};
use system_tests::wait;
use system_tests::world::{SOON, Setting};

const STRANGER: &str = "arn:aws:sns:us-east-1:999999999999:invented";

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_sees_a_verified_event_arrive() {
    let mut stage = Stage::with(Setting {
        rvs: true,
        ..Setting::default()
    })
    .await;
    stage.open("/ui/connect").await;
    stage.fill("Name", "Radio").await;
    stage.fill("Reason", "our first app").await;
    stage.press_button("Create the app").await;
    stage.wait_text("main h1", "Radio").await;
    stage.press_button("Next: choose a store").await;
    let store = "main .list a[href*='store=amazon']";
    stage.browser.click(store).await;
    stage.wait_text("main h1", "Amazon").await;
    stage.fill("Name", "fire").await;
    stage.fill("Package name", PACKAGE).await;
    stage.fill("Environment", "Sandbox").await;
    stage.fill("Shared secret", SECRET).await;
    stage.press_button("More").await;
    stage.fill("Topic", TOPIC).await;
    stage.fill("Quiet window in seconds", "2").await;
    stage.fill("Reason", "our first platform").await;
    stage.press_button("Connect ").await;
    stage.wait_text("#arrived", "has not sent anything").await;
    stage.check("the console's page").await;
    stage.check_with_axe("the console's page").await;
    stage.store_picture("connect-console", 1280).await;
    let console = stage.path().await;
    let url = stage
        .browser
        .run("return document.querySelector('.url code').dataset.copy")
        .await;
    let url = url.as_str().expect("a URL").to_owned();
    // A message from an unknown account is refused, and shown at once.
    stage.wait_streaming().await;
    let strange = stage.world.sns.message(
        STRANGER,
        &Rtn::new("SUBSCRIPTION_PURCHASED", "stranger").message(),
    );
    let answer = stage
        .world
        .post_at(&url, &strange)
        .await
        .expect("an answer");
    assert_ne!(answer.status, 200, "{answer:?}");
    stage.wait_text("#arrived", "1 time").await;
    stage.open(&format!("{console}/topics")).await;
    stage.wait_text(".account", "033616359524").await;
    stage.store_picture("connect-topics", 1280).await;
    let hook = add_webhook(&stage, &console).await;
    stage.open(&format!("{console}/first")).await;
    stage.wait_text("#way", "Nothing received yet").await;
    stage.wait_streaming().await;
    let rtn = Rtn::new("SUBSCRIPTION_PURCHASED", "first");
    stage.world.rvs().know(
        "first",
        Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
    );
    let message = stage.world.sns.notification(&rtn);
    let answer = stage
        .world
        .post_at(&url, &message)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    stage.wait_text("#way", "The latest purchase").await;
    wait::until(SOON, "the first event", async || {
        let events = stage.world.receiver.all();
        let is_here = events
            .iter()
            .any(|event| event.receipt_id() == "first" && event.is_acked());
        if is_here {
            Ok(())
        } else {
            Err(format!("{} requests", events.len()))
        }
    })
    .await;
    stage.wait_text("#way", "delivered").await;
    stage.check("the first event").await;
    stage.check_with_axe("the first event").await;
    stage.store_picture("connect-first", 1280).await;
    stage.open(&format!("{hook}/deliveries")).await;
    stage.wait_text("main", "delivered").await;
    stage.check_with_axe("deliveries").await;
    stage.store_picture("deliveries", 1280).await;
    stage.finish().await;
}

/// Adds a webhook with its form and tests it; returns the webhook's path.
async fn add_webhook(stage: &Stage, console: &str) -> String {
    stage.open(&format!("{console}/destinations")).await;
    stage
        .browser
        .click("main .list a[href*='kind=webhook']")
        .await;
    stage.wait_text("main h1", "Webhook").await;
    stage.fill("Name", "Billing").await;
    stage.fill("URL", "ftp://nowhere").await;
    stage.fill("Reason", "our billing").await;
    stage.press_button("Add Webhook").await;
    stage.wait_text("main [role=alert]", "url").await;
    let shown = "return [document.querySelector('#url').value, document.querySelector('#url').getAttribute('aria-invalid')]";
    assert_eq!(
        stage.browser.run(shown).await,
        json!(["ftp://nowhere", "true"]),
        "what was entered is still there"
    );
    stage.check_with_axe("a wrong form").await;
    stage.store_picture("webhook-wrong", 1280).await;
    stage
        .browser
        .run("document.querySelector('#url').value = ''")
        .await;
    stage.fill("URL", &stage.world.receiver.url()).await;
    stage.press_button("Add Webhook").await;
    stage.wait_text("main", "You won't see it again").await;
    let secret = stage
        .browser
        .run("return document.querySelector('.once code').dataset.copy")
        .await;
    stage
        .world
        .receiver
        .trust(secret.as_str().expect("a secret"));
    stage.store_picture("webhook-created", 1280).await;
    let path = stage
        .browser
        .run("return new URL(document.querySelector('.heading a').href).pathname")
        .await;
    stage.press_button("Send a test").await;
    stage
        .browser
        .enter(".action[open] input[name=reason]", "does it answer?")
        .await;
    stage.browser.click(".action[open] button").await;
    stage.wait_text("main [role=status]", "200").await;
    stage.store_picture("webhook-tested", 1280).await;
    path.as_str().expect("a path").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_is_created_from_its_documentation() {
    let stage = Stage::start().await;
    stage
        .open(&format!("/ui/destinations?app_id={}", stage.world.app_id))
        .await;
    stage.browser.click("main a[href*='kind=amplitude']").await;
    stage.wait_text("main h1", "Amplitude").await;
    stage.fill("Name", "Product analytics").await;
    stage.fill("URL", "EU Residency").await;
    stage
        .fill("API Key", "0123456789abcdef0123456789abcdef")
        .await;
    stage.fill("User ID", "External ID").await;
    let every = "const every = document.querySelector(\"input[name=events][value='*']\"); every.click(); return every.checked";
    assert_eq!(
        stage.browser.run(every).await,
        false,
        "all listed events are chosen at first"
    );
    for group in ["journey", "subscription"] {
        let script = format!(
            "const group = [...document.querySelectorAll('.boxes')].find((one) => one.innerText.toLowerCase().startsWith({group:?}));
             group.open = true; group.querySelectorAll('input').forEach((box) => {{ if (!box.checked) box.click(); }})"
        );
        stage.browser.run(&script).await;
    }
    let enable = "return document.querySelector('input[name=enabled]').checked";
    assert_eq!(
        stage.browser.run(enable).await,
        true,
        "Enable Integration is on"
    );
    stage.fill("Reason", "analysts want it").await;
    stage.check_with_axe("the form of an integration").await;
    stage.store_picture("amplitude-form", 1280).await;
    stage.press_button("Add Amplitude").await;
    stage.wait_text("main h1", "Product analytics").await;
    let list = stage
        .world
        .api
        .get(&format!("/v1/apps/{}/destinations", stage.world.app_id))
        .await
        .ok();
    let added = list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["kind"] == "amplitude");
    let added = added.unwrap_or_else(|| panic!("{list}"));
    assert_eq!(
        (&added["endpoint"], &added["user_id"]),
        (&json!("eu"), &json!("external_id")),
        "{added}"
    );
    assert_eq!(
        added["events"].as_array().map(Vec::len),
        Some(11),
        "three of the journey, eight of subscriptions: {added}"
    );
    assert!(
        !added
            .to_string()
            .contains("0123456789abcdef0123456789abcdef"),
        "{added}"
    );
    stage.finish().await;
}
