//! Profiles: each change of a user's state reaches every integration that keeps profiles once, in an event or as a
//! `profile.updated`.

use super::sending::{RETRY, Sent, lease, must_send};
use super::world::{
    LEASE_MS, Report, World, happened, new_destination, new_platform, record, renewal, reported,
    story,
};
use domain::user::{Attributes, PROFILE_UPDATED};
use domain::{CollapseKey, DestinationId, Environment, NotificationKind, TransitionKind};
use serde_json::Value;
use storage::{
    Change, EntitlementText, Filter, LeaseResult, Owner, Product, Recorded, Run, Verdict,
};

/// The event type to which the integrations in this file subscribe.
pub const PURCHASED: &str = "user.subscription.purchased";

impl World {
    /// Creates an integration that keeps these user properties and subscribes to one event.
    pub async fn keeping(&self, name: &str, attributes: Attributes) -> DestinationId {
        let mut new = new_destination(&self.app, name);
        (new.traits.per_user, new.traits.per_request) = (true, 10);
        new.traits.profile = Some(attributes);
        new.common.events = vec![PURCHASED.to_owned()];
        self.store.new_destination(new).await.unwrap().id
    }

    /// Returns the number of `profile.updated` that were ever queued for a destination.
    pub fn profiles(&self, to: DestinationId) -> i64 {
        self.count(&format!(
            "deliveries WHERE destination_id = '{to}' AND event_type = '{PROFILE_UPDATED}'"
        ))
    }

    /// Settles a purchase again without a new notification, like after a change of settings.
    pub async fn resettle(&self, key: CollapseKey) {
        let again = record(key, &self.load(key).await);
        match self.store.record(again).await.unwrap() {
            Recorded::Done { .. } => {}
            Recorded::Moved => panic!("the purchase moved"),
        }
    }

    /// Makes the product of all purchases in this file grant only this entitlement.
    pub async fn entitle(&self, entitlement: &str) {
        let named = Change::SetEntitlement(
            entitlement.to_owned(),
            EntitlementText {
                name: entitlement.to_owned(),
                description: None,
            },
        );
        let product = Product {
            entitlements: vec![entitlement.to_owned()],
            ..Product::default()
        };
        for change in [named, Change::SetProduct("term".to_owned(), product)] {
            self.store
                .change_catalogue(self.app.id, change, Run::Real)
                .await
                .unwrap();
        }
    }

    /// Delivers all pending events of a lane, and returns the type and the body of each.
    pub async fn drain(&self, key: CollapseKey, to: DestinationId) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        for turn in 0.. {
            let LeaseResult::Send(batch) = self.lease(key, to, &format!("drain-{turn}")).await
            else {
                break;
            };
            let sent = Sent {
                batch,
                key,
                to,
                token: format!("drain-{turn}"),
                mode: storage::Mode::Lane,
            };
            let bodies = sent.batch.attempts.iter();
            all.extend(bodies.map(|one| {
                (
                    one.event_type.clone(),
                    serde_json::from_str(&one.body).unwrap(),
                )
            }));
            self.finish(&sent, Verdict::Delivered).await;
        }
        all
    }
}

/// Returns the active entitlements in a body.
pub fn entitlements(body: &Value) -> Vec<&str> {
    let all = body["active_entitlements"].as_array().unwrap().iter();
    all.map(|one| one["entitlement_ref_id"].as_str().unwrap())
        .collect()
}

story! {
    async fn only_values_that_no_chosen_event_carries_queue_a_profile(world: World) {
        let (plain, more) =
            (world.keeping("plain", Attributes::Documented).await, world.keeping("more", Attributes::Extended).await);
        let hook = world.destination("hook").await.id;
        world.entitle("gold").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        assert_eq!((world.profiles(plain), world.profiles(more)), (0, 0), "the chosen event carries the state");
        world.revise("r1", 2).await;
        assert_eq!((world.profiles(plain), world.profiles(more)), (0, 1), "only the extended profile has the end");
        world.happen("r1", 3, &[TransitionKind::Renewed]).await;
        assert_eq!((world.profiles(plain), world.profiles(more)), (0, 2),
            "an event that is not chosen carries no state");
        world.happen("r2", 1, &[TransitionKind::Renewed]).await;
        assert_eq!((world.profiles(plain), world.profiles(more)), (0, 2),
            "another purchase of the same product changes no profile");
        assert_eq!(world.profiles(hook), 0, "a webhook keeps no profiles, whatever it chooses");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_catalogue_change_queues_one_profile_per_user(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        for receipt in ["r1", "r2"] {
            world.happen(receipt, 1, &[TransitionKind::Purchased]).await;
        }
        world.entitle("gold").await;
        assert_eq!((world.woken(), world.profiles(to)), (2, 0), "it is noticed by the rechecks that it causes");
        for receipt in ["r1", "r2", "r1"] {
            world.resettle(world.key(receipt)).await;
        }
        assert_eq!(world.profiles(to), 1);
        let sent = [world.drain(world.key("r1"), to).await, world.drain(world.key("r2"), to).await].concat();
        let profile = sent.iter().find(|(event_type, _)| event_type == PROFILE_UPDATED).unwrap();
        assert_eq!((entitlements(&profile.1), &profile.1["user_revision"]), (vec!["gold"], &3.into()));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_name_and_a_join_queue_one_profile_with_everything(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        world.entitle("gold").await;
        let named = |customer: &str| Owner::AppUser(customer.to_owned());
        world.store.name_customer(world.app.id, named("first"), "anna", None).await.unwrap();
        world.happen_to("first", "r1", &[TransitionKind::Purchased]).await;
        for receipt in ["r2", "r3"] {
            world.happen_to("second", receipt, &[TransitionKind::Purchased]).await;
        }
        assert_eq!(world.profiles(to), 0);
        world.store.name_customer(world.app.id, named("second"), "otto", None).await.unwrap();
        for receipt in ["r2", "r3"] {
            world.resettle(world.key(receipt)).await;
        }
        assert_eq!(world.profiles(to), 1, "naming makes one change of the profile");
        world.happen_to("third", "r4", &[TransitionKind::Purchased]).await;
        world.entitle("silver").await;
        world.store.name_customer(world.app.id, named("third"), "anna", None).await.unwrap();
        world.resettle(world.key("r4")).await;
        assert_eq!(world.profiles(to), 2);
        world.resettle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 2, "the joined user has the state already");
        let sent = world.drain(world.key("r4"), to).await;
        let anna = world.store.customer(world.app.id, storage::CustomerKey::ExternalId("anna".to_owned())).await.unwrap();
        let profile = sent.iter().find(|(event_type, _)| event_type == PROFILE_UPDATED).unwrap();
        assert_eq!((&profile.1["user_id"], entitlements(&profile.1)), (&anna.user_id.to_string().into(), vec!["silver"]));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_first_record_that_names_no_event_queues_a_profile(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        world.revise("unlisted", 1).await;
        assert_eq!(world.profiles(to), 0, "no profile is queued for a user without entitlements");
        world.entitle("gold").await;
        let report = Report { kind: NotificationKind::Adopted, customer: Some("somebody"), related: None };
        world.accept(reported(world.platform.id, "imported", "r1", 1_000, report)).await;
        world.settle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 1);
        let sent = must_send(&world.store, lease(world.key("r1"), to, "a")).await;
        assert_eq!(sent.types(), [PROFILE_UPDATED]);
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        assert_eq!((&body["environment"], &body["event_type"]), (&"production".into(), &PROFILE_UPDATED.into()));
        assert_eq!(body["id"], sent.event_id.to_string());
    }
}

story! {
    async fn a_newer_profile_supersedes_an_older_one_of_its_lane(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.drain(world.key("r1"), to).await;
        for entitlement in ["bronze", "silver", "gold"] {
            world.entitle(entitlement).await;
            world.resettle(world.key("r1")).await;
        }
        assert_eq!(world.profiles(to), 3);
        let sent = world.drain(world.key("r1"), to).await;
        let shown: Vec<_> = sent.iter().map(|(_, body)| entitlements(body)).collect();
        assert_eq!(shown, [["gold"]]);
        assert_eq!(world.deliveries_in("superseded"), 2);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_profile_that_is_late_never_overwrites_a_newer_state(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        for receipt in ["r1", "r2"] {
            world.happen(receipt, 1, &[TransitionKind::Purchased]).await;
            world.drain(world.key(receipt), to).await;
        }
        world.entitle("gold").await;
        world.resettle(world.key("r1")).await;
        let stuck = world.attempt(world.key("r1"), to, "a").await;
        assert_eq!(stuck.types(), [PROFILE_UPDATED]);
        world.finish(&stuck, RETRY).await;
        world.happen("r2", 2, &[TransitionKind::Purchased]).await;
        let newer = world.attempt(world.key("r2"), to, "b").await;
        assert_eq!(newer.types(), [PURCHASED]);
        world.finish(&newer, Verdict::Delivered).await;
        world.pass(5_001);
        assert_eq!(world.drain(world.key("r1"), to).await, [], "it is never sent again");
        let closed = world.raw().texts("SELECT status || ': ' || last_error AS value FROM deliveries WHERE attempts > 1 \
             OR status = 'superseded'");
        assert_eq!(closed, ["superseded: a newer state of the user replaces it"]);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_profile_after_a_crash_has_the_same_id_and_body(world: World) {
        let to = world.keeping("analytics", Attributes::Extended).await;
        world.revise("r1", 1).await;
        let first = world.attempt(world.key("r1"), to, "a").await;
        world.pass(LEASE_MS + 1);
        let second = world.attempt(world.key("r1"), to, "b").await;
        assert_eq!((second.event_id, &second.body), (first.event_id, &first.body));
        world.finish(&second, Verdict::Delivered).await;
        assert_eq!((world.drain(world.key("r1"), to).await, world.profiles(to)), (vec![], 1));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn an_undelivered_profile_is_queued_with_the_next_settling(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        world.entitle("gold").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.resettle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 0);
        let refused = world.attempt(world.key("r1"), to, "a").await;
        world.finish(&refused, Verdict::Failed).await;
        world.resettle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 1, "the event that carried it failed");
        let refused = world.attempt(world.key("r1"), to, "b").await;
        assert_eq!(refused.types(), [PROFILE_UPDATED]);
        world.finish(&refused, Verdict::Delivered).await;
        world.resettle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 1);
    }
}

story! {
    async fn a_backfill_queues_each_user_the_missing_profile(world: World) {
        world.entitle("gold").await;
        for receipt in ["r1", "r2"] {
            world.happen(receipt, 1, &[TransitionKind::Purchased]).await;
        }
        world.happen_to("other", "r3", &[TransitionKind::Purchased]).await;
        let to = world.keeping("late", Attributes::Documented).await;
        assert_eq!((world.backfill(to, Run::Dry).await, world.profiles(to)), (2, 0), "two users");
        assert_eq!((world.backfill(to, Run::Real).await, world.profiles(to)), (2, 2));
        assert_eq!((world.backfill(to, Run::Real).await, world.profiles(to)), (0, 2));
        world.resettle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 2);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn each_environment_has_a_profile_of_its_own(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        let mut new = new_destination(&world.app, "money only");
        (new.traits.per_user, new.traits.profile) = (true, Some(Attributes::Documented));
        new.common.events = vec![PURCHASED.to_owned()];
        new.common.filter = Filter { platforms: Vec::new(), environments: vec![Environment::Production] };
        let filtered = world.store.new_destination(new).await.unwrap().id;
        world.entitle("gold").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let mut there = new_platform(&world.app, "sandbox");
        there.settings.environment = Environment::Sandbox;
        let there = world.store.new_platform(there).await.unwrap().id;
        world.accept(renewal(there, "t1", "tested", 1_000)).await;
        let tested = CollapseKey::of(there, "tested");
        world.settle(tested).await;
        assert_eq!((world.profiles(to), world.profiles(filtered)), (1, 0),
            "only the other environment's profile is pending");
        let sent = world.drain(tested, to).await;
        assert_eq!((&sent[0].1["environment"], entitlements(&sent[0].1)), (&"sandbox".into(), vec!["gold"]));
        world.done(happened(record(tested, &world.load(tested).await), &[TransitionKind::Expired])).await;
        assert_eq!((world.profiles(to), world.profiles(filtered)), (1, 0), "its state is the same");

        // When a platform becomes a sandbox, its purchases move to that environment: each environment's profile is
        // queued with its change.
        world.set(|settings| settings.environment = Environment::Sandbox).await;
        world.resettle(world.key("r1")).await;
        assert_eq!((world.profiles(to), world.profiles(filtered)), (2, 1), "the production profile has become empty");
        let sent = world.drain(world.key("r1"), to).await;
        let profile = sent.iter().find(|(event_type, _)| event_type == PROFILE_UPDATED).unwrap();
        assert_eq!((&profile.1["environment"], entitlements(&profile.1).len()), (&"production".into(), 0));
        assert_eq!(world.broken(1000).await, []);
    }
}
