//! The forms that create a destination, and the secret that is shown once.

use super::{Desk, REASON, hidden_copy, in_order};
use crate::api::pages::screens::{HOSTILE, is_harmless};
use crate::api::pages::visitor::Answer;
use serde_json::json;

#[tokio::test]
async fn without_a_destination_the_page_offers_every_kind() {
    let desk = Desk::open("no-destination").await;
    let page = desk.get("/ui/destinations").await;
    for part in [
        "No destinations yet",
        "kind=webhook",
        "kind=amplitude",
        "data-live=\"destinations deliveries\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let kinds = desk.get("/ui/destinations/new").await;
    assert!(
        kinds.contains("Add Webhook") && kinds.contains("Add Amplitude"),
        "{kinds}"
    );
    let reader = desk
        .of_role("read")
        .await
        .get(&desk.service, "/ui/destinations")
        .await;
    assert!(!reader.text.contains("kind=webhook"), "{}", reader.text);
    // With several apps, the user first chooses one.
    desk.service
        .send_json("POST", "/v1/apps", &json!({ "name": "second" }))
        .await;
    let choice = desk.get("/ui/destinations/new?kind=webhook").await;
    assert!(
        choice.contains("App</label>") && choice.contains("second"),
        "{choice}"
    );
    let form = desk
        .get(&format!(
            "/ui/destinations/new?kind=webhook&app_id={}",
            desk.app
        ))
        .await;
    assert!(
        form.contains(&format!("action=\"/ui/apps/{}/destinations\"", desk.app)),
        "{form}"
    );
}

#[tokio::test]
async fn the_documented_labels_alone_create_the_integration() {
    let desk = Desk::open("documented-form").await;
    let page = desk.get("/ui/destinations/new?kind=amplitude").await;
    let labels = [
        "Enable Integration",
        ">Name",
        ">URL",
        "API Key",
        "User ID",
        "Events",
    ];
    in_order(&page, &labels);
    for part in [
        "Standard Endpoint",
        "EU Residency Endpoint",
        "External ID",
        "of 8 chosen",
        "Organization Settings",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let created = desk
        .add(&[
            ("kind", "amplitude"),
            ("enabled", "true"),
            ("name", "analytics"),
            ("endpoint", "eu"),
            ("api_key", "0123456789abcdef0123456789abcdef"),
            ("user_id", "external_id"),
            ("events", "user.subscription.renewed"),
            ("events", "user.subscription.expired"),
            REASON,
        ])
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert!(
        !created.text.contains("0123456789abcdef"),
        "an entered key is not shown: {}",
        created.text
    );
    assert!(
        created.text.contains("<title>Saved") && !created.text.contains("shown once"),
        "{}",
        created.text
    );
    let listed = desk
        .service
        .get(&format!("/v1/apps/{}/destinations", desk.app))
        .await
        .body["items"][0]
        .clone();
    assert_eq!(
        (&listed["endpoint"], &listed["enabled"]),
        (&json!("eu"), &json!(true)),
        "{listed}"
    );
    assert_eq!(
        listed["events"],
        json!(["user.subscription.renewed", "user.subscription.expired"])
    );
    let entry = desk
        .service
        .get("/v1/audit-log?operation=destination.create")
        .await
        .body["items"][0]
        .clone();
    assert_eq!(
        (&entry["actor"], &entry["reason"]),
        (&json!("admin token"), &json!("ticket 4711")),
        "{entry}"
    );
}

#[tokio::test]
async fn a_secret_is_on_the_answer_to_its_form_alone() {
    let desk = Desk::open("secret-once").await;
    let fields = [
        ("kind", "webhook"),
        ("name", "Billing"),
        ("url", "https://example.com/hooks"),
        ("enabled", "true"),
        REASON,
    ];
    let created = desk.add(&[&fields[..], &[("events", "*")]].concat()).await;
    assert_eq!(
        (created.status, created.header("cache-control")),
        (201, "no-store"),
        "{}",
        created.text
    );
    let secret = hidden_copy(&created.text, "whsec_");
    for part in [
        "<title>Copy what is shown once",
        "You won't see it again",
        "Verify a request",
        "Send a test",
    ] {
        assert!(created.text.contains(part), "{part}: {}", created.text);
    }
    let id = desk.service.get("/v1/overview").await.body["destinations"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/ui/destinations/{id}");
    for page in [
        path.clone(),
        format!("{path}/settings"),
        format!("{path}/settings?as=json"),
    ] {
        assert!(!desk.get(&page).await.contains("whsec_"), "{page}");
    }
    let rotated = desk
        .post(
            &format!("{path}/rotate-secret"),
            &[("overlap_hours", "1"), REASON],
        )
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    assert_ne!(hidden_copy(&rotated.text, "whsec_"), secret);
    let until = "Replaced secrets also sign until <time";
    assert!(rotated.text.contains(until), "{}", rotated.text);
    assert!(!created.text.contains(until));
    let settings = format!("{path}/settings");
    assert!(desk.get(&settings).await.contains(until));
    let leaked = [("overlap_hours", "0"), REASON];
    let rotated = desk.post(&format!("{path}/rotate-secret"), &leaked).await;
    assert!(!rotated.text.contains(until), "{}", rotated.text);
    assert!(!desk.get(&settings).await.contains(until));
}

#[tokio::test]
async fn a_wrong_form_names_each_field_and_repeats_no_secret() {
    let desk = Desk::open("wrong-destination").await;
    let wrong = [
        ("kind", "webhook"),
        ("name", HOSTILE),
        ("url", "ftp://example.com"),
        ("rate", "many"),
        ("secret", "whsec_wrong"),
    ];
    let refused = desk.add(&wrong).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("id=\"wrong-reason\""),
        "a reason is needed: {}",
        refused.text
    );
    let refused = desk.add(&[&wrong[..], &[REASON]].concat()).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for part in [
        "id=\"wrong-rate\"",
        "value=\"many\"",
        "value=\"ftp://example.com\"",
        "value=\"ticket 4711\"",
        "href=\"#rate\"",
    ] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    assert!(!refused.text.contains("whsec_wrong"), "{}", refused.text);
    is_harmless(
        &Answer {
            status: 200,
            ..refused
        },
        "a wrong form",
    );
    let unknown = desk.add(&[("kind", "pigeon"), ("name", "x"), REASON]).await;
    assert_eq!(unknown.status, 400, "{}", unknown.text);
    assert_eq!(
        desk.service.get("/v1/overview").await.body["destinations"],
        json!([])
    );
}
