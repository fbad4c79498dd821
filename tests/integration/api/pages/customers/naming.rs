//! Giving a customer the app's own id.

use super::{HOSTILE, REASON, customer, has, signed_in};
use crate::api::edge::Service;
use crate::api::pages::visitor::{OURS, Visitor, form, send};
use serde_json::json;

/// Gives the customer an id that differs from another customer's only by the case of a letter, which causes a warning.
async fn name_near_another(service: &Service, visitor: &Visitor, app: &str, page: &str) {
    service.raw("UPDATE users SET external_id = NULL");
    let path = format!("/v1/apps/{app}/customers");
    let other = service
        .send_json(
            "PUT",
            &path,
            &json!({ "external_id": "tina", "app_user_id": "u2" }),
        )
        .await;
    assert_eq!(other.status, 200, "{}", other.body);
    let named = visitor
        .post(
            service,
            page,
            &[("app_user_id", "u1"), ("external_id", "Tina"), REASON],
        )
        .await;
    let near = format!("{page}?done=named-other-case");
    assert_eq!(
        (named.status, named.header("location")),
        (303, near.as_str()),
        "{}",
        named.text
    );
    has(
        &visitor.get(service, &near).await,
        &["differs only by case from another customer"],
    );
}

#[tokio::test]
async fn a_customer_is_named_once_and_a_refusal_is_explained() {
    let service = Service::start("customers-name").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    service.raw("UPDATE users SET external_id = NULL");
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{user}");
    has(
        &visitor.get(&service, &page).await,
        &[
            "not identified",
            "Set customer id",
            "name=\"app_user_id\" value=\"u1\"",
        ],
    );
    let wrong = visitor
        .post(
            &service,
            &page,
            &[("app_user_id", "u1"), ("external_id", "")],
        )
        .await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    has(&wrong, &["id=\"wrong-external_id\"", "id=\"wrong-reason\""]);
    let forged = form(&[
        ("form_token", "forged"),
        ("external_id", "otto"),
        ("app_user_id", "u1"),
        REASON,
    ]);
    let headers = [OURS, ("cookie", visitor.cookie.as_str())];
    assert_eq!(
        send(&service, "POST", &page, &headers, forged).await.status,
        403
    );
    let fields = [("app_user_id", "u1"), ("external_id", HOSTILE), REASON];
    let named = visitor.post(&service, &page, &fields).await;
    assert_eq!(
        (named.status, named.header("location")),
        (303, format!("{page}?done=named").as_str()),
        "{}",
        named.text
    );
    let shown = visitor.get(&service, &format!("{page}?done=named")).await;
    has(&shown, &["The customer id is set", "&#60;script&#62;"]);
    assert!(!shown.text.contains("<script>alert"), "{}", shown.text);
    name_near_another(&service, &visitor, &app, &page).await;
    let again = visitor
        .post(
            &service,
            &page,
            &[("app_user_id", "u1"), ("external_id", "otto"), REASON],
        )
        .await;
    assert_eq!(again.status, 409, "{}", again.text);
    has(
        &again,
        &[
            "Nothing was changed",
            "use \u{201c}Move purchases\u{201d} on this page",
            "value=\"otto\"",
        ],
    );
    let reader = service
        .send_json("POST", "/v1/keys", &json!({ "name": "r", "role": "read" }))
        .await;
    let reader = Visitor::with_key(&service, reader.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    let shown = reader.get(&service, &page).await;
    assert!(!shown.text.contains("Set customer id"));
    has(
        &shown,
        &[
            "An administrator can erase this customer:",
            "settle customer erase --app ",
            "What stays: the store’s ids of the purchases, amounts",
        ],
    );
}
