//! Logins and logouts of devices over HTTP, signed and unsigned, and transfers.

use super::edge::{Answer, DEVICE_SECRET, Service};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

const DEVICE: &str = "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11";
/// A time later than any run of these tests, in seconds since 1970.
const FAR: i64 = 4_000_000_000;

/// Returns a service with a platform, and its id and publishable key.
async fn service(name: &str) -> (Service, String, String) {
    let service = Service::with(name, &[]).await;
    let (_, platform) = service.platform().await;
    let shown = service.get(&format!("/v1/platforms/{platform}")).await.body;
    let key = shown["publishable_key"].as_str().expect("a key").to_owned();
    (service, platform.to_string(), key)
}

fn device(id: &str) -> Value {
    json!({
        "id": id, "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1", "sdk_version": "web/1",
        "os": { "name": "fireos", "version": "8" },
    })
}

/// Returns a token as signed by the app's server.
fn token(secret: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!(
        "{}.{}",
        part(&json!({ "alg": "HS256", "typ": "JWT" })),
        part(claims)
    );
    let signature = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        message.as_bytes(),
    );
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

impl Service {
    async fn of_device(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.send_of_device(
            ("POST", path),
            (key, Some(DEVICE_SECRET)),
            body.to_string().into_bytes(),
        )
        .await
    }

    async fn login(&self, key: &str, external_id: &str, token: Option<&str>) -> Answer {
        let body = json!({ "device": device(DEVICE), "external_id": external_id, "token": token });
        self.of_device(key, "/v1/device/login", &body).await
    }
}

#[tokio::test]
async fn a_customer_logs_in_and_out_on_a_device() {
    let (service, _, key) = service("login").await;
    let anna = service.login(&key, "anna", None).await;
    assert_eq!(
        (anna.status, &anna.body["external_id"]),
        (200, &json!("anna"))
    );
    assert_eq!(service.login(&key, "anna", None).await.body, anna.body);
    let apps = service.get("/v1/apps").await.body;
    let app = apps["items"][0]["id"].as_str().expect("an id").to_owned();
    let shown = service
        .get(&format!("/v1/apps/{app}/customers?external_id=anna"))
        .await
        .body;
    assert_eq!(
        shown["user_id"], anna.body["device_user_id"],
        "the first login names the device's own user"
    );
    let out = service
        .of_device(
            &key,
            "/v1/device/logout",
            &json!({ "device": device(DEVICE) }),
        )
        .await;
    assert_eq!(out.status, 200);
    assert_ne!(out.body["device_user_id"], anna.body["device_user_id"]);
    let wrong = service
        .of_device(
            "pk_0",
            "/v1/device/login",
            &json!({ "device": device(DEVICE) }),
        )
        .await;
    assert_eq!(wrong.status, 401);
}

#[tokio::test]
async fn a_login_shows_nothing_of_others() {
    let (service, _, key) = service("login-silent").await;
    let apps = service.get("/v1/apps").await.body;
    let customers = format!(
        "/v1/apps/{}/customers",
        apps["items"][0]["id"].as_str().expect("an id")
    );
    let named = service
        .send_json(
            "PUT",
            &customers,
            &json!({ "external_id": "anna", "app_user_id": "u1" }),
        )
        .await;
    let known = named.body["user_id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/device/entitlements?device_id={DEVICE}");
    let mut answers = Vec::new();
    for name in ["anna", "nobody"] {
        let login = service.login(&key, name, None).await;
        let own = (&key[..], Some(DEVICE_SECRET));
        let usable = service
            .send_of_device(("GET", &path), own, Vec::new())
            .await;
        assert_eq!((login.status, usable.status), (200, 200), "{name}");
        let out = service
            .of_device(
                &key,
                "/v1/device/logout",
                &json!({ "device": device(DEVICE) }),
            )
            .await;
        assert_eq!(out.status, 200, "{name}");
        let ids = [&login.body, &usable.body].map(|body| body["device_user_id"].clone());
        assert_eq!(ids[0], ids[1], "{name}");
        let mut texts = [login.body.to_string(), usable.body.to_string()];
        for text in &mut texts {
            assert!(!text.contains(&known), "{name}: {text}");
            *text = text
                .replace(name, "")
                .replace(ids[0].as_str().expect("an id"), "");
        }
        answers.push(texts);
    }
    assert_eq!(
        answers[0], answers[1],
        "a customer who is known and one who is not"
    );
}

#[tokio::test]
async fn a_login_without_a_token_is_noted_and_shown() {
    let (service, platform, key) = service("login-unsigned").await;
    let shown = async || {
        service.get(&format!("/v1/platforms/{platform}")).await.body["unsigned_login_at"].clone()
    };
    assert_eq!(shown().await, Value::Null);
    assert_eq!(service.login(&key, "anna", None).await.status, 200);
    let first = shown().await;
    assert!(first.is_string(), "{first}");
    assert_eq!(service.login(&key, "otto", None).await.status, 200);
    assert_eq!(shown().await, first, "the first one stays");
}

#[tokio::test]
async fn a_wrong_login_is_named_by_its_fields() {
    let (service, _, key) = service("login-wrong").await;
    let guessable = "2f0d2ef6-3b3f-1b9c-8a64-0a1d4f7c9e11";
    for (body, field) in [
        (
            json!({ "device": device(guessable), "external_id": "anna" }),
            "device.id",
        ),
        (json!({ "device": device(DEVICE) }), "external_id"),
        (
            json!({ "device": device(DEVICE), "external_id": "" }),
            "external_id",
        ),
        (
            json!({ "device": device(DEVICE), "external_id": "anna", "colour": 1 }),
            "colour",
        ),
    ] {
        let answer = service.of_device(&key, "/v1/device/login", &body).await;
        assert_eq!(
            (answer.status, &answer.body["errors"][0]["field"]),
            (400, &json!(field)),
            "{}",
            answer.body
        );
    }
    assert_eq!(service.count("users"), 0);
}

#[tokio::test]
async fn a_platform_with_a_login_secret_takes_signed_logins_alone() {
    let (service, platform, key) = service("login-signed").await;
    let path = format!("/v1/platforms/{platform}/login-secret");
    let secret = service.send_json("POST", &path, &json!({})).await.body["login_secret"].clone();
    let secret = secret.as_str().expect("a secret").to_owned();
    let shown = service.get(&format!("/v1/platforms/{platform}")).await.body;
    assert_eq!(shown["signed_login"], true);
    assert!(!shown.to_string().contains(&secret), "it is shown once");
    // The exact rules for tokens are tested beside their parser.
    let far = token(&secret, &json!({ "sub": "anna", "exp": FAR }));
    for (token, why) in [
        (None, "it is missing"),
        (Some("x.y.z"), "its first part is not base64url"),
        (Some(&far[..]), "a day ahead"),
    ] {
        let refused = service.login(&key, "anna", token).await;
        let detail = refused.body["detail"].as_str().expect("a text").to_owned();
        assert!(
            refused.status == 403 && detail.contains(why),
            "{} {detail}",
            refused.status
        );
        assert!(
            token.is_none_or(|token| !detail.contains(token)),
            "{detail}"
        );
    }
    assert_eq!(service.count("users"), 0);
    let soon = api::clock::now().micros() / 1_000_000 + 60;
    let proof = token(
        &secret,
        &json!({ "sub": "anna", "exp": soon, "device_id": DEVICE }),
    );
    assert_eq!(service.login(&key, "anna", Some(&proof)).await.status, 200);
    assert_eq!(service.count("devices WHERE is_signed"), 1);
    assert_eq!(
        service.login(&key, "otto", Some(&proof)).await.status,
        403,
        "a token proves one customer"
    );
    assert_eq!(
        service.send_json("DELETE", &path, &json!({})).await.status,
        204
    );
    assert_eq!(service.login(&key, "anna", None).await.status, 200);
    assert_eq!(service.count("devices WHERE is_signed"), 0);
}

#[tokio::test]
async fn a_customer_is_moved_and_moved_back() {
    let (service, _, _) = service("transfers").await;
    let apps = service.get("/v1/apps").await.body;
    let customers = format!(
        "/v1/apps/{}/customers",
        apps["items"][0]["id"].as_str().expect("an id")
    );
    service
        .send_json(
            "PUT",
            &customers,
            &json!({ "external_id": "anna", "app_user_id": "u1" }),
        )
        .await;
    let order = json!({ "from": { "app_user_id": "u1" }, "external_id": "otto", "reason": "by mistake", "by": "eve" });
    let moved = service
        .send_json("POST", &format!("{customers}/move"), &order)
        .await;
    assert_eq!(
        (moved.status, &moved.body["cause"], &moved.body["by"]),
        (200, &json!("admin"), &json!("eve (admin token)")),
        "{}",
        moved.body
    );
    assert_eq!(moved.body["app_user_ids"], json!(["u1"]));
    let again = service
        .send_json("POST", &format!("{customers}/move"), &order)
        .await;
    assert_eq!(again.status, 409, "{}", again.body);
    let id = moved.body["transfer_id"].as_str().expect("an id");
    let undo = format!("/v1/transfers/{id}/undo");
    let back = service
        .send_json("POST", &undo, &json!({ "reason": "ticket 1" }))
        .await;
    assert_eq!(
        (back.status, &back.body["undoes"], &back.body["by"]),
        (200, &json!(id), &json!("admin token"))
    );
    assert_eq!(
        service
            .send_json("POST", &undo, &json!({ "reason": "ticket 1" }))
            .await
            .status,
        409
    );
    let shown = service.get(&format!("/v1/transfers/{id}")).await.body;
    assert_eq!(shown["undone_by"], back.body["transfer_id"]);
    let user = moved.body["from"]["user_id"].as_str().expect("an id");
    let list = service
        .get(&format!("/v1/transfers?user_id={user}"))
        .await
        .body;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");
    for (body, field) in [
        (json!({ "external_id": "otto", "reason": "x" }), "from"),
        (
            json!({ "from": {}, "external_id": "otto", "reason": "x" }),
            "from",
        ),
        (
            json!({ "from": { "app_user_id": "u1" }, "external_id": "otto" }),
            "reason",
        ),
    ] {
        let answer = service
            .send_json("POST", &format!("{customers}/move"), &body)
            .await;
        assert_eq!(
            (answer.status, &answer.body["errors"][0]["field"]),
            (400, &json!(field)),
            "{}",
            answer.body
        );
    }
    let nobody = json!({ "from": { "app_user_id": "u9" }, "external_id": "otto", "reason": "x" });
    assert_eq!(
        service
            .send_json("POST", &format!("{customers}/move"), &nobody)
            .await
            .status,
        404
    );
}
