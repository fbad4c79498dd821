//! Ways in, and ways out: links that work once, keys, the ends of sign-ins, forged requests.

use super::visitor::{Answer, OURS, Visitor, form, send};
use crate::api::edge::{Service, TOKEN, accept};
use serde_json::json;
use storage::Fate;

async fn link(service: &Service, body: &serde_json::Value) -> String {
    let answer = service.send_json("POST", "/v1/sign-in-links", body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body["path"].as_str().expect("a path").to_owned()
}

async fn key(service: &Service, role: &str) -> (String, String) {
    let answer = service
        .send_json("POST", "/v1/keys", &json!({ "name": role, "role": role }))
        .await;
    let text = |name: &str| answer.body[name].as_str().expect("a text").to_owned();
    (text("id"), text("key"))
}

async fn page(service: &Service, visitor: &Visitor) -> u16 {
    visitor.get(service, "/ui/").await.status
}

async fn actors(service: &Service, operation: &str) -> Vec<String> {
    let found = service
        .get(&format!("/v1/audit-log?operation={operation}"))
        .await;
    let items = found.body["items"]
        .as_array()
        .expect("the audit log")
        .clone();
    items
        .iter()
        .map(|entry| entry["actor"].as_str().expect("an actor").to_owned())
        .collect()
}

fn leads_to_sign_in(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location").starts_with("/ui/sign-in")
}

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
async fn a_sign_in_ends_with_its_key_and_with_the_token() {
    let service = Service::start("key-sign-in").await;
    let (id, text) = key(&service, "support").await;
    let by_key = Visitor::with_named_key(&service, &[("key", &text), ("name", "Anna")])
        .await
        .expect("a sign-in");
    let by_token = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let home = by_key.get(&service, "/ui/").await;
    assert!(home.text.contains("Anna (support)"), "{}", home.text);
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
    assert!(leads_to_sign_in(&by_key.get(&service, "/ui/").await));
    assert_eq!(page(&service, &by_token).await, 200);
    service.raw("UPDATE sign_ins SET token_hash = 'another' WHERE token_hash IS NOT NULL");
    assert!(leads_to_sign_in(&by_token.get(&service, "/ui/").await));
}

#[tokio::test]
async fn a_sign_in_ends_when_unused_and_after_its_time() {
    let service = Service::start("sign-in-ends").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let hour = 3_600_000_000_i64;
    for (change, is_open) in [
        (
            format!(
                "UPDATE sign_ins SET used_at = used_at - {}",
                hour - 60_000_000
            ),
            true,
        ),
        (
            format!("UPDATE sign_ins SET used_at = used_at - {hour}"),
            false,
        ),
        (
            format!(
                "UPDATE sign_ins SET used_at = created_at, expires_at = created_at + {}",
                12 * hour
            ),
            true,
        ),
        (
            "UPDATE sign_ins SET expires_at = created_at".to_owned(),
            false,
        ),
    ] {
        service.raw(&change);
        assert_eq!(page(&service, &visitor).await == 200, is_open, "{change}");
    }
}

#[tokio::test]
async fn the_cookie_is_worth_nothing_after_the_sign_out() {
    let service = Service::start("sign-out").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let home = visitor.get(&service, "/ui/").await;
    assert!(
        home.text.contains("action=\"/ui/sign-out\""),
        "it can be seen on each page"
    );
    let out = visitor.post(&service, "/ui/sign-out", &[]).await;
    assert_eq!((out.status, out.header("location")), (303, "/ui/sign-in"));
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert!(leads_to_sign_in(
        &visitor.get(&service, "/ui/purchases").await
    ));
    assert_eq!(actors(&service, "sign_in.end").await, ["admin token"]);
    let listed = service.get("/v1/sign-ins").await;
    assert!(
        listed.body["items"][0]["finished_at"].is_string(),
        "{}",
        listed.body
    );
}

#[tokio::test]
async fn an_administrator_ends_the_sign_in_of_another() {
    let service = Service::start("end-other").await;
    let (_, text) = key(&service, "support").await;
    let other = Visitor::with_key(&service, &text).await.expect("a sign-in");
    let own = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let id = service.get("/v1/sign-ins").await.body["items"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/ui/team/sign-ins/{id}/end");
    let blank = own.post(&service, &path, &[("reason", " ")]).await;
    assert_eq!(blank.status, 400, "a reason is needed");
    for part in [
        format!("id=\"reason-end-{id}\""),
        "aria-describedby=\"wrong-reason\"".to_owned(),
    ] {
        assert!(blank.text.contains(&part), "{part}: {}", blank.text);
    }
    assert_eq!(page(&service, &other).await, 200);
    let unknown = own.post(
        &service,
        "/ui/team/sign-ins/6b275a67-0bbb-4f3a-99b9-6600bf711993/end",
        &[("reason", "x")],
    );
    let unknown = unknown.await;
    assert!(
        unknown.status == 404 && unknown.text.contains("Nothing was changed"),
        "{}",
        unknown.text
    );
    assert_eq!(
        own.post(&service, &path, &[("reason", "left the company")])
            .await
            .status,
        303
    );
    assert!(leads_to_sign_in(&other.get(&service, "/ui/").await));
    let entry = service
        .get("/v1/audit-log?operation=sign_in.end")
        .await
        .body["items"][0]
        .clone();
    assert_eq!(
        (&entry["actor"], &entry["reason"]),
        (&json!("admin token"), &json!("left the company"))
    );
}

#[tokio::test]
async fn a_forged_form_changes_nothing() {
    let service = Service::start("forged").await;
    let (_, platform) = service.platform().await;
    let (purchase, _) = accept(&service.store, platform, "receipt", Fate::Open).await;
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
    // Nor does a foreign page sign anybody in or out.
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
async fn the_api_takes_keys_alone() {
    let service = Service::start("api-cookie").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let secret = visitor.cookie.split('=').nth(1).expect("a value");
    for headers in [
        [("cookie", visitor.cookie.as_str())],
        [("authorization", secret)],
    ] {
        assert_eq!(
            send(&service, "GET", "/v1/apps", &headers, String::new())
                .await
                .status,
            401
        );
    }
    let by_bearer = format!("Bearer {TOKEN}");
    assert!(leads_to_sign_in(
        &send(
            &service,
            "GET",
            "/ui/",
            &[("authorization", &by_bearer)],
            String::new()
        )
        .await
    ));
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
async fn wrong_keys_are_refused_with_a_sentence_and_slowed() {
    let service = Service::with_guesses("guesses", 3).await;
    let fields = [("key", "wrong"), ("name", "Anna")];
    let wrong = async || send(&service, "POST", "/ui/sign-in", &[OURS], form(&fields)).await;
    for _ in 0..4 {
        let answer = wrong().await;
        assert_eq!((answer.status, answer.cookie()), (401, None));
        assert!(
            answer.text.contains("is not valid") && answer.text.contains("value=\"Anna\""),
            "{}",
            answer.text
        );
    }
    let slowed = wrong().await;
    assert_eq!(slowed.status, 429);
    assert!(slowed.text.contains("try again in"), "{}", slowed.text);
    let path = "/ui/sign-in/0123456789abcdef0123456789abcdef";
    assert_eq!(
        send(&service, "POST", path, &[OURS], String::new())
            .await
            .status,
        410,
        "links have their own secret"
    );
    assert_eq!(
        Visitor::with_key(&service, TOKEN)
            .await
            .expect_err("slowed")
            .status,
        429
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

#[tokio::test]
async fn no_stored_hash_tries_a_phrase_for_the_admin_token() {
    let service = Service::start("token-hash").await;
    Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    service
        .send_json(
            "POST",
            "/v1/sign-in-links",
            &json!({ "name": "Carla", "role": "read" }),
        )
        .await;
    for table in ["sign_ins", "sign_in_links"] {
        let count = |which: &str| {
            service.raw_number(&format!(
                "SELECT COUNT(*) AS value FROM {table} WHERE {which}"
            ))
        };
        assert_eq!(count("token_hash IS NOT NULL"), 1, "{table}");
        assert_eq!(
            count(&format!("token_hash = '{}'", storage::key_hash(TOKEN))),
            0,
            "{table}: the SHA-256 alone"
        );
    }
}

#[tokio::test]
async fn a_key_of_metrics_signs_nobody_in() {
    let service = Service::start("metrics-key").await;
    let (_, metrics) = key(&service, "metrics").await;
    let refused = Visitor::with_key(&service, &metrics)
        .await
        .expect_err("no sign-in");
    assert_eq!((refused.status, refused.cookie()), (403, None));
}
