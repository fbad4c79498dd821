//! Connecting by the page alone: each step from an empty installation, its mistakes, and who may take it.

use super::visitor::{Answer, Visitor, form, send};
use crate::api::edge::{Service, TOKEN, accept};
use domain::PlatformId;
use secrecy::SecretString;
use serde_json::{Value, json};
use storage::{Fate, TopicRequest, TopicState};
use system_tests::rows;
use system_tests::sns::Sns;

const ARN: &str = "arn:aws:sns:us-east-1:123456789012:reader";
const SUBSCRIBE: &str = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription\
    &TopicArn=arn:aws:sns:us-east-1:123456789012:reader&Token=2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92768dd60a747ba6f3beb71854e285d6ad02428b09ceece29417f1f02d609c582afbacc99c583a916b9981dd2728f4ae6fdb82efd087cc3b7849e05798d2d2785c03b0879594eeac82c01f235d0e717736";
const REASON: (&str, &str) = ("reason", "ticket 4711");

async fn signed_in(service: &Service) -> Visitor {
    Visitor::with_key(service, TOKEN).await.expect("a sign-in")
}

async fn with_role(service: &Service, role: &str) -> Visitor {
    let created = service
        .send_json("POST", "/v1/keys", &json!({ "name": role, "role": role }))
        .await;
    Visitor::with_key(service, created.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in")
}

fn has(answer: &Answer, parts: &[&str]) {
    for part in parts {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
}

fn has_not(answer: &Answer, parts: &[&str]) {
    for part in parts {
        assert!(!answer.text.contains(part), "{part}: {}", answer.text);
    }
}

async fn pending_topic(service: &Service, platform: PlatformId) -> String {
    let expires = api::clock::now().plus(std::time::Duration::from_secs(3600));
    let request = TopicRequest::new(platform, ARN, SecretString::from(SUBSCRIBE), expires);
    service
        .store
        .add_pending_topic(request)
        .await
        .expect("a topic");
    service.store.topics(platform).await.expect("topics")[0]
        .id
        .to_string()
}

#[tokio::test]
async fn unsigned_logins_are_shown_with_what_they_move() {
    let service = Service::start("connect-unsigned").await;
    let visitor = signed_in(&service).await;
    let (app, platform) = service.platform().await;
    let (console, path) = (
        format!("/ui/connect/platforms/{platform}"),
        format!("/v1/platforms/{platform}"),
    );
    let warning = "unsigned logins";
    has_not(&visitor.get(&service, &console).await, &[warning]);
    let app = app.parse().expect("an app id");
    service
        .store
        .note_unsigned_login(app, platform)
        .await
        .expect("a platform");
    let usual = visitor.get(&service, &console).await;
    has(
        &usual,
        &[
            warning,
            "anyone can log in as any customer",
            "take over the purchases by logging in",
            "sign-logins",
        ],
    );
    for (policy, moves) in [
        ("review", "after a person approves it"),
        ("never", "no login can take over"),
    ] {
        service
            .send_json("PATCH", &path, &json!({ "transfers": policy }))
            .await;
        has(&visitor.get(&service, &console).await, &[warning, moves]);
    }
    service
        .send_json("POST", &format!("{path}/login-secret"), &json!({}))
        .await;
    has_not(&visitor.get(&service, &console).await, &[warning]);
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
    let topic = pending_topic(&service, id).await;
    has(&visitor.get(&service, &console).await, &["1 topic waits"]);
    let topics = format!("{console}/topics");
    has(
        &visitor.get(&service, &topics).await,
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
        .post(&service, &format!("{topics}/{topic}/approve"), &[REASON])
        .await;
    assert_eq!(
        (approved.status, approved.header("location")),
        (303, format!("{topics}?done=approve").as_str())
    );
    has(
        &visitor.get(&service, &topics).await,
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

/// Adds a webhook by the form to which connecting leads, and which leads back. Returns its id.
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

/// The steps of the first event are ticked off as it goes its way.
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
    let (key, _) = accept(&service.store, id, "receipt", Fate::Open).await;
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
async fn the_url_is_shown_to_those_roles_that_the_api_shows_it() {
    let service = Service::start("connect-roles").await;
    let (app, platform) = service.platform().await;
    let key = service.store.ingress_key(platform).await.expect("a key");
    let key = secrecy::ExposeSecret::expose_secret(&key);
    let console = format!("/ui/connect/platforms/{platform}");
    pending_topic(&service, platform).await;
    for (role, sees) in [("read", false), ("support", false), ("operator", true)] {
        let visitor = with_role(&service, role).await;
        let page = visitor.get(&service, &console).await;
        assert_eq!(
            (page.status, page.text.contains(key)),
            (200, sees),
            "{role}"
        );
        assert_eq!(page.text.contains("see it here"), !sees, "{role}");
        let data = visitor.get(&service, &format!("{console}?as=json")).await;
        assert_eq!(data.text.contains(key), sees, "{role}");
        let topics = visitor.get(&service, &format!("{console}/topics")).await;
        assert_eq!(topics.text.contains("/approve\""), sees, "{role}");
        let list = visitor.get(&service, "/ui/connect").await;
        assert!(!list.text.contains("Create the app"), "{role}");
        let next = "<td role=\"cell\" data-label=\"Next\">";
        has(
            &list,
            &[
                "aria-label=\"Platforms of reader\"",
                "com.example.settle",
                next,
                "data-label=\"Last accepted\"",
            ],
        );
        let app = visitor
            .get(&service, &format!("/ui/connect/apps/{app}"))
            .await;
        assert_eq!(app.text.contains("Connect another store"), sees, "{role}");
    }
    let own = json!({ "name": "own", "role": "admin", "app_id": app });
    let own = service.send_json("POST", "/v1/keys", &own).await;
    let own = Visitor::with_key(&service, own.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    let refused = own
        .post(&service, "/ui/connect", &[("name", "another"), REASON])
        .await;
    assert_eq!(
        refused.status, 403,
        "a sign-in of one app creates none: {}",
        refused.text
    );
}

#[tokio::test]
async fn every_role_reads_the_settings_and_operators_change_them() {
    let service = Service::start("connect-settings-roles").await;
    let (_, platform) = service.platform().await;
    let (path, api) = (
        format!("/ui/connect/platforms/{platform}/settings"),
        format!("/v1/platforms/{platform}"),
    );
    let chosen = json!({
        "shared_secret": "2:open-sesame", "environment": "sandbox", "window_seconds": 47, "flush_on_revoke": true,
        "product_ref": "parent",
    });
    assert_eq!(service.send_json("PATCH", &api, &chosen).await.status, 200);
    let stored = service.get(&api).await.body;
    let stores = service.get("/v1/stores").await.body;
    let fields = stores["items"][0]["fields"].as_array().expect("fields");
    let is_shown =
        |name: &str| stored.get(name).is_some() || stored.get(format!("has_{name}")).is_some();
    let names = fields
        .iter()
        .map(|field| ["name", "label"].map(|part| field[part].as_str().expect("a text")));
    let shown: Vec<_> = names.filter(|[name, _]| is_shown(name)).collect();
    assert!(shown.len() > 12, "{shown:?}");
    for role in ["read", "support", "operator"] {
        let visitor = with_role(&service, role).await;
        let mut page = visitor.get(&service, &path).await;
        assert_eq!(page.status, 200, "{role}: {}", page.text);
        page.text = page.text.replace("&#39;", "'");
        for [_, label] in &shown {
            has(&page, &[label]);
        }
        has_not(&page, &["open-sesame"]);
        let may_change = role == "operator";
        assert_eq!(
            page.text
                .contains(&format!("method=\"post\" action=\"{path}\"")),
            may_change,
            "{role}"
        );
        assert_eq!(
            page.text.contains("<dd>47</dd>"),
            !may_change,
            "{role}: {}",
            page.text
        );
        if !may_change {
            has(
                &page,
                &[
                    "<dd>Sandbox</dd>",
                    "<dd>set</dd>",
                    "<dd>yes</dd>",
                    "<dd>The parent's SKU</dd>",
                    "not set",
                ],
            );
            has(
                &visitor
                    .get(&service, &format!("/ui/connect/platforms/{platform}"))
                    .await,
                &[&path],
            );
            assert_eq!(
                visitor
                    .post(&service, &path, &[("window_seconds", "60"), REASON])
                    .await
                    .status,
                403,
                "{role}"
            );
        }
        let data = visitor.get(&service, &format!("{path}?as=json")).await;
        has_not(&data, &["open-sesame"]);
        assert_eq!(
            data.text.contains("\"notification_url\": null"),
            !may_change,
            "{role}: {}",
            data.text
        );
    }
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
async fn the_actions_of_a_platform_need_a_reason_and_its_own_form() {
    let service = Service::start("connect-actions").await;
    let (app, platform) = service.platform().await;
    let visitor = signed_in(&service).await;
    let console = format!("/ui/connect/platforms/{platform}");
    let topic = pending_topic(&service, platform).await;
    let key = service.store.ingress_key(platform).await.expect("a key");
    let same = |other: SecretString| {
        secrecy::ExposeSecret::expose_secret(&other) == secrecy::ExposeSecret::expose_secret(&key)
    };
    for path in [
        "/rotate-ingress-key",
        "/retry-parked",
        "/delete",
        "/sample",
        &format!("/topics/{topic}/reject"),
    ] {
        let path = format!("{console}{path}");
        let without = visitor.post(&service, &path, &[]).await;
        assert_eq!(without.status, 400, "{path}: {}", without.text);
        has(&without, &["Fix this field", "reason: expected a reason"]);
        let fields = form(&[("form_token", "forged"), REASON]);
        let headers = [super::visitor::OURS, ("cookie", visitor.cookie.as_str())];
        assert_eq!(
            send(&service, "POST", &path, &headers, fields).await.status,
            403,
            "{path}"
        );
    }
    assert!(
        same(service.store.ingress_key(platform).await.expect("a key")),
        "nothing was changed yet"
    );
    let sample = visitor
        .post(&service, &format!("{console}/sample"), &[REASON])
        .await;
    assert_eq!(sample.status, 409, "{}", sample.text);
    has(&sample, &["accepts samples"]);
    let rotated = visitor
        .post(
            &service,
            &format!("{console}/rotate-ingress-key"),
            &[REASON],
        )
        .await;
    assert_eq!(
        (rotated.status, rotated.header("location")),
        (303, format!("{console}?done=rotate-ingress-key").as_str())
    );
    assert!(!same(
        service.store.ingress_key(platform).await.expect("a key")
    ));
    has(
        &visitor.get(&service, &console).await,
        &["The previous URL still works", "It has not been used since"],
    );
    let finished = visitor
        .post(
            &service,
            &format!("{console}/retire-old-ingress-key"),
            &[REASON],
        )
        .await;
    assert_eq!(finished.status, 303, "{}", finished.text);
    let page = visitor.get(&service, &console).await;
    assert!(
        !page.text.contains("The previous URL") && !page.text.contains("/retire-old-ingress-key"),
        "{}",
        page.text
    );
    let parked = visitor
        .post(&service, &format!("{console}/retry-parked"), &[REASON])
        .await;
    assert_eq!(parked.status, 303, "{}", parked.text);
    let rejected = visitor
        .post(
            &service,
            &format!("{console}/topics/{topic}/reject"),
            &[REASON],
        )
        .await;
    assert_eq!(rejected.status, 303, "{}", rejected.text);
    let topics = service.store.topics(platform).await.expect("topics");
    assert_eq!(topics[0].state, TopicState::Rejected);
    let late = visitor
        .post(
            &service,
            &format!("{console}/topics/{topic}/approve"),
            &[REASON],
        )
        .await;
    assert_eq!(late.status, 409, "{}", late.text);
    has(&late, &["the topic is rejected now"]);
    has(
        &visitor.get(&service, &format!("{console}/delete")).await,
        &["anything it sends is lost"],
    );
    let deleted = visitor
        .post(&service, &format!("{console}/delete"), &[REASON])
        .await;
    assert_eq!(
        (deleted.status, deleted.header("location")),
        (303, format!("/ui/connect/apps/{app}?done=deleted").as_str())
    );
    assert_eq!(visitor.get(&service, &console).await.status, 404);
}

#[tokio::test]
async fn what_was_refused_at_the_url_is_a_tick() {
    let service = Service::start("connect-tick").await;
    let (_, platform) = service.platform().await;
    let before = service
        .store
        .latest_changes()
        .await
        .expect("the latest changes");
    service.store.count_arrival(platform, "unknown topic");
    service.store.write_arrivals().await.expect("arrivals");
    let after = service
        .store
        .latest_changes()
        .await
        .expect("the latest changes");
    let changed: Vec<_> = before
        .kinds()
        .into_iter()
        .zip(after.kinds())
        .filter(|(a, b)| a != b)
        .map(|((kind, _), _)| kind)
        .collect();
    assert_eq!(changed, ["arrivals"]);
}

#[tokio::test]
async fn each_platform_stands_as_its_own_store_and_deliveries_show() {
    let service = Service::start("connect-two").await;
    let (app, quiet) = service.platform().await;
    let body = json!({ "store": "amazon", "name": "busy", "package_name": "com.example.busy", "topic_arn": ARN });
    let busy = service
        .send_json("POST", &format!("/v1/apps/{app}/platforms"), &body)
        .await;
    let busy: PlatformId = busy.body["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    let named = service
        .send_json(
            "PATCH",
            &format!("/v1/platforms/{quiet}"),
            &json!({ "topic_arn": ARN }),
        )
        .await;
    assert_eq!(named.status, 200, "{}", named.body);
    let hook = json!({ "kind": "webhook", "name": "Billing", "url": "https://example.com/hooks" });
    assert_eq!(
        service
            .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
            .await
            .status,
        201
    );
    let (key, _) = accept(&service.store, quiet, "receipt", Fate::Open).await;
    for platform in [quiet, busy] {
        service.store.count_arrival(platform, "");
    }
    service.store.write_arrivals().await.expect("arrivals");
    for number in 0..20 {
        accept(
            &service.store,
            busy,
            &format!("receipt-{number}"),
            Fate::Open,
        )
        .await;
    }
    service.raw(&format!(
        "INSERT INTO first_deliveries (platform_id, delivered_at) VALUES ('{busy}', 1)"
    ));
    let visitor = signed_in(&service).await;
    for path in ["/ui/connect".to_owned(), format!("/ui/connect/apps/{app}")] {
        let page = visitor.get(&service, &path).await;
        let count = |text: &str| page.text.matches(text).count();
        assert_eq!(
            (
                count("wait for the first event"),
                count("see the latest event")
            ),
            (1, 1),
            "{}",
            page.text
        );
    }
    let console = format!("/ui/connect/platforms/{quiet}");
    has(
        &visitor.get(&service, &format!("{console}/first")).await,
        &[&format!("/ui/purchases/{key}")],
    );
    let nothing = visitor
        .post(&service, "/ui/search", &[("q", "it's nowhere")])
        .await;
    has(
        &nothing,
        &[
            "No results for",
            &format!("href=\"{console}\""),
            &format!("href=\"{console}/topics\""),
        ],
    );
    has(
        &nothing,
        &[
            "approved",
            "settle search &#39;it&#39;\\&#39;&#39;s nowhere&#39;",
        ],
    );
    has_not(&nothing, &["no topic yet", "none yet"]);
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
async fn each_page_of_a_platform_is_data_too() {
    let service = Service::start("connect-json").await;
    let (app, platform) = service.platform().await;
    let visitor = signed_in(&service).await;
    let console = format!("/ui/connect/platforms/{platform}");
    for (path, api) in [
        ("/ui/connect".to_owned(), "/v1/apps".to_owned()),
        (
            format!("/ui/connect/apps/{app}"),
            format!("/v1/apps/{app}/platforms"),
        ),
        (console.clone(), format!("/v1/platforms/{platform}")),
        (
            format!("{console}/topics"),
            format!("/v1/platforms/{platform}/topics"),
        ),
        (
            format!("{console}/destinations"),
            format!("/v1/apps/{app}/destinations"),
        ),
        (
            format!("{console}/first"),
            format!("/v1/notifications?platform_id={platform}"),
        ),
    ] {
        let answer = visitor.get(&service, &format!("{path}?as=json")).await;
        let shown: Value = serde_json::from_str(&answer.text).expect("JSON");
        assert_eq!(shown, service.get(&api).await.body, "{path}");
        has(
            &visitor.get(&service, &path).await,
            &[&format!("$SETTLE_URL{api}&#34;")],
        );
    }
    let (key, _) = accept(&service.store, platform, "receipt", Fate::Open).await;
    has(
        &visitor.get(&service, &format!("{console}/first")).await,
        &[&format!("/v1/explain/purchases/{key}")],
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
        Fate::Open,
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
