//! The fake of RVS gives the specified answers, and its check fails after a wrong query.

use api::clock;
use axum::http::Method;
use domain::Environment;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use system_tests::http::{Answer, send_raw};
use system_tests::rvs::{CUSTOMER, Receipt, Reply, Rvs};
use system_tests::wait;
use system_tests::world::SOON;

const SECRET: &str = "2%3Arvs%2Fsecret%2Bof%3Dthe%3Atests%21%3D%3D";

async fn query(rvs: &Rvs, path: &str) -> Answer {
    send_raw(
        Method::GET,
        &format!("{}{path}", rvs.url()),
        &[],
        Vec::new(),
    )
    .await
    .expect("an answer")
}

fn path(world: &str, (secret, user, receipt): (&str, &str, &str)) -> String {
    format!(
        "{world}/version/1.0/verifyReceiptId/developer/{secret}/user/{user}/receiptId/{receipt}"
    )
}

/// Returns a fake that knows the receipt `a/b` in the sandbox.
async fn knowing() -> Rvs {
    let rvs = Rvs::start().await;
    rvs.know("a/b", Receipt::subscription(clock::now()));
    rvs
}

#[tokio::test]
async fn it_judges_secret_world_receipt_and_customer_in_this_order() {
    let rvs = knowing().await;
    let cases = [
        ("/sandbox", (SECRET, CUSTOMER, "a%2Fb"), 200),
        ("/sandbox", ("wrong", "nobody", "unknown"), 496),
        ("", (SECRET, CUSTOMER, "a%2Fb"), 400),
        ("/sandbox", (SECRET, CUSTOMER, "c"), 400),
        ("/sandbox", (SECRET, "nobody", "a%2Fb"), 497),
    ];
    for (world, parts, status) in cases {
        assert_eq!(
            query(&rvs, &path(world, parts)).await.status,
            status,
            "{world} {parts:?}"
        );
    }
    let queries = rvs.about("a/b");
    assert_eq!(
        queries.iter().map(|query| query.status).collect::<Vec<_>>(),
        [Some(200), Some(400), Some(497)]
    );
    assert_eq!(
        queries.first().map(|query| query.environment),
        Some(Environment::Sandbox)
    );
    rvs.check();
}

#[tokio::test]
async fn scripted_answers_come_first_and_then_true_ones() {
    let rvs = knowing().await;
    let path = path("/sandbox", (SECRET, CUSTOMER, "a%2Fb"));
    rvs.change(
        "a/b",
        &json!({ "autoRenewing": "false", "cancelDate": null }),
    );
    rvs.answer_next(1, &Reply::Status(500));
    rvs.answer_next(1, &Reply::RetryAfter(7));
    rvs.answer_next(1, &Reply::Body("{".to_owned()));
    rvs.answer_next(1, &Reply::Late(Duration::from_millis(1)));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(query(&rvs, &path).await.status);
    }
    assert_eq!(statuses, [500, 429, 200, 200]);
    let body = query(&rvs, &path).await.body;
    assert_eq!(
        (&body["receiptId"], &body["autoRenewing"]),
        (&json!("a/b"), &json!("false"))
    );
    assert_eq!(body["cancelDate"], Value::Null);

    rvs.answer_about("a/b", Reply::Hang);
    let url = format!("{}{path}", rvs.url());
    let hanging = tokio::spawn(async move { send_raw(Method::GET, &url, &[], Vec::new()).await });
    rvs.wait_queries("a/b", 6, SOON).await;
    wait::throughout(Duration::from_millis(200), "no answer", async || {
        let status = rvs.about("a/b").last().and_then(|query| query.status);
        status.map_or(Ok(()), |status| Err(status.to_string()))
    })
    .await;
    rvs.release();
    assert_eq!(
        hanging.await.expect("it ends").map(|answer| answer.status),
        Ok(200)
    );
}

#[tokio::test]
async fn a_state_is_shown_when_due_and_never_goes_back() {
    let (start, passed) = (clock::now(), Arc::new(AtomicI64::new(0)));
    let rvs = Rvs::start().await;
    let reader = Arc::clone(&passed);
    rvs.follow(move || start.plus_millis(reader.load(Ordering::Relaxed)));
    let path = path("/sandbox", (SECRET, CUSTOMER, "c"));
    let part = |fields: Value| Receipt {
        fields,
        ..Receipt::subscription(start)
    };
    rvs.know_at("c", &Receipt::subscription(start), start.plus_millis(1000));
    rvs.know_at(
        "c",
        &part(json!({ "autoRenewing": false, "cancelReason": 1 })),
        start.plus_millis(5000),
    );
    // Auto-renewal is switched on again, and shown so before the earlier change would have become visible.
    rvs.know_at(
        "c",
        &part(json!({ "autoRenewing": true })),
        start.plus_millis(4000),
    );
    assert!(rvs.is_known("c") && !rvs.is_known("d"));
    assert_eq!(query(&rvs, &path).await.status, 400);
    let mut shown = Vec::new();
    for millis in [1000, 4000, 5000] {
        passed.store(millis, Ordering::Relaxed);
        let body = query(&rvs, &path).await.body;
        shown.push((body["autoRenewing"].clone(), body["cancelReason"].clone()));
    }
    assert_eq!(
        shown,
        [
            (json!(true), Value::Null),
            (json!(true), Value::Null),
            (json!(true), json!(1))
        ]
    );
    rvs.answer_about("c", Reply::Status(503));
    assert_eq!(query(&rvs, &path).await.status, 503);
    rvs.answer_truly_about("c");
    assert_eq!(query(&rvs, &path).await.status, 200);
}

#[tokio::test]
async fn its_check_fails_on_a_wrong_query() {
    for wrong in [
        "/",
        "/sandbox/version/1.0/verifyReceiptId/developer/s/user/a/b/receiptId/c",
        "/version/2.0/x?y=z",
    ] {
        let rvs = knowing().await;
        assert_eq!(query(&rvs, wrong).await.status, 404, "{wrong}");
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rvs.check()));
        assert!(checked.is_err(), "{wrong} goes unseen");
    }
}
