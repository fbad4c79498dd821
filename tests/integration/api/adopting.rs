//! Adoption of earlier purchases, resends of what later destinations never received, and a platform's settings, over
//! HTTP.

use super::edge::{Answer, Service};
use serde_json::{Value, json};
use system_tests::wait;
use system_tests::world::SOON;
use workflows::signal::Signal;

#[tokio::test]
async fn an_import_is_accepted_once_signalled_and_counted() {
    let service = Service::start("import").await;
    let (app, platform) = service.platform().await;
    service.seed(&["known"]).await;
    let path = format!("/v1/platforms/{platform}/import");
    let body = json!({ "purchases": [
        { "receipt_id": "r1", "app_user_id": "u1", "external_id": "anna" },
        { "receipt_id": "known", "app_user_id": "u1", "external_id": "otto" },
    ] });
    let first = service.send_json("POST", &path, &body).await;
    assert_eq!(first.status, 202, "{}", first.body);
    assert_eq!(
        (
            &first.body["accepted"],
            &first.body["known"],
            &first.body["waiting"]
        ),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(
        first.body["unnamed"][0]["field"],
        "purchases[1].external_id"
    );
    assert!(
        first.body["unnamed"][0]["detail"]
            .to_string()
            .contains("`anna`"),
        "{}",
        first.body
    );
    let key = domain::CollapseKey::of(platform, "r1");
    wait::until(SOON, "the import's signal", async || {
        match &service.engine.signals()[..] {
            [(listed, Signal::Notified(notified))]
                if *listed == key && !notified.quiet.is_zero() =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let again = service.send_json("POST", &path, &body).await;
    assert_eq!(
        (
            &again.body["accepted"],
            &again.body["known"],
            &again.body["waiting"]
        ),
        (&json!(0), &json!(1), &json!(1))
    );
    let state = service.get(&path).await.body;
    assert_eq!(
        state,
        json!({ "waiting": 1, "settled": 0, "no_change": 0, "given_up": 0 })
    );
    let anna = service
        .get(&format!("/v1/apps/{app}/customers?app_user_id=u1"))
        .await
        .body;
    assert_eq!(anna["external_id"], "anna");
    let listed = service.get("/v1/notifications/import%2Fr1").await.body;
    assert_eq!(
        (
            &listed["notifications"][0]["type"],
            &listed["notifications"][0]["waiting_for"]
        ),
        (&json!("IMPORTED"), &json!("window"))
    );
}

#[tokio::test]
async fn a_receipt_is_imported_up_to_the_limit_of_the_index() {
    let service = Service::start("import-long").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}/import");
    let (named, longest) = ("r".repeat(990), "r".repeat(1000));
    let customer = "u".repeat(1000);
    let purchases =
        [&named, &longest].map(|receipt| json!({ "receipt_id": receipt, "app_user_id": customer }));
    let answer = service
        .send_json("POST", &path, &json!({ "purchases": purchases }))
        .await;
    assert_eq!(
        (answer.status, &answer.body["accepted"]),
        (202, &json!(2)),
        "{}",
        answer.body
    );
    let of_key = domain::CollapseKey::of(platform, &longest);
    for message in [format!("import/{named}"), format!("import/{of_key}")] {
        let rows = service.count(&format!("notifications WHERE message_id = '{message}'"));
        assert_eq!(rows, 1, "{message}");
    }
    let longer = json!({ "receipt_id": "r".repeat(1001), "app_user_id": "u" });
    let refused = service
        .send_json("POST", &path, &json!({ "purchases": [longer] }))
        .await;
    assert_eq!(refused.wrong_fields(), ["purchases[0].receipt_id"]);
}

#[tokio::test]
async fn each_wrong_field_of_an_import_is_named_with_its_place() {
    let service = Service::start("import-fields").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}/import");
    let right = json!({ "receipt_id": "r1", "app_user_id": "u1" });
    for (wrong, field) in [
        (json!({ "app_user_id": "u" }), "purchases[1].receipt_id"),
        (json!({ "receipt_id": "r" }), "purchases[1].app_user_id"),
        (
            json!({ "receipt_id": 1, "app_user_id": "u" }),
            "purchases[1].receipt_id",
        ),
        (
            json!({ "receipt_id": "\u{fc}".repeat(501), "app_user_id": "u" }),
            "purchases[1].receipt_id",
        ),
        (
            json!({ "receipt_id": "r", "app_user_id": "x".repeat(1001) }),
            "purchases[1].app_user_id",
        ),
        (
            json!({ "receipt_id": "r", "app_user_id": "u", "external_id": "" }),
            "purchases[1].external_id",
        ),
        (
            json!({ "receipt_id": "r", "app_user_id": "u", "user": "" }),
            "purchases[1].user",
        ),
        (json!("r"), "purchases[1]"),
    ] {
        let answer = service
            .send_json("POST", &path, &json!({ "purchases": [right, wrong] }))
            .await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec![field]),
            "{}",
            answer.body
        );
    }
    let many: Vec<Value> = (0..501).map(|_| right.clone()).collect();
    for body in [
        json!({}),
        json!({ "purchases": {} }),
        json!({ "purchases": many }),
    ] {
        let answer = service.send_json("POST", &path, &body).await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec!["purchases"]),
            "{}",
            answer.body
        );
    }
    assert_eq!(
        service.get(&path).await.body["waiting"],
        0,
        "what was refused is not half accepted"
    );
}

async fn destination(service: &Service, app: &str, events: &[&str]) -> Value {
    let body = json!({ "kind": "webhook", "name": events[0], "url": "https://example.com/hooks", "events": events });
    service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &body)
        .await
        .body["id"]
        .clone()
}

/// Resends what a destination never received, with these additional fields.
async fn resend_missing(service: &Service, to: &Value, mut fields: Value) -> Answer {
    (fields["missing"], fields["destination_id"]) = (json!(true), to.clone());
    service.send_json("POST", "/v1/resends", &fields).await
}

#[tokio::test]
async fn what_is_missing_is_queued_page_by_page() {
    let service = Service::start("missing").await;
    let (app, _) = service.platform().await;
    service.seed(&["r1", "r2", "r3"]).await;
    service.seed_events();
    let to = destination(&service, &app, &["purchase.updated"]).await;
    let dry = resend_missing(&service, &to, json!({ "dry_run": true })).await;
    let all = json!({ "checked": 3, "pending": 3, "skipped": {}, "next_cursor": null });
    assert_eq!((dry.status, &dry.body), (200, &all));
    assert_eq!(service.engine.supervised(), []);
    let first = resend_missing(&service, &to, json!({ "limit": 2, "run": "load" }))
        .await
        .body;
    assert_eq!(
        (&first["checked"], &first["pending"]),
        (&json!(2), &json!(2))
    );
    let repeated = resend_missing(&service, &to, json!({ "limit": 2, "run": "load" }))
        .await
        .body;
    assert_eq!(repeated, first, "its answer was lost");
    assert_eq!(
        service.raw_number("SELECT COUNT(*) AS value FROM deliveries"),
        2,
        "nothing is queued twice"
    );
    let cursor = first["next_cursor"].clone();
    let rest = resend_missing(
        &service,
        &to,
        json!({ "limit": 2, "run": "load", "cursor": cursor }),
    )
    .await
    .body;
    assert_eq!(
        rest,
        json!({ "checked": 1, "pending": 1, "skipped": {}, "next_cursor": null })
    );
    let woken: Vec<Value> = service
        .engine
        .supervised()
        .into_iter()
        .map(|id| json!(id))
        .collect();
    assert_eq!(woken, vec![to.clone(); 3], "once for each request");
    let again = resend_missing(&service, &to, json!({})).await.body;
    assert_eq!(
        (&again["checked"], &again["pending"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(
        (
            service.engine.supervised().len(),
            service.engine.signals().len()
        ),
        (4, 0),
        "it may have lost its signal"
    );
}

#[tokio::test]
async fn what_is_missing_while_the_engine_is_down_is_still_pending() {
    let service = Service::start("missing-down").await;
    let (app, _) = service.platform().await;
    service.seed(&["r1"]).await;
    service.seed_events();
    let to = destination(&service, &app, &["*"]).await;
    service.engine.set_down(true);
    assert_eq!(
        resend_missing(&service, &to, json!({})).await.body["pending"],
        1
    );
    let deliveries = service.get("/v1/deliveries?status=pending").await.body;
    assert_eq!(
        deliveries["items"].as_array().map(Vec::len),
        Some(1),
        "{deliveries}"
    );
}

#[tokio::test]
async fn what_is_missing_needs_a_destination_that_chose_its_type() {
    let service = Service::start("missing-refused").await;
    let (app, _) = service.platform().await;
    let to = destination(&service, &app, &["user.*"]).await;
    let refused = resend_missing(&service, &to, json!({})).await;
    assert_eq!(
        (refused.status, refused.media.as_str()),
        (422, "application/problem+json"),
        "{}",
        refused.body
    );
    assert!(
        refused.body["detail"]
            .to_string()
            .contains("choose it first"),
        "{}",
        refused.body
    );
    let to = destination(&service, &app, &["*"]).await;
    for (field, value) in [
        ("limit", json!(0)),
        ("limit", json!(201)),
        ("cursor", json!("x")),
        ("dry_run", json!("yes")),
    ] {
        let answer = resend_missing(&service, &to, json!({ field: value })).await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec![field]),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_platform_shows_how_it_verifies_and_takes_settings() {
    let service = Service::start("verification").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    let shown = service.get(&path).await.body;
    assert_eq!(
        (&shown["product_ref"], &shown["flush_on_revoke"]),
        (&json!("term"), &json!(false))
    );
    assert_eq!(shown["verification"], json!({ "state": "off" }));
    let patch =
        json!({ "shared_secret": "2:sesame", "product_ref": "parent", "flush_on_revoke": true });
    let changed = service.send_json("PATCH", &path, &patch).await.body;
    assert_eq!(
        (&changed["product_ref"], &changed["flush_on_revoke"]),
        (&json!("parent"), &json!(true))
    );
    assert_eq!(changed["verification"], json!({ "state": "on" }));
    service.raw("UPDATE platforms SET secret_refused_at = 1000000");
    let refused = service.get(&path).await.body["verification"].clone();
    assert_eq!(
        refused,
        json!({ "state": "refused", "since": "1970-01-01T00:00:01.000000Z" })
    );
    service.seed(&["r1"]).await;
    let mended = service
        .send_json("PATCH", &path, &json!({ "shared_secret": "2:open" }))
        .await
        .body;
    assert_eq!(
        (&mended["verification"], service.woken()),
        (&json!({ "state": "on" }), 1)
    );
    assert_eq!(shown["unknown_receipts"], "give_up");
    let believing = service
        .send_json("PATCH", &path, &json!({ "unknown_receipts": "believe" }))
        .await
        .body;
    assert_eq!(believing["unknown_receipts"], "believe");
    assert_eq!(
        service
            .send_json("PATCH", &path, &json!({ "name": "other" }))
            .await
            .body["unknown_receipts"],
        "believe"
    );
    for (field, value) in [
        ("product_ref", json!("sku")),
        ("product_ref", json!(1)),
        ("flush_on_revoke", json!("yes")),
        ("unknown_receipts", json!("trust")),
        ("unknown_receipts", json!(true)),
    ] {
        let answer = service
            .send_json("PATCH", &path, &json!({ field: value }))
            .await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec![field]),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn parked_purchases_are_retried_on_request() {
    let service = Service::start("parked").await;
    let (_, platform) = service.platform().await;
    service.seed(&["r1", "r2"]).await;
    service.raw("UPDATE purchases SET waits_for = 'parked' WHERE receipt_id = 'r1'");
    let answer = service
        .send_json(
            "POST",
            &format!("/v1/platforms/{platform}/retry-parked"),
            &Value::Null,
        )
        .await;
    assert_eq!(
        (answer.status, &answer.body, service.woken()),
        (202, &json!({ "purchases": 1 }), 1)
    );
}
