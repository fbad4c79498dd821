//! The figures of destinations for the metrics.

use super::sending::RETRY;
use super::world::{World, story};
use domain::DestinationId;
use storage::Verdict;
use system_tests::rows;

/// The state of a destination, the number of pending deliveries, and the age of the oldest in minutes.
async fn figures(world: &World, id: DestinationId) -> Option<(String, i64, i64)> {
    let all = world.store.figures().await.unwrap();
    let one = all.into_iter().find(|one| one.id == id)?;
    Some((one.state, one.pending, one.oldest_pending_ms / 60_000))
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
