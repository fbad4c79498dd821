//! Moving purchases on the page: previewed first, then carried out as previewed; moving to a new customer needs a tick.

use super::customers::{REASON, customer, has, hidden, signed_in};
use super::visitor::{Answer, Visitor};
use crate::api::edge::Service;
use crate::api::new_store::{STORES, confirmed};
use api::clock::random_uuid;
use serde_json::json;
use system_tests::rows;

/// Submits the form of a move, which only shows a preview, and then the preview's form.
async fn move_as_shown(
    service: &Service,
    visitor: &Visitor,
    page: &str,
    fields: &[(&str, &str)],
) -> Answer {
    let path = format!("{page}/move");
    let shown = visitor.post(service, &path, fields).await;
    assert_eq!(shown.status, 409, "{}", shown.text);
    has(&shown, &["Move purchases?", "Nothing has changed yet"]);
    let preview = hidden(&shown, "preview");
    let ticked = [("preview", preview.as_str()), ("create", "true")];
    visitor
        .post(service, &path, &[fields, &ticked].concat())
        .await
}

#[tokio::test]
async fn a_login_that_nobody_has_needs_a_tick_of_its_own() {
    let service = Service::start("customers-typo").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let visitor = signed_in(&service).await;
    let path = format!("/ui/customers/{app}/{anna}/move");
    let fields = [
        ("from", "app_user_id/u1"),
        ("external_id", "cust-10O5"),
        REASON,
    ];
    let shown = visitor.post(&service, &path, &fields).await;
    assert_eq!(shown.status, 409, "{}", shown.text);
    let parts = [
        "Nobody has the login <strong>cust-10O5</strong>",
        "name=\"create\"",
        "Move 1 purchase<",
    ];
    has(&shown, &parts);
    let preview = hidden(&shown, "preview");
    let unticked = visitor
        .post(
            &service,
            &path,
            &[&fields[..], &[("preview", preview.as_str())]].concat(),
        )
        .await;
    assert_eq!(unticked.status, 409);
    has(&unticked, &["Nothing was changed: nobody has the id"]);
    let of_typo = format!("/v1/apps/{app}/customers?external_id=cust-10O5");
    assert_eq!(
        service.get(&of_typo).await.status,
        404,
        "nobody was created"
    );
    let known = json!({ "external_id": "otto", "app_user_id": "u2" });
    assert_eq!(
        service
            .send_json("PUT", &format!("/v1/apps/{app}/customers"), &known)
            .await
            .status,
        200
    );
    let fields = [("from", "app_user_id/u1"), ("external_id", "otto"), REASON];
    let shown = visitor.post(&service, &path, &fields).await;
    has(&shown, &["The customer who gets them", ">otto<"]);
    assert!(!shown.text.contains("name=\"create\""), "{}", shown.text);
    let stale = visitor
        .post(
            &service,
            &path,
            &[&fields[..], &[("preview", "0123456789abcdef")]].concat(),
        )
        .await;
    assert_eq!(stale.status, 409);
    has(
        &stale,
        &["one of the customers has changed since the preview"],
    );
    let body = json!({ "from": { "app_user_id": "u1" }, "external_id": "otto" });
    let preview = service
        .send_json(
            "POST",
            &format!("/v1/apps/{app}/customers/move/preview"),
            &body,
        )
        .await;
    assert_eq!(
        (preview.status, &preview.body["purchases"]),
        (200, &json!(1)),
        "{}",
        preview.body
    );
    assert_eq!(
        service
            .get(&format!("/v1/apps/{app}/customers?app_user_id=u1"))
            .await
            .body["external_id"],
        "anna"
    );
}

/// Checks that the page of the customer without purchases names the customer who has them now.
async fn check_moved(service: &Service, visitor: &Visitor, page: &str) {
    let shown = visitor.get(service, &format!("{page}?done=move")).await;
    has(
        &shown,
        &[
            "The purchases were moved",
            "Purchases moved to",
            ">otto<",
            "Moved by admin token",
            "ticket 4711",
        ],
    );
    has(
        &shown,
        &[
            "The purchases moved to <a",
            "Undo under Transfers",
            "go back to anna, and otto loses them",
        ],
    );
    has(
        &shown,
        &[
            "They <a href=\"#transfers-title\">moved to another customer",
            "Bring purchases here",
            "Store&#39;s purchase id",
        ],
    );
    assert!(
        !shown.text.contains("No purchase is known") && !shown.text.contains("Move purchases"),
        "{}",
        shown.text
    );
}

#[tokio::test]
async fn an_app_with_two_stores_moves_purchases_by_their_ids() {
    let service = Service::knowing("customers-two-stores", &STORES).await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let platforms = format!("/v1/apps/{app}/platforms");
    let created = service
        .send_json("POST", &platforms, &confirmed("one"))
        .await;
    assert_eq!(created.status, 201, "{}", created.body);
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{anna}");
    let shown = visitor.get(&service, &page).await;
    has(&shown, &["value=\"receipt_id/receipt-1\""]);
    assert_eq!(hidden(&shown, "receipt_id"), "receipt-1");
    assert!(!shown.text.contains("app_user_id/u1"), "{}", shown.text);
    let fields = [
        ("from", "receipt_id/receipt-1"),
        ("external_id", "otto"),
        REASON,
    ];
    let moved = move_as_shown(&service, &visitor, &page, &fields).await;
    assert_eq!(moved.status, 303, "{}", moved.text);
}

#[tokio::test]
async fn purchases_move_to_a_customer_by_a_form_with_a_reason() {
    let service = Service::start("customers-move").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{anna}");
    has(
        &visitor.get(&service, &page).await,
        &[
            "Move purchases",
            "value=\"external_id/anna\"",
            "value=\"app_user_id/u1\"",
        ],
    );
    let wrong = visitor
        .post(
            &service,
            &format!("{page}/move"),
            &[("from", "app_user_id/u1"), REASON],
        )
        .await;
    assert_eq!(wrong.status, 400);
    has(&wrong, &["id=\"wrong-external_id\""]);
    let fields = [("from", "app_user_id/u1"), ("external_id", "otto"), REASON];
    let moved = move_as_shown(&service, &visitor, &page, &fields).await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (303, format!("{page}?done=move").as_str()),
        "{}",
        moved.text
    );
    check_moved(&service, &visitor, &page).await;
    let empty = [("external_id", "anna"), ("receipt_id", " "), REASON];
    has(
        &visitor
            .post(&service, &format!("{page}/move"), &empty)
            .await,
        &["id=\"wrong-receipt_id\""],
    );
    let gold =
        json!({ "data": { "entitlements": [{ "name": "Gold" }], "current_term_length": "P1M" } });
    service.raw(&format!("UPDATE events SET body = '{gold}'"));
    let keys = "json_array((SELECT collapse_key FROM purchases))";
    service.raw(&format!(
        "UPDATE transfers SET moved = json_set(moved, '$.announced', {keys})"
    ));
    let shown = visitor.get(&service, &page).await;
    has(
        &shown,
        &[
            ">Gold monthly</a> moved to <a",
            "Gold monthly goes back to anna, and otto loses it at once",
        ],
    );
    assert_eq!(
        service
            .get(&format!("/v1/apps/{app}/customers?app_user_id=u1"))
            .await
            .body["external_id"],
        "otto"
    );
    let back = [("receipt_id", "receipt-1"), ("external_id", "anna"), REASON];
    let brought = move_as_shown(&service, &visitor, &page, &back).await;
    assert_eq!(
        (brought.status, brought.header("location")),
        (303, format!("{page}?done=move").as_str())
    );
    assert_eq!(
        service
            .get(&format!("/v1/apps/{app}/customers?app_user_id=u1"))
            .await
            .body["external_id"],
        "anna"
    );
    let reader = service
        .send_json("POST", "/v1/keys", &json!({ "name": "r", "role": "read" }))
        .await;
    let reader = Visitor::with_key(&service, reader.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    let shown = reader.get(&service, &page).await;
    assert!(
        !shown.text.contains("Move purchases") && !shown.text.contains("Undo the transfer"),
        "{}",
        shown.text
    );
}

#[tokio::test]
async fn what_a_destination_lacks_is_on_the_page_of_its_customer() {
    let service = Service::start("customers-moved-events").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let hook = json!({ "kind": "webhook", "name": "Backend", "url": "https://example.com/hooks", "events": ["*"] });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await;
    let hook = hook.body["id"].as_str().expect("an id").to_owned();
    let delivery = rows::deliveries()
        .of_each("events")
        .text("id", random_uuid())
        .text("destination_id", &hook);
    let delivery = delivery
        .sql("event_id", "id")
        .sql("collapse_key", "collapse_key")
        .sql("attempts", 2);
    service.raw(&delivery.text("last_error", "the endpoint answered 500"));
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{anna}");
    let fields = [("from", "app_user_id/u1"), ("external_id", "otto"), REASON];
    assert_eq!(
        move_as_shown(&service, &visitor, &page, &fields)
            .await
            .status,
        303
    );
    let keys = "json_array((SELECT collapse_key FROM purchases))";
    service.raw(&format!(
        "UPDATE transfers SET moved = json_set(moved, '$.announced', {keys})"
    ));
    has(
        &visitor.get(&service, &page).await,
        &["Backend does not have 1 event of this customer, since <time"],
    );
    let otto = service
        .get(&format!("/v1/apps/{app}/customers?app_user_id=u1"))
        .await
        .body["user_id"]
        .clone();
    let shown = visitor
        .get(
            &service,
            &format!("/ui/customers/{app}/{}", otto.as_str().expect("an id")),
        )
        .await;
    assert!(!shown.text.contains("does not have"), "{}", shown.text);
}

#[tokio::test]
async fn a_failing_destination_is_named_before_an_event_is_pending() {
    let service = Service::start("customers-late").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let hook = json!({ "kind": "webhook", "name": "Backend", "url": "https://example.com/hooks", "events": ["*"] });
    service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await;
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{anna}");
    let works = visitor.get(&service, &page).await;
    assert!(!works.text.contains("Backend has been"), "{}", works.text);
    service.raw("UPDATE destinations SET state = 'failing'");
    let failing = "Backend has been failing since <time";
    let late = "reaches it when it works again. settle sends it by itself.";
    has(
        &visitor.get(&service, &page).await,
        &[
            failing,
            &format!("what changes for this customer now {late}"),
        ],
    );
    let fields = [("from", "app_user_id/u1"), ("external_id", "otto"), REASON];
    let shown = visitor
        .post(&service, &format!("{page}/move"), &fields)
        .await;
    has(
        &shown,
        &["Move purchases?", failing, &format!("this change {late}")],
    );
}

#[tokio::test]
async fn a_transfer_is_undone_once_and_its_undo_is_not_offered() {
    let service = Service::start("customers-undo-once").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{anna}");
    let fields = [("from", "app_user_id/u1"), ("external_id", "otto"), REASON];
    let moved = move_as_shown(&service, &visitor, &page, &fields).await;
    assert_eq!(moved.status, 303);
    let otto = service
        .get(&format!("/v1/apps/{app}/customers?app_user_id=u1"))
        .await
        .body["user_id"]
        .clone();
    let otto = format!("/ui/customers/{app}/{}", otto.as_str().expect("an id"));
    let shown = visitor.get(&service, &page).await;
    has(
        &shown,
        &["Undo the transfer of <time", "Undo under Transfers"],
    );
    let undo = shown.text.split("action=\"/ui/transfers/").nth(1);
    let undo = undo.and_then(|rest| rest.split('"').next());
    let undo = format!(
        "/ui/transfers/{}",
        undo.expect("a form").replace("&#38;", "&")
    );
    assert_eq!(visitor.post(&service, &undo, &[REASON]).await.status, 303);
    for page in [&page, &otto] {
        let shown = visitor.get(&service, page).await;
        has(&shown, &["A transfer was undone", "Transfers</h2>"]);
        let is_offered = ["Undo the transfer", "Undo under Transfers"]
            .iter()
            .any(|part| shown.text.contains(part));
        assert!(!is_offered, "{page}: {}", shown.text);
    }
}

#[tokio::test]
async fn what_was_paid_before_a_move_stays_with_the_payer() {
    let service = Service::start("customers-payer").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let payment = rows::payments()
        .of_each("purchases")
        .sql("collapse_key", "collapse_key")
        .sql("app_id", "app_id");
    service.raw(
        &payment
            .text("event_id", random_uuid())
            .text("sku", "gold.monthly"),
    );
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{anna}");
    let fields = [("from", "app_user_id/u1"), ("external_id", "otto"), REASON];
    assert_eq!(
        move_as_shown(&service, &visitor, &page, &fields)
            .await
            .status,
        303
    );
    let keys = "json_array((SELECT collapse_key FROM purchases))";
    service.raw(&format!(
        "UPDATE transfers SET moved = json_set(moved, '$.announced', {keys})"
    ));
    let shown = visitor.get(&service, &page).await;
    has(
        &shown,
        &[
            "9.99 USD",
            "before the move to <a",
            "Paid before the purchases moved away: 9.99 USD (list price",
        ],
    );
    let otto = service
        .get(&format!("/v1/apps/{app}/customers?app_user_id=u1"))
        .await
        .body["user_id"]
        .clone();
    let shown = visitor
        .get(
            &service,
            &format!("/ui/customers/{app}/{}", otto.as_str().expect("an id")),
        )
        .await;
    has(&shown, &["9.99 USD", "before the move from <a", &page]);
    assert!(!shown.text.contains("moved away"), "{}", shown.text);
}
