//! The search, by any id.

use super::{purchase, signed_in};
use crate::api::edge::{Service, accept};
use crate::api::pages::visitor::Visitor;
use domain::CollapseKey;
use serde_json::{Value, json};
use storage::Handling;

#[tokio::test]
async fn a_support_case_is_answered_in_two_requests() {
    let service = Service::start("support-case").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt-17").await;
    let visitor = signed_in(&service).await;
    let found = visitor
        .post(&service, "/ui/search", &[("q", " receipt-17 ")])
        .await;
    assert_eq!(
        (found.status, found.header("location")),
        (303, format!("/ui/purchases/{key}").as_str())
    );
    let page = visitor.get(&service, found.header("location")).await;
    for part in [
        "Revision 1",
        "purchase.updated",
        "failed",
        "Not retried",
        "1 attempt",
        "x-answer",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
}

/// Finds the purchase by the beginning of its receipt on the page and with the API, whose answer does not name the
/// customer.
async fn check_beginning(service: &Service, support: &Visitor, key: CollapseKey) {
    let purchase = format!("/ui/purchases/{key}");
    service.raw("UPDATE purchases SET app_user_id = 'customer-at-the-store'");
    service.raw("UPDATE events SET body = '{\"data\":{}}'");
    let begins = support.post(service, "/ui/search", &[("q", "rec")]).await;
    for part in [
        "Begins with",
        "data-copy=\"receipt-1\"",
        "data-copy=\"customer-at-the-store\"",
        &format!("href=\"{purchase}\""),
    ] {
        assert!(begins.text.contains(part), "{part}: {}", begins.text);
    }
    let by_api = service
        .send_json("POST", "/v1/search", &json!({ "q": "receipt-1" }))
        .await;
    assert_eq!(
        by_api.body["items"][0]["collapse_key"],
        json!(key),
        "{}",
        by_api.body
    );
    assert!(
        !by_api.body.to_string().contains("receipt-1"),
        "ids of ours alone: {}",
        by_api.body
    );
}

#[tokio::test]
async fn a_search_finds_each_kind_of_id() {
    let service = Service::start("search").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt-1").await;
    let (waiting, _) = accept(&service.store, platform, "receipt-2", Handling::Open).await;
    let (unsettled, _) = accept(&service.store, platform, "receipt-3", Handling::Open).await;
    service.raw("UPDATE notifications SET outcome = 'given_up', finished_at = 1 WHERE receipt_id = 'receipt-3'");
    let visitor = signed_in(&service).await;
    let message = service
        .get(&format!("/v1/purchases/{key}/notifications"))
        .await
        .body["items"][0]["message_id"]
        .clone();
    let event = service.get("/v1/events").await.body["items"][0]["id"].clone();
    let delivery = service.get("/v1/deliveries").await.body["items"][0]["id"].clone();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let purchase = format!("/ui/purchases/{key}");
    for (q, expected) in [
        (key.to_string(), purchase.clone()),
        (key.to_string().to_uppercase(), purchase.clone()),
        ("receipt-1".to_owned(), purchase.clone()),
        (
            text(&message),
            format!("{purchase}?mark={}", text(&message)),
        ),
        (text(&event), format!("{purchase}?mark={}", text(&event))),
        (
            text(&delivery),
            format!("{purchase}?mark={}", text(&delivery)),
        ),
        ("receipt-2".to_owned(), format!("/ui/purchases/{waiting}")),
        ("receipt-3".to_owned(), format!("/ui/purchases/{unsettled}")),
        (waiting.to_string(), format!("/ui/purchases/{waiting}")),
    ] {
        let found = visitor.post(&service, "/ui/search", &[("q", &q)]).await;
        assert_eq!(
            (found.status, found.header("location")),
            (303, expected.as_str()),
            "{q}: {}",
            found.text
        );
        assert_eq!(
            visitor.get(&service, &expected).await.status,
            200,
            "{expected}"
        );
    }
    let marked = visitor
        .get(&service, &format!("{purchase}?mark={}", text(&event)))
        .await;
    assert!(marked.text.contains("id=\"mark\""), "{}", marked.text);
    let nothing = visitor
        .post(&service, "/ui/search", &[("q", "nobody-knows-this")])
        .await;
    assert_eq!(nothing.status, 200);
    for part in [
        "No results for",
        "What to try",
        "Ids must match exactly",
        "fire",
        "no topic yet",
    ] {
        assert!(nothing.text.contains(part), "{part}: {}", nothing.text);
    }
    assert!(
        nothing.text.contains("settle app import --help"),
        "{}",
        nothing.text
    );
    let created = service
        .send_json(
            "POST",
            "/v1/keys",
            &json!({ "name": "sue", "role": "support" }),
        )
        .await;
    let support = Visitor::with_key(&service, created.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    let nothing = support
        .post(&service, "/ui/search", &[("q", "nobody-knows-this")])
        .await;
    assert!(
        nothing.text.contains("Ask an operator") && !nothing.text.contains("app import"),
        "{}",
        nothing.text
    );
    check_beginning(&service, &support, key).await;
}
