//! Erasure of customers.

use super::Shop;
use serde_json::{Value, json};

#[tokio::test]
async fn a_customer_is_erased_and_the_report_is_shown() {
    let shop = Shop::open("erase").await;
    shop.send_json(
        "PUT",
        "/customers",
        json!({ "external_id": "anna", "app_user_id": "u1" }),
    )
    .await;
    let request = json!({ "external_id": "anna", "by": "support", "reason": "request 17" });
    let report = shop
        .send_json("POST", "/customers/erase", request.clone())
        .await;
    assert_eq!(
        (report.status, &report.body["stage"]),
        (202, &json!("done")),
        "{}",
        report.body
    );
    assert_eq!(
        (&report.body["by"], &report.body["counts"]["store_users"]),
        (&json!("support"), &json!(1))
    );
    assert!(
        report.body["removed_at"].is_string() && report.body["destinations"] == json!([]),
        "{}",
        report.body
    );
    assert_eq!(
        shop.send_json("POST", "/customers/erase", request)
            .await
            .body,
        report.body,
        "once"
    );
    let id = report.body["id"].as_str().expect("an id");
    assert_eq!(
        shop.get(&format!("/customers/erase/{id}")).await.body,
        report.body
    );
    let other = "0198c5a2-7b1e-7c3f-9d20-5a6b7c8d9e0f";
    assert_eq!(
        shop.get(&format!("/customers/erase/{other}")).await.status,
        404
    );
    assert_eq!(shop.get("/customers?external_id=anna").await.status, 404);
    let known = shop.get("/customers?app_user_id=u1").await.body;
    assert_eq!(
        (&known["external_id"], &known["app_user_ids"]),
        (&Value::Null, &json!([])),
        "an anonymous user"
    );
    let state = shop.get("/customers/state?app_user_id=u1").await.body;
    assert_eq!(
        (&state["user_id"], &state["external_ids"]),
        (&report.body["user_id"], &json!([]))
    );
}

#[tokio::test]
async fn each_wrong_field_of_a_request_to_erase_is_named() {
    let shop = Shop::open("erase-fields").await;
    let post = ("POST", "/customers/erase");
    shop.refuses(
        post,
        json!({ "external_id": "anna", "by": "me" }),
        &["reason"],
    )
    .await;
    shop.refuses(
        post,
        json!({ "external_id": "anna", "reason": "r" }),
        &["by"],
    )
    .await;
    shop.refuses(post, json!({ "by": "me", "reason": "r" }), &["external_id"])
        .await;
    let both = json!({ "external_id": "anna", "app_user_id": "u", "by": "me", "reason": "r" });
    shop.refuses(post, both, &["external_id"]).await;
    shop.refuses(
        post,
        json!({ "user_id": "me", "by": "me", "reason": "r" }),
        &["user_id", "external_id"],
    )
    .await;
    let unknown = json!({ "external_id": "nobody", "by": "me", "reason": "r" });
    assert_eq!(
        shop.send_json("POST", "/customers/erase", unknown)
            .await
            .status,
        404
    );
}
