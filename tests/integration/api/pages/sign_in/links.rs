//! Links that sign in once.

use super::{actors, key, leads_to_sign_in, link};
use crate::api::edge::Service;
use crate::api::pages::visitor::{OURS, Visitor, send};
use serde_json::json;

#[tokio::test]
async fn a_link_signs_in_once_and_a_preview_does_not_use_it_up() {
    let service = Service::start("link").await;
    let path = link(
        &service,
        &json!({ "name": "Anna", "role": "support", "lifetime_seconds": 3600 }),
    )
    .await;
    assert_eq!(path.len(), "/ui/sign-in/".len() + 32, "128 bits in hex");
    for _ in 0..2 {
        let shown = send(&service, "GET", &path, &[], String::new()).await;
        assert_eq!(
            (shown.status, shown.text.contains("Sign in as Anna")),
            (200, true)
        );
        assert!(shown.cookie().is_none());
    }
    let answer = send(&service, "POST", &path, &[OURS], String::new()).await;
    let set = answer.header("set-cookie").to_owned();
    assert!(set.starts_with("__Host-settle=") && set.len() > 64, "{set}");
    for part in [
        "Path=/",
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
        "Max-Age=3600",
    ] {
        assert!(set.split("; ").any(|one| one == part), "{part} in {set}");
    }
    let visitor = Visitor {
        cookie: answer.cookie().expect("a cookie"),
        token: String::new(),
    };
    let home = visitor.get(&service, "/ui/").await;
    assert_eq!(
        (home.status, home.text.contains("<strong>Anna</strong>")),
        (200, true)
    );
    let again = Visitor::with_link(&service, &path)
        .await
        .expect_err("used up");
    assert_eq!((again.status, again.cookie()), (410, None));
    assert_eq!(
        send(&service, "GET", &path, &[], String::new())
            .await
            .status,
        410
    );
    assert_eq!(actors(&service, "sign_in.start").await, ["Anna"]);
    assert_eq!(actors(&service, "sign_in.link").await, ["admin token"]);
}

#[tokio::test]
async fn an_expired_link_signs_nobody_in() {
    let service = Service::start("expired-link").await;
    let path = link(&service, &json!({ "name": "Anna", "role": "read" })).await;
    service.raw("UPDATE sign_in_links SET expires_at = 1");
    assert_eq!(
        send(&service, "GET", &path, &[], String::new())
            .await
            .status,
        410
    );
    assert_eq!(
        Visitor::with_link(&service, &path)
            .await
            .expect_err("expired")
            .status,
        410
    );
    assert_eq!(service.count("sign_ins"), 0);
}

#[tokio::test]
async fn a_link_ends_with_its_key_and_with_the_token() {
    let service = Service::start("link-of-key").await;
    let (id, text) = key(&service, "admin").await;
    let body = json!({ "name": "Anna", "role": "support" });
    let created = service
        .send(
            "POST",
            "/v1/sign-in-links",
            Some(&format!("Bearer {text}")),
            body.to_string().into_bytes(),
        )
        .await;
    let by_key = created.body["path"].as_str().expect("a path").to_owned();
    let by_token = link(&service, &body).await;
    assert_eq!(
        service
            .send_json(
                "DELETE",
                &format!("/v1/keys/{id}"),
                &serde_json::Value::Null
            )
            .await
            .status,
        204
    );
    service.raw("UPDATE sign_in_links SET token_hash = 'another' WHERE token_hash IS NOT NULL");
    for (path, why) in [(by_key, "was revoked"), (by_token, "was replaced")] {
        let shown = send(&service, "GET", &path, &[], String::new()).await;
        let taken = Visitor::with_link(&service, &path)
            .await
            .expect_err("it ended");
        for answer in [shown, taken] {
            assert_eq!(
                (answer.status, answer.cookie()),
                (410, None),
                "{}",
                answer.text
            );
            assert!(
                answer.text.contains(why) && !answer.text.contains("Anna"),
                "{why}: {}",
                answer.text
            );
        }
    }
    assert_eq!(service.count("sign_ins"), 0);
    assert_eq!(service.count("sign_in_links WHERE taken_at IS NOT NULL"), 0);
    assert_eq!(actors(&service, "sign_in.start").await, [""; 0]);
}

#[tokio::test]
async fn a_link_gives_no_more_than_its_maker_has() {
    let service = Service::start("link-roles").await;
    let (app, _) = service.platform().await;
    let body = json!({ "name": "of one", "role": "admin", "app_id": app });
    let own = service.send_json("POST", "/v1/keys", &body).await.body["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let bearer = format!("Bearer {own}");
    let created = async |body: serde_json::Value| {
        service
            .send(
                "POST",
                "/v1/sign-in-links",
                Some(&bearer),
                body.to_string().into_bytes(),
            )
            .await
    };
    assert_eq!(
        created(json!({ "name": "a", "role": "metrics" }))
            .await
            .wrong_fields(),
        ["role"]
    );
    let path = created(json!({ "name": "a", "role": "admin" })).await.body["path"]
        .as_str()
        .expect("a path")
        .to_owned();
    let visitor = Visitor::with_link(&service, &path)
        .await
        .expect("a sign-in");
    let settings = visitor.get(&service, "/ui/settings").await;
    assert!(
        !settings.text.contains("SETTLE_PUBLIC_URL"),
        "a sign-in of one app sees no settings of all"
    );
    let (_, support) = key(&service, "support").await;
    let refused = service
        .send(
            "POST",
            "/v1/sign-in-links",
            Some(&format!("Bearer {support}")),
            b"{}".to_vec(),
        )
        .await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn a_link_from_another_site_is_opened_with_the_cookie() {
    let service = Service::start("ticket").await;
    let path = "/ui/purchases?cursor=x%22%3E%3Cscript%3E";
    let answer = send(
        &service,
        "GET",
        path,
        &[("sec-fetch-site", "cross-site")],
        String::new(),
    )
    .await;
    assert_eq!(
        (
            answer.status,
            answer.text.contains("http-equiv=\"refresh\" content=\"0\"")
        ),
        (200, true)
    );
    assert!(!answer.text.contains("<script>"), "{}", answer.text);
    let own = send(
        &service,
        "GET",
        path,
        &[("sec-fetch-site", "same-origin")],
        String::new(),
    )
    .await;
    assert!(leads_to_sign_in(&own));
    assert!(
        own.header("location").contains("next=%2Fui%2Fpurchases"),
        "{}",
        own.header("location")
    );
}
