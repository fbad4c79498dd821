//! A customer is found by any id.

use super::{HOSTILE, REASON, customer, has, signed_in};
use crate::api::edge::Service;
use crate::api::pages::visitor::Visitor;
use serde_json::{Value, json};

/// Makes searches without a result: a script, an empty text, and an id with a misread letter.
async fn check_unfound(service: &Service, visitor: &Visitor) {
    let nothing = visitor
        .post(service, "/ui/customers", &[("q", HOSTILE)])
        .await;
    assert_eq!(nothing.status, 200);
    has(&nothing, &["No results for", "&#60;script&#62;"]);
    assert!(!nothing.text.contains("<script>alert"), "{}", nothing.text);
    let empty = visitor.post(service, "/ui/customers", &[("q", " ")]).await;
    assert_eq!(empty.status, 400);
    has(&empty, &["id=\"wrong-customer\"", "aria-invalid"]);
    for (searched, q) in [("/ui/customers", "receipt-l"), ("/ui/search", "receipt-I")] {
        let meant = visitor.post(service, searched, &[("q", q)]).await;
        assert_eq!(meant.status, 200, "{}", meant.text);
        has(
            &meant,
            &[
                "No results for",
                "Did you mean <a href=\"/ui/",
                ">receipt-1</a>?",
            ],
        );
    }
    let meant = service
        .send_json("POST", "/v1/search", &json!({ "q": "receipt-l" }))
        .await
        .body;
    assert_eq!(meant, json!({ "items": [], "did_you_mean": "receipt-1" }));
}

#[tokio::test]
async fn a_customer_is_found_by_each_of_their_ids() {
    let service = Service::start("customers").await;
    let (app, user) = customer(&service, "anna@example.com", "u1").await;
    let visitor = signed_in(&service).await;
    has(
        &visitor.get(&service, "/ui/customers").await,
        &["Customer id</label>"],
    );
    let page = format!("/ui/customers/{app}/{user}");
    for q in [
        "anna@example.com",
        "u1",
        "receipt-1",
        user.as_str(),
        " anna@example.com ",
    ] {
        let found = visitor.post(&service, "/ui/customers", &[("q", q)]).await;
        assert_eq!(
            (found.status, found.header("location")),
            (303, page.as_str()),
            "{q}: {}",
            found.text
        );
    }
    let found = visitor
        .post(&service, "/ui/search", &[("q", "anna@example.com")])
        .await;
    assert_eq!(
        (found.status, found.header("location")),
        (303, page.as_str()),
        "the search of the frame: {}",
        found.text
    );
    check_unfound(&service, &visitor).await;
    let shown = visitor.get(&service, &page).await;
    has(
        &shown,
        &[
            "anna@example.com",
            ">u1<",
            "receipt-1",
            "purchase.updated",
            "No access.",
            "/ui/purchases/",
        ],
    );
    has(&shown, &["Login in your app"]);
    let addresses = shown
        .text
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    for address in addresses {
        assert!(
            !address.contains("anna") && !address.contains("receipt-1"),
            "{address}"
        );
    }
    let data = visitor.get(&service, &format!("{page}?as=json")).await;
    let data: Value = serde_json::from_str(&data.text).expect("JSON");
    assert_eq!(
        data,
        service
            .get(&format!("/v1/apps/{app}/customers/{user}"))
            .await
            .body
    );
    let by_api = service
        .send_json("POST", "/v1/search", &json!({ "q": "anna@example.com" }))
        .await
        .body;
    let kinds: Vec<_> = by_api["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["kind"].clone())
        .collect();
    assert_eq!(kinds, ["customer", "purchase"], "{by_api}");
    assert!(
        !by_api.to_string().contains("anna"),
        "ids of ours alone: {by_api}"
    );
}

#[tokio::test]
async fn a_customer_of_another_app_is_as_if_nobody() {
    let service = Service::start("customers-other").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await
        .body["id"]
        .clone();
    let key = json!({ "name": "other", "role": "admin", "app_id": other });
    let key = service.send_json("POST", "/v1/keys", &key).await;
    let stranger = Visitor::with_key(&service, key.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    for q in ["anna", "u1", "receipt-1", user.as_str()] {
        let found = stranger.post(&service, "/ui/customers", &[("q", q)]).await;
        assert_eq!(found.status, 200, "{q}");
        has(&found, &["No results for"]);
    }
    let other = other.as_str().expect("an id");
    for path in [
        format!("/ui/customers/{app}/{user}"),
        format!("/ui/customers/{other}/{user}"),
    ] {
        assert_eq!(stranger.get(&service, &path).await.status, 404, "{path}");
        let named = stranger
            .post(
                &service,
                &path,
                &[("external_id", "x"), ("app_user_id", "u1"), REASON],
            )
            .await;
        assert!(
            named.status == 404 || path.contains(other),
            "{path}: {}",
            named.status
        );
    }
    assert_eq!(
        service
            .get(&format!("/v1/apps/{app}/customers/{user}"))
            .await
            .body["external_id"],
        "anna"
    );
}
