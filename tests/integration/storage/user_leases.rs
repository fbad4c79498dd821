//! The lease and the pause of a user whose purchases move to another user while a request about them is in flight.

use super::erasure::by;
use super::sending::{RETRY, finish};
use super::world::{World, story};
use domain::time::duration;
use domain::{DestinationId, TransitionKind};
use storage::{CustomerName, CustomerNames, EndpointSignal, Idle, LeaseResult, Owner, Verdict};

const TEN_MINUTES_MS: i64 = 600_000;

/// Creates an integration, with purchases `r1` and `r2` of the unnamed `guest`, and `r3` of `anna`.
async fn guest_and_anna(world: &World) -> DestinationId {
    let to = world.analytics("analytics").await.id;
    name(world, "anna").await;
    for (customer, receipt) in [("guest", "r1"), ("guest", "r2"), ("anna", "r3")] {
        world
            .happen_to(customer, receipt, &[TransitionKind::Purchased])
            .await;
    }
    to
}

async fn name(world: &World, customer: &str) {
    let names = CustomerNames {
        external_id: "anna".to_owned(),
        analytics_device_id: None,
    };
    world
        .store
        .name_customer(
            world.app.id,
            Owner::AppUser(customer.to_owned()),
            names,
            None,
        )
        .await
        .unwrap();
}

async fn must_be_busy(world: &World, receipt: &str, to: DestinationId) {
    let busy = world.lease(world.key(receipt), to, "busy").await;
    assert!(
        matches!(busy, LeaseResult::Idle(Idle::UserBusy { .. })),
        "{receipt}: {busy:?}"
    );
}

story! {
    async fn a_merge_lets_no_second_request_about_a_user_go(world: World) {
        let to = guest_and_anna(&world).await;
        let sent = world.attempt(world.key("r1"), to, "a").await;
        name(&world, "guest").await;
        for receipt in ["r2", "r3"] {
            must_be_busy(&world, receipt, to).await;
        }
        world.finish(&sent, Verdict::Delivered).await;
        world.attempt(world.key("r2"), to, "b").await;
        must_be_busy(&world, "r3", to).await;
    }
}

story! {
    async fn a_merge_of_two_users_in_flight_waits_for_both(world: World) {
        let to = guest_and_anna(&world).await;
        let guests = world.attempt(world.key("r1"), to, "a").await;
        let annas = world.attempt(world.key("r3"), to, "b").await;
        name(&world, "guest").await;
        must_be_busy(&world, "r2", to).await;
        world.finish(&guests, Verdict::Delivered).await;
        must_be_busy(&world, "r2", to).await;
        world.finish(&annas, Verdict::Delivered).await;
        world.attempt(world.key("r2"), to, "c").await;
    }
}

story! {
    async fn a_pause_of_a_user_goes_with_their_purchases(world: World) {
        let to = guest_and_anna(&world).await;
        let sent = world.attempt(world.key("r1"), to, "a").await;
        let mut end = finish(&sent, RETRY);
        (end.result.endpoint_signal, end.result.user_pause) = (EndpointSignal::Success, Some(duration(TEN_MINUTES_MS)));
        world.end(end).await;
        name(&world, "guest").await;
        for receipt in ["r2", "r3"] {
            let paused = world.lease(world.key(receipt), to, "b").await;
            assert!(matches!(paused, LeaseResult::Idle(Idle::Wait { .. })), "{receipt}: {paused:?}");
        }
        world.pass(TEN_MINUTES_MS);
        world.attempt(world.key("r2"), to, "c").await;
    }
}

story! {
    async fn a_settling_that_finds_the_owner_hands_the_lease_over(world: World) {
        let to = guest_and_anna(&world).await;
        let sent = world.attempt(world.key("r1"), to, "a").await;
        world.happen_to("anna", "r1", &[TransitionKind::Renewed]).await;
        must_be_busy(&world, "r3", to).await;
        world.finish(&sent, Verdict::Delivered).await;
        world.attempt(world.key("r3"), to, "b").await;
    }
}

story! {
    async fn erasure_lets_no_second_request_about_a_user_go(world: World) {
        let to = guest_and_anna(&world).await;
        name(&world, "guest").await;
        let sent = world.attempt(world.key("r1"), to, "a").await;
        world.store.erase_customer(by(&world, CustomerName::ExternalId("anna".to_owned()))).await.unwrap();
        for receipt in ["r2", "r3"] {
            must_be_busy(&world, receipt, to).await;
        }
        world.finish(&sent, Verdict::Delivered).await;
        world.attempt(world.key("r2"), to, "b").await;
    }
}

story! {
    async fn what_arrives_after_a_deletion_is_acknowledged(world: World) {
        let to = guest_and_anna(&world).await;
        let sent = world.attempt(world.key("r3"), to, "a").await;
        // Like after a process that ended before the deletion had ended the pending deliveries.
        world.raw().run("UPDATE destinations SET deleted_at = created_at");
        world.finish(&sent, Verdict::Delivered).await;
        assert_eq!(world.broken(1000).await, []);
    }
}
