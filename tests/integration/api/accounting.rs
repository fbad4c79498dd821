//! Explanations, checks and resends over HTTP.

use super::edge::{Service, accept};
use domain::{CollapseKey, DestinationId};
use serde_json::{Value, json};
use storage::Handling;
use workflows::failing::FailingActivity;
use workflows::signal::DestinationSignal;

/// Returns a service with a destination and purchases in revision 1, each with its settled notification and an event
/// without deliveries.
async fn with_purchases(
    name: &str,
    receipts: &[&str],
) -> (Service, String, DestinationId, Vec<CollapseKey>) {
    let service = Service::start(name).await;
    let (app, platform) = service.platform().await;
    for receipt in receipts {
        accept(&service.store, platform, receipt, Handling::Open).await;
    }
    let keys = service.seed(receipts).await;
    service.raw(
        "INSERT INTO events (id, collapse_key, app_id, event_type, revision, environment, body, created_at)
             SELECT collapse_key, collapse_key, app_id, 'purchase.updated', 1, 'production',
             '{\"attributes\":{\"coalesced\":1,\"state_digest\":\"ab\"},\"data\":{}}', 1 FROM purchases;
         UPDATE notifications SET outcome = 'settled', revision = 1, finished_at = accepted_at;
         UPDATE purchases SET digest = 'ab'",
    );
    let body = json!({ "kind": "webhook", "name": "hook", "url": "https://example.com/hooks" });
    let created = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &body)
        .await;
    let destination = created.body["id"].as_str().and_then(|id| id.parse().ok());
    (
        service,
        app,
        destination.unwrap_or_else(|| panic!("{}", created.body)),
        keys,
    )
}

/// Returns all sentences of an explanation, parents before children.
fn sentences(node: &Value) -> Vec<String> {
    let own = node["summary"].as_str().unwrap_or_default().to_owned();
    let then = node["then"].as_array().into_iter().flatten();
    std::iter::once(own)
        .chain(then.flat_map(sentences))
        .collect()
}

fn has_sentence(node: &Value, part: &str) -> bool {
    sentences(node)
        .iter()
        .any(|sentence| sentence.contains(part))
}

#[tokio::test]
async fn what_fails_is_explained() {
    let (service, _, hook, keys) = with_purchases("failing", &["r1"]).await;
    let failing = FailingActivity {
        activity: "record".to_owned(),
        attempts: 7,
        why: "a constraint of the database forbids the change".to_owned(),
        next_at: None,
    };
    let before = service
        .get(&format!("/v1/explain/purchases/{}", keys[0]))
        .await
        .body;
    assert!(!has_sentence(&before, "and is retried"), "{before}");
    let fails = |id: String| {
        *service.engine.failing.lock().expect("no test panicked") =
            Some((id, vec![failing.clone()]))
    };
    fails(format!("purchase/{}", keys[0]));
    let sentence = "recording what the store answered failed 7 times and is retried";
    let message = service
        .get(&format!("/v1/purchases/{}/notifications", keys[0]))
        .await
        .body;
    let message = message["items"][0]["message_id"]
        .as_str()
        .expect("a message")
        .to_owned();
    for path in [
        format!("purchases/{}", keys[0]),
        format!("notifications/{message}"),
    ] {
        let explained = service.get(&format!("/v1/explain/{path}")).await.body;
        assert!(
            has_sentence(&explained, sentence) && has_sentence(&explained, &failing.why),
            "{explained}"
        );
        assert_eq!(
            (
                &explained["then"][0]["what"],
                &explained["then"][0]["attempts"]
            ),
            (&json!("failing"), &json!(7))
        );
    }
    fails(format!("stream/{hook}"));
    let explained = service
        .get(&format!("/v1/explain/destinations/{hook}"))
        .await
        .body;
    assert!(has_sentence(&explained, sentence), "{explained}");
    service.engine.set_down(true);
    let explained = service
        .get(&format!("/v1/explain/destinations/{hook}"))
        .await;
    assert!(
        explained.status == 200 && !has_sentence(&explained.body, sentence),
        "{}",
        explained.body
    );
}

#[tokio::test]
async fn explanations_are_sentences_and_data() {
    let (service, _, hook, keys) = with_purchases("explain", &["r1"]).await;
    let purchase = service
        .get(&format!("/v1/explain/purchases/{}", keys[0]))
        .await;
    assert_eq!(
        (purchase.status, purchase.body["what"].as_str()),
        (200, Some("purchase")),
        "{}",
        purchase.body
    );
    assert!(
        has_sentence(&purchase.body, "settled in revision 1")
            && has_sentence(&purchase.body, "was created later"),
        "{}",
        purchase.body
    );
    assert!(
        !purchase.body.to_string().contains("\"data\":{"),
        "no body is in an explanation"
    );
    service.raw("UPDATE events SET causes = '[{\"kind\":\"customer_id\",\"by\":\"Sue\"},{\"kind\":\"login\"}]'");
    let caused = service
        .get(&format!("/v1/explain/purchases/{}", keys[0]))
        .await
        .body;
    assert!(
        has_sentence(
            &caused,
            "revision 1: 1 notification; customer id set by Sue; login"
        ),
        "{caused}"
    );
    let revision = caused["then"]
        .as_array()
        .and_then(|then| then.iter().find(|node| node["what"] == "revision"));
    let causes = json!([{ "kind": "customer_id", "by": "Sue" }, { "kind": "login" }]);
    assert_eq!(revision.map(|node| &node["causes"]), Some(&causes));
    let event = service
        .get(&format!("/v1/explain/events/{}", keys[0]))
        .await
        .body;
    assert_eq!(
        (&event["what"], &event["id"]),
        (&json!("event"), &json!(keys[0]))
    );
    let not_announced = event["then"]
        .as_array()
        .and_then(|then| then.iter().find(|node| node["what"] == "not_sent"));
    assert_eq!(
        not_announced.map(|node| (&node["why"], &node["destination_id"])),
        Some((&json!("created_later"), &json!(hook)))
    );
    let before = service
        .get(&format!("/v1/purchases/{}/notifications", keys[0]))
        .await
        .body;
    let message = before["items"][0]["message_id"]
        .as_str()
        .expect("a message")
        .to_owned();
    let message = service
        .get(&format!("/v1/explain/notifications/{message}"))
        .await
        .body;
    assert!(
        has_sentence(&message, "SUBSCRIPTION_RENEWED: settled in revision 1"),
        "{message}"
    );
    let destination = service
        .get(&format!("/v1/explain/destinations/{hook}"))
        .await
        .body;
    assert!(
        has_sentence(&destination, "no event sent yet")
            && has_sentence(&destination, "no pending deliveries"),
        "{destination}"
    );
    for nobody in [
        "notifications/nobody",
        "purchases/6b275a67-0bbb-4f3a-99b9-6600bf711993",
        "events/x",
    ] {
        assert_eq!(
            service.get(&format!("/v1/explain/{nobody}")).await.status,
            404,
            "{nobody}"
        );
    }
}

#[tokio::test]
async fn a_check_names_breaches_at_once_or_page_by_page() {
    let (service, _, _, keys) = with_purchases("check", &["r1", "r2"]).await;
    let whole = service.get("/v1/check").await.body;
    assert_eq!(
        (&whole["violations"], &whole["next_cursor"]),
        (&json!(0), &Value::Null),
        "{whole}"
    );
    service.raw("DELETE FROM notifications WHERE receipt_id = 'r1'");
    let (mut query, mut checked, mut broken) = ("?limit=1".to_owned(), 0, Vec::new());
    loop {
        let page = service.get(&format!("/v1/check{query}")).await.body;
        checked += page["checked"].as_i64().expect("a number");
        let rules = page["rules"].as_array().expect("rules").clone();
        assert_eq!(rules.len(), storage::rules().len());
        broken.extend(rules.into_iter().filter(|rule| rule["violations"] != 0));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=1&cursor={cursor}");
    }
    let names: Vec<_> = broken
        .iter()
        .filter_map(|rule| rule["name"].as_str())
        .collect();
    assert_eq!(
        (checked, names),
        (8, vec!["accepted_is_stored", "coalesced_adds_up"]),
        "{broken:?}"
    );
    assert_eq!(
        broken[0]["examples"],
        json!([format!("notification 1 of purchase {}", keys[0])])
    );
    assert_eq!(broken[1]["examples"], json!([keys[0]]));
    for query in ["?cursor=x", "?limit=0", "?limit=x"] {
        assert_eq!(
            service.get(&format!("/v1/check{query}")).await.status,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_resend_has_exactly_one_selection() {
    let (service, _, hook, keys) = with_purchases("again", &["r1", "r2"]).await;
    let resend = async |body: Value| service.send_json("POST", "/v1/resends", &body).await;
    let key = keys[0];
    for wrong in [
        json!({}),
        json!({ "event_id": key, "failed": true }),
        json!({ "from": "2026-01-01T00:00:00Z" }),
        json!({ "from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z" }),
        json!({ "failed": false }),
        json!({ "failed": true, "limit": 0 }),
        json!({ "failed": true, "behind": true, "destination_id": hook }),
        json!({ "all": true, "collapse_keys": [], "destination_id": hook }),
        json!({ "collapse_keys": ["x"], "destination_id": hook }),
        json!({ "collapse_keys": vec![key; 501], "destination_id": hook }),
        json!({ "behind": true, "destination_id": hook, "cursor": "x" }),
        json!({ "everything": true }),
    ] {
        assert_eq!(resend(wrong.clone()).await.status, 400, "{wrong}");
    }
    for states in [
        json!({ "collapse_keys": [key] }),
        json!({ "behind": true }),
        json!({ "missing": true }),
        json!({ "all": true }),
    ] {
        let answer = resend(states.clone()).await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec!["destination_id"]),
            "{states}: {}",
            answer.body
        );
    }
    let now = resend(json!({ "missing": true, "destination_id": hook, "now": true })).await;
    assert_eq!(
        (now.status, now.wrong_fields()),
        (400, vec!["now"]),
        "{}",
        now.body
    );
    assert_eq!(resend(json!({ "collapse_key": hook })).await.status, 404);
    let dry = resend(json!({ "collapse_key": key, "dry_run": true }))
        .await
        .body;
    assert_eq!(
        (&dry["pending"], &dry["checked"]),
        (&json!(1), &json!(1)),
        "{dry}"
    );
    assert_eq!(service.engine.supervised(), []);
    let done = resend(json!({ "collapse_key": key, "destination_id": hook }))
        .await
        .body;
    assert_eq!(
        (&done["pending"], service.engine.supervised()),
        (&json!(1), vec![hook]),
        "{done}"
    );
    let again = resend(json!({ "collapse_key": key })).await.body;
    assert_eq!(again["skipped"], json!({ "already_pending": 1 }), "{again}");
    assert_eq!(
        service.engine.supervised(),
        [hook, hook],
        "what is pending already is retried now"
    );
    service
        .raw("UPDATE deliveries SET status = 'failed', last_error = 'x', finished_at = created_at");
    let failed = resend(json!({ "failed": true })).await.body;
    assert_eq!(
        (&failed["pending"], &failed["next_cursor"]),
        (&json!(1), &Value::Null),
        "{failed}"
    );
    let range =
        json!({ "from": "1970-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z", "limit": 1 });
    let first = resend(range.clone()).await.body;
    let mut second = range;
    second["cursor"] = first["next_cursor"].clone();
    let second = resend(second).await.body;
    let queued = first["pending"]
        .as_i64()
        .zip(second["pending"].as_i64())
        .map(|(one, two)| one + two);
    assert_eq!(
        (queued, &second["next_cursor"]),
        (Some(1), &Value::Null),
        "the other was pending: {first} {second}"
    );
}

#[tokio::test]
async fn a_resend_covers_every_app_unless_one_is_named() {
    let (service, app, hook, keys) = with_purchases("again-app", &["r1", "r2"]).await;
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await
        .body["id"]
        .clone();
    let resend = async |mut body: Value, app: &Value| {
        body["app_id"] = app.clone();
        service.send_json("POST", "/v1/resends", &body).await
    };
    let range = json!({ "from": "1970-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z" });
    for (app, pending) in [(&other, 0), (&json!(app), 2), (&Value::Null, 0)] {
        let answer = resend(range.clone(), app).await;
        assert_eq!(
            (answer.status, &answer.body["pending"]),
            (200, &json!(pending)),
            "{app}: {}",
            answer.body
        );
    }
    service
        .raw("UPDATE deliveries SET status = 'failed', last_error = 'x', finished_at = created_at");
    for (app, checked) in [(&other, 0), (&json!(app), 2), (&Value::Null, 2)] {
        let answer = resend(json!({ "failed": true, "dry_run": true }), app).await;
        assert_eq!(
            (answer.status, &answer.body["checked"]),
            (200, &json!(checked)),
            "{app}: {}",
            answer.body
        );
    }
    for wrong in [
        json!({ "failed": true, "destination_id": hook }),
        json!({ "event_id": keys[0] }),
        json!({ "collapse_key": keys[0] }),
    ] {
        let answer = resend(wrong.clone(), &json!(app)).await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec!["app_id"]),
            "{wrong}: {}",
            answer.body
        );
    }
    assert_eq!(
        resend(json!({ "failed": true }), &json!("mine"))
            .await
            .status,
        400
    );
    assert_eq!(
        resend(json!({ "failed": true }), &json!(hook)).await.status,
        404
    );
}

#[tokio::test]
async fn repeating_a_page_after_a_lost_answer_queues_nothing() {
    let (service, _, hook, _) = with_purchases("lost", &["r1", "r2"]).await;
    let range = json!({ "from": "1970-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z" });
    for (name, body) in [
        ("range", range),
        ("all", json!({ "all": true, "destination_id": hook })),
    ] {
        let resend = async |run: &str, limit: i64| {
            let mut body = body.clone();
            (body["run"], body["limit"]) = (json!(run), json!(limit));
            service.send_json("POST", "/v1/resends", &body).await
        };
        let first = resend(name, 1).await.body;
        assert_eq!(
            (&first["pending"], first["next_cursor"].is_string()),
            (&json!(1), true),
            "{first}"
        );
        service.raw("UPDATE deliveries SET status = 'delivered', finished_at = created_at");
        let before = service.engine.supervised().len();
        assert_eq!(
            resend(name, 1).await.body,
            first,
            "it was delivered meanwhile"
        );
        assert_eq!(
            service.engine.supervised().len(),
            before + 1,
            "an unanswered page may have signalled nobody"
        );
        let pending = service.get("/v1/deliveries?status=pending").await.body;
        assert_eq!(pending["items"], json!([]), "nothing is pending");
        for wrong in ["", &"x".repeat(101)] {
            assert_eq!(resend(wrong, 1).await.status, 400, "{wrong}");
        }
        let other = format!("{}{}", "ä".repeat(99), name.len());
        assert_eq!(
            resend(&other, 1).await.body["pending"],
            1,
            "another run records the deliveries again"
        );
        service.raw("UPDATE deliveries SET status = 'delivered', finished_at = created_at");
    }
    let behind = json!({ "behind": true, "destination_id": hook, "run": "all" });
    let other = service.send_json("POST", "/v1/resends", &behind).await;
    assert_eq!(
        other.status, 409,
        "that run has another selector: {}",
        other.body
    );
}

#[tokio::test]
async fn a_lost_signal_to_the_engine_leaves_the_backlog() {
    let (service, _, hook, keys) = with_purchases("deaf", &["r1"]).await;
    service.engine.set_down(true);
    let done = service
        .send_json("POST", "/v1/resends", &json!({ "collapse_key": keys[0] }))
        .await;
    assert_eq!((done.status, &done.body["pending"]), (200, &json!(1)));
    let deliveries = service
        .get(&format!(
            "/v1/deliveries?destination_id={hook}&status=pending"
        ))
        .await
        .body;
    assert_eq!(deliveries["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_receiver_without_its_table_requests_what_the_feed_lists() {
    let (service, app, hook, keys) = with_purchases("feed", &["r1", "r2", "r3"]).await;
    let (mut fed, mut query) = (Vec::new(), String::new());
    loop {
        let page = service
            .get(&format!(
                "/v1/apps/{app}/feed?limit=2&destination_id={hook}{query}"
            ))
            .await
            .body;
        fed.extend(page["items"].as_array().expect("items").clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("&cursor={cursor}");
    }
    let mut expected: Vec<String> = keys.iter().map(ToString::to_string).collect();
    expected.sort();
    let listed: Vec<&str> = fed
        .iter()
        .filter_map(|one| one["collapse_key"].as_str())
        .collect();
    assert_eq!(listed, expected);
    assert_eq!(
        (&fed[0]["revision"], &fed[0]["state_digest"]),
        (&json!(1), &json!("ab"))
    );
    assert_eq!(fed[0]["acknowledged_revision"], Value::Null);
    let resend = async |mut body: Value| {
        body["destination_id"] = json!(hook);
        service.send_json("POST", "/v1/resends", &body).await
    };
    let done = resend(json!({ "collapse_keys": [listed[0], listed[2]] }))
        .await
        .body;
    assert_eq!(
        (&done["checked"], &done["pending"]),
        (&json!(2), &json!(2)),
        "{done}"
    );
    assert_eq!(service.engine.supervised(), [hook]);
    let behind = resend(json!({ "behind": true })).await.body;
    assert_eq!(
        (&behind["pending"], &behind["skipped"]),
        (&json!(1), &json!({ "already_pending": 2 })),
        "{behind}"
    );
    let all = resend(json!({ "all": true, "dry_run": true, "limit": 1 }))
        .await
        .body;
    assert_eq!(
        (&all["checked"], &all["pending"]),
        (&json!(1), &json!(0)),
        "{all}"
    );
    assert!(all["next_cursor"].is_string());
    assert_eq!(
        service.get(&format!("/v1/apps/{hook}/feed")).await.status,
        404
    );
    let users = json!({ "events": ["user.*"] });
    service
        .send_json("PATCH", &format!("/v1/destinations/{hook}"), &users)
        .await;
    assert_eq!(resend(json!({ "behind": true })).await.status, 422);
}

#[tokio::test]
async fn what_is_resent_now_ends_back_offs_and_a_pause() {
    let (service, _, hook, keys) = with_purchases("now", &["r1", "r2"]).await;
    let resend = async |mut body: Value| {
        body["destination_id"] = json!(hook);
        service.send_json("POST", "/v1/resends", &body).await.body
    };
    assert_eq!(resend(json!({ "all": true })).await["pending"], 2);
    let later = "4000000000000000";
    service.raw(&format!(
        "UPDATE deliveries SET next_due_at = {later}, attempts = 1, tried_at = 1, last_error = 'x'"
    ));
    service.raw(&format!("UPDATE health SET paused_until = {later}"));
    let waiting = || {
        let of = |sql: &str| service.raw_number(&format!("SELECT COUNT(*) AS value FROM {sql}"));
        (
            of("deliveries WHERE next_due_at > 3000000000000000"),
            of("health WHERE paused_until IS NOT NULL"),
        )
    };
    let cancelled = || -> Vec<_> {
        let signals = service
            .engine
            .signals()
            .into_iter()
            .map(|(key, signal)| (key, signal.name()));
        signals
            .filter(|(_, name)| *name == "cancel_backoff")
            .collect()
    };
    let states = json!({ "already_pending": 1 });
    for (body, left, signals) in [
        (json!({ "collapse_keys": [keys[0]] }), (2, 1), 0),
        (
            json!({ "collapse_keys": [keys[0]], "now": true, "dry_run": true }),
            (2, 1),
            0,
        ),
        (
            json!({ "collapse_key": keys[1], "failed": true, "now": true }),
            (1, 1),
            1,
        ),
        (
            json!({ "collapse_keys": [keys[0]], "now": true }),
            (0, 0),
            2,
        ),
    ] {
        let done = resend(body.clone()).await;
        assert_eq!(
            (&done["pending"], &done["skipped"]),
            (&json!(0), &states),
            "{body}: {done}"
        );
        assert_eq!((waiting(), cancelled().len()), (left, signals), "{body}");
    }
    assert_eq!(
        cancelled(),
        [(keys[1], "cancel_backoff"), (keys[0], "cancel_backoff")],
        "their runs wait no longer"
    );
    let signals = service.engine.destination_signals();
    assert!(
        matches!(&signals[..], [(to, DestinationSignal::Probe(_))] if json!(to) == json!(hook)),
        "{signals:?}"
    );
    let entry = &service
        .get(&format!("/v1/audit-log?subject={}", keys[1]))
        .await
        .body["items"][0];
    assert_eq!(
        (&entry["operation"], &entry["after"]["destination_id"]),
        (&json!("resend"), &json!(hook)),
        "{entry}"
    );
    let refused = service
        .send_json(
            "POST",
            "/v1/resends",
            &json!({ "event_id": hook, "cursor": "x" }),
        )
        .await;
    assert_eq!(
        (refused.status, &refused.body["errors"][0]["field"]),
        (400, &json!("cursor")),
        "{}",
        refused.body
    );
}
