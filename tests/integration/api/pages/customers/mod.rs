//! Customers on the page: they are found by any id, without an id of theirs in a URL; they are named; and the page
//! explains why they did not get an event.

mod finding;
mod merging;
mod naming;
mod payments;
mod support;
mod unsent;

use super::visitor::{Answer, Visitor};
use crate::api::edge::{Service, TOKEN};
use serde_json::json;

/// A text that is a script if it is not escaped.
const HOSTILE: &str = "\"'><script>alert(1)</script>";
pub const REASON: (&str, &str) = ("reason", "ticket 4711");

pub async fn signed_in(service: &Service) -> Visitor {
    Visitor::with_key(service, TOKEN).await.expect("a sign-in")
}

pub fn has(answer: &Answer, parts: &[&str]) {
    for part in parts {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
}

/// Creates a customer with a settled purchase and an event; returns the ids of the app and of the user.
pub async fn customer(service: &Service, external: &str, store: &str) -> (String, String) {
    let (app, _) = service.platform().await;
    let body = json!({ "external_id": external, "app_user_id": store });
    let named = service
        .send_json("PUT", &format!("/v1/apps/{app}/customers"), &body)
        .await;
    assert_eq!(named.status, 200, "{}", named.body);
    let user = named.body["user_id"].as_str().expect("an id").to_owned();
    service.seed(&["receipt-1"]).await;
    service.seed_events();
    service.raw(&format!(
        "UPDATE purchases SET user_id = '{user}', app_user_id = '{store}'; UPDATE events SET user_id = '{user}'"
    ));
    (app, user)
}

/// Returns the value of a form's hidden field.
pub fn hidden(answer: &Answer, name: &str) -> String {
    let field = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
    let rest = answer
        .text
        .split(&field)
        .nth(1)
        .unwrap_or_else(|| panic!("no field {name}: {}", answer.text));
    rest.split('"').next().unwrap_or_default().to_owned()
}
