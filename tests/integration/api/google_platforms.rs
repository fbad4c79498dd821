//! Platforms of Google Play in the API and on the pages: their package names, and a service account that is never shown.

use super::edge::{Service, TOKEN};
use super::pages::visitor::Visitor;
use serde_json::{Value, json};

/// A text of a key file, which no answer may repeat.
const MARK: &str = "hunter2";
const SUBSCRIPTION: &str = "projects/example-project/subscriptions/play";
const AUDIENCE: &str = "https://pubsub.googleapis.com/projects/example-project/subscriptions/play";

/// Starts a service with an app; returns the service and the app's id.
async fn started(name: &str) -> (Service, String) {
    let service = Service::start(name).await;
    let app = json!({ "name": "reader" });
    let app = service.send_json("POST", "/v1/apps", &app).await.body["id"].clone();
    (service, app.as_str().expect("an id").to_owned())
}

/// Returns the body of a new platform with this package name.
fn platform(store: &str, package_name: &str) -> Value {
    json!({ "store": store, "name": store, "package_name": package_name, "no_older_process": true })
}

#[tokio::test]
async fn a_package_name_follows_the_rule_of_its_store() {
    let (service, app) = started("google-packages").await;
    let path = format!("/v1/apps/{app}/platforms");
    let create = async |store: &str, package_name: &str| {
        let body = platform(store, package_name);
        service.send_json("POST", &path, &body).await
    };
    let other = create("amazon", "com.example-radio").await;
    assert_eq!(other.status, 201, "a hyphen is allowed: {}", other.body);
    for wrong in ["radio", "com.example-radio", "com..radio", "com.1radio"] {
        let refused = create("google", wrong).await;
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.body);
        assert_eq!(refused.wrong_fields(), ["package_name"], "{wrong}");
    }
    let created = create("google", "com.example.radio").await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.body["id"].as_str().expect("an id");
    let one = format!("/v1/platforms/{id}");
    let renamed = json!({ "package_name": "radio" });
    let refused = service.send_json("PATCH", &one, &renamed).await;
    assert_eq!(refused.wrong_fields(), ["package_name"], "{}", refused.body);
}

#[tokio::test]
async fn a_refused_form_does_not_return_the_service_account() {
    let (service, app) = started("google-refused").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let new = format!("/ui/connect/apps/{app}/platforms/new");
    let file = json!({ "type": "service_account", "private_key": MARK }).to_string();
    let fields = [
        ("store", "google"),
        ("name", "play"),
        ("package_name", "com.example.radio"),
        ("store_settings.service_account", file.as_str()),
        ("store_settings.subscription", SUBSCRIPTION),
        ("reason", "ticket 4711"),
    ];
    let refused = visitor.post(&service, &new, &fields).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let text = &refused.text;
    for part in [
        SUBSCRIPTION,
        "Enter it again",
        "wrong-store_settings-service_account",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(MARK), "{text}");
}

#[tokio::test]
async fn the_audience_of_the_subscription_can_be_copied() {
    let (service, app) = started("google-audience").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let mut body = platform("google", "com.example.radio");
    let path = format!("/v1/apps/{app}/platforms");
    let created = service.send_json("POST", &path, &body).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.body["id"].as_str().expect("an id");
    let console = format!("/ui/connect/platforms/{id}");
    let copy = format!("data-copy=\"{AUDIENCE}\"");
    let before = visitor.get(&service, &console).await;
    assert!(!before.text.contains(&copy), "{}", before.text);

    body = json!({ "store_settings": { "subscription": SUBSCRIPTION } });
    let one = format!("/v1/platforms/{id}");
    let changed = service.send_json("PATCH", &one, &body).await.body;
    assert_eq!(changed["store_settings"]["push_audience"], AUDIENCE);
    let after = visitor.get(&service, &console).await;
    assert!(after.text.contains(&copy), "{}", after.text);
}
