//! Topics: which may send, and notifications that wait for that decision.

use super::world::{World, is_missing, new_platform, renewal, story};
use domain::{Outcome, PlatformId, Timestamp, TopicId};
use std::sync::Arc;
use storage::{
    Accepted, Error, GivesWay, Handling, NewNotification, PendingTopic, PlatformChange,
    PlatformSettings, SecretString, Store, Topic, TopicRequest, TopicState,
};

async fn keep(
    store: &Store,
    platform: PlatformId,
    arn: &str,
    expires_at: Timestamp,
) -> PendingTopic {
    let url = SecretString::from(format!("https://{arn}"));
    store
        .add_pending_topic(TopicRequest::new(platform, arn, url, expires_at))
        .await
        .unwrap()
}

/// Stores a pending topic with one waiting notification for each receipt.
pub async fn pending(world: &World, receipts: &[&str]) -> TopicId {
    let expires_at = world.store.now().await.unwrap().plus_millis(60_000);
    assert_eq!(
        keep(&world.store, world.platform.id, "arn:1", expires_at).await,
        PendingTopic::New
    );
    let topic = world
        .store
        .topics(world.platform.id)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(topic.state, TopicState::Pending);
    for (number, receipt) in receipts.iter().enumerate() {
        let mut waiting = renewal(
            world.platform.id,
            &format!("waiting-{number}"),
            receipt,
            number.try_into().unwrap(),
        );
        waiting.handling = Handling::WaitTopic(topic.id);
        assert!(matches!(world.accept(waiting).await, Accepted::New { .. }));
    }
    topic.id
}

story! {
    async fn at_most_five_topics_wait_for_a_decision(world: World) {
        let later = world.store.now().await.unwrap().plus_millis(60_000);
        for number in 0..5 {
            assert_eq!(keep(&world.store, world.platform.id, &format!("arn:{number}"), later).await, PendingTopic::New);
        }
        assert_eq!(keep(&world.store, world.platform.id, "arn:5", later).await, PendingTopic::Full);
        let much_later = later.plus_millis(60_000);
        assert_eq!(keep(&world.store, world.platform.id, "arn:4", much_later).await, PendingTopic::Renewed);
        let topics = world.store.topics(world.platform.id).await.unwrap();
        let alike = format!("SELECT CAST(COUNT(*) AS TEXT) AS value FROM topics WHERE expires_at = {}", later.micros());
        assert_eq!(world.raw().texts(&alike), ["5"], "who requests again waits no longer");
        assert_eq!(topics.len(), 5);
        world.store.reject_topic(topics[0].id, TopicState::Pending).await.unwrap();
        assert_eq!(keep(&world.store, world.platform.id, "arn:5", later).await, PendingTopic::New);
    }
}

story! {
    async fn topics_and_refusals_of_strangers_are_bounded(world: World) {
        let platform = world.platform.id;
        let oldest: GivesWay = Arc::new(|topics| {
            topics.iter().find(|topic| topic.state == TopicState::Pending).map(|topic| topic.id)
        });
        for number in 0..40 {
            world.pass(1);
            let later = world.store.now().await.unwrap().plus_millis(60_000);
            let url = SecretString::from("https://sns");
            let request = TopicRequest::new(platform, &format!("arn:{number}"), url, later).over(oldest.clone());
            assert_eq!(world.store.add_pending_topic(request).await.unwrap(), PendingTopic::New);
            let topics = world.store.topics(platform).await.unwrap();
            let newest = topics.iter().find(|topic| topic.arn == format!("arn:{number}")).unwrap().id;
            let waiting = (0..50).map(|message| {
                let id = format!("{number}-{message}");
                NewNotification { handling: Handling::WaitTopic(newest), ..renewal(platform, &id, &id, message) }
            });
            world.store.accept(waiting.collect()).await.unwrap();
            world.notify(&format!("genuine-{number}"), "r", number).await;
        }
        let states = |state: TopicState, topics: &[Topic]| topics.iter().filter(|topic| topic.state == state).count();
        let topics = world.store.topics(platform).await.unwrap();
        // Twenty topics expired, and the one that was displaced last.
        assert_eq!((states(TopicState::Pending, &topics), states(TopicState::Expired, &topics)), (5, 21));
        let count = |condition: &str| {
            world.count(&format!("notifications WHERE {condition}"))
        };
        assert_eq!((count("outcome = 'refused'"), count("outcome IS NULL")), (1000, 5 * 50 + 40));
        assert_eq!(count("outcome = 'refused' AND body <> '{}'"), 0);
        assert_eq!(world.store.notifications_of("0-0").await.unwrap(), [], "the oldest are gone");
        assert_eq!(world.store.notifications_of("34-49").await.unwrap()[0].outcome, Some(Outcome::Refused));
        assert_eq!(world.broken(1000).await, [], "what was removed is not missed");
    }
}

story! {
    async fn approval_releases_waiting_notifications(world: World) {
        let topic = pending(&world, &["r1", "r2", "r1"]).await;
        assert_eq!(world.store.open_after(0, 10).await.unwrap(), []);
        let view = world.store.notifications_of("waiting-0").await.unwrap().remove(0);
        assert_eq!(view.waiting_for, Some(storage::WaitingFor::TopicApproval));
        assert!(world.store.subscribe_url(topic).await.unwrap().is_some());
        let released = world.store.approve_topic(topic).await.unwrap();
        let mut keys: Vec<_> = released.iter().map(|(key, _)| *key).collect();
        keys.sort();
        let mut expected = vec![world.key("r1"), world.key("r2")];
        expected.sort();
        assert_eq!(keys, expected);
        let open = world.store.open_after(0, 10).await.unwrap();
        assert_eq!(open.len(), 3);
        let newest = released.iter().find(|(key, _)| *key == world.key("r1")).unwrap().1;
        assert_eq!(newest, open[2].seq);
        assert!(world.store.subscribe_url(topic).await.unwrap().is_none());
        assert_eq!(world.store.topic(topic).await.unwrap().state, TopicState::Confirmed);
    }
}

story! {
    async fn a_fact_of_a_trusted_topic_is_not_announced_twice(world: World) {
        let topic = pending(&world, &["r1"]).await;
        world.notify("genuine", "r1", 0).await;
        assert_eq!(world.store.approve_topic(topic).await.unwrap(), []);
        let view = world.store.notifications_of("waiting-0").await.unwrap().remove(0);
        assert_eq!(view.outcome, Some(Outcome::Duplicate));
        assert_eq!(world.load(world.key("r1")).await.notifications.len(), 1);
    }
}

story! {
    async fn rejection_refuses_waiting_notifications(world: World) {
        let topic = pending(&world, &["r1", "r2"]).await;
        assert_eq!(world.store.reject_topic(topic, TopicState::Pending).await.unwrap(), 2);
        let view = world.store.notifications_of("waiting-1").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.waiting_for), (Some(Outcome::Refused), None));
        assert!(world.store.subscribe_url(topic).await.unwrap().is_none());
        let later = world.store.now().await.unwrap().plus_millis(60_000);
        assert_eq!(keep(&world.store, world.platform.id, "arn:1", later).await, PendingTopic::Renewed);
        assert_eq!(world.store.topic(topic).await.unwrap().state, TopicState::Rejected,
            "a rejected topic stays rejected");
        assert!(matches!(world.accept(renewal(world.platform.id, "genuine", "r1", 0)).await, Accepted::New { .. }));
    }
}

story! {
    async fn a_topic_that_nobody_approves_expires(world: World) {
        let topic = pending(&world, &["r1"]).await;
        let now = world.store.now().await.unwrap();
        assert_eq!(world.store.expire_topics(now).await.unwrap(), 0);
        assert_eq!(world.store.expire_topics(now.plus_millis(120_000)).await.unwrap(), 1);
        assert_eq!(world.store.topic(topic).await.unwrap().state, TopicState::Expired);
        assert_eq!(keep(&world.store, world.platform.id, "arn:1", now.plus_millis(1)).await, PendingTopic::New);
    }
}

story! {
    async fn an_arrival_just_after_the_decision_does_not_wait_for_ever(world: World) {
        let topic = pending(&world, &[]).await;
        world.store.reject_topic(topic, TopicState::Pending).await.unwrap();
        let mut late = renewal(world.platform.id, "late", "r1", 1);
        late.handling = Handling::WaitTopic(topic);
        world.accept(late).await;
        let now = world.store.now().await.unwrap();
        assert_eq!(world.store.expire_topics(now).await.unwrap(), 1);
        assert_eq!(world.store.notifications_of("late").await.unwrap()[0].outcome, Some(Outcome::Refused));
    }
}

story! {
    async fn a_repetition_after_the_decision_is_released(world: World) {
        let topic = pending(&world, &[]).await;
        let mut late = renewal(world.platform.id, "late", "r1", 1);
        late.handling = Handling::WaitTopic(topic);
        world.store.approve_topic(topic).await.unwrap();
        // The request that stores the notification dies before it applies the decision.
        assert!(matches!(world.accept(late.clone()).await, Accepted::New { .. }));
        late.handling = Handling::Open;
        assert_eq!(world.accept(late.clone()).await, Accepted::Waiting { topic });
        assert_eq!(world.store.end_waiting(topic).await.unwrap().released.len(), 1);
        assert!(matches!(world.accept(late).await, Accepted::Repeated { open: Some(_) }));
    }
}

story! {
    async fn a_topic_named_in_the_settings_may_be_confirmed_at_once(world: World) {
        let mut named = new_platform(&world.app, "named");
        named.topic_arn = Some("arn:named".to_owned());
        let platform = world.store.new_platform(named).await.unwrap();
        let topic = world.store.topics(platform.id).await.unwrap().remove(0);
        assert_eq!((topic.state, topic.arn.as_str()), (TopicState::Configured, "arn:named"));
        assert_eq!(world.store.pin_topic(platform.id, "arn:named").await.unwrap().0.state, TopicState::Confirmed);
        world.store.mark_unsubscribed(platform.id, "arn:named").await.unwrap();
        assert_eq!(world.store.topic(topic.id).await.unwrap().state, TopicState::Unsubscribed);
        let nobody = TopicId::new(world.app.id.uuid());
        assert!(is_missing(&world.store.approve_topic(nobody).await.unwrap_err()));
    }
}

story! {
    async fn pinning_a_topic_releases_its_waiting_notifications(world: World) {
        pending(&world, &["r1"]).await;
        let (_, released) = world.store.pin_topic(world.platform.id, "arn:1").await.unwrap();
        assert_eq!(released.len(), 1);
        assert_eq!(world.store.open_after(0, 10).await.unwrap().len(), 1);
    }
}

/// Checks that the result is a conflict, because another decision came first, and that its detail names the current
/// state.
fn overtaken<T: std::fmt::Debug>(decided: Result<T, Error>, now: &str) {
    match decided {
        Err(Error::Conflict {
            what: "topic",
            detail,
        }) => assert_eq!(detail, format!("it is {now} now")),
        other => panic!("it was decided over another decision: {other:?}"),
    }
}

story! {
    async fn a_decision_never_overwrites_another(world: World) {
        let topic = pending(&world, &["r1"]).await;
        world.store.reject_topic(topic, TopicState::Pending).await.unwrap();
        overtaken(world.store.approve_topic(topic).await, "rejected");
        overtaken(world.store.reject_topic(topic, TopicState::Pending).await, "rejected");
        overtaken(world.store.reject_topic(topic, TopicState::Rejected).await, "rejected");
        overtaken(world.store.pin_topic(world.platform.id, "arn:1").await, "rejected");
        world.store.mark_unsubscribed(world.platform.id, "arn:1").await.unwrap();
        let later = world.store.now().await.unwrap().plus_millis(600_000);
        world.store.expire_topics(later).await.unwrap();
        assert_eq!(world.store.topic(topic).await.unwrap().state, TopicState::Rejected);
    }
}

story! {
    async fn one_of_concurrent_approval_and_rejection_wins(world: World) {
        let second = world.second_process().await;
        for number in 0..10 {
            let arn = format!("arn:race-{number}");
            let later = world.store.now().await.unwrap().plus_millis(60_000);
            keep(&world.store, world.platform.id, &arn, later).await;
            let topics = world.store.topics(world.platform.id).await.unwrap();
            let id = topics.iter().find(|topic| topic.arn == arn).unwrap().id;
            let (approving, rejecting) = (world.store.clone(), second.clone());
            let approved = tokio::spawn(async move { approving.approve_topic(id).await.is_ok() });
            let rejected = tokio::spawn(async move { rejecting.reject_topic(id, TopicState::Pending).await.is_ok() });
            let (approved, rejected) = (approved.await.unwrap(), rejected.await.unwrap());
            assert_ne!(approved, rejected);
            let expected = if approved { TopicState::Confirmed } else { TopicState::Rejected };
            assert_eq!(world.store.topic(id).await.unwrap().state, expected);
        }
    }
}

story! {
    async fn concurrent_approvals_release_what_waited_once(world: World) {
        let topic = pending(&world, &[]).await;
        let waiting = |number: i64| {
            let mut row = renewal(world.platform.id, &format!("many-{number}"), &format!("r{number}"), number);
            row.handling = Handling::WaitTopic(topic);
            row
        };
        world.store.accept((0..2_000).map(waiting).collect()).await.unwrap();
        world.confirm(topic);
        let second = world.second_process().await;
        let ending = [world.store.clone(), second.clone(), world.store.clone(), second]
            .map(|store| tokio::spawn(async move { store.end_waiting(topic).await.unwrap().released.len() }));
        let mut released = 0;
        for finished in ending {
            released += finished.await.unwrap();
        }
        assert_eq!(released, 2_000);
        assert_eq!(world.store.open_after(0, 5_000).await.unwrap().len(), 2_000, "none is its own duplicate");
    }
}

story! {
    async fn a_pending_topic_is_approved_and_not_named(world: World) {
        let topic = pending(&world, &[]).await;
        let named = async |arn: &str, name: &'static str| {
            let change = PlatformChange { topic_arn: Some(arn.to_owned()), ..PlatformChange::default() };
            let rename = move |settings: &mut PlatformSettings| settings.name = name.to_owned();
            world.store.update_platform(world.platform.id, change, rename).await
        };
        let refused = named("arn:1", "changed").await;
        assert!(matches!(refused, Err(Error::Conflict { what: "topic", .. })), "{refused:?}");
        assert_ne!(world.store.platform(world.platform.id).await.unwrap().settings.name, "changed", "nothing was changed");
        assert_eq!(world.store.topic(topic).await.unwrap().state, TopicState::Pending);
        named("arn:2", "changed").await.unwrap();
        let states: Vec<_> = world.store.topics(world.platform.id).await.unwrap().iter().map(|it| it.state).collect();
        assert!(states.contains(&TopicState::Configured), "{states:?}");
        world.store.pin_topic(world.platform.id, "arn:2").await.unwrap();
        named("arn:2", "again").await.unwrap();
        let states: Vec<_> = world.store.topics(world.platform.id).await.unwrap().iter().map(|it| it.state).collect();
        assert!(states.contains(&TopicState::Confirmed), "{states:?}");
    }
}

story! {
    async fn two_thousand_may_wait_for_a_topic_and_all_get_an_outcome(world: World) {
        let topic = pending(&world, &[]).await;
        let waiting = |number: i64| {
            let mut row = renewal(world.platform.id, &format!("many-{number}"), &format!("r{}", number % 7), number);
            row.handling = Handling::WaitTopic(topic);
            row
        };
        world.store.accept((1..2000).map(waiting).collect()).await.unwrap();
        assert!(!world.store.is_full(topic).await.unwrap());
        world.accept(waiting(2000)).await;
        assert!(world.store.is_full(topic).await.unwrap());
        // As if a process had died after the decision: the sweep continues the work.
        world.confirm(topic);
        world.store.expire_topics(world.store.now().await.unwrap()).await.unwrap();
        assert_eq!(world.store.open_after(0, 20_000).await.unwrap().len(), 2000);
        assert!(!world.store.is_full(topic).await.unwrap());
    }
}
