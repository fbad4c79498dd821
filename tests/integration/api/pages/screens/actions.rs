//! The pages' forms: which requests they send, and which roles see them.

use super::{purchase, signed_in};
use crate::api::edge::{Service, accept};
use crate::api::pages::visitor::Visitor;
use serde_json::{Value, json};
use storage::Handling;
use workflows::signal::Signal;

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
    accept(&service.store, platform, "receipt", Handling::Open).await;
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
