//! A device used by several people, each with their own store account: a login gets the purchases that the newest
//! session lists, and none of an earlier user's.

use super::claims::{session as started, transaction};
use super::devices::{report, uuid};
use super::people::{by, device, login};
use super::world::{World, secret, story};
use domain::device::Content;
use domain::{SessionId, UserId};
use std::time::Duration;
use storage::{AcceptedReports, ClaimStep, DeviceReport};

/// The number of the device.
const TV: u128 = 1;

impl World {
    /// Reports an event of the device at this minute of the story.
    async fn happens(&self, minute: u64, content: Content) -> AcceptedReports {
        let time = self
            .store
            .now()
            .await
            .unwrap()
            .minus(Duration::from_secs(60 * (100 - minute)));
        self.report(
            TV,
            vec![DeviceReport {
                time,
                ..report(&format!("at-{minute}"), 0, content)
            }],
        )
        .await
    }

    /// Begins a session of the app on the device, with these receipts of the current store account.
    async fn switch_on(&self, minute: u64, receipts: &[(&str, &str)]) {
        let accepted = self
            .happens(minute, started(u128::from(minute), receipts))
            .await;
        for (place, key) in accepted.known {
            let step = self.store.examine_claim(place, key).await.unwrap();
            assert!(
                matches!(step, ClaimStep::Reported(_) | ClaimStep::Recheck),
                "{step:?}"
            );
        }
    }

    /// Returns the number of entitlements that the device has.
    async fn usable_here(&self) -> usize {
        let place = self.place(TV);
        self.store
            .device_access(self.app.id, place, secret(place.device))
            .await
            .unwrap()
            .entitlements
            .len()
    }

    async fn log_out(&self) {
        let here = self.place(TV);
        self.store
            .logout(here, device(here), secret(here.device))
            .await
            .unwrap();
    }

    async fn user_after_login(&self, external_id: &str) -> UserId {
        self.store
            .login(login(self.place(TV), external_id))
            .await
            .unwrap()
            .user_id
    }
}

story! {
    async fn a_login_takes_what_the_newest_session_lists_alone(world: World) {
        let (gold, silver) = (world.entitling("A", "gold").await, world.entitling("B", "silver").await);
        let (anna, otto) = (world.name("A", "anna").await, world.name("B", "otto").await);
        let owners = async || [world.owner_of(gold).await, world.owner_of(silver).await];
        world.switch_on(1, &[("gold", "A")]).await;
        assert_eq!(world.user_after_login("anna").await, anna);
        world.log_out().await;
        world.switch_on(2, &[("silver", "B")]).await;
        assert_eq!(world.user_after_login("otto").await, otto);
        for turn in [3, 5] {
            world.switch_on(turn, &[("gold", "A")]).await;
            assert_eq!((world.user_after_login("anna").await, owners().await), (anna, [anna, otto]));
            world.switch_on(turn + 1, &[("silver", "B")]).await;
            assert_eq!((world.user_after_login("otto").await, owners().await), (otto, [anna, otto]));
        }
        assert_eq!(world.transfers().len(), 0);
        // A session that lists no receipts changes nothing: the login gets the purchases of the last list.
        let silent = Content::SessionStart { session: SessionId::new(uuid(1007)), receipts: None };
        world.happens(7, silent).await;
        let clara = world.user_after_login("clara").await;
        assert_eq!(owners().await, [anna, clara]);
        // The device is sold, and has no receipts.
        world.switch_on(8, &[]).await;
        world.user_after_login("dora").await;
        assert_eq!(owners().await, [anna, clara]);
    }
}

story! {
    async fn a_claim_of_who_left_the_device_joins_nobody(world: World) {
        let gold = world.entitling("A", "gold").await;
        let anna = world.name("A", "anna").await;
        let accepted = world.happens(1, started(1, &[("gold", "A")])).await;
        let otto = world.user_after_login("otto").await;
        world.switch_on(2, &[]).await;
        // The store confirms the claim late.
        for (place, key) in accepted.known {
            world.store.examine_claim(place, key).await.unwrap();
        }
        assert_eq!((world.owner_of(gold).await, world.claims_in("verified")), (anna, 1));
        assert_eq!(world.users_of_devices(), [otto.to_string()]);
    }
}

story! {
    async fn a_list_that_arrives_late_changes_nothing(world: World) {
        let gold = world.entitling("A", "gold").await;
        world.name("A", "anna").await;
        world.switch_on(5, &[("gold", "A")]).await;
        world.switch_on(2, &[]).await;
        let otto = world.user_after_login("otto").await;
        assert_eq!(world.owner_of(gold).await, otto);
        // A purchase shows which account is in use.
        world.switch_on(6, &[]).await;
        world.happens(7, transaction("gold", "A")).await;
        let clara = world.user_after_login("clara").await;
        assert_eq!(world.owner_of(gold).await, clara);
    }
}

story! {
    async fn a_receipt_that_arrives_late_brings_nobody_back(world: World) {
        let (gold, bonus) = (world.entitling("A", "gold").await, world.entitling("A", "bonus").await);
        let (silver, other) = (world.entitling("B", "silver").await, world.entitling("C", "other").await);
        let [anna, otto, clara] = [("A", "anna"), ("B", "otto"), ("C", "clara")].map(|(id, name)| world.name(id, name));
        let (anna, otto, clara) = (anna.await, otto.await, clara.await);
        world.user_after_login("dora").await;
        world.log_out().await;
        world.switch_on(1, &[("gold", "A")]).await;
        world.switch_on(5, &[("silver", "B")]).await;
        world.switch_on(3, &[("gold", "A"), ("bonus", "A")]).await;
        world.switch_on(4, &[("other", "C")]).await;
        assert_eq!(world.claims_in("verified"), 4);
        assert_eq!(world.user_after_login("otto").await, otto);
        assert_eq!([world.owner_of(gold).await, world.owner_of(bonus).await], [anna, anna]);
        assert_eq!([world.owner_of(silver).await, world.owner_of(other).await], [otto, clara]);
        // The current list contains only one of the two receipts: what counts is the receipts' account.
        world.switch_on(6, &[("gold", "A")]).await;
        let dora = world.user_after_login("dora").await;
        assert_eq!([world.owner_of(gold).await, world.owner_of(bonus).await], [dora, dora]);
    }
}

story! {
    async fn a_session_without_a_list_outdates_none(world: World) {
        let gold = world.entitling("A", "gold").await;
        let anna = world.name("A", "anna").await;
        world.switch_on(1, &[("gold", "A")]).await;
        world.happens(3, Content::SessionStart { session: SessionId::new(uuid(1003)), receipts: None }).await;
        world.switch_on(2, &[]).await;
        world.user_after_login("otto").await;
        assert_eq!(world.owner_of(gold).await, anna, "the list of minute 2 is the newest one");
    }
}

story! {
    async fn a_login_goes_by_the_list_that_was_reported_before_it(world: World) {
        let (gold, silver) = (world.entitling("A", "gold").await, world.entitling("B", "silver").await);
        let (anna, otto) = (world.name("A", "anna").await, world.name("B", "otto").await);
        let owners = async || [world.owner_of(gold).await, world.owner_of(silver).await];
        world.switch_on(1, &[("gold", "A")]).await;
        world.user_after_login("anna").await;
        world.log_out().await;
        // The store account changes, and the app reports its receipts before the login, as it must.
        world.switch_on(2, &[("silver", "B")]).await;
        world.user_after_login("otto").await;
        assert_eq!(owners().await, [anna, otto]);
        // The app logs in too early: as far as settle knows, two people share one store account.
        world.switch_on(3, &[("gold", "A")]).await;
        world.user_after_login("anna").await;
        world.log_out().await;
        let moved = world.store.login(login(world.place(TV), "otto")).await.unwrap().transfers;
        world.switch_on(4, &[("silver", "B")]).await;
        assert_eq!(owners().await, [otto, otto]);
        // An admin undoes the move.
        world.store.undo_transfer(moved[0].id, by("too early")).await.unwrap();
        assert_eq!(owners().await, [anna, otto]);
    }
}

story! {
    async fn a_device_uses_nothing_of_who_left_it(world: World) {
        world.entitling("A", "gold").await;
        world.name("A", "anna").await;
        world.switch_on(1, &[("gold", "A")]).await;
        world.user_after_login("anna").await;
        world.log_out().await;
        assert_eq!(world.usable_here().await, 1);
        world.switch_on(2, &[]).await;
        assert_eq!(world.usable_here().await, 0, "it was sold, and nobody is logged in");
        world.user_after_login("anna").await;
        assert_eq!(world.usable_here().await, 1, "her own purchase, which she once had here");
        world.log_out().await;
        assert_eq!(world.usable_here().await, 0);
        world.switch_on(3, &[("gold", "A")]).await;
        assert_eq!(world.usable_here().await, 1);
    }
}
