//! The dashboard in a real browser, against the real service: a support case, every screen without scripts, the
//! keyboard alone, axe in both themes, narrow and wide windows, and live changes on an open page.
//!
//! Needs `chromium`, `chromedriver` and `npm`; `.ci/run` calls this test by name: `cargo test --workspace --test
//! pages`. The screenshots in `target/pages` are for people; no test compares them.

mod axe;
mod connecting;
mod google;
mod paint;
mod stage;

use reqwest::Method;
use serde_json::json;
use stage::Stage;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// Returns the names and paths of all screens, including those about this receipt's purchase.
async fn screens(stage: &Stage, receipt: &str) -> Vec<(&'static str, String)> {
    let of = |name, path: &str| (name, path.to_owned());
    let (app, platform) = (&stage.world.app_id, stage.world.platform_id);
    let destination = &stage.world.destination_id;
    let event = stage.world.events(receipt).await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let delivery = stage.world.deliveries(receipt).await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let named = json!({ "receipt_id": receipt, "external_id": "kim@example.com" });
    let named = stage
        .world
        .api
        .call(Method::PUT, &format!("/v1/apps/{app}/customers"), &named)
        .await
        .ok();
    let customer = named["user_id"].as_str().expect("a customer").to_owned();
    vec![
        of("home", "/ui/"),
        of("connect", "/ui/connect"),
        ("connect-app", format!("/ui/connect/apps/{app}")),
        (
            "connect-new",
            format!("/ui/connect/apps/{app}/platforms/new?store=amazon"),
        ),
        (
            "connect-new-store",
            format!("/ui/connect/apps/{app}/platforms/new"),
        ),
        (
            "connect-platform",
            format!("/ui/connect/platforms/{platform}"),
        ),
        (
            "connect-platform-settings",
            format!("/ui/connect/platforms/{platform}/settings"),
        ),
        (
            "connect-platform-topics",
            format!("/ui/connect/platforms/{platform}/topics"),
        ),
        (
            "connect-platform-first",
            format!("/ui/connect/platforms/{platform}/first"),
        ),
        of("purchases", "/ui/purchases"),
        (
            "purchase",
            format!("/ui/purchases/{}", stage.world.key(receipt)),
        ),
        of("events", "/ui/events"),
        ("event", format!("/ui/events/{event}")),
        of("destinations", "/ui/destinations"),
        ("destination", format!("/ui/destinations/{destination}")),
        (
            "destination-deliveries",
            format!("/ui/destinations/{destination}/deliveries"),
        ),
        (
            "destination-settings",
            format!("/ui/destinations/{destination}/settings"),
        ),
        (
            "destination-resend",
            format!("/ui/destinations/{destination}/resend"),
        ),
        ("delivery", format!("/ui/deliveries/{delivery}")),
        of("customers", "/ui/customers"),
        (
            "customer",
            format!("/ui/customers/{app}/{customer}?on=2026-10-03"),
        ),
        ("payments", format!("/ui/payments?user_id={customer}")),
        ("catalogue", format!("/ui/apps/{app}/catalogue")),
        (
            "catalogue-product",
            format!("/ui/apps/{app}/catalogue/product"),
        ),
        of("alarms", "/ui/alarms"),
        of("audit-log", "/ui/audit-log"),
        of("team", "/ui/team"),
        of("team-keys", "/ui/team/keys"),
        of("settings", "/ui/settings"),
        of("missing", "/ui/nothing"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_purchase_has_no_event_is_one_click_away() {
    let mut stage = Stage::start().await;
    stage.purchase("receipt-4711").await;
    stage.open("/ui/").await;
    stage.browser.enter("#q", "receipt-4711").await;
    stage.browser.click(".search button").await;
    let purchase = format!("/ui/purchases/{}", stage.world.key("receipt-4711"));
    stage.wait_path(&purchase).await;
    let zone = "return document.querySelector('[data-zone]').textContent ===
        `Times in ${new Intl.DateTimeFormat().resolvedOptions().timeZone}`";
    assert_eq!(
        stage.browser.run(zone).await,
        true,
        "the page names the zone of its times"
    );
    let undated =
        "return [...document.querySelectorAll('main time')].map((time) => time.textContent)
        .filter((text) => !/\\b20[0-9]{2}\\b/.test(text))";
    assert_eq!(
        stage.browser.run(undated).await,
        json!([]),
        "each time has its date"
    );
    let story = stage.browser.text(".story").await;
    for part in [
        "not sent",
        "not subscribed to purchase.updated",
        "subscribed to user.subscription.expired",
    ] {
        assert!(story.contains(part), "{part} in {story}");
    }
    stage.open("/ui/").await;
    stage.browser.enter("#q", "never-reported").await;
    stage.browser.click(".search button").await;
    stage.wait_text("main h1", "No results for").await;
    stage.check("a search").await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_in_the_zone_of_the_rows() {
    let stage = Stage::start().await;
    stage.browser.set_zone("America/New_York").await;
    stage.open("/ui/events?from=2026-01-31T12:00:00Z").await;
    let shown = "const of = (selector) => document.querySelector(selector);
        return [of('#from').value, of('label[for=from]').textContent, new FormData(of('form.filter')).get('from')]";
    assert_eq!(
        stage.browser.run(shown).await,
        json!(["2026-01-31T07:00", "From", "2026-01-31T12:00:00"])
    );
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_screen_works_without_scripts() {
    let mut stage = Stage::start().await;
    stage.purchase("receipt-1").await;
    stage.browser.forget_cookies().await;
    stage.browser.disable_scripts(true).await;
    stage.open("/ui/purchases").await;
    assert_eq!(stage.path().await, "/ui/sign-in");
    stage
        .browser
        .enter("#key", &stage.world.installation.token)
        .await;
    stage.browser.enter("#name", "Ben").await;
    stage.browser.click("main button").await;
    assert_eq!(
        stage.path().await,
        "/ui/purchases",
        "it continues where it was"
    );
    stage.browser.click(".rows a").await;
    let purchase = format!("/ui/purchases/{}", stage.world.key("receipt-1"));
    stage.wait_path(&purchase).await;
    for (name, path) in screens(&stage, "receipt-1").await {
        stage.open(&path).await;
        assert!(!stage.browser.text("main h1").await.is_empty(), "{name}");
        assert!(
            stage.browser.text(".who").await.contains("Sign out"),
            "{name}"
        );
        assert_eq!(
            stage.browser.text("[data-zone]").await,
            "Times in UTC",
            "{name}"
        );
    }
    stage.open(&purchase).await;
    stage
        .browser
        .click(".actions details:has(#reason-hold) summary")
        .await;
    stage.browser.enter("#reason-hold", "ticket 4711").await;
    stage
        .browser
        .click(".actions details:has(#reason-hold) button")
        .await;
    stage.check_plain_text(".notice", "being held").await;
    let held = stage.wait_act("purchase.hold").await;
    assert_eq!(held["reason"], "ticket 4711", "{held}");
    assert_eq!(held["actor"], "Ben (admin token)", "{held}");
    stage.browser.enter("#q", "receipt-1").await;
    stage.browser.click(".search button").await;
    stage.wait_path(&purchase).await;
    stage.browser.click(".who button").await;
    stage.wait_path("/ui/sign-in").await;
    stage.open("/ui/settings").await;
    assert_eq!(stage.path().await, "/ui/sign-in", "signed out");
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_is_enough() {
    let mut stage = Stage::start().await;
    stage.purchase("receipt-2").await;
    stage.open("/ui/").await;
    stage.browser.press(TAB).await;
    let focused = "return document.activeElement.innerText || document.activeElement.id";
    assert_eq!(stage.browser.run(focused).await, "Skip to content");
    stage.browser.press(ENTER).await;
    assert_eq!(
        stage.browser.run("return document.activeElement.id").await,
        "main"
    );
    stage.browser.press("/").await;
    assert_eq!(
        stage.browser.run("return document.activeElement.id").await,
        "q"
    );
    stage.browser.press(&format!("receipt-2{ENTER}")).await;
    let purchase = format!("/ui/purchases/{}", stage.world.key("receipt-2"));
    stage.wait_path(&purchase).await;
    // Every control can be reached with Tab, in the order of the page, and the focused one is never covered by the bar.
    let mut seen = Vec::new();
    for _ in 0..80 {
        stage.browser.press(TAB).await;
        let state = stage
            .browser
            .run(
                "const one = document.activeElement, box = one.getBoundingClientRect();
                 const bar = document.querySelector('.top').getBoundingClientRect();
                 const isInBar = one.closest('.top, .side, .skip');
                 const isHidden = !isInBar && box.height > 0 && box.bottom <= bar.bottom && one !== document.body;
                 return [one === document.body ? 'BODY' : one.innerText?.trim() || one.id || one.tagName, isHidden, getComputedStyle(one).outlineStyle]",
            )
            .await;
        assert_eq!(state[1], false, "under the bar: {state}");
        if state[0] == "BODY" || seen.last() == Some(&state[0]) {
            continue;
        }
        assert_ne!(state[2], "none", "no visible focus: {state}");
        seen.push(state[0].clone());
    }
    for wanted in [
        "Search",
        "Home",
        "Sign out",
        "Resend",
        "Hold",
        "As a command",
    ] {
        assert!(seen.contains(&json!(wanted)), "{wanted} in {seen:?}");
    }
    stage.browser.run("document.activeElement.blur()").await;
    stage.browser.press("ga").await;
    stage.wait_path("/ui/alarms").await;
    stage.browser.press("gp").await;
    stage.wait_path("/ui/purchases").await;
    stage.browser.press("j").await;
    stage.browser.press(ENTER).await;
    stage.wait_path(&purchase).await;
    stage.browser.press("?").await;
    assert_eq!(
        stage
            .browser
            .run("return document.getElementById('keys').open")
            .await,
        true
    );
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_and_no_page_scrolls_sideways() {
    let mut stage = Stage::start().await;
    stage.purchase("receipt-3").await;
    let renewed = stage.world.send("SUBSCRIPTION_RENEWED", "receipt-3").await;
    let all = screens(&stage, "receipt-3").await;
    for theme in ["light", "dark"] {
        stage.browser.prefer(theme).await;
        for width in [320, 768, 1280] {
            stage.browser.resize(width, 900).await;
            for (name, path) in &all {
                stage.open(path).await;
                let what = format!("{name} in {theme} at {width}");
                stage.check(&what).await;
                stage
                    .store_picture(&format!("{name}-{theme}-{width}"), width)
                    .await;
                if width != 768 {
                    stage
                        .browser
                        .run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                        .await;
                    stage.check_with_axe(&what).await;
                    stage.check(&format!("{what}, unfolded")).await;
                }
            }
        }
        stage.open("/ui/").await;
        stage
            .browser
            .run("document.getElementById('keys').showModal()")
            .await;
        stage
            .check_with_axe(&format!("the dialog in {theme}"))
            .await;
    }
    stage.browser.forget_cookies().await;
    for width in [320, 1280] {
        stage.browser.resize(width, 900).await;
        stage.open("/ui/sign-in").await;
        stage.check("the sign-in").await;
        stage.check_with_axe("the sign-in").await;
        stage
            .store_picture(&format!("sign-in-dark-{width}"), width)
            .await;
    }
    stage.world.settle("receipt-3", &renewed).await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_shown_without_a_reload() {
    let mut stage = Stage::start().await;
    stage.open("/ui/").await;
    stage
        .wait_text("#standing h1", "No notifications received yet")
        .await;
    stage.browser.run("window.isTheSamePage = true").await;
    stage.wait_streaming().await;
    let first = stage
        .world
        .send("SUBSCRIPTION_PURCHASED", "receipt-5")
        .await;
    stage.wait_text("#standing", "Next windows to close").await;
    assert_eq!(
        stage.browser.run("return window.isTheSamePage").await,
        true,
        "it was not loaded again"
    );
    assert_eq!(
        stage
            .browser
            .run("return document.querySelectorAll('#standing').length")
            .await,
        1
    );
    stage.check("a page that changed").await;
    // A list never moves while it is being read: it offers to show what is new.
    stage.open("/ui/purchases").await;
    stage.wait_streaming().await;
    let second = stage
        .world
        .send("SUBSCRIPTION_PURCHASED", "receipt-6")
        .await;
    stage.wait_text(".offer", "Something changed").await;
    stage.world.settle("receipt-5", &first).await;
    stage.world.settle("receipt-6", &second).await;
    stage.finish().await;
}
