//! Naming a customer like another one merges the two; and how a merge is undone.

use super::{REASON, customer, has, hidden, signed_in};
use crate::api::edge::Service;
use serde_json::{Value, json};

/// Adds a second customer of the store, without an external id, beside the one of `customer`; returns the new
/// customer's page.
async fn unnamed(service: &Service, app: &str, store: &str) -> String {
    let body = json!({ "external_id": "nobody", "app_user_id": store });
    let named = service
        .send_json("PUT", &format!("/v1/apps/{app}/customers"), &body)
        .await;
    service.raw("UPDATE users SET external_id = NULL WHERE external_id = 'nobody'");
    format!(
        "/ui/customers/{app}/{}",
        named.body["user_id"].as_str().expect("an id")
    )
}

#[tokio::test]
async fn a_merge_by_name_is_shown_first_and_can_be_undone() {
    let service = Service::start("customers-merge").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let page = unnamed(&service, &app, "u2").await;
    let visitor = signed_in(&service).await;
    let fields = [("app_user_id", "u2"), ("external_id", "anna"), REASON];
    let shown = visitor.post(&service, &page, &fields).await;
    assert_eq!(shown.status, 409, "{}", shown.text);
    has(
        &shown,
        &[
            "Merge two customers?",
            "is the id of another customer with 1 purchase",
            "Merge the two customers, with 1 purchase in all?",
            "value=\"ticket 4711\"",
            &format!("/ui/customers/{app}/{anna}"),
        ],
    );
    let other = service
        .get(&format!("/v1/apps/{app}/customers?app_user_id=u2"))
        .await
        .body;
    assert_eq!(other["external_id"], Value::Null, "nothing is changed");
    let preview = hidden(&shown, "preview");
    // The other customer gets another purchase: the preview no longer matches the result.
    service.seed(&["receipt-2"]).await;
    service.raw(&format!(
        "UPDATE purchases SET user_id = '{anna}', app_user_id = 'u1'"
    ));
    let confirmed = |preview: &str| {
        let fields = [
            ("app_user_id", "u2"),
            ("external_id", "anna"),
            ("preview", preview),
            REASON,
        ];
        fields.map(|(name, value)| (name, value.to_owned()))
    };
    let post = async |preview: &str, reason: bool| {
        let fields = confirmed(preview);
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let until = if reason {
            fields.len()
        } else {
            fields.len() - 1
        };
        visitor.post(&service, &page, &fields[..until]).await
    };
    let stale = post(&preview, true).await;
    assert_eq!(stale.status, 409);
    has(
        &stale,
        &["changed since the preview", "with 2 purchases in all"],
    );
    let preview = hidden(&stale, "preview");
    let unreasoned = post(&preview, false).await;
    assert_eq!(unreasoned.status, 400);
    has(
        &unreasoned,
        &["Merge two customers?", "id=\"wrong-reason\""],
    );
    let merged = post(&preview, true).await;
    let target = format!("/ui/customers/{app}/{anna}");
    assert_eq!(
        (merged.status, merged.header("location")),
        (303, format!("{target}?done=named").as_str())
    );
}

#[tokio::test]
async fn a_merge_is_undone_on_the_page_by_whoever_sees_its_reason() {
    let service = Service::start("customers-undo").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let page = unnamed(&service, &app, "u2").await;
    let by_store = format!("/v1/apps/{app}/customers?app_user_id=u2");
    let visitor = signed_in(&service).await;
    let fields = [("app_user_id", "u2"), ("external_id", "anna"), REASON];
    let preview = hidden(&visitor.post(&service, &page, &fields).await, "preview");
    let fields = [
        ("app_user_id", "u2"),
        ("external_id", "anna"),
        ("preview", preview.as_str()),
        REASON,
    ];
    assert_eq!(visitor.post(&service, &page, &fields).await.status, 303);
    let target = format!("/ui/customers/{app}/{anna}");
    let shown = visitor.get(&service, &target).await;
    has(
        &shown,
        &[
            "Merged: the customer was given the id of the other customer by admin token",
            "ticket 4711",
            ">Undo the transfer of <time",
        ],
    );
    let undo = shown
        .text
        .split("action=\"/ui/transfers/")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let undo = format!(
        "/ui/transfers/{}",
        undo.expect("a form").replace("&#38;", "&")
    );
    let undone = visitor.post(&service, &undo, &[REASON]).await;
    assert_eq!(
        (undone.status, undone.header("location")),
        (303, format!("{target}?done=undone").as_str()),
        "{}",
        undone.text
    );
    let apart = service.get(&by_store).await.body;
    assert_eq!(
        (
            apart["external_id"].clone(),
            page.ends_with(apart["user_id"].as_str().expect("an id"))
        ),
        (Value::Null, true)
    );
    let again = visitor.post(&service, &undo, &[REASON]).await;
    assert_eq!(again.status, 409);
    has(&again, &["Nothing was changed", "already undone by"]);
    let shown = visitor
        .get(&service, &format!("{target}?done=undone"))
        .await;
    has(
        &shown,
        &[
            "undone",
            "A transfer was undone by admin token",
            "belong to the customer without a login again.",
        ],
    );
    service.raw("UPDATE transfers SET created_at = created_at - 600000000");
    let later = visitor
        .get(&service, &format!("{target}?done=undone"))
        .await;
    assert!(
        !later.text.contains("The transfer was undone"),
        "{}",
        later.text
    );
}
