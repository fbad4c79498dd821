//! Names that differ in their bytes but look the same.

use super::edge::{DEVICE_SECRET, Service};
use serde_json::json;

/// Other spellings of `Žofie` that look the same or nearly the same.
const TWINS: [&str; 7] = [
    "Žofie ",
    " Žofie",
    "Žofie\u{a0}",
    "Žofie\u{200b}",
    "\u{feff}Žofie",
    "Z\u{30c}ofie",
    "žofie",
];

#[tokio::test]
async fn an_id_with_a_twin_of_another_customer_is_a_warning() {
    for (at, twin) in TWINS.into_iter().enumerate() {
        let service = Service::start("alike").await;
        let (app, _) = service.platform().await;
        let path = format!("/v1/apps/{app}/customers");
        let named = |id: &str, user: &str| json!({ "external_id": id, "app_user_id": user });
        // In either order.
        let (first, second) = if at % 2 == 0 {
            ("Žofie", twin)
        } else {
            (twin, "Žofie")
        };
        service.send_json("PUT", &path, &named(first, "u1")).await;
        let other = service.send_json("PUT", &path, &named(second, "u2")).await;
        let warning = other.body["warnings"][0]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let is_named =
            warning.contains(&format!("`{first}`, the id of another customer")) || twin == "žofie";
        assert!(other.status == 200 && is_named, "{twin:?}: {}", other.body);
    }
}

#[tokio::test]
async fn what_nobody_sees_in_a_customers_id_is_a_warning() {
    let service = Service::start("hidden").await;
    let (app, _) = service.platform().await;
    let path = format!("/v1/apps/{app}/customers");
    for (at, (id, part)) in [
        ("Otto ", "at its ends"),
        ("Ot\u{200b}to", "U+200B"),
        ("O\u{308}tto", "not composed"),
        ("Оttо", "plain Latin ones"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({ "external_id": id, "app_user_id": format!("u{at}") });
        let named = service.send_json("PUT", &path, &body).await;
        let warnings = named.body["warnings"].to_string();
        assert!(
            named.status == 200 && warnings.contains(part),
            "{id:?}: {}",
            named.body
        );
    }
}

#[tokio::test]
async fn an_id_with_letters_of_another_script_is_a_warning() {
    let service = Service::start("alike-script").await;
    let (app, _) = service.platform().await;
    let path = format!("/v1/apps/{app}/customers");
    for (id, user) in [("Anna", "u1"), ("оne", "u2")] {
        let body = json!({ "external_id": id, "app_user_id": user });
        assert_eq!(service.send_json("PUT", &path, &body).await.status, 200);
    }
    let twin = service
        .send_json(
            "PUT",
            &path,
            &json!({ "external_id": "Аnnа", "app_user_id": "u3" }),
        )
        .await;
    let warnings = twin.body["warnings"].to_string();
    assert!(
        warnings.contains("`Anna`, the id of another customer")
            && warnings.contains("plain Latin ones"),
        "{warnings}"
    );
}

#[tokio::test]
async fn what_nobody_sees_in_the_id_of_a_login_is_a_warning() {
    let service = Service::start("hidden-login").await;
    let (_, platform) = service.platform().await;
    let shown = service.get(&format!("/v1/platforms/{platform}")).await.body;
    let key = shown["publishable_key"].as_str().expect("a key").to_owned();
    for (id, is_warned) in [("Otto ", true), ("Otto", false)] {
        let body = json!({
            "device": {
                "id": "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11", "first_launch": "2026-11-01T08:00:00Z",
                "app_version": "3.1", "sdk_version": "web/1", "os": { "name": "fireos", "version": "8" },
            },
            "external_id": id,
        });
        let route = ("POST", "/v1/device/login");
        let login = service
            .send_of_device(
                route,
                (&key[..], Some(DEVICE_SECRET)),
                body.to_string().into_bytes(),
            )
            .await;
        assert_eq!(
            (login.status, login.body["warnings"].is_array()),
            (200, is_warned),
            "{}",
            login.body
        );
    }
}

#[tokio::test]
async fn a_sku_or_reference_with_what_nobody_sees_is_refused() {
    let service = Service::start("alike-catalogue").await;
    let (app, platform) = service.platform().await;
    let at = |path: &str| format!("/v1/apps/{app}/{path}");
    let (gold, product) = (
        json!({ "name": "Gold" }),
        json!({ "entitlements": ["gold"] }),
    );
    assert_eq!(
        service
            .send_json("PUT", &at("entitlements/gold"), &gold)
            .await
            .status,
        200
    );
    assert_eq!(
        service
            .send_json("PUT", &at("products/gold.month"), &product)
            .await
            .status,
        200
    );
    for segment in [
        "gold.month%20",
        "%EF%BB%BFgold.month",
        "gold%E2%80%8B.month",
        "gold.month%C2%A0",
        "Z%CC%8Cofie",
    ] {
        let entitlement = service
            .send_json("PUT", &at(&format!("entitlements/{segment}")), &gold)
            .await;
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
                    .is_some_and(|text| text.contains("without hidden characters"))
            );
        }
    }
    let twin = service
        .send_json("PUT", &at("products/Gold.Month"), &product)
        .await;
    let warning = twin.body["warnings"][0].as_str().unwrap_or_default();
    assert!(
        twin.status == 200 && warning.contains("looks like `gold.month`"),
        "{}",
        twin.body
    );
    let secret = json!({ "shared_secret": "\u{feff}2:secret \n" });
    let set = service
        .send_json("PATCH", &format!("/v1/platforms/{platform}"), &secret)
        .await;
    assert_eq!(set.status, 200, "{}", set.body);
    let stored = service
        .store
        .platform_secret(platform)
        .await
        .expect("the platform");
    assert_eq!(
        stored.as_ref().map(secrecy::ExposeSecret::expose_secret),
        Some("2:secret"),
        "trimmed"
    );
    let empty = json!({ "shared_secret": " \u{feff}" });
    let empty = service
        .send_json("PATCH", &format!("/v1/platforms/{platform}"), &empty)
        .await;
    assert_eq!(empty.status, 400, "nothing is left of it");
    let row = json!({ "purchases": [{ "receipt_id": " r1\u{200b}", "app_user_id": "u1\u{a0}" }] });
    let imported = service
        .send_json("POST", &format!("/v1/platforms/{platform}/import"), &row)
        .await;
    assert_eq!(imported.status, 202, "{}", imported.body);
    assert_eq!(
        service.count("notifications WHERE receipt_id = 'r1' AND app_user_id = 'u1'"),
        1
    );
}
