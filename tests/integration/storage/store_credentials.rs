//! Data for a platform's own store only: settings, and credentials, which are encrypted and used like a shared secret.

use super::world::{REFUSAL, World, key_of_all_ones, new_platform, renewal, story};
use domain::stores::{CustomerSource, Evidence, Policy, amazon};
use domain::{CollapseKey, PlatformId};
use serde_json::json;
use storage::{
    Accepted, AuditLogFilter, Config, ExposeSecret, Key, NewPlatform, Page, Platform,
    PlatformChange, Store, StorePart, StorePartChange, StoreQuery, TurnCursor,
};

const RECEIPT: &str = "r1";
/// The policy of a store that these tests add.
const POLICY: Policy = Policy {
    store: "proof",
    ..amazon::POLICY
};

/// The policy of a store that signs what its notifications show.
const SIGNED: Policy = Policy {
    store: "signing",
    evidence: Evidence::Signed,
    customer: CustomerSource::Answer,
    ..amazon::POLICY
};

const CREDENTIALS: &str = "private-key-of-the-account";
const OTHERS: &str = "another-private-key";

fn part(project: &str, credentials: Option<&str>) -> StorePart {
    StorePart {
        settings: Some(json!({ "project": project })),
        credentials: credentials.map(Into::into),
    }
}

/// Creates a platform of another store than that of the world's own one.
pub async fn another_store(world: &World) -> PlatformId {
    domain::stores::add(&[&POLICY, &SIGNED]);
    let new = NewPlatform {
        store: POLICY.store.to_owned(),
        ..new_platform(&world.app, "another store")
    };
    world.store.new_platform(new).await.unwrap().id
}

/// A platform without a shared secret, with a purchase.
async fn connected(world: &World) -> Platform {
    let new = NewPlatform {
        shared_secret: None,
        of_store: part("one", Some(CREDENTIALS)),
        ..new_platform(&world.app, "proof")
    };
    domain::stores::add(&[&POLICY, &SIGNED]);
    let platform = world.store.new_platform(new).await.unwrap();
    let accepted = world
        .store
        .accept(vec![renewal(platform.id, "m1", RECEIPT, 1000)])
        .await;
    assert!(matches!(accepted.unwrap()[0], Accepted::New { .. }));
    platform
}

async fn query(store: &Store, platform: &Platform) -> Option<StoreQuery> {
    let key = CollapseKey::of(platform.id, RECEIPT);
    store.store_query(key).await.unwrap()
}

fn credentials(query: &StoreQuery) -> &str {
    let credentials = query.of_store.credentials.as_ref();
    credentials.map_or("", |credentials| credentials.expose_secret())
}

/// Changes what the platform had when it was read to this.
async fn change(store: &Store, platform: &Platform, part: StorePart) -> Platform {
    let change = PlatformChange {
        of_store: Some(StorePartChange::between(
            platform.store_settings.as_ref(),
            part,
        )),
        ..PlatformChange::default()
    };
    store
        .update_platform(platform.id, change, |_| {})
        .await
        .unwrap()
}

story! {
    async fn a_store_is_queried_with_the_credentials_of_its_own_form(world: World) {
        let platform = connected(&world).await;
        assert!(platform.can_verify() && !platform.has_shared_secret);
        let found = query(&world.store, &platform).await.expect("it can be queried");
        assert_eq!((credentials(&found), found.secret.expose_secret()), (CREDENTIALS, ""));
        assert_eq!(found.of_store.settings, Some(json!({ "project": "one" })));
        assert!(!format!("{found:?}").contains(CREDENTIALS));
        let amazon = query(&world.store, &world.platform).await;
        assert!(amazon.is_none_or(|query| query.of_store.credentials.is_none()));
    }
}

story! {
    async fn refused_credentials_are_not_used_until_others_are_set(world: World) {
        let platform = connected(&world).await;
        let refused = query(&world.store, &platform).await.expect("it can be queried");
        let same = change(&world.store, &platform, part("two", None)).await;
        assert_eq!(same.store_settings, Some(json!({ "project": "two" })));
        assert_eq!(same.store_credentials_at, platform.store_credentials_at);
        assert!(world.store.refuse_secret(&refused, REFUSAL).await.unwrap());
        assert!(!world.store.platform(platform.id).await.unwrap().can_verify());
        assert!(query(&world.store, &platform).await.is_none(), "they are not used again");
        let after = change(&world.store, &platform, part("two", Some(OTHERS))).await;
        assert!(after.can_verify());
        let found = query(&world.store, &platform).await.expect("it can be queried");
        assert_eq!(credentials(&found), OTHERS);
        assert!(!world.store.refuse_secret(&refused, REFUSAL).await.unwrap(), "the others are not refused");
    }
}

story! {
    async fn what_a_store_signed_is_checked_without_a_credential(world: World) {
        domain::stores::add(&[&POLICY, &SIGNED]);
        let new = NewPlatform {
            store: SIGNED.store.to_owned(),
            shared_secret: None,
            of_store: part("one", None),
            ..new_platform(&world.app, "signing")
        };
        let platform = world.store.new_platform(new).await.unwrap();
        let key = CollapseKey::of(platform.id, RECEIPT);
        for (message, at_ms) in [("m2", 2000), ("m1", 1000)] {
            let signed = json!({ "of": message });
            world.accept(renewal(platform.id, message, RECEIPT, at_ms).with_signed(signed)).await;
        }
        assert!(world.load(key).await.verify);
        let found = query(&world.store, &platform).await.expect("it can be checked");
        assert!(!found.has_credential());
        assert_eq!(found.of_store.settings, Some(json!({ "project": "one" })));
        let signed: Vec<_> = found.reported.iter().map(|body| body["signed"]["of"].clone()).collect();
        assert_eq!(signed, ["m2", "m1"], "in the order of acceptance");

        let platform = change(&world.store, &platform, part("two", Some(CREDENTIALS))).await;
        let found = query(&world.store, &platform).await.expect("it can be checked");
        assert_eq!((credentials(&found), found.has_credential()), (CREDENTIALS, true));
        assert!(world.store.refuse_secret(&found, REFUSAL).await.unwrap());
        assert!(world.load(key).await.verify);
        let found = query(&world.store, &platform).await.expect("it can be checked");
        assert_eq!((credentials(&found), found.has_credential()), ("", false), "refused ones are not used");
        assert_eq!(found.of_store.settings, Some(json!({ "project": "two" })));

        world.settle(key).await;
        let settled = query(&world.store, &platform).await.expect("it can be checked");
        assert!(settled.reported.is_empty(), "only open notifications are read");
        world.store.delete_platform(platform.id).await.unwrap();
        assert!(!world.load(key).await.verify);
        assert!(query(&world.store, &platform).await.is_none());
    }
}

story! {
    async fn what_a_store_does_not_sign_is_not_read_for_a_check(world: World) {
        let platform = connected(&world).await;
        let signed = renewal(platform.id, "m2", RECEIPT, 2000).with_signed(json!({ "of": "m2" }));
        world.accept(signed).await;
        let found = query(&world.store, &platform).await.expect("it can be queried");
        assert!(found.reported.is_empty());
    }
}

story! {
    async fn two_changes_of_a_stores_settings_at_once_both_stay(world: World) {
        let platform = connected(&world).await;
        let second = world.second_process().await;
        let part = |settings| StorePart { settings: Some(settings), credentials: None };
        let region = part(json!({ "project": "one", "region": "eu" }));
        let account = part(json!({ "project": "one", "account": "a1" }));
        tokio::join!(change(&world.store, &platform, region), change(&second, &platform, account));
        let after = world.store.platform(platform.id).await.unwrap();
        let all = json!({ "project": "one", "region": "eu", "account": "a1" });
        assert_eq!(after.store_settings, Some(all));
        let no_project = part(json!({ "region": "eu", "account": "a1" }));
        let no_region = part(json!({ "project": "one", "account": "a1" }));
        tokio::join!(change(&world.store, &after, no_project), change(&second, &after, no_region));
        let last = world.store.platform(platform.id).await.unwrap();
        assert_eq!(last.store_settings, Some(json!({ "account": "a1" })), "both are removed");
        assert_eq!(last.store_credentials_at, platform.store_credentials_at);
        assert_eq!(change(&second, &last, StorePart::default()).await.store_settings, None);
    }
}

story! {
    async fn credentials_are_in_no_audit_entry_and_go_with_the_platform(world: World) {
        let platform = connected(&world).await;
        change(&world.store, &platform, part("one", Some(OTHERS))).await;
        let stored = |world: &World| {
            let sealed = "SELECT COALESCE(store_credentials, '') AS value FROM platforms WHERE name = 'platform proof'";
            world.raw().texts(sealed).remove(0)
        };
        let sealed = stored(&world);
        assert!(sealed.starts_with("v1:") && !sealed.contains(OTHERS), "{sealed}");
        world.store.delete_platform(platform.id).await.unwrap();
        assert_eq!(stored(&world), "");
        let entries = world.store.audit_log(AuditLogFilter::default(), Page::default()).await.unwrap().items;
        let texts: Vec<String> = entries.iter().map(|one| format!("{} {}", one.old_fields, one.new_fields)).collect();
        assert!(texts.iter().any(|text| text.contains("\"store_credentials\":\"replaced\"")), "{texts:?}");
        assert!(texts.iter().all(|text| !text.contains(CREDENTIALS) && !text.contains(OTHERS)), "{texts:?}");
    }
}

story! {
    async fn a_turned_key_opens_the_credentials_of_stores(world: World) {
        let platform = connected(&world).await;
        let World { store, config, folder: _folder, .. } = world;
        drop(store);
        let keyed = |key: Key| Config { key, ..config.clone() };
        let newest = || Key::new([2; 32]);
        let both = Store::open(keyed(newest().after([[1; 32]]))).await.unwrap();
        let mut cursor = Some(TurnCursor::default());
        while let Some(from) = cursor {
            cursor = both.turn_page(from).await.unwrap().next;
        }
        assert_eq!(both.turn_out_older_keys().await.unwrap().len(), 1);
        drop(both);
        assert!(Store::open(keyed(key_of_all_ones())).await.is_err(), "the old key is out");
        let store = Store::open(keyed(newest())).await.unwrap();
        let found = query(&store, &platform).await.expect("it can be queried");
        assert_eq!(credentials(&found), CREDENTIALS);
    }
}
