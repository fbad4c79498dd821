//! Two processes on one database, one of which lacks the key with which the other encrypts.

use super::listener::platform;
use serde_json::Value;
use system_tests::http::{Answer, Api, post_as_sns};
use system_tests::process::{Backend, Installation, Process};
use system_tests::sns::{Message, Rtn, Sns};

/// A port of 127.0.0.1 (discard) on which no Temporal listens.
const NO_TEMPORAL: &str = "127.0.0.1:9";
const NEW: [u8; 32] = [0x21; 32];

/// Posts a message to a platform's notification URL at another process.
async fn post(process: &Process, notification_url: &str, message: &Message) -> Answer {
    let key = notification_url.rsplit('/').next().unwrap_or_default();
    let url = format!("{}/v1/stores/amazon/{key}", process.public_url());
    post_as_sns(&url, &message.body).await.expect("an answer")
}

async fn readiness(process: &Process) -> (u16, Value) {
    let answer = Api::new(process.url(), "").get("/readyz").await;
    (answer.status, answer.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_notification_is_lost_at_a_process_that_lacks_a_key() {
    let sns = Sns::new();
    let installation = Installation::new(Backend::Postgres, NO_TEMPORAL, &sns);
    let (old, new) = ("07".repeat(32), "21".repeat(32));
    let (old_first, new_first) = (format!("{old},{new}"), format!("{new},{old}"));
    let mut lacking = installation.start(&["serve"], &[]);
    lacking.wait_ready().await;
    let known = platform(&installation.api()).await;
    let mut turned = installation.serve_beside(&[("SETTLE_KEY", &new_first)]);
    turned.wait_ready().await;

    let messages = [1, 2, 3]
        .map(|number| sns.notification(&Rtn::new("SUBSCRIPTION_PURCHASED", &format!("r{number}"))));
    assert_eq!(
        post(&lacking, "/nobody", &messages[0]).await.status,
        404,
        "nothing is encrypted with the new key yet"
    );
    assert_eq!(readiness(&lacking).await.0, 200);
    let created = platform(&Api::new(turned.url(), &installation.token)).await;
    for _ in 0..3 {
        let answer = post(&lacking, &created, &messages[0]).await;
        assert_eq!(answer.status, 503, "SNS repeats it: {}", answer.body);
    }
    assert_eq!(
        post(&lacking, &known, &messages[1]).await.status,
        200,
        "its platform is found"
    );
    let (status, body) = readiness(&lacking).await;
    let id = storage::key_id(&NEW);
    assert!(
        status == 503
            && body["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(&id)),
        "{status}: {body}"
    );
    let log = lacking.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("lacks a key"))
        .collect();
    assert!(
        lines.len() == 1 && lines[0].contains("ERROR") && lines[0].contains(&id),
        "{log}"
    );
    assert_eq!(post(&turned, &created, &messages[0]).await.status, 200);
    assert_eq!(readiness(&turned).await.0, 200);

    drop(lacking);
    let mut restarted = installation.start(&["serve"], &[("SETTLE_KEY", &old_first)]);
    restarted.wait_ready().await;
    assert_eq!(post(&restarted, &created, &messages[2]).await.status, 200);
    assert_eq!(post(&restarted, "/nobody", &messages[2]).await.status, 404);
}
