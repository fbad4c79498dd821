//! Placeholders that programs send in place of missing values: none is accepted as a customer, product or entitlement.

use super::edge::{DEVICE_SECRET, Service};
use serde_json::{Value, json};

/// Placeholders that occur in apps and exports, with the end of the sentence that refuses each.
const NOBODY: [(&str, &str); 14] = [
    ("undefined", "where they have no value"),
    ("null", "where they have no value"),
    ("NULL", "where they have no value"),
    (" None ", "where they have no value"),
    ("(null)", "where they have no value"),
    ("<null>", "where they have no value"),
    ("guest", "where they have no value"),
    ("no_user", "where they have no value"),
    ("-1", "where they have no value"),
    ("0", "was never set"),
    ("00000000-0000-0000-0000-000000000000", "was never set"),
    ("[object Object]", "an object written as text"),
    ("Optional(nil)", "an object written as text"),
    (" ", "it is blank"),
];

#[tokio::test]
async fn a_value_that_means_none_is_no_id_of_a_customer() {
    let service = Service::start("nobody").await;
    let (app, platform) = service.platform().await;
    let shown = service.get(&format!("/v1/platforms/{platform}")).await.body;
    let key = shown["publishable_key"].as_str().expect("a key").to_owned();
    let device = json!({
        "id": "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11", "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1",
        "sdk_version": "web/1", "os": { "name": "fireos", "version": "8" },
    });
    let customers = format!("/v1/apps/{app}/customers");
    for (nobody, why) in NOBODY {
        let login = json!({ "device": device, "external_id": nobody })
            .to_string()
            .into_bytes();
        let login = service
            .send_of_device(
                ("POST", "/v1/device/login"),
                (&key[..], Some(DEVICE_SECRET)),
                login,
            )
            .await;
        let named = service
            .send_json(
                "PUT",
                &customers,
                &json!({ "external_id": nobody, "app_user_id": "u1" }),
            )
            .await;
        let store = service
            .send_json(
                "PUT",
                &customers,
                &json!({ "external_id": "anna", "app_user_id": nobody }),
            )
            .await;
        let moved =
            json!({ "from": { "app_user_id": "u1" }, "external_id": nobody, "reason": "ticket" });
        let moved = service
            .send_json("POST", &format!("{customers}/move"), &moved)
            .await;
        for (answer, field) in [
            (login, "external_id"),
            (named, "external_id"),
            (store, "app_user_id"),
            (moved, "external_id"),
        ] {
            assert_eq!(
                (answer.status, answer.wrong_fields()),
                (400, vec![field]),
                "{nobody:?}: {}",
                answer.body
            );
            let is_stated = answer.body["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(why));
            // A blank store id is trimmed, and then counts as missing.
            assert!(
                is_stated || nobody == " " && field == "app_user_id",
                "{nobody:?}: {}",
                answer.body
            );
        }
    }
    assert_eq!((service.count("users"), service.count("devices")), (0, 0));
    let found = service
        .get(&format!("{customers}?external_id=undefined"))
        .await;
    assert_eq!(
        found.status, 404,
        "who was named so by an earlier release can be looked up"
    );
}

#[tokio::test]
async fn an_import_names_nobody_and_shows_each_row() {
    let service = Service::start("nobody-import").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}/import");
    let rows: Vec<Value> = (0..NOBODY.len())
        .map(|at| json!({ "receipt_id": format!("r{at}"), "app_user_id": "u1", "external_id": NOBODY[at].0 }))
        .collect();
    let imported = service
        .send_json("POST", &path, &json!({ "purchases": rows }))
        .await;
    assert_eq!(
        (imported.status, &imported.body["accepted"]),
        (202, &json!(NOBODY.len())),
        "{}",
        imported.body
    );
    let unnamed = imported.body["unnamed"].as_array().expect("a list");
    assert_eq!(unnamed.len(), NOBODY.len(), "{}", imported.body);
    for (at, (nobody, why)) in NOBODY.into_iter().enumerate() {
        assert_eq!(
            unnamed[at]["field"],
            json!(format!("purchases[{at}].external_id")),
            "{nobody}"
        );
        assert!(
            unnamed[at]["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(why)),
            "{}",
            unnamed[at]
        );
    }
    assert_eq!(service.count("users WHERE external_id IS NOT NULL"), 0);
    let row = json!({ "receipt_id": "undefined", "app_user_id": "null" });
    let refused = service
        .send_json("POST", &path, &json!({ "purchases": [row] }))
        .await;
    let fields = vec!["purchases[0].app_user_id", "purchases[0].receipt_id"];
    assert_eq!(
        (refused.status, refused.wrong_fields()),
        (400, fields),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn a_value_that_means_none_is_no_product_and_no_entitlement() {
    let service = Service::start("nobody-catalogue").await;
    let (app, _) = service.platform().await;
    let at = |path: &str| format!("/v1/apps/{app}/{path}");
    let gold = json!({ "name": "Gold" });
    service
        .send_json("PUT", &at("entitlements/gold"), &gold)
        .await;
    for (segment, part) in [
        ("undefined", "no value"),
        ("%5Bobject%20Object%5D", "an object"),
        ("%20", "blank"),
        ("null%20", "no value"),
    ] {
        let entitlement = service
            .send_json("PUT", &at(&format!("entitlements/{segment}")), &gold)
            .await;
        let product = json!({ "entitlements": ["gold"] });
        let product = service
            .send_json("PUT", &at(&format!("products/{segment}")), &product)
            .await;
        for (answer, field) in [(entitlement, "ref"), (product, "sku")] {
            assert_eq!(
                (answer.status, answer.wrong_fields()),
                (400, vec![field]),
                "{segment}: {}",
                answer.body
            );
            assert!(
                answer.body["detail"]
                    .as_str()
                    .is_some_and(|text| text.contains(part)),
                "{}",
                answer.body
            );
        }
    }
    let whole = |sku: &str| json!({ "entitlements": [{ "ref": "gold", "name": "Gold" }], "products": [{ "sku": sku, "entitlements": ["gold"] }] });
    let refused = service
        .send_json("PUT", &at("catalogue"), &whole("null"))
        .await;
    assert_eq!(
        (refused.status, refused.wrong_fields()),
        (400, vec!["products"]),
        "{}",
        refused.body
    );
    // An earlier release accepted the placeholder.
    service
        .send_json("PUT", &at("catalogue"), &whole("month"))
        .await;
    service.raw(
        "INSERT INTO products (app_id, sku, prices) SELECT app_id, 'null', '[]' FROM products",
    );
    let stays = service
        .send_json("PUT", &at("catalogue"), &whole("null"))
        .await;
    assert_eq!(
        stays.status, 200,
        "what the catalogue has already may stay: {}",
        stays.body
    );
}
