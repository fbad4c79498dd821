//! Rotating the encryption key: the newest key encrypts, and older ones decrypt until no value encrypted with them is
//! left.

use super::erasure::{STORE_ID, by, finish, left, renew};
use super::world::{World, new_destination, new_platform, recipient, story};
use domain::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use storage::{
    AuditLogFilter, Config, CustomerName, Error, ExposeSecret, Key, Page, SecretString, Store,
    TopicRequest, TurnCursor,
};

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];
const MISTYPED: [u8; 32] = [3; 32];

/// Returns the configuration of a process with these keys.
fn keyed(config: &Config, newest: [u8; 32], older: &[[u8; 32]]) -> Config {
    Config {
        key: Key::new(newest).after(older.iter().copied()),
        ..config.clone()
    }
}

/// Re-encrypts all remaining values, page by page; returns their number.
async fn turn(store: &Store) -> i64 {
    let (mut cursor, mut count) = (Some(TurnCursor::default()), 0);
    while let Some(from) = cursor {
        let turned = store.turn_page(from).await.unwrap();
        (cursor, count) = (turned.next, count + turned.count);
    }
    count
}

/// Returns the key ids before and after each rotation, from the audit log, newest first.
async fn turns(store: &Store) -> Vec<(Value, Value)> {
    let filter = AuditLogFilter {
        operation: Some("key.turn".to_owned()),
        ..AuditLogFilter::default()
    };
    let entries = store
        .audit_log(filter, Page::default())
        .await
        .unwrap()
        .items
        .into_iter();
    entries
        .map(|entry| {
            (
                entry.old_fields["keys"].clone(),
                entry.new_fields["keys"].clone(),
            )
        })
        .collect()
}

async fn fill(world: &World) -> TopicAndDestination {
    let store = &world.store;
    renew(world, "r1", 1).await;
    let begun = store
        .erase_customer(by(world, CustomerName::AppUser(STORE_ID.to_owned())))
        .await
        .unwrap();
    finish(world, &begun).await;
    store
        .set_login_secret(world.platform.id, Some("ls_of-the-platform".into()))
        .await
        .unwrap();
    let url = SecretString::from("https://sns.example/?SubscribeURL-token");
    let request = TopicRequest::new(
        world.platform.id,
        "arn:1",
        url,
        Timestamp::from_micros(i64::MAX),
    );
    store.add_pending_topic(request).await.unwrap();
    let topic = store.topics(world.platform.id).await.unwrap().remove(0).id;
    TopicAndDestination {
        topic,
        destination: store
            .new_destination(new_destination(&world.app, "hook"))
            .await
            .unwrap()
            .id,
    }
}

struct TopicAndDestination {
    topic: domain::TopicId,
    destination: domain::DestinationId,
}

story! {
    async fn a_turned_key_opens_everything_and_the_old_one_nothing(world: World) {
        let ids = fill(&world).await;
        let of = world.platform.id;
        let old_id = world.store.key_id().to_owned();
        let World { store, config, app, folder: _folder, .. } = world;
        drop(store);
        let both = Store::open(keyed(&config, NEW, &[OLD])).await.unwrap();
        let new_id = both.key_id().to_owned();
        assert_eq!(both.older_keys().await.unwrap(), [old_id.as_str()]);
        both.new_platform(new_platform(&app, "ingress-2")).await.unwrap();
        let left = both.left_of_older_keys().await.unwrap();
        assert_eq!(left.len(), 8, "no customer is being erased: {left:?}");
        let refused = both.turn_out_older_keys().await.unwrap_err();
        assert!(matches!(&refused, Error::Conflict { .. }), "{refused:?}");

        // During the rotation, and after a restart: both hashes are found, and fewer values are left.
        let first = both.turn_page(TurnCursor::default()).await.unwrap();
        assert_eq!((first.count, first.what), (1, "the key of tombstones"));
        assert_eq!(turns(&both).await, [(json!([old_id]), json!([new_id]))]);
        assert_eq!(both.turn_page(first.next.unwrap()).await.unwrap().count, 2, "an ingress key and its hash");
        assert_eq!(turns(&both).await.len(), 1, "one for a turn");
        drop(both);
        let both = Store::open(keyed(&config, NEW, &[OLD])).await.unwrap();
        assert_eq!(both.left_of_older_keys().await.unwrap().len(), 5, "the first two columns, and the hashes");
        for key in ["ingress-1", "ingress-2"] {
            assert!(recipient(&both, key).await.is_some(), "{key}");
        }
        assert_eq!(turn(&both).await, 5);
        assert_eq!(both.left_of_older_keys().await.unwrap(), []);
        assert_eq!(turns(&both).await.len(), 2, "one more for a turn that goes on");
        assert_eq!(turn(&both).await, 0, "a second turn finds nothing");
        assert_eq!(turns(&both).await.len(), 2, "what changed nothing leaves no audit entry");
        assert_eq!(both.turn_out_older_keys().await.unwrap(), [old_id.as_str()]);
        assert_eq!(both.turn_out_older_keys().await.unwrap(), [""; 0]);
        drop(both);

        let error = Store::open(keyed(&config, OLD, &[])).await.unwrap_err().to_string();
        assert!(error.contains(&format!("`{new_id}` is missing")) && error.contains(&format!("`{old_id}`")), "{error}");
        let store = Store::open(keyed(&config, NEW, &[])).await.unwrap();
        let read = |secret: SecretString| secret.expose_secret().to_owned();
        assert_eq!(read(store.ingress_key(of).await.unwrap()), "ingress-1");
        assert_eq!(recipient(&store, "ingress-1").await.unwrap().platform.id, of);
        assert_eq!(read(store.platform_secret(of).await.unwrap().unwrap()), "shared-secret-of-the-platform");
        assert_eq!(read(store.login_secret(of).await.unwrap().unwrap()), "ls_of-the-platform");
        assert_eq!(read(store.destination_secret(ids.destination).await.unwrap()), "whsec_of-the-destination");
        assert!(read(store.subscribe_url(ids.topic).await.unwrap().unwrap()).ends_with("SubscribeURL-token"));
        let erased = CustomerName::AppUser(STORE_ID.to_owned());
        let state = store.customer_state(app.id, erased, Default::default()).await.unwrap();
        assert_eq!(state.app_user_ids.len(), 0, "a tombstone is found under every key");
    }
}

story! {
    async fn nothing_is_stored_under_a_key_that_was_turned_out(world: World) {
        if !world.is_postgres() {
            return;
        }
        let both = Store::open(keyed(&world.config, NEW, &[OLD])).await.unwrap();
        turn(&both).await;
        // The old process continues until then, and what it stores meanwhile is encrypted with its key.
        world.store.new_destination(new_destination(&world.app, "before")).await.unwrap();
        assert!(matches!(both.turn_out_older_keys().await, Err(Error::Conflict { .. })));
        assert_eq!(turn(&both).await, 1);
        assert_eq!(both.turn_out_older_keys().await.unwrap().len(), 1);
        let refused = world.store.new_destination(new_destination(&world.app, "after")).await.unwrap_err();
        let expected = format!("the key `{}`", world.store.key_id());
        let refused = refused.to_string();
        assert!(refused.contains(&expected) && refused.contains("is retired"), "{refused}");
        both.new_destination(new_destination(&world.app, "after")).await.unwrap();
    }
}

story! {
    async fn the_secrets_of_what_is_deleted_are_gone(world: World) {
        fill(&world).await;
        let second = world.store.new_platform(new_platform(&world.app, "ingress-2")).await.unwrap();
        let hour = Duration::from_secs(3600);
        world.store.rotate_ingress_key(second.id, "ingress-3".into(), hour).await.unwrap();
        let hook = world.store.new_destination(new_destination(&world.app, "another hook")).await.unwrap();
        let sealed = |table: &str, column: &str, which: &str| {
            let query = format!("SELECT {column} AS value FROM {table} WHERE {column} IS NOT NULL AND {which}");
            world.raw().texts(&query).len()
        };
        let all = async || {
            let of = [
                ("platforms", "ingress_key"), ("platforms", "ingress_hash"), ("platforms", "old_ingress_key"),
                ("platforms", "old_ingress_hash"), ("platforms", "shared_secret"), ("platforms", "login_secret"),
                ("topics", "subscribe_url"), ("destinations", "secret"),
            ];
            of.map(|(table, column)| sealed(table, column, "TRUE"))
        };
        assert_eq!(all().await, [2, 2, 1, 1, 2, 1, 1, 2]);
        world.store.delete_platform(second.id).await.unwrap();
        world.store.delete_destination(hook.id).await.unwrap();
        assert_eq!(all().await, [1, 1, 0, 0, 1, 1, 1, 1]);
        world.store.delete_app(world.app.id).await.unwrap();
        assert_eq!(all().await, [0; 8]);
        assert_eq!(world.store.older_keys().await.unwrap(), [""; 0]);
    }
}

story! {
    async fn an_old_ingress_key_is_turned_too(world: World) {
        let of = world.platform.id;
        world.store.rotate_ingress_key(of, "ingress-2".into(), Duration::from_secs(3600)).await.unwrap();
        let World { store, config, folder: _folder, .. } = world;
        drop(store);
        let both = Store::open(keyed(&config, NEW, &[OLD])).await.unwrap();
        turn(&both).await;
        assert_eq!(both.left_of_older_keys().await.unwrap(), []);
        both.turn_out_older_keys().await.unwrap();
        drop(both);
        let store = Store::open(keyed(&config, NEW, &[])).await.unwrap();
        let old = recipient(&store, "ingress-1").await.unwrap();
        assert_eq!((old.platform.id, old.ends_at.is_some()), (of, true));
    }
}

story! {
    async fn no_ingress_key_is_readable_in_the_database(world: World) {
        let key = "3c1f0d5be2a94c87";
        let mut new = new_platform(&world.app, key);
        (new.settings.name, new.publishable_key) = ("other".to_owned(), "pk_other".to_owned());
        let platform = world.store.new_platform(new).await.unwrap();
        assert_eq!(left(&world, &[key]), [""; 0]);
        assert_eq!(recipient(&world.store, key).await.unwrap().platform.id, platform.id);
        assert_eq!(world.store.ingress_key(platform.id).await.unwrap().expose_secret(), key);
    }
}

story! {
    async fn a_key_that_encrypted_nothing_leaves_nothing(world: World) {
        let World { store, config, folder: _folder, .. } = world;
        drop(store);
        let mistyped = Store::open(keyed(&config, MISTYPED, &[OLD])).await.unwrap();
        assert_eq!(mistyped.older_keys().await.unwrap(), [storage::key_id(&OLD)]);
        drop(mistyped);
        let store = Store::open(keyed(&config, OLD, &[])).await.unwrap();
        assert_eq!(store.older_keys().await.unwrap(), [""; 0]);
    }
}

story! {
    async fn the_first_value_of_a_key_makes_it_needed(world: World) {
        let World { store, config, app, folder: _folder, .. } = world;
        drop(store);
        let both = Store::open(keyed(&config, NEW, &[OLD])).await.unwrap();
        // A rolled-back transaction registers no key.
        both.new_platform(new_platform(&app, "ingress-1")).await.expect_err("its name is taken");
        drop(both);
        drop(Store::open(keyed(&config, OLD, &[])).await.unwrap());
        let both = Store::open(keyed(&config, NEW, &[OLD])).await.unwrap();
        both.new_destination(new_destination(&app, "hook")).await.unwrap();
        drop(both);
        let error = Store::open(keyed(&config, OLD, &[])).await.unwrap_err().to_string();
        assert!(error.contains(&format!("`{}` is missing", storage::key_id(&NEW))), "{error}");
    }
}

story! {
    async fn a_key_that_was_turned_out_never_comes_back(world: World) {
        let [old_id, new_id] = [OLD, NEW].map(|key| storage::key_id(&key));
        let World { store, config, app, folder: _folder, .. } = world;
        drop(store);
        let both = Store::open(keyed(&config, NEW, &[OLD])).await.unwrap();
        turn(&both).await;
        assert_eq!(both.turn_out_older_keys().await.unwrap(), [old_id.as_str()]);
        drop(both);
        let error = Store::open(keyed(&config, OLD, &[NEW])).await.unwrap_err().to_string();
        for part in [format!("`{old_id}`"), format!("list `{new_id}` first"), "SETTLE_KEY".to_owned()] {
            assert!(error.contains(&part), "{part} in {error}");
        }
        // The older key may still be configured, for a backup from before.
        let both = Store::open(keyed(&config, NEW, &[OLD])).await.unwrap();
        both.new_destination(new_destination(&app, "hook")).await.unwrap();
        assert_eq!(both.older_keys().await.unwrap(), [""; 0]);
        drop(both);
        Store::open(keyed(&config, NEW, &[])).await.unwrap();
    }
}

story! {
    async fn a_process_that_was_left_behind_encrypts_and_turns_nothing(world: World) {
        if !world.is_postgres() {
            return;
        }
        let wrong = Store::open(keyed(&world.config, OLD, &[NEW])).await.unwrap();
        let both = Store::open(keyed(&world.config, NEW, &[OLD])).await.unwrap();
        turn(&both).await;
        both.turn_out_older_keys().await.unwrap();
        let expected = format!("list `{}` first", both.key_id());
        let refusals = [
            wrong.new_destination(new_destination(&world.app, "after")).await.map(drop),
            wrong.turn_page(TurnCursor::default()).await.map(drop),
            wrong.turn_out_older_keys().await.map(drop),
        ];
        for refusal in refusals {
            let error = refusal.unwrap_err().to_string();
            assert!(error.contains("is retired") && error.contains(&expected), "{error}");
        }
        Store::open(keyed(&world.config, NEW, &[])).await.unwrap();
    }
}

story! {
    async fn an_unknown_ingress_key_is_no_miss_while_a_key_is_missing(world: World) {
        let store = &world.store;
        assert_eq!(recipient(store, "ingress-2").await, None);
        // Like after a write of another process, which encrypts with a key that this one lacks.
        if world.is_postgres() {
            let both = Store::open(keyed(&world.config, NEW, &[OLD])).await.unwrap();
            both.new_platform(new_platform(&world.app, "ingress-2")).await.unwrap();
        } else {
            let id = storage::key_id(&NEW);
            world.raw().run(&format!("INSERT INTO encryption_keys (id, created_at) VALUES ('{id}', 1)"));
        }
        let keys = ["ingress-1", "ingress-2"].map(str::to_owned);
        let recipients = store.recipients(keys.into()).await.unwrap();
        assert_eq!(recipients.missing_keys, [storage::key_id(&NEW)]);
        assert_eq!(recipients.found.into_keys().collect::<Vec<_>>(), ["ingress-1"], "its hash is known");
        assert!(recipient(store, "ingress-1").await.is_some(), "no key is missing for it");
    }
}
