//! A signed notification is stored once, and the engine is signalled if it is open.

use super::{
    FetchError, INGRESS_KEY, PACKAGE, SIGNER, SOON, TOPIC, World, letter, message_id, notification,
    renewal, sample,
};
use axum::body::Body;
use axum::http::Request;
use diesel::connection::{Connection, SimpleConnection};
use diesel::sqlite::SqliteConnection;
use domain::{CollapseKey, Outcome};
use std::sync::Arc;
use storage::{Handling, NewNotification, PlatformChange, PlatformSettings};
use system_tests::wait;
use tower::ServiceExt;

#[tokio::test]
async fn a_signed_notification_is_stored_and_signalled() {
    let world = World::following().await;
    let body = renewal(1);
    assert_eq!(world.post(&body).await, (200, "accepted"));
    let rows = world.stored(&body).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].store_type.as_str(), rows[0].receipt_id.as_str()),
        ("SUBSCRIPTION_RENEWED", "receipt-1")
    );
    assert_eq!(
        rows[0].collapse_key,
        Some(CollapseKey::of(world.platform.id, "receipt-1"))
    );
    assert_eq!(
        (rows[0].outcome, rows[0].waiting_for),
        (None, Some(storage::WaitingFor::Window))
    );
    world.wait_signal("receipt-1").await;
    assert_eq!(world.sns.requests(), [SIGNER.certificate_url("us-east-1")]);
}

#[tokio::test]
async fn a_message_by_the_old_url_is_accepted_and_noted() {
    let world = World::following().await;
    let hour = std::time::Duration::from_secs(3600);
    world
        .store
        .rotate_ingress_key(world.platform.id, "another".into(), hour)
        .await
        .expect("rotated");
    let old = async || {
        world
            .store
            .old_ingress_key(world.platform.id)
            .await
            .expect("storage answers")
    };
    assert_eq!(world.post("{}").await.0, 400);
    assert_eq!(
        old().await.expect("an old key").used_at,
        None,
        "a message that is refused is no use"
    );
    assert_eq!(world.post(&renewal(1)).await, (200, "accepted"));
    wait::until(SOON, "the use is noted", async || {
        match old().await.and_then(|old| old.used_at) {
            Some(_) => Ok(()),
            None => Err("it is not".to_owned()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_repeated_message_is_stored_once() {
    let world = Arc::new(World::following().await);
    let body = renewal(1);
    let posts: Vec<_> = (0..50)
        .map(|_| {
            let (world, body) = (world.clone(), body.clone());
            tokio::spawn(async move { world.post(&body).await })
        })
        .collect();
    let mut news = 0;
    for post in posts {
        let (status, reason) = post.await.expect("not ended");
        assert_eq!(status, 200);
        news += u32::from(reason == "accepted");
    }
    assert_eq!((news, world.stored(&body).await.len()), (1, 1));
}

#[tokio::test]
async fn sns_must_retry_while_the_certificate_is_unavailable() {
    let world = World::following().await;
    let body = renewal(1);
    world
        .sns
        .breaks(Some(FetchError::Unavailable("status 500".to_owned())));
    assert_eq!(
        world.post(&body).await,
        (503, "certificate could not be fetched")
    );
    assert_eq!(
        world.post(&body).await,
        (503, "certificate could not be fetched")
    );
    assert!(world.stored(&body).await.is_empty());
    world.sns.breaks(None);
    assert_eq!(world.post(&body).await, (200, "accepted"));
    assert_eq!(world.sns.requests().len(), 3);
}

#[tokio::test]
async fn a_plan_change_is_stored_for_both_purchases() {
    let world = World::following().await;
    let mut change = sample("SUBSCRIPTION_MODIFIED_IMMEDIATE", "new");
    change.cancelled_receipt_id = Some("old");
    let body = notification(1, TOPIC, &change.message());
    assert_eq!(world.post(&body).await, (200, "accepted"));
    let mut receipts: Vec<_> = world
        .stored(&body)
        .await
        .into_iter()
        .map(|row| row.receipt_id)
        .collect();
    receipts.sort();
    assert_eq!(receipts, ["new", "old"]);
    world.wait_signal("new").await;
    world.wait_signal("old").await;
    assert_eq!(world.post(&body).await, (200, "accepted before"));
}

#[tokio::test]
async fn what_the_database_refuses_is_an_alarm_and_taken_later() {
    let world = World::following().await;
    let mut raw =
        SqliteConnection::establish(&world.folder.path().join("settle.db").to_string_lossy())
            .expect("a file");
    let refuse = "CREATE TRIGGER planted BEFORE INSERT ON notifications
        BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: planted'); END";
    raw.batch_execute(refuse).expect("a trigger");
    let body = renewal(1);
    for _ in 0..2 {
        assert_eq!(
            world.post(&body).await,
            (503, "the database refuses the message")
        );
    }
    assert_eq!(
        (world.alarms().await, world.raised().await),
        (vec!["accepting_fails".to_owned()], 1),
        "once a minute"
    );
    raw.batch_execute("DROP TRIGGER planted")
        .expect("no trigger");
    assert_eq!(world.post(&body).await.0, 200, "the store repeats it");
    assert_eq!(world.stored(&body).await.len(), 1);
}

#[tokio::test]
async fn signed_unreadable_or_foreign_messages_raise_an_alarm() {
    let world = World::following().await;
    let mut foreign = sample("SUBSCRIPTION_RENEWED", "receipt");
    foreign.package_name = "com.example.other";
    for (body, outcome, kind) in [
        (
            notification(1, TOPIC, "Hello world"),
            Outcome::Unknown,
            "unreadable_notification",
        ),
        (
            notification(2, TOPIC, "{\"nul\":\"\u{0}\"}"),
            Outcome::Unknown,
            "unreadable_notification",
        ),
        (
            notification(3, TOPIC, &foreign.message()),
            Outcome::Refused,
            "foreign_package",
        ),
    ] {
        let before = world.raised().await;
        assert_eq!(world.post(&body).await, (200, "accepted"));
        let rows = world.stored(&body).await;
        assert_eq!(
            (rows.len(), rows[0].outcome, rows[0].collapse_key),
            (1, Some(outcome), None)
        );
        assert!(rows[0].reason.is_some());
        let alarms = world.alarms().await;
        assert!(alarms.iter().any(|alarm| alarm == kind), "{alarms:?}");
        let raised = world.raised().await;
        assert!(raised > before);
        assert_eq!(world.post(&body).await, (200, "accepted before"));
        assert_eq!(world.raised().await, raised, "a repetition raises no alarm");
    }
    // The refused notification does not make the correct one a duplicate.
    foreign.package_name = PACKAGE;
    assert_eq!(
        world
            .post(&notification(4, TOPIC, &foreign.message()))
            .await,
        (200, "accepted")
    );
}

#[tokio::test]
async fn an_unknown_type_is_stored_open() {
    let world = World::following().await;
    let body = notification(
        1,
        TOPIC,
        &sample("SUBSCRIPTION_PAUSED", "receipt").message(),
    );
    assert_eq!(world.post(&body).await, (200, "accepted"));
    assert_eq!(world.stored(&body).await[0].outcome, None);
    world.wait_signal("receipt").await;
}

#[tokio::test]
async fn an_old_message_is_stored_and_one_from_the_future_is_not() {
    let world = World::following().await;
    let dated = |number, at| {
        let letter = super::Header {
            at,
            ..letter(number, TOPIC)
        };
        let message = sample("SUBSCRIPTION_RENEWED", "receipt").message();
        SIGNER
            .sign_notification(&letter, None, &message)
            .expect("signed")
    };
    assert_eq!(
        world
            .post(&dated(1, super::at("2012-05-02T00:54:06.655Z")))
            .await,
        (200, "accepted")
    );
    let future = super::now().plus_millis(15 * 60_000 + 1000);
    assert_eq!(
        world.post(&dated(2, future)).await,
        (503, "Timestamp is in the future")
    );
}

#[tokio::test]
async fn an_unknown_key_is_not_found() {
    let world = World::following().await;
    let body = renewal(1);
    let long = "x".repeat(10_000);
    for key in ["", "other", "8F3C0F6A1E", "8f3c0f6a1e\0", &long] {
        let answer = world
            .amazon
            .receive(world.intake(), key, body.as_bytes())
            .await;
        assert_eq!(
            (answer.status, answer.reason),
            (404, "unknown ingress key"),
            "{key}"
        );
    }
    world
        .store
        .delete_platform(world.platform.id)
        .await
        .expect("deleted");
    let answer = world
        .amazon
        .receive(world.intake(), INGRESS_KEY, body.as_bytes())
        .await;
    assert_eq!(answer.status, 404);
    assert!(world.sns.requests().is_empty());
}

#[tokio::test]
async fn a_revocation_is_flushed_where_the_platform_is_set_so() {
    let world = World::following().await;
    let flush = |settings: &mut PlatformSettings| settings.flush_on_revoke = true;
    world
        .store
        .update_platform(world.platform.id, PlatformChange::default(), flush)
        .await
        .expect("changed");
    let signal = async |number, type_name: &str, receipt: &str| {
        let body = notification(number, TOPIC, &sample(type_name, receipt).message());
        assert_eq!(world.post(&body).await, (200, "accepted"));
        world.wait_signal(receipt).await
    };
    assert_eq!(
        signal(1, "SUBSCRIPTION_CANCELLED", "receipt-1").await,
        "flush"
    );
    assert_eq!(
        signal(2, "SUBSCRIPTION_EXPIRED", "receipt-2").await,
        "notified"
    );
    let open = world
        .store
        .open_after(0, 10)
        .await
        .expect("storage answers");
    assert_eq!(
        open.iter()
            .map(|row| row.quiet.as_secs())
            .collect::<Vec<_>>(),
        [0, 120]
    );
}

/// Samples 2 and 3 of Amazon's documentation (<https://developer.amazon.com/docs/in-app-purchasing/rtn-example.html>):
/// one message id, one receipt, two types, and a trailing comma.
#[tokio::test]
async fn both_types_of_amazons_own_samples_are_stored() {
    let world = World::following().await;
    let receipt = "bsw3Wi6w17Ngdabggckh61kmmFhfwlfT9nPZeLfh83k=:1:11+Sheet2!A1+";
    let message = |type_name: &str| {
        format!(
            r#"{{"receiptId":"{receipt}","relatedReceipts": {{}},"appUserId":"kyplB1fdRX1m6/GNAVW0l6jv9Nl1V/GemSopKBHM84w=","notificationType":"{type_name}","appPackageName":"{PACKAGE}","timestamp":1588086967189, "betaProductTransaction":false,}}"#
        )
    };
    let consumable = notification(1, TOPIC, &message("CONSUMABLE_PURCHASED"));
    let entitlement = notification(1, TOPIC, &message("ENTITLEMENT_PURCHASED"));
    assert_eq!(message_id(&consumable), message_id(&entitlement));
    for body in [&consumable, &entitlement] {
        assert_eq!(world.post(body).await, (200, "accepted"));
        assert_eq!(
            world.post(body).await,
            (200, "accepted before"),
            "SNS repeats itself"
        );
    }
    let rows = world.stored(&consumable).await;
    let types: Vec<_> = rows
        .iter()
        .map(|one| (one.store_type.as_str(), one.outcome, one.collapse_key))
        .collect();
    let key = Some(CollapseKey::of(world.platform.id, receipt));
    assert_eq!(
        types,
        [
            ("CONSUMABLE_PURCHASED", None, key),
            ("ENTITLEMENT_PURCHASED", None, key)
        ]
    );
}

#[tokio::test]
async fn a_repeat_signals_a_row_that_nobody_signalled() {
    let world = World::following().await;
    world.post(&renewal(2)).await;
    world.wait_signal("receipt-2").await;
    let body = renewal(1);
    // As stored by a process that ended before it sent the signal.
    let row = NewNotification {
        platform_id: world.platform.id,
        message_id: message_id(&body),
        receipt_id: "receipt-1".to_owned(),
        collapse_key: Some(CollapseKey::of(world.platform.id, "receipt-1")),
        store_type: "SUBSCRIPTION_RENEWED".to_owned(),
        store_time: None,
        app_user_id: None,
        body: "{}".to_owned(),
        handling: Handling::Open,
        traceparent: None,
        duty: None,
        closes: None,
        order_id: None,
        duplicate_key: None,
    };
    world
        .store
        .accept(vec![row])
        .await
        .expect("storage answers");
    assert_eq!(world.post(&body).await, (200, "accepted before"));
    assert_eq!(world.wait_signal("receipt-1").await, "notified");
}

#[tokio::test]
async fn what_a_vanished_client_sent_is_stored_and_signalled() {
    let world = World::following().await;
    world.post(&renewal(2)).await;
    let locked = world.locked_database();
    let mut posting = Box::pin(world.router().oneshot(post(renewal(1))));
    for _ in 0..100 {
        assert!(
            futures::poll!(&mut posting).is_pending(),
            "the database is locked"
        );
        tokio::task::yield_now().await;
    }
    drop(posting);
    drop(locked);
    world.wait_signal("receipt-1").await;
    assert_eq!(world.stored(&renewal(1)).await.len(), 1);
}

fn post(body: String) -> Request<Body> {
    let path = format!("/v1/stores/amazon/{INGRESS_KEY}");
    Request::builder()
        .method("POST")
        .uri(path)
        .body(Body::from(body))
        .expect("a request")
}
