//! Profiles that do not arrive: settle does not count a skipped, refused or failed profile as received, and does not
//! queue new ones forever.

use super::payments::monthly;
use super::profiling::PURCHASED;
use super::sending::{HOUR_MS, Sent, lease, rendering};
use super::world::{Report, World, reported, story};
use domain::user::{Attributes, PROFILE_UPDATED};
use domain::{CollapseKey, DestinationId, NotificationKind, Snapshot, Timestamp, TransitionKind};
use storage::{Lease, LeaseResult, Rendered, Run, Verdict};

const DAY_AND_HOUR_MS: i64 = 25 * HOUR_MS;

impl World {
    /// Leases a lane with this rendering result, after which nothing is left to send.
    async fn put_aside(&self, key: CollapseKey, to: DestinationId, rendered: Rendered) {
        let render = rendering(move |_| rendered.clone());
        let leased = self
            .store
            .lease(Lease {
                render,
                ..lease(key, to, "aside")
            })
            .await
            .unwrap();
        assert!(!matches!(leased, LeaseResult::Send(_)), "{leased:?}");
    }

    /// Returns the number of purchases that are due now.
    async fn due(&self) -> usize {
        self.store.due(100).await.unwrap().len()
    }

    /// Lets the next deliveries of a lane fail, and returns their event types.
    async fn kill(&self, key: CollapseKey, to: DestinationId) -> Vec<String> {
        let LeaseResult::Send(batch) = self.lease(key, to, "kill").await else {
            return Vec::new();
        };
        let sent = Sent {
            batch,
            key,
            to,
            token: "kill".to_owned(),
            mode: storage::Mode::Lane,
        };
        self.finish(&sent, Verdict::Failed).await;
        sent.types().into_iter().map(str::to_owned).collect()
    }
}

fn skip() -> Rendered {
    Rendered::Skip {
        why: "the integration has no key".to_owned(),
    }
}

story! {
    async fn skipped_events_are_queued_by_a_backfill_and_no_settling(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        world.entitle("gold").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.put_aside(world.key("r1"), to, skip()).await;
        world.resettle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 0, "a settling without a change queues nothing that would be skipped again");
        assert_eq!((world.backfill(to, Run::Real).await, world.profiles(to)), (1, 1), "a key was set: it was never sent");
        world.put_aside(world.key("r1"), to, skip()).await;
        world.resettle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 1);
        world.entitle("silver").await;
        world.resettle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 2, "a change is queued");
        world.drain(world.key("r1"), to).await;
        assert_eq!((world.backfill(to, Run::Real).await, world.profiles(to)), (0, 2), "the integration has the state");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn what_was_refused_before_it_was_sent_is_not_held(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        world.entitle("gold").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.put_aside(world.key("r1"), to, Rendered::Refuse { why: "the customer's id is wrong".to_owned() }).await;
        assert_eq!(world.woken(), 0, "it would be refused again");
        assert_eq!((world.backfill(to, Run::Real).await, world.profiles(to)), (1, 1));
    }
}

story! {
    async fn a_failed_delivery_is_rechecked_a_bounded_number_of_times(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        world.entitle("gold").await;
        let key = world.key("r1");
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.sleep();
        assert_eq!(world.kill(key, to).await, [PURCHASED]);
        assert_eq!(world.due().await, 1, "the failed event rechecks the purchase");
        let mut failed = 0;
        for wait in [0, HOUR_MS + 1, DAY_AND_HOUR_MS] {
            assert_eq!(world.due().await, usize::from(wait == 0), "the next recheck waits");
            world.pass(wait);
            assert_eq!(world.due().await, 1);
            world.resettle(key).await;
            assert_eq!(world.kill(key, to).await, [PROFILE_UPDATED]);
            failed += 1;
        }
        assert_eq!((world.woken(), world.profiles(to)), (0, failed), "it ends");
        world.resettle(key).await;
        assert_eq!(world.profiles(to), failed, "a profile that is always refused is not queued again by each settling");
        world.entitle("silver").await;
        world.sleep();
        world.resettle(key).await;
        assert_eq!(world.profiles(to), failed + 1);
        assert_eq!(world.kill(key, to).await, [PROFILE_UPDATED]);
        assert_eq!(world.due().await, 1, "another state may be refused as often again");
        world.resettle(key).await;
        assert_eq!(world.drain(key, to).await.len(), 1);
        world.resettle(key).await;
        assert_eq!(world.profiles(to), failed + 2);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_backlog_that_an_admin_cleared_is_rechecked(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        world.entitle("gold").await;
        for receipt in ["r1", "r2"] {
            world.happen(receipt, 1, &[TransitionKind::Purchased]).await;
        }
        world.happen_to("other", "r3", &[TransitionKind::Purchased]).await;
        world.sleep();
        world.alter(to, move |common| common.enabled = false).await;
        assert_eq!(world.store.skip_user_events(to, i64::MAX).await.unwrap().skipped, 3);
        assert_eq!(world.due().await, 2, "a purchase of each user");
        for receipt in ["r1", "r2", "r3"] {
            world.resettle(world.key(receipt)).await;
        }
        assert_eq!(world.profiles(to), 2);
        let hook = world.destination("hook").await.id;
        world.happen("r4", 1, &[TransitionKind::Purchased]).await;
        world.sleep();
        world.alter(hook, move |common| common.enabled = false).await;
        assert!(world.store.skip_user_events(hook, i64::MAX).await.unwrap().skipped > 0);
        assert_eq!(world.due().await, 0, "a webhook keeps no profiles");
    }
}

impl World {
    /// Accepts and settles the beginning of a trial.
    async fn begin_trial(&self, receipt: &str) {
        let report = Report {
            kind: NotificationKind::SubscriptionPurchased,
            customer: Some("customer-1"),
            related: None,
        };
        self.accept(reported(self.platform.id, "begins", receipt, 500, report))
            .await;
        self.settle_shown(
            self.key(receipt),
            trial(),
            &[
                (TransitionKind::TrialStarted, 1),
                (TransitionKind::Purchased, 1),
            ],
        )
        .await;
    }
}

/// Returns a snapshot during a one-month trial.
fn trial() -> Snapshot {
    let ends: Timestamp = "2027-02-10T12:00:00Z".parse().unwrap();
    Snapshot {
        trial_ends_at: Some(ends),
        ..monthly()
    }
}

story! {
    async fn an_uncertain_value_is_queued_beside_the_event(world: World) {
        let plain = world.keeping("plain", Attributes::Documented).await;
        let more = world.keeping("more", Attributes::Extended).await;
        let key = world.key("r1");
        world.begin_trial("r1").await;
        let sent = world.drain(key, more).await;
        assert_eq!((sent.len(), world.profiles(more)), (1, 0), "nothing was known before");
        let converted = Snapshot { trial_ends_at: None, ..monthly() };
        world.show("r1", converted, &[(TransitionKind::TrialConverted, 1), (TransitionKind::Purchased, 1)]).await;
        let known = world.raw().texts("SELECT profile AS value FROM events WHERE profile IS NOT NULL ORDER BY seq");
        assert!(known[0].contains("\"ltv_usd\":\"0\"") && known.last().unwrap().contains("\"ltv_usd\":null"), "{known:?}");
        assert_eq!((world.profiles(plain), world.profiles(more)), (0, 1), "the event cannot remove a value");
        let sent = world.drain(key, more).await;
        let types: Vec<_> = sent.iter().map(|(event_type, _)| event_type.as_str()).collect();
        assert_eq!(types, [PURCHASED, PROFILE_UPDATED]);
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 2)]).await;
        assert_eq!(world.profiles(more), 1, "the value was removed already");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn an_undelivered_profile_may_leave_an_uncertain_value(world: World) {
        let more = world.keeping("more", Attributes::Extended).await;
        let key = world.key("r1");
        world.begin_trial("r1").await;
        world.drain(key, more).await;
        world.show("r1", monthly(), &[(TransitionKind::TrialConverted, 1)]).await;
        assert_eq!((world.kill(key, more).await, world.profiles(more)), (vec![PROFILE_UPDATED.to_owned()], 1));
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 2)]).await;
        assert_eq!(world.profiles(more), 2, "the event alone would not remove the value");
    }
}
