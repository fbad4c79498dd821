//! Requests from other sites and host names, and forms that are expensive to check.

use super::{link, page};
use crate::api::edge::{Service, TOKEN, accept};
use crate::api::pages::visitor::{OURS, Visitor, form, send};
use serde_json::json;
use storage::Handling;

#[tokio::test]
async fn a_form_of_two_million_fields_costs_nothing() {
    let service = Service::start("form-size").await;
    let post = async |path: &str, body: String| send(&service, "POST", path, &[OURS], body).await;
    let is_refused = async |path: &str, body: String, limit: &str| {
        let answer = post(path, body).await;
        assert_eq!(answer.status, 413);
        assert!(
            answer
                .text
                .contains(&format!("the body exceeds its limit of {limit}")),
            "{limit}: {}",
            answer.text
        );
    };
    is_refused("/ui/sign-in", "a&".repeat(2 * 1024 * 1024), "16KiB").await;
    is_refused("/ui/sign-in", "a&".repeat(16), "16 fields").await;
    assert_ne!(post("/ui/sign-in", "a&".repeat(15)).await.status, 413);
    let visitor = Visitor::with_link(
        &service,
        &link(&service, &json!({ "name": "Anna", "role": "admin" })).await,
    )
    .await;
    let visitor = visitor.expect("a sign-in");
    is_refused("/ui/sign-out", "x".repeat(17 * 1024), "16KiB").await;
    assert_ne!(
        post("/ui/sign-out", "x".repeat(15 * 1024)).await.status,
        413
    );
    let large = "x".repeat(65 * 1024);
    let (app, _) = service.platform().await;
    let product = format!("/ui/apps/{app}/catalogue/product");
    for (reason, is_taken) in [(large.as_str(), false), (&large[..60 * 1024], true)] {
        let sent = visitor
            .post(&service, &product, &[("reason", reason)])
            .await;
        assert_eq!(
            sent.status != 413,
            is_taken,
            "one of a signed-in person has 64 KiB: {}",
            sent.text
        );
        assert_eq!(
            !sent.text.contains("exceeds its limit of 64KiB"),
            is_taken,
            "{}",
            sent.text
        );
    }
    let sent = visitor
        .post(
            &service,
            &format!("/ui/apps/{app}/catalogue/whole"),
            &[("catalogue", &large)],
        )
        .await;
    assert_eq!(
        sent.status, 400,
        "a whole catalogue may be larger: {}",
        sent.text
    );
}

#[tokio::test]
async fn a_forged_form_changes_nothing() {
    let service = Service::start("forged").await;
    let (_, platform) = service.platform().await;
    let (purchase, _) = accept(&service.store, platform, "receipt", Handling::Open).await;
    let victim = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let other = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let path = format!("/ui/purchases/{purchase}/flush");
    let body = |token: &str| form(&[("reason", "x"), ("form_token", token)]);
    let cookie = ("cookie", victim.cookie.as_str());
    let (host, ours, theirs) = (
        ("host", "127.0.0.1:8081"),
        ("origin", "http://127.0.0.1:8081"),
        ("origin", "http://evil.example"),
    );
    let forged: [(&[(&str, &str)], &str); 8] = [
        (&[cookie], &victim.token),
        (&[cookie, ("sec-fetch-site", "cross-site")], &victim.token),
        (&[cookie, ("sec-fetch-site", "same-site")], &victim.token),
        (
            &[cookie, ("sec-fetch-site", "cross-site"), host, ours],
            &victim.token,
        ),
        (&[cookie, host, theirs], &victim.token),
        (&[cookie, host, ("origin", "null")], &victim.token),
        (&[cookie, OURS], &other.token),
        (&[cookie, OURS], ""),
    ];
    for (headers, token) in forged {
        let answer = send(&service, "POST", &path, headers, body(token)).await;
        assert_eq!(answer.status, 403, "{headers:?}: {}", answer.text);
    }
    let without = send(&service, "POST", &path, &[OURS], body(&victim.token)).await;
    assert_eq!(without.status, 401, "no cookie");
    assert!(service.engine.signals().is_empty());
    for headers in [&[cookie, OURS][..], &[cookie, host, ours]] {
        let answer = send(&service, "POST", &path, headers, body(&victim.token)).await;
        assert_eq!(answer.status, 303, "{headers:?}: {}", answer.text);
    }
    assert_eq!(service.engine.signals().len(), 2);
    // A foreign page cannot sign a visitor in or out either.
    for path in ["/ui/sign-in", "/ui/sign-out"] {
        let headers = [cookie, ("sec-fetch-site", "cross-site")];
        let answer = send(&service, "POST", path, &headers, form(&[("key", TOKEN)])).await;
        assert_eq!((answer.status, answer.cookie()), (403, None), "{path}");
    }
    let answer = send(
        &service,
        "POST",
        "/ui/sign-out",
        &[cookie, OURS],
        body(&other.token),
    )
    .await;
    assert_eq!((answer.status, page(&service, &victim).await), (403, 200));
}

#[tokio::test]
async fn the_sign_in_continues_on_this_site_alone() {
    let service = Service::start("next").await;
    for (next, expected) in [
        (
            "/ui/purchases?app_id=1",
            "/ui/signed-in?next=%2Fui%2Fpurchases%3Fapp_id%3D1",
        ),
        ("https://evil.example/", "/ui/signed-in?next=%2Fui%2F"),
        ("//evil.example/ui/", "/ui/signed-in?next=%2Fui%2F"),
        ("/ui/../v1/keys\\@evil", "/ui/signed-in?next=%2Fui%2F"),
        ("/uievil", "/ui/signed-in?next=%2Fui%2F"),
    ] {
        let body = form(&[("key", TOKEN), ("next", next)]);
        let answer = send(&service, "POST", "/ui/sign-in", &[OURS], body).await;
        assert_eq!(answer.header("location"), expected, "{next}");
    }
    let refused = send(
        &service,
        "GET",
        "/ui/signed-in?next=%2Fui%2F",
        &[],
        String::new(),
    )
    .await;
    assert!(
        refused.text.contains("blocked the sign-in cookie"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_rebound_name_gets_no_page() {
    let service = Service::with("rebound", &[("SETTLE_UI_HOSTS", "settle.example.org")]).await;
    let status = async |host: &str, path: &str| {
        send(&service, "GET", path, &[("host", host)], "")
            .await
            .status
    };
    for path in ["/ui/sign-in", "/openapi.json", "/readyz"] {
        assert_eq!(status("evil.example:8081", path).await, 421, "{path}");
        for host in [
            "127.0.0.1:8081",
            "localhost:8081",
            "[::1]:8081",
            "serve-a:8081",
            "settle.example.org",
        ] {
            assert_eq!(status(host, path).await, 200, "{host} {path}");
        }
    }
    let headers = [("host", "evil.example"), ("origin", "http://evil.example")];
    assert_eq!(
        send(
            &service,
            "POST",
            "/ui/sign-in",
            &headers,
            form(&[("key", "guess")])
        )
        .await
        .status,
        421
    );
    assert_eq!(
        status("evil.example", "/livez").await,
        200,
        "what everybody may call has no name of its own"
    );
}
