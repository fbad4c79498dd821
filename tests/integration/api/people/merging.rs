//! Naming a customer like another one, which merges them: the result is previewed first.

use super::Shop;
use serde_json::{Value, json};

/// Creates two customers: `anna` with two purchases, and one without an external id, with one purchase.
async fn two_customers(shop: &Shop) -> [String; 2] {
    shop.service.seed(&["r1", "r2", "r3"]).await;
    let mut users = Vec::new();
    for (name, store) in [("anna", "u1"), ("otto", "u2")] {
        let named = shop
            .send_json(
                "PUT",
                "/customers",
                json!({ "external_id": name, "app_user_id": store }),
            )
            .await;
        users.push(named.body["user_id"].as_str().expect("an id").to_owned());
    }
    shop.service.raw(&format!(
        "UPDATE users SET external_id = NULL WHERE external_id = 'otto';
         UPDATE purchases SET user_id = '{}' WHERE receipt_id <> 'r3';
         UPDATE purchases SET user_id = '{}' WHERE receipt_id = 'r3'",
        users[0], users[1]
    ));
    users.try_into().expect("two")
}

#[tokio::test]
async fn a_dry_run_shows_which_customers_a_name_would_merge() {
    let shop = Shop::open("merge-preview").await;
    let [anna, other] = two_customers(&shop).await;
    let name = json!({ "external_id": "anna", "app_user_id": "u2" });
    let shown = shop
        .send_json("PUT", "/customers?dry_run=true", name.clone())
        .await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let merge = json!({
        "from": { "user_id": other, "external_id": null, "app_user_ids": ["u2"], "purchases": 1 },
        "to": { "user_id": anna, "external_id": "anna", "app_user_ids": ["u1"], "purchases": 2 },
        "announced": [],
        "events": { "purchase.updated": 1 },
    });
    assert_eq!(
        (
            &shown.body["preview"]["merge"],
            &shown.body["preview"]["note"]
        ),
        (&merge, &Value::Null)
    );
    assert_eq!(
        (&shown.body["user_id"], &shown.body["app_user_ids"]),
        (&json!(anna), &json!(["u1", "u2"]))
    );
    assert_eq!(
        shop.get("/customers?app_user_id=u2").await.body["external_id"],
        Value::Null,
        "nothing is changed"
    );
    let refused = {
        let mut body = name.clone();
        body["merge"] = json!(false);
        body
    };
    let refused = shop.send_json("PUT", "/customers", refused).await;
    assert_eq!(refused.status, 409);
    let why = refused.body["detail"].as_str().expect("a sentence");
    assert!(
        why.contains("`anna` is the id of another customer with 2 purchases"),
        "{why}"
    );
    assert_eq!(
        shop.get("/customers?app_user_id=u2").await.body["user_id"],
        json!(other),
        "the two stay apart"
    );
    let merged = shop.send_json("PUT", "/customers", name).await;
    assert_eq!(
        (merged.status, &merged.body["user_id"]),
        (200, &json!(anna)),
        "a server at a login merges"
    );
    assert_eq!(
        merged.body["app_user_ids"], shown.body["app_user_ids"],
        "as the dry run showed"
    );
    let alone = json!({ "external_id": "bert", "app_user_id": "u9" });
    let shown = shop
        .send_json("PUT", "/customers?dry_run=true", alone.clone())
        .await;
    assert_eq!(shown.body["preview"]["merge"], Value::Null);
    let note = shown.body["preview"]["note"].as_str().expect("a note");
    assert!(
        note.contains("No purchase of this store customer is known yet"),
        "{note}"
    );
    assert_eq!(shop.get("/customers?app_user_id=u9").await.status, 404);
    let named = shop.send_json("PUT", "/customers", alone).await;
    assert_eq!(named.body["user_id"], shown.body["user_id"]);
}

#[tokio::test]
async fn a_preview_of_a_merge_lets_nothing_else_happen() {
    let shop = Shop::open("merge-raced").await;
    let [anna, other] = two_customers(&shop).await;
    let preview = async |body: &Value| {
        let shown = shop
            .send_json("PUT", "/customers?dry_run=true", body.clone())
            .await;
        let mut confirmed = body.clone();
        confirmed["preview"] = shown.body["preview"]["id"].clone();
        confirmed
    };
    let stale = async |confirmed: &Value| {
        let answer = shop.send_json("PUT", "/customers", confirmed.clone()).await;
        assert_eq!(answer.status, 409, "{}", answer.body);
        let why = answer.body["detail"].as_str().expect("a sentence");
        assert!(why.contains("changed since the preview"), "{why}");
    };
    let merging = json!({ "external_id": "anna", "app_user_id": "u2" });
    let confirmed = preview(&merging).await;
    shop.service.raw(&format!(
        "UPDATE purchases SET user_id = '{other}' WHERE receipt_id = 'r2'"
    ));
    stale(&confirmed).await;
    // The id was unused at the preview, and belongs to another customer now.
    let free = preview(&json!({ "external_id": "bert", "app_user_id": "u2" })).await;
    shop.send_json(
        "PUT",
        "/customers",
        json!({ "external_id": "bert", "app_user_id": "u5" }),
    )
    .await;
    stale(&free).await;
    // The id belonged to another customer at the preview.
    let confirmed = preview(&merging).await;
    shop.service
        .raw("UPDATE users SET external_id = 'annie' WHERE external_id = 'anna'");
    shop.send_json(
        "PUT",
        "/customers",
        json!({ "external_id": "anna", "app_user_id": "u6" }),
    )
    .await;
    stale(&confirmed).await;
    let confirmed = preview(&json!({ "external_id": "annie", "app_user_id": "u2" })).await;
    let merged = shop.send_json("PUT", "/customers", confirmed.clone()).await;
    assert_eq!(
        (merged.status, &merged.body["user_id"]),
        (200, &json!(anna)),
        "{}",
        merged.body
    );
    let again = shop.send_json("PUT", "/customers", confirmed).await;
    assert_eq!(
        (again.status, again.body),
        (200, merged.body),
        "a repetition changes nothing"
    );
    let moved = shop
        .service
        .get(&format!("/v1/transfers?user_id={anna}"))
        .await
        .body;
    assert_eq!(moved["items"].as_array().map(Vec::len), Some(1), "{moved}");
    assert_eq!(
        (&moved["items"][0]["by"], &moved["items"][0]["can_undo"]),
        (&json!("admin token"), &json!(true))
    );
}
