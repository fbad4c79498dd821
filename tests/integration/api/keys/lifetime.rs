//! Names of keys, and keys that expire or are revoked.

use super::created_key;
use crate::api::edge::Service;
use serde_json::{Value, json};

#[tokio::test]
async fn a_key_ends_when_it_is_revoked_or_expires() {
    let service = Service::start("ends").await;
    let created = created_key(&service, &json!({ "name": "one", "role": "read" })).await;
    let (id, key) = (
        created.body["id"].as_str().expect("an id"),
        created.body["key"].as_str().expect("a key"),
    );
    let bearer = format!("Bearer {key}");
    let get = async || {
        service
            .send("GET", "/v1/apps", Some(&bearer), Vec::new())
            .await
            .status
    };
    assert_eq!(get().await, 200);
    for wrong in [
        &key[..key.len() - 1],
        &format!("{}0", &key[..key.len() - 1].replace("sk_", "sk-")),
    ] {
        assert_eq!(
            service
                .send(
                    "GET",
                    "/v1/apps",
                    Some(&format!("Bearer {wrong}")),
                    Vec::new()
                )
                .await
                .status,
            401
        );
    }
    let swapped = format!("Bearer {}{}", &key[..36], "0".repeat(64));
    assert_eq!(
        service
            .send("GET", "/v1/apps", Some(&swapped), Vec::new())
            .await
            .status,
        401
    );
    service.raw("UPDATE api_keys SET expires_at = 1");
    assert_eq!(get().await, 401);
    service.raw("UPDATE api_keys SET expires_at = NULL");
    assert_eq!(get().await, 200);
    let path = format!("/v1/keys/{id}");
    assert_eq!(
        service
            .send_json("DELETE", &path, &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        service
            .send_json("DELETE", &path, &Value::Null)
            .await
            .status,
        204,
        "again"
    );
    assert_eq!(get().await, 401);
    let listed = service.get("/v1/keys").await;
    assert!(
        listed.body["items"][0]["revoked_at"].is_string()
            && !listed.body.to_string().contains(&key[36..])
    );
    let past = json!({ "name": "past", "role": "read", "expires_at": "2001-01-01T00:00:00Z" });
    assert_eq!(
        service
            .send_json("POST", "/v1/keys", &past)
            .await
            .wrong_fields(),
        ["expires_at"]
    );
    let taken = json!({ "name": "admin token", "role": "read" });
    assert_eq!(
        service
            .send_json("POST", "/v1/keys", &taken)
            .await
            .wrong_fields(),
        ["name"],
        "the audit log names it so"
    );
    let again = json!({ "name": "one", "role": "read" });
    assert_eq!(
        service.send_json("POST", "/v1/keys", &again).await.status,
        201,
        "its name is free again"
    );
    assert_eq!(
        service.send_json("POST", "/v1/keys", &again).await.status,
        409
    );
}

#[tokio::test]
async fn the_name_of_a_key_resembles_no_other_one() {
    let service = Service::start("alike-keys").await;
    let create = async |name: &str| {
        service
            .send_json("POST", "/v1/keys", &json!({ "name": name, "role": "read" }))
            .await
    };
    for reserved in [
        "аdmin token",
        "ｓettle",
        "AdmіN token",
        "ＡＤＭＩＮ TOKEN",
        "ѕеttlе",
    ] {
        assert_eq!(
            create(reserved).await.wrong_fields(),
            ["name"],
            "{reserved}"
        );
    }
    for (name, twins) in [("anna", ["аnnа", "ＡＮＮＡ"]), ("Маша", ["МAША", "МАША"])]
    {
        assert_eq!(create(name).await.status, 201, "{name}");
        for twin in twins {
            assert_eq!(create(twin).await.status, 409, "{twin}");
        }
    }
    // As stored by release 0.1.0.
    service.raw("UPDATE api_keys SET folded_name = 'маша' WHERE name = 'Маша'");
    assert_eq!(create("Маша").await.status, 409);
    assert_eq!(create("Manna").await.status, 201);
}
