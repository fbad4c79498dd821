//! The history of notifications: which pages are requested, and what is found in them.

use super::now;
use super::server::{AppStore, DAY_MS, millis, renewal, reply, subject, transaction};
use crate::http::Reply;
use crate::stores::{
    Answer, RepairOutcome, RepairPage, RepairStep, RepairTask, Replied, StoreProtocol as _,
};
use domain::Environment;
use serde_json::{Value, json};

fn task(page: Option<&str>) -> RepairTask {
    RepairTask::Notifications {
        since: now().plus_millis(-300 * DAY_MS),
        began_at: now(),
        page: page.map(str::to_owned),
        only_failures: true,
    }
}

fn outcome(store: &AppStore, page: Option<&str>, reply: Reply) -> RepairOutcome {
    let replied = Replied { reply, at: now() };
    match store
        .apple
        .repair(&subject(Vec::new()), &task(page), &[replied])
    {
        RepairStep::Done(outcome) => outcome,
        RepairStep::Send(..) => panic!("a second request"),
    }
}

fn found(store: &AppStore, page: Option<&str>, body: &Value) -> RepairPage {
    match outcome(store, page, reply(200, body)) {
        RepairOutcome::Found(page) => page,
        other => panic!("{other:?}"),
    }
}

#[test]
fn production_is_read_before_the_sandbox() {
    let store = AppStore::new();
    let sent = |environment, page| {
        let mut subject = subject(Vec::new());
        subject.environment = environment;
        match store.apple.repair(&subject, &task(page), &[]) {
            RepairStep::Send(request, bucket) => {
                let body: Value = serde_json::from_slice(&request.body).expect("JSON");
                let days = (millis(now()) - body["startDate"].as_i64().expect("a time")) / DAY_MS;
                assert_eq!(body["onlyFailures"], true);
                (request.url.to_string(), days, bucket.per_second)
            }
            RepairStep::Done(outcome) => panic!("{outcome:?}"),
        }
    };
    let path = "inApps/v1/notifications/history";
    let production = format!("https://api.storekit.apple.com/{path}");
    let sandbox = format!("https://api.storekit-sandbox.apple.com/{path}");
    assert_eq!(
        sent(Environment::Production, None),
        (production.clone(), 179, 40)
    );
    let next = format!("{production}?paginationToken=a%2Fb");
    assert_eq!(
        sent(Environment::Production, Some("production:a/b")),
        (next, 179, 40)
    );
    assert_eq!(
        sent(Environment::Production, Some("sandbox:")),
        (sandbox.clone(), 29, 4)
    );
    assert_eq!(sent(Environment::Sandbox, None), (sandbox, 29, 4));
}

#[test]
fn a_page_has_notifications_as_pushed_ones() {
    let store = AppStore::new();
    let data = [
        ("signedTransactionInfo", &transaction(1)),
        ("signedRenewalInfo", &renewal()),
    ];
    let payload = store.notification("DID_RENEW", &data);
    let forged = AppStore::new().notification("DID_RENEW", &data);
    let past = |payload: &str| json!({ "signedPayload": payload, "sendAttempts": [] });
    let body = json!({
        "hasMore": true, "paginationToken": "t", "notificationHistory": [past(&payload), past(&forged)],
    });
    let page = found(&store, None, &body);
    assert_eq!(page.next.as_deref(), Some("production:t"));
    assert_eq!(page.unreadable, 1);
    let one = page.notifications.first().expect("a notification");
    assert_eq!(one.notification.message_id, "id-of-DID_RENEW");
    assert_eq!(one.own.as_ref(), Some(&store.read(&payload).decoded));
    let last = json!({ "hasMore": false, "paginationToken": "t", "notificationHistory": [] });
    assert_eq!(found(&store, None, &last).next.as_deref(), Some("sandbox:"));
    assert_eq!(found(&store, Some("sandbox:t"), &last).next, None);
}

#[test]
fn an_app_without_a_release_has_a_history_of_the_sandbox() {
    let store = AppStore::new();
    let empty = || Reply::Answer {
        status: 401,
        retry_after: None,
        headers: Vec::new(),
        body: String::new(),
    };
    let RepairOutcome::Found(page) = outcome(&store, None, empty()) else {
        panic!("a page");
    };
    assert_eq!(page.next.as_deref(), Some("sandbox:"));
    let refused = outcome(&store, Some("sandbox:"), empty());
    assert!(matches!(refused, RepairOutcome::Failed(Answer::Refused(_))));
    let expired = reply(400, &json!({ "errorCode": 4_000_014 }));
    assert!(matches!(
        outcome(&store, Some("production:x"), expired),
        RepairOutcome::Restart
    ));
}

#[test]
fn a_test_is_requested_where_the_platform_is() {
    let store = AppStore::new();
    let mut subject = subject(Vec::new());
    for (environment, host) in [
        (Environment::Production, "api.storekit.apple.com"),
        (Environment::Sandbox, "api.storekit-sandbox.apple.com"),
    ] {
        subject.environment = environment;
        let RepairStep::Send(request, bucket) =
            store.apple.repair(&subject, &RepairTask::Test, &[])
        else {
            panic!("a request");
        };
        let url = format!("https://{host}/inApps/v1/notifications/test");
        assert_eq!((request.url.to_string(), bucket.per_second), (url, 1));
    }
    let outcome = |status, body: Value| {
        let replied = Replied {
            reply: reply(status, &body),
            at: now(),
        };
        match store.apple.repair(&subject, &RepairTask::Test, &[replied]) {
            RepairStep::Done(outcome) => outcome,
            RepairStep::Send(..) => panic!("a second request"),
        }
    };
    let sent = outcome(200, json!({ "testNotificationToken": "t" }));
    assert!(matches!(sent, RepairOutcome::Found(page) if page == RepairPage::default()));
    let declined = outcome(404, json!({ "errorCode": 4_040_007 }));
    assert!(matches!(declined, RepairOutcome::Declined(why) if why.contains("server URL")));
    let failed = outcome(500, json!({ "errorCode": 5_000_000 }));
    assert!(matches!(failed, RepairOutcome::Failed(Answer::Retry(_))));
}
