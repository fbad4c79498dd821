//! Queries to the store: which purchases can be queried, with which values, and how failures are counted.

use super::world::{
    REFUSAL, Report, World, is_missing, new_platform, record, renewal, reported, story,
};
use domain::{NotificationKind, Verification};
use std::time::Duration;
use storage::{CredentialRefusal, ExposeSecret, Page};

/// The reason of a failed query.
const WHY: &str = "HTTP 503";

story! {
    async fn a_query_to_the_store_holds_what_is_known_of_the_purchase(world: World) {
        let key = world.key("r1");
        assert!(world.store.store_query(key).await.unwrap().is_none(), "nothing is known of it");
        world.notify("m1", "r1", 1).await;
        let query = world.store.store_query(key).await.unwrap().unwrap();
        assert_eq!((query.platform_id, query.store.as_str()), (world.platform.id, "amazon"));
        assert_eq!((query.app_user_id.as_deref(), query.receipt_id.as_str()), (Some("customer-1"), "r1"));
        assert_eq!(query.environment, domain::Environment::Production);
        assert_eq!(query.secret.expose_secret(), "shared-secret-of-the-platform");
        let shown = format!("{query:?}");
        assert!(!["secret-of", "customer-1", "r1"].iter().any(|secret| shown.contains(secret)), "{shown}");
        assert!(world.load(key).await.verify);
        world.settle(key).await;
        assert!(world.load(key).await.verify, "the purchase keeps the customer");
        let report = Report { kind: NotificationKind::Renewed, customer: Some("customer-2"), related: None };
        world.accept(reported(world.platform.id, "m2", "r1", 2, report)).await;
        let query = world.store.store_query(key).await.unwrap().unwrap();
        assert_eq!(query.app_user_id.as_deref(), Some("customer-2"), "the customer of the newest notification is used");
    }
}

story! {
    async fn without_a_customer_or_a_secret_no_store_is_queried(world: World) {
        let report = Report { kind: NotificationKind::Renewed, customer: None, related: None };
        world.accept(reported(world.platform.id, "m1", "r1", 1, report)).await;
        let mut bare = new_platform(&world.app, "bare");
        bare.shared_secret = None;
        let bare = world.store.new_platform(bare).await.unwrap();
        world.accept(renewal(bare.id, "m2", "r2", 1)).await;
        for key in [world.key("r1"), domain::CollapseKey::of(bare.id, "r2")] {
            assert!(!world.load(key).await.verify);
            assert!(world.store.store_query(key).await.unwrap().is_none());
        }
    }
}

story! {
    async fn a_refused_secret_is_reported_once_and_not_used_again(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1).await;
        let query = world.store.store_query(key).await.unwrap().unwrap();
        assert!(world.store.refuse_secret(&query, REFUSAL).await.unwrap());
        assert!(!world.store.refuse_secret(&query, REFUSAL).await.unwrap());
        assert!(!world.load(key).await.verify);
        assert!(world.store.store_query(key).await.unwrap().is_none());
        let alarms = world.store.alarms(Page::default()).await.unwrap().items;
        assert_eq!((alarms.len(), alarms[0].kind.as_str(), alarms[0].count), (1, "secret_refused", 1));
        assert_eq!(alarms[0].platform_id, Some(world.platform.id));
        assert!(!alarms[0].detail.contains("secret-of"));
    }
}

story! {
    async fn a_credential_that_lacks_a_right_is_used_again(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1).await;
        let query = world.store.store_query(key).await.unwrap().unwrap();
        let refusal = CredentialRefusal { retry_in: Some(Duration::from_secs(60)), ..REFUSAL };
        assert!(world.store.refuse_secret(&query, refusal).await.unwrap());
        world.pass(30_000);
        assert_eq!(world.store.retry_refused_secrets(10).await.unwrap(), 0);
        assert!(world.store.store_query(key).await.unwrap().is_none());
        world.pass(31_000);
        assert_eq!(world.store.retry_refused_secrets(10).await.unwrap(), 1);
        assert!(world.store.store_query(key).await.unwrap().is_some());
        assert_eq!(world.store.retry_refused_secrets(10).await.unwrap(), 0, "once");
        assert!(world.store.refuse_secret(&query, refusal).await.unwrap(), "the right is still missing");
        world.set_secret(Some("new")).await;
        world.pass(60_000);
        assert_eq!(world.store.retry_refused_secrets(10).await.unwrap(), 0, "a new credential is not retried");
    }
}

story! {
    async fn a_secret_that_is_gone_is_not_refused(world: World) {
        world.notify("m1", "r1", 1).await;
        let query = world.store.store_query(world.key("r1")).await.unwrap().unwrap();
        world.set_secret(None).await;
        assert!(!world.store.refuse_secret(&query, REFUSAL).await.unwrap());
        world.set_secret(Some("new")).await;
        assert!(world.load(world.key("r1")).await.verify);
        assert!(!world.store.refuse_secret(&query, REFUSAL).await.unwrap(), "it is not the one that the store was queried with");
        assert!(world.load(world.key("r1")).await.verify);
    }
}

story! {
    async fn failures_are_counted_from_the_first_until_the_store_answers(world: World) {
        let key = world.key("r1");
        assert!(is_missing(&world.store.verify_failed(key, WHY).await.unwrap_err()));
        world.notify("m1", "r1", 1).await;
        let began = world.store.now().await.unwrap();
        let first = world.store.verify_failed(key, WHY).await.unwrap();
        assert_eq!(first.attempts, 1);
        let seq = world.load(key).await.notifications[0].0;
        world.pass(10_000);
        let second = world.store.verify_failed(key, WHY).await.unwrap();
        let now = world.store.now().await.unwrap();
        assert_eq!(second.attempts, 2);
        let passed = now.millis_since(began) + if world.is_postgres() { 10_000 } else { 0 };
        assert!((10_000..=passed).contains(&now.millis_since(second.since)), "{second:?} at {now}");

        let mut unreachable = record(key, &world.load(key).await);
        let unreached = Verification::Unreachable { since: second.since };
        (unreachable.is_answer, unreachable.is_real) = (unreached.is_answer(), unreached.is_real());
        world.done(unreachable).await;
        let standing = world.store.purchase(key).await.unwrap().standing;
        assert_eq!(standing.unverified_since, Some(second.since), "it did not answer");
        assert_eq!(standing.unverified_because.as_deref(), Some(WHY));
        assert_eq!(world.store.verify_failed(key, WHY).await.unwrap().attempts, 3);
        assert!(seq > 0);

        world.revise("r1", 2).await;
        let standing = world.store.purchase(key).await.unwrap().standing;
        assert_eq!((standing.unverified_since, standing.unverified_because), (None, None));
        assert!(standing.verified_at.is_some());
        assert_eq!(world.store.verify_failed(key, WHY).await.unwrap().attempts, 1);
    }
}

story! {
    async fn a_failure_does_not_make_a_settling_move(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1).await;
        let loaded = world.load(key).await;
        world.store.verify_failed(key, WHY).await.unwrap();
        assert_eq!(world.done(record(key, &loaded)).await, 1);
    }
}

story! {
    async fn a_recheck_is_for_the_sweep_only_when_it_is_late(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1).await;
        world.pass(200_000);
        assert_eq!(world.store.due(10).await.unwrap().len(), 1);
        world.schedule_query(key, Duration::from_secs(60)).await;
        assert_eq!(world.store.due(10).await.unwrap(), []);
        let view = world.store.notifications_of("m1").await.unwrap().remove(0);
        assert_eq!(view.waiting_for, Some(storage::WaitingFor::Verification));
        assert!(!world.load(key).await.due);
        world.notify("m2", "r1", 2).await;
        let view = world.store.notifications_of("m2").await.unwrap().remove(0);
        assert_eq!(view.waiting_for, Some(storage::WaitingFor::Window));
        world.pass(60_000);
        assert_eq!(world.store.due(10).await.unwrap(), [], "the run queries the store by itself");
        world.pass(61_000);
        assert_eq!(world.store.due(10).await.unwrap().iter().map(|due| due.why).collect::<Vec<_>>(), [storage::DueReason::Wake]);
        let loaded = world.load(key).await;
        assert!(loaded.due && loaded.notifications.len() == 2);
        world.done(record(key, &loaded)).await;
        assert_eq!(world.store.due(10).await.unwrap(), []);
    }
}

story! {
    async fn a_recheck_during_a_query_is_not_put_off(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1).await;
        world.settle(key).await;
        let settling = world.load(key).await.settling;
        world.pass(1_000);
        world.set_secret(Some("new")).await;
        assert_eq!(world.store.due(10).await.unwrap().len(), 1);
        let noted = world.store.schedule_query(key, settling, Duration::from_secs(60)).await.unwrap();
        assert!(!noted, "the query was with the old secret");
        assert_eq!(world.store.due(10).await.unwrap().len(), 1);
        world.schedule_query(key, Duration::from_secs(60)).await;
        assert_eq!(world.store.due(10).await.unwrap(), []);
    }
}

story! {
    async fn an_answer_of_not_real_resets_the_failures(world: World) {
        let key = world.key("r1");
        world.store.verify_answered(key).await.unwrap();
        world.notify("m1", "r1", 1).await;
        world.store.verify_failed(key, WHY).await.unwrap();
        world.store.verify_answered(key).await.unwrap();
        assert_eq!(world.store.purchase(key).await.unwrap().standing.unverified_since, None);
        assert_eq!(world.store.verify_failed(key, WHY).await.unwrap().attempts, 1);
    }
}

story! {
    async fn an_unverified_decision_moves_once_a_store_can_be_queried(world: World) {
        world.set_secret(None).await;
        world.notify("m1", "r1", 1).await;
        let unasked = record(world.key("r1"), &world.load(world.key("r1")).await);
        assert!(!unasked.is_queried);
        world.set_secret(Some("new")).await;
        assert_eq!(world.store.record(unasked).await.unwrap(), storage::Recorded::Moved);
        world.settle(world.key("r1")).await;
    }
}

story! {
    async fn failures_restart_without_a_secret_and_after_a_hold(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1).await;
        let until = world.store.now().await.unwrap().plus_millis(1_000_000);
        world.store.verify_failed(key, WHY).await.unwrap();
        world.store.hold(key, until, "ann", "looking").await.unwrap();
        assert_eq!(world.store.verify_failed(key, WHY).await.unwrap().attempts, 1);
        world.store.release(key).await.unwrap();
        assert_eq!(world.store.verify_failed(key, WHY).await.unwrap().attempts, 1);
        let mut unverifiable = record(key, &world.load(key).await);
        (unverifiable.is_answer, unverifiable.is_real) = (Verification::Unverifiable.is_answer(), Verification::Unverifiable.is_real());
        world.done(unverifiable).await;
        assert_eq!(world.store.verify_failed(key, WHY).await.unwrap().attempts, 1);
        let query = world.store.store_query(key).await.unwrap().unwrap();
        assert!(world.store.refuse_secret(&query, REFUSAL).await.unwrap());
        assert_eq!(world.store.verify_failed(key, WHY).await.unwrap().attempts, 1);
        world.set_secret(Some("new")).await;
        assert_eq!(world.store.verify_failed(key, WHY).await.unwrap().attempts, 1);
    }
}
