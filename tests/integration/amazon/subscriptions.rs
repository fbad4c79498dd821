//! Confirming, approving and ending a topic's subscription.

use super::{
    ACCOUNT, Beginning, FetchError, SIGNER, STRANGER, TOKEN, TOPIC, World, letter, notification,
    renewal, sample, subscription,
};
use domain::{CollapseKey, Outcome};
use secrecy::{ExposeSecret, SecretString};
use storage::{Handling, NewNotification, Page, TopicState};

const CONFIRMED: (u16, &str) = (200, "subscription confirmed");
const NEEDS_APPROVAL: (u16, &str) = (200, "topic waits for approval");

fn confirmations(world: &World) -> Vec<String> {
    world
        .sns
        .requests()
        .into_iter()
        .filter(|url| !url.ends_with(".pem"))
        .collect()
}

fn subscribe_url(topic: &str) -> String {
    format!(
        "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={topic}&Token={TOKEN}"
    )
}

fn foreseeing() -> Beginning {
    Beginning {
        accounts: vec![ACCOUNT.to_owned()],
        ..Beginning::default()
    }
}

#[tokio::test]
async fn the_configured_topic_is_confirmed_by_one_visit() {
    let world = World::following().await;
    assert_eq!(world.post(&subscription(1, TOPIC)).await, CONFIRMED);
    assert_eq!(confirmations(&world), [subscribe_url(TOPIC)]);
    assert_eq!(
        world.topics().await,
        [(TOPIC.to_owned(), TopicState::Confirmed)]
    );
    // Amazon's console can send the request again.
    assert_eq!(world.post(&subscription(2, TOPIC)).await, CONFIRMED);
}

#[tokio::test]
async fn a_failed_visit_is_requested_again() {
    let world = World::begin(Beginning {
        has_certificate: true,
        ..foreseeing()
    })
    .await;
    world
        .sns
        .breaks(Some(FetchError::Unavailable("status 500".to_owned())));
    assert_eq!(
        world.post(&subscription(1, TOPIC)).await,
        (503, "subscription could not be confirmed")
    );
    assert!(world.topics().await.is_empty());
    world.sns.breaks(None);
    assert_eq!(world.post(&subscription(1, TOPIC)).await, CONFIRMED);
    assert_eq!(
        world.topics().await,
        [(TOPIC.to_owned(), TopicState::Confirmed)]
    );
    assert_eq!(world.post(&renewal(2)).await, (200, "accepted"));
}

#[tokio::test]
async fn a_second_topic_of_an_expected_account_needs_approval() {
    let world = World::begin(foreseeing()).await;
    assert_eq!(world.post(&subscription(1, TOPIC)).await, CONFIRMED);
    let second = TOPIC.replace("LT0XA", "second");
    assert_eq!(world.post(&subscription(2, &second)).await, NEEDS_APPROVAL);
    assert_eq!(confirmations(&world), [subscribe_url(TOPIC)]);
}

#[tokio::test]
async fn a_strangers_topic_waits_for_approval_unvisited() {
    let world = World::begin(foreseeing()).await;
    assert_eq!(world.post(&subscription(1, STRANGER)).await, NEEDS_APPROVAL);
    assert_eq!(world.post(&subscription(1, STRANGER)).await, NEEDS_APPROVAL);
    assert!(confirmations(&world).is_empty());
    let topics = world
        .store
        .topics(world.platform.id)
        .await
        .expect("storage answers");
    assert_eq!((topics.len(), topics[0].state), (1, TopicState::Pending));
    assert_eq!(world.alarms().await, ["topic_pending"]);
    let url = world
        .store
        .subscribe_url(topics[0].id)
        .await
        .expect("storage answers")
        .expect("kept");
    assert_eq!(url.expose_secret(), subscribe_url(STRANGER));
    // An unknown topic that arrived first does not block the expected one.
    assert_eq!(world.post(&subscription(2, TOPIC)).await, CONFIRMED);
}

#[tokio::test]
async fn notifications_of_a_pending_topic_wait_for_its_approval() {
    let world = World::begin(Beginning::default()).await;
    assert_eq!(world.post(&subscription(1, TOPIC)).await, NEEDS_APPROVAL);
    let body = renewal(2);
    assert_eq!(world.post(&body).await, (200, "accepted"));
    assert_eq!(
        world.stored(&body).await[0].waiting_for,
        Some(storage::WaitingFor::TopicApproval)
    );
    let topic = world
        .store
        .topics(world.platform.id)
        .await
        .expect("storage answers")[0]
        .id;
    world.store.approve_topic(topic).await.expect("approved");
    // An approval takes effect at once, for waiting and for later notifications.
    assert_eq!(
        world.stored(&body).await[0].waiting_for,
        Some(storage::WaitingFor::Window)
    );
    let next = renewal(3);
    assert_eq!(world.post(&next).await, (200, "accepted"));
    assert_eq!(
        world.stored(&next).await[0].waiting_for,
        Some(storage::WaitingFor::Window)
    );
    world.wait_signal("receipt-3").await;
}

/// Returns a topic of the account with this number.
fn stranger(account: u64, name: &str) -> String {
    format!("arn:aws:sns:us-east-1:{account:012}:{name}")
}

/// Returns a world in which five topics of unknown accounts wait for approval , one per account.
async fn crowded() -> World {
    let world = World::begin(Beginning::default()).await;
    for number in 0..5 {
        assert_eq!(
            world
                .post(&subscription(number.into(), &stranger(number, "t")))
                .await,
            NEEDS_APPROVAL
        );
    }
    world
}

#[tokio::test]
async fn a_sixth_pending_topic_is_to_be_sent_again() {
    let world = crowded().await;
    assert_eq!(
        world.post(&subscription(6, STRANGER)).await,
        (503, "too many pending topics")
    );
    assert_eq!(world.topics().await.len(), 5);
    assert!(
        world
            .alarms()
            .await
            .contains(&"too_many_pending_topics".to_owned())
    );
    let topic = world
        .store
        .topics(world.platform.id)
        .await
        .expect("storage answers")[3]
        .id;
    world
        .store
        .reject_topic(topic, TopicState::Pending)
        .await
        .expect("rejected");
    assert_eq!(world.post(&subscription(6, STRANGER)).await, NEEDS_APPROVAL);
}

#[tokio::test]
async fn the_oldest_topic_of_a_stranger_gives_way_to_the_stores_own() {
    let world = crowded().await;
    let waiting = |account: u64| {
        let message = sample("SUBSCRIPTION_RENEWED", &format!("receipt-{account}")).message();
        notification((100 + account).into(), &stranger(account, "t"), &message)
    };
    for account in 0..5 {
        assert_eq!(world.post(&waiting(account)).await, (200, "accepted"));
    }
    assert_eq!(world.post(&subscription(8, TOPIC)).await, NEEDS_APPROVAL);
    let topics = world.topics().await;
    assert!(
        topics.contains(&(TOPIC.to_owned(), TopicState::Pending)),
        "{topics:?}"
    );
    let gone: Vec<u64> = (0..5)
        .filter(|account| topics.contains(&(stranger(*account, "t"), TopicState::Expired)))
        .collect();
    assert_eq!(gone.len(), 1, "{topics:?}");
    for account in 0..5 {
        let outcome = gone.contains(&account).then_some(Outcome::Refused);
        assert_eq!(world.stored(&waiting(account)).await[0].outcome, outcome);
    }
    // The topic keeps its place, however many others arrive.
    for number in 10..30_u64 {
        let answer = world
            .post(&subscription(
                number.into(),
                &stranger(900 + number, "more"),
            ))
            .await;
        assert_eq!(answer, (503, "too many pending topics"));
    }
    assert_eq!(world.topics().await, topics);
}

#[tokio::test]
async fn an_account_with_many_topics_leaves_a_place_to_the_others() {
    let world = World::begin(Beginning::default()).await;
    for number in 0..50_u64 {
        let answer = world
            .post(&subscription(
                number.into(),
                &stranger(7, &format!("t{number}")),
            ))
            .await;
        assert_eq!(answer.0, if number < 5 { 200 } else { 503 });
    }
    assert_eq!(
        world.post(&subscription(60, STRANGER)).await,
        NEEDS_APPROVAL
    );
    for number in 70..90_u64 {
        assert_eq!(
            world
                .post(&subscription(
                    number.into(),
                    &stranger(7, &format!("t{number}"))
                ))
                .await
                .0,
            503
        );
    }
    let topics = world.topics().await;
    assert!(
        topics.contains(&(STRANGER.to_owned(), TopicState::Pending)),
        "{topics:?}"
    );
}

#[tokio::test]
async fn what_a_stranger_writes_is_in_no_alarm() {
    let world = World::following().await;
    let topic = stranger(7, "visit-my-page");
    assert_eq!(world.post(&subscription(1, &topic)).await, NEEDS_APPROVAL);
    let mut foreign = sample("SUBSCRIPTION_RENEWED", "receipt");
    foreign.package_name = "com.example.visit-my-page";
    let end = SIGNER
        .sign_unsubscription(&letter(2, &topic), TOKEN)
        .expect("signed");
    assert_eq!(world.post(&end).await.0, 200);
    assert_eq!(
        world
            .post(&notification(3, TOPIC, &foreign.message()))
            .await,
        (200, "accepted")
    );
    let alarms = world
        .store
        .alarms(Page::default())
        .await
        .expect("storage answers")
        .items;
    assert_eq!(alarms.len(), 2, "{alarms:?}");
    assert!(
        alarms
            .iter()
            .all(|alarm| !alarm.detail.contains("visit-my-page")),
        "{alarms:?}"
    );
}

#[tokio::test]
async fn of_an_unapproved_topic_only_messages_of_the_app_are_stored() {
    let world = World::begin(Beginning::default()).await;
    assert_eq!(world.post(&subscription(1, TOPIC)).await, NEEDS_APPROVAL);
    let raised = world.raised().await;
    let mut foreign = sample("SUBSCRIPTION_RENEWED", "receipt");
    foreign.package_name = "com.example.other";
    for (number, message) in [
        (2, "Hello world".to_owned()),
        (3, foreign.message()),
        (4, "[".repeat(200_000)),
    ] {
        let body = notification(number, TOPIC, &message);
        let why = "topic is not approved, and the message is not of this platform's app";
        assert_eq!(world.post(&body).await, (403, why));
        assert!(world.stored(&body).await.is_empty());
    }
    assert_eq!(world.raised().await, raised);
}

#[tokio::test]
async fn an_expired_topic_may_request_approval_again() {
    let world = World::begin(Beginning::default()).await;
    assert_eq!(world.post(&subscription(1, TOPIC)).await, NEEDS_APPROVAL);
    let in_two_days = super::now().plus_millis(2 * 24 * 3_600_000);
    world
        .store
        .expire_topics(in_two_days)
        .await
        .expect("expired");
    assert_eq!(
        world.topics().await,
        [(TOPIC.to_owned(), TopicState::Expired)]
    );
    assert_eq!(
        world.post(&renewal(2)).await,
        (403, "topic is not known to this platform")
    );
    assert_eq!(world.post(&subscription(3, TOPIC)).await, NEEDS_APPROVAL);
    assert_eq!(
        world.topics().await,
        [(TOPIC.to_owned(), TopicState::Pending)]
    );
}

#[tokio::test]
async fn the_end_of_a_subscription_is_noted_and_never_undone() {
    let world = World::following().await;
    let end = SIGNER
        .sign_unsubscription(&letter(1, TOPIC), TOKEN)
        .expect("signed");
    assert_eq!(world.post(&end).await, (200, "unsubscription noted"));
    assert!(confirmations(&world).is_empty());
    assert_eq!(
        world.topics().await,
        [(TOPIC.to_owned(), TopicState::Unsubscribed)]
    );
    assert_eq!(world.alarms().await, ["topic_unsubscribed"]);
    // Notifications that were already on their way still count, and Amazon's console can subscribe again.
    assert_eq!(world.post(&renewal(2)).await, (200, "accepted"));
    assert_eq!(world.post(&subscription(3, TOPIC)).await, CONFIRMED);
    assert_eq!(
        world.topics().await,
        [(TOPIC.to_owned(), TopicState::Confirmed)]
    );
}

#[tokio::test]
async fn the_urls_of_a_message_are_neither_visited_nor_stored() {
    let world = World::following().await;
    let body = notification(
        1,
        TOPIC,
        &sample("SUBSCRIPTION_RENEWED", "receipt").message(),
    );
    assert!(body.contains("Action=Unsubscribe"));
    assert_eq!(world.post(&body).await, (200, "accepted"));
    assert_eq!(world.sns.requests(), [SIGNER.certificate_url("us-east-1")]);
}

#[tokio::test]
async fn an_approval_visits_only_what_confirms_a_subscription() {
    let world = World::begin(Beginning::default()).await;
    assert_eq!(
        world
            .amazon
            .visit(&SecretString::from(subscribe_url(TOPIC)))
            .await,
        Ok(())
    );
    for url in [
        "https://127.0.0.1/".to_owned(),
        subscribe_url(TOPIC).replace("https", "http"),
        subscribe_url(TOPIC).replace("ConfirmSubscription", "Unsubscribe"),
        subscribe_url(TOPIC).replace("sns.us-east-1", "sns.us-west-2"),
        "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=x".to_owned(),
    ] {
        assert_eq!(
            world.amazon.visit(&SecretString::from(url)).await,
            Err(FetchError::Forbidden)
        );
    }
    assert_eq!(confirmations(&world), [subscribe_url(TOPIC)]);
}

#[tokio::test]
async fn a_rejection_during_the_visit_stands() {
    let world = World::following().await;
    let topic = world
        .store
        .topics(world.platform.id)
        .await
        .expect("storage answers")[0]
        .id;
    let store = world.store.clone();
    world.sns.meanwhile(async move {
        store
            .reject_topic(topic, TopicState::Configured)
            .await
            .expect("rejected");
    });
    assert_eq!(
        world.post(&subscription(1, TOPIC)).await,
        (403, "topic was rejected")
    );
    assert_eq!(
        world.topics().await,
        [(TOPIC.to_owned(), TopicState::Rejected)]
    );
}

#[tokio::test]
async fn a_rejected_topic_is_not_visited_by_a_stale_cache() {
    let world = World::following().await;
    assert_eq!(world.post(&renewal(1)).await, (200, "accepted"));
    let topic = world
        .store
        .topics(world.platform.id)
        .await
        .expect("storage answers")[0]
        .id;
    world
        .store
        .reject_topic(topic, TopicState::Configured)
        .await
        .expect("rejected");
    assert_eq!(
        world.post(&subscription(2, TOPIC)).await,
        (403, "topic was rejected")
    );
    assert!(confirmations(&world).is_empty());
}

#[tokio::test]
async fn a_full_queue_of_a_topic_makes_sns_retry() {
    let world = World::begin(Beginning::default()).await;
    assert_eq!(world.post(&subscription(1, TOPIC)).await, NEEDS_APPROVAL);
    let topic = world
        .store
        .topics(world.platform.id)
        .await
        .expect("storage answers")[0]
        .id;
    let waiting = |number: i64| NewNotification {
        platform_id: world.platform.id,
        message_id: format!("many-{number}"),
        receipt_id: "receipt".to_owned(),
        collapse_key: Some(CollapseKey::of(world.platform.id, "receipt")),
        store_type: "SUBSCRIPTION_RENEWED".to_owned(),
        store_time: None,
        app_user_id: None,
        body: "{}".to_owned(),
        handling: Handling::WaitTopic(topic),
        traceparent: None,
        duty: None,
        closes: None,
        order_id: None,
        duplicate_key: None,
    };
    world
        .store
        .accept((0..2000).map(waiting).collect())
        .await
        .expect("accepted");
    assert_eq!(
        world.post(&renewal(2)).await,
        (503, "too many notifications wait for the topic's approval")
    );
    world
        .store
        .reject_topic(topic, TopicState::Pending)
        .await
        .expect("rejected");
    assert_eq!(world.post(&renewal(2)).await, (403, "topic was rejected"));
}
