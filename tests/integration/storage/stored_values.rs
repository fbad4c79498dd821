//! The check of stored values ignores only rows of stores that the earlier release does not list.

use super::world::{World, new_platform, story};
use serde_json::json;
use std::collections::BTreeMap;
use system_tests::stored::{self, Unread, validator};

/// Returns the first unreadable text for a release that lists these stores and refuses all values of a column.
fn unread(world: &World, column: &str, stores: &[&str]) -> Option<Unread> {
    let refuses_all = validator(&json!({ "not": {} }));
    let validators = BTreeMap::from([(column.to_owned(), refuses_all)]);
    stored::first_unread(&world.config.database, &validators, stores)
}

story! {
    async fn a_row_of_a_store_new_to_the_earlier_release_is_excused(world: World) {
        world.destination("hook").await;
        world.revise("r1", 1).await;
        let of_purchases = ["purchases.purchase", "events.body"];
        let is_unread = |column: &str, stores: &[&str]| unread(&world, column, stores).is_some();
        for column in of_purchases {
            assert!(is_unread(column, &["amazon"]), "{column}: a row of amazon is not excused");
        }
        world.raw().run("UPDATE platforms SET store = 'proof'");
        for column in of_purchases {
            assert!(!is_unread(column, &["amazon"]), "{column}: of a store that is not listed");
            assert!(is_unread(column, &["amazon", "proof"]), "{column}: the release lists the store");
        }
        assert!(is_unread("destinations.events", &["amazon"]), "a row without a store is not excused");
    }
}

story! {
    async fn an_amazon_row_beside_a_new_store_is_not_excused(world: World) {
        world.revise("r1", 1).await;
        world.store.new_platform(new_platform(&world.app, "second")).await.unwrap();
        world.raw().run(&format!("UPDATE platforms SET store = 'proof' WHERE id <> '{}'", world.platform.id));
        assert!(unread(&world, "purchases.purchase", &["amazon"]).is_some());
    }
}
