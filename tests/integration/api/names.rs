//! The display of actors in answers and the audit log: neither a request's `by` nor the name of a key or person can
//! disguise the actor.

use super::edge::{Service, TOKEN, accept};
use super::pages::visitor::{Visitor, send};
use domain::KeyId;
use serde_json::{Value, json};
use storage::Handling;
use workflows::signal::Signal;

/// Creates a key with the role `support`; returns its id and its `Authorization` header.
async fn help_desk(service: &Service) -> (KeyId, String) {
    let key = service
        .send_json(
            "POST",
            "/v1/keys",
            &json!({ "name": "help desk", "role": "support" }),
        )
        .await;
    let text = |field: &str| key.body[field].as_str().expect("a text").to_owned();
    (
        text("id").parse().expect("an id"),
        format!("Bearer {}", text("key")),
    )
}

#[tokio::test]
async fn no_by_hides_the_key_behind_it() {
    let service = Service::start("by").await;
    let (app, platform) = service.platform().await;
    let (key, _) = accept(&service.store, platform, "receipt", Handling::Open).await;
    let hook =
        json!({ "kind": "webhook", "name": "hook", "url": "https://receiver.invalid/hooks" });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await;
    let probe = format!(
        "/v1/destinations/{}/probe",
        hook.body["id"].as_str().expect("an id")
    );
    let (id, bearer) = help_desk(&service).await;
    let post = async |path: &str, by: &str| {
        service
            .send(
                "POST",
                path,
                Some(&bearer),
                json!({ "by": by }).to_string().into_bytes(),
            )
            .await
    };
    for (by, shown) in [
        ("anna", "anna (help desk)"),
        (
            &format!("admin token{}", " ".repeat(180)),
            "admin token (help desk)",
        ),
        ("\u{202e}nekot nimda\u{200b}", "nekot nimda (help desk)"),
        ("\u{2066}\u{200d}", "help desk"),
        (
            &"x".repeat(200),
            &format!("{} (help desk)", "x".repeat(200)),
        ),
    ] {
        let answer = post(&format!("/v1/purchases/{key}/flush"), by).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let signals = service.engine.signals();
        let Some((_, Signal::Flush(admin))) = signals.last() else {
            panic!("{signals:?}")
        };
        assert_eq!(
            (admin.by.as_deref(), admin.key_id),
            (Some(shown), Some(id)),
            "{by:?}"
        );
        assert_eq!(post(&probe, by).await.status, 202);
        let entry = service.get("/v1/audit-log?limit=1").await.body["items"][0].clone();
        assert_eq!(
            (&entry["actor"], &entry["key_id"]),
            (&json!(shown), &json!(id)),
            "{by:?}"
        );
    }
    let long = format!("admin token{}", " ".repeat(1000));
    for path in [format!("/v1/purchases/{key}/hold"), probe] {
        assert_eq!(post(&path, &long).await.wrong_fields(), ["by"], "{path}");
    }
}

#[tokio::test]
async fn no_answer_with_a_secret_is_stored_or_guessed() {
    let service = Service::start("no-store").await;
    let (app, platform) = service.platform().await;
    let of_platform = |verb: &str| format!("/v1/platforms/{platform}/{verb}");
    let hook =
        json!({ "kind": "webhook", "name": "hook", "url": "https://receiver.invalid/hooks" });
    let link = json!({ "name": "Carla", "role": "read" });
    let bearer = format!("Bearer {TOKEN}");
    for (path, body) in [
        (
            "/v1/keys".to_owned(),
            json!({ "name": "deploy", "role": "read" }),
        ),
        ("/v1/sign-in-links".to_owned(), link),
        (of_platform("login-secret"), json!({})),
        (of_platform("rotate-ingress-key"), json!({})),
        (format!("/v1/apps/{app}/destinations"), hook),
    ] {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = send(&service, "POST", &path, &headers, body.to_string()).await;
        assert!(
            (200..300).contains(&answer.status),
            "{path}: {}",
            answer.text
        );
        let found = (
            answer.header("cache-control"),
            answer.header("x-content-type-options"),
        );
        assert_eq!(found, ("no-store", "nosniff"), "{path}");
    }
}

#[tokio::test]
async fn similar_names_are_one() {
    let service = Service::start("names").await;
    let make = async |name: &str| {
        service
            .send_json("POST", "/v1/keys", &json!({ "name": name, "role": "read" }))
            .await
    };
    let link = async |name: &str| {
        service
            .send_json(
                "POST",
                "/v1/sign-in-links",
                &json!({ "name": name, "role": "read" }),
            )
            .await
    };
    let wrong = [
        "settle ",
        "Admin  token",
        "admin\u{a0}token",
        "admin\u{200b}token",
        "admin token (help desk)",
        "\u{2800}",
        " ",
        "a\nb",
    ];
    for name in wrong {
        for answer in [make(name).await, link(name).await] {
            assert_eq!(
                (answer.status, answer.wrong_fields()),
                (400, vec!["name"]),
                "{name:?}: {}",
                answer.body
            );
        }
    }
    let deploy = make(" Deploy  Bot ").await;
    assert_eq!(
        (deploy.status, &deploy.body["name"]),
        (201, &json!("Deploy Bot")),
        "{}",
        deploy.body
    );
    for name in ["deploy bot", "DEPLOY BOT", "Deploy\u{2003}Bot"] {
        assert_eq!(make(name).await.status, 409, "{name:?}");
    }
    assert_eq!(link("Žofie").await.status, 201);
    // A person who signs in with a key also enters a name: the key's name is shown with it.
    let (id, bearer) = help_desk(&service).await;
    let key = bearer.trim_start_matches("Bearer ");
    let fields = [("key", key), ("name", "admin token\u{200b} \u{202e}")];
    Visitor::with_named_key(&service, &fields)
        .await
        .expect("a sign-in");
    let entry = service
        .get("/v1/audit-log?operation=sign_in.start")
        .await
        .body["items"][0]
        .clone();
    assert_eq!(
        (&entry["actor"], &entry["key_id"]),
        (&json!("admin token (help desk)"), &json!(id)),
        "{entry}"
    );
    let shown = service.get("/v1/audit-log").await.body;
    assert!(
        !shown.to_string().contains('\u{200b}') && shown["items"] != Value::Null,
        "{shown}"
    );
}
