//! The end of sessions.

use super::{actors, key, leads_to_sign_in, page};
use crate::api::edge::{Service, TOKEN};
use crate::api::pages::visitor::Visitor;
use serde_json::json;

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
