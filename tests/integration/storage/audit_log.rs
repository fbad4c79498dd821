//! The audit log and keys on both databases: a change and its audit entry are one transaction, a repeated call writes
//! one audit entry, and a key is found by its id.

use super::world::{World, story};
use domain::{KeyId, Timestamp};
use serde_json::json;
use storage::{
    Actor, AuditEntryView, AuditLogFilter, Error, NewKey, Page, Role, SecretString, Subject,
    key_hash,
};
use uuid::Uuid;

async fn entries(world: &World, operation: &str) -> Vec<AuditEntryView> {
    let filter = AuditLogFilter {
        operation: Some(operation.to_owned()),
        ..AuditLogFilter::default()
    };
    world
        .store
        .audit_log(filter, Page::default())
        .await
        .unwrap()
        .items
}

fn new_key(name: &str) -> NewKey {
    let secret = SecretString::from("0a".repeat(32));
    NewKey {
        name: name.to_owned(),
        role: Role::Support,
        app_id: None,
        expires_at: None,
        secret,
    }
}

story! {
    async fn a_key_is_stored_as_its_hash_and_found_by_its_id(world: World) {
        let app = world.store.new_app("of a key").await.unwrap();
        let end = Timestamp::from_millis(4_000_000_000_000);
        let key = world.store.new_key(NewKey { app_id: Some(app.id), expires_at: Some(end), ..new_key("one") }).await.unwrap();
        let found = world.store.key(key.id).await.unwrap();
        assert_eq!((found.key, found.hash), (key.clone(), key_hash(&"0a".repeat(32))));
        assert!(matches!(world.store.new_key(new_key("one")).await, Err(Error::Conflict { .. })));
        world.store.note_key_used(key.id).await.unwrap();
        let used = world.store.key(key.id).await.unwrap().key.last_used_at.expect("a use");
        world.store.note_key_used(key.id).await.unwrap();
        assert_eq!(world.store.key(key.id).await.unwrap().key.last_used_at, Some(used), "once a minute");
        assert!(world.store.revoke_key(key.id).await.unwrap().revoked_at.is_some());
        world.store.revoke_key(key.id).await.unwrap();
        assert_eq!((entries(&world, "key.create").await.len(), entries(&world, "key.revoke").await.len()), (1, 1));
        world.store.new_key(new_key("one")).await.expect("its name is free again");
        assert_eq!(world.store.keys(Some(app.id), Page::default()).await.unwrap().items.len(), 1);
        assert_eq!(world.store.app_of(Subject::Key, &key.id.to_string()).await.unwrap(), Some(app.id));
        let nobody = KeyId::new(Uuid::nil());
        assert!(matches!(world.store.key(nobody).await, Err(Error::Missing { what: "key" })));
    }
}

story! {
    async fn a_call_that_is_repeated_leaves_one_audit_entry(world: World) {
        let by = |call: &str| {
            let actor = Actor { reason: Some("ticket".to_owned()), once: Some(call.to_owned()), ..Actor::named("ann") };
            world.store.by(actor)
        };
        world.revise("r1", 1).await;
        let key = world.key("r1");
        for call in ["run/1", "run/1", "run/2"] {
            by(call).hold(key, Timestamp::from_millis(4_000_000_000_000), "ann", "ticket").await.unwrap();
        }
        by("run/1").release(key).await.unwrap();
        let held = entries(&world, "purchase.hold").await;
        assert_eq!((held.len(), entries(&world, "purchase.release").await.len()), (2, 1));
        assert_eq!((held[0].actor.as_str(), held[0].reason.as_deref(), held[0].key_id), ("ann", Some("ticket"), None));
        assert_eq!(held[0].subject, key.to_string());
    }
}

story! {
    async fn an_audit_entry_is_undone_with_its_change(world: World) {
        let app = world.store.new_app("first").await.unwrap();
        world.store.new_app("second").await.unwrap();
        let before = entries(&world, "app.update").await.len();
        assert!(matches!(world.store.rename_app(app.id, "second").await, Err(Error::Conflict { .. })));
        assert_eq!(entries(&world, "app.update").await.len(), before);
        world.store.rename_app(app.id, "third").await.unwrap();
        let entry = entries(&world, "app.update").await.remove(0);
        assert_eq!((entry.old_fields, entry.new_fields), (json!({ "name": "first" }), json!({ "name": "third" })));
        assert_eq!((entry.app_id, entry.actor.as_str()), (Some(app.id), "settle"));
    }
}
