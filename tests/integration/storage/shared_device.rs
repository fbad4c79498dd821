//! A device that several people use, each with an account of the store of their own: a login takes what the newest
//! session lists, and nothing of who was on it before.

use super::claims::{session as started, transaction};
use super::devices::{report, uuid};
use super::people::{device, login};
use super::world::{World, secret, story};
use domain::device::Content;
use domain::{SessionId, UserId};
use std::time::Duration;
use storage::{AcceptedReports, ClaimStep, DeviceReport};

/// The device.
const TV: u128 = 1;

impl World {
    /// What the device reports at this minute of the story.
    async fn happens(&self, minute: u64, content: Content) -> AcceptedReports {
        let time = self.store.now().await.unwrap().minus(Duration::from_secs(60 * (100 - minute)));
        self.report(TV, vec![DeviceReport { time, ..report(&format!("at-{minute}"), 0, content) }]).await
    }

    /// A session of the app begins on the device, whose account of the store is this customer's.
    async fn switch_on(&self, minute: u64, receipts: &[(&str, &str)]) {
        let accepted = self.happens(minute, started(u128::from(minute), receipts)).await;
        for (place, key) in accepted.known {
            let step = self.store.examine_claim(place, key).await.unwrap();
            assert!(matches!(step, ClaimStep::Reported(_) | ClaimStep::Recheck), "{step:?}");
        }
    }

    async fn user_after_login(&self, external_id: &str) -> UserId {
        self.store.login(login(self.place(TV), external_id)).await.unwrap().user_id
    }
}

story! {
    async fn a_login_takes_what_the_newest_session_lists_alone(world: World) {
        let (gold, silver) = (world.entitling("A", "gold").await, world.entitling("B", "silver").await);
        let (anna, otto) = (world.name("A", "anna").await, world.name("B", "otto").await);
        let owners = async || [world.owner_of(gold).await, world.owner_of(silver).await];
        world.switch_on(1, &[("gold", "A")]).await;
        assert_eq!(world.user_after_login("anna").await, anna);
        let here = world.place(TV);
        world.store.logout(here, device(here), secret(here.device)).await.unwrap();
        world.switch_on(2, &[("silver", "B")]).await;
        assert_eq!(world.user_after_login("otto").await, otto);
        for turn in [3, 5] {
            world.switch_on(turn, &[("gold", "A")]).await;
            assert_eq!((world.user_after_login("anna").await, owners().await), (anna, [anna, otto]));
            world.switch_on(turn + 1, &[("silver", "B")]).await;
            assert_eq!((world.user_after_login("otto").await, owners().await), (otto, [anna, otto]));
        }
        assert_eq!(world.transfers().len(), 0);
        // A session that does not say what is there changes nothing: what the last list had goes with the login.
        let silent = Content::SessionStart { session: SessionId::new(uuid(1007)), receipts: None };
        world.happens(7, silent).await;
        let clara = world.user_after_login("clara").await;
        assert_eq!(owners().await, [anna, clara]);
        // The device is sold, and nothing is on it.
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
        // The store confirms it late.
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
        // A purchase says who is there.
        world.switch_on(6, &[]).await;
        world.happens(7, transaction("gold", "A")).await;
        let clara = world.user_after_login("clara").await;
        assert_eq!(world.owner_of(gold).await, clara);
    }
}
