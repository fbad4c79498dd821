//! Merges: an anonymous user proves to be a customer, by a claim, a login or a name. What was announced about the user
//! is announced again for both.

use super::people::{customer, log_in, place};
use super::profiling::entitlements;
use super::world::{Report, World, reported, story};
use domain::{CollapseKey, DevicePlace, Environment, NotificationKind, Timestamp, TransitionKind};
use serde_json::{Value, json};
use storage::{AnnouncementStatus, ClaimStep, CustomerName, EventFilter, Page, Past};

impl World {
    /// Claims a customer's receipt by a device; the known state of the purchase verifies the claim.
    pub async fn claim_known(&self, place: DevicePlace, receipt: &str, app_user_id: &str) {
        self.claim_verified(place, receipt, app_user_id);
        self.raw()
            .run("UPDATE claims SET status = 'pending', verified_at = NULL WHERE verified_at = 1");
        let step = self
            .store
            .examine_claim(place, self.key(receipt))
            .await
            .unwrap();
        assert!(
            matches!(step, ClaimStep::Reported(_) | ClaimStep::Recheck),
            "{receipt}: {step:?}"
        );
    }

    /// Adopts an earlier purchase, which is announced without an event of its user.
    async fn adopt(&self, app_user_id: &str, receipt: &str) -> CollapseKey {
        let report = Report {
            kind: NotificationKind::Adopted,
            customer: Some(app_user_id),
            related: None,
        };
        self.accept(reported(
            self.platform.id,
            &format!("adopted-{receipt}"),
            receipt,
            1_000,
            report,
        ))
        .await;
        let key = self.key(receipt);
        self.settle(key).await;
        key
    }

    /// Returns when the newest event was recorded, and what had been announced of a customer by then.
    async fn announced_of(
        &self,
        external_id: &str,
    ) -> (Option<AnnouncementStatus>, Option<Vec<String>>, usize) {
        let newest: Timestamp = self
            .store
            .events(EventFilter::default(), Page::default())
            .await
            .unwrap()
            .items[0]
            .created_at;
        let name = CustomerName::ExternalId(external_id.to_owned());
        let seen = Past {
            at: newest,
            environment: Environment::Production,
        };
        let then = self
            .store
            .customer_state_at(self.app.id, name, seen, Page::default())
            .await
            .unwrap();
        let state = then.state.map(|state| state.active_entitlements);
        let names = state.map(|all| all.into_iter().map(|one| one.entitlement_ref_id).collect());
        (
            then.announcement.map(|one| one.status),
            names,
            then.purchases.len(),
        )
    }
}

/// Returns the subject of each event of a transfer, the active entitlements, and the number of devices.
pub fn seen(events: &[Value]) -> Vec<(&Value, Vec<&str>, usize)> {
    events
        .iter()
        .map(|one| {
            (
                &one["user_id"],
                entitlements(one),
                one["devices"].as_array().unwrap().len(),
            )
        })
        .collect()
}

story! {
    async fn a_merge_by_a_claim_is_announced_for_both_users(world: World) {
        let to = world.destination("hook").await.id;
        let key = world.entitling("guest", "r1").await;
        world.drain(key, to).await;
        let here = place(&world, 1);
        let anna = log_in(&world.store, here, "anna").await.user_id;
        assert_eq!(world.announced_of("anna").await, (Some(AnnouncementStatus::NothingAnnounced), None, 0));
        world.claim_known(here, "r1", "guest").await;
        assert_eq!(world.owner_of(key).await, anna);
        let events = world.transfers();
        assert_eq!(seen(&events), [(&json!(customer(&world, "guest")), vec![], 0), (&json!(anna), vec!["premium"], 1)]);
        let announced = (Some(AnnouncementStatus::Announced), Some(vec!["premium".to_owned()]), 1);
        assert_eq!(world.announced_of("anna").await, announced, "the state at that time is known");
        let sent = world.drain(key, to).await;
        let newest = &sent.last().unwrap().1["data"];
        assert_eq!((sent.len(), &newest["last_seen_external_id"]), (3, &json!("anna")));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn two_store_customers_of_one_device_are_merged_by_events(world: World) {
        for (guest, receipt) in [("guest 1", "r1"), ("guest 2", "r2")] {
            world.entitling(guest, receipt).await;
        }
        let here = place(&world, 1);
        let anna = log_in(&world.store, here, "anna").await.user_id;
        for (guest, receipt) in [("guest 1", "r1"), ("guest 2", "r2")] {
            world.claim_known(here, receipt, guest).await;
        }
        let (first, second) = (customer(&world, "guest 1"), customer(&world, "guest 2"));
        let events = world.transfers();
        let users: Vec<&Value> = events.iter().map(|one| &one["user_id"]).collect();
        assert_eq!(users, [&json!(first), &json!(anna), &json!(second), &json!(anna)]);
        let held: Vec<_> = events.iter().map(|one| entitlements(one).len()).collect();
        assert_eq!(held, [0, 1, 0, 1], "each entitlement is with one of them");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_merge_of_a_user_without_an_event_has_no_event(world: World) {
        world.entitle("premium").await;
        let here = place(&world, 1);
        let anna = log_in(&world.store, here, "anna").await.user_id;
        let (named, claimed) = (world.adopt("u1", "r1").await, world.adopt("u2", "r2").await);
        let before = world.load(named).await.settling;
        assert_eq!(world.name("u1", "anna").await, anna);
        world.claim_known(here, "r2", "u2").await;
        for key in [named, claimed] {
            assert_eq!(world.owner_of(key).await, anna);
        }
        assert_eq!(world.transfers().len(), 0, "nobody knows a state that has changed");
        assert!(world.load(named).await.settling > before, "the purchase is settled again, and announced as hers");
        world.happen_to("u1", "r1", &[TransitionKind::Renewed]).await;
        assert_eq!(world.owner_of(named).await, anna);
    }
}
