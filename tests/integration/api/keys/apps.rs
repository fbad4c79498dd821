//! A key of one app, and another app's data.

use super::{Shop, UNKNOWN, body_of, created_key, guarded};
use crate::api::edge::{Service, accept};
use api::keys::scope::Scope;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use storage::Handling;

/// Checks that nothing of the other app is resent, whatever the request names.
async fn check_resends(service: &Service, bearer: &str, own: &Shop, other: &Shop) {
    for body in [
        json!({ "event_id": other.ids["event_id"] }),
        json!({ "collapse_key": other.ids["collapse_key"] }),
        json!({ "failed": true, "destination_id": other.ids["destination_id"] }),
        json!({ "failed": true, "app_id": other.app }),
        json!({ "collapse_key": own.ids["collapse_key"], "destination_id": other.ids["destination_id"] }),
        json!({ "collapse_key": other.ids["collapse_key"], "failed": true }),
        json!({ "missing": true, "destination_id": other.ids["destination_id"] }),
    ] {
        let bytes = body.to_string().into_bytes();
        assert_eq!(
            service
                .send("POST", "/v1/resends", Some(bearer), bytes)
                .await
                .status,
            404,
            "{body}"
        );
    }
    let failed = json!({ "failed": true, "dry_run": true })
        .to_string()
        .into_bytes();
    let counted = service
        .send("POST", "/v1/resends", Some(bearer), failed)
        .await;
    assert_eq!(
        counted.body["checked"], 1,
        "only what failed in its own app: {}",
        counted.body
    );
}

/// Checks that filtering by another app gives the same answer as filtering by an app that does not exist.
async fn check_filters(service: &Service, bearer: &str, own: &Shop, other: &Shop) {
    for filter in [
        "purchases",
        "events",
        "deliveries",
        "device-events",
        "notifications",
        "audit-log",
        "check/revenue",
    ] {
        let path = |app: &str| format!("/v1/{filter}?app_id={app}");
        let foreign = service
            .send("GET", &path(&other.app), Some(bearer), Vec::new())
            .await;
        let missing = service
            .send("GET", &path(UNKNOWN), Some(bearer), Vec::new())
            .await;
        assert_eq!(
            (foreign.status, foreign.body),
            (missing.status, missing.body),
            "{filter}"
        );
        assert_eq!(
            service
                .send("GET", &path(&own.app), Some(bearer), Vec::new())
                .await
                .status,
            200,
            "{filter}"
        );
    }
}

#[tokio::test]
async fn what_is_of_another_app_is_as_if_it_did_not_exist() {
    let service = Service::start("foreign").await;
    let (own, other) = (
        Shop::open(&service, "own").await,
        Shop::open(&service, "other").await,
    );
    let nothing = Shop {
        app: UNKNOWN.to_owned(),
        ids: BTreeMap::new(),
    };
    let key = created_key(
        &service,
        &json!({ "name": "k", "role": "admin", "app_id": own.app }),
    )
    .await;
    let bearer = format!("Bearer {}", key.body["key"].as_str().expect("a key"));
    for route in guarded()
        .iter()
        .filter(|route| matches!(route.scope(), Scope::Path(_)))
    {
        for body in [body_of(route), b"{}".to_vec()] {
            let foreign = service
                .send(
                    route.method,
                    &other.path(route),
                    Some(&bearer),
                    body.clone(),
                )
                .await;
            let missing = service
                .send(route.method, &nothing.path(route), Some(&bearer), body)
                .await;
            assert_eq!(
                (foreign.status, foreign.body),
                (404, missing.body),
                "{} {}",
                route.method,
                route.path
            );
            assert_eq!(missing.status, 404);
        }
    }
    check_filters(&service, &bearer, &own, &other).await;
    // Purchases that wait for their first settling are listed by receipt, and hidden likewise.
    let (waiting, _) = accept(
        &service.store,
        other.ids["platform_id"].parse().expect("an id"),
        "new",
        Handling::Open,
    )
    .await;
    for query in [
        "receipt_id=new".to_owned(),
        format!("receipt_id=new&platform_id={}", other.ids["platform_id"]),
    ] {
        let listed = service
            .send(
                "GET",
                &format!("/v1/purchases?{query}"),
                Some(&bearer),
                Vec::new(),
            )
            .await;
        assert_eq!(listed.body["items"], json!([]), "{query}");
    }
    assert_eq!(
        service
            .send(
                "GET",
                &format!("/v1/purchases/{waiting}"),
                Some(&bearer),
                Vec::new()
            )
            .await
            .status,
        404
    );
    check_resends(&service, &bearer, &own, &other).await;
}

#[tokio::test]
async fn runs_of_two_apps_may_have_one_name() {
    let service = Service::start("runs").await;
    let (own, other) = (
        Shop::open(&service, "own").await,
        Shop::open(&service, "other").await,
    );
    for shop in [&other, &own] {
        let body = json!({ "name": shop.app, "role": "operator", "app_id": shop.app });
        let key = created_key(&service, &body).await;
        let bearer = format!("Bearer {}", key.body["key"].as_str().expect("a key"));
        let resend = async |body: &Value| {
            service
                .send(
                    "POST",
                    "/v1/resends",
                    Some(&bearer),
                    body.to_string().into_bytes(),
                )
                .await
        };
        for body in [
            json!({ "failed": true, "run": "nightly" }),
            json!({ "all": true, "destination_id": shop.ids["destination_id"], "run": "nightly of one destination" }),
        ] {
            for again in [false, true] {
                let answer = resend(&body).await;
                assert_eq!(
                    answer.status, 200,
                    "{body}, again: {again}: {}",
                    answer.body
                );
            }
        }
        let conflict = resend(&json!({ "event_id": shop.ids["event_id"], "run": "nightly" })).await;
        assert_eq!(
            conflict.status, 409,
            "another request under a name of its own: {}",
            conflict.body
        );
    }
}

#[tokio::test]
async fn a_key_of_one_app_makes_no_key_of_another() {
    let service = Service::start("makes").await;
    let (own, other) = (
        Shop::open(&service, "own").await,
        Shop::open(&service, "other").await,
    );
    let key = created_key(
        &service,
        &json!({ "name": "k", "role": "admin", "app_id": own.app }),
    )
    .await;
    let bearer = format!("Bearer {}", key.body["key"].as_str().expect("a key"));
    let make = async |body: Value| {
        service
            .send(
                "POST",
                "/v1/keys",
                Some(&bearer),
                body.to_string().into_bytes(),
            )
            .await
    };
    assert_eq!(
        make(json!({ "name": "a", "role": "admin", "app_id": other.app }))
            .await
            .status,
        404
    );
    assert_eq!(
        make(json!({ "name": "b", "role": "admin" })).await.body["app_id"],
        own.app
    );
    assert_eq!(
        make(json!({ "name": "c", "role": "metrics" })).await.status,
        422
    );
}
