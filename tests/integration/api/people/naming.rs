//! Naming customers.

use super::Shop;
use serde_json::{Value, json};

#[tokio::test]
async fn a_customer_is_named_found_and_not_renamed() {
    let shop = Shop::open("customers").await;
    let name =
        json!({ "external_id": "6b275a67-0bbb-4f3a-99b9-6600bf711993", "app_user_id": "u/1+=" });
    let named = shop.send_json("PUT", "/customers", name.clone()).await;
    assert_eq!(named.status, 200, "{}", named.body);
    assert_eq!(
        (&named.body["type"], &named.body["app_user_ids"]),
        (&json!("uuid"), &json!(["u/1+="]))
    );
    assert_eq!(
        shop.send_json("PUT", "/customers", name).await.body,
        named.body,
        "the same again is the same answer"
    );
    for query in [
        "external_id=6b275a67-0bbb-4f3a-99b9-6600bf711993",
        "app_user_id=u%2F1%2B%3D",
    ] {
        assert_eq!(
            shop.get(&format!("/customers?{query}")).await.body,
            named.body,
            "{query}"
        );
    }
    let other = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "u/1+=" }),
        )
        .await;
    assert_eq!(other.status, 409, "{}", other.body);
    let why = other.body["detail"].as_str().expect("a sentence");
    assert!(
        why.contains("6b275a67") && why.contains("settle customer move"),
        "{why}"
    );
    let second = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "u2" }),
        )
        .await;
    assert_eq!(second.body["type"], "custom");
    let joined = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "u3" }),
        )
        .await;
    assert_eq!(
        (&joined.body["user_id"], &joined.body["app_user_ids"]),
        (&second.body["user_id"], &json!(["u2", "u3"]))
    );
}

#[tokio::test]
async fn an_id_that_differs_only_by_case_is_a_warning() {
    let shop = Shop::open("other-case").await;
    let tina = json!({ "external_id": "tina@example.com", "app_user_id": "u1" });
    let named = shop.send_json("PUT", "/customers", tina.clone()).await;
    assert_eq!(
        (named.status, &named.body["warnings"]),
        (200, &Value::Null),
        "{}",
        named.body
    );
    assert_eq!(
        shop.send_json("PUT", "/customers", tina).await.body,
        named.body,
        "a repetition is no mistake"
    );
    let other = json!({ "external_id": "Tina@example.com", "app_user_id": "u2" });
    for path in ["/customers?dry_run=true", "/customers"] {
        let answer = shop.send_json("PUT", path, other.clone()).await;
        let warning = answer.body["warnings"][0].as_str().expect("a warning");
        assert!(
            warning.starts_with("`Tina@example.com` differs only by case from `tina@example.com`"),
            "{warning}"
        );
    }
    assert_ne!(
        shop.get("/customers?app_user_id=u2").await.body["user_id"],
        named.body["user_id"],
        "not merged"
    );
    let moved = json!({ "from": { "app_user_id": "u2" }, "external_id": "TINA@example.com", "reason": "ticket" });
    let moved = shop.send_json("POST", "/customers/move", moved).await;
    assert!(
        moved.body["warnings"][0]
            .as_str()
            .is_some_and(|text| text.contains("differs only by case")),
        "{}",
        moved.body
    );
}

#[tokio::test]
async fn a_customer_may_have_a_device_id_of_the_apps_analytics() {
    let shop = Shop::open("analytics-device").await;
    let named =
        json!({ "external_id": "anna", "app_user_id": "u", "analytics_device_id": "tv-4711" });
    let named = shop.send_json("PUT", "/customers", named).await;
    assert_eq!(
        (named.status, &named.body["analytics_device_id"]),
        (200, &json!("tv-4711")),
        "{}",
        named.body
    );
    let without = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "u" }),
        )
        .await;
    assert_eq!(without.body, named.body, "an absent one leaves it");
    assert_eq!(
        shop.get("/customers?external_id=anna").await.body,
        named.body
    );
    for bad in [json!(""), json!(7), json!("x".repeat(129))] {
        let body = json!({ "external_id": "anna", "app_user_id": "u", "analytics_device_id": bad });
        shop.refuses(("PUT", "/customers"), body, &["analytics_device_id"])
            .await;
    }
}

#[tokio::test]
async fn each_wrong_field_of_a_customer_is_named() {
    let shop = Shop::open("customer-fields").await;
    let put = ("PUT", "/customers");
    shop.refuses(put, json!({ "app_user_id": "u" }), &["external_id"])
        .await;
    shop.refuses(put, json!({ "external_id": "anna" }), &["app_user_id"])
        .await;
    shop.refuses(
        put,
        json!({ "external_id": "anna", "app_user_id": "u", "receipt_id": "r" }),
        &["receipt_id"],
    )
    .await;
    for bad in [
        json!(""),
        json!(7),
        json!("a\u{7}b"),
        json!("x".repeat(513)),
    ] {
        shop.refuses(
            put,
            json!({ "external_id": bad, "app_user_id": "u" }),
            &["external_id"],
        )
        .await;
    }
    let longest = json!({ "external_id": "\u{fc}".repeat(512), "app_user_id": "u" });
    assert_eq!(
        shop.send_json("PUT", "/customers", longest).await.status,
        200
    );
    for query in ["", "?external_id=a&app_user_id=b"] {
        shop.refuses(
            ("GET", &format!("/customers{query}")),
            Value::Null,
            &["external_id"],
        )
        .await;
    }
    assert_eq!(shop.get("/customers?external_id=nobody").await.status, 404);
    let unknown = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "receipt_id": "r" }),
        )
        .await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.body["detail"]
            .to_string()
            .contains("import the purchase first"),
        "{}",
        unknown.body
    );
}
