//! What the screens show: hostile texts as texts, mistakes at their fields, what a search finds.

use super::visitor::{Answer, Visitor};
use crate::api::edge::{Service, TOKEN, accept};
use domain::{CollapseKey, PlatformId};
use serde_json::{Value, json};
use storage::Fate;
use system_tests::rows;
use workflows::signal::Signal;

/// A text that is a script where it is not escaped.
pub const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";

pub async fn signed_in(service: &Service) -> Visitor {
    Visitor::with_key(service, TOKEN).await.expect("a sign-in")
}

/// A settled purchase of the only platform, with an event that a destination refused.
pub async fn purchase(
    service: &Service,
    app: &str,
    platform: PlatformId,
    text: &str,
) -> CollapseKey {
    let name = json!({ "kind": "webhook", "name": text, "url": "https://example.com/hooks" });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &name)
        .await;
    assert_eq!(hook.status, 201, "{}", hook.body);
    let hook = hook.body["id"].as_str().expect("an id").to_owned();
    let (key, _) = accept(&service.store, platform, text, Fate::Open).await;
    let [event, delivery] = [0; 2].map(|_| api::clock::random_uuid());
    let quoted = text.replace('\'', "''");
    let body = json!({ "data": { "product_ref_id": text, "last_seen_external_id": text } });
    let purchase = rows::purchases(platform, app)
        .text("collapse_key", key)
        .text("receipt_id", text);
    service.raw(&purchase.text("app_user_id", text));
    let event_row = rows::events()
        .text("id", event)
        .text("collapse_key", key)
        .text("app_id", app);
    service.raw(&event_row.text("body", body));
    let failed = rows::deliveries()
        .text("id", delivery)
        .text("destination_id", hook)
        .text("event_id", event);
    let failed = failed
        .text("collapse_key", key)
        .text("status", "failed")
        .text("last_error", text);
    service.raw(&failed.sql("attempts", 1).sql("finished_at", 1));
    service.raw(&format!(
        "UPDATE notifications SET outcome = 'settled', revision = 1, reason = '{quoted}', finished_at = 1;
         INSERT INTO attempts (delivery_id, number, token, mode, counts, finished_at, started_at, latency_ms, status, class,
             error, headers, response)
             VALUES ('{delivery}', 1, 't', 'lane', TRUE, 1, 1, 5, 500, 'server_error', '{quoted}',
                 '[[\"x-answer\", \"{}\"]]', '{quoted}');",
        text.replace('\'', "''").replace('\\', "\\\\").replace('"', "\\\"")
    ));
    key
}

/// Whether a page has nothing of a hostile text but the text.
pub fn is_harmless(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text);
    for mark in ["<script>alert", "<img src=x", "\"'><"] {
        assert!(
            !answer.text.contains(mark),
            "{what} has {mark}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_script_in_any_text_is_shown_as_text() {
    let service = Service::start("hostile").await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": HOSTILE }))
        .await;
    let app = app.body["id"].as_str().expect("an id").to_owned();
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await;
    assert_eq!(other.status, 201);
    let platform =
        json!({ "store": "amazon", "name": HOSTILE, "package_name": "com.example.settle" });
    let platform = service
        .send_json("POST", &format!("/v1/apps/{app}/platforms"), &platform)
        .await;
    let platform: PlatformId = platform.body["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    let key = purchase(&service, &app, platform, HOSTILE).await;
    service
        .store
        .alarm(Some(platform), HOSTILE, HOSTILE)
        .await
        .expect("an alarm");
    let visitor = Visitor::with_named_key(&service, &[("key", TOKEN), ("name", HOSTILE)])
        .await
        .expect("a sign-in");
    for path in [
        "/ui/",
        "/ui/purchases",
        "/ui/alarms",
        "/ui/audit-log",
        "/ui/team",
        "/ui/settings",
        &format!("/ui/purchases/{key}"),
    ] {
        let answer = visitor.get(&service, path).await;
        is_harmless(&answer, path);
        assert!(
            answer.text.contains("&#60;script&#62;alert(1)"),
            "{path} shows it: {}",
            answer.text
        );
    }
    let query = "%22%27%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let paths = [
        "/ui/audit-log?operation=",
        "/ui/audit-log?subject=",
        "/ui/purchases?app_id=",
        "/ui/purchases?done=",
    ];
    for path in paths
        .map(|path| format!("{path}{query}"))
        .into_iter()
        .chain([format!("/ui/purchases/{key}?mark={query}")])
    {
        is_harmless(&visitor.get(&service, &path).await, &path);
    }
    let unknown = visitor
        .post(&service, "/ui/search", &[("q", &format!("x{HOSTILE}"))])
        .await;
    is_harmless(&unknown, "a search");
    let found = visitor
        .post(&service, "/ui/search", &[("q", HOSTILE)])
        .await;
    assert_eq!(
        (found.status, found.header("location")),
        (303, format!("/ui/purchases/{key}").as_str())
    );
    let path = format!("/ui/purchases/{key}/hold");
    let wrong = visitor
        .post(&service, &path, &[("hours", HOSTILE), ("reason", HOSTILE)])
        .await;
    assert_eq!(wrong.status, 400);
    is_harmless(
        &Answer {
            status: 200,
            ..wrong
        },
        "a mistake",
    );
}

#[tokio::test]
async fn a_wrong_field_is_named_beside_its_input() {
    let service = Service::start("mistakes").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt").await;
    let visitor = signed_in(&service).await;
    let path = format!("/ui/purchases/{key}/flush");
    let wrong = visitor.post(&service, &path, &[("reason", "  ")]).await;
    assert_eq!(wrong.status, 400);
    for part in [
        "role=\"alert\"",
        "aria-describedby=\"wrong-reason\"",
        "id=\"wrong-reason\"",
    ] {
        assert!(wrong.text.contains(part), "{part}: {}", wrong.text);
    }
    assert!(service.engine.signals().is_empty());
    let taken = visitor
        .post(&service, &path, &[("reason", "ticket 4711")])
        .await;
    assert_eq!(
        (taken.status, taken.header("location")),
        (303, format!("/ui/purchases/{key}?done=flush").as_str())
    );
    match service.engine.signals().as_slice() {
        [(of, Signal::Flush(admin))] => {
            assert_eq!(
                (*of, admin.by.as_deref(), admin.reason.as_deref()),
                (key, Some("admin token"), Some("ticket 4711"))
            );
        }
        other => panic!("{other:?}"),
    }
    service.engine.set_down(true);
    let away = visitor
        .post(&service, &path, &[("reason", "ticket 4711")])
        .await;
    assert_eq!(
        (away.status, away.header("content-type")),
        (503, "text/html; charset=utf-8")
    );
    for part in [
        "is not responding",
        "Nothing was changed",
        "value=\"ticket 4711\"",
    ] {
        assert!(away.text.contains(part), "{part}: {}", away.text);
    }
}

#[tokio::test]
async fn each_action_sends_the_signal_of_the_api() {
    let service = Service::start("actions").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt").await;
    let visitor = signed_in(&service).await;
    for (action, fields) in [
        ("flush", &[][..]),
        ("hold", &[("hours", "24")]),
        ("release", &[]),
        ("discard", &[]),
    ] {
        let fields: Vec<_> = [("reason", "ticket 4711")]
            .into_iter()
            .chain(fields.iter().copied())
            .collect();
        let answer = visitor
            .post(&service, &format!("/ui/purchases/{key}/{action}"), &fields)
            .await;
        assert_eq!(answer.status, 303, "{action}: {}", answer.text);
        let signals = service.engine.signals();
        let (_, last) = signals.last().expect("a signal");
        assert_eq!(last.name(), action);
        if let Signal::Hold(hold) = last {
            assert!(
                hold.until.is_some() && hold.admin.reason.as_deref() == Some("ticket 4711"),
                "{hold:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_form_names_nobody_else_as_its_author() {
    let service = Service::start("form-author").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt").await;
    let visitor = signed_in(&service).await;
    let fields = [("reason", "ticket 4711"), ("by", "somebody else")];
    let answer = visitor
        .post(&service, &format!("/ui/purchases/{key}/flush"), &fields)
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    match service.engine.signals().as_slice() {
        [(_, Signal::Flush(admin))] => assert_eq!(admin.by.as_deref(), Some("admin token")),
        other => panic!("{other:?}"),
    }
    let twice = [
        ("hours", "1"),
        ("hours", "2"),
        ("reason", "ticket 4711"),
        ("dry_run", "true"),
    ];
    let answer = visitor
        .post(&service, &format!("/ui/purchases/{key}/hold"), &twice)
        .await;
    assert_eq!(
        answer.status, 303,
        "the first of two counts: {}",
        answer.text
    );
    let both = visitor
        .post(
            &service,
            &format!("/ui/purchases/{key}/hold"),
            &[("hours", "x")],
        )
        .await;
    for part in [
        "For how long: expected a whole number",
        "Reason: expected a reason",
    ] {
        assert!(both.text.contains(part), "{part}: {}", both.text);
    }
    let unknown = [
        ("reason", "ticket 4711"),
        ("untli", "2026-01-01"),
        ("hours", "1"),
    ];
    let refused = visitor
        .post(&service, &format!("/ui/purchases/{key}/hold"), &unknown)
        .await;
    assert_eq!(
        (
            refused.status,
            refused.text.contains("untli: expected no such field")
        ),
        (400, true),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn who_may_not_act_sees_no_action() {
    let service = Service::start("no-action").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt").await;
    let settled = signed_in(&service)
        .await
        .get(&service, &format!("/ui/purchases/{key}"))
        .await;
    assert!(
        !settled.text.contains(&format!("/{key}/discard")),
        "nothing waits: {}",
        settled.text
    );
    accept(&service.store, platform, "receipt", Fate::Open).await;
    let waits = signed_in(&service)
        .await
        .get(&service, &format!("/ui/purchases/{key}"))
        .await;
    for part in [
        ">Discard 1 notification<",
        &format!("href=\"/ui/connect/platforms/{platform}\""),
    ] {
        assert!(waits.text.contains(part), "{part}: {}", waits.text);
    }
    for (role, shown) in [
        ("read", &[][..]),
        ("support", &["flush", "hold", "resend"]),
        ("operator", &["flush", "discard"]),
    ] {
        let created = service
            .send_json("POST", "/v1/keys", &json!({ "name": role, "role": role }))
            .await;
        let visitor = Visitor::with_key(&service, created.body["key"].as_str().expect("a key"))
            .await
            .expect("a sign-in");
        let page = visitor.get(&service, &format!("/ui/purchases/{key}")).await;
        for action in ["flush", "hold", "resend", "discard"] {
            let is_shown = page.text.contains(&format!("/{key}/{action}\""));
            assert!(
                is_shown || !shown.contains(&action),
                "{role} does not see {action}"
            );
            assert!(role != "read" || !is_shown, "{role} sees {action}");
            assert!(
                role != "support" || action != "discard" || !is_shown,
                "{role} sees {action}"
            );
        }
    }
}

#[tokio::test]
async fn a_resend_names_what_failed_and_chooses_no_destination() {
    let service = Service::start("resend-names").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt").await;
    let visitor = signed_in(&service).await;
    let page = visitor.get(&service, &format!("/ui/purchases/{key}")).await;
    for part in [
        "No other event has failed.",
        "<option value=\"\" selected>Choose a destination</option>",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    service.raw("UPDATE events SET event_type = 'user.subscription.renewed'");
    let page = visitor.get(&service, &format!("/ui/purchases/{key}")).await;
    assert!(
        page.text
            .contains("Failed events are sent too: 1 user.subscription.renewed."),
        "{}",
        page.text
    );
    service.raw("UPDATE deliveries SET status = 'pending', next_due_at = 9000000000000000, finished_at = NULL");
    let pending = visitor.get(&service, &format!("/ui/purchases/{key}")).await;
    for part in [
        "1 delivery is pending, the next attempt is at <time ",
        ": resending is not needed. Sends ",
    ] {
        assert!(pending.text.contains(part), "{part}: {}", pending.text);
    }
    assert!(
        !pending.text.contains("No other event has failed."),
        "{}",
        pending.text
    );
    service.raw("UPDATE deliveries SET status = 'skipped', event_type = 'user.subscription.renewed', finished_at = 1");
    let skipped = visitor.get(&service, &format!("/ui/purchases/{key}")).await;
    let unsent =
        "is sent only when you resend that event, or a time range, after changing the settings.";
    assert!(
        skipped.text.contains(unsent) && !skipped.text.contains("No other event has failed."),
        "{}",
        skipped.text
    );
    for list in ["events", "deliveries"] {
        let id = service.get(&format!("/v1/{list}")).await.body["items"][0]["id"].clone();
        let one = visitor
            .get(
                &service,
                &format!("/ui/{list}/{}", id.as_str().expect("an id")),
            )
            .await;
        assert!(
            one.text.contains(unsent)
                && !one
                    .text
                    .contains("Sends this event to this destination again")
        );
        assert!(!pending.text.contains(unsent), "{list}: {}", one.text);
    }
    let path = format!("/ui/purchases/{key}/resend");
    let unaddressed = visitor
        .post(&service, &path, &[("reason", "ticket 4711")])
        .await;
    assert_eq!(
        (
            unaddressed.status,
            unaddressed
                .text
                .contains("To: expected one destination or all")
        ),
        (400, true)
    );
}

#[tokio::test]
async fn a_support_case_is_answered_in_two_requests() {
    let service = Service::start("support-case").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt-17").await;
    let visitor = signed_in(&service).await;
    let found = visitor
        .post(&service, "/ui/search", &[("q", " receipt-17 ")])
        .await;
    assert_eq!(
        (found.status, found.header("location")),
        (303, format!("/ui/purchases/{key}").as_str())
    );
    let page = visitor.get(&service, found.header("location")).await;
    for part in [
        "Revision 1",
        "purchase.updated",
        "failed",
        "Not retried",
        "1 attempt",
        "x-answer",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
}

#[tokio::test]
async fn a_search_finds_each_kind_of_id() {
    let service = Service::start("search").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt-1").await;
    let (waiting, _) = accept(&service.store, platform, "receipt-2", Fate::Open).await;
    let (unsettled, _) = accept(&service.store, platform, "receipt-3", Fate::Open).await;
    service.raw("UPDATE notifications SET outcome = 'given_up', finished_at = 1 WHERE receipt_id = 'receipt-3'");
    let visitor = signed_in(&service).await;
    let message = service
        .get(&format!("/v1/purchases/{key}/notifications"))
        .await
        .body["items"][0]["message_id"]
        .clone();
    let event = service.get("/v1/events").await.body["items"][0]["id"].clone();
    let delivery = service.get("/v1/deliveries").await.body["items"][0]["id"].clone();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let purchase = format!("/ui/purchases/{key}");
    for (q, expected) in [
        (key.to_string(), purchase.clone()),
        (key.to_string().to_uppercase(), purchase.clone()),
        ("receipt-1".to_owned(), purchase.clone()),
        (
            text(&message),
            format!("{purchase}?mark={}", text(&message)),
        ),
        (text(&event), format!("{purchase}?mark={}", text(&event))),
        (
            text(&delivery),
            format!("{purchase}?mark={}", text(&delivery)),
        ),
        ("receipt-2".to_owned(), format!("/ui/purchases/{waiting}")),
        ("receipt-3".to_owned(), format!("/ui/purchases/{unsettled}")),
        (waiting.to_string(), format!("/ui/purchases/{waiting}")),
    ] {
        let found = visitor.post(&service, "/ui/search", &[("q", &q)]).await;
        assert_eq!(
            (found.status, found.header("location")),
            (303, expected.as_str()),
            "{q}: {}",
            found.text
        );
        assert_eq!(
            visitor.get(&service, &expected).await.status,
            200,
            "{expected}"
        );
    }
    let marked = visitor
        .get(&service, &format!("{purchase}?mark={}", text(&event)))
        .await;
    assert!(marked.text.contains("id=\"mark\""), "{}", marked.text);
    let nothing = visitor
        .post(&service, "/ui/search", &[("q", "nobody-knows-this")])
        .await;
    assert_eq!(nothing.status, 200);
    for part in [
        "No results for",
        "What to try",
        "Ids must match exactly",
        "fire",
        "no topic yet",
    ] {
        assert!(nothing.text.contains(part), "{part}: {}", nothing.text);
    }
    assert!(
        nothing.text.contains("settle app import --help"),
        "{}",
        nothing.text
    );
    let created = service
        .send_json(
            "POST",
            "/v1/keys",
            &json!({ "name": "sue", "role": "support" }),
        )
        .await;
    let support = Visitor::with_key(&service, created.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    let nothing = support
        .post(&service, "/ui/search", &[("q", "nobody-knows-this")])
        .await;
    assert!(
        nothing.text.contains("Ask an operator") && !nothing.text.contains("app import"),
        "{}",
        nothing.text
    );
    service.raw("UPDATE purchases SET app_user_id = 'customer-at-the-store'");
    service.raw("UPDATE events SET body = '{\"data\":{}}'");
    let begins = support.post(&service, "/ui/search", &[("q", "rec")]).await;
    for part in [
        "Begins with",
        "data-copy=\"receipt-1\"",
        "data-copy=\"customer-at-the-store\"",
        &format!("href=\"{purchase}\""),
    ] {
        assert!(begins.text.contains(part), "{part}: {}", begins.text);
    }
    let by_api = service
        .send_json("POST", "/v1/search", &json!({ "q": "receipt-1" }))
        .await;
    assert_eq!(
        by_api.body["items"][0]["collapse_key"],
        json!(key),
        "{}",
        by_api.body
    );
    assert!(
        !by_api.body.to_string().contains("receipt-1"),
        "ids of ours alone: {}",
        by_api.body
    );
}

#[tokio::test]
async fn every_screen_is_data_too() {
    let service = Service::start("as-json").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt").await;
    let visitor = signed_in(&service).await;
    for (path, api) in [
        ("/ui/".to_owned(), "/v1/overview".to_owned()),
        ("/ui/purchases".to_owned(), "/v1/purchases".to_owned()),
        (
            format!("/ui/purchases/{key}"),
            format!("/v1/explain/purchases/{key}"),
        ),
        ("/ui/alarms".to_owned(), "/v1/alarms?open=true".to_owned()),
        ("/ui/audit-log".to_owned(), "/v1/audit-log".to_owned()),
        ("/ui/team".to_owned(), "/v1/sign-ins".to_owned()),
        ("/ui/team/keys".to_owned(), "/v1/keys".to_owned()),
        ("/ui/settings".to_owned(), "/v1/about".to_owned()),
    ] {
        let page = visitor.get(&service, &path).await;
        assert!(
            page.text.contains("as=json") && page.text.contains(&format!("$SETTLE_URL{api}&#34;")),
            "{path}"
        );
        let answer = visitor.get(&service, &format!("{path}?as=json")).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json"),
            "{path}"
        );
        let mut shown: Value = serde_json::from_str(&answer.text).expect("JSON");
        let mut expected = service.get(&api).await.body;
        for value in [&mut shown, &mut expected] {
            value.as_object_mut().expect("an object").remove("now");
        }
        assert_eq!(shown, expected, "{path}");
    }
}

#[tokio::test]
async fn the_overview_counts_what_waits_and_what_is_pending() {
    let service = Service::start("overview").await;
    let (app, platform) = service.platform().await;
    let empty = service.get("/v1/overview").await.body;
    assert_eq!(
        (&empty["windows"], &empty["last_accepted_at"]),
        (&json!(0), &Value::Null)
    );
    purchase(&service, &app, platform, "receipt").await;
    let (held, _) = accept(&service.store, platform, "held", Fate::Open).await;
    let (open, _) = accept(&service.store, platform, "open", Fate::Open).await;
    accept(&service.store, platform, "open", Fate::Open).await;
    service.seed(&["held"]).await;
    service.raw(&format!(
        "UPDATE purchases SET held_until = 9000000000000000 WHERE collapse_key = '{held}'"
    ));
    let found = service.get("/v1/overview").await.body;
    let numbers =
        ["windows", "held", "waiting", "pending", "failed"].map(|name| found[name].as_i64());
    assert_eq!(
        numbers,
        [Some(1), Some(1), Some(0), Some(0), Some(1)],
        "{found}"
    );
    assert_eq!(found["next_windows"][0]["collapse_key"], json!(open));
    assert_eq!(found["destinations"][0]["failed"], 1);
    let of_other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await
        .body["id"]
        .clone();
    let other = service
        .get(&format!(
            "/v1/overview?app_id={}",
            of_other.as_str().expect("an id")
        ))
        .await
        .body;
    let numbers =
        ["windows", "held", "waiting", "pending", "failed"].map(|name| other[name].as_i64());
    assert_eq!(numbers, [Some(0); 5], "{other}");
    service.store.count_arrival(platform, "");
    service.store.write_arrivals().await.expect("written");
    let own = service
        .get(&format!("/v1/overview?app_id={app}"))
        .await
        .body;
    assert!(
        own["last_accepted_at"].is_string() && other["last_accepted_at"].is_null(),
        "{own} {other}"
    );
}

#[tokio::test]
async fn a_hold_shows_its_author_and_its_reason() {
    let service = Service::start("hold-author").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt").await;
    let visitor = signed_in(&service).await;
    let (path, page) = (
        format!("/v1/purchases/{key}"),
        format!("/ui/purchases/{key}"),
    );
    let until = api::clock::now().plus(std::time::Duration::from_secs(3600));
    for (by, reason) in [("ann", "ticket 4711"), ("", "")] {
        service
            .store
            .hold(key, until, by, reason)
            .await
            .expect("a hold");
        let known = |text: &str| {
            if text.is_empty() {
                Value::Null
            } else {
                json!(text)
            }
        };
        let listed = service.get("/v1/purchases").await.body["items"][0].clone();
        for shown in [&service.get(&path).await.body, &listed] {
            let hold = (
                &shown["held_until"],
                &shown["held_by"],
                &shown["held_reason"],
            );
            assert_eq!(hold, (&json!(until), &known(by), &known(reason)), "{shown}");
        }
        let explained = service
            .get(&format!("/v1/explain/purchases/{key}"))
            .await
            .body;
        let sentence = explained["summary"].as_str().expect("a sentence");
        let text = visitor.get(&service, &page).await.text;
        let is_known = !by.is_empty();
        let expected = if is_known {
            format!(". On hold by ann until {until} (ticket 4711): nothing is settled")
        } else {
            format!(". On hold until {until}: nothing is settled")
        };
        assert!(sentence.contains(&expected), "{sentence}");
        for label in ["Held by", "Reason of the hold"] {
            assert_eq!(text.contains(label), is_known, "{label}: {text}");
        }
    }
    service.store.release(key).await.expect("its end");
    let released = service.get(&path).await.body;
    assert_eq!(
        (&released["held_until"], &released["held_by"]),
        (&Value::Null, &Value::Null),
        "{released}"
    );
}

#[tokio::test]
async fn no_setting_shows_a_secret() {
    let key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let variables = [
        ("SETTLE_KEY", key),
        ("SETTLE_ADMIN_TOKEN", "a-very-secret-admin-token"),
        (
            "SETTLE_DATABASE",
            "postgres://settle:hunter2@db.internal/settle",
        ),
    ];
    let service = Service::with("about", &variables).await;
    let visitor = signed_in(&service).await;
    let about = service.get("/v1/about").await.body.to_string();
    let page = visitor.get(&service, "/ui/settings").await.text;
    for hidden in [key, "a-very-secret-admin-token", "hunter2", TOKEN] {
        assert!(
            !about.contains(hidden) && !page.contains(hidden),
            "{hidden}"
        );
    }
    assert!(
        !about.contains("is not shown"),
        "each setting has its value: {about}"
    );
    for variable in ["SETTLE_KEY", "SETTLE_UI_SIGN_IN_IDLE", "SETTLE_RETENTION"] {
        assert!(
            !page.contains(variable),
            "a line breaks at its underscores: {page}"
        );
        assert!(page.replace("<wbr>", "").contains(variable), "{variable}");
    }
}
