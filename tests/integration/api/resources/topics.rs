//! A platform's topics: pending, approved, rejected, pinned.

use super::ARN;
use crate::api::edge::{Service, accept};
use domain::TopicId;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use storage::{Handling, TopicRequest, TopicState};
use system_tests::wait;
use system_tests::world::SOON;

const SUBSCRIBE: &str = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription\
    &TopicArn=arn:aws:sns:us-east-1:123456789012:reader&Token=2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92768dd60a747ba6f3beb71854e285d6ad02428b09ceece29417f1f02d609c582afbacc99c583a916b9981dd2728f4ae6fdb82efd087cc3b7849e05798d2d2785c03b0879594eeac82c01f235d0e717736";

async fn pending(service: &Service) -> (domain::PlatformId, TopicId, String) {
    let (_, platform) = service.platform().await;
    let expires = api::clock::now().plus_millis(60_000);
    service
        .store
        .add_pending_topic(TopicRequest::new(
            platform,
            ARN,
            SecretString::from(SUBSCRIBE),
            expires,
        ))
        .await
        .expect("kept");
    let topic = service.store.topics(platform).await.expect("topics")[0].id;
    (platform, topic, format!("/v1/platforms/{platform}/topics"))
}

#[tokio::test]
async fn an_approved_topic_is_confirmed_and_what_waited_is_signalled() {
    let service = Service::start("approve").await;
    let (platform, topic, topics) = pending(&service).await;
    let (key, seq) = accept(
        &service.store,
        platform,
        "receipt",
        Handling::WaitTopic(topic),
    )
    .await;
    let listed = service.get(&topics).await.body;
    assert_eq!(
        (&listed["items"][0]["state"], &listed["items"][0]["arn"]),
        (&json!("pending"), &json!(ARN))
    );
    assert!(!listed.to_string().contains("Token"));
    assert_eq!(service.engine.signals(), []);
    let approved = service
        .send_json("POST", &format!("{topics}/{topic}/approve"), &Value::Null)
        .await;
    assert_eq!(
        (approved.status, &approved.body["state"]),
        (200, &json!("confirmed")),
        "{}",
        approved.body
    );
    let again = service
        .send_json("POST", &format!("{topics}/{topic}/approve"), &Value::Null)
        .await;
    assert_eq!(again.status, 409);
    assert!(
        again.body["detail"]
            .to_string()
            .contains("the topic is confirmed now"),
        "{}",
        again.body
    );
    assert_eq!(*service.sns.visits.lock().expect("visits"), [SUBSCRIBE]);
    wait::until(SOON, "the released row's signal", async || {
        match &service.engine.signals()[..] {
            [(rows, workflows::signal::Signal::Notified(notified))]
                if *rows == key && notified.through == seq =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_confirmation_that_fails_leaves_the_topic_pending() {
    let service = Service::start("visit").await;
    let (platform, topic, topics) = pending(&service).await;
    service.sns.down.store(true, Ordering::SeqCst);
    let answer = service
        .send_json("POST", &format!("{topics}/{topic}/approve"), &Value::Null)
        .await;
    assert_eq!(answer.status, 502, "{}", answer.body);
    assert!(
        !answer.body.to_string().contains("Token")
            && answer.body["detail"].to_string().contains("approve again")
    );
    assert_eq!(
        service.store.topic(topic).await.expect("the topic").state,
        TopicState::Pending
    );
    assert_eq!(
        service.get(&format!("/v1/platforms/{platform}")).await.body["topic"]["state"],
        "pending"
    );
}

#[tokio::test]
async fn a_rejected_topic_stays_rejected_and_its_rows_are_refused() {
    let service = Service::start("reject").await;
    let (platform, topic, topics) = pending(&service).await;
    let (key, _) = accept(
        &service.store,
        platform,
        "receipt",
        Handling::WaitTopic(topic),
    )
    .await;
    let rejected = service
        .send_json("POST", &format!("{topics}/{topic}/reject"), &Value::Null)
        .await;
    assert_eq!(
        (rejected.status, &rejected.body["state"]),
        (200, &json!("rejected")),
        "{}",
        rejected.body
    );
    for verb in ["approve", "reject"] {
        let again = service
            .send_json("POST", &format!("{topics}/{topic}/{verb}"), &Value::Null)
            .await;
        assert_eq!(again.status, 409);
        assert!(
            again.body["detail"].to_string().contains("is rejected now"),
            "{}",
            again.body
        );
    }
    let rows = service
        .get(&format!("/v1/purchases/{key}/notifications"))
        .await
        .body;
    assert_eq!(rows["items"][0]["outcome"], "refused", "{rows}");
}

#[tokio::test]
async fn a_rejection_while_the_approval_visits_stands() {
    let service = Service::start("overtaken").await;
    let (platform, topic, topics) = pending(&service).await;
    accept(
        &service.store,
        platform,
        "receipt",
        Handling::WaitTopic(topic),
    )
    .await;
    let store = service.store.clone();
    *service.sns.meanwhile.lock().expect("no test panicked") = Some(Box::pin(async move {
        store
            .reject_topic(topic, TopicState::Pending)
            .await
            .expect("rejected");
    }));
    let answer = service
        .send_json("POST", &format!("{topics}/{topic}/approve"), &Value::Null)
        .await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(
        answer.body["detail"]
            .to_string()
            .contains("is rejected now"),
        "{}",
        answer.body
    );
    assert_eq!(
        service.store.topic(topic).await.expect("the topic").state,
        TopicState::Rejected
    );
    assert_eq!(
        service.store.open_after(0, 10).await.expect("the inbox"),
        []
    );
}

#[tokio::test]
async fn a_pending_topic_is_not_pinned_by_naming_it() {
    let service = Service::start("named").await;
    let (platform, topic, _) = pending(&service).await;
    let path = format!("/v1/platforms/{platform}");
    let refused = service
        .send_json("PATCH", &path, &json!({ "topic_arn": ARN }))
        .await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(
        refused.body["detail"].to_string().contains("approve"),
        "{}",
        refused.body
    );
    assert_eq!(
        service.store.topic(topic).await.expect("the topic").state,
        TopicState::Pending
    );
    for wrong in [
        "arn:aws:sqs:us-east-1:123456789012:reader",
        "arn:aws-cn:sns:cn-north-1:123456789012:reader",
    ] {
        let answer = service
            .send_json("PATCH", &path, &json!({ "topic_arn": wrong }))
            .await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec!["topic_arn"]),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_topic_of_another_platform_is_not_found() {
    let service = Service::start("other").await;
    let (_, topic, _) = pending(&service).await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": "another" }))
        .await
        .body["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let body = json!({ "store": "amazon", "name": "fire", "package_name": "com.example.other" });
    let other = service
        .send_json("POST", &format!("/v1/apps/{app}/platforms"), &body)
        .await
        .body["id"]
        .clone();
    let path = format!(
        "/v1/platforms/{}/topics/{topic}/approve",
        other.as_str().expect("an id")
    );
    assert_eq!(
        service.send_json("POST", &path, &Value::Null).await.status,
        404
    );
}
