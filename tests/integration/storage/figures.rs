//! A destination's figures, for its own page and for the metrics, and skipping pending events when it is enabled with
//! `newest_only`.

use super::sending::RETRY;
use super::world::{World, story};
use domain::event::PURCHASE_UPDATED;
use domain::{Environment, TransitionKind};
use storage::{DeliveryFilter, DestinationChange, Error, Page, SkippedEvents, Verdict};
use system_tests::rows;

/// A limit that no story reaches.
const ALL: i64 = 100;

/// Returns the event types of a destination's deliveries in this status, oldest first.
async fn in_status(world: &World, to: domain::DestinationId, status: &str) -> Vec<String> {
    let filter = DeliveryFilter {
        destination_id: Some(to),
        status: Some(status.parse().unwrap()),
        ..Default::default()
    };
    let found = world
        .store
        .deliveries(
            filter,
            Page {
                cursor: None,
                limit: 1000,
            },
        )
        .await
        .unwrap();
    found
        .items
        .into_iter()
        .rev()
        .map(|delivery| delivery.event_type)
        .collect()
}

async fn switch(world: &World, to: domain::DestinationId, enabled: bool) {
    world
        .alter(to, move |common| common.enabled = enabled)
        .await;
}

/// Returns the state of a destination, the number of pending deliveries, and the age of the oldest in minutes.
async fn figures(world: &World, id: domain::DestinationId) -> Option<(String, i64, i64)> {
    let all = world.store.figures().await.unwrap();
    let one = all.into_iter().find(|one| one.id == id)?;
    Some((one.state, one.pending, one.oldest_pending_ms / 60_000))
}

story! {
    async fn pending_waiting_and_failed_deliveries_are_counted(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Renewed]).await;
        let health = world.store.destination_health(hook.id).await.unwrap();
        assert_eq!((health.health.pending, health.backlog.waiting, health.backlog.failed), (2, 0, 0));
        world.send("r1", hook.id, Verdict::Failed).await;
        world.raw().run("UPDATE deliveries SET status = 'waiting' WHERE status = 'pending'");
        let health = world.store.destination_health(hook.id).await.unwrap();
        assert_eq!((health.health.pending, health.backlog.waiting, health.backlog.failed), (0, 1, 1));
        assert_eq!(health.health.health.last_error.as_deref(), Some("the endpoint answered 500"));
    }
}

story! {
    async fn clearing_a_disabled_destination_skips_events_not_states(world: World) {
        let hook = world.destination("hook").await;
        let other = world.destination("other").await;
        switch(&world, hook.id, false).await;
        for number in 1..=3 {
            world.happen(&format!("r{number}"), number, &[TransitionKind::Renewed]).await;
        }
        world.raw().run(&format!(
            "UPDATE deliveries SET status = 'waiting' WHERE seq =
                 (SELECT MIN(seq) FROM deliveries WHERE event_type LIKE 'user.%' AND destination_id = '{}')",
            hook.id
        ));
        assert_eq!(world.store.count_user_events(hook.id).await.unwrap(), 3);
        assert_eq!(in_status(&world, hook.id, "skipped").await.len(), 0, "they are only counted");
        let skipped = world.store.skip_user_events(hook.id, ALL).await.unwrap();
        assert_eq!(skipped, SkippedEvents { skipped: 3, more: false });
        assert_eq!(in_status(&world, hook.id, "pending").await, [PURCHASE_UPDATED; 3]);
        assert_eq!(in_status(&world, hook.id, "skipped").await, ["user.subscription.renewed"; 3]);
        assert_eq!(in_status(&world, other.id, "pending").await.len(), 6, "another destination's are not skipped");
        let again = world.store.skip_user_events(hook.id, ALL).await.unwrap();
        assert_eq!(again, SkippedEvents { skipped: 0, more: false }, "a repetition skips nothing");
        switch(&world, hook.id, true).await;
        let sent = world.attempt(world.key("r1"), hook.id, "a").await;
        assert_eq!(sent.types(), [PURCHASE_UPDATED]);
    }
}

story! {
    async fn very_many_events_are_skipped_in_batches(world: World) {
        let hook = world.destination("hook").await;
        switch(&world, hook.id, false).await;
        for number in 1..=5 {
            world.happen(&format!("r{number}"), number, &[TransitionKind::Renewed]).await;
        }
        // One of the first deliveries is in flight; the others are skipped nevertheless.
        world.raw().run(&format!(
            "UPDATE leases SET collapse_key = '{}', lease_token = 't', lease_until = {}
                 WHERE destination_id = '{}' AND place = 0",
            world.key("r1"),
            world.store.now().await.unwrap().micros() + 20_000_000,
            hook.id,
        ));
        for (closed, more) in [(2, true), (2, true), (0, false)] {
            let skipped = world.store.skip_user_events(hook.id, 2).await.unwrap();
            assert_eq!(skipped, SkippedEvents { skipped: closed, more });
        }
        assert_eq!(in_status(&world, hook.id, "pending").await.len(), 6);
        assert_eq!(in_status(&world, hook.id, "skipped").await, ["user.subscription.renewed"; 4]);
    }
}

story! {
    async fn no_event_of_an_enabled_destination_is_skipped(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Renewed]).await;
        let refused = world.store.skip_user_events(hook.id, ALL).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
        let refused = world.store.count_user_events(hook.id).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
        assert_eq!(in_status(&world, hook.id, "pending").await.len(), 2);
    }
}

story! {
    async fn an_attempt_in_flight_at_disabling_closes_its_delivery(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Renewed]).await;
        let sent = world.attempt(world.key("r1"), hook.id, "a").await;
        switch(&world, hook.id, false).await;
        assert_eq!(world.store.count_user_events(hook.id).await.unwrap(), 0);
        assert_eq!(world.store.skip_user_events(hook.id, ALL).await.unwrap().skipped, 0);
        world.finish(&sent, Verdict::Delivered).await;
        assert_eq!(in_status(&world, hook.id, "skipped").await, Vec::<String>::new());
        assert_eq!(in_status(&world, hook.id, "delivered").await, sent.types());
    }
}

story! {
    async fn an_overtaken_change_changes_nothing(world: World) {
        let hook = world.destination("hook").await;
        let before = (hook.settings.clone(), world.store.destination_secret(hook.id).await.unwrap());
        let change = async |secret: &'static str| {
            let based_on = Some(before.clone());
            let change = DestinationChange { secret: Some(secret.into()), based_on, ..Default::default() };
            world.store.update_destination(hook.id, change, move |common| common.name = format!("with {secret}")).await
        };
        change("first").await.unwrap();
        let second = change("second").await;
        assert!(matches!(second, Err(Error::Conflict { .. })), "{second:?}");
        assert_eq!(world.store.destination(hook.id).await.unwrap().name, "with first");
    }
}

story! {
    async fn concurrent_changes_keep_each_others_fields(world: World) {
        let hook = world.destination("hook").await;
        let platform = world.platform.id;
        // Each change is made without knowledge of the others.
        tokio::join!(
            world.alter(hook.id, |common| common.rate = Some(10)),
            world.alter(hook.id, |common| common.concurrency = 4),
            world.alter(hook.id, |common| common.schedule = Some(vec![1, 2])),
            world.alter(hook.id, move |common| common.filter.platforms = vec![platform]),
            world.alter(hook.id, |common| common.filter.environments = vec![Environment::Sandbox]),
        );
        let after = world.store.destination(hook.id).await.unwrap().common;
        assert_eq!((after.rate, after.concurrency, after.schedule), (Some(10), 4, Some(vec![1, 2])));
        assert_eq!((after.filter.platforms, after.filter.environments), (vec![platform], vec![Environment::Sandbox]));
    }
}

story! {
    async fn each_destination_has_its_figures_until_it_is_deleted(world: World) {
        let (hook, other) = (world.destination("hook").await.id, world.destination("other").await.id);
        assert_eq!(figures(&world, hook).await, Some(("healthy".to_owned(), 0, 0)));
        world.revise("r1", 1).await;
        world.age(5 * 60_000);
        world.revise("r2", 1).await;
        world.send("r2", hook, RETRY).await;
        world.send("r1", other, Verdict::Delivered).await;
        assert_eq!(figures(&world, hook).await, Some(("failing".to_owned(), 2, 5)), "the oldest counts");
        assert_eq!(figures(&world, other).await, Some(("healthy".to_owned(), 1, 0)), "a delivered one does not count");
        world.send("r2", other, Verdict::Delivered).await;
        assert_eq!(figures(&world, other).await, Some(("healthy".to_owned(), 0, 0)));
        world.store.delete_destination(hook).await.unwrap();
        assert_eq!(figures(&world, hook).await, None);
        assert_eq!(world.store.figures().await.unwrap().len(), 1);
    }
}

story! {
    async fn a_scrape_counts_ten_thousand_pending_deliveries(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        world.raw().run(&rows::copies("'d' || i", "i").numbered(1, 10_100).of_each("deliveries d, numbers"));
        assert_eq!(figures(&world, hook).await, Some(("healthy".to_owned(), 10_000, 0)), "at least so many");
        assert_eq!(world.store.destination_health(hook).await.unwrap().health.pending, 10_000);
    }
}
