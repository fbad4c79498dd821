//! The page of a platform: settings, topics and actions.

use super::{ARN, REASON, has, has_not, pending_topic, signed_in, with_role};
use crate::api::edge::{Service, accept};
use crate::api::pages::visitor::{Visitor, form, send};
use domain::PlatformId;
use secrecy::SecretString;
use serde_json::{Value, json};
use storage::{Handling, TopicState};

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

/// Rejects the topic, after which it can no longer be approved.
async fn reject_topic(service: &Service, visitor: &Visitor, platform: PlatformId, topic: &str) {
    let console = format!("/ui/connect/platforms/{platform}");
    let rejected = visitor
        .post(
            service,
            &format!("{console}/topics/{topic}/reject"),
            &[REASON],
        )
        .await;
    assert_eq!(rejected.status, 303, "{}", rejected.text);
    let topics = service.store.topics(platform).await.expect("topics");
    assert_eq!(topics[0].state, TopicState::Rejected);
    let late = visitor
        .post(
            service,
            &format!("{console}/topics/{topic}/approve"),
            &[REASON],
        )
        .await;
    assert_eq!(late.status, 409, "{}", late.text);
    has(&late, &["the topic is rejected now"]);
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
        "/login-secret",
        "/unsigned-logins",
        "/rotate-publishable-key",
        "/retry-parked",
        "/try-access",
        "/test",
        "/delete",
        "/sample",
        &format!("/topics/{topic}/reject"),
    ] {
        let path = format!("{console}{path}");
        let without = visitor.post(&service, &path, &[]).await;
        assert_eq!(without.status, 400, "{path}: {}", without.text);
        has(&without, &["Fix this field", "reason: expected a reason"]);
        let fields = form(&[("form_token", "forged"), REASON]);
        let headers = [
            super::super::visitor::OURS,
            ("cookie", visitor.cookie.as_str()),
        ];
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
    reject_topic(&service, &visitor, platform, &topic).await;
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
    let (key, _) = accept(&service.store, quiet, "receipt", Handling::Open).await;
    for platform in [quiet, busy] {
        service.store.count_arrival(platform, "");
    }
    service.store.write_arrivals().await.expect("arrivals");
    for number in 0..20 {
        accept(
            &service.store,
            busy,
            &format!("receipt-{number}"),
            Handling::Open,
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
    let (key, _) = accept(&service.store, platform, "receipt", Handling::Open).await;
    has(
        &visitor.get(&service, &format!("{console}/first")).await,
        &[&format!("/v1/explain/purchases/{key}")],
    );
}

#[tokio::test]
async fn the_page_of_a_platform_has_what_an_app_on_devices_needs() {
    let service = Service::start("connect-devices").await;
    let visitor = signed_in(&service).await;
    let (_, platform) = service.platform().await;
    let (console, path) = (
        format!("/ui/connect/platforms/{platform}"),
        format!("/v1/platforms/{platform}"),
    );
    let stored = async || service.get(&path).await.body;
    let key = stored().await["publishable_key"].clone();
    let copy = format!("data-copy=\"{}\"", key.as_str().expect("a key"));
    let page = visitor.get(&service, &console).await;
    has(&page, &[&copy, "/v1/device\"", "Require signed logins"]);
    has_not(&page, &["data-copy=\"ls_"]);
    let reader = with_role(&service, "read").await;
    let read = reader.get(&service, &console).await;
    has(&read, &[&copy, "A login needs no token"]);
    has_not(&read, &["Require signed logins", "New publishable key"]);
    let signed = visitor
        .post(&service, &format!("{console}/login-secret"), &[REASON])
        .await;
    assert_eq!((signed.status, signed.header("location")), (200, ""));
    has(&signed, &["You won't see it again", "data-copy=\"ls_"]);
    assert_eq!(stored().await["signed_login"], true);
    let page = visitor.get(&service, &console).await;
    has(&page, &["token that your server signs", "New login secret"]);
    has_not(&page, &["data-copy=\"ls_"]);
    for (name, notice) in [
        ("unsigned-logins", "Logins need no token any more"),
        ("rotate-publishable-key", "The publishable key has changed"),
    ] {
        let done = visitor
            .post(&service, &format!("{console}/{name}"), &[REASON])
            .await;
        assert_eq!(done.status, 303, "{name}: {}", done.text);
        let page = visitor.get(&service, done.header("location")).await;
        has(&page, &[notice]);
    }
    let after = stored().await;
    assert_eq!(after["signed_login"], false);
    assert_ne!(after["publishable_key"], key);
}
