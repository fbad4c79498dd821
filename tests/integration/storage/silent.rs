//! Stores that do not answer are detected from the first failed query on.

use super::world::{WINDOW_MS, World, story};
use std::time::Duration;

story! {
    async fn a_silent_store_is_known_before_the_patience_ends(world: World) {
        let waiting = async || world.store.overview(Some(world.app.id)).await.unwrap().waiting;
        world.notify("m0", "r0", 1).await;
        for receipt in ["r1", "r2"] {
            world.notify(receipt, receipt, 1).await;
        }
        world.pass(WINDOW_MS + 1_000);
        for receipt in ["r1", "r2"] {
            let key = world.key(receipt);
            world.store.verify_failed(key, "HTTP 500").await.unwrap();
            world.schedule_query(key, Duration::from_secs(300)).await;
        }
        assert_eq!(world.store.silent_stores().await.unwrap(), [], "the first retries take a few seconds");
        world.pass(31_000);
        let silent = world.store.silent_stores().await.unwrap();
        assert_eq!(silent.len(), 1, "{silent:?}");
        assert_eq!((silent[0].platform_id, silent[0].purchases), (world.platform.id, 2));
        assert_eq!(silent[0].because.as_deref(), Some("HTTP 500"));
        assert_eq!(world.store.overview(Some(world.app.id)).await.unwrap().silent_stores, silent);
        assert_eq!(waiting().await, 2);
        let other = world.store.new_app("other").await.unwrap();
        assert_eq!(world.store.overview(Some(other.id)).await.unwrap().silent_stores, []);
        // The store answers about another purchase; for the waiting ones, the time of the next query is known.
        world.notify("m3", "r3", 1).await;
        world.settle(world.key("r3")).await;
        let known = world.store.now().await.unwrap();
        world.raw().run(&format!(
            r#"UPDATE purchases SET purchase = replace(purchase, '"gone_at":null', '"gone_at":"{known}"')
            WHERE receipt_id = 'r3'"#
        ));
        let answers = world.store.silent_stores().await.unwrap();
        assert!(!answers[0].is_silent() && answers[0].next_at.is_some(), "{answers:?}");
        assert_eq!((answers[0].since, answers[0].purchases), (silent[0].since, 2));
        for receipt in ["r1", "r2"] {
            world.store.verify_answered(world.key(receipt)).await.unwrap();
        }
        assert_eq!((world.store.silent_stores().await.unwrap(), waiting().await), (Vec::new(), 0));
    }
}
