//! Platforms and their settings.

use super::ARN;
use crate::api::edge::Service;
use serde_json::{Value, json};
use system_tests::wait;
use system_tests::world::SOON;

#[tokio::test]
async fn a_platform_has_defaults_and_shows_no_secret() {
    let service = Service::start("platform").await;
    let (app, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    let shown = service.get(&path).await.body;
    assert_eq!(
        (&shown["window_seconds"], &shown["max_wait_seconds"]),
        (&json!(120), &Value::Null)
    );
    assert_eq!(shown["environment"], "production");
    assert_eq!(shown["topic"], json!({ "state": "none", "arn": null }));
    assert_eq!(shown["has_shared_secret"], false);
    let url = shown["notification_url"].as_str().expect("a URL");
    let key = url
        .strip_prefix("https://settle.example.com/base/v1/stores/amazon/")
        .expect("our public URL");
    assert!(
        key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{key}"
    );
    let change = json!({ "shared_secret": "2:open-sesame", "window_seconds": 5, "max_wait_seconds": 60, "topic_arn": ARN });
    let changed = service.send_json("PATCH", &path, &change).await;
    assert_eq!(
        (
            &changed.body["window_seconds"],
            &changed.body["max_wait_seconds"]
        ),
        (&json!(5), &json!(60))
    );
    assert_eq!(changed.body["has_shared_secret"], true);
    assert_eq!(
        changed.body["topic"],
        json!({ "state": "confirmed", "arn": ARN })
    );
    for read in [
        changed,
        service.get(&path).await,
        service.get(&format!("/v1/apps/{app}/platforms")).await,
    ] {
        assert!(!read.body.to_string().contains("sesame"), "{}", read.body);
    }
    let removed = json!({ "shared_secret": null, "max_wait_seconds": null });
    let removed = service.send_json("PATCH", &path, &removed).await.body;
    assert_eq!(
        (&removed["has_shared_secret"], &removed["max_wait_seconds"]),
        (&json!(false), &Value::Null)
    );
}

#[tokio::test]
async fn null_restores_a_default_and_leaves_what_has_none() {
    let service = Service::start("null").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    let before = service.get(&path).await.body;
    let other = json!({
        "environment": "sandbox", "product_ref": "parent", "flush_on_revoke": true, "unknown_receipts": "believe",
        "transfers": "never", "window_seconds": 5, "max_wait_seconds": 60, "new_users_per_day": 0, "shares_package": true,
    });
    let changed = service.send_json("PATCH", &path, &other).await.body;
    let mut nulls = json!({ "name": null, "package_name": null, "topic_arn": null });
    for (name, value) in other.as_object().expect("an object") {
        assert_eq!(&changed[name], value, "{name}");
        nulls[name] = Value::Null;
    }
    let restored = service.send_json("PATCH", &path, &nulls).await;
    assert_eq!((restored.status, restored.body), (200, before));
}

#[tokio::test]
async fn a_second_platform_of_a_package_needs_a_permission() {
    let service = Service::start("shared-package").await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": "radio" }))
        .await
        .body["id"]
        .clone();
    let path = format!("/v1/apps/{}/platforms", app.as_str().expect("an id"));
    let create = async |name: &str, change: Value| {
        let mut body =
            json!({ "store": "amazon", "name": name, "package_name": "com.example.radio" });
        body.as_object_mut()
            .expect("an object")
            .extend(change.as_object().expect("an object").clone());
        service.send_json("POST", &path, &body).await
    };
    let tv = create("tv", json!({})).await;
    assert_eq!(
        (tv.status, &tv.body["shares_package"]),
        (201, &json!(false))
    );
    let tablet = create("tablet", json!({})).await;
    assert_eq!(tablet.status, 409, "{}", tablet.body);
    assert!(
        tablet
            .body
            .to_string()
            .contains("the platform `tv` of this app has the package name"),
        "{}",
        tablet.body
    );
    let test = create("test", json!({ "environment": "sandbox" })).await;
    assert_eq!(test.status, 201, "{}", test.body);
    let test = format!("/v1/platforms/{}", test.body["id"].as_str().expect("an id"));
    let production = json!({ "environment": "production" });
    assert_eq!(
        service.send_json("PATCH", &test, &production).await.status,
        409
    );
    assert_eq!(
        service.get(&test).await.body["environment"],
        "sandbox",
        "nothing is changed"
    );
    assert_eq!(
        service
            .send_json("PATCH", &test, &json!({ "name": "beta" }))
            .await
            .status,
        200
    );
    assert_eq!(
        create("tablet", json!({ "shares_package": true }))
            .await
            .status,
        201
    );
    // An older release allowed two such platforms: they remain, and can be changed.
    service.raw("UPDATE platforms SET shares_package = FALSE");
    let tv = format!("/v1/platforms/{}", tv.body["id"].as_str().expect("an id"));
    assert_eq!(
        service
            .send_json("PATCH", &tv, &json!({ "window_seconds": 60 }))
            .await
            .status,
        200
    );
    assert_eq!(
        service
            .send_json("PATCH", &tv, &json!({ "package_name": "com.example.tv" }))
            .await
            .status,
        200
    );
    assert_eq!(
        service
            .send_json(
                "PATCH",
                &tv,
                &json!({ "package_name": "com.example.radio" })
            )
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn two_changes_of_a_platform_at_once_both_hold() {
    let service = Service::start("at-once").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    for window in 1..=20 {
        let (name, window) = (
            json!({ "name": format!("n{window}") }),
            json!({ "window_seconds": window }),
        );
        let (one, other) = tokio::join!(
            service.send_json("PATCH", &path, &name),
            service.send_json("PATCH", &path, &window)
        );
        assert_eq!((one.status, other.status), (200, 200));
        let shown = service.get(&path).await.body;
        assert_eq!(
            (&shown["name"], &shown["window_seconds"]),
            (&name["name"], &window["window_seconds"])
        );
    }
}

#[tokio::test]
async fn a_window_above_the_max_wait_is_refused_on_change_too() {
    let service = Service::start("wait").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    assert_eq!(
        service
            .send_json("PATCH", &path, &json!({ "max_wait_seconds": 200 }))
            .await
            .status,
        200
    );
    let answer = service
        .send_json("PATCH", &path, &json!({ "window_seconds": 300 }))
        .await;
    assert_eq!(
        (answer.status, answer.wrong_fields()),
        (400, vec!["max_wait_seconds"])
    );
}

#[tokio::test]
async fn a_rotated_notification_url_takes_messages_until_its_end() {
    let service = Service::start("rotate").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    let old = service.get(&path).await.body["notification_url"].clone();
    let rotate = async |body: &Value| {
        let answer = service
            .send_json("POST", &format!("{path}/rotate-ingress-key"), body)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };
    let at = |url: &Value| {
        let url = url
            .as_str()
            .and_then(|url| url.strip_prefix("https://settle.example.com/base"));
        url.expect("our public URL").to_owned()
    };
    // At a known URL, a body that is not an SNS message is answered 400.
    let status = async |url: &str| service.send("POST", url, None, b"{}".to_vec()).await.status;
    let ends = async |url: &str| {
        let found = async || match status(url).await {
            404 => Ok(()),
            other => Err(other.to_string()),
        };
        wait::until(SOON, "the old URL ends within a second", found).await;
    };
    let first = rotate(&Value::Null).await;
    assert_ne!(old, first["notification_url"]);
    let shown = &first["old_notification_url"];
    let until: domain::Timestamp = shown["until"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a time");
    let hours = until.millis_since(api::clock::now()) / 3_600_000;
    assert!(
        (71..=72).contains(&hours) && shown["last_used_at"].is_null(),
        "{shown}"
    );
    for url in [&old, &first["notification_url"]] {
        assert_eq!(status(&at(url)).await, 400, "{url}");
    }
    // The old key ends by command, by its time, and by a rotation without overlap.
    let after = service
        .send_json(
            "POST",
            &format!("{path}/retire-old-ingress-key"),
            &Value::Null,
        )
        .await;
    assert_eq!(
        (after.status, &after.body["old_notification_url"]),
        (200, &Value::Null)
    );
    ends(&at(&old)).await;
    let second = rotate(&json!({ "overlap_hours": 1 })).await;
    assert_eq!(status(&at(&first["notification_url"])).await, 400);
    service.raw("UPDATE platforms SET old_ingress_until = 1");
    assert_eq!(
        service.get(&path).await.body["old_notification_url"],
        Value::Null
    );
    ends(&at(&first["notification_url"])).await;
    let third = rotate(&json!({ "overlap_hours": 0 })).await;
    assert_eq!(third["old_notification_url"], Value::Null);
    ends(&at(&second["notification_url"])).await;
    assert_eq!(status(&at(&third["notification_url"])).await, 400);
}

#[tokio::test]
async fn a_package_name_that_no_package_has_is_refused() {
    let service = Service::start("packages").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    let app = service.get(&path).await.body["app_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for wrong in [
        "com.example settle",
        "com/example",
        "https://example.com",
        "com.exämple",
    ] {
        let body = json!({ "store": "amazon", "name": "second", "package_name": wrong });
        for (method, path) in [
            ("POST", format!("/v1/apps/{app}/platforms")),
            ("PATCH", path.clone()),
        ] {
            let body = if method == "POST" {
                body.clone()
            } else {
                json!({ "package_name": wrong })
            };
            let answer = service.send_json(method, &path, &body).await;
            assert_eq!(
                (answer.status, answer.wrong_fields()),
                (400, vec!["package_name"]),
                "{}",
                answer.body
            );
        }
    }
    let changed = service
        .send_json(
            "PATCH",
            &path,
            &json!({ "package_name": "com.example.settle_2" }),
        )
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
}
