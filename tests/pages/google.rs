//! Google Play on the page: pictures of each setup step in each state, and an app that is connected with what the page
//! shows alone.
//!
//! The pictures are `target/pages/google-*.png`. To renew them: `cargo test --workspace --test pages google`.

use super::stage::Stage;
use api::clock;
use domain::time::HOUR;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::http::{send_raw, text};
use system_tests::play::{Bought, Choices, Fault, Notice, Push, Resource, access, push};
use system_tests::sns::PACKAGE;
use system_tests::wait;
use system_tests::world::{SOON, Setting};
use workflows::contract;

const THEMES: [&str; 2] = ["light", "dark"];
/// Widths of the pictures in pixels: a phone and a desktop.
const WIDTHS: [u32; 2] = [320, 1280];

const PUBLISHER: &str = "Let Google Play publish to it";
const PUSH_ACCOUNT: &str = "Create the push account";
const SUBSCRIPTION: &str = "Enter the subscription";
const PUSH: &str = "Create a push subscription";
const API: &str = "Turn on the API";
const KEY: &str = "Create a key of a second service account";
const RIGHTS: &str = "Give the account its rights";
const NOTIFICATIONS: &str = "Turn on the notifications";
const TEST: &str = "Send a test notification";
const ACCEPTED: &str = "Check that it was accepted";

/// How late the store answers while a query is in progress.
const LATE: Duration = Duration::from_secs(20);
/// The token of a purchase.
const TOKEN: &str = "first.AO-J1OySettleTestsWhoseTokensAreAsLongAsGooglesOwnTokens";

fn setting() -> Setting {
    Setting {
        play: Some(Choices::default()),
        ..Setting::default()
    }
}

/// A request to a platform's notification URL.
struct Request {
    bearer: Option<String>,
    body: String,
}

/// Returns a push of a test notification for the app with this package name.
fn genuine(package_name: &str) -> Request {
    let now = clock::now();
    let mut notice = Notice::test(now);
    notice.package_name = package_name.to_owned();
    Request {
        bearer: Some(push::bearer(now)),
        body: notice.message().body,
    }
}

/// Returns a push of data that is no notification.
fn of_data(data: &str) -> Request {
    let now = clock::now();
    Request {
        bearer: Some(push::bearer(now)),
        body: Push::new("17".to_owned(), data, now).body,
    }
}

/// A push that is refused, and the step that shows why.
struct Refusal {
    /// Part of the pictures' names and of the package name.
    name: &'static str,
    /// Returns the push for a package name.
    push: fn(&str) -> Request,
    status: u16,
    step: &'static str,
    /// Beginning of the next action.
    next: &'static str,
}

const REFUSALS: [Refusal; 9] = [
    Refusal {
        name: "bearer",
        push: |package| Request {
            bearer: None,
            ..genuine(package)
        },
        status: 401,
        step: PUSH,
        next: "Edit the subscription",
    },
    Refusal {
        name: "expired",
        push: |package| Request {
            bearer: Some(push::bearer(clock::now().minus(HOUR * 2))),
            ..genuine(package)
        },
        status: 401,
        step: ACCEPTED,
        next: "Set the clock",
    },
    Refusal {
        name: "audience",
        push: |package| {
            let another = "https://settle.example.com/another";
            Request {
                bearer: Some(push::bearer_of(push::ACCOUNT, another, clock::now())),
                ..genuine(package)
            }
        },
        status: 403,
        step: PUSH,
        next: "Copy the audience",
    },
    Refusal {
        name: "account",
        push: |package| {
            let another = "another@settle-tests.iam.gserviceaccount.com";
            Request {
                bearer: Some(push::bearer_of(another, push::AUDIENCE, clock::now())),
                ..genuine(package)
            }
        },
        status: 403,
        step: PUSH_ACCOUNT,
        next: "On the subscription's page",
    },
    Refusal {
        name: "wrapper",
        push: |package| {
            let data = json!({ "version": "1.0", "packageName": package, "testNotification": {} });
            Request {
                body: data.to_string(),
                ..genuine(package)
            }
        },
        status: 503,
        step: PUSH,
        next: "Edit the subscription",
    },
    Refusal {
        name: "subscription",
        push: |package| {
            let Request { bearer, body } = genuine(package);
            let another = "projects/settle-tests/subscriptions/another";
            Request {
                bearer,
                body: body.replace(push::SUBSCRIPTION, another),
            }
        },
        status: 204,
        step: SUBSCRIPTION,
        next: "Compare the platform's",
    },
    Refusal {
        name: "app",
        push: |_| genuine("com.example.another"),
        status: 204,
        step: NOTIFICATIONS,
        next: "Compare the package name",
    },
    Refusal {
        name: "publisher",
        push: |_| of_data("hello"),
        status: 204,
        step: PUBLISHER,
        next: "The message is no notification",
    },
    Refusal {
        name: "size",
        push: |_| of_data(&"x".repeat(70_000)),
        status: 204,
        step: PUBLISHER,
        next: "The message is larger than any",
    },
];

/// Refusals of messages that show that Google Play may publish on the topic.
const PUBLISHED: [&str; 4] = ["audience", "account", "subscription", "app"];

/// How Google answers queries, and the step that shows it.
struct Trouble {
    /// Part of the pictures' names.
    name: &'static str,
    resource: Resource,
    fault: fn() -> Fault,
    step: &'static str,
    state: &'static str,
    /// Beginning of the next action.
    next: &'static str,
}

const TROUBLES: [Trouble; 6] = [
    Trouble {
        name: "unqueried",
        resource: Resource::Voided,
        fault: || Fault::Late(LATE),
        step: RIGHTS,
        state: "open",
        next: "settle queries the store",
    },
    Trouble {
        name: "failed",
        resource: Resource::Voided,
        fault: || Fault::Status(500),
        step: RIGHTS,
        state: "open",
        next: "settle repeats the query",
    },
    Trouble {
        name: "key",
        resource: Resource::Token,
        fault: || Fault::Status(400),
        step: KEY,
        state: "problem",
        next: "Google refuses the key",
    },
    Trouble {
        name: "api",
        resource: Resource::Voided,
        fault: || Fault::Body(403, error(403, "accessNotConfigured")),
        step: API,
        state: "problem",
        next: "The Google Play Android Developer API",
    },
    Trouble {
        name: "right",
        resource: Resource::Voided,
        fault: || Fault::Status(403),
        step: RIGHTS,
        state: "problem",
        next: "The service account may not read purchases",
    },
    Trouble {
        name: "package",
        resource: Resource::Voided,
        fault: || Fault::Body(404, error(404, "applicationNotFound")),
        step: RIGHTS,
        state: "problem",
        next: "The service account's developer has no app",
    },
];

/// Returns an error of the API with this status and reason.
fn error(status: u16, reason: &str) -> String {
    json!({ "error": { "code": status, "errors": [{ "reason": reason }] } }).to_string()
}

/// A Google platform, as the page shows it.
struct Connecting<'a> {
    stage: &'a Stage,
    id: String,
    notification_url: String,
}

impl<'a> Connecting<'a> {
    /// Creates a platform with this package name and these settings.
    async fn create(stage: &'a Stage, package_name: &str, store_settings: Value) -> Self {
        let body = json!({
            "store": "google", "name": package_name, "package_name": package_name, "no_older_process": true,
            "store_settings": store_settings,
        });
        let path = format!("/v1/apps/{}/platforms", stage.world.app_id);
        let created = stage.world.api.post(&path, &body).await.ok();
        Self {
            stage,
            id: text(&created, "id"),
            notification_url: text(&created, "notification_url"),
        }
    }

    /// Returns the platform of the world, which the fake knows.
    fn of_world(stage: &'a Stage) -> Self {
        let platform = stage.world.play();
        Self {
            stage,
            id: platform.id.to_string(),
            notification_url: platform.notification_url.clone(),
        }
    }

    /// Sends a request to the notification URL; returns the status of the answer.
    async fn send(&self, request: Request) -> u16 {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        let bearer = request.bearer.map(|bearer| format!("Bearer {bearer}"));
        headers.extend(bearer.map(|value| ("authorization", value)));
        let body = request.body.into_bytes();
        let sent = send_raw(Method::POST, &self.notification_url, &headers, body).await;
        sent.expect("an answer").status
    }

    /// Uploads the key file of the service account, which is then used in a query.
    async fn upload(&self) {
        let path = format!("/v1/platforms/{}", self.id);
        let body = json!({ "store_settings": { "service_account": access::key_file() } });
        let api = &self.stage.world.api;
        drop(api.call(Method::PATCH, &path, &body).await.ok());
    }

    /// Waits until a step has this state and a next action that begins with this text, while the sweep runs.
    async fn wait(&self, step: &str, state: &str, next: &str) {
        let world = &self.stage.world;
        let path = format!("/v1/platforms/{}/steps", self.id);
        wait::until(SOON, &format!("{step}: {state}, {next}"), async || {
            let steps = world.api.try_get(&path).await?.body;
            let items = steps["items"].as_array().cloned().unwrap_or_default();
            let found = items.into_iter().find(|one| one["title"] == step);
            let found = found.unwrap_or_default();
            let action = found["next"].as_str().unwrap_or_default();
            if found["state"] == state && action.starts_with(next) {
                return Ok(());
            }
            world.temporal.skip_timer(contract::SWEEP, 31).await;
            Err(found.to_string())
        })
        .await;
    }

    /// Stores pictures of the platform's page.
    async fn store_pictures(&self, name: &str) {
        let page = format!("/ui/connect/platforms/{}", self.id);
        store_pictures(self.stage, &page, name).await;
    }
}

/// Stores pictures of a page in each theme and width, and checks the page in each.
async fn store_pictures(stage: &Stage, page: &str, name: &str) {
    for theme in THEMES {
        stage.browser.prefer(theme).await;
        for width in WIDTHS {
            stage.browser.resize(width, 900).await;
            stage.open(page).await;
            let what = format!("{name} in {theme} at {width}");
            stage.check(&what).await;
            let picture = format!("google-{name}-{theme}-{width}");
            stage.store_picture(&picture, width).await;
        }
    }
    stage.check_with_axe(name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refused_push_of_google_is_shown_at_its_step() {
    let stage = Stage::with(setting()).await;
    let package = "com.example.unset";
    let unset = Connecting::create(&stage, package, json!({ "acknowledge": "app" })).await;
    unset.wait(SUBSCRIPTION, "open", "Enter it").await;
    unset.store_pictures("new").await;
    assert_eq!(unset.send(genuine(package)).await, 503);
    unset.wait(SUBSCRIPTION, "problem", "Enter it").await;
    unset.store_pictures("unset").await;
    let settings = json!({ "subscription": push::SUBSCRIPTION, "push_account": push::ACCOUNT });
    for refusal in REFUSALS {
        let package = format!("com.example.{}", refusal.name);
        let platform = Connecting::create(&stage, &package, settings.clone()).await;
        let status = platform.send((refusal.push)(&package)).await;
        assert_eq!(status, refusal.status, "{}", refusal.name);
        let next = refusal.next;
        platform.wait(refusal.step, "problem", next).await;
        if PUBLISHED.contains(&refusal.name) {
            platform.wait(PUBLISHER, "done", "").await;
        }
        platform.store_pictures(refusal.name).await;
    }
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_google_to_queries_is_shown_at_its_step() {
    let mut stage = Stage::with(setting()).await;
    let platform = Connecting::of_world(&stage);
    let fake = &stage.world.play().fake;
    for trouble in TROUBLES {
        fake.answer_truly();
        fake.withdraw_access();
        fake.answer(&[trouble.resource], &(trouble.fault)());
        platform.upload().await;
        let (step, state) = (trouble.step, trouble.state);
        platform.wait(step, state, trouble.next).await;
        platform.store_pictures(trouble.name).await;
    }
    fake.answer_truly();
    platform.upload().await;
    for step in [API, KEY, RIGHTS] {
        platform.wait(step, "done", "").await;
    }
    platform.wait(TEST, "open", "Send one").await;
    platform.store_pictures("silent").await;
    stage.world.push(&Notice::test(clock::now())).await;
    let platform = Connecting::of_world(&stage);
    for step in [PUBLISHER, PUSH_ACCOUNT, SUBSCRIPTION, PUSH, TEST, ACCEPTED] {
        platform.wait(step, "done", "").await;
    }
    platform.store_pictures("done").await;
    stage.finish().await;
}

/// Returns the text that a part of the page offers to copy and that begins with this one.
async fn copied(stage: &Stage, part: &str, beginning: &str) -> String {
    let script = format!(
        "const all = [...document.querySelectorAll('{part} [data-copy]')].map((one) => one.dataset.copy);
         return all.find((text) => text.startsWith({beginning:?})) || ''"
    );
    let text = stage.browser.run(&script).await;
    text.as_str().expect("a text").to_owned()
}

/// Enters values that are refused, each for its own reason, in the form of a new platform.
async fn fill_wrongly(stage: &Stage) {
    stage.fill("Name", "Android").await;
    stage.fill("Package name", "radio").await;
    let file = json!({ "type": "authorized_user", "refresh_token": "hunter2" });
    stage.fill("Service account", &file.to_string()).await;
    stage.fill("Push subscription", "play").await;
    stage.fill("Push account", "me@example.com").await;
    stage.fill("Reason", "our first platform").await;
    stage.press_button("Connect ").await;
    stage.wait_text("main [role=alert]", "Fix 4 fields").await;
    let form = stage.browser.run("return document.body.outerHTML").await;
    let form = form.as_str().expect("a page").to_owned();
    assert!(!form.contains("hunter2"), "the file is repeated: {form}");
    stage.check_with_axe("a wrong form").await;
    stage.store_picture("google-form-wrong", 1280).await;
    let clear = "document.querySelectorAll('main form.form input').forEach((one) => {
        if (['text', 'password'].includes(one.type)) { one.value = ''; } })";
    stage.browser.run(clear).await;
}

/// Enters a setting on the settings page of a platform, whose own page is `console`, and saves.
async fn enter_settings(stage: &Stage, console: &str, fields: &[(&str, &str)]) {
    stage.open(&format!("{console}/settings")).await;
    for (label, value) in fields {
        stage.fill(label, value).await;
    }
    stage.fill("Reason", "as the steps say").await;
    stage.press_button("Save").await;
    stage.wait_text("main", "The platform was changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_on_google_play_is_connected_from_the_page_alone() {
    let stage = Stage::with(setting()).await;
    stage.open("/ui/connect").await;
    stage.fill("Name", "Radio").await;
    stage.fill("Reason", "our first app").await;
    stage.press_button("Create the app").await;
    stage.wait_text("main h1", "Radio").await;
    stage.press_button("Next: choose a store").await;
    let store = "main .list a[href*='store=google']";
    stage.browser.click(store).await;
    stage.wait_text("main h1", "Google Play").await;
    stage.store_picture("google-form", 1280).await;
    fill_wrongly(&stage).await;
    stage.fill("Name", "Android").await;
    stage.fill("Package name", PACKAGE).await;
    stage.press_button("More").await;
    stage.fill("Quiet window in seconds", "2").await;
    stage.fill("Reason", "our first platform").await;
    stage.press_button("Connect ").await;
    stage.wait_text("#arrived", "has not sent anything").await;
    let console = stage.path().await;
    let settings = [
        ("Push subscription", push::SUBSCRIPTION),
        ("Push account", push::ACCOUNT),
    ];
    enter_settings(&stage, &console, &settings).await;
    let platform = Connecting {
        stage: &stage,
        id: console.rsplit('/').next().unwrap_or_default().to_owned(),
        notification_url: copied(&stage, ".url", "http").await,
    };
    // Google signs for the audience that the page shows.
    let audience = copied(&stage, "#guide", "https://pubsub").await;
    let bearer = || push::bearer_of(push::ACCOUNT, &audience, clock::now());
    stage.wait_streaming().await;
    let test = Request {
        bearer: Some(bearer()),
        ..genuine(PACKAGE)
    };
    assert_eq!(platform.send(test).await, 204);
    let tested = "A test notification was accepted";
    stage.wait_text("#guide", tested).await;
    let key = access::key_file();
    enter_settings(&stage, &console, &[("Service account", &key)]).await;
    platform.wait(RIGHTS, "done", "").await;
    let (fake, now) = (&stage.world.play().fake, clock::now());
    fake.sell("gold", "monthly", "P1M");
    fake.show(&Bought::subscription(TOKEN, "gold:monthly", now));
    let purchased = Notice::subscription(push::PURCHASED, TOKEN, now).message();
    let request = Request {
        bearer: Some(bearer()),
        body: purchased.body,
    };
    assert_eq!(platform.send(request).await, 204);
    stage.world.wait_outcome(&purchased.id).await;
    stage.open(&format!("{console}/first")).await;
    stage.wait_text("#way", "The latest purchase").await;
    stage.check_with_axe("the first purchase").await;
    store_pictures(&stage, &format!("{console}/first"), "first").await;
    stage.finish().await;
}
