//! One app customer who is linked to many store customers within a short time.

use super::people::{by, log_in, place};
use super::world::{World, story};
use domain::UserId;
use std::ops::RangeInclusive;
use storage::{Alarm, AlarmFilter, Page};

const ID: &str = "model-7";

impl World {
    /// Returns the open or closed alarms about customers linked to many store customers.
    async fn gathering(&self, open: bool) -> Vec<Alarm> {
        let kind = Some("customer_gathers".to_owned());
        let filter = AlarmFilter {
            open: Some(open),
            kind,
            ..AlarmFilter::default()
        };
        self.store
            .alarms_of(filter, Page::default())
            .await
            .unwrap()
            .items
    }

    /// Gives these customers of the store the same external id, and returns the user.
    async fn name_alike(&self, numbers: RangeInclusive<u32>) -> UserId {
        let mut user = None;
        for number in numbers {
            user = Some(self.name(&format!("c{number}"), ID).await);
        }
        user.expect("a number")
    }
}

story! {
    async fn strangers_with_one_id_raise_one_alarm(world: World) {
        world.name_alike(1..=11).await;
        assert_eq!(world.gathering(true).await, [], "the first one was named, and ten have joined");
        world.entitling("c12", "r12").await;
        let here = place(&world, 1);
        world.claim_verified(here, "r12", "c12");
        let user = log_in(&world.store, here, ID).await.user_id;
        assert_eq!(world.name_alike(13..=13).await, user);
        let open = world.gathering(true).await;
        assert_eq!(open.len(), 1, "{open:?}");
        let Alarm { app_id, platform_id, customers, count, detail, .. } = &open[0];
        assert_eq!((*app_id, *platform_id), (Some(world.app.id), Some(world.platform.id)));
        assert_eq!((open[0].gathering_user(), *customers, *count), (Some(user), Some(13), 2));
        assert!(detail.contains("settle customer undo") && !detail.contains(ID), "names may be erased: {detail}");
    }
}

story! {
    async fn the_alarm_closes_when_they_were_parted(world: World) {
        let user = world.name_alike(1..=12).await;
        for left in [11, 10] {
            let open = world.gathering(true).await;
            assert_eq!(open.first().and_then(|alarm| alarm.customers), Some(left + 1));
            let newest = world.store.transfers(user).await.unwrap().into_iter().find(|one| one.undoes.is_none() && one.can_undo).unwrap();
            world.store.undo_transfer(newest.id, by("strangers")).await.unwrap();
        }
        assert_eq!(world.gathering(true).await, []);
        let closed = world.gathering(false).await;
        assert_eq!((closed[0].acknowledged_by.as_deref(), closed[0].customers), (Some("settle"), None));
    }
}

story! {
    async fn a_customer_with_few_or_over_days_raises_none(world: World) {
        world.name_alike(1..=11).await;
        world.raw().run("UPDATE transfers SET created_at = created_at - 86400000000");
        world.name_alike(12..=21).await;
        assert_eq!(world.gathering(true).await, [], "ten in a day");
        world.name_alike(22..=22).await;
        assert_eq!(world.gathering(true).await.len(), 1);
    }
}
