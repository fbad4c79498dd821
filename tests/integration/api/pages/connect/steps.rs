//! From an empty installation to the first event, step by step.

use super::{REASON, has, has_not, pending_topic, signed_in, with_role};
use crate::api::edge::{Service, accept};
use crate::api::pages::visitor::Visitor;
use domain::PlatformId;
use serde_json::json;
use storage::Handling;
use system_tests::rows;
use system_tests::sns::Sns;

/// Approves the topic of the platform's first message, on the page that follows connecting.
async fn approve_topic(service: &Service, visitor: &Visitor, console: &str, id: PlatformId) {
    let topic = pending_topic(service, id).await;
    has(&visitor.get(service, console).await, &["1 topic waits"]);
    let topics = format!("{console}/topics");
    has(
        &visitor.get(service, &topics).await,
        &[
            ">123456789012<",
            "Approve it only if its account",
            "two days",
            ", expires",
            "Approve",
            "Reject",
        ],
    );
    let approved = visitor
        .post(service, &format!("{topics}/{topic}/approve"), &[REASON])
        .await;
    assert_eq!(
        (approved.status, approved.header("location")),
        (303, format!("{topics}?done=approve").as_str())
    );
    has(
        &visitor.get(service, &topics).await,
        &["approved", "Next: add a destination"],
    );
    let audit_log = service.get("/v1/audit-log").await.body;
    for operation in ["app.create", "platform.create", "topic.approve"] {
        let entry = audit_log["items"]
            .as_array()
            .expect("the audit log")
            .iter()
            .find(|entry| entry["operation"] == operation);
        assert_eq!(
            entry.map(|entry| &entry["reason"]),
            Some(&json!("ticket 4711")),
            "{operation}: {audit_log}"
        );
    }
}

#[tokio::test]
async fn from_an_empty_installation_each_step_leads_to_the_next() {
    let service = Service::start("connect").await;
    let visitor = signed_in(&service).await;
    has(
        &visitor.get(&service, "/ui/").await,
        &["href=\"/ui/connect\""],
    );
    has(
        &visitor.get(&service, "/ui/connect").await,
        &["Start with an app", "Create the app"],
    );
    let app = visitor
        .post(&service, "/ui/connect", &[("name", "reader"), REASON])
        .await;
    assert_eq!(app.status, 303, "{}", app.text);
    let path = app.header("location").to_owned();
    has(
        &visitor.get(&service, &path).await,
        &["No store is connected yet", "Next: choose a store"],
    );
    let new = format!("{path}/platforms/new");
    has(
        &visitor.get(&service, &new).await,
        &["Which store?", "platforms/new?store=amazon"],
    );
    has(
        &visitor.get(&service, &format!("{new}?store=amazon")).await,
        &[
            "Connect the Amazon Appstore",
            "Package name",
            "type=\"password\"",
            "Real-Time Notifications",
        ],
    );
    let fields = [
        ("store", "amazon"),
        ("name", "fire"),
        ("package_name", "com.example.reader"),
        ("environment", "production"),
        ("shared_secret", "2:open-sesame"),
        ("window_seconds", "60"),
        REASON,
    ];
    let created = visitor.post(&service, &new, &fields).await;
    assert_eq!(created.status, 303, "{}", created.text);
    let console = created.header("location").to_owned();
    let id: PlatformId = console
        .rsplit('/')
        .next()
        .expect("an id")
        .parse()
        .expect("an id");
    let stored = service.get(&format!("/v1/platforms/{id}")).await.body;
    assert_eq!(
        (&stored["window_seconds"], &stored["has_shared_secret"]),
        (&json!(60), &json!(true))
    );
    let url = stored["notification_url"].as_str().expect("a URL");
    let page = visitor.get(&service, &console).await;
    has(
        &page,
        &[
            &format!("data-copy=\"{url}\""),
            "nothing yet",
            "Add an endpoint",
            "data-live=",
        ],
    );
    has_not(&page, &["2:open-sesame"]);
    service.store.count_arrival(id, "unknown topic");
    service.store.write_arrivals().await.expect("arrivals");
    has(
        &visitor.get(&service, &console).await,
        &["refused", "unknown topic", "1 time"],
    );
    approve_topic(&service, &visitor, &console, id).await;
    let destinations = visitor
        .get(&service, &format!("{console}/destinations"))
        .await;
    let app_id = stored["app_id"].as_str().expect("an id");
    has(
        &destinations,
        &[
            "No destinations yet",
            &format!("/ui/destinations/new?app_id={app_id}&#38;kind=webhook"),
        ],
    );
    let hook = add_webhook(&service, &visitor, &console, app_id).await;
    first_event(&service, &visitor, &console, id, &hook).await;
}

/// Adds a webhook with the form that is linked after connecting and leads back. Returns the webhook's id.
async fn add_webhook(service: &Service, visitor: &Visitor, console: &str, app_id: &str) -> String {
    let id = console.rsplit('/').next().expect("an id");
    let new = format!("/ui/destinations/new?app_id={app_id}&kind=webhook&platform_id={id}");
    let path = format!("/ui/apps/{app_id}/destinations?platform_id={id}");
    has(
        &visitor.get(service, &new).await,
        &[&format!("action=\"{path}\"")],
    );
    let url = ("url", "https://example.com/hooks");
    let fields = [
        ("kind", "webhook"),
        ("name", "Billing"),
        url,
        ("enabled", "true"),
        ("events", "*"),
        REASON,
    ];
    let added = visitor.post(service, &path, &fields).await;
    assert_eq!(added.status, 201, "{}", added.text);
    has(
        &added,
        &[
            &format!("href=\"{console}/first\""),
            "Next: the first event",
        ],
    );
    let listed = service
        .get(&format!("/v1/apps/{app_id}/destinations"))
        .await
        .body;
    let hook = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    let state = "<td role=\"cell\" data-label=\"State\">";
    for path in [
        format!("{console}/destinations"),
        format!("/ui/connect/apps/{app_id}"),
    ] {
        has(
            &visitor.get(service, &path).await,
            &[
                &format!("/ui/destinations/{hook}"),
                state,
                "Destinations, oldest",
            ],
        );
    }
    hook
}

/// Checks that the steps of the first event are ticked off as it is processed.
async fn first_event(
    service: &Service,
    visitor: &Visitor,
    console: &str,
    id: PlatformId,
    hook: &str,
) {
    let first = format!("{console}/first");
    has(
        &visitor.get(service, &first).await,
        &["Nothing received yet", "not yet"],
    );
    let (key, _) = accept(&service.store, id, "receipt", Handling::Open).await;
    has(
        &visitor.get(service, &first).await,
        &["window open", &format!("/ui/purchases/{key}")],
    );
    let [event, delivery] = [0; 2].map(|_| api::clock::random_uuid());
    let app = service.get(&format!("/v1/platforms/{id}")).await.body["app_id"].clone();
    let app = app.as_str().expect("an id");
    service.raw(
        &rows::purchases(id, app)
            .text("collapse_key", key)
            .text("receipt_id", "receipt"),
    );
    service.raw("UPDATE notifications SET outcome = 'settled', revision = 1, finished_at = 1");
    service.raw(
        &rows::events()
            .text("id", event)
            .text("collapse_key", key)
            .text("app_id", app),
    );
    let delivered = rows::deliveries()
        .text("id", delivery)
        .text("destination_id", hook)
        .text("event_id", event);
    let delivered = delivered
        .text("collapse_key", key)
        .text("status", "delivered")
        .sql("attempts", 1);
    service.raw(&delivered.sql("finished_at", 1));
    has(
        &visitor.get(service, &first).await,
        &["purchase.updated", "delivered to <code>Billing</code>"],
    );
}

#[tokio::test]
async fn a_wrong_form_keeps_what_was_entered_but_no_secret() {
    let service = Service::start("connect-wrong").await;
    let (app, platform) = service.platform().await;
    let visitor = signed_in(&service).await;
    let new = format!("/ui/connect/apps/{app}/platforms/new");
    let fields = [
        ("store", "amazon"),
        ("name", "<script>alert(1)</script>"),
        ("shared_secret", "2:open-sesame"),
        ("window_seconds", "soon"),
    ];
    let wrong = visitor.post(&service, &new, &fields).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    has(
        &wrong,
        &[
            "href=\"#package_name\"",
            "id=\"wrong-window_seconds\"",
            "id=\"wrong-reason\"",
            "value=\"soon\"",
        ],
    );
    has(&wrong, &["&#60;script&#62;alert(1)"]);
    has_not(&wrong, &["<script>alert", "2:open-sesame"]);
    let fields = [
        ("store", "amazon"),
        ("name", "fire"),
        ("package_name", "com.example.other"),
        REASON,
    ];
    let taken = visitor.post(&service, &new, &fields).await;
    assert_eq!(taken.status, 409, "{}", taken.text);
    has(
        &taken,
        &["Nothing was changed", "value=\"com.example.other\""],
    );
    let unknown = visitor
        .post(&service, &new, &[("store", "nowhere"), REASON])
        .await;
    assert_eq!(unknown.status, 400, "{}", unknown.text);
    let empty = visitor.post(&service, "/ui/connect", &[]).await;
    assert_eq!(empty.status, 400);
    has(&empty, &["id=\"wrong-name\"", "id=\"wrong-reason\""]);
    let settings = format!("/ui/connect/platforms/{platform}/settings");
    has(
        &visitor.get(&service, &settings).await,
        &["value=\"com.example.settle\"", "Leave empty to keep it."],
    );
    let stored = [
        ("name", "fire"),
        ("package_name", "com.example.settle"),
        ("environment", "production"),
    ];
    let change = |window: &'static str| {
        stored
            .into_iter()
            .chain([("window_seconds", window), REASON])
            .collect::<Vec<_>>()
    };
    let wrong = visitor.post(&service, &settings, &change("0")).await;
    assert_eq!(wrong.status, 400);
    has(&wrong, &["id=\"wrong-window_seconds\""]);
    let changed = visitor.post(&service, &settings, &change("30")).await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    assert_eq!(
        service.get(&format!("/v1/platforms/{platform}")).await.body["window_seconds"],
        30
    );
}

#[tokio::test]
async fn the_last_step_sends_a_sample_under_run_alone() {
    const BUTTON: &str = "Send the sample";
    let (service, other) = (
        Service::of_run("connect-run").await,
        Service::start("connect-serve").await,
    );
    let (_, platform) = service.platform().await;
    let (_, elsewhere) = other.platform().await;
    let console = format!("/ui/connect/platforms/{platform}");
    let first = format!("{console}/first");
    let visitor = signed_in(&service).await;
    has(
        &visitor.get(&service, &console).await,
        &["The URL for the store", "Sample"],
    );
    has(
        &visitor.get(&service, &first).await,
        &[BUTTON, "Nothing received yet"],
    );
    has_not(
        &with_role(&service, "support")
            .await
            .get(&service, &first)
            .await,
        &[BUTTON],
    );
    let elsewhere = format!("/ui/connect/platforms/{elsewhere}/first");
    has_not(
        &signed_in(&other).await.get(&other, &elsewhere).await,
        &[BUTTON],
    );
    let sent = visitor
        .post(&service, &format!("{console}/sample"), &[REASON])
        .await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    has(
        &visitor.get(&service, sent.header("location")).await,
        &["The sample was accepted", &first],
    );
    has(
        &visitor.get(&service, &first).await,
        &["window open", "SUBSCRIPTION_PURCHASED", BUTTON],
    );
    has(
        &visitor.get(&service, &first).await,
        &[&format!("action=\"{console}/sample?from=first\"")],
    );
    has(
        &visitor.get(&service, &format!("{console}/sample")).await,
        &["Receipt id"],
    );
    let again = visitor
        .post(&service, &format!("{console}/sample?from=first"), &[REASON])
        .await;
    assert_eq!(
        (again.status, again.header("location")),
        (303, format!("{first}?done=sample").as_str())
    );
    has(
        &visitor.get(&service, again.header("location")).await,
        &["The sample was accepted", BUTTON],
    );
    let stored = service
        .get(&format!("/v1/notifications?platform_id={platform}"))
        .await
        .body;
    let receipt = stored["items"][0]["receipt_id"]
        .as_str()
        .expect("a receipt")
        .to_owned();
    assert!(
        Sns::of_samples()
            .signer()
            .mint()
            .expect("a mint")
            .is_minted(&receipt),
        "{stored}"
    );
}

#[tokio::test]
async fn an_installation_without_a_store_leads_to_connecting() {
    let service = Service::start("connect-none").await;
    let nothing = signed_in(&service)
        .await
        .post(&service, "/ui/search", &[("q", "receipt")])
        .await;
    has(
        &nothing,
        &["No store is connected. <a href=\"/ui/connect\">Connect one</a>"],
    );
}

#[tokio::test]
async fn a_script_in_a_name_is_harmless_on_each_step() {
    let hostile = "\"'><script>alert(1)</script>";
    let service = Service::start("connect-hostile").await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": hostile }))
        .await
        .body["id"]
        .clone();
    let app = app.as_str().expect("an id");
    let body = json!({ "store": "amazon", "name": hostile, "package_name": "com.example.settle" });
    let platform = service
        .send_json("POST", &format!("/v1/apps/{app}/platforms"), &body)
        .await
        .body["id"]
        .clone();
    let platform = platform.as_str().expect("an id");
    let hook = json!({ "kind": "webhook", "name": hostile, "url": "https://example.com/hooks" });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await;
    assert_eq!(hook.status, 201, "{}", hook.body);
    accept(
        &service.store,
        platform.parse().expect("an id"),
        hostile,
        Handling::Open,
    )
    .await;
    let visitor = signed_in(&service).await;
    let console = format!("/ui/connect/platforms/{platform}");
    let steps = [
        "",
        "/settings",
        "/topics",
        "/sample",
        "/destinations",
        "/first",
        "/delete",
        "/sample?sent=%3Cscript%3E",
    ];
    let steps = steps.map(|step| format!("{console}{step}"));
    let others = ["/ui/connect".to_owned(), format!("/ui/connect/apps/{app}")];
    for path in steps.into_iter().chain(others).chain([format!(
        "/ui/connect/apps/{app}/platforms/new?store={hostile}"
    )]) {
        let page = visitor
            .get(&service, &path.replace(hostile, "%3Cscript%3Ealert(1)"))
            .await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        has_not(&page, &["<script>alert", "\"'><"]);
        has(&page, &["&#60;script&#62;alert(1)"]);
    }
}
