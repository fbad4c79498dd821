//! Apps, platforms and destinations.

use super::world::{World, is_missing, new_destination, new_platform, recipient, story};
use std::time::Duration;
use storage::{DestinationSettings, Error, Page};

story! {
    async fn a_name_is_taken_once_and_free_after_deletion(world: World) {
        let error = world.store.new_app("Acme").await.unwrap_err();
        assert!(matches!(&error, Error::Conflict { what: "app", .. }), "{error:?}");
        world.store.delete_app(world.app.id).await.unwrap();
        assert!(is_missing(&world.store.app(world.app.id).await.unwrap_err()));
        assert!(is_missing(&world.store.platform(world.platform.id).await.unwrap_err()));
        world.store.new_app("Acme").await.unwrap();
    }
}

story! {
    async fn an_app_can_be_renamed(world: World) {
        assert_eq!(world.store.rename_app(world.app.id, "Bolt").await.unwrap().name, "Bolt");
        assert_eq!(world.store.app(world.app.id).await.unwrap().name, "Bolt");
    }
}

story! {
    async fn pages_follow_each_other_without_gaps(world: World) {
        for number in 0..7 {
            world.store.new_app(&format!("app {number}")).await.unwrap();
        }
        let (mut cursor, mut names) = (None, Vec::new());
        loop {
            let page = world.store.apps(Page { cursor, limit: 3 }).await.unwrap();
            names.extend(page.items.into_iter().map(|app| app.name));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
    }
}

story! {
    async fn a_platform_is_found_by_its_ingress_key_until_it_is_deleted(world: World) {
        let found = recipient(&world.store, "ingress-1").await.map(|found| (found.platform, found.ends_at));
        assert_eq!(found, Some((world.platform.clone(), None)));
        assert_eq!(recipient(&world.store, "other").await, None);
        let changed = world.set(|settings| settings.max_wait_ms = Some(9)).await.settings;
        world.store.rotate_ingress_key(world.platform.id, "ingress-2".into(), Duration::ZERO).await.unwrap();
        assert_eq!((changed.max_wait_ms, changed.window_ms), (Some(9), world.platform.settings.window_ms));
        assert_eq!(recipient(&world.store, "ingress-1").await, None);
        world.store.delete_platform(world.platform.id).await.unwrap();
        assert_eq!(recipient(&world.store, "ingress-2").await, None);
    }
}

story! {
    async fn an_old_ingress_key_works_until_its_end(world: World) {
        let (store, id) = (&world.store, world.platform.id);
        let found = async |key: &str| {
            let old = recipient(store, key).await.filter(|found| found.ends_at.is_some());
            old.map(|found| found.platform.id)
        };
        store.rotate_ingress_key(id, "ingress-2".into(), Duration::from_secs(3600)).await.unwrap();
        let old = store.old_ingress_key(id).await.unwrap().unwrap();
        assert_eq!((found("ingress-1").await, found("ingress-2").await, old.used_at), (Some(id), None, None));
        assert_eq!(recipient(store, "ingress-1").await.unwrap().ends_at, Some(old.until));
        store.note_old_ingress_key_used(id).await.unwrap();
        assert!(store.old_ingress_key(id).await.unwrap().unwrap().used_at.is_some());
        store.rotate_ingress_key(id, "ingress-3".into(), Duration::from_secs(3600)).await.unwrap();
        assert_eq!((found("ingress-1").await, found("ingress-2").await), (None, Some(id)), "one before ends");
        assert_eq!(store.old_ingress_key(id).await.unwrap().unwrap().used_at, None);
        for _ in 0..2 {
            assert_eq!(store.retire_old_ingress_key(id).await.unwrap().id, id);
            assert_eq!((found("ingress-2").await, store.old_ingress_key(id).await.unwrap()), (None, None));
        }
        assert_eq!(recipient(store, "ingress-3").await.unwrap().platform.id, id);
    }
}

story! {
    async fn a_platform_of_no_app_is_refused(world: World) {
        world.store.delete_app(world.app.id).await.unwrap();
        assert!(is_missing(&world.store.new_platform(new_platform(&world.app, "x")).await.unwrap_err()));
    }
}

story! {
    async fn a_disabled_destination_is_shown_as_such(world: World) {
        let created = world.store.new_destination(new_destination(&world.app, "hook")).await.unwrap();
        assert_eq!((created.enabled, created.state.as_str()), (true, "healthy"));
        let set = |common: &mut DestinationSettings| (common.enabled, common.events) = (false, vec!["user.*".to_owned()]);
        let off = world.alter(created.id, set).await;
        assert_eq!((off.enabled, off.state.as_str(), off.common.events), (false, "disabled", vec!["user.*".to_owned()]));
        let listed = world.store.destinations(world.app.id, Page::default()).await.unwrap();
        assert_eq!(listed.items.len(), 1);
        world.store.delete_destination(created.id).await.unwrap();
        assert!(is_missing(&world.store.destination(created.id).await.unwrap_err()));
    }
}
