//! Team & keys: links for colleagues, API keys, and which roles see them and the settings.

use super::destinations::{REASON, hidden_copy};
use super::screens::signed_in;
use super::visitor::{Answer, OURS, Visitor, form, send};
use crate::api::edge::Service;
use serde_json::{Value, json};

const LINK: &str = "/ui/sign-in/";

/// Signs in with a new key of this role, for one app or all.
async fn of_role(service: &Service, role: &str, app: Option<&str>) -> Visitor {
    let name = format!("{role} of {}", app.unwrap_or("all"));
    let created = service
        .send_json(
            "POST",
            "/v1/keys",
            &json!({ "name": name, "role": role, "app_id": app }),
        )
        .await;
    Visitor::with_key(service, created.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in")
}

/// Returns the status of a request with this key.
async fn by_key(service: &Service, key: &str, method: &str, path: &str, body: &Value) -> u16 {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    service
        .send(method, path, Some(&format!("Bearer {key}")), body)
        .await
        .status
}

async fn audit_log(service: &Service) -> String {
    service.get("/v1/audit-log").await.body.to_string()
}

fn is_refused(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 403, "{what}: {}", answer.text);
    assert_eq!(
        answer.header("content-type"),
        "text/html; charset=utf-8",
        "{what}"
    );
    assert!(
        !answer.text.contains("Signed in now") && !answer.text.contains("Create a key"),
        "{what}: {}",
        answer.text
    );
}

/// Invites Anna with the role support, and returns the path of the link.
async fn invite(service: &Service, admin: &Visitor) -> String {
    let page = admin.get(service, "/ui/team").await.text;
    assert!(
        !page.contains("columnheader\">Sign out"),
        "nobody else is signed in: {page}"
    );
    for part in [
        "Signed in now",
        "Invite</summary>",
        "12h (maximum)",
        "this sign-in",
        "href=\"/ui/team/keys\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let fields = [
        ("form_token", admin.token.as_str()),
        ("name", "Anna"),
        ("role", "support"),
    ];
    let body = form(&[&fields[..], &[("lifetime_seconds", "3600"), REASON]].concat());
    let headers = [
        OURS,
        ("cookie", admin.cookie.as_str()),
        ("host", "127.0.0.1:8081"),
    ];
    let invited = send(service, "POST", "/ui/team", &headers, body).await;
    assert_eq!(
        (invited.status, invited.header("location")),
        (201, ""),
        "{}",
        invited.text
    );
    assert_eq!(invited.header("cache-control"), "no-store");
    for part in [
        "Link for Anna, with the role support",
        "It works once, until <time",
        "only on this machine",
    ] {
        assert!(invited.text.contains(part), "{part}: {}", invited.text);
    }
    let link = hidden_copy(&invited.text, &format!("http://127.0.0.1:8081{LINK}"));
    link.strip_prefix("http://127.0.0.1:8081")
        .expect("an address")
        .to_owned()
}

#[tokio::test]
async fn an_invited_person_signs_in_once_with_the_role() {
    let service = Service::start("invite").await;
    let admin = signed_in(&service).await;
    let path = &invite(&service, &admin).await;
    assert!(
        !admin.get(&service, "/ui/team").await.text.contains(LINK),
        "it is shown once"
    );
    assert!(
        !audit_log(&service)
            .await
            .contains(path.trim_start_matches(LINK))
    );
    let entry = service
        .get("/v1/audit-log?operation=sign_in.link")
        .await
        .body["items"][0]
        .clone();
    assert_eq!(
        (&entry["actor"], &entry["reason"]),
        (&json!("admin token"), &json!(REASON.1)),
        "{entry}"
    );

    let anna = Visitor::with_link(&service, path).await.expect("a sign-in");
    let home = anna.get(&service, "/ui/").await.text;
    assert!(
        home.contains("<strong>Anna</strong><span class=\"muted\">support</span>"),
        "{home}"
    );
    assert_eq!(
        Visitor::with_link(&service, path)
            .await
            .expect_err("used up")
            .status,
        410
    );
    let sign_ins = service.get("/v1/sign-ins").await.body["items"].clone();
    let of_anna = sign_ins
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["name"] == "Anna")
        .expect("one")
        .clone();
    let id = of_anna["id"].as_str().expect("an id");
    let page = admin.get(&service, "/ui/team").await.text;
    assert!(
        page.contains("Anna</th>") && page.contains(&format!("sign-ins/{id}/end")),
        "{page}"
    );
    let signed_out = admin
        .post(&service, &format!("/ui/team/sign-ins/{id}/end"), &[REASON])
        .await;
    assert_eq!(
        (signed_out.status, signed_out.header("location")),
        (303, "/ui/team?done=end"),
        "{}",
        signed_out.text
    );
    assert_eq!(anna.get(&service, "/ui/").await.status, 303);
    assert!(
        !admin
            .get(&service, "/ui/team")
            .await
            .text
            .contains("Anna</th>")
    );
}

#[tokio::test]
async fn a_wrong_invitation_is_open_with_what_was_entered() {
    let service = Service::start("wrong-invitation").await;
    let admin = signed_in(&service).await;
    let wrong = admin
        .post(
            &service,
            "/ui/team",
            &[("role", "metrics"), ("name", "admin token (x)")],
        )
        .await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    let fields = [("role", "metrics"), ("name", "Anna (x)"), REASON];
    let unfit = admin.post(&service, "/ui/team", &fields).await;
    assert_eq!(unfit.status, 400, "{}", unfit.text);
    for part in [
        "Role: expected a role that may read",
        "Name: expected no parentheses",
        "value=\"Anna (x)\"",
    ] {
        assert!(unfit.text.contains(part), "{part}: {}", unfit.text);
    }
    for answer in [wrong, unfit] {
        assert!(
            answer.text.contains("Fix ") && !answer.text.contains(LINK),
            "{}",
            answer.text
        );
    }
    assert_eq!(service.count("sign_in_links"), 0);
}

#[tokio::test]
async fn a_key_of_the_page_works_until_it_is_revoked() {
    let service = Service::start("page-key").await;
    let admin = signed_in(&service).await;
    let page = admin.get(&service, "/ui/team/keys").await.text;
    let ends = page
        .split("\">in 90 days")
        .next()
        .and_then(|rest| rest.rsplit('"').next())
        .expect("a choice");
    let fields = [
        ("name", "help desk"),
        ("role", "support"),
        ("expires_at", ends),
        REASON,
    ];
    let created = admin.post(&service, "/ui/team/keys", &fields).await;
    assert_eq!(
        (created.status, created.header("location")),
        (201, ""),
        "{}",
        created.text
    );
    let key = hidden_copy(&created.text, "sk_");
    let stored = service.get("/v1/keys").await.body["items"][0].clone();
    assert_eq!(
        (&stored["name"], &stored["role"]),
        (&json!("help desk"), &json!("support")),
        "{stored}"
    );
    assert!(
        stored["expires_at"]
            .as_str()
            .is_some_and(|text| ends.starts_with(&text[..10])),
        "{stored} {ends}"
    );
    assert_eq!(
        by_key(&service, &key, "GET", "/v1/purchases", &Value::Null).await,
        200
    );
    assert_eq!(
        by_key(&service, &key, "POST", "/v1/apps", &json!({ "name": "x" })).await,
        403
    );
    let page = admin.get(&service, "/ui/team/keys").await.text;
    assert!(
        page.contains("help desk</th>") && !page.contains(&key),
        "it is shown once: {page}"
    );
    assert!(!audit_log(&service).await.contains(&key[key.len() - 64..]));
    let again = admin.post(&service, "/ui/team/keys", &fields).await;
    assert_eq!(
        (again.status, again.text.contains("Nothing was changed")),
        (409, true),
        "{}",
        again.text
    );

    let path = format!(
        "/ui/team/keys/{}/revoke",
        stored["id"].as_str().expect("an id")
    );
    let blank = admin.post(&service, &path, &[]).await;
    assert_eq!(
        (
            blank.status,
            blank.text.contains("Reason: expected a reason")
        ),
        (400, true),
        "{}",
        blank.text
    );
    assert_eq!(
        by_key(&service, &key, "GET", "/v1/purchases", &Value::Null).await,
        200
    );
    let revoked = admin.post(&service, &path, &[REASON]).await;
    assert_eq!(
        (revoked.status, revoked.header("location")),
        (303, "/ui/team/keys?done=revoke"),
        "{}",
        revoked.text
    );
    assert_eq!(
        by_key(&service, &key, "GET", "/v1/purchases", &Value::Null).await,
        401
    );
    let page = admin.get(&service, "/ui/team/keys?done=revoke").await.text;
    assert!(
        page.contains("The key was revoked.") && !page.contains("help desk</th>"),
        "{page}"
    );
}

#[tokio::test]
async fn a_person_of_one_app_invites_to_it_alone() {
    let service = Service::start("team-of-app").await;
    let app = async |name: &str| {
        let created = service
            .send_json("POST", "/v1/apps", &json!({ "name": name }))
            .await;
        created.body["id"].as_str().expect("an id").to_owned()
    };
    let (own, other) = (app("own").await, app("other").await);
    let stranger = of_role(&service, "read", Some(&other)).await;
    let admin = of_role(&service, "admin", Some(&own)).await;
    let keys = admin.get(&service, "/ui/team/keys").await.text;
    let people = admin.get(&service, "/ui/team").await.text;
    for page in [&keys, &people] {
        assert!(
            page.contains(&format!("admin of {own}")) && !page.contains(&other),
            "{page}"
        );
        assert!(
            !page.contains("All apps") && !page.contains("value=\"metrics\""),
            "{page}"
        );
    }
    let of_other = [
        ("name", "Anna"),
        ("role", "read"),
        ("app_id", other.as_str()),
        REASON,
    ];
    for path in ["/ui/team", "/ui/team/keys"] {
        let refused = admin.post(&service, path, &of_other).await;
        assert_eq!(refused.status, 404, "{path}: {}", refused.text);
        assert!(
            !refused.text.contains(LINK) && !refused.text.contains("data-copy=\"sk_"),
            "{}",
            refused.text
        );
    }
    let sign_ins = service
        .get(&format!("/v1/sign-ins?app_id={other}"))
        .await
        .body;
    let id = sign_ins["items"][0]["id"].as_str().expect("an id");
    assert_eq!(
        admin
            .post(&service, &format!("/ui/team/sign-ins/{id}/end"), &[REASON])
            .await
            .status,
        404
    );
    assert_eq!(stranger.get(&service, "/ui/").await.status, 200);
    let created = admin
        .post(
            &service,
            "/ui/team/keys",
            &[("name", "Ben"), ("role", "read"), REASON],
        )
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    let listed = service.get(&format!("/v1/keys?app_id={own}")).await.body;
    assert!(
        listed["items"]
            .as_array()
            .expect("keys")
            .iter()
            .any(|key| key["name"] == "Ben"),
        "{listed}"
    );
    let invited = admin
        .post(
            &service,
            "/ui/team",
            &[("name", "Carla"), ("role", "read"), REASON],
        )
        .await;
    let carla = Visitor::with_link(&service, &hidden_copy(&invited.text, LINK))
        .await
        .expect("a sign-in");
    let settings = carla.get(&service, "/ui/settings").await.text;
    assert!(
        settings.contains("Carla")
            && !carla
                .get(&service, "/ui/connect")
                .await
                .text
                .contains(&other)
    );
}

#[tokio::test]
async fn administrators_alone_see_the_team_and_the_settings() {
    let service = Service::start("team-roles").await;
    let (app, _) = service.platform().await;
    let sees_settings = async |visitor: &Visitor| {
        let page = visitor.get(&service, "/ui/settings").await;
        assert!(
            page.status == 200 && page.text.contains("Your sign-in"),
            "{}",
            page.text
        );
        assert!(
            page.text.contains(env!("CARGO_PKG_VERSION")),
            "{}",
            page.text
        );
        let data = visitor.get(&service, "/ui/settings?as=json").await.text;
        let [on_page, in_data] =
            [page.text, data].map(|text| text.replace("<wbr>", "").contains("SETTLE_DATABASE"));
        assert_eq!(on_page, in_data);
        on_page
    };
    for role in ["read", "support", "operator"] {
        let visitor = of_role(&service, role, None).await;
        for path in ["/ui/team", "/ui/team/keys"] {
            is_refused(&visitor.get(&service, path).await, role);
            is_refused(
                &visitor
                    .post(&service, path, &[("name", "x"), ("role", "read"), REASON])
                    .await,
                role,
            );
        }
        assert!(
            !visitor
                .get(&service, "/ui/")
                .await
                .text
                .contains("/ui/team"),
            "{role} has no link to it"
        );
        assert!(!sees_settings(&visitor).await, "{role}");
    }
    let of_app = of_role(&service, "admin", Some(&app)).await;
    let of_all = of_role(&service, "admin", None).await;
    for visitor in [&of_app, &of_all] {
        assert!(
            visitor
                .get(&service, "/ui/")
                .await
                .text
                .contains("href=\"/ui/team\"")
        );
        assert_eq!(visitor.get(&service, "/ui/team").await.status, 200);
    }
    assert_eq!(
        (sees_settings(&of_app).await, sees_settings(&of_all).await),
        (false, true)
    );
}
